//! TLS settings: those of the `global` section, and those of a single line. They are validated and
//! stored here; they take effect where a `bind` or `server` line has the option `ssl`.

mod bind;
mod line;

pub use bind::{BindTls, CertificateSource, TicketKeys, TlsLine};
pub use line::{ClientAuth, Listed, Parameters, ServerSettings, Verify};

use super::versions::TlsVersions;
use rustls::{CipherSuite, NamedGroup, SignatureScheme};
use std::path::PathBuf;

/// The TLS options of one `bind` or `server` line, or the defaults of all of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsSide {
    /// `ciphers`: suites up to TLS 1.2, in OpenSSL's notation.
    pub ciphers: Option<Listed<CipherSuite>>,
    /// `ciphersuites`: suites of TLS 1.3.
    pub ciphersuites: Option<Listed<CipherSuite>>,
    /// `curves`.
    pub curves: Option<Listed<NamedGroup>>,
    /// `sigalgs`.
    pub sigalgs: Option<Listed<SignatureScheme>>,
    /// `client-sigalgs`.
    pub client_sigalgs: Option<Listed<SignatureScheme>>,
    pub versions: TlsVersions,
    /// `no-tls-tickets`.
    pub no_tickets: bool,
    /// `strict-sni`.
    pub strict_sni: bool,
    /// `prefer-client-ciphers`.
    pub prefer_client_ciphers: bool,
}

/// `ssl-load-extra-files`: kinds of files that are read together with a certificate file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtraFiles {
    /// `.rsa`, `.ecdsa`: bundles.
    pub bundle: bool,
    /// `.sctl`
    pub sctl: bool,
    /// `.ocsp`
    pub ocsp: bool,
    /// `.issuer`
    pub issuer: bool,
    /// `.key`
    pub key: bool,
}

impl Default for ExtraFiles {
    fn default() -> Self {
        ExtraFiles {
            bundle: true,
            sctl: true,
            ocsp: true,
            issuer: true,
            key: true,
        }
    }
}

/// TLS settings of `global`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsDefaults {
    /// `ca-base`.
    pub ca_base: Option<PathBuf>,
    /// `crt-base`.
    pub crt_base: Option<PathBuf>,
    /// `key-base`.
    pub key_base: Option<PathBuf>,
    /// `ssl-default-bind-…`.
    pub bind: TlsSide,
    /// `ssl-default-server-…`.
    pub server: TlsSide,
    /// `ssl-server-verify none`.
    pub server_verify_none: bool,
    /// `ssl-dh-param-file`.
    pub dh_param_file: Option<PathBuf>,
    /// `issuers-chain-path`.
    pub issuers_chain_path: Option<PathBuf>,
    /// `ssl-load-extra-files`.
    pub extra_files: ExtraFiles,
    /// `ssl-load-extra-del-ext`.
    pub extra_files_without_extension: bool,
    /// `ssl-skip-self-issued-ca`.
    pub skip_self_issued_ca: bool,
    /// `maxsslconn`.
    pub connections_max: Option<u32>,
    /// `maxsslrate`, connections per second.
    pub rate_max: Option<u32>,
    /// `tune.ssl.default-dh-param`, bits.
    pub dh_bits: Option<u32>,
    /// `tune.ssl.cachesize`, sessions.
    pub cached_sessions_max: Option<u32>,
    /// `tune.ssl.lifetime`, seconds.
    pub session_lifetime_s: Option<u32>,
    /// `tune.ssl.maxrecord`, bytes.
    pub record_max: Option<u32>,
    /// `tune.ssl.hard-maxrecord`, bytes.
    pub record_hard_max: Option<u32>,
    /// `tune.ssl.capture-buffer-size`, bytes.
    pub capture_max: Option<u32>,
    /// `tune.ssl.ssl-ctx-cache-size`, certificates.
    pub generated_certificates_max: Option<u32>,
    /// `tune.ssl.keylog`.
    pub key_log: bool,
}
