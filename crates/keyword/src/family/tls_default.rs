//! Checks and stores the TLS settings of `global`, which take effect on `bind` and `server` lines
//! with `ssl`. This module reads no certificates and does no cryptography.

use super::places::GLOBAL;
use super::value::{on_off, parse_choice};
use super::{Args, Built, LineRow, tls_words};
use crate::family::Loader;
use language::{ConfigWord, Diagnostic};
use model::codes;
use model::rules::draft::Section;
use std::path::PathBuf;
use tls::{ExtraFiles, TlsSide, TlsVersion};

fn directory(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    use std::os::unix::ffi::OsStrExt;
    let word = args.required("a directory")?;
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(&word.bytes));
    let in_store = loader.section == Section::CrtStore;
    let (store, draft) = (&mut loader.tls.store, &mut loader.draft);
    let tls = &mut draft.config.global.tls;
    let field = match args.keyword {
        "crt-base" if in_store => &mut store.crt_base,
        "key-base" if in_store => &mut store.key_base,
        "ca-base" => &mut tls.ca_base,
        "crt-base" => &mut tls.crt_base,
        "key-base" => &mut tls.key_base,
        _ => &mut tls.issuers_chain_path,
    };
    if field.is_some() && args.keyword.ends_with("-base") {
        return Err(Diagnostic::error(
            &codes::SECOND_SETTING,
            args.line().span,
            format!("'{}' already specified", args.keyword),
        )
        .label("remove this line or the first one"));
    }
    if args.keyword == "issuers-chain-path" && !draft.context.outside.is_directory(&path) {
        return Err(bad(word, "not a directory"));
    }
    *field = Some(path);
    args.end()
}

fn dh_file(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a file")?;
    let bytes = loader.read_file(word)?;
    if !bytes.windows(BEGIN_DH.len()).any(|w| w == BEGIN_DH) {
        return Err(bad(word, "the file has no `BEGIN DH PARAMETERS`"));
    }
    let path = loader.path(word);
    loader.config.global.tls.dh_param_file = Some(path);
    without_dh(args, word);
    args.end()
}

/// Warns that Diffie-Hellman parameters have no effect here.
fn without_dh(args: &mut Args<'_>, word: &ConfigWord) {
    let message = format!(
        "'{}': finite-field Diffie-Hellman (DHE) is not supported",
        args.keyword
    );
    args.add_warning(
        Diagnostic::warning(&codes::TLS_LACKING, word.span, message)
            .label("has no effect")
            .help("remove the line: elliptic curve key exchange needs no parameters"),
    );
}

const BEGIN_DH: &[u8] = b"-----BEGIN DH PARAMETERS-----";

fn bad(word: &ConfigWord, why: &str) -> Diagnostic {
    Diagnostic::error(
        &codes::BAD_TLS_SETTING,
        word.span,
        format!("'{}': {why}", word.text()),
    )
    .label("invalid value")
}

/// Returns whether a text has the form of a list in OpenSSL's syntax: names of letters, digits and
/// `operators`, with signs before them, joined by colons, commas or spaces.
fn list_form(text: &str, operators: &str) -> bool {
    !text.is_empty()
        && text.split([':', ',', ' ']).all(|name| {
            let name = name.trim_start_matches(['!', '-', '+', '?', '*']);
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || operators.contains(c))
        })
}

fn list(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a list of names separated by colons")?;
    let text = word.text();
    if !list_form(&text, "-_+.@=/") {
        args.add_warning(
            Diagnostic::warning(
                &codes::TLS_LIST,
                word.span,
                format!(
                    "'{}': '{text}' is not a list of names separated by colons",
                    args.keyword
                ),
            )
            .label("ignored, as in OpenSSL"),
        );
    }
    let server = args.keyword.contains("-server-");
    let what = args
        .keyword
        .rsplit_once(if server { "-server-" } else { "-bind-" });
    let what = what.map_or(args.keyword, |(_, what)| what);
    tls_words::set_list(side(loader, args.keyword), what, args, word)?;
    args.end()
}

fn side<'t>(loader: &'t mut Loader, keyword: &str) -> &'t mut TlsSide {
    let tls = &mut loader.config.global.tls;
    if keyword.contains("-server-") {
        &mut tls.server
    } else {
        &mut tls.bind
    }
}

