//! Tests both versions of the PROXY header as tables of bytes: complete, truncated, and changed
//! at every byte.

use super::*;
use proptest::prelude::*;

/// Bytes that HAProxy 2.6 sent with `send-proxy-v2 proxy-v2-options crc32c,unique-id`.
const BY_HAPROXY_INET4: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x22\
    \xc0\0\x02\x01\xc6\x33\x64\x02\x0f\xa0\0\x01\
    \x03\0\x04\xf3\xff\x0c\x89\x05\0\x0cid-192.0.2.1";
const BY_HAPROXY_INET6: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x3c\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x0f\xa0\0\x01\
    \x03\0\x04\xb7\x04\x66\x92\x05\0\x0eid-2001:db8::1";

fn addresses(source: &str, destination: &str) -> Header {
    Header::tcp(source.parse().unwrap(), destination.parse().unwrap())
}

fn unknown() -> Header {
    Header::Proxied(Proxied {
        endpoints: Endpoints::Unknown,
        tlvs: Tlvs::default(),
    })
}

fn whole(bytes: &[u8]) -> Header {
    match parse(bytes) {
        Ok(Progress::Complete {
            header,
            consumed_bytes,
        }) => {
            assert_eq!(consumed_bytes, bytes.len(), "{bytes:?}");
            header
        }
        other => panic!("{other:?} for {}", bytes.escape_ascii()),
    }
}

fn proxied(bytes: &[u8]) -> Proxied {
    match whole(bytes) {
        Header::Proxied(proxied) => proxied,
        Header::Local => panic!("local: {}", bytes.escape_ascii()),
    }
}

/// Checks that every prefix of the header is incomplete and requests no more bytes than are
/// missing, and that the header is found if other bytes follow.
fn works_cut_anywhere(bytes: &[u8]) {
    for cut in 0..bytes.len() {
        match parse(&bytes[..cut]) {
            Ok(Progress::Incomplete { missing_bytes }) => assert!(
                (1..=bytes.len() - cut).contains(&missing_bytes),
                "{missing_bytes} missing after {cut} of {}",
                bytes.len()
            ),
            other => panic!("{other:?} after {cut} of {}", bytes.escape_ascii()),
        }
    }
    let header = whole(bytes);
    let mut longer = bytes.to_vec();
    longer.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(
        parse(&longer),
        Ok(Progress::Complete {
            header,
            consumed_bytes: bytes.len()
        })
    );
}

/// Returns a header of version 2.
fn v2(version_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut out = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    out.extend_from_slice(&[version_command, family]);
    out.extend_from_slice(&(block.len() as u16).to_be_bytes());
    out.extend_from_slice(block);
    out
}

const INET4: &[u8] = b"\x01\x02\x03\x04\x05\x06\x07\x08\0\x09\0\x0a";

fn with_tlvs(tlvs: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[INET4, tlvs].concat())
}

#[test]
fn lines_of_version_1_are_read() {
    for (line, header) in [
        (
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
            addresses("192.168.0.1:56324", "192.168.0.11:443"),
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            addresses("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        (
            "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
            addresses("0.0.0.0:0", "0.0.0.0:0"),
        ),
        (
            "PROXY TCP6 2001:DB8::1 ::1 1 2\r\n",
            addresses("[2001:db8::1]:1", "[::1]:2"),
        ),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n",
            addresses(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535",
            ),
        ),
        (
            "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 4000 2\r\n",
            addresses("[::ffff:192.0.2.1]:4000", "[2001:db8::2]:2"),
        ),
        ("PROXY UNKNOWN\r\n", unknown()),
        ("PROXY UNKNOWN ffff::1 what ever  1\r\n", unknown()),
    ] {
        works_cut_anywhere(line.as_bytes());
        assert_eq!(whole(line.as_bytes()), header, "{line}");
    }
}

