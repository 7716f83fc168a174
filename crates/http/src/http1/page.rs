//! Builds the responses that the proxy generates itself: default error pages and redirects, with
//! the same bytes as HAProxy 2.6. The Connection header is added when the response is sent.

use crate::message::{HttpMessage, HttpVersion, MessageEditError, reason_of};

/// A default error page with the status, reason and text of HAProxy 2.6.
#[derive(PartialEq, Eq, Debug)]
pub struct ErrorPage {
    pub status: u16,
    pub reason: &'static str,
    sentence: &'static str,
}

const PAGES: &[ErrorPage] = &[
    page(200, "OK", "Service ready."),
    page(400, "Bad request", "Your browser sent an invalid request."),
    page(401, "Unauthorized", NEEDS_USER),
    page(
        403,
        "Forbidden",
        "Request forbidden by administrative rules.",
    ),
    page(404, "Not Found", "The resource could not be found."),
    page(
        405,
        "Method Not Allowed",
        "A request was made of a resource using a request method not supported by that resource",
    ),
    page(407, "Unauthorized", NEEDS_USER),
    page(
        408,
        "Request Time-out",
        "Your browser didn't send a complete request in time.",
    ),
    page(
        410,
        "Gone",
        "The resource is no longer available and will not be available again.",
    ),
    page(
        413,
        "Payload Too Large",
        "The request entity exceeds the maximum allowed.",
    ),
    page(
        421,
        "Misdirected Request",
        "Request sent to a non-authoritative server.",
    ),
    page(
        422,
        "Unprocessable Content",
        "The server cannot process the contained instructions.",
    ),
    page(425, "Too Early", "Your browser sent early data."),
    page(
        429,
        "Too Many Requests",
        "You have sent too many requests in a given amount of time.",
    ),
    page(
        500,
        "Internal Server Error",
        "An internal server error occurred.",
    ),
    // Keeps HAProxy's leading full stop, so that clients that compare the page get the same bytes.
    page(
        501,
        "Not Implemented",
        ".The server does not support the functionality required to fulfill the request.",
    ),
    page(
        502,
        "Bad Gateway",
        "The server returned an invalid or incomplete response.",
    ),
    page(
        503,
        "Service Unavailable",
        "No server is available to handle this request.",
    ),
    page(
        504,
        "Gateway Time-out",
        "The server didn't respond in time.",
    ),
];

const NEEDS_USER: &str = "You need a valid user and password to access this content.";

const fn page(status: u16, reason: &'static str, sentence: &'static str) -> ErrorPage {
    ErrorPage {
        status,
        reason,
        sentence,
    }
}

/// Returns the default page of a status. `None` if HAProxy has none, and uses that of 500.
pub fn error_page(status: u16) -> Option<&'static ErrorPage> {
    PAGES
        .binary_search_by_key(&status, |p| p.status)
        .ok()
        .map(|at| &PAGES[at])
}

impl ErrorPage {
    /// Returns all status codes that have a page, in order.
    pub fn statuses() -> impl Iterator<Item = u16> {
        PAGES.iter().map(|p| p.status)
    }

    pub fn body(&self) -> Vec<u8> {
        format!(
            "<html><body><h1>{} {}</h1>\n{}\n</body></html>\n",
            self.status, self.reason, self.sentence
        )
        .into_bytes()
    }

