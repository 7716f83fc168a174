//! Authenticates API requests, as an axum extractor for the handlers.

use super::api::{as_json, refused};
use super::bearer::{self, BearerError};
use super::places::ConnectionHandle;
use super::serve::ClientAddress;
use super::sign_in::{UNAVAILABLE, is_own};
use super::{Common, described, fields, signed_in};
use crate::config::SecondFactor;
use crate::user::{Scope, UserRole, Viewer};
use ::access::proof::{SignInError, SignInOrigin};
use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use std::net::IpAddr;

/// Challenge that offers a sign-in by name and password (RFC 7617).
const BASIC: &str = "Basic realm=\"evenkeel\", charset=\"UTF-8\"";
/// Challenge that offers a sign-in by a token (RFC 6750).
const BEARER: &str = "Bearer realm=\"evenkeel\"";
const BAD_TOKEN: &str = "Bearer realm=\"evenkeel\", error=\"invalid_token\"";
const NARROW_TOKEN: &str = "Bearer realm=\"evenkeel\", error=\"insufficient_scope\"";

/// Authenticated API request: by a token, by name and password, or by the session of a browser.
pub(super) struct AuthenticatedRequest {
    pub(super) viewer: Viewer,
    /// True if a session cookie authenticated the request. A browser sends the cookie with forms of
    /// other sites, too.
    pub(super) by_session: bool,
    scope: Option<Scope>,
}

impl AuthenticatedRequest {
    pub(super) fn refusal(&self, role: UserRole) -> Option<Response> {
        let may = self.viewer.role >= role;
        if may && self.by_session {
            return Some(unknown());
        }
        if may {
            return None;
        }
        if let Some(scope) = self.scope.filter(|scope| scope.at_most() < role) {
            let words = format!("the scope of this token is `{}` only", scope.word());
            return Some(wants(StatusCode::FORBIDDEN, &words, &[NARROW_TOKEN]));
        }
        let words = match self.viewer.role {
            UserRole::Viewer => "a viewer may only read".to_owned(),
            UserRole::Operator | UserRole::Admin => {
                format!("this requires the role `{}`", role.word())
            }
        };
        Some(refused(StatusCode::FORBIDDEN, &words))
    }
}

