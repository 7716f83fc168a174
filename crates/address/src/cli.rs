//! Implements `evenkeel address`: prints the owner of each virtual address, since when and why, and
//! hands addresses over to another machine. The command queries the running supervisor, and waits
//! for the result of a hand-over.

use crate::message::{AddressRoleMessage as OfAddress, HandedOver, PART};
use crate::role::VIRTUAL_IP;
use clap::{Arg, ArgMatches, Command};
use command::instance;
use command::options::{duration, flag, option, process_id, serving_files};
use command::status::{ANSWER_LIMIT, ask, not_known, report};
use command::{Subcommand, print, refuse};
use part::channel::Received;
use part::codec;
use part::report::StatusReport;
use part::role::SupervisorMessage;
use part::status::{LeaseUse, RouterReport, RouterState};
use std::process::ExitCode;
use std::time::{Duration, Instant as Moment};
use supervisor::directory::Instance;

pub static COMMANDS: [Subcommand; 1] = [Subcommand::new("address", define, main)];

/// Interval at which the command polls the report until a hand-over has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Time for which a hand-over without a visible new owner counts as pending: the new holder of the
/// cluster lease sends its first adverts within that time.
const LEASE_LIMIT: Duration = Duration::from_secs(15);

/// Exit code: no machine took the addresses, so this machine keeps them.
const NOBODY_TOOK: u8 = 3;
/// Exit code: the result of the hand-over is not known.
const UNKNOWN: u8 = 4;

pub fn main(matches: &ArgMatches) -> ExitCode {
    let instance = match instance::selected(matches) {
        Ok(instance) => instance,
        Err(words) => return refuse(words),
    };
    match matches.subcommand() {
        Some(("hand-over", matches)) => {
            let name = matches.get_one::<String>("NAME").cloned();
            let drain = matches.get_one::<Duration>("drain").copied();
            hand_over(&instance, name, drain)
        }
        Some(("metrics", _)) => show(&instance, |report| {
            let mut metrics = String::new();
            report.metrics(&mut metrics);
            metrics
        }),
        _ if matches.get_flag("json") => show(&instance, StatusReport::json),
        _ => show(&instance, StatusReport::text),
    }
}

fn show(instance: &Instance, form: impl Fn(&StatusReport) -> String) -> ExitCode {
    match report(instance, PART) {
        Ok(report) => print(&form(&report)),
        Err(error) => refuse(error),
    }
}

fn hand_over(instance: &Instance, name: Option<String>, drain: Option<Duration>) -> ExitCode {
    let drain = drain.map(|drain| u64::try_from(drain.as_millis()).unwrap_or(u64::MAX));
    let wanted = name.clone();
    let message = OfAddress::HandOver {
        name,
        drain_ms: drain,
    };
    let message = SupervisorMessage::Part(Box::new(message.envelope()));
    let handed = match ask(instance, &message, ANSWER_LIMIT)
        .and_then(|answer| Ok(handed_over(instance, &answer)?))
    {
        Ok(handed) => handed,
        Err(error) => return refuse(error),
    };
    let names = handed.instances();
    match handed {
        HandedOver { moves: true, .. } => {
            wait_for_takers(instance, names.iter().map(String::as_str))
        }
        HandedOver { words, .. } if !words.is_empty() => refuse(words),
        HandedOver { .. } => refuse(nothing_moves(instance, wanted.as_deref())),
    }
}

fn nothing_moves(instance: &Instance, wanted: Option<&str>) -> String {
    let Some(wanted) = wanted else {
        return "nothing to hand over: this machine does not own the addresses of any instance"
            .to_owned();
    };
    let report = report(instance, PART).unwrap_or_default();
    let names: Vec<&str> = report
        .of_kind(VIRTUAL_IP)
        .map(|one| one.name.as_str())
        .collect();
    if names.is_empty() || names.contains(&wanted) {
        format!("nothing to hand over: this machine does not own the addresses of {wanted}")
    } else {
        format!(
            "no virtual-ip or vrrp_instance is named '{wanted}'; there is: {}",
            names.join(", ")
        )
    }
}

fn handed_over(instance: &Instance, answer: &Received) -> Result<HandedOver, String> {
    let SupervisorMessage::Answer { bytes } = &answer.message else {
        return Err(not_known(instance));
    };
    codec::decode(bytes).map_err(|_| not_known(instance))
}

/// The result of a hand-over.
#[derive(Clone, PartialEq, Eq, Debug)]
enum HandOverResult {
    Taken(String),
    Kept(String),
    Unknown(String),
}

/// Polls the report until the hand-over of each of these instances has a result, and prints it.
/// Returns the worst exit code.
fn wait_for_takers<'a>(instance: &Instance, names: impl Iterator<Item = &'a str>) -> ExitCode {
    let began = Moment::now();
    let mut open: Vec<&str> = names.collect();
    let mut worst = 0;
    while !open.is_empty() {
        let report = match report(instance, PART) {
            Ok(report) => report,
            Err(words) => {
                refuse(format_args!(
                    "{words}; `evenkeel address` shows the owner of the addresses of {}",
                    open.join(", ")
                ));
                return ExitCode::from(UNKNOWN);
            }
        };
        open.retain(|name| match end_of(&report, name, began.elapsed()) {
            None => true,
            Some(end) => {
                worst = worst.max(print_hand_over_result(&end));
                false
            }
        });
        if !open.is_empty() {
            std::thread::sleep(LOOK_EVERY);
        }
    }
    ExitCode::from(worst)
}

