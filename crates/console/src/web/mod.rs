//! Serves the console over HTTP: the sign-in, the pages and their live updates, displays and
//! terminals of guests, actions, the API for programs, and metrics. Sets the security headers of
//! each response, and counts connections for their users.

mod act;
mod api;
mod api_proxy;
mod api_versions;
mod asks;
mod bearer;
mod config;
mod described;
mod drain;
mod inquire;
mod live;
mod outcome;
mod pages;
mod places;
mod screen;
pub mod serve;
mod sign_in;
mod standing;
#[cfg(test)]
mod tests;

use crate::access;
use crate::shared::ConsoleState;
use ::access::proof::SignInOrigin;
use ::access::session::value_in;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use axum::middleware::{map_request_with_state, map_response_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use maud::Markup;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use places::ConnectionHandle;
use serve::ClientAddress;

use crate::config::Security;
use crate::page;
use crate::user::Viewer;

const FORM_BYTES_MAX: usize = 16 << 10;
const BODY_LIMIT: Duration = Duration::from_secs(10);
/// Content security policy: pages may load only the files of this console.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const FORWARDED_FOR: &str = "x-forwarded-for";

/// State that every handler gets.
type Common = Arc<ConsoleState>;

pub fn router(shared: Common) -> Router {
    screen::routes(Router::new())
        .route("/", get(pages::page))
        .route("/traffic", get(pages::page))
        .route("/traffic/{name}", get(pages::page))
        .route("/part/{name}", get(pages::page))
        .route("/requests", get(pages::page))
        .route("/requests/{id}", get(pages::request))
        .route("/route", get(pages::route))
        .route("/tables/{name}", get(pages::table))
        .route("/events", get(pages::page))
        .route("/config", get(pages::page))
        .route("/config/{name}", get(config::page).post(config::form))
        .route("/live", get(live::live))
        .route("/act", post(act::act))
        .route("/sign-in", get(sign_in::form).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/once/{secret}", get(sign_in::link).post(sign_in::use_link))
        .route("/style.css", get(style))
        .route("/live.js", get(script))
        .route("/edit.js", get(editor))
        .route(::screen::page::SCRIPT_PATH, get(display))
        .route("/metrics", get(api::metrics))
        .route("/api/v1", get(api::description))
        .route("/api/v1/platform", get(api::platform))
        .route("/api/v1/events", get(api::events))
        .route("/api/v1/act", post(api::act))
        .route("/api/v1/requests", get(api_proxy::requests))
        .route("/api/v1/requests/{id}", get(api_proxy::request))
        .route("/api/v1/route", get(api_proxy::route))
        .route("/api/v1/tables", get(api_proxy::tables))
        .route(
            "/api/v1/tables/{name}",
            get(api_proxy::table).delete(api_proxy::remove),
        )
        .route("/api/v1/versions", get(api_versions::versions))
        .route("/api/v1/files", get(api_versions::of_version))
        .route("/api/v1/differences", get(api_versions::differences))
        .route("/api/v1/check", post(api_versions::check))
        .route("/api/v1/apply", post(api_versions::apply))
        .route("/api/v1/version", post(api_versions::act))
        .fallback(pages::not_found)
        .layer(map_request_with_state(Arc::clone(&shared), known))
        .layer(map_response_with_state(Arc::clone(&shared), secured))
        .with_state(shared)
}

/// Counts the connection of a signed-in user for that user. For programs [`asks`] does that. A
/// request that a trusted proxy forwards counts for the client that the proxy names.
async fn known(State(shared): State<Common>, mut request: Request<Body>) -> Request<Body> {
    let guest = request
        .extensions()
        .get::<ConnectionHandle>()
        .cloned()
        .unwrap_or_default();
    let mut is_forwarded = false;
    if let Some(ClientAddress(peer)) = request.extensions().get().copied() {
        let forwarded = request.headers().get_all(FORWARDED_FOR).iter();
        // Treats a value that is not text as no address, which ends the search.
        let forwarded = forwarded.map(|value| value.to_str().unwrap_or_default());
        let proxies = &shared.config().proxies;
        is_forwarded = proxies.has(peer);
        let client = proxies.client_of(peer, forwarded);
        guest.move_to(client);
        request.extensions_mut().insert(ClientAddress(client));
    }
    // Checks the user at each request of a proxy, which sends the requests of many clients over one
    // connection.
    if (is_forwarded || !guest.is_known())
        && let Some((viewer, _)) = signed_in(&shared, request.headers())
    {
        guest.assign_user(&viewer.name, viewer.role);
    }
    request
}

async fn secured(State(shared): State<Common>, mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    set(REFERRER_POLICY, "same-origin");
    set(CACHE_CONTROL, "no-store");
    set(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    // Sets HSTS only for a configured certificate: a user accepts a self-signed one as an
    // exception, which a browser with HSTS would not permit, and would lock the user out.
    if matches!(shared.config().security, Security::Certificate(_)) {
        set(STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}

fn html(status: StatusCode, markup: Markup) -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8")];
    (status, headers, markup.into_string()).into_response()
}

fn failure(status: StatusCode, words: &str) -> Response {
    html(status, page::failure(status.as_u16(), words))
}

fn signed_in<'h>(shared: &ConsoleState, headers: &'h HeaderMap) -> Option<(Viewer, &'h str)> {
    let cookies = headers.get_all(COOKIE).iter();
    let mut tokens = cookies.filter_map(|value| value_in(value.to_str().ok()?, access::COOKIE));
    tokens.find_map(|token| Some((shared.viewer(token)?, token)))
}

fn client(from: IpAddr, headers: &HeaderMap) -> SignInOrigin<'_> {
    let cookies = headers.get_all(COOKIE).iter();
    let cookies = cookies.filter_map(|value| value.to_str().ok());
    SignInOrigin::of(from, cookies, access::DEVICE_COOKIE)
}

/// Returns the body of a request, if it is complete in time.
async fn body(request: Request<Body>) -> Option<Vec<u8>> {
    body_within(request, FORM_BYTES_MAX).await
}

async fn body_within(request: Request<Body>, max: usize) -> Option<Vec<u8>> {
    let bytes = axum::body::to_bytes(request.into_body(), max);
    let bytes = tokio::time::timeout(BODY_LIMIT, bytes).await.ok()?.ok()?;
    Some(bytes.to_vec())
}

fn field(form: &[(String, String)], name: &str) -> String {
    let found = form.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

fn fields(bytes: &[u8]) -> Vec<(String, String)> {
    let pairs = form_urlencoded::parse(bytes);
    pairs
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

async fn style(headers: HeaderMap) -> Response {
    file(&headers, "text/css; charset=utf-8", page::STYLE)
}

async fn script(headers: HeaderMap) -> Response {
    file(&headers, "text/javascript; charset=utf-8", page::SCRIPT)
}

async fn editor(headers: HeaderMap) -> Response {
    file(&headers, "text/javascript; charset=utf-8", page::EDITOR)
}

async fn display(headers: HeaderMap) -> Response {
    file(
        &headers,
        "text/javascript; charset=utf-8",
        ::screen::page::SCRIPT,
    )
}

/// Serves a static file. The file is part of the evenkeel binary, so its digest is the entity tag.
fn file(headers: &HeaderMap, kind: &'static str, text: &'static str) -> Response {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let tag = data_encoding::HEXLOWER.encode(&digest.as_ref()[..8]);
    let tag = format!("\"{tag}\"");
    let known = headers.get(IF_NONE_MATCH).map(HeaderValue::as_bytes);
    let caching = [(CACHE_CONTROL, "no-cache".to_owned()), (ETAG, tag.clone())];
    if known == Some(tag.as_bytes()) {
        (StatusCode::NOT_MODIFIED, caching).into_response()
    } else {
        (caching, [(CONTENT_TYPE, kind)], text).into_response()
    }
}
