//! Parses `Cache-Control` and related headers (RFC 9111, section 5.2).

use http::message::HttpMessage;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Directives {
    pub no_store: bool,
    /// In a request: no stored response is accepted. In a response: the response must not be
    /// reused without validation.
    pub no_cache: bool,
    pub private: bool,
    /// Freshness lifetime in seconds: `s-maxage`, otherwise `max-age`.
    pub lifetime_s: Option<u32>,
    /// The response is stale at once, because its lifetime is 0.
    pub over: bool,
}

impl Directives {
    pub(crate) fn of_request(request: &HttpMessage) -> Self {
        let mut said = Directives::of(request);
        said.no_cache |= said.over || pragma(request);
        said
    }

    pub(crate) fn of_response(response: &HttpMessage) -> Self {
        let mut said = Directives::of(response);
        said.no_cache |= pragma(response);
        said
    }

    fn of(message: &HttpMessage) -> Self {
        let mut said = Directives::default();
        let (mut shared, mut own) = (None, None);
        for directive in message.fields().values(b"cache-control") {
            let (name, value) = match directive.iter().position(|byte| *byte == b'=') {
                Some(at) => (&directive[..at], Some(&directive[at + 1..])),
                None => (directive, None),
            };
            let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
            if is(b"no-store") {
                said.no_store = true;
            } else if is(b"no-cache") {
                // Ignores `no-cache` with field names here: it applies to these headers only.
                said.no_cache |= value.is_none();
            } else if is(b"private") {
                said.private |= value.is_none();
            } else if is(b"s-maxage") {
                shared = value.and_then(seconds);
            } else if is(b"max-age") {
                own = value.and_then(seconds);
            }
        }
        said.lifetime_s = shared.or(own);
        said.over = said.lifetime_s == Some(0);
        said
    }

    pub(crate) fn may_be_stored(&self) -> bool {
        !(self.no_store || self.no_cache || self.private || self.over)
    }
}

/// Returns the headers that are only for a single client, in lower case: those in `private="…"` and
/// `no-cache="…"`.
pub(crate) fn own_fields(response: &HttpMessage) -> Vec<Vec<u8>> {
    let mut own = Vec::new();
    for directive in response.fields().values(b"cache-control") {
        let Some(at) = directive.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let (name, value) = (&directive[..at], &directive[at + 1..]);
        let of_one =
            name.eq_ignore_ascii_case(b"private") || name.eq_ignore_ascii_case(b"no-cache");
        if of_one {
            let names = value.split(|byte| b"\", \t".contains(byte));
            let names = names.filter(|name| !name.is_empty());
            own.extend(names.map(<[u8]>::to_ascii_lowercase));
        }
    }
    own
}

fn pragma(message: &HttpMessage) -> bool {
    let mut values = message.fields().values(b"pragma");
    values.any(|value| value.eq_ignore_ascii_case(b"no-cache"))
}

/// Parses a number of seconds, quoted or not; too large a number becomes the maximum.
pub(crate) fn seconds(text: &[u8]) -> Option<u32> {
    let text = text.strip_prefix(b"\"").unwrap_or(text);
    let text = text.strip_suffix(b"\"").unwrap_or(text);
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    Some(text.parse().unwrap_or(u32::MAX))
}

/// Parses an HTTP date (RFC 9110, section 5.6.7) as seconds since 1970.
pub(crate) fn http_time(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    // Ignores the weekday, so that a wrong one does no harm.
    let text = text.split_once(", ").map_or(text, |(_, date)| date);
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(zoned.timestamp().as_second())
}
