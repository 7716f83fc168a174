//! Tests HTTP/2 against the h2 crate, as its server and as its client, over a pipe in memory:
//! bodies, trailers, narrow windows, resets, shutdown.

use super::*;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// Timeout, far longer than any of the tests takes.
const PATIENCE: Duration = Duration::from_secs(60);
const BODY_BYTES: usize = 300_000;
const PIECE_BYTES_MIN: usize = 1_000;

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(PATIENCE, test).await.expect("in time");
    });
}

fn body() -> Bytes {
    (0..BODY_BYTES).map(|n| (n % 241) as u8).collect()
}

/// Data of a stream that waits for its window.
#[derive(Default)]
struct Outgoing {
    data: VecDeque<u8>,
    trailers: bool,
    ended: bool,
}

impl Outgoing {
    /// Sends what the window allows; returns whether everything was sent.
    fn pump(&mut self, connection: &mut Connection, stream: StreamId) -> bool {
        // Newer versions of h2 treat many short frames as an attack.
        if self.data.len() < PIECE_BYTES_MIN && !self.ended {
            return false;
        }
        let room = connection.send_capacity(stream);
        let data: Vec<u8> = self.data.iter().copied().take(room).collect();
        let end = self.ended && !self.trailers && data.len() == self.data.len();
        if !data.is_empty() || end {
            match connection.send_data(stream, &data, end) {
                Ok(taken) => {
                    self.data.drain(..taken);
                    if end && taken == data.len() {
                        return true;
                    }
                }
                Err(_) => return true,
            }
        }
        if self.ended && self.trailers && self.data.is_empty() {
            let _ = connection.send_headers(stream, list(&[("sum", "done")]), true);
            return true;
        }
        false
    }
}

/// Moves bytes between a connection and its pipe until it is closed, and reports every event to the
/// owner.
async fn drive(
    connection: &mut Connection,
    pipe: &mut DuplexStream,
    piece_bytes: usize,
    mut owner: impl FnMut(&mut Connection, Option<RecordedEvent>),
) {
    let mut buffer = vec![0; piece_bytes];
    loop {
        owner(connection, None);
        while !connection.output().is_empty() {
            let written = pipe
                .write(connection.output())
                .await
                .expect("the pipe takes it");
            connection.output_consumed(written);
            owner(connection, None);
        }
        if connection.is_closed() {
            return;
        }
        let length = match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        let mut input = &buffer[..length];
        loop {
            let (taken, event) = connection.receive(input, 0);
            input = &input[taken..];
            let more = matches!(event, Event::NeedMore);
            if let Some(event) = seen(event) {
                assert!(!matches!(event, RecordedEvent::Failed(..)), "{event:?}");
                owner(connection, Some(event));
            }
            if more {
                break;
            }
        }
    }
}

/// Serves requests: returns bodies, with trailers; resets `/reset`.
fn echo(
    streams: &mut BTreeMap<u32, Outgoing>,
    connection: &mut Connection,
    event: Option<RecordedEvent>,
) {
    match event {
        Some(RecordedEvent::Headers {
            stream,
            fields,
            end,
            trailers: false,
            ..
        }) => {
            let path = fields
                .iter()
                .find(|(name, _)| name == ":path")
                .expect("a path");
            let id = StreamId(stream);
            if path.1 == "/reset" {
                connection.reset(id, ErrorCode::EnhanceYourCalm);
                return;
            }
            connection
                .send_headers(id, list(&[(":status", "103")]), false)
                .expect("open");
            connection
                .send_headers(id, list(&[(":status", "200"), ("x", "y")]), false)
                .expect("open");
            let trailers = path.1 == "/trailers";
            streams.insert(
                stream,
                Outgoing {
                    ended: end,
                    trailers,
                    ..Outgoing::default()
                },
            );
        }
        Some(RecordedEvent::Headers { stream, .. }) => {
            streams.get_mut(&stream).expect("known").ended = true;
        }
        Some(RecordedEvent::Data { stream, data, end }) => {
            connection.consumed(StreamId(stream), data.len() as u32);
            let outgoing = streams.get_mut(&stream).expect("known");
            outgoing.data.extend(data);
            outgoing.ended |= end;
        }
        Some(RecordedEvent::Reset { stream, .. }) => {
            streams.remove(&stream);
        }
        _ => {}
    }
    streams.retain(|stream, outgoing| !outgoing.pump(connection, StreamId(*stream)));
}

async fn serve(mut pipe: DuplexStream, options: Options, piece_bytes: usize) -> Connection {
    let mut connection = Connection::new(options);
    let mut streams = BTreeMap::new();
    drive(
        &mut connection,
        &mut pipe,
        piece_bytes,
        |connection, event| {
            echo(&mut streams, connection, event);
        },
    )
    .await;
    connection
}

