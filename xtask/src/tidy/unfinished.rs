//! Detects macros for unfinished code and debug output.

use super::tree::Tree;
use super::{Finding, Wrong, scan};

const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, code) in tree.rust() {
        for (at, word) in scan::words(code) {
            let Some(macro_name) = MACROS.into_iter().find(|name| *name == word) else {
                continue;
            };
            if code[at + word.len()..].starts_with('!') {
                found.push(Finding {
                    file: file.path.clone(),
                    line: file.line_of(at),
                    wrong: Wrong::Unfinished { macro_name },
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_code_is_found_but_not_comments_about_it() {
        let text = "// todo!()\nfn todo() { a(\"dbg!\"); dbg!(1); }";
        let found = check(&Tree::of(&[("a.rs", text)])).into_iter();
        let wrongs: Vec<Wrong> = found.map(|finding| finding.wrong).collect();
        assert_eq!(wrongs, [Wrong::Unfinished { macro_name: "dbg" }]);
    }
}
