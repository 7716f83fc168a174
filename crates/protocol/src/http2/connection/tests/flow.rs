//! Tests HTTP/2 flow control in both directions.

use super::super::super::frame;
use super::*;
use ErrorCode::*;

fn increments(connection: &mut Connection) -> Vec<(u32, u32)> {
    sent(connection)
        .into_iter()
        .filter(|(head, _)| head.kind == WINDOW_UPDATE)
        .map(|(head, payload)| {
            (
                head.stream,
                u32::from_be_bytes(payload.try_into().expect("four bytes")),
            )
        })
        .collect()
}

/// Returns a server with windows of 1,000 bytes per stream and 65,535 for the connection.
fn narrow() -> Connection {
    let mut options = Options::new(Http2Role::Server);
    options.initial_window = 1000;
    server_with(options)
}

/// Passes input to a connection whose owner consumes nothing.
fn offer(connection: &mut Connection, mut input: &[u8]) -> Vec<RecordedEvent> {
    let mut all = Vec::new();
    loop {
        let (taken, event) = connection.receive(input, 0);
        input = &input[taken..];
        match seen(event) {
            None => return all,
            some => all.extend(some),
        }
    }
}

#[test]
fn window_is_updated_after_half_is_consumed() {
    let mut connection = narrow();
    offer(&mut connection, &[post(1), data(1, 0, &[0; 1000])].concat());
    connection.consumed(StreamId(1), 499);
    assert_eq!(increments(&mut connection), []);
    connection.consumed(StreamId(1), 1);
    assert_eq!(increments(&mut connection), [(1, 500)]);
    offer(&mut connection, &data(1, 0, &[0; 500]));
    assert_eq!(complaints(&mut connection), []);
    offer(&mut connection, &data(1, 0, &[0; 1]));
    assert_eq!(complaints(&mut connection), [(1, FlowControlError)]);
}

#[test]
fn ended_stream_returns_its_connection_window() {
    let mut connection = narrow();
    let end = data(1, FLAG_END_STREAM, &[0; 38]);
    offer(&mut connection, &[post(1), end].concat());
    assert_eq!(increments(&mut connection), []);
    connection.consumed(StreamId(1), 38);
    assert_eq!(increments(&mut connection), [(1, 38)]);
    // Data received before the end is returned together with later data.
    let end = data(3, FLAG_END_STREAM, &[0; 10]);
    let body = [post(3), data(3, 0, &[0; 400]), end].concat();
    offer(&mut connection, &body);
    connection.consumed(StreamId(3), 400);
    assert_eq!(increments(&mut connection), [(3, 400)]);
    connection.reset(StreamId(3), Cancel);
    connection.consumed(StreamId(3), 10);
    assert_eq!(increments(&mut connection), []);
}

#[test]
fn padding_and_discarded_data_return_their_window() {
    let mut connection = narrow();
    feed(&mut connection, &post(1));
    let padded = [[251].as_slice(), &[0; 255]].concat();
    offer(&mut connection, &frame(DATA, FLAG_PADDED, 1, &padded));
    offer(&mut connection, &frame(DATA, FLAG_PADDED, 1, &padded));
    assert_eq!(increments(&mut connection), [(1, 504)]);
    // For a reset stream, only the connection's window is returned.
    connection.reset(StreamId(1), Cancel);
    for _ in 0..100 {
        assert_eq!(offer(&mut connection, &data(1, 0, &[0; 10_000])), []);
    }
    assert!(
        increments(&mut connection)
            .iter()
            .all(|(stream, _)| *stream == 0)
    );
}

#[test]
fn reset_within_a_frame_returns_its_window() {
    let mut connection = server();
    let whole = [post(1), data(1, 0, &[0; 16_000])].concat();
    let before = connection.receive_window;
    offer(&mut connection, &whole[..1000]);
    connection.reset(StreamId(1), Cancel);
    assert_eq!(offer(&mut connection, &whole[1000..]), []);
    let taken = 1000 - post(1).len() - HEAD_BYTES;
    assert_eq!(connection.unreturned as usize, 16_000 - taken);
    connection.consumed(StreamId(1), taken as u32);
    assert_eq!(
        connection.receive_window + connection.unreturned as i32,
        before
    );
}

