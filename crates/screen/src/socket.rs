//! Serves the WebSocket of a display or terminal (RFC 6455): accepts the handshake, relays bytes
//! between the browser and the role that runs the guest, and closes with a reason.

use crate::standing::ENDED;
use futures_util::{SinkExt, StreamExt};
use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{HeaderMap, Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use part::truncated;
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};

pub const VERSION: &str = "13";
pub const BROKEN: &str =
    "The connection was broken: the program was restarted, or the network failed.";

/// Close reason for the views of a user who has signed out.
pub const SIGNED_OUT: &str = "Signed out.";
/// Response to a request without a session, from a page that a user had opened while signed in.
pub const SIGN_IN: &str = "Signed out. Sign in first.";

const PIECE_BYTES: usize = 32 << 10;
/// Maximum length of a message from a browser (a clipboard), in bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
const WAITING_BYTES_MAX: usize = 4 * PIECE_BYTES;
const SEND_LIMIT: Duration = Duration::from_secs(30);
/// Maximum length of the close reason in bytes (RFC 6455, section 5.5).
const REASON_BYTES_MAX: usize = 123;
/// Maximum time for [`ScreenGuard::why_ended`] to find out why a connection has ended.
const KNOWN_LIMIT: Duration = Duration::from_secs(4);
/// Interval of the checks whether the browser still responds and its user still has access. The
/// script of the page considers the connection lost when it receives nothing for five times as
/// long.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Time without data from a browser, or without data accepted by it, after which it counts as gone.
/// Data that was sent before the ping has to be delivered before the browser responds.
const SILENT_MAX: Duration = Duration::from_secs(10);
/// The slowest supported link to a browser, in bytes per second.
const SLOWEST: usize = 16 << 10;
/// Maximum time for delivering data that was sent, seconds: more than the kernel's buffer needs.
const SENT_MAX_S: usize = 60;

pub type ScreenWebSocket = WebSocketStream<TokioIo<Upgraded>>;

pub enum UpgradeRequestKind {
    Socket(UpgradeHandshake),
    OtherVersion,
    Nothing,
}

/// A handshake that awaits its response.
pub struct UpgradeHandshake {
    accept: HeaderValue,
    upgrade: OnUpgrade,
}

/// Access of a user to an open view; dropped when the connection ends.
pub trait ScreenGuard: Send {
    /// Returns the reason why the user has lost access; `None` when access continues.
    fn why_not(&self) -> Option<&'static str>;

    /// Waits until it is known why the guest's end of the connection was closed.
    fn why_ended(self) -> impl Future<Output = String> + Send;
}

fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter();
    let mut words = values.filter_map(|value| value.to_str().ok());
    words.any(|words| {
        words
            .split(',')
            .any(|one| one.trim().eq_ignore_ascii_case(word))
    })
}

impl UpgradeRequestKind {
    pub fn of(head: &Parts) -> UpgradeRequestKind {
        let headers = &head.headers;
        let upgrades = head.method == Method::GET
            && has_word(headers, &CONNECTION, "upgrade")
            && has_word(headers, &UPGRADE, "websocket");
        let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| upgrades);
        let accept = key.map(|key| derive_accept_key(key.as_bytes()));
        let accept = accept.and_then(|accept| HeaderValue::from_str(&accept).ok());
        let Some(accept) = accept else {
            return UpgradeRequestKind::Nothing;
        };
        let version = headers.get(SEC_WEBSOCKET_VERSION);
        if version.is_none_or(|version| version != VERSION) {
            return UpgradeRequestKind::OtherVersion;
        }
        match head.extensions.get::<OnUpgrade>() {
            Some(upgrade) => UpgradeRequestKind::Socket(UpgradeHandshake {
                accept,
                upgrade: upgrade.clone(),
            }),
            None => UpgradeRequestKind::Nothing,
        }
    }
}

impl UpgradeHandshake {
    /// Returns the response to the handshake. Once the connection is upgraded, `serve` receives the
    /// WebSocket.
    pub fn accept<B, F>(
        self,
        body: B,
        serve: impl FnOnce(ScreenWebSocket) -> F + Send + 'static,
    ) -> Response<B>
    where
        F: Future<Output = ()> + Send,
    {
        let upgrade = self.upgrade;
        tokio::spawn(async move {
            // Serves nothing if the browser has disconnected.
            if let Ok(upgraded) = upgrade.await {
                serve(socket(upgraded).await).await;
            }
        });
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept);
        response
    }
}

