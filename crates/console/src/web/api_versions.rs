//! Serves the API for the configuration: the configuration versions and files, and changes of them.

use super::api::{as_json, refused};
use super::asks::AuthenticatedRequest;
use super::config::{Drawing, EditForm, FORM_BYTES_MAX, PageError, change, files, version};
use super::described;
use super::{Common, body_within, field, fields, outcome};
use crate::shared::ConsoleState;
use crate::user::{UserRole, Viewer};
use crate::versions::ask;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use part::versions::{Edit, Findings, VersionsRequest, VersionsResponse};
use serde_json::{Value, json};

const VERSIONS_MAX: u32 = 200;

fn value(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn respond(said: Result<Value, PageError>) -> Response {
    match said {
        Ok(value) => as_json(StatusCode::OK, &value),
        Err((status, words)) => refused(status, &words),
    }
}

async fn asked(shared: &ConsoleState, question: &VersionsRequest) -> Result<Value, PageError> {
    let answer = ask(shared, question).await;
    Ok(
        match answer.map_err(|words| (StatusCode::CONFLICT, words))? {
            VersionsResponse::Versions(versions) => value(&versions),
            VersionsResponse::Files(files) => value(&files),
            VersionsResponse::Differences(all) => json!({ "files": value(&all) }),
            VersionsResponse::Blame(lines) => json!({ "lines": value(&lines) }),
            VersionsResponse::Findings(findings) => value(&findings),
            VersionsResponse::Done { words, version } => {
                json!({ "done": words, "version": version })
            }
            VersionsResponse::Unknown { words } => {
                return Err((StatusCode::GATEWAY_TIMEOUT, words));
            }
            VersionsResponse::Refused { words } => return Err((StatusCode::CONFLICT, words)),
        },
    )
}

/// `GET /api/v1/versions`: the configuration versions, the newest first, including one whose
/// rollout is in progress.
pub(super) async fn versions(State(shared): State<Common>, _: AuthenticatedRequest) -> Response {
    let max = VERSIONS_MAX;
    respond(asked(&shared, &VersionsRequest::Versions { max }).await)
}

/// `GET /api/v1/files`: the files of a configuration version, by default those of the accepted one.
pub(super) async fn of_version(
    State(shared): State<Common>,
    _: AuthenticatedRequest,
    RawQuery(query): RawQuery,
) -> Response {
    let query = fields(query.unwrap_or_default().as_bytes());
    respond(match version(&query, "version") {
        Ok(version) => files(&shared, version).await.map(|files| value(&files)),
        Err(failed) => Err(failed),
    })
}

pub(super) async fn differences(
    State(shared): State<Common>,
    _: AuthenticatedRequest,
    RawQuery(query): RawQuery,
) -> Response {
    let query = fields(query.unwrap_or_default().as_bytes());
    let question = version(&query, "from").and_then(|from| {
        let to = version(&query, "to")?;
        let words = || (StatusCode::BAD_REQUEST, "`to` is missing".to_owned());
        to.map(|to| VersionsRequest::Differences { from, to })
            .ok_or_else(words)
    });
    respond(match question {
        Ok(question) => asked(&shared, &question).await,
        Err(failed) => Err(failed),
    })
}

async fn form(
    asks: Result<AuthenticatedRequest, Response>,
    request: Request<Body>,
) -> Result<(Viewer, Vec<(String, String)>), Response> {
    // Reads the body before any response, because a client may read the response only after it has
    // sent everything.
    let max = match &asks {
        Ok(asks) if asks.viewer.role == UserRole::Admin => FORM_BYTES_MAX,
        _ => super::FORM_BYTES_MAX,
    };
    let path = request.uri().path().to_owned();
    let bytes = body_within(request, max).await;
    let asks = asks?;
    if let Some(response) = asks.refusal(UserRole::Admin) {
        return Err(response);
    }
    let bytes = bytes.ok_or_else(|| {
        refused(
            StatusCode::BAD_REQUEST,
            "the form was incomplete: send it again",
        )
    })?;
    let form = fields(&bytes);
    let names = form.iter().map(|(name, _)| name.as_str());
    match described::refusal("POST", &path, names) {
        Some(words) => Err(refused(StatusCode::BAD_REQUEST, &words)),
        None => Ok((asks.viewer, form)),
    }
}

async fn changes(
    shared: &ConsoleState,
    asks: Result<AuthenticatedRequest, Response>,
    request: Request<Body>,
    question: impl Fn(&Drawing, &[(String, String)]) -> Result<VersionsRequest, PageError>,
) -> Response {
    let (viewer, form) = match form(asks, request).await {
        Ok(given) => given,
        Err(response) => return response,
    };
    let platform = shared.platform.borrow().clone();
    let drawing = Drawing { platform, viewer };
    respond(match question(&drawing, &form) {
        Ok(question) => asked(shared, &question).await,
        Err(failed) => Err(failed),
    })
}

fn wrong(words: String) -> PageError {
    (StatusCode::BAD_REQUEST, words)
}

/// `POST /api/v1/check`: checks whether this machine could serve the configuration in the request.
pub(super) async fn check(
    State(shared): State<Common>,
    asks: Result<AuthenticatedRequest, Response>,
    request: Request<Body>,
) -> Response {
    let question = |_: &Drawing, form: &[(String, String)]| {
        EditForm::of(form).map(|typed| VersionsRequest::Check(typed.edit()))
    };
    changes(&shared, asks, request, question).await
}

/// `POST /api/v1/apply`: proposes the configuration in the request as a configuration version,
/// unless this machine could not serve it.
pub(super) async fn apply(
    State(shared): State<Common>,
    asks: Result<AuthenticatedRequest, Response>,
    request: Request<Body>,
) -> Response {
    let (viewer, form) = match form(asks, request).await {
        Ok(given) => given,
        Err(response) => return response,
    };
    let platform = shared.platform.borrow().clone();
    let drawing = Drawing { platform, viewer };
    applied(&shared, &drawing, &form)
        .await
        .unwrap_or_else(|(status, words)| refused(status, &words))
}

async fn applied(
    shared: &ConsoleState,
    drawing: &Drawing,
    form: &[(String, String)],
) -> Result<Response, PageError> {
    let edit = EditForm::of(form)?.edit();
    let change = change(drawing, form).map_err(wrong)?;
    let wait = outcome::wait(&field(form, "wait")).map_err(wrong)?;
    if let Some(findings) = unservable(shared, &edit).await? {
        let words = "this machine could not serve it: nothing was changed";
        let body = json!({ "error": words, "findings": value(&findings) });
        return Ok(as_json(StatusCode::UNPROCESSABLE_ENTITY, &body));
    }
    let proposed = asked(shared, &VersionsRequest::Apply { edit, change }).await?;
    match (wait, proposed["version"].as_u64()) {
        (Some(wait), Some(version)) => Ok(outcome::of(shared, version, wait).await),
        _ => Ok(as_json(StatusCode::OK, &proposed)),
    }
}

/// Returns the diagnostics of this machine's own check if it could not serve an edited
/// configuration. None if it could.
async fn unservable(shared: &ConsoleState, edit: &Edit) -> Result<Option<Findings>, PageError> {
    let answer = ask(shared, &VersionsRequest::Check(edit.clone())).await;
    match answer.map_err(|words| (StatusCode::CONFLICT, words))? {
        VersionsResponse::Findings(findings) => {
            Ok(Some(findings).filter(|findings| !findings.good))
        }
        VersionsResponse::Refused { words } | VersionsResponse::Unknown { words } => {
            Err((StatusCode::CONFLICT, words))
        }
        _ => Err((
            StatusCode::CONFLICT,
            "the control role sent an unexpected response".to_owned(),
        )),
    }
}

/// `POST /api/v1/version`: confirms or cancels the configuration version whose rollout is in
/// progress, or returns to an older one.
pub(super) async fn act(
    State(shared): State<Common>,
    asks: Result<AuthenticatedRequest, Response>,
    request: Request<Body>,
) -> Response {
    let question = |drawing: &Drawing, form: &[(String, String)]| {
        let version = version(form, "version")?;
        let version = version.ok_or_else(|| wrong("`version` is missing".to_owned()))?;
        let by = drawing.author();
        match field(form, "do").as_str() {
            "confirm" => Ok(VersionsRequest::Confirm { version, by }),
            "cancel" => Ok(VersionsRequest::Cancel { version, by }),
            "return" => Ok(VersionsRequest::RollBack {
                to: version,
                change: change(drawing, form).map_err(wrong)?,
            }),
            _ => Err(wrong("`do` is `confirm`, `cancel` or `return`".to_owned())),
        }
    };
    changes(&shared, asks, request, question).await
}
