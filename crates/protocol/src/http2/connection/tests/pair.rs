//! Tests the client side and the server side of the HTTP/2 implementation against each other.

use super::super::super::OpenError;
use super::*;
use ErrorCode::*;

/// Moves the output of each side to the other until neither has any.
fn carry(
    client: &mut Connection,
    server: &mut Connection,
) -> (Vec<RecordedEvent>, Vec<RecordedEvent>) {
    let mut events = (Vec::new(), Vec::new());
    while !client.output().is_empty() || !server.output().is_empty() {
        let there = client.output().to_vec();
        client.output_consumed(there.len());
        events.1.extend(feed(server, &there));
        let back = server.output().to_vec();
        server.output_consumed(back.len());
        events.0.extend(feed(client, &back));
    }
    events
}

fn pair_with(change: impl Fn(&mut Options)) -> (Connection, Connection) {
    let [client, server] = [Http2Role::Client, Http2Role::Server].map(|role| {
        let mut options = Options::new(role);
        change(&mut options);
        Connection::new(options)
    });
    let (mut client, mut server) = (client, server);
    let events = carry(&mut client, &mut server);
    assert_eq!(
        events,
        (vec![RecordedEvent::Settings], vec![RecordedEvent::Settings])
    );
    assert!(client.is_acknowledged() && server.is_acknowledged());
    assert!(client.is_settled() && server.is_settled());
    (client, server)
}

fn pair() -> (Connection, Connection) {
    pair_with(|_| ())
}

#[test]
fn request_and_response_with_trailers_are_transferred() {
    let (mut client, mut server) = pair();
    let stream = request(&mut client, false);
    assert_eq!(client.send_data(stream, b"body", false), Ok(4));
    client
        .send_headers(stream, list(&[("sum", "4")]), true)
        .expect("open");
    let (_, seen) = carry(&mut client, &mut server);
    let trailer = |name: &str| vec![(name.to_string(), "4".to_string())];
    let trailers = |name| RecordedEvent::Headers {
        stream: 1,
        fields: trailer(name),
        end: true,
        trailers: true,
        over: false,
    };
    let body = RecordedEvent::Data {
        stream: 1,
        data: b"body".to_vec(),
        end: false,
    };
    assert_eq!(seen, [requested(1, false), body, trailers("sum")]);
    server
        .send_headers(stream, list(&[(":status", "100")]), false)
        .expect("open");
    server.send_headers(stream, list(OK), false).expect("open");
    assert_eq!(server.send_data(stream, b"answer", false), Ok(6));
    server
        .send_headers(stream, list(&[("done", "4")]), true)
        .expect("open");
    let (seen, _) = carry(&mut client, &mut server);
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[3], trailers("done"));
    assert_eq!((client.streams(), server.streams()), (0, 0));
}

#[test]
fn bodies_of_any_length_pass_through_narrow_windows() {
    let (mut client, mut server) = pair_with(|options| options.initial_window = 1_000);
    let body: Vec<u8> = (0..100_000u32).map(|n| (n % 253) as u8).collect();
    let stream = request(&mut client, false);
    let (mut from, mut got) = (0, Vec::new());
    while got.len() < body.len() {
        from += client.send_data(stream, &body[from..], true).expect("open");
        let (_, seen) = carry(&mut client, &mut server);
        assert!(!seen.is_empty());
        for event in seen {
            if let RecordedEvent::Data { data, .. } = event {
                got.extend(data);
            }
        }
    }
    assert!(got == body);
}

#[test]
fn client_opens_as_many_streams_as_allowed() {
    let (mut client, mut server) = pair_with(|options| options.concurrent_streams_max = 3);
    assert_eq!(server.open(), Err(OpenError::GoingAway));
    for _ in 0..3 {
        request(&mut client, true);
    }
    assert!(!client.can_open());
    assert_eq!(client.open(), Err(OpenError::Full));
    carry(&mut client, &mut server);
    server
        .send_headers(StreamId(3), list(OK), true)
        .expect("open");
    carry(&mut client, &mut server);
    assert_eq!(client.open(), Ok(StreamId(7)));
    // A stream that is cancelled before its headers leaves no trace.
    client.reset(StreamId(7), Cancel);
    assert!(client.output().is_empty());
    assert_eq!(request(&mut client, true), StreamId(9));
    let (_, seen) = carry(&mut client, &mut server);
    assert_eq!(seen, [requested(9, true)]);
    client.next_own = (1 << 31) + 1;
    client.reset(StreamId(9), Cancel);
    assert_eq!(client.open(), Err(OpenError::Exhausted));
}