#[test]
fn more_than_the_connections_window_ends_the_connection() {
    let mut connection = server();
    let mut input = Vec::new();
    for id in [1, 3, 5, 7, 9] {
        input.extend([post(id), data(id, 0, &[0; 16_000])].concat());
    }
    let mut all = input.as_slice();
    let failure = loop {
        let (taken, event) = connection.receive(all, 0);
        all = &all[taken..];
        match event {
            Event::Failed(error) => break error,
            Event::NeedMore => panic!("no failure"),
            _ => {}
        }
    };
    assert_eq!(
        (failure.code, failure.why),
        (FlowControlError, Why::WindowExceeded)
    );
    assert_eq!(
        failure.to_string(),
        "more DATA than the connection's window allowed (FLOW_CONTROL_ERROR)"
    );
}

#[test]
fn a_narrower_window_counts_once_the_peer_knows_it() {
    let mut options = Options::new(Http2Role::Server);
    options.initial_window = 1000;
    let mut connection = Connection::new(options);
    feed(
        &mut connection,
        &[PREFACE.as_slice(), &settings(&[])].concat(),
    );
    sent(&mut connection);
    offer(
        &mut connection,
        &[post(1), data(1, 0, &[0; 10_000])].concat(),
    );
    assert_eq!(complaints(&mut connection), []);
    offer(&mut connection, &frame(SETTINGS, FLAG_ACK, 0, &[]));
    assert!(connection.is_acknowledged());
    connection.consumed(StreamId(1), 10_000);
    assert_eq!(increments(&mut connection), [(1, 10_000)]);
    offer(&mut connection, &data(1, 0, &[0; 1000]));
    assert_eq!(complaints(&mut connection), []);
    offer(&mut connection, &data(1, 0, &[0; 1]));
    assert_eq!(complaints(&mut connection), [(1, FlowControlError)]);
}

fn answering(peer: &[(u16, u32)]) -> Connection {
    let mut connection = server();
    feed(&mut connection, &[settings(peer), get(1)].concat());
    connection
        .send_headers(StreamId(1), list(OK), false)
        .expect("open");
    sent(&mut connection);
    connection
}

fn pieces(connection: &mut Connection) -> Vec<(usize, bool)> {
    sent(connection)
        .into_iter()
        .filter(|(head, _)| head.kind == DATA)
        .map(|(head, payload)| (payload.len(), head.has(FLAG_END_STREAM)))
        .collect()
}

#[test]
fn data_keeps_within_the_windows_of_section_6_9() {
    let mut connection = answering(&[(4, 1)]);
    let stream = StreamId(1);
    assert_eq!(connection.send_data(stream, b"abcde", true), Ok(1));
    assert_eq!(pieces(&mut connection), [(1, false)]);
    assert_eq!(connection.send_data(stream, b"bcde", true), Ok(0));
    // A changed setting affects open streams, too.
    assert_eq!(
        feed(&mut connection, &settings(&[(4, 3)])),
        [RecordedEvent::Settings]
    );
    assert_eq!(connection.send_data(stream, b"bcde", true), Ok(2));
    // The change may make a window negative.
    feed(&mut connection, &settings(&[(4, 0)]));
    assert_eq!(connection.send_capacity(stream), 0);
    feed(&mut connection, &window(1, 3));
    assert_eq!(connection.send_capacity(stream), 0);
    assert_eq!(
        feed(&mut connection, &window(1, 2)),
        [RecordedEvent::Window(Some(1))]
    );
    assert_eq!(connection.send_capacity(stream), 2);
    sent(&mut connection);
    assert_eq!(connection.send_data(stream, b"de", true), Ok(2));
    assert_eq!(pieces(&mut connection), [(2, true)]);
    assert_eq!(connection.streams(), 0);
    assert_eq!(
        connection.send_data(stream, b"f", true),
        Err(SendError::Gone)
    );
}

#[test]
fn the_end_needs_no_window() {
    let mut connection = answering(&[(4, 0)]);
    assert_eq!(connection.send_data(StreamId(1), b"", false), Ok(0));
    assert_eq!(connection.send_data(StreamId(1), b"", true), Ok(0));
    assert_eq!(pieces(&mut connection), [(0, true)]);
}

