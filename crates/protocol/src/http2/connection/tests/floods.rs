//! Tests that every flood of frames ends the connection with ENHANCE_YOUR_CALM (or as the RFC
//! requires), with bounded memory and output, and that well-behaved clients never exceed a limit.

use super::*;
use ErrorCode::*;

/// Number of rounds within which every flood must end the connection.
const ROUNDS_MAX: u32 = 50_000;

/// Repeats `round` until the connection fails; returns the reason and the number of rounds.
fn flood(
    connection: &mut Connection,
    read_output: bool,
    mut round: impl FnMut(&mut Connection, u32) -> Vec<u8>,
) -> (Why, u32) {
    for n in 0..ROUNDS_MAX {
        let input = round(connection, n);
        for event in feed(connection, &input) {
            if let RecordedEvent::Failed(code, why) = event {
                assert_eq!(complaints(connection).last(), Some(&(0, code)));
                assert!(why.is_abuse());
                return (why, n);
            }
        }
        assert!(connection.output().len() <= 256 * 1024, "round {n}");
        if read_output {
            let all = connection.output().len();
            connection.output_consumed(all);
        }
    }
    panic!("it went on");
}

fn id(n: u32) -> u32 {
    n * 2 + 1
}

#[test]
fn rapid_reset_ends_the_connection() {
    let attack = |_: &mut Connection, n| [get(id(n)), rst(id(n), Cancel)].concat();
    let (why, rounds) = flood(&mut server(), true, attack);
    assert_eq!(
        (why, rounds),
        (Why::RapidReset, Limits::default().rapid_resets_first.0)
    );
    // An interim response does not reset the limit.
    let (why, _) = flood(&mut server(), true, |connection, n| {
        feed(connection, &get(id(n)));
        connection
            .send_headers(StreamId(id(n)), list(&[(":status", "100")]), false)
            .expect("open");
        rst(id(n), Cancel)
    });
    assert_eq!(why, Why::RapidReset);
}

#[test]
fn resets_that_the_peer_forces_end_the_connection() {
    let attacks: [fn(u32) -> Vec<u8>; 4] = [
        |id| [post(id), window(id, 0)].concat(),
        |id| [post(id), window(id, (1 << 31) - 1)].concat(),
        |id| [get(id), data(id, 0, b"x")].concat(),
        |id| [post(id), frame(PRIORITY, 0, id, &[0; 4])].concat(),
    ];
    for attack in attacks {
        let (why, rounds) = flood(&mut server(), true, |_, n| attack(id(n)));
        assert_eq!(
            (why, rounds),
            (Why::ForcedResets, Limits::default().forced_resets.burst)
        );
    }
    // Errors that the owner finds count as well.
    let (why, _) = flood(&mut server(), true, |connection, n| {
        feed(connection, &get(id(n)));
        connection.reset(StreamId(id(n)), ProtocolError);
        Vec::new()
    });
    assert_eq!(why, Why::ForcedResets);
}

#[test]
fn repeated_oversized_heads_end_the_connection() {
    let respond = |connection: &mut Connection, n, status| {
        feed(connection, &get(id(n)));
        connection
            .send_headers(StreamId(id(n)), list(&[(":status", status)]), true)
            .expect("open");
    };
    let (why, rounds) = flood(&mut server(), true, |connection, n| {
        respond(connection, n, "431");
        connection.head_was_overlong();
        Vec::new()
    });
    assert_eq!(why, Why::OverlongHeads);
    assert!(rounds < Limits::default().overlong_heads.burst, "{rounds}");
    // The connection continues if as many other requests succeed.
    let mut connection = server();
    for n in 0..500 {
        respond(&mut connection, 2 * n, "431");
        connection.head_was_overlong();
        respond(&mut connection, 2 * n + 1, "200");
        assert_eq!(feed(&mut connection, b""), [], "{n}");
        let all = connection.output().len();
        connection.output_consumed(all);
    }
}

#[test]
fn streams_above_the_number_without_end_end_the_connection() {
    let (why, _) = flood(&mut server(), true, |_, n| get(id(n)));
    assert_eq!(why, Why::RefusedStreams);
}

#[test]
fn continuation_floods_end_the_connection() {
    let whole = |n, kind, payload: &[u8]| frame(if n == 0 { HEADERS } else { kind }, 0, 1, payload);
    let mut connection = server();
    let (why, _) = flood(&mut connection, true, |_, n| {
        whole(n, CONTINUATION, &[0; 16_384])
    });
    assert_eq!(why, Why::BlockTooLong);
    assert_eq!(connection.block.bytes_capacity(), 0);
    let (why, _) = flood(&mut server(), true, |_, n| whole(n, CONTINUATION, &[0x82]));
    assert_eq!(why, Why::ContinuationFlood);
    let (why, _) = flood(&mut server(), true, |_, n| whole(n, CONTINUATION, &[]));
    assert_eq!(why, Why::ContinuationFlood);
}

