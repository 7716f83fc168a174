//! Applies the HTTP cache to streams: delivers stored responses to clients and stores new ones.

use crate::cache::control::{self, Directives, http_time};
use crate::cache::vary::Secondary;
use crate::cache::{Entry, Settings, Storing, Used, store, vary};
use crate::state::Tally;
use crate::thread::current_thread_data;
use crate::transaction::{ProxyResponse, ProxyStream, StreamPhase, Termination};
use http::message::{HttpMessage, HttpVersion};
use std::sync::Arc;

/// Hop-by-hop headers (RFC 9110, section 7.6.1), which are not stored.
const HOP: [&[u8]; 7] = [
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// `cache-use`: returns the response if the cache has it. Otherwise the stream remembers the cache
/// key, so that the response can be stored later. A request that must bypass the cache (HTTP/1.0,
/// `Authorization`, a body, `no-store`) leaves no key.
pub fn look_up(stream: &mut ProxyStream, name: &str) -> Option<ProxyResponse> {
    let config = Arc::clone(&stream.config);
    let cache = config.caches.iter().find(|c| &*c.settings.name == name)?;
    let request = &stream.request;
    let reads = matches!(request.method(), b"GET" | b"HEAD");
    if is_unsafe(request.method()) {
        stream.transfer.cache = Some(Box::new(Used::new(cache, key_of(request), true)));
        return None;
    }
    if !reads || request.version() == HttpVersion::Http10 || request.get(b"authorization").is_some()
    {
        return None;
    }
    if has_body(request) {
        // Bypasses the cache: the response may depend on the body, which is not part of the key.
        return None;
    }
    let asked = Directives::of_request(request);
    if asked.no_store {
        return None;
    }
    let mut used = Box::new(Used::new(cache, key_of(request), false));
    if cache.settings.vary {
        used.secondary = Secondary::of(request);
    }
    let now_ms = current_thread_data().now_ms();
    let found = if asked.no_cache {
        None
    } else {
        cache.find(&used.key, &used.secondary, now_ms)
    };
    count(stream, Tally::CacheLookups);
    let Some(entry) = found else {
        stream.transfer.cache = Some(used);
        return None;
    };
    used.hit = true;
    stream.transfer.cache = Some(used);
    count(stream, Tally::CacheHits);
    stream.outcome.end(Termination::Local, StreamPhase::Request);
    let now = Some(reactor::now());
    let times = &mut stream.times;
    (times.queued, times.connected, times.response) = (now, now, now);
    Some(deliver(&stream.request, &entry, now_ms))
}

fn count(stream: &ProxyStream, tally: Tally) {
    match stream.backend() {
        Some(backend) => backend.state.count_backend(tally),
        None => stream.frontend().state.count_frontend(tally),
    }
}

/// Builds the response to a request from an entry: the whole response, or 304 if the client's copy
/// is still valid (RFC 9110, section 13.1).
fn deliver(request: &HttpMessage, entry: &Entry, now_ms: u64) -> ProxyResponse {
    let mut head = entry.head.clone();
    // If there is no room for a further header, the response is sent without `Age`.
    _ = head.set(b"age", entry.age_s(now_ms).to_string().as_bytes());
    if is_unmodified(request, entry) && head.set_status(304, Some(b"Not Modified")).is_ok() {
        return ProxyResponse {
            head,
            body: Arc::default(),
            close: false,
        };
    }
    ProxyResponse {
        head,
        body: Arc::clone(&entry.body),
        close: false,
    }
}

/// Returns whether the client has this entry: by entity tags if it sent some, otherwise by dates.
fn is_unmodified(request: &HttpMessage, entry: &Entry) -> bool {
    let mut tags = request.fields().values(b"if-none-match").peekable();
    if tags.peek().is_some() {
        let weak = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
        let own = entry.head.get(b"etag").map(weak);
        return tags.any(|tag| tag == b"*" || own.as_deref() == Some(&weak(tag)[..]));
    }
    let Some(since) = request.get(b"if-modified-since").and_then(http_time) else {
        return false;
    };
    // Compares with `Date` if the response has no `Last-Modified` (RFC 9111, section 4.3.2).
    let dated = |name: &[u8]| entry.head.get(name).and_then(http_time);
    let modified = dated(b"last-modified").or_else(|| dated(b"date"));
    modified.unwrap_or(entry.came_at) <= since
}

/// `cache-store`: starts to store the response to a GET request if that is allowed. For a method
/// that may change the resource, a response with status 2xx or 3xx removes the stored responses
/// instead.
pub fn begin(stream: &mut ProxyStream, name: &str) {
    let response = &stream.response;
    let Some(used) = stream.transfer.cache.as_mut() else {
        return;
    };
    if used.hit || used.name() != name {
        return;
    }
    if used.unsafe_method && matches!(response.status(), 200..400) {
        used.cache.forget(&used.key);
    }
    if stream.request.method() != b"GET" {
        return;
    }
    let Some(mut storing) = storing(
        &used.cache.settings,
        response,
        current_thread_data().wall_s(),
    ) else {
        return;
    };
    let length = response.get(b"content-length").and_then(control::seconds);
    let length = length.unwrap_or(0) as usize;
    storing.filling = store::Filling::of(&used.cache);
    if storing.filling.take(storing.head.wire_len() + length) {
        storing.body.reserve_exact(length);
        used.storing = Some(storing);
    }
}

/// Returns whether a method may change the resource (RFC 9110, section 9.2.1). An unknown method
/// may (RFC 9111, section 4.4).
fn is_unsafe(method: &[u8]) -> bool {
    !matches!(
        method,
        b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"CONNECT"
    )
}

fn has_body(request: &HttpMessage) -> bool {
    request.get(b"transfer-encoding").is_some()
        || request
            .get(b"content-length")
            .is_some_and(|length| length != b"0")
}

/// Returns the part of a response that is stored; None if the response must not be stored.
fn storing(settings: &Settings, response: &HttpMessage, now_s: i64) -> Option<Storing> {
    if response.status() != 200 {
        return None;
    }
    let varies = vary::Varies::of(response, settings.vary)?;
    let has_validator = response.get(b"etag").is_some() || response.get(b"last-modified").is_some();
    let directives = Directives::of_response(response);
    if !directives.may_be_stored() {
        return None;
    }
    let own = control::own_fields(response);
    let is_own = |name: &[u8]| own.iter().any(|field| field == name);
    if response.get(b"set-cookie").is_some() && !is_own(b"set-cookie") {
        // Refuses to store a response with `Set-Cookie`: the cache would give the session cookie of
        // one client to all clients.
        return None;
    }
    // Refuses to store a response with an invalid `Age`, because its age is unknown.
    let age_s = response.get(b"age").map_or(Some(0), control::seconds)?;
    let explicit = directives.lifetime_s.or_else(|| {
        let expires = response.get(b"expires")?;
        // Treats a response with an invalid date as expired (RFC 9111, section 5.3).
        let at = http_time(expires).unwrap_or(0);
        Some(u32::try_from(at - now_s).unwrap_or(0))
    });
    let lifetime_s = match explicit {
        // Limits an explicit lifetime to `max-age` of the `cache` section.
        Some(seconds) => {
            let left = seconds.checked_sub(age_s).filter(|left| *left > 0)?;
            age_s.saturating_add(left.min(settings.age_max_s))
        }
        None if has_validator && age_s < settings.age_max_s => settings.age_max_s,
        None => return None,
    };
    let length = response.get(b"content-length").and_then(control::seconds);
    let head_bytes = response.wire_len();
    if length.is_some_and(|length| length as usize + head_bytes > settings.object_max) {
        return None;
    }
    let mut head = response.clone();
    let named: Vec<Vec<u8>> = response
        .fields()
        .values(b"connection")
        .map(<[u8]>::to_ascii_lowercase)
        .collect();
    head.remove_if(|name, _| {
        HOP.contains(&name) || name == b"age" || named.iter().any(|hop| hop == name) || is_own(name)
    });
    Some(Storing {
        head,
        body: Vec::new(),
        age_s,
        lifetime_s,
        varies,
        filling: store::Filling::default(),
    })
}

/// Stores a part of the response's body. Drops a response that becomes too large.
pub fn piece(storing: &mut Option<Box<Used>>, data: &[u8]) {
    let Some(used) = storing else { return };
    let most = used.cache.settings.object_max;
    let Some(storing) = &mut used.storing else {
        return;
    };
    let length = storing.body.len() + data.len();
    let more = length.saturating_sub(storing.body.capacity());
    if length + storing.head.wire_len() > most || !storing.filling.take(more) {
        used.storing = None;
    } else {
        storing.body.extend_from_slice(data);
    }
}

pub fn complete(stream: &mut ProxyStream) {
    let Some(used) = stream.transfer.cache.as_mut() else {
        return;
    };
    let Some(storing) = used.storing.take() else {
        return;
    };
    let now_ms = current_thread_data().now_ms();
    let entry = Entry {
        head: storing.head,
        body: storing.body.into(),
        came_ms: now_ms,
        came_at: current_thread_data().wall_s(),
        age_s: storing.age_s,
        lifetime_s: storing.lifetime_s,
        varies: storing.varies,
        secondary: used.secondary.needed(&storing.varies),
    };
    used.cache.insert(used.key.clone(), entry);
}

/// Returns the cache key: host and target, complete, so that two requests cannot be made to
/// collide.
fn key_of(request: &HttpMessage) -> Box<[u8]> {
    let host = request.get(b"host").unwrap_or_default();
    let mut key = host.to_ascii_lowercase();
    key.push(b' ');
    key.extend_from_slice(request.path_and_query());
    key.into()
}

#[cfg(test)]
mod tests;
