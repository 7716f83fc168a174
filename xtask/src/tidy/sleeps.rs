//! Checks that tests wait for events. A test that sleeps must say why time itself is its subject.

use super::tree::{TextFile, Tree};
use super::{Finding, Wrong};

/// Maximum sleep of a test in milliseconds: `lab::eventually` waits for an event, and
/// `lab::sleep_in_test` states why there is none.
const MAX_SLEEP_MS: u64 = 200;

const SLEEP: &str = "thread::sleep(";

/// The units of a `Duration`, in milliseconds.
const UNITS: [(&str, u64); 2] = [("from_secs(", 1000), ("from_millis(", 1)];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let tests = tree.files.iter().filter(|file| is_test(&file.path));
    tests.flat_map(long_sleeps).collect()
}

/// Returns whether a file contains tests. The crate `lab` and xtask may sleep, because they measure
/// time.
fn is_test(path: &str) -> bool {
    let names_tests = path.contains("tests/") || path.ends_with("tests.rs");
    let is_lab = path.starts_with("crates/lab/") || path.starts_with("crates/namespace/");
    names_tests && !is_lab && !path.starts_with("xtask/")
}

fn long_sleeps(file: &TextFile) -> Vec<Finding> {
    let Some(code) = &file.code else {
        return Vec::new();
    };
    let sleeps = code.match_indices(SLEEP).filter_map(|(at, _)| {
        let rest = &code[at + SLEEP.len()..];
        let argument = &rest[..rest.find(';').unwrap_or(rest.len())];
        let ms = milliseconds(code, argument)?;
        (ms > MAX_SLEEP_MS).then(|| Finding {
            file: file.path.clone(),
            line: file.line_of(at),
            wrong: Wrong::LongSleep { ms },
        })
    });
    sleeps.collect()
}

/// Returns the duration if it is a literal or a constant of the same file.
fn milliseconds(code: &str, argument: &str) -> Option<u64> {
    let of_literal = |text: &str| {
        UNITS.into_iter().find_map(|(unit, ms)| {
            let (_, number) = text.split_once(unit)?;
            let digits: String = number
                .chars()
                .filter(|c| *c != '_')
                .take_while(char::is_ascii_digit)
                .collect();
            Some(digits.parse::<u64>().ok()? * ms)
        })
    };
    let of_constant = || {
        let name: String = argument
            .chars()
            .take_while(|c| c.is_ascii_uppercase() || *c == '_')
            .collect();
        let declared = (!name.is_empty()).then(|| code.split_once(&format!("const {name}: ")))?;
        of_literal(declared?.1.split(';').next()?)
    };
    of_literal(argument).or_else(of_constant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sleeps_of_tests_are_found_as_literals_and_as_constants() {
        let text = "const LONG: Duration = Duration::from_millis(1_500);\n\
                    fn a() { std::thread::sleep(Duration::from_secs(1)); }\n\
                    fn b() { thread::sleep(LONG); }\n\
                    fn c() { thread::sleep(Duration::from_millis(200)); }\n\
                    fn d() { thread::sleep(pause); lab::let_pass(LONG, \"a load lasts\"); }\n";
        let file = TextFile::new("tests/some.rs", text.to_owned());
        let found = long_sleeps(&file);
        let found: Vec<_> = found.iter().map(|one| (one.line, &one.wrong)).collect();
        let long = [1000, 1500].map(|ms| Wrong::LongSleep { ms });
        assert_eq!(found, [(2, &long[0]), (3, &long[1])]);
    }

    #[test]
    fn code_that_is_no_test_may_sleep() {
        assert!(is_test("crates/a/tests/it/main.rs") && is_test("tests/some.rs"));
        assert!(is_test("crates/a/src/tests.rs") && !is_test("crates/a/src/wait.rs"));
        assert!(!is_test("crates/lab/tests/weather.rs"));
    }
}
