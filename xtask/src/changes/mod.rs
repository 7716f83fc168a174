//! Implements `cargo xtask changes`: measures the effects of changes to a proxy on its clients, for
//! HAProxy and Evenkeel.
//!
//! Each case starts a proxy, puts it under a load whose clients never retry, changes it, and prints
//! the results of the clients. The task measures no CPU time (`bench` does) and knows nothing of
//! the internals of a proxy.

mod client;
mod counters;
mod crowd;
mod echo;
mod error;
mod judge;
mod kill;
mod options;
mod origins;
mod reload;
mod report;
mod servers;
mod site;
mod soak;
mod subject;
mod tally;
mod turn;
mod upgrade;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::comparison;
use error::ChangesError;
use judge::{Judge, version};
use options::{Case, Options, Pair};
use report::{Labelled, Report};
use subject::Subject;

/// Runs the cases of the command line.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parsed = options::parse(arguments);
    comparison::options::main("changes", options::HELP, parsed, run)
}

/// The two programs; one that is not selected is not checked.
struct Sides {
    left: Option<Subject>,
    right: Option<Subject>,
}

fn run(options: &Options) -> Result<bool, ChangesError> {
    let mut judge = Judge::new(options)?;
    let folder = judge.scratch.path().to_owned();
    let prepare = |asked, line, label, name| {
        let prepared = || Subject::prepare(line, label, &folder.join(name), None);
        bool::then(asked, prepared).transpose()
    };
    let mut sides = Sides {
        left: prepare(options.run_left, &options.left, "left", "left")?,
        right: None,
    };
    if options.run_right {
        let program = folder.join("right");
        sides.right = Some(Subject::prepare(
            &options.right,
            "right",
            &program,
            options.signal,
        )?);
    }
    for subject in [&sides.left, &sides.right].into_iter().flatten() {
        println!("{}: {}", subject.label(), version(&subject.side));
    }
    let mut good = true;
    for case in &options.cases {
        good &= match case {
            Case::Reload => both(&mut judge, &sides, case.name(), reload::run),
            Case::Servers => both(&mut judge, &sides, case.name(), servers::run),
            Case::Kill => both(&mut judge, &sides, case.name(), kill::run),
            Case::Soak => both(&mut judge, &sides, case.name(), soak::run),
            Case::Upgrade => upgrades(&mut judge, &mut sides),
        };
    }
    Ok(good)
}

type Run = fn(&mut Judge<'_>, &Subject, bool) -> Result<Report, ChangesError>;

/// Runs a case for both sides, one after the other. Returns whether the right one meets its claims.
fn both(judge: &mut Judge<'_>, sides: &Sides, title: &str, run: Run) -> bool {
    let mut reports = Vec::new();
    let mut good = true;
    for (subject, right) in [(&sides.left, false), (&sides.right, true)] {
        let Some(subject) = subject else { continue };
        good &= take(
            &mut reports,
            title,
            subject.label(),
            right,
            run(judge, subject, right),
        );
    }
    print(title, &reports, good);
    good
}

/// Stores a report; returns false if the right side has none, or does not meet its claims.
fn take(
    reports: &mut Vec<Labelled>,
    title: &str,
    label: &str,
    right: bool,
    result: Result<Report, ChangesError>,
) -> bool {
    match result {
        Ok(report) => {
            let good = report.keeps_claims() || !right;
            reports.push((label.to_owned(), report));
            good
        }
        Err(error) => {
            eprintln!("changes: {title}: {label}: {error}");
            !right
        }
    }
}

fn upgrades(judge: &mut Judge<'_>, sides: &mut Sides) -> bool {
    let mut good = true;
    let options = judge.options;
    for pair in &options.pairs {
        good &= match pair {
            Pair::Same => both(judge, sides, "upgrade, -sf -x", upgrade::to_itself),
            Pair::Binary => both(judge, sides, "upgrade, file replaced", upgrade::binary),
            Pair::Mixed => {
                let (Some(left), Some(right)) = (&sides.left, &sides.right) else {
                    eprintln!("changes: upgrade: a mixed pair needs both sides");
                    good = false;
                    continue;
                };
                let title = "upgrade, left and right in turn";
                let mut reports = Vec::new();
                let result = upgrade::mixed(judge, left, right);
                let kept = take(&mut reports, title, "mixed", true, result);
                print(title, &reports, kept);
                kept
            }
        };
    }
    good
}

fn print(title: &str, reports: &[Labelled], good: bool) {
    print!("{}", report::table(title, reports));
    println!("{}", report::line(title, reports, good));
}
