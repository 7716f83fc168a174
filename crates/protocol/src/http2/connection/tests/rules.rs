//! What RFC 9113 forbids, and how it wants it answered: the list of the
//! conformance suite h2spec, section by section, and what it leaves out.

use super::*;
use ErrorCode::*;

/// How a sequence of frames has to be answered.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// GOAWAY.
    Connection(ErrorCode, Why),
    /// RST_STREAM on that stream, and the connection goes on.
    Stream(u32, ErrorCode),
    /// Neither.
    Fine,
}
use Answer::{Connection as Conn, Fine, Stream};

fn check(start: impl Fn() -> Connection, cases: &[(&str, Vec<Vec<u8>>, Answer)]) {
    for (name, frames, answer) in cases {
        let all = frames.concat();
        // At once, and byte by byte.
        for step in [all.len().max(1), 1] {
            let mut connection = start();
            let mut events = Vec::new();
            for piece in all.chunks(step) {
                events.extend(feed(&mut connection, piece));
            }
            let complaints = complaints(&mut connection);
            let failure = events
                .iter()
                .find(|event| matches!(event, Seen::Failed(..)));
            match *answer {
                Conn(code, why) => {
                    assert_eq!(failure, Some(&Seen::Failed(code, why)), "{name}");
                    assert_eq!(complaints.last(), Some(&(0, code)), "{name}");
                    assert!(connection.is_closed(), "{name}");
                }
                Stream(stream, code) => {
                    assert_eq!(failure, None, "{name}");
                    assert_eq!(complaints, [(stream, code)], "{name}");
                    // The tables and windows are still right.
                    let after = feed(&mut connection, &get(2001));
                    assert_eq!(after, [requested(2001, true)], "{name}");
                }
                Fine => {
                    assert_eq!((failure, complaints), (None, vec![]), "{name}: {events:?}");
                }
            }
        }
    }
}

