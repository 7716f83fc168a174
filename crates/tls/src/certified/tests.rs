//! Tests that certificate, chain, key and OCSP response are checked for consistency.

use super::*;
use crate::testing::{FAR, answer};
use lab::pki::{Authority, Issued, Leaf, self_signed};

/// Makes a certificate from one file.
pub(crate) fn certified(issued: &Issued) -> Certified {
    let mut parts = Parts::default();
    parts.take(issued.bundle().as_bytes()).unwrap();
    parts.certify().unwrap().0
}

fn named<'a>(names: &'a [&'a str], key: lab::pki::KeyKind) -> Issued {
    self_signed(&Leaf {
        names,
        key,
        ..Leaf::default()
    })
    .unwrap()
}

#[test]
fn keys_of_every_kind_fit_their_certificates_alone() {
    use lab::pki::KeyKind as K;
    let kinds = [
        (K::Ecdsa, KeyKind::Ecdsa),
        (K::EcdsaP384, KeyKind::Ecdsa),
        (K::Rsa2048, KeyKind::Rsa),
        (K::Ed25519, KeyKind::Ed25519),
    ];
    for (of, kind) in kinds {
        let issued = named(&["a.example.com"], of);
        assert_eq!(certified(&issued).kind, kind);
        let other = named(&["a.example.com"], K::EcdsaP384);
        let mut parts = Parts::default();
        let text = [issued.certificate_pem.as_str(), &other.key_pem].concat();
        parts.take(text.as_bytes()).unwrap();
        assert_eq!(parts.certify().unwrap_err(), CertError::Mismatch);
    }
}

#[test]
fn missing_or_broken_part_is_named() {
    let issued = named(&["a"], Default::default());
    let error = |text: &str| {
        let mut parts = Parts::default();
        parts.take(text.as_bytes()).unwrap();
        parts.certify().unwrap_err()
    };
    assert_eq!(error(""), CertError::NoCertificate);
    assert_eq!(error(&issued.key_pem), CertError::NoCertificate);
    assert_eq!(error(&issued.certificate_pem), CertError::NoKey);
    let broken = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
    assert_eq!(error(broken), CertError::BadCertificate(1));
    let second = format!("{}{broken}", issued.bundle());
    assert_eq!(error(&second), CertError::BadCertificate(2));
}

#[test]
fn its_names_are_those_of_hosts_in_lower_case_and_the_common_name() {
    let issued = self_signed(&Leaf {
        names: &["WWW.Example.com", "*.example.org", "192.0.2.1"],
        subject: &[("O", "x"), ("CN", "Old.example.com")],
        ..Leaf::default()
    })
    .unwrap();
    let names: Vec<String> = certified(&issued)
        .names
        .iter()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    assert_eq!(
        names,
        ["www.example.com", "*.example.org", "old.example.com"]
    );
}

#[test]
fn ocsp_response_is_stapled_while_it_is_valid() {
    let authority = Authority::new("CA").unwrap();
    let issued = authority.issue(&Leaf::default()).unwrap();
    let mut parts = Parts::default();
    parts.take(issued.bundle().as_bytes()).unwrap();
    parts.ocsp = Some(b"junk".to_vec());
    let error = parts.clone().certify().unwrap_err();
    assert_eq!(error, CertError::OcspWithoutIssuer);
    parts
        .take_issuer(authority.certificate_pem().as_bytes())
        .unwrap();
    let (plain, told) = parts.clone().certify().unwrap();
    assert_eq!(told, Some(OcspError::Unparsable));
    assert!(plain.certificate_to_present(0).ocsp.is_none());
    let der = answer(plain.ocsp_id.as_ref().unwrap(), 0, Some(FAR));
    let stapled = plain.with_ocsp(&der).unwrap();
    assert_eq!(
        stapled.certificate_to_present(now_s()).ocsp.as_deref(),
        Some(&der[..])
    );
    assert!(stapled.certificate_to_present(i64::MAX).ocsp.is_none());
    assert_eq!(stapled.parts().ocsp, Some(der));
    let other = self_signed(&Leaf::default()).unwrap();
    let error = parts.take_issuer(other.certificate_pem.as_bytes());
    assert_eq!(error, Err(CertError::NotIssuer));
}
