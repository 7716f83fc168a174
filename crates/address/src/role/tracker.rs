//! Stores all tracked objects, and combines their states into the priority and the faults of a
//! virtual router.

use super::bfd::Bfd;
use super::files::TrackedFiles;
use super::links::Links;
use super::processes::Processes;
use super::scripts::TrackedScript;
use super::weight::{Effect, TrackedState, effect, effective};
use crate::config::{Config, Instance, InstanceTransport, Tracked, Weight};

/// Tracked objects other than interfaces ([`Links`]).
#[derive(Debug, Default)]
pub struct Tracker {
    pub scripts: Vec<TrackedScript>,
    pub files: Option<TrackedFiles>,
    pub processes: Option<Processes>,
    pub bfd: Bfd,
    /// Number of the configuration. Results of programs from an older one are ignored.
    pub generation: u64,
}

/// The effect of the tracked objects on one virtual router.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Judgement {
    pub faults: Vec<String>,
    /// True if a tracked object without a weight has no verdict yet, so the router does not start.
    pub unknown: bool,
    pub priority: u8,
    /// Components of the priority, as text.
    pub made_of: Vec<String>,
}

impl Tracker {
    pub fn judge(&self, config: &Config, links: &Links, instance: &Instance) -> Judgement {
        let mut sum = Sum::default();
        interfaces(links, instance, &mut sum);
        static_groups(config, links, instance, &mut sum);
        if let InstanceTransport::Unicast { peers, .. } = &instance.transport
            && peers.is_empty()
            && instance.options.fault_without_peer
        {
            sum.faults.push("it has no unicast peer".to_owned());
        }
        let group = config
            .groups
            .iter()
            .find(|g| g.members.contains(&instance.name));
        let weighs = group.is_none_or(|g| g.tracking_weight || g.global_tracking);
        self.add(
            config,
            links,
            &instance.tracked,
            weighs,
            &instance.interface,
            &mut sum,
        );
        if let Some(group) = group {
            self.add(
                config,
                links,
                &group.tracked,
                true,
                &instance.interface,
                &mut sum,
            );
        }
        let added = sum.added.iter().map(|(_, add)| *add);
        let priority = effective(instance.priority, added);
        let mut made_of = vec![format!("base {}", instance.priority)];
        made_of.extend(
            sum.added
                .iter()
                .map(|(what, add)| format!("{what} {add:+}")),
        );
        Judgement {
            faults: sum.faults,
            unknown: sum.unknown,
            priority,
            made_of,
        }
    }

    fn add(
        &self,
        config: &Config,
        links: &Links,
        tracked: &Tracked,
        weighs: bool,
        own: &str,
        sum: &mut Sum,
    ) {
        for (name, weight) in &tracked.interfaces {
            // Skips the instance's own interface, which is tracked anyway.
            if name == own {
                continue;
            }
            let verdict = if links.is_up(name) {
                TrackedState::Up
            } else {
                TrackedState::Down
            };
            sum.put("interface", name, *weight, weighs, verdict);
        }
        for (name, weight) in &tracked.scripts {
            let Some(asked) = self.scripts.iter().find(|a| a.script().name == *name) else {
                continue;
            };
            let weight = weight.unwrap_or(asked.script().weight);
            sum.put("script", name, weight, weighs, asked.verdict());
        }
        for (name, weight) in &tracked.files {
            let configured = config.files.iter().find(|f| f.name == *name);
            let (Some(file), Some(files)) = (configured, &self.files) else {
                continue;
            };
            let weight = weight.unwrap_or(file.weight);
            sum.put("file", name, weight, weighs, files.verdict(name));
        }
        for (name, weight) in &tracked.processes {
            let configured = config.processes.iter().find(|p| p.name == *name);
            let (Some(process), Some(processes)) = (configured, &self.processes) else {
                continue;
            };
            let weight = weight.unwrap_or(process.weight);
            sum.put("process", name, weight, weighs, processes.verdict(name));
        }
        for (name, weight) in &tracked.bfd {
            let configured = config.bfd.iter().find(|b| b.name == *name);
            let Some(session) = configured else { continue };
            let verdict = self.bfd.verdict(name);
            let weight = weight.unwrap_or(session.weight);
            sum.put("bfd", name, weight, weighs, verdict);
        }
    }
}

#[derive(Debug, Default)]
struct Sum {
    faults: Vec<String>,
    unknown: bool,
    added: Vec<(String, i32)>,
}

impl Sum {
    /// Adds a verdict. Members of a sync group must agree, so their own weights do not count unless
    /// the group allows it.
    fn put(&mut self, kind: &str, name: &str, weight: Weight, weighs: bool, verdict: TrackedState) {
        if weight.value != 0 && !weighs {
            return;
        }
        if weight.value == 0 && verdict == TrackedState::Unknown {
            self.unknown = true;
        }
        match effect(weight, verdict) {
            Effect::Nothing => {}
            Effect::Add(add) => self.added.push((format!("{kind} {name}"), add)),
            Effect::Fault => self.faults.push(match (kind, weight.reverse) {
                ("interface", false) => format!("interface {name} is down"),
                (_, false) => format!("{kind} {name} fails"),
                (_, true) => format!("{kind} {name} succeeds (weight reversed)"),
            }),
        }
    }
}

fn interfaces(links: &Links, instance: &Instance, sum: &mut Sum) {
    let own = &instance.interface;
    if !own.is_empty() && !instance.options.ignore_interface_faults {
        sum.faults.extend(fault(links, own));
    }
    let all = instance.addresses.iter().chain(&instance.excluded);
    let mut seen: Vec<&str> = vec![own];
    for address in all.filter(|a| !a.no_track) {
        let Some(name) = address.interface.as_deref() else {
            continue;
        };
        if !seen.contains(&name) {
            seen.push(name);
            sum.faults.extend(fault(links, name));
        }
    }
}

/// Adds a fault for each interface that is missing or down, of the static addresses and routes in a
/// `track_group` that names the instance: they cannot be in the kernel then.
fn static_groups(config: &Config, links: &Links, instance: &Instance, sum: &mut Sum) {
    let of = |(_, names): &&(String, Vec<String>)| names.contains(&instance.name);
    let groups: Vec<&str> = config
        .track_groups
        .iter()
        .filter(of)
        .map(|(name, _)| name.as_str())
        .collect();
    let tracks = |group: &Option<String>| group.as_deref().is_some_and(|g| groups.contains(&g));
    let default = config.global.default_interface();
    let addresses = config.addresses.iter().filter(|a| tracks(&a.track_group));
    let mut names: Vec<&str> = addresses
        .map(|a| a.interface.as_deref().unwrap_or(default))
        .collect();
    let routes = config.routes.iter().filter(|r| tracks(&r.track_group));
    names.extend(routes.flat_map(|r| r.hops.iter().filter_map(|h| h.interface.as_deref())));
    names.sort_unstable();
    names.dedup();
    for name in names {
        sum.faults.extend(fault(links, name));
    }
}

fn fault(links: &Links, name: &str) -> Option<String> {
    match links.named(name) {
        None => Some(format!("interface {name} does not exist")),
        Some(seen) if !seen.up => Some(format!("interface {name} is down")),
        Some(_) => None,
    }
}

pub fn tracked_by_any(config: &Config) -> impl Iterator<Item = &Tracked> {
    config
        .instances
        .iter()
        .map(|i| &i.tracked)
        .chain(config.groups.iter().map(|g| &g.tracked))
}
