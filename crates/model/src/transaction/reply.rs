//! Defines the responses that the proxy generates itself: error pages, redirections, the
//! statistics page.

use super::ProxyStream;
use crate::config::{ErrorFile, ErrorPage, Proxy};
use http::http1;
use http::message::{HttpMessage, HttpVersion, reason_of};
use std::sync::Arc;

/// A response of the proxy itself.
#[derive(Clone, Debug)]
pub struct ProxyResponse {
    /// Status line and headers, without those for the connection.
    pub head: HttpMessage,
    /// Body; its length is not in the head.
    pub body: Arc<[u8]>,
    /// The connection is closed after the response.
    pub close: bool,
}

impl ProxyResponse {
    /// Creates a reply that closes the connection without a response. The status is for logs.
    /// Returns None if the status is invalid.
    pub fn silent(status: u16) -> Option<ProxyResponse> {
        let mut head = HttpMessage::default();
        head.begin_response(HttpVersion::Http11, status, b"").ok()?;
        Some(ProxyResponse {
            head,
            body: Arc::default(),
            close: true,
        })
    }

    pub fn of_file(file: &ErrorFile) -> ProxyResponse {
        ProxyResponse {
            head: file.head.clone(),
            body: file.body.clone(),
            close: false,
        }
    }

    /// Returns whether the connection is closed without a response. All other replies that close it
    /// have a header.
    pub fn is_silent(&self) -> bool {
        self.close && self.body.is_empty() && self.head.fields().is_empty()
    }
}

/// Returns the page for an error: that of the backend, of the frontend, or the built-in one.
pub fn error(stream: &ProxyStream, status: u16) -> ProxyResponse {
    let of = |proxy: &Proxy| {
        let pages = proxy.errors.iter().rev().filter(|(s, _)| *s == status);
        pages
            .map(|(_, page)| page)
            .find_map(|page| match page {
                // Continues with earlier `errorfile` lines if the group lacks a page for the
                // status.
                ErrorPage::Group(slot) => slot.get()?.page(status),
                page => Some(page),
            })
            .and_then(|page| configured(stream, status, page))
    };
    let page = stream.backend().and_then(of);
    page.or_else(|| of(stream.frontend())).unwrap_or_else(|| {
        stream.outcome.error_status.set(0);
        built_in(status)
    })
}

pub fn configured(stream: &ProxyStream, status: u16, page: &ErrorPage) -> Option<ProxyResponse> {
    let mut head = HttpMessage::default();
    stream.outcome.error_status.set(status);
    match page {
        ErrorPage::Silent => ProxyResponse::silent(status),
        ErrorPage::File(file) => Some(ProxyResponse::of_file(file)),
        ErrorPage::Made(answer) => answer.reply(stream),
        ErrorPage::Default | ErrorPage::Group(_) => None,
        ErrorPage::Redirect(status, location) => {
            // Writes the parts in the order of HAProxy, which differs from that of a redirect rule.
            let reason = if *status == 302 {
                "Found"
            } else {
                reason_of(*status)
            };
            head.begin_response(HttpVersion::Http11, *status, reason.as_bytes())
                .ok()?;
            head.add(b"cache-control", b"no-cache").ok()?;
            head.add(b"content-length", b"0").ok()?;
            head.add(b"location", location).ok()?;
            Some(ProxyResponse {
                head,
                body: Arc::default(),
                close: false,
            })
        }
    }
}

fn built_in(status: u16) -> ProxyResponse {
    let mut head = HttpMessage::default();
    let page = http1::error_page(status).or_else(|| http1::error_page(500));
    let body = page
        .and_then(|page| page.respond(&mut head).ok())
        .unwrap_or_default();
    ProxyResponse {
        head,
        body: body.into(),
        close: false,
    }
}
