//! Fetches of how a stream goes: its times, bytes, status and what ended it. They
//! are those of log formats, for rules and for whoever writes his own log lines.

use super::{FetchBuild, FetchRow};
use crate::rules::argument::{Arguments, Kind};
use crate::rules::converter::time::{check_only_unit, to_unit};
use crate::rules::format::Alias;
use crate::rules::usage::Needs;
use crate::rules::value::{Type, Value};
use crate::stream::Stream;
use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

const fn number(needs: Needs, one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Int, needs, one)
}

const fn date(one: super::One) -> FetchBuild {
    number(Needs::Nothing, one)
        .takes(&[Kind::Text], 0)
        .prepare(check_only_unit)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "accept_date", "accept_date[(<unit>)]", date(accept_date), "acl old accept_date lt 1700000000",
        "When the client's connection was accepted (of later requests of it: when the answer before ended), in seconds since 1970, or in the unit `ms` or `us`.";
    "request_date", "request_date[(<unit>)]", date(request_date), "acl old request_date lt 1700000000",
        "When the first byte of the request came, in seconds since 1970, or in the unit `ms` or `us`.";
    "req.timer.idle", "req.timer.idle", number(Needs::Nothing, idle), "http-request set-header x-idle %[req.timer.idle]",
        "Milliseconds before the first byte of the request: `%Ti` of log formats.";
    "req.timer.tq", "req.timer.tq", number(Needs::Nothing, total_request), "http-request set-header x-tq %[req.timer.tq]",
        "Milliseconds from the accept to the whole head of the request: `%Tq`.";
    "req.timer.hdr", "req.timer.hdr", number(Needs::Nothing, request_head), "http-request set-header x-tr %[req.timer.hdr]",
        "Milliseconds from the first byte of the request to its whole head: `%TR`.";
    "req.timer.queue", "req.timer.queue", number(Needs::Nothing, queue), "http-response set-header x-tw %[req.timer.queue]",
        "Milliseconds in queues: `%Tw`; -1 before.";
    "bc.timer.connect", "bc.timer.connect", number(Needs::Nothing, connect), "http-response set-header x-tc %[bc.timer.connect]",
        "Milliseconds until the connection to the server stood: `%Tc`; -1 before.";
    "res.timer.hdr", "res.timer.hdr", number(Needs::Nothing, answer_head), "http-response set-header x-tr %[res.timer.hdr]",
        "Milliseconds from the connection to the server to the whole head of its answer: `%Tr`; -1 before.";
    "res.timer.data", "res.timer.data", number(Needs::Nothing, data), "http-response set-header x-td %[res.timer.data]",
        "Milliseconds of moving data, up to now: `%Td`; -1 before the answer.";
    "res.timer.user", "res.timer.user", number(Needs::Nothing, user), "http-response set-header x-tu %[res.timer.user]",
        "Milliseconds as the client felt them, up to now: `%Tu`.";
    "txn.timer.user", "txn.timer.user", number(Needs::Nothing, user), "http-response set-header x-tu %[txn.timer.user]",
        "Milliseconds as the client felt them, up to now: `%Tu`.";
    "txn.timer.total", "txn.timer.total", number(Needs::Nothing, active), "http-response set-header x-ta %[txn.timer.total]",
        "Milliseconds from the first byte of the request up to now: `%Ta`.";
    "fc.timer.handshake", "fc.timer.handshake", number(Needs::Nothing, handshake), "http-request set-header x-th %[fc.timer.handshake]",
        "Milliseconds of handshakes, PROXY and TLS, before the first request: `%Th`.";
    "fc.timer.total", "fc.timer.total", number(Needs::Nothing, total), "http-request set-header x-tt %[fc.timer.total]",
        "Milliseconds of the client's connection that this stream has had, up to now: `%Tt`.";
    "bytes_in", "bytes_in", number(Needs::Nothing, bytes_in), "log-format %[bytes_in]",
        "How many bytes the client sent of this stream.";
    "bytes_out", "bytes_out", number(Needs::Nothing, bytes_out), "log-format %[bytes_out]",
        "How many bytes the client was sent of this stream.";
    "req.bytes_in", "req.bytes_in", number(Needs::Nothing, bytes_in), "log-format %[req.bytes_in]",
        "How many bytes of the request came from the client.";
    "res.bytes_out", "res.bytes_out", number(Needs::Nothing, bytes_out), "log-format %[res.bytes_out]",
        "How many bytes of the answer went to the client.";
    "txn.status", "txn.status", number(Needs::Nothing, status), "log-format %[txn.status]",
        "The status that the client gets, also of pages of the proxy's own; none before there is one.";
    "txn.sess_term_state", "txn.sess_term_state", FetchBuild::new(Type::Str, Needs::Nothing, termination), "log-format %[txn.sess_term_state]",
        "The two letters of `%ts`: what ended the stream, and where it was then; `--` of one that is well.";
    "txn.conn_retries", "txn.conn_retries", number(Needs::Nothing, retries), "log-format %[txn.conn_retries]",
        "How many connection attempts to servers were repeated.";
    "txn.redispatched", "txn.redispatched", FetchBuild::new(Type::Bool, Needs::Nothing, redispatched), "log-format %[txn.redispatched]",
        "Whether another server was taken than the one that was chosen first.";
    "txn.id32", "txn.id32", number(Needs::Nothing, id), "log-format %[txn.id32]",
        "A number of 32 bits for the stream, which is not used again soon.";
    "bc_be_queue", "bc_be_queue", number(Needs::Backend, backend_queue), "log-format %[bc_be_queue]",
        "How many streams were before this one in the backend's queue: `%bq`.";
    "bc_srv_queue", "bc_srv_queue", number(Needs::Server, server_queue), "log-format %[bc_srv_queue]",
        "How many streams were before this one in the server's queue: `%sq`.";
    "unique-id", "unique-id", FetchBuild::new(Type::Str, Needs::Nothing, unique_id), "http-response set-header x-id %[unique-id]",
        "The id that `unique-id-format` makes of the stream.";
};

