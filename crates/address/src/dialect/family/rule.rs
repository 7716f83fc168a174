//! Rule lines of `virtual_rules` and `static_rules`, with the syntax of `ip rule`.

use super::address::{WordIterator, find, track_group, unknown};
use super::draft::At;
use super::route::{network, realms};
use super::tables::{GROUP, IP_PROTOCOL, PROTOCOL, TABLE, TOS, plain};
use crate::codes;
use crate::config::{Rule, RuleAction};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use crate::dialect::words::SourceWord;
use language::keyword::Keyword;

/// A rule while its line is parsed.
#[derive(Default)]
pub(in crate::dialect) struct RuleDraft {
    rule: Rule,
    action: Option<RuleAction>,
    family: Option<bool>,
}

/// Parses a word of a rule line into the rule.
pub(in crate::dialect) type Build = fn(&mut Loader<'_>, &mut WordIterator<'_>, &mut RuleDraft);

type Row = Keyword<Build>;

const ALL: &[&str] = &["virtual_rules", "static_rules"];

const fn row(syntax: &'static str, doc: &'static str, example: &'static str, build: Build) -> Row {
    Row {
        places: ALL,
        syntax,
        doc,
        example,
        build,
    }
}

pub(in crate::dialect) static OPTIONS: &[Row] = &[
    row(
        "not",
        "Inverts the match of the rule.",
        "not from 192.0.2.0/24 table 100 preference 100",
        |_, _, d| d.rule.invert = true,
    ),
    row(
        "from <network>",
        "Source network; `all` matches every address.",
        "from 192.0.2.0/24 table 100 preference 100",
        |l, w, d| {
            d.rule.from = prefix(l, w);
        },
    ),
    row(
        "to <network>",
        "Destination network.",
        "to 192.0.2.0/24 table 100 preference 100",
        |l, w, d| {
            d.rule.to = prefix(l, w);
        },
    ),
    row(
        "iif <interface>",
        "Input interface.",
        "iif eth0 table 100 preference 100",
        input,
    ),
    row(
        "dev <interface>",
        "Same as `iif`.",
        "dev eth0 table 100 preference 100",
        input,
    ),
    row(
        "oif <interface>",
        "Output interface, for packets of this machine.",
        "oif eth0 table 100 preference 100",
        |l, w, d| {
            d.rule.output = w.value(l).map(|v| v.text.clone());
        },
    ),
    row(
        "tos <number or name>",
        "Type of service.",
        "from all tos 0x10 table 100 preference 100",
        tos,
    ),
    row(
        "dsfield <number or name>",
        "Same as `tos`.",
        "from all dsfield 0x10 table 100 preference 100",
        tos,
    ),
    row(
        "fwmark <mark>[/<mask>]",
        "Mark of the packets.",
        "fwmark 3/7 table 100 preference 100",
        mark,
    ),
    row(
        "preference <number>",
        "Position of the rule; lower numbers are evaluated first. Without it the kernel chooses, which is rarely \
         intended.",
        "from 192.0.2.0/24 table 100 preference 100",
        preference,
    ),
    row(
        "priority <number>",
        "Same as `preference`.",
        "from 192.0.2.0/24 table 100 priority 100",
        preference,
    ),
    row(
        "order <number>",
        "Same as `preference`.",
        "from 192.0.2.0/24 table 100 order 100",
        preference,
    ),
    row(
        "pref <number>",
        "Same as `preference`.",
        "from 192.0.2.0/24 table 100 pref 100",
        preference,
    ),
    row(
        "table <number or name>",
        "Routing table to look up.",
        "from 192.0.2.0/24 table 100 preference 100",
        table,
    ),
    row(
        "lookup <number or name>",
        "Same as `table`.",
        "from 192.0.2.0/24 lookup main preference 100",
        table,
    ),
    row(
        "goto <preference>",
        "Continues with the rule of this preference.",
        "from 192.0.2.0/24 goto 200 preference 100",
        |l, w, d| {
            let value = w.value(l).and_then(|v| l.small(v, 1..=i64::from(u32::MAX)));
            d.action = value.map(RuleAction::Goto);
        },
    ),
    row(
        "nop",
        "Does nothing.",
        "from 192.0.2.0/24 nop preference 100",
        |_, _, d| d.action = Some(RuleAction::Nop),
    ),
    row(
        "blackhole",
        "Drops the packets.",
        "from 192.0.2.0/24 blackhole preference 100",
        |_, _, d| d.action = Some(RuleAction::Blackhole),
    ),
    row(
        "unreachable",
        "Rejects the packets with \"network unreachable\".",
        "from 192.0.2.0/24 unreachable preference 100",
        |_, _, d| d.action = Some(RuleAction::Unreachable),
    ),
    row(
        "prohibit",
        "Rejects the packets with \"prohibited\".",
        "from 192.0.2.0/24 prohibit preference 100",
        |_, _, d| d.action = Some(RuleAction::Prohibit),
    ),
    row(
        "l3mdev",
        "Looks up the routing table of the packet's VRF.",
        "from 192.0.2.0/24 l3mdev preference 100",
        |_, _, d| d.action = Some(RuleAction::L3mdev),
    ),
    row(
        "realms <number>",
        "Realms of the packets, `FROM/TO` or `TO`.",
        "from 192.0.2.0/24 table 100 realms 1/2 preference 100",
        |l, w, d| {
            d.rule.realms = w.value(l).and_then(|v| realms(l, v));
        },
    ),
    row(
        "suppress_prefixlength <number>",
        "Ignores routes with a prefix of this length or shorter.",
        "from all table main suppress_prefixlength 0 preference 100",
        |l, w, d| {
            d.rule.suppress_prefix = w.value(l).and_then(|v| l.small(v, 0..=128));
        },
    ),
    row(
        "suppress_ifgroup <group>",
        "Ignores routes through interfaces of this group.",
        "from all table main suppress_ifgroup 1 preference 100",
        |l, w, d| {
            d.rule.suppress_group = w.value(l).and_then(|v| l.named(v, &GROUP));
        },
    ),
    row(
        "uidrange <from>-<to>",
        "Users whose packets match.",
        "from all uidrange 1000-1999 table 100 preference 100",
        |l, w, d| {
            d.rule.uids = w.value(l).and_then(|v| range(l, v, u32::MAX));
        },
    ),
    row(
        "ip_proto <number or name>",
        "Protocol of the packets.",
        "from all ip_proto udp table 100 preference 100",
        ip_protocol,
    ),
    row(
        "ipproto <number or name>",
        "Same as `ip_proto`.",
        "from all ipproto udp table 100 preference 100",
        ip_protocol,
    ),
    row(
        "sport <port>[-<port>]",
        "Source ports.",
        "from all ip_proto tcp sport 10-20 table 100 preference 100",
        |l, w, d| {
            d.rule.source_ports = w.value(l).and_then(|v| ports(l, v));
        },
    ),
    row(
        "dport <port>[-<port>]",
        "Destination ports.",
        "from all ip_proto tcp dport 80 table 100 preference 100",
        |l, w, d| {
            d.rule.destination_ports = w.value(l).and_then(|v| ports(l, v));
        },
    ),
    row(
        "tun_id <number>",
        "Tunnel id of the packets.",
        "from all tun_id 5 table 100 preference 100",
        |l, w, d| {
            let value = w.value(l).and_then(|v| l.number(v, 0..=i64::MAX));
            d.rule.tunnel = value.and_then(|v| u64::try_from(v).ok());
        },
    ),
    row(
        "protocol <number or name>",
        "Originating routing protocol of the rule.",
        "from 192.0.2.0/24 table 100 protocol 12 preference 100",
        |l, w, d| {
            d.rule.made_by = w.value(l).and_then(|v| l.named_as(v, &PROTOCOL));
        },
    ),
    row(
        "inet6",
        "Makes the rule IPv6, if its addresses do not.",
        "inet6 iif eth0 table 100 preference 100",
        |_, _, d| d.family = Some(true),
    ),
    row(
        "inet",
        "Makes the rule IPv4, if its addresses do not.",
        "inet iif eth0 table 100 preference 100",
        |_, _, d| d.family = Some(false),
    ),
    row(
        "no_track",
        "Ignores the removal of the rule by other programs.",
        "from 192.0.2.0/24 table 100 preference 100 no_track",
        |_, _, d| d.rule.no_track = true,
    ),
    Row {
        places: &["static_rules"],
        syntax: "track_group <name>",
        doc: "The instances of this group enter FAULT when the rule is removed.",
        example: "from 192.0.2.0/24 table 100 preference 100",
        build: |l, w, d| {
            d.rule.track_group = track_group(l, w);
        },
    },
];

