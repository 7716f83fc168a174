//! Completes the configuration once all blocks of `keepalived.conf` are parsed: applies defaults,
//! resolves references, and reports settings that contradict each other.

mod addresses;
mod groups;
mod instance;
mod scripts;
mod timers;
mod transport;

use super::family::draft::{At, ReceivePolicy, Reference, References, TrackedWeights};
use super::loader::Loader;
use super::outside::Interface;
use crate::codes;
use crate::config::{Dialect, Fifo, Mail, Rule, Tracked, Weight};
use language::{Diagnostic, suggest};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

/// Size of an advert for `vrrp_rx_bufs_policy ADVERT`, in bytes.
const ADVERT_BYTES: u32 = 1024;
/// keepalived's preference for the first rule without one; it counts down for further rules.
const PREFERENCE_FIRST: u32 = 16384;
/// Default timeout of a connection to a mail server.
const MAIL_TIMEOUT: Duration = Duration::from_secs(30);
/// Default timeout of `startup_script` and `shutdown_script`.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Builds the configuration from the drafts of all blocks.
pub(super) fn finish(l: &mut Loader<'_>) {
    l.config.dialect = Dialect::Keepalived;
    global(l);
    mail(l);
    fifos(l);
    let disabled = scripts::finish(l);
    interfaces(l);
    l.drafts.known = Rc::new(TrackedWeights {
        scripts: weights(&l.drafts.scripts, |s| (&s.name, s.weight)),
        files: weights(&l.drafts.files, |f| (&f.name, f.weight)),
        processes: weights(&l.drafts.processes, |p| (&p.name, p.weight)),
        bfd: weights(&l.drafts.bfd, |b| (&b.name, b.weight)),
    });
    let mut drafts = std::mem::take(&mut l.drafts.instances);
    let polled = drafts.iter().filter(|draft| draft.polls_carrier);
    let polled = polled.filter_map(|draft| Some(draft.interface.as_ref()?.value.clone()));
    l.drafts.polled = polled.collect();
    instance::names(l, &drafts);
    let members = groups::members(l, &drafts);
    for draft in &mut drafts {
        let in_group = members.get(&draft.name).copied();
        instance::finish(l, draft, in_group, &disabled);
    }
    let prefix = l.drafts.defaults.vmac_prefix.clone();
    l.config.name_vmacs(prefix.as_deref().unwrap_or("vrrp"));
    addresses::router_ids(l, &drafts);
    addresses::taken_twice(l, &drafts);
    timers::interface_delays(l);
    groups::finish(l, &disabled);
    statics(l);
    tracked(l, &disabled);
}

fn global(l: &mut Loader<'_>) {
    let defaults = l.drafts.defaults.clone();
    let global = &mut l.config.global;
    global.router_id = defaults.router_id.unwrap_or_else(|| l.drafts.host.clone());
    global.smtp_alert = defaults
        .smtp_alert_vrrp
        .or(defaults.smtp_alert)
        .unwrap_or(false);
    if defaults.process_names && global.process_name.is_none() {
        global.process_name = Some("keepalived_vrrp".to_owned());
    }
    if global.vmac_address_prefix.is_none() {
        global.vmac_address_prefix = defaults.vmac_prefix.clone();
    }
    let unused = l.drafts.instance_name.filter(|_| !global.dumps_by_instance);
    let packets = defaults.receive_multiplier.unwrap_or(3);
    match defaults.receive_policy {
        None => {}
        Some(ReceivePolicy::Bytes(bytes)) => global.receive_buffer_bytes = Some(bytes),
        Some(ReceivePolicy::Mtu) => global.receive_buffer_packets = Some(packets),
        Some(ReceivePolicy::Advert) => {
            global.receive_buffer_bytes = Some(ADVERT_BYTES.saturating_mul(packets));
        }
    }
    let within = |timeout: Option<Duration>| timeout.unwrap_or(SCRIPT_TIMEOUT);
    global.startup_script = defaults
        .startup
        .map(|s| (s, within(defaults.startup_timeout)));
    global.shutdown_script = defaults
        .shutdown
        .map(|s| (s, within(defaults.shutdown_timeout)));
    if let Some(place) = unused {
        let message = "'instance' has no effect without 'data_use_instance'";
        l.report(
            Diagnostic::warning(&codes::NO_EFFECT, place, message)
                .help("the options '-p' and '-r' set the pid files"),
        );
    }
}

fn mail(l: &mut Loader<'_>) {
    let draft = l.drafts.mail.clone();
    let (Some((server, port)), false) = (draft.server, draft.to.is_empty()) else {
        return;
    };
    let host = l.drafts.host.clone();
    let addresses = l.outside.resolve(&server);
    l.config.global.mail = Some(Mail {
        to: draft.to,
        from: draft.from.unwrap_or_else(|| format!("root@{host}")),
        helo: draft.helo.unwrap_or(host),
        timeout: draft.timeout.unwrap_or(MAIL_TIMEOUT),
        server,
        port,
        addresses,
    });
}

