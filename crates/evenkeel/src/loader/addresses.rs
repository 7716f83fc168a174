//! Virtual addresses of a version: from keepalived's files, and from sections of
//! our own, to one configuration of the address role and what the supervisor is
//! told of it.

use crate::parts;
use crate::roles::memory;
use address::config::{Account, Config, Dialect, Instance};
use address::dialect::{self, Options, Outside};
use configuration::files::NamedFile;
use language::{Diagnostics, SourceMap};
use part::role::{AddressPlan, Plan};
use rustix::thread::CapabilitySet;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

/// Instances that a difference names.
const TOLD_MAX: usize = 20;

/// How keepalived's files are to be taken.
#[derive(Clone, Debug, Default)]
pub struct AddressWishes {
    /// `-i`
    pub config_id: Option<String>,
    /// `-P`
    pub vrrp_only: bool,
    /// Under the name `keepalived`.
    pub as_keepalived: bool,
    /// `-s`: wins over the file.
    pub namespace: Option<String>,
    /// `-u`: wins over the file.
    pub umask: Option<u32>,
    /// `-B`: no BFD.
    pub no_bfd: bool,
    /// `-V`: addresses stay when the program ends, so they have no lifetime.
    pub keeps: bool,
}

/// Addresses live for so many down intervals without a role that renews them.
const LIFETIME_DOWN_INTERVALS: u32 = 10;
/// The shortest life that the kernel keeps well: it counts seconds.
const LIFETIME_MIN: Duration = Duration::from_secs(2);

/// How long the addresses of an instance outlive their role, so that they vanish
/// from a machine on which everything was killed.
fn lifetime(instance: &Instance) -> Duration {
    // The skew of the least priority is below one advert.
    let adverts = u32::from(instance.options.down_timer_adverts) + 1;
    let down = instance.options.advert_interval.saturating_mul(adverts);
    down.saturating_mul(LIFETIME_DOWN_INTERVALS)
        .max(LIFETIME_MIN)
}

/// What was read of keepalived's files.
pub struct Read {
    /// None where there is an error.
    pub config: Option<Config>,
    /// The files.
    pub sources: SourceMap,
    /// What there is to tell.
    pub diagnostics: Diagnostics,
    /// Files that they include.
    pub included: Vec<PathBuf>,
}

/// Takes the files that are keepalived's out of all.
pub fn split(files: &mut Vec<NamedFile>) -> Vec<NamedFile> {
    let sections: Vec<&str> = parts::words().names().collect();
    let is = |file: &mut NamedFile| dialect::is_keepalived(&file.1, &sections);
    files.extract_if(.., is).collect()
}

/// Reads files of keepalived's; what else they ask for is asked of `outside`.
pub fn read(files: &[NamedFile], wishes: &AddressWishes, outside: &mut dyn Outside) -> Read {
    let mut sources = SourceMap::default();
    let ids: Vec<_> = files
        .iter()
        .map(|(name, text)| sources.add(name.clone(), text.clone()))
        .collect();
    let options = Options {
        config_id: wishes.config_id.clone(),
        vrrp_only: wishes.vrrp_only,
        as_keepalived: wishes.as_keepalived,
    };
    let loaded = dialect::load(&mut sources, &ids, &options, outside);
    let config = loaded.config.map(|mut config| {
        if wishes.namespace.is_some() {
            config
                .global
                .network_namespace
                .clone_from(&wishes.namespace);
        }
        config.global.umask = wishes.umask.or(config.global.umask);
        if !wishes.keeps {
            for instance in &mut config.instances {
                instance.lifetime = instance.lifetime.or(Some(lifetime(instance)));
            }
        }
        if wishes.no_bfd {
            config.bfd.clear();
            let groups = config.groups.iter_mut().map(|group| &mut group.tracked);
            let instances = config.instances.iter_mut().map(|one| &mut one.tracked);
            groups
                .chain(instances)
                .for_each(|tracked| tracked.bfd.clear());
        }
        config
    });
    Read {
        config,
        sources,
        diagnostics: loaded.diagnostics,
        included: loaded.files,
    }
}

/// Both languages together; what holds for all is the first one's.
pub fn join(one: Option<Config>, other: Option<Config>) -> Option<Config> {
    let (mut all, more) = match (one, other) {
        (Some(one), Some(other)) => (one, other),
        (one, other) => return one.or(other),
    };
    all.instances.extend(more.instances);
    all.groups.extend(more.groups);
    all.scripts.extend(more.scripts);
    all.files.extend(more.files);
    all.processes.extend(more.processes);
    all.bfd.extend(more.bfd);
    all.addresses.extend(more.addresses);
    all.routes.extend(more.routes);
    all.rules.extend(more.rules);
    all.track_groups.extend(more.track_groups);
    all.garp_groups.extend(more.garp_groups);
    all.interface_delays.extend(more.interface_delays);
    all.polled_interfaces.extend(more.polled_interfaces);
    Some(all)
}

/// The configuration that the version before had, where it is known.
pub fn before(previous: Option<&Plan>, descriptors: &mut Vec<OwnedFd>) -> Option<Config> {
    previous?.addresses.as_ref()?;
    let bytes = memory::read(&descriptors.pop()?).ok()?;
    Config::decode(&bytes).ok()
}

/// As the supervisor passes it on.
pub fn encode(config: &Config) -> std::io::Result<OwnedFd> {
    memory::create("evenkeel addresses", &config.encode())
}

