//! Provides the TLS certificate of the console: read from a file, or self-signed.

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// Years of validity of a self-signed certificate, first and last. The period is long, so that a
/// user has to accept the certificate only once in a browser.
const YEARS: [i32; 2] = [2020, 2100];

/// Reads a certificate with its issuers and its private key from PEM.
///
/// # Errors
/// Describes what is wrong with the PEM text.
pub fn read(pem: &[u8]) -> Result<Arc<ServerConfig>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| format!("a certificate in it is malformed: {error}"))?;
    if chain.is_empty() {
        return Err("it has no certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(pem);
    let key = key.map_err(|_| "it has no private key that can be read".to_owned())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = config
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                "its private key is not that of its first certificate".to_owned()
            }
            error => error.to_string(),
        });
    let mut config = config?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Makes a self-signed certificate for these names and addresses. Returns it with its key as PEM.
///
/// # Errors
/// The error message of the certificate library.
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
