//! Implements the fetches of frontends and backends: those of the stream, and their status.

use super::{FetchBuild, FetchRow, int, number, string};
use crate::config::Proxy;
use crate::rules::argument::{ArgumentKind, Arguments};
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::thread;
use crate::transaction::ProxyStream;
use reactor::Rate;

const fn text(needs: Needs, one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Str, needs, one)
}

const fn of_backend(one: super::One) -> FetchBuild {
    number(Needs::Nothing, one).takes(&[ArgumentKind::Backend], 0)
}

const fn of_frontend(one: super::One) -> FetchBuild {
    number(Needs::Nothing, one).takes(&[ArgumentKind::Frontend], 0)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "fe_id",
        number(Needs::Nothing, |_, s| int(s.frontend().id)),
        "acl first fe_id 1",
        "The id of the stream's frontend, for example to distinguish frontends in a backend.";
    "fe_name",
        text(Needs::Nothing, |_, s| string(&s.frontend().name)),
        "acl public fe_name public",
        "The name of the stream's frontend.";
    "fe_defbe",
        text(Needs::Nothing, |_, s| string(&s.frontend().default_backend.as_ref()?.name)),
        "acl usual fe_defbe app",
        "The name of the default backend of the stream's frontend.";
    "fe_conn[(<frontend>)]", of_frontend(fe_conn), "acl busy fe_conn gt 1000",
        "Number of connections of a frontend; without an argument that of the stream.";
    "fe_req_rate[(<frontend>)]",
        of_frontend(|a, s| per_second(&frontend(a, s)?.state.frontend.request_rate)),
        "acl busy fe_req_rate gt 1000", "Number of HTTP requests per second of a frontend.";
    "fe_sess_rate[(<frontend>)]",
        of_frontend(|a, s| per_second(&frontend(a, s)?.state.frontend.session_rate)),
        "acl busy fe_sess_rate gt 1000",
        "Number of sessions per second of a frontend, for example to slow down clients during peaks.";
    "fe_client_timeout",
        number(Needs::Nothing, |_, s| timeout(s.frontend().timeouts.client_ms)),
        "acl short fe_client_timeout lt 5000",
        "`timeout client` of the stream's frontend in milliseconds.";
    "dst_conn", number(Needs::Nothing, fe_conn), "acl busy dst_conn gt 1000",
        "Number of connections of the client's frontend, over all its listeners.";
    "be_id",
        number(Needs::Backend, |a, s| int(backend(a, s)?.id)),
        "acl second be_id 2",
        "The id of the stream's backend, or of its frontend if none is chosen.";
    "be_name",
        text(Needs::Backend, |a, s| string(&backend(a, s)?.name)),
        "acl app be_name app",
        "The name of the stream's backend, or of its frontend if none is chosen.";
    "be_server_timeout",
        number(Needs::Backend, |_, s| timeout(of_servers(s)?.timeouts.server_ms)),
        "acl short be_server_timeout lt 5000",
        "`timeout server` of the stream's backend in milliseconds.";
    "be_connect_timeout",
        number(Needs::Backend, |_, s| timeout(s.backend()?.timeouts.connect_ms)),
        "acl short be_connect_timeout lt 5000",
        "`timeout connect` of the stream's backend in milliseconds.";
    "be_queue_timeout", number(Needs::Backend, be_queue_timeout), "acl short be_queue_timeout lt 5000",
        "`timeout queue` of the stream's backend in milliseconds; the default is `timeout connect`.";
    "be_tarpit_timeout", number(Needs::Backend, be_tarpit_timeout), "acl short be_tarpit_timeout lt 5000",
        "`timeout tarpit` of the stream's backend in milliseconds; the default is `timeout connect`.";
    "fe_tarpit_timeout", number(Needs::Nothing, fe_tarpit_timeout), "acl short fe_tarpit_timeout lt 5000",
        "`timeout tarpit` of the stream's frontend in milliseconds; the default is `timeout connect`.";
    "be_tunnel_timeout",
        number(Needs::Backend, |_, s| timeout(of_servers(s)?.timeouts.tunnel_ms)),
        "acl short be_tunnel_timeout lt 5000",
        "`timeout tunnel` of the stream's backend in milliseconds.";
    "be_conn[(<backend>)]", of_backend(|a, s| int(backend(a, s)?.state.backend.sessions.current())),
        "acl busy be_conn(app) gt 100",
        "Number of streams of a backend, including queued ones; without an argument that of the section.";
    "be_sess_rate[(<backend>)]",
        of_backend(|a, s| per_second(&backend(a, s)?.state.backend.session_rate)),
        "acl busy be_sess_rate(app) gt 100", "Number of sessions per second of a backend.";
    "be_conn_free[(<backend>)]", of_backend(be_conn_free), "acl full be_conn_free(app) lt 1",
        "Number of free sessions on the usable servers of a backend, without queues; -1 if one of them has no \
         `maxconn`.";
    "connslots[(<backend>)]", of_backend(connslots), "acl full connslots(app) lt 10",
        "Number of free slots on the usable servers of a backend, in sessions and queues; -1 if one of them has no \
         `maxconn` or no `maxqueue`.";
    "nbsrv[(<backend>)]",
        of_backend(|a, s| int(backend(a, s)?.state.usable_servers())),
        "acl dead nbsrv(app) lt 1",
        "Number of usable servers of a backend: those that are up, or its backup servers if no other is. Useful for \
         `monitor fail`.";
    "queue[(<backend>)]",
        of_backend(|a, s| int(waiting(backend(a, s)?))),
        "acl waiting queue(app) gt 10",
        "Number of queued streams of a backend, for any of its servers or for a specific one.";
    "avg_queue[(<backend>)]", of_backend(avg_queue), "acl waiting avg_queue(app) gt 2",
        "Number of queued streams of a backend per usable server. Without a usable server, the total number.";
};

