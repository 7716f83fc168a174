//! What programs ask of the proxy: requests.

use super::api::{as_json, refused};
use super::asks::Asks;
use super::{Common, field, fields, inquire};
use crate::inquiry::{Answer, Ask, Filter, MOST, PAGE};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

/// Asks the proxy of the machine of a query.
async fn ask(shared: &Common, asks: &Asks, query: &[(String, String)], ask: &Ask) -> Response {
    if let Some(response) = asks.refusal(inquire::NEEDS) {
        return response;
    }
    shared.see();
    let on = field(query, "on");
    let me = shared.platform.borrow().me().map(|me| me.name.clone());
    let on = if me.is_none_or(|me| me == on) {
        ""
    } else {
        &on
    };
    let said = inquire::raw(shared, on, ask, &asks.viewer).await;
    let words = match Answer::read(ask, said.as_deref().map_err(String::as_str)) {
        Answer::Missing(words) => return refused(StatusCode::NOT_FOUND, &words),
        Answer::Off(words) | Answer::Failed(words) => words,
        _ => match serde_json::from_str::<Value>(&said.unwrap_or_default()) {
            Ok(value) => return as_json(StatusCode::OK, &value),
            Err(error) => error.to_string(),
        },
    };
    refused(StatusCode::CONFLICT, &words)
}

/// `GET /api/v1/requests`: the newest requests that a filter leaves.
pub(super) async fn requests(
    State(shared): State<Common>,
    asks: Asks,
    RawQuery(query): RawQuery,
) -> Response {
    let query = fields(query.unwrap_or_default().as_bytes());
    let max = match field(&query, "max").as_str() {
        "" => Some(PAGE),
        text => text.parse().ok().filter(|max| (1..=MOST).contains(max)),
    };
    let Some(max) = max else {
        let words = format!("`max` is a number from 1 to {MOST}");
        return refused(StatusCode::BAD_REQUEST, &words);
    };
    let filter = Filter::of_query(&query);
    ask(&shared, &asks, &query, &Ask::Requests { filter, max }).await
}

/// `GET /api/v1/requests/{id}`: what was decided for one, and why.
pub(super) async fn request(
    State(shared): State<Common>,
    asks: Asks,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(id) = inquire::number(&id) else {
        return refused(StatusCode::BAD_REQUEST, "a request has a number, as 0x1f");
    };
    let query = fields(query.unwrap_or_default().as_bytes());
    ask(&shared, &asks, &query, &Ask::Request { id }).await
}
