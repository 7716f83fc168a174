//! Orders to the role, each with its progress until it is carried out.

use super::{PART, asked, find};
use crate::command::status::{ANSWER_LIMIT, ask, not_known};
use crate::command::word;
use clap::ArgMatches;
use guest::message::{Answer, Message as OfGuest};
use guest::role::report::{
    FENCED, GUEST, NODE, NOT_MOVED, ON, RATE, REMAINING, RUNNING, SENT, THIS_NODE,
};
use part::codec;
use part::report::{Grade, Report, Subject};
use part::role::Message;
use std::io::{Write, stderr};
use std::time::{Duration, Instant};
use supervisor::directory::Instance;

/// How often the progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a start may take until it is left to itself.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a guest may take to shut down, beyond what its section says.
const STOP_LIMIT: Duration = Duration::from_secs(3700);
/// How long `node fill --wait` tries, and how often: a machine that was switched on may have to wait for
/// the others.
const FILL_LIMIT: Duration = Duration::from_secs(600);
const FILL_AGAIN: Duration = Duration::from_secs(2);
/// How long the cluster may take to record an order.
const RECORD_LIMIT: Duration = Duration::from_secs(10);

fn tell(instance: &Instance, message: &OfGuest) -> Result<(), String> {
    let message = Message::Part(Box::new(message.envelope()));
    let answer = ask(instance, &message, ANSWER_LIMIT).map_err(|error| error.to_string())?;
    let Message::Answer { bytes } = &answer.message else {
        return Err(not_known(instance));
    };
    match codec::decode::<Answer>(bytes) {
        Ok(Answer { good: true, .. }) => Ok(()),
        Ok(answer) => Err(answer.words),
        Err(_) => Err(not_known(instance)),
    }
}