    /// Fills the message with the head of this page, and returns the body.
    ///
    /// # Errors
    /// `Full` if the head exceeds the limit of the message, which then has only a part of the head.
    pub fn respond(&self, message: &mut HttpMessage) -> Result<Vec<u8>, MessageEditError> {
        let body = self.body();
        message.begin_response(HttpVersion::Http11, self.status, self.reason.as_bytes())?;
        message.add(b"content-length", body.len().to_string().as_bytes())?;
        message.add(b"cache-control", b"no-cache")?;
        message.add(b"content-type", b"text/html")?;
        Ok(body)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum RedirectCode {
    MovedPermanently,
    #[default]
    Found,
    SeeOther,
    TemporaryRedirect,
    PermanentRedirect,
}

impl RedirectCode {
    pub fn of(status: u16) -> Option<Self> {
        Some(match status {
            301 => RedirectCode::MovedPermanently,
            302 => RedirectCode::Found,
            303 => RedirectCode::SeeOther,
            307 => RedirectCode::TemporaryRedirect,
            308 => RedirectCode::PermanentRedirect,
            _ => return None,
        })
    }

    pub fn status(self) -> u16 {
        match self {
            RedirectCode::MovedPermanently => 301,
            RedirectCode::Found => 302,
            RedirectCode::SeeOther => 303,
            RedirectCode::TemporaryRedirect => 307,
            RedirectCode::PermanentRedirect => 308,
        }
    }

    fn may_be_cached(self) -> bool {
        matches!(
            self,
            RedirectCode::MovedPermanently | RedirectCode::PermanentRedirect
        )
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Redirect<'a> {
    pub code: RedirectCode,
    pub location: &'a [u8],
    /// `set-cookie NAME=VALUE` as written in the rule.
    pub set_cookie: Option<&'a [u8]>,
    /// Cookie that the response deletes (`clear-cookie NAME`).
    pub clear_cookie: Option<&'a [u8]>,
}

impl Redirect<'_> {
    /// Fills the message with the head of this redirect. There is no body.
    ///
    /// # Errors
    /// `Full` if the head exceeds the limit of the message. `Byte` if the location or a cookie
    /// contains a NUL, CR or LF. The message then has only a part of the head.
    pub fn respond(&self, message: &mut HttpMessage) -> Result<(), MessageEditError> {
        let status = self.code.status();
        // Uses the newer reason phrase, as HAProxy does for redirects.
        let reason = if status == 302 {
            "Found"
        } else {
            reason_of(status)
        };
        message.begin_response(HttpVersion::Http11, status, reason.as_bytes())?;
        message.add(b"content-length", b"0")?;
        message.add(b"location", self.location)?;
        if !self.code.may_be_cached() {
            message.add(b"cache-control", b"no-cache")?;
        }
        for (cookie, end) in [
            (self.set_cookie, &b"; path=/;"[..]),
            (self.clear_cookie, b"; path=/; Max-Age=0;"),
        ] {
            if let Some(cookie) = cookie {
                let mut value = cookie.to_vec();
                value.extend_from_slice(end);
                message.add(b"set-cookie", &value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(message: &HttpMessage, body: &[u8]) -> String {
        let mut out = Vec::new();
        message.write_http1(&mut out);
        out.extend_from_slice(body);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pages_are_the_bytes_that_haproxy_sends() {
        let mut m = HttpMessage::new();
        let lengths = [
            (200, 58),
            (400, 90),
            (401, 112),
            (403, 93),
            (404, 83),
            (405, 146),
            (407, 112),
            (408, 110),
            (410, 114),
            (413, 106),
            (421, 104),
            (422, 116),
            (425, 80),
            (429, 117),
            (500, 97),
            (501, 136),
            (502, 107),
            (503, 107),
            (504, 92),
        ];
        for (status, length) in lengths {
            let body = error_page(status).unwrap().respond(&mut m).unwrap();
            assert_eq!(body.len(), length, "{status}");
        }
        assert_eq!(ErrorPage::statuses().count(), lengths.len());
        assert!(ErrorPage::statuses().is_sorted());
        assert_eq!(error_page(418), None);
        let body = error_page(403).unwrap().respond(&mut m).unwrap();
        assert_eq!(
            wire(&m, &body),
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 93\r\ncache-control: no-cache\r\n\
             content-type: text/html\r\n\r\n<html><body><h1>403 Forbidden</h1>\n\
             Request forbidden by administrative rules.\n</body></html>\n"
        );
    }

    #[test]
    fn redirects_are_the_bytes_that_haproxy_sends() {
        let redirect =
            |status, set_cookie: Option<&'static str>, clear_cookie: Option<&'static str>| {
                let mut m = HttpMessage::new();
                let r = Redirect {
                    code: RedirectCode::of(status).unwrap(),
                    location: b"/x",
                    set_cookie: set_cookie.map(str::as_bytes),
                    clear_cookie: clear_cookie.map(str::as_bytes),
                };
                r.respond(&mut m).unwrap();
                wire(&m, b"")
            };
        assert_eq!(
            redirect(302, None, None),
            "HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: /x\r\ncache-control: no-cache\r\n\r\n"
        );
        assert_eq!(
            redirect(301, None, None),
            "HTTP/1.1 301 Moved Permanently\r\ncontent-length: 0\r\nlocation: /x\r\n\r\n"
        );
        assert_eq!(
            redirect(307, Some("A=1"), None),
            "HTTP/1.1 307 Temporary Redirect\r\ncontent-length: 0\r\nlocation: /x\r\n\
             cache-control: no-cache\r\nset-cookie: A=1; path=/;\r\n\r\n"
        );
        assert_eq!(
            redirect(308, None, Some("A")),
            "HTTP/1.1 308 Permanent Redirect\r\ncontent-length: 0\r\nlocation: /x\r\n\
             set-cookie: A; path=/; Max-Age=0;\r\n\r\n"
        );
        assert_eq!(RedirectCode::of(300), None);
    }

    #[test]
    fn a_location_cannot_split_the_response() {
        let r = Redirect {
            code: RedirectCode::Found,
            location: b"/x\r\nset-cookie: a=b",
            set_cookie: None,
            clear_cookie: None,
        };
        assert_eq!(
            r.respond(&mut HttpMessage::new()),
            Err(MessageEditError::Byte(b'\r'))
        );
    }
}
