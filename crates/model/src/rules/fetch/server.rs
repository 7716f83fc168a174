//! Implements the fetches of servers: the stream's server and the connection to it, and the state
//! of any server by name.

use super::{FetchBuild, FetchRow, boolean, int, string};
use crate::config::Server;
use crate::rules::argument::{ArgumentKind, Arguments};
use crate::rules::draft::ConfigDraft;
use crate::rules::format::server_address;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::state::WEIGHT_SCALE;
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;
use tls::FailureCodes;

const fn of_server(output: Type, one: super::One) -> FetchBuild {
    FetchBuild::new(output, Needs::Nothing, one).takes(&[ArgumentKind::Server], 1)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "bc_err",
        FetchBuild::new(Type::Int, Needs::Server, |_, s| int(broken(s)?.connection)),
        "acl inner_tls_failed bc_err 34",
        "The number of the error that ended the server connection before it carried data, as in HAProxy: 34 is a \
         failed TLS handshake, 0 no error. No value without a connection.";
    "bc_err_str", FetchBuild::new(Type::Str, Needs::Server, |_, s| string(broken(s)?.words())),
        "acl well bc_err_str Success", "The text of `bc_err`: `Success` without an error.";
    "bc_src", FetchBuild::new(Type::Address, Needs::Server, bc_src).prepare(show_side), "acl example bc_src -m found",
        "The source address of the server connection; no value before it is established.";
    "bc_src_port", FetchBuild::new(Type::Int, Needs::Server, bc_src_port).prepare(show_side), "acl example bc_src_port -m found",
        "The source port of the server connection; no value before it is established.";
    "bc_dst", FetchBuild::new(Type::Address, Needs::Server, bc_dst), "acl example bc_dst -m found",
        "The destination address of the server connection.";
    "bc_dst_port", FetchBuild::new(Type::Int, Needs::Server, bc_dst_port), "acl example bc_dst_port -m found",
        "The destination port of the server connection.";
    "srv_id",
        FetchBuild::new(Type::Int, Needs::Server, |_, s| int(s.server()?.id)),
        "acl second srv_id 2",
        "The id of the stream's server. Useful in rules for responses.";
    "srv_name",
        FetchBuild::new(Type::Str, Needs::Server, |_, s| string(&s.server()?.name)),
        "acl old srv_name web1",
        "The name of the stream's server. Useful in rules for responses, for example to add it to a header.";
    "srv_is_up([<backend>/]<server>)",
        of_server(Type::Bool, |a, s| boolean(server(a, s)?.state.is_up())),
        "acl alive srv_is_up(app/web1)",
        "True if a server is up and not in maintenance. Without a backend, a server of the section.";
    "srv_conn([<backend>/]<server>)",
        of_server(Type::Int, |a, s| int(server(a, s)?.state.traffic.sessions.current())),
        "acl busy srv_conn(app/web1) gt 100",
        "Number of sessions of a server.";
    "srv_conn_free([<backend>/]<server>)", of_server(Type::Int, srv_conn_free), "acl full srv_conn_free(app/web1) lt 1",
        "Number of sessions that a server can still accept; -1 without `maxconn`.";
    "srv_queue([<backend>/]<server>)", of_server(Type::Int, srv_queue), "acl waiting srv_queue(app/web1) gt 0",
        "Number of streams queued for a server.";
    "srv_sess_rate([<backend>/]<server>)",
        of_server(Type::Int, |a, s| super::proxy::per_second(&server(a, s)?.state.traffic.session_rate)),
        "acl busy srv_sess_rate(app/web1) gt 50",
        "Number of sessions per second of a server.";
    "srv_weight([<backend>/]<server>)", of_server(Type::Int, srv_weight), "acl weak srv_weight(app/web1) lt 50",
        "The current weight of a server, after changes by operators or slow start; 0 if it takes no new sessions.";
    "srv_uweight([<backend>/]<server>)", of_server(Type::Int, srv_uweight), "acl weak srv_uweight(app/web1) lt 50",
        "The weight of a server as set by an operator or the configuration.";
    "srv_iweight([<backend>/]<server>)",
        of_server(Type::Int, |a, s| int(server(a, s)?.options.weight)),
        "acl weak srv_iweight(app/web1) lt 50",
        "The weight of a server in the configuration.";
};

/// Returns the error of the connection to the server; None if no connection was attempted.
fn broken(stream: &ProxyStream) -> Option<FailureCodes> {
    match &stream.links.server_tls {
        Some(info) => Some(info.broken.unwrap_or_default()),
        None => stream.times.connected.map(|_| FailureCodes::default()),
    }
}

fn show_side(loader: &mut ConfigDraft, _: &mut Arguments, _: Span) -> Built {
    loader.config.global.recording.server_end = true;
    Ok(())
}

fn bc_src<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    Some(SampleValue::ip(stream.links.server_side()?.ip()))
}

fn bc_src_port<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    int(stream.links.server_side()?.port())
}

fn bc_dst<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    stream.times.connected?;
    Some(SampleValue::ip(server_address(stream)?.ip()))
}

fn bc_dst_port<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    stream.times.connected?;
    int(server_address(stream)?.port())
}

fn server<'a>(arguments: &Arguments, stream: &'a ProxyStream) -> Option<&'a Server> {
    let (backend, name) = arguments.server(0)?;
    let backend = match backend {
        Some(backend) => stream.config.proxy(stream.config.backend(backend)?),
        None => stream.backend().unwrap_or_else(|| stream.frontend()),
    };
    backend.servers.iter().find(|server| *server.name == *name)
}

fn srv_conn_free<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let state = &server(arguments, stream)?.state;
    Some(SampleValue::Int(match state.limit() {
        0 => -1,
        limit => (i64::from(limit) - i64::from(state.traffic.sessions.current())).max(0),
    }))
}

fn srv_queue<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    int(server(arguments, stream)?.state.queue.waiting.current())
}

fn srv_weight<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    int(server(arguments, stream)?.state.weight() / WEIGHT_SCALE)
}

fn srv_uweight<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let (weight, _) = server(arguments, stream)?.state.user_weight();
    int(weight)
}
