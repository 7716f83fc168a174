//! Builds the TLS options that have the same meaning on every kind of line: versions, lists of
//! names, ALPN protocols. Warns of versions without effect. The callers decide which line accepts
//! an option.

use super::tls_default::version_named;
use super::{Args, Built, tls_list};
use crate::family::Loader;
use language::{ConfigWord, Diagnostic, Span};
use model::codes;
use tls::versions::{self, Remark};
use tls::{TlsSide, TlsVersions};

/// Applies a version option: `ssl-min-ver`, `no-tlsv10`, `force-tlsv12`. The option is the keyword
/// of `args`.
pub(crate) fn version(side: &mut TlsSide, args: &mut Args<'_>) -> Built {
    let versions = &mut side.versions;
    if let Some(version) = args.keyword.strip_prefix("no-").and_then(version_named) {
        versions.off.push(version);
        return Ok(());
    }
    if let Some(version) = args.keyword.strip_prefix("force-").and_then(version_named) {
        (versions.min, versions.max) = (Some(version), Some(version));
        return Ok(());
    }
    let version = super::tls_default::version(args)?;
    match args.keyword {
        "ssl-min-ver" => side.versions.min = Some(version),
        _ => side.versions.max = Some(version),
    }
    Ok(())
}

/// Applies a list option: `ciphers`, `ciphersuites`, `curves`, `ecdhe`, `sigalgs`,
/// `client-sigalgs`.
pub(crate) fn list(side: &mut TlsSide, args: &mut Args<'_>) -> Built {
    let word = args.required("a list of names joined by colons")?;
    set_list(side, args.keyword, args, word)
}

/// Applies a list option whose word was consumed already. `what` is the name of the option.
pub(crate) fn set_list(
    side: &mut TlsSide,
    what: &str,
    args: &mut Args<'_>,
    word: &ConfigWord,
) -> Built {
    if tls_list::is_system_policy(args, word) {
        return Ok(());
    }
    match what {
        "ciphers" => side.ciphers = Some(tls_list::ciphers(args, word)?),
        "ciphersuites" => side.ciphersuites = Some(tls_list::ciphersuites(args, word)?),
        "curves" => side.curves = Some(tls_list::curves(args, word)?),
        "ecdhe" => {
            let curve = tls_list::ecdhe(args, word)?;
            // If both are given, `curves` takes precedence.
            side.curves.get_or_insert(curve);
        }
        "sigalgs" => side.sigalgs = Some(tls_list::sigalgs(args, word)?),
        _ => side.client_sigalgs = Some(tls_list::sigalgs(args, word)?),
    }
    Ok(())
}

/// Parses the protocols of `alpn`, joined by commas.
pub(crate) fn alpn(args: &mut Args<'_>) -> Result<Vec<Vec<u8>>, Diagnostic> {
    /// Maximum length of a name: its length field has one byte.
    const NAME_MAX: usize = 255;
    let word = args.required("a comma-separated list of protocols")?;
    let names = word.bytes.split(|b| *b == b',').filter(|n| !n.is_empty());
    let names: Vec<Vec<u8>> = names.map(<[u8]>::to_vec).collect();
    match names.iter().find(|name| name.len() > NAME_MAX) {
        None => Ok(names),
        Some(_) => Err(too_long(args, word)),
    }
}

fn too_long(args: &Args<'_>, word: &ConfigWord) -> Diagnostic {
    let message = format!("'{}': a protocol's name is too long", args.keyword);
    Diagnostic::error(&codes::BAD_VALUE, word.span, message).label("at most 255 bytes each")
}

/// Warns of version options without effect on a line with TLS. `what` names the line. An old
/// minimum version is reported once per file.
pub(crate) fn warn_of_versions(
    loader: &mut Loader,
    span: Span,
    what: &str,
    line: &TlsVersions,
    defaults: &TlsVersions,
) {
    for remark in versions::version_remarks(line, defaults) {
        let diagnostic = match remark {
            Remark::SinglesIgnored => {
                Diagnostic::warning(&codes::NO_EFFECT, span, format!("{what}: {remark}"))
                    .help("use only 'ssl-min-ver' and 'ssl-max-ver'")
            }
            Remark::Raised(_) if loader.tls.files.old_version_told => continue,
            Remark::Raised(_) => {
                loader.tls.files.old_version_told = true;
                Diagnostic::warning(&codes::TLS_OLD_VERSION, span, format!("{what}: {remark}"))
                    .help("write 'ssl-min-ver TLSv1.2'")
            }
        };
        loader.report(diagnostic);
    }
}
