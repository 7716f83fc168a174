//! Builds the HTTP responses of the portal, with their security headers.

use super::PortalConfiguration;
use crate::body::ResponseBody;
use access::page;
use aws_lc_rs::digest::{SHA256, digest};
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    LOCATION, REFERRER_POLICY, RETRY_AFTER, STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use maud::Markup;
use tls::describe::hex;

pub type PortalResponse = Response<ResponseBody>;

/// Content security policy: nothing from other sites, and no script at all.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'";
/// Authentication challenge for programs (RFC 7617).
const BASIC: &str = "Basic realm=\"remote desktops\", charset=\"UTF-8\"";

fn reply(status: StatusCode, kind: &'static str, bytes: Vec<u8>) -> PortalResponse {
    let mut reply = Response::new(ResponseBody::Whole(Some(Bytes::from(bytes))));
    *reply.status_mut() = status;
    set(&mut reply, CONTENT_TYPE, kind);
    reply
}

/// Adds a header. A text that is no valid header value is ignored.
pub(super) fn set(reply: &mut PortalResponse, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().append(name, value);
    }
}

pub(super) fn html(status: StatusCode, markup: Markup) -> PortalResponse {
    reply(
        status,
        "text/html; charset=utf-8",
        markup.into_string().into_bytes(),
    )
}

pub(super) fn text(status: StatusCode, words: &str) -> PortalResponse {
    reply(
        status,
        "text/plain; charset=utf-8",
        format!("{words}\n").into_bytes(),
    )
}

pub(super) fn bytes(kind: &'static str, bytes: Vec<u8>) -> PortalResponse {
    reply(StatusCode::OK, kind, bytes)
}

pub(super) fn nothing() -> PortalResponse {
    reply(
        StatusCode::NOT_FOUND,
        "text/plain; charset=utf-8",
        Vec::new(),
    )
}

pub(super) fn download(name: &str, bytes: Vec<u8>) -> PortalResponse {
    let mut reply = reply(StatusCode::OK, "application/x-rdp", bytes);
    set(
        &mut reply,
        CONTENT_DISPOSITION,
        &format!("attachment; filename=\"{name}\""),
    );
    reply
}

fn redirect_with_status(status: StatusCode, path: &str) -> PortalResponse {
    let mut reply = reply(status, "text/plain; charset=utf-8", Vec::new());
    set(&mut reply, LOCATION, path);
    reply
}

pub(super) fn to(path: &str) -> PortalResponse {
    redirect_with_status(StatusCode::SEE_OTHER, path)
}

pub(super) fn redirect_to_sign_in(path: &str) -> PortalResponse {
    redirect_with_status(StatusCode::FOUND, path)
}

pub(super) fn request_credentials() -> PortalResponse {
    let mut reply = text(
        StatusCode::UNAUTHORIZED,
        "The name or the password is missing, or wrong.",
    );
    set(&mut reply, WWW_AUTHENTICATE, BASIC);
    reply
}

pub(super) fn too_often(seconds: u64) -> PortalResponse {
    let words = format!("Too many attempts. Try again in {seconds} s.");
    let mut reply = text(StatusCode::TOO_MANY_REQUESTS, &words);
    set(&mut reply, RETRY_AFTER, &seconds.to_string());
    reply
}

/// Returns a static file of the evenkeel binary. A browser that has it, by its ETag, gets only a
/// confirmation.
pub(super) fn file(headers: &HeaderMap, kind: &'static str, text: &'static str) -> PortalResponse {
    let hash = digest(&SHA256, text.as_bytes());
    let tag = format!("\"{}\"", hex(&hash.as_ref()[..8], false));
    let is_known = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut reply = if is_known {
        reply(StatusCode::NOT_MODIFIED, kind, Vec::new())
    } else {
        bytes(kind, text.as_bytes().to_vec())
    };
    set(&mut reply, CACHE_CONTROL, "no-cache");
    set(&mut reply, ETAG, &tag);
    reply
}

impl PortalConfiguration {
    pub(super) fn failure(&self, status: StatusCode, words: &str) -> PortalResponse {
        let page = page::failure(&self.brand, status.as_u16(), words, "To the list");
        html(status, page)
    }
}

pub(super) fn secured(mut reply: PortalResponse) -> PortalResponse {
    let headers = reply.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    reply
}