#[test]
fn a_shutdown_is_announced_and_ends_when_the_last_stream_does() {
    let (mut client, mut server) = pair();
    request(&mut client, true);
    carry(&mut client, &mut server);
    server.announce_shutdown();
    server.announce_shutdown();
    // Another request was in transit.
    let crossing = request(&mut client, true);
    let (seen, requests) = carry(&mut client, &mut server);
    assert_eq!(
        seen,
        [RecordedEvent::GoAway {
            last: (1 << 31) - 1,
            code: NoError
        }]
    );
    assert_eq!(requests, [requested(crossing.0, true)]);
    assert_eq!(client.open(), Err(OpenError::GoingAway));
    assert!(!server.is_going_away());
    server.go_away(NoError);
    server.go_away(NoError);
    let (seen, _) = carry(&mut client, &mut server);
    assert_eq!(
        seen,
        [RecordedEvent::GoAway {
            last: crossing.0,
            code: NoError
        }]
    );
    assert!(!server.is_closed() && !client.is_closed());
    for stream in [1, 3] {
        server
            .send_headers(StreamId(stream), list(OK), true)
            .expect("open");
    }
    carry(&mut client, &mut server);
    assert!(server.is_closed() && client.is_closed());
}

#[test]
fn streams_behind_a_goaway_are_reset_as_refused() {
    let (mut client, mut server) = pair();
    request(&mut client, true);
    carry(&mut client, &mut server);
    let late: Vec<u32> = (0..20).map(|_| request(&mut client, false).0).collect();
    server.go_away(NoError);
    let back = server.output().to_vec();
    server.output_consumed(back.len());
    let mut refused: Vec<u32> = feed(&mut client, &back)
        .into_iter()
        .filter_map(|event| match event {
            RecordedEvent::Reset {
                stream,
                code: RefusedStream,
                ours: false,
            } => Some(stream),
            _ => None,
        })
        .collect();
    refused.sort_unstable();
    assert_eq!(refused, late);
    // The server ignores the streams, and their DATA.
    assert_eq!(carry(&mut client, &mut server), (vec![], vec![]));
    assert_eq!(server.highest_peer_stream(), StreamId(1));
    assert!(client.is_open(StreamId(1)) && server.is_open(StreamId(1)));
}

#[test]
fn resets_cross() {
    let (mut client, mut server) = pair();
    let stream = request(&mut client, false);
    carry(&mut client, &mut server);
    server.reset(stream, InternalError);
    client.reset(stream, Cancel);
    assert_eq!(carry(&mut client, &mut server), (vec![], vec![]));
    let stream = request(&mut client, false);
    client.send_data(stream, b"some", false).expect("open");
    carry(&mut client, &mut server);
    server.reset(stream, NoError);
    client.send_data(stream, b"more", true).expect("open");
    let reset = RecordedEvent::Reset {
        stream: stream.0,
        code: NoError,
        ours: false,
    };
    assert_eq!(carry(&mut client, &mut server), (vec![reset], vec![]));
    assert_eq!((client.streams(), server.streams()), (0, 0));
}

#[test]
fn a_failed_connection_does_nothing_more() {
    let (mut client, mut server) = pair();
    let stream = request(&mut client, true);
    carry(&mut client, &mut server);
    assert!(matches!(
        feed(&mut server, &window(0, 0))[..],
        [RecordedEvent::Failed(..)]
    ));
    assert_eq!(feed(&mut server, &get(5)), []);
    assert_eq!(
        server.send_headers(stream, list(OK), true),
        Err(SendError::Gone)
    );
    server.reset(stream, Cancel);
    server.go_away(NoError);
    server.announce_shutdown();
    server.ping();
    server.consumed(stream, 1 << 20);
    assert_eq!(complaints(&mut server), [(0, ProtocolError)]);
    assert_eq!(server.streams(), 0);
}

#[test]
fn an_idle_connection_keeps_little_memory() {
    let (mut client, mut server) = pair();
    for _ in 0..50 {
        request(&mut client, true);
    }
    let (_, requests) = carry(&mut client, &mut server);
    assert_eq!(requests.len(), 50);
    for n in 0..50 {
        server
            .send_headers(StreamId(n * 2 + 1), list(OK), false)
            .expect("open");
        server
            .send_data(StreamId(n * 2 + 1), &[0; 1000], true)
            .expect("open");
    }
    carry(&mut client, &mut server);
    for connection in [&mut client, &mut server] {
        connection.release_memory();
        assert_eq!(connection.streams.places(), 0);
        assert_eq!(connection.output.capacity(), 0);
    }
    assert!(
        size_of::<Connection>() <= 1536,
        "{}",
        size_of::<Connection>()
    );
    request(&mut client, true);
    assert_eq!(carry(&mut client, &mut server).1, [requested(101, true)]);
}
