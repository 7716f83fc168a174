//! Tests random bytes in random pieces as input of an HTTP/2 connection: no panic, the same
//! events however the bytes are split, bounded memory.

use super::*;
use proptest::prelude::*;

/// Generates bytes that are mostly frames, which are often valid.
fn some_frame() -> impl Strategy<Value = Vec<u8>> {
    let stream = prop_oneof![Just(0u32), (0u32..8).prop_map(|n| n * 2 + 1), 0u32..12];
    let anything = (
        0u8..12,
        any::<u8>(),
        stream.clone(),
        prop::collection::vec(any::<u8>(), 0..40),
    )
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload));
    prop_oneof![
        4 => (0u32..30).prop_map(|n| get(n * 2 + 1)),
        4 => (0u32..30).prop_map(|n| post(n * 2 + 1)),
        3 => (0u32..10).prop_map(|n| headers(n * 2 + 1, 0, OK)),
        2 => (0u32..10).prop_map(|n| headers(n * 2 + 1, FLAG_END_STREAM, OK)),
        6 => (0u32..10, any::<bool>(), 0usize..3000).prop_map(|(n, end, length)| {
            data(n * 2 + 1, u8::from(end), &vec![length as u8; length])
        }),
        2 => (0u32..10, 0u8..20, 0usize..40).prop_map(|(n, pad, length)| {
            let payload = [vec![pad], vec![1; length + usize::from(pad)]].concat();
            frame(DATA, FLAG_PADDED, n * 2 + 1, &payload)
        }),
        2 => (stream.clone(), 0u32..100_000).prop_map(|(stream, n)| window(stream, n)),
        2 => (stream.clone(), 0u32..15).prop_map(|(stream, n)| rst(stream, ErrorCode::from(n))),
        2 => prop::collection::vec((0u16..9, 0u32..70_000), 0..4).prop_map(|all| settings(&all)),
        1 => Just(frame(SETTINGS, FLAG_ACK, 0, &[])),
        1 => Just(frame(PING, 0, 0, &[1; 8])),
        1 => (1u32..20).prop_map(|n| frame(GOAWAY, 0, 0, &[&n.to_be_bytes()[..], &[0; 9]].concat())),
        2 => (0u32..10, 0usize..30).prop_map(|(n, cut)| {
            let block = block(GET);
            let (first, rest) = block.split_at(cut.min(block.len()));
            let stream = n * 2 + 1;
            [frame(HEADERS, 1, stream, first), frame(CONTINUATION, 4, stream, rest)].concat()
        }),
        1 => anything,
    ]
}

/// Simulates an owner that responds to requests and consumes nothing.
fn play(role: Http2Role, input: &[u8], cuts: &[usize]) -> (Vec<RecordedEvent>, Vec<u8>) {
    let mut connection = Connection::new(Options::new(role));
    if role == Http2Role::Client {
        for _ in 0..5 {
            request(&mut connection, false);
        }
    }
    let (mut events, mut output) = (Vec::new(), Vec::new());
    let mut cuts = cuts.iter().cycle();
    let mut rest = input;
    while !rest.is_empty() {
        let length = (*cuts.next().expect("it goes on")).clamp(1, rest.len());
        let (mut piece, after) = rest.split_at(length);
        rest = after;
        loop {
            let (taken, event) = connection.receive(piece, 0);
            let more = matches!(event, Event::NeedMore);
            let event = seen(event);
            piece = &piece[taken..];
            if let Some(RecordedEvent::Headers { stream, end, .. }) = event {
                let stream = StreamId(stream);
                if role == Http2Role::Server {
                    let _ = connection.send_headers(stream, list(OK), false);
                    let _ = connection.send_data(stream, &[1; 5000], end);
                }
                let _ = connection.expect_length(stream, 2000);
            }
            push(&mut events, event);
            if more {
                break;
            }
        }
        assert!(connection.block.bytes_capacity() <= 256 * 1024);
        output.extend_from_slice(connection.output());
        connection.output_consumed(usize::MAX);
    }
    (events, output)
}

/// Appends an event; consecutive pieces of a body count as one.
fn push(events: &mut Vec<RecordedEvent>, event: Option<RecordedEvent>) {
    match (events.last_mut(), event) {
        (
            Some(RecordedEvent::Data {
                stream,
                data,
                end: end @ false,
            }),
            Some(RecordedEvent::Data {
                stream: same,
                data: more,
                end: last,
            }),
        ) if *stream == same => {
            data.extend(more);
            *end = last;
        }
        (_, event) => events.extend(event),
    }
}

/// An action of the owner on one side.
#[derive(Clone, Debug)]
enum Deed {
    Open {
        end: bool,
    },
    Send {
        which: usize,
        bytes: usize,
        end: bool,
    },
    Trailers {
        which: usize,
    },
    Reset {
        which: usize,
    },
    Consume {
        bytes: u32,
    },
    Ping,
    /// The given number of output bytes reaches the other side.
    Carry {
        bytes: usize,
    },
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => any::<bool>().prop_map(|end| Deed::Open { end }),
        6 => (0usize..8, 0usize..40_000, any::<bool>())
            .prop_map(|(which, bytes, end)| Deed::Send { which, bytes, end }),
        1 => (0usize..8).prop_map(|which| Deed::Trailers { which }),
        1 => (0usize..8).prop_map(|which| Deed::Reset { which }),
        4 => (0u32..60_000).prop_map(|bytes| Deed::Consume { bytes }),
        1 => Just(Deed::Ping),
        8 => (1usize..80_000).prop_map(|bytes| Deed::Carry { bytes }),
    ]
}

/// A connection with its owner's state.
struct RandomEndpoint {
    connection: Connection,
    open: Vec<StreamId>,
    /// DATA that the owner has not consumed yet.
    held: Vec<(StreamId, u32)>,
}

