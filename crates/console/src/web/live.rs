//! Sends the changed fragments of live pages as server-sent events (WHATWG HTML, 9.2), one event
//! for each poll of the platform.

use super::pages::PageRequest;
use super::{Common, field, fields, inquire, signed_in};
use crate::drawing::{PageData, PageFollower};
use crate::inquiry::live::SharedQuery;
use crate::shared::{ConsoleState, LivePage, Watchers};
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const LIVE_MAX: usize = 200;
/// Interval of keep-alive messages, by which both sides notice that the connection has broken.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

struct PageEventStream {
    shared: Arc<ConsoleState>,
    _live: LivePage,
    platform: watch::Receiver<Arc<crate::platform::Platform>>,
    following: PageFollower,
    inquiry: Option<Arc<SharedQuery>>,
    token: String,
}

pub(super) async fn live(
    State(shared): State<Common>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let Some((viewer, token)) = signed_in(&shared, &headers) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let asked = field(&fields(query.unwrap_or_default().as_bytes()), "page");
    let (path, query) = asked.split_once('?').unwrap_or((&asked, ""));
    let Some(wanted) = PageRequest::of(&shared, path, query) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Some(live) = Watchers::enter(&shared, LIVE_MAX) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    // Refuses a page that consists of a proxy response alone if there are too many queries: the
    // browser keeps its content.
    let inquiry = wanted.inquiry(&shared, &viewer);
    if inquiry.is_none() && wanted.needs_answer(&viewer) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    shared.record_viewer();
    let mut looks = shared.platform.subscribe();
    // Marks the current poll as changed, because the page may show an earlier one.
    looks.mark_changed();
    let stream = PageEventStream {
        _live: live,
        platform: looks,
        following: shared.drawings.follow(wanted.view(viewer.role)),
        inquiry,
        token: token.to_owned(),
        shared,
    };
    let events = stream::unfold(stream, |mut stream| async move {
        let bytes = stream.next().await?;
        Some((Ok::<Bytes, Infallible>(bytes), stream))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(events)).into_response()
}

impl PageEventStream {
    /// Returns the next event. None if the viewer is signed out or the console ends.
    async fn next(&mut self) -> Option<Bytes> {
        let changed = tokio::time::timeout(SIGN_OF_LIFE, self.platform.changed()).await;
        // Ends the stream of a user who was signed out, who must see nothing more.
        let viewer = self.shared.viewer(&self.token)?;
        match changed {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return None,
            Err(_) => return Some(Bytes::from_static(b": \n\n")),
        }
        let platform = self.platform.borrow_and_update().clone();
        let may = viewer.role >= inquire::NEEDS;
        let answer = match self.inquiry.as_ref().filter(|_| may) {
            Some(inquiry) => {
                Some(inquire::of_look(&self.shared, inquiry, &platform, &viewer).await)
            }
            None => None,
        };
        let seen = PageData { platform, answer };
        let drawings = &self.shared.drawings;
        Some(Bytes::from(drawings.next(
            &mut self.following,
            &seen,
            &viewer,
        )))
    }
}
