//! Completes one instance with its defaults, and reports settings that are missing or contradict
//! each other.

use super::timers;
use super::{NoWeights, preferences, resolve, transport};
use crate::codes;
use crate::config::{
    Address, Authentication, Garp, Instance, InstanceTransport, Options, PRIORITY_DEFAULT, Start,
    Vmac,
};
use crate::dialect::family::draft::{At, Defaults, GarpDraft, InstanceDraft};
use crate::dialect::family::instance::{key, password};
use crate::dialect::loader::Loader;
use language::{Diagnostic, Severity, Span};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Priority of the address owner (RFC 9568).
const OWNER: u8 = 255;

/// Reports two instances with the same name.
pub(super) fn names(l: &mut Loader<'_>, drafts: &[InstanceDraft]) {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for draft in drafts {
        if let Some(before) = seen.insert(&draft.name, draft.place) {
            let message = format!("duplicate 'vrrp_instance {}'", draft.name);
            l.report(
                Diagnostic::error(&codes::DUPLICATE, draft.place, message)
                    .label("second definition")
                    .with_label(before, "first defined here"),
            );
        }
    }
}

/// Completes an instance and adds it to the configuration.
pub(super) fn finish(
    l: &mut Loader<'_>,
    draft: &mut InstanceDraft,
    in_group: Option<bool>,
    disabled: &HashSet<String>,
) {
    let mut built = Instance {
        name: draft.name.clone(),
        options: draft.options.values.clone(),
        ..Instance::default()
    };
    needed(l, draft, &mut built);
    family(l, draft, &mut built);
    defaults(&mut built.options, draft, &l.drafts.defaults);
    state(l, draft, &mut built);
    built.options.advert_interval = timers::interval(l, draft, built.options.version);
    built.transport = transport::resolve(l, draft, built.ipv6);
    authentication(l, draft, &mut built);
    preemption(l, draft, &mut built);
    adverts(l, draft, &mut built);
    virtual_mac(l, draft, &mut built);
    let no_weights = match in_group {
        _ if built.priority == OWNER => Some(NoWeights::Owner),
        Some(false) => Some(NoWeights::Group),
        _ => None,
    };
    built.tracked = resolve(l, &draft.references, disabled, no_weights);
    let rules = std::mem::take(&mut draft.rules);
    built.rules = preferences(l, rules);
    built.routes = draft.routes.iter().map(|at| at.value.clone()).collect();
    built.garp = garp(l, &draft.garp);
    built.source = draft.source.as_ref().map(|s| s.value);
    built.notify = draft.notify.clone();
    timers::announcements(l, draft, &built);
    l.config.instances.push(built);
}

/// Copies four options from `global_defs` if the instance does not set them: `vrrp_version`,
/// `down_timer_adverts`, `skip_check_adv_addr` and `strict_mode`.
fn defaults(options: &mut Options, draft: &InstanceDraft, from: &Defaults) {
    let (given, from) = (&draft.options, &from.options.values);
    let missing = |name: &str| given.place(name).is_none();
    if missing("version") {
        options.version = from.version;
    }
    if missing("down_timer_adverts") {
        options.down_timer_adverts = from.down_timer_adverts;
    }
    if missing("skip_check_adv_addr") {
        options.skip_check_addresses = from.skip_check_addresses;
    }
    if missing("strict_mode") {
        options.strict = from.strict;
    }
}

