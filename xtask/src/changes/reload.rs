//! Implements the case `reload`: many changes between different files under load; every tenth file
//! is invalid.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::bench::table::quantile;

use super::counters::Fallen;
use super::error::ChangesError;
use super::judge::Judge;
use super::options::Case;
use super::report::Report;
use super::site::{Promise, ProxyFolder};
use super::subject::{CHANGE_PATIENCE, Kin, Running, Subject};
use super::tally::{Held, Tally};

/// Every file whose number is a multiple of this is invalid.
const BAD_EVERY: u64 = 10;
/// Number of changes after which memory and descriptors are first read.
const BASELINE: u64 = 9;
/// Observation time after an invalid file.
const BAD_PATIENCE: Duration = Duration::from_millis(250);
/// Time of load before the first change.
const BEFORE: Duration = Duration::from_millis(700);
const SETTLE: Duration = Duration::from_millis(1500);
/// Pause between two changes of the configuration.
const PAUSE: Duration = Duration::from_millis(60);
/// Number of unseen changes after which no more are requested.
const UNSEEN_MAX: u64 = 2;
/// Permitted factor of the growth of memory.
const MEMORY_GROWTH: f64 = 1.10;
const MEMORY_SLACK_BYTES: u64 = 2 * 1024 * 1024;
/// Permitted difference of the number of descriptors, because idle server connections vary.
const DESCRIPTORS_SLACK: u64 = 16;
/// Timeout of the wait until idle server connections are closed.
const REST: Duration = Duration::from_secs(15);

/// Memory and descriptors of all processes at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Footprint {
    bytes: u64,
    descriptors: u64,
}

impl Footprint {
    fn of(family: &[Kin]) -> Self {
        Self {
            bytes: family.iter().map(|kin| kin.anonymous_bytes).sum(),
            descriptors: family.iter().map(|kin| kin.descriptors).sum(),
        }
    }
}

