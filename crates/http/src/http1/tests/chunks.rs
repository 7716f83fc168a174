//! Tests the decoder of chunked bodies, complete and split at any byte.

use super::*;
use proptest::prelude::*;

/// Decodes a whole body. Returns data, trailers as lines and the number of remaining bytes, or the
/// fault.
fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, String, usize), HttpParseError> {
    let mut decoder = ChunkedDecoder::new();
    let mut data = Vec::new();
    for (n, piece) in pieces.iter().enumerate() {
        let mut input = *piece;
        loop {
            match decoder.next(&mut input)? {
                Chunk::Data(part) => {
                    assert!(!part.is_empty());
                    data.extend_from_slice(part);
                }
                Chunk::NeedMore => {
                    assert!(input.is_empty());
                    break;
                }
                Chunk::End => {
                    assert!(decoder.is_done());
                    let mut lines = Vec::new();
                    if let Some(fields) = decoder.trailers() {
                        fields.write_lines(&mut lines);
                    }
                    let lines = lines.escape_ascii().to_string().replace("\\r\\n", "|");
                    let left = input.len() + pieces[n + 1..].iter().map(|p| p.len()).sum::<usize>();
                    return Ok((data, lines, left));
                }
            }
        }
    }
    Ok((data, "Incomplete".to_owned(), 0))
}

fn told(input: &[u8]) -> String {
    match decode(&[input]) {
        Ok((data, rest, left)) => format!("{} {rest} {left}", data.escape_ascii()),
        Err(fault) => format!("{:?} at {}", fault.kind, fault.at),
    }
}