fn print_hand_over_result(end: &HandOverResult) -> u8 {
    match end {
        HandOverResult::Taken(words) => {
            print(&format!("{words}\n"));
            0
        }
        HandOverResult::Kept(words) => {
            refuse(words);
            NOBODY_TOOK
        }
        HandOverResult::Unknown(words) => {
            refuse(words);
            UNKNOWN
        }
    }
}

fn end_of(report: &StatusReport, name: &str, waited: Duration) -> Option<HandOverResult> {
    let Some(one) = report.find(VIRTUAL_IP, name) else {
        let words = format!("{name} is no longer configured");
        return Some(HandOverResult::Unknown(words));
    };
    let router = RouterReport::of(one);
    if router.state != RouterState::Master {
        let owner = router.other_owner;
        return match router.state {
            RouterState::Backup if !owner.is_empty() => {
                Some(HandOverResult::Taken(format!("{name}: {owner} took over")))
            }
            // Waits, because the new holder of the lease will send adverts in a moment.
            RouterState::Backup if waited < LEASE_LIMIT => None,
            // Counts as taken: without its lease, an address is at fault here and receives no
            // adverts, so the lease has moved to the new owner.
            RouterState::Fault if router.lease == LeaseUse::Moves => {
                Some(HandOverResult::Taken(format!("{name}: {}", one.why)))
            }
            _ => Some(HandOverResult::Unknown(format!(
                "{name}: this machine released the addresses ({}: {}), but no other machine announces them",
                one.state.word, one.why
            ))),
        };
    }
    match (router.is_handing_over, router.lease.is_leased()) {
        (true, _) => None,
        (false, true) if waited < LEASE_LIMIT => None,
        (false, true) => Some(HandOverResult::Kept(format!(
            "{name}: no other member took the lease within {} s, so this machine keeps the addresses; they move when \
             another member can serve them",
            LEASE_LIMIT.as_secs()
        ))),
        (false, false) => Some(HandOverResult::Kept(format!(
            "{name}: no other node took over, so this machine keeps the addresses. Check with `evenkeel address` on another \
             node: it must run this instance, reach this machine, and accept its adverts"
        ))),
    }
}

fn define(command: Command) -> Command {
    command
        .about("Show the owner of each virtual address, since when and why; hand addresses over")
        .long_about(
            "Shows the virtual addresses of a running `evenkeel run` or `keepalived` of the same user: the owner of \
             each, since when, why, how its priority is computed, and the last transitions.\n\n`hand-over` moves the \
             addresses of one instance, or of all, to another machine that is ready for them, and lets requests in \
             progress finish first. It waits for the new owner and prints it. Exit codes: 0 another machine took \
             over, 1 nothing to hand over, 3 no other node took over and this machine keeps the addresses, 4 the outcome is \
             not known.\n\n`metrics` prints Prometheus metrics with the names of keepalived_exporter.",
        )
        .after_help(
            "Examples:\n  evenkeel address\n  evenkeel address --json | jq .\n  \
             evenkeel address hand-over www --drain 5s\n  evenkeel address metrics",
        )
        .subcommand_negates_reqs(true)
        .arg(serving_files().num_args(1).global(true))
        .arg(process_id().global(true))
        .arg(
            flag("json", "Print JSON"),
        )
        .subcommands([
            Command::new("hand-over")
                .about("Move addresses to another machine that is ready for them")
                .arg(Arg::new("NAME").help("The instance; all instances if omitted"))
                .arg(
                    option("drain", "TIME", "Time for requests in progress to finish (5s, 500ms); default: as configured").value_parser(duration),
                ),
            Command::new("metrics").about("Print Prometheus metrics with the names of keepalived_exporter"),
        ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_over_ends_when_somebody_took_over_or_nobody_did() {
        use part::report::Subject;
        let one = |state| RouterReport {
            state,
            ..RouterReport::default()
        };
        let end = |status: &RouterReport, seconds: u64| {
            let report = StatusReport {
                subjects: vec![Subject::new(VIRTUAL_IP, "www").publish(status)],
                ..StatusReport::default()
            };
            end_of(&report, "www", Duration::from_secs(seconds))
        };
        let moves = RouterReport {
            is_handing_over: true,
            ..one(RouterState::Master)
        };
        assert_eq!(end(&moves, 900), None);
        let kept = end(&one(RouterState::Master), 0);
        assert!(matches!(kept, Some(HandOverResult::Kept(_))), "{kept:?}");
        let unheard = one(RouterState::Backup);
        assert_eq!(end(&unheard, 0), None);
        let taken = RouterReport {
            other_owner: "10.0.0.2".to_owned(),
            ..one(RouterState::Backup)
        };
        let words = "www: 10.0.0.2 took over".to_owned();
        assert_eq!(end(&taken, 0), Some(HandOverResult::Taken(words)));
        let fault = end(&one(RouterState::Fault), 0);
        assert!(
            matches!(fault, Some(HandOverResult::Unknown(_))),
            "{fault:?}"
        );
        let moved = RouterReport {
            lease: LeaseUse::Moves,
            ..one(RouterState::Fault)
        };
        assert!(matches!(end(&moved, 0), Some(HandOverResult::Taken(_))));
        let leased = RouterReport {
            lease: LeaseUse::Decides,
            ..one(RouterState::Master)
        };
        assert_eq!(end(&leased, 1), None);
        assert!(matches!(end(&leased, 16), Some(HandOverResult::Kept(_))));
        assert!(matches!(
            end_of(&StatusReport::default(), "www", Duration::ZERO),
            Some(HandOverResult::Unknown(_))
        ));
    }
}