const VERSIONS: [(&str, &str, TlsVersion); 5] = [
    ("SSLv3", "sslv3", TlsVersion::Ssl3),
    ("TLSv1.0", "tlsv10", TlsVersion::Tls10),
    ("TLSv1.1", "tlsv11", TlsVersion::Tls11),
    ("TLSv1.2", "tlsv12", TlsVersion::Tls12),
    ("TLSv1.3", "tlsv13", TlsVersion::Tls13),
];

pub(super) fn version(args: &mut Args<'_>) -> Result<TlsVersion, Diagnostic> {
    let versions = VERSIONS.map(|(name, _, version)| (name, version));
    parse_choice(args, "a TLS version", &versions)
}

pub(super) fn version_named(name: &str) -> Option<TlsVersion> {
    VERSIONS
        .iter()
        .find(|(_, short, _)| *short == name)
        .map(|(.., version)| *version)
}

fn options(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    super::value::require_word(args, "an option")?;
    let binds = args.keyword == "ssl-default-bind-options";
    while let Some(word) = args.next() {
        let text = word.text();
        let off = text.strip_prefix("no-").and_then(version_named);
        let only = text.strip_prefix("force-").and_then(version_named);
        let bounded = match &*text {
            "ssl-min-ver" | "ssl-max-ver" => Some(version(args)?),
            _ => None,
        };
        let side = side(loader, args.keyword);
        match (&*text, off, only) {
            (_, Some(version), _) => side.versions.off.push(version),
            (_, _, Some(version)) => {
                (side.versions.min, side.versions.max) = (Some(version), Some(version));
            }
            ("ssl-min-ver", ..) => side.versions.min = bounded,
            ("ssl-max-ver", ..) => side.versions.max = bounded,
            ("no-tls-tickets", ..) => side.no_tickets = true,
            ("tls-tickets", ..) => side.no_tickets = false,
            ("prefer-client-ciphers", ..) if binds => side.prefer_client_ciphers = true,
            ("strict-sni", ..) if binds => side.strict_sni = true,
            _ => return Err(unknown_option(args, word)),
        }
    }
    Ok(())
}

fn unknown_option(args: &Args<'_>, word: &ConfigWord) -> Diagnostic {
    let choices = [
        "force-tlsv10",
        "force-tlsv11",
        "force-tlsv12",
        "force-tlsv13",
        "no-sslv3",
        "no-tls-tickets",
        "no-tlsv10",
        "no-tlsv11",
        "no-tlsv12",
        "no-tlsv13",
        "prefer-client-ciphers",
        "ssl-max-ver",
        "ssl-min-ver",
        "strict-sni",
    ];
    super::value::unknown_choice_error(args, word, &choices)
}

fn server_verify(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let words = [("none", true), ("required", false)];
    loader.config.global.tls.server_verify_none = parse_choice(args, "none or required", &words)?;
    args.end()
}

fn extra_files(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    super::value::require_word(args, "none, all or kinds")?;
    let none = ExtraFiles {
        bundle: false,
        sctl: false,
        ocsp: false,
        issuer: false,
        key: false,
    };
    let mut files = none;
    for word in args.rest() {
        match word.str() {
            "none" => files = none,
            "all" => files = ExtraFiles::default(),
            "bundle" => files.bundle = true,
            "sctl" => files.sctl = true,
            "ocsp" => files.ocsp = true,
            "issuer" => files.issuer = true,
            "key" => files.key = true,
            _ => {
                let choices = ["all", "bundle", "issuer", "key", "none", "ocsp", "sctl"];
                return Err(super::value::unknown_choice_error(args, word, &choices));
            }
        }
    }
    loader.config.global.tls.extra_files = files;
    Ok(())
}

fn switch(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let tls = &mut loader.config.global.tls;
    match args.keyword {
        "ssl-load-extra-del-ext" => tls.extra_files_without_extension = true,
        _ => tls.skip_self_issued_ca = true,
    }
    args.warn_of_surplus()
}

fn key_log(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    loader.config.global.tls.key_log = on_off(args)?;
    args.end()
}