#[test]
fn the_connections_window_is_shared() {
    let mut connection = answering(&[(4, 1 << 20)]);
    connection.options.limits.output_bytes_max = 1 << 20;
    feed(&mut connection, &get(3));
    connection
        .send_headers(StreamId(3), list(OK), false)
        .expect("open");
    assert_eq!(
        connection.send_data(StreamId(1), &[0; 60_000], false),
        Ok(60_000)
    );
    assert_eq!(pieces(&mut connection).len(), 4);
    assert_eq!(
        connection.send_data(StreamId(3), &[0; 60_000], false),
        Ok(5_535)
    );
    assert_eq!(connection.send_capacity(StreamId(1)), 0);
    assert_eq!(
        feed(&mut connection, &window(0, 10)),
        [RecordedEvent::Window(None)]
    );
    assert_eq!(connection.send_capacity(StreamId(1)), 10);
}

#[test]
fn data_and_headers_are_split_at_the_peers_frame_size() {
    let mut connection = answering(&[]);
    assert_eq!(
        connection.send_data(StreamId(1), &[0; 40_000], true),
        Ok(40_000)
    );
    assert_eq!(
        pieces(&mut connection),
        [(16_384, false), (16_384, false), (7_232, true)]
    );
    feed(&mut connection, &get(3));
    let long: Vec<u8> = (0..50_000u32).map(|n| (n % 251) as u8).collect();
    let fields = [(b":status".as_slice(), b"200".as_slice()), (b"long", &long)];
    connection
        .send_headers(StreamId(3), fields.into_iter(), true)
        .expect("open");
    let frames: Vec<Http2FrameHeader> = sent(&mut connection)
        .into_iter()
        .map(|(head, _)| head)
        .collect();
    assert!(frames.len() >= 4);
    assert_eq!(
        (frames[0].kind, frames[0].flags),
        (HEADERS, FLAG_END_STREAM)
    );
    for (n, head) in frames.iter().enumerate().skip(1) {
        let flags = if n + 1 == frames.len() {
            FLAG_END_HEADERS
        } else {
            0
        };
        assert_eq!((head.kind, head.flags), (frame::CONTINUATION, flags));
        assert!(head.length <= 16_384);
    }
}

#[test]
fn sending_follows_the_state_of_the_stream() {
    let mut connection = server();
    feed(&mut connection, &post(1));
    let stream = StreamId(1);
    assert_eq!(
        connection.send_data(stream, b"x", false),
        Err(SendError::HeadersFirst)
    );
    connection
        .send_headers(stream, list(&[(":status", "103")]), false)
        .expect("interim");
    assert_eq!(
        connection.send_data(stream, b"x", false),
        Err(SendError::HeadersFirst)
    );
    connection
        .send_headers(stream, list(OK), false)
        .expect("head");
    assert_eq!(connection.send_data(stream, b"x", false), Ok(1));
    connection
        .send_headers(stream, list(&[("a", "b")]), true)
        .expect("trailers");
    assert_eq!(
        connection.send_data(stream, b"x", false),
        Err(SendError::Ended)
    );
    assert_eq!(
        connection.send_headers(stream, list(OK), true),
        Err(SendError::Ended)
    );
    assert!(connection.is_open(stream));
    feed(&mut connection, &data(1, FLAG_END_STREAM, b""));
    assert!(!connection.is_open(stream));
    assert_eq!(
        connection.send_headers(stream, list(OK), true),
        Err(SendError::Gone)
    );
}

#[test]
fn a_peer_sees_nothing_but_settings_until_its_own_are_acknowledged() {
    for role in [Http2Role::Server, Http2Role::Client] {
        let mut options = Options::new(role);
        options.connection_window = 1 << 20;
        let mut connection = Connection::after_preface(options, PREFACE.len());
        let mut begin = connection.output().to_vec();
        connection.output_consumed(begin.len());
        if role == Http2Role::Client {
            begin.drain(..PREFACE.len());
        }
        assert_eq!(begin[3], SETTINGS);
        let length = u32::from_be_bytes([0, begin[0], begin[1], begin[2]]) as usize;
        assert_eq!(begin.len(), HEAD_BYTES + length, "{role:?}");
        feed(&mut connection, &frame(SETTINGS, 0, 0, &[]));
        let kinds = |connection: &mut Connection| -> Vec<(u8, u8)> {
            let frames = sent(connection).into_iter();
            frames.map(|(head, _)| (head.kind, head.flags)).collect()
        };
        assert_eq!(
            kinds(&mut connection),
            [(SETTINGS, FLAG_ACK), (WINDOW_UPDATE, 0)],
            "{role:?}"
        );
        feed(&mut connection, &frame(SETTINGS, 0, 0, &[]));
        assert_eq!(kinds(&mut connection), [(SETTINGS, FLAG_ACK)], "{role:?}");
    }
}
