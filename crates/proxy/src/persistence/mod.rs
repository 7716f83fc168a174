//! Keeps a client on its server: `use-server`, the persistence cookie, the RDP cookie,
//! application sessions. Before load balancing this module determines whether a stream belongs to
//! a server, and in the response it sets cookies.
//!
//! A stream that belongs to a server is `direct`: it is not balanced, and it waits for that
//! server if the server is full. A stream that is sent to another server after all (its own is
//! down or its queue is full, or the request is retried) is no longer direct and gets a new
//! cookie.
//!
//! The module takes no slot, waits for nothing and uses no socket.

mod app_session;
mod cookie;
mod dynamic;
mod line;
mod rdp;

use model::config::{PersistRuleKind, Proxy, ProxyOption, Server, ServerIndex, ServerName};
use model::transaction::trace::{Tie, TraceStep};
use model::transaction::{PersistentServer, ProxyStream};

/// Returns whether a server accepts a stream that belongs to it. A server that is down accepts one
/// only with `force-persist` or `option persist`.
fn takes(proxy: &Proxy, server: &Server, forced: bool) -> bool {
    forced || proxy.has(ProxyOption::Persist) || server.state.usable_for_persistence()
}

/// Applies `force-persist` and `ignore-persist` when a stream enters its backend, before rules of
/// the backend change the request.
pub fn enter(stream: &mut ProxyStream) {
    let Some(backend) = stream.backend().filter(|b| !b.persist_rules.is_empty()) else {
        return;
    };
    let rules = &backend.persist_rules;
    let first = rules.iter().find(|rule| rule.condition.test(stream));
    match first.map(|rule| rule.kind) {
        Some(PersistRuleKind::Force) => stream.route.persistence_mut().forced = true,
        Some(PersistRuleKind::Ignore) => stream.route.persistence_mut().ignored = true,
        None => {}
    }
}

/// Determines to which server a stream belongs. Called before load balancing.
pub fn find_persistent_server(stream: &mut ProxyStream) {
    if !stream.backend().is_some_and(Proxy::persists) {
        return;
    }
    apply_persistence(stream, Tie::Rule, use_server);
    apply_persistence(stream, Tie::RdpCookie, rdp::bind_to_named_server);
    if stream.http {
        apply_persistence(stream, Tie::Cookie, cookie::process_request_cookies);
        apply_persistence(
            stream,
            Tie::Application,
            app_session::bind_to_session_server,
        );
    }
    apply_persistence(stream, Tie::Dispatch, dispatch);
}

fn dispatch(stream: &mut ProxyStream) {
    let dispatch = stream.backend().and_then(|backend| backend.dispatch_server);
    if dispatch.is_some() && !stream.route.is_direct() {
        stream.route.persistence_mut().server = dispatch;
    }
}

/// Applies one kind of persistence. If it finds the server of the stream, records this kind as the
/// reason.
pub fn apply_persistence(stream: &mut ProxyStream, by: Tie, look: impl FnOnce(&mut ProxyStream)) {
    let was_direct = stream.route.is_direct();
    look(stream);
    if was_direct {
        return;
    }
    let known = stream.route.persistence.as_deref();
    let Some(server) = known.and_then(|known| known.server) else {
        return;
    };
    stream.decide_owner(PersistentServer {
        server,
        by,
        rule: None,
    });
    let known = Some(server).filter(|_| stream.session.is_traced());
    if let Some(server) = known.and_then(|at| stream.backend()?.servers.get(at.0 as usize)) {
        let name = server.name.clone();
        stream.session.note(|| TraceStep::Belongs { name, by });
    }
}

/// Returns the server to which a stream belongs, and whether the server is used even if it is
/// down.
pub fn server(stream: &ProxyStream) -> Option<(ServerIndex, bool)> {
    let known = stream.route.persistence.as_deref()?;
    known.server.map(|server| (server, stream.is_forced()))
}

/// Assigns a stream to a server, unless the stream already belongs to one, persistence is ignored,
/// or the server is down (and neither `force-persist` nor `option persist` applies). Returns
/// whether the server was assigned.
pub fn give(stream: &mut ProxyStream, index: ServerIndex) -> bool {
    let forced = match stream.route.persistence.as_deref() {
        Some(known) if known.server.is_some() || known.ignored => return false,
        known => known.is_some_and(|known| known.forced),
    };
    let Some(backend) = stream.backend() else {
        return false;
    };
    let server = backend.servers.get(index.0 as usize);
    let takes = server.is_some_and(|server| takes(backend, server, forced));
    if takes {
        stream.route.persistence_mut().server = Some(index);
    }
    takes
}

/// Processes the cookies that the server has set: stores application sessions, and removes or
/// rewrites the persistence cookie. Called after all rules except `http-after-response`.
pub fn process_response_cookies(stream: &mut ProxyStream) {
    let Some(backend) = stream.backend() else {
        return;
    };
    let (has_cookie, has_sessions) = (backend.cookie.is_some(), backend.app_session.is_some());
    if has_sessions {
        app_session::learn(stream);
    }
    if has_cookie {
        cookie::look_at_answer(stream);
    }
}

/// Inserts a persistence cookie if the client needs one.
pub fn answer(stream: &mut ProxyStream) {
    if stream.backend().is_some_and(|b| b.cookie.is_some()) {
        cookie::insert(stream);
    }
}

pub fn cookie_of(backend: &Proxy, server: &Server) -> Option<String> {
    if let Some(value) = &server.options.cookie {
        return Some(String::from_utf8_lossy(value).into_owned());
    }
    let cookie = backend.cookie.as_deref().filter(|cookie| cookie.dynamic);
    let key = backend.dynamic_cookie_key.as_deref();
    let value = dynamic::of(server, cookie.and(key)?)?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

/// Applies the first matching `use-server` rule whose server accepts streams. As in HAProxy, a
/// rule with a name that no server has ends the search: load balancing then chooses the server.
fn use_server(stream: &mut ProxyStream) {
    let Some(backend) = stream.backend().filter(|b| !b.use_server.is_empty()) else {
        return;
    };
    let forced = stream
        .route
        .persistence
        .as_deref()
        .is_some_and(|p| p.forced);
    let mut found = None;
    let mut name = Vec::new();
    for rule in &backend.use_server {
        if !rule.condition.test(stream) {
            continue;
        }
        let index = match &rule.server {
            ServerName::Static(_, index) => *index,
            ServerName::Dynamic(format) => {
                name.clear();
                format.append(stream, &mut name);
                let is = |server: &Server| server.name.as_bytes() == name;
                let index = backend.servers.iter().position(is);
                let Some(index) = index else { break };
                Some(ServerIndex(index as u32))
            }
        };
        let takes = |index: ServerIndex| {
            let server = backend.servers.get(index.0 as usize);
            server.is_some_and(|server| takes(backend, server, forced))
        };
        if let Some(index) = index.filter(|index| takes(*index)) {
            found = Some((index, rule.span));
            break;
        }
    }
    if let Some((server, rule)) = found {
        // Applies the rule also with `ignore-persist`, which comes later and does not affect
        // `use-server`.
        stream.route.persistence_mut().server = Some(server);
        stream.decide_owner(PersistentServer {
            server,
            by: Tie::Rule,
            rule: Some(rule),
        });
    }
}
