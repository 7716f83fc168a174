//! Implements `evenkeel fence`, which tests that a node can be powered off, without doing it, or
//! records an operator's confirmation that the node is off. The command tests the fencing methods
//! itself, with the privileges of its caller.

use super::{PART, order};
use clap::{Arg, ArgAction, ArgMatches, Command};
use command::instance;
use command::json::{self, OutputFormat};
use command::options::{path, process_id, serving_files};
use command::status::ask_part;
use command::{payload_of_files, refuse, word};
use guest::config::Guests;
use guest::fence::proof::{self, FencingTestResult};
use guest::message::{Fences, FencesRequest};
use part::codec;
use part::power::control::PowerControl;
use std::path::PathBuf;
use std::process::ExitCode;

pub fn definition(command: Command) -> Command {
    command
        .about("Prove that a node can be powered off by the others, or confirm that it is off")
        .long_about(
            "A node that is gone is powered off by another one before its guests start there: see the lines `fence` of \
             `node` sections. Run the test on each of the other nodes, as the user that runs Evenkeel.",
        )
        .after_help("Examples:\n  evenkeel fence test alpha\n  evenkeel fence test alpha --from site.cfg\n  evenkeel fence confirm alpha --yes")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(serving_files().num_args(1).global(true))
        .arg(process_id().global(true))
        .subcommand(
            json::order(Command::new("test"))
                .about("Query the power status with each method of a node; nothing is powered off")
                .long_about(
                    "Queries the power status with each method of the node, and checks that programs of \
                     `fence exec` can be executed: more cannot be tested without a power-off. Exits with 1 \
                     if no method works.",
                )
                .arg(Arg::new("NODE").required(true).help("The node that would be powered off"))
                .arg(
                    path("FROM")
                        .long("from")
                        .value_name("FILE")
                        .action(ArgAction::Append)
                        .help("Read the section from this file, instead of the running instance"),
                ),
        )
        .subcommand(
            json::order(Command::new("confirm"))
                .about("Confirm that a node is off, for guests that wait for that")
                .long_about(
                    "Confirms to the cluster that this node is off: its power is off, or its cable is \
                     unplugged. Guests with disks of a storage system (`backing nfs`, `iscsi`, `rbd`) wait \
                     for that after a failure if fencing failed or there is none, because the storage \
                     executes a late write of the failed node. If the node is not off, the file systems of \
                     these guests are destroyed. It is refused while the node is connected to the cluster. \
                     A node that is switched on again accepts guests as before.",
                )
                .arg(Arg::new("NODE").required(true).help("The node that is off"))
                .arg(
                    Arg::new("yes")
                        .long("yes")
                        .action(ArgAction::SetTrue)
                        .help("Confirm that it is off: required"),
                ),
        )
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("test", matches)) => test(matches),
        Some(("confirm", matches)) => json::end_order(matches, order::confirm_off(matches)),
        _ => ExitCode::FAILURE,
    }
}

fn test(matches: &ArgMatches) -> ExitCode {
    let node = word(matches, "NODE");
    let fences = match fences(matches, &node) {
        Ok(fences) => fences,
        Err(words) => return refuse(words),
    };
    let proofs: Vec<FencingTestResult> = fences.iter().map(proof::of).collect();
    let format = OutputFormat::of(matches);
    let printed = format.print_result(text(&proofs), &proofs);
    if proofs.iter().any(|proof| proof.works) {
        printed
    } else {
        refuse(format!("no method can power {node} off"))
    }
}

fn text(proofs: &[FencingTestResult]) -> String {
    let line = |proof: &FencingTestResult| {
        if proof.works {
            format!("ok      {}: {}\n", proof.name, proof.words)
        } else {
            format!(
                "failed  {}: {}\n        try by hand: {}\n",
                proof.name, proof.words, proof.by_hand
            )
        }
    };
    proofs.iter().map(line).collect()
}

/// Returns the fencing methods of a node, from these files or from the running instance.
fn fences(matches: &ArgMatches, node: &str) -> Result<Vec<PowerControl>, String> {
    let fences = match matches.get_many::<PathBuf>("FROM") {
        Some(from) => of_files(&from.cloned().collect::<Vec<_>>(), node)?,
        None => of_instance(matches, node)
            .map_err(|words| format!("{words}. `--from FILE` reads the section from a file"))?,
    };
    if fences.is_empty() {
        Err(format!(
            "node '{node}' has no line `fence` that another node could use: nothing powers it off before its guests \
             start elsewhere"
        ))
    } else {
        Ok(fences)
    }
}

fn of_instance(matches: &ArgMatches, node: &str) -> Result<Vec<PowerControl>, String> {
    let instance = instance::selected(matches)?;
    let node_name = node.to_owned();
    let request = FencesRequest { node: node_name };
    let Fences(fences) = ask_part(&instance, request.envelope())?;
    fences.ok_or_else(|| format!("the served configuration has no section for node '{node}'"))
}

fn of_files(from: &[PathBuf], node: &str) -> Result<Vec<PowerControl>, String> {
    let guests = payload_of_files(from, PART)?;
    let guests = guests.and_then(|payload| codec::decode::<Guests>(&payload).ok());
    let guests = guests.ok_or("these files have no guest, so no node is fenced")?;
    let of_node = guests.nodes.get(node);
    let of_node =
        of_node.ok_or_else(|| format!("these files have no section for node '{node}'"))?;
    Ok(of_node.fences.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checklist_names_what_failed_and_the_command_to_try() {
        let of = |name: &str, works| FencingTestResult {
            name: name.to_owned(),
            works,
            words: "words".to_owned(),
            by_hand: "ipmitool chassis power status".to_owned(),
        };
        assert_eq!(
            text(&[of("ipmi a", false), of("exec /off", true)]),
            "failed  ipmi a: words\n        try by hand: ipmitool chassis power status\nok      exec /off: words\n"
        );
    }
}
