//! Parses the rule lines of `virtual_rules` and `static_rules`, which have the syntax of `ip rule`.

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

/// Parses an option and its values from the words of a rule line into the draft.
pub(in crate::dialect) type Build = fn(&mut Loader<'_>, &mut WordIterator<'_>, &mut RuleDraft);

type Row = Keyword<Build>;

const RULES: &[&str] = &["virtual_rules", "static_rules"];

pub(in crate::dialect) static OPTIONS: &[Row] = language::rows! {
    "not" RULES, |_, _, d| d.rule.invert = true, "not from 192.0.2.0/24 table 100 preference 100",
        "Inverts the match of the rule.";
    "from <network>" RULES, |l, w, d| d.rule.from = prefix(l, w),
        "from 192.0.2.0/24 table 100 preference 100",
        "Source network; `all` matches every address.";
    "to <network>" RULES, |l, w, d| d.rule.to = prefix(l, w),
        "to 192.0.2.0/24 table 100 preference 100", "Destination network.";
    "iif <interface>" RULES, input, "iif eth0 table 100 preference 100", "Input interface.";
    "dev <interface>" RULES, input, "dev eth0 table 100 preference 100", "Same as `iif`.";
    "oif <interface>" RULES, |l, w, d| d.rule.output = w.value(l).map(|v| v.text.clone()),
        "oif eth0 table 100 preference 100", "Output interface, for packets of this machine.";
    "tos <number or name>" RULES, tos, "from all tos 0x10 table 100 preference 100",
        "Type of service.";
    "dsfield <number or name>" RULES, tos, "from all dsfield 0x10 table 100 preference 100",
        "Same as `tos`.";
    "fwmark <mark>[/<mask>]" RULES, mark, "fwmark 3/7 table 100 preference 100",
        "Mark of the packets.";
    "preference <number>" RULES, preference, "from 192.0.2.0/24 table 100 preference 100",
        "Position of the rule; lower numbers are evaluated first. Without it the kernel chooses, which is rarely \
         intended.";
    "priority <number>" RULES, preference, "from 192.0.2.0/24 table 100 priority 100",
        "Same as `preference`.";
    "order <number>" RULES, preference, "from 192.0.2.0/24 table 100 order 100",
        "Same as `preference`.";
    "pref <number>" RULES, preference, "from 192.0.2.0/24 table 100 pref 100",
        "Same as `preference`.";
    "table <number or name>" RULES, table, "from 192.0.2.0/24 table 100 preference 100",
        "Routing table to look up.";
    "lookup <number or name>" RULES, table, "from 192.0.2.0/24 lookup main preference 100",
        "Same as `table`.";
    "goto <preference>" RULES,
        |l, w, d| {
            let value = w.value(l).and_then(|v| l.small(v, 1..=i64::from(u32::MAX)));
            d.action = value.map(RuleAction::Goto);
        },
        "from 192.0.2.0/24 goto 200 preference 100",
        "Continues with the rule of this preference.";
    "nop" RULES, |_, _, d| d.action = Some(RuleAction::Nop), "from 192.0.2.0/24 nop preference 100",
        "Does nothing.";
    "blackhole" RULES, |_, _, d| d.action = Some(RuleAction::Blackhole),
        "from 192.0.2.0/24 blackhole preference 100", "Drops the packets.";
    "unreachable" RULES, |_, _, d| d.action = Some(RuleAction::Unreachable),
        "from 192.0.2.0/24 unreachable preference 100",
        "Rejects the packets with \"network unreachable\".";
    "prohibit" RULES, |_, _, d| d.action = Some(RuleAction::Prohibit),
        "from 192.0.2.0/24 prohibit preference 100", "Rejects the packets with \"prohibited\".";
    "l3mdev" RULES, |_, _, d| d.action = Some(RuleAction::L3mdev),
        "from 192.0.2.0/24 l3mdev preference 100",
        "Looks up the routing table of the packet's VRF.";
    "realms <number>" RULES, |l, w, d| d.rule.realms = w.value(l).and_then(|v| realms(l, v)),
        "from 192.0.2.0/24 table 100 realms 1/2 preference 100",
        "Realms of the packets, `FROM/TO` or `TO`.";
    "suppress_prefixlength <number>" RULES,
        |l, w, d| d.rule.suppress_prefix = w.value(l).and_then(|v| l.small(v, 0..=128)),
        "from all table main suppress_prefixlength 0 preference 100",
        "Ignores routes with a prefix of this length or shorter.";
    "suppress_ifgroup <group>" RULES,
        |l, w, d| d.rule.suppress_group = w.value(l).and_then(|v| l.named(v, &GROUP)),
        "from all table main suppress_ifgroup 1 preference 100",
        "Ignores routes through interfaces of this group.";
    "uidrange <from>-<to>" RULES,
        |l, w, d| d.rule.uids = w.value(l).and_then(|v| range(l, v, u32::MAX)),
        "from all uidrange 1000-1999 table 100 preference 100", "Users whose packets match.";
    "ip_proto <number or name>" RULES, ip_protocol, "from all ip_proto udp table 100 preference 100",
        "Protocol of the packets.";
    "ipproto <number or name>" RULES, ip_protocol, "from all ipproto udp table 100 preference 100",
        "Same as `ip_proto`.";
    "sport <port>[-<port>]" RULES,
        |l, w, d| d.rule.source_ports = w.value(l).and_then(|v| ports(l, v)),
        "from all ip_proto tcp sport 10-20 table 100 preference 100", "Source ports.";
    "dport <port>[-<port>]" RULES,
        |l, w, d| d.rule.destination_ports = w.value(l).and_then(|v| ports(l, v)),
        "from all ip_proto tcp dport 80 table 100 preference 100", "Destination ports.";
    "tun_id <number>" RULES,
        |l, w, d| {
            let value = w.value(l).and_then(|v| l.number(v, 0..=i64::MAX));
            d.rule.tunnel = value.and_then(|v| u64::try_from(v).ok());
        },
        "from all tun_id 5 table 100 preference 100",
        "Tunnel id of the packets.";
    "protocol <number or name>" RULES,
        |l, w, d| d.rule.made_by = w.value(l).and_then(|v| l.named_as(v, &PROTOCOL)),
        "from 192.0.2.0/24 table 100 protocol 12 preference 100",
        "Originating routing protocol of the rule.";
    "inet6" RULES, |_, _, d| d.family = Some(true), "inet6 iif eth0 table 100 preference 100",
        "Makes the rule IPv6, if its addresses do not.";
    "inet" RULES, |_, _, d| d.family = Some(false), "inet iif eth0 table 100 preference 100",
        "Makes the rule IPv4, if its addresses do not.";
    "no_track" RULES, |_, _, d| d.rule.no_track = true,
        "from 192.0.2.0/24 table 100 preference 100 no_track",
        "Ignores the removal of the rule by other programs.";
    "track_group <name>" &["static_rules"], |l, w, d| d.rule.track_group = track_group(l, w),
        "from 192.0.2.0/24 table 100 preference 100",
        "The instances of this group enter FAULT when the rule is removed.";
};

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