#[test]
fn a_connection_begins_with_the_preface_and_settings() {
    let fresh = || Connection::new(Options::new(Role::Server));
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
    let fresh = || Connection::new(Options::new(Role::Client));
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
    let mut late = Connection::after_preface(Options::new(Role::Server), PREFACE.len());
    assert_eq!(feed(&mut late, &settings(&[])), [Seen::Settings]);
    let mut late = Connection::after_preface(Options::new(Role::Server), 3);
    assert_eq!(feed(&mut late, &PREFACE[3..]), []);
    assert_eq!(feed(&mut late, &settings(&[])), [Seen::Settings]);
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
fn streams_have_the_states_of_section_5_1() {
    let idle = Conn(ProtocolError, Why::StreamIdle);
    let trailers = || headers(1, FLAG_END_STREAM, &[("a", "b")]);
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
fn what_comes_on_a_stream_that_ended_is_an_error_of_the_connection() {
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
fn what_was_under_way_when_we_reset_a_stream_is_ignored() {
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
    let mut options = Options::new(Role::Server);
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
fn each_type_of_frame_has_the_form_of_section_6() {
    let padded = |kind, flags, payload: &[u8]| frame(kind, flags | FLAG_PADDED, 1, payload);
    let zero = Conn(ProtocolError, Why::StreamZero);
    let not_zero = Conn(ProtocolError, Why::StreamNotZero);
    let length = Conn(FrameSizeError, Why::FrameLength);
    let padding = Conn(ProtocolError, Why::Padding);
    check(
        server,
        &[
            ("6.1: stream 0", vec![data(0, 0, b"test")], zero),
            (
                "6.1: padding as long as the frame",
                vec![post(1), padded(DATA, 1, b"\x05test")],
                padding,
            ),
            (
                "6.1: padding without its length",
                vec![post(1), padded(DATA, 1, b"")],
                length,
            ),
            (
                "6.1: padding",
                vec![post(1), padded(DATA, 1, b"\x04test")],
                Fine,
            ),
            ("6.2: stream 0", vec![headers(0, 1, GET)], zero),
            (
                "6.2: padding longer than the frame",
                vec![padded(HEADERS, 5, b"\x05test")],
                padding,
            ),
            (
                "6.2: too short for its flags",
                vec![frame(HEADERS, 0x2d, 1, b"\x00\x00\x00")],
                length,
            ),
            (
                "6.3: stream 0",
                vec![frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 9])],
                zero,
            ),
            (
                "6.3: length",
                vec![post(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 0])],
                Stream(1, FrameSizeError),
            ),
            (
                "6.3: length on an idle stream",
                vec![frame(PRIORITY, 0, 1, &[0; 4])],
                length,
            ),
            (
                "6.3: an idle stream",
                vec![frame(PRIORITY, 0, 7, &[0, 0, 0, 1, 9]), get(1)],
                Fine,
            ),
            ("6.4: stream 0", vec![rst(0, Cancel)], zero),
            (
                "6.4: length",
                vec![post(1), frame(RST_STREAM, 0, 1, &[0; 3])],
                length,
            ),
            (
                "6.5: acknowledgement with content",
                vec![frame(SETTINGS, FLAG_ACK, 0, &[0; 6])],
                length,
            ),
            (
                "6.5: a stream",
                vec![frame(SETTINGS, 0, 1, &[0; 6])],
                not_zero,
            ),
            ("6.5: length", vec![frame(SETTINGS, 0, 0, &[0; 5])], length),
            (
                "6.6: PUSH_PROMISE",
                vec![post(1), frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])],
                Conn(ProtocolError, Why::Push),
            ),
            ("6.7: a stream", vec![frame(PING, 0, 1, &[0; 8])], not_zero),
            ("6.7: length", vec![frame(PING, 0, 0, &[0; 6])], length),
            (
                "6.7: an answer to nothing",
                vec![frame(PING, FLAG_ACK, 0, &[0; 8])],
                Fine,
            ),
            (
                "6.8: a stream",
                vec![frame(GOAWAY, 0, 1, &[0; 8])],
                not_zero,
            ),
            ("6.8: length", vec![frame(GOAWAY, 0, 0, &[0; 7])], length),
            (
                "6.8: with words",
                vec![frame(GOAWAY, 0, 0, &[0; 900])],
                Fine,
            ),
            (
                "6.9: length",
                vec![frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])],
                length,
            ),
            (
                "6.9: by nothing",
                vec![window(0, 0)],
                Conn(ProtocolError, Why::WindowZero),
            ),
            (
                "6.9: by nothing, a stream",
                vec![post(1), window(1, 0)],
                Stream(1, ProtocolError),
            ),
            (
                "6.9.1: too wide",
                vec![window(0, (1 << 31) - 1)],
                Conn(FlowControlError, Why::WindowOverflow),
            ),
            (
                "6.9.1: too wide, a stream",
                vec![post(1), window(1, (1 << 31) - 1)],
                Stream(1, FlowControlError),
            ),
            (
                "6.10: without HEADERS",
                vec![frame(CONTINUATION, 4, 1, &block(GET))],
                Conn(ProtocolError, Why::Continuation),
            ),
            (
                "6.10: stream 0",
                vec![frame(HEADERS, 1, 1, b""), frame(CONTINUATION, 4, 0, b"")],
                zero,
            ),
            (
                "6.10: another stream",
                vec![frame(HEADERS, 1, 1, b""), frame(CONTINUATION, 4, 3, b"")],
                Conn(ProtocolError, Why::Continuation),
            ),
            (
                "6.10: behind END_HEADERS",
                vec![post(1), frame(CONTINUATION, 4, 1, b"")],
                Conn(ProtocolError, Why::Continuation),
            ),
            (
                "6.10: behind DATA",
                vec![post(1), data(1, 0, b"test"), frame(CONTINUATION, 4, 1, b"")],
                Conn(ProtocolError, Why::Continuation),
            ),
        ],
    );
}

