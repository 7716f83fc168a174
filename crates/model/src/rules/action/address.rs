//! Implements the actions that change the addresses that rules, logs and servers see.

use super::{ActionResult, ActionRow, Build, BuiltAction, RuleAction, places};
use crate::compiled::action::address::{AddressChange, What};
use crate::rules::draft::ConfigDraft;
use crate::rules::value::{SampleValue, Type};
use crate::transaction::{Endpoint, ProxyStream};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const PLACES: &[&str] = &[
    places::CONNECTION,
    places::SESSION,
    places::CONTENT,
    places::REQUEST,
];

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "set-src <expr>" PLACES, |loader, rule| build(loader, rule, What::Source),
        "set-src src,ipmask(24)",
        "Changes the client's address for later rules, logs, `option forwardfor` and PROXY headers. Use it to \
         anonymise an address, or to read it from a header of a trusted proxy.";
    "set-src-port <expr>" PLACES, |loader, rule| build(loader, rule, What::SourcePort),
        "set-src-port int(4000)",
        "Changes the client's port. If the client has no address, it becomes 0.0.0.0.";
    "set-dst <expr>" PLACES, |loader, rule| build(loader, rule, What::Destination),
        "set-dst dst,ipmask(24)",
        "Changes the destination address of the client's connection for rules, logs and PROXY headers.";
    "set-dst-port <expr>" PLACES, |loader, rule| build(loader, rule, What::DestinationPort),
        "set-dst-port int(4000)",
        "Changes the destination port of the client's connection. It is used for servers without a port.";
};

fn build(loader: &mut ConfigDraft, build: &mut Build<'_, '_>, what: What) -> BuiltAction {
    let expression = build.expression(loader)?;
    Ok(RuleAction::Address(Box::new(AddressChange {
        what,
        expression,
    })))
}

impl AddressChange {
    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        let old = match self.what {
            What::Source | What::SourcePort => stream.source(),
            What::Destination | What::DestinationPort => stream.destination(),
        };
        let (ip, port) = (
            old.ip().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            old.port().unwrap_or(0),
        );
        let Some(value) = self.expression.evaluate(stream) else {
            return ActionResult::Next;
        };
        let new = match self.what {
            What::Source | What::Destination => match value.cast(Type::Address) {
                Some(SampleValue::Ipv4(v4)) => SocketAddr::new(v4.into(), port),
                Some(SampleValue::Ipv6(v6)) => SocketAddr::new(v6.into(), port),
                _ => return ActionResult::Next,
            },
            What::SourcePort | What::DestinationPort => {
                let Some(number) = value.integer() else {
                    return ActionResult::Next;
                };
                // Truncates a number that is too large to its lower 16 bits, as HAProxy does.
                SocketAddr::new(ip, number as u16)
            }
        };
        let slot = match self.what {
            What::Source | What::SourcePort => &mut stream.links.source,
            What::Destination | What::DestinationPort => &mut stream.links.destination,
        };
        *slot = Some(Endpoint::Inet(new));
        ActionResult::Next
    }
}