/// Sends a body with h2 within what windows allow.
async fn send_all(stream: &mut h2::SendStream<Bytes>, mut body: Bytes, end: bool) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let capacity = capacity.expect("open").expect("capacity");
        let piece = body.split_to(capacity.min(body.len()));
        stream
            .send_data(piece, end && body.is_empty())
            .expect("open");
    }
}

/// Reads a body with h2 to its end, including trailers.
async fn read_all(stream: &mut h2::RecvStream) -> (Vec<u8>, Option<http_types::HeaderMap>) {
    let mut all = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece.expect("a piece");
        stream
            .flow_control()
            .release_capacity(piece.len())
            .expect("it was held");
        all.extend_from_slice(&piece);
    }
    (all, stream.trailers().await.expect("trailers"))
}

fn h2_request(path: &str) -> http_types::Request<()> {
    let uri = format!("http://example.com{path}");
    http_types::Request::post(uri)
        .header("cookie", "a=b")
        .body(())
        .expect("a request")
}

async fn echoed(client: &mut h2::client::SendRequest<Bytes>, path: &'static str) {
    let client = std::future::poll_fn(|cx| client.poll_ready(cx))
        .await
        .map(|()| client);
    let (answer, mut stream) = client
        .expect("ready")
        .send_request(h2_request(path), false)
        .expect("sent");
    let send = async {
        send_all(&mut stream, body(), path == "/").await;
        if path == "/trailers" {
            let mut trailers = http_types::HeaderMap::new();
            trailers.insert("a", http_types::HeaderValue::from_static("b"));
            stream.send_trailers(trailers).expect("open");
        }
    };
    let receive = async {
        let answer = answer.await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x"]),
            (200, &"y".parse().unwrap())
        );
        let (got, trailers) = read_all(&mut answer.into_body()).await;
        assert!(got == body());
        assert_eq!(trailers.is_some(), path == "/trailers");
    };
    join(send, receive).await;
}

