//! Tests HTTP/2 connections between the client side and the server side of this crate, and with
//! the h2 crate, over socket pairs on an event loop.

mod abuse;
mod bodies;
mod ends;
mod fairness;
mod peers;
mod requests;
mod sizes;

use super::driver::{ConnectionHandler, Driver, Then, View};
use super::mapping;
use super::server::ServerMux;
use super::settings::{self, Http2, Limits as Bounds};
use super::shared::{Accept, ConnectionState, RequestDecision};
use super::slot::Expected;
use super::stream::MuxStream;
use http::http1::{Limits, Parsed, RequestFacts};
use http::message::{HttpMessage, HttpVersion};
use protocol::http2::{Connection, ConnectionError, ErrorCode, FieldList, Options};
use reactor::{self, Buffer, Instant, StreamSocket, spawn, with_deadline};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::{Rc, Weak};
use std::time::Duration;
use tls::transport::ConnectionTransport;

pub(super) use reactor::testing::on_loop;

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a future, and fails after the timeout.
async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match with_deadline(Some(reactor::now() + PATIENCE), future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing for {PATIENCE:?}"),
    }
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    soon(what, async {
        while !is() {
            reactor::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

fn socket(stream: UnixStream) -> StreamSocket {
    StreamSocket::from_fd(OwnedFd::from(stream)).unwrap()
}

/// Observations of the server's end.
#[derive(Default)]
struct ServerObservations {
    begun: Cell<u32>,
    malformed: Cell<u32>,
    failed: RefCell<Option<ConnectionError>>,
    /// True once the driver has returned.
    over: Cell<bool>,
    /// Set to make the server send a GOAWAY.
    go_away: Cell<bool>,
    view: RefCell<Option<View>>,
}

struct TestSide<B> {
    begin: B,
    seen: Rc<ServerObservations>,
    idle: Option<Duration>,
}

impl<B> Accept for TestSide<B> {
    type Request = (HttpMessage, Parsed);

    fn accept(&mut self, fields: &FieldList, end: bool) -> RequestDecision<Self::Request> {
        if fields.is_overflowed() {
            return RequestDecision::Answer(b"431");
        }
        let mut message = HttpMessage::new();
        match http::http2::request(fields, end, &Limits::default(), &mut message) {
            Ok(parsed) => {
                let length = mapping::expected_length(&parsed, end);
                // The handlers compare only the path.
                let path = message.path_and_query().to_vec();
                message.set_target(&path).unwrap();
                RequestDecision::Begin((message, parsed), length)
            }
            Err(_) => RequestDecision::Reset(ErrorCode::ProtocolError),
        }
    }

    fn note_malformed(&mut self) {
        self.seen.malformed.set(self.seen.malformed.get() + 1);
    }

    fn faults(&self) -> u32 {
        0
    }
}

impl<B: FnMut(MuxStream, HttpMessage)> ConnectionHandler for TestSide<B> {
    fn begin(&mut self, stream: MuxStream, (message, _): Self::Request) {
        self.seen.begun.set(self.seen.begun.get() + 1);
        (self.begin)(stream, message);
    }

    fn next_action(&mut self, view: &View) -> (Option<Instant>, Then) {
        *self.seen.view.borrow_mut() = Some(*view);
        if self.seen.go_away.get() && !view.closing {
            return (Some(reactor::now()), Then::GoAway(ErrorCode::NoError));
        }
        match self.idle {
            Some(idle) if view.open == 0 && !view.closing => {
                let then = Then::GoAway(ErrorCode::NoError);
                (Some(view.idle_since + idle), then)
            }
            _ => (None, Then::Ask),
        }
    }

    fn note_action_done(&mut self, _: Then) {}

    fn note_failure(&mut self, error: &ConnectionError) {
        *self.seen.failed.borrow_mut() = Some(*error);
    }
}

/// Serves a socket as a client's connection. Each request starts a task.
fn serve_on<F, H>(socket: StreamSocket, options: Options, handler: H) -> Rc<ServerObservations>
where
    H: Fn(MuxStream, HttpMessage) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let seen = Rc::new(ServerObservations::default());
    let mut side = TestSide {
        begin: move |stream, message| spawn(handler(stream, message)),
        seen: Rc::clone(&seen),
        idle: None,
    };
    let shared = ConnectionState::new(Connection::new(options), Weak::new(), false);
    let over = Rc::clone(&seen);
    spawn(async move {
        let transport = ConnectionTransport::from(socket);
        Driver::new(Rc::new(shared), &transport, None)
            .run(&mut side)
            .await;
        over.over.set(true);
    });
    seen
}

/// Makes a server's end with a handler, and a client's end connected to it.
fn pair<F, H>(bounds: Bounds, handler: H) -> (ServerMux, Rc<ServerObservations>)
where
    H: Fn(MuxStream, HttpMessage) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let (near, far) = UnixStream::pair().unwrap();
    let seen = serve_on(socket(far), settings::client_options(&bounds), handler);
    let mux = ServerMux::start(ConnectionTransport::from(socket(near)), bounds, false);
    (mux, seen)
}

/// Returns the default limits with the changes of `set`.
pub(super) fn limits(set: impl FnOnce(&mut Http2)) -> Bounds {
    let mut http2 = Http2::default();
    set(&mut http2);
    Bounds {
        http2,
        head_bytes: 16_384,
        headers_max: 101,
        websocket: true,
    }
}

fn get(path: &str) -> HttpMessage {
    request(b"GET", path)
}

fn request(method: &[u8], path: &str) -> HttpMessage {
    let mut message = HttpMessage::new();
    message
        .begin_request(method, path.as_bytes(), HttpVersion::Http2)
        .unwrap();
    message.add(b"host", b"www.example.org").unwrap();
    message
}

fn answer(status: u16) -> HttpMessage {
    let mut message = HttpMessage::new();
    message
        .begin_response(HttpVersion::Http2, status, b"")
        .unwrap();
    message.add(b"server", b"test").unwrap();
    message
}

fn facts(request: &HttpMessage) -> Expected {
    Expected {
        facts: RequestFacts::of(request, None),
        limits: Limits::default(),
    }
}

/// Sends a request without a body.
fn ask(mux: &ServerMux, path: &str) -> MuxStream {
    let stream = mux.open().expect("there is room");
    let message = get(path);
    stream
        .send_request(&message, facts(&message), true)
        .unwrap();
    stream
}

/// Writes all data, in pieces of at most `piece` bytes.
async fn write_all(stream: &MuxStream, data: &[u8], piece: usize, end: bool) -> io::Result<()> {
    let mut done = 0;
    while done < data.len() {
        let rest = &data[done..data.len().min(done.saturating_add(piece))];
        let last = end && done + rest.len() == data.len();
        match stream.try_write(rest, last) {
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                soon("room to write", stream.writable()).await;
            }
            Err(error) => return Err(error),
        }
    }
    if data.is_empty() && end {
        stream.try_write(&[], true)?;
    }
    Ok(())
}

