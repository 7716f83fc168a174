//! Implements `evenkeel boot`: shows the networks from which machines boot, the machines and their
//! requests, and sends orders for machines to the running boot role.

mod image;
mod power;
mod watch;

use crate::history::LastBoot;
use crate::keyword::NAME as PART;
use crate::message::{
    BootMachineStatus, MachineHistoryResponse, MachineListResponse, OperatorRequest as OfBoot,
};
use clap::{Arg, ArgMatches, Command};
use command::instance;
use command::json::{self, OutputFormat, end_order};
use command::options::{flag, process_id, serving_files};
use command::status::{ask_part, report, sections};
use command::{Subcommand, end, word};
use part::report::{Grade, Moment, StatusReport, Subject, span};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::ExitCode;
use supervisor::directory::Instance;

pub static COMMANDS: [Subcommand; 1] = [Subcommand::new("boot", definition, main)];

/// Limit of machines in `list` without `--all`.
const LISTED: usize = 200;
const NUMBERS_WIDTH: usize = 32;

fn machine() -> Arg {
    let help = "The machine: the name of its line, or its MAC address";
    Arg::new("MACHINE").required(true).help(help)
}

pub fn definition(command: Command) -> Command {
    command
        .about("Show machines that boot from the network, and order what they boot")
        .long_about(
            "Shows the networks of `boot` sections of a running `evenkeel run` of the same user, the machines in them, \
             and what each was answered and why. The configuration says what machines boot; `once` orders something else \
             for the next boot.",
        )
        .after_help(
            "Examples:\n  evenkeel boot list\n  evenkeel boot why 52:54:00:00:00:07\n  evenkeel boot watch\n  evenkeel boot once node7 rescue\n  \
             evenkeel boot wake node7\n  evenkeel boot power cycle node7\n  evenkeel boot enlist\n  evenkeel boot image build debian trixie /srv/boot/trixie",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(serving_files().num_args(1).global(true))
        .arg(process_id().global(true))
        .subcommands(shows())
        .subcommands([
            json::order(Command::new("once"))
                .about("Order what a machine boots next, once")
                .long_about(
                    "The next boot of the machine is this image, whatever its line says; when it has fetched all of it, its \
                     line counts again. Without an image the order ends, and a line with `once` begins again.",
                )
                .arg(machine())
                .arg(Arg::new("IMAGE").help("The image; without it, what the line of the machine says")),
            json::order(Command::new("wake"))
                .about("Switch a machine on by its network card (Wake-on-LAN)")
                .arg(machine()),
            json::order(Command::new("drop"))
                .about("Drop what a machine has changed of its disk")
                .long_about(
                    "What the machine has changed of disks with `overlay` is dropped, also with `keep`: its next boot finds \
                     the disk as it is. Switch the machine off first.",
                )
                .arg(machine()),
            json::order(power::definition()).arg(machine()),
            image::definition(),
            Command::new("enlist")
                .about("Show new machines that wait for a line, each with a line to copy")
                .long_about(
                    "With `unknown enlist`, a machine that the file does not name says what it is and waits. This prints a \
                     `machine` line for each. Once the line is in the file and loaded, the machine boots its image within \
                     ten seconds.",
                ),
        ])
}

fn shows() -> [Command; 4] {
    [
        Command::new("list")
            .about("Show all machines, their addresses, what they boot next, what they booted and what they last asked")
            .long_about(
                "Shows the machines of the file, those that asked, and those with a lease. On a cluster each node shows \
                 all of them: NODE is the node by which a machine has its address, or the last one that answered a machine \
                 with `address`. Without a connection between the nodes, each shows what it heard before.",
            )
            .arg(flag("all", "As many as one answer has room for, not only 200"))
            .arg(json::option()),
        Command::new("show")
            .about("Show the networks: their state and leases, and the counters of one")
            .long_about(
                "Shows the networks of this node, and with the name of one also its counters. `leased` are the addresses \
                 with a lease by this node, `leased by other nodes` those of which the others told it: together, those of \
                 the network. `--json` says what each counter is.",
            )
            .arg(Arg::new("NETWORK").help("Only this one, with its counters: the name of its section"))
            .arg(json::option()),
        Command::new("why")
            .about("Show what a machine asked, what it was answered and why, packet by packet")
            .long_about(
                "Shows what a machine asked this node since its role began. Where another node served the machine, the last \
                 line says what it answered there: run the command there for the rest.",
            )
            .arg(machine())
            .arg(json::option()),
        Command::new("watch")
            .about("Show what machines ask and are answered, as it happens")
            .long_about(
                "Prints a line for each packet and fetch that this node sees from now on, with the reason for its answer, \
                 until it is interrupted.",
            )
            .arg(Arg::new("MACHINE").help("Only this one: the name of its line, or its MAC address"))
            .arg(flag("json", "Print a line of JSON for each")),
    ]
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    let done = match matches.subcommand() {
        Some(("list", matches)) => list(matches),
        Some(("show", matches)) => show(matches),
        Some(("why", matches)) => why(matches),
        Some(("watch", matches)) => watch::watch(matches),
        Some(("once", matches)) => {
            let (machine, image) = (word(matches, "MACHINE"), word(matches, "IMAGE"));
            return order(matches, &OfBoot::Once { machine, image });
        }
        Some(("wake", matches)) => {
            let machine = word(matches, "MACHINE");
            return order(matches, &OfBoot::Wake { machine });
        }
        Some(("drop", matches)) => {
            let machine = word(matches, "MACHINE");
            return order(matches, &OfBoot::Drop { machine });
        }
        Some(("power", matches)) => return end_order(matches, power::main(matches)),
        Some(("image", matches)) => return image::main(matches),
        Some(("enlist", matches)) => enlist(matches),
        _ => return ExitCode::FAILURE,
    };
    end(done)
}

/// Returns the status of the networks; for a single network also its counters.
fn show(matches: &ArgMatches) -> Result<String, String> {
    let mut text = sections(matches, PART, "NETWORK")?;
    let name = matches.get_one::<String>("NETWORK");
    let Some(name) = name.filter(|_| !matches.get_flag("json")) else {
        return Ok(text);
    };
    let instance = instance::selected(matches)?;
    let report = report(&instance, PART).map_err(|error| error.to_string())?;
    let numbers = report.subjects.iter().filter(|one| one.name == *name);
    for (name, value) in numbers.flat_map(|one| &one.numbers) {
        // Ignores the result: writing to memory cannot fail.
        let _ = writeln!(text, "  {name:NUMBERS_WIDTH$}{value}");
    }
    Ok(text)
}

fn query_boot_role<T: DeserializeOwned>(
    instance: &Instance,
    message: &OfBoot,
) -> Result<T, String> {
    ask_part(instance, message.envelope())
}

fn order(matches: &ArgMatches, message: &OfBoot) -> ExitCode {
    let done = instance::selected(matches)
        .and_then(|instance| command::status::order(&instance, message.envelope()));
    end_order(matches, done.map(|words| words + "\n"))
}

fn machines(matches: &ArgMatches) -> Result<MachineListResponse, String> {
    let instance = instance::selected(matches)?;
    query_boot_role(&instance, &OfBoot::Machines {})
}

fn ago(at: Moment) -> String {
    let now = Moment::now().boottime_ms;
    format!("{} ago", span(now.saturating_sub(at.boottime_ms)))
}

fn list(matches: &ArgMatches) -> Result<String, String> {
    let mut all = machines(matches)?;
    if matches.get_flag("json") {
        return list_json(&all);
    }
    // Machines with the latest requests come first.
    all.machines
        .sort_by_key(|one| std::cmp::Reverse(one.last.as_ref().map(|step| step.at.boottime_ms)));
    let shown = if matches.get_flag("all") {
        all.machines.len()
    } else {
        LISTED
    };
    let report = StatusReport {
        subjects: all
            .machines
            .iter()
            .take(shown)
            .map(|one| row(one, &all.me))
            .collect(),
        ..StatusReport::default()
    };
    let mut columns = vec!["mac", "address"];
    columns.extend(Some("node").filter(|_| !all.me.is_empty()));
    columns.extend(["network", "boots next", "booted", "last asked"]);
    let mut text = report.table("machine", &columns);
    if !all.notice.is_empty() {
        text = format!("{}\n\n{text}", all.notice);
    }
    let more = all.machines.len().saturating_sub(shown) as u64 + all.more;
    if more > 0 {
        let _ = writeln!(
            text,
            "and {more} more that asked longer ago: `evenkeel boot why MACHINE` shows one"
        );
    }
    Ok(text)
}

fn row(one: &BootMachineStatus, me: &str) -> Subject {
    let name = Some(one.name.as_str()).filter(|name| !name.is_empty());
    let state = match (&one.last, name) {
        (None, _) => ("silent", Grade::Unknown),
        (Some(step), _) if step.answered.is_empty() => ("unanswered", Grade::Unknown),
        (Some(_), None) => ("new", Grade::Busy),
        (Some(_), Some(_)) => ("answered", Grade::Good),
    };
    let address = Some(one.addresses()).filter(|all| !all.is_empty());
    let node = Some(one.node.clone()).filter(|node| !node.is_empty());
    let booted = one.booted.as_ref().map(|booted| booted_words(booted, me));
    let last = one.last.as_ref().map_or("-".to_owned(), |step| {
        let answered = Some(step.answered.as_str()).filter(|answered| !answered.is_empty());
        let answered = answered.unwrap_or("no answer");
        let by = by(&one.last_node, me);
        format!("{}: {} -> {answered}{by}", ago(step.at), step.asked)
    });
    Subject::new("machine", name.unwrap_or("-"))
        .state(state.0, state.1)
        .fact("mac", one.mac.to_string())
        .fact("address", address.unwrap_or("-".to_owned()))
        .fact("node", node.unwrap_or("-".to_owned()))
        .fact("network", one.network.clone())
        .fact("boots next", one.next.clone())
        .fact("booted", booted.unwrap_or("-".to_owned()))
        .fact("last asked", last)
}

fn by(node: &str, me: &str) -> String {
    if node.is_empty() || node == me {
        String::new()
    } else {
        format!(" (by {node})")
    }
}

fn booted_words(booted: &LastBoot, me: &str) -> String {
    let by = by(&booted.node, me);
    format!("{}, {}{by}", booted.image, ago(booted.at))
}

fn list_json(all: &MachineListResponse) -> Result<String, String> {
    let machines: Vec<serde_json::Value> = all.machines.iter()
        .map(|one| {
            let text = |words: &str| Some(words.to_owned()).filter(|words| !words.is_empty());
            let last = one.last.as_ref().map(|step| {
                let is_here = one.last_node.is_empty() && !step.answered.is_empty();
                let node = if is_here { &all.me } else { &one.last_node };
                serde_json::json!({
                    "unix_ms": step.at.unix_ms, "asked": step.asked, "answered": step.answered, "why": step.why,
                    "node": text(node),
                })
            });
            let booted = one.booted.as_ref().map(|booted| {
                serde_json::json!({
                    "unix_ms": booted.at.unix_ms, "image": booted.image, "node": text(&booted.node),
                })
            });
            serde_json::json!({
                "network": one.network, "name": one.name, "mac": one.mac.to_string(),
                "address": one.address.map(|address| address.to_string()),
                "address6": one.address6.map(|address| address.to_string()), "node": text(&one.node),
                "boots_next": one.next, "booted": booted, "last": last,
                "power": Some(&one.power).filter(|power| !power.is_empty()),
                "facts": one.facts.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            })
        })
        .collect();
    let text = serde_json::to_string_pretty(
        &serde_json::json!({ "node": Some(&all.me).filter(|me| !me.is_empty()), "machines": machines, "more": all.more }),
    );
    text.map(|text| text + "\n")
        .map_err(|error| error.to_string())
}

fn why(matches: &ArgMatches) -> Result<String, String> {
    let instance = instance::selected(matches)?;
    let machine = word(matches, "MACHINE");
    let asked: MachineHistoryResponse = query_boot_role(&instance, &OfBoot::Why { machine })?;
    if !asked.trouble.is_empty() {
        return Err(asked.trouble);
    }
    if OutputFormat::of(matches) == OutputFormat::Json {
        return json::line(&asked);
    }
    let mut text = format!("{}\n", asked.who);
    if !asked.address.is_empty() {
        // Ignores the result: writing to memory cannot fail.
        let _ = writeln!(text, "address: {}", asked.address);
    }
    let _ = writeln!(text, "boots next: {}", asked.next);
    if let Some(booted) = &asked.booted {
        let _ = writeln!(text, "booted: {}", booted_words(booted, &asked.me));
    }
    if asked.steps.is_empty() {
        text.push_str("it has asked this node nothing since its role began\n");
    }
    for step in &asked.steps {
        let answered = if step.answered.is_empty() {
            "no answer"
        } else {
            &step.answered
        };
        // Ignores the result: writing to memory cannot fail.
        let _ = writeln!(
            text,
            "{:>12}  {}{} -> {answered}",
            ago(step.at),
            step.asked,
            times(step.times)
        );
        if !step.why.is_empty() {
            let _ = writeln!(text, "{:>12}  {}", "", step.why);
        }
    }
    if let Some((step, node)) = &asked.elsewhere {
        let (ago, asked, answered) = (ago(step.at), &step.asked, &step.answered);
        let _ = writeln!(
            text,
            "{ago:>12}  {asked} -> {answered}, by node {node}: `evenkeel boot why` there shows why"
        );
    }
    Ok(text)
}

fn times(times: u32) -> String {
    match times {
        0 | 1 => String::new(),
        times => format!(" ({times} times)"),
    }
}

fn enlist(matches: &ArgMatches) -> Result<String, String> {
    let all = machines(matches)?;
    let new: Vec<&BootMachineStatus> = all
        .machines
        .iter()
        .filter(|one| one.name.is_empty() && !one.facts.is_empty())
        .collect();
    if new.is_empty() {
        return Ok("no new machine waits for a line\n".to_owned());
    }
    let mut text = String::new();
    let mut taken: BTreeSet<String> = all.machines.iter().map(|one| one.name.clone()).collect();
    for one in new {
        let fact = |name: &str| {
            one.facts
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
        };
        let facts: Vec<String> = one
            .facts
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        let address = one
            .address
            .map_or_else(String::new, |address| format!(" address {address}"));
        let serial = fact("serial").unwrap_or_default();
        let fits = |letter: &char| letter.is_ascii_alphanumeric() || "-._".contains(*letter);
        let name: String = serial.chars().filter(fits).take(32).collect();
        let is_free = !name.starts_with('.') && taken.insert(name.clone());
        let name = if is_free { name } else { "NAME".to_owned() };
        // Ignores the result: writing to memory cannot fail.
        let _ = writeln!(text, "# in boot {}: {}", one.network, facts.join(", "));
        let _ = writeln!(
            text,
            "    machine {name} mac {}{address} image IMAGE\n",
            one.mac
        );
    }
    Ok(text)
}
