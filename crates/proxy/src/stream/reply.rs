//! Answers of the proxy's own: error pages, redirections, the statistics page.

use super::session::Client;
use super::shape::{self, Interim};
use super::{Stream, Termination};
use crate::config::{ErrorPage, Proxy};
use crate::rules::{self, Verdict};
use http::http1::{self, Limits, Outcome, RequestFacts};
use http::message::{Message, Version, reason_of};
use mux::link::Link;
use mux::link::write_data;
use mux::link::{WriteFailure, write_all, write_pieces};
use std::sync::Arc;

/// Room for the header that says how long an answer is.
const FRAMING_BYTES: usize = 64;

/// An answer of the proxy's own.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status line and headers, without those of the connection.
    pub head: Message,
    /// The body; its length is not in the head.
    pub body: Arc<[u8]>,
    /// The connection closes after it.
    pub close: bool,
}

impl Reply {
    /// None: the connection is closed without a word. The status is for logs.
    pub(crate) fn silent(status: u16) -> Option<Reply> {
        let mut head = Message::default();
        head.begin_response(Version::Http11, status, b"").ok()?;
        Some(Reply {
            head,
            body: Arc::default(),
            close: true,
        })
    }

    /// Whether only the end of an HTTP/1 connection tells where it ends: pages for
    /// HTTP/1.0 have no length.
    pub fn ends_connection(&self) -> bool {
        self.head.version() == Version::Http10 && self.head.get(b"content-length").is_none()
    }

    /// Whether no request follows it on the client's connection.
    pub(super) fn ends(&self, client: &Client, stream: &Stream) -> bool {
        let on_connection = self.ends_connection() || stream.begins_tunnel(self.head.status());
        self.close || (on_connection && !client.link.is_http2())
    }

    /// Whether it is none. Whatever else closes has a header.
    fn is_silent(&self) -> bool {
        self.close && self.body.is_empty() && self.head.fields().is_empty()
    }
}

/// The page for an error: the backend's, the frontend's, or the built-in one.
pub fn error(stream: &Stream, status: u16) -> Reply {
    let of = |proxy: &Proxy| {
        let pages = proxy.errors.iter().rev().filter(|(s, _)| *s == status);
        pages
            .map(|(_, page)| page)
            .find_map(|page| match page {
                // What the group lacks is what the lines before say.
                ErrorPage::Group(slot) => slot.get()?.page(status),
                page => Some(page),
            })
            .and_then(|page| configured(stream, status, page))
    };
    let page = stream.backend().and_then(of);
    page.or_else(|| of(stream.frontend())).unwrap_or_else(|| {
        stream.error_status.set(0);
        built_in(status)
    })
}

/// The answer that a page of the configuration is.
pub fn configured(stream: &Stream, status: u16, page: &ErrorPage) -> Option<Reply> {
    let mut head = Message::default();
    stream.error_status.set(status);
    match page {
        ErrorPage::Raw(bytes) if bytes.is_empty() => Reply::silent(status),
        ErrorPage::Made(answer) => answer.reply(stream),
        ErrorPage::Default | ErrorPage::Group(_) => None,
        ErrorPage::Raw(bytes) => {
            let (limits, facts) = (Limits::default(), RequestFacts::default());
            // The loader has read it this way before.
            let Ok(Outcome::Done(parsed)) =
                http1::parse_response(bytes, &facts, &limits, &mut head)
            else {
                return None;
            };
            let body = bytes.get(parsed.consumed..).unwrap_or_default().into();
            Some(Reply {
                head,
                body,
                close: false,
            })
        }
        ErrorPage::Redirect(status, location) => {
            // In HAProxy's order, which is another than that of a rule's redirection.
            let reason = if *status == 302 {
                "Found"
            } else {
                reason_of(*status)
            };
            head.begin_response(Version::Http11, *status, reason.as_bytes())
                .ok()?;
            head.add(b"cache-control", b"no-cache").ok()?;
            head.add(b"content-length", b"0").ok()?;
            head.add(b"location", location).ok()?;
            Some(Reply {
                head,
                body: Arc::default(),
                close: false,
            })
        }
    }
}

