//! Tests violations of RFC 9113 by the peer, and the required reactions: the list of the
//! conformance suite h2spec, section by section, and what it leaves out.

use super::ExpectedReaction::{Connection as Conn, Fine, Stream};
use super::*;
use ErrorCode::*;

#[test]
fn a_connection_begins_with_the_preface_and_settings() {
    let fresh = || Connection::new(Options::new(Http2Role::Server));
    let preface = || PREFACE.to_vec();
    check(
        fresh,
        &[
            (
                "3.4: another preface",
                vec![b"INVALID CONNECTION PREFACE\r\n\r\n".to_vec()],
                Conn(ProtocolError, Why::Preface),
            ),
            (
                "3.4: nearly the preface",
                vec![b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX".to_vec()],
                Conn(ProtocolError, Why::Preface),
            ),
            (
                "3.4: HTTP/1",
                vec![b"GET / HTTP/1.1\r\n\r\n".to_vec()],
                Conn(ProtocolError, Why::Preface),
            ),
            (
                "3.4: no SETTINGS",
                vec![preface(), frame(PING, 0, 0, &[0; 8])],
                Conn(ProtocolError, Why::FirstFrame),
            ),
            (
                "3.4: only an acknowledgement",
                vec![preface(), frame(SETTINGS, FLAG_ACK, 0, &[])],
                Conn(ProtocolError, Why::FirstFrame),
            ),
            ("3.4: as it should be", vec![preface(), settings(&[])], Fine),
        ],
    );
    let fresh = || Connection::new(Options::new(Http2Role::Client));
    check(
        fresh,
        &[
            (
                "a server that speaks HTTP/1",
                vec![b"HTTP/1.1 400 Bad request\r\n\r\n".to_vec()],
                Conn(ProtocolError, Why::FirstFrame),
            ),
            (
                "a server without SETTINGS",
                vec![get(1)],
                Conn(ProtocolError, Why::FirstFrame),
            ),
        ],
    );
    let mut late = Connection::after_preface(Options::new(Http2Role::Server), PREFACE.len());
    assert_eq!(feed(&mut late, &settings(&[])), [RecordedEvent::Settings]);
    let mut late = Connection::after_preface(Options::new(Http2Role::Server), 3);
    assert_eq!(feed(&mut late, &PREFACE[3..]), []);
    assert_eq!(feed(&mut late, &settings(&[])), [RecordedEvent::Settings]);
}

#[test]
fn frames_have_the_form_of_section_4() {
    check(
        server,
        &[
            (
                "4.1: unknown type",
                vec![frame(0x16, 0, 0, &[0; 8]), frame(0xff, 0xff, 77, &[])],
                Fine,
            ),
            (
                "4.1: undefined flags",
                vec![frame(PING, 0x16 & !FLAG_ACK, 0, &[0; 8])],
                Fine,
            ),
            (
                "4.1: the reserved bit",
                vec![frame(PING, 0, 1 << 31, &[0; 8])],
                Fine,
            ),
            (
                "4.2: DATA of 2^14 bytes",
                vec![post(1), data(1, FLAG_END_STREAM, &[0; 16384])],
                Fine,
            ),
            (
                "4.2: longer DATA",
                vec![post(1), data(1, 0, &[0; 16385])],
                Conn(FrameSizeError, Why::FrameTooLong),
            ),
            (
                "4.2: longer HEADERS",
                vec![frame(HEADERS, 5, 1, &[0; 16385])],
                Conn(FrameSizeError, Why::FrameTooLong),
            ),
            (
                "4.3: an invalid block",
                vec![frame(HEADERS, 5, 1, &[0x82, 0xff, 0xff, 0xff])],
                Conn(CompressionError, Why::Compression),
            ),
            (
                "4.3: an index that is not there",
                vec![frame(HEADERS, 5, 1, &[0x80])],
                Conn(CompressionError, Why::Compression),
            ),
            (
                "4.3: PRIORITY within a block",
                vec![
                    frame(HEADERS, 0, 1, &block(GET)),
                    frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]),
                ],
                Conn(ProtocolError, Why::Continuation),
            ),
            (
                "4.3: HEADERS of another stream within a block",
                vec![frame(HEADERS, 0, 1, &block(GET)), get(3)],
                Conn(ProtocolError, Why::Continuation),
            ),
            (
                "5.5: an unknown frame within a block",
                vec![
                    frame(HEADERS, 0, 1, &block(GET)),
                    frame(0x16, 0, 0, &[0; 8]),
                ],
                Conn(ProtocolError, Why::Continuation),
            ),
        ],
    );
}

