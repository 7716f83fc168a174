//! Tests HPACK: the examples of RFC 7541 byte by byte, errors, properties, and interoperation
//! with the h2 crate.

use super::super::FieldList;
use super::*;
use proptest::prelude::*;

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn list() -> FieldList {
    FieldList::new(64 * 1024, 200)
}

fn pairs(list: &FieldList) -> Vec<(Vec<u8>, Vec<u8>)> {
    list.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect()
}

fn owned(fields: Pairs<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let own = |text: &str| text.as_bytes().to_vec();
    fields.iter().map(|(n, v)| (own(n), own(v))).collect()
}

const SINGLE: [(&str, (&str, &str)); 4] = [
    (
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        ("custom-key", "custom-header"),
    ),
    (
        "040c 2f73 616d 706c 652f 7061 7468",
        (":path", "/sample/path"),
    ),
    (
        "1008 7061 7373 776f 7264 0673 6563 7265 74",
        ("password", "secret"),
    ),
    ("82", (":method", "GET")),
];

const REQUESTS: [Pairs<'_>; 3] = [
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ],
];
const REQUESTS_PLAIN: [&str; 3] = [
    "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
    "8286 84be 5808 6e6f 2d63 6163 6865",
    "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
];
const REQUESTS_HUFFMAN: [&str; 3] = [
    "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
    "8286 84be 5886 a8eb 1064 9cbf",
    "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
];
const REQUESTS_SIZES: [usize; 3] = [57, 110, 164];

