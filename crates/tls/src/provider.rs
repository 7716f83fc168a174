//! The cryptography of the process, and why a configuration cannot be made with it.

use super::groups;
use rustls::crypto::CryptoProvider;
use std::sync::{Arc, OnceLock};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No suite of TLS 1.2 is left, and it is the only version.
    #[error("no TLSv1.2 cipher suite is left")]
    NoCipher,
    /// No suite of TLS 1.3 is left, and it is the only version.
    #[error("no TLSv1.3 cipher suite is left")]
    NoCiphersuite,
    /// No group is left.
    #[error("no curve is left")]
    NoGroup,
    /// Certificates are to be verified, and nobody is to be believed.
    #[error("verify is enabled but no CA file specified")]
    NoAuthorities,
    /// A host's name that none can have.
    #[error("'{0}' is not a host name")]
    BadName(Box<str>),
    /// rustls refuses the rest.
    #[error("{0}")]
    Refused(#[from] rustls::Error),
}

/// The cryptography of the process, made once.
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        let mut made = rustls::crypto::aws_lc_rs::default_provider();
        made.kx_groups = groups::DEFAULT
            .iter()
            .filter_map(|group| groups::implementation(*group))
            .collect();
        Arc::new(made)
    })
}
