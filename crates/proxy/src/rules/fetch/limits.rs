//! Fetches of the time limits that hold for a stream, by its proxies and by rules,
//! and of its place in queues.

use super::{FetchBuild, FetchRow};
use crate::rules::argument::Arguments;
use crate::rules::usage::Needs;
use crate::rules::value::{Type, Value};
use crate::stream::Stream;

const fn number(needs: Needs, one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Int, needs, one)
}

macro_rules! limits {
    ($($name:literal $needs:expr, $find:expr, $example:literal, $doc:literal;)*) => {
        rows! {
            $($name, $name, number($needs, |_, stream| {
                let find: fn(&Stream) -> Option<u32> = $find;
                Some(Value::Int(find(stream).unwrap_or(0).into()))
            }), $example, $doc;)*
            "prio_class", "prio_class", number(Needs::Nothing, class), "acl first prio_class lt 0",
                "The class of the stream in queues, as `set-priority-class` set it.";
            "prio_offset", "prio_offset", number(Needs::Nothing, offset), "acl late prio_offset gt 0",
                "The milliseconds by which the stream counts as having come later, as `set-priority-offset` set them.";
        }
    };
}

pub(super) static ROWS: &[FetchRow] = limits! {
    "cur_client_timeout" Needs::Nothing, Stream::client_ms, "acl short cur_client_timeout lt 5000",
        "How long the client may be silent now, in milliseconds: `timeout client`, or what `set-timeout client` set.";
    "cur_server_timeout" Needs::Backend, Stream::server_ms, "acl short cur_server_timeout lt 5000",
        "How long the server may be silent now, in milliseconds: `timeout server`, or what `set-timeout server` set.";
    "cur_tunnel_timeout" Needs::Backend, Stream::tunnel_ms, "acl short cur_tunnel_timeout lt 5000",
        "How long both may be silent in a tunnel now, in milliseconds: `timeout tunnel`, or what `set-timeout tunnel` set.";
    "cur_connect_timeout" Needs::Backend, Stream::connect_ms, "acl short cur_connect_timeout lt 5000",
        "How long a connection to the server may take now, in milliseconds: `timeout connect`, or what `set-timeout connect` set.";
    "cur_queue_timeout" Needs::Backend, Stream::queue_ms, "acl short cur_queue_timeout lt 5000",
        "How long the stream may wait in queues now, in milliseconds: `timeout queue`, or what `set-timeout queue` set.";
    "cur_tarpit_timeout" Needs::Nothing, Stream::tarpit_ms, "acl short cur_tarpit_timeout lt 5000",
        "How long a tarpit would hold the stream now, in milliseconds: `timeout tarpit`, or what `set-timeout tarpit` set.";
};

fn class<'a>(_: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    Some(Value::Int(stream.priority().class.into()))
}

fn offset<'a>(_: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    Some(Value::Int(stream.priority().offset_ms.into()))
}
