//! Answers that fit, and those that do not.

use super::*;
use crate::tls::certificate::Certificate;
use lab::pki::{Authority, Leaf};

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut whole = vec![tag];
    match content.len() {
        length @ 0..=0x7f => whole.push(length as u8),
        length => whole.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    whole.extend(content);
    whole
}

/// An answer as a responder gives it, less a signature that anybody verifies.
pub(crate) fn answer(id: &[u8], status: u8, next_update: Option<&str>) -> Vec<u8> {
    let time = |text: &str| value(GENERALIZED_TIME, text.as_bytes());
    let mut single = [id, &[0x80 | status, 0], &time("20240101000000Z")].concat();
    if let Some(next) = next_update {
        single.extend(value(CONTEXT_0, &time(next)));
    }
    let responder = value(0xa2, &value(OCTET_STRING, &[7; 20]));
    let list = value(SEQUENCE, &value(SEQUENCE, &single));
    let data = [responder, time("20240101000000Z"), list].concat();
    let data = value(SEQUENCE, &data);
    let basic = value(SEQUENCE, &data);
    let bytes = [value(OID, BASIC), value(OCTET_STRING, &basic)].concat();
    let bytes = value(CONTEXT_0, &value(SEQUENCE, &bytes));
    value(SEQUENCE, &[vec![ENUMERATED, 1, 0], bytes].concat())
}

/// The time until which a test's answers hold.
pub(crate) const FAR: &str = "20990101000000Z";

fn key_bits(spki: &[u8]) -> &[u8] {
    let mut inside = Der(spki).take(SEQUENCE).unwrap().inside();
    inside.take(SEQUENCE);
    inside.next().unwrap().bits().unwrap()
}

#[test]
fn an_answer_is_taken_only_for_its_certificate_and_its_time() {
    let authority = Authority::new("CA").unwrap();
    let issued = authority.issue(&Leaf::default()).unwrap();
    let leaf = Certificate::parse(&issued.der).unwrap();
    let issuer = Certificate::parse(authority.der()).unwrap();
    let about = Subject {
        serial: &leaf.serial,
        issuer_content: &issuer.subject,
        issuer_key: key_bits(&issuer.key),
    };
    let id = certificate_id(&about);
    let good = answer(&id, 0, Some(FAR));
    let now = 1_800_000_000;
    let found = Response::parse(&good, &about, now).unwrap();
    assert_eq!(found.status, Status::Good);
    assert_eq!((found.this_update_s, &found.id), (1_704_067_200, &id));
    assert_eq!(Response::id_of(&good), Ok(id.clone()));
    let revoked = Response::parse(&answer(&id, 1, Some(FAR)), &about, now).unwrap();
    assert_eq!(revoked.status, Status::Revoked);
    let error = |der: &[u8], now| Response::parse(der, &about, now).unwrap_err();
    assert_eq!(error(&answer(&id, 2, Some(FAR)), now), OcspError::Unknown);
    assert_eq!(error(&answer(&id, 0, None), now), OcspError::NoNextUpdate);
    assert_eq!(error(&good, i64::MAX), OcspError::Expired);
    let other = Subject {
        serial: b"\x01",
        ..about
    };
    let other = answer(&certificate_id(&other), 0, Some(FAR));
    assert_eq!(error(&other, now), OcspError::OtherCertificate);
    assert_eq!(error(b"\x30\x03\x0a\x01\x06", now), OcspError::Status);
    for cut in 0..good.len() {
        assert!(Response::parse(&good[..cut], &about, now).is_err(), "{cut}");
    }
}