impl RandomEndpoint {
    fn new(role: Http2Role, window: u32) -> RandomEndpoint {
        let mut options = Options::new(role);
        options.initial_window = window;
        options.concurrent_streams_max = 6;
        RandomEndpoint {
            connection: Connection::new(options),
            open: Vec::new(),
            held: Vec::new(),
        }
    }

    fn act(&mut self, deed: &Deed) {
        let pick = |which: usize, open: &[StreamId]| open.get(which % open.len().max(1)).copied();
        let connection = &mut self.connection;
        match *deed {
            Deed::Open { end } => {
                if let Ok(stream) = connection.open() {
                    connection
                        .send_headers(stream, list(GET), end)
                        .expect("new");
                    self.open.push(stream);
                }
            }
            Deed::Send { which, bytes, end } => {
                let Some(stream) = pick(which, &self.open) else {
                    return;
                };
                let _ = connection.send_data(stream, &vec![7; bytes], end);
            }
            Deed::Trailers { which } => {
                let Some(stream) = pick(which, &self.open) else {
                    return;
                };
                let _ = connection.send_headers(stream, list(&[("a", "b")]), true);
            }
            Deed::Reset { which } => {
                let Some(stream) = pick(which, &self.open) else {
                    return;
                };
                connection.reset(stream, ErrorCode::Cancel);
            }
            Deed::Consume { mut bytes } => self.held.retain_mut(|(stream, held)| {
                let now = bytes.min(*held);
                connection.consumed(*stream, now);
                bytes -= now;
                *held -= now;
                *held > 0
            }),
            Deed::Ping => connection.ping(),
            Deed::Carry { .. } => {}
        }
        self.open.retain(|stream| self.connection.is_open(*stream));
    }

    /// Handles what the other side sent; none of it may be an error.
    fn take(&mut self, mut input: &[u8]) {
        loop {
            let (taken, event) = self.connection.receive(input, 0);
            input = &input[taken..];
            let (mut answer, mut held) = (None, None);
            match event {
                Event::NeedMore => return,
                Event::Failed(error) => panic!("{error}"),
                Event::Reset { ours: true, .. } => panic!("{event:?}"),
                Event::Headers {
                    stream,
                    trailers: false,
                    ..
                } => answer = Some(stream),
                Event::Data { stream, data, .. } => held = Some((stream, data.len() as u32)),
                _ => {}
            }
            self.held.extend(held);
            if let (Some(stream), Http2Role::Server) = (answer, self.connection.role()) {
                self.connection
                    .send_headers(stream, list(OK), false)
                    .expect("new");
                self.open.push(stream);
            }
        }
    }
}

/// Moves bytes from one side to the other.
fn carry(from: &mut RandomEndpoint, to: &mut RandomEndpoint, bytes: usize) {
    let output = from.connection.output();
    let piece = output[..bytes.min(output.len())].to_vec();
    from.connection.output_consumed(piece.len());
    to.take(&piece);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn frames_cut_anywhere_mean_the_same(
        frames in prop::collection::vec(some_frame(), 0..40),
        cuts in prop::collection::vec(1usize..60, 1..20),
        client in any::<bool>(),
    ) {
        let (role, start) = if client {
            (Http2Role::Client, settings(&[]))
        } else {
            (Http2Role::Server, [PREFACE.as_slice(), &settings(&[])].concat())
        };
        let input = [start, frames.concat()].concat();
        let whole = play(role, &input, &[usize::MAX]);
        prop_assert_eq!(&play(role, &input, &[1]), &whole);
        prop_assert_eq!(&play(role, &input, &cuts), &whole);
    }

    #[test]
    fn any_bytes_at_all_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        behind in 0usize..3,
        client in any::<bool>(),
    ) {
        let role = if client { Http2Role::Client } else { Http2Role::Server };
        let start = match behind {
            0 => vec![],
            _ if client => settings(&[]),
            1 => PREFACE.to_vec(),
            _ => [PREFACE.as_slice(), &settings(&[])].concat(),
        };
        let input = [start, bytes].concat();
        let whole = play(role, &input, &[usize::MAX]);
        prop_assert_eq!(play(role, &input, &[3, 1, 7]), whole);
    }

    #[test]
    fn two_own_endpoints_report_no_errors(
        deeds in prop::collection::vec((any::<bool>(), deed()), 0..300),
        windows in (1u32..100_000, 1u32..100_000),
    ) {
        let mut client = RandomEndpoint::new(Http2Role::Client, windows.0);
        let mut server = RandomEndpoint::new(Http2Role::Server, windows.1);
        for (by_client, deed) in &deeds {
            let (actor, other) =
                if *by_client { (&mut client, &mut server) } else { (&mut server, &mut client) };
            match deed {
                Deed::Carry { bytes } => carry(actor, other, *bytes),
                deed => actor.act(deed),
            }
        }
        // At the end everything arrives, and all windows are restored.
        loop {
            for side in [&mut client, &mut server] {
                side.act(&Deed::Consume { bytes: u32::MAX });
            }
            let idle = client.connection.output().is_empty() && server.connection.output().is_empty();
            carry(&mut client, &mut server, usize::MAX);
            carry(&mut server, &mut client, usize::MAX);
            if idle {
                break;
            }
        }
        for (one, other) in [(&client, &server), (&server, &client)] {
            let (one, other) = (&one.connection, &other.connection);
            prop_assert_eq!(one.send_window, other.receive_window);
            let missing = other.receive_window + other.unreturned as i32;
            prop_assert_eq!(missing, other.options.connection_window as i32);
            prop_assert_eq!(one.streams(), other.streams());
        }
    }
}
