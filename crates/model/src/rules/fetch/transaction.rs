//! Implements the fetches of the progress of a stream: its times, bytes, status, termination,
//! unique ID and last rule. The fetches return the values of log formats, for rules and for custom
//! log lines.

use super::{FetchBuild, FetchRow, boolean, int, number, string};
use crate::rules::argument::{ArgumentKind, Arguments};
use crate::rules::converter::time::{check_only_unit, to_unit};
use crate::rules::draft::ConfigDraft;
use crate::rules::format::Alias;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;
use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

const fn date(one: super::One) -> FetchBuild {
    number(Needs::Nothing, one)
        .takes(&[ArgumentKind::Text], 0)
        .prepare(check_only_unit)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "accept_date[(<unit>)]", date(accept_date), "acl old accept_date lt 1700000000",
        "The time at which the client's connection was accepted (for later requests: at which the previous response \
         ended), in seconds since 1970, or in the unit `ms` or `us`.";
    "request_date[(<unit>)]",
        date(|a, s| since_epoch(s.times.began_at, a)), "acl old request_date lt 1700000000",
        "The time of the first byte of the request, in seconds since 1970, or in the unit `ms` or `us`.";
    "req.timer.idle", number(Needs::Nothing, |_, s| time(s, Alias::IdleTime)), "acl example req.timer.idle -m found",
        "Milliseconds of idle time before the request: `%Ti` in log formats.";
    "req.timer.tq", number(Needs::Nothing, |_, s| time(s, Alias::RequestTotalTime)),
        "acl example req.timer.tq -m found",
        "Milliseconds from the accept to the end of the request headers: `%Tq`.";
    "req.timer.hdr", number(Needs::Nothing, |_, s| time(s, Alias::RequestTime)), "acl example req.timer.hdr -m found",
        "Milliseconds from the first byte of the request to the end of its headers: `%TR`.";
    "req.timer.queue", number(Needs::Nothing, |_, s| time(s, Alias::QueueTime)), "acl example req.timer.queue -m found",
        "Milliseconds in queues (as `%Tw`), or -1 before the request leaves them.";
    "bc.timer.connect", number(Needs::Nothing, |_, s| time(s, Alias::ConnectTime)),
        "acl example bc.timer.connect -m found",
        "Milliseconds to establish the server connection (as `%Tc`), or -1 before it is established.";
    "res.timer.hdr", number(Needs::Nothing, |_, s| time(s, Alias::ResponseTime)), "acl example res.timer.hdr -m found",
        "Milliseconds from the server connection to the end of the response headers (as `%Tr`), or -1 before the \
         headers are complete.";
    "res.timer.data", number(Needs::Nothing, |_, s| time(s, Alias::DataTime)), "acl example res.timer.data -m found",
        "Milliseconds of data transfer so far (as `%Td`), or -1 before the response.";
    "res.timer.user", number(Needs::Nothing, |_, s| time(s, Alias::UserTime)), "acl example res.timer.user -m found",
        "Milliseconds as perceived by the client so far: `%Tu`.";
    "txn.timer.user", number(Needs::Nothing, |_, s| time(s, Alias::UserTime)), "acl example txn.timer.user -m found",
        "Milliseconds as perceived by the client so far: `%Tu`.";
    "txn.timer.total", number(Needs::Nothing, |_, s| time(s, Alias::ActiveTime)),
        "acl example txn.timer.total -m found",
        "Milliseconds since the first byte of the request: `%Ta`.";
    "fc.timer.handshake", number(Needs::Nothing, |_, s| time(s, Alias::HandshakeTime)),
        "acl example fc.timer.handshake -m found",
        "Milliseconds of the handshakes (PROXY and TLS) before the first request: `%Th`.";
    "fc.timer.total", number(Needs::Nothing, |_, s| time(s, Alias::TotalTime)), "acl example fc.timer.total -m found",
        "Milliseconds of the client's connection used by this stream so far: `%Tt`.";
    "bytes_in", number(Needs::Nothing, |_, s| Some(SampleValue::count(s.transfer.bytes_in))),
        "acl example bytes_in -m found", "Number of bytes that the client sent in this stream.";
    "bytes_out", number(Needs::Nothing, |_, s| Some(SampleValue::count(s.transfer.bytes_out))),
        "acl example bytes_out -m found", "Number of bytes sent to the client in this stream.";
    "req.bytes_in", number(Needs::Nothing, |_, s| Some(SampleValue::count(s.transfer.bytes_in))),
        "acl example req.bytes_in -m found", "Number of bytes of the request from the client.";
    "res.bytes_out", number(Needs::Nothing, |_, s| Some(SampleValue::count(s.transfer.bytes_out))),
        "acl example res.bytes_out -m found", "Number of bytes of the response to the client.";
    "txn.status", number(Needs::Nothing, status), "acl example txn.status -m found",
        "The status sent to the client, including the proxy's own responses; no value before.";
    "txn.sess_term_state", FetchBuild::new(Type::Str, Needs::Nothing, termination), "acl example txn.sess_term_state -m found",
        "The two letters of `%ts`: what ended the stream, and in which state; `--` without an error.";
    "txn.conn_retries",
        number(Needs::Nothing, |_, s| int(s.route.retries)),
        "acl example txn.conn_retries -m found",
        "Number of retried connections to servers.";
    "txn.redispatched",
        FetchBuild::new(Type::Bool, Needs::Nothing, |_, s| boolean(s.route.redispatched)),
        "acl example txn.redispatched -m found",
        "True if the stream was redispatched to another server than the one chosen first.";
    "txn.id32", number(Needs::Nothing, |_, s| int(s.identity.id as u32)), "acl example txn.id32 -m found",
        "A 32-bit number of the stream, which is not reused soon.";
    "bc_be_queue",
        number(Needs::Backend, |_, s| int(s.route.backend_queue)),
        "acl example bc_be_queue -m found",
        "Position in the queue of the backend when the stream was queued, from 1: `%bq`. 0 if it did not wait there.";
    "bc_srv_queue",
        number(Needs::Server, |_, s| int(s.route.server_queue)),
        "acl example bc_srv_queue -m found",
        "Position in the queue of the server when the stream was queued, from 1: `%sq`. 0 if it did not wait there.";
    "server_status", number(Needs::ResponseKept, server_status).http(), "acl hidden server_status 500",
        "The status of the server's response before any rules; no value for the proxy's own responses.";
    "last_rule_file", FetchBuild::new(Type::Str, Needs::Nothing, rule_file).prepare(ask_rule), "acl example last_rule_file -m found",
        "The file of the rule that last ended a list of rules: an `allow` or `accept`, a `deny`, a response or a \
         redirect. No value before.";
    "last_rule_line", number(Needs::Nothing, rule_line).prepare(ask_rule), "acl example last_rule_line -m found",
        "The line of the rule that last ended a list of rules; see `last_rule_file`. In a log it shows why a request \
         was denied.";
    "internal.strm.is_htx",
        FetchBuild::new(Type::Bool, Needs::Nothing, |_, s| boolean(s.http)),
        "acl upgraded internal.strm.is_htx",
        "True if the stream carries HTTP, even if it began as TCP and was switched (`switch-mode http`).";
    "unique-id",
        FetchBuild::new(Type::Str, Needs::Nothing, |_, s| Some(SampleValue::text(s.unique_id()?))),
        "acl example unique-id -m found", "The id from `unique-id-format` for the stream.";
};