fn since_epoch(at: SystemTime, arguments: &Arguments) -> Option<Value<'static>> {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    to_unit(since, arguments.text(0)).map(Value::Int)
}

fn accept_date<'a>(arguments: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    let times = &stream.times;
    let idle = times.began.saturating_duration_since(times.idle_since);
    since_epoch(times.began_at - idle, arguments)
}

fn request_date<'a>(arguments: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    since_epoch(stream.times.began_at, arguments)
}

fn time<'a>(alias: Alias, stream: &Stream) -> Option<Value<'a>> {
    Some(match alias.milliseconds(stream) {
        Some(ms) => Value::count(ms),
        None => Value::Int(-1),
    })
}

macro_rules! times {
    ($($name:ident $alias:ident;)*) => {
        $(fn $name<'a>(_: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
            time(Alias::$alias, stream)
        })*
    };
}

times! {
    idle IdleTime;
    total_request RequestTotalTime;
    request_head RequestTime;
    queue QueueTime;
    connect ConnectTime;
    answer_head ResponseTime;
    data DataTime;
    user UserTime;
    active ActiveTime;
    handshake HandshakeTime;
    total TotalTime;
}

fn bytes_in<'a>(_: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    Some(Value::count(stream.bytes_in))
}

fn bytes_out<'a>(_: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    Some(Value::count(stream.bytes_out))
}

fn status<'a>(_: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    let status = stream.status();
    (status != 0).then_some(Value::Int(status.into()))
}

fn termination<'a>(_: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    let letters = vec![stream.termination.letter(), stream.phase.letter()];
    Some(Value::Str(Cow::Owned(letters)))
}

fn retries<'a>(_: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    Some(Value::Int(stream.retries.into()))
}

fn redispatched<'a>(_: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    Some(Value::Bool(stream.redispatched))
}

fn id<'a>(_: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    Some(Value::Int((stream.id as u32).into()))
}

fn backend_queue<'a>(_: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    Some(Value::Int(stream.backend_queue.into()))
}

fn server_queue<'a>(_: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    Some(Value::Int(stream.server_queue.into()))
}

fn unique_id<'a>(_: &'a Arguments, stream: &'a Stream) -> Option<Value<'a>> {
    if let Some(id) = &stream.unique_id {
        return Some(Value::text(id));
    }
    // It is made when the rules of the request are over; this one is earlier.
    let format = stream.frontend().unique_id_format.as_ref()?;
    let id = format.fill(stream);
    Some(Value::Str(Cow::Owned(id)))
}
