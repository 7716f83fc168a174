//! Helps tests, also of other crates: builds OCSP responses and ClientHellos, and reads the
//! presented certificate.

use crate::acceptor::Acceptor;
use crate::der::{GENERALIZED_TIME, OCTET_STRING, OID, SEQUENCE};
use crate::ocsp::{BASIC, CONTEXT_0, ENUMERATED};
use crate::sni::CertificateCriteria;
use rustls::SignatureScheme;

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut whole = vec![tag];
    match content.len() {
        length @ 0..=0x7f => whole.push(length as u8),
        length => whole.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    whole.extend(content);
    whole
}

/// Makes an OCSP response as a responder sends it, with an invalid signature.
pub fn answer(id: &[u8], status: u8, next_update: Option<&str>) -> Vec<u8> {
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

/// End of the validity of the responses in tests.
pub const FAR: &str = "20990101000000Z";

pub(crate) const SCHEMES: &[SignatureScheme] = &[
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::RSA_PSS_SHA256,
];

/// Returns the first host name of the certificate that a client with this SNI gets.
pub fn shown(acceptor: &Acceptor, name: &str) -> Option<String> {
    let offer = CertificateCriteria {
        server_name: (!name.is_empty()).then_some(name.as_bytes()),
        schemes: SCHEMES,
        suites: &[],
        tls13: true,
    };
    let chosen = acceptor.choose(&offer).ok()?;
    let first = chosen.certified.names.first().cloned().unwrap_or_default();
    Some(String::from_utf8_lossy(&first).into_owned())
}

pub fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [
        &kind.to_be_bytes()[..],
        &(content.len() as u16).to_be_bytes(),
        content,
    ]
    .concat()
}
