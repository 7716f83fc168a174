//! Implements the case `upgrade`: another process repeatedly takes over from the running one, under
//! the load of `reload`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::bench::error::BenchError;
use crate::bench::table::quantile;

use super::crowd::Crowd;
use super::error::ChangesError;
use super::judge::Judge;
use super::options::Case;
use super::report::Report;
use super::site::ProxyFolder;
use super::subject::{CHANGE_PATIENCE, Running, Subject};
use super::tally::Tally;

/// Time of load before the first takeover, between two, and after the last.
const PAUSE: Duration = Duration::from_millis(1200);
/// Maximum lifetime of an old process: somewhat more than `hard-stop-after`.
const END_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Upgrades {
    asked: u64,
    seen_ms: Vec<f64>,
    unseen: u64,
    fallen: u64,
    /// Old processes that did not end in time.
    overstayed: u64,
    tally: Tally,
    /// Failed requests after each takeover, by who took over.
    failed_by: BTreeMap<String, u64>,
    /// Processes whose program file no longer exists.
    old_binaries: u64,
    workers: u64,
}

/// Runs takeovers between processes of the same program.
pub fn to_itself(
    judge: &mut Judge<'_>,
    subject: &Subject,
    right: bool,
) -> Result<Report, ChangesError> {
    let rounds = judge.options.rounds(Case::Upgrade, right);
    let upgrades = take_over(judge, &[subject], rounds, &format!("upgrade-{right}"))?;
    Ok(upgrades.report(right))
}

/// Runs takeovers in which the left program replaces the right one, and the reverse.
pub fn mixed(
    judge: &mut Judge<'_>,
    left: &Subject,
    right: &Subject,
) -> Result<Report, ChangesError> {
    // A round consists of two takeovers, in both directions.
    let rounds = 2 * judge.options.rounds(Case::Upgrade, true);
    let upgrades = take_over(judge, &[left, right], rounds, "upgrade-mixed")?;
    // Does not require the counters to survive, because the other program cannot import them.
    Ok(upgrades.report(false))
}

fn take_over(
    judge: &mut Judge<'_>,
    subjects: &[&Subject],
    rounds: u64,
    name: &str,
) -> Result<Upgrades, ChangesError> {
    let mut site = judge.site(name)?;
    site.hard_stop = true;
    site.keeps_idle = subjects.len() > 1;
    // Leaves out the server that is down between different programs, because the new one does not
    // know its state.
    site.down = subjects.len() == 1;
    site.write(0, 0)?;
    let mut turns = subjects.iter().cycle();
    let mut next = || turns.next().copied();
    let Some(first) = next() else {
        return Ok(Upgrades::default());
    };
    let mut current = first.start(&site, 0, &[])?;
    if site.down {
        judge.wait_for_down(&current)?;
    }
    let crowd = judge.load(&site.at)?;
    let mut upgrades = Upgrades::default();
    let mut leaving = Vec::new();
    let mut failed_before = 0;
    std::thread::sleep(PAUSE);
    for number in 1..=rounds {
        let Some(subject) = next() else { break };
        crowd.at_change(number);
        upgrades.asked += 1;
        let before = current.counters()?;
        site.write(number, number)?;
        let more: [OsString; 4] = [
            "-x".into(),
            site.socket().into(),
            "-sf".into(),
            current.supervisor().as_raw_nonzero().to_string().into(),
        ];
        let begin = Instant::now();
        let new = subject.start(&site, number, &more)?;
        upgrades.seen_ms.push(begin.elapsed().as_secs_f64() * 1e3);
        leaving.push((std::mem::replace(&mut current, new), Instant::now()));
        upgrades.fallen += before.fallen(&current.counters()?).len() as u64;
        upgrades.see_off(&mut leaving, false)?;
        std::thread::sleep(PAUSE);
        let failed = crowd.tally().all_failed();
        let told = upgrades.failed_by.entry(subject.label().to_owned());
        *told.or_default() += failed - failed_before;
        failed_before = failed;
    }
    upgrades.see_off(&mut leaving, true)?;
    upgrades.finish(&current, crowd)
}

