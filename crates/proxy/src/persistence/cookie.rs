//! Reads the persistence cookie (`cookie`) from requests, hides it from the servers, and inserts,
//! rewrites or removes it in responses.

use super::dynamic;
use super::line::{self, Edit, Edited};
use http::http1::Cacheability;
use http::message::Fields;
use model::config::{Config, Cookie, CookieMode, Proxy, Server, ServerIndex};
use model::thread::current_thread_data;
use model::transaction::{Date, Persistence, ProxyStream, RequestCookie, ResponseCookie};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Separator between the server's name and the value of the application's cookie.
const PREFIX_END: u8 = b'~';
/// Maximum number of cookies of a request that are looked up. A client has only one, and each
/// lookup may search all servers.
const JUDGED_MAX: u32 = 16;
/// Separator between the value of a cookie and its dates.
const DATES: u8 = b'|';

fn now_s() -> u64 {
    let since = current_thread_data()
        .wall_clock()
        .duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Processes the cookies of a request: finds the server to which the client belongs, and removes
/// what the server must not see.
pub(super) fn process_request_cookies(stream: &mut ProxyStream) {
    let config = Arc::clone(&stream.config);
    let Some(backend) = stream.route.backend.map(|index| config.proxy(index)) else {
        return;
    };
    let Some(cookie) = backend.cookie.as_deref() else {
        return;
    };
    if !stream.request.fields().contains(b"cookie") {
        return;
    }
    let mut known = stream.route.persistence.take().unwrap_or_default();
    let now_s = if cookie.is_dated() { now_s() } else { 0 };
    let mut look = CookieScan {
        backend,
        cookie,
        settled: known.ignored || known.server.is_some(),
        known: &mut known,
        now_s,
        judged: 0,
    };
    edit_lines(stream.request.fields_mut(), |name, value| {
        look.visit(name, value)
    });
    stream.route.persistence = Some(known);
}

fn edit_lines(fields: &mut Fields, mut visit: impl FnMut(&[u8], &[u8]) -> Edit) {
    let mut from = 0;
    while let Some(at) = fields.position(b"cookie", from) {
        let Some((_, value)) = fields.at(at) else {
            return;
        };
        from = at + 1;
        match line::edit(value, &mut visit) {
            Edited::Same => {}
            // Ignores the result: the line became shorter, so it fits.
            Edited::Changed(value) => _ = fields.replace_value(at, &value),
            Edited::Gone => {
                fields.remove_at(at);
                from = at;
            }
        }
    }
}

/// State while processing the cookies of a request.
struct CookieScan<'l> {
    backend: &'l Proxy,
    cookie: &'l Cookie,
    known: &'l mut Persistence,
    /// The server is already found, so further cookies are only removed.
    settled: bool,
    now_s: u64,
    judged: u32,
}