#[test]
fn idle_stream_accepts_headers_only() {
    let idle = Conn(ProtocolError, Why::StreamIdle);
    let continuation = || frame(CONTINUATION, FLAG_END_HEADERS, 1, &block(GET));
    let alone = Conn(ProtocolError, Why::Continuation);
    let cancel = || rst(1, Cancel);
    check(
        server,
        &[
            ("idle: DATA", vec![data(1, FLAG_END_STREAM, b"test")], idle),
            ("idle: RST_STREAM", vec![cancel()], idle),
            ("idle: WINDOW_UPDATE", vec![window(1, 100)], idle),
            ("idle: CONTINUATION", vec![continuation()], alone),
            (
                "idle: a stream of the server's",
                vec![data(2, 0, b"test")],
                idle,
            ),
        ],
    );
}

#[test]
fn half_closed_stream_accepts_no_content() {
    let trailers = || headers(1, FLAG_END_STREAM, &[("a", "b")]);
    let continuation = || frame(CONTINUATION, FLAG_END_HEADERS, 1, &block(GET));
    let alone = Conn(ProtocolError, Why::Continuation);
    check(
        server,
        &[
            (
                "half closed: DATA",
                vec![get(1), data(1, FLAG_END_STREAM, b"test")],
                Stream(1, StreamClosed),
            ),
            (
                "half closed: HEADERS",
                vec![get(1), trailers()],
                Stream(1, StreamClosed),
            ),
            (
                "half closed: CONTINUATION",
                vec![get(1), continuation()],
                alone,
            ),
            (
                "half closed: WINDOW_UPDATE",
                vec![get(1), window(1, 100)],
                Fine,
            ),
        ],
    );
}

#[test]
fn stream_reset_by_the_peer_accepts_nothing() {
    let trailers = || headers(1, FLAG_END_STREAM, &[("a", "b")]);
    let continuation = || frame(CONTINUATION, FLAG_END_HEADERS, 1, &block(GET));
    let alone = Conn(ProtocolError, Why::Continuation);
    let cancel = || rst(1, Cancel);
    check(
        server,
        &[
            (
                "reset by the peer: DATA",
                vec![post(1), cancel(), data(1, 0, b"test")],
                Stream(1, StreamClosed),
            ),
            (
                "reset by the peer: HEADERS",
                vec![post(1), cancel(), trailers()],
                Stream(1, StreamClosed),
            ),
            (
                "reset by the peer: CONTINUATION",
                vec![post(1), cancel(), continuation()],
                alone,
            ),
            (
                "reset by the peer: WINDOW_UPDATE",
                vec![post(1), cancel(), window(1, 1)],
                Fine,
            ),
            ("reset twice", vec![post(1), cancel(), cancel()], Fine),
        ],
    );
}

#[test]
fn stream_numbers_go_up_and_no_stream_depends_on_itself() {
    check(
        server,
        &[
            (
                "5.1.1: an even number",
                vec![get(2)],
                Conn(ProtocolError, Why::StreamParity),
            ),
            (
                "5.1.1: a lower number",
                vec![get(5), get(3)],
                Conn(ProtocolError, Why::StreamOrder),
            ),
            (
                "5.1.1: DATA on a stream that was skipped",
                vec![get(5), data(3, 0, b"test")],
                Fine,
            ),
            (
                "5.3.1: HEADERS that depend on themselves",
                vec![frame(
                    HEADERS,
                    FLAG_END_STREAM | FLAG_END_HEADERS | FLAG_PRIORITY,
                    1,
                    &[&[0, 0, 0, 1, 255], block(GET).as_slice()].concat(),
                )],
                Stream(1, ProtocolError),
            ),
            (
                "5.3.1: PRIORITY that depends on itself",
                vec![post(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 255])],
                Conn(ProtocolError, Why::SelfDependency),
            ),
        ],
    );
}

