//! Determines the interface of an instance, its router id on that network, and the transport of its
//! adverts.

use super::draft::{self, AddressConfigDraft, VirtualIp};
use super::identity::{NodeIdentity, is_name_of, name_of};
use super::{codes, vrid};
use crate::config::{InstanceTransport, Peer};
use configuration::outside::SystemQuery;
use language::{Diagnostic, Span, suggest};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const GROUP_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
const GROUP_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));

pub(super) fn is_ipv6(virtual_ip: &VirtualIp) -> bool {
    virtual_ip.addresses.iter().all(|a| a.address.is_ipv6())
}

/// Returns the configured interface, or the one whose network contains the first address. The name
/// is empty if there is none, which is an error, or a missing resource of a configuration version
/// that was accepted earlier.
pub(super) fn interface(
    draft: &mut AddressConfigDraft,
    virtual_ip: &VirtualIp,
    identity: &NodeIdentity,
    order: &[String],
    complain: bool,
) -> String {
    let own = match identity {
        NodeIdentity::Node(own) => Some(own),
        NodeIdentity::First => order.first(),
        NodeIdentity::Any => None,
    };
    let on = |wanted: &str, interface: &&draft::Interface| {
        interface
            .nodes
            .iter()
            .any(|node| is_name_of(&node.value, wanted))
    };
    let all = &virtual_ip.interfaces;
    let own = own.and_then(|own| all.iter().find(|interface| on(own, interface)));
    let written = own.or_else(|| all.iter().find(|interface| interface.nodes.is_empty()));
    let complain = complain && draft.host.name.is_some();
    if let Some(written) = written {
        let name = &written.name;
        if complain && draft.host.interface(&name.value).is_none() {
            let told = format!(
                "interface '{}' does not exist on this machine now",
                name.value
            );
            let names = draft.host.interfaces.iter().map(|i| i.name.as_str());
            let near = suggest::nearest(&name.value, names);
            let told = Diagnostic::warning(&codes::INTERFACE_MISSING, name.span, told);
            draft.add_diagnostic(match near {
                Some(near) => told.did_you_mean(name.span, Some(near)),
                None => told.help("the addresses wait for it; if the names differ between machines, write `interface \
                    <interface> on <node>`"),
            });
        }
        return name.value.clone();
    }
    let Some(first) = virtual_ip.addresses.first() else {
        return String::new();
    };
    let around = draft.host.around(first.address);
    if let [(interface, _)] = &around[..] {
        return interface.name.clone();
    }
    let names: Vec<String> = around.iter().map(|(i, _)| i.name.clone()).collect();
    if complain {
        tell_no_interface(draft, virtual_ip, first, &names);
    }
    if complain && draft.host.is_accepted {
        if names.is_empty() {
            let (address, name) = (first.address, virtual_ip.name.clone());
            draft.lacks.push(SystemQuery::InterfaceOf(address, name));
        }
        return names.into_iter().next().unwrap_or_default();
    }
    String::new()
}

fn tell_no_interface(
    draft: &mut AddressConfigDraft,
    virtual_ip: &VirtualIp,
    address: &draft::Address,
    around: &[String],
) {
    let mut all: Vec<&str> = draft
        .host
        .interfaces
        .iter()
        .map(|i| i.name.as_str())
        .collect();
    all.retain(|name| *name != "lo");
    let (told, label, choice, applies) = match around {
        [] => (
            format!(
                "no interface of this machine is in the network of {}",
                address.address
            ),
            "no interface matches",
            all.join(", "),
            "this machine does not own the addresses until there is one",
        ),
        several => (
            format!(
                "several interfaces are in the network of {}",
                address.address
            ),
            "the interface is ambiguous",
            several.join(", "),
            "the first one of them is used",
        ),
    };
    let told = Diagnostic::error(&codes::NO_INTERFACE, address.span, told)
        .label(label)
        .help(format!(
            "add a line `interface <interface>` to 'virtual-ip {}'",
            virtual_ip.name
        ))
        .with_earlier_behaviour(applies);
    let told = match choice.as_str() {
        "" => told,
        choice => told.note(format!("interfaces: {choice}")),
    };
    draft.add_diagnostic(told);
}

/// A router id in use on a link.
#[derive(Debug)]
pub(super) struct UsedRouterId {
    vrid: u8,
    ipv6: bool,
    interface: String,
    name: String,
    span: Span,
}

