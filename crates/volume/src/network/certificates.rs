//! Builds the TLS configuration of a volume from its certificate and the CAs of its clients, in
//! PEM. The files are checked when the configuration is loaded, and sent to the role along with the
//! volume.

use configuration::outside::Secret;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

pub const FILE_BYTES_MAX: u64 = 1 << 20;
const CERTIFICATES_MAX: usize = 1000;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Certificates {
    pub own: Pem,
    pub authorities: Pem,
}

/// Content of a PEM file. It may contain a key, so it is wiped when dropped, and never displayed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pem(pub Secret);

/// Reason why certificates are invalid. The caller knows the file.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("it has no certificate (`BEGIN CERTIFICATE`)")]
    NoCertificate,
    #[error("it has no private key, or one with a passphrase, which is not supported")]
    NoKey,
    #[error("it has more than {CERTIFICATES_MAX} certificates")]
    TooMany,
    #[error("it is not PEM: {0}")]
    Pem(pem::Error),
    #[error("{0}")]
    Unfit(#[from] rustls::Error),
    #[error("it has no CA certificate: {0}")]
    NoAuthority(#[from] rustls::server::VerifierBuilderError),
}

/// Identifies the file of the volume's own certificate, or the file of the CAs of its clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CertificateFile {
    Own,
    Authorities,
}

impl Certificates {
    /// Builds the TLS configuration: TLS 1.2 and 1.3, and client certificates of one of the CAs
    /// are required.
    ///
    /// # Errors
    /// A file is invalid; the error names the file.
    pub fn server(&self) -> Result<Arc<ServerConfig>, (CertificateFile, CertificateError)> {
        let of_authorities = |error| (CertificateFile::Authorities, error);
        let of_own = |error| (CertificateFile::Own, error);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authorities).map_err(of_authorities)? {
            let added = roots.add(certificate);
            added.map_err(|error| of_authorities(error.into()))?;
        }
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build();
        let clients = clients.map_err(|error| of_authorities(error.into()))?;
        let chain = certificates(&self.own).map_err(of_own)?;
        if chain.is_empty() {
            return Err(of_own(CertificateError::NoCertificate));
        }
        let key = PrivateKeyDer::from_pem_slice(self.own.0.bytes()).map_err(|error| {
            of_own(match error {
                pem::Error::NoItemsFound => CertificateError::NoKey,
                error => CertificateError::Pem(error),
            })
        })?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_client_cert_verifier(clients))
            .and_then(|builder| builder.with_single_cert(chain, key));
        let mut config = config.map_err(|error| of_own(error.into()))?;
        // Disables resumption, so that each connection verifies the client against the currently
        // loaded CAs.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let mut all = Vec::new();
    for one in CertificateDer::pem_slice_iter(pem.0.bytes()) {
        all.push(one.map_err(CertificateError::Pem)?);
        if all.len() > CERTIFICATES_MAX {
            return Err(CertificateError::TooMany);
        }
    }
    Ok(all)
}

impl Serialize for Pem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.bytes())
    }
}

impl<'de> Deserialize<'de> for Pem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pem, D::Error> {
        deserializer.deserialize_bytes(Bytes)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Pem;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a file")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Pem, E> {
        if bytes.len() as u64 > FILE_BYTES_MAX {
            Err(E::custom("a file of certificates that is too large"))
        } else {
            Ok(Pem(Secret::copy(bytes)))
        }
    }
}
