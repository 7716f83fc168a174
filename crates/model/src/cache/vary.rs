//! Decides which stored response fits a request if responses vary by request headers (RFC 9111,
//! section 4.1). `Accept-Encoding`, `Referer` and `Origin` are supported; responses that vary by
//! other headers are not stored.

use http::message::{HttpMessage, split_values, trim};

/// Known content codings, from the HTTP parameter registry.
const CODINGS: [&[u8]; 11] = [
    b"aes128gcm",
    b"br",
    b"compress",
    b"deflate",
    b"exi",
    b"gzip",
    b"identity",
    b"pack200-gzip",
    b"x-compress",
    b"x-gzip",
    b"zstd",
];
const CODINGS_MAX: usize = 64;

/// Request properties by which responses may vary.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Secondary {
    /// Accepted codings, one bit for each of [`CODINGS`].
    codings: u16,
    referer: Box<[u8]>,
    origin: Box<[u8]>,
}

impl Secondary {
    pub(crate) fn of(request: &HttpMessage) -> Self {
        let value = |name: &[u8]| request.get(name).unwrap_or_default().into();
        Secondary {
            codings: codings(request),
            referer: value(b"referer"),
            origin: value(b"origin"),
        }
    }

    /// Returns the properties that are stored with the response: the accepted codings, and
    /// `Referer` and `Origin` only if the response varies by them.
    pub(crate) fn needed(&self, varies: &Varies) -> Self {
        let kept = |is: bool, text: &[u8]| if is { text.into() } else { Box::default() };
        Secondary {
            codings: self.codings,
            referer: kept(varies.referer, &self.referer),
            origin: kept(varies.origin, &self.origin),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.referer.len() + self.origin.len()
    }
}

const fn bit(at: usize) -> u16 {
    1 << at
}

/// Returns the accepted codings: always `identity` unless it is refused, and all without the header
/// or with `*`.
fn codings(request: &HttpMessage) -> u16 {
    const ALL: u16 = bit(CODINGS.len()) - 1;
    if request.get(b"accept-encoding").is_none() {
        return ALL;
    }
    let at = |name: &[u8]| CODINGS.iter().position(|c| c.eq_ignore_ascii_case(name));
    let identity = at(b"identity").map_or(0, bit);
    let (mut taken, mut refused) = (identity, 0);
    let lines = request.fields().get_all(b"accept-encoding");
    for coding in lines.flat_map(split_values).take(CODINGS_MAX) {
        let mut parts = coding.split(|byte| *byte == b';').map(trim);
        let name = parts.next().unwrap_or_default();
        let none = parts.any(|part| {
            let value = part.strip_prefix(b"q=").or(part.strip_prefix(b"Q="));
            value.is_some_and(|value| value.iter().all(|byte| matches!(byte, b'0' | b'.')))
        });
        let bits = match name {
            b"*" => ALL,
            name => at(name).map_or(0, bit),
        };
        if none { refused |= bits } else { taken |= bits }
    }
    taken & !(refused & !taken | refused & identity)
}

/// Returns the codings that were applied to a response; None if one of them is unknown.
fn applied(response: &HttpMessage) -> Option<u16> {
    let one = |coding: &[u8]| {
        let at = CODINGS.iter().position(|c| c.eq_ignore_ascii_case(coding));
        at.map(bit)
    };
    let mut all = 0;
    for coding in response.fields().values(b"content-encoding") {
        all |= one(coding)?;
    }
    match all {
        0 => one(b"identity"),
        all => Some(all),
    }
}

/// Request properties by which a response varies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Varies {
    /// Codings that were applied to the response, which a client must all accept; None if the
    /// response does not vary by them.
    codings: Option<u16>,
    referer: bool,
    origin: bool,
}