/// Returns the backend that the argument names. Without an argument, returns the stream's backend,
/// or its frontend if none is chosen yet (in a `listen`, that is the backend, too).
fn backend<'a>(arguments: &Arguments, stream: &'a ProxyStream) -> Option<&'a Proxy> {
    match arguments.proxy(0) {
        Some(name) => stream
            .config
            .backend(name)
            .map(|index| stream.config.proxy(index)),
        None => Some(stream.backend().unwrap_or_else(|| stream.frontend())),
    }
}

/// Returns the frontend that the argument names, or the stream's own.
fn frontend<'a>(arguments: &Arguments, stream: &'a ProxyStream) -> Option<&'a Proxy> {
    match arguments.proxy(0) {
        Some(name) => stream
            .config
            .iter()
            .map(|(_, proxy)| proxy)
            .find(|p| p.kind.is_frontend() && *p.name == *name),
        None => Some(stream.frontend()),
    }
}

pub(super) fn timeout<'a>(ms: Option<u32>) -> Sample<'a> {
    int(ms.unwrap_or(0))
}

fn fe_conn<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let state = &frontend(arguments, stream)?.state.frontend;
    int(state.sessions.current())
}

/// Returns the number of events in the last second. Returns 0 on a thread outside the data plane,
/// because the rates of proxies and servers use the clock of the data plane.
pub(super) fn per_second<'a>(rate: &Rate) -> Sample<'a> {
    let events = thread::running().map_or(0, |thread| rate.read(thread.now_ms()));
    Some(SampleValue::count(events))
}

/// Returns the stream's backend. Before one is chosen, a `listen` counts as the backend.
pub(super) fn of_servers(stream: &ProxyStream) -> Option<&Proxy> {
    let own = Some(stream.frontend()).filter(|proxy| proxy.kind.is_backend());
    stream.backend().or(own)
}

fn be_queue_timeout<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let timeouts = &stream.backend()?.timeouts;
    timeout(timeouts.queue_ms.or(timeouts.connect_ms))
}

fn be_tarpit_timeout<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let timeouts = &stream.backend()?.timeouts;
    timeout(timeouts.tarpit_ms.or(timeouts.connect_ms))
}

fn fe_tarpit_timeout<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let timeouts = &stream.frontend().timeouts;
    timeout(timeouts.tarpit_ms.or(timeouts.connect_ms))
}

fn be_conn_free<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let servers = backend(arguments, stream)?
        .servers
        .iter()
        .filter(|server| server.state.usable());
    let mut free = 0_i64;
    for server in servers {
        let limit = i64::from(server.state.limit());
        if limit == 0 {
            return int(-1);
        }
        free += (limit - i64::from(server.state.traffic.sessions.current())).max(0);
    }
    int(free)
}

fn connslots<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let servers = backend(arguments, stream)?
        .servers
        .iter()
        .filter(|server| server.state.usable());
    let mut slots = 0_i64;
    for server in servers {
        let state = &server.state;
        if state.limit() == 0 || state.maxqueue() == 0 {
            return int(-1);
        }
        slots += i64::from(state.limit()) - i64::from(state.traffic.sessions.current());
        slots += i64::from(state.maxqueue()) - i64::from(state.queue.waiting.current());
    }
    int(slots.max(0))
}

fn waiting(backend: &Proxy) -> i64 {
    let servers = backend
        .servers
        .iter()
        .map(|server| i64::from(server.state.queue.waiting.current()));
    i64::from(backend.state.backend.queue.waiting.current()) + servers.sum::<i64>()
}

fn avg_queue<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let backend = backend(arguments, stream)?;
    let servers = i64::from(backend.state.usable_servers()).max(1);
    let waiting = waiting(backend);
    int((waiting + servers - 1) / servers)
}