async fn socket(upgraded: Upgraded) -> ScreenWebSocket {
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = PIECE_BYTES;
    config.write_buffer_size = 0;
    config.max_write_buffer_size = WAITING_BYTES_MAX;
    config.max_message_size = Some(MESSAGE_BYTES_MAX);
    config.max_frame_size = Some(MESSAGE_BYTES_MAX);
    let stream = TokioIo::new(upgraded);
    WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await
}

/// Forwards bytes until one side ends, the browser disconnects, or its user loses access.
pub async fn forward_bytes<S>(
    browser: WebSocketStream<S>,
    part: UnixStream,
    guard: impl ScreenGuard,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    forward_while(browser, part, guard, LOOK_EVERY, SILENT_MAX).await;
}

async fn forward_while<S>(
    mut browser: WebSocketStream<S>,
    part: UnixStream,
    guard: impl ScreenGuard,
    look_every: Duration,
    silent_max: Duration,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from, mut to) = part.into_split();
    let mut piece = vec![0; PIECE_BYTES];
    let mut looks = interval(look_every);
    // Counts in `sent` the bytes sent to the browser since its last message. `heard` is the time of
    // the last sign of life of the browser.
    let (mut heard, mut sent) = (Instant::now(), 0);
    // Result of the loop: None if the part has ended the connection. Checks the guard of the access
    // first: the part ends all connections of a display when one of them ends.
    let why = loop {
        tokio::select! {
            read = from.read(&mut piece) => {
                let bytes = match read {
                    Ok(count @ 1..) => piece.get(..count).unwrap_or_default().to_vec(),
                    _ => break guard.why_not(),
                };
                if let Some(why) = guard.why_not() {
                    break Some(why);
                }
                let began = Instant::now();
                sent += bytes.len();
                if !send(&mut browser, Message::Binary(bytes.into()), silent_max).await {
                    return;
                }
                // Counts a slow send as a sign of life: the browser's own data was not read
                // meanwhile, but the browser has accepted data.
                if began.elapsed() >= look_every {
                    heard = Instant::now();
                }
            }
            message = browser.next() => {
                let bytes = match message {
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => Bytes::new(),
                    _ => return,
                };
                if let Some(why) = guard.why_not() {
                    break Some(why);
                }
                let written = timeout(SEND_LIMIT, to.write_all(&bytes)).await;
                if !matches!(written, Ok(Ok(()))) {
                    break Some("The guest accepts no more input.");
                }
                (heard, sent) = (Instant::now(), 0);
            }
            _ = looks.tick() => {
                if let Some(why) = guard.why_not() {
                    break Some(why);
                }
                // Sends a message besides the ping, since scripts of a page cannot see a ping.
                let signs = [Message::Text(Utf8Bytes::default()), Message::Ping(Bytes::new())];
                let patience = silent_max + delivery_timeout(sent);
                for sign in signs {
                    if heard.elapsed() > patience || !send(&mut browser, sign, silent_max).await {
                        return;
                    }
                }
            }
        }
    };
    // Closes the connection to the part, whose further data is discarded, so that the part sees the
    // end at once.
    drop((from, to));
    finish(browser, guard, why).await;
}

/// Closes the connection of a browser with the reason. `None`: waits for the reason from the guard.
async fn finish<S>(browser: WebSocketStream<S>, guard: impl ScreenGuard, why: Option<&str>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(why) = why else {
        let why = timeout(KNOWN_LIMIT, guard.why_ended()).await;
        return close(browser, why.as_deref().unwrap_or(ENDED)).await;
    };
    // Releases the access first: a new connection of the same user must not be refused because of
    // this connection.
    drop(guard);
    close(browser, why).await;
}

fn delivery_timeout(bytes: usize) -> Duration {
    let seconds = (bytes / SLOWEST).min(SENT_MAX_S);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX))
}

async fn send<S>(browser: &mut WebSocketStream<S>, message: Message, limit: Duration) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    matches!(timeout(limit, browser.send(message)).await, Ok(Ok(())))
}

/// Ends the connection of a browser with a reason. A script cannot read the body of a refused
/// connection, but it can read the close reason.
pub async fn close<S>(mut browser: WebSocketStream<S>, why: &str)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = CloseFrame {
        code: CloseCode::Normal,
        reason: Utf8Bytes::from(shortened(why)),
    };
    // Ignores an error: the browser may have disconnected.
    let _ = timeout(SILENT_MAX, browser.close(Some(frame))).await;
}