/// Returns the router id that is configured or derived from the name, and reports an id that is
/// already in use. None only for a configuration version that was accepted on other interfaces, if
/// another instance on the same interface uses the id.
pub(super) fn router_id(
    draft: &mut AddressConfigDraft,
    virtual_ip: &VirtualIp,
    interface: &str,
    taken: &mut Vec<UsedRouterId>,
) -> Option<u8> {
    let ipv6 = is_ipv6(virtual_ip);
    let same_link = |other: &UsedRouterId| {
        other.ipv6 == ipv6
            && (other.interface == interface || other.interface.is_empty() || interface.is_empty())
    };
    let vrid = virtual_ip
        .vrid
        .as_ref()
        .map_or_else(|| vrid::of_name(&virtual_ip.name), |written| written.value);
    let span = virtual_ip.vrid.as_ref().map_or(virtual_ip.span, |v| v.span);
    if let Some(first) = taken.iter().find(|t| t.vrid == vrid && same_link(t)) {
        let free = vrid::free(&virtual_ip.name, |id| {
            taken.iter().any(|t| t.vrid == id && same_link(t))
        });
        let told = format!(
            "'virtual-ip {}' and 'virtual-ip {}' have the same VRID, {vrid}",
            first.name, virtual_ip.name
        );
        let label = match virtual_ip.vrid {
            Some(_) => "taken already",
            None => "it is derived from this name",
        };
        let told = Diagnostic::error(&codes::ROUTER_ID, span, told)
            .label(label)
            .with_label(first.span, "first used here")
            .with_earlier_behaviour("this machine does not own the addresses of the second one");
        draft.add_diagnostic(match free {
            Some(free) => told.help(format!(
                "write `vrid {free}` in 'virtual-ip {}', in the file of every machine",
                virtual_ip.name
            )),
            None => told,
        });
        if draft.host.is_accepted {
            return None;
        }
    }
    taken.push(UsedRouterId {
        vrid,
        ipv6,
        interface: interface.to_owned(),
        name: virtual_ip.name.clone(),
        span,
    });
    Some(vrid)
}

pub(super) fn transport(
    draft: &mut AddressConfigDraft,
    virtual_ip: &VirtualIp,
    order: &[String],
    place: usize,
) -> (InstanceTransport, Option<IpAddr>) {
    let ipv6 = is_ipv6(virtual_ip);
    let usual = if ipv6 { GROUP_V6 } else { GROUP_V4 };
    let written = virtual_ip.transport.as_ref();
    let group = match written.map(|written| &written.value) {
        None | Some(draft::TransportDraft::Multicast(None)) => usual,
        Some(draft::TransportDraft::Multicast(Some(group))) => {
            if group.is_ipv6() != ipv6 {
                let family = if ipv6 { "IPv6" } else { "IPv4" };
                let told = format!(
                    "adverts of 'virtual-ip {}' are {family}, but {group} is not",
                    virtual_ip.name
                );
                let span = written.map_or(virtual_ip.span, |written| written.span);
                draft.add_diagnostic(Diagnostic::error(&codes::VALUE, span, told));
            }
            *group
        }
        Some(draft::TransportDraft::Unicast) => {
            let span = written.map_or(virtual_ip.span, |written| written.span);
            return unicast(draft, order, place, ipv6, span);
        }
    };
    (InstanceTransport::Multicast { group }, None)
}

fn unicast(
    draft: &mut AddressConfigDraft,
    order: &[String],
    place: usize,
    ipv6: bool,
    span: Span,
) -> (InstanceTransport, Option<IpAddr>) {
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    let host = draft.host.name.clone();
    let mut addresses: Vec<Option<IpAddr>> = Vec::new();
    let mut wrong = Vec::new();
    for name in order {
        let node = draft
            .nodes
            .iter()
            .find(|node| is_name_of(name, name_of(node, host.as_deref())));
        let address = node.and_then(|node| {
            let mut all = node.addresses.iter().map(|a| a.value);
            all.find(|a| a.is_ipv6() == ipv6)
        });
        if address.is_none() {
            let told = format!("`unicast` needs an {family} address of node '{name}'");
            let told = Diagnostic::error(&codes::UNICAST, span, told);
            wrong.push(match node {
                Some(node) => told
                    .with_label(node.span, "this one")
                    .help("add a line `address <address>` to its section"),
                None => told.help(format!(
                    "add a section `node {name}` with a line `address <address>`"
                )),
            });
        }
        addresses.push(address);
    }
    if order.len() < 2 {
        let told = "`unicast` needs `node` sections with addresses of at least two machines";
        wrong.push(
            Diagnostic::error(&codes::UNICAST, span, told).help("add them, or use `multicast`"),
        );
    }
    for told in wrong {
        draft.add_diagnostic(told);
    }
    let source = addresses.get(place).copied().flatten();
    let others = addresses.iter().enumerate().filter(|(n, _)| *n != place);
    let peers = others
        .filter_map(|(_, address)| *address)
        .map(|address| Peer {
            address,
            min_ttl: None,
            max_ttl: None,
        })
        .collect();
    let transport = InstanceTransport::Unicast {
        peers,
        ttl: None,
        check_source: true,
    };
    (transport, source)
}
