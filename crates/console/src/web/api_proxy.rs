//! Serves the API for the proxy: requests, and the entries of stick tables.

use super::act::{carry_out, is_table};
use super::api::{as_json, refused};
use super::asks::AuthenticatedRequest;
use super::{Common, field, fields, inquire};
use crate::inquiry::route::DescribedRequest;
use crate::inquiry::{MOST, PAGE, ProxyQuery, ProxyResponse, RequestFilter};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

async fn ask(
    shared: &Common,
    asks: &AuthenticatedRequest,
    query: &[(String, String)],
    ask: &ProxyQuery,
) -> Response {
    if let Some(response) = asks.refusal(inquire::NEEDS) {
        return response;
    }
    shared.record_viewer();
    let on = field(query, "on");
    let me = shared.platform.borrow().me().map(|me| me.name.clone());
    let on = if me.is_none_or(|me| me == on) {
        ""
    } else {
        &on
    };
    let said = inquire::raw(shared, on, ask, &asks.viewer).await;
    let words = match ProxyResponse::read(ask, said.as_deref().map_err(String::as_str)) {
        ProxyResponse::Missing(words) => return refused(StatusCode::NOT_FOUND, &words),
        ProxyResponse::Off(words) | ProxyResponse::Failed(words) => words,
        _ => match serde_json::from_str::<Value>(&said.unwrap_or_default()) {
            Ok(value) => return as_json(StatusCode::OK, &value),
            Err(error) => error.to_string(),
        },
    };
    refused(StatusCode::CONFLICT, &words)
}

pub(super) async fn requests(
    State(shared): State<Common>,
    asks: AuthenticatedRequest,
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
    let filter = RequestFilter::of_query(&query);
    ask(
        &shared,
        &asks,
        &query,
        &ProxyQuery::Requests { filter, max },
    )
    .await
}

/// `GET /api/v1/requests/{id}`: one request, with each decision about it and its reason.
pub(super) async fn request(
    State(shared): State<Common>,
    asks: AuthenticatedRequest,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(id) = inquire::number(&id) else {
        return refused(
            StatusCode::BAD_REQUEST,
            "a request has a number, such as 0x1f",
        );
    };
    let query = fields(query.unwrap_or_default().as_bytes());
    ask(&shared, &asks, &query, &ProxyQuery::Request { id }).await
}

pub(super) async fn route(
    State(shared): State<Common>,
    asks: AuthenticatedRequest,
    RawQuery(query): RawQuery,
) -> Response {
    let query = fields(query.unwrap_or_default().as_bytes());
    let question = match DescribedRequest::of_query(&query) {
        Ok(question) if question.url.is_empty() => Err("`url` is missing".to_owned()),
        question => question,
    };
    match question {
        Ok(question) => {
            ask(
                &shared,
                &asks,
                &query,
                &ProxyQuery::Route(Box::new(question)),
            )
            .await
        }
        Err(words) => refused(StatusCode::BAD_REQUEST, &words),
    }
}

/// `GET /api/v1/tables`: the stick tables of a machine, without entries.
pub(super) async fn tables(
    State(shared): State<Common>,
    _: AuthenticatedRequest,
    RawQuery(query): RawQuery,
) -> Response {
    shared.record_viewer();
    let on = field(&fields(query.unwrap_or_default().as_bytes()), "on");
    let platform = shared.platform.borrow().clone();
    let mut members = platform.members.iter();
    let member = members.find(|member| on.is_empty() || member.name == on);
    let look = member.and_then(|member| member.look.as_ref());
    let tables = look
        .and_then(|look| look.traffic.as_ref())
        .map(|traffic| &traffic.tables);
    let all = tables.into_iter().flatten();
    let all = all.map(
        |one| json!({ "name": one.name, "type": one.kind, "size": one.size, "used": one.used }),
    );
    as_json(
        StatusCode::OK,
        &json!({ "tables": all.collect::<Vec<Value>>() }),
    )
}

/// `GET /api/v1/tables/{name}`: the entries with the largest values.
pub(super) async fn table(
    State(shared): State<Common>,
    asks: AuthenticatedRequest,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    if !is_table(&name) {
        return refused(StatusCode::BAD_REQUEST, "this is not the name of a table");
    }
    let query = fields(query.unwrap_or_default().as_bytes());
    ask(&shared, &asks, &query, &ProxyQuery::table(&name, &query)).await
}

/// `DELETE /api/v1/tables/{name}?key=…`: removes an entry.
pub(super) async fn remove(
    State(shared): State<Common>,
    asks: AuthenticatedRequest,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    if let Some(response) = asks.refusal(inquire::NEEDS) {
        return response;
    }
    let query = fields(query.unwrap_or_default().as_bytes());
    let mut form = vec![
        ("what".to_owned(), "entry".to_owned()),
        ("table".to_owned(), name),
    ];
    for name in ["key", "on"] {
        form.push((name.to_owned(), field(&query, name)));
    }
    match carry_out(&shared, &asks.viewer, &form).await {
        Ok(words) => as_json(StatusCode::OK, &json!({ "done": words })),
        Err(why) => refused(why.status, &why.words),
    }
}
