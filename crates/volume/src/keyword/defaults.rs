//! Parses the section `volume-defaults`: settings that all volumes share.

use super::section::ParsedSections;
use super::{VolumeLineBuilder, codes};
use crate::config::{WithoutMajority, parse_size};
use crate::link::PORT;
use crate::link::dial::ReplicationLink;
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::{ConfigLine, Diagnostic, Span, Spanned};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const RATE_MIN: u64 = 1 << 20;
const RATE_MAX: u64 = 100 << 30;

#[derive(Debug, Default)]
pub(super) struct Defaults {
    begun: Option<Span>,
    pub(super) link: Option<Spanned<ReplicationLink>>,
    pub(super) resync_rate: Option<Spanned<u64>>,
    pub(super) without_majority: Option<Spanned<WithoutMajority>>,
    pub(super) verify: Option<Spanned<bool>>,
}

pub(super) fn begin(draft: &mut ParsedSections, head: &ConfigLine) -> Built {
    draft.in_defaults = true;
    let of = &codes::OF_ARGUMENTS;
    let mut args = Args::new(head, 1, "volume-defaults", "volume-defaults", of);
    args.end()?;
    if let Some(first) = draft.defaults.begun {
        let told = "duplicate 'volume-defaults' section";
        let code = &codes::TWICE;
        return Err(Diagnostic::error(code, head.span, told).duplicate_of(first));
    }
    draft.defaults.begun = Some(head.span);
    Ok(())
}

fn link(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    if let Some(first) = &draft.defaults.link {
        return Err(args.duplicate_keyword(&codes::TWICE, first.span));
    }
    let first = args.required("a network of two addresses, the two addresses, or `nodes`")?;
    let first_str = first.str();
    let ends = match first_str.parse::<IpAddr>() {
        Err(_) if first_str == "nodes" => None,
        Ok(one) => {
            let second = args.required("the address of the other node")?;
            let other = second.str().parse::<IpAddr>();
            let other = other.map_err(|_| args.unexpected_value(second, "not an address"))?;
            if one == other || one.is_ipv4() != other.is_ipv4() {
                let told = "not another address of the same family";
                return Err(args.unexpected_value(second, told));
            }
            Some([one, other])
        }
        Err(_) => Some(ends(first_str).ok_or_else(|| {
            let told = "not a network of two addresses (/30 or /31; /126 or /127), and not an \
                        address: write `10.99.0.0/30`, the two addresses, or `nodes`";
            args.unexpected_value(first, told)
        })?),
    };
    let mut port = PORT;
    let mut is_plain = false;
    while let Some(word) = args.peek() {
        args.required("an option")?;
        match word.str() {
            "plain" => is_plain = true,
            "port" => {
                let number = args.required("a port")?;
                let parsed = number.str().parse::<u16>().ok().filter(|port| *port > 0);
                port = parsed.ok_or_else(|| args.unexpected_value(number, "not a port"))?;
            }
            _ => return Err(args.unexpected_value(word, "not `plain` or `port`")),
        }
    }
    if is_plain && ends.is_none() {
        let told = "'link nodes plain' would send data over the network in the clear";
        let told = Diagnostic::error(&codes::LINK, span, told);
        return Err(told.label("everybody on that network could read and change it").help(
            "remove `plain`, or name the network of a cable between both machines: `link 10.99.0.0/30 plain`",
        ));
    }
    let value = ReplicationLink {
        ends,
        port,
        is_plain,
    };
    draft.defaults.link = Some(Spanned { value, span });
    Ok(())
}

/// Returns both addresses of a network that has exactly two; None for any other network.
fn ends(network: &str) -> Option<[IpAddr; 2]> {
    let (address, length) = network.split_once('/')?;
    let length: u8 = length.parse().ok()?;
    let first = |bits: u8| u32::from(bits == 2);
    match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => {
            let bits = 32_u8
                .checked_sub(length)
                .filter(|bits| (1..=2).contains(bits))?;
            let base = (u32::from(address) >> bits << bits) + first(bits);
            Some([base, base + 1].map(|one| Ipv4Addr::from(one).into()))
        }
        IpAddr::V6(address) => {
            let bits = 128_u8
                .checked_sub(length)
                .filter(|bits| (1..=2).contains(bits))?;
            let base = (u128::from(address) >> bits << bits) + u128::from(first(bits));
            Some([base, base + 1].map(|one| Ipv6Addr::from(one).into()))
        }
    }
}

fn resync_rate(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    if let Some(first) = &draft.defaults.resync_rate {
        return Err(args.duplicate_keyword(&codes::TWICE, first.span));
    }
    let word = args.required("bytes a second")?;
    args.end()?;
    let rate = parse_size(word.str());
    let Some(value) = rate.filter(|rate| (RATE_MIN..=RATE_MAX).contains(rate)) else {
        return Err(args.unexpected_value(word, "not between 1m and 100g"));
    };
    let span = word.span;
    draft.defaults.resync_rate = Some(Spanned { value, span });
    Ok(())
}

pub(super) static LINES: &[Keyword<VolumeLineBuilder>] = language::rows! {
    "link { <network> | <address> <address> | nodes } [port <number>] [plain]" &["volume-defaults"],
        link,
        "link 10.99.0.0/30 plain",
        "Where the two nodes reach each other for their copies: a network with two addresses (/30 or /31, /126 or \
         /127), the addresses themselves, or `nodes`, which means the addresses by which the cluster reaches the \
         nodes, and is the default. Each node recognises its own. One connection for each volume, at TCP port 7444 of \
         the node whose name comes last. Connections use TLS 1.3 with certificates of the cluster's CA on both sides, \
         which nodes get and renew by themselves. With `plain` there is no TLS, and everybody who reaches that port \
         can read and change data: only for a cable between both machines, where it saves CPU time.";
    "resync-rate <size>" &["volume-defaults"], resync_rate, "resync-rate 100m",
        "How many bytes a second a resync compares or copies at most, from 1m to 100g; the default is 200m. It is also \
         the rate at which missing checksums (`verify yes`) are built. While client requests are in progress, at most \
         one resync request is in progress.";
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_two_has_these_ends() {
        for (network, expected) in [
            ("10.99.0.0/30", Some(["10.99.0.1", "10.99.0.2"])),
            ("10.99.0.6/30", Some(["10.99.0.5", "10.99.0.6"])),
            ("10.99.0.4/31", Some(["10.99.0.4", "10.99.0.5"])),
            ("fd00::/126", Some(["fd00::1", "fd00::2"])),
            ("fd00::8/127", Some(["fd00::8", "fd00::9"])),
            ("10.99.0.0/24", None),
            ("10.99.0.0/32", None),
            ("10.99.0.0/33", None),
            ("10.99.0.0", None),
            ("x/30", None),
        ] {
            let expected = expected.map(|ends| ends.map(|one| one.parse().unwrap()));
            assert_eq!(ends(network), expected, "{network}");
        }
    }
}