#[test]
fn frames_without_content_end_the_connection() {
    let mut connection = server();
    feed(&mut connection, &post(1));
    let (why, _) = flood(&mut connection, true, |_, _| data(1, 0, b""));
    assert_eq!(why, Why::EmptyFrames);
    let mut connection = server();
    feed(&mut connection, &post(1));
    let (why, _) = flood(&mut connection, true, |_, _| {
        frame(DATA, FLAG_PADDED, 1, &[3, 0, 0, 0])
    });
    assert_eq!(why, Why::EmptyFrames);
    let (why, _) = flood(&mut server(), true, |_, n| {
        let id = id(n);
        let rest = frame(CONTINUATION, FLAG_END_HEADERS, id, &block(GET));
        [frame(HEADERS, FLAG_END_STREAM, id, b""), rest].concat()
    });
    assert_eq!(why, Why::EmptyFrames);
}

#[test]
fn continuous_tiny_data_frames_end_the_connection() {
    let mut connection = server();
    feed(&mut connection, &post(1));
    let (why, _) = flood(&mut connection, true, |_, _| data(1, 0, b"x"));
    assert_eq!(why, Why::TinyData);
}

#[test]
fn floods_of_pings_and_settings_end_the_connection() {
    let ping = frame(PING, 0, 0, &[7; 8]);
    for read in [true, false] {
        assert_eq!(
            flood(&mut server(), read, |_, _| ping.clone()).0,
            Why::PingFlood
        );
        assert_eq!(
            flood(&mut server(), read, |_, _| settings(&[])).0,
            Why::SettingsFlood
        );
    }
    // Even if the rate limit allows them, unread responses are bounded.
    let mut connection = server();
    connection.options.limits.pings.burst = 1_000_000;
    let (why, rounds) = flood(&mut connection, false, |_, _| ping.clone());
    let bound = Limits::default().reply_bytes_max as u32;
    assert_eq!(why, Why::RepliesUnread);
    assert!(rounds <= bound / 17);
}

#[test]
fn frames_that_mean_nothing_end_the_connection() {
    let acknowledgement = frame(SETTINGS, FLAG_ACK, 0, &[]);
    let unasked = frame(PING, FLAG_ACK, 0, &[7; 8]);
    let priority = frame(PRIORITY, 0, 5, &[0, 0, 0, 1, 9]);
    let unknown = frame(0x77, 0, 0, &[1; 100]);
    let goaway = frame(GOAWAY, 0, 0, &[0; 8]);
    for (input, expected) in [
        (acknowledgement, Why::SettingsFlood),
        (goaway, Why::SettingsFlood),
        (unasked, Why::PingFlood),
        (priority, Why::PriorityFlood),
        (unknown, Why::UnknownFlood),
        (window(0, 1), Why::WindowFlood),
    ] {
        let (why, _) = flood(&mut server(), true, |_, _| input.clone());
        assert_eq!(why, expected);
    }
}

#[test]
fn frames_on_closed_streams_end_the_connection() {
    let mut connection = server();
    feed(&mut connection, &post(1));
    connection.reset(StreamId(1), Cancel);
    let (why, _) = flood(&mut connection, true, |_, _| data(1, 0, &[0; 100]));
    assert_eq!(why, Why::LateFrames);
    let mut connection = server();
    feed(&mut connection, &get(1));
    connection.go_away(NoError);
    let (why, _) = flood(&mut connection, true, |_, n| get(id(n + 1)));
    assert_eq!(why, Why::LateFrames);
}

#[test]
fn one_byte_windows_do_not_cause_endless_tiny_frames() {
    let mut connection = server();
    feed(&mut connection, &[settings(&[(4, 0)]), get(1)].concat());
    connection
        .send_headers(StreamId(1), list(OK), false)
        .expect("open");
    let (why, _) = flood(&mut connection, true, |connection, _| {
        connection
            .send_data(StreamId(1), &[0; 1000], false)
            .expect("open");
        window(1, 1)
    });
    assert_eq!(why, Why::WindowFlood);
}

