//! Creates the self-signed TLS certificate of the console, and computes fingerprints of
//! certificates.

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// First and last year of a self-signed certificate. The period is long, so that a user has to
/// accept the certificate only once in a browser.
const YEARS: [i32; 2] = [2020, 2100];

/// Creates a self-signed certificate for these names and addresses. Returns it with its key as PEM.
///
/// # Errors
/// A name is invalid, or the key or the certificate cannot be generated.
pub fn make(names: Vec<String>) -> Result<Vec<u8>, String> {
    let said = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::new(names).map_err(said)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "evenkeel console");
    params.not_before = rcgen::date_time_ymd(YEARS[0], 1, 1);
    params.not_after = rcgen::date_time_ymd(YEARS[1], 1, 1);
    let key = KeyPair::generate().map_err(said)?;
    let certificate = params.self_signed(&key).map_err(said)?;
    Ok((certificate.pem() + &key.serialize_pem()).into_bytes())
}

/// Returns the SHA-256 fingerprint of the first certificate, as browsers show it. Empty if there is
/// no certificate.
pub fn fingerprint(pem: &[u8]) -> String {
    let Some(Ok(first)) = CertificateDer::pem_slice_iter(pem).next() else {
        return String::new();
    };
    der_fingerprint(&first)
}

pub fn der_fingerprint(certificate: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    let pairs = digest.as_ref().iter().map(|byte| format!("{byte:02X}"));
    pairs.collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::access::certificate::read;

    #[test]
    fn one_that_is_made_can_be_read_and_others_are_refused() {
        let pem = make(vec!["alpha".to_owned(), "192.0.2.1".to_owned()]).unwrap();
        read(&pem).unwrap();
        assert_eq!(fingerprint(&pem).len(), 32 * 3 - 1);
        let text = String::from_utf8(pem.clone()).unwrap();
        let (certificate, key) = text.split_at(text.find("-----BEGIN PRIVATE").unwrap());
        assert!(read(certificate.as_bytes()).unwrap_err().contains("key"));
        assert!(read(key.as_bytes()).unwrap_err().contains("no certificate"));
        let other = make(vec!["beta".to_owned()]).unwrap();
        let other = String::from_utf8(other).unwrap();
        let (_, other) = other.split_at(other.find("-----BEGIN PRIVATE").unwrap());
        let mixed = certificate.to_owned() + other;
        assert!(read(mixed.as_bytes()).unwrap_err().contains("is not that"));
        assert_eq!(fingerprint(b""), "");
    }
}