/// Replaces the program's file by another copy before each change.
pub fn binary(
    judge: &mut Judge<'_>,
    subject: &Subject,
    right: bool,
) -> Result<Report, ChangesError> {
    let rounds = judge.options.rounds(Case::Upgrade, right);
    let mut site = judge.site(&format!("binary-{right}"))?;
    site.hard_stop = true;
    site.write(0, 0)?;
    let program = &subject.side.program;
    let original = fs::canonicalize(program).map_err(BenchError::file("finding", program))?;
    let mut upgrades = Upgrades::default();
    replace(&original, program)?;
    // Restores the link for the following cases, even after an error.
    let _restored = Restored(&original, program);
    let current = subject.start(&site, 0, &[])?;
    judge.wait_for_down(&current)?;
    let crowd = judge.load(&site.at)?;
    for number in 1..=rounds {
        std::thread::sleep(PAUSE);
        crowd.at_change(number);
        upgrades.step(number, &site, &current, || replace(&original, program))?;
    }
    std::thread::sleep(END_PATIENCE);
    let mut upgrades = upgrades.finish(&current, crowd)?;
    let family = current.family();
    upgrades.old_binaries = family.iter().filter(|kin| !kin.current_binary).count() as u64;
    Ok(upgrades.report(right))
}

/// Puts a fresh copy of `original` in the place of `program`, at once.
fn replace(original: &Path, program: &Path) -> Result<(), ChangesError> {
    let new = program.with_extension("new");
    fs::copy(original, &new).map_err(BenchError::file("copying to", &new))?;
    fs::rename(&new, program).map_err(BenchError::file("renaming to", program))?;
    Ok(())
}

struct Restored<'p>(&'p Path, &'p Path);

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        // Ignores a failure, because the copy works like the link.
        if fs::remove_file(self.1).is_ok() {
            let _ = std::os::unix::fs::symlink(self.0, self.1);
        }
    }
}

impl Upgrades {
    fn step(
        &mut self,
        number: u64,
        site: &ProxyFolder,
        current: &Running<'_>,
        replace: impl FnOnce() -> Result<(), ChangesError>,
    ) -> Result<(), ChangesError> {
        self.asked += 1;
        let before = current.counters()?;
        replace()?;
        site.write(number, number)?;
        current.ask()?;
        match current.wait_for(number, CHANGE_PATIENCE) {
            Some(seen) => self.seen_ms.push(seen.as_secs_f64() * 1e3),
            None => self.unseen += 1,
        }
        self.fallen += before.fallen(&current.counters()?).len() as u64;
        Ok(())
    }

    /// Removes old processes that have ended, and counts those that exceeded their lifetime.
    fn see_off(
        &mut self,
        leaving: &mut Vec<(Running<'_>, Instant)>,
        wait: bool,
    ) -> Result<(), ChangesError> {
        let mut staying = Vec::new();
        for (mut old, since) in leaving.drain(..) {
            while wait && old.ended()?.is_none() && since.elapsed() < END_PATIENCE {
                std::thread::sleep(Duration::from_millis(20));
            }
            if old.ended()?.is_some() {
                continue;
            }
            if since.elapsed() < END_PATIENCE {
                staying.push((old, since));
            } else {
                self.overstayed += 1;
            }
        }
        leaving.extend(staying);
        Ok(())
    }

    fn finish(mut self, current: &Running<'_>, crowd: Crowd) -> Result<Self, ChangesError> {
        self.tally = crowd.stop()?;
        self.workers = current.workers().len() as u64;
        Ok(self)
    }

    fn report(self, keeps_counters: bool) -> Report {
        let mut report = Report::default();
        report.count("upgrades", self.asked);
        report.count("upgrades never seen", self.unseen);
        let median = quantile(&self.seen_ms, 0.5);
        report.milliseconds(
            "until new content, median",
            median.is_finite().then_some(median),
        );
        report.clients("", &self.tally);
        for (label, failed) in self.failed_by.iter().filter(|_| self.failed_by.len() > 1) {
            report.count(format!("failed requests after {label} took over"), *failed);
        }
        report.count("counters that fell", self.fallen);
        report.count("old processes that stayed too long", self.overstayed);
        report.count("processes of a file that was replaced", self.old_binaries);
        report.count("worker processes at the end", self.workers);
        report.claim(self.tally.all_failed() == 0, "requests failed");
        report.claim(self.unseen == 0, "an upgrade was never seen");
        report.claim(self.overstayed == 0, "an old process stayed too long");
        report.claim(self.old_binaries == 0, "an old binary still runs");
        report.claim(self.workers == 1, "there is not exactly one proxy process");
        report.claim(self.fallen == 0 || !keeps_counters, "a counter fell");
        report
    }
}
