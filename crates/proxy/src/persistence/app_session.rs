//! Implements `appsession` of HAProxy 1.x: remembers the server of each session of an application,
//! and assigns later requests of the session to this server. The application's own cookie or URL
//! parameter identifies a session ([`model::state::AppSessions`]).

use http::message::{request_cookies, response_cookies};
use model::config::{AppSession, Proxy, ServerIndex};
use model::thread::current_thread_data;
use model::transaction::ProxyStream;
use std::sync::Arc;

fn id_of<'v>(
    settings: &AppSession,
    name: &'v [u8],
    value: &'v [u8],
    pair: &'v [u8],
) -> Option<&'v [u8]> {
    let id = if settings.prefix {
        name.starts_with(&settings.name)
            .then(|| &pair[settings.name.len()..])?
    } else {
        (name == &*settings.name).then_some(value)?
    };
    let bytes = id.len().min(settings.bytes_max as usize);
    id.get(..bytes).filter(|id| !id.is_empty())
}

fn pair_of<'t>(text: &'t [u8], name: &[u8], value: &[u8]) -> &'t [u8] {
    let offset = |part: &[u8]| (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    text.get(offset(name)..offset(value).saturating_add(value.len()))
        .unwrap_or_default()
}

/// Returns the session id in a request: from a cookie, otherwise from its target.
fn shown<'s>(stream: &'s ProxyStream, settings: &AppSession) -> Option<&'s [u8]> {
    for line in stream.request.fields().get_all(b"cookie") {
        for (name, value) in request_cookies(line, None) {
            let id = id_of(settings, name, value, pair_of(line, name, value));
            if id.is_some() {
                return id;
            }
        }
    }
    let (text, parts): (&[u8], &[u8]) = if settings.query_string {
        (stream.request.query().unwrap_or_default(), b"&;")
    } else {
        let path = stream.request.path();
        let first = memchr::memchr(b';', path).map_or(path.len(), |at| at + 1);
        (&path[first..], b";")
    };
    text.split(|byte| parts.contains(byte)).find_map(|part| {
        let equals = memchr::memchr(b'=', part)?;
        id_of(settings, &part[..equals], &part[equals + 1..], part)
    })
}

pub(super) fn bind_to_session_server(stream: &mut ProxyStream) {
    let Some(backend) = stream.backend() else {
        return;
    };
    let Some(settings) = backend.app_session.as_deref() else {
        return;
    };
    let Some(id) = shown(stream, settings) else {
        return;
    };
    let sessions = &backend.state.backend.app_sessions;
    let uid = sessions.find(id, current_thread_data().now_ms(), settings.timeout_ms);
    if let Some(index) = uid.and_then(|uid| backend.place_of(uid)) {
        super::give(stream, index);
    }
}

/// Stores the server of the session that a response begins. With `request-learn`, sessions in
/// requests are stored, too.
pub(super) fn learn(stream: &mut ProxyStream) {
    let config = Arc::clone(&stream.config);
    let (Some(backend), Some(server)) = (stream.route.backend, stream.route.server) else {
        return;
    };
    let backend = config.proxy(backend);
    let Some(settings) = backend.app_session.as_deref() else {
        return;
    };
    let begun = stream
        .response
        .fields()
        .get_all(b"set-cookie")
        .find_map(|line| {
            let (name, value) = response_cookies(line, None).next()?;
            id_of(settings, name, value, pair_of(line, name, value))
        });
    let id = match begun {
        Some(id) => Some(id),
        None if settings.learns_requests => shown(stream, settings),
        None => None,
    };
    if let Some(id) = id {
        remember(backend, settings, id, server);
    }
}

fn remember(backend: &Proxy, settings: &AppSession, id: &[u8], server: ServerIndex) {
    if let Some(server) = backend.servers.get(server.0 as usize) {
        let sessions = &backend.state.backend.app_sessions;
        sessions.put(
            id,
            server.state.uid,
            current_thread_data().now_ms(),
            settings.timeout_ms,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_leaves_the_rest_of_the_name_with_the_value() {
        let mut settings = AppSession {
            name: b"ASPSESSIONID".as_slice().into(),
            bytes_max: 8,
            timeout_ms: 1000,
            learns_requests: false,
            prefix: true,
            query_string: false,
        };
        let line = b"ASPSESSIONIDXXX=YYYYYYY; a=b";
        let (name, value) = request_cookies(line, None).next().unwrap();
        let pair = pair_of(line, name, value);
        assert_eq!(id_of(&settings, name, value, pair), Some(&b"XXX=YYYY"[..]));
        settings.prefix = false;
        assert_eq!(id_of(&settings, name, value, pair), None);
        settings.name = (*name).into();
        assert_eq!(id_of(&settings, name, value, pair), Some(&b"YYYYYYY"[..]));
    }
}
