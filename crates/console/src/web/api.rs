//! Serves the API for programs: `/api/v1`, and metrics for Prometheus.

use super::act::carry_out;
use super::asks::AuthenticatedRequest;
use super::described::{self, DESCRIPTION};
use super::{Common, body, field, fields, inquire};
use crate::inquiry::ProxyQuery;
use crate::platform::{MemberKind, PlatformMember};
use crate::traffic::{TrafficRow, TrafficRowKind};
use crate::user::UserRole;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

pub(super) fn as_json(status: StatusCode, value: &Value) -> Response {
    let headers = [(CONTENT_TYPE, "application/json")];
    (status, headers, format!("{value}\n")).into_response()
}

pub(super) fn refused(status: StatusCode, words: &str) -> Response {
    as_json(status, &json!({ "error": words }))
}

pub(super) async fn description() -> Response {
    ([(CONTENT_TYPE, "application/json")], DESCRIPTION).into_response()
}

pub(super) async fn platform(State(shared): State<Common>, _: AuthenticatedRequest) -> Response {
    shared.record_viewer();
    let platform = shared.platform.borrow().clone();
    let members: Vec<Value> = platform.members.iter().map(member).collect();
    as_json(StatusCode::OK, &json!({ "members": members }))
}

fn member(member: &PlatformMember) -> Value {
    let look = member.look.as_deref();
    let reports = look.map(|look| look.reports.as_slice()).unwrap_or_default();
    let reports = reports.iter().map(|report| {
        let value: Option<Value> = serde_json::from_str(&report.json()).ok();
        value.unwrap_or_default()
    });
    let problems = look
        .map(crate::look::MachineReport::problems)
        .unwrap_or_default();
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

fn row(row: &TrafficRow) -> Value {
    json!({
        "kind": match row.kind {
            TrafficRowKind::Frontend => "frontend",
            TrafficRowKind::Backend => "backend",
            TrafficRowKind::Server => "server",
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
        "percentiles_ms": row.percentiles_ms.map(|[p50, p95, p99]| json!({ "p50": p50, "p95": p95, "p99": p99 })),
        "failed": row.failed,
        "check": row.check,
    })
}

/// `GET /api/v1/events`: the events, one line of JSON each, the newest first.
pub(super) async fn events(State(shared): State<Common>, _: AuthenticatedRequest) -> Response {
    shared.record_viewer();
    let platform = shared.platform.borrow().clone();
    let events = platform.events();
    let lines = events.iter().map(|one| {
        json!({
            "at_ms": one.event.at.unix_ms,
            "on": one.member.name,
            "of": one.of,
            "from": one.event.from,
            "to": one.event.to,
            "why": one.event.why,
        })
    });
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    ([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response()
}

/// `POST /api/v1/act`: executes an action with the fields of a page's form. A session cookie is not
/// accepted, because a browser sends it with forms of other sites, too.
pub(super) async fn act(
    State(shared): State<Common>,
    asks: Result<AuthenticatedRequest, Response>,
    request: Request<Body>,
) -> Response {
    // Reads the body before any response, because a client may read the response only after it has
    // sent everything.
    let Some(bytes) = body(request).await else {
        return refused(
            StatusCode::BAD_REQUEST,
            "the form was incomplete: send it again",
        );
    };
    let asks = match asks {
        Ok(asks) => asks,
        Err(response) => return response,
    };
    if let Some(response) = asks.refusal(UserRole::Operator) {
        return response;
    }
    let form = fields(&bytes);
    let names = form.iter().map(|(name, _)| name.as_str());
    if let Some(words) = described::refusal("POST", "/api/v1/act", names) {
        return refused(StatusCode::BAD_REQUEST, &words);
    }
    if field(&form, "what").is_empty() {
        return refused(StatusCode::BAD_REQUEST, "the field `what` is missing");
    }
    match carry_out(&shared, &asks.viewer, &form).await {
        Ok(words) => as_json(StatusCode::OK, &json!({ "done": words })),
        Err(why) => refused(why.status, &why.words),
    }
}

/// `GET /metrics`: the metrics of all parts of this machine, including the proxy.
pub(super) async fn metrics(State(shared): State<Common>, asks: AuthenticatedRequest) -> Response {
    shared.record_viewer();
    let platform = shared.platform.borrow().clone();
    let mut text = String::new();
    let look = platform.me().and_then(|me| me.look.as_deref());
    for report in look.iter().flat_map(|look| &look.reports) {
        report.metrics(&mut text);
    }
    if look.is_some_and(|look| look.traffic.is_some()) {
        match inquire::raw(&shared, "", &ProxyQuery::Metrics, &asks.viewer).await {
            Ok(said) if said.starts_with("# ") => {
                text.push_str(said.trim_end());
                text.push('\n');
            }
            // Reports the other metrics, which are useful without those of the proxy. The
            // supervisor reports whether the proxy is up.
            Ok(_) | Err(_) => text.push_str("# the proxy does not report its metrics now\n"),
        }
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
