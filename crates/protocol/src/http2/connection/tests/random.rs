//! Any bytes, in any pieces: no panic, the same events, bounded memory.

use super::*;
use proptest::prelude::*;

/// Bytes that are frames, mostly, and often allowed.
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

/// An owner that answers what it is asked and consumes nothing.
fn play(role: Role, input: &[u8], cuts: &[usize]) -> (Vec<Seen>, Vec<u8>) {
    let mut connection = Connection::new(Options::new(role));
    if role == Role::Client {
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
            if let Some(Seen::Headers { stream, end, .. }) = event {
                let stream = StreamId(stream);
                if role == Role::Server {
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

/// Pieces of a body that follow one another count as one.
fn push(events: &mut Vec<Seen>, event: Option<Seen>) {
    match (events.last_mut(), event) {
        (
            Some(Seen::Data {
                stream,
                data,
                end: end @ false,
            }),
            Some(Seen::Data {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn frames_cut_anywhere_mean_the_same(
        frames in prop::collection::vec(some_frame(), 0..40),
        cuts in prop::collection::vec(1usize..60, 1..20),
        client in any::<bool>(),
    ) {
        let (role, start) = if client {
            (Role::Client, settings(&[]))
        } else {
            (Role::Server, [PREFACE.as_slice(), &settings(&[])].concat())
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
        let role = if client { Role::Client } else { Role::Server };
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
}
