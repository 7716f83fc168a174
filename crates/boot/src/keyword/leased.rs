//! Warns about leases on this machine whose addresses the new `boot` section gives to a node or to
//! another machine, or no longer has in its range.

use super::check::named;
use super::{codes, section};
use crate::dhcp::range::Address;
use crate::journal::{self, name6};
use crate::mac::Mac;
use configuration::{Context, Exchange};
use language::{Diagnostic, Spanned};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NAMED_MAX: usize = 8;

/// Returns warnings about leases on this machine whose clients lose their address, at most 8 for
/// each section and address family. Returns none if the configuration is loaded for another machine
/// or from a recording.
pub(super) fn superseded(
    context: &Context,
    exchange: &Exchange,
    lans: &[section::Lan],
) -> Vec<Diagnostic> {
    if !context.options.here || context.outside.is_recorded() {
        return Vec::new();
    }
    let of_nodes = named(exchange).filter(|one| one.is_of_a_node);
    let of_nodes: HashMap<IpAddr, String> = of_nodes.map(|one| (one.address, one.owner)).collect();
    let all = lans.iter().flat_map(|lan| {
        let name = &lan.name.value;
        let without_range = || Spanned::new(None, lan.name.span);
        let four = lan.range.as_ref().map_or_else(without_range, |one| {
            let Spanned { value, span } = one;
            let value = Some((value.first.into(), value.last.into()));
            Spanned { value, span: *span }
        });
        let six = lan.six.range.as_ref().map_or_else(without_range, |one| {
            let Spanned { value, span } = one;
            let value = Some((value.first.into(), value.last.into()));
            Spanned { value, span: *span }
        });
        let mut told = of(lan, &of_nodes, &four, clients::<Ipv4Addr>(lan, name));
        let name = name6(name);
        told.extend(of(lan, &of_nodes, &six, clients::<Ipv6Addr>(lan, &name)));
        told
    });
    all.collect()
}

struct LeasedClients {
    all: Vec<(IpAddr, Mac)>,
    longest_s: u32,
}

/// Reads the clients with a lease and the longest lease time from a section's journal. An
/// unreadable journal counts as empty: another check reports its directory.
fn clients<A: Address + Into<IpAddr>>(lan: &section::Lan, name: &str) -> LeasedClients {
    let (all, longest_s) = journal::clients::<A>(&lan.leases, name).unwrap_or_default();
    let all = all.into_iter().map(|(address, mac)| (address.into(), mac));
    LeasedClients {
        all: all.collect(),
        longest_s,
    }
}

fn of(
    lan: &section::Lan,
    of_nodes: &HashMap<IpAddr, String>,
    range: &Spanned<Option<(IpAddr, IpAddr)>>,
    clients: LeasedClients,
) -> Vec<Diagnostic> {
    let LeasedClients { all, longest_s } = clients;
    let in_range = |address: IpAddr| {
        range
            .value
            .is_none_or(|(first, last)| (first..=last).contains(&address))
    };
    let lost = all.into_iter().filter_map(|(address, mac)| {
        let machine = lan.machines.iter().find_map(|one| {
            let four = one
                .address
                .as_ref()
                .map(|own| (IpAddr::V4(own.value), own.span));
            let six = one
                .address6
                .as_ref()
                .map(|own| (IpAddr::V6(own.value), own.span));
            let own = [four, six]
                .into_iter()
                .flatten()
                .find(|(own, _)| *own == address);
            own.map(|(_, span)| (one, span))
        });
        let (owner, span) = match (of_nodes.get(&address), machine) {
            (Some(owner), _) => (format!("is the address of {owner}"), range.span),
            (None, Some((machine, _))) if machine.mac.value == mac => return None,
            (None, Some((machine, span))) => (
                format!("is the address of machine '{}'", machine.name.value),
                span,
            ),
            (None, None) if in_range(address) => return None,
            (None, None) => ("is not in the range".to_owned(), range.span),
        };
        Some((address, mac, owner, span))
    });
    let mut lost: Vec<_> = lost.collect();
    let more = lost.len().saturating_sub(NAMED_MAX);
    lost.truncate(NAMED_MAX);
    let last = lost.len().saturating_sub(1);
    let told = lost.into_iter().enumerate().map(|(index, lost)| {
        let (address, mac, owner, span) = lost;
        let more = match more {
            more if more > 0 && index == last => format!(" (and {more} more leases like this)"),
            _ => String::new(),
        };
        let told = format!("{address} {owner}, and is leased to {mac}{more}");
        let label = format!(
            "{mac} uses it for up to {longest_s} s, until it asks to renew its lease and is refused"
        );
        Diagnostic::warning(&codes::LEASED, span, told)
            .label(label)
            .help("choose another address, or wait until the lease has ended")
    });
    told.collect()
}