/// Parses the rule of a line in the block `place`.
pub(super) fn read(l: &mut Loader<'_>, line: &ConfigStatement, place: &str) -> Option<At<Rule>> {
    let span = line.whole();
    let text: Vec<&str> = line.words.iter().map(|w| w.text.as_str()).collect();
    let mut draft = RuleDraft::default();
    draft.rule.text = text.join(" ");
    let mut words = WordIterator::new(&line.words);
    while let Some(word) = words.next() {
        let Some(row) = find(OPTIONS, word, place) else {
            unknown(l, OPTIONS, word, place, "a rule");
            return None;
        };
        (row.build)(l, &mut words, &mut draft);
    }
    let RuleDraft {
        mut rule,
        action,
        family,
    } = draft;
    let addresses = rule.from.iter().chain(&rule.to).map(|(a, _)| a.is_ipv6());
    let families: Vec<bool> = addresses.chain(family).collect();
    if families.iter().any(|f| *f) && families.iter().any(|f| !*f) {
        let message = "the addresses of this rule are of different families";
        l.error(&codes::BAD_ADDRESS, span, message);
        return None;
    }
    rule.ipv6 = families.first().copied().unwrap_or(false);
    let Some(action) = action else {
        let message = "this rule has no effect: it has neither 'table' nor another action";
        l.error(&codes::MISSING_VALUE, span, message);
        return None;
    };
    rule.action = action;
    if let (RuleAction::Goto(to), Some(own)) = (&rule.action, rule.preference)
        && *to <= own
    {
        let message = format!("goto {to} points backwards: the rule's own preference is {own}");
        l.error(&codes::OUT_OF_RANGE, span, message);
    }
    Some(At { value: rule, span })
}

