//! `evenkeel address`: who owns which virtual addresses, since when and why; and
//! giving them to another machine. It asks the supervisor that runs, as `evenkeel
//! reload` does.

use super::{print, refuse, reload};
use crate::roles::channel::{Channel, Received};
use crate::roles::memory;
use crate::supervisor::directory::{self, Instance};
use address::message::{HandedOver, Message as OfAddress, PART};
use address::role::Status;
use clap::ArgMatches;
use part::codec;
use part::role::Message;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant as Moment};

/// How long a supervisor may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How often a hand-over is looked at until it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a lease of the cluster may take to find another holder.
const LEASE_LIMIT: Duration = Duration::from_secs(15);

/// Nobody took the addresses over: this machine keeps them.
const NOBODY_TOOK: u8 = 3;
/// What became of a hand-over is not known.
const UNKNOWN: u8 = 4;

/// Does what the words behind `address` ask.
pub fn main(matches: &ArgMatches) -> ExitCode {
    let paths: Vec<PathBuf> = super::files(matches);
    let pid = matches.get_one::<u32>("pid").copied();
    let instance = match reload::find(&paths, pid) {
        Ok(instance) => instance,
        Err(words) => return refuse(words),
    };
    match matches.subcommand() {
        Some(("hand-over", matches)) => {
            let name = matches.get_one::<String>("NAME").cloned();
            let drain = matches.get_one::<Duration>("drain").copied();
            hand_over(&instance, name, drain)
        }
        Some(("metrics", _)) => status(&instance, |status, _| status.metrics()),
        _ if matches.get_flag("json") => status(&instance, |_, json| json.to_owned()),
        _ => status(&instance, |status, _| status.text()),
    }
}

/// What the role tells, put into words.
fn status(instance: &Instance, words: impl Fn(&Status, &str) -> String) -> ExitCode {
    let text = match report(instance) {
        Ok(text) => text,
        Err(error) => return refuse(error),
    };
    match Status::decode(text.as_bytes()) {
        Ok(status) => print(&words(&status, &(text.clone() + "\n"))),
        Err(error) => refuse(format_args!(
            "cannot parse the reply of process {}: {error}",
            instance.pid
        )),
    }
}

fn hand_over(instance: &Instance, name: Option<String>, drain: Option<Duration>) -> ExitCode {
    let drain = drain.map(|drain| u64::try_from(drain.as_millis()).unwrap_or(u64::MAX));
    let what = name.clone().unwrap_or_else(|| "any instance".to_owned());
    let message = OfAddress::HandOver {
        name,
        drain_ms: drain,
    };
    let message = Message::Part(Box::new(message.envelope()));
    let handed = match ask(instance, &message).and_then(|answer| handed_over(instance, &answer)) {
        Ok(handed) => handed,
        Err(error) => return refuse(error),
    };
    match handed {
        HandedOver { moves: true, words } => wait_for_takers(instance, words.split_whitespace()),
        HandedOver { words, .. } if !words.is_empty() => refuse(words),
        HandedOver { .. } => refuse(format_args!(
            "this machine does not own the addresses of {what}: nothing to hand over"
        )),
    }
}

fn handed_over(instance: &Instance, answer: &Received) -> Result<HandedOver, String> {
    let Message::Answer { bytes } = &answer.message else {
        return Err(not_known(instance));
    };
    codec::decode(bytes).map_err(|_| not_known(instance))
}

fn not_known(instance: &Instance) -> String {
    format!("process {} does not support this command", instance.pid)
}

/// What became of a hand-over.
#[derive(Clone, PartialEq, Eq, Debug)]
enum End {
    /// Another machine has the addresses.
    Taken(String),
    /// This machine keeps them.
    Kept(String),
    /// The role does not say.
    Unknown(String),
}

/// Waits until each of these instances has another owner, or this machine again.
fn wait_for_takers<'a>(instance: &Instance, names: impl Iterator<Item = &'a str>) -> ExitCode {
    let began = Moment::now();
    let mut open: Vec<&str> = names.collect();
    let mut worst = 0;
    while !open.is_empty() {
        let status = match look(instance) {
            Ok(status) => status,
            Err(words) => {
                refuse(format_args!(
                    "{words}; `evenkeel address` shows the owner of the addresses of {}",
                    open.join(", ")
                ));
                return ExitCode::from(UNKNOWN);
            }
        };
        open.retain(|name| match end_of(&status, name, began.elapsed()) {
            None => true,
            Some(end) => {
                worst = worst.max(tell(&end));
                false
            }
        });
        if !open.is_empty() {
            std::thread::sleep(LOOK_EVERY);
        }
    }
    ExitCode::from(worst)
}

/// Prints how it ended, and returns the exit code.
fn tell(end: &End) -> u8 {
    match end {
        End::Taken(words) => {
            print(&format!("{words}\n"));
            0
        }
        End::Kept(words) => {
            refuse(words);
            NOBODY_TOOK
        }
        End::Unknown(words) => {
            refuse(words);
            UNKNOWN
        }
    }
}

fn look(instance: &Instance) -> Result<Status, String> {
    Status::decode(report(instance)?.as_bytes()).map_err(|error| error.to_string())
}

