//! Runs a command about a guest on the node where the guest runs or has its disks. The output comes
//! back through the guest roles of both nodes.

use super::{disks, find, order};
use crate::cli::load_guest_report;
use clap::ArgMatches;
use command::status::ask_part;
use command::{refuse, word};
use guest::migration::take_frame;
use guest::remote::{Output, RemoteCommand, StreamRequest, StreamResponse};
use guest::role::report::NODE;
use part::report::StatusReport;
use part::status::{GuestNodeReport, GuestNodeState, GuestReport};
use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;
use std::time::Duration;
use supervisor::directory::Instance;

/// Minimum pause between two requests of output after an empty response.
pub(super) const REST_MIN: Duration = Duration::from_millis(10);
/// Maximum pause between two requests of output after empty responses.
pub(super) const REST_MAX: Duration = Duration::from_millis(100);

/// Executes the command on another node if the guest is there, and returns its exit code. Returns
/// None if this node has to execute the command.
pub(super) fn instead(matches: &ArgMatches) -> Option<ExitCode> {
    let (command, matches) = matches.subcommand()?;
    let what = remote(command, matches)?;
    if matches.get_flag("here") {
        return None;
    }
    // Returns None on a local error, which the command itself reports.
    let (instance, report) = load_guest_report(matches).ok()?;
    let node = node(matches, &instance, &report, &what)?;
    Some(match run(&instance, &node, what) {
        Ok(code) => ExitCode::from(code),
        Err(words) => refuse(words),
    })
}

fn remote(command: &str, matches: &ArgMatches) -> Option<RemoteCommand> {
    let name = || word(matches, "NAME");
    Some(match command {
        "log" => RemoteCommand::Log {
            name: name(),
            follows: matches.get_flag("follow"),
        },
        "snapshot" => match word(matches, "remove") {
            snapshot if snapshot.is_empty() => RemoteCommand::Snapshot {
                name: name(),
                label: word(matches, "name"),
            },
            snapshot => RemoteCommand::RemoveSnapshot {
                name: name(),
                snapshot,
            },
        },
        "snapshots" => RemoteCommand::Snapshots { name: name() },
        "restore" => RemoteCommand::Restore {
            name: name(),
            snapshot: word(matches, "SNAPSHOT"),
            replaces: matches.get_flag("yes"),
        },
        "clone" => RemoteCommand::Clone {
            name: name(),
            new: word(matches, "NEW"),
            snapshot: word(matches, "snapshot"),
            replaces: matches.get_flag("yes"),
        },
        _ => return None,
    })
}

/// Returns the other node that has to execute the command: the node of the guest, or, if the guest
/// is down and this node lacks what the command needs, another node on which the guest may run.
/// Returns None if this node has to execute the command.
fn node(
    matches: &ArgMatches,
    instance: &Instance,
    report: &StatusReport,
    what: &RemoteCommand,
) -> Option<String> {
    let name = word(matches, "NAME");
    let subject = find(report, &name).ok()?;
    if let Some(node) = order::elsewhere(report, &name) {
        return Some(node);
    }
    let is_down = subject.value("process").unwrap_or(0) == 0;
    if !is_down || is_of_this_node(matches, instance, &name, what) {
        return None;
    }
    others(report, &name).into_iter().next()
}

pub(super) fn others(report: &StatusReport, name: &str) -> Vec<String> {
    let is_other = |node: &String| {
        let subject = report.find(NODE, node);
        subject.is_some_and(|one| {
            let is_away = GuestNodeReport::of(one).state == GuestNodeState::Away;
            one.value("here") == Some(0) && !is_away
        })
    };
    let prefers = find(report, name).map(|one| GuestReport::of(one).prefers);
    let mut others = prefers.unwrap_or_default();
    others.retain(is_other);
    others
}

