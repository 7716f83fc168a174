//! Adds, removes and lists routing rules, which select the routing table for a packet.

use super::message::{INET, INET6, Incoming, NetlinkMessage, flag, kind, text, u32_at};
use super::{Ack, Kernel, KernelError, MADE_BY, check_family};
use crate::config::{Rule, RuleAction};
use rustix::io::Errno;
use std::net::IpAddr;

/// Length of the kernel's `struct fib_rule_hdr`, bytes.
const BODY: usize = 12;
const INVERT: u32 = 2;

/// Types of netlink attributes of a rule, `FRA_*`.
mod attribute {
    pub const TO: u16 = 1;
    pub const FROM: u16 = 2;
    pub const INPUT: u16 = 3;
    pub const GOTO: u16 = 4;
    pub const PREFERENCE: u16 = 6;
    pub const MARK: u16 = 10;
    pub const REALMS: u16 = 11;
    pub const TUNNEL: u16 = 12;
    pub const SUPPRESS_GROUP: u16 = 13;
    pub const SUPPRESS_PREFIX: u16 = 14;
    pub const TABLE: u16 = 15;
    pub const MARK_MASK: u16 = 16;
    pub const OUTPUT: u16 = 17;
    pub const L3MDEV: u16 = 19;
    pub const UIDS: u16 = 20;
    pub const MADE_BY: u16 = 21;
    pub const PROTOCOL: u16 = 22;
    pub const SOURCE_PORTS: u16 = 23;
    pub const DESTINATION_PORTS: u16 = 24;
}

fn action(action: RuleAction) -> (u8, u32) {
    match action {
        RuleAction::Table(table) => (1, table),
        RuleAction::L3mdev => (1, 0),
        RuleAction::Goto(_) => (2, 0),
        RuleAction::Nop => (3, 0),
        RuleAction::Blackhole => (6, 0),
        RuleAction::Unreachable => (7, 0),
        RuleAction::Prohibit => (8, 0),
    }
}

fn pair<const N: usize>(a: [u8; N], b: [u8; N]) -> Vec<u8> {
    [a, b].concat()
}

fn message(rule: &Rule, kind: u16, flags: u16) -> NetlinkMessage {
    let (number, table) = action(rule.action);
    let length = |net: Option<(IpAddr, u8)>| net.map_or(0, |(_, prefix)| prefix);
    let mut body = [0; BODY];
    body[0] = if rule.ipv6 { INET6 } else { INET };
    body[1] = length(rule.to);
    body[2] = length(rule.from);
    body[3] = rule.tos.unwrap_or(0);
    body[4] = u8::try_from(table).unwrap_or(0);
    body[7] = number;
    let inverted = if rule.invert { INVERT } else { 0 };
    body[8..].copy_from_slice(&inverted.to_ne_bytes());
    let mut message = NetlinkMessage::new(kind, flag::REQUEST | flag::ACK | flags, &body);
    for (kind, net) in [(attribute::TO, rule.to), (attribute::FROM, rule.from)] {
        let net = net.filter(|(_, prefix)| *prefix > 0);
        message.optional(kind, net.map(|(net, _)| net), NetlinkMessage::address);
    }
    message.optional(
        attribute::INPUT,
        rule.input.as_deref(),
        NetlinkMessage::string,
    );
    message.optional(
        attribute::OUTPUT,
        rule.output.as_deref(),
        NetlinkMessage::string,
    );
    if let Some((mark, mask)) = rule.mark {
        message.u32(attribute::MARK, mark);
        message.u32(attribute::MARK_MASK, mask);
    }
    if table > 255 {
        message.u32(attribute::TABLE, table);
    }
    match rule.action {
        RuleAction::Goto(target) => message.u32(attribute::GOTO, target),
        RuleAction::L3mdev => message.u8(attribute::L3MDEV, 1),
        _ => {}
    }
    let numbers = [
        (attribute::PREFERENCE, rule.preference),
        (attribute::REALMS, rule.realms),
        (attribute::SUPPRESS_PREFIX, rule.suppress_prefix),
        (attribute::SUPPRESS_GROUP, rule.suppress_group),
    ];
    for (kind, value) in numbers {
        message.optional(kind, value, NetlinkMessage::u32);
    }
    if let Some((from, to)) = rule.uids {
        message.attribute(attribute::UIDS, &pair(from.to_ne_bytes(), to.to_ne_bytes()));
    }
    message.optional(attribute::PROTOCOL, rule.protocol, NetlinkMessage::u8);
    let ports = [
        (attribute::SOURCE_PORTS, rule.source_ports),
        (attribute::DESTINATION_PORTS, rule.destination_ports),
    ];
    for (kind, range) in ports {
        if let Some((from, to)) = range {
            message.attribute(kind, &pair(from.to_ne_bytes(), to.to_ne_bytes()));
        }
    }
    if let Some(tunnel) = rule.tunnel {
        message.attribute(attribute::TUNNEL, &tunnel.to_be_bytes());
    }
    message.u8(attribute::MADE_BY, rule.made_by.unwrap_or(MADE_BY));
    message
}

