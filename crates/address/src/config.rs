//! Defines the typed configuration of virtual addresses, the result of both languages
//! (`keepalived.conf` and our own). Plain data: the loader validates it and passes it to the role
//! as JSON ([`Config::encode`]).
//!
//! Fields have the names of keepalived's keywords. A comment names the keyword where the field
//! alone does not show it.

mod instance;
mod kernel;
mod options;
mod track;

pub use instance::{
    Authentication, GROUP4, GROUP6, Garp, Instance, InstanceTransport, Notify, NotifyScripts,
    PRIORITY_DEFAULT, Peer, Probing, Start, Vmac,
};
pub use kernel::{
    Address, InterfaceDelay, Lifetime, NextHop, Route, RouteKind, Rule, RuleAction, Scope,
};
pub use options::Options;
pub use track::{BfdSession, ParameterMatch, Script, TrackFile, TrackProcess, Tracked, Weight};

use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Language of the configuration, which determines the wording of log lines and some defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Dialect {
    #[default]
    Own,
    Keepalived,
}

/// Complete configuration of the address role. The loader builds it, and a reload replaces it as a
/// whole.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Config {
    pub dialect: Dialect,
    pub global: Global,
    pub instances: Vec<Instance>,
    pub groups: Vec<SyncGroup>,
    pub scripts: Vec<Script>,
    pub files: Vec<TrackFile>,
    pub processes: Vec<TrackProcess>,
    pub bfd: Vec<BfdSession>,
    /// Addresses of the block `static_ipaddress`.
    pub addresses: Vec<Address>,
    /// Routes of the block `static_routes`.
    pub routes: Vec<Route>,
    /// Rules of the block `static_rules`.
    pub rules: Vec<Rule>,
    /// `track_group`: name and the instances that fail with a static address.
    pub track_groups: Vec<(String, Vec<String>)>,
    pub garp_groups: Vec<GarpGroup>,
    pub interface_delays: Vec<InterfaceDelay>,
    /// `linkbeat_interfaces` and `linkbeat_use_polling`: interfaces whose carrier is
    /// polled.
    pub polled_interfaces: Vec<String>,
}

/// Instances that change state together (`vrrp_sync_group`).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct SyncGroup {
    pub name: String,
    pub members: Vec<String>,
    pub tracked: Tracked,
    pub notify: NotifyScripts,
    pub smtp_alert: Option<bool>,
    pub notify_priority_changes: Option<bool>,
    pub tracking_weight: bool,
    pub global_tracking: bool,
}

/// Interfaces that share a limited rate of announcements (`garp_group`).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct GarpGroup {
    pub garp_interval: Duration,
    pub gna_interval: Duration,
    pub interfaces: Vec<String>,
}

/// Settings of `global_defs`, and their counterparts in our language.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Global {
    /// `router_id`; default: the host name.
    pub router_id: String,
    pub default_interface: Option<String>,
    /// `vrrp_startup_delay`: time after the start in which missing adverts cause no takeover.
    pub startup_delay: Duration,
    /// `script_user`: user and group of scripts without their own.
    pub script_user: Option<Account>,
    /// True if scripts that others can change are not run as root (`enable_script_security`).
    pub script_security: bool,
    /// `notify_fifo`, `vrrp_notify_fifo`, with the scripts that read them.
    pub fifos: Vec<Fifo>,
    /// `notification_email` and the other SMTP settings; `None` sends no mail.
    pub mail: Option<Mail>,
    pub garp_interval: Duration,
    pub gna_interval: Duration,
    /// Script of `startup_script`, and its timeout.
    pub startup_script: Option<(Notify, Duration)>,
    /// Script of `shutdown_script`, and its timeout.
    pub shutdown_script: Option<(Notify, Duration)>,
    /// `vrrp_priority`, -20 to 19 of nice(2).
    pub nice: Option<i32>,
    /// `vrrp_rt_priority` for SCHED_RR; None: chosen automatically (our language) or off.
    pub realtime_priority: Option<u32>,
    /// `vrrp_rlimit_rttime`: CPU time without a blocking system call (RLIMIT_RTTIME).
    pub rttime_us: Option<u64>,
    /// True if the memory is locked (`vrrp_no_swap`); always true in our language.
    pub lock_memory: bool,
    /// Processors of `vrrp_cpu_affinity`, by number.
    pub processors: Vec<u32>,
    pub process_name: Option<String>,
    /// True if missing interfaces may appear later (`dynamic_interfaces`).
    pub dynamic_interfaces: bool,
    pub no_mail_on_faults: bool,
    /// Default for instances without the setting: true if transitions are reported by mail
    /// (`smtp_alert`, `smtp_alert_vrrp`).
    pub smtp_alert: bool,
    pub notify_priority_changes: bool,
    pub disable_local_igmp: bool,
    /// The packet filter for `no_accept` and virtual MACs.
    #[serde(flatten)]
    pub nftables: Nftables,
    /// `vrrp_rx_bufs_policy`: size of the socket's receive buffer in bytes.
    pub receive_buffer_bytes: Option<u32>,
    /// `vrrp_rx_bufs_policy MTU`: size of the receive buffer, in packets of the
    /// interface's MTU.
    #[serde(default)]
    pub receive_buffer_packets: Option<u32>,
    /// `instance NAME`: part of the file names of dumps with `data_use_instance`.
    pub instance: Option<String>,
    pub network_namespace: Option<String>,
    pub fifo_states_on_reload: bool,
    pub log_unknown_vrids: bool,
    /// `vmac_addr_prefix`: prefix of the names of virtual interfaces of single addresses.
    pub vmac_address_prefix: Option<String>,
    pub umask: Option<u32>,
    /// `child_wait_time`: maximum time in seconds that the process may take to stop.
    pub child_wait_s: Option<u32>,
    /// True if file names of dumps contain the instance and the namespace (`data_use_instance`).
    pub dumps_by_instance: bool,
    /// Directory of the dumps; `None`: the default.
    pub dump_directory: Option<PathBuf>,
    /// True on a member of a cluster.
    #[serde(default)]
    pub is_member: bool,
}