/// Sets the interface and the router id, and reports a missing one. Warns about an instance without
/// addresses.
fn needed(l: &mut Loader<'_>, draft: &InstanceDraft, built: &mut Instance) {
    let unicast = draft.peers.as_ref().is_some_and(|p| !p.value.is_empty());
    match &draft.interface {
        Some(interface) => built.interface = interface.value.clone(),
        None if unicast || draft.interface_told => {}
        None => {
            let message = format!("'vrrp_instance {}' has no 'interface'", draft.name);
            l.report(
                Diagnostic::error(&codes::NO_INTERFACE, draft.place, message)
                    .help("add 'interface <name>'; only unicast instances can omit it"),
            );
        }
    }
    match &draft.vrid {
        Some(vrid) => built.vrid = vrid.value,
        None if draft.vrid_told => {}
        None => {
            let message = format!("'vrrp_instance {}' has no 'virtual_router_id'", draft.name);
            l.report(
                Diagnostic::error(&codes::NO_ROUTER_ID, draft.place, message)
                    .help("add 'virtual_router_id <1-255>', the same on all machines"),
            );
        }
    }
    if draft.addresses.is_empty() {
        let message = format!(
            "'vrrp_instance {}' has no address in virtual_ipaddress",
            draft.name
        );
        let told = Diagnostic::warning(&codes::NO_ADDRESS, draft.place, message);
        l.report(if draft.excluded.is_empty() {
            told
        } else {
            told.help("adverts should name at least one address")
        });
    }
}

/// Sets the address family: that of the first address, else of the first peer, else of the source.
/// Warns about addresses of the other family, which adverts cannot name.
fn family(l: &mut Loader<'_>, draft: &InstanceDraft, built: &mut Instance) {
    let first = draft.addresses.first();
    let peer = draft.peers.as_ref().and_then(|p| p.value.first());
    built.ipv6 = match (first, peer, &draft.source) {
        (Some(at), ..) => at.value.address.is_ipv6(),
        (None, Some(peer), _) => peer.value.address.is_ipv6(),
        (None, None, Some(source)) => source.value.is_ipv6(),
        _ => draft.native_ipv6.is_some(),
    };
    if let (Some(span), Some(at), false) = (draft.native_ipv6, first, built.ipv6) {
        let message = "native_ipv6 has no effect: the first address is IPv4";
        l.report(
            Diagnostic::warning(&codes::MIXED_FAMILIES, span, message)
                .with_label(at.span, "this decides"),
        );
    }
    let (same, other): (Vec<&At<Address>>, Vec<_>) = draft
        .addresses
        .iter()
        .partition(|at| at.value.address.is_ipv6() == built.ipv6);
    for (at, first) in other.iter().zip(std::iter::repeat(first)) {
        let (is, not) = if built.ipv6 {
            ("IPv6", "IPv4")
        } else {
            ("IPv4", "IPv6")
        };
        let message = format!(
            "{} is {not}, but adverts of '{}' are {is}",
            at.value.address, draft.name
        );
        let mut told = Diagnostic::warning(&codes::MIXED_FAMILIES, at.span, message)
            .label("treated as if it were in virtual_ipaddress_excluded")
            .help("move it to 'virtual_ipaddress_excluded': it moves with the others, and adverts do not name it");
        if let Some(first) = first {
            told = told.with_label(first.span, "the first address decides");
        }
        l.report(told);
    }
    built.addresses = same.into_iter().map(|at| at.value.clone()).collect();
    let excluded = draft.excluded.iter().chain(other);
    built.excluded = excluded.map(|at| at.value.clone()).collect();
    if !built.ipv6 {
        return;
    }
    if let Some(at) = draft.options.at("version", |o| o.version)
        && at.value == 2
    {
        let message = "IPv6 requires version 3";
        l.report(Diagnostic::warning(&codes::NO_EFFECT, at.span, message).fix(at.span, "3"));
    }
    built.options.version = 3;
}

