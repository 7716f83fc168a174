//! Parses and checks the IPv6 lines of a `boot` section, `network6` and `range6`, and builds the
//! IPv6 configuration of its network.

use super::section::{BootSectionDraft, Ipv6Lines, Lan, Range6, ipv6, lease};
use super::{BootLineBuilder, codes};
use crate::config::{self, Ipv6Network};
use crate::dhcp::range::RANGE_MAX;
use configuration::outside::Interface;
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::section::once;
use language::{Diagnostic, Span, Spanned};
use std::net::{IpAddr, Ipv6Addr};

fn network6(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let lan = once(&mut draft.lans, args, "network6")?;
    let word = args.required("a network")?;
    let read = |text: &str| {
        let (first, prefix) = text.split_once('/')?;
        let first: Ipv6Addr = first.parse().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        let is_usual = (32..=120).contains(&prefix);
        let network = Ipv6Network::of(first, prefix);
        (is_usual && network.first == first).then_some(network)
    };
    let Some(network) = read(word.str()) else {
        let told =
            "not a network such as fd00:20::/64: its first address, and a prefix from 32 to 120";
        return Err(args.unexpected_value(word, told));
    };
    let address = network.first;
    if address.is_unicast_link_local() || address.is_multicast() || address.segments()[0] == 0 {
        return Err(args.unexpected_value(
            word,
            "no network in which machines have addresses of their own",
        ));
    }
    args.end()?;
    lan.six.network = Some(Spanned::new(network, word.span));
    Ok(())
}

fn range6(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let lan = once(&mut draft.lans, args, "range6")?;
    let first = ipv6(args)?;
    let last = ipv6(args)?;
    let lease_s = lease(args)?;
    if first.value > last.value {
        let told = format!("the range ends at {} before it begins", last.value);
        let told = Diagnostic::error(&codes::RANGE, last.span, told);
        return Err(told.help(format!("write `range6 {} {}`", last.value, first.value)));
    }
    if last.value.to_bits() - first.value.to_bits() >= RANGE_MAX.into() {
        let told = format!("the range has more than {RANGE_MAX} addresses");
        return Err(Diagnostic::error(&codes::VALUE, last.span, told));
    }
    let range = Range6 {
        first: first.value,
        last: last.value,
        lease_s,
    };
    lan.six.range = Some(Spanned::new(range, span));
    Ok(())
}

pub(super) fn build(lan: &Lan) -> Option<config::Ipv6Config> {
    let network = lan.six.network.as_ref()?.value;
    let range = lan.six.range.as_ref().map(|range| range.value);
    let machines = lan.machines.iter().filter_map(|one| {
        let address = one.address6.as_ref()?;
        Some((one.mac.value, address.value))
    });
    Some(config::Ipv6Config {
        network,
        range: range.map(|range| (range.first, range.last)),
        lease_s: range.map_or(config::LEASE_S, |range| range.lease_s),
        machines: machines.collect(),
        dns: lan.six.dns.clone(),
    })
}

fn addresses(lan: &Lan) -> Vec<(Ipv6Addr, Span)> {
    let of_machines = lan.machines.iter().filter_map(|one| one.address6.as_ref());
    let mut all: Vec<_> = of_machines.map(|one| (one.value, one.span)).collect();
    all.extend(lan.six.range.iter().flat_map(|range| {
        let Range6 { first, last, .. } = range.value;
        [(first, range.span), (last, range.span)]
    }));
    all
}

