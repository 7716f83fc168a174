//! Selects the cryptographic provider of the process, and defines the errors of TLS
//! configurations built with it.

use super::groups;
use rustls::crypto::CryptoProvider;
use std::sync::{Arc, OnceLock};

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// TLS 1.2 is the only enabled version, and the configuration leaves none of its suites.
    #[error("no TLSv1.2 cipher suite is left")]
    NoCipher,
    /// TLS 1.3 is the only enabled version, and the configuration leaves none of its suites.
    #[error("no TLSv1.3 cipher suite is left")]
    NoCiphersuite,
    #[error("no curve is left")]
    NoGroup,
    #[error("verify is enabled but no CA file specified")]
    NoAuthorities,
    #[error("'{0}' is not a host name")]
    BadName(Box<str>),
    #[error("{0}")]
    Refused(#[from] rustls::Error),
}

/// Returns the cryptographic provider of the process, created once.
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
