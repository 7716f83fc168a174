//! The cryptography of the process, and why a configuration cannot be made with it.

use super::groups;
use rustls::crypto::CryptoProvider;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Why there is no configuration.
#[derive(Debug)]
pub enum BuildError {
    /// No suite of TLS 1.2 is left, and it is the only version.
    NoCipher,
    /// No suite of TLS 1.3 is left, and it is the only version.
    NoCiphersuite,
    /// No group is left.
    NoGroup,
    /// Certificates are to be verified, and nobody is to be believed.
    NoAuthorities,
    /// A host's name that none can have.
    BadName(Box<str>),
    /// rustls refuses the rest.
    Refused(rustls::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::NoCipher => f.write_str("no TLSv1.2 cipher suite is left"),
            BuildError::NoCiphersuite => f.write_str("no TLSv1.3 cipher suite is left"),
            BuildError::NoGroup => f.write_str("no curve is left"),
            BuildError::NoAuthorities => f.write_str("verify is enabled but no CA file specified"),
            BuildError::BadName(name) => write!(f, "'{name}' is not a host name"),
            BuildError::Refused(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for BuildError {}

impl From<rustls::Error> for BuildError {
    fn from(error: rustls::Error) -> Self {
        BuildError::Refused(error)
    }
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