/// Sets the initial state and the priority, and reports a `state` that contradicts the `priority`.
fn state(l: &mut Loader<'_>, draft: &InstanceDraft, built: &mut Instance) {
    let start = draft.start.as_ref();
    built.start = start.map_or(Start::Backup, |s| s.value);
    let master = built.start == Start::Master;
    let span = start.map_or(draft.place, |s| s.span);
    built.priority = match (&draft.priority, master) {
        (Some(at), _) => at.value,
        (None, true) => OWNER,
        (None, false) => PRIORITY_DEFAULT,
    };
    let name = &draft.name;
    let told = match (&draft.priority, master) {
        (None, true) => Some(
            Diagnostic::warning(&codes::STATE_AND_PRIORITY, span, format!("without 'priority', 'state MASTER' gives '{name}' priority 255"))
                .label("the machine counts as the owner of the addresses, and no check can lower its priority")
                .help("write 'priority 150', and a lower one on the other machines"),
        ),
        (Some(at), true) if at.value <= PRIORITY_DEFAULT => Some(
            Diagnostic::warning(&codes::STATE_AND_PRIORITY, at.span, format!("'state MASTER' does not decide the owner, and priority {} is not above a backup's default ({PRIORITY_DEFAULT})", at.value))
                .with_label(span, "this claims ownership")
                .help("the highest priority owns the addresses: set the priority of the owner to 150, for example"),
        ),
        (Some(at), true) if at.value < OWNER => Some(
            Diagnostic::new(&codes::STATE_WITHOUT_EFFECT, Severity::Diag, span, "'state MASTER' has no effect unless the priority is 255")
                .with_label(at.span, "this determines the owner"),
        ),
        (Some(at), false) if at.value == OWNER => Some(
            Diagnostic::warning(&codes::STATE_AND_PRIORITY, at.span, format!("'{name}' has priority 255, which owns \
                the addresses, but begins as a backup"))
                .with_label(span, "its state is BACKUP")
                .help("write 'state MASTER', or a priority below 255"),
        ),
        _ => None,
    };
    if let Some(told) = told {
        l.report(told);
    }
    if built.options.strict && master != (built.priority == OWNER) && master {
        strict(l, span, "'state MASTER' with a priority below 255");
        built.start = Start::Backup;
    }
}

/// Warns about a setting that strict mode does not allow.
fn strict(l: &mut Loader<'_>, span: Span, what: &str) {
    let message = format!("{what} is not allowed in strict mode, and has no effect");
    l.report(Diagnostic::warning(&codes::STRICT, span, message));
}

fn authentication(l: &mut Loader<'_>, draft: &InstanceDraft, built: &mut Instance) {
    let Some(place) = draft.auth_place else {
        return;
    };
    if built.options.version == 3 {
        let message = "version 3 has no authentication, so none is sent";
        l.report(
            Diagnostic::warning(&codes::AUTHENTICATION_IGNORED, place, message).help(
                "remove the block; 'unicast_peer' with 'check_unicast_src' keeps out other machines",
            ),
        );
        return;
    }
    if built.options.strict {
        return strict(l, place, "authentication");
    }
    let pass = draft.auth_pass.as_ref().filter(|p| !p.value.is_empty());
    let Some(pass) = pass else {
        let message = "'auth_pass' is missing, so nothing is authenticated";
        l.report(Diagnostic::warning(
            &codes::AUTHENTICATION_IGNORED,
            place,
            message,
        ));
        return;
    };
    let (sent, cut) = password(&pass.value);
    if cut {
        let shown = String::from_utf8_lossy(&sent).into_owned();
        l.report(
            Diagnostic::warning(
                &codes::PASSWORD_CUT,
                pass.span,
                format!("the password has {} bytes, but adverts have room for {}: only the first {} are sent", pass.value.len(), sent.len(), sent.len()),
            )
            .label(format!("the last {} bytes are ignored", pass.value.len() - sent.len()))
            .help(format!("write its first {} bytes, which is equivalent for the other machines", sent.len()))
            .fix(pass.span, shown),
        );
    }
    let ah = draft.auth_ah.as_ref().is_some_and(|a| a.value);
    built.options.authentication = Some(if ah {
        Authentication::Ah(key(&pass.value))
    } else {
        Authentication::Pass(sent)
    });
}

fn preemption(l: &mut Loader<'_>, draft: &InstanceDraft, built: &mut Instance) {
    let master = built.start == Start::Master;
    let preempt = draft.options.at("preempt", |o| o.preempt);
    if let Some(at) = preempt.filter(|p| !p.value && master) {
        built.options.preempt = true;
        let told = Diagnostic::warning(
            &codes::PREEMPTION,
            at.span,
            "'nopreempt' has no effect with 'state MASTER'",
        );
        l.report(as_backup(told, draft));
    }
    let Some(delay) = draft.options.at("preempt_delay", |o| o.preempt_delay) else {
        return;
    };
    let why = match (master, built.options.strict, built.options.preempt) {
        (true, ..) => "'preempt_delay' has no effect with 'state MASTER'",
        (_, true, _) => "'preempt_delay' is not allowed in strict mode, and has no effect",
        (.., false) => "'preempt_delay' has no effect with 'nopreempt'",
        _ => return,
    };
    if delay.value > Duration::ZERO {
        let told = Diagnostic::warning(&codes::PREEMPTION, delay.span, why);
        l.report(if master { as_backup(told, draft) } else { told });
    }
    built.options.preempt_delay = Duration::ZERO;
}

