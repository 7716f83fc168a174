//! Parses the credentials of a request as HAProxy does: `Authorization`, or `Proxy-Authorization`
//! of a proxied request.

use crate::config::ProxyOption;
use crate::transaction::ProxyStream;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::message::HttpMessage;
use zeroize::Zeroizing;

/// Returns whether the client uses a forward proxy: it then sends `Proxy-Authorization`, and the
/// challenge is 407.
pub fn is_proxied(stream: &ProxyStream) -> bool {
    stream.frontend().has(ProxyOption::HttpUseProxyHeader)
        && !stream.request.is_target_composed()
        && !matches!(stream.request.target().first(), None | Some(b'/' | b'*'))
}

/// Returns the first value of the header, up to its first comma: scheme, and the rest.
fn value<'m>(request: &'m HttpMessage, header: &[u8]) -> Option<(&'m [u8], &'m [u8])> {
    let line = request.get(header)?;
    let value = line.split(|b| *b == b',').next()?.trim_ascii();
    let space = value.iter().position(|b| *b == b' ')?;
    Some((&value[..space], value[space..].trim_ascii_start()))
}

pub fn header(stream: &ProxyStream) -> &'static [u8] {
    if is_proxied(stream) {
        b"proxy-authorization"
    } else {
        b"authorization"
    }
}

/// A name and a password. Both are wiped from memory when dropped.
#[derive(Debug)]
pub struct Basic {
    decoded: Zeroizing<Vec<u8>>,
    colon: usize,
}

impl Basic {
    /// Returns the credentials of a request, if it has any.
    pub fn of(stream: &ProxyStream) -> Option<Basic> {
        Basic::in_header(super::request(stream)?, header(stream))
    }

    pub fn in_header(request: &HttpMessage, header: &[u8]) -> Option<Basic> {
        let (scheme, encoded) = value(request, header)?;
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let mut decoded = Zeroizing::new(STANDARD.decode(encoded).ok()?);
        // Cuts the text at the first zero byte, as HAProxy does with its C strings.
        if let Some(end) = decoded.iter().position(|b| *b == 0) {
            decoded.truncate(end);
        }
        let colon = decoded.iter().position(|b| *b == b':')?;
        Some(Basic { decoded, colon })
    }

    /// Returns the user name, up to the first colon.
    pub fn user(&self) -> &[u8] {
        &self.decoded[..self.colon]
    }

    /// Returns the password, after the first colon.
    pub fn password(&self) -> &[u8] {
        &self.decoded[self.colon + 1..]
    }
}

/// Returns the token of a header with the scheme `Bearer`.
pub fn bearer<'m>(request: &'m HttpMessage, header: &[u8]) -> Option<&'m [u8]> {
    let (scheme, token) = value(request, header)?;
    scheme.eq_ignore_ascii_case(b"bearer").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::message::HttpVersion;

    fn read(line: &str) -> String {
        let mut request = HttpMessage::new();
        request
            .begin_request(b"GET", b"/", HttpVersion::Http11)
            .unwrap();
        request.add(b"authorization", line.as_bytes()).unwrap();
        if let Some(token) = bearer(&request, b"authorization") {
            return format!("bearer {}", String::from_utf8_lossy(token));
        }
        match Basic::in_header(&request, b"authorization") {
            Some(basic) => format!(
                "{}|{}",
                String::from_utf8_lossy(basic.user()),
                String::from_utf8_lossy(basic.password())
            ),
            None => "none".into(),
        }
    }

    #[test]
    fn credentials_are_read_as_haproxy_reads_them() {
        for (line, expected) in [
            ("Basic YTpiOmM=", "a|b:c"),
            ("bAsic   YTpiOmM=", "a|b:c"),
            ("Basic YTpi, foo", "a|b"),
            ("Basic YTpiAGM=", "a|b"),
            ("Basic OmVtcHR5", "|empty"),
            ("Basic bm9jb2xvbg==", "none"),
            ("Basic YTpi YTpi", "none"),
            ("Basic YTpiOmM", "none"),
            ("Basic !!!", "none"),
            ("Basic", "none"),
            ("Digest YTpiOmM=", "none"),
            ("bearer  tok x", "bearer tok x"),
            ("", "none"),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
    }
}
