//! Holds the TLS options of `bind` lines and crt-list lines, as written. The effective settings
//! are computed from them at the end of loading, and again when an operator changes a certificate
//! or a list.

use super::{TlsSide, Verify};
use crate::ignore::IgnoredErrors;
use crate::tickets::FileKeys;
use aws_lc_rs::digest::Digest;
use std::path::PathBuf;
use std::sync::Arc;

/// TLS options of a listener, or of one certificate of a crt-list, which override those of the
/// listener.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsLine {
    pub side: TlsSide,
    /// `alpn`, the preferred first. Empty for `no-alpn`.
    pub alpn: Option<Vec<Vec<u8>>>,
    pub verify: Option<Verify>,
    /// `ca-file`, by its name in the store.
    pub ca_file: Option<Box<str>>,
    pub ca_verify_file: Option<Box<str>>,
    pub crl_file: Option<Box<str>>,
    pub no_ca_names: bool,
    /// Early data is accepted (`allow-0rtt`).
    pub early_data: bool,
}

/// Source of the certificates of a listener. The names are those of the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CertificateSource {
    /// `crt`: a file, or the files of a bundle.
    Certificates(Vec<Box<str>>),
    /// `default-crt`: presented if no name matches.
    Default(Vec<Box<str>>),
    /// `crt-list`, or `crt` with a directory.
    List(Box<str>),
}

#[derive(Clone, Debug)]
pub struct TicketKeys {
    pub path: PathBuf,
    /// Digest of the file's content when it was read.
    pub digest: Digest,
    /// The ticket keys: shared by all lines with this file, and changed by operators.
    pub ring: Arc<FileKeys>,
}

impl PartialEq for TicketKeys {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.digest.as_ref() == other.digest.as_ref()
    }
}

impl Eq for TicketKeys {}

/// The TLS options of a `bind` line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BindTls {
    /// `ssl`: without it, all other options are ignored.
    pub ssl: bool,
    /// The options that a crt-list line can override.
    pub line: TlsLine,
    pub ca_ignore_err: IgnoredErrors,
    pub crt_ignore_err: IgnoredErrors,
    /// `crt`, `default-crt`, `crt-list`, in their order.
    pub sources: Vec<CertificateSource>,
    pub ticket_keys: Option<TicketKeys>,
}