fn shortened(why: &str) -> &str {
    truncated(why, REASON_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn asked(fields: &[(&str, &str)]) -> UpgradeRequestKind {
        let request = fields.iter().fold(Request::get("/"), |request, field| {
            request.header(field.0, field.1)
        });
        UpgradeRequestKind::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_request_asks_for_a_socket_of_this_version_or_for_none() {
        let upgrade = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        assert!(matches!(asked(&[]), UpgradeRequestKind::Nothing));
        assert!(matches!(asked(&upgrade), UpgradeRequestKind::OtherVersion));
        let of = |version| [&upgrade[..], &[("sec-websocket-version", version)]].concat();
        assert!(matches!(asked(&of("12")), UpgradeRequestKind::OtherVersion));
        // Refuses a correct request whose connection cannot be upgraded.
        assert!(matches!(asked(&of("13")), UpgradeRequestKind::Nothing));
        assert!(matches!(asked(&of("13")[1..]), UpgradeRequestKind::Nothing));
    }

    #[test]
    fn a_reason_is_cut_between_letters() {
        assert_eq!(shortened("gone"), "gone");
        let long = format!("{}é", "a".repeat(REASON_BYTES_MAX - 1));
        assert_eq!(shortened(&long), &long[..REASON_BYTES_MAX - 1]);
    }

    /// A guard whose user has signed out when the flag is set.
    struct SignedOutGuard(Arc<AtomicBool>);

    impl ScreenGuard for SignedOutGuard {
        fn why_not(&self) -> Option<&'static str> {
            self.0.load(Ordering::Relaxed).then_some(SIGNED_OUT)
        }

        async fn why_ended(self) -> String {
            ENDED.to_owned()
        }
    }

    const LOOK: Duration = Duration::from_millis(20);
    const SILENT: Duration = Duration::from_secs(2);

    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(future)
    }

    /// Returns a forwarded connection: the ends of the browser and of the part, and the forwarding
    /// task.
    async fn carried(
        signed_out: &Arc<AtomicBool>,
        look: Duration,
    ) -> (
        WebSocketStream<tokio::io::DuplexStream>,
        UnixStream,
        tokio::task::JoinHandle<()>,
    ) {
        let (own, other) = tokio::io::duplex(64 << 10);
        let (part, end) = UnixStream::pair().unwrap();
        let server = WebSocketStream::from_raw_socket(other, Role::Server, None).await;
        let guard = SignedOutGuard(Arc::clone(signed_out));
        let carries = tokio::spawn(forward_while(server, part, guard, look, SILENT));
        let browser = WebSocketStream::from_raw_socket(own, Role::Client, None).await;
        (browser, end, carries)
    }

    #[test]
    fn a_browser_that_gets_a_picture_slowly_is_waited_for() {
        let seconds =
            [0, 15 << 10, 1 << 20, 64 << 20].map(|bytes| delivery_timeout(bytes).as_secs());
        assert_eq!(seconds, [0, 0, 60, 60]);
    }

    #[test]
    fn a_browser_that_does_not_respond_is_gone() {
        block_on(async {
            let (_browser, mut end, carries) = carried(&Arc::default(), LOOK).await;
            carries.await.unwrap();
            assert_eq!(end.read(&mut [0]).await.unwrap(), 0);
        });
    }

    #[test]
    fn a_view_only_page_keeps_its_connection() {
        block_on(async {
            let (mut browser, mut end, _carries) = carried(&Arc::default(), LOOK).await;
            // Reads for longer than the silence limit; reading also sends the responses to pings.
            let mut signs = 0;
            while signs < 2 * SILENT.as_millis() / LOOK.as_millis() {
                let message = browser.next().await.unwrap().unwrap();
                signs += u128::from(message == Message::Text(Utf8Bytes::default()));
            }
            end.write_all(b"RFB").await.unwrap();
            loop {
                match browser.next().await.unwrap().unwrap() {
                    Message::Binary(bytes) => break assert_eq!(&bytes[..], b"RFB"),
                    message => assert!(!message.is_close(), "{message:?}"),
                }
            }
        });
    }

    #[test]
    fn a_connection_that_its_part_ends_after_a_sign_out_says_so_at_once() {
        block_on(async {
            let signed_out = Arc::default();
            let (mut browser, end, _carries) = carried(&signed_out, KNOWN_LIMIT * 2).await;
            // Waits for the first message of the connection: the guard was checked just before it,
            // and the next check is not due soon.
            let sign = browser.next().await.unwrap().unwrap();
            assert_eq!(sign, Message::Text(Utf8Bytes::default()));
            signed_out.store(true, Ordering::Relaxed);
            let began = Instant::now();
            drop(end);
            let frame = loop {
                match browser.next().await.unwrap().unwrap() {
                    Message::Close(frame) => break frame,
                    message => assert!(!message.is_binary(), "{message:?}"),
                }
            };
            assert_eq!(frame.unwrap().reason, SIGNED_OUT);
            assert!(began.elapsed() < KNOWN_LIMIT / 2);
        });
    }
}
