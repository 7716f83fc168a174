//! Implements `evenkeel volume verify`: requests the comparison of both copies of a volume, or the
//! check of the only one, shows the progress, and prints the differences. The volume role compares,
//! so the comparison continues if this command is killed; `volume show` has its result.

use super::order::tell;
use super::progress::{DRAW_EVERY, ProgressDisplay, amount};
use super::transfer::{Stopped, signals};
use super::{find, load_volume_report};
use crate::message::VolumeOrder;
use crate::report::{CHECKED, SIZE};
use crate::transfer::Progress;
use crate::verified::{BEGAN, COMPLETE, DIFFERENCES, DONE, FOUND, REPAIRED, RUNNING, VERIFY};
use ::command::options::flag;
use ::command::stopped::arrived;
use ::command::{print, refuse, word};
use clap::{Arg, ArgMatches, Command};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use part::channel::timespec;
use part::report::{FactValue, Subject};
use part::status::{CopyNodes, VolumeReport};
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{Write, stderr};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use supervisor::directory::Instance;

/// Timeout for the role to start, and for its next report while it restarts.
const SILENCE_MAX: Duration = Duration::from_secs(10);

pub(super) fn command() -> Command {
    Command::new("verify")
        .about("Compare both copies of a volume while it is used, or check the only one")
        .long_about(
            "Compares both copies of a volume by checksums, at the node that serves it, while clients use \
             it. `resync-rate` limits it, and requests of clients come first. A terminal shows progress, \
             rate and the time left; elsewhere there is a line every 30 s. Differences are printed as \
             ranges of bytes, and nothing is changed.\n\nWithout checksums on disk nobody can know which \
             copy is right. `--repair` copies differing blocks from the node that serves the volume, whose \
             copy clients read, to the other one. Blocks that the serving node cannot read are only \
             reported. With `verify yes`, blocks that do not match their checksums are the damaged ones, \
             and `--repair` rewrites them from the other copy, on either node.\n\nA volume with one copy \
             and `verify yes` is read as a whole and compared with its checksums on disk. Blocks that have \
             none yet are only read; `evenkeel volume show` has the progress of building them.\n\nIt ends \
             early, with a message, if the other copy is lost or the ownership moves. ^C and `--stop` end \
             it. `evenkeel volume show` and the metrics have the last result. Exit codes: 0 both copies are \
             equal or no damage, 1 differences or damage (also repaired ones) or not complete, 130 \
             interrupted.",
        )
        .arg(Arg::new("NAME").required(true).help("The volume"))
        .arg(flag(
            "repair",
            "Copy differing blocks from this node, which serves the volume, to the other one",
        ))
        .arg(flag("stop", "Stop the running verify").conflicts_with("repair"))
}

pub(super) fn main(matches: &ArgMatches) -> ExitCode {
    let name = word(matches, "NAME");
    if matches.get_flag("stop") {
        return match stop(matches, &name) {
            Ok(text) => print(&text),
            Err(words) => refuse(words),
        };
    }
    match signals().and_then(|signals| verify(matches, &name, &signals)) {
        Ok(VerifyOutcome::Equal(text)) => print(&text),
        Ok(VerifyOutcome::Repaired(text)) => {
            let _ = writeln!(stderr(), "{text}");
            ExitCode::FAILURE
        }
        Err(error) => error.exit(""),
    }
}

enum VerifyOutcome {
    Equal(String),
    /// All differences were repaired; a separate exit code informs scripts that there were some.
    Repaired(String),
}

fn stop(matches: &ArgMatches, name: &str) -> Result<String, String> {
    let (instance, report) = load_volume_report(matches)?;
    find(&report, name)?;
    let name = name.to_owned();
    let text = format!("the verify of volume {name} is being stopped\n");
    tell(&instance, &VolumeOrder::StopVerify { name })?;
    Ok(text)
}

fn verify(matches: &ArgMatches, name: &str, signals: &SignalFd) -> Result<VerifyOutcome, Stopped> {
    let (instance, before) = begin(matches, name)?;
    let begun = Instant::now();
    let mut shown = ProgressDisplay::new(&format!("verifying {name}"));
    let mut watch = Watch {
        before,
        ours: None,
        heard: Instant::now(),
    };
    loop {
        if let Some(signal) = signalled(signals) {
            shown.clear();
            // Ignores a failure: if the order cannot be sent, the verify has ended with its role.
            let name = name.to_owned();
            let _ = tell(&instance, &VolumeOrder::StopVerify { name });
            return Err(Stopped::By(signal));
        }
        let report =
            load_volume_report(matches).and_then(|(_, report)| Ok(find(&report, name)?.clone()));
        match watch.look(report, name) {
            Ok(None) => {}
            Ok(Some(VerifyStatus::Running(progress))) => shown.show(&progress),
            Ok(Some(VerifyStatus::Ended(subject))) => {
                shown.clear();
                return outcome(&subject, matches.get_flag("repair"), begun.elapsed());
            }
            Err(words) => {
                shown.clear();
                return Err(words.into());
            }
        }
    }
}

