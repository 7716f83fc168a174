//! Implements the converters of addresses, and of hosts with ports.

use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{ArgumentKind, Arguments};
use crate::rules::value::{Sample, SampleValue, Type, leading_integer};
use crate::transaction::ProxyStream;
use std::borrow::Cow;
use std::net::Ipv6Addr;

pub(super) static ROWS: &[ConverterRow] = rows! {
    "ipmask(<mask>[,<IPv6 mask>])", ConverterBuild::new(Type::Address, Type::Address, mask).takes(&[ArgumentKind::Mask4, ArgumentKind::Mask6], 1),
        "acl net src,ipmask(24) 192.0.2.0",
        "Applies a network mask to an address: the first mask to IPv4, the second one to IPv6. Without the second \
         one, IPv6 addresses have no value.";
    "host_only", ConverterBuild::new(Type::Str, Type::Str, host), "acl shop hdr(host),host_only shop.example.com",
        "Returns the host of a Host header, without the port and in lower case. The brackets of an IPv6 address are \
         kept.";
    "port_only", ConverterBuild::new(Type::Str, Type::Int, port), "acl alternative hdr(host),port_only 8080",
        "Returns the port of a Host header; 0 without one.";
};

fn mask<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let masked_v4 = |ip: std::net::Ipv4Addr| {
        let mask = u32::from(arguments.ipv4(0)?);
        Some(SampleValue::Ipv4((u32::from(ip) & mask).into()))
    };
    match value {
        SampleValue::Ipv4(ip) => masked_v4(ip),
        SampleValue::Ipv6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => masked_v4(ip),
            None => {
                let mask = u128::from(arguments.ipv6(1)?);
                Some(SampleValue::Ipv6(Ipv6Addr::from(u128::from(ip) & mask)))
            }
        },
        _ => None,
    }
}

/// Returns the offset of the colon before the port: the last one, unless it is within the brackets
/// of an address.
fn colon(text: &[u8]) -> Option<usize> {
    let colon = memchr::memrchr(b':', text)?;
    let bracket = memchr::memrchr(b']', text);
    bracket
        .is_none_or(|bracket| bracket < colon)
        .then_some(colon)
}

fn host<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let text = value.into_text();
    let end = colon(&text).unwrap_or(text.len());
    let mut host = match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    };
    if host.iter().any(u8::is_ascii_uppercase) {
        host.to_mut().make_ascii_lowercase();
    }
    Some(SampleValue::Str(host))
}

fn port<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let text = value.into_text();
    Some(SampleValue::Int(
        colon(&text).map_or(0, |at| leading_integer(&text[at + 1..])),
    ))
}