/// A rule as reported by the kernel, with the fields that are compared with configured rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleSeen {
    pub ipv6: bool,
    pub invert: bool,
    /// Preference (position in the list of rules).
    pub preference: u32,
    pub from: Option<(IpAddr, u8)>,
    pub to: Option<(IpAddr, u8)>,
    pub input: Option<String>,
    pub output: Option<String>,
    pub mark: Option<(u32, u32)>,
    /// Kernel's number of the action.
    pub action: u8,
    /// Table, or the preference of the target rule of a goto.
    pub target: u32,
    pub made_by: u8,
}

impl RuleSeen {
    /// Returns whether the fields of this rule equal those of a configured one.
    pub fn is(&self, rule: &Rule) -> bool {
        let (number, table) = action(rule.action);
        let target = match rule.action {
            RuleAction::Goto(to) => to,
            _ => table,
        };
        self.ipv6 == rule.ipv6
            && self.invert == rule.invert
            && rule.preference.is_none_or(|p| p == self.preference)
            && self.from == rule.from.filter(|(_, prefix)| *prefix > 0)
            && self.to == rule.to.filter(|(_, prefix)| *prefix > 0)
            && self.input == rule.input
            && self.output == rule.output
            && self.mark == rule.mark
            && (self.action, self.target) == (number, target)
            && self.made_by == rule.made_by.unwrap_or(MADE_BY)
    }

    /// Parses a message `RTM_NEWRULE` or `RTM_DELRULE`.
    pub(super) fn read(message: &Incoming<'_>) -> Option<RuleSeen> {
        let body = message.body;
        let ipv6 = message.is_ipv6()?;
        let attributes = message.attributes(BODY);
        let action = *body.get(7)?;
        let table = attributes
            .number(attribute::TABLE)
            .unwrap_or(u32::from(*body.get(4)?));
        Some(RuleSeen {
            ipv6,
            invert: u32_at(body, 8)? & INVERT != 0,
            preference: attributes.number(attribute::PREFERENCE).unwrap_or(0),
            from: attributes.network(attribute::FROM, *body.get(2)?),
            to: attributes.network(attribute::TO, *body.get(1)?),
            input: attributes.find(attribute::INPUT).map(text),
            output: attributes.find(attribute::OUTPUT).map(text),
            mark: attributes.number(attribute::MARK).map(|mark| {
                let mask = attributes.number(attribute::MARK_MASK);
                (mark, mask.unwrap_or(u32::MAX))
            }),
            action,
            target: attributes.number(attribute::GOTO).unwrap_or(table),
            made_by: attributes.made_by(attribute::MADE_BY),
        })
    }
}

impl Kernel {
    /// Adds rules in one batch; an existing rule is no error.
    pub fn add_rules(&mut self, rules: &[Rule]) -> Vec<Result<Ack, KernelError>> {
        let how = flag::CREATE | flag::EXCLUSIVE;
        let asks = rules
            .iter()
            .map(|rule| checked(rule, kind::NEW_RULE, how))
            .collect();
        Ack::of_all(self.send_those_made("add a rule", asks), &[Errno::EXIST])
    }

    /// Removes rules in one batch; a rule that is already gone is no error.
    pub fn remove_rules(&mut self, rules: &[Rule]) -> Vec<Result<Ack, KernelError>> {
        let asks = rules
            .iter()
            .map(|rule| checked(rule, kind::DELETE_RULE, 0))
            .collect();
        Ack::of_all(self.send_those_made("remove a rule", asks), &[Errno::NOENT])
    }

    /// Lists all IPv4 and IPv6 rules.
    ///
    /// # Errors
    /// As described at [`Kernel`].
    pub fn rules(&mut self) -> Result<Vec<RuleSeen>, KernelError> {
        self.socket.dump_of_families::<_, BODY>(
            "list rules",
            kind::GET_RULE,
            kind::NEW_RULE,
            RuleSeen::read,
        )
    }
}

fn checked(rule: &Rule, kind: u16, flags: u16) -> Result<NetlinkMessage, KernelError> {
    let addresses = [rule.from.map(|(from, _)| from), rule.to.map(|(to, _)| to)];
    check_family(addresses, rule.ipv6, "a rule has addresses of two families")?;
    for name in [&rule.input, &rule.output].into_iter().flatten() {
        super::link::good_name(name)?;
    }
    Ok(message(rule, kind, flags))
}
