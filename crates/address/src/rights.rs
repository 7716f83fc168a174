//! Determines the privileges that the role needs for a configuration, with the reasons, and whether
//! the configuration runs programs.

use crate::config::{Account, Config};
use rustix::thread::CapabilitySet;

/// Returns the capabilities that the role needs while it runs, each with its reason.
pub fn reasons(config: &Config) -> Vec<(CapabilitySet, &'static str)> {
    let mut all = vec![
        (
            CapabilitySet::NET_ADMIN,
            "to change addresses, routes, rules and virtual interfaces",
        ),
        (
            CapabilitySet::NET_RAW,
            "to send and receive adverts and announcements to neighbours",
        ),
        (
            CapabilitySet::SYS_NICE,
            "for real-time scheduling, so that a busy machine keeps its addresses",
        ),
        (
            CapabilitySet::IPC_LOCK,
            "to lock its memory, so that it never waits for a disk",
        ),
    ];
    if config.global.network_namespace.is_some() {
        all.push((
            CapabilitySet::SYS_ADMIN,
            "to enter the network namespace of the file",
        ));
    }
    if others(config) {
        all.push((
            CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL,
            "to run scripts as another user, and to end them when they take too long",
        ));
    }
    if config
        .global
        .fifos
        .iter()
        .any(|fifo| fifo.account.is_some())
    {
        all.push((
            CapabilitySet::CHOWN,
            "to create a pipe that belongs to another user",
        ));
    }
    if !config.files.is_empty() {
        all.push((
            CapabilitySet::DAC_READ_SEARCH,
            "to track files of other users",
        ));
    }
    if !config.processes.is_empty() {
        all.push((
            CapabilitySet::SYS_PTRACE,
            "to track processes of other users",
        ));
    }
    all
}

pub fn needed(config: &Config) -> CapabilitySet {
    let reasons = reasons(config).into_iter();
    reasons.fold(CapabilitySet::empty(), |all, (one, _)| all | one)
}

/// Returns the users that run programs; None: the user that started the role.
fn users(config: &Config) -> Vec<Option<u32>> {
    let default = config.global.script_user.as_ref();
    let default = default.map(|account| account.uid);
    let user = |(_, account): (&[String], Option<&Account>)| account.map(|a| a.uid).or(default);
    programs(config).into_iter().map(user).collect()
}

fn programs(config: &Config) -> Vec<(&[String], Option<&Account>)> {
    let mut programs = Vec::new();
    for script in &config.scripts {
        programs.push((&script.words[..], script.account.as_ref()));
    }
    let global = &config.global;
    let of_instances = config.instances.iter().map(|one| &one.notify);
    let of_groups = config.groups.iter().map(|one| &one.notify);
    for notify in of_instances.chain(of_groups) {
        let all = [
            &notify.master,
            &notify.backup,
            &notify.fault,
            &notify.stop,
            &notify.deleted,
            &notify.lower_priority,
            &notify.any,
        ];
        for one in all.into_iter().flatten() {
            programs.push((&one.words[..], one.account.as_ref()));
        }
    }
    let startup = global.startup_script.iter().chain(&global.shutdown_script);
    let fifos = global.fifos.iter().filter_map(|fifo| fifo.script.as_ref());
    for one in startup.map(|(notify, _)| notify).chain(fifos) {
        programs.push((&one.words[..], one.account.as_ref()));
    }
    programs
}

/// Returns whether there is a program to run, which requires that its file exists.
pub fn has_programs(config: &Config) -> bool {
    let exists = |(words, _): &(&[String], _)| {
        let program = words.first();
        program.is_some_and(|program| std::path::Path::new(program).exists())
    };
    programs(config).iter().any(exists)
}

/// Returns whether the configuration runs programs as a user other than that of this process.
fn others(config: &Config) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let users = users(config);
    users.iter().flatten().any(|uid| *uid != own)
}

/// Returns whether the configuration runs programs as the user of this process.
pub fn starts_programs_of_its_own(config: &Config) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let users = users(config);
    users.iter().any(|uid| uid.is_none_or(|uid| uid == own))
}
