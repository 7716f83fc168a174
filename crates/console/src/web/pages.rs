//! Handles the requests for the pages of the console.

use super::act::is_table;
use super::{Common, failure, field, fields, html, inquire, signed_in};
use crate::drawing::PageView;
use crate::inquiry::live::SharedQuery;
use crate::inquiry::route::DescribedRequest;
use crate::inquiry::{CARD, PAGE, ProxyQuery, ProxyResponse, RequestFilter};
use crate::page::{self, ConsolePage, PageContext, PageQuery};
use crate::platform::{MemberKind, Platform};
use crate::shared::ConsoleState;
use crate::traffic::Traffic;
use crate::user::{UserRole, Viewer};
use crate::versions;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use maud::Markup;
use part::lock;
use std::sync::Arc;

/// Name of the query parameter with the outcome of the last action.
pub(super) const TOLD: &str = "told";
/// Name of the query parameter with a seal, which proves that the console wrote the outcome.
/// Without the seal, a link on another site could display any text.
pub(super) const SEAL: &str = "seal";

pub(super) struct PageRequest {
    pub(super) page: ConsolePage,
    filter: String,
    pub(super) member: String,
    outcome: String,
    pub(super) ask: Option<ProxyQuery>,
}

impl PageRequest {
    /// Reads a path and a query string. None if there is no such page.
    pub(super) fn of(shared: &ConsoleState, path: &str, query: &str) -> Option<PageRequest> {
        let query = fields(query.as_bytes());
        let mut told = field(&query, TOLD);
        if field(&query, SEAL) != lock(&shared.authentication.sessions).seal(&told) {
            told.clear();
        }
        let page = ConsolePage::of_path(path)?;
        Some(PageRequest {
            ask: ask(&page, &query, &shared.platform.borrow()),
            page,
            filter: field(&query, "q"),
            member: field(&query, "on"),
            outcome: told,
        })
    }

    /// Joins the viewers that have the same query. None if the page has no query, or if there are
    /// too many.
    pub(super) fn inquiry(
        &self,
        shared: &ConsoleState,
        viewer: &Viewer,
    ) -> Option<Arc<SharedQuery>> {
        let ask = self
            .ask
            .as_ref()
            .filter(|_| viewer.role >= inquire::NEEDS)?;
        let on = self.on(&shared.platform.borrow());
        shared.inquiries.follow(&on, ask)
    }

    /// Returns the name of the machine to query. Empty: this one.
    fn on(&self, platform: &Platform) -> String {
        let me = platform.me().map(|me| me.name.as_str());
        if me == Some(self.member.as_str()) {
            String::new()
        } else {
            self.member.clone()
        }
    }

    pub(super) fn needs_answer(&self, viewer: &Viewer) -> bool {
        self.page == ConsolePage::Requests && viewer.role >= inquire::NEEDS
    }

    pub(super) fn view(self, role: UserRole) -> PageView {
        PageView {
            page: self.page,
            filter: self.filter,
            member: self.member,
            role,
            ask: self.ask,
        }
    }

    pub(super) fn shown<'s>(
        &'s self,
        platform: &'s Platform,
        viewer: &'s Viewer,
        answer: Option<&'s ProxyResponse>,
    ) -> PageContext<'s> {
        let some = |text: &'s String| Some(text.as_str()).filter(|text| !text.is_empty());
        PageContext {
            platform,
            viewer,
            filter: &self.filter,
            member: some(&self.member),
            outcome: some(&self.outcome),
            page_query: self.ask.as_ref().map(|ask| PageQuery { ask, answer }),
        }
    }
}

fn ask(page: &ConsolePage, query: &[(String, String)], platform: &Platform) -> Option<ProxyQuery> {
    let failed = RequestFilter {
        outcome: "failed".to_owned(),
        ..RequestFilter::default()
    };
    let of_card = |filter| ProxyQuery::Requests { filter, max: CARD };
    match page {
        ConsolePage::Requests => Some(ProxyQuery::Requests {
            filter: RequestFilter::of_query(query),
            max: PAGE,
        }),
        ConsolePage::Overview => Some(of_card(failed)),
        ConsolePage::Proxy(name) => {
            let looks = platform
                .members
                .iter()
                .filter_map(|member| member.look.as_deref());
            let traffic = looks.filter_map(|look| look.traffic.as_ref());
            let mut frontends = traffic.flat_map(|traffic| traffic.frontends());
            let is_frontend = frontends.any(|row| row.proxy == *name);
            let (frontend, server) = if is_frontend {
                (name.clone(), String::new())
            } else {
                (String::new(), name.clone())
            };
            Some(of_card(RequestFilter {
                frontend,
                server,
                ..failed
            }))
        }
        _ => None,
    }
}

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
    shared.record_viewer();
    let Some(wanted) = PageRequest::of(&shared, uri.path(), &query) else {
        return failure(StatusCode::NOT_FOUND, "There is no such page.");
    };
    let mut platform = shared.platform.borrow().clone();
    if wanted.page == ConsolePage::Configuration {
        versions::refresh(&shared).await;
        // Adds the configuration versions, because the last poll may be from before a user watched.
        let versions = lock(&shared.versions).clone();
        platform = Arc::new(Platform {
            versions,
            ..(*platform).clone()
        });
    }
    let answer = match &wanted.ask {
        Some(ask) if viewer.role >= inquire::NEEDS => {
            Some(inquire::now(&shared, &wanted.on(&platform), ask, &viewer).await)
        }
        _ => None,
    };
    let is_missing = match &wanted.page {
        ConsolePage::Proxy(name) => is_missing(&platform, |traffic| {
            traffic.rows.iter().any(|row| row.proxy == *name)
        }),
        _ => false,
    };
    let status = if is_missing {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::OK
    };
    let shown = wanted.shown(&platform, &viewer, answer.as_ref());
    html(status, page::document(&wanted.page, &shown))
}