impl CookieScan<'_> {
    fn visit(&mut self, name: &[u8], value: &[u8]) -> Edit {
        if name != &*self.cookie.name {
            return Edit::Keep;
        }
        let (id, strip) = self.parts(value);
        if !self.settled && self.judged < JUDGED_MAX {
            self.judged += 1;
            self.known.request = self.judge(id, value);
            self.settled = self.known.server.is_some();
        } else if self.known.request == RequestCookie::None {
            self.known.request = RequestCookie::Unused;
        }
        match self.cookie.mode {
            Some(CookieMode::Prefix) if strip > 0 => Edit::Strip(strip),
            Some(CookieMode::Insert) if self.cookie.indirect => Edit::Delete,
            _ => Edit::Keep,
        }
    }

    /// Returns the part of a cookie's value that names a server, and how many bytes of the value
    /// the server must not see.
    fn parts<'v>(&self, value: &'v [u8]) -> (&'v [u8], usize) {
        if self.cookie.mode == Some(CookieMode::Prefix) {
            return match memchr::memchr(PREFIX_END, value) {
                Some(at) => (&value[..at], at + 1),
                None => (value, 0),
            };
        }
        let end = memchr::memchr(DATES, value).unwrap_or(value.len());
        (&value[..end], 0)
    }

    fn judge(&mut self, id: &[u8], value: &[u8]) -> RequestCookie {
        if self.cookie.is_dated() {
            let mut dates = value.get(id.len() + 1..).unwrap_or_default();
            self.known.last = Date::read(dates);
            dates = match memchr::memchr(DATES, dates) {
                Some(at) => &dates[at + 1..],
                None => &[],
            };
            self.known.first = Date::read(dates);
            if let Some(out) = self.is_past() {
                (self.known.last, self.known.first) = (None, None);
                return out;
            }
        }
        let mut down = false;
        let mut found = None;
        self.candidates(id, |index, server| {
            let up = server.state.usable_for_persistence();
            down |= !up;
            if super::takes(self.backend, server, self.known.forced) {
                found = Some((index, up));
            }
            found.is_some()
        });
        match found {
            Some((index, up)) => {
                self.known.server = Some(index);
                if up {
                    RequestCookie::Valid
                } else {
                    RequestCookie::Down
                }
            }
            None if down || self.known.request == RequestCookie::Down => RequestCookie::Down,
            None => RequestCookie::Invalid,
        }
    }

    fn is_past(&self) -> Option<RequestCookie> {
        let past = |date: Option<Date>, max: Option<u32>| match (date, max) {
            (Some(date), Some(max)) => date.is_past(max, self.now_s),
            _ => false,
        };
        if past(self.known.last, self.cookie.idle_max_s) {
            Some(RequestCookie::Expired)
        } else {
            past(self.known.first, self.cookie.life_max_s).then_some(RequestCookie::Old)
        }
    }

    /// Passes the servers with this cookie value to a function until it accepts one of them.
    fn candidates(&self, id: &[u8], mut take: impl FnMut(ServerIndex, &Server) -> bool) {
        let servers = &self.backend.servers;
        for at in self.backend.cookie_places.of(servers, id) {
            if let Some(server) = servers.get(*at as usize)
                && take(ServerIndex(*at), server)
            {
                return;
            }
        }
        let key = self.backend.dynamic_cookie_key.as_deref();
        let Some(key) = key.filter(|_| self.cookie.dynamic && id.len() == dynamic::DIGITS) else {
            return;
        };
        for (at, server) in (0..).zip(servers) {
            if server.options.cookie.is_none()
                && dynamic::of(server, key).is_some_and(|value| value == id)
                && take(ServerIndex(at), server)
            {
                return;
            }
        }
    }
}

fn of_answer<'c>(
    config: &'c Config,
    stream: &ProxyStream,
) -> Option<(&'c Proxy, &'c Cookie, &'c Server)> {
    let backend = config.proxy(stream.route.backend?);
    let server = backend.servers.get(stream.route.server?.0 as usize)?;
    Some((backend, backend.cookie.as_deref()?, server))
}

/// Returns the cookie value of a server: the configured one, or one that is derived from the
/// server's address.
fn value_of<'v>(
    backend: &Proxy,
    cookie: &Cookie,
    server: &'v Server,
    made: &'v mut Option<[u8; dynamic::DIGITS]>,
) -> Option<&'v [u8]> {
    if let Some(value) = &server.options.cookie {
        return Some(value);
    }
    let key = backend.dynamic_cookie_key.as_deref();
    *made = key
        .filter(|_| cookie.dynamic)
        .and_then(|key| dynamic::of(server, key));
    made.as_ref().map(|value| &value[..])
}

pub(super) fn look_at_answer(stream: &mut ProxyStream) {
    let config = Arc::clone(&stream.config);
    let Some((backend, cookie, server)) = of_answer(&config, stream) else {
        return;
    };
    let mut known = stream.route.persistence.take().unwrap_or_default();
    if !known.ignored {
        let mut made = None;
        let value = value_of(backend, cookie, server, &mut made);
        let fields = stream.response.fields_mut();
        known.response = servers_own(fields, cookie, &known, value);
    }
    stream.route.persistence = Some(known);
}

pub(super) fn insert(stream: &mut ProxyStream) {
    let config = Arc::clone(&stream.config);
    let Some((backend, cookie, server)) = of_answer(&config, stream) else {
        return;
    };
    let mut known = stream.route.persistence.take().unwrap_or_default();
    if !known.ignored
        && let Some(how) = inserts(stream, cookie, &known)
    {
        let mut made = None;
        let value = value_of(backend, cookie, server, &mut made);
        add(stream, cookie, &known, value);
        known.response = how;
    }
    stream.route.persistence = Some(known);
}