/// Runs both futures on one task.
async fn join(a: impl Future<Output = ()>, b: impl Future<Output = ()>) {
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    let (mut a_done, mut b_done) = (false, false);
    std::future::poll_fn(|cx| {
        a_done = a_done || a.as_mut().poll(cx).is_ready();
        b_done = b_done || b.as_mut().poll(cx).is_ready();
        if a_done && b_done {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

async fn h2_client_session(pipe: DuplexStream, window: u32) {
    let (mut client, connection) = h2::client::Builder::new()
        .initial_window_size(window)
        .max_frame_size(20_000)
        .handshake::<_, Bytes>(pipe)
        .await
        .expect("a handshake");
    let requests = async move {
        echoed(&mut client, "/").await;
        echoed(&mut client, "/trailers").await;
        let (answer, _) = client
            .send_request(h2_request("/reset"), true)
            .expect("sent");
        let error = answer.await.expect_err("it is reset");
        assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
        // The client cancels a request in the middle.
        let (answer, mut stream) = client.send_request(h2_request("/"), false).expect("sent");
        stream
            .send_data(body().slice(..1_500), false)
            .expect("open");
        let mut answer = answer.await.expect("an answer");
        answer
            .body_mut()
            .data()
            .await
            .expect("a piece")
            .expect("well");
        stream.send_reset(h2::Reason::CANCEL);
        drop((answer, stream));
        echoed(&mut client, "/").await;
        let (mut one, mut two) = (client.clone(), client);
        join(echoed(&mut one, "/"), echoed(&mut two, "/trailers")).await;
    };
    join(requests, async { connection.await.expect("a good end") }).await;
}

#[test]
fn an_h2_client_is_served() {
    for (window, ours, piece) in [
        (65_535, 65_535, 16_384),
        (1_000, 2_000, 700),
        (1 << 20, 1 << 20, 99),
    ] {
        run(async {
            let (near, far) = duplex(1 << 20);
            let mut options = Options::new(Http2Role::Server);
            options.initial_window = ours;
            options.connection_window = ours * 2;
            let session = h2_client_session(far, window);
            let serve = async {
                let connection = serve(near, options, piece).await;
                assert_eq!(connection.streams(), 0);
                let statistics = connection.statistics();
                assert_eq!(
                    (statistics.streams_opened, statistics.resets_received),
                    (7, 1)
                );
            };
            join(serve, session).await;
        });
    }
}

#[derive(Default)]
struct InteropResponse {
    status: String,
    body: Vec<u8>,
    ended: bool,
    trailers: bool,
    reset: Option<ErrorCode>,
}

async fn h2_server(pipe: DuplexStream, window: u32) {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(window)
        .max_concurrent_streams(3);
    let mut connection = builder
        .handshake::<_, Bytes>(pipe)
        .await
        .expect("a handshake");
    // The connection must be driven meanwhile, so the requests run in the same task.
    let mut running: Vec<std::pin::Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
    std::future::poll_fn(|cx| {
        loop {
            running.retain_mut(|request| request.as_mut().poll(cx).is_pending());
            match connection.poll_accept(cx) {
                std::task::Poll::Ready(Some(Ok((request, respond)))) => {
                    running.push(Box::pin(h2_answer(request, respond)));
                }
                std::task::Poll::Ready(_) => return std::task::Poll::Ready(()),
                std::task::Poll::Pending => return std::task::Poll::Pending,
            }
        }
    })
    .await;
}

async fn h2_answer(
    request: http_types::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) {
    let path = request.uri().path().to_string();
    if path == "/reset" {
        respond.send_reset(h2::Reason::REFUSED_STREAM);
        return;
    }
    let (got, trailers) = read_all(&mut request.into_body()).await;
    let answer = http_types::Response::builder()
        .status(201)
        .body(())
        .expect("an answer");
    let mut stream = respond.send_response(answer, false).expect("open");
    send_all(&mut stream, got.into(), trailers.is_none()).await;
    if let Some(trailers) = trailers {
        stream.send_trailers(trailers).expect("open");
    }
}

fn open_wanted(
    wanted: &mut VecDeque<&'static str>,
    open: &mut BTreeMap<u32, Outgoing>,
    answers: &mut BTreeMap<u32, InteropResponse>,
    connection: &mut Connection,
) {
    while connection.is_settled() && connection.can_open() {
        let Some(path) = wanted.pop_front() else {
            break;
        };
        let stream = connection.open().expect("room");
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "a"),
        ];
        connection
            .send_headers(stream, list(&fields), false)
            .expect("open");
        let trailers = path == "/trailers";
        open.insert(
            stream.0,
            Outgoing {
                data: body().to_vec().into(),
                ended: true,
                trailers,
            },
        );
        answers.insert(stream.0, InteropResponse::default());
    }
}

/// Acts as the owner of a client: opens streams for paths while the limit allows.
fn ask(
    wanted: &mut VecDeque<&'static str>,
    open: &mut BTreeMap<u32, Outgoing>,
    answers: &mut BTreeMap<u32, InteropResponse>,
    connection: &mut Connection,
    event: Option<RecordedEvent>,
) {
    match event {
        Some(RecordedEvent::Headers {
            stream,
            fields,
            end,
            trailers,
            ..
        }) => {
            let answer = answers.get_mut(&stream).expect("asked");
            answer.trailers |= trailers;
            answer.ended |= end;
            if !trailers {
                answer.status.clone_from(&fields[0].1);
            }
        }
        Some(RecordedEvent::Data { stream, data, end }) => {
            connection.consumed(StreamId(stream), data.len() as u32);
            let answer = answers.get_mut(&stream).expect("asked");
            answer.body.extend(data);
            answer.ended |= end;
        }
        Some(RecordedEvent::Reset {
            stream,
            code,
            ours: false,
        }) => {
            answers.get_mut(&stream).expect("asked").reset = Some(code);
            open.remove(&stream);
        }
        Some(event @ RecordedEvent::Reset { .. }) => panic!("{event:?}"),
        _ => {}
    }
    open_wanted(wanted, open, answers, connection);
    open.retain(|stream, outgoing| !outgoing.pump(connection, StreamId(*stream)));
    let all_done = answers
        .values()
        .all(|answer| answer.ended || answer.reset.is_some());
    if wanted.is_empty() && all_done {
        connection.go_away(ErrorCode::NoError);
    }
}

#[test]
fn h2_server_responds() {
    for (window, ours, piece) in [
        (65_535, 65_535, 16_384),
        (1_000, 2_000, 700),
        (1 << 20, 1 << 20, 99),
    ] {
        run(async {
            let (mut near, far) = duplex(1 << 20);
            let mut options = Options::new(Http2Role::Client);
            options.initial_window = ours;
            let mut wanted: VecDeque<_> =
                ["/", "/trailers", "/reset", "/", "/", "/trailers", "/"].into();
            let (mut open, mut answers) = (BTreeMap::new(), BTreeMap::new());
            let client = async {
                let mut connection = Connection::new(options);
                drive(&mut connection, &mut near, piece, |connection, event| {
                    ask(&mut wanted, &mut open, &mut answers, connection, event);
                })
                .await;
                drop(near);
            };
            join(client, h2_server(far, window)).await;
            assert_eq!(answers.len(), 7);
            let resets: Vec<_> = answers.values().filter_map(|answer| answer.reset).collect();
            assert_eq!(resets, [ErrorCode::RefusedStream]);
            for answer in answers.values().filter(|answer| answer.reset.is_none()) {
                assert_eq!((answer.status.as_str(), answer.ended), ("201", true));
                assert!(answer.body == body());
            }
            assert_eq!(answers.values().filter(|answer| answer.trailers).count(), 2);
        });
    }
}
