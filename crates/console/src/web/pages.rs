//! The pages.

use super::{Common, failure, field, fields, html, signed_in};
use crate::page::{self, Page, Shown};
use crate::platform::Platform;
use crate::user::Viewer;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;

/// What a request wants to see.
pub(super) struct Wanted {
    pub(super) page: Page,
    filter: String,
    member: String,
    told: String,
}

impl Wanted {
    /// Of a path and a query. None: there is no such page.
    pub(super) fn of(path: &str, query: &str) -> Option<Wanted> {
        let query = fields(query.as_bytes());
        Some(Wanted {
            page: Page::of_path(path)?,
            filter: field(&query, "q"),
            member: field(&query, "on"),
            told: field(&query, "told"),
        })
    }

    /// What is drawn.
    pub(super) fn shown<'s>(&'s self, platform: &'s Platform, viewer: &'s Viewer) -> Shown<'s> {
        let some = |text: &'s String| Some(text.as_str()).filter(|text| !text.is_empty());
        Shown {
            platform,
            viewer,
            filter: &self.filter,
            member: some(&self.member),
            told: some(&self.told),
        }
    }
}

/// To the form, and back from there.
pub(super) fn to_sign_in(path: &str, query: &str) -> Response {
    let next = match query {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    };
    let encoded: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    super::sign_in::to(&match next.as_str() {
        "/" => "/sign-in".to_owned(),
        _ => format!("/sign-in?next={encoded}"),
    })
}

/// A page.
pub(super) async fn page(
    State(shared): State<Common>,
    headers: HeaderMap,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let Some((viewer, _)) = signed_in(&shared, &headers) else {
        return to_sign_in(uri.path(), &query);
    };
    if shared.watchers.see() {
        // It is looked more often from now on.
        shared.wake();
    }
    let Some(wanted) = Wanted::of(uri.path(), &query) else {
        return failure(StatusCode::NOT_FOUND, "There is no such page.");
    };
    let platform = shared.platform.borrow().clone();
    let document = page::document(&wanted.page, &wanted.shown(&platform, &viewer));
    html(StatusCode::OK, document)
}

/// What is served nowhere.
pub(super) async fn not_found(State(shared): State<Common>, headers: HeaderMap) -> Response {
    match signed_in(&shared, &headers) {
        Some(_) => failure(StatusCode::NOT_FOUND, "There is no such page."),
        None => to_sign_in("/", ""),
    }
}
