//! Tests which OCSP responses are accepted for a certificate.

use super::*;
use crate::certificate::Certificate;
use crate::testing::{FAR, answer};
use lab::pki::{Authority, Leaf};

fn key_bits(spki: &[u8]) -> &[u8] {
    let mut inside = Der(spki).take(SEQUENCE).unwrap().inside();
    inside.take(SEQUENCE);
    inside.next().unwrap().bits().unwrap()
}

#[test]
fn ocsp_response_is_valid_only_for_its_certificate_and_time() {
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
    assert_eq!(found.status, OcspStatus::Good);
    assert_eq!((found.this_update_s, &found.id), (1_704_067_200, &id));
    assert_eq!(Response::id_of(&good), Ok(id.clone()));
    let revoked = Response::parse(&answer(&id, 1, Some(FAR)), &about, now).unwrap();
    assert_eq!(revoked.status, OcspStatus::Revoked);
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