#[rustfmt::skip]
const BODIES: &[(&[u8], &str)] = &[
    (b"2\r\nab\r\n0\r\n\r\n", "ab  0"),
    (b"2\r\nab\r\n0\r\n\r\nGET", "ab  3"),
    (b"0\r\n\r\n", "  0"),
    (b"02\r\nab\r\n00\r\n\r\n", "ab  0"),
    (b"000000000000000002\r\nab\r\n0\r\n\r\n", "ab  0"),
    (b"A\r\n0123456789\r\n0\r\n\r\n", "0123456789  0"),
    (b"a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n", "0123456789x  0"),
    (b"2 \r\nab\r\n0\r\n\r\n", "ab  0"),
    (b"2\t \r\nab\r\n0\r\n\r\n", "ab  0"),
    (b"2 ;a\r\nab\r\n0\r\n\r\n", "ab  0"),
    (b"2;\r\nab\r\n0\r\n\r\n", "ab  0"),
    (b"2;a=b;c=\"d;e\"\r\nab\r\n0;x\r\n\r\n", "ab  0"),
    (b"2;a=\"x;\\\"y\"\r\nab\r\n0\r\n\r\n", "ab  0"),
    // haproxy 2.6 ends the line within the string, as some recipients do and others do not.
    (b"2;a=\"x\r\ny\"\r\nab\r\n0\r\n\r\n", "ChunkExtension at 6"),
    (b"2;a=\"x\\\"\r\nab\r\n0\r\n\r\n", "ChunkExtension at 8"),
    (b"2;a\nb\r\nab\r\n0\r\n\r\n", "BareLineFeed at 3"),
    (b"2;a\0b\r\nab\r\n0\r\n\r\n", "ChunkExtension at 3"),
    (b"2;a\rb\r\nab\r\n0\r\n\r\n", "ChunkExtension at 4"),
    (b"2;\x7f\r\nab", "ChunkExtension at 2"),
    (b"2;\xff\r\nab\r\n0\r\n\r\n", "ab  0"),
    (b"0x2\r\nab\r\n0\r\n\r\n", "ChunkSize at 1"),
    (b"+2\r\nab\r\n0\r\n\r\n", "ChunkSize at 0"),
    (b"-2\r\nab\r\n0\r\n\r\n", "ChunkSize at 0"),
    (b" 2\r\nab\r\n0\r\n\r\n", "ChunkSize at 0"),
    (b"2 x\r\nab\r\n0\r\n\r\n", "ChunkSize at 2"),
    (b"2 2\r\nab\r\n0\r\n\r\n", "ChunkSize at 2"),
    (b"2_0\r\nab", "ChunkSize at 1"),
    (b"2,\r\nab", "ChunkSize at 1"),
    (b"2\0\r\nab", "ChunkSize at 1"),
    (b"2\x0b\r\nab", "ChunkSize at 1"),
    (b"g\r\n", "ChunkSize at 0"),
    (b"\r\n", "ChunkSize at 0"),
    (b"\n", "BareLineFeed at 0"),
    (b";\r\n", "ChunkSize at 0"),
    (b"\r\n2\r\nab\r\n0\r\n\r\n", "ChunkSize at 0"),
    (b"2\nab\n0\n\n", "BareLineFeed at 1"),
    (b"2\r\nab\n0\r\n\r\n", "BareLineFeed at 5"),
    (b"2\r\nab0\r\n\r\n", "ChunkEnd at 5"),
    (b"2\r\nab\rx", "ChunkEnd at 6"),
    (b"2\r\nabc\r\n0\r\n\r\n", "ChunkEnd at 5"),
    (b"2\r\r\nab\r\n0\r\n\r\n", "ChunkExtension at 2"),
    (b"7fffffffffffffff\r\nab", "ab Incomplete 0"),
    (b"7ffffffffffffffe\r\nab", "ab Incomplete 0"),
    (b"8000000000000000\r\nab", "BodyTooLong at 15"),
    (b"ffffffffffffffff\r\nab", "BodyTooLong at 15"),
    (b"10000000000000000\r\nab", "BodyTooLong at 16"),
    (b"1\r\na\r\n7fffffffffffffff\r\n", "BodyTooLong at 23"),
    (b"0\r\nX: y\r\n\r\n", " x: y| 0"),
    (b"0\r\nX: y\r\nA-b:  c \r\n\r\nrest", " x: y|a-b: c| 4"),
    (b"0\r\nX : y\r\n\r\n", "NameByte at 4"),
    (b"0\r\nX: a\r\n b\r\n\r\n", "ColonMissing at 9"),
    (b"0\r\n X: a\r\n\r\n", "NameByte at 3"),
    (b"0\r\nX: a\0\r\n\r\n", "ControlByte at 7"),
    (b"0\r\nX: a\rb\r\n\r\n", "ControlByte at 7"),
    (b"0\r\nX: y\r\r\n\r\n", "ControlByte at 7"),
    (b"0\r\nfoo\r\n\r\n", "ColonMissing at 6"),
    (b"0\r\n: y\r\n\r\n", "NameMissing at 3"),
    (b"0\r\nX: y\n\n", "BareLineFeed at 7"),
    (b"0\r\nX: y\r\n\n", "BareLineFeed at 9"),
    (b"0\r\n\n", "BareLineFeed at 3"),
    (b"0\n\r\n", "BareLineFeed at 1"),
    (b"0\r\n\rx\r\n", "ControlByte at 3"),
    // Trailers that would frame or route a message are dropped.
    (b"0\r\nContent-Length: 5\r\nX: y\r\n\r\n", " x: y| 0"),
    (b"0\r\nTransfer-Encoding: chunked\r\nHOST: b\r\nCookie: f\r\nConnection: close\r\n\r\n", "  0"),
    (b"0\r\nAuthorization: x\r\nTrailer: y\r\nTE: z\r\nUpgrade: a\r\n\r\n", "  0"),
];

#[test]
fn chunked_bodies_have_one_reading_or_are_refused() {
    for (input, expected) in BODIES {
        assert_eq!(told(input), *expected, "{}", input.escape_ascii());
    }
}

