//! The pages.

use super::{Common, failure, field, fields, html, signed_in};
use crate::drawing::View;
use crate::page::{self, Page, Shown};
use crate::platform::Platform;
use crate::shared::Shared;
use crate::user::{Role, Viewer};
use crate::versions;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use part::lock;
use std::sync::Arc;

/// Fields of a query: what came of the last action, and that these words are the console's own, which
/// a link from elsewhere could not say.
pub(super) const TOLD: &str = "told";
pub(super) const SEAL: &str = "seal";

/// What a request wants to see.
pub(super) struct Wanted {
    pub(super) page: Page,
    filter: String,
    member: String,
    told: String,
}

impl Wanted {
    /// Of a path and a query. None: there is no such page.
    pub(super) fn of(shared: &Shared, path: &str, query: &str) -> Option<Wanted> {
        let query = fields(query.as_bytes());
        let mut told = field(&query, TOLD);
        if field(&query, SEAL) != lock(&shared.sessions).seal(&told) {
            told.clear();
        }
        Some(Wanted {
            page: Page::of_path(path)?,
            filter: field(&query, "q"),
            member: field(&query, "on"),
            told,
        })
    }

    /// The same as it is drawn for all who may do as much.
    pub(super) fn view(self, role: Role) -> View {
        View {
            page: self.page,
            filter: self.filter,
            member: self.member,
            role,
        }
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
    shared.see();
    let Some(wanted) = Wanted::of(&shared, uri.path(), &query) else {
        return failure(StatusCode::NOT_FOUND, "There is no such page.");
    };
    let mut platform = shared.platform.borrow().clone();
    if wanted.page == Page::Configuration {
        versions::refresh(&shared).await;
        // The last look may be from before somebody looked.
        let versions = lock(&shared.versions).clone();
        platform = Arc::new(Platform {
            versions,
            ..(*platform).clone()
        });
    }
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
