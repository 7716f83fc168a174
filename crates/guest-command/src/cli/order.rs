//! Implements the commands by which an operator starts, stops and moves guests and drains or fills
//! nodes: sends orders to the guest role, and prints the progress until they are executed.

use super::{PART, elsewhere as far, find, load_guest_report};
use clap::ArgMatches;
use command::status::ask_part;
use command::stopped::{arrived, signals};
use command::word;
use guest::config::STOP_MS_MAX;
use guest::message::{GuestOrder as OfGuest, GuestResponse};
use guest::role::report::{self, GUEST, NODE, REFUSED_DRAINS, RUNNING, STOPPED, THIS_NODE};
use nix::sys::signal::{SigSet, raise};
use nix::sys::signalfd::SignalFd;
use part::report::{Grade, StatusReport, Subject};
use part::status::{GuestNodeReport, GuestNodeState, GuestReport, GuestState, StopOrder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::io::{Write, stderr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use supervisor::directory::Instance;
use volume::cli::overwrite;

const FAR_EVERY: Duration = Duration::from_millis(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Number of polls whose report has no order to stop, after which the command assumes that another
/// order replaced it.
const LOOKS_WITHOUT_ORDER: u32 = 50;
/// Time for which the command waits for a start; the start continues afterwards.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Time for which the command waits until a guest has shut down: longer than the guest role waits
/// before it ends the guest. The order stays in force.
const STOP_LIMIT: Duration = Duration::from_millis(STOP_MS_MAX as u64 + 100_000);
/// Interval of the lines that differ only in their figures.
const FIGURES_EVERY: Duration = Duration::from_secs(10);
/// Maximum duration of `node fill --wait`: a machine that was switched on may have to wait for the
/// others.
const FILL_LIMIT: Duration = Duration::from_secs(600);
/// Interval of the attempts of `node fill --wait`.
const FILL_AGAIN: Duration = Duration::from_secs(2);
/// Time for which a drain waits for guests that all fail to move; the moves are retried each
/// minute. A machine that is being switched off does not wait for an operator.
const REFUSED_MAX: Duration = Duration::from_secs(90);
/// Time without any change after which a command stops waiting. A guest that is being copied
/// reports figures, and each phase of a move is shorter.
const STALL_MAX: Duration = Duration::from_secs(300);
/// Failed moves of a guest after which a drain no longer waits for it.
const FAILURES_MAX: usize = 3;
const RECORD_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn send_order(instance: &Instance, message: &OfGuest) -> Result<String, String> {
    let answer = answer_within(instance, message, Duration::MAX)?;
    if answer.good {
        Ok(answer.words)
    } else {
        Err(answer.words)
    }
}

/// Sends an order, possibly for another node, and polls for its response until `limit`. The
/// response of an order that is still pending then has a non-zero `waits`.
pub(super) fn answer_within(
    instance: &Instance,
    message: &OfGuest,
    limit: Duration,
) -> Result<GuestResponse, String> {
    let since = Instant::now();
    let mut answer = self::query_order(instance, message)?;
    while answer.waits != 0 && since.elapsed() < limit {
        std::thread::sleep(FAR_EVERY);
        let number = answer.waits;
        answer = self::query_order(instance, &OfGuest::Sent { number })?;
    }
    Ok(answer)
}

pub(super) fn query_order(instance: &Instance, message: &OfGuest) -> Result<GuestResponse, String> {
    ask_part(instance, message.envelope())
}

fn here(report: &StatusReport) -> Option<&Subject> {
    report
        .of_kind(NODE)
        .find(|one| one.value("here") == Some(1))
}

pub(super) fn elsewhere(report: &StatusReport, name: &str) -> Option<String> {
    let on = GuestReport::of(find(report, name).ok()?).node;
    let is_here = on.is_empty() || here(report).is_some_and(|here| here.name == on);
    (!is_here && on != THIS_NODE).then_some(on)
}

pub(super) fn is_away(report: &StatusReport, node: &str) -> bool {
    node_state(report, node) == Some(GuestNodeState::Away)
}

/// Returns the state of a node in the report; None for a node on which no guest may run.
fn node_state(report: &StatusReport, node: &str) -> Option<GuestNodeState> {
    let subject = report.find(NODE, node)?;
    Some(GuestNodeReport::of(subject).state)
}

fn best(report: &StatusReport, name: &str) -> Option<String> {
    let subject = find(report, name).ok().filter(|subject| is_down(subject))?;
    let is_available = |node: &String| node_state(report, node) == Some(GuestNodeState::Available);
    let mut prefers = GuestReport::of(subject).prefers.into_iter();
    let best = prefers.find(is_available)?;
    let is_here = here(report).is_some_and(|here| here.name == best);
    (!is_here).then_some(best)
}

fn at(report: &StatusReport, name: &str, order: OfGuest) -> OfGuest {
    match elsewhere(report, name) {
        Some(node) => of(node, order),
        None => order,
    }
}

fn of(node: String, order: OfGuest) -> OfGuest {
    let order = Box::new(order);
    OfGuest::At { node, order }
}

/// Orders that a guest which is down stays so until an operator starts it, and waits until the
/// order is recorded.
pub(super) fn keep_down(matches: &ArgMatches, name: &str) -> Result<(), String> {
    let instance = super::snapshot::is_down(matches, name)?;
    let is_stopped = |report: &StatusReport| -> Result<bool, String> {
        Ok(GuestReport::of(find(report, name)?).stop_order.is_given())
    };
    if is_stopped(&load_guest_report(matches)?.1)? {
        return Ok(());
    }
    let order = OfGuest::Stop {
        name: name.to_owned(),
        kills: false,
    };
    send_order(&instance, &order)?;
    wait(matches, RECORD_LIMIT, |report| {
        if is_stopped(report)? {
            Ok(WaitResult::Done(()))
        } else {
            Ok(WaitResult::Not(format!("guest {name} is kept down")))
        }
    })
}

/// Removes the mark of a restore that an earlier release stored with the guest, if there is one.
pub(super) fn end_restore(matches: &ArgMatches, name: &str) -> Result<(), String> {
    let (instance, report) = load_guest_report(matches)?;
    if !is_restoring(find(&report, name)?) {
        return Ok(());
    }
    let order = OfGuest::EndRestore {
        name: name.to_owned(),
    };
    send_order(&instance, &order)?;
    wait(matches, RECORD_LIMIT, |report| {
        if !is_restoring(find(report, name)?) {
            return Ok(WaitResult::Done(()));
        }
        Ok(WaitResult::Not(format!(
            "guest {name} may be started again"
        )))
    })
}

/// Checks that the local copies of a guest's volumes are not marked as incomplete. With `--yes`,
/// the marks are removed instead.
fn has_complete_volumes(
    matches: &ArgMatches,
    instance: &Instance,
    name: &str,
) -> Result<(), String> {
    let guest = super::disks::known(instance, name)?.served;
    let disks = guest.map_or(Vec::new(), |guest| guest.disks);
    for disk in disks {
        let volume = &disk.volume;
        // Skips a volume without a copy on this node, which the node that starts the guest checks.
        let Ok(Some(words)) = overwrite::incomplete(matches, volume) else {
            continue;
        };
        if !matches.get_flag("yes") {
            return Err(format!(
                "guest {name} was not started: volume {volume} is incomplete: {words}. Run that command again; or \
                 `evenkeel guest start {name} --yes` starts the guest with the volume as it is"
            ));
        }
        overwrite::accepted(matches, volume)?;
    }
    Ok(())
}

/// Returns whether an earlier release marked the guest because its disks were being restored.
fn is_restoring(subject: &Subject) -> bool {
    GuestReport::of(subject).stop_order == StopOrder::UntilRestored
}

fn wait<T>(
    matches: &ArgMatches,
    limit: Duration,
    look: impl FnMut(&StatusReport) -> Result<WaitResult<T>, String>,
) -> Result<T, String> {
    let signals = signals().map_err(|error| error.to_string())?;
    let done = watch(matches, limit, look, &signals);
    // Unblocks the signals, which end the process again from here on.
    let unblocked = SigSet::all().thread_unblock();
    unblocked.map_err(|error| error.to_string())?;
    done
}

fn watch<T>(
    matches: &ArgMatches,
    limit: Duration,
    mut look: impl FnMut(&StatusReport) -> Result<WaitResult<T>, String>,
    signals: &SignalFd,
) -> Result<T, String> {
    let mut patience = Patience::new(limit, Instant::now());
    loop {
        let (_, report) = load_guest_report(matches)?;
        match look(&report)? {
            WaitResult::Done(value) => return Ok(value),
            WaitResult::Not(words) => match patience.record_status(&words, Instant::now()) {
                WaitProgress::Known => {}
                WaitProgress::New => {
                    // Ignores an error: without a terminal there is no reader.
                    let _ = writeln!(stderr(), "{words}");
                }
                WaitProgress::TooLong(why) => {
                    return Err(format!(
                        "{words}. {why}. The order remains: `evenkeel guest list` shows its progress, and \
                         `evenkeel guest move NAME NODE` to the current node of a guest cancels a move"
                    ));
                }
            },
        }
        wait_for_next_poll(signals);
    }
}

/// Limits the wait of a command: by a deadline, and by [`STALL_MAX`] without a change.
struct Patience {
    until: Instant,
    last: String,
    changed: Instant,
    shown: Instant,
}

#[derive(PartialEq, Eq, Debug)]
enum WaitProgress {
    New,
    Known,
    TooLong(&'static str),
}

impl Patience {
    fn new(limit: Duration, now: Instant) -> Patience {
        Patience {
            until: now.checked_add(limit).unwrap_or(now),
            last: String::new(),
            changed: now,
            shown: now,
        }
    }

    fn record_status(&mut self, words: &str, now: Instant) -> WaitProgress {
        if now >= self.until {
            return WaitProgress::TooLong("This command no longer waits");
        }
        if words != self.last {
            let is_same = without_figures(words) == without_figures(&self.last);
            self.last = words.to_owned();
            self.changed = now;
            if is_same && now.saturating_duration_since(self.shown) < FIGURES_EVERY {
                return WaitProgress::Known;
            }
            self.shown = now;
            return WaitProgress::New;
        }
        if now.saturating_duration_since(self.changed) >= STALL_MAX {
            WaitProgress::TooLong(
                "Nothing has changed for 5 minutes, so this command no longer waits",
            )
        } else {
            WaitProgress::Known
        }
    }
}

fn without_figures(words: &str) -> String {
    words.chars().filter(|one| !one.is_ascii_digit()).collect()
}

#[derive(Default)]
struct Failures(BTreeMap<String, (bool, usize)>);

impl Failures {
    /// Counts the failed moves of a guest, and returns whether they reached [`FAILURES_MAX`].
    /// `has_failed` is true as long as the report shows the last move as failed.
    fn record_outcome(&mut self, name: &str, has_failed: bool) -> bool {
        let (before, count) = self.0.entry(name.to_owned()).or_default();
        *count += usize::from(has_failed && !*before);
        *before = has_failed;
        *count >= FAILURES_MAX
    }
}

/// Waits until the next poll. If a signal arrives, prints that the order stays in force, and ends
/// the process by that signal.
fn wait_for_next_poll(signals: &SignalFd) {
    let mut watched = [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
    // Ignores the result, because all conditions are checked again in any case.
    let _ = poll(&mut watched, Timespec::try_from(LOOK_EVERY).ok().as_ref());
    if let Some(signal) = arrived(signals) {
        // Ignores an error: without a terminal there is no reader.
        let _ = writeln!(
            stderr(),
            "this command no longer waits, but its order continues: `evenkeel guest list` shows the state"
        );
        // Ends the process by the signal, as the caller of a command expects.
        let _ = SigSet::all().thread_unblock().and_then(|()| raise(signal));
    }
}

enum WaitResult<T> {
    Done(T),
    Not(String),
}

fn words_of(report: &StatusReport, name: &str) -> Result<String, String> {
    Ok(report::words_of(find(report, name)?))
}

/// Requests the state of a guest with its reason from the node on which it is.
///
/// # Errors
/// Returns why the guest has not moved, or why there is no response.
fn how(instance: &Instance, report: &StatusReport, name: &str) -> Result<String, String> {
    let order = at(
        report,
        name,
        OfGuest::How {
            name: name.to_owned(),
        },
    );
    if matches!(order, OfGuest::At { .. }) {
        std::thread::sleep(LOOK_EVERY * 4);
    }
    send_order(instance, &order)
}

pub(super) fn start(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let (instance, report) = load_guest_report(matches)?;
    let subject = find(&report, &name)?;
    if subject.value(RUNNING) == Some(1) {
        return Ok(format!("guest {name} is already running\n"));
    }
    let before = GuestReport::of(subject);
    if let Some(node) = elsewhere(&report, &name).filter(|_| !before.stop_order.is_given())
        && !is_away(&report, &node)
    {
        let mut report = report.clone();
        far::complete(&instance, &mut report, Some(&name));
        return match GuestReport::of(find(&report, &name)?).state {
            GuestState::Running | GuestState::Elsewhere => {
                Ok(format!("guest {name} is already on {node}\n"))
            }
            _ => Err(words_of(&report, &name)?),
        };
    }
    has_complete_volumes(matches, &instance, &name)?;
    if matches.get_flag("yes") {
        end_restore(matches, &name)?;
    }
    let order = OfGuest::Start { name: name.clone() };
    let order = match best(&report, &name) {
        Some(node) => of(node, order),
        None => order,
    };
    // Remembers an earlier failure, which is not the result of this order.
    let mut failed = Some(last_event(subject)).filter(|_| before.state == GuestState::Failed);
    send_order(&instance, &order)?;
    wait(matches, START_LIMIT, |report| {
        let mut report = report.clone();
        // Queries the guest's own node, which knows whether the guest starts.
        let is_silent = far::complete(&instance, &mut report, Some(&name)).contains(&name);
        let subject = find(&report, &name)?;
        let guest = GuestReport::of(subject);
        failed =
            failed.filter(|at| guest.state == GuestState::Failed && last_event(subject) == *at);
        match guest.state {
            GuestState::Running => Ok(WaitResult::Done(format!(
                "guest {name} runs on {}\n",
                guest.node
            ))),
            GuestState::Elsewhere if is_silent => Ok(WaitResult::Done(format!(
                "guest {name} is {}\n",
                subject.why
            ))),
            GuestState::Failed if failed.is_none() => Err(words_of(&report, &name)?),
            _ if guest.is_unplaced => Err(format!(
                "{}. It starts by itself when that changes",
                words_of(&report, &name)?
            )),
            _ => Ok(WaitResult::Not(words_of(&report, &name)?)),
        }
    })
}

fn last_event(subject: &Subject) -> Option<u64> {
    subject.events.last().map(|event| event.at.unix_ms)
}

fn is_down(subject: &Subject) -> bool {
    let guest = GuestReport::of(subject);
    let is_ended = matches!(
        guest.state,
        GuestState::Down | GuestState::Off | GuestState::Failed
    );
    subject.value("process") == Some(0) && is_ended && guest.node.is_empty()
}

pub(super) fn stop(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let kills = matches.get_flag("kill");
    let (instance, report) = load_guest_report(matches)?;
    let subject = find(&report, &name)?;
    if is_down(subject) && GuestReport::of(subject).stop_order.is_given() {
        return Ok(format!("guest {name} is already stopped\n"));
    }
    let order = OfGuest::Stop {
        name: name.clone(),
        kills,
    };
    send_order(&instance, &at(&report, &name, order))?;
    let mut was_recorded = false;
    // Tolerates some reports without the order, because the guest role may be restarting.
    let mut looks_without_order = 0;
    wait(matches, STOP_LIMIT, |report| {
        let Some(subject) = report.find(GUEST, &name) else {
            return Ok(WaitResult::Done(format!("guest {name} is stopped\n")));
        };
        if is_down(subject) {
            return Ok(WaitResult::Done(format!("guest {name} is stopped\n")));
        }
        let is_recorded = GuestReport::of(subject).stop_order.is_given();
        looks_without_order = if is_recorded {
            0
        } else {
            looks_without_order + 1
        };
        if was_recorded && looks_without_order > LOOKS_WITHOUT_ORDER {
            return Err(format!(
                "guest {name} is not stopped: a later order starts it"
            ));
        }
        was_recorded |= is_recorded;
        // The node of the guest knows how long it may still take.
        let mut report = report.clone();
        if elsewhere(&report, &name).is_some_and(|node| !is_away(&report, &node)) {
            far::complete(&instance, &mut report, Some(&name));
        }
        Ok(WaitResult::Not(words_of(&report, &name)?))
    })
}

pub(super) fn move_to(matches: &ArgMatches) -> Result<String, String> {
    let [name, node] = ["NAME", "NODE"].map(|one| word(matches, one));
    let (instance, report) = load_guest_report(matches)?;
    find(&report, &name)?;
    let order = OfGuest::Move {
        name: name.clone(),
        node: node.clone(),
    };
    send_order(&instance, &at(&report, &name, order))?;
    let mut was_there = false;
    wait(matches, STOP_LIMIT, |report| {
        let subject = find(report, &name)?;
        let guest = GuestReport::of(subject);
        let is_stopped = guest.stop_order.is_given();
        if is_stopped && is_down(subject) {
            let stopped = subject.words(STOPPED).unwrap_or_default();
            return Err(format!(
                "guest {name} does not move because it is down: {stopped}"
            ));
        }
        let on = guest.node;
        if on != node {
            return if was_there && !on.is_empty() {
                Err(format!(
                    "guest {name} did not stay on {node}: it is on {on}. See `evenkeel guest log {name}` \
                     and the log of {node}"
                ))
            } else {
                Ok(WaitResult::Not(how(&instance, report, &name)?))
            };
        }
        was_there = true;
        let done = || Ok(WaitResult::Done(format!("guest {name} is on {node}\n")));
        match guest.state {
            // Counts as moved if the other node cannot be queried, or knows that the guest must not
            // run.
            GuestState::Running | GuestState::Elsewhere => done(),
            _ if is_stopped => done(),
            GuestState::Failed => Err(words_of(report, &name)?),
            _ => Ok(WaitResult::Not(words_of(report, &name)?)),
        }
    })
}

fn the_node(matches: &ArgMatches, report: &StatusReport) -> Result<(String, bool), String> {
    let here = here(report).map(|one| one.name.clone());
    let Some(node) = matches.get_one::<String>("NODE") else {
        let here = here.ok_or("no guest may run on this node: no line `prefer` names it")?;
        return Ok((here, true));
    };
    match report.find(NODE, node) {
        Some(_) => Ok((node.clone(), here.as_ref() == Some(node))),
        None => Err(format!(
            "no guest may run on node '{node}': no line `prefer` names it"
        )),
    }
}

fn to(node: &str, is_here: bool, order: OfGuest) -> OfGuest {
    if is_here {
        order
    } else {
        of(node.to_owned(), order)
    }
}

fn can_move_away(report: &StatusReport, node: &str) -> Result<(), String> {
    let others = report.of_kind(NODE).filter(|one| one.name != node);
    let others: Vec<&Subject> = others.collect();
    let is_available = |one: &&Subject| GuestNodeReport::of(one).state == GuestNodeState::Available;
    let takes = others.iter().any(is_available);
    let here = report
        .of_kind(GUEST)
        .filter(|one| GuestReport::of(one).node == node);
    let here: Vec<&str> = here.map(|one| one.name.as_str()).collect();
    if others.is_empty() || takes || here.is_empty() {
        return Ok(());
    }
    let words = others
        .iter()
        .map(|one| format!("{} is {}", one.name, one.state.word));
    Err(format!(
        "no other node accepts guests now ({}), so {} would shut down. Nothing was changed. `--shut-down` \
         shuts them down; `node fill` lets another node accept guests again",
        words.collect::<Vec<_>>().join(", "),
        here.join(", ")
    ))
}

pub(super) fn drain(matches: &ArgMatches) -> Result<String, String> {
    let (instance, report) = load_guest_report(matches)?;
    let (node, is_here) = the_node(matches, &report)?;
    let shuts_down = matches.get_flag("shut-down");
    if !shuts_down {
        can_move_away(&report, &node)?;
    }
    let order = OfGuest::Drain {
        drained: true,
        shuts_down,
    };
    let refused = refused_drains(&report, &node);
    send_order(&instance, &to(&node, is_here, order))?;
    wait(matches, RECORD_LIMIT, |report| {
        if refused_drains(report, &node) > refused {
            return Err(format!(
                "{} is not drained: the other nodes that could accept its guests are being drained at the \
                 same time. Nothing was changed. With `--shut-down` the guests shut down",
                named(&node)
            ));
        }
        is_drained(report, &node, true)
    })?;
    let mut refused_since = None;
    let mut failures = Failures::default();
    wait(matches, STOP_LIMIT, |report| {
        let has = |one: &&Subject| {
            if is_here {
                one.value("process").is_some_and(|pid| pid > 0)
            } else {
                GuestReport::of(one).node == node
            }
        };
        let left: Vec<&str> = report
            .of_kind(GUEST)
            .filter(has)
            .map(|one| one.name.as_str())
            .collect();
        match left[..] {
            [] => Ok(WaitResult::Done(())),
            _ => {
                let all = left.iter().map(|name| how(&instance, report, name));
                let all: Vec<Result<String, String>> = all.collect();
                let words = |how: &Result<String, String>| match how {
                    Ok(words) => words.clone(),
                    Err(why) if shuts_down => format!("{why}; it shuts down"),
                    Err(why) => format!("{why}; it is tried again in a minute"),
                };
                let words: Vec<String> = all.iter().map(words).collect();
                let each = left.iter().zip(&all);
                // Counts the result of each guest, without a short circuit.
                let too_often = each.map(|(name, how)| failures.record_outcome(name, how.is_err()));
                let too_often = too_often.fold(false, |any, one| any | one) && !shuts_down;
                if !too_often && (shuts_down || !all.iter().all(Result::is_err)) {
                    refused_since = None;
                } else if too_often
                    || refused_since.get_or_insert_with(Instant::now).elapsed() > REFUSED_MAX
                {
                    return Err(format!(
                        "{}\n{} stays drained, and they leave it when they can. With `--shut-down` they shut down, and start at another node",
                        words.join("\n"),
                        named(&node)
                    ));
                }
                Ok(WaitResult::Not(words.join("\n")))
            }
        }
    })?;
    let (_, report) = load_guest_report(matches)?;
    let down = report.of_kind(GUEST).filter(|one| {
        let is_down = GuestReport::of(one).state == GuestState::Down;
        is_down && one.state.grade != Grade::Good && !one.why.is_empty()
    });
    let down = down.map(|one| format!("guest {} is down: {}\n", one.name, one.why));
    Ok(format!(
        "{}{} has no guests and accepts none\n",
        down.collect::<String>(),
        named(&node)
    ))
}

pub(super) fn named(node: &str) -> String {
    match node {
        THIS_NODE => THIS_NODE.to_owned(),
        node => format!("node {node}"),
    }
}

pub(super) fn fill(matches: &ArgMatches) -> Result<String, String> {
    let until = Instant::now() + FILL_LIMIT;
    loop {
        match filled(matches) {
            Err(words) if matches.get_flag("wait") && Instant::now() < until => {
                // Ignores a failed output, because the attempt is repeated anyway.
                let _ = writeln!(stderr(), "{words}");
                std::thread::sleep(FILL_AGAIN);
            }
            done => return done,
        }
    }
}

fn filled(matches: &ArgMatches) -> Result<String, String> {
    let (instance, report) = load_guest_report(matches)?;
    let (node, is_here) = the_node(matches, &report)?;
    let order = OfGuest::Drain {
        drained: false,
        shuts_down: false,
    };
    send_order(&instance, &to(&node, is_here, order))?;
    wait(matches, RECORD_LIMIT, |report| {
        is_drained(report, &node, false)
    })?;
    Ok(format!("{} accepts guests again\n", named(&node)))
}

pub(super) fn confirm_off(matches: &ArgMatches) -> Result<String, String> {
    let node = word(matches, "NODE");
    if !matches.get_flag("yes") {
        return Err(format!(
            "nothing was changed. With `--yes` you confirm that {node} is off: its power is off, or its \
             cable is unplugged. If it is not off, it may destroy the file systems of guests that now start \
             elsewhere"
        ));
    }
    let (instance, _) = load_guest_report(matches)?;
    send_order(&instance, &OfGuest::ConfirmOff { node: node.clone() })?;
    wait(matches, RECORD_LIMIT, |report| {
        if node_state(report, &node) == Some(GuestNodeState::Fenced) {
            Ok(WaitResult::Done(()))
        } else {
            Ok(WaitResult::Not("the cluster is told".to_owned()))
        }
    })?;
    Ok(format!(
        "the cluster has recorded {node} as off: guests that waited for this start now\n"
    ))
}

fn refused_drains(report: &StatusReport, node: &str) -> u64 {
    let subject = report.find(NODE, node);
    subject
        .and_then(|subject| subject.value(REFUSED_DRAINS))
        .unwrap_or_default()
}

fn is_drained(report: &StatusReport, here: &str, drained: bool) -> Result<WaitResult<()>, String> {
    let state = node_state(report, here);
    let state = state.ok_or_else(|| format!("{PART}: node {here} is not in the report"))?;
    if (state == GuestNodeState::Drained) == drained {
        Ok(WaitResult::Done(()))
    } else {
        Ok(WaitResult::Not("the cluster is told".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_ends_at_its_limit_or_when_nothing_changes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::new(Duration::from_secs(3_000), start);
        for seconds in (0..2_900).step_by(100) {
            let words = format!("{seconds} MiB sent");
            assert_eq!(
                patience.record_status(&words, at(seconds)),
                WaitProgress::New
            );
        }
        assert!(matches!(
            patience.record_status("more", at(3_000)),
            WaitProgress::TooLong(_)
        ));
        let mut patience = Patience::new(Duration::from_secs(3_000), start);
        assert_eq!(patience.record_status("it waits", at(0)), WaitProgress::New);
        assert_eq!(
            patience.record_status("it waits", at(299)),
            WaitProgress::Known
        );
        assert!(matches!(
            patience.record_status("it waits", at(300)),
            WaitProgress::TooLong(_)
        ));
    }

    #[test]
    fn shutdown_of_the_longest_stop_timeout_is_awaited() {
        let start = Instant::now();
        let mut patience = Patience::new(STOP_LIMIT, start);
        let seconds = u64::from(STOP_MS_MAX) / 1000;
        let lines = (0..=seconds).filter(|second| {
            let left = seconds - second;
            let words = format!("guest mail is shutting down: killed in {left} s if it does not");
            let now = start + Duration::from_secs(*second);
            let progress = patience.record_status(&words, now);
            assert!(!matches!(progress, WaitProgress::TooLong(_)), "{words}");
            progress == WaitProgress::New
        });
        assert_eq!(lines.count() as u64, seconds / 10 + 1);
    }

    #[test]
    fn drain_gives_up_a_guest_whose_move_fails_three_times() {
        let mut failures = Failures::default();
        let seen = [false, true, true, false, true, false, false, true];
        let seen = seen.map(|has_failed| failures.record_outcome("mail", has_failed));
        assert_eq!(
            seen,
            [false, false, false, false, false, false, false, true]
        );
        assert!(!failures.record_outcome("web", true));
    }
}