fn servers_own(
    fields: &mut Fields,
    cookie: &Cookie,
    known: &Persistence,
    value: Option<&[u8]>,
) -> ResponseCookie {
    let mut became = ResponseCookie::None;
    let direct = known.server.is_some();
    let mut from = 0;
    while let Some(at) = fields.position(b"set-cookie", from) {
        let Some((_, line)) = fields.at(at) else {
            break;
        };
        from = at + 1;
        if line::set_by(line).is_none_or(|(name, _)| name != &*cookie.name) {
            if let Some(line) = line::without_blanks(line) {
                // Ignores the result: the new line is shorter, so it fits.
                _ = fields.replace_value(at, &line);
            }
            continue;
        }
        became = ResponseCookie::Passed;
        let deletes = cookie.mode == Some(CookieMode::Insert) || direct && cookie.indirect;
        if deletes && !cookie.preserve {
            fields.remove_at(at);
            from = at;
            became = ResponseCookie::Deleted;
            continue;
        }
        let new = match (cookie.mode, value) {
            (Some(CookieMode::Rewrite), Some(value)) => line::with_value(line, &[value], false),
            (Some(CookieMode::Prefix), Some(value)) => {
                line::with_value(line, &[value, &[PREFIX_END]], true)
            }
            _ => continue,
        };
        // Keeps the server's own cookie if the head is full.
        if fields.replace_value(at, &new).is_ok() {
            became = ResponseCookie::Rewritten;
        }
    }
    became
}

fn inserts(stream: &ProxyStream, cookie: &Cookie, known: &Persistence) -> Option<ResponseCookie> {
    if cookie.mode != Some(CookieMode::Insert)
        || known.response == ResponseCookie::Passed
        || cookie.post_only && stream.request.method() != b"POST"
    {
        return None;
    }
    if known.server.is_none() {
        return Some(ResponseCookie::Inserted);
    }
    let from_cookie = matches!(known.request, RequestCookie::Valid | RequestCookie::Down);
    if !from_cookie || !cookie.is_dated() {
        return None;
    }
    let stale = match known.last {
        Some(date) => date != Date::of(now_s()),
        None => cookie.idle_max_s.is_some(),
    };
    let unmade = cookie.life_max_s.is_some() && known.first.is_none();
    (stale || unmade).then_some(ResponseCookie::Updated)
}

/// Attribute that makes the client delete the cookie, for a server without a cookie value.
const FORGET: &[u8] = b"; Expires=Thu, 01-Jan-1970 00:00:01 GMT";

fn add(stream: &mut ProxyStream, cookie: &Cookie, known: &Persistence, value: Option<&[u8]>) {
    let mut line = reactor::scratch();
    line.extend_from_slice(&cookie.name);
    line.push(b'=');
    match value {
        Some(value) => {
            line.extend_from_slice(value);
            if cookie.is_dated() {
                let now = Date::of(now_s());
                line.push(DATES);
                now.write(&mut line);
                if cookie.life_max_s.is_some() {
                    line.push(DATES);
                    known.first.unwrap_or(now).write(&mut line);
                }
            }
        }
        None => line.extend_from_slice(FORGET),
    }
    line.extend_from_slice(b"; path=/");
    line.extend_from_slice(&cookie.attributes);
    let is_cacheable = || Cacheability::of(&stream.request, &stream.response).response;
    let is_marked = cookie.nocache && is_cacheable();
    // Leaves out the cookie if rules have filled the head to its limit.
    let added = stream.response.add(b"set-cookie", &line);
    if added.is_ok() && is_marked {
        let _ = stream.response.add(b"cache-control", b"private");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyword::testing::load_text;
    use model::config::ProxyIndex;
    use model::transaction::sample;

    #[test]
    fn first_cookies_are_looked_up_and_all_are_removed() {
        let text = "listen l\nmode http\nbind 127.0.0.1:1\ncookie SRV insert indirect\n\
                    server a 127.0.0.1:2 cookie a\n";
        let mut config = load_text(text).config.expect("it loads");
        model::control::install(&mut config, None, 0);
        let config = Arc::new(config);
        for (before, found) in [(0, true), (JUDGED_MAX as usize - 1, true), (500, false)] {
            let cookies = "SRV=x; ".repeat(before);
            let text = format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: {cookies}SRV=a; y=1\r\n\r\n");
            let mut stream = sample::request(text.as_bytes());
            stream.config = Arc::clone(&config);
            (stream.route.frontend, stream.route.backend) = (ProxyIndex(0), Some(ProxyIndex(0)));
            process_request_cookies(&mut stream);
            assert_eq!(stream.route.is_direct(), found, "{before}");
            assert_eq!(stream.request.get(b"cookie"), Some(&b"y=1"[..]));
        }
    }
}
