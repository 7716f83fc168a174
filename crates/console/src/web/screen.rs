//! Serves displays and terminals of guests: the page, and the connection between the browser and
//! the role that runs the guest.

use super::pages::to_sign_in;
use super::sign_in::{is_own, to};
use super::{Common, failure, html, signed_in, standing};
use crate::page;
use crate::shared::{ConsoleState, OperatorAction, UserOrder};
use crate::user::{UserRole, Viewer};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ORIGIN, SEC_WEBSOCKET_VERSION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use part::report::Opens;
use screen::kind::{KINDS, ScreenKind};
use screen::open::ScreenSlot;
use screen::socket::{
    self, BROKEN, SIGN_IN, SIGNED_OUT, ScreenGuard, UpgradeRequestKind, close, forward_bytes,
};
use screen::standing::{ENDED, NOWHERE_MAX, ScreenStatus};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Path parameters: the part of the platform, kind and name of the subject, and the word of the
/// offer.
type ScreenPathParameters = Path<(String, String, String, String)>;

pub(super) fn routes(mut router: Router<Common>) -> Router<Common> {
    for kind in &KINDS {
        let path = format!("/{}/{{part}}/{{kind}}/{{name}}/{{word}}", kind.path);
        router = router
            .route(
                &path,
                get(move |state, headers, uri, wanted| page(kind, state, headers, uri, wanted)),
            )
            .route(
                &format!("{path}/socket"),
                get(move |state, wanted, head| socket(kind, state, wanted, head)),
            )
            .route(&format!("/{}/{{*path}}", kind.library.folder()), get(file));
    }
    router
}

fn action(Path((part, kind, name, word)): ScreenPathParameters) -> OperatorAction {
    OperatorAction::Offer {
        part,
        subject: [kind, name],
        word,
    }
}

/// Explains why a display or terminal cannot be opened now; `None`: it can.
fn why_not(
    shared: &ConsoleState,
    viewer: &Viewer,
    kind: &ScreenKind,
    action: &OperatorAction,
) -> Option<(StatusCode, String)> {
    if viewer.role < action.required_role() {
        let words = format!(
            "A viewer may only read: a {} requires the role `operator`.",
            kind.noun
        );
        return Some((StatusCode::FORBIDDEN, words));
    }
    let opens = opens(shared, action);
    if opens == Some(kind.opens) {
        return None;
    }
    let instead = kind.replacement_kind(opens.into_iter());
    Some((
        StatusCode::CONFLICT,
        kind.why_none(&action.object(), instead),
    ))
}

fn opens(shared: &ConsoleState, action: &OperatorAction) -> Option<Opens> {
    let platform = shared.platform.borrow().clone();
    let look = platform.me()?.look.as_deref()?;
    action.offer(look)?.opens
}

/// Responds to a request without WebSocket: the reason that would prevent a connection now, or that
/// there is none.
fn why_none(
    shared: &ConsoleState,
    viewer: &Viewer,
    kind: &ScreenKind,
    action: &OperatorAction,
) -> Response {
    let why = shared
        .screens
        .why_not(kind, &action.object(), &viewer.shown());
    match why {
        Some(words) => (StatusCode::CONFLICT, words).into_response(),
        None => (StatusCode::OK, BROKEN).into_response(),
    }
}

/// Responds to another version of WebSocket with the supported one (RFC 6455, section 4.4).
fn wrong_version() -> Response {
    let version = [(SEC_WEBSOCKET_VERSION, socket::VERSION)];
    let words = "This requires WebSocket version 13 (RFC 6455).";
    (StatusCode::UPGRADE_REQUIRED, version, words).into_response()
}

async fn page(
    kind: &'static ScreenKind,
    State(shared): State<Common>,
    headers: HeaderMap,
    uri: Uri,
    wanted: ScreenPathParameters,
) -> Response {
    let Some((viewer, _)) = signed_in(&shared, &headers) else {
        return to_sign_in(uri.path(), "");
    };
    shared.record_viewer();
    let part = wanted.0.0.clone();
    let action = action(wanted);
    // Refuses only viewers. Operators get the page even if the guest is not running, because it may
    // start soon: the page shows the state and tries again.
    if viewer.role < UserRole::Operator
        && let Some((status, words)) = why_not(&shared, &viewer, kind, &action)
    {
        return failure(status, &words);
    }
    // Redirects if the guest's display is of another kind by now.
    let instead = kind.replacement_kind(opens(&shared, &action).into_iter());
    let path = uri
        .path()
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(kind.path));
    if let (Some(other), Some(path)) = (instead, path) {
        return to(&format!("/{}{path}", other.path));
    }
    let platform = shared.platform.borrow().clone();
    let has_library = shared.libraries.has(&kind.library);
    html(
        StatusCode::OK,
        page::screen::document(
            &platform,
            &viewer,
            &part,
            &action.object(),
            kind,
            uri.path(),
            has_library,
        ),
    )
}

