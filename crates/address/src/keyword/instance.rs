//! From drafts to the configuration of this machine.

use super::draft::{Draft, VirtualIp};
use super::identity::{self, Identity, is_name_of, name_of};
use super::link::{self, UsedRouterId, is_ipv6};
use super::timing::{DOWN_ADVERTS, FAILOVER_DEFAULT};
use super::{SectionConfig, Timers, codes, host, notify};
use crate::config::{
    Address, Config, Dialect, Garp, Global, Instance, Options, Tracked, Transport, Vmac, Weight,
};
use crate::standing;
use language::Diagnostic;
use std::net::IpAddr;
use std::time::Duration;

/// Addresses that an advert names, as keepalived has it; further ones move with them.
pub(super) const ADVERTISED_MAX: usize = 20;

/// How often the owner announces its addresses again, as `garp_master_refresh`.
const ANNOUNCED_EVERY: Duration = Duration::from_secs(60);

/// `handover-drain` without a line.
const DRAIN_DEFAULT: Duration = Duration::from_secs(2);

/// Checks all of it, and builds what this machine has part in.
pub(super) fn finish(draft: &mut Draft) -> SectionConfig {
    let identity = identity::find(draft);
    check_addresses(draft);
    let mut outcome = SectionConfig {
        config: Config {
            dialect: Dialect::Own,
            global: global(draft),
            ..Config::default()
        },
        node: match &identity {
            Identity::Node(name) => Some(name.clone()),
            Identity::Any | Identity::First => None,
        },
        backends: Vec::new(),
    };
    let mut taken: Vec<UsedRouterId> = Vec::new();
    for mut virtual_ip in std::mem::take(&mut draft.virtual_ips) {
        notify::secure(draft, &mut virtual_ip);
        if virtual_ip.addresses.is_empty() {
            if virtual_ip.address_line {
                // Its error was reported at its line.
                continue;
            }
            let told = format!("'virtual-ip {}' has no address", virtual_ip.name);
            draft.tell(
                Diagnostic::error(&codes::NO_ADDRESS, virtual_ip.span, told)
                    .label("no `address` line in this section")
                    .help("add a line `address <address>/<prefix>`"),
            );
            continue;
        }
        let order = order(draft, &virtual_ip);
        let place = place(&identity, &order);
        let interface = link::interface(draft, &virtual_ip, &identity, &order, place.is_some());
        let vrid = link::router_id(draft, &virtual_ip, &interface, &mut taken);
        let Some(place) = place else { continue };
        let (transport, source) = link::transport(draft, &virtual_ip, &order, place);
        let part = Part {
            addresses: addresses(draft, &virtual_ip, &interface),
            order,
            place,
            interface,
            vrid,
            transport,
            source,
        };
        let outcome = &mut outcome;
        for backend in &virtual_ip.backends {
            outcome.backends.push((backend.value.clone(), backend.span));
        }
        outcome
            .config
            .scripts
            .extend(virtual_ip.programs.scripts.iter().cloned());
        outcome.config.instances.push(instance(virtual_ip, part));
    }
    outcome.config.name_vmacs("vrrp");
    outcome
}

/// The part that this machine has in an instance.
struct Part {
    addresses: Vec<Address>,
    order: Vec<String>,
    place: usize,
    interface: String,
    vrid: u8,
    transport: Transport,
    source: Option<IpAddr>,
}

