//! Reads the certificate of a listening address, with its private key.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// Builds the TLS configuration of a server from a certificate, its issuers and its private key in
/// PEM.
///
/// # Errors
/// Returns what is wrong with the certificate, as a message.
pub fn read(pem: &[u8]) -> Result<ServerConfig, String> {
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
    let config = config.with_no_client_auth().with_single_cert(chain, key);
    config.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            "its private key is not that of its first certificate".to_owned()
        }
        error => error.to_string(),
    })
}