#[test]
fn oversized_list_is_reported_and_tables_stay_consistent() {
    let mut options = Options::new(Http2Role::Server);
    options.header_list_bytes_max = 1000;
    let mut connection = server_with(options);
    // A header bomb: one field enters the table and is then repeated.
    let mut bomb = vec![0x40, 1, b'x', 100];
    bomb.extend_from_slice(&[b'y'; 100]);
    bomb.extend_from_slice(&[0xbe; 16_000]);
    let mut input = frame(HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, &bomb);
    let again = [block(GET), vec![0xbe]].concat();
    input.extend(frame(
        HEADERS,
        FLAG_END_HEADERS | FLAG_END_STREAM,
        3,
        &again,
    ));
    let events = feed(&mut connection, &input);
    assert!(matches!(
        events[0],
        RecordedEvent::Headers {
            stream: 1,
            over: true,
            ..
        }
    ));
    let RecordedEvent::Headers {
        fields,
        over: false,
        ..
    } = &events[1]
    else {
        panic!("{events:?}")
    };
    assert_eq!(fields[4], ("x".to_string(), "y".repeat(100)));
    assert_eq!(connection.statistics().lists_overflowed, 1);
}

#[test]
fn output_to_a_stalled_peer_is_bounded() {
    let mut connection = server();
    let wide = [
        settings(&[(4, (1 << 31) - 1)]),
        window(0, (1 << 31) - 1 - 65_535),
    ]
    .concat();
    feed(&mut connection, &wide);
    for n in 0..100 {
        feed(&mut connection, &get(id(n)));
        connection
            .send_headers(StreamId(id(n)), list(OK), false)
            .expect("open");
        connection
            .send_data(StreamId(id(n)), &[0; 100_000], false)
            .expect("open");
    }
    let bound = Limits::default().output_bytes_max;
    assert!(connection.output().len() < bound + 100 * 100);
    assert_eq!(connection.send_capacity(StreamId(1)), 0);
    connection.output_consumed(usize::MAX);
    assert_eq!(connection.send_capacity(StreamId(1)), bound);
}

#[test]
fn frequent_window_updates_are_accepted() {
    let mut connection = server();
    feed(&mut connection, &get(1));
    connection
        .send_headers(StreamId(1), list(OK), false)
        .expect("open");
    for _ in 0..20_000 {
        assert_eq!(
            connection.send_data(StreamId(1), &[0; 16_384], false),
            Ok(16_384)
        );
        connection.output_consumed(usize::MAX);
        for _ in 0..4 {
            let given = [window(1, 4096), window(0, 4096)].concat();
            let events = feed(&mut connection, &given);
            assert_eq!(
                events,
                [RecordedEvent::Window(Some(1)), RecordedEvent::Window(None)]
            );
        }
    }
}

/// Sends a request that resembles those of each common client.
fn ordinary_request(connection: &mut Connection, n: u32) {
    let id = id(n);
    let mut input = post(id);
    input.extend(window(id, 12_000_000));
    input.extend(frame(PRIORITY, 0, id, &[0, 0, 0, 0, 9]));
    input.extend(data(id, FLAG_END_STREAM, &[b'x'; 7]));
    input.extend(frame(PING, 0, 0, &[7; 8]));
    for event in feed(connection, &input) {
        assert!(
            !matches!(
                event,
                RecordedEvent::Failed(..) | RecordedEvent::Reset { .. }
            ),
            "{event:?} {n}"
        );
    }
    let stream = StreamId(id);
    connection
        .send_headers(stream, list(OK), false)
        .expect("open");
    assert_eq!(connection.send_data(stream, &[0; 1000], true), Ok(1000));
    let events = feed(connection, &[window(id, 1000), window(0, 1000)].concat());
    assert_eq!(events, [RecordedEvent::Window(None)]);
    connection.output_consumed(usize::MAX);
}

#[test]
fn well_behaved_clients_trigger_no_limit() {
    let mut connection = server();
    for n in 0..30_000 {
        ordinary_request(&mut connection, n);
        assert_eq!(connection.streams(), 0);
    }
    assert!(connection.streams.places() <= 16);
}

#[test]
fn a_client_that_cancels_half_of_its_requests_is_served() {
    let mut connection = server();
    for n in 0..20_000 {
        ordinary_request(&mut connection, 2 * n);
        let cancelled = id(2 * n + 1);
        let input = [get(cancelled), rst(cancelled, Cancel)].concat();
        let expected = RecordedEvent::Reset {
            stream: cancelled,
            code: Cancel,
            ours: false,
        };
        assert_eq!(
            feed(&mut connection, &input),
            [requested(cancelled, true), expected]
        );
    }
}

#[test]
fn thousands_of_idle_streams_cost_what_the_options_allow() {
    let mut options = Options::new(Http2Role::Server);
    options.concurrent_streams_max = 1000;
    let mut connection = server_with(options);
    for n in 0..2000 {
        feed(&mut connection, &post(id(n)));
    }
    assert_eq!(connection.streams(), 1000);
    assert!(connection.streams.places() <= 2048);
    assert_eq!(connection.statistics().streams_refused, 1000);
}
