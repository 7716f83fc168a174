//! Who belongs to which server: `use-server`, the persistence cookie, the
//! cookie of remote desktops, the sessions of applications. It says which
//! server a stream belongs to before one is looked for, and sets cookies in
//! the answer.
//!
//! A stream that belongs to a server is `direct`: it waits for that server where
//! it is full, and is not balanced. Who is sent elsewhere after all (the server is
//! down, its queue full, a retry) is direct no more, and gets a new cookie.
//!
//! It takes no slot, waits for nothing and touches no socket.

mod app_session;
mod cookie;
mod dynamic;
mod line;
mod rdp;

use model::config::{
    PersistRuleKind, Proxy, ProxyOption, Server, ServerIndex, ServerName, UseServerRule,
};
use model::transaction::trace::{Step, Tie};
use model::transaction::{Owner, Stream};

/// Whether a server may take a stream that belongs to it, up or not.
fn takes(proxy: &Proxy, server: &Server, forced: bool) -> bool {
    forced || proxy.has(ProxyOption::Persist) || server.state.usable_for_persistence()
}

/// The stream has come to its backend: `force-persist` and `ignore-persist`,
/// which look at the request as it came.
pub fn enter(stream: &mut Stream) {
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

/// Finds out which server a stream belongs to, before one is looked for.
pub fn belongs(stream: &mut Stream) {
    if !stream.backend().is_some_and(Proxy::persists) {
        return;
    }
    look(stream, Tie::Rule, use_server);
    look(stream, Tie::RdpCookie, rdp::look);
    if stream.http {
        look(stream, Tie::Cookie, cookie::look);
        look(stream, Tie::Application, app_session::look);
    }
    look(stream, Tie::Dispatch, dispatch);
}

fn dispatch(stream: &mut Stream) {
    let dispatch = stream.backend().and_then(|backend| backend.dispatch_server);
    if dispatch.is_some() && !stream.route.is_direct() {
        stream.route.persistence_mut().server = dispatch;
    }
}

/// Looks whether a stream belongs to a server by this, and notes it.
pub fn look(stream: &mut Stream, by: Tie, look: impl FnOnce(&mut Stream)) {
    let was_direct = stream.route.is_direct();
    look(stream);
    if was_direct {
        return;
    }
    let known = stream.route.persistence.as_deref();
    let Some(server) = known.and_then(|known| known.server) else {
        return;
    };
    stream.decide_owner(Owner {
        server,
        by,
        rule: None,
    });
    let known = Some(server).filter(|_| stream.session.is_traced());
    if let Some(server) = known.and_then(|at| stream.backend()?.servers.get(at.0 as usize)) {
        let name = server.name.clone();
        stream.session.note(|| Step::Belongs { name, by });
    }
}

/// The server that a stream belongs to, and whether it is to be taken even where
/// it is down.
pub fn server(stream: &Stream) -> Option<(ServerIndex, bool)> {
    let known = stream.route.persistence.as_deref()?;
    known.server.map(|server| (server, stream.is_forced()))
}

/// Lets a stream belong to a server, unless it belongs to one already or to
/// nobody, or this one is down. Says whether it does now.
pub fn give(stream: &mut Stream, index: ServerIndex) -> bool {
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

/// Looks at the cookies that the server set, and takes its own out or rewrites
/// it: behind all rules but `http-after-response`.
pub fn look_at_answer(stream: &mut Stream) {
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

/// Inserts a cookie where the client is to have one.
pub fn answer(stream: &mut Stream) {
    if stream.backend().is_some_and(|b| b.cookie.is_some()) {
        cookie::insert(stream);
    }
}

/// The cookie that stands for a server, for people.
pub fn cookie_of(backend: &Proxy, server: &Server) -> Option<String> {
    if let Some(value) = &server.options.cookie {
        return Some(String::from_utf8_lossy(value).into_owned());
    }
    let cookie = backend.cookie.as_deref().filter(|cookie| cookie.dynamic);
    let key = backend.dynamic_cookie_key.as_deref();
    let value = dynamic::of(server, cookie.and(key)?)?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

/// The first `use-server` that applies and whose server is there.
fn use_server(stream: &mut Stream) {
    let Some(backend) = stream.backend().filter(|b| !b.use_server.is_empty()) else {
        return;
    };
    let forced = stream
        .route
        .persistence
        .as_deref()
        .is_some_and(|p| p.forced);
    let mut name = Vec::new();
    let mut found = |rule: &UseServerRule| {
        if !rule.condition.test(stream) {
            return None;
        }
        let index = match &rule.server {
            ServerName::Static(_, index) => (*index)?,
            ServerName::Dynamic(format) => {
                name.clear();
                format.append(stream, &mut name);
                let is = |server: &Server| server.name.as_bytes() == name;
                ServerIndex(backend.servers.iter().position(is)? as u32)
            }
        };
        let server = backend.servers.get(index.0 as usize)?;
        takes(backend, server, forced).then_some((index, rule.span))
    };
    let found = backend.use_server.iter().find_map(&mut found);
    if let Some((server, rule)) = found {
        // It comes before all that could be ignored.
        stream.route.persistence_mut().server = Some(server);
        stream.decide_owner(Owner {
            server,
            by: Tie::Rule,
            rule: Some(rule),
        });
    }
}