fn number(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    /// TLS libraries refuse fewer bits.
    const DH_BITS_MIN: u32 = 1024;
    let least = if args.keyword == "tune.ssl.default-dh-param" {
        DH_BITS_MIN
    } else {
        0
    };
    let word = args.peek();
    let number = args.count("a number", least..=i32::MAX as u32)?;
    if let Some(word) = word.filter(|_| args.keyword == "tune.ssl.default-dh-param") {
        without_dh(args, word);
    }
    let tls = &mut loader.config.global.tls;
    let some = (number > 0).then_some(number);
    match args.keyword {
        "maxsslconn" => tls.connections_max = some,
        "maxsslrate" => tls.rate_max = some,
        "tune.ssl.default-dh-param" => tls.dh_bits = some,
        "tune.ssl.cachesize" => tls.cached_sessions_max = Some(number),
        "tune.ssl.maxrecord" => tls.record_max = some,
        "tune.ssl.hard-maxrecord" => tls.record_hard_max = some,
        "tune.ssl.ssl-ctx-cache-size" => tls.generated_certificates_max = some,
        _ => tls.capture_max = some,
    }
    args.end()
}

fn lifetime(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    loader.config.global.tls.session_lifetime_s = Some(args.time_s()?);
    args.end()
}

/// Sections in which `crt-base` and `key-base` are valid.
const BASES: &[&str] = &["crt-store", "global"];

