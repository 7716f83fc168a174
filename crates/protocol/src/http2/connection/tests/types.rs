//! Tests each type of HTTP/2 frame: the form and the values of RFC 9113 section 6.

use super::ExpectedReaction::{Connection as Conn, Fine, Stream};
use super::*;
use ErrorCode::*;

#[test]
fn data_and_headers_have_the_form_of_section_6() {
    let padded = |kind, flags, payload: &[u8]| frame(kind, flags | FLAG_PADDED, 1, payload);
    let zero = Conn(ProtocolError, Why::StreamZero);
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
        ],
    );
}

#[test]
fn priority_and_rst_stream_have_the_form_of_section_6() {
    let zero = Conn(ProtocolError, Why::StreamZero);
    let length = Conn(FrameSizeError, Why::FrameLength);
    check(
        server,
        &[
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
        ],
    );
}

#[test]
fn settings_ping_and_goaway_have_the_form_of_section_6() {
    let not_zero = Conn(ProtocolError, Why::StreamNotZero);
    let length = Conn(FrameSizeError, Why::FrameLength);
    check(
        server,
        &[
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
        ],
    );
}

#[test]
fn window_update_has_the_form_of_section_6() {
    let length = Conn(FrameSizeError, Why::FrameLength);
    check(
        server,
        &[
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
        ],
    );
}

#[test]
fn continuation_has_the_form_of_section_6() {
    let zero = Conn(ProtocolError, Why::StreamZero);
    check(
        server,
        &[
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
            Http2FrameHeader {
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
fn ping_response_has_the_same_data() {
    let mut connection = server();
    assert_eq!(feed(&mut connection, &frame(PING, 0, 0, b"12345678")), []);
    let head = Http2FrameHeader {
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
        [RecordedEvent::Pong]
    );
    assert_eq!(
        feed(&mut connection, &frame(PING, FLAG_ACK, 0, &ours[0].1)),
        []
    );
}
