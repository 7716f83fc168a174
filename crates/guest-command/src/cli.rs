//! Implements `evenkeel guest`, which shows guests and sends orders about them to the guest role
//! through the running supervisor, and `evenkeel node`, which drains a node for maintenance and
//! fills it again.

mod clone;
mod console;
mod definition;
mod disks;
mod elsewhere;
mod far;
pub mod fence;
mod image;
mod moment;
mod order;
mod remove;
mod screen;
mod snapshot;
mod template;

pub use definition::{guest, node};

use clap::ArgMatches;
use command::instance;
use command::json::end_order;
use command::status::report;
use command::{Subcommand, end, word};
use guest::keyword::NAME as PART;
use guest::qemu::process::Confine;
use guest::role::report::{FENCING, GUEST, NODE, ON};
use part::report::{StatusReport, Subject};
use part::status::{GuestNodeReport, GuestNodeState};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;
use supervisor::directory::Instance;

pub static COMMANDS: [Subcommand; 3] = [
    Subcommand::new("guest", guest, main),
    Subcommand::new("node", node, node_main),
    Subcommand::new("fence", fence::definition, fence::main),
];

static CONFINE: OnceLock<Confine> = OnceLock::new();

/// Sets the function that confines QEMU and its tools. Must be called once, at the start of a
/// process.
pub fn set_confine(confine: Confine) {
    // Ignores a second call, which has no effect.
    let _ = CONFINE.set(confine);
}

fn confine(home: &Path, files: &[&Path]) -> io::Result<Option<OwnedFd>> {
    let unset = || io::Error::other("this program cannot confine QEMU");
    CONFINE.get().ok_or_else(unset)?(home, files)
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    if let Some(code) = far::instead(matches) {
        return code;
    }
    let Some((name, matches)) = matches.subcommand() else {
        return ExitCode::FAILURE;
    };
    let done = match name {
        "list" => return end(list(matches)),
        "show" => return end(show(matches)),
        "start" => order::start(matches),
        "stop" => order::stop(matches),
        "move" => order::move_to(matches),
        "snapshot" => snapshot::take(matches),
        "snapshots" => snapshot::list(matches),
        "restore" => snapshot::restore(matches),
        "template" => template::main(matches),
        "clone" => clone::main(matches),
        "remove" => remove::main(matches),
        "create" => return image::create(matches),
        "import" => return image::import(matches),
        "log" => return console::log(matches),
        "console" => return console::console(matches),
        _ => return ExitCode::FAILURE,
    };
    end_order(matches, done)
}

pub fn node_main(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("drain", matches)) => end_order(matches, order::drain(matches)),
        Some(("fill", matches)) => end_order(matches, order::fill(matches)),
        _ => ExitCode::FAILURE,
    }
}

fn load_guest_report(matches: &ArgMatches) -> Result<(Instance, StatusReport), String> {
    let instance = instance::selected(matches)?;
    let report = report(&instance, PART).map_err(|error| error.to_string())?;
    Ok((instance, report))
}

fn list(matches: &ArgMatches) -> Result<String, String> {
    let (instance, mut report) = load_guest_report(matches)?;
    elsewhere::complete(&instance, &mut report, None);
    if matches.get_flag("json") {
        return Ok(report.json());
    }
    Ok(report.table(GUEST, &[ON, "disks"]) + &nodes_without(&report))
}

fn nodes_without(report: &StatusReport) -> String {
    let nodes = report
        .of_kind(NODE)
        .filter(|one| GuestNodeReport::of(one).state != GuestNodeState::Available);
    let line = |one: &Subject| {
        let fencing = one.words(FENCING);
        let fencing = fencing.map_or_else(String::new, |words| format!("; fencing: {words}"));
        format!("{}: {}{fencing}\n", order::named(&one.name), one.state.word)
    };
    nodes.map(line).collect()
}

fn show(matches: &ArgMatches) -> Result<String, String> {
    let (instance, mut report) = load_guest_report(matches)?;
    let name = word(matches, "NAME");
    find(&report, &name)?;
    elsewhere::complete(&instance, &mut report, Some(&name));
    report
        .subjects
        .retain(|one| one.kind == GUEST && one.name == name);
    if matches.get_flag("json") {
        return Ok(report.json());
    }
    let lines = report.subjects.iter().map(|one| report.lines_of(one));
    Ok(lines.collect::<String>() + &snapshot::lines(matches, &instance, &name))
}

fn find<'r>(report: &'r StatusReport, name: &str) -> Result<&'r Subject, String> {
    report.find(GUEST, name).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> String {
    format!("the served configuration has no guest '{name}'. If its section is new, reload")
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest::role::report::{TAKES, THIS_NODE};
    use part::report::Grade;

    #[test]
    fn unavailable_nodes_are_shown_with_their_fencing() {
        let node = |name: &str, word: &str, state| {
            let node = Subject::new(NODE, name).state(word, Grade::Good);
            node.publish(&GuestNodeReport { state })
        };
        let report = StatusReport {
            subjects: vec![
                node("alpha", TAKES, GuestNodeState::Available),
                node("beta", "fenced", GuestNodeState::Fenced)
                    .fact(FENCING, "off confirmed by exec /bin/off 3 s ago"),
                node(THIS_NODE, "drained", GuestNodeState::Drained),
            ],
            ..StatusReport::default()
        };
        assert_eq!(
            nodes_without(&report),
            "node beta: fenced; fencing: off confirmed by exec /bin/off 3 s ago\nthis node: drained\n"
        );
    }
}
