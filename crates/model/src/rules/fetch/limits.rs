//! Fetches of the effective timeouts of a stream, set by its proxies and by rules, and of
//! its position in queues.

use super::{FetchRow, number};
use crate::rules::argument::Arguments;
use crate::rules::usage::Needs;
use crate::rules::value::SampleValue;
use crate::transaction::ProxyStream;

macro_rules! limits {
    ($($name:literal $needs:expr, $find:expr, $example:literal, $doc:literal;)*) => {
        rows! {
            $($name, number($needs, |_, stream| {
                let find: fn(&ProxyStream) -> Option<u32> = $find;
                Some(SampleValue::Int(find(stream).unwrap_or(0).into()))
            }), $example, $doc;)*
            "prio_class", number(Needs::Nothing, class), "acl first prio_class lt 0",
                "The queue class of the stream, from `set-priority-class`.";
            "prio_offset", number(Needs::Nothing, offset), "acl late prio_offset gt 0",
                "The queue offset of the stream in milliseconds, from `set-priority-offset`.";
        }
    };
}

pub(super) static ROWS: &[FetchRow] = limits! {
    "cur_client_timeout" Needs::Nothing, ProxyStream::client_ms, "acl short cur_client_timeout lt 5000",
        "The current client timeout in milliseconds: `timeout client`, or `set-timeout client`.";
    "cur_server_timeout" Needs::Backend, ProxyStream::server_ms, "acl short cur_server_timeout lt 5000",
        "The current server timeout in milliseconds: `timeout server`, or `set-timeout server`.";
    "cur_tunnel_timeout" Needs::Backend, ProxyStream::tunnel_ms, "acl short cur_tunnel_timeout lt 5000",
        "The current tunnel timeout in milliseconds: `timeout tunnel`, or `set-timeout tunnel`.";
    "cur_connect_timeout" Needs::Backend, ProxyStream::connect_ms, "acl short cur_connect_timeout lt 5000",
        "The current connect timeout in milliseconds: `timeout connect`, or `set-timeout connect`.";
    "cur_queue_timeout" Needs::Backend, ProxyStream::queue_ms, "acl short cur_queue_timeout lt 5000",
        "The current queue timeout in milliseconds: `timeout queue`, or `set-timeout queue`.";
    "cur_tarpit_timeout" Needs::Nothing, ProxyStream::tarpit_ms, "acl short cur_tarpit_timeout lt 5000",
        "The current tarpit timeout in milliseconds: `timeout tarpit`, or `set-timeout tarpit`.";
};

fn class<'a>(_: &'a Arguments, stream: &'a ProxyStream) -> Option<SampleValue<'a>> {
    Some(SampleValue::Int(stream.rules.priority().class.into()))
}

fn offset<'a>(_: &'a Arguments, stream: &'a ProxyStream) -> Option<SampleValue<'a>> {
    Some(SampleValue::Int(stream.rules.priority().offset_ms.into()))
}