#[test]
fn size_lines_and_trailers_are_bounded() {
    let line = |n: usize| [&b"2;"[..], &vec![b'x'; n], b"\r\nab\r\n0\r\n\r\n"].concat();
    assert_eq!(told(&line(1000)), "ab  0");
    assert!(told(&line(1100)).starts_with("ChunkLineTooLong"));
    let zeros = [&[b'0'; 2000][..], b"2\r\nab\r\n0\r\n\r\n"].concat();
    assert!(told(&zeros).starts_with("ChunkLineTooLong"));
    let trailers = |n: usize| [&b"0\r\n"[..], &b"x: y\r\n".repeat(n), b"\r\n"].concat();
    assert!(told(&trailers(100)).ends_with(" 0"));
    assert!(told(&trailers(101)).starts_with("TrailersTooLong"));
    let endless = [&b"0\r\nx: "[..], &[b'y'; 10_000]].concat();
    assert!(told(&endless).starts_with("TrailersTooLong"));
    // Dropped trailers count as well.
    let dropped = [&b"0\r\n"[..], &b"te: y\r\n".repeat(101), b"\r\n"].concat();
    assert!(told(&dropped).starts_with("TrailersTooLong"));
}

#[test]
fn every_body_reads_the_same_wherever_it_is_cut() {
    for (input, _) in BODIES {
        let whole = decode(&[input]);
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(decode(&bytes), whole, "{}", input.escape_ascii());
        for cut in 0..=input.len() {
            let (a, b) = input.split_at(cut);
            assert_eq!(decode(&[a, b]), whole, "{} at {cut}", input.escape_ascii());
            assert_eq!(decode(&[a, b"", b]), whole);
        }
    }
}

#[test]
fn chunk_heads_are_written_without_memory() {
    for (size, text) in [
        (1, &b"1\r\n"[..]),
        (15, b"F\r\n"),
        (16, b"10\r\n"),
        (65_536, b"10000\r\n"),
        (u64::MAX, b"FFFFFFFFFFFFFFFF\r\n"),
    ] {
        assert_eq!(ChunkHead::new(size).as_bytes(), text);
    }
    let mut out = Vec::new();
    write_last_chunk(None, &mut out);
    assert_eq!(out, LAST_CHUNK);
}

