//! Tests the encryption of TLS records with the examples of RFC 8448, and with malformed records.

use super::*;
use rustls::crypto::cipher::{AeadKey, Iv};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn key(hex: &str) -> AeadKey {
    let mut key = [0; 32];
    let given = bytes(hex);
    key[..given.len()].copy_from_slice(&given);
    AeadKey::from(key)
}

fn aes_128(is_13: bool, sequence: u64, key_hex: &str, iv: &str) -> Protection {
    let iv: [u8; 12] = bytes(iv).try_into().unwrap();
    let (key, iv) = (key(key_hex), Iv::from(iv));
    let secrets = ConnectionTrafficSecrets::Aes128Gcm { key, iv };
    Protection::new(is_13, (sequence, secrets)).unwrap()
}

fn chacha(is_13: bool, sequence: u64) -> Protection {
    let secrets = ConnectionTrafficSecrets::Chacha20Poly1305 {
        key: AeadKey::from([7; 32]),
        iv: Iv::from([9; 12]),
    };
    Protection::new(is_13, (sequence, secrets)).unwrap()
}

/// Keys of the client's application data (RFC 8448, 3).
fn client(sequence: u64) -> Protection {
    let key = "17422dda596ed5d9acd890e3c63f5051";
    aes_128(true, sequence, key, "5b78923dee08579033e523d9")
}

fn server(sequence: u64) -> Protection {
    let key = "9f02283b6c9c07efc26bb9f2ac92e356";
    aes_128(true, sequence, key, "cf782b88dd83549aadf1e984")
}

fn seal(with: &mut Protection, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![0; content.len() + with.overhead()];
    let pieces = [IoSlice::new(content)];
    let n = with.seal(kind, &mut Pieces::new(&pieces), content.len(), &mut out);
    assert_eq!(n, Ok(out.len()));
    out
}

fn open(with: &mut Protection, record: &[u8]) -> Result<(u8, Vec<u8>), RecordError> {
    let mut record = record.to_vec();
    let header = with.header(&record)?.expect("a whole record");
    let (kind, content, total) = with.open(header, &mut record)?;
    assert_eq!(total, record.len());
    Ok((kind, record[content].to_vec()))
}

/// Makes a record of TLS 1.3 with any inner plaintext, including padding and content type.
fn sealed_inner(with: &mut Protection, inner: &[u8]) -> Vec<u8> {
    let total = HEADER + inner.len() + TAG;
    let mut record = vec![kind::DATA, 3, 3];
    record.extend(((total - HEADER) as u16).to_be_bytes());
    record.extend(inner);
    let nonce = Nonce::assume_unique_for_key(with.nonce(with.sequence));
    let (head, content) = record.split_at_mut(HEADER);
    let aad = Aad::from(&*head);
    let tag = with.key.seal_in_place_separate_tag(nonce, aad, content);
    record.extend(tag.unwrap().as_ref());
    with.sequence += 1;
    record
}

#[test]
fn records_are_those_of_the_examples_of_rfc_8448() {
    let payload: Vec<u8> = (0..50).collect();
    let data = bytes(
        "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66
         bc ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70
         14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4",
    );
    let goodbye = bytes("17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3");
    let mut sealer = client(0);
    assert_eq!(seal(&mut sealer, kind::DATA, &payload), data);
    assert_eq!(seal(&mut sealer, kind::ALERT, &[1, 0]), goodbye);
    let mut opener = client(0);
    assert_eq!(open(&mut opener, &data), Ok((kind::DATA, payload.clone())));
    assert_eq!(open(&mut opener, &goodbye), Ok((kind::ALERT, vec![1, 0])));
    // The server's first record contained a ticket.
    let data = bytes(
        "17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82
         aa 1b 36 e3 0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00
         47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d",
    );
    assert_eq!(seal(&mut server(1), kind::DATA, &payload), data);
    let goodbye = bytes("17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9");
    assert_eq!(
        open(&mut server(2), &goodbye),
        Ok((kind::ALERT, vec![1, 0]))
    );
}

#[test]
fn a_record_counts_once_and_in_its_place() {
    for make in [
        |n| client(n),
        |n| chacha(true, n),
        |n| chacha(false, n),
        |n| aes_128(false, n, "00", "000000000000000000000000"),
    ] {
        let mut sealer = make(0);
        let first = seal(&mut sealer, kind::DATA, b"one");
        let second = seal(&mut sealer, kind::DATA, b"two");
        assert_eq!(sealer.sequence, 2);
        let mut opener = make(0);
        assert_eq!(open(&mut opener, &second), Err(RecordError::BadMac));
        assert_eq!(open(&mut opener, &first), Ok((kind::DATA, b"one".to_vec())));
        assert_eq!(open(&mut opener, &first), Err(RecordError::BadMac));
        // Every byte of the record is authenticated, including the header.
        for at in 0..second.len() {
            let mut broken = second.clone();
            broken[at] ^= 0x10;
            let Ok(Some(header)) = opener.header(&broken) else {
                continue;
            };
            assert!(opener.open(header, &mut broken).is_err(), "byte {at}");
        }
        assert_eq!(opener.sequence, 1);
        assert_eq!(
            open(&mut opener, &second),
            Ok((kind::DATA, b"two".to_vec()))
        );
    }
}

