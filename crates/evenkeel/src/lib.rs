//! Runs Evenkeel: joins the parts in one table, and selects the personality by the name under which
//! the process was started. The crate is also the entry of the internal processes (loader and
//! roles).

// Reports unused code only in a complete build.
#![cfg_attr(
    not(feature = "complete"),
    allow(
        dead_code,
        unused_imports,
        unused_macros,
        reason = "parts that are not built use it"
    )
)]

mod address_role;
#[cfg(feature = "cluster")]
mod arbiter;
#[cfg(feature = "boot")]
mod boot_role;
mod certificates;
mod check_runner;
mod command;
#[cfg(feature = "console")]
mod console_role;
#[cfg(feature = "cluster")]
mod control_role;
mod entry_point;
#[cfg(feature = "farm")]
mod farm_role;
mod features;
#[cfg(feature = "guest")]
mod guest_role;
mod haproxy;
mod identity;
mod keepalived;
mod loader;
mod master;
mod parts;
#[cfg(any(feature = "console", feature = "farm"))]
mod password;
mod personality;
mod ping;
#[cfg(feature = "console")]
mod recorded_files;
#[cfg(feature = "console")]
mod route_process;
#[cfg(feature = "cluster")]
mod trusted;
#[cfg(feature = "volume")]
mod volume_role;

use address::message::PART as ADDRESS;
#[cfg(feature = "cluster")]
pub use arbiter::main as arbiter_main;
pub use command::{status_of_part, status_options};
pub use features::{Feature, Subcommand};
use part::control::PART as CLUSTER;
use part::row::{self, Entry, Environment, Life, PrimaryProperties, RoleRow, SidecarProperties};
use part::spawn;
use part::voice::refuse;
use proxy::message::PART as PROXY;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Rows of the parts of this crate. Each part follows those whose sections it refers to.
const PROXY_ENTRY: Entry = Entry {
    argument: "proxy-role",
    process_title: "evenkeel: proxy",
    display_name: "proxy",
    environment: Environment::Few,
};

const PROXY_PROPERTIES: PrimaryProperties = PrimaryProperties {
    operate: |level| proxy::message::ProxyMessage::Operate { level }.envelope(),
};

static PARTS: &[Feature] = &[
    Feature {
        part: &address::keyword::PART,
        role: Some(&RoleRow {
            part: ADDRESS,
            entry: Entry {
                argument: "address-role",
                process_title: "evenkeel: address",
                display_name: "address role",
                environment: Environment::Scripts,
            },
            main: address_role::main,
            ready_limit: Some(Duration::from_secs(30)),
            heartbeat_grace: Duration::ZERO,
            message_recipients: &[CLUSTER],
            reads_reports: false,
            certified: false,
            life: Life::Beside(SidecarProperties {
                configured_noun: "virtual addresses",
                dependencies: &[PROXY],
                has_state_file: true,
                // Addresses that an operator handed over stay at their node.
                state_survives_stop: true,
                shares_heartbeats: true,
                has_clients: false,
                can_overlap: true,
                continues_after_stop: false,
                has_runtime_files: false,
            }),
        }),
        commands: &address::cli::COMMANDS,
    },
    #[cfg(feature = "volume")]
    Feature {
        part: &volume::keyword::PART,
        role: Some(&volume_role::ROLE),
        commands: &volume::cli::COMMANDS,
    },
    #[cfg(feature = "guest")]
    Feature {
        part: &guest::keyword::PART,
        role: Some(&guest_role::ROLE),
        commands: &guest_command::COMMANDS,
    },
    #[cfg(feature = "boot")]
    Feature {
        part: &boot::keyword::PART,
        role: Some(&boot_role::ROLE),
        commands: &boot::cli::COMMANDS,
    },
    #[cfg(feature = "cluster")]
    Feature {
        part: &cluster::keyword::PART,
        role: Some(&RoleRow {
            part: CLUSTER,
            entry: control_role::ENTRY,
            main: control_role::main,
            ready_limit: None,
            heartbeat_grace: control_role::HEARTBEAT_GRACE,
            message_recipients: &[
                PROXY,
                ADDRESS,
                #[cfg(feature = "volume")]
                volume::keyword::NAME,
                #[cfg(feature = "guest")]
                guest::keyword::NAME,
                #[cfg(feature = "boot")]
                boot::keyword::NAME,
                #[cfg(feature = "console")]
                console::keyword::NAME,
                #[cfg(feature = "farm")]
                farm::keyword::NAME,
            ],
            reads_reports: true,
            certified: false,
            life: Life::Governs(control_role::GOVERNS),
        }),
        commands: &cluster_command::COMMANDS,
    },
    Feature {
        part: &proxy::PART,
        role: Some(&RoleRow {
            part: PROXY,
            entry: PROXY_ENTRY,
            main: proxy_role::role::main,
            ready_limit: Some(Duration::from_secs(120)),
            heartbeat_grace: Duration::ZERO,
            message_recipients: &[],
            reads_reports: false,
            certified: false,
            life: Life::Serves(PROXY_PROPERTIES),
        }),
        commands: &[],
    },
    #[cfg(feature = "farm")]
    Feature {
        part: &farm::keyword::PART,
        role: Some(&farm_role::ROLE),
        commands: &farm::cli::COMMANDS,
    },
    #[cfg(feature = "console")]
    Feature {
        part: &console::keyword::PART,
        role: Some(&console_role::ROLE),
        commands: &console::cli::COMMANDS,
    },
    #[cfg(feature = "demonstration")]
    Feature {
        part: &demo::demonstration::PART,
        role: Some(&demo::demonstration::ROLE),
        commands: &[],
    },
    Feature {
        part: &route::expect::PART,
        role: None,
        commands: &[],
    },
];

#[cfg(not(all(feature = "proxy", feature = "address")))]
compile_error!("every build has the parts proxy and address: add `--features proxy,address`");

/// Runs the personality that the process name or the first argument selects. `further` are parts in
/// addition to those of this crate.
pub fn main(further: &[&'static Feature]) -> ExitCode {
    features::add(further);
    ::command::set_load_payload(command::payload_of_files);
    #[cfg(feature = "cluster")]
    cluster_command::set_version_loader(loader::cluster_versions::LOADER);
    #[cfg(feature = "guest")]
    guest_command::set_confine(guest_role::confine);
    language::difference::set_vocabulary(parts::vocabulary);
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
        entry_point::NAME => entry_point::main(words),
        // Selects the personality by the first argument, for callers without a link to the program.
        _ => match words.first().and_then(|word| word.to_str()) {
            Some("haproxy") => haproxy::main(words.drain(1..)),
            Some("keepalived") => keepalived::main(words.drain(1..)),
            Some(spawn::INTERNAL) => internal(&words[1..]),
            _ => command::main(words),
        },
    }
}

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
            #[cfg(feature = "console")]
            spawn::ROUTE => route_process::main(entered.channel),
            word => {
                let row = row::all().iter().find(|row| row.entry.argument == word);
                row.map_or(ExitCode::FAILURE, |row| (row.main)(entered.channel))
            }
        },
        Err(error) => refuse(error),
    }
}
