//! Holds the TLS settings of the `global` section and of `bind` and `server` lines, validated but
//! not applied yet. They take effect on lines with the option `ssl`.

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
    pub curves: Option<Listed<NamedGroup>>,
    pub sigalgs: Option<Listed<SignatureScheme>>,
    pub client_sigalgs: Option<Listed<SignatureScheme>>,
    pub versions: TlsVersions,
    pub no_tickets: bool,
    pub strict_sni: bool,
    pub prefer_client_ciphers: bool,
}

/// `ssl-load-extra-files`: which files are read together with a certificate file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtraFiles {
    /// Files of a bundle: `.rsa`, `.ecdsa`.
    pub bundle: bool,
    pub sctl: bool,
    pub ocsp: bool,
    pub issuer: bool,
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

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsDefaults {
    pub ca_base: Option<PathBuf>,
    pub crt_base: Option<PathBuf>,
    pub key_base: Option<PathBuf>,
    pub bind: TlsSide,
    pub server: TlsSide,
    pub server_verify_none: bool,
    pub dh_param_file: Option<PathBuf>,
    pub issuers_chain_path: Option<PathBuf>,
    pub extra_files: ExtraFiles,
    /// The names of extra files have their extension in place of that of the certificate file, not
    /// after it.
    pub extra_files_without_extension: bool,
    pub skip_self_issued_ca: bool,
    /// Maximum number of TLS connections (`maxsslconn`).
    pub connections_max: Option<u32>,
    /// Maximum number of TLS connections per second (`maxsslrate`).
    pub rate_max: Option<u32>,
    /// Size of Diffie-Hellman parameters (`tune.ssl.default-dh-param`), bits.
    pub dh_bits: Option<u32>,
    /// Maximum number of cached sessions (`tune.ssl.cachesize`).
    pub cached_sessions_max: Option<u32>,
    pub session_lifetime_s: Option<u32>,
    /// Maximum content of the first records of a transfer, bytes (`tune.ssl.maxrecord`).
    pub record_max: Option<u32>,
    /// Maximum content of all sent records, bytes.
    pub record_hard_max: Option<u32>,
    /// Maximum size of a captured ClientHello (`tune.ssl.capture-buffer-size`), bytes.
    pub capture_max: Option<u32>,
    /// Maximum number of generated certificates (`tune.ssl.ssl-ctx-cache-size`).
    pub generated_certificates_max: Option<u32>,
    pub key_log: bool,
}