#[test]
fn malformed_lines_are_refused() {
    use ParseError::*;
    for (line, error) in [
        ("GET / HTTP/1.1\r\n", NotProxy { at_byte: 0 }),
        ("POST / HTTP/1.1\r\n", NotProxy { at_byte: 1 }),
        (
            "proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
            NotProxy { at_byte: 0 },
        ),
        (
            "PROXY\tTCP4 1.2.3.4 5.6.7.8 1 2\r\n",
            NotProxy { at_byte: 5 },
        ),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", LineEnd { at_byte: 30 }),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rx", LineEnd { at_byte: 30 }),
        ("PROXY UNKNOWN a\nb\r\n", LineEnd { at_byte: 15 }),
        ("PROXY \r\n", TextFamily),
        ("PROXY TCP 1.2.3.4 5.6.7.8 1 2\r\n", TextFamily),
        ("PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n", TextFamily),
        ("PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", TextFamily),
        ("PROXY UNKNOWNX\r\n", TextFamily),
        ("PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n", TextFamily),
        ("PROXY TCP4\r\n", FieldCount { found: 0 }),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", FieldCount { found: 3 }),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
            FieldCount { found: 5 },
        ),
        (
            "PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n",
            FieldCount { found: 5 },
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            FieldCount { found: 5 },
        ),
    ] {
        assert_eq!(parse(line.as_bytes()), Err(error), "{line:?}");
    }
}

#[test]
fn malformed_fields_are_refused() {
    use super::ProxyV1Field::*;
    for (line, field) in [
        ("PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n", SourceAddress),
        ("PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n", SourceAddress),
        ("PROXY TCP4 ::1 5.6.7.8 1 2\r\n", SourceAddress),
        ("PROXY TCP4 1.2.3.4 5.6.7.256 1 2\r\n", DestinationAddress),
        ("PROXY TCP6 1.2.3.4 ::1 1 2\r\n", SourceAddress),
        ("PROXY TCP6 ::1 ::1%eth0 1 2\r\n", DestinationAddress),
        ("PROXY TCP6 ::1 1::2::3 1 2\r\n", DestinationAddress),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n", SourcePort),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", SourcePort),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n", SourcePort),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 -2\r\n", DestinationPort),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 0x2\r\n", DestinationPort),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n", DestinationPort),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 \u{0662}\r\n", DestinationPort),
    ] {
        assert_eq!(
            parse(line.as_bytes()),
            Err(ParseError::Malformed(field)),
            "{line:?}"
        );
    }
}

#[test]
fn a_line_of_107_bytes_is_read_and_a_longer_one_refused_before_its_end() {
    let line = |len: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(len - 16)).into_bytes();
    works_cut_anywhere(&line(MAX_TEXT_BYTES));
    let longer = line(MAX_TEXT_BYTES + 1);
    assert_eq!(parse(&longer), Err(ParseError::LineTooLong));
    assert_eq!(parse(&longer[..106]), Err(ParseError::LineTooLong));
}

#[test]
fn what_haproxy_sends_is_read() {
    for (bytes, source, id) in [
        (BY_HAPROXY_INET4, "192.0.2.1:4000", "id-192.0.2.1"),
        (BY_HAPROXY_INET6, "[2001:db8::1]:4000", "id-2001:db8::1"),
    ] {
        works_cut_anywhere(bytes);
        let found = proxied(bytes);
        assert_eq!(found.endpoints.source(), Some(source.parse().unwrap()));
        assert_eq!(found.tlvs.unique_id(), Some(id.as_bytes()));
    }
}

#[test]
fn a_checksum_finds_a_change_of_any_bit() {
    for bit in 0..BY_HAPROXY_INET4.len() * 8 {
        let mut bytes = BY_HAPROXY_INET4.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match parse(&bytes) {
            Err(_) | Ok(Progress::Incomplete { .. }) => {}
            // The changed bit turns the header into a local one, whose rest is ignored, or the
            // checksum into an extension of another type.
            Ok(Progress::Complete { header, .. }) => assert!(
                header == Header::Local || [13, 28].contains(&(bit / 8)),
                "bit {bit} of byte {}: {header:?}",
                bit / 8
            ),
        }
    }
}