fn fifos(l: &mut Loader<'_>) {
    let drafts = std::mem::take(&mut l.drafts.fifos);
    let mut seen: HashMap<_, language::Span> = HashMap::new();
    for draft in drafts {
        let Some(path) = draft.path else {
            if let Some(script) = draft.script {
                let message = "this script has no pipe to read: the line with the path of the pipe is missing";
                l.error(&codes::MISSING_VALUE, script.span, message);
            }
            continue;
        };
        if let Some(before) = seen.insert(path.value.clone(), path.span) {
            let message = "both pipes have the same path";
            l.report(
                Diagnostic::error(&codes::DUPLICATE, path.span, message)
                    .with_label(before, "first used here"),
            );
        }
        l.config.global.fifos.push(Fifo {
            path: path.value,
            account: draft.account,
            script: draft.script.map(|s| s.value),
        });
    }
}

/// Reports interfaces that do not exist, unless `dynamic_interfaces` is set, and instances on a
/// loopback interface.
fn interfaces(l: &mut Loader<'_>) {
    let named = std::mem::take(&mut l.drafts.interfaces);
    // Collects the names of interfaces that the role itself creates, which need not exist yet.
    let mut made: HashSet<String> = HashSet::new();
    for draft in &l.drafts.instances {
        if let Some(vmac) = &draft.vmac {
            let vrid = draft.vrid.as_ref().map_or(0, |v| v.value);
            let prefix = l.drafts.defaults.vmac_prefix.as_deref().unwrap_or("vrrp");
            match &vmac.name {
                Some(name) => made.extend([name.clone()]),
                None => made.extend(["", "1", "6"].map(|mark| format!("{prefix}{mark}.{vrid}"))),
            }
        }
    }
    let mut answers: HashMap<String, Interface> = HashMap::new();
    for (At { value: name, span }, what) in named {
        if made.contains(&name) {
            continue;
        }
        let outside = &mut l.outside;
        let answer = *answers
            .entry(name.clone())
            .or_insert_with(|| outside.interface(&name));
        match answer {
            Interface::Loopback if what == "vrrp_instance" => {
                let message =
                    format!("'{name}' is a loopback interface and reaches no other machine");
                l.error(&codes::UNKNOWN_INTERFACE, span, message);
            }
            Interface::Missing if !l.config.global.dynamic_interfaces => {
                let message = format!("interface '{name}' does not exist on this machine");
                l.report(
                    Diagnostic::error(&codes::UNKNOWN_INTERFACE, span, message)
                        .help("if it appears later, add 'dynamic_interfaces' to global_defs"),
                );
            }
            _ => {}
        }
    }
}

/// Builds static addresses, routes and rules, and checks their track groups.
fn statics(l: &mut Loader<'_>) {
    for mut at in std::mem::take(&mut l.drafts.static_addresses) {
        let default = l.config.global.default_interface().to_owned();
        at.value.interface.get_or_insert(default);
        l.config.addresses.push(at.value);
    }
    let routes = std::mem::take(&mut l.drafts.static_routes);
    l.config
        .routes
        .extend(routes.into_iter().map(|at| at.value));
    let rules = std::mem::take(&mut l.drafts.static_rules);
    l.config.rules = preferences(l, rules);
    let groups = std::mem::take(&mut l.drafts.track_groups);
    let names: Vec<String> = l.config.instances.iter().map(|i| i.name.clone()).collect();
    for At {
        value: (name, members),
        ..
    } in groups
    {
        for member in &members {
            if !names.contains(&member.value) {
                unknown(l, member, "vrrp_instance", &names);
            }
        }
        let members = members.into_iter().map(|m| m.value).collect();
        l.config.track_groups.push((name, members));
    }
    let groups: Vec<String> = l
        .config
        .track_groups
        .iter()
        .map(|(n, _)| n.clone())
        .collect();
    for used in std::mem::take(&mut l.drafts.track_group_uses) {
        if !groups.contains(&used.value) {
            unknown(l, &used, "track_group", &groups);
        }
    }
}

/// Returns the rules with their preferences. A rule without one gets keepalived's default, with a
/// warning.
fn preferences(l: &mut Loader<'_>, rules: Vec<At<Rule>>) -> Vec<Rule> {
    let mut all = Vec::new();
    for At { mut value, span } in rules {
        if value.preference.is_none() {
            let given = PREFERENCE_FIRST.saturating_sub(l.drafts.preferences_given);
            l.drafts.preferences_given += 1;
            value.preference = Some(given.max(1));
            let message = format!("a rule without a preference gets {given}");
            l.report(
                Diagnostic::warning(&codes::RULE_PREFERENCE, span, message)
                    .label("its position among other rules is arbitrary")
                    .help("add 'preference <number>'"),
            );
        }
        all.push(value);
    }
    all
}

/// Reports a name that is not defined.
fn unknown(l: &mut Loader<'_>, at: &At<String>, kind: &str, names: &[String]) {
    let near = suggest::nearest(&at.value, names.iter().map(String::as_str));
    let message = format!("'{kind} {}' is not defined", at.value);
    let told = Diagnostic::error(&codes::UNKNOWN_REFERENCE, at.span, message);
    l.report(match near {
        Some(_) => told.did_you_mean(at.span, near),
        None => told.label("not defined in the configuration"),
    });
}

