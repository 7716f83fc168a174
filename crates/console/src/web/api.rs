//! The same for programs: `/api/v1`, and metrics for Prometheus.

use super::act::carry_out;
use super::serve::From;
use super::sign_in::{Refused, verify};
use super::{Common, body, field, fields, signed_in};
use crate::platform::{Member, MemberKind};
use crate::traffic::{Kind, Row};
use crate::user::{Role, Viewer};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::net::IpAddr;

/// The description of the interface.
const DESCRIPTION: &str = include_str!("openapi.json");

fn as_json(status: StatusCode, value: &Value) -> Response {
    let headers = [(CONTENT_TYPE, "application/json")];
    (status, headers, format!("{value}\n")).into_response()
}

fn refused(status: StatusCode, words: &str) -> Response {
    as_json(status, &json!({ "error": words }))
}

/// The client is to say who asks.
fn unknown() -> Response {
    let mut response = refused(StatusCode::UNAUTHORIZED, "name and password, please");
    let wants = HeaderValue::from_static("Basic realm=\"evenkeel\", charset=\"UTF-8\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, wants);
    response
}

/// Who asks: by name and password (RFC 7617), or by the session of a browser.
async fn asks(shared: &Common, from: IpAddr, headers: &HeaderMap) -> Result<Viewer, Response> {
    let Some(given) = headers.get(AUTHORIZATION) else {
        return match signed_in(shared, headers) {
            Some((viewer, _)) => Ok(viewer),
            None => Err(unknown()),
        };
    };
    let given = given.to_str().ok().and_then(|given| {
        let (scheme, rest) = given.split_once(' ')?;
        let basic = scheme.eq_ignore_ascii_case("basic");
        let pair = BASE64.decode(rest.trim()).ok().filter(|_| basic)?;
        let pair = String::from_utf8(pair).ok()?;
        let (name, password) = pair.split_once(':')?;
        Some((name.to_owned(), password.to_owned()))
    });
    let Some((name, password)) = given else {
        return Err(refused(
            StatusCode::BAD_REQUEST,
            "`Authorization` is `Basic`",
        ));
    };
    match verify(shared, from, &name, &password).await {
        Ok(user) => Ok(Viewer {
            name,
            role: user.role,
            csrf: String::new(),
        }),
        Err(Refused::Wrong) => {
            let words = "the name or the password is wrong";
            Err(refused(StatusCode::UNAUTHORIZED, words))
        }
        Err(Refused::TooOften(seconds)) => {
            let words = format!("too many tries: the next one is possible in {seconds} s");
            let mut response = refused(StatusCode::TOO_MANY_REQUESTS, &words);
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(RETRY_AFTER, seconds);
            Err(response)
        }
    }
}

/// `GET /api/v1`: what there is, for everybody.
pub(super) async fn description() -> Response {
    ([(CONTENT_TYPE, "application/json")], DESCRIPTION).into_response()
}

/// `GET /api/v1/platform`: all that is known now.
pub(super) async fn platform(
    State(shared): State<Common>,
    Extension(From(from)): Extension<From>,
    headers: HeaderMap,
) -> Response {
    if let Err(response) = asks(&shared, from, &headers).await {
        return response;
    }
    shared.see();
    let platform = shared.platform.borrow().clone();
    let members: Vec<Value> = platform.members.iter().map(member).collect();
    as_json(StatusCode::OK, &json!({ "members": members }))
}

fn member(member: &Member) -> Value {
    let look = member.look.as_deref();
    let reports = look.map(|look| look.reports.as_slice()).unwrap_or_default();
    let reports = reports.iter().map(|report| {
        let value: Option<Value> = serde_json::from_str(&report.json()).ok();
        value.unwrap_or_default()
    });
    let problems = look.map(crate::look::Look::problems).unwrap_or_default();
    let problems = problems.iter().map(
        |one| json!({ "what": one.what, "state": one.state, "why": one.why, "next": one.next }),
    );
    let traffic = look.and_then(|look| look.traffic.as_ref());
    let traffic = traffic.map(|traffic| traffic.rows.iter().map(row).collect::<Vec<_>>());
    json!({
        "name": member.name,
        "kind": match member.kind {
            MemberKind::Node => "node",
            MemberKind::Arbiter => "arbiter",
        },
        "state": member.state.word,
        "if_it_fails": member.if_it_fails,
        "silent": member.silent,
        "age_ms": member.age_ms,
        "problems": problems.collect::<Vec<_>>(),
        "traffic": traffic,
        "reports": reports.collect::<Vec<_>>(),
    })
}

fn row(row: &Row) -> Value {
    json!({
        "kind": match row.kind {
            Kind::Frontend => "frontend",
            Kind::Backend => "backend",
            Kind::Server => "server",
        },
        "proxy": row.proxy,
        "server": Some(&row.name).filter(|name| !name.is_empty()),
        "status": row.status,
        "for_s": row.for_s,
        "queued": row.queued,
        "sessions": row.sessions,
        "rate": row.rate,
        "bytes_in": row.bytes[0],
        "bytes_out": row.bytes[1],
        "errors": row.errors,
        "takes_ms": row.takes_ms,
        "failed": row.failed,
        "check": row.check,
    })
}

/// `GET /api/v1/events`: what happened, a line of JSON each, the newest first.
pub(super) async fn events(
    State(shared): State<Common>,
    Extension(From(from)): Extension<From>,
    headers: HeaderMap,
) -> Response {
    if let Err(response) = asks(&shared, from, &headers).await {
        return response;
    }
    shared.see();
    let platform = shared.platform.borrow().clone();
    let mut all = Vec::new();
    for member in &platform.members {
        let look = member.look.iter();
        let events = look.flat_map(|look| look.events());
        all.extend(events.map(|(of, event)| (event, of, &member.name)));
    }
    all.sort_by_key(|(event, ..)| std::cmp::Reverse(event.at.unix_ms));
    let lines = all.iter().map(|(event, of, on)| {
        json!({
            "at_ms": event.at.unix_ms,
            "on": on,
            "of": of,
            "from": event.from,
            "to": event.to,
            "why": event.why,
        })
    });
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    ([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response()
}

/// `POST /api/v1/act`: the fields of a page's form; by name and password only, since a browser sends
/// a session also for other sites.
pub(super) async fn act(
    State(shared): State<Common>,
    Extension(From(from)): Extension<From>,
    request: Request<Body>,
) -> Response {
    let headers = request.headers().clone();
    // Before any answer: a client may read it only when it has sent everything.
    let Some(bytes) = body(request).await else {
        return refused(StatusCode::BAD_REQUEST, "the form did not come whole");
    };
    if !headers.contains_key(AUTHORIZATION) {
        return unknown();
    }
    let viewer = match asks(&shared, from, &headers).await {
        Ok(viewer) => viewer,
        Err(response) => return response,
    };
    if viewer.role < Role::Operator {
        return refused(StatusCode::FORBIDDEN, "a viewer may only look");
    }
    let form = fields(&bytes);
    if field(&form, "what").is_empty() {
        return refused(StatusCode::BAD_REQUEST, "the field `what` is missing");
    }
    match carry_out(&shared, &viewer, &form).await {
        Ok(words) => as_json(StatusCode::OK, &json!({ "done": words })),
        Err(why) => refused(why.status, &why.words),
    }
}

/// `GET /metrics`: the numbers of all parts of this machine.
pub(super) async fn metrics(
    State(shared): State<Common>,
    Extension(From(from)): Extension<From>,
    headers: HeaderMap,
) -> Response {
    if let Err(response) = asks(&shared, from, &headers).await {
        return response;
    }
    shared.see();
    let platform = shared.platform.borrow().clone();
    let mut text = String::new();
    let look = platform.me().and_then(|me| me.look.as_deref());
    for report in look.iter().flat_map(|look| &look.reports) {
        report.metrics(&mut text);
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
