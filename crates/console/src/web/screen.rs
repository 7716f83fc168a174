//! A display or a terminal of a guest: its page, and the connection of the browser to the part that
//! has it.

use super::pages::to_sign_in;
use super::sign_in::is_own;
use super::standing::Standing;
use super::{Common, failure, html, signed_in};
use crate::page;
use crate::screen::{Held, KINDS, Kind};
use crate::shared::{Action, Order, Shared};
use crate::user::{Role, Viewer};
use axum::Router;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ORIGIN, SEC_WEBSOCKET_VERSION};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use part::report::Opens;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, interval, timeout};

/// How long the part may take until it has connected.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Bytes that are read of the part at a time.
const PIECE_BYTES: usize = 32 << 10;
/// The longest message of a browser: a clipboard.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// How long either side may take to accept what the other one sends.
const SEND_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of the reason for which a connection ends (RFC 6455, section 5.5).
const REASON_BYTES_MAX: usize = 123;
/// How long it may take until it is known why a connection has ended.
const KNOWN_LIMIT: Duration = Duration::from_secs(4);
/// The reason where nothing is known.
const ENDED: &str = "The connection to the guest has ended.";
/// Why no further one is opened.
const FULL: &str = "Too many displays and terminals are open.";
/// What is known of a connection that ended without a reason.
const BROKEN: &str =
    "The connection to the console was broken: it was restarted, or the network failed.";
/// How often it is looked whether the browser is there, and its user still signed in.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A browser that says nothing for so long is gone.
const SILENT_MAX: Duration = Duration::from_secs(40);

/// What is to be opened: the part, the kind and the name of the subject, and the offer's word.
type Wanted = Path<(String, String, String, String)>;

/// Adds what all kinds have: pages, connections, and the files of the libraries.
pub(super) fn routes(mut router: Router<Common>) -> Router<Common> {
    for kind in &KINDS {
        let path = format!("/{}/{{part}}/{{kind}}/{{name}}/{{word}}", kind.path);
        let (files, _) = kind.library.main.split_once('/').unwrap_or_default();
        router = router
            .route(
                &path,
                get(move |state, headers, uri, wanted| page(kind, state, headers, uri, wanted)),
            )
            .route(
                &format!("{path}/socket"),
                get(move |state, headers, uri, wanted, upgrade| {
                    socket(kind, state, (headers, uri), wanted, upgrade)
                }),
            )
            .route(&format!("/{files}/{{*path}}"), get(file));
    }
    router
}

fn action(Path((part, kind, name, word)): Wanted) -> Action {
    Action::Offer {
        part,
        subject: [kind, name],
        word,
    }
}

/// Why it is not opened now; `None`: it may be.
fn why_not(
    shared: &Shared,
    viewer: &Viewer,
    (kind, action): (&Kind, &Action),
) -> Option<(StatusCode, String)> {
    if viewer.role < action.needs() {
        let words = format!(
            "A viewer may only look at the pages: an operator may use a {}.",
            kind.noun
        );
        return Some((StatusCode::FORBIDDEN, words));
    }
    let platform = shared.platform.borrow().clone();
    let look = platform.me().and_then(|me| me.look.as_deref());
    let offer = look.and_then(|look| action.offer(look));
    let is_there = offer.is_some_and(|offer| offer.opens == Some(kind.opens));
    let words = || {
        format!(
            "There is no {} of {} now: it does not run.",
            kind.noun,
            action.object()
        )
    };
    (!is_there).then(|| (StatusCode::CONFLICT, words()))
}

/// The response without WebSocket: what would prevent a connection now, or that nothing would.
fn why_none(shared: &Shared, kind: &Kind, action: &Action) -> Response {
    let is_full = shared.screens.places.available_permits() == 0;
    let (status, words) = match shared.screens.holder(&action.object()) {
        Some(holder) if kind.opens == Opens::Terminal => (StatusCode::CONFLICT, is_held(&holder)),
        _ if is_full => (StatusCode::CONFLICT, FULL.to_owned()),
        _ => (StatusCode::OK, BROKEN.to_owned()),
    };
    (status, words).into_response()
}

/// The response to another version of WebSocket, with the one that is spoken (RFC 6455, section 4.4).
fn wrong_version() -> Response {
    let version = [(SEC_WEBSOCKET_VERSION, "13")];
    let words = "This takes version 13 of WebSocket (RFC 6455).";
    (StatusCode::UPGRADE_REQUIRED, version, words).into_response()
}

