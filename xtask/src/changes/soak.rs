//! Implements the case `soak`: traffic of all kinds, and every second a random action on the proxy
//! or on its clients, from a seed. Requests that no action affects must not fail, and in the end
//! memory and descriptors must be back at their initial values.

use lab::Random;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bench::attack::{Attack, Attackers};

use super::crowd::Crowd;
use super::error::ChangesError;
use super::judge::Judge;
use super::options::Case;
use super::report::Report;
use super::site::ProxyFolder;
use super::subject::{Kin, Running, Subject, kill};

/// Mean pause between two steps.
const STEP: Duration = Duration::from_secs(1);
/// Number of steps before memory is first read, by which all kinds of traffic have occurred.
const WARM_UP: u64 = 20;
/// Timeout of a change, and of the recovery after a role was killed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Wait after a kill until its effects on clients are counted.
const AFTERMATH: Duration = Duration::from_secs(2);
/// Time at the end in which memory and descriptors may decrease.
const REST: Duration = Duration::from_secs(10);
/// Permitted growth of memory at the end in bytes, in addition to a share of it.
const BYTES_SLACK: u64 = 48 << 20;
const DESCRIPTORS_SLACK: u64 = 16;
/// Number of clients that disconnect in the middle of a request.
const CUT: usize = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Reload,
    Weight,
    StopServer,
    Map,
    Cut,
    Attack(Attack),
    KillRole,
}

impl Step {
    fn of(random: u64) -> Step {
        match random % 24 {
            0..=5 => Step::Reload,
            6..=8 => Step::Weight,
            9..=11 => Step::StopServer,
            12..=14 => Step::Map,
            15..=17 => Step::Cut,
            18 => Step::Attack(Attack::ChunkedUpload),
            19 => Step::Attack(Attack::RapidReset),
            20 => Step::Attack(Attack::HpackBomb),
            21 => Step::Attack(Attack::Pings),
            22 => Step::Attack(Attack::Headers),
            _ => Step::KillRole,
        }
    }
}

/// Memory and descriptors of all processes but the supervisor.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    bytes: u64,
    descriptors: u64,
}

impl Held {
    fn of(workers: &[Kin]) -> Self {
        Held {
            bytes: workers.iter().map(|kin| kin.anonymous_bytes).sum(),
            descriptors: workers.iter().map(|kin| kin.descriptors).sum(),
        }
    }
}

/// Runs the case `soak` for one side; a round is a step.
pub fn run(judge: &mut Judge<'_>, subject: &Subject, right: bool) -> Result<Report, ChangesError> {
    let steps = judge.options.rounds(Case::Soak, right);
    let site = judge.site(&format!("soak-{right}"))?;
    site.write(0, 0)?;
    let running = subject.start(&site, 0, &[])?;
    judge.wait_for_down(&running)?;
    let mut soak = Soak {
        crowd: judge.load(&site.at)?,
        site: &site,
        running: &running,
        random: Random::new(judge.options.seed),
        version: 0,
        kills: 0,
        allowed: 0,
        closed_allowed: 0,
        stuck: Vec::new(),
    };
    let mut first = Held::default();
    for number in 1..=steps {
        let begin = Instant::now();
        soak.crowd.at_change(number);
        let step = Step::of(soak.random.next());
        soak.step(number, step)?;
        if number == WARM_UP.min(steps) {
            first = Held::of(&running.workers());
        }
        std::thread::sleep(STEP.saturating_sub(begin.elapsed()));
    }
    soak.judge(steps, first)
}

struct Soak<'s> {
    crowd: Crowd,
    site: &'s ProxyFolder,
    running: &'s Running<'s>,
    random: Random,
    version: u64,
    kills: u64,
    /// Failures, and connections that were closed, for which a kill was the cause.
    allowed: u64,
    closed_allowed: u64,
    /// Steps that did not complete.
    stuck: Vec<String>,
}