pub(super) fn wrong(lan: &Lan) -> Vec<Diagnostic> {
    let mut wrong: Vec<Diagnostic> = crowded(&lan.six, lan).into_iter().collect();
    let Some(network) = &lan.six.network else {
        // Reports the first IPv6 address of the section, unless a `network6` line was refused: that
        // line has its own error.
        let first = addresses(lan).into_iter().next();
        let first = first.filter(|_| !lan.given.has("network6"));
        wrong.extend(first.map(|(_, span)| {
            let told = "an IPv6 address in a section without 'network6'";
            let told = Diagnostic::error(&codes::OUTSIDE, span, told);
            told.help("add `network6 ADDRESS/PREFIX`, such as `network6 fd00:20::/64`")
        }));
        return wrong;
    };
    let outside = addresses(lan).into_iter();
    let outside = outside.filter(|(address, _)| !network.value.may_have(*address));
    wrong.extend(outside.map(|(address, span)| {
        let told = format!(
            "no machine of the network {} can have {address}",
            network.value
        );
        Diagnostic::error(&codes::OUTSIDE, span, told)
            .label("outside of the network, or its first address")
            .with_label(network.span, "the network is given here")
    }));
    wrong
}

fn crowded(six: &Ipv6Lines, lan: &Lan) -> Option<Diagnostic> {
    let Spanned { value: range, span } = six.range.as_ref()?;
    let within = |address: Ipv6Addr| (range.first..=range.last).contains(&address);
    let taken = lan.machines.iter().filter_map(|one| one.address6.as_ref());
    let taken = taken.filter(|address| within(address.value)).count();
    let count = range.last.to_bits() - range.first.to_bits() + 1;
    (taken as u128 >= count).then(|| {
        let told = format!("machines with an address take all {count} addresses of the range");
        Diagnostic::error(&codes::CROWDED, *span, told)
    })
}

pub(super) fn not_here(lan: &Lan, interfaces: &[Interface]) -> Vec<Diagnostic> {
    let all = interfaces.iter().flat_map(|one| &one.addresses);
    let own: Vec<IpAddr> = all.map(|(address, _)| *address).collect();
    let of_machines = lan.machines.iter().filter_map(|one| one.address6.as_ref());
    let taken = of_machines.filter(|address| own.contains(&address.value.into()));
    let mut wrong: Vec<Diagnostic> = taken
        .map(|address| {
            let told = format!("{} is an address of this node", address.value);
            let told = Diagnostic::error(&codes::ADDRESS_TWICE, address.span, told);
            told.label("no machine can have it, too")
        })
        .collect();
    let (Some(name), Some(network)) = (&lan.network.interface, &lan.six.network) else {
        return wrong;
    };
    let Some(interface) = interfaces.iter().find(|one| one.name == name.value) else {
        return wrong;
    };
    let is_in = |address: &IpAddr| match address {
        IpAddr::V6(address) => network.value.has(*address),
        IpAddr::V4(_) => false,
    };
    if !interface
        .addresses
        .iter()
        .any(|(address, _)| is_in(address))
    {
        let told = format!(
            "interface '{}' has no address of {}",
            name.value, network.value
        );
        let told = Diagnostic::warning(&codes::NO_INTERFACE, network.span, told);
        wrong.push(told.label("over IPv6 only relays are answered there until it has one"));
    }
    wrong
}

pub(super) static LINES: &[Keyword<BootLineBuilder>] = language::rows! {
    "network6 <address>/<prefix>" &["boot"], network6, "network6 fd00:20::/64",
        "The IPv6 network of the machines, with a prefix from 32 to 120. With it, the node advertises that addresses \
         come by DHCPv6 (RFC 4861: flags M and O, and no router), and answers machines over IPv6 as over IPv4: DHCPv6 \
         (RFC 8415), TFTP and HTTP. Without it, nothing is answered over IPv6. The node needs an address of the \
         network on the interface, which is the server's. Requests of a relay belong to the section with the network \
         of the relay's link address.";
    "range6 <first> <last> [lease <time>]" &["boot"], range6,
        "range6 fd00:20::1000 fd00:20::1fff lease 12h",
        "The IPv6 addresses for machines without an `address6` of their own, at most 65,536, and how long such a \
         machine may use one: 2 minutes to 24 days, `12h` by default. The nodes of a cluster share it as they share \
         `range`. Without it, only machines with an `address6` get an IPv6 address.";
};