/// Shows what changes until something is so.
fn wait<T>(
    matches: &ArgMatches,
    limit: Duration,
    mut look: impl FnMut(&Report) -> Result<Look<T>, String>,
) -> Result<T, String> {
    let until = Instant::now() + limit;
    let mut last = String::new();
    loop {
        let (_, report) = asked(matches)?;
        match look(&report)? {
            Look::Done(value) => return Ok(value),
            Look::Not(words) if Instant::now() >= until => {
                return Err(format!(
                    "{words}. It goes on: `evenkeel guest list` shows how it is"
                ));
            }
            Look::Not(words) => {
                if words != last {
                    // Without a terminal it has no reader.
                    let _ = writeln!(stderr(), "{words}");
                    last = words;
                }
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

enum Look<T> {
    Done(T),
    Not(String),
}

/// The state of a guest, and why.
fn words_of(report: &Report, name: &str) -> Result<String, String> {
    let subject = find(report, name)?;
    let why = match subject.why.as_str() {
        "" => String::new(),
        why => format!(": {why}"),
    };
    let figures = figures(subject).unwrap_or_default();
    Ok(format!(
        "guest {name} is {}{why}{figures}",
        subject.state.word
    ))
}

/// How far its move is, in MiB.
fn figures(subject: &Subject) -> Option<String> {
    let mib = |name| subject.value(name).map(|bytes| bytes >> 20);
    let (sent, remaining, rate) = (mib(SENT)?, mib(REMAINING)?, mib(RATE)?);
    (sent > 0).then(|| format!("; {sent} MiB sent, {remaining} MiB left, {rate} MiB/s"))
}

pub(super) fn start(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let (instance, report) = asked(matches)?;
    if find(&report, &name)?.value(RUNNING) == Some(1) {
        return Ok(format!("guest {name} runs already\n"));
    }
    tell(&instance, &OfGuest::Start { name: name.clone() })?;
    wait(matches, START_LIMIT, |report| {
        let subject = find(report, &name)?;
        let on = subject.words(ON).unwrap_or_default();
        match (subject.state.word.as_str(), subject.value(RUNNING)) {
            (_, Some(1)) => Ok(Look::Done(format!("guest {name} runs on {on}\n"))),
            ("elsewhere", _) => Ok(Look::Done(format!("guest {name} is on {on}\n"))),
            ("failed", _) => Err(words_of(report, &name)?),
            _ => Ok(Look::Not(words_of(report, &name)?)),
        }
    })
}

pub(super) fn stop(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let kills = matches.get_flag("kill");
    let (instance, report) = asked(matches)?;
    find(&report, &name)?;
    let order = OfGuest::Stop {
        name: name.clone(),
        kills,
    };
    tell(&instance, &order)?;
    wait(matches, STOP_LIMIT, |report| {
        let Some(subject) = report.find(GUEST, &name) else {
            return Ok(Look::Done(format!("guest {name} is stopped\n")));
        };
        let is_down = subject.value("process") == Some(0) && subject.state.word == "down";
        match is_down {
            true => Ok(Look::Done(format!("guest {name} is stopped\n"))),
            false => Ok(Look::Not(words_of(report, &name)?)),
        }
    })
}

pub(super) fn move_to(matches: &ArgMatches) -> Result<String, String> {
    let [name, node] = ["NAME", "NODE"].map(|one| word(matches, one));
    let (instance, report) = asked(matches)?;
    find(&report, &name)?;
    let order = OfGuest::Move {
        name: name.clone(),
        node: node.clone(),
    };
    tell(&instance, &order)?;
    wait(matches, STOP_LIMIT, |report| {
        let subject = find(report, &name)?;
        let on = subject.words(ON).unwrap_or_default();
        match (on == node, subject.words(NOT_MOVED)) {
            (true, _) => Ok(Look::Done(format!("guest {name} is on {node}\n"))),
            (false, Some(why)) => Err(format!("guest {name} has not moved {why}")),
            (false, None) => Ok(Look::Not(words_of(report, &name)?)),
        }
    })
}

/// The name of this node, if one was given and it is another one, is a mistake.
fn check_node(matches: &ArgMatches, report: &Report) -> Result<String, String> {
    let here = report
        .subjects
        .iter()
        .find(|one| one.kind == NODE && one.value("here") == Some(1));
    let here = here.map(|one| one.name.clone());
    let here = here.ok_or("no guest may run on this node: no line `prefer` names it")?;
    match matches.get_one::<String>("NODE") {
        Some(node) if *node != here => {
            Err(format!("this node is {here}: run the command on {node}"))
        }
        _ => Ok(here),
    }
}

pub(super) fn drain(matches: &ArgMatches) -> Result<String, String> {
    let (instance, report) = asked(matches)?;
    let here = check_node(matches, &report)?;
    tell(&instance, &OfGuest::Drain { drained: true })?;
    wait(matches, RECORD_LIMIT, |report| {
        is_drained(report, &here, true)
    })?;
    wait(matches, STOP_LIMIT, |report| {
        let left: Vec<&str> = { report.of_kind(GUEST) }
            .filter(|one| one.value("process").is_some_and(|pid| pid > 0))
            .map(|one| one.name.as_str())
            .collect();
        match left[..] {
            [] => Ok(Look::Done(())),
            _ => {
                let words = |name: &&str| {
                    let why = find(report, name)?.words(NOT_MOVED);
                    match why {
                        Some(why) => Ok(format!(
                            "guest {name} has not moved {why}; it is tried again in a minute"
                        )),
                        None => words_of(report, name),
                    }
                };
                let words: Result<Vec<String>, String> = left.iter().map(words).collect();
                Ok(Look::Not(words?.join("\n")))
            }
        }
    })?;
    let (_, report) = asked(matches)?;
    let down = { report.of_kind(GUEST) }.filter(|one| {
        one.state.word == "down" && one.state.grade != Grade::Good && !one.why.is_empty()
    });
    let down = down.map(|one| format!("guest {} is down: {}\n", one.name, one.why));
    Ok(format!(
        "{}{} has no guests and takes none\n",
        down.collect::<String>(),
        named(&here)
    ))
}

/// A node in a sentence.
fn named(node: &str) -> String {
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
                // Nobody has to read it: it is tried again.
                let _ = writeln!(stderr(), "{words}");
                std::thread::sleep(FILL_AGAIN);
            }
            done => return done,
        }
    }
}

fn filled(matches: &ArgMatches) -> Result<String, String> {
    let (instance, report) = asked(matches)?;
    let here = check_node(matches, &report)?;
    tell(&instance, &OfGuest::Drain { drained: false })?;
    wait(matches, RECORD_LIMIT, |report| {
        is_drained(report, &here, false)
    })?;
    Ok(format!("{} takes guests again\n", named(&here)))
}

/// Takes the word of a person that a node is off.
pub(super) fn confirm_off(matches: &ArgMatches) -> Result<String, String> {
    let node = word(matches, "NODE");
    if !matches.get_flag("yes") {
        return Err(format!(
            "nothing was changed. With `--yes` you confirm that {node} is off: its power is off, or its cable is out. If it \
             is not, it may destroy the file systems of guests that start elsewhere now"
        ));
    }
    let (instance, _) = asked(matches)?;
    tell(&instance, &OfGuest::ConfirmOff { node: node.clone() })?;
    wait(matches, RECORD_LIMIT, |report| {
        let subject = report.find(NODE, &node);
        match subject.is_some_and(|subject| subject.state.word == FENCED) {
            true => Ok(Look::Done(())),
            false => Ok(Look::Not("the cluster is told".to_owned())),
        }
    })?;
    Ok(format!(
        "the cluster has {node} as off: guests that waited for that start now\n"
    ))
}

fn is_drained(report: &Report, here: &str, drained: bool) -> Result<Look<()>, String> {
    let subject = report.find(NODE, here);
    let subject = subject.ok_or_else(|| format!("{PART}: node {here} is not in the report"))?;
    match (subject.state.word == "drained") == drained {
        true => Ok(Look::Done(())),
        false => Ok(Look::Not("the cluster is told".to_owned())),
    }
}