fn wants(status: StatusCode, words: &str, challenges: &[&'static str]) -> Response {
    let mut response = refused(status, words);
    for challenge in challenges {
        let challenge = HeaderValue::from_static(challenge);
        response.headers_mut().append(WWW_AUTHENTICATE, challenge);
    }
    response
}

fn unknown() -> Response {
    let words = "this requires a name and password, or a token";
    wants(StatusCode::UNAUTHORIZED, words, &[BASIC, BEARER])
}

fn too_often(seconds: u64) -> Response {
    let words = format!("too many attempts: try again in {seconds} s");
    let body = json!({ "error": words });
    let mut response = as_json(StatusCode::TOO_MANY_REQUESTS, &body);
    let seconds = HeaderValue::from(seconds);
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

fn unavailable() -> Response {
    let body = json!({ "error": UNAVAILABLE });
    as_json(StatusCode::SERVICE_UNAVAILABLE, &body)
}

impl FromRequestParts<Common> for AuthenticatedRequest {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        shared: &Common,
    ) -> Result<AuthenticatedRequest, Response> {
        let asks = authenticated(parts, shared).await?;
        // Checks the parameters after the authentication, so that strangers learn nothing about
        // them.
        let query = fields(parts.uri.query().unwrap_or_default().as_bytes());
        let names = query.iter().map(|(name, _)| name.as_str());
        match described::refusal(parts.method.as_str(), parts.uri.path(), names) {
            Some(words) => Err(refused(StatusCode::BAD_REQUEST, &words)),
            None => Ok(asks),
        }
    }
}

async fn authenticated(parts: &Parts, shared: &Common) -> Result<AuthenticatedRequest, Response> {
    let why = shared.why_closed();
    let closed = |why: &str| as_json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": why }));
    let Some(given) = parts.headers.get(AUTHORIZATION) else {
        let stranger = || why.as_deref().map_or_else(unknown, closed);
        let (viewer, _) = signed_in(shared, &parts.headers).ok_or_else(stranger)?;
        return Ok(AuthenticatedRequest {
            viewer,
            by_session: true,
            scope: None,
        });
    };
    // Refuses before any credentials are checked while the node does not admit listed users,
    // because a newer configuration version may have revoked them.
    if let Some(why) = &why {
        return Err(closed(why));
    }
    // Refuses forms of other sites, with which a browser also sends a stored password.
    if !parts.method.is_safe() && !is_own(&parts.headers, &parts.uri) {
        let words =
            "this request came from a page of another site, which may not perform actions here";
        return Err(refused(StatusCode::FORBIDDEN, words));
    }
    let Some(ClientAddress(from)) = parts.extensions.get().copied() else {
        return Err(refused(
            StatusCode::BAD_REQUEST,
            "the client has no address",
        ));
    };
    let given = given.to_str().unwrap_or_default();
    let (scheme, rest) = given.split_once(' ').unwrap_or((given, ""));
    let asks = match scheme.to_ascii_lowercase().as_str() {
        "basic" => basic(shared, from, rest.trim()).await,
        "bearer" => bearer(shared, from, rest.trim()).map_err(|response| *response),
        _ => Err(refused(
            StatusCode::BAD_REQUEST,
            "`Authorization` is `Bearer` or `Basic`",
        )),
    }?;
    if let Some(guest) = parts.extensions.get::<ConnectionHandle>() {
        guest.assign_user(&asks.viewer.name, asks.viewer.role);
    }
    Ok(asks)
}

/// Authenticates by name and password (RFC 7617).
async fn basic(
    shared: &Common,
    from: IpAddr,
    given: &str,
) -> Result<AuthenticatedRequest, Response> {
    let pair = BASE64.decode(given).ok();
    let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
    let Some((name, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) else {
        let words = "`Basic` has name and password in Base64";
        return Err(refused(StatusCode::BAD_REQUEST, words));
    };
    let client = SignInOrigin::program(from);
    let config = shared.config();
    let user = match shared
        .authentication
        .password(&*config, &client, name, password)
        .await
    {
        Ok(user) => user,
        Err(SignInError::Wrong | SignInError::NoTry) => {
            tracing::info!(client = %from, "request with a wrong name or password refused");
            let words = "the name or the password is wrong";
            return Err(wants(StatusCode::UNAUTHORIZED, words, &[BASIC, BEARER]));
        }
        Err(SignInError::TooOften(seconds)) => return Err(too_often(seconds)),
        Err(SignInError::Unavailable) => return Err(unavailable()),
    };
    if user.second_factor != SecondFactor::None {
        let words = format!(
            "programs of {name} need a token, because a password alone does not sign {name} in: `evenkeel \
             console token` creates one"
        );
        return Err(wants(StatusCode::FORBIDDEN, &words, &[BEARER]));
    }
    Ok(AuthenticatedRequest {
        viewer: Viewer {
            name: name.to_owned(),
            token: None,
            role: config.user(name).map_or(UserRole::Viewer, |user| user.role),
            csrf: String::new(),
        },
        by_session: false,
        scope: None,
    })
}

/// Authenticates by a token (RFC 6750).
fn bearer(
    shared: &Common,
    from: IpAddr,
    text: &str,
) -> Result<AuthenticatedRequest, Box<Response>> {
    let bad = |words: &str| {
        tracing::info!(client = %from, reason = words, "request with a token refused");
        Box::new(wants(StatusCode::UNAUTHORIZED, words, &[BAD_TOKEN]))
    };
    match bearer::verify(shared, from, text) {
        Ok((user, token)) => Ok(AuthenticatedRequest {
            viewer: Viewer {
                name: user.account.name,
                token: Some(token.name),
                role: user.role.min(token.scope.at_most()),
                csrf: String::new(),
            },
            by_session: false,
            scope: Some(token.scope),
        }),
        Err(BearerError::Refused(SignInError::Wrong | SignInError::NoTry)) => {
            Err(bad("this token is unknown"))
        }
        Err(BearerError::Refused(SignInError::TooOften(seconds))) => {
            Err(Box::new(too_often(seconds)))
        }
        Err(BearerError::Refused(SignInError::Unavailable)) => Err(Box::new(unavailable())),
        Err(BearerError::Expired(name)) => Err(bad(&format!("the token `{name}` has expired"))),
        Err(BearerError::NoUser(name)) => {
            Err(bad(&format!("the user of the token `{name}` was removed")))
        }
    }
}