#[test]
fn frame_on_an_ended_stream_is_a_connection_error() {
    let ended = || {
        let mut connection = server();
        feed(&mut connection, &get(1));
        connection
            .send_headers(StreamId(1), list(OK), true)
            .expect("open");
        sent(&mut connection);
        assert_eq!(connection.streams(), 0);
        connection
    };
    let answer = Conn(StreamClosed, Why::StreamEnded);
    check(
        ended,
        &[
            (
                "closed: DATA",
                vec![data(1, FLAG_END_STREAM, b"test")],
                answer,
            ),
            ("closed: HEADERS", vec![get(1)], answer),
            (
                "closed: CONTINUATION",
                vec![frame(CONTINUATION, 4, 1, &block(GET))],
                Conn(ProtocolError, Why::Continuation),
            ),
            ("closed: WINDOW_UPDATE", vec![window(1, 100)], Fine),
            ("closed: RST_STREAM", vec![rst(1, NoError)], Fine),
            (
                "closed: PRIORITY",
                vec![frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])],
                Fine,
            ),
        ],
    );
}

#[test]
fn frames_in_flight_after_our_reset_are_ignored() {
    let reset = || {
        let mut connection = server();
        feed(&mut connection, &post(1));
        connection.reset(StreamId(1), Cancel);
        assert_eq!(complaints(&mut connection), [(1, Cancel)]);
        connection
    };
    check(
        reset,
        &[
            (
                "reset: DATA",
                vec![data(1, 0, &[0; 1000]), data(1, FLAG_END_STREAM, b"test")],
                Fine,
            ),
            (
                "reset: trailers",
                vec![headers(1, FLAG_END_STREAM, &[("a", "b")])],
                Fine,
            ),
            ("reset: WINDOW_UPDATE", vec![window(1, 0)], Fine),
            ("reset: RST_STREAM", vec![rst(1, Cancel)], Fine),
        ],
    );
}

#[test]
fn streams_above_the_announced_number_are_refused() {
    let mut options = Options::new(Http2Role::Server);
    options.concurrent_streams_max = 2;
    let mut connection = server_with(options);
    let input = [get(1), post(3), post(5), data(5, 0, b"x"), rst(5, Cancel)].concat();
    assert_eq!(
        feed(&mut connection, &input),
        [requested(1, true), requested(3, false)]
    );
    assert_eq!(complaints(&mut connection), [(5, RefusedStream)]);
    assert_eq!(connection.statistics().streams_refused, 1);
    connection
        .send_headers(StreamId(1), list(OK), true)
        .expect("open");
    assert_eq!(feed(&mut connection, &get(7)), [requested(7, true)]);
}

#[test]
fn headers_in_the_middle_of_a_body_must_be_trailers() {
    let mut connection = server();
    let trailers = headers(1, FLAG_END_STREAM, &[("sum", "3")]);
    let events = feed(
        &mut connection,
        &[post(1), data(1, 0, b"abc"), trailers].concat(),
    );
    let fields = vec![("sum".to_string(), "3".to_string())];
    let last = RecordedEvent::Headers {
        stream: 1,
        fields,
        end: true,
        trailers: true,
        over: false,
    };
    assert_eq!(events.last(), Some(&last));
    check(
        server,
        &[(
            "8.1: without END_STREAM",
            vec![post(1), data(1, 0, b"abc"), headers(1, 0, &[("a", "b")])],
            Stream(1, ProtocolError),
        )],
    );
}

