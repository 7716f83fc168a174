//! The effective TLS settings of a `bind` line, a crt-list line or a `server` line, with
//! the defaults of `global` applied: the input from which [`crate::build`] makes a rustls
//! configuration. It contains only names and numbers; certificates are selected
//! elsewhere.

use super::TlsSide;
use crate::authorities::Authorities;
use crate::ignore::IgnoredErrors;
use crate::revocation::Revocations;
use crate::versions::{self, NoVersion, SpokenVersions, TlsVersion};
use rustls::{CipherSuite, NamedGroup, SignatureScheme};
use std::sync::Arc;

/// A list of names as the file has it, and those that hold of it, in its order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed<T> {
    /// In OpenSSL's spelling, for people.
    pub text: Box<str>,
    /// The supported entries.
    pub kept: Arc<[T]>,
}

/// The versions, ciphers and the like of one side; where nothing was said,
/// None is what rustls has, in its order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Parameters {
    /// Versions.
    pub versions: SpokenVersions,
    /// Suites of TLS 1.2.
    pub ciphers: Option<Arc<[CipherSuite]>>,
    /// Suites of TLS 1.3.
    pub ciphersuites: Option<Arc<[CipherSuite]>>,
    /// Groups of key exchange, the preferred first.
    pub curves: Option<Arc<[NamedGroup]>>,
    /// With what we sign.
    pub sigalgs: Option<Arc<[SignatureScheme]>>,
    /// With what clients' certificates sign.
    pub client_sigalgs: Option<Arc<[SignatureScheme]>>,
}

impl Parameters {
    /// Returns the parameters of a line, completed by `defaults`. Err: no version is
    /// left.
    pub fn of(line: &TlsSide, defaults: &TlsSide) -> Result<Parameters, NoVersion> {
        fn kept<T: Copy>(
            line: Option<&Listed<T>>,
            default: Option<&Listed<T>>,
        ) -> Option<Arc<[T]>> {
            line.or(default).map(|list| Arc::clone(&list.kept))
        }
        Ok(Parameters {
            versions: versions::spoken(&line.versions, &defaults.versions)?,
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

    /// Whether a version is spoken.
    pub fn speaks(&self, version: TlsVersion) -> bool {
        match version {
            TlsVersion::Tls12 => self.versions.tls12,
            TlsVersion::Tls13 => self.versions.tls13,
            _ => false,
        }
    }
}

/// Whether a client has to show a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Verify {
    /// No certificate is requested.
    #[default]
    None,
    /// A certificate is requested, but not required.
    Optional,
    /// Without one there is no connection.
    Required,
}

/// How clients' certificates are verified.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientAuth {
    /// `verify`
    pub mode: Verify,
    /// `ca-file`: the trusted CAs, whose names are sent to clients.
    pub authorities: Option<Arc<Authorities>>,
    /// `ca-verify-file`: further trusted CAs, whose names are not sent.
    pub more_authorities: Option<Arc<Authorities>>,
    /// `crl-file`
    pub crls: Option<Arc<Revocations>>,
    /// `ca-ignore-err`: what is let pass above the client's own certificate.
    pub ca_ignore_err: IgnoredErrors,
    /// `crt-ignore-err`: what is let pass of the client's own certificate.
    pub crt_ignore_err: IgnoredErrors,
    /// `no-ca-names`: nobody is named to clients.
    pub no_ca_names: bool,
}

/// All that a listener's handshakes are made from but the certificates.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServerSettings {
    /// Versions, suites and the like.
    pub parameters: Parameters,
    /// `alpn`, the preferred first.
    pub alpn: Vec<Vec<u8>>,
    /// Clients' certificates.
    pub client: ClientAuth,
    /// `no-tls-tickets`
    pub no_tickets: bool,
    /// `allow-0rtt`: so many bytes may come before the handshake is over; 0 is none.
    pub early_data_max: u32,
    /// `prefer-client-ciphers`
    pub prefer_client_ciphers: bool,
}
