//! How somebody comes in: by a password of the list, or by a link that works once.

use super::{Common, body, failure, field, fields, html, signed_in};
use crate::access::limiter::Key;
use crate::access::session::{COOKIE, LASTS_S};
use crate::config::User;
use crate::page;
use crate::shared::{Shared, now_ms, now_s};
use crate::web::serve::From;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{HOST, LOCATION, ORIGIN, RETRY_AFTER, SET_COOKIE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use configuration::{Account, Password};
use part::lock;
use std::net::IpAddr;
use std::sync::Arc;

/// The longest name and the longest password that are looked at.
const NAME_MAX: usize = 128;
const PASSWORD_MAX: usize = 512;

/// Why somebody does not come in.
pub(super) enum Refused {
    /// It is not their password, or there is no such user.
    Wrong,
    /// They tried too often: seconds until the next try.
    TooOften(u64),
}

/// Verifies a password, within what somebody at this address may try.
pub(super) async fn verify(
    shared: &Common,
    from: IpAddr,
    name: &str,
    password: &str,
) -> Result<User, Refused> {
    if name.len() > NAME_MAX || password.len() > PASSWORD_MAX {
        return Err(Refused::Wrong);
    }
    let keys = [Key::of(from), Key::For(name.to_owned())];
    let Ok(_turn) = shared.verifying.acquire().await else {
        return Err(Refused::Wrong);
    };
    let wait = lock(&shared.limiter).wait(&keys, now_ms());
    if let Some(ms) = wait {
        return Err(Refused::TooOften(ms.div_ceil(1_000)));
    }
    let config = shared.config();
    let known = config.user(name).cloned();
    // Whether there is such a user is not to be seen from the time that it takes.
    let account = match (&known, config.users.first()) {
        (Some(user), _) => user.account.clone(),
        (None, Some(decoy)) => decoy.account.clone(),
        (None, None) => nobody(),
    };
    let (verify, password) = (shared.verify, password.to_owned());
    let verified = tokio::task::spawn_blocking(move || verify(&account, password.as_bytes()));
    let is_right = verified.await.unwrap_or_default();
    match known.filter(|_| is_right) {
        Some(user) => {
            lock(&shared.limiter).forgive(&keys);
            Ok(user)
        }
        None => {
            lock(&shared.limiter).count(&keys, now_ms());
            Err(Refused::Wrong)
        }
    }
}

fn nobody() -> Account {
    Account {
        name: String::new(),
        groups: Vec::new(),
        password: Password::None,
    }
}

/// Where to go after signing in: a page of this console.
fn next_of(next: &str) -> &str {
    let is_own =
        next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    match is_own && next.is_ascii() && next.len() < 1_024 {
        true => next,
        false => "/",
    }
}

/// To another page.
pub(super) fn to(path: &str) -> Response {
    let place = HeaderValue::from_str(path);
    let place = place.unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response()
}

fn with_cookie(path: &str, token: &str, lasts_s: u64) -> Response {
    let cookie =
        format!("{COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={lasts_s}");
    let mut response = to(path);
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// Whether a form came from a page of this console, as far as the browser says where it came from.
pub(super) fn is_own(headers: &HeaderMap, uri: &Uri) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return headers
            .get("sec-fetch-site")
            .is_none_or(|site| site == "same-origin" || site == "none");
    };
    // HTTP/2 has it in `:authority`.
    let authority = uri.authority().map(Authority::as_str);
    let host = authority.or_else(|| headers.get(HOST)?.to_str().ok());
    let origin = origin.to_str().ok();
    let origin = origin.and_then(|origin| origin.split_once("://"));
    matches!((origin, host), (Some((_, origin)), Some(host)) if origin == host)
}

/// The form.
pub(super) async fn form(
    State(shared): State<Common>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let query = fields(query.unwrap_or_default().as_bytes());
    let next = field(&query, "next");
    match signed_in(&shared, &headers) {
        Some(_) => to(next_of(&next)),
        None => html(StatusCode::OK, page::sign_in(None, next_of(&next))),
    }
}