/// What the supervisor is told, with what the version before had.
pub fn plan(config: &Config, had: Option<&Config>, alone: bool) -> AddressPlan {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let all = |one: &Instance| one.addresses.len() + one.excluded.len();
    AddressPlan {
        alone,
        instances: count(config.instances.len()),
        addresses: count(config.instances.iter().map(all).sum()),
        capabilities: needed(config).bits(),
        programs: starts_programs_of_its_own(config),
        stop_ms: u64::try_from(longest_stop(config).as_millis()).unwrap_or(u64::MAX),
        namespace: config.global.network_namespace.clone(),
        together: had.is_some_and(|had| goes_together(had, config)),
    }
}

/// Whether a change is of what machines must agree on among themselves. What is new, or
/// goes, is no quarrel.
fn goes_together(had: &Config, has: &Config) -> bool {
    let agreed = |one: &Instance, other: &Instance| {
        one.vrid == other.vrid
            && one.priority == other.priority
            && one.transport == other.transport
            && one.options.agree(&other.options)
    };
    had.instances.iter().any(|one| {
        let mut now = has.instances.iter();
        let same = now.find(|other| other.name == one.name);
        same.is_some_and(|other| !agreed(one, other))
    })
}

/// The longest that a planned stop takes: adverts that offer the addresses to
/// others, requests that finish, and the script at the end; or as long as
/// `child_wait_time` gives, which can be longer alone.
fn longest_stop(config: &Config) -> Duration {
    let hand_over = |one: &Instance| {
        let adverts = u32::from(one.options.down_timer_adverts.max(1)) + 1;
        let offer = one.options.advert_interval.saturating_mul(adverts * 2);
        offer.saturating_add(one.options.handover_drain)
    };
    let longest = config.instances.iter().map(hand_over).max();
    let script = config.global.shutdown_script.as_ref();
    let script = script.map_or(Duration::ZERO, |(_, timeout)| *timeout);
    let needed = longest.unwrap_or_default().saturating_add(script);
    let asked = u64::from(config.global.child_wait_s.unwrap_or(0));
    needed.max(Duration::from_secs(asked))
}

/// What the role needs of the system while it runs: each with its reason.
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

fn needed(config: &Config) -> CapabilitySet {
    let reasons = reasons(config).into_iter();
    reasons.fold(CapabilitySet::empty(), |all, (one, _)| all | one)
}

/// The users as whom programs run; None is the one of the start.
fn users(config: &Config) -> Vec<Option<u32>> {
    let default = config.global.script_user.as_ref();
    let default = default.map(|account| account.uid);
    let user = |(_, account): (&[String], Option<&Account>)| account.map(|a| a.uid).or(default);
    programs(config).into_iter().map(user).collect()
}

/// The words of each program that is run, and its own account.
fn programs(config: &Config) -> Vec<(&[String], Option<&Account>)> {
    let mut programs = Vec::new();
    for script in &config.scripts {
        programs.push((&script.words[..], script.account.as_ref()));
    }
    let global = &config.global;
    let of_instances = config.instances.iter().map(|one| &one.notify);
    let of_groups = config.groups.iter().map(|one| &one.notify);
    for notify in of_instances.chain(of_groups) {
        let deleted = notify.deleted.iter().flatten();
        let all = [
            &notify.master,
            &notify.backup,
            &notify.fault,
            &notify.stop,
            &notify.lower_priority,
            &notify.any,
        ];
        for one in all.into_iter().flatten().chain(deleted) {
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

/// Whether there is a program that is run: one whose file does not exist is none.
pub fn has_programs(config: &Config) -> bool {
    let exists = |(words, _): &(&[String], _)| {
        let program = words.first();
        program.is_some_and(|program| std::path::Path::new(program).exists())
    };
    programs(config).iter().any(exists)
}

/// Whether programs run as another user than this one.
fn others(config: &Config) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let users = users(config);
    users.iter().flatten().any(|uid| *uid != own)
}

/// Whether programs run as this user.
fn starts_programs_of_its_own(config: &Config) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let users = users(config);
    users.iter().any(|uid| uid.is_none_or(|uid| uid == own))
}

/// What differs from the version before, a line each.
pub fn difference(before: Option<&Config>, now: Option<&Config>) -> Vec<String> {
    let none = Config::default();
    let (before, now) = (before.unwrap_or(&none), now.unwrap_or(&none));
    if before == now {
        return Vec::new();
    }
    let named = |config: &Config| -> BTreeMap<String, Instance> {
        let instances = config.instances.iter();
        instances
            .map(|one| (one.name.clone(), one.clone()))
            .collect()
    };
    let (old, new) = (named(before), named(now));
    let word = match now.dialect {
        Dialect::Own => "virtual-ip",
        Dialect::Keepalived => "vrrp_instance",
    };
    let mut lines = Vec::new();
    for (name, instance) in &new {
        match old.get(name) {
            None => lines.push(format!("+ {word} {name}")),
            Some(other) if other != instance => lines.push(format!("~ {word} {name}")),
            Some(_) => {}
        }
    }
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    lines.extend(gone.map(|name| format!("- {word} {name}")));
    let left_out = lines.len().saturating_sub(TOLD_MAX);
    lines.truncate(TOLD_MAX);
    if left_out > 0 {
        lines.push(format!("and {left_out} more"));
    }
    if lines.is_empty() {
        lines.push("a setting for all virtual addresses".to_owned());
    }
    lines
}