/// Says who has a terminal.
fn is_held(holder: &str) -> String {
    format!("Another page of the console has its terminal ({holder}): that one has to end first.")
}

/// `GET /screen/…`: the page.
async fn page(
    kind: &'static Kind,
    State(shared): State<Common>,
    headers: HeaderMap,
    uri: Uri,
    wanted: Wanted,
) -> Response {
    let Some((viewer, _)) = signed_in(&shared, &headers) else {
        return to_sign_in(uri.path(), "");
    };
    shared.see();
    let part = wanted.0.0.clone();
    let action = action(wanted);
    // What does not run may do so in a moment: the page says so, and tries again.
    if viewer.role < Role::Operator
        && let Some((status, words)) = why_not(&shared, &viewer, (kind, &action))
    {
        return failure(status, &words);
    }
    let platform = shared.platform.borrow().clone();
    let has_library = shared.screens.has(&kind.library);
    html(
        StatusCode::OK,
        page::screen::document(
            &platform,
            &viewer,
            (&part, &action.object()),
            kind,
            (uri.path(), has_library),
        ),
    )
}

/// `GET /screen/…/socket`: the bytes of the part in messages; without WebSocket, why there are none.
async fn socket(
    kind: &'static Kind,
    State(shared): State<Common>,
    (headers, uri): (HeaderMap, Uri),
    wanted: Wanted,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let said = |status: StatusCode, words: String| (status, words).into_response();
    let Some((viewer, token)) = signed_in(&shared, &headers) else {
        return said(StatusCode::UNAUTHORIZED, "Sign in first.".to_owned());
    };
    // A page of another site could open it with the cookie of this one.
    if upgrade.is_ok() && (!headers.contains_key(ORIGIN) || !is_own(&headers, &uri)) {
        let words = "This is opened by its own page only.";
        return said(StatusCode::FORBIDDEN, words.to_owned());
    }
    shared.see();
    let action = action(wanted);
    if let Err(WebSocketUpgradeRejection::InvalidWebSocketVersionHeader(_)) = upgrade {
        return wrong_version();
    }
    if let Some((status, words)) = why_not(&shared, &viewer, (kind, &action)) {
        return said(status, words);
    }
    let Ok(upgrade) = upgrade else {
        return why_none(&shared, kind, &action);
    };
    let Ok(place) = Arc::clone(&shared.screens.places).try_acquire_owned() else {
        return said(StatusCode::CONFLICT, FULL.to_owned());
    };
    let holds = match kind.opens {
        Opens::Terminal => shared
            .screens
            .hold(&action.object(), &viewer.shown())
            .map(Some),
        Opens::Display => Ok(None),
    };
    let holds = match holds {
        Ok(holds) => holds,
        Err(holder) => {
            return upgrade
                .on_upgrade(async move |browser| close(browser, &is_held(&holder)).await);
        }
    };
    let standing = Standing::of(&shared.platform.borrow(), &action);
    let own = match connect(&shared, &viewer, action.clone()).await {
        Ok(own) => own,
        // A browser shows no script the body of a refused connection, but why one was closed.
        Err(words) => return upgrade.on_upgrade(async move |browser| close(browser, &words).await),
    };
    let token = token.to_owned();
    upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |browser| {
            carry(
                browser,
                own,
                Guard {
                    shared,
                    token,
                    action,
                    standing,
                    place,
                    holds,
                },
            )
        })
}

/// Has the part speak over a connection, of which the other end is returned.
async fn connect(shared: &Shared, viewer: &Viewer, action: Action) -> Result<UnixStream, String> {
    let words = |error: std::io::Error| language::reason(&error);
    let (own, other) = StdStream::pair().map_err(words)?;
    own.set_nonblocking(true).map_err(words)?;
    let own = UnixStream::from_std(own).map_err(words)?;
    let (reply, answer) = oneshot::channel();
    shared.order(Order {
        by: viewer.clone(),
        action,
        connection: Some(OwnedFd::from(other)),
        reply,
    });
    match timeout(CONNECT_LIMIT, answer).await {
        Ok(Ok(done)) => done.map(|_| own),
        _ => Err("There was no answer in time.".to_owned()),
    }
}