fn since_epoch(at: SystemTime, arguments: &Arguments) -> Sample<'static> {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    to_unit(since, arguments.text(0)).map(SampleValue::Int)
}

fn accept_date<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let times = &stream.times;
    let idle = times.began.saturating_duration_since(times.idle_since);
    since_epoch(times.began_at - idle, arguments)
}

fn time<'a>(stream: &ProxyStream, alias: Alias) -> Sample<'a> {
    Some(match alias.milliseconds(stream) {
        Some(ms) => SampleValue::count(ms),
        None => SampleValue::Int(-1),
    })
}

fn status<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let status = stream.status();
    (status != 0).then_some(SampleValue::Int(status.into()))
}

fn server_status<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    (stream.outcome.server_status != 0)
        .then_some(SampleValue::Int(stream.outcome.server_status.into()))
}

fn ask_rule(loader: &mut ConfigDraft, _: &mut Arguments, _: Span) -> Built {
    loader.config.global.recording.last_rule = true;
    Ok(())
}

fn rule_file<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let (file, _) = stream.links.last_rule()?;
    let name = stream.config.files.get(file as usize)?;
    string(name)
}

fn rule_line<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let (_, line) = stream.links.last_rule()?;
    int(line)
}

fn termination<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let letters = vec![
        stream.outcome.termination.letter(),
        stream.outcome.phase.letter(),
    ];
    Some(SampleValue::Str(Cow::Owned(letters)))
}