impl Soak<'_> {
    fn step(&mut self, number: u64, step: Step) -> Result<(), ChangesError> {
        let random = self.random.next();
        match step {
            Step::Reload => {
                self.site.write(number, random % 64)?;
                self.running.ask()?;
                self.version = number;
                self.served(number, step);
            }
            Step::Weight => {
                self.command(&format!("set weight app/s0 {}", 1 + random % 100));
                self.command(&format!("set weight app/s1 {}", 1 + random % 100));
            }
            Step::StopServer => {
                self.command("set server app/s1 state maint");
                std::thread::sleep(STEP / 2);
                self.command("set server app/s1 state ready");
            }
            Step::Map => {
                let map = self.site.folder.join("hosts.map");
                let name = format!("soaked{}.test", random % 50);
                self.command(&format!("add map {} {name} app", map.display()));
                self.command(&format!("del map {} {name}", map.display()));
            }
            Step::Cut => self.cut(),
            Step::Attack(attack) => {
                let attackers = Attackers::start(attack, self.site.at.web, 0);
                std::thread::sleep(STEP);
                drop(attackers);
            }
            Step::KillRole => {
                let before = self.crowd.tally();
                let Some(role) = self.running.workers().first().map(|kin| kin.pid) else {
                    self.stuck
                        .push(format!("{number}: there is no process to kill"));
                    return Ok(());
                };
                kill(role);
                self.kills += 1;
                self.served(number, step);
                std::thread::sleep(AFTERMATH);
                let after = self.crowd.tally();
                self.allowed += after.all_failed() - before.all_failed();
                let closed = after.closed() + after.closed_announced;
                self.closed_allowed += closed - before.closed() - before.closed_announced;
            }
        }
        Ok(())
    }

    /// Waits until the current version responds.
    fn served(&mut self, number: u64, step: Step) {
        if self.running.wait_for(self.version, PATIENCE).is_none() {
            self.stuck.push(format!("{number}: {step:?}"));
        }
    }

    /// Sends a command to the statistics socket and ignores the reply: this version of the file may
    /// not have the server.
    fn command(&self, command: &str) {
        let sent = UnixStream::connect(self.site.socket()).and_then(|mut socket| {
            socket.set_read_timeout(Some(STEP))?;
            socket.write_all(format!("{command}\n").as_bytes())?;
            socket.read_to_end(&mut Vec::new())
        });
        // Ignores an error, because a killed role may not have restarted yet.
        drop(sent);
    }

    /// Connects clients that disconnect in the middle of a request.
    fn cut(&self) {
        let clients = (0..CUT).filter_map(|_| {
            let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, self.site.at.web)).ok()?;
            let head = "POST /bench/100 HTTP/1.1\r\nHost: one.test\r\nContent-Length: 999\r\n\r\n";
            client.write_all(head.as_bytes()).ok()?;
            Some(client)
        });
        let clients: Vec<_> = clients.collect();
        std::thread::sleep(STEP / 4);
        for client in &clients {
            // Unread data turns the close into a reset.
            let _ = client.shutdown(std::net::Shutdown::Read);
        }
    }

    fn judge(self, steps: u64, first: Held) -> Result<Report, ChangesError> {
        let tally = self.crowd.stop()?;
        let until = Instant::now() + REST;
        let mut last = Held::of(&self.running.workers());
        // Waits the whole time: descriptors are closed at once, but memory is released only after
        // some idle seconds.
        while Instant::now() < until {
            std::thread::sleep(STEP);
            last = Held::of(&self.running.workers());
        }
        let mut report = Report::default();
        report.count("steps", steps);
        report.count("roles killed", self.kills);
        report.clients("", &tally);
        report.count("failures beside a kill", self.allowed);
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        for (name, held) in [("after the first steps", first), ("in the end", last)] {
            let text = format!(
                "{:.1} MiB, {} descriptors",
                mebibytes(held.bytes),
                held.descriptors
            );
            report.row(format!("held {name}"), text, json!(mebibytes(held.bytes)));
        }
        for stuck in &self.stuck {
            report.note(format!("not served again: {stuck}"));
        }
        report.claim(self.stuck.is_empty(), "a change was not served");
        report.claim(
            tally.all_failed() <= self.allowed,
            "requests failed where no role was killed",
        );
        let closed = tally.closed() + tally.closed_announced;
        report.claim(
            closed <= self.closed_allowed,
            "connections were closed where no role was killed",
        );
        report.claim(
            last.bytes <= first.bytes + BYTES_SLACK,
            "memory was not given back",
        );
        report.claim(
            last.descriptors <= first.descriptors + DESCRIPTORS_SLACK,
            "descriptors were not given back",
        );
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_leads_to_the_same_steps_and_all_kinds_of_them() {
        let steps = |seed| {
            let mut random = Random::new(seed);
            let steps = (0..500).map(move |_| Step::of(random.next()));
            steps.collect::<Vec<_>>()
        };
        assert_eq!(steps(7), steps(7));
        assert_ne!(steps(7), steps(9));
        for kind in 0..24 {
            assert!(steps(7).contains(&Step::of(kind)), "{kind}");
        }
    }
}
