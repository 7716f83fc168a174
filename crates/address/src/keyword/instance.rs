//! Builds the configuration of this machine from the drafts of the `node` and `virtual-ip`
//! sections.

use super::draft::{AddressConfigDraft, VirtualIp};
use super::identity::{self, NodeIdentity, is_name_of, name_of};
use super::link::{self, UsedRouterId, is_ipv6};
use super::timing::{DOWN_ADVERTS, FAILOVER_DEFAULT};
use super::{SectionConfig, Timers, codes, host, notify};
use crate::config::{
    Address, Config, Dialect, Garp, Global, Instance, InstanceTransport, Options, Tracked, Vmac,
    Weight,
};
use crate::standing;
use language::Diagnostic;
use std::net::IpAddr;
use std::time::Duration;

/// Maximum number of addresses that an advert names, as in keepalived; further ones move with them.
pub(super) const ADVERTISED_MAX: usize = 20;

/// Interval at which the owner repeats its announcements, as `garp_master_refresh`.
const ANNOUNCED_EVERY: Duration = Duration::from_secs(60);

const DRAIN_DEFAULT: Duration = Duration::from_secs(2);

/// Checks all sections, and builds those in which this machine takes part.
pub(super) fn finish(draft: &mut AddressConfigDraft) -> SectionConfig {
    let identity = identity::find(draft);
    check_addresses(draft);
    let mut outcome = SectionConfig {
        config: Config {
            dialect: Dialect::Own,
            global: global(draft),
            ..Config::default()
        },
        node: match &identity {
            NodeIdentity::Node(name) => Some(name.clone()),
            NodeIdentity::Any | NodeIdentity::First => None,
        },
        backends: Vec::new(),
    };
    let mut taken: Vec<UsedRouterId> = Vec::new();
    for mut virtual_ip in std::mem::take(&mut draft.virtual_ips) {
        notify::secure(draft, &mut virtual_ip);
        if virtual_ip.addresses.is_empty() {
            if virtual_ip.address_line {
                // Skips the section: the error was reported at the line.
                continue;
            }
            let told = format!("'virtual-ip {}' has no address", virtual_ip.name);
            draft.add_diagnostic(
                Diagnostic::error(&codes::NO_ADDRESS, virtual_ip.span, told)
                    .label("no `address` line in this section")
                    .help("add a line `address <address>/<prefix>`"),
            );
            continue;
        }
        let order = order(draft, &virtual_ip);
        let place = place(&identity, &order);
        let interface = link::interface(draft, &virtual_ip, &identity, &order, place.is_some());
        if interface.is_empty() && draft.host.is_accepted {
            continue;
        }
        let vrid = link::router_id(draft, &virtual_ip, &interface, &mut taken);
        let (Some(place), Some(vrid)) = (place, vrid) else {
            continue;
        };
        let (transport, source) = link::transport(draft, &virtual_ip, &order, place);
        let part = InstanceRole {
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

/// Values of an instance that depend on this machine, such as its position among the nodes.
struct InstanceRole {
    addresses: Vec<Address>,
    order: Vec<String>,
    place: usize,
    interface: String,
    vrid: u8,
    transport: InstanceTransport,
    source: Option<IpAddr>,
}

fn instance(virtual_ip: VirtualIp, part: InstanceRole) -> Instance {
    let ipv6 = is_ipv6(&virtual_ip);
    let bands = standing::plain(part.place);
    let failover = virtual_ip.failover.map_or(FAILOVER_DEFAULT, |t| t.value);
    let timers = Timers::of(failover, bands[0]);
    // Separates the addresses by family, because an advert names addresses of its own family only.
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

pub(super) fn options() -> Options {
    Options {
        version: 3,
        down_timer_adverts: DOWN_ADVERTS,
        // Makes the winner after a partition, which receives adverts of the loser, notify its
        // neighbours again.
        higher_prio_send_advert: true,
        // Skips the check, because both machines must still accept each other's adverts while only
        // one has a new address in its file.
        skip_check_addresses: true,
        handover_drain: DRAIN_DEFAULT,
        ..Options::default()
    }
}

fn global(draft: &AddressConfigDraft) -> Global {
    Global {
        router_id: draft.host.name.clone().unwrap_or_default(),
        lock_memory: true,
        dynamic_interfaces: true,
        script_security: true,
        ..Global::default()
    }
}

fn check_addresses(draft: &mut AddressConfigDraft) {
    let mut wrong = Vec::new();
    for node in &draft.nodes {
        for own in &node.addresses {
            let mut virtual_ones = draft.virtual_ips.iter().flat_map(|v| &v.addresses);
            if let Some(same) = virtual_ones.find(|v| v.address == own.value) {
                let told = format!("{} is the fixed address of a node", own.value);
                wrong.push(
                    Diagnostic::error(&codes::ADDRESS_TWICE, same.span, told)
                        .label("this one moves between machines")
                        .with_label(own.span, "this one stays on its machine"),
                );
            }
        }
    }
    for told in wrong {
        draft.add_diagnostic(told);
    }
}

/// Returns the nodes that may have the addresses, the best first; empty if no node is named.
fn order(draft: &AddressConfigDraft, virtual_ip: &VirtualIp) -> Vec<String> {
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

/// Returns the position of this machine in the order of nodes; None if it takes no part.
fn place(identity: &NodeIdentity, order: &[String]) -> Option<usize> {
    match identity {
        NodeIdentity::Any | NodeIdentity::First => Some(0),
        NodeIdentity::Node(_) if order.is_empty() => Some(0),
        NodeIdentity::Node(own) => order.iter().position(|name| is_name_of(name, own)),
    }
}

fn addresses(draft: &AddressConfigDraft, virtual_ip: &VirtualIp, interface: &str) -> Vec<Address> {
    let of_network = |address: IpAddr| {
        let around = draft.host.around(address);
        let own = around.iter().find(|(i, _)| i.name == interface);
        own.map_or(host::full(address), |(_, prefix)| *prefix)
    };
    let all = virtual_ip.addresses.iter();
    all.map(|written| {
        let (address, prefix) = (written.address, written.prefix);
        Address {
            // Disables the kernel's check for duplicates, which takes a second: the role itself
            // checks.
            no_dad: address.is_ipv6(),
            vmac: virtual_ip.virtual_mac,
            ..Address::new(address, prefix.unwrap_or_else(|| of_network(address)))
        }
    })
    .collect()
}