/// Returns whether this node has what a command needs about a guest that is down.
fn is_of_this_node(
    matches: &ArgMatches,
    instance: &Instance,
    name: &str,
    what: &RemoteCommand,
) -> bool {
    let disks = || {
        let known = disks::known(instance, name).ok()?;
        disks::of(matches, &known.served?).ok()
    };
    let has = |snapshot: &str| {
        let disks = disks();
        disks.is_some_and(|disks| disks::find(&disks, name, snapshot).is_ok())
    };
    match what {
        RemoteCommand::Console { .. } | RemoteCommand::Display { .. } => true,
        RemoteCommand::Log { .. } => super::console::log_of(name).exists(),
        RemoteCommand::Snapshot { .. } => disks().is_some(),
        RemoteCommand::Snapshots { .. } => {
            let moments = disks().and_then(|disks| disks::moments(&disks).ok());
            moments.is_some_and(|moments| !moments.is_empty())
        }
        RemoteCommand::Clone { snapshot, .. } if snapshot.is_empty() => disks().is_some(),
        RemoteCommand::RemoveSnapshot { snapshot, .. }
        | RemoteCommand::Restore { snapshot, .. }
        | RemoteCommand::Clone { snapshot, .. } => has(snapshot),
    }
}

/// Command that runs on another node, whose output is requested by its number.
pub(super) struct RemoteOutputStream<'i> {
    instance: &'i Instance,
    number: u64,
}

impl RemoteOutputStream<'_> {
    pub(super) fn begin<'i>(
        instance: &'i Instance,
        node: &str,
        what: RemoteCommand,
    ) -> Result<RemoteOutputStream<'i>, String> {
        let node = node.to_owned();
        let passed = asked_of(instance, &StreamRequest::Begin { node, what })?;
        if passed.is_over {
            Err(passed.words)
        } else {
            Ok(RemoteOutputStream {
                instance,
                number: passed.number,
            })
        }
    }

    pub(super) fn pass(&self, bytes: &[u8]) -> Result<StreamResponse, String> {
        let (number, bytes) = (self.number, bytes.to_vec());
        asked_of(self.instance, &StreamRequest::Pass { number, bytes })
    }
}

impl Drop for RemoteOutputStream<'_> {
    fn drop(&mut self) {
        // Ignores an error: after a failure the role drops the stream by itself a little later.
        let _ = asked_of(
            self.instance,
            &StreamRequest::End {
                number: self.number,
            },
        );
    }
}

fn asked_of(instance: &Instance, ask: &StreamRequest) -> Result<StreamResponse, String> {
    ask_part(instance, ask.envelope())
}

fn run(instance: &Instance, node: &str, what: RemoteCommand) -> Result<u8, String> {
    let is_log = matches!(what, RemoteCommand::Log { .. });
    if !is_log {
        // Writes to standard error, because standard output has only that of the command.
        let _ = writeln!(stderr(), "at node {node}:");
    }
    let stream = RemoteOutputStream::begin(instance, node, what)?;
    let mut came = Vec::new();
    let mut rest = REST_MIN;
    loop {
        let passed = stream.pass(&[])?;
        let has_come = !passed.bytes.is_empty();
        came.extend(passed.bytes);
        while let Some(output) = take_frame(&mut came)? {
            let written = match output {
                Output::Ended(code) => return Ok(code),
                Output::Err(bytes) => stderr().write_all(&super::console::plain(&bytes)),
                Output::Out(bytes) if is_log && stdout().is_terminal() => {
                    stdout().write_all(&super::console::plain(&bytes))
                }
                Output::Out(bytes) => stdout().write_all(&bytes),
            };
            if written.and_then(|()| stdout().flush()).is_err() && is_log {
                return Ok(0);
            }
        }
        if passed.is_over {
            let closed = || {
                format!(
                    "node {node} closed the connection: if it runs another version of evenkeel, run the \
                     command there"
                )
            };
            return Err(Some(passed.words)
                .filter(|one| !one.is_empty())
                .unwrap_or_else(closed));
        }
        rest = if has_come {
            REST_MIN
        } else {
            (rest * 2).min(REST_MAX)
        };
        if !has_come {
            std::thread::sleep(rest);
        }
    }
}
