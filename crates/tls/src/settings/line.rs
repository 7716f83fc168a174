//! Computes the effective TLS settings of a `bind` line, a crt-list line or a `server` line, with
//! the defaults of `global` applied: the input from which [`crate::build`] makes a rustls
//! configuration. It contains only names and numbers; certificates are selected elsewhere.

use super::TlsSide;
use crate::authorities::Authorities;
use crate::ignore::IgnoredErrors;
use crate::revocation::Revocations;
use crate::versions::{self, NoVersion, SpokenVersions, TlsVersion};
use rustls::{CipherSuite, NamedGroup, SignatureScheme};
use std::sync::Arc;

/// A list of names as configured, and its supported entries, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed<T> {
    /// The list in OpenSSL's spelling, for display.
    pub text: Box<str>,
    pub supported: Arc<[T]>,
}

/// Versions, ciphers, groups and signature algorithms of one side of a connection. None stands for
/// those that rustls supports, in its order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Parameters {
    pub versions: SpokenVersions,
    /// Cipher suites of TLS 1.2.
    pub ciphers: Option<Arc<[CipherSuite]>>,
    /// Cipher suites of TLS 1.3.
    pub ciphersuites: Option<Arc<[CipherSuite]>>,
    /// Groups of key exchange, the preferred first.
    pub curves: Option<Arc<[NamedGroup]>>,
    /// Signature algorithms that this side signs with.
    pub sigalgs: Option<Arc<[SignatureScheme]>>,
    /// Signature algorithms that clients' certificates may use.
    pub client_sigalgs: Option<Arc<[SignatureScheme]>>,
}

impl Parameters {
    /// Returns the parameters of a line, with `defaults` for missing ones.
    ///
    /// # Errors
    /// No supported version is enabled.
    pub fn of(line: &TlsSide, defaults: &TlsSide) -> Result<Parameters, NoVersion> {
        fn kept<T: Copy>(
            line: Option<&Listed<T>>,
            default: Option<&Listed<T>>,
        ) -> Option<Arc<[T]>> {
            line.or(default).map(|list| Arc::clone(&list.supported))
        }
        Ok(Parameters {
            versions: versions::enabled_versions(&line.versions, &defaults.versions)?,
            ciphers: kept(line.ciphers.as_ref(), defaults.ciphers.as_ref()),
            ciphersuites: kept(line.ciphersuites.as_ref(), defaults.ciphersuites.as_ref()),
            curves: kept(line.curves.as_ref(), defaults.curves.as_ref()),
            sigalgs: kept(line.sigalgs.as_ref(), defaults.sigalgs.as_ref()),
            client_sigalgs: kept(
                line.client_sigalgs.as_ref(),
                defaults.client_sigalgs.as_ref(),
            ),
        })
    }

    pub fn is_version_enabled(&self, version: TlsVersion) -> bool {
        match version {
            TlsVersion::Tls12 => self.versions.tls12,
            TlsVersion::Tls13 => self.versions.tls13,
            _ => false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Verify {
    #[default]
    None,
    Optional,
    Required,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientAuth {
    pub mode: Verify,
    /// `ca-file`: the trusted CAs, whose names are sent to clients.
    pub authorities: Option<Arc<Authorities>>,
    /// `ca-verify-file`: further trusted CAs, whose names are not sent.
    pub more_authorities: Option<Arc<Authorities>>,
    pub crls: Option<Arc<Revocations>>,
    /// `ca-ignore-err`: ignored errors of the certificates above the client's own.
    pub ca_ignore_err: IgnoredErrors,
    /// `crt-ignore-err`: ignored errors of the client's own certificate.
    pub crt_ignore_err: IgnoredErrors,
    /// `no-ca-names`: no CA names are sent to clients.
    pub no_ca_names: bool,
}

/// Handshake settings of a listener, without its certificates.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServerSettings {
    pub parameters: Parameters,
    /// Protocols of `alpn`, the preferred first.
    pub alpn: Vec<Vec<u8>>,
    pub client: ClientAuth,
    pub no_tickets: bool,
    /// `allow-0rtt`: maximum length of early data, bytes. 0 disables it.
    pub early_data_max: u32,
    pub prefer_client_ciphers: bool,
}