fn built_in(status: u16) -> Reply {
    let mut head = Message::default();
    let page = http1::error_page(status).or_else(|| http1::error_page(500));
    let body = page
        .and_then(|page| page.respond(&mut head).ok())
        .unwrap_or_default();
    Reply {
        head,
        body: body.into(),
        close: false,
    }
}

/// Sends an answer of the proxy's own; false when it could not be. `keep`: the
/// connection stays open for another request.
pub async fn send(client: &mut Client, stream: &mut Stream, reply: Reply, keep: bool) -> bool {
    let silent = reply.is_silent();
    let Reply { head, body, .. } = reply;
    stream.response = head;
    stream.local = true;
    if silent {
        stream.local_status = stream.response.status();
        return false;
    }
    let mut body = body;
    if stream.cache.as_ref().is_some_and(|cache| cache.hit)
        && let Verdict::Answer(other) = rules::http_response(stream)
    {
        // A rule refuses what the cache has.
        (stream.response, body) = (other.head, other.body);
    }
    let Ok(has_body) = complete(client, stream, body.len(), keep) else {
        client.link.break_off();
        return false;
    };
    let body: &[u8] = if has_body { &body } else { &[] };
    let limit = stream.client_ms();
    let sent = match &client.link {
        Link::Http1(transport) => {
            let mut bytes = reactor::scratch();
            stream.response.write_http1(&mut bytes);
            stream.bytes_out += (bytes.len() + body.len()) as u64;
            if body.is_empty() {
                write_all(transport, &bytes, limit).await
            } else {
                write_pieces(transport, [&bytes, body], false, limit).await
            }
        }
        Link::Http2(link) => {
            stream.bytes_out += (stream.response.wire_len() + body.len()) as u64;
            match link.send_head(&stream.response, body.is_empty()) {
                Ok(()) if body.is_empty() => Ok(()),
                Ok(()) => write_data(link, body, true, limit).await,
                Err(error) => Err(WriteFailure::Failed(error)),
            }
        }
    };
    if sent.is_err() && stream.termination == Termination::Normal {
        stream.termination = Termination::ClientAbort;
    }
    sent.is_ok() && !stream.begins_tunnel(stream.response.status())
}

/// Completes the head of an answer: its length, the rules that see every answer, and
/// what becomes of the connection. Returns whether its body is sent.
fn complete(
    client: &Client,
    stream: &mut Stream,
    body_len: usize,
    keep: bool,
) -> Result<bool, Interim> {
    let old_status = stream.response.status();
    let length = (!shape::is_bodiless(old_status)).then(|| body_len.to_string());
    // An answer of HTTP/1.0, out of a file, closes unless it says otherwise.
    let old = stream.response.version() == Version::Http10 && !client.link.is_http2();
    // A page out of a file may say something else, or be ended by the close.
    if let Some(length) = &length
        && (!old || stream.response.get(b"content-length").is_some())
        && stream.response.get(b"content-length") != Some(length.as_bytes())
    {
        // Without it nobody would know where the answer ends, so a head that is
        // full gets the room.
        if stream
            .response
            .set(b"content-length", length.as_bytes())
            .is_err()
        {
            let room = stream.response.wire_len() + FRAMING_BYTES;
            stream.response.set_limit(room);
            let _ = stream.response.set(b"content-length", length.as_bytes());
        }
    }
    // As with HAProxy, no rule sees the response to what is no request.
    if stream.request.is_request() {
        rules::http_after_response(stream);
    }
    let has_body = shape::settle_own(stream, old_status, body_len)?;
    stream.dress_answer(&client.link);
    if client.link.is_http2() {
        // Its connection is not this answer's matter.
    } else if !keep {
        if !old {
            let _ = stream.response.set(b"connection", b"close");
        }
    } else if old || stream.request.version() == Version::Http10 {
        let _ = stream.response.set(b"connection", b"keep-alive");
    }
    stream.local_status = match stream.error_status.take() {
        0 => stream.response.status(),
        status => status,
    };
    Ok(has_body)
}
