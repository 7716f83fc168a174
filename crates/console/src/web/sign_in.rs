//! Signs users in: by password, plus the one-time code of a second factor if the user has one; or
//! by a link that works once.

use super::{Common, body, client, failure, field, fields, html, signed_in};
use crate::access::{BY_LINK, COOKIE, DEVICE_COOKIE};
use crate::page::{self, BRAND, ConsolePage};
use crate::shared::{ConsoleState, now_s};
use crate::web::serve::ClientAddress;
use ::access::device;
use ::access::origin;
use ::access::page as pages;
use ::access::proof::{SignInError, SignInOrigin};
use ::access::session::{self, LASTS_S};
use ::access::user::{AuthorizedUser, SecondFactor};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{HOST, LOCATION, ORIGIN, RETRY_AFTER, SET_COOKIE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use maud::Markup;
use part::lock;
use part::role::Admission;
use std::sync::Arc;

pub(super) const UNAVAILABLE: &str = "This machine cannot check the password now. The log of the console \
                                      shows why. `evenkeel console link` prints a link that signs in an \
                                      administrator of the machine.";

fn next_of(next: &str) -> &str {
    let is_own = ConsolePage::is_here(next);
    if is_own && next.is_ascii() && next.len() < 1_024 {
        next
    } else {
        "/"
    }
}

pub(super) fn to(path: &str) -> Response {
    let place = HeaderValue::from_str(path);
    let place = place.unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response()
}

fn with_cookie(path: &str, token: &str, lasts_s: u64) -> Response {
    let mut response = to(path);
    set_cookie(&mut response, COOKIE, token, lasts_s);
    response
}

fn set_cookie(response: &mut Response, name: &str, value: &str, lasts_s: u64) {
    let cookie = session::set_cookie(name, value, lasts_s);
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// Returns whether a form came from a page of this console, as far as the browser reports its
/// origin.
pub(super) fn is_own(headers: &HeaderMap, uri: &Uri) -> bool {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    // Prefers `:authority`, which has the host in HTTP/2.
    let authority = uri.authority().map(Authority::as_str);
    let host = authority.or_else(|| text(HOST));
    let origins = headers.get_all(ORIGIN).iter();
    let origin = origin::said(origins.map(|origin| origin.to_str().ok()));
    origin::is_same_origin(
        origin,
        text(HeaderName::from_static("sec-fetch-site")),
        host,
    )
}

pub(super) async fn form(
    State(shared): State<Common>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let query = fields(query.unwrap_or_default().as_bytes());
    let next = field(&query, "next");
    match (signed_in(&shared, &headers), shared.why_closed()) {
        (Some(_), _) => to(next_of(&next)),
        (None, Some(why)) => closed(&why, next_of(&next)),
        (None, None) => html(StatusCode::OK, pages::sign_in(BRAND, None, next_of(&next))),
    }
}

fn closed(why: &str, next: &str) -> Response {
    html(
        StatusCode::SERVICE_UNAVAILABLE,
        pages::sign_in(BRAND, Some(why), next),
    )
}

/// Explains why sign-in links do not work at this console. None if they do.
fn why_no_link(shared: &ConsoleState) -> Option<Response> {
    let why = shared.why_closed()?;
    let is_removed = shared.admission() == Admission::Removed;
    is_removed.then(|| failure(StatusCode::SERVICE_UNAVAILABLE, &why))
}

pub(super) async fn sign_in(
    State(shared): State<Common>,
    Extension(ClientAddress(from)): Extension<ClientAddress>,
    request: Request<Body>,
) -> Response {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    if !is_own(&headers, &uri) {
        return failure(StatusCode::FORBIDDEN, "This form came from another site.");
    }
    let Some(bytes) = body(request).await else {
        return failure(
            StatusCode::BAD_REQUEST,
            "The form was incomplete. Send it again.",
        );
    };
    let form = fields(&bytes);
    let next = field(&form, "next");
    let (client, next) = (client(from, &headers), next_of(&next));
    if let Some(why) = shared.why_closed() {
        return closed(&why, next);
    }
    let half = field(&form, "half");
    if !half.is_empty() {
        return second(&shared, &client, &form, next).await;
    }
    let (name, password) = (field(&form, "user"), field(&form, "password"));
    let config = shared.config();
    let proved = shared
        .authentication
        .password(&*config, &client, &name, &password);
    match proved.await {
        Ok(user) => first(&shared, &user, next),
        Err(why) => {
            // Omits the name from the log: a user may have typed the password into its field.
            tracing::info!(client = ?from, reason = ?why, "sign-in refused");
            let page = |words: &str| pages::sign_in_as(BRAND, &name, Some(words), next);
            show_failed_attempt(why, "The name or the password is wrong.", page)
        }
    }
}

fn first(shared: &ConsoleState, user: &AuthorizedUser, next: &str) -> Response {
    let name = &user.account.name;
    match &user.second_factor {
        SecondFactor::None => begin(shared, user, next),
        SecondFactor::Codes(_) => {
            let half = lock(&shared.authentication.sessions).password_proof(
                &*shared.config(),
                name,
                now_s(),
            );
            html(
                StatusCode::OK,
                pages::second_factor(BRAND, None, &half, next),
            )
        }
        SecondFactor::Missing => {
            let words = format!(
                "{name} needs a second factor to sign in, and has none. An administrator creates one: \
                 `evenkeel console second-factor {name}`."
            );
            html(
                StatusCode::FORBIDDEN,
                pages::sign_in(BRAND, Some(&words), next),
            )
        }
    }
}

async fn second(
    shared: &Common,
    client: &SignInOrigin<'_>,
    form: &[(String, String)],
    next: &str,
) -> Response {
    let (config, half) = (shared.config(), field(form, "half"));
    let user =
        lock(&shared.authentication.sessions).user_of_password_proof(&*config, &half, now_s());
    let Some(user) = user else {
        let words = "This took too long. Sign in again.";
        return html(
            StatusCode::FORBIDDEN,
            pages::sign_in(BRAND, Some(words), next),
        );
    };
    match shared
        .authentication
        .code(client, &user, &field(form, "code"))
        .await
    {
        Ok(()) => {
            // Wakes the role, so that the next process also knows that this code was used.
            shared.wake();
            begin(shared, &user, next)
        }
        Err(why) => {
            let page = |words: &str| pages::second_factor(BRAND, Some(words), &half, next);
            let words =
                "The code is wrong, or was already used. The app shows a new one every 30 seconds.";
            show_failed_attempt(why, words, page)
        }
    }
}

/// Shows the sign-in form for another attempt, with the time to wait if there is one.
fn show_failed_attempt(why: SignInError, wrong: &str, page: impl Fn(&str) -> Markup) -> Response {
    match why {
        SignInError::Wrong | SignInError::NoTry => html(StatusCode::FORBIDDEN, page(wrong)),
        SignInError::TooOften(seconds) => {
            let words = format!("Too many attempts. Try again in {seconds} s.");
            let mut response = html(StatusCode::TOO_MANY_REQUESTS, page(&words));
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(RETRY_AFTER, seconds);
            response
        }
        SignInError::Unavailable => html(StatusCode::SERVICE_UNAVAILABLE, page(UNAVAILABLE)),
    }
}

fn begin(shared: &ConsoleState, user: &AuthorizedUser, next: &str) -> Response {
    let (config, name) = (shared.config(), &user.account.name);
    let sessions = lock(&shared.authentication.sessions);
    let token = sessions.begin(&*config, name, now_s());
    let cookies = token.and_then(|token| Ok((token, sessions.device(name, now_s())?)));
    match cookies {
        Ok((token, browser)) => {
            tracing::info!(user = %name, "signed in");
            let mut response = with_cookie(next, &token, LASTS_S);
            set_cookie(&mut response, DEVICE_COOKIE, &browser, device::LASTS_S);
            response
        }
        Err(words) => failure(StatusCode::SERVICE_UNAVAILABLE, &words),
    }
}

pub(super) async fn sign_out(State(shared): State<Common>, request: Request<Body>) -> Response {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    let Some((viewer, token)) = signed_in(&shared, &headers) else {
        return to("/sign-in");
    };
    let form = fields(&body(request).await.unwrap_or_default());
    if !is_own(&headers, &uri) || field(&form, "csrf") != viewer.csrf {
        return failure(StatusCode::FORBIDDEN, "This form came from another site.");
    }
    lock(&shared.authentication.sessions).end(token, now_s());
    shared.wake();
    with_cookie("/sign-in", "", 0)
}

/// Shows the page of a link with a button. A person presses the button; a program that only follows
/// links does not.
pub(super) async fn link(State(shared): State<Common>, Path(secret): Path<String>) -> Response {
    if let Some(refused) = why_no_link(&shared) {
        return refused;
    }
    let lasts = lock(&shared.links).has(&secret, now_s());
    if lasts {
        html(StatusCode::OK, page::once(&secret))
    } else {
        used_up()
    }
}

fn used_up() -> Response {
    let words =
        "This link was already used, or has expired. `evenkeel console link` prints a new one.";
    failure(StatusCode::GONE, words)
}

pub(super) async fn use_link(
    State(shared): State<Arc<ConsoleState>>,
    Path(secret): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    if !is_own(&headers, &uri) {
        return failure(StatusCode::FORBIDDEN, "This form came from another site.");
    }
    if let Some(refused) = why_no_link(&shared) {
        return refused;
    }
    if !lock(&shared.links).take(&secret, now_s()) {
        return used_up();
    }
    match lock(&shared.authentication.sessions).begin_unlisted(BY_LINK, now_s()) {
        Ok(token) => {
            tracing::info!(user = BY_LINK, "signed in by a link");
            with_cookie("/", &token, LASTS_S)
        }
        Err(words) => failure(StatusCode::SERVICE_UNAVAILABLE, &words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_in_redirects_only_to_pages_of_this_console() {
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
    fn a_form_of_another_site_is_recognised() {
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
        // Over HTTP/2 the host is in the URI.
        let uri = Uri::from_static("https://a.example:8600/act");
        let of_two = |origin| is_own(&headers(&[("origin", origin)]), &uri);
        assert!(of_two("https://a.example:8600"));
        assert!(!of_two("https://b.example:8600"));
    }
}
