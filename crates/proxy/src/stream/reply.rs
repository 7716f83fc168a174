//! Answers of the proxy's own: error pages, redirections, the statistics page.

use super::link::write_data;
use super::session::Client;
use super::write::{WriteFailure, write_all, write_pieces};
use super::{Link, Stream, Termination};
use crate::config::{ErrorPage, Proxy};
use crate::http1::{self, Limits, Outcome, Redirect, RedirectCode, RequestFacts};
use crate::message::{Message, Version};
use crate::rules::{self, Verdict};
use crate::worker::worker;
use std::sync::Arc;

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

/// The page for an error: the backend's, the frontend's, or the built-in one.
pub fn error(stream: &Stream, status: u16) -> Reply {
    let configured = |proxy: &Proxy| {
        proxy
            .errors
            .iter()
            .rev()
            .find(|(s, _)| *s == status)
            .and_then(|(_, page)| from_page(page))
    };
    stream
        .backend()
        .and_then(configured)
        .or_else(|| configured(stream.frontend()))
        .unwrap_or_else(|| built_in(status))
}

fn from_page(page: &ErrorPage) -> Option<Reply> {
    let mut head = Message::default();
    match page {
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
            let code = RedirectCode::of(*status)?;
            let redirect = Redirect {
                code,
                location,
                set_cookie: None,
                clear_cookie: None,
            };
            redirect.respond(&mut head).ok()?;
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
    let Reply { head, body, .. } = reply;
    stream.response = head;
    stream.local = true;
    let mut body = body;
    if stream.cache.as_ref().is_some_and(|cache| cache.hit)
        && let Verdict::Answer(other) = rules::http_response(stream)
    {
        // A rule refuses what the cache has.
        (stream.response, body) = (other.head, other.body);
    }
    let status = stream.response.status();
    let sized = !has_no_body(status);
    let length = body.len().to_string();
    // A page out of a file may say something else.
    if sized && stream.response.get(b"content-length") != Some(length.as_bytes()) {
        // A page that fills its head to the limit goes without; the close tells.
        let _ = stream.response.set(b"content-length", length.as_bytes());
    }
    rules::http_after_response(stream);
    if client.link.is_http2() {
        // Its connection is not this answer's matter.
    } else if !keep {
        let _ = stream.response.set(b"connection", b"close");
    } else if stream.request.version() == Version::Http10 {
        let _ = stream.response.set(b"connection", b"keep-alive");
    }
    stream.local_status = stream.response.status();
    let without_body = stream.request.method() == b"HEAD" || !sized;
    let body: &[u8] = if without_body { &[] } else { &body };
    let limit = stream.frontend().timeouts.client_ms;
    let sent = match &client.link {
        Link::Http1(transport) => {
            let mut bytes = worker().scratch();
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
    sent.is_ok()
}

fn has_no_body(status: u16) -> bool {
    matches!(status, 100..200 | 204 | 304)
}
