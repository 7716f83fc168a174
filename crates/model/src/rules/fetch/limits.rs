//! Implements the fetches of the effective timeouts of a stream, set by its proxies and by rules,
//! and of its position in queues.

use super::proxy::timeout;
use super::{FetchRow, int, number};
use crate::rules::usage::Needs;

pub(super) static ROWS: &[FetchRow] = rows! {
    "cur_client_timeout", number(Needs::Nothing, |_, s| timeout(s.client_ms())), "acl short cur_client_timeout lt 5000",
        "The current client timeout in milliseconds: `timeout client`, or `set-timeout client`.";
    "cur_server_timeout", number(Needs::Backend, |_, s| timeout(s.server_ms())), "acl short cur_server_timeout lt 5000",
        "The current server timeout in milliseconds: `timeout server`, or `set-timeout server`.";
    "cur_tunnel_timeout", number(Needs::Backend, |_, s| timeout(s.tunnel_ms())), "acl short cur_tunnel_timeout lt 5000",
        "The current tunnel timeout in milliseconds: `timeout tunnel`, or `set-timeout tunnel`.";
    "cur_connect_timeout", number(Needs::Backend, |_, s| timeout(s.connect_ms())),
        "acl short cur_connect_timeout lt 5000",
        "The current connect timeout in milliseconds: `timeout connect`, or `set-timeout connect`.";
    "cur_queue_timeout", number(Needs::Backend, |_, s| timeout(s.queue_ms())), "acl short cur_queue_timeout lt 5000",
        "The current queue timeout in milliseconds: `timeout queue`, or `set-timeout queue`.";
    "cur_tarpit_timeout", number(Needs::Nothing, |_, s| timeout(s.tarpit_ms())), "acl short cur_tarpit_timeout lt 5000",
        "The current tarpit timeout in milliseconds: `timeout tarpit`, or `set-timeout tarpit`.";
    "prio_class", number(Needs::Nothing, |_, s| int(s.rules.priority().class)), "acl first prio_class lt 0",
        "The queue class of the stream, from `set-priority-class`.";
    "prio_offset", number(Needs::Nothing, |_, s| int(s.rules.priority().offset_ms)), "acl late prio_offset gt 0",
        "The queue offset of the stream in milliseconds, from `set-priority-offset`.";
};