async fn read_all(stream: &MuxStream) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), Buffer::take());
    loop {
        buffer.clear();
        match stream.read_into(&mut buffer) {
            Ok(0) => return Ok(all),
            Ok(_) => all.extend_from_slice(buffer.filled()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                soon("something to read", stream.readable()).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Responds with the path as the body.
async fn echo_path(stream: MuxStream, message: HttpMessage) {
    let body = message.target().to_vec();
    // Sends no body if the other end is gone.
    if stream.send_head(&answer(200), false).is_ok() {
        let _ = write_all(&stream, &body, usize::MAX, true).await;
    }
}

/// Responds with the received body as it arrives, including trailers.
async fn echo_body(stream: MuxStream, _: HttpMessage) {
    if stream.send_head(&answer(200), false).is_err() {
        return;
    }
    let mut buffer = Buffer::take();
    loop {
        buffer.clear();
        match stream.read_into(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {
                if write_all(&stream, buffer.filled(), usize::MAX, false)
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await,
            Err(_) => return,
        }
    }
    let _ = match stream.take_trailers() {
        Some(trailers) => stream.send_trailers(&trailers),
        None => stream.try_write(&[], true).map(|_| ()),
    };
}

/// Returns the status and body of the response.
async fn answer_of(stream: &MuxStream) -> (u16, Vec<u8>) {
    let mut message = HttpMessage::new();
    let parsed = soon("a head", stream.head(&mut message)).await;
    assert!(!parsed.expect("a head").interim);
    (message.status(), read_all(stream).await.unwrap())
}

/// Returns bytes of a pattern without repetition.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// Raw frames as an attacker writes them.
mod raw {
    pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Makes the preface and empty SETTINGS.
    pub(super) fn hello() -> Vec<u8> {
        let mut bytes = protocol::http2::PREFACE.to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        bytes
    }

    /// Makes a literal header field.
    fn field(name: &str, value: &str) -> Vec<u8> {
        let mut bytes = vec![0, name.len() as u8];
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(value.len() as u8);
        bytes.extend_from_slice(value.as_bytes());
        bytes
    }

    pub(super) fn get(stream: u32, path: &str) -> Vec<u8> {
        let mut block = vec![0x82, 0x86];
        block.extend(field(":path", path));
        block.extend(field(":authority", "a.example"));
        frame(1, 0x5, stream, &block)
    }

    /// Returns types, streams and payloads of all complete frames.
    pub(super) fn frames(mut bytes: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
        let mut frames = Vec::new();
        while bytes.len() >= 9 {
            let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
            if bytes.len() < 9 + length {
                break;
            }
            let stream = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]);
            frames.push((bytes[3], stream, bytes[9..9 + length].to_vec()));
            bytes = &bytes[9 + length..];
        }
        frames
    }

    /// Returns the error code of the GOAWAY among the frames.
    pub(super) fn goaway(bytes: &[u8]) -> Option<u32> {
        let frames = frames(bytes);
        let (_, _, payload) = frames.iter().find(|(kind, ..)| *kind == 7)?;
        Some(u32::from_be_bytes([
            payload[4], payload[5], payload[6], payload[7],
        ]))
    }
}

/// Reads until the peer closes.
async fn drain(socket: &StreamSocket) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match socket.try_read(&mut buffer) {
            Ok(0) => return all,
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                soon("the end of the connection", socket.readable()).await;
            }
            Err(_) => return all,
        }
    }
}

/// Sends all data. Returns false if the peer has closed.
async fn send(socket: &StreamSocket, mut data: &[u8]) -> bool {
    while !data.is_empty() {
        match socket.try_write(data) {
            Ok(n) => data = &data[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                soon("room to send", socket.writable()).await;
            }
            Err(_) => return false,
        }
    }
    true
}