proptest! {
    #[test]
    fn written_chunks_are_read_back(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..80), 0..12),
        trailer in prop::option::of("[a-z]{1,8}"),
        cuts in prop::collection::vec(1usize..40, 1..40),
    ) {
        let mut wire = Vec::new();
        for part in &parts {
            wire.extend_from_slice(ChunkHead::new(part.len() as u64).as_bytes());
            wire.extend_from_slice(part);
            wire.extend_from_slice(b"\r\n");
        }
        let mut fields = crate::message::Fields::new();
        if let Some(value) = &trailer {
            fields.add(b"x-sum", value.as_bytes()).unwrap();
        }
        write_last_chunk(Some(&fields), &mut wire);
        wire.extend_from_slice(b"next");
        let mut pieces = Vec::new();
        let mut rest = &wire[..];
        for n in cuts.iter().cycle() {
            let (piece, tail) = rest.split_at((*n).min(rest.len()));
            pieces.push(piece);
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
        let (data, lines, left) = decode(&pieces).unwrap();
        prop_assert_eq!(data, parts.concat());
        prop_assert_eq!(lines, trailer.map_or(String::new(), |v| format!("x-sum: {v}|")));
        prop_assert_eq!(left, 4);
    }

    #[test]
    fn any_bytes_decode_the_same_in_one_piece_and_byte_by_byte(
        input in prop::collection::vec(
            prop_oneof![
                Just(b"1\r\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"0\r\n".to_vec()),
                Just(b"2;x\r\n".to_vec()), Just(b"a: b".to_vec()), Just(b"x".to_vec()),
                any::<u8>().prop_map(|b| vec![b]),
            ],
            0..20,
        ).prop_map(|parts| parts.concat()),
    ) {
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        prop_assert_eq!(decode(&[&input]), decode(&bytes));
    }
}

/// Decodes a body with [`ChunkedDecoder::whole_chunks`] and `next` together.
fn decode_in_place(body: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, bool), HttpParseError> {
    let mut decoder = ChunkedDecoder::new();
    let (mut data, mut from) = (Vec::new(), 0);
    for to in cuts.iter().copied().chain([body.len()]) {
        let mut bytes = body[from..to.max(from)].to_vec();
        from = to.max(from);
        let (mut taken, mut kept) = (0, 0);
        loop {
            decoder.whole_chunks(&mut bytes, &mut taken, &mut kept);
            let mut rest = &bytes[taken..];
            let before = rest.len();
            let length = match decoder.next(&mut rest)? {
                Chunk::Data(piece) => piece.len(),
                Chunk::NeedMore | Chunk::End => break,
            };
            taken += before - rest.len();
            bytes.copy_within(taken - length..taken, kept);
            kept += length;
        }
        data.extend_from_slice(&bytes[..kept]);
        if decoder.is_done() {
            break;
        }
    }
    Ok((data, decoder.is_done()))
}

#[test]
fn many_whole_chunks_at_once_are_what_each_of_them_is() {
    for (body, _) in BODIES {
        let one_by_one = decode(&[body]).map(|(data, rest, _)| (data, rest != "Incomplete"));
        assert_eq!(
            decode_in_place(body, &[]),
            one_by_one,
            "{}",
            body.escape_ascii()
        );
    }
    let mut decoder = ChunkedDecoder::new();
    let mut bytes = b"1\r\nx\r\n".repeat(1000);
    let (mut taken, mut data) = (0, 0);
    assert_eq!(
        decoder.whole_chunks(&mut bytes, &mut taken, &mut data),
        1000
    );
    assert_eq!((taken, data, decoder.body_bytes()), (6000, 1000, 1000));
}

#[test]
fn chunks_are_decoded_together_at_any_position() {
    for cut in 0..12 {
        let mut decoder = ChunkedDecoder::new();
        let body = b"1\r\nx\r\n".repeat(100);
        let mut head = &body[..cut];
        while let Ok(Chunk::Data(_)) = decoder.next(&mut head) {}
        let mut rest = body[cut..].to_vec();
        let (mut taken, mut data, mut together) = (0, 0, 0);
        // A chunk begins after at most one more step.
        for _ in 0..3 {
            together += decoder.whole_chunks(&mut rest, &mut taken, &mut data);
            let mut input = &rest[taken..];
            let _ = decoder.next(&mut input);
            taken = rest.len() - input.len();
        }
        assert!(together >= 97, "{together} from {cut} on");
    }
}

proptest! {
    #[test]
    fn whole_chunks_cut_anywhere_give_the_same_body(
        sizes in proptest::collection::vec(1usize..40, 0..40),
        mut cuts in proptest::collection::vec(0usize..1000, 0..6),
        spoilt in proptest::option::of((0usize..1000, any::<u8>())),
    ) {
        let mut body = Vec::new();
        for (n, size) in sizes.iter().enumerate() {
            let line = if n % 3 == 0 { format!("{size:X}\r\n") } else { format!("0{size:x}\r\n") };
            body.extend_from_slice(line.as_bytes());
            body.extend((0..*size).map(|at| at as u8));
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        if let Some((at, byte)) = spoilt {
            let at = at % body.len();
            body[at] = byte;
        }
        cuts.iter_mut().for_each(|cut| *cut %= body.len());
        cuts.sort_unstable();
        let one_by_one = decode(&[&body]).map(|(data, rest, _)| (data, rest != "Incomplete"));
        prop_assert_eq!(decode_in_place(&body, &cuts), one_by_one);
    }
}