impl Varies {
    /// Parses `Vary` of a response. Returns None if the response must not be stored: it varies by
    /// an unsupported header, or by any header if `managed` (`process-vary`) is false.
    pub fn of(response: &HttpMessage, managed: bool) -> Option<Self> {
        let mut varies = Varies::default();
        for name in response.fields().values(b"vary") {
            if !managed {
                return None;
            }
            if name.eq_ignore_ascii_case(b"accept-encoding") {
                varies.codings = Some(applied(response)?);
            } else if name.eq_ignore_ascii_case(b"referer") {
                varies.referer = true;
            } else if name.eq_ignore_ascii_case(b"origin") {
                varies.origin = true;
            } else {
                return None;
            }
        }
        Some(varies)
    }

    pub(crate) fn fits(&self, stored: &Secondary, asked: &Secondary) -> bool {
        self.codings
            .is_none_or(|codings| asked.codings & codings == codings)
            && (!self.referer || stored.referer == asked.referer)
            && (!self.origin || stored.origin == asked.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::message::HttpMessage;

    fn request(accepts: Option<&str>) -> HttpMessage {
        let mut message = HttpMessage::new();
        message
            .begin_request(b"GET", b"/", http::message::HttpVersion::Http11)
            .unwrap();
        if let Some(accepts) = accepts {
            message.add(b"accept-encoding", accepts.as_bytes()).unwrap();
        }
        message
    }

    #[test]
    fn a_stored_coding_goes_to_who_takes_it_only() {
        let mut answer = HttpMessage::new();
        answer
            .begin_response(http::message::HttpVersion::Http11, 200, b"OK")
            .unwrap();
        answer.add(b"vary", b"Accept-Encoding").unwrap();
        let plain = Varies::of(&answer, true).unwrap();
        answer.add(b"content-encoding", b"gzip").unwrap();
        let gzip = Varies::of(&answer, true).unwrap();
        assert_eq!(Varies::of(&answer, false), None);
        let stored = Secondary::default();
        for (accepts, of_plain, of_gzip) in [
            (None, true, true),
            (Some("gzip"), true, true),
            (Some("br"), true, false),
            (Some("*"), true, true),
            (Some("gzip;q=0"), true, false),
            (Some("gzip, identity;q=0"), false, true),
            (Some("*;q=0, gzip"), false, true),
            (Some(""), true, false),
        ] {
            let asked = Secondary::of(&request(accepts));
            assert_eq!(plain.fits(&stored, &asked), of_plain, "{accepts:?}");
            assert_eq!(gzip.fits(&stored, &asked), of_gzip, "{accepts:?}");
        }
    }

    #[test]
    fn a_client_gets_a_body_of_several_codings_only_if_it_takes_them_all() {
        let mut answer = HttpMessage::new();
        answer
            .begin_response(http::message::HttpVersion::Http11, 200, b"OK")
            .unwrap();
        answer.add(b"vary", b"Accept-Encoding").unwrap();
        answer.add(b"content-encoding", b"deflate, gzip").unwrap();
        let varies = Varies::of(&answer, true).unwrap();
        for (accepts, fits) in [
            (None, true),
            (Some("gzip"), false),
            (Some("gzip, br"), false),
            (Some("br, gzip, deflate"), true),
            (Some("*"), true),
        ] {
            let asked = Secondary::of(&request(accepts));
            assert_eq!(
                varies.fits(&Secondary::default(), &asked),
                fits,
                "{accepts:?}"
            );
        }
        answer.add(b"content-encoding", b"foo").unwrap();
        assert_eq!(Varies::of(&answer, true), None);
    }

    #[test]
    fn what_cannot_be_told_apart_is_not_stored() {
        for (vary, coding, stored) in [
            ("Accept-Encoding", "foo", false),
            ("Accept-Encoding, Referer", "br", true),
            ("origin", "", true),
            ("Cookie", "", false),
            ("*", "", false),
        ] {
            let mut answer = HttpMessage::new();
            answer
                .begin_response(http::message::HttpVersion::Http11, 200, b"OK")
                .unwrap();
            answer.add(b"vary", vary.as_bytes()).unwrap();
            if !coding.is_empty() {
                answer.add(b"content-encoding", coding.as_bytes()).unwrap();
            }
            assert_eq!(Varies::of(&answer, true).is_some(), stored, "{vary}");
        }
    }
}