pub static LINES: &[LineRow] = language::rows! {
    "ca-base <directory>" GLOBAL, directory, "ca-base /etc/ssl/certs",
        "Base directory for relative names of `ca-file`, `ca-verify-file` and `crl-file`.";
    "crt-base <directory>" BASES, directory, "crt-base /etc/ssl/private",
        "Base directory for relative names of `crt`. The default is the working directory of the process.";
    "key-base <directory>" BASES, directory, "key-base /etc/ssl/private",
        "Base directory for relative names of `key`. The default is the working directory of the process.";
    "issuers-chain-path <directory>" GLOBAL, directory, "# issuers-chain-path /etc/ssl/chains",
        "Directory of issuer certificates. They complete `crt` files without issuers.";
    "ssl-dh-param-file <file>" GLOBAL, dh_file, "# ssl-dh-param-file /etc/ssl/dh.pem",
        "Parameters for finite-field Diffie-Hellman (DHE), which is not supported; elliptic curve key exchange needs \
         none. The file is checked, and a warning reports that it has no effect.";
    "ssl-default-bind-ciphers <list>" GLOBAL, list,
        "ssl-default-bind-ciphers ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384",
        "Default cipher suites up to TLS 1.2 of all `bind` lines with `ssl`, in OpenSSL's notation.";
    "ssl-default-bind-ciphersuites <list>" GLOBAL, list,
        "ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384",
        "Default cipher suites of TLS 1.3 of all `bind` lines with `ssl`.";
    "ssl-default-bind-curves <list>" GLOBAL, list, "ssl-default-bind-curves X25519:P-256",
        "Default elliptic curves of all `bind` lines with `ssl`, in order of preference.";
    "ssl-default-bind-sigalgs <list>" GLOBAL, list, "ssl-default-bind-sigalgs RSA-PSS+SHA256",
        "Default signature algorithms of all `bind` lines with `ssl`.";
    "ssl-default-bind-client-sigalgs <list>" GLOBAL, list,
        "ssl-default-bind-client-sigalgs ECDSA+SHA256:RSA+SHA256",
        "Default signature algorithms for client certificates of all `bind` lines with `ssl`.";
    "ssl-default-bind-options <option> …" GLOBAL, options,
        "ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets",
        "Default TLS versions and other options of all `bind` lines with `ssl`, which the lines can restrict further.";
    "ssl-default-server-ciphers <list>" GLOBAL, list,
        "ssl-default-server-ciphers ECDHE-RSA-AES128-GCM-SHA256",
        "Default cipher suites up to TLS 1.2 of all `server` lines with `ssl`, in OpenSSL's notation.";
    "ssl-default-server-ciphersuites <list>" GLOBAL, list,
        "ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256",
        "Default cipher suites of TLS 1.3 of all `server` lines with `ssl`.";
    "ssl-default-server-curves <list>" GLOBAL, list, "ssl-default-server-curves X25519:P-256",
        "Default elliptic curves of all `server` lines with `ssl`, in order of preference.";
    "ssl-default-server-sigalgs <list>" GLOBAL, list, "ssl-default-server-sigalgs RSA-PSS+SHA256",
        "Default signature algorithms of all `server` lines with `ssl`.";
    "ssl-default-server-client-sigalgs <list>" GLOBAL, list,
        "ssl-default-server-client-sigalgs RSA+SHA256",
        "Default signature algorithms for the proxy's own certificate of all `server` lines with `ssl`.";
    "ssl-default-server-options <option> …" GLOBAL, options,
        "ssl-default-server-options ssl-min-ver TLSv1.2",
        "Default TLS versions and other options of all `server` lines with `ssl`, which the lines can restrict \
         further.";
    "ssl-server-verify { none | required }" GLOBAL, server_verify, "ssl-server-verify required",
        "Sets whether server certificates are verified on `server` lines with `ssl` but without `verify`. They are by \
         default, and should be.";
    "ssl-load-extra-files <kind> …" GLOBAL, extra_files, "ssl-load-extra-files ocsp issuer",
        "Additional files to read beside a certificate: `bundle`, `sctl`, `ocsp`, `issuer`, `key`, `all` (the default) \
         or `none`.";
    "ssl-load-extra-del-ext" GLOBAL, switch, "ssl-load-extra-del-ext",
        "Names the additional files of `site.crt` `site.key` and so on, instead of `site.crt.key`.";
    "ssl-skip-self-issued-ca" GLOBAL, switch, "ssl-skip-self-issued-ca",
        "Does not send a root certificate at the end of a `crt` file to clients, which have it or do not trust it.";
    "maxsslconn <number>" GLOBAL, number, "maxsslconn 1000",
        "Maximum number of concurrent TLS connections of the process, on both sides. 0 means no separate limit.";
    "maxsslrate <number>" GLOBAL, number, "maxsslrate 500",
        "Maximum number of TLS handshakes per second; further ones wait. 0, the default, means no limit.";
    "tune.ssl.default-dh-param <bits>" GLOBAL, number, "# tune.ssl.default-dh-param 2048",
        "Size of finite-field Diffie-Hellman (DHE) keys, at least 1024. DHE is not supported, and a warning reports \
         that.";
    "tune.ssl.cachesize <number>" GLOBAL, number, "tune.ssl.cachesize 20000",
        "Number of TLS sessions in the cache for resumption. 0 disables the cache.";
    "tune.ssl.lifetime <time>" GLOBAL, lifetime, "tune.ssl.lifetime 300",
        "Lifetime of cached TLS sessions; a bare number is in seconds. The default is 300.";
    "tune.ssl.maxrecord <bytes>" GLOBAL, number, "tune.ssl.maxrecord 1419",
        "Size of TLS records at the beginning of a transfer. A record that fits into one packet lets the client \
         decrypt early.";
    "tune.ssl.hard-maxrecord <bytes>" GLOBAL, number, "tune.ssl.hard-maxrecord 8192",
        "Maximum size of TLS records. The default is the protocol's limit of 16384.";
    "tune.ssl.capture-buffer-size <bytes>" GLOBAL, number, "tune.ssl.capture-buffer-size 96",
        "Number of bytes of the ClientHello that are kept for rules and logs. 0, the default, keeps nothing.";
    "tune.ssl.capture-cipherlist-size <bytes>" GLOBAL, number,
        "tune.ssl.capture-cipherlist-size 96",
        "Obsolete name of `tune.ssl.capture-buffer-size`.";
    "tune.ssl.ssl-ctx-cache-size <number>" GLOBAL, number, "tune.ssl.ssl-ctx-cache-size 1000",
        "Number of generated certificates to cache. The default is 1000.";
    "tune.ssl.keylog { on | off }" GLOBAL, key_log, "tune.ssl.keylog off",
        "Allows rules to log the keys of TLS sessions, for the analysis of captured traffic. Off by default.";
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_the_form_that_openssl_reads() {
        for good in [
            "ECDHE-RSA-AES128-GCM-SHA256:HIGH",
            "HIGH:!aNULL:!MD5",
            "kEECDH+aRSA+AES:@STRENGTH",
            "TLS_AES_128_GCM_SHA256",
            "RSA-PSS+SHA256",
            "ALL:@SECLEVEL=1",
        ] {
            assert!(list_form(good, "-_+.@=/"), "{good}");
        }
        for bad in ["", "HIGH;LOW", "a$b", "\"HIGH\"", "FOO!"] {
            assert!(!list_form(bad, "-_+.@=/"), "{bad}");
        }
    }
}