impl Global {
    /// Returns `default_interface`; `eth0` if not configured.
    pub fn default_interface(&self) -> &str {
        self.default_interface.as_deref().unwrap_or("eth0")
    }
}

/// Settings of the role's nftables table. The encoded names are those of the keywords.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Nftables {
    /// `nftables`: name of the table; the language determines the default.
    #[serde(rename = "nftables_table")]
    pub table: Option<String>,
    /// `nftables_priority`: priority of the chains.
    #[serde(rename = "nftables_priority")]
    pub priority: Option<i32>,
    /// True if each rule of the packet filter counts what it matched (`nftables_counters`).
    #[serde(rename = "nftables_counters")]
    pub counters: bool,
}

/// A user and a group with their numbers, resolved on the machine that read the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// A named pipe that receives every transition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fifo {
    /// Path of the pipe; the role creates a missing pipe.
    pub path: PathBuf,
    pub account: Option<Account>,
    /// `notify_fifo_script`: started once with the path as its last argument.
    pub script: Option<Notify>,
}

/// Server, sender and recipients of notification mail.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mail {
    pub to: Vec<String>,
    pub from: String,
    /// `smtp_server`, a name or an address.
    pub server: String,
    pub port: u16,
    pub helo: String,
    /// Timeout of connections to the SMTP server (`smtp_connect_timeout`).
    pub timeout: Duration,
    /// Addresses of the SMTP server, resolved at load.
    pub addresses: Vec<IpAddr>,
}

impl Config {
    /// Returns a configuration without addresses. A role that applies it removes the addresses that
    /// an earlier process left.
    pub(crate) fn empty(is_member: bool) -> Config {
        let mut config = Config::default();
        config.global.is_member = is_member;
        config
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Returns the interfaces of all instances, and the interfaces that instances and groups track.
    pub fn used_interfaces(&self) -> BTreeSet<&str> {
        let own = self.instances.iter().map(|one| &one.interface);
        let of_instances = self.instances.iter().map(|one| &one.tracked);
        let of_groups = self.groups.iter().map(|one| &one.tracked);
        let tracked = of_instances.chain(of_groups);
        let tracked = tracked.flat_map(|one| one.interfaces.iter().map(|(name, _)| name));
        own.chain(tracked).map(String::as_str).collect()
    }

    /// Appends the instances, groups and other objects of `other` to `one`. Dialect and global
    /// settings are those of `one`, if both exist.
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

    /// Decodes the configuration that a loader passed on.
    ///
    /// # Errors
    /// Fails if the bytes are not the JSON of a configuration.
    pub fn decode(bytes: &[u8]) -> Result<Config, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Assigns unique names to virtual interfaces without a configured name, even if instances on
    /// several interfaces have the same router id. The names are keepalived's: `vrrp.51`, then
    /// `vrrp1.51` (`vrrp6.51` for IPv6), and so on.
    pub fn name_vmacs(&mut self, prefix: &str) {
        let vmacs = self.instances.iter().filter_map(|i| i.vmac.as_ref());
        let mut taken: HashSet<String> = vmacs.filter_map(|v| v.name.clone()).collect();
        for instance in &mut self.instances {
            let (vrid, ipv6) = (instance.vrid, instance.ipv6);
            let Some(vmac) = instance.vmac.as_mut().filter(|v| v.name.is_none()) else {
                continue;
            };
            let numbers = (1..=u8::MAX).map(|number| number.to_string());
            let marks = ipv6.then(|| "6".to_owned()).into_iter().chain(numbers);
            let mut names = std::iter::once(String::new())
                .chain(marks)
                .map(|mark| format!("{prefix}{mark}.{vrid}"));
            vmac.name = names.find(|name| taken.insert(name.clone()));
        }
    }

    /// Returns the addresses of all instances, including those that another machine owns now: a
    /// proxy may have to bind them in advance.
    pub fn virtual_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let of = |i: &Instance| -> Vec<IpAddr> {
            let all = i.addresses.iter().chain(&i.excluded);
            all.map(|a| a.address).collect()
        };
        self.instances
            .iter()
            .flat_map(of)
            .collect::<Vec<_>>()
            .into_iter()
    }
}