fn instance(virtual_ip: VirtualIp, part: Part) -> Instance {
    let ipv6 = is_ipv6(&virtual_ip);
    let bands = standing::plain(part.place);
    let failover = virtual_ip.failover.map_or(FAILOVER_DEFAULT, |t| t.value);
    let timers = Timers::of(failover, bands[0]);
    // An advert names addresses of its own family.
    let (mut named, mut excluded): (Vec<Address>, Vec<Address>) = part
        .addresses
        .into_iter()
        .partition(|address| address.address.is_ipv6() == ipv6);
    excluded.extend(named.split_off(named.len().min(ADVERTISED_MAX)));
    let interfaces = virtual_ip.tracked_interfaces.into_iter();
    let tracked = Tracked {
        interfaces: interfaces.map(|i| (i.value, Weight::default())).collect(),
        scripts: virtual_ip
            .programs
            .scripts
            .into_iter()
            .map(|s| (s.name, None))
            .collect(),
        backends: virtual_ip.backends.into_iter().map(|b| b.value).collect(),
        ..Tracked::default()
    };
    Instance {
        name: virtual_ip.name,
        interface: part.interface,
        vrid: part.vrid,
        priority: bands[0],
        ipv6,
        options: Options {
            advert_interval: timers.advert_interval,
            ..virtual_ip.options
        },
        transport: part.transport,
        source: part.source,
        vmac: virtual_ip.virtual_mac.then(Vmac::default),
        addresses: named,
        excluded,
        tracked,
        garp: Garp {
            refresh: ANNOUNCED_EVERY,
            ..Garp::default()
        },
        notify: virtual_ip.programs.notify,
        probing: Some(timers.probing),
        lifetime: Some(timers.lifetime),
        bands: Some(bands),
        prefer: part.order,
        ..Instance::default()
    }
}

/// The options of a virtual address that states none.
pub(super) fn options() -> Options {
    Options {
        version: 3,
        down_timer_adverts: DOWN_ADVERTS,
        // After a partition the winner hears of the loser, and tells neighbours anew.
        higher_prio_send_advert: true,
        // While one machine has a new address in its file and the other one has not,
        // both are to hear each other.
        skip_check_addresses: true,
        handover_drain: DRAIN_DEFAULT,
        ..Options::default()
    }
}

/// Returns the settings that apply to all instances.
fn global(draft: &Draft) -> Global {
    Global {
        router_id: draft.host.name.clone().unwrap_or_default(),
        lock_memory: true,
        dynamic_interfaces: true,
        script_security: true,
        ..Global::default()
    }
}

/// A virtual address cannot be one that stays with a machine.
fn check_addresses(draft: &mut Draft) {
    let mut wrong = Vec::new();
    for node in &draft.nodes {
        for own in &node.addresses {
            let mut virtual_ones = draft.virtual_ips.iter().flat_map(|v| &v.addresses);
            if let Some(same) = virtual_ones.find(|v| v.address == own.value) {
                let told = format!("{} is the fixed address of a node", own.value);
                wrong.push(
                    Diagnostic::error(&codes::ADDRESS_TWICE, same.span, told)
                        .label("this one moves between machines")
                        .also(own.span, "this one stays on its machine"),
                );
            }
        }
    }
    for told in wrong {
        draft.tell(told);
    }
}

/// The nodes that may have the addresses, the best first; none names no node.
fn order(draft: &Draft, virtual_ip: &VirtualIp) -> Vec<String> {
    if !virtual_ip.prefer.is_empty() {
        return virtual_ip.prefer.iter().map(|n| n.value.clone()).collect();
    }
    let host = draft.host.name.as_deref();
    let names = draft
        .nodes
        .iter()
        .map(|node| name_of(node, host).to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// At which place this machine is; None where it has no part in it.
fn place(identity: &Identity, order: &[String]) -> Option<usize> {
    match identity {
        Identity::Any | Identity::First => Some(0),
        Identity::Node(_) if order.is_empty() => Some(0),
        Identity::Node(own) => order.iter().position(|name| is_name_of(name, own)),
    }
}

/// Addresses as the kernel gets them.
fn addresses(draft: &Draft, virtual_ip: &VirtualIp, interface: &str) -> Vec<Address> {
    let of_network = |address: IpAddr| {
        let around = draft.host.around(address);
        let own = around.iter().find(|(i, _)| i.name == interface);
        own.map_or(host::full(address), |(_, prefix)| *prefix)
    };
    let all = virtual_ip.addresses.iter();
    all.map(|written| {
        let (address, prefix) = (written.address, written.prefix);
        Address {
            // Whether somebody has it is asked by the role, which does not wait a second for it.
            no_dad: address.is_ipv6(),
            vmac: virtual_ip.virtual_mac,
            ..Address::new(address, prefix.unwrap_or_else(|| of_network(address)))
        }
    })
    .collect()
}