/// Adds the tracked objects to the configuration, without scripts that cannot be run.
fn tracked(l: &mut Loader<'_>, disabled: &HashSet<String>) {
    let scripts = std::mem::take(&mut l.drafts.scripts);
    let scripts = scripts.into_iter().map(|at| at.value);
    l.config.scripts = scripts.filter(|s| !disabled.contains(&s.name)).collect();
    let files = std::mem::take(&mut l.drafts.files);
    l.config.files = files.into_iter().map(|at| at.value).collect();
    let processes = std::mem::take(&mut l.drafts.processes);
    l.config.processes = processes.into_iter().map(|at| at.value).collect();
    let bfd = std::mem::take(&mut l.drafts.bfd);
    l.config.bfd = bfd.into_iter().map(|at| at.value).collect();
    if l.drafts.defaults.linkbeat_all {
        let names = l.config.instances.iter().map(|i| i.interface.clone());
        l.config
            .polled_interfaces
            .extend(names.filter(|n| !n.is_empty()));
    }
    l.config.polled_interfaces.append(&mut l.drafts.polled);
    l.config.polled_interfaces.sort();
    l.config.polled_interfaces.dedup();
}

/// Reason why weights are ignored.
#[derive(Clone, Copy)]
enum NoWeights {
    /// The instance is in a sync group without `tracking_weight`.
    Group,
    /// The instance is the address owner: its priority is 255.
    Owner,
}

/// Resolves references to tracked objects with their weights, and reports undefined ones.
fn resolve(
    l: &mut Loader<'_>,
    references: &References,
    disabled: &HashSet<String>,
    no_weights: Option<NoWeights>,
) -> Tracked {
    let mut tracked = Tracked::default();
    for reference in &references.interfaces {
        let weight = Weight {
            value: reference.weight.map_or(0, |w| w.value),
            reverse: reference.reverse.unwrap_or(false),
        };
        let weight = without(l, no_weights, &reference.name, weight);
        let name = reference.name.value.clone();
        tracked.interfaces.push((name, weight));
    }
    let known = Rc::clone(&l.drafts.known);
    tracked.scripts = by_name(
        l,
        "vrrp_script",
        &known.scripts,
        &references.scripts,
        no_weights,
    );
    tracked.scripts.retain(|(name, _)| !disabled.contains(name));
    tracked.files = by_name(l, "track_file", &known.files, &references.files, no_weights);
    let kind = "vrrp_track_process";
    tracked.processes = by_name(l, kind, &known.processes, &references.processes, no_weights);
    tracked.bfd = by_name(l, "bfd_instance", &known.bfd, &references.bfd, no_weights);
    tracked
}

/// Returns the weight of each tracked object of one kind, by name.
fn weights<T>(drafts: &[At<T>], of: fn(&T) -> (&String, Weight)) -> HashMap<String, Weight> {
    let all = drafts.iter().map(|at| of(&at.value));
    all.map(|(name, weight)| (name.clone(), weight)).collect()
}

/// Resolves references to objects of one kind. A reference without a weight has that of the object.
fn by_name(
    l: &mut Loader<'_>,
    kind: &str,
    known: &HashMap<String, Weight>,
    references: &[Reference],
    no_weights: Option<NoWeights>,
) -> Vec<(String, Option<Weight>)> {
    let mut all = Vec::new();
    for reference in references {
        let Some(own) = known.get(&reference.name.value) else {
            let names: Vec<String> = known.keys().cloned().collect();
            unknown(l, &reference.name, kind, &names);
            continue;
        };
        let weight = Weight {
            value: reference.weight.map_or(own.value, |w| w.value),
            reverse: reference.reverse.unwrap_or(own.reverse),
        };
        let weight = without(l, no_weights, &reference.name, weight);
        let said = reference.weight.is_some() || reference.reverse.is_some();
        let same = weight == *own && !said;
        let name = reference.name.value.clone();
        all.push((name, (!same).then_some(weight)));
    }
    all
}

fn without(
    l: &mut Loader<'_>,
    no_weights: Option<NoWeights>,
    name: &At<String>,
    weight: Weight,
) -> Weight {
    let Some(why) = no_weights.filter(|_| weight.value != 0) else {
        return weight;
    };
    let because = match why {
        NoWeights::Group => "members of a sync group have weight 0",
        NoWeights::Owner => "priority 255 never changes",
    };
    let message = format!(
        "the weight of '{}' has no effect here: {because}, so its failure is a fault",
        name.value
    );
    let told = Diagnostic::warning(&codes::WEIGHT_IGNORED, name.span, message);
    l.report(match why {
        NoWeights::Group => {
            told.help("track it in the vrrp_sync_group, or add 'sync_group_tracking_weight' there")
        }
        NoWeights::Owner => told.help("use a priority below 255, or weight 0"),
    });
    Weight { value: 0, ..weight }
}