#[test]
fn a_body_has_the_length_that_was_declared() {
    let start = || {
        let mut connection = server();
        feed(&mut connection, &post(1));
        assert!(connection.expect_length(StreamId(1), 4));
        connection
    };
    let wrong = Stream(1, ProtocolError);
    let trailers = || headers(1, FLAG_END_STREAM, &[("a", "b")]);
    check(
        start,
        &[
            (
                "8.1.1: as declared",
                vec![data(1, 0, b"te"), data(1, FLAG_END_STREAM, b"st")],
                Fine,
            ),
            (
                "8.1.1: with trailers",
                vec![data(1, 0, b"test"), trailers()],
                Fine,
            ),
            (
                "8.1.1: too long",
                vec![data(1, FLAG_END_STREAM, b"tests")],
                wrong,
            ),
            (
                "8.1.1: too long in two frames",
                vec![data(1, 0, b"tes"), data(1, 0, b"ts")],
                wrong,
            ),
            (
                "8.1.1: too short",
                vec![data(1, FLAG_END_STREAM, b"tes")],
                wrong,
            ),
            (
                "8.1.1: too short behind padding",
                vec![frame(
                    DATA,
                    FLAG_END_STREAM | FLAG_PADDED,
                    1,
                    b"\x03tes\0\0\0",
                )],
                wrong,
            ),
            (
                "8.1.1: too short before trailers",
                vec![data(1, 0, b"tes"), trailers()],
                wrong,
            ),
        ],
    );
    let mut connection = server();
    feed(&mut connection, &[get(1), post(3)].concat());
    assert!(connection.expect_length(StreamId(1), 0));
    assert!(!connection.expect_length(StreamId(1), 1));
    assert!(connection.expect_length(StreamId(9), 1));
}

/// Returns a client that has sent a request.
fn asked() -> Connection {
    let mut connection = client();
    request(&mut connection, true);
    sent(&mut connection);
    connection
}

#[test]
fn response_has_interim_heads_one_head_and_trailers() {
    let mut connection = asked();
    let interim = headers(1, 0, &[(":status", "103")]);
    let input = [
        interim.clone(),
        interim,
        headers(1, 0, OK),
        data(1, 0, b"abc"),
        headers(1, FLAG_END_STREAM, &[("a", "b")]),
    ]
    .concat();
    let heads: Vec<bool> = feed(&mut connection, &input)
        .into_iter()
        .filter_map(|event| match event {
            RecordedEvent::Headers { trailers, .. } => Some(trailers),
            _ => None,
        })
        .collect();
    assert_eq!(heads, [false, false, false, true]);
    assert_eq!(connection.streams(), 0);
}

#[test]
fn response_in_the_wrong_order_is_an_error() {
    let ended = |code| headers(1, FLAG_END_STREAM, &[(":status", code)]);
    type Case = (&'static str, Vec<Vec<u8>>, (u32, ErrorCode));
    let cases: Vec<Case> = vec![
        (
            "DATA before the head",
            vec![data(1, 0, b"test")],
            (1, ProtocolError),
        ),
        (
            "DATA behind an interim head",
            vec![headers(1, 0, &[(":status", "100")]), data(1, 0, b"x")],
            (1, ProtocolError),
        ),
        (
            "an interim head that ends",
            vec![ended("100")],
            (1, ProtocolError),
        ),
        (
            "two heads",
            vec![headers(1, 0, OK), headers(1, 0, OK)],
            (1, ProtocolError),
        ),
        (
            "a server that opens a stream",
            vec![headers(2, 0, OK)],
            (0, ProtocolError),
        ),
        (
            "an answer nobody asked for",
            vec![headers(7, 0, OK)],
            (0, ProtocolError),
        ),
        (
            "DATA behind the end",
            vec![ended("200"), data(1, 0, b"x")],
            (0, StreamClosed),
        ),
        (
            "a push",
            vec![frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])],
            (0, ProtocolError),
        ),
    ];
    for (name, frames, complaint) in cases {
        let mut connection = asked();
        feed(&mut connection, &frames.concat());
        assert_eq!(complaints(&mut connection), [complaint], "{name}");
    }
}

#[test]
fn every_reason_has_words_and_the_code_of_its_goaway() {
    for why in Why::ALL {
        assert!(!why.words().is_empty());
        assert_ne!(why.code(), NoError);
        assert_eq!(why.is_abuse(), why.code() == EnhanceYourCalm, "{why}");
    }
    for number in 0..14 {
        assert_eq!(ErrorCode::from(number) as u32, number);
    }
    assert_eq!(ErrorCode::from(14), InternalError);
}