/// Returns whether all machines with a proxy have reported their objects, and none of them has the
/// object.
fn is_missing(platform: &Platform, has: impl Fn(&Traffic) -> bool) -> bool {
    let mut nodes = platform
        .members
        .iter()
        .filter(|one| one.kind == MemberKind::Node);
    let mut says = platform.me().is_some();
    let any = nodes.any(|member| {
        let look = member.look.as_deref();
        says &= member.silent.is_none() && look.is_some_and(|look| look.silent.is_none());
        look.and_then(|look| look.traffic.as_ref())
            .is_some_and(&has)
    });
    says && !any
}

/// Draws a page for a response of the proxy, if the viewer may query it.
async fn answered(
    shared: &ConsoleState,
    viewer: &Viewer,
    wanted: &PageRequest,
    ask: &ProxyQuery,
    draw: impl FnOnce(&PageContext<'_>) -> Markup,
) -> Response {
    let platform = shared.platform.borrow().clone();
    let answer = if viewer.role >= inquire::NEEDS {
        Some(inquire::now(shared, &wanted.on(&platform), ask, viewer).await)
    } else {
        None
    };
    let is_missing = match (&answer, ask) {
        (Some(ProxyResponse::Missing(_)), _) => true,
        (Some(ProxyResponse::Table(_)), _) => false,
        // Decides by the names and sizes of all tables, which a viewer who may not send queries
        // also sees.
        (_, ProxyQuery::Table { name, .. }) => is_missing(&platform, |traffic| {
            traffic.tables.iter().any(|one| one.name == *name)
        }),
        _ => false,
    };
    let status = if is_missing {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::OK
    };
    let answer = answer.as_ref();
    let shown = PageContext {
        page_query: Some(PageQuery { ask, answer }),
        ..wanted.shown(&platform, viewer, None)
    };
    html(status, draw(&shown))
}

pub(super) async fn request(
    State(shared): State<Common>,
    headers: HeaderMap,
    uri: Uri,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let Some((viewer, _)) = signed_in(&shared, &headers) else {
        return to_sign_in(uri.path(), &query);
    };
    shared.record_viewer();
    let (wanted, id) = (
        PageRequest::of(&shared, "/requests", &query),
        inquire::number(&id),
    );
    let (Some(wanted), Some(id)) = (wanted, id) else {
        return failure(
            StatusCode::NOT_FOUND,
            "A request has a number, such as 0x1f.",
        );
    };
    let ask = ProxyQuery::Request { id };
    answered(&shared, &viewer, &wanted, &ask, |shown| {
        page::request(shown, id)
    })
    .await
}

/// Shows the form for a request to evaluate, and the server to which it would go.
pub(super) async fn route(
    State(shared): State<Common>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let Some((viewer, _)) = signed_in(&shared, &headers) else {
        return to_sign_in("/route", &query);
    };
    shared.record_viewer();
    let Some(wanted) = PageRequest::of(&shared, "/traffic", &query) else {
        return failure(StatusCode::NOT_FOUND, "There is no such page.");
    };
    let question = match DescribedRequest::of_query(&fields(query.as_bytes())) {
        Ok(question) => question,
        Err(words) => return failure(StatusCode::BAD_REQUEST, &words),
    };
    let ask = ProxyQuery::Route(Box::new(question.clone()));
    if question.url.is_empty() {
        // Shows the form, which is still empty.
        let platform = shared.platform.borrow().clone();
        let shown = wanted.shown(&platform, &viewer, None);
        return html(StatusCode::OK, page::route(&shown, &question));
    }
    answered(&shared, &viewer, &wanted, &ask, |shown| {
        page::route(shown, &question)
    })
    .await
}

pub(super) async fn table(
    State(shared): State<Common>,
    headers: HeaderMap,
    uri: Uri,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let Some((viewer, _)) = signed_in(&shared, &headers) else {
        return to_sign_in(uri.path(), &query);
    };
    shared.record_viewer();
    let Some(wanted) = PageRequest::of(&shared, "/traffic", &query).filter(|_| is_table(&name))
    else {
        return failure(StatusCode::NOT_FOUND, "There is no such table.");
    };
    let ask = ProxyQuery::table(&name, &fields(query.as_bytes()));
    answered(&shared, &viewer, &wanted, &ask, |shown| {
        page::table(shown, &name)
    })
    .await
}

pub(super) async fn not_found(
    State(shared): State<Common>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    if uri.path() == "/api" || uri.path().starts_with("/api/") {
        // Responds to programs with an error instead of the sign-in form.
        let words = "no such path: /api/v1 describes all paths";
        return super::api::refused(StatusCode::NOT_FOUND, words);
    }
    match signed_in(&shared, &headers) {
        Some(_) => failure(StatusCode::NOT_FOUND, "There is no such page."),
        None => to_sign_in("/", ""),
    }
}
