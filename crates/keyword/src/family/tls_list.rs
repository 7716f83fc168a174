//! Translates lists of ciphers, groups and signature algorithms in OpenSSL's spelling into those of
//! rustls, and reports unsupported names. The caller applies the result.

use super::Args;
use language::{ConfigWord, Diagnostic, suggest};
use model::codes;
use rustls::{CipherSuite, NamedGroup, SignatureScheme};
use tls::Listed;
use tls::suites::{self, Translation};
use tls::{groups, schemes};

type ParsedList<T> = Result<Listed<T>, Diagnostic>;

/// Names and rules of one kind of list.
struct TlsListKind<T> {
    /// Name of the list in HAProxy's messages.
    what: &'static str,
    /// Name of its entries in messages.
    entries: &'static str,
    /// Unknown names are ignored with a warning, as OpenSSL ignores them in this kind of list.
    passes_unknown: bool,
    name: fn(&T) -> String,
    names: fn() -> Vec<&'static str>,
}

const CIPHERS: TlsListKind<CipherSuite> = TlsListKind {
    what: "SSL cipher list",
    entries: "ciphers",
    passes_unknown: true,
    name: |suite| suites::openssl_name(*suite).to_owned(),
    names: || suites::cipher_names().collect(),
};

const CIPHERSUITES: TlsListKind<CipherSuite> = TlsListKind {
    what: "TLS 1.3 cipher suites",
    names: || suites::ciphersuite_names().collect(),
    ..CIPHERS
};

const CURVES: TlsListKind<NamedGroup> = TlsListKind {
    what: "SSL curves list",
    entries: "curves",
    passes_unknown: false,
    name: |group| format!("{group:?}"),
    names: || groups::names().collect(),
};

const CURVE: TlsListKind<NamedGroup> = TlsListKind {
    what: "elliptic named curve",
    ..CURVES
};

const ALGORITHMS: TlsListKind<SignatureScheme> = TlsListKind {
    what: "SSL signature algorithms list",
    entries: "signature algorithms",
    passes_unknown: false,
    name: |scheme| format!("{scheme:?}"),
    names: || schemes::names().collect(),
};

/// Returns whether a list of ciphers is `PROFILE=SYSTEM`, as in files of Fedora and related
/// distributions, and warns that the system's policy is not read: all safe ciphers are offered.
pub(super) fn is_system_policy(args: &mut Args<'_>, word: &ConfigWord) -> bool {
    let is = word.is("PROFILE=SYSTEM");
    if is {
        let told = format!("'{}': the system policy is not used", args.keyword);
        args.add_warning(
            Diagnostic::warning(&codes::TLS_UNKNOWN, word.span, told)
                .label("all safe ciphers are offered")
                .help("remove the line, or name ciphers"),
        );
    }
    is
}

fn list_or_error<T>(
    args: &mut Args<'_>,
    word: &ConfigWord,
    made: Translation<T>,
    kind: &TlsListKind<T>,
) -> ParsedList<T> {
    let text = word.text();
    if made.supported.is_empty() || (!kind.passes_unknown && !made.unknown.is_empty()) {
        let message = format!("unable to set {} to '{text}'", kind.what);
        let mut diagnostic = Diagnostic::error(&codes::TLS_NAMES, word.span, message);
        diagnostic = match made.unknown.first() {
            Some(unknown) => diagnostic.label(format!("'{unknown}' is not known")),
            None => diagnostic.label("no supported entry"),
        };
        let near = made
            .unknown
            .first()
            .and_then(|unknown| suggest::nearest(unknown, (kind.names)()));
        if let Some(near) = near {
            diagnostic = diagnostic.help(format!("did you mean '{near}'?"));
        } else if made.unknown.is_empty() {
            diagnostic = diagnostic.help("remove the option to offer all safe ciphers");
        }
        return Err(diagnostic);
    }
    let remains: Vec<String> = made.supported.iter().map(kind.name).collect();
    if !made.lacking.is_empty() {
        let (what, lacking) = (kind.entries, first_names(&made.lacking));
        let told = format!("'{}': unsupported {what} ignored: {lacking}", args.keyword);
        args.add_warning(
            Diagnostic::warning(&codes::TLS_LACKING, word.span, told)
                .label(format!("remaining: {}", first_names(&remains))),
        );
    }
    if let Some(unknown) = made.unknown.first() {
        let diagnostic = Diagnostic::warning(
            &codes::TLS_UNKNOWN,
            word.span,
            format!("'{}': '{unknown}' is not known", args.keyword),
        )
        .label("ignored, as in OpenSSL");
        args.add_warning(diagnostic.suggest(suggest::nearest(unknown, (kind.names)())));
    }
    Ok(Listed {
        text: text.into(),
        supported: made.supported.into(),
    })
}

/// Returns the first few names, and the number of further ones.
fn first_names<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

pub(crate) fn ciphers(args: &mut Args<'_>, word: &ConfigWord) -> ParsedList<CipherSuite> {
    list_or_error(args, word, suites::ciphers(&word.text()), &CIPHERS)
}

pub(crate) fn ciphersuites(args: &mut Args<'_>, word: &ConfigWord) -> ParsedList<CipherSuite> {
    let made = suites::ciphersuites(&word.text());
    list_or_error(args, word, made, &CIPHERSUITES)
}

/// Translates a list of names without signs, each with its own result from `by_name`.
fn plain<T: Copy + PartialEq>(
    text: &str,
    by_name: impl Fn(&str) -> Option<Option<T>>,
) -> Translation<T> {
    let mut made = Translation::new();
    for word in text.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
        // Ignores an unknown name after a question mark, as OpenSSL 3.5 does.
        let optional = word.starts_with('?');
        match by_name(word.trim_start_matches('?')) {
            Some(Some(found)) if made.supported.contains(&found) => {}
            Some(Some(found)) => made.supported.push(found),
            Some(None) => made.lacking.push(word.into()),
            None if optional => {}
            None => made.unknown.push(word.into()),
        }
    }
    made
}

pub(crate) fn curves(args: &mut Args<'_>, word: &ConfigWord) -> ParsedList<NamedGroup> {
    let made = plain(&word.text(), groups::by_name);
    list_or_error(args, word, made, &CURVES)
}

/// Translates `ecdhe`, a single curve.
pub(crate) fn ecdhe(args: &mut Args<'_>, word: &ConfigWord) -> ParsedList<NamedGroup> {
    let mut made = Translation::new();
    match groups::by_name(&word.text()) {
        Some(Some(group)) => made.supported.push(group),
        Some(None) => made.lacking.push(word.text().into()),
        None => made.unknown.push(word.text().into()),
    }
    list_or_error(args, word, made, &CURVE)
}

pub(crate) fn sigalgs(args: &mut Args<'_>, word: &ConfigWord) -> ParsedList<SignatureScheme> {
    let made = plain(&word.text(), schemes::by_name);
    list_or_error(args, word, made, &ALGORITHMS)
}
