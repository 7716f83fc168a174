//! Derives what the supervisor needs to start or reload the address role from a configuration: the
//! role's input, its resources, the maximum duration of its stop, and the differences from the
//! previous configuration.

use crate::config::{Config, Dialect, Instance};
use configuration::{ObjectCount, RoleInput};
use part::role::{Resource, ResourceKind};
use std::collections::BTreeMap;
use std::time::Duration;

const TOLD_MAX: usize = 20;

/// Returns the input of the role for `config`. `before`: the payload of the previous configuration.
pub fn given(config: &Config, before: Option<&[u8]>) -> RoleInput {
    let had = decode(before);
    let all = |one: &Instance| one.addresses.len() + one.excluded.len();
    let addresses: usize = config.instances.iter().map(all).sum();
    RoleInput {
        payload: config.encode(),
        size: ObjectCount::new(addresses, "virtual address", "virtual addresses"),
        stop_ms: u64::try_from(longest_stop(config).as_millis()).unwrap_or(u64::MAX),
        is_simultaneous: had.is_some_and(|had| requires_joint_change(&had, config)),
        resources: resources(config),
    }
}

/// Returns the virtual routers and virtual addresses as lines. Of the processes on a machine, only
/// one may use each of them at a time.
fn resources(config: &Config) -> Vec<String> {
    let all = config.instances.iter().flat_map(|one| {
        let router = (!one.interface.is_empty()).then(|| {
            let family = if one.ipv6 { "IPv6" } else { "IPv4" };
            let name = format!("{} of {} ({family})", one.vrid, one.interface);
            Resource::new(ResourceKind::VirtualRouter, name)
        });
        let addresses = one.addresses.iter().chain(&one.excluded);
        let addresses =
            addresses.map(|address| Resource::new(ResourceKind::VirtualAddress, address.address));
        router.into_iter().chain(addresses)
    });
    all.map(|resource| resource.line()).collect()
}

/// Returns the differences between two encoded configurations, one line each.
pub fn difference(before: Option<&[u8]>, now: Option<&[u8]>) -> Vec<String> {
    lines(decode(before).as_ref(), decode(now).as_ref())
}

fn decode(bytes: Option<&[u8]>) -> Option<Config> {
    Config::decode(bytes?).ok()
}

/// Returns whether a change affects settings that must be equal on all machines, or priorities. New
/// and removed instances do not count.
fn requires_joint_change(had: &Config, has: &Config) -> bool {
    let agreed = |one: &Instance, other: &Instance| {
        one.vrid == other.vrid
            && one.priority == other.priority
            && one.transport == other.transport
            && one.options.is_compatible_with(&other.options)
    };
    had.instances.iter().any(|one| {
        let mut now = has.instances.iter();
        let same = now.find(|other| other.name == one.name);
        same.is_some_and(|other| !agreed(one, other))
    })
}

/// Returns the maximum duration of a planned stop: the adverts that offer the addresses to other
/// nodes, the drain of connections, and the shutdown script; at least `child_wait_time`.
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

fn lines(before: Option<&Config>, now: Option<&Config>) -> Vec<String> {
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
