//! Waits for the outcome of a configuration version that an API client proposed, for the response
//! to that client.

use super::api::as_json;
use crate::shared::ConsoleState;
use crate::versions::ask;
use axum::http::StatusCode;
use axum::response::Response;
use part::versions::{ConfigurationVersion, VersionStage, VersionsRequest, VersionsResponse};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

pub(super) const WAIT_MAX: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Number of newest configuration versions among which the proposed one is searched.
const VERSIONS_MAX: u32 = 50;

/// Reads the field `wait`. None: do not wait.
///
/// # Errors
/// The text is not a number, or more than [`WAIT_MAX`] in seconds.
pub(super) fn wait(text: &str) -> Result<Option<Duration>, String> {
    let most = WAIT_MAX.as_secs();
    let seconds = match text {
        "" | "0" => return Ok(None),
        text => text.parse::<u64>().ok().filter(|seconds| *seconds <= most),
    };
    match seconds {
        Some(seconds) => Ok(Some(Duration::from_secs(seconds))),
        None => Err(format!("`wait` is a number of seconds from 1 to {most}")),
    }
}

/// Waits, for at most `wait`, until a configuration version is accepted, has failed or needs
/// confirmation. Responds with its outcome, or with its stage at the end of the wait.
pub(super) async fn of(shared: &ConsoleState, version: u64, wait: Duration) -> Response {
    let until = Instant::now() + wait;
    let mut last = None;
    loop {
        let looked = timeout_at(until, found(shared, version)).await;
        if let Ok(Ok(found)) = looked {
            if has_outcome(found.stage) {
                return response(version, Some(&found));
            }
            last = Some(found);
        }
        let next = Instant::now() + LOOK_EVERY;
        if next >= until {
            return response(version, last.as_ref());
        }
        sleep_until(next).await;
    }
}

fn has_outcome(stage: VersionStage) -> bool {
    !stage.is_in_progress() || stage == VersionStage::AwaitsConfirmation
}

async fn found(shared: &ConsoleState, version: u64) -> Result<ConfigurationVersion, String> {
    let max = VERSIONS_MAX;
    match ask(shared, &VersionsRequest::Versions { max }).await? {
        VersionsResponse::Versions(versions) => versions
            .all
            .into_iter()
            .find(|one| one.id == version)
            .ok_or_else(|| "it is not among the newest versions".to_owned()),
        _ => Err("the control role sent an unexpected response".to_owned()),
    }
}

fn response(version: u64, found: Option<&ConfigurationVersion>) -> Response {
    let stage = found.map(|found| found.stage);
    let (status, outcome) = match stage {
        Some(VersionStage::Accepted) => (StatusCode::OK, "accepted"),
        Some(VersionStage::AwaitsConfirmation) => (StatusCode::OK, "awaits confirmation"),
        Some(VersionStage::Refused) => (StatusCode::UNPROCESSABLE_ENTITY, "refused"),
        Some(VersionStage::RolledBack) => (StatusCode::CONFLICT, "rolled back"),
        Some(VersionStage::Checking | VersionStage::Canary | VersionStage::Rollout) => {
            (StatusCode::ACCEPTED, "in progress")
        }
        None => (StatusCode::ACCEPTED, "unknown"),
    };
    let nodes = found.into_iter().flat_map(|found| &found.reports);
    let nodes = nodes.map(|(node, words)| json!({ "node": node, "says": words }));
    let why = found.map_or("", |found| found.why.as_str());
    let mut body = json!({
        "version": version,
        "outcome": outcome,
        "stage": found.map(|found| &found.stage_words),
        "why": why,
        "nodes": nodes.collect::<Vec<Value>>(),
    });
    if matches!(
        stage,
        Some(VersionStage::Refused | VersionStage::RolledBack)
    ) {
        body["error"] = format!("version {version} was {outcome}: {why}").into();
    }
    as_json(status, &body)
}