#[test]
fn a_local_header_is_skipped_whatever_it_holds() {
    for (family, block) in [
        (0x00, &b""[..]),
        (0x99, b"junk"),
        (0x11, b"short"),
        (0x00, b"\x03\0\x04sum?"),
    ] {
        let bytes = v2(0x20, family, block);
        works_cut_anywhere(&bytes);
        assert_eq!(whole(&bytes), Header::Local);
    }
}

#[test]
fn an_unspecified_family_is_unknown_and_keeps_extensions_if_that_is_what_follows() {
    for family in [0x00, 0x01, 0x02, 0x10, 0x20, 0x30] {
        assert_eq!(whole(&v2(0x21, family, b"zz")), unknown(), "{family:#x}");
        assert_eq!(whole(&v2(0x21, family, b"")), unknown(), "{family:#x}");
    }
    let found = proxied(&v2(0x21, 0x00, b"\x02\0\x04host"));
    assert_eq!(found.endpoints, Endpoints::Unknown);
    assert_eq!(found.tlvs.authority(), Some(&b"host"[..]));
}

#[test]
fn malformed_version_2_headers_are_refused() {
    use ParseError::*;
    let truncated = |at_byte| Tlv(TlvError::Truncated { at_byte });
    let length = |kind, found_bytes| Tlv(TlvError::Length { kind, found_bytes });
    let short = |declared_bytes, needed_bytes| BlockTooShort {
        declared_bytes,
        needed_bytes,
    };
    let sum = b"\x03\0\x04\0\0\0\0\x03\0\x04\0\0\0\0";
    let authority = [&b"\x02\x01\0"[..], &[b'a'; 256]].concat();
    let id = [&b"\x05\0\x81"[..], &[b'a'; 129]].concat();
    for (bytes, error) in [
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), NotProxy { at_byte: 11 }),
        (v2(0x11, 0x11, INET4), Version(1)),
        (v2(0x22, 0x11, INET4), Command(2)),
        (v2(0x21, 0x41, INET4), Family(4)),
        (v2(0x21, 0x13, INET4), Transport(3)),
        (v2(0x21, 0x11, &INET4[1..]), short(11, 12)),
        (v2(0x21, 0x21, &[0; 35]), short(35, 36)),
        (v2(0x21, 0x31, &[0; 215]), short(215, 216)),
        (with_tlvs(b"\x01"), truncated(0)),
        (with_tlvs(b"\x01\0\0\x01\0"), truncated(3)),
        (with_tlvs(b"\x01\0\x05ab"), truncated(0)),
        (with_tlvs(b"\x03\0\x03abc"), length(kind::CRC32C, 3)),
        (with_tlvs(sum), Tlv(TlvError::ChecksumRepeated)),
        (with_tlvs(&authority), length(kind::AUTHORITY, 256)),
        (with_tlvs(&id), length(kind::UNIQUE_ID, 129)),
        (with_tlvs(b"\x20\0\x04\x01\0\0\0"), length(kind::SSL, 4)),
        (with_tlvs(b"\x20\0\x07\x01\0\0\0\0\x21\0"), truncated(0)),
    ] {
        assert_eq!(parse(&bytes), Err(error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn oversized_header_is_refused_at_its_length() {
    let mut bytes = v2(0x21, 0x11, &[0; MAX_BINARY_BYTES - 15]);
    bytes.truncate(16);
    assert_eq!(
        parse(&bytes),
        Err(ParseError::BlockTooLong {
            declared_bytes: MAX_BINARY_BYTES + 1
        })
    );
}

#[test]
fn tls_extensions_are_decoded_as_encoded() {
    let mut tlvs = Tlvs::default();
    let fields = SslFields {
        used: true,
        certificate_on_connection: true,
        certificate_in_session: true,
        verify_result: 10,
        version: Some(b"TLSv1.3"),
        common_name: Some("bj\u{f6}rn.example".as_bytes()),
        cipher: Some(b"TLS_AES_128_GCM_SHA256"),
        signature_algorithm: Some(b"SHA256"),
        key_algorithm: Some(b"RSA2048"),
    };
    tlvs.push(kind::ALPN, b"h2").unwrap();
    tlvs.push(kind::NOOP, b"  ").unwrap();
    tlvs.push(kind::NETNS, b"blue").unwrap();
    tlvs.push_ssl(&fields).unwrap();
    tlvs.push(kind::CUSTOM_FIRST, b"").unwrap();
    let header = Header::Proxied(Proxied {
        endpoints: Endpoints::Unknown,
        tlvs,
    });
    let mut out = Vec::new();
    header.encode_binary(Checksum::Crc32c, &mut out);
    works_cut_anywhere(&out);
    let tlvs = proxied(&out).tlvs;
    assert_eq!(tlvs.alpn(), Some(&b"h2"[..]));
    assert_eq!(tlvs.network_namespace(), Some(&b"blue"[..]));
    assert_eq!(tlvs.get(kind::CUSTOM_FIRST), Some(&b""[..]));
    assert_eq!(tlvs.get(kind::CUSTOM_LAST), None);
    assert_eq!(tlvs.iter().count(), 4, "padding is not told");
    let ssl = tlvs.ssl().unwrap();
    assert!(ssl.is_used() && ssl.certificate_on_connection() && ssl.certificate_in_session());
    assert_eq!(ssl.verify_result(), 10);
    assert_eq!(ssl.version(), fields.version);
    assert_eq!(ssl.common_name(), fields.common_name);
    assert_eq!(ssl.cipher(), fields.cipher);
    assert_eq!(ssl.signature_algorithm(), fields.signature_algorithm);
    assert_eq!(ssl.key_algorithm(), fields.key_algorithm);
    assert_eq!(ssl.iter().count(), 5);
}

#[test]
fn a_repeated_extension_counts_as_its_last() {
    let found = proxied(&with_tlvs(b"\x02\0\x01a\x02\0\x01b"));
    assert_eq!(found.tlvs.authority(), Some(&b"b"[..]));
}

#[test]
fn oversized_extensions_are_refused() {
    let mut tlvs = Tlvs::default();
    assert_eq!(
        tlvs.push(kind::CRC32C, &[0; 4]),
        Err(TlvError::ChecksumIsComputed)
    );
    let too_long = vec![0; MAX_TLV_BYTES - 2];
    let too_many = Err(TlvError::TooManyBytes {
        found_bytes: MAX_TLV_BYTES + 1,
    });
    assert_eq!(tlvs.push(kind::NOOP, &too_long), too_many);
    assert!(tlvs.is_empty());
    tlvs.push(kind::ALPN, &too_long[1..]).unwrap();
    let header = Header::Proxied(Proxied {
        endpoints: Endpoints::Unix {
            transport: ProxiedTransport::Stream,
            paths: Box::new(UnixPaths {
                source: UnixPath::new(b"").unwrap(),
                destination: UnixPath::new(b"/run/x").unwrap(),
            }),
        },
        tlvs,
    });
    let mut out = Vec::new();
    header.encode_binary(Checksum::Crc32c, &mut out);
    assert_eq!(out.len(), MAX_BINARY_BYTES);
    assert_eq!(whole(&out), header);
}

#[test]
fn paths_lose_their_padding_and_nothing_else() {
    for path in [&b""[..], b"/run/x.sock", b"\0abstract", &[b'x'; 108]] {
        assert_eq!(UnixPath::new(path).unwrap().as_bytes(), path);
    }
    let error = UnixPath::new(&[b'x'; 109]).unwrap_err();
    assert_eq!(error.found_bytes, 109);
}

#[test]
fn version_1_uses_unknown_for_unsupported_addresses() {
    let datagram = Header::Proxied(Proxied {
        endpoints: Endpoints::between(
            ProxiedTransport::Datagram,
            "1.2.3.4:1".parse().unwrap(),
            "1.2.3.4:2".parse().unwrap(),
        ),
        tlvs: Tlvs::default(),
    });
    for header in [Header::Local, unknown(), datagram] {
        let mut out = Vec::new();
        header.encode_text(&mut out);
        assert_eq!(out, b"PROXY UNKNOWN\r\n");
    }
}

#[test]
fn mixed_families_are_sent_as_ipv6() {
    let header = addresses("192.0.2.1:4000", "[2001:db8::2]:2");
    let mut out = Vec::new();
    header.encode_text(&mut out);
    assert_eq!(out, b"PROXY TCP6 ::ffff:c000:201 2001:db8::2 4000 2\r\n");
    assert_eq!(whole(&out), header);
}

#[test]
fn a_header_is_small_where_it_is_kept() {
    assert!(size_of::<Header>() <= 96, "{}", size_of::<Header>());
}

fn any_transport() -> impl Strategy<Value = ProxiedTransport> {
    prop_oneof![
        Just(ProxiedTransport::Stream),
        Just(ProxiedTransport::Datagram)
    ]
}

fn any_endpoints() -> impl Strategy<Value = Endpoints> {
    let path = proptest::collection::vec(any::<u8>(), 0..=UNIX_PATH_BYTES)
        .prop_map(|bytes| UnixPath::new(&bytes).unwrap());
    prop_oneof![
        Just(Endpoints::Unknown),
        (any_transport(), any::<([u8; 4], u16, [u8; 4], u16)>()).prop_map(
            |(transport, (s, sp, d, dp))| Endpoints::between(
                transport,
                (s, sp).into(),
                (d, dp).into()
            )
        ),
        (any_transport(), any::<([u8; 16], u16, [u8; 16], u16)>()).prop_map(
            |(transport, (s, sp, d, dp))| Endpoints::between(
                transport,
                (s, sp).into(),
                (d, dp).into()
            )
        ),
        (any_transport(), path.clone(), path).prop_map(|(transport, source, destination)| {
            Endpoints::Unix {
                transport,
                paths: Box::new(UnixPaths {
                    source,
                    destination,
                }),
            }
        }),
    ]
}

fn any_header() -> impl Strategy<Value = Header> {
    let tlv = (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40));
    let tlvs = proptest::collection::vec(tlv, 0..6).prop_map(|list| {
        let mut tlvs = Tlvs::default();
        for (kind, value) in list {
            // Types with their own rules refuse some of these values.
            let _ = tlvs.push(kind, &value);
        }
        tlvs
    });
    prop_oneof![
        1 => Just(Header::Local),
        9 => (any_endpoints(), tlvs)
            .prop_map(|(endpoints, tlvs)| Header::Proxied(Proxied { endpoints, tlvs })),
    ]
}

proptest! {
    #[test]
    fn version_2_headers_are_decoded_as_encoded(header in any_header(), sum: bool) {
        let checksum = if sum { Checksum::Crc32c } else { Checksum::None };
        let mut out = Vec::new();
        header.encode_binary(checksum, &mut out);
        prop_assert!(out.len() <= MAX_HEADER_BYTES);
        works_cut_anywhere(&out);
        prop_assert_eq!(whole(&out), header);
    }

    #[test]
    fn version_1_headers_are_decoded_as_encoded(endpoints in any_endpoints()) {
        let header = Header::Proxied(Proxied { endpoints, tlvs: Tlvs::default() });
        let mut out = Vec::new();
        header.encode_text(&mut out);
        prop_assert!(out.len() <= MAX_TEXT_BYTES);
        works_cut_anywhere(&out);
        if out != b"PROXY UNKNOWN\r\n" {
            prop_assert_eq!(whole(&out), header);
        }
    }

    #[test]
    fn no_bytes_confuse_the_parser(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        begin in prop_oneof![
            Just(&b""[..]), Just(&b"PROXY "[..]), Just(&b"PROXY TCP4 "[..]),
            Just(&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x40"[..]),
            Just(&b"\r\n\r\n\0\r\nQUIT\n\x21\x31\x01\x10"[..]),
        ],
    ) {
        bytes.splice(0..0, begin.iter().copied());
        match parse(&bytes) {
            Ok(Progress::Complete { consumed_bytes, .. }) => {
                prop_assert!((1..=bytes.len()).contains(&consumed_bytes));
            }
            Ok(Progress::Incomplete { missing_bytes }) => {
                prop_assert!(missing_bytes > 0);
                prop_assert!(bytes.len() + missing_bytes <= MAX_HEADER_BYTES);
            }
            Err(_) => {}
        }
    }
}
