//! Reads and writes the expected result of each test, in the lists in `tests/conformance`. The
//! lists contain names and reasons, and nothing of the tests themselves.

use super::error::ConformanceError;
use super::trial::Outcome;
use crate::bench::options::workspace;
use std::fs;
use std::path::PathBuf;

/// Releases of HAProxy that have a list, each with the git revision of the tests.
pub const RELEASES: [(&str, &str); 3] = [("2.6", "v2.6.0"), ("3.2", "v3.2.0"), ("3.4", "v3.4.0")];

/// Expected result of a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expectation {
    Pass,
    Fail,
}

/// A line of a list.
#[derive(Debug)]
enum Line {
    Other(String),
    /// A test: the expected result, its name, and the text after it.
    Test(Expectation, String, String),
}

#[derive(Debug)]
pub struct Expected {
    path: PathBuf,
    lines: Vec<Line>,
}

impl Expected {
    /// Reads the list of a release.
    pub fn read(release: &str) -> Result<Expected, ConformanceError> {
        let path = workspace().join(format!("tests/conformance/haproxy-{release}.txt"));
        let text = fs::read_to_string(&path).map_err(|source| ConformanceError::File {
            path: path.clone(),
            source,
        })?;
        match parse(&text) {
            Ok(lines) => Ok(Expected { path, lines }),
            Err(number) => Err(ConformanceError::Line { path, number }),
        }
    }

    /// Returns all tests with their expected results.
    pub fn tests(&self) -> impl Iterator<Item = (&str, Expectation)> {
        self.lines.iter().filter_map(|line| match line {
            Line::Test(expectation, name, _) => Some((name.as_str(), *expectation)),
            Line::Other(_) => None,
        })
    }

    /// Writes the list with these results; lines of tests that did not run stay unchanged.
    pub fn write(&self, results: &[(String, Outcome)]) -> Result<(), ConformanceError> {
        let text: String = self
            .lines
            .iter()
            .map(|line| written(line, results))
            .collect();
        fs::write(&self.path, text).map_err(|source| ConformanceError::File {
            path: self.path.clone(),
            source,
        })
    }
}

/// Parses the lines of a list; an error is the number of an invalid line.
fn parse(text: &str) -> Result<Vec<Line>, usize> {
    let line = |(number, text): (usize, &str)| {
        if text.is_empty() || text.starts_with('#') {
            return Ok(Line::Other(text.to_owned()));
        }
        let (what, rest) = text.split_once(' ').ok_or(number + 1)?;
        let expectation = match what {
            "pass" => Expectation::Pass,
            "fail" => Expectation::Fail,
            _ => return Err(number + 1),
        };
        let (name, reason) = rest.split_once("  ").unwrap_or((rest, ""));
        let is_test = name.ends_with(".vtc") && !name.contains(' ');
        let reason = reason.trim().to_owned();
        let test = Line::Test(expectation, name.to_owned(), reason);
        is_test.then_some(test).ok_or(number + 1)
    };
    text.lines().enumerate().map(line).collect()
}

fn written(line: &Line, results: &[(String, Outcome)]) -> String {
    let (expectation, name, reason) = match line {
        Line::Other(text) => return format!("{text}\n"),
        Line::Test(expectation, name, reason) => (*expectation, name, reason),
    };
    let result = results.iter().find(|(known, _)| known == name);
    let expectation = match result.map(|(_, outcome)| outcome) {
        None => expectation,
        Some(Outcome::Passed) => Expectation::Pass,
        Some(_) => Expectation::Fail,
    };
    match (expectation, reason.as_str()) {
        (Expectation::Pass, _) => format!("pass {name}\n"),
        (Expectation::Fail, "") => format!("fail {name}\n"),
        (Expectation::Fail, reason) => format!("fail {name}  {reason}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_written_as_it_stands_but_for_new_results() {
        let text = "# head\n\npass a/b.vtc\nfail a/c.vtc  why not\npass a/d.vtc\n";
        let lines = parse(text).unwrap();
        let again = |results: &[(String, Outcome)]| -> String {
            lines.iter().map(|line| written(line, results)).collect()
        };
        assert_eq!(again(&[]), text);
        let results = [
            ("a/c.vtc".to_owned(), Outcome::Passed),
            ("a/d.vtc".to_owned(), Outcome::Failed("x".into())),
        ];
        let new = "# head\n\npass a/b.vtc\npass a/c.vtc\nfail a/d.vtc\n";
        assert_eq!(again(&results), new);
        for wrong in ["pass", "skip a.vtc", "pass a", "pass a b.vtc"] {
            assert_eq!(parse(&format!("# x\n{wrong}\n")).err(), Some(2), "{wrong}");
        }
    }

    #[test]
    fn the_lists_of_the_tree_can_be_read() {
        for (release, _) in RELEASES {
            let expected = Expected::read(release).unwrap_or_else(|error| panic!("{error}"));
            assert!(expected.tests().count() > 100, "{release}");
        }
    }
}