fn prefix(l: &mut Loader<'_>, words: &mut WordIterator<'_>) -> Option<(std::net::IpAddr, u8)> {
    let word = words.value(l)?;
    match word.text.as_str() {
        "all" | "any" | "default" => None,
        _ => network(l, word),
    }
}

fn input(l: &mut Loader<'_>, words: &mut WordIterator<'_>, d: &mut RuleDraft) {
    d.rule.input = words.value(l).map(|v| v.text.clone());
}

fn tos(l: &mut Loader<'_>, words: &mut WordIterator<'_>, d: &mut RuleDraft) {
    d.rule.tos = words.value(l).and_then(|v| l.named_as(v, &TOS));
}

fn preference(l: &mut Loader<'_>, words: &mut WordIterator<'_>, d: &mut RuleDraft) {
    d.rule.preference = words
        .value(l)
        .and_then(|v| l.small(v, 1..=i64::from(u32::MAX)));
}

fn table(l: &mut Loader<'_>, words: &mut WordIterator<'_>, d: &mut RuleDraft) {
    let value = words.value(l).and_then(|v| l.named(v, &TABLE));
    d.action = value.map(RuleAction::Table);
}

fn ip_protocol(l: &mut Loader<'_>, words: &mut WordIterator<'_>, d: &mut RuleDraft) {
    d.rule.protocol = words.value(l).and_then(|v| l.named_as(v, &IP_PROTOCOL));
}

fn mark(l: &mut Loader<'_>, words: &mut WordIterator<'_>, d: &mut RuleDraft) {
    let Some(word) = words.value(l) else { return };
    let (mark, mask) = word
        .text
        .split_once('/')
        .unwrap_or((&word.text, "0xffffffff"));
    d.rule.mark = plain(mark).zip(plain(mask));
    if d.rule.mark.is_none() {
        let message = format!("'{}' is not a mark with an optional mask", word.text);
        l.error(&codes::BAD_VALUE, word.span, message);
    }
}

fn range(l: &mut Loader<'_>, word: &SourceWord, most: u32) -> Option<(u32, u32)> {
    let (from, to) = word
        .text
        .split_once('-')
        .unwrap_or((&word.text, &word.text));
    let found = plain(from).zip(plain(to));
    let found = found.filter(|(from, to)| from <= to && *to <= most);
    if found.is_none() {
        let message = format!("'{}' is not a range of numbers up to {most}", word.text);
        l.error(&codes::BAD_VALUE, word.span, message);
    }
    found
}

fn ports(l: &mut Loader<'_>, word: &SourceWord) -> Option<(u16, u16)> {
    let (from, to) = range(l, word, 65535)?;
    Some((u16::try_from(from).ok()?, u16::try_from(to).ok()?))
}