#[test]
fn settings_have_the_values_of_section_6_5_2() {
    let value = Conn(ProtocolError, Why::SettingValue);
    check(
        server,
        &[
            ("ENABLE_PUSH", vec![settings(&[(2, 2)])], value),
            (
                "INITIAL_WINDOW_SIZE",
                vec![settings(&[(4, 1 << 31)])],
                Conn(FlowControlError, Why::SettingWindow),
            ),
            ("MAX_FRAME_SIZE below", vec![settings(&[(5, 16383)])], value),
            (
                "MAX_FRAME_SIZE above",
                vec![settings(&[(5, 1 << 24)])],
                value,
            ),
            ("ENABLE_CONNECT_PROTOCOL", vec![settings(&[(8, 2)])], value),
            (
                "ENABLE_CONNECT_PROTOCOL taken back",
                vec![settings(&[(8, 1)]), settings(&[(8, 0)])],
                value,
            ),
            ("unknown", vec![settings(&[(0xff, 1), (0, 0)])], Fine),
            (
                "repeated",
                vec![settings(&[(4, 100), (4, 1), (1, 0), (1, 4096)])],
                Fine,
            ),
            (
                "a window that the change makes too wide",
                vec![post(1), window(1, 1 << 20), settings(&[(4, (1 << 31) - 1)])],
                Conn(FlowControlError, Why::WindowOverflow),
            ),
        ],
    );
    check(
        client,
        &[("a server that pushes", vec![settings(&[(2, 1)])], value)],
    );
    let mut connection = server();
    feed(
        &mut connection,
        &settings(&[(3, 7), (4, 1), (5, 20_000), (6, 5), (8, 1), (4, 100)]),
    );
    let peer = connection.peer_settings();
    assert_eq!(
        (peer.concurrent_streams_max, peer.initial_window),
        (Some(7), 100)
    );
    assert_eq!(
        (peer.frame_bytes_max, peer.header_list_bytes_max),
        (20_000, Some(5))
    );
    assert!(peer.connect_protocol);
    let answer = sent(&mut connection);
    assert_eq!(
        answer,
        [(
            Head {
                length: 0,
                kind: SETTINGS,
                flags: FLAG_ACK,
                stream: 0
            },
            vec![]
        )]
    );
}

#[test]
fn a_ping_is_answered_with_what_it_carried() {
    let mut connection = server();
    assert_eq!(feed(&mut connection, &frame(PING, 0, 0, b"12345678")), []);
    let head = Head {
        length: 8,
        kind: PING,
        flags: FLAG_ACK,
        stream: 0,
    };
    assert_eq!(sent(&mut connection), [(head, b"12345678".to_vec())]);
    connection.ping();
    connection.ping();
    let ours = sent(&mut connection);
    assert_eq!(ours.len(), 1);
    assert_eq!(
        feed(&mut connection, &frame(PING, FLAG_ACK, 0, b"another.")),
        []
    );
    assert_eq!(
        feed(&mut connection, &frame(PING, FLAG_ACK, 0, &ours[0].1)),
        [Seen::Pong]
    );
    assert_eq!(
        feed(&mut connection, &frame(PING, FLAG_ACK, 0, &ours[0].1)),
        []
    );
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
    let last = Seen::Headers {
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

#[test]
fn an_answer_has_interim_heads_then_one_head_then_trailers() {
    let start = || {
        let mut connection = client();
        request(&mut connection, true);
        sent(&mut connection);
        connection
    };
    let ended = |code| headers(1, FLAG_END_STREAM, &[(":status", code)]);
    let mut connection = start();
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
            Seen::Headers { trailers, .. } => Some(trailers),
            _ => None,
        })
        .collect();
    assert_eq!(heads, [false, false, false, true]);
    assert_eq!(connection.streams(), 0);

    let cases: Vec<(&str, Vec<Vec<u8>>, (u32, ErrorCode))> = vec![
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
        let mut connection = start();
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