/// Somebody signs in.
pub(super) async fn sign_in(
    State(shared): State<Common>,
    Extension(From(from)): Extension<From>,
    request: Request<Body>,
) -> Response {
    if !is_own(request.headers(), request.uri()) {
        return failure(StatusCode::FORBIDDEN, "This form came from another site.");
    }
    let Some(bytes) = body(request).await else {
        return failure(StatusCode::BAD_REQUEST, "The form did not come whole.");
    };
    let form = fields(&bytes);
    let (name, next) = (field(&form, "user"), field(&form, "next"));
    let next = next_of(&next);
    match verify(&shared, from, &name, &field(&form, "password")).await {
        Ok(user) => begin(&shared, &user, next),
        Err(Refused::Wrong) => {
            let words = "The name or the password is wrong.";
            html(StatusCode::FORBIDDEN, page::sign_in(Some(words), next))
        }
        Err(Refused::TooOften(seconds)) => {
            let words = format!("Too many tries. The next one is possible in {seconds} s.");
            let page = page::sign_in(Some(&words), next);
            let mut response = html(StatusCode::TOO_MANY_REQUESTS, page);
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(RETRY_AFTER, seconds);
            response
        }
    }
}

fn begin(shared: &Shared, user: &User, next: &str) -> Response {
    let config = shared.config();
    let token = lock(&shared.sessions).begin(&config, &user.account.name, now_s());
    match token {
        Ok(token) => with_cookie(next, &token, LASTS_S),
        Err(words) => failure(StatusCode::SERVICE_UNAVAILABLE, &words),
    }
}

/// Somebody goes.
pub(super) async fn sign_out(State(shared): State<Common>, request: Request<Body>) -> Response {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    let Some((viewer, token)) = signed_in(&shared, &headers) else {
        return to("/sign-in");
    };
    let form = fields(&body(request).await.unwrap_or_default());
    if !is_own(&headers, &uri) || field(&form, "csrf") != viewer.csrf {
        return failure(StatusCode::FORBIDDEN, "This form came from another site.");
    }
    lock(&shared.sessions).end(token, now_s());
    shared.wake();
    with_cookie("/sign-in", "", 0)
}

/// A link was opened: by a person, or by a program that looks at links. So it takes a button.
pub(super) async fn link(State(shared): State<Common>, Path(secret): Path<String>) -> Response {
    let lasts = lock(&shared.sessions).has_link(&secret, now_s());
    match lasts {
        true => html(StatusCode::OK, page::once(&secret)),
        false => used_up(),
    }
}

fn used_up() -> Response {
    let words = "This link was used, or is too old. `evenkeel console link` prints a new one.";
    failure(StatusCode::GONE, words)
}

/// A link is used.
pub(super) async fn use_link(
    State(shared): State<Arc<Shared>>,
    Path(secret): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    if !is_own(&headers, &uri) {
        return failure(StatusCode::FORBIDDEN, "This form came from another site.");
    }
    let token = lock(&shared.sessions).use_link(&secret, now_s());
    match token {
        Some(token) => with_cookie("/", &token, LASTS_S),
        None => used_up(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_on_to_a_page_of_this_console_only() {
        for (next, expected) in [
            ("/traffic?q=a", "/traffic?q=a"),
            ("//evil.example/", "/"),
            ("https://evil.example/", "/"),
            ("/\\evil.example", "/"),
            ("/a\r\nx: y", "/"),
            ("", "/"),
        ] {
            assert_eq!(next_of(next), expected, "{next}");
        }
    }

    #[test]
    fn a_form_of_another_site_is_not_own() {
        let headers = |pairs: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in pairs {
                map.insert(*name, HeaderValue::from_str(value).unwrap());
            }
            map
        };
        let host = ("host", "a.example:8600");
        let own = |pairs: &[(&'static str, &str)]| is_own(&headers(pairs), &Uri::from_static("/"));
        assert!(own(&[host, ("origin", "https://a.example:8600")]));
        assert!(own(&[host]));
        assert!(!own(&[host, ("origin", "https://b.example")]));
        assert!(!own(&[host, ("origin", "null")]));
        assert!(!own(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(own(&[host, ("sec-fetch-site", "same-origin")]));
        // HTTP/2.
        let uri = Uri::from_static("https://a.example:8600/act");
        let of_two = |origin| is_own(&headers(&[("origin", origin)]), &uri);
        assert!(of_two("https://a.example:8600"));
        assert!(!of_two("https://b.example:8600"));
    }
}
