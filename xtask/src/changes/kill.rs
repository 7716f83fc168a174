//! Implements the case `kill`: SIGKILL of each process in turn, under the load of `reload`.

use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::crowd::Crowd;
use super::error::ChangesError;
use super::judge::Judge;
use super::report::Report;
use super::site::{ProxyFolder, VERSION_PATH};
use super::subject::{CHANGE_PATIENCE, Running, Subject, kill};
use super::tally::Tally;

/// Time of load before a process is killed.
const BEFORE: Duration = Duration::from_millis(1000);
const AFTER: Duration = Duration::from_millis(2500);
/// Wait of a new request for a response before it counts as unanswered.
const ANSWER_PATIENCE: Duration = Duration::from_secs(3);
/// Timeout of the wait for the process that a change starts.
const LOADER_PATIENCE: Duration = Duration::from_millis(500);
/// Time in which a new proxy process must serve after the old one was killed: the claimed value,
/// and an allowance for the probe's own connection.
const RESTART_MS_MAX: f64 = 200.0 + 50.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Supervisor,
    Worker,
    /// The first process that a change starts.
    Loader,
}

impl Victim {
    const fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor killed: ",
            Self::Worker => "worker killed: ",
            Self::Loader => "loader killed: ",
        }
    }
}

/// Runs the case `kill` for one side.
pub fn run(judge: &mut Judge<'_>, subject: &Subject, right: bool) -> Result<Report, ChangesError> {
    let mut report = Report::default();
    for victim in [Victim::Supervisor, Victim::Worker, Victim::Loader] {
        let site = judge.site(&format!("kill-{victim:?}-{right}"))?;
        site.write(0, 0)?;
        let running = subject.start(&site, 0, &[])?;
        judge.wait_for_down(&running)?;
        let crowd = judge.load(&site.at)?;
        std::thread::sleep(BEFORE);
        crowd.at_change(1);
        let scene = KillRun {
            subject,
            site: &site,
            running,
            crowd,
            victim,
        };
        scene.play(&mut report)?;
    }
    Ok(report)
}

/// A proxy under load, and the process to be killed.
struct KillRun<'s> {
    subject: &'s Subject,
    site: &'s ProxyFolder,
    running: Running<'s>,
    crowd: Crowd,
    victim: Victim,
}

impl KillRun<'_> {
    fn play(self, report: &mut Report) -> Result<(), ChangesError> {
        let name = self.victim.name();
        let killed = match self.victim {
            Victim::Supervisor => Some(self.running.supervisor()),
            Victim::Worker => self.running.workers().first().map(|kin| kin.pid),
            Victim::Loader => self.loader()?,
        };
        let Some(killed) = killed else {
            report.note(format!("{name}there is no such process"));
            return Ok(());
        };
        kill(killed);
        let answered = self.answered();
        report.milliseconds(format!("{name}until a new request is answered"), answered);
        std::thread::sleep(AFTER);
        let tally = self.crowd.tally();
        report.clients(name, &tally);
        match self.victim {
            Victim::Worker => {
                let soon = answered.is_some_and(|ms| ms <= RESTART_MS_MAX);
                report.claim(soon, "no new proxy process served within 200 ms");
            }
            Victim::Supervisor | Victim::Loader => claim_untouched(report, name, &tally),
        }
        self.go_on(report)
    }

    /// Requests a change; returns the process that it starts, or None if none appears in time.
    fn loader(&self) -> Result<Option<Pid>, ChangesError> {
        let before: Vec<Pid> = self.running.family().iter().map(|kin| kin.pid).collect();
        self.site.write(1, 1)?;
        self.running.ask()?;
        let begin = Instant::now();
        while begin.elapsed() < LOADER_PATIENCE {
            let now = self.running.proxy.processes();
            if let Some(new) = now.into_iter().find(|pid| !before.contains(pid)) {
                return Ok(Some(new));
            }
        }
        Ok(None)
    }

    /// Returns the time in milliseconds until a request on a new connection gets a response; None
    /// if it takes too long.
    fn answered(&self) -> Option<f64> {
        let begin = Instant::now();
        while begin.elapsed() < ANSWER_PATIENCE {
            if self.running.get(self.site.at.web, VERSION_PATH).is_ok() {
                return Some(begin.elapsed().as_secs_f64() * 1e3);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    /// Continues after the kill: runs the command again if the supervisor is gone, otherwise makes
    /// a change.
    fn go_on(mut self, report: &mut Report) -> Result<(), ChangesError> {
        let name = self.victim.name();
        let before = self.crowd.tally();
        let promise = self.site.write(2, 2)?;
        if self.running.ended()?.is_some() {
            let begin = Instant::now();
            match self.subject.start(self.site, promise.version, &[]) {
                Ok(again) => {
                    let ms = begin.elapsed().as_secs_f64() * 1e3;
                    report.milliseconds(format!("{name}started again"), Some(ms));
                    let workers = again.workers().len() + self.running.workers().len();
                    report.count(format!("{name}workers then"), workers as u64);
                    std::thread::sleep(BEFORE);
                    self.tell_further(report, &before);
                    return Ok(());
                }
                Err(error) => {
                    report.note(format!("{name}{error}"));
                    report.claim(false, format!("{name}it does not start again"));
                }
            }
            return Ok(());
        }
        self.running.ask()?;
        let seen = self.running.wait_for(promise.version, CHANGE_PATIENCE);
        report.milliseconds(
            format!("{name}the next change is seen after"),
            seen.map(|seen| seen.as_secs_f64() * 1e3),
        );
        report.claim(seen.is_some(), format!("{name}no change works any more"));
        self.tell_further(report, &before);
        Ok(())
    }

    /// Reports the clients' results since `before`.
    fn tell_further(&self, report: &mut Report, before: &Tally) {
        let name = self.victim.name();
        let after = self.crowd.tally();
        let failed = after.all_failed() - before.all_failed();
        let closed = after.closed() - before.closed();
        report.count(format!("{name}failed requests after that"), failed);
        report.count(format!("{name}connections closed after that"), closed);
        let untouched = failed + closed == 0;
        report.claim(
            untouched,
            format!("{name}going on cost requests or connections"),
        );
    }
}

fn claim_untouched(report: &mut Report, name: &str, tally: &Tally) {
    report.claim(tally.all_failed() == 0, format!("{name}requests failed"));
    report.claim(
        tally.closed() + tally.closed_announced == 0,
        format!("{name}connections were closed"),
    );
}