fn as_backup(told: Diagnostic, draft: &InstanceDraft) -> Diagnostic {
    let told = told.help("write 'state BACKUP' on all machines: the priority determines the owner");
    match &draft.start {
        Some(at) => told.with_label(at.span, "set here").fix(at.span, "BACKUP"),
        None => told,
    }
}

fn adverts(l: &mut Loader<'_>, draft: &InstanceDraft, built: &mut Instance) {
    let owner = built.priority == OWNER;
    built.options.accept = match draft.options.at("accept", |o| o.accept) {
        Some(at) if at.value && built.options.strict && built.options.version == 2 => {
            strict(l, at.span, "'accept' in version 2");
            owner
        }
        Some(at) => at.value,
        None => !built.options.strict || owner,
    };
    let either = |name: &str, of: &dyn Fn(&Options) -> bool| {
        let default = &l.drafts.defaults.options;
        draft.options.at(name, of).or_else(|| default.at(name, of))
    };
    let lower = either("lower_prio_no_advert", &|o| o.lower_prio_no_advert);
    let higher = either("higher_prio_send_advert", &|o| o.higher_prio_send_advert);
    if let Some(at) = lower.filter(|at| built.options.strict && !at.value) {
        strict(l, at.span, "answering an advert of lower priority");
    }
    built.options.lower_prio_no_advert = built.options.strict || lower.is_some_and(|at| at.value);
    if let Some(at) = higher.filter(|at| built.options.strict && at.value) {
        strict(l, at.span, "'higher_prio_send_advert'");
    }
    built.options.higher_prio_send_advert =
        !built.options.strict && higher.is_some_and(|at| at.value);
    if let (true, Some(peers)) = (built.options.strict, &draft.peers) {
        strict(l, peers.span, "'unicast_peer'");
        // Keeps unicast despite the warning, as keepalived does.
    }
}

/// Reports a virtual interface name that another instance already has, and drops the name: both
/// instances would take the interface from each other forever.
fn own_name(l: &mut Loader<'_>, draft: &InstanceDraft, vmac: &mut Vmac) {
    let Some(name) = &vmac.name else {
        return;
    };
    let has_it = |i: &&Instance| {
        i.vmac
            .as_ref()
            .is_some_and(|v| v.name.as_ref() == Some(name))
    };
    let Some(other) = l.config.instances.iter().find(has_it) else {
        return;
    };
    let message = format!(
        "'vrrp_instance {}' already uses the virtual interface '{name}': this name is ignored",
        other.name
    );
    l.report(
        Diagnostic::warning(&codes::NO_EFFECT, draft.place, message)
            .help("use another name, or 'use_vmac' alone"),
    );
    vmac.name = None;
}

/// Marks addresses that need the virtual MAC on their own interface (`use_vmac_addr`), and reports
/// `use_vmac` of an address without an interface.
fn vmacs_of_addresses(l: &mut Loader<'_>, draft: &InstanceDraft, built: &mut Instance) {
    let (own, ipv6) = (built.interface.clone(), built.ipv6);
    for address in built.addresses.iter_mut().chain(&mut built.excluded) {
        let elsewhere = address.interface.as_ref().is_some_and(|i| *i != own);
        let other_family = address.address.is_ipv6() != ipv6 && !own.is_empty();
        if draft.vmac_for_addresses.is_some() && (elsewhere || other_family) {
            address.vmac = true;
            // Keeps an address of the other family on the router's interface, with the MAC of its
            // own family.
            address.interface.get_or_insert_with(|| own.clone());
        }
        if address.vmac && address.interface.is_none() {
            address.vmac = false;
            if draft.vmac.is_some() {
                continue;
            }
            let all = draft.addresses.iter().chain(&draft.excluded);
            let mut same = all.filter(|at| at.value.address == address.address);
            let span = same.next().map_or(draft.place, |at| at.span);
            let message = "'use_vmac' of an address has no effect without its interface";
            l.report(
                Diagnostic::warning(&codes::NO_EFFECT, span, message)
                    .help("add 'dev' and the interface, or 'use_vmac' in the instance"),
            );
        }
    }
}