/// What an open one holds: its place, and the session by which it was opened.
struct Guard {
    shared: Arc<Shared>,
    token: String,
    /// What was opened, and how it stood then.
    action: Action,
    standing: Standing,
    #[allow(dead_code)]
    place: OwnedSemaphorePermit,
    #[allow(dead_code)]
    holds: Option<Held>,
}

impl Guard {
    /// Whether its user may still use it.
    fn holds(&self) -> bool {
        let viewer = self.shared.viewer(&self.token);
        viewer.is_some_and(|viewer| viewer.role >= Role::Operator)
    }

    /// Why the part has ended the connection, as far as that is known within a moment.
    async fn why_ended(self) -> String {
        let Guard {
            shared,
            action,
            standing,
            place,
            holds,
            ..
        } = self;
        // Another operator need not wait for the reason.
        drop((place, holds));
        let mut news = shared.platform.subscribe();
        let known = async {
            loop {
                shared.see();
                let now = Standing::of(&news.borrow_and_update(), &action);
                if let Some(why) = standing.why_ended(&now) {
                    return why;
                }
                if news.changed().await.is_err() {
                    return ENDED.to_owned();
                }
            }
        };
        let known = timeout(KNOWN_LIMIT, known).await;
        known.unwrap_or_else(|_| ENDED.to_owned())
    }
}

/// Carries bytes until one side ends, the browser is gone, or its user has signed out.
async fn carry(mut browser: WebSocket, part: UnixStream, guard: Guard) {
    let (mut from, mut to) = part.into_split();
    let mut piece = vec![0; PIECE_BYTES];
    let mut looks = interval(LOOK_EVERY);
    let mut heard = Instant::now();
    let why = loop {
        tokio::select! {
            read = from.read(&mut piece) => {
                let bytes = match read {
                    Ok(count @ 1..) => piece.get(..count).unwrap_or_default().to_vec(),
                    _ => {
                        let why = guard.why_ended().await;
                        return close(browser, &why).await;
                    }
                };
                if !guard.holds() {
                    break "Signed out.";
                }
                let sent = timeout(SEND_LIMIT, browser.send(Message::Binary(bytes.into()))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
            message = browser.recv() => {
                heard = Instant::now();
                let bytes = match message {
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    _ => return,
                };
                if !guard.holds() {
                    break "Signed out.";
                }
                let written = timeout(SEND_LIMIT, to.write_all(&bytes)).await;
                if !matches!(written, Ok(Ok(()))) {
                    break "The guest takes no more input.";
                }
            }
            _ = looks.tick() => {
                if !guard.holds() {
                    break "Signed out.";
                }
                let ping = timeout(SEND_LIMIT, browser.send(Message::Ping(Vec::new().into()))).await;
                if heard.elapsed() > SILENT_MAX || !matches!(ping, Ok(Ok(()))) {
                    return;
                }
            }
        }
    };
    // Who connects again is not refused for this one.
    drop(guard);
    close(browser, why).await;
}

/// Ends the connection of a browser with a reason.
async fn close(mut browser: WebSocket, why: &str) {
    let mut ends = (0..=REASON_BYTES_MAX.min(why.len())).rev();
    let end = ends.find(|end| why.is_char_boundary(*end));
    let frame = CloseFrame {
        code: close_code::NORMAL,
        reason: why[..end.unwrap_or(0)].into(),
    };
    // It may be gone.
    let _ = timeout(SEND_LIMIT, browser.send(Message::Close(Some(frame)))).await;
}

/// `GET /novnc/…`, `GET /xterm/…`: a file of a library.
async fn file(State(shared): State<Common>, headers: HeaderMap, uri: Uri) -> Response {
    if signed_in(&shared, &headers).is_none() {
        return failure(StatusCode::UNAUTHORIZED, "Sign in first.");
    }
    let path = uri.path().trim_start_matches('/');
    match shared.screens.file(path) {
        Some(bytes) => {
            let kind = match path.ends_with(".css") {
                true => "text/css; charset=utf-8",
                false => "text/javascript; charset=utf-8",
            };
            let kinds = [
                (CONTENT_TYPE, kind),
                (CACHE_CONTROL, "private, max-age=300"),
            ];
            (kinds, bytes.to_vec()).into_response()
        }
        None => failure(StatusCode::NOT_FOUND, "There is no such page."),
    }
}
