//! Reports router ids and addresses that are used twice, and instances with more addresses than an
//! advert can name.

use crate::codes;
use crate::config::{Instance, InstanceTransport};
use crate::dialect::family::draft::InstanceDraft;
use crate::dialect::loader::Loader;
use language::{Diagnostic, Span};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

/// Maximum number of addresses in an advert.
const ADVERTISED_MAX: usize = 255;

/// Reports two instances with the same router id on an interface, which accept each other's
/// adverts.
pub(super) fn router_ids(l: &mut Loader<'_>, drafts: &[InstanceDraft]) {
    let mut seen: HashMap<(String, u8, bool), Vec<(usize, Span)>> = HashMap::new();
    let mut told = Vec::new();
    for (index, (built, draft)) in l.config.instances.iter().zip(drafts).enumerate() {
        let Some(vrid) = &draft.vrid else { continue };
        let key = (built.interface.clone(), built.vrid, built.ipv6);
        let others = seen.entry(key).or_default();
        let clash = others.iter().find(|(other, _)| {
            l.config
                .instances
                .get(*other)
                .is_some_and(|other| meet(other, built))
        });
        if let Some((other, span)) = clash {
            let name = l
                .config
                .instances
                .get(*other)
                .map_or("", |i| i.name.as_str());
            let message = format!(
                "'{name}' and '{}' have the same virtual_router_id {} on '{}'",
                built.name, built.vrid, built.interface
            );
            told.push(
                Diagnostic::error(&codes::SAME_ROUTER_ID, vrid.span, message)
                    .label("duplicate")
                    .with_label(*span, "first used here")
                    .help("give each instance a different number from 1 to 255, the same on all machines"),
            );
        }
        others.push((index, vrid.span));
    }
    told.into_iter().for_each(|d| l.report(d));
}

/// Returns whether both instances use the same multicast group, or have a unicast peer in common.
fn meet(one: &Instance, other: &Instance) -> bool {
    match (&one.transport, &other.transport) {
        (InstanceTransport::Multicast { group: a }, InstanceTransport::Multicast { group: b }) => {
            a == b
        }
        (
            InstanceTransport::Unicast { peers: a, .. },
            InstanceTransport::Unicast { peers: b, .. },
        ) => {
            let of_one: HashSet<IpAddr> = a.iter().map(|p| p.address).collect();
            b.iter().any(|p| of_one.contains(&p.address))
        }
        _ => false,
    }
}

/// Reports addresses that are configured twice, and instances with more addresses than an advert
/// can name.
pub(super) fn taken_twice(l: &mut Loader<'_>, drafts: &[InstanceDraft]) {
    let mut seen: HashMap<(IpAddr, Option<String>), (Span, &str)> = HashMap::new();
    let mut told = Vec::new();
    for draft in drafts {
        for at in draft.addresses.iter().chain(&draft.excluded) {
            let interface = at.value.interface.clone();
            let interface = interface.or_else(|| draft.interface.as_ref().map(|i| i.value.clone()));
            let address = at.value.address;
            let Some((span, name)) = seen.insert((address, interface), (at.span, &draft.name))
            else {
                continue;
            };
            let message = if name == draft.name {
                format!("{address} appears twice in '{name}'")
            } else {
                format!(
                    "{address} is in two instances, '{name}' and '{}'",
                    draft.name
                )
            };
            told.push(
                Diagnostic::warning(&codes::ADDRESS_TWICE, at.span, message)
                    .with_label(span, "first used here"),
            );
        }
        if let Some(at) = draft.addresses.get(ADVERTISED_MAX) {
            let message = format!(
                "'{}' has {} addresses in virtual_ipaddress, but an advert can name at most {ADVERTISED_MAX}",
                draft.name,
                draft.addresses.len()
            );
            told.push(
                Diagnostic::error(&codes::TOO_MANY_ADDRESSES, at.span, message).help(
                    "move the surplus to 'virtual_ipaddress_excluded': they move with the others",
                ),
            );
        }
    }
    told.into_iter().for_each(|d| l.report(d));
}