#[test]
fn sequence_number_is_never_reused_even_at_the_maximum() {
    let mut sealer = chacha(true, u64::MAX);
    let pieces = [IoSlice::new(b"x")];
    let mut out = [0; 64];
    let sealed = sealer.seal(kind::DATA, &mut Pieces::new(&pieces), 1, &mut out);
    assert_eq!(sealed, Err(RecordError::Internal));
    assert_eq!(out[HEADER..], [0; 64 - HEADER]);
    let mut record = seal(&mut chacha(true, 0), kind::DATA, b"x");
    let mut opener = chacha(true, u64::MAX);
    let header = opener.header(&record).unwrap().unwrap();
    assert_eq!(opener.open(header, &mut record), Err(RecordError::Internal));
    assert!(client(RECORDS_MAX).is_key_exhausted() && !client(RECORDS_MAX - 1).is_key_exhausted());
    assert!(!chacha(false, RECORDS_MAX).is_key_exhausted());
    assert!(aes_128(false, RECORDS_MAX, "00", "000000000000000000000000").is_key_exhausted());
}

#[test]
fn padding_is_removed_and_counts_for_the_length() {
    let mut inner = b"hello".to_vec();
    inner.push(kind::DATA);
    inner.extend([0; 300]);
    let record = sealed_inner(&mut client(0), &inner);
    assert_eq!(
        open(&mut client(0), &record),
        Ok((kind::DATA, b"hello".to_vec()))
    );
    // A record of the maximum length, and one with another byte.
    let mut inner = vec![5; CONTENT_MAX];
    inner.push(kind::DATA);
    let record = sealed_inner(&mut client(0), &inner);
    assert_eq!(
        open(&mut client(0), &record).map(|(_, content)| content.len()),
        Ok(CONTENT_MAX)
    );
    inner.push(0);
    let record = sealed_inner(&mut client(0), &inner);
    assert_eq!(open(&mut client(0), &record), Err(RecordError::Overflow));
    // A record with padding only, and an empty one.
    for inner in [&[0; 9][..], &[]] {
        let record = sealed_inner(&mut client(0), inner);
        assert_eq!(open(&mut client(0), &record), Err(RecordError::Unexpected));
    }
}

#[test]
fn records_in_clear_or_of_a_wrong_form_are_refused() {
    // TLS 1.3: an unencrypted alert, handshake message and ChangeCipherSpec.
    for kind in [kind::ALERT, kind::HANDSHAKE, kind::CHANGE_CIPHER, 24] {
        let record = [&[kind, 3, 3, 0, 32][..], &[0; 32]].concat();
        assert_eq!(open(&mut client(0), &record), Err(RecordError::Unexpected));
    }
    let short = [kind::DATA, 3, 3, 0, 3, 1, 2, 3];
    let old = || aes_128(false, 0, "00", "000000000000000000000000");
    assert_eq!(open(&mut client(0), &short), Err(RecordError::BadMac));
    assert_eq!(open(&mut old(), &short), Err(RecordError::BadMac));
    let alert_in_clear = [kind::ALERT, 3, 3, 0, 2, 1, 0];
    assert_eq!(open(&mut old(), &alert_in_clear), Err(RecordError::BadMac));
    let long = |over: usize| {
        let length = (CONTENT_MAX + over) as u16;
        [&[kind::DATA, 3, 3][..], &length.to_be_bytes()].concat()
    };
    assert_eq!(client(0).header(&long(256)), Ok(None));
    assert_eq!(client(0).header(&long(257)), Err(RecordError::Overflow));
    assert_eq!(old().header(&long(2048)), Ok(None));
    assert_eq!(old().header(&long(2049)), Err(RecordError::Overflow));
    assert_eq!(
        client(0).header(&[kind::DATA, 2, 3, 0, 1]),
        Err(RecordError::Decode)
    );
    assert_eq!(client(0).header(&[kind::DATA, 3, 3, 0]), Ok(None));
    // In TLS 1.2 every record carries the version.
    let mut record = seal(&mut old(), kind::DATA, b"x");
    record[2] = 1;
    assert_eq!(open(&mut old(), &record), Err(RecordError::Decode));
}

#[test]
fn tls_1_2_sends_half_of_the_nonce_and_accepts_any() {
    let old = |n| aes_128(false, n, "00", "0102030405060708090a0b0c");
    let (one, two) = (
        seal(&mut old(0), kind::DATA, b"x"),
        seal(&mut old(1), kind::DATA, b"x"),
    );
    assert_ne!(
        one[HEADER..HEADER + EXPLICIT],
        two[HEADER..HEADER + EXPLICIT]
    );
    assert_eq!(one.len(), HEADER + EXPLICIT + 1 + TAG);
    // A peer may choose its part of the nonce freely (RFC 5288, 3).
    let mut other = old(0);
    other.iv[4..].copy_from_slice(&[0xff; 8]);
    let record = seal(&mut other, kind::DATA, b"x");
    assert_eq!(open(&mut old(0), &record), Ok((kind::DATA, b"x".to_vec())));
}

proptest::proptest! {
    #[test]
    fn no_bytes_break_the_opening(kind in 0_u8..=255, content in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let record = [&[kind, 3, 3][..], &(content.len() as u16).to_be_bytes(), &content].concat();
        for mut one in [client(0), chacha(false, 0), aes_128(false, 0, "00", "000000000000000000000000")] {
            proptest::prop_assert!(open(&mut one, &record).is_err());
        }
    }

    #[test]
    fn pieces_are_sealed_as_one(lengths in proptest::collection::vec(0_usize..40, 0..6), each in 1_usize..60) {
        let all: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(n, l)| vec![n as u8; *l]).collect();
        let slices: Vec<IoSlice<'_>> = all.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut pieces = Pieces::new(&slices);
        let (mut sealer, mut opener) = (client(0), client(0));
        let mut got = Vec::new();
        while pieces.len() > 0 {
            let length = pieces.len().min(each);
            let mut out = vec![0; length + sealer.overhead()];
            sealer.seal(kind::DATA, &mut pieces, length, &mut out).unwrap();
            got.extend(open(&mut opener, &out).unwrap().1);
        }
        proptest::prop_assert_eq!(got, all.concat());
    }
}