/// What the role tells of itself.
fn report(instance: &Instance) -> Result<String, String> {
    let part = PART.to_owned();
    let answer = ask(instance, &Message::TellReport { part })?;
    let file = answer.descriptors.first();
    let text = memory::text(file.ok_or_else(|| not_known(instance))?);
    text.map_err(|error| format!("process {}: {error}", instance.pid))
}

/// Whether the hand-over of an instance has ended, and how.
fn end_of(status: &Status, name: &str, waited: Duration) -> Option<End> {
    let Some(one) = status.instances.iter().find(|one| one.name == name) else {
        let words = format!("{name} is no longer configured");
        return Some(End::Unknown(words));
    };
    if one.state != "MASTER" {
        let owner = one.owner.as_ref().map(|owner| owner.address.to_string());
        return match (owner, one.state.as_str()) {
            (Some(owner), "BACKUP") => Some(End::Taken(format!("{name}: {owner} took over"))),
            // The new holder of a lease is heard in a moment.
            (None, "BACKUP") if waited < LEASE_LIMIT => None,
            // Without its lease an address is at fault here, which hears nobody: the
            // lease has gone to the machine that takes it over.
            (_, "FAULT") if one.lease_moves => Some(End::Taken(format!("{name}: {}", one.why))),
            (_, state) => Some(End::Unknown(format!(
                "{name}: this machine released the addresses ({state}: {}), but no other machine announces them",
                one.why
            ))),
        };
    }
    match one.handing_over {
        Some(true) => None,
        _ if one.by_lease && waited < LEASE_LIMIT => None,
        _ if one.by_lease => Some(End::Kept(format!(
            "{name}: no other member took the lease within {} s, so this machine keeps the addresses; they move when \
             another member can serve them",
            LEASE_LIMIT.as_secs()
        ))),
        Some(false) => Some(End::Kept(format!(
            "{name}: nobody took over, so this machine keeps the addresses. Check with `evenkeel address` on another \
             node: it must run this instance, reach this machine, and accept its adverts"
        ))),
        None => Some(End::Unknown(format!(
            "{name}: hand-over started; this role does not report when it ends"
        ))),
    }
}

/// Asks, and waits for the answer.
fn ask(instance: &Instance, message: &Message) -> Result<Received, String> {
    let gone = |error: &dyn std::fmt::Display| format!("process {}: {error}", instance.pid);
    let connected = directory::connected(&instance.socket)
        .map_err(std::io::Error::from)
        .and_then(Channel::new);
    let mut channel = connected.map_err(|error| gone(&error))?;
    let asked = channel.send_numbered(1, message, &[]);
    asked.map_err(|error| gone(&error))?;
    let received = channel.wait(Some(ANSWER_LIMIT));
    let received = received.map_err(|error| gone(&error))?;
    match received.message {
        Message::Nobody { words } => Err(words),
        _ => Ok(received),
    }
}

/// A time as our language writes it.
pub fn duration(text: &str) -> Result<Duration, String> {
    /// The longest drain.
    const SECONDS_MAX: u64 = 86_400;
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| "not a duration; write for example 5s or 500ms")?;
    let duration = match unit {
        "ms" | "" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err("a duration ends with ms, s or m".to_owned()),
    };
    match duration.as_secs() <= SECONDS_MAX {
        true => Ok(duration),
        false => Err("the duration must be at most one day".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_over_ends_when_somebody_took_over_or_nobody_did() {
        use address::role::{InstanceStatus, OwnerStatus};
        let one = |state: &str, handing_over: Option<bool>| InstanceStatus {
            name: "www".to_owned(),
            state: state.to_owned(),
            handing_over,
            ..InstanceStatus::default()
        };
        let end = |one: &InstanceStatus, seconds: u64| {
            let status = Status {
                instances: vec![one.clone()],
                ..Status::default()
            };
            end_of(&status, "www", Duration::from_secs(seconds))
        };
        assert_eq!(end(&one("MASTER", Some(true)), 900), None);
        let kept = end(&one("MASTER", Some(false)), 0);
        assert!(matches!(kept, Some(End::Kept(_))), "{kept:?}");
        let silent = end(&one("MASTER", None), 0);
        assert!(matches!(silent, Some(End::Unknown(_))), "{silent:?}");
        let mut taken = one("BACKUP", Some(false));
        assert_eq!(end(&taken, 0), None);
        taken.owner = Some(OwnerStatus {
            address: "10.0.0.2".parse().unwrap(),
            priority: 100,
            heard_ms: 0,
        });
        let words = "www: 10.0.0.2 took over".to_owned();
        assert_eq!(end(&taken, 0), Some(End::Taken(words)));
        let fault = end(&one("FAULT", None), 0);
        assert!(matches!(fault, Some(End::Unknown(_))), "{fault:?}");
        let mut moved = one("FAULT", Some(false));
        moved.lease_moves = true;
        assert!(matches!(end(&moved, 0), Some(End::Taken(_))));
        let mut leased = one("MASTER", Some(false));
        leased.by_lease = true;
        assert_eq!(end(&leased, 1), None);
        assert!(matches!(end(&leased, 16), Some(End::Kept(_))));
        assert!(matches!(
            end_of(&Status::default(), "www", Duration::ZERO),
            Some(End::Unknown(_))
        ));
    }

    #[test]
    fn a_drain_is_a_time_with_its_unit() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("250"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "5h", "x", "99999999999999999999s", "9999999m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
