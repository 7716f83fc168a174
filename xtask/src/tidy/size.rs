//! Files and functions that grew too long to be read at once, and macros which
//! say that something is not finished.

use super::tree::Tree;
use super::{Finding, Wrong, scan};

pub(super) const MAX_FILE_LINES: usize = 800;
pub(super) const MAX_FUNCTION_LINES: usize = 70;

/// A file or a function that may be longer, and why.
#[derive(Debug)]
pub(super) struct Exception {
    pub(super) file: &'static str,
    /// None: the file itself.
    pub(super) function: Option<&'static str>,
    /// Shown nowhere; that there is one is what matters.
    #[allow(dead_code)]
    pub(super) reason: &'static str,
}

pub(super) fn check(tree: &Tree, exceptions: &[Exception]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut used = vec![false; exceptions.len()];
    let mut excepted = |file: &str, function: Option<&str>| {
        let fits = |e: &Exception| e.file == file && e.function == function;
        let at = exceptions.iter().position(fits);
        at.map(|at| used[at] = true).is_some()
    };
    for (file, code) in tree.rust() {
        let lines = file.text.lines().count();
        if lines > MAX_FILE_LINES && !excepted(&file.path, None) {
            found.push(finding(&file.path, 1, Wrong::LongFile { lines }));
        }
        for function in scan::functions(code) {
            let lines = function.lines;
            if lines > MAX_FUNCTION_LINES && !excepted(&file.path, Some(function.name)) {
                let name = function.name.to_owned();
                let wrong = Wrong::LongFunction { name, lines };
                found.push(finding(&file.path, function.first_line, wrong));
            }
        }
        found.extend(unfinished(file, code));
    }
    for (exception, _) in exceptions.iter().zip(&used).filter(|(_, used)| !**used) {
        let of = match exception.function {
            Some(function) => format!("fn {function}"),
            None => "the file".to_owned(),
        };
        found.push(finding(exception.file, 1, Wrong::StaleException { of }));
    }
    found
}

fn finding(file: &str, line: usize, wrong: Wrong) -> Finding {
    Finding {
        file: file.to_owned(),
        line,
        wrong,
    }
}

fn unfinished(file: &super::tree::TextFile, code: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (at, word) in scan::words(code) {
        let names = ["todo", "unimplemented", "dbg"];
        let Some(macro_name) = names.into_iter().find(|name| *name == word) else {
            continue;
        };
        if code[at + word.len()..].starts_with('!') {
            let wrong = Wrong::Unfinished { macro_name };
            found.push(finding(&file.path, file.line_of(at), wrong));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrongs(text: &str, exceptions: &[Exception]) -> Vec<Wrong> {
        let found = check(&Tree::of(&[("a.rs", text)]), exceptions);
        found.into_iter().map(|finding| finding.wrong).collect()
    }

    fn exception(function: Option<&'static str>) -> Exception {
        Exception {
            file: "a.rs",
            function,
            reason: "a test",
        }
    }

    #[test]
    fn a_long_function_is_found_unless_it_is_excepted() {
        let text = format!("fn long() {{{}}}", "\n".repeat(MAX_FUNCTION_LINES));
        let long = Wrong::LongFunction {
            name: "long".to_owned(),
            lines: MAX_FUNCTION_LINES + 1,
        };
        assert_eq!(wrongs(&text, &[]), [long]);
        assert_eq!(wrongs(&text, &[exception(Some("long"))]), []);
        assert_eq!(wrongs(&text[..10], &[]), []);
    }

    #[test]
    fn a_long_file_is_found_unless_it_is_excepted() {
        let text = "//\n".repeat(MAX_FILE_LINES + 1);
        let long = Wrong::LongFile {
            lines: MAX_FILE_LINES + 1,
        };
        assert_eq!(wrongs(&text, &[]), [long]);
        assert_eq!(wrongs(&text, &[exception(None)]), []);
        assert_eq!(wrongs(&text[3..], &[]), []);
    }

    #[test]
    fn an_exception_that_nothing_needs_is_found() {
        let stale = wrongs("", &[exception(None), exception(Some("f"))]);
        let of = |of: &str| Wrong::StaleException { of: of.to_owned() };
        assert_eq!(stale, [of("the file"), of("fn f")]);
    }

    #[test]
    fn unfinished_code_is_found_and_talk_about_it_is_not() {
        let text = "// todo!()\nfn todo() { a(\"dbg!\"); dbg!(1); }";
        assert_eq!(wrongs(text, &[]), [Wrong::Unfinished { macro_name: "dbg" }]);
    }
}
