//! Carries both directions of a gateway tunnel, in WebSocket messages or in the bodies of two HTTP
//! requests.

use crate::body::ResponseBody;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use protocol::tsgu::PACKET_BYTES_MAX;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

const SEND_LIMIT: Duration = Duration::from_secs(30);
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Limit of a client's message, in bytes: FreeRDP and mstsc send one packet in each.
const MESSAGE_BYTES_MAX: usize = PACKET_BYTES_MAX;
const BUFFER_BYTES: usize = 16 << 10;
const WAITING_MAX: usize = 4;

type TunnelWebSocket = WebSocketStream<TokioIo<Upgraded>>;

/// Reason why one direction of a tunnel has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Over {
    Ended,
    Malformed,
    Slow,
}

pub(super) enum Reader {
    Socket(SplitStream<TunnelWebSocket>),
    Body(Incoming),
}

pub(super) enum Writer {
    Socket(SplitSink<TunnelWebSocket, Message>),
    Body(mpsc::Sender<Bytes>),
}

pub(super) async fn socket(upgraded: Upgraded) -> (Reader, Writer) {
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = BUFFER_BYTES;
    config.write_buffer_size = 0;
    config.max_write_buffer_size = 4 * PACKET_BYTES_MAX;
    config.max_message_size = Some(MESSAGE_BYTES_MAX);
    config.max_frame_size = Some(MESSAGE_BYTES_MAX);
    let stream = TokioIo::new(upgraded);
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let (writes, reads) = socket.split();
    (Reader::Socket(reads), Writer::Socket(writes))
}

pub(super) fn body() -> (ResponseBody, Writer) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (ResponseBody::Stream(receiver), Writer::Body(sender))
}

impl Reader {
    pub(super) async fn read(&mut self) -> Result<Bytes, Over> {
        use tokio_tungstenite::tungstenite::Error;
        use tokio_tungstenite::tungstenite::error::ProtocolError;
        match self {
            Reader::Socket(reads) => loop {
                match reads.next().await {
                    Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
                    // Ignores a ping, to which the library responds.
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Text(_) | Message::Frame(_))) => return Err(Over::Malformed),
                    Some(Ok(Message::Close(_))) | None => return Err(Over::Ended),
                    // Counts as a normal end: FreeRDP closes its connection without a closing
                    // handshake.
                    Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                        return Err(Over::Ended);
                    }
                    Some(Err(Error::Protocol(_) | Error::Capacity(_))) => {
                        return Err(Over::Malformed);
                    }
                    Some(Err(_)) => return Err(Over::Ended),
                }
            },
            Reader::Body(body) => loop {
                let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
                match frame {
                    Some(Ok(frame)) => {
                        if let Ok(bytes) = frame.into_data() {
                            return Ok(bytes);
                        }
                    }
                    Some(Err(_)) | None => return Err(Over::Ended),
                }
            },
        }
    }
}

impl Writer {
    pub(super) async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Over> {
        let sent = async {
            match self {
                Writer::Socket(writes) => writes.send(Message::Binary(bytes.into())).await.is_ok(),
                Writer::Body(sender) => sender.send(bytes.into()).await.is_ok(),
            }
        };
        match timeout(SEND_LIMIT, sent).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Over::Ended),
            Err(_) => Err(Over::Slow),
        }
    }

    /// Returns when the client no longer accepts data, as far as that can be detected here.
    pub(super) async fn closed(sender: Option<mpsc::Sender<Bytes>>) {
        match sender {
            Some(sender) => sender.closed().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn watched(&self) -> Option<mpsc::Sender<Bytes>> {
        match self {
            Writer::Socket(_) => None,
            Writer::Body(sender) => Some(sender.clone()),
        }
    }

    pub(super) async fn close(&mut self) {
        if let Writer::Socket(writes) = self {
            // Ignores the result: the connection ends in any case.
            let _ = timeout(CLOSE_LIMIT, writes.close()).await;
        }
    }
}
