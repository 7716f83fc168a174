//! Evenkeel: two ordinary servers and a small tie-breaker as one highly available platform. The
//! binary checks the name under which it was started, and runs that personality.

mod address_role;
mod boot_role;
mod certificates;
mod check_runner;
mod command;
mod confinement;
mod console_role;
mod control_role;
mod demo;
mod demonstration;
mod expect;
mod farm_role;
mod features;
mod guest_role;
mod haproxy;
mod identity;
mod keepalived;
mod loader;
mod master;
mod parts;
mod password;
mod personality;
mod ping;
mod process;
mod role;
mod route;
mod route_process;
mod trusted;
mod volume_role;

use address::message::PART as ADDRESS;
use cluster::message::PART as CLUSTER;
pub use command::{status_of_part, status_options};
pub use features::{Feature, Subcommand};
use part::row::{self, Beside, Entry, Environment, Life, RoleRow, Serves};
use part::spawn;
use part::voice::refuse;
use proxy::message::PART as PROXY;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Parts of this crate, each after those whose sections it refers to.
static PARTS: [Feature; 10] = [
    Feature {
        part: &address::keyword::PART,
        role: Some(&RoleRow {
            part: ADDRESS,
            entry: Entry {
                word: "address-role",
                shown: "evenkeel: address",
                what: "address role",
                environment: Environment::Scripts,
            },
            main: address_role::main,
            ready_limit: Some(Duration::from_secs(30)),
            beats_after: Duration::ZERO,
            says_to: &[CLUSTER],
            reads_reports: false,
            certified: false,
            life: Life::Beside(Beside {
                things: "virtual addresses",
                needs: &[PROXY],
                keeps: true,
                remembers: false,
                shares: true,
                answers: false,
                overlaps: true,
                outlives: false,
            }),
        }),
        commands: &command::OF_ADDRESSES,
    },
    Feature {
        part: &volume::keyword::PART,
        role: Some(&volume_role::ROLE),
        commands: &command::OF_VOLUMES,
    },
    Feature {
        part: &guest::keyword::PART,
        role: Some(&guest_role::ROLE),
        commands: &command::OF_GUESTS,
    },
    Feature {
        part: &boot::keyword::PART,
        role: Some(&boot_role::ROLE),
        commands: &command::OF_BOOT,
    },
    Feature {
        part: &cluster::keyword::PART,
        role: Some(&RoleRow {
            part: CLUSTER,
            entry: Entry {
                word: "control-role",
                shown: "evenkeel: control",
                what: "control role",
                environment: Environment::Few,
            },
            main: control_role::main,
            ready_limit: None,
            beats_after: Duration::from_secs(30),
            says_to: &[
                PROXY,
                ADDRESS,
                volume::keyword::NAME,
                guest::keyword::NAME,
                boot::keyword::NAME,
                console::keyword::NAME,
                farm::keyword::NAME,
            ],
            reads_reports: true,
            certified: false,
            life: Life::Governs(control_role::GOVERNS),
        }),
        commands: &command::OF_CLUSTERS,
    },
    Feature {
        part: &proxy::PART,
        role: Some(&RoleRow {
            part: PROXY,
            entry: Entry {
                word: "proxy-role",
                shown: "evenkeel: proxy",
                what: "proxy",
                environment: Environment::Few,
            },
            main: role::main,
            ready_limit: Some(Duration::from_secs(120)),
            beats_after: Duration::ZERO,
            says_to: &[],
            reads_reports: false,
            certified: false,
            life: Life::Serves(Serves {
                operate: |level| proxy::message::Message::Operate { level }.envelope(),
            }),
        }),
        commands: &[],
    },
    Feature {
        part: &farm::keyword::PART,
        role: Some(&farm_role::ROLE),
        commands: &command::OF_FARMS,
    },
    Feature {
        part: &console::keyword::PART,
        role: Some(&console_role::ROLE),
        commands: &command::OF_CONSOLE,
    },
    Feature {
        part: &demonstration::PART,
        role: Some(&demonstration::ROLE),
        commands: &[],
    },
    Feature {
        part: &expect::PART,
        role: None,
        commands: &[],
    },
];

/// Runs the program under whose name this process was started, with these additional parts.
pub fn main(further: &[&'static Feature]) -> ExitCode {
    features::add(further);
    language::difference::know(parts::vocabulary());
    row::set(
        features::all()
            .iter()
            .filter_map(|part| part.role)
            .collect(),
    );
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_else(|| "evenkeel".into());
    let mut words: Vec<OsString> = words.collect();
    let name = Path::new(&program)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    match name.as_str() {
        "haproxy" => haproxy::main(words),
        "keepalived" => keepalived::main(words),
        // `evenkeel haproxy -f …` selects the personality without a link.
        _ => match words.first().and_then(|word| word.to_str()) {
            Some("haproxy") => haproxy::main(words.drain(1..)),
            Some("keepalived") => keepalived::main(words.drain(1..)),
            Some(spawn::INTERNAL) => internal(&words[1..]),
            _ => command::main(words),
        },
    }
}

/// Runs a process that a supervisor started.
fn internal(words: &[OsString]) -> ExitCode {
    if words == [spawn::SELF_TEST] {
        print!("{}", supervisor::self_test_words());
        return ExitCode::SUCCESS;
    }
    if let Some((first, rest)) = words.split_first()
        && first == ping::WORD
    {
        return ping::main(rest);
    }
    match spawn::enter(words) {
        Ok(entered) => match entered.word {
            spawn::LOADER => loader::main(entered.channel, personality::wishes),
            spawn::CHECKS => check_runner::main(entered.channel),
            spawn::ROUTE => route_process::main(entered.channel),
            word => {
                let row = row::all().iter().find(|row| row.entry.word == word);
                row.map_or(ExitCode::FAILURE, |row| (row.main)(entered.channel))
            }
        },
        Err(error) => refuse(error),
    }
}