/// Returns the processes once they have as many descriptors as at first, or after a timeout: idle
/// server connections are closed, leaked ones remain.
fn at_rest(running: &Running<'_>, baseline: Footprint) -> Vec<Kin> {
    let until = Instant::now() + REST;
    loop {
        let family = running.family();
        let more = Footprint::of(&family).descriptors > baseline.descriptors + DESCRIPTORS_SLACK;
        if !more || Instant::now() >= until {
            return family;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Results of the changes themselves.
#[derive(Debug, Default)]
struct Changes {
    asked: u64,
    /// Times in milliseconds until a new request was served by the new file.
    seen_ms: Vec<f64>,
    unseen: u64,
    unkept: Vec<String>,
    bad: u64,
    bad_taken: u64,
    fallen: Vec<Fallen>,
    baseline: Footprint,
}

/// Runs the case `reload` for one side.
pub fn run(judge: &mut Judge<'_>, subject: &Subject, right: bool) -> Result<Report, ChangesError> {
    let rounds = judge.options.rounds(Case::Reload, right);
    let site = judge.site(&format!("reload-{}", if right { "right" } else { "left" }))?;
    let first = site.write(0, 0)?;
    let running = subject.start(&site, 0, &[])?;
    judge.wait_for_down(&running)?;
    let (tried_before, checks_before) = (judge.down.tried(), judge.down.checks());
    let crowd = judge.load(&site.at)?;
    std::thread::sleep(BEFORE);
    let mut changes = Changes::default();
    let mut course = Course {
        site: &site,
        running: &running,
        promise: first,
        rounds,
    };
    for number in 1..=rounds {
        crowd.at_change(number);
        course.step(number, &mut changes)?;
        std::thread::sleep(PAUSE);
        if changes.unseen >= UNSEEN_MAX {
            break;
        }
        if number == course.baseline() {
            std::thread::sleep(SETTLE);
            changes.baseline = Footprint::of(&running.family());
        }
    }
    std::thread::sleep(SETTLE);
    // Reads the number of requests before the counters, so that the counters cannot be lower.
    let seen = crowd.tally().requests;
    let counted = running.counters()?;
    let family = at_rest(&running, changes.baseline);
    let workers = running.workers();
    let elapsed = crowd.elapsed();
    let tally = crowd.stop()?;
    let tried = judge.down.tried() - tried_before;
    let mut report = Report::default();
    report.row(
        "load",
        format!(
            "{:.0} requests/s",
            tally.requests as f64 / elapsed.as_secs_f64()
        ),
        json!(tally.requests as f64 / elapsed.as_secs_f64()),
    );
    changes.tell(&mut report);
    report.clients("", &tally);
    tell_counters(
        &mut report,
        &changes,
        counted.of("web/FRONTEND", "req_tot"),
        seen,
    );
    report.count("requests to the server that is down", tried);
    report.count("checks of it", judge.down.checks() - checks_before);
    report.claim(tried == 0, "a server that is down was tried");
    tell_processes(&mut report, &changes, &family, &workers);
    judge_clients(&mut report, &tally);
    Ok(report)
}

struct Course<'c> {
    site: &'c ProxyFolder,
    running: &'c Running<'c>,
    /// Properties of the file in service.
    promise: Promise,
    rounds: u64,
}

impl Course<'_> {
    fn last_good(&self) -> u64 {
        if self.rounds.is_multiple_of(BAD_EVERY) {
            self.rounds - 1
        } else {
            self.rounds
        }
    }

    /// Returns the number of the change after which memory is first read.
    fn baseline(&self) -> u64 {
        if self.rounds > 2 * BASELINE {
            BASELINE
        } else {
            (self.rounds / 2).max(1)
        }
    }

    fn step(&mut self, number: u64, changes: &mut Changes) -> Result<(), ChangesError> {
        // Uses the same shape for the files between which memory is compared.
        let at_rest = number == self.baseline() || number == self.last_good();
        let shape = if at_rest { 0 } else { number };
        let before = self.running.counters()?;
        changes.asked += 1;
        if number.is_multiple_of(BAD_EVERY) {
            changes.bad += 1;
            self.site.write_bad(number, shape)?;
            self.running.ask()?;
            let taken = self.running.wait_for(number, BAD_PATIENCE).is_some();
            let standing = self.running.wait_for(self.promise.version, CHANGE_PATIENCE);
            changes.bad_taken += u64::from(taken || standing.is_none());
        } else {
            let promise = self.site.write(number, shape)?;
            self.running.ask()?;
            match self.running.wait_for(number, CHANGE_PATIENCE) {
                Some(seen) => changes.seen_ms.push(seen.as_secs_f64() * 1e3),
                None => changes.unseen += 1,
            }
            if let Some(unkept) = self.running.unkept(&promise) {
                changes.unkept.push(format!("change {number}: {unkept}"));
            }
            self.promise = promise;
        }
        changes
            .fallen
            .extend(before.fallen(&self.running.counters()?));
        Ok(())
    }
}

impl Changes {
    fn tell(&self, report: &mut Report) {
        report.count("changes", self.asked);
        report.count("mistaken files", self.bad);
        report.count("changes never seen", self.unseen);
        report.count("changes applied in part only", self.unkept.len() as u64);
        report.count("mistaken files taken, or harmful", self.bad_taken);
        let median = quantile(&self.seen_ms, 0.5);
        let slowest = quantile(&self.seen_ms, 1.0);
        let some = |ms: f64| ms.is_finite().then_some(ms);
        report.milliseconds("signal to new content, median", some(median));
        report.milliseconds("signal to new content, slowest", some(slowest));
        for unkept in self.unkept.iter().take(5) {
            report.note(unkept.clone());
        }
        report.claim(self.unseen == 0, "a change was never seen");
        report.claim(self.unkept.is_empty(), "a change was applied in part only");
        report.claim(self.bad_taken == 0, "a mistaken file changed something");
    }
}

fn tell_counters(report: &mut Report, changes: &Changes, counted: Option<u64>, seen: u64) {
    report.count("counters that fell", changes.fallen.len() as u64);
    report.row(
        "requests that the frontend counted",
        counted.map_or("none".to_owned(), |count| count.to_string()),
        json!(counted),
    );
    for fallen in changes.fallen.iter().take(3) {
        let Fallen {
            what,
            before,
            after,
        } = fallen;
        report.note(format!("{what} was {before}, then {after}"));
    }
    report.claim(changes.fallen.is_empty(), "a counter fell");
    report.claim(
        counted.is_some_and(|counted| counted >= seen),
        "the frontend counted fewer requests than were made",
    );
}

fn tell_processes(report: &mut Report, changes: &Changes, family: &[Kin], workers: &[Kin]) {
    let end = Footprint::of(family);
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    report.count("worker processes at the end", workers.len() as u64);
    let mut users: Vec<u32> = workers.iter().map(|kin| kin.user).collect();
    users.sort_unstable();
    users.dedup();
    report.row(
        "user ids of the workers",
        format!("{users:?}"),
        json!(users),
    );
    let baseline = changes.baseline;
    report.row(
        "memory after the first changes",
        mib(baseline.bytes),
        json!(baseline.bytes),
    );
    report.row("memory at the end", mib(end.bytes), json!(end.bytes));
    report.count("descriptors after the first changes", baseline.descriptors);
    report.count("descriptors at the end", end.descriptors);
    for kin in workers.iter().skip(1).take(3) {
        let pid = kin.pid.as_raw_nonzero();
        report.note(format!("one more process, {pid}: {}", kin.words));
    }
    report.claim(workers.len() == 1, "there is not exactly one proxy process");
    let bound = (baseline.bytes as f64 * MEMORY_GROWTH) as u64 + MEMORY_SLACK_BYTES;
    report.claim(
        end.bytes <= bound,
        format!("memory grew beyond {}", mib(bound)),
    );
    report.claim(
        end.descriptors <= baseline.descriptors + DESCRIPTORS_SLACK,
        format!("descriptors grew by more than {DESCRIPTORS_SLACK}"),
    );
}

fn judge_clients(report: &mut Report, tally: &Tally) {
    report.claim(tally.all_failed() == 0, "requests failed");
    report.claim(
        tally.closed() + tally.closed_announced == 0,
        "connections were closed",
    );
    for held in [Held::WebSocket, Held::Tunnel] {
        report.claim(tally.breaks(held) == 0, format!("a {} broke", held.name()));
    }
    report.claim(
        tally.echoed_bytes > 0,
        "nothing came back over what was held",
    );
}
