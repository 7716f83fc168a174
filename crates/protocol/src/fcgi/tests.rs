//! Tests FastCGI requests and responses as tables of bytes, and random bytes.

use super::*;
use proptest::prelude::*;

fn params(pairs: &[(&str, &str)]) -> Params {
    let mut params = Params::default();
    for (name, value) in pairs {
        params.add(&[name.as_bytes()], value.as_bytes()).unwrap();
    }
    params
}

fn begun(length: Length, head: bool) -> Connection {
    let mut connection = Connection::default();
    let params = params(&[("REQUEST_METHOD", "GET")]);
    connection.begin(&FcgiRequest {
        params: &params,
        length,
        head,
        keep: true,
        date: b"now",
    });
    connection
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    header(kind, content.len(), &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

fn end(status: u8) -> Vec<u8> {
    record(kind::END_REQUEST, &[0, 0, 0, 0, status, 0, 0, 0])
}

fn read(connection: &mut Connection) -> String {
    let mut bytes = vec![0; 1 << 20];
    let count = connection.read(&mut bytes);
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

/// Returns all unsent records as types and contents.
fn records(connection: &mut Connection) -> Vec<(u8, Vec<u8>)> {
    let bytes = connection.outgoing().to_vec();
    connection.sent(bytes.len());
    let (mut rest, mut all) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([rest[4], rest[5]]));
        assert_eq!((rest[0], rest[2], rest[3], rest[6]), (1, 0, 1, 0));
        all.push((rest[1], rest[8..8 + length].to_vec()));
        rest = &rest[8 + length..];
    }
    all
}

#[test]
fn a_request_is_a_beginning_parameters_and_a_body() {
    let mut connection = begun(Length::Bytes(5), false);
    assert_eq!(connection.write(b"hel"), Ok(3));
    assert_eq!(connection.write(b"lo"), Ok(2));
    let want = [
        (1, vec![0, 1, 1, 0, 0, 0, 0, 0]),
        (4, b"\x0e\x03REQUEST_METHODGET".to_vec()),
        (4, vec![]),
        (5, b"hel".to_vec()),
        (5, b"lo".to_vec()),
        (5, vec![]),
    ];
    assert_eq!(records(&mut connection), want);
}

#[test]
fn names_are_written_as_variables_and_long_pairs_get_records_of_their_own() {
    let mut params = Params::default();
    params.add(&[b"http_", b"x-my.hdr"], b"v").unwrap();
    assert_eq!(
        params.records().collect::<Vec<_>>(),
        [b"\x0d\x01HTTP_X_MY_HDRv"]
    );
    let long = vec![b'x'; CONTENT_MAX - 100];
    params.add(&[b"a"], &long).unwrap();
    params.add(&[b"b"], &long).unwrap();
    let lengths: Vec<_> = params.records().map(<[u8]>::len).collect();
    assert_eq!(lengths, [16 + 6 + long.len(), 6 + long.len()]);
    assert_eq!(params.add(&[b"c"], &[0; CONTENT_MAX]), Err(TooLong));
    assert_eq!(params.records().count(), 2);
}

#[test]
fn chunks_become_records_and_malformed_ones_are_refused() {
    let body = b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\na: b\r\n\r\n";
    for piece in 1..body.len() {
        let mut connection = begun(Length::Chunked, false);
        for part in body.chunks(piece) {
            assert_eq!(connection.write(part), Ok(part.len()));
        }
        let records = records(&mut connection);
        let data: Vec<u8> = records
            .iter()
            .filter(|(kind, _)| *kind == 5)
            .flat_map(|(_, data)| data.clone())
            .collect();
        assert_eq!(data, b"hello!");
        assert_eq!(records.last(), Some(&(5, vec![])), "{piece}");
    }
    for wrong in [&b"x"[..], b"1\r\nab", b"fffffffffffffffff\r\n"] {
        let mut connection = begun(Length::Chunked, false);
        assert_eq!(connection.write(wrong), Err(FcgiError::Chunk));
        assert!(connection.is_spent());
    }
}

#[test]
fn a_body_waits_while_too_much_of_it_is_not_sent() {
    let mut connection = begun(Length::Bytes(1 << 30), false);
    let data = vec![b'x'; 1 << 20];
    let taken = connection.write(&data).unwrap();
    assert!(taken < WAITING_MAX + CONTENT_MAX, "{taken}");
    assert_eq!(connection.write(&data), Ok(0));
    connection.sent(connection.outgoing().len());
    assert!(connection.write(&data).unwrap() > 0);
}

#[test]
fn a_response_becomes_one_of_http() {
    for (output, want) in [
        (
            "Content-Type: text/plain\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ndate: now\r\ncontent-length: 2\r\n\r\nhi",
        ),
        (
            "Status: 404 Not here\nX: y\nDate: then\n\n",
            "HTTP/1.1 404 Not here\r\nX: y\r\nDate: then\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "Location: /x\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 302 Moved Temporarily\r\nLocation: /x\r\nContent-Length: 2\r\ndate: now\r\n\r\nok",
        ),
        (
            "Status: 304\r\nETag: x\r\n\r\nnot to be sent",
            "HTTP/1.1 304 \r\nETag: x\r\ndate: now\r\n\r\n",
        ),
    ] {
        for piece in [1, 7, 4096] {
            let mut connection = begun(Length::None, false);
            let mut bytes: Vec<u8> = output
                .as_bytes()
                .chunks(4096)
                .flat_map(|part| record(kind::STDOUT, part))
                .collect();
            bytes.extend(record(kind::STDERR, b"oops"));
            bytes.extend(record(kind::STDOUT, b""));
            bytes.extend(end(0));
            let mut got = String::new();
            for part in bytes.chunks(piece) {
                connection.receive(part).unwrap();
                got += &read(&mut connection);
            }
            if piece == 4096 {
                assert_eq!(got, want);
            } else if output.starts_with("Content-Type") {
                assert!(got.contains("chunked\r\n\r\n") && got.ends_with("\r\n0\r\n\r\n"));
            }
            assert!(got.starts_with(&want[..20]));
            assert_eq!(connection.take_errors(), b"oops");
            assert!(!connection.is_spent());
        }
    }
}

#[test]
fn a_head_without_a_body_and_records_with_padding_are_read() {
    let mut connection = begun(Length::None, true);
    let mut bytes = record(kind::STDOUT, b"A: b\r\n\r\nbody of a HEAD");
    bytes[6] = 3;
    bytes.extend(b"pad");
    bytes.extend(end(0));
    connection.receive(&bytes).unwrap();
    let want = "HTTP/1.1 200 OK\r\nA: b\r\ndate: now\r\n\r\n";
    assert_eq!(read(&mut connection), want);
}

#[test]
fn malformed_response_is_refused_and_connection_not_reused() {
    let out = |text: &str| record(kind::STDOUT, text.as_bytes());
    let mut version = out("a");
    version[0] = 2;
    let mut other = out("a");
    other[3] = 2;
    for (bytes, fault) in [
        (version, FcgiError::Record),
        (other, FcgiError::Record),
        (record(99, b""), FcgiError::Record),
        (record(kind::END_REQUEST, b"1234"), FcgiError::Record),
        (end(2), FcgiError::Refused),
        (end(0), FcgiError::Short),
        ([out("A: b\r\n"), end(0)].concat(), FcgiError::Short),
        (
            [out("Content-Length: 9\r\n\r\nshort"), end(0)].concat(),
            FcgiError::Short,
        ),
        (out("no colon\r\n\r\n"), FcgiError::Head),
        (out("Status: abc\r\n\r\n"), FcgiError::Head),
        (
            out("Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            FcgiError::Head,
        ),
        (out(&"x".repeat(60_000)).repeat(2), FcgiError::Head),
    ] {
        let mut connection = begun(Length::None, false);
        assert_eq!(connection.receive(&bytes), Err(fault));
        assert_eq!(connection.fault(), Some(fault));
        assert!(connection.is_spent());
    }
    let mut idle = Connection::default();
    assert_eq!(idle.receive(&out("A: b\r\n\r\n")), Err(FcgiError::Record));
}

#[test]
fn more_than_was_announced_or_a_body_that_is_not_read_spends_the_connection() {
    let mut more = begun(Length::None, false);
    let bytes = [
        record(kind::STDOUT, b"Content-Length: 1\r\n\r\nabc"),
        end(0),
    ]
    .concat();
    more.receive(&bytes).unwrap();
    assert!(read(&mut more).ends_with("\r\n\r\na"));
    assert!(more.is_spent());
    let mut unread = begun(Length::Bytes(10), false);
    let bytes = [record(kind::STDOUT, b"A: b\r\n\r\n"), end(0)].concat();
    unread.receive(&bytes).unwrap();
    assert!(unread.is_spent());
    assert_eq!(unread.write(b"the rest"), Ok(8), "passed over");
}

#[test]
fn errors_are_bounded() {
    let mut connection = begun(Length::None, false);
    for _ in 0..10 {
        connection
            .receive(&record(kind::STDERR, &[b'e'; 4096]))
            .unwrap();
    }
    assert_eq!(connection.take_errors().len(), ERRORS_MAX);
}

proptest! {
    #[test]
    fn any_bytes_are_received_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        changes in proptest::collection::vec((0usize..200, any::<u8>()), 0..6),
    ) {
        let mut connection = begun(Length::None, false);
        let _ = connection.receive(&bytes);
        let mut whole = [record(kind::STDOUT, b"Status: 200 OK\r\nContent-Length: 3\r\n\r\nabc"), end(0)].concat();
        let length = whole.len();
        for (at, byte) in changes {
            whole[at % length] = byte;
        }
        let mut connection = begun(Length::Chunked, false);
        let _ = connection.write(&bytes);
        let _ = connection.receive(&whole);
        let _ = read(&mut connection);
    }
}