/// `GET /screen/…/socket`: relays the bytes of the guest's display or terminal in WebSocket
/// messages. A request without WebSocket gets the reason why no connection is possible.
async fn socket(
    kind: &'static ScreenKind,
    State(shared): State<Common>,
    wanted: ScreenPathParameters,
    head: Parts,
) -> Response {
    let said = |status: StatusCode, words: String| (status, words).into_response();
    let headers = &head.headers;
    let Some((viewer, token)) = signed_in(&shared, headers) else {
        return said(StatusCode::UNAUTHORIZED, SIGN_IN.to_owned());
    };
    let asked = UpgradeRequestKind::of(&head);
    // Requires the console's own origin: a page of another site could open the connection with the
    // cookie of this one.
    let is_own = headers.contains_key(ORIGIN) && is_own(headers, &head.uri);
    if matches!(asked, UpgradeRequestKind::Socket(_)) && !is_own {
        let words = "Only its own page can open this connection.";
        return said(StatusCode::FORBIDDEN, words.to_owned());
    }
    shared.record_viewer();
    let action = action(wanted);
    if matches!(asked, UpgradeRequestKind::OtherVersion) {
        return wrong_version();
    }
    if let Some((status, words)) = why_not(&shared, &viewer, kind, &action) {
        return said(status, words);
    }
    let UpgradeRequestKind::Socket(handshake) = asked else {
        return why_none(&shared, &viewer, kind, &action);
    };
    let taken = shared
        .screens
        .take_slot(kind, &action.object(), &viewer.shown());
    let opened = match taken {
        Ok(seat) => open(&shared, &viewer, token, action, seat).await,
        Err(words) => Err(words),
    };
    handshake.accept(Body::empty(), async move |browser| match opened {
        Ok((part, guard)) => forward_bytes(browser, part, guard).await,
        Err(words) => close(browser, &words).await,
    })
}

async fn open(
    shared: &Common,
    viewer: &Viewer,
    token: &str,
    action: OperatorAction,
    seat: ScreenSlot,
) -> Result<(UnixStream, OpenScreen), String> {
    let standing = standing::of(&shared.platform.borrow(), &action);
    let part = connect(shared, viewer, action.clone(), seat.is_first).await?;
    let open = OpenScreen {
        shared: Arc::clone(shared),
        token: token.to_owned(),
        action,
        opened_status: standing,
        seat,
    };
    Ok((part, open))
}

/// Gives one end of a connection to the role that runs the guest, and returns the other end.
async fn connect(
    shared: &ConsoleState,
    viewer: &Viewer,
    action: OperatorAction,
    is_first: bool,
) -> Result<UnixStream, String> {
    let words = |error: std::io::Error| language::reason(&error);
    let (own, other) = StdStream::pair().map_err(words)?;
    own.set_nonblocking(true).map_err(words)?;
    let own = UnixStream::from_std(own).map_err(words)?;
    let (reply, answer) = oneshot::channel();
    shared.order(UserOrder {
        by: viewer.clone(),
        action,
        connection: Some(OwnedFd::from(other)),
        is_noted: is_first,
        reply,
    });
    match timeout(CONNECT_LIMIT, answer).await {
        Ok(Ok(done)) => done.map(|_| own),
        _ => Err("No response in time.".to_owned()),
    }
}

/// An open display or terminal: its slot, and the session that opened it.
struct OpenScreen {
    shared: Arc<ConsoleState>,
    token: String,
    /// Action that opened the display or terminal, and the status of the guest at that time.
    action: OperatorAction,
    opened_status: ScreenStatus,
    seat: ScreenSlot,
}

impl ScreenGuard for OpenScreen {
    fn why_not(&self) -> Option<&'static str> {
        let viewer = self.shared.viewer(&self.token);
        let may = viewer.is_some_and(|viewer| viewer.role >= UserRole::Operator);
        (!may).then_some(SIGNED_OUT)
    }

    async fn why_ended(self) -> String {
        let OpenScreen {
            shared,
            action,
            opened_status: standing,
            seat,
            ..
        } = self;
        // Frees the slot first, so that another operator need not wait for the reason.
        drop(seat);
        let mut news = shared.platform.subscribe();
        let since = Instant::now();
        loop {
            shared.record_viewer();
            let now = standing::of(&news.borrow_and_update(), &action);
            if let Some(why) = standing.why_ended(&now, since.elapsed()) {
                return why;
            }
            // Checks the status again even if no change was reported.
            if let Ok(Err(_)) = timeout(NOWHERE_MAX, news.changed()).await {
                return ENDED.to_owned();
            }
        }
    }
}

async fn file(State(shared): State<Common>, headers: HeaderMap, uri: Uri) -> Response {
    if signed_in(&shared, &headers).is_none() {
        return failure(StatusCode::UNAUTHORIZED, "Sign in first.");
    }
    match shared.libraries.file(uri.path().trim_start_matches('/')) {
        Some((kind, bytes)) => {
            let headers = [
                (CONTENT_TYPE, kind),
                (CACHE_CONTROL, "private, max-age=300"),
            ];
            (headers, bytes.to_vec()).into_response()
        }
        None => failure(StatusCode::NOT_FOUND, "There is no such page."),
    }
}
