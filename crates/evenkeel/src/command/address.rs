//! `evenkeel address`: who owns which virtual addresses, since when and why; and
//! giving them to another machine. It asks the supervisor that runs, as `evenkeel
//! reload` does.

use super::{print, refuse, reload};
use crate::roles::channel::Channel;
use crate::roles::memory;
use crate::supervisor::directory::{self, Instance};
use address::role::Status;
use clap::ArgMatches;
use protocol::role::Message;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long a supervisor may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

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
    let (message, text) = match ask(instance, &Message::TellAddresses) {
        Ok(answer) => answer,
        Err(error) => return refuse(error),
    };
    let Some(text) = text else {
        return match message {
            Message::AddressesHandedOver { words, .. } => refuse(words),
            _ => refuse(format_args!(
                "process {}: it does not know this command",
                instance.pid
            )),
        };
    };
    match Status::decode(text.as_bytes()) {
        Ok(status) => print(&words(&status, &(text.clone() + "\n"))),
        Err(error) => refuse(format_args!(
            "what process {} told is not understood: {error}",
            instance.pid
        )),
    }
}

fn hand_over(instance: &Instance, name: Option<String>, drain: Option<Duration>) -> ExitCode {
    let drain = drain.map(|drain| u64::try_from(drain.as_millis()).unwrap_or(u64::MAX));
    let what = name.clone().unwrap_or_else(|| "any instance".to_owned());
    let message = Message::HandOverAddresses {
        name,
        drain_ms: drain,
    };
    match ask(instance, &message) {
        Ok((Message::AddressesHandedOver { moves: true, words }, _)) => print(&format!(
            "begun for {words}; `evenkeel address` shows how it goes\n"
        )),
        Ok((Message::AddressesHandedOver { words, .. }, _)) if !words.is_empty() => refuse(words),
        Ok((Message::AddressesHandedOver { .. }, _)) => refuse(format_args!(
            "this machine does not own the addresses of {what}, so there is nothing to hand over"
        )),
        Ok(_) => refuse(format_args!(
            "process {}: it does not know this command",
            instance.pid
        )),
        Err(error) => refuse(error),
    }
}

/// Asks, and gives the answer and its text.
fn ask(instance: &Instance, message: &Message) -> Result<(Message, Option<String>), String> {
    let gone = |error: &dyn std::fmt::Display| format!("process {}: {error}", instance.pid);
    let connected = directory::connected(&instance.socket)
        .map_err(std::io::Error::from)
        .and_then(Channel::new);
    let mut channel = connected.map_err(|error| gone(&error))?;
    channel.send(message, &[]).map_err(|error| gone(&error))?;
    let received = channel.wait(Some(ANSWER_LIMIT));
    let received = received.map_err(|error| gone(&error))?;
    let text = received.descriptors.first().map(memory::text);
    let text = text.transpose().map_err(|error| gone(&error))?;
    Ok((received.message, text))
}

/// A time as our language writes it.
pub fn duration(text: &str) -> Result<Duration, String> {
    /// The longest drain.
    const SECONDS_MAX: u64 = 86_400;
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "a time, such as 5s or 500ms")?;
    let duration = match unit {
        "ms" | "" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err("a time ends with ms, s or m".to_owned()),
    };
    match duration.as_secs() <= SECONDS_MAX {
        true => Ok(duration),
        false => Err("that is more than a day".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
