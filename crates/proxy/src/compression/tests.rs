//! Tests the choice of the compression algorithm, which messages may be compressed, and the
//! compressed output.

use super::*;
use flate2::{Decompress, FlushDecompress};
use http::http1::{Limits as HeadLimits, ParseStatus, RequestFacts, parse_request, parse_response};
use model::state::compression::{ENCODER_BYTES, Limits};
use std::sync::Arc;

fn request(lines: &str) -> HttpMessage {
    let text = format!("GET / HTTP/1.1\r\nhost: x\r\n{lines}\r\n");
    let mut message = HttpMessage::new();
    let outcome = parse_request(text.as_bytes(), &HeadLimits::default(), &mut message);
    assert!(matches!(outcome, Ok(ParseStatus::Done(_))));
    message
}

fn answer(lines: &str) -> HttpMessage {
    let text = format!("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n{lines}\r\n");
    let mut message = HttpMessage::new();
    let facts = RequestFacts::of(&request(""), None);
    let limits = HeadLimits::default();
    let outcome = parse_response(text.as_bytes(), &facts, &limits, &mut message);
    assert!(matches!(outcome, Ok(ParseStatus::Done(_))));
    message
}

#[test]
fn preferred_coding_of_the_client_is_chosen() {
    use Algorithm::{Deflate, Gzip, Identity, RawDeflate};
    for (accepts, offered, want) in [
        ("gzip", &[Gzip][..], Some(Gzip)),
        ("GZIP", &[Gzip], Some(Gzip)),
        ("x-gzip", &[Gzip], None),
        ("br, zstd", &[Gzip], None),
        ("*", &[Gzip, Deflate], Some(Gzip)),
        ("gzip;q=0", &[Gzip], None),
        ("gzip ; q=0.0", &[Gzip], None),
        ("*;q=0, gzip;q=0.5", &[Gzip], Some(Gzip)),
        ("deflate, gzip", &[Gzip, Deflate], Some(Deflate)),
        ("gzip;q=0.5, deflate", &[Gzip, Deflate], Some(Deflate)),
        ("gzip;q=0.5, deflate;q=0.4", &[Gzip, Deflate], Some(Gzip)),
        ("identity, gzip;q=0.1", &[Gzip], Some(Gzip)),
        ("deflate", &[RawDeflate], Some(RawDeflate)),
        ("", &[Identity], Some(Identity)),
        ("gzip", &[Identity, Gzip], Some(Gzip)),
        ("gzip;q=x", &[Gzip], None),
        ("gzip;q=9", &[Gzip], None),
    ] {
        let head = request(&format!("accept-encoding: {accepts}\r\n"));
        assert_eq!(choose(&head, offered), want, "{accepts}");
    }
    let two = request("accept-encoding: br\r\naccept-encoding: gzip\r\n");
    assert_eq!(choose(&two, &[Gzip]), Some(Gzip));
    let mut old = request("accept-encoding: gzip\r\n");
    old.set_version(HttpVersion::Http10);
    assert_eq!(choose(&old, &[Gzip]), None);
    let many = request(&format!(
        "accept-encoding: {}gzip\r\n",
        "a,".repeat(CODINGS_MAX)
    ));
    assert_eq!(choose(&many, &[Gzip]), None, "bounded work");
}

#[test]
fn browsers_with_broken_support_get_no_compression() {
    for (agent, old) in [
        ("Mozilla/4.0 (compatible; MSIE 6.0)", true),
        ("Mozilla/4.0 (compatible; MSIE 5.5)", true),
        ("Mozilla/4.08", true),
        (
            "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)",
            false,
        ),
        ("Mozilla/4.0 (compatible; MSIE 7.0)", false),
        ("Mozilla/4.0 (compatible; MSIE 10.0)", false),
        ("Mozilla/5.0 (X11)", false),
        ("curl/8", false),
    ] {
        assert_eq!(is_old_explorer(agent.as_bytes()), old, "{agent}");
    }
}

#[test]
fn no_transform_prevents_compression() {
    let all = Compressed {
        algorithms: vec![Algorithm::Gzip],
        types: Vec::new(),
        size_min: 5,
    };
    let text = Compressed {
        types: vec![b"text/html"[..].into()],
        ..all.clone()
    };
    let length = BodyLength::Length(9);
    for (lines, of_all, of_text) in [
        ("", true, false),
        ("content-type: text/html\r\n", true, true),
        ("content-type: TEXT/HTML; charset=x\r\n", true, true),
        ("content-type: image/png\r\n", true, false),
        ("content-type: multipart/form-data\r\n", false, false),
        ("content-encoding: br\r\n", false, false),
        ("cache-control: public, No-Transform\r\n", false, false),
        ("cache-control: no-transformer\r\n", true, false),
    ] {
        let head = answer(lines);
        assert_eq!(is_compressible(&head, &all, &length), of_all, "{lines}");
        assert_eq!(is_compressible(&head, &text, &length), of_text, "{lines}");
    }
    for (length, want) in [
        (BodyLength::Length(4), false),
        (BodyLength::Chunked, true),
        (BodyLength::Stream, true),
        (BodyLength::UntilClose, false),
        (BodyLength::None, false),
        (BodyLength::Tunnel, false),
    ] {
        assert_eq!(
            is_compressible(&answer(""), &all, &length),
            want,
            "{length:?}"
        );
    }
}

