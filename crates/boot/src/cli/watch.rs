//! Implements `evenkeel boot watch`: prints the requests of machines and the responses as they
//! happen.

use super::{OfBoot, query_boot_role};
use crate::history::BootHistoryEntry;
use crate::message::{RecentRequestsResponse, SteppedMachine};
use clap::ArgMatches;
use command::instance;
use command::word;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(300);
/// Maximum number of consecutive polls without a response; a further one ends the command. A role
/// that restarts responds earlier.
const FAILURES_MAX: u32 = 30;

/// Prints each new request of a machine with its response, until standard output is closed.
///
/// # Errors
/// Fails if the role does not respond to the first poll, or to more than [`FAILURES_MAX`] later
/// ones in a row.
pub fn watch(matches: &ArgMatches) -> Result<String, String> {
    let machine = word(matches, "MACHINE").to_ascii_lowercase();
    let is_json = matches.get_flag("json");
    let look = |after: &BTreeMap<String, u64>| -> Result<RecentRequestsResponse, String> {
        let instance = instance::selected(matches)?;
        let after = after.clone();
        query_boot_role(&instance, &OfBoot::Watch { after })
    };
    let mut after = look(&BTreeMap::new())?.after;
    let networks: Vec<&str> = after.keys().map(String::as_str).collect();
    // Ignores an error: a closed standard error does not end the command.
    let _ = writeln!(
        io::stderr(),
        "watching {} from now on; Ctrl-C ends it",
        networks.join(", ")
    );
    let mut failures = 0;
    loop {
        thread::sleep(INTERVAL);
        let watched = match look(&after) {
            Ok(watched) => watched,
            Err(_) if failures < FAILURES_MAX => {
                failures += 1;
                continue;
            }
            Err(words) => return Err(words),
        };
        failures = 0;
        if watched.missed > 0 {
            // Ignores an error: a closed standard error does not end the command.
            let _ = writeln!(
                io::stderr(),
                "{} steps are missing: they came faster than they are kept",
                watched.missed
            );
        }
        let mut out = io::stdout().lock();
        for ((network, who, step), of) in watched.steps.iter().zip(&watched.machines) {
            if !is_named(of, &machine) {
                continue;
            }
            let line = if is_json {
                json(network, of, step)
            } else {
                text(network, who, step)
            };
            if writeln!(out, "{line}").is_err() {
                return Ok(String::new());
            }
        }
        if out.flush().is_err() {
            return Ok(String::new());
        }
        after = watched.after;
    }
}

/// Returns whether `wanted`, a name or a MAC address, means this machine. An empty text means all
/// machines.
fn is_named(machine: &SteppedMachine, wanted: &str) -> bool {
    wanted.is_empty()
        || machine.name.eq_ignore_ascii_case(wanted)
        || machine.mac.to_string().eq_ignore_ascii_case(wanted)
}

fn text(network: &str, who: &str, step: &BootHistoryEntry) -> String {
    let at = i64::try_from(step.at.unix_ms).ok();
    let at = at.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let at = at.map(|at| at.to_zoned(jiff::tz::TimeZone::system()));
    let at = at.map_or_else(String::new, |at| at.strftime("%H:%M:%S%.3f").to_string());
    let answered = match step.answered.as_str() {
        "" => "no answer",
        answered => answered,
    };
    let why = match step.why.as_str() {
        "" => String::new(),
        why => format!(": {why}"),
    };
    format!("{at} {network} {who}: {} -> {answered}{why}", step.asked)
}

fn json(network: &str, of: &SteppedMachine, step: &BootHistoryEntry) -> String {
    let value = serde_json::json!({
        "unix_ms": step.at.unix_ms, "network": network, "name": of.name, "mac": of.mac.to_string(),
        "asked": step.asked, "answered": step.answered, "why": step.why,
    });
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::report::Moment;

    #[test]
    fn a_step_is_a_line_and_its_machine_is_found_by_name_or_card() {
        let mut step = BootHistoryEntry {
            at: Moment::default(),
            asked: "DISCOVER by PXE".to_owned(),
            answered: String::new(),
            why: "no range".to_owned(),
            times: 1,
        };
        let who = "node7 (52:54:00:00:00:07)";
        let line = text("lan", who, &step);
        assert!(
            line.ends_with(
                " lan node7 (52:54:00:00:00:07): DISCOVER by PXE -> no answer: no range"
            )
        );
        step.answered = "OFFER 10.20.0.107".to_owned();
        step.why = String::new();
        assert!(text("lan", who, &step).ends_with("-> OFFER 10.20.0.107"));
        let card = "52:54:00:00:00:07";
        let machine = |name: &str| SteppedMachine {
            name: name.to_owned(),
            mac: card.parse().unwrap(),
        };
        let line = json("lan", &machine("node7"), &step);
        assert!(
            line.contains(r#""mac":"52:54:00:00:00:07""#) && line.contains(r#""name":"node7""#)
        );
        for (name, wanted, expected) in [
            ("node7", "", true),
            ("node7", "NODE7", true),
            ("node7", card, true),
            ("", card, true),
            ("node7", "node", false),
            ("", "52:54:00:00:00:08", false),
        ] {
            assert_eq!(
                is_named(&machine(name), wanted),
                expected,
                "{name} {wanted}"
            );
        }
    }
}
