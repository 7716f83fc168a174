//! Implements `cargo xtask conformance`: runs HAProxy's own regression tests with Evenkeel.
//!
//! The tests come from a directory of HAProxy's repository, which is not part of this one, and
//! varnishtest runs them. `tests/conformance` lists the expected result of each test by name; an
//! unexpected failure and an unexpected success are both reported. Each test runs in its own
//! network and process namespace, on one processor: idle server connections belong to a thread, and
//! the thread of a client would otherwise be random.

mod error;
mod expected;
mod options;
mod source;
mod trial;

use crate::comparison;
use error::ConformanceError;
use expected::{Expectation, Expected};
use options::Options;
use source::Source;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use trial::{Bench, Outcome};

/// Runs the tests of the command line.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parsed = options::parse(arguments);
    comparison::options::main("conformance", options::HELP, parsed, run)
}

/// Returns whether all results were as expected.
fn run(options: &Options) -> Result<bool, ConformanceError> {
    lab::privileged().map_err(ConformanceError::Missing)?;
    let mut fine = true;
    for release in &options.releases {
        let expected = Expected::read(release)?;
        let scratch = lab::ScratchDirectory::new()?;
        let source = Source::unpack(&options.source, release, scratch.path())?;
        let bench = Bench::new(options, release, source, scratch.path())?;
        let chosen: Vec<(&str, Expectation)> = expected
            .tests()
            .filter(|(name, _)| options.chooses(name))
            .collect();
        let results = try_all(&bench, &chosen, options)?;
        let verdict = Verdict::of(&chosen, &results);
        println!("{}", verdict.text(release, &chosen));
        if options.write {
            expected.write(&results)?;
        } else {
            fine &= verdict.is_fine();
        }
    }
    Ok(fine)
}

/// Name of a test, and the result of its trials.
type TestResult = (String, Outcome);

fn try_all(
    bench: &Bench,
    chosen: &[(&str, Expectation)],
    options: &Options,
) -> Result<Vec<TestResult>, ConformanceError> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let failed = Mutex::new(None);
    let work = |job: usize| {
        while let Some((name, _)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            match bench.try_often(name, job, options.repetitions) {
                Ok(outcome) => lock(&results).push(((*name).to_owned(), outcome)),
                Err(error) => {
                    *lock(&failed) = Some(error);
                    return;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for job in 0..options.jobs {
            scope.spawn(move || work(job));
        }
    });
    if let Some(error) = lock(&failed).take() {
        return Err(error);
    }
    let mut results = std::mem::take(&mut *lock(&results));
    results.sort();
    Ok(results)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Comparison of the results with the expected ones.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    passed: usize,
    unexpected: Vec<String>,
}

impl Verdict {
    fn of(chosen: &[(&str, Expectation)], results: &[TestResult]) -> Verdict {
        let mut verdict = Verdict::default();
        for (name, outcome) in results {
            let expectation = chosen.iter().find(|(known, _)| known == name);
            verdict.passed += usize::from(*outcome == Outcome::Passed);
            let what = match (expectation.map(|(_, is)| *is), outcome) {
                (Some(Expectation::Pass), Outcome::Passed)
                | (Some(Expectation::Fail), Outcome::Failed(_)) => continue,
                (Some(Expectation::Fail), Outcome::Passed) => "unexpected pass".to_owned(),
                (_, Outcome::Flaky(why)) => format!("passes now and then: {why}"),
                (_, Outcome::Failed(why)) => format!("unexpected failure: {why}"),
                (None, Outcome::Passed) => continue,
            };
            verdict.unexpected.push(format!("{name}: {what}"));
        }
        verdict
    }

    fn is_fine(&self) -> bool {
        self.unexpected.is_empty()
    }

    fn text(&self, release: &str, chosen: &[(&str, Expectation)]) -> String {
        let mut text = String::new();
        for line in &self.unexpected {
            text += &format!("{line}\n");
        }
        let tests = chosen.len();
        text + &format!("HAProxy {release}: {} of {tests} tests passed", self.passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_passes_and_tests_that_change_their_minds_are_reported() {
        let chosen = [
            ("a", Expectation::Pass),
            ("b", Expectation::Pass),
            ("c", Expectation::Fail),
            ("d", Expectation::Fail),
            ("e", Expectation::Fail),
        ];
        let results = [
            ("a", Outcome::Passed),
            ("b", Outcome::Failed("why".into())),
            ("c", Outcome::Passed),
            ("d", Outcome::Failed("known".into())),
            ("e", Outcome::Flaky("1 of 2".into())),
        ]
        .map(|(name, outcome)| (name.to_owned(), outcome));
        let verdict = Verdict::of(&chosen, &results);
        assert_eq!(verdict.passed, 2);
        assert_eq!(
            verdict.unexpected,
            [
                "b: unexpected failure: why",
                "c: unexpected pass",
                "e: passes now and then: 1 of 2"
            ]
        );
        assert!(!verdict.is_fine());
        assert!(Verdict::of(&chosen[..1], &results[..1]).is_fine());
    }
}