const RESPONSES: [Pairs<'_>; 3] = [
    &[
        (":status", "302"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "307"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        (
            "set-cookie",
            "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ),
    ],
];
const RESPONSES_PLAIN: [&str; 3] = [
    "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
     2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
     6c65 2e63 6f6d",
    "4803 3330 37c1 c0bf",
    "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
     54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
     5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
     3d31",
];
const RESPONSES_HUFFMAN: [&str; 3] = [
    "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
     2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
    "4883 640e ffc1 c0bf",
    "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
     77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
     9587 3160 65c0 03ed 4ee5 b106 3d50 07",
];
const RESPONSES_SIZES: [usize; 3] = [222, 222, 215];

#[test]
fn the_decoder_reads_the_examples_of_the_rfc() {
    for (wire, field) in SINGLE {
        let mut out = list();
        let mut decoder = Decoder::new(4096);
        decoder.decode(&hex(wire), &mut out).unwrap();
        assert_eq!(pairs(&out), owned(&[field]));
        let indexed = field.0 == "custom-key";
        assert_eq!(decoder.table_size(), if indexed { 55 } else { 0 });
    }
    let series = [
        (4096, REQUESTS, REQUESTS_PLAIN, REQUESTS_SIZES),
        (4096, REQUESTS, REQUESTS_HUFFMAN, REQUESTS_SIZES),
        (256, RESPONSES, RESPONSES_PLAIN, RESPONSES_SIZES),
        (256, RESPONSES, RESPONSES_HUFFMAN, RESPONSES_SIZES),
    ];
    for (table_bytes, heads, wires, sizes) in series {
        let mut decoder = Decoder::new(table_bytes);
        decoder.set_table_bytes_max(table_bytes);
        for (n, wire) in wires.iter().enumerate() {
            let mut wire = hex(wire);
            if n == 0 && table_bytes == 256 {
                // The examples assume that both sides have already agreed on this table size.
                wire.splice(0..0, [0x3f, 0xe1, 0x01]);
            }
            let mut out = list();
            decoder.decode(&wire, &mut out).unwrap();
            assert_eq!(pairs(&out), owned(heads[n]));
            assert_eq!(decoder.table_size(), sizes[n]);
        }
    }
}

#[test]
fn the_encoder_writes_the_examples_of_the_rfc() {
    // The code of "307" is as long as the string, in which case the encoder writes the string.
    let mut responses = RESPONSES_HUFFMAN;
    responses[1] = RESPONSES_PLAIN[1];
    let series = [
        (4096, REQUESTS, REQUESTS_HUFFMAN, REQUESTS_SIZES),
        (256, RESPONSES, responses, RESPONSES_SIZES),
    ];
    for (table_bytes, heads, wires, sizes) in series {
        let mut encoder = Encoder::new();
        encoder.set_table_bytes_max(table_bytes);
        encoder.share_table(1);
        for (n, head) in heads.iter().enumerate() {
            let mut wire = Vec::new();
            encoder.begin(&mut wire);
            for (name, value) in head.iter() {
                encoder.field(name.as_bytes(), value.as_bytes(), Indexing::Yes, &mut wire);
            }
            let update: &[u8] = match (n, table_bytes) {
                (0, 256) => &[0x3f, 0xe1, 0x01],
                _ => &[],
            };
            assert_eq!(wire, [update, &hex(wires[n])].concat(), "{n}");
            assert_eq!(encoder.table_size(), sizes[n]);
        }
    }
}

#[test]
fn a_secret_is_marked_and_stays_out_of_the_table() {
    let mut encoder = Encoder::new();
    let mut wire = Vec::new();
    encoder.field(b"password", b"secret", Indexing::Never, &mut wire);
    assert_eq!(wire, hex(SINGLE[2].0));
    wire.clear();
    encoder.field(b":path", b"/sample/path", Indexing::No, &mut wire);
    assert_eq!(wire, hex(SINGLE[1].0));
    assert_eq!(encoder.table_size(), 0);
}

#[test]
fn invalid_header_blocks_are_refused() {
    use HpackError::*;
    let table: [(&str, HpackError); 22] = [
        ("80", Index),
        ("be", Index),
        ("ff00", Index),
        ("7e 00", Index),
        ("82 40", Truncated),
        ("40 01", Truncated),
        ("40 01 61", Truncated),
        ("40 01 61 02 62", Truncated),
        ("04", Truncated),
        ("10 01 61 7f", Truncated),
        ("ff ff ff ff ff ff ff", Integer),
        ("ff 80 80 80 80 80 00", Integer),
        ("00 7f ff ff ff ff 0f", Integer),
        ("00 81 00 00", HuffmanPadding),
        ("00 82 1f ff 00", HuffmanPadding),
        ("00 84 ff ff ff ff 00", HuffmanEos),
        // Updates of the table size to 4097, which is above the limit, and to a number too large
        // for an integer.
        ("3f e2 1f", TableSize),
        ("3f ff ff ff ff ff 0f", Integer),
        ("82 20", TableSizeMisplaced),
        ("20 20 20", TableSizeMisplaced),
        ("20 82 20", TableSizeMisplaced),
        ("3f", Truncated),
    ];
    for (wire, error) in table {
        let result = Decoder::new(4096).decode(&hex(wire), &mut list());
        assert_eq!(result, Err(error), "{wire}");
        assert!(!error.words().is_empty());
    }
    for fine in ["", "20", "3f e1 1f", "20 3f e1 1f", "20 82"] {
        let result = Decoder::new(4096).decode(&hex(fine), &mut list());
        assert_eq!(result, Ok(()), "{fine}");
    }
}

#[test]
fn reduced_table_size_is_announced_in_the_next_block() {
    let mut decoder = Decoder::new(4096);
    decoder.set_table_bytes_max(100);
    let mut again = decoder.clone();
    assert_eq!(
        decoder.decode(&hex("82"), &mut list()),
        Err(HpackError::TableSizeMissing)
    );
    assert_eq!(again.decode(&hex("3f45 82"), &mut list()), Ok(()));
    // After an increase, the peer may keep its smaller size.
    again.set_table_bytes_max(8192);
    assert_eq!(again.decode(&hex("82"), &mut list()), Ok(()));
    assert_eq!(again.decode(&hex("3fe13f 82"), &mut list()), Ok(()));
}

#[test]
fn encoder_announces_the_smallest_and_the_last_size() {
    let mut encoder = Encoder::new();
    let mut begun = |sizes: &[usize]| {
        for size in sizes {
            encoder.set_table_bytes_max(*size);
        }
        let mut wire = Vec::new();
        encoder.begin(&mut wire);
        wire
    };
    assert_eq!(begun(&[]), hex(""));
    assert_eq!(begun(&[4096]), hex(""));
    // The peer offers more than the encoder uses.
    assert_eq!(begun(&[1 << 20]), hex(""));
    assert_eq!(begun(&[0]), hex("20"));
    assert_eq!(begun(&[4096]), hex("3f e11f"));
    assert_eq!(begun(&[0, 4096]), hex("20 3f e11f"));
    assert_eq!(begun(&[100, 50, 70]), hex("3f13 3f27"));
    assert_eq!(begun(&[70]), hex(""));
}

#[test]
fn a_list_that_overflows_leaves_the_table_right() {
    let mut encoder = Encoder::new();
    let mut wire = Vec::new();
    for n in 0..20u8 {
        let value = [b'a' + n; 10];
        encoder.field(b"x-a", &value, Indexing::Yes, &mut wire);
    }
    let mut decoder = Decoder::new(4096);
    let mut small = FieldList::new(200, 100);
    decoder.decode(&wire, &mut small).unwrap();
    assert!(small.is_overflowed());
    assert_eq!(small.len(), 4);
    assert!(small.content_bytes() < 200);
    assert_eq!(decoder.table_size(), encoder.table_size());
    wire.clear();
    encoder.field(b"x-a", &[b'a' + 19; 10], Indexing::Yes, &mut wire);
    assert_eq!(wire.len(), 1);
    small.clear();
    decoder.decode(&wire, &mut small).unwrap();
    assert_eq!(pairs(&small), vec![(b"x-a".to_vec(), vec![b'a' + 19; 10])]);
}

#[test]
fn a_block_of_references_to_one_large_entry_is_bounded() {
    // An entry that nearly fills the table, then thousands of references to it.
    let mut wire = hex("40 01 61 7f b1 1e");
    wire.extend_from_slice(&[b'v'; 4016]);
    let mut decoder = Decoder::new(4096);
    decoder.decode(&wire, &mut list()).unwrap();
    let mut out = list();
    assert_eq!(decoder.decode(&[0xbe; 60_000], &mut out), Ok(()));
    assert!(out.is_overflowed() && out.content_bytes() <= 64 * 1024);
    // After the list has overflowed, indices are still checked.
    let mut wrong = vec![0xbe; 60_000];
    wrong.push(0xbf);
    assert_eq!(decoder.decode(&wrong, &mut list()), Err(HpackError::Index));
    // A long name that every further entry reuses.
    let mut wire = hex("40 7f b1 1e");
    wire.extend_from_slice(&[b'n'; 4016]);
    wire.push(0);
    wire.extend_from_slice(&[0x7e, 0x00].repeat(20_000));
    let mut decoder = Decoder::new(4096);
    assert_eq!(decoder.decode(&wire, &mut list()), Err(HpackError::Bomb));
}

#[test]
fn repeated_fields_are_one_byte_and_others_evict_nothing() {
    let mut encoder = Encoder::new();
    let head = [
        (&b":status"[..], &b"200"[..]),
        (b"server", b"even"),
        (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        (b"content-type", b"text/html; charset=utf-8"),
        (b"x-frame-options", b"DENY"),
    ];
    let mut sizes = Vec::new();
    for n in 0..2000u32 {
        let mut wire = Vec::new();
        for (name, value) in head {
            encoder.field(name, value, Indexing::of(name, value), &mut wire);
        }
        sizes.push(wire.len());
        let length = n.to_string();
        encoder.field(
            b"content-length",
            length.as_bytes(),
            Indexing::No,
            &mut wire,
        );
    }
    assert!(sizes[0] > 50);
    assert!(sizes[1..].iter().all(|size| *size == head.len()));
}

/// Generates fields: some of the static table, some with repetitions.
fn field() -> impl Strategy<Value = (Vec<u8>, Vec<u8>, Indexing)> {
    let name = prop_oneof![
        (1usize..=61).prop_map(|index| statics::get(index).unwrap().0.to_vec()),
        "x-[a-d]{1,3}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    let value = prop_oneof![
        "[a-c]{0,2}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..400),
        Just(b"GET".to_vec()),
    ];
    let indexing = prop_oneof![
        3 => Just(Indexing::Yes),
        1 => Just(Indexing::No),
        1 => Just(Indexing::Never),
    ];
    (name, value, indexing)
}

proptest! {
    #[test]
    fn encoded_fields_are_decoded_with_any_table_size(
        blocks in proptest::collection::vec(
            (proptest::option::of(0usize..5000), proptest::collection::vec(field(), 0..25)),
            1..12,
        ),
    ) {
        let mut encoder = Encoder::new();
        let mut decoder = Decoder::new(TABLE_BYTES_DEFAULT);
        for (size, fields) in blocks {
            if let Some(size) = size {
                encoder.set_table_bytes_max(size);
                decoder.set_table_bytes_max(size);
            }
            let mut wire = Vec::new();
            encoder.begin(&mut wire);
            let mut expected = Vec::new();
            for (name, value, indexing) in fields {
                encoder.field(&name, &value, indexing, &mut wire);
                expected.push((name, value));
            }
            let mut out = list();
            prop_assert_eq!(decoder.decode(&wire, &mut out), Ok(()));
            prop_assert_eq!(pairs(&out), expected);
            prop_assert_eq!(decoder.table_size(), encoder.table_size());
        }
    }

    #[test]
    fn any_bytes_decode_without_a_panic_and_within_bounds(
        blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..5),
        limit in 0usize..500,
    ) {
        let mut decoder = Decoder::new(4096);
        for block in blocks {
            let mut out = FieldList::new(limit, 5);
            let result = decoder.decode(&block, &mut out);
            prop_assert!(decoder.table_size() <= 4096);
            if result.is_err() {
                break;
            }
            prop_assert!(out.bytes() <= limit && out.len() <= 5);
            prop_assert!(out.content_bytes() <= limit);
        }
    }

    #[test]
    fn blocks_that_were_damaged_decode_without_a_panic(
        fields in proptest::collection::vec(field(), 0..15),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut encoder = Encoder::new();
        let mut wire = Vec::new();
        for (name, value, indexing) in fields {
            encoder.field(&name, &value, indexing, &mut wire);
        }
        if !wire.is_empty() {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        let _ = Decoder::new(4096).decode(&wire, &mut list());
    }
}

/// Tests with the h2 crate: frames around the header blocks are built manually.
mod against_h2 {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const ACK: u8 = 1;
    const END_STREAM_AND_HEADERS: u8 = 0x5;
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let len = (payload.len() as u32).to_be_bytes();
        let mut frame = vec![len[1], len[2], len[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    async fn read_frame(io: &mut DuplexStream) -> (u8, u32, Vec<u8>) {
        let mut head = [0; 9];
        io.read_exact(&mut head).await.unwrap();
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; len as usize];
        io.read_exact(&mut payload).await.unwrap();
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        (head[3], stream, payload)
    }

    fn paths() -> Vec<String> {
        (0..30).map(|n| format!("/{}/a~{{b}}", n % 7)).collect()
    }

    fn run(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(future);
    }

    #[test]
    fn h2_reads_what_the_encoder_writes() {
        run(async {
            let (mut ours, theirs) = tokio::io::duplex(1 << 20);
            let mut wire = PREFACE.to_vec();
            wire.extend(frame(SETTINGS, 0, 0, &[]));
            let mut encoder = Encoder::new();
            for (n, path) in paths().iter().enumerate() {
                let mut block = Vec::new();
                if n % 10 == 9 {
                    encoder.set_table_bytes_max(4096 - n * 100);
                }
                encoder.begin(&mut block);
                for (name, value) in [
                    (":method", "GET"),
                    (":scheme", "https"),
                    (":path", path),
                    (":authority", "www.example.com"),
                    ("user-agent", "a client of some name/1.0"),
                    ("x-number", &n.to_string()),
                    ("authorization", "Basic dTpw"),
                ] {
                    let (name, value) = (name.as_bytes(), value.as_bytes());
                    encoder.field(name, value, Indexing::of(name, value), &mut block);
                }
                let stream = 2 * n as u32 + 1;
                wire.extend(frame(HEADERS, END_STREAM_AND_HEADERS, stream, &block));
            }
            ours.write_all(&wire).await.unwrap();
            let mut server = h2::server::handshake(theirs).await.unwrap();
            for (n, path) in paths().iter().enumerate() {
                let (request, _) = server.accept().await.unwrap().unwrap();
                assert_eq!(request.uri().path(), path);
                assert_eq!(request.uri().authority().unwrap(), "www.example.com");
                assert_eq!(request.headers()["x-number"], n.to_string().as_str());
            }
        });
    }

    #[test]
    fn the_decoder_reads_what_h2_writes() {
        run(async {
            let (mut ours, theirs) = tokio::io::duplex(1 << 20);
            ours.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
            ours.write_all(&frame(SETTINGS, ACK, 0, &[])).await.unwrap();
            let (sender, connection) = h2::client::handshake(theirs).await.unwrap();
            let driver = tokio::spawn(connection);
            let mut preface = vec![0; PREFACE.len()];
            ours.read_exact(&mut preface).await.unwrap();
            let mut decoder = Decoder::new(4096);
            let mut kept = Vec::new();
            for (n, path) in paths().iter().enumerate() {
                let mut sender = sender.clone().ready().await.unwrap();
                let request = http_types::Request::get(format!("https://www.example.com{path}"))
                    .header("user-agent", "a client of some name/1.0")
                    .header("x-number", n.to_string())
                    .body(())
                    .unwrap();
                kept.push(sender.send_request(request, true).unwrap());
                let block = loop {
                    let (kind, stream, payload) = read_frame(&mut ours).await;
                    if kind == HEADERS {
                        assert_eq!(stream, 2 * n as u32 + 1);
                        break payload;
                    }
                };
                let mut out = list();
                decoder.decode(&block, &mut out).unwrap();
                let mut got = pairs(&out);
                got.sort();
                let mut expected = owned(&[
                    (":method", "GET"),
                    (":scheme", "https"),
                    (":path", path),
                    (":authority", "www.example.com"),
                    ("user-agent", "a client of some name/1.0"),
                    ("x-number", &n.to_string()),
                ]);
                expected.sort();
                assert_eq!(got, expected);
            }
            driver.abort();
        });
    }
}