fn virtual_mac(l: &mut Loader<'_>, draft: &InstanceDraft, built: &mut Instance) {
    vmacs_of_addresses(l, draft, built);
    let Some(mut vmac) = draft.vmac.clone() else {
        let alone = draft
            .vmac_transmit_on_base
            .map(|span| ("vmac_xmit_base", span));
        if let Some((what, span)) = alone {
            let message = format!("'{what}' has no effect without 'use_vmac'");
            l.report(Diagnostic::warning(&codes::NO_EFFECT, span, message));
        }
        return;
    };
    vmac.transmit_on_base = draft.vmac_transmit_on_base.is_some();
    let unicast = matches!(built.transport, InstanceTransport::Unicast { .. });
    if unicast && !vmac.is_ipvlan && !vmac.transmit_on_base {
        vmac.transmit_on_base = true;
        let span = draft.peers.as_ref().map_or(draft.place, |p| p.span);
        let message = "unicast adverts cannot use the virtual interface, so they use the one below";
        l.report(
            Diagnostic::warning(&codes::NO_EFFECT, span, message)
                .help("add 'vmac_xmit_base' to make that explicit"),
        );
    }
    if let (true, Some(span)) = (built.options.strict, draft.vmac_transmit_on_base) {
        strict(l, span, "'vmac_xmit_base'");
    }
    own_name(l, draft, &mut vmac);
    if let Some(mac) = vmac.mac.as_mut().filter(|_| draft.vmac_ends_in_vrid) {
        mac[5] = built.vrid;
    }
    if vmac.is_ipvlan && vmac.ipvlan.is_none() && !built.ipv6 {
        let message = "an IPv4 ipvlan needs its own address";
        l.report(
            Diagnostic::error(&codes::MISSING_VALUE, draft.place, message)
                .help("write 'use_ipvlan <interface> <address>/<prefix>'"),
        );
    }
    built.vmac = Some(vmac);
}

/// Returns the timing of announcements: of the instance, else of `global_defs`, else the default.
fn garp(l: &Loader<'_>, own: &GarpDraft) -> Garp {
    let all = &l.drafts.defaults.garp;
    let standard = Garp::default();
    let little = l.drafts.defaults.min_garp;
    let delay_default = if little {
        Duration::ZERO
    } else {
        standard.delay
    };
    let repeat_default = if little { 1 } else { standard.repeat };
    let delay = own.delay.or(all.delay).unwrap_or(delay_default);
    let repeat = own.repeat.or(all.repeat).unwrap_or(repeat_default);
    Garp {
        delay,
        repeat,
        lower_prio_delay: own
            .lower_prio_delay
            .or(all.lower_prio_delay)
            .unwrap_or(delay),
        lower_prio_repeat: own
            .lower_prio_repeat
            .or(all.lower_prio_repeat)
            .unwrap_or(repeat),
        refresh: own.refresh.or(all.refresh).unwrap_or(standard.refresh),
        refresh_repeat: own
            .refresh_repeat
            .or(all.refresh_repeat)
            .unwrap_or(standard.refresh_repeat),
        extra_interfaces: own.extra.or(all.extra).unwrap_or(standard.extra_interfaces),
    }
}

#[cfg(test)]
mod tests {
    use crate::dialect::checks::timers::seconds;
    use std::time::Duration;

    #[test]
    fn times_are_written_as_the_language_writes_them() {
        assert_eq!(seconds(Duration::from_millis(1500)), "1.5");
        assert_eq!(seconds(Duration::from_secs(10)), "10");
        assert_eq!(seconds(Duration::ZERO), "0");
    }
}