/// Sends the order to verify. Also returns the start time of the previous verify, which
/// distinguishes its status from that of the new one.
fn begin(matches: &ArgMatches, name: &str) -> Result<(Instance, Option<u64>), String> {
    let (instance, report) = load_volume_report(matches)?;
    let subject = find(&report, name)?;
    let volume = VolumeReport::of(subject);
    let is_single = volume.copies.is_none();
    if is_single && subject.value(CHECKED) != Some(1) {
        return Err(format!(
            "volume '{name}' has one copy and no checksums: there is nothing to compare it with. `verify yes` in its \
             section keeps checksums"
        ));
    }
    if is_single && matches.get_flag("repair") {
        return Err(format!(
            "volume '{name}' has one copy: there is nothing to repair it from"
        ));
    }
    if !is_single && !volume.is_owner {
        return Err(match volume.owner.as_str() {
            "" => format!("volume '{name}' has no owner now: {}", subject.why),
            owner => format!(
                "this node does not serve volume '{name}': its owner is {owner}. Run the command there"
            ),
        });
    }
    let before = subject.value(BEGAN);
    let message = VolumeOrder::Verify {
        name: name.to_owned(),
        repairs: matches.get_flag("repair"),
    };
    tell(&instance, &message)?;
    Ok((instance, before))
}

fn signalled(signals: &SignalFd) -> Option<Signal> {
    let mut watched = [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
    // Ignores the result: all conditions are checked again, whatever ended the wait.
    let _ = poll(&mut watched, Some(&timespec(DRAW_EVERY)));
    arrived(signals)
}

struct Watch {
    before: Option<u64>,
    ours: Option<u64>,
    heard: Instant,
}

enum VerifyStatus {
    Running(Progress),
    Ended(Box<Subject>),
}

impl Watch {
    /// Evaluates a report of the volume. Returns None if it has no state of this verify yet.
    fn look(
        &mut self,
        report: Result<Subject, String>,
        name: &str,
    ) -> Result<Option<VerifyStatus>, String> {
        let is_late = self.heard.elapsed() >= SILENCE_MAX;
        let subject = match report {
            Ok(subject) => subject,
            // Waits for a missing report until the deadline: the supervisor or the role may be
            // restarting.
            Err(words) if is_late => {
                return Err(format!(
                    "the state of the verify of volume '{name}' is unknown: {words}"
                ));
            }
            Err(_) => return Ok(None),
        };
        let began = subject.value(BEGAN);
        match (self.ours, began) {
            (None, began) if began == self.before || began.is_none() => {
                return if is_late {
                    Err(format!(
                        "the verify of volume '{name}' did not start: `evenkeel volume show {name}`"
                    ))
                } else {
                    Ok(None)
                };
            }
            (Some(ours), began) if began != Some(ours) => {
                return Err(format!(
                    "the verify of volume '{name}' ended with its role, which was restarted: run it again"
                ));
            }
            _ => self.ours = began,
        }
        self.heard = Instant::now();
        if subject.value(RUNNING) != Some(1) {
            return Ok(Some(VerifyStatus::Ended(Box::new(subject))));
        }
        let progress = Progress::default();
        let number = |name| subject.value(name).unwrap_or_default();
        progress.total.store(number(SIZE), Ordering::Relaxed);
        progress.done.store(number(DONE), Ordering::Relaxed);
        progress.data.store(number(DONE), Ordering::Relaxed);
        Ok(Some(VerifyStatus::Running(progress)))
    }
}

/// Returns the result as text. The differing ranges have been printed before.
fn outcome(subject: &Subject, repairs: bool, took: Duration) -> Result<VerifyOutcome, Stopped> {
    let name = &subject.name;
    let number = |name| subject.value(name).unwrap_or_default();
    let (found, is_complete) = (number(FOUND), number(COMPLETE) == 1);
    if is_complete && found == 0 {
        let seconds = took.as_secs_f64().max(0.001);
        let rate = amount((number(DONE) as f64 / seconds) as u64);
        let done = amount(number(DONE));
        let words = match VolumeReport::of(subject).copies {
            Some(_) => format!("both copies are equal, {done} compared"),
            None => format!("no damage found, {done} read"),
        };
        return Ok(VerifyOutcome::Equal(format!(
            "volume {name}: {words} in {seconds:.1} s, {rate}/s\n"
        )));
    }
    let lines = subject.facts.iter().find(|fact| fact.name == DIFFERENCES);
    if let Some(FactValue::Lines(lines)) = lines.map(|fact| &fact.value) {
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        print(&lines);
    }
    let verify = subject.words(VERIFY).unwrap_or_default();
    let mut words = format!("volume {name}: {verify}");
    let is_single = VolumeReport::of(subject).copies.is_none();
    if is_complete && repairs && number(REPAIRED) >= found {
        return Ok(VerifyOutcome::Repaired(words));
    }
    if found > 0 && is_single {
        words += ". There is no other copy: restore these ranges from a backup. Overwriting a block makes it readable again";
    } else if found > 0 && !repairs {
        words += &hint(name, &VolumeReport::of(subject));
    }
    if !is_complete {
        words += ". The verify is not complete: run it again";
    }
    Err(words.into())
}

fn hint(name: &str, volume: &VolumeReport) -> String {
    let found = volume.found;
    let mut words = String::new();
    if found.has_damage {
        words += &format!(
            ". `evenkeel volume verify {name} --repair` writes what does not match its checksum from the other copy"
        );
    }
    if found.has_differences || found.has_unreadable {
        let copies = volume.copies.as_ref();
        let other = copies.map_or("the other node", |CopyNodes { other, .. }| other);
        words += &format!(
            ". Without checksums on disk nobody can know which copy is right. Clients read the copy of this node: \
             `evenkeel volume verify {name} --repair` copies these ranges from here to {other}. To use those \
             of {other}, hand the volume over and run that there"
        );
    }
    words
}