#[test]
fn a_strong_tag_becomes_weak_and_a_strange_one_stops_compression() {
    for (lines, valid, weak) in [
        ("", true, None),
        ("etag: \"a\"\r\n", true, Some("W/\"a\"")),
        ("etag: W/\"a\"\r\n", true, Some("W/\"a\"")),
        ("etag: abc\r\n", false, None),
        ("etag: \"\r\n", false, None),
        ("etag: \"a\"\r\netag: \"b\"\r\n", false, None),
    ] {
        let mut head = answer(lines);
        assert_eq!(has_one_valid_etag(&head), valid, "{lines}");
        if valid {
            weaken_etag(&mut head);
            assert_eq!(head.get(b"etag"), weak.map(str::as_bytes), "{lines}");
        }
    }
}

fn decoded(algorithm: Algorithm, bytes: &[u8], length: usize) -> Vec<u8> {
    let mut decoder = match algorithm {
        Algorithm::Gzip => Decompress::new_gzip(15),
        Algorithm::Deflate => Decompress::new(true),
        _ => Decompress::new(false),
    };
    let mut out = Vec::with_capacity(length + 1);
    decoder
        .decompress_vec(bytes, &mut out, FlushDecompress::Sync)
        .unwrap();
    out
}

#[test]
fn every_algorithm_round_trips_and_flush_delivers_all() {
    let (limits, client) = (Arc::new(Limits::default()), OfClient::default());
    let noise: Vec<u8> = (0..200_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for algorithm in [Algorithm::Gzip, Algorithm::Deflate, Algorithm::RawDeflate] {
        let mut encoder = Encoder::new(algorithm, 1, &limits, &client).unwrap();
        let mut wire = encoder.feed(b"hello ", Flush::All, 0).unwrap();
        assert_eq!(decoded(algorithm, &wire, 100), b"hello ", "{algorithm:?}");
        wire.extend(encoder.feed(&noise, Flush::No, 0).unwrap());
        wire.extend(encoder.feed(b"", Flush::No, 0).unwrap());
        wire.extend(encoder.feed(b"end", Flush::End, 0).unwrap());
        assert!(
            encoder.feed(b"", Flush::End, 0).unwrap().is_empty(),
            "ended"
        );
        let whole = [b"hello ", &noise[..], b"end"].concat();
        assert!(
            decoded(algorithm, &wire, whole.len()) == whole,
            "{algorithm:?}"
        );
    }
    let mut identity = Encoder::new(Algorithm::Identity, 1, &limits, &client).unwrap();
    assert_eq!(
        identity.feed(b"as it is", Flush::End, 0),
        Ok(b"as it is".to_vec())
    );
}

#[test]
fn aborted_body_does_not_affect_the_next() {
    let client = OfClient::default();
    let limits = Arc::new(Limits::of_memory(usize::MAX));
    // Incompressible data: the output is about as long as the input.
    let noise: Vec<u8> = (0..400_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761).wrapping_add(n >> 3) >> 13) as u8)
        .collect();
    for level in [1, 6, 9] {
        for length in (1..noise.len()).step_by(39_989) {
            let new = || Encoder::new(Algorithm::Gzip, level, &limits, &client).unwrap();
            let mut aborted = new();
            for flush in [Flush::No, Flush::All, Flush::No] {
                aborted.feed(&noise[..length], flush, 0).unwrap();
            }
            drop(aborted);
            let mut next = new();
            let mut wire = next.feed(&noise, Flush::No, 0).unwrap();
            wire.extend(next.feed(b"end", Flush::End, 0).unwrap());
            let whole = [&noise[..], b"end"].concat();
            assert!(
                decoded(Algorithm::Gzip, &wire, whole.len()) == whole,
                "level {level}, aborted at {length}"
            );
        }
    }
}

#[test]
fn parked_compressor_holds_no_state_and_resumes() {
    let client = OfClient::default();
    let noise: Vec<u8> = (0..300_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 26) as u8)
        .collect();
    for algorithm in [Algorithm::Gzip, Algorithm::Deflate, Algorithm::RawDeflate] {
        for flush in [Flush::No, Flush::All] {
            let limits = Arc::new(Limits::of_memory(ENCODER_BYTES));
            let mut encoder = Encoder::new(algorithm, 1, &limits, &client).unwrap();
            let mut wire = Vec::new();
            for piece in noise.chunks(70_000) {
                wire.extend(encoder.feed(piece, flush, 0).unwrap());
                encoder.park();
                encoder.park();
                assert!(encoder.is_parked());
                assert_eq!(client.get(), 0);
            }
            // Another encoder uses the memory, so the rest is stored without compression, and can
            // still be decoded.
            let other = Encoder::new(algorithm, 1, &limits, &client).unwrap();
            assert!(Encoder::new(algorithm, 1, &limits, &client).is_none());
            wire.extend(encoder.feed(&noise, flush, 0).unwrap());
            assert!(encoder.is_parked() && !other.is_parked());
            wire.extend(encoder.feed(b"end", Flush::End, 0).unwrap());
            let whole = [&noise[..], &noise, b"end"].concat();
            assert!(
                decoded(algorithm, &wire, whole.len()) == whole,
                "{algorithm:?} {flush:?}"
            );
        }
    }
    assert_eq!(client.get(), 0);
}

#[test]
fn vary_names_accept_encoding_once_behind_what_it_had() {
    let of = |lines: &[&str]| {
        let mut fields = Fields::new();
        for line in lines {
            fields.add(b"vary", line.as_bytes()).unwrap();
        }
        vary(&mut fields);
        let all: Vec<String> = fields
            .get_all(b"vary")
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        all.join("|")
    };
    assert_eq!(of(&[]), "Accept-Encoding");
    assert_eq!(of(&[""]), "Accept-Encoding");
    assert_eq!(of(&["Other"]), "Other,Accept-Encoding");
    assert_eq!(of(&["accept-encoding,Other"]), "accept-encoding,Other");
    assert_eq!(
        of(&["Other", "X, Accept-Encoding"]),
        "Other|X, Accept-Encoding"
    );
}
