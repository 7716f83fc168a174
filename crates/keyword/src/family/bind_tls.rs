//! Builds the TLS options of `bind` lines and, in brackets, of crt-list lines. The options are
//! stored as words; the effective settings are computed at the end of loading.

use super::places::BIND;
use super::{Args, BindRow, Built, registry, tls_files, tls_words};
use crate::family::Loader;
use aws_lc_rs::digest;
use language::keyword::KeywordLookup;
use language::{ConfigLine, ConfigWord, Diagnostic, Span, suggest};
use model::codes;
use model::config::Bind;
use std::sync::Arc;
use tls::crt_list;
use tls::ignore::IgnoredErrors;
use tls::sni::SniFilter;
use tls::store::Store;
use tls::tickets::FileKeys;
use tls::{BindTls, CertificateSource, TicketKeys, TlsLine, Verify};

/// Maximum size of a file of ticket keys, bytes.
const TICKET_KEYS_BYTES_MAX: u64 = 64 << 10;
/// Minimum number of keys in a file of ticket keys: the last but one encrypts.
const TICKET_KEYS_MIN: usize = 3;

/// Options that are valid in the brackets of a crt-list line.
const IN_LISTS: &[&str] = &[
    "allow-0rtt",
    "alpn",
    "ca-file",
    "ca-verify-file",
    "ciphers",
    "ciphersuites",
    "client-sigalgs",
    "crl-file",
    "curves",
    "ecdhe",
    "no-alpn",
    "no-ca-names",
    "npn",
    "sigalgs",
    "ssl-max-ver",
    "ssl-min-ver",
    "verify",
];

enum FileSource<'s> {
    /// Files are read during a load of the configuration.
    Loading(&'s mut Loader),
    /// An operator refers to files at run time, which must be in the store already.
    Serving(&'s Store),
}

fn words(bind: &mut Bind) -> &mut BindTls {
    Arc::make_mut(bind.tls_words.get_or_insert_default())
}

/// Applies an option that is also valid in a crt-list.
fn shared(source: &mut FileSource<'_>, line: &mut TlsLine, args: &mut Args<'_>) -> Built {
    match args.keyword {
        "alpn" => line.alpn = Some(protocols(args)?),
        "no-alpn" => line.alpn = Some(Vec::new()),
        "allow-0rtt" => line.early_data = true,
        "no-ca-names" => line.no_ca_names = true,
        "verify" => line.verify = Some(verify(args)?),
        "ca-file" => line.ca_file = Some(authorities(source, args)?),
        "ca-verify-file" => line.ca_verify_file = Some(authorities(source, args)?),
        "crl-file" => line.crl_file = Some(revocations(source, args)?),
        "npn" => {
            let word = args.required("a comma-separated list of protocols")?;
            let told = "'npn' has no effect: ALPN has replaced this draft";
            args.add_warning(
                Diagnostic::warning(&codes::TLS_NOT_DONE, word.span, told)
                    .help("write 'alpn' with the same protocols"),
            );
        }
        "ssl-min-ver" | "ssl-max-ver" => return tls_words::version(&mut line.side, args),
        _ => return tls_words::list(&mut line.side, args),
    }
    Ok(())
}

fn protocols(args: &mut Args<'_>) -> Result<Vec<Vec<u8>>, Diagnostic> {
    let word = args.peek();
    let names = tls_words::alpn(args)?;
    match word {
        Some(word) if names.is_empty() => Err(args.word_error(
            &codes::BAD_VALUE,
            word,
            "'alpn' : missing the comma-delimited ALPN protocol suite",
        )),
        _ => Ok(names),
    }
}

fn verify(args: &mut Args<'_>) -> Result<Verify, Diagnostic> {
    let word = args.required("none, optional or required")?;
    match word.str() {
        "none" => Ok(Verify::None),
        "optional" => Ok(Verify::Optional),
        "required" => Ok(Verify::Required),
        _ => {
            let told = format!(
                "'verify' : unknown verify method '{}', only 'none', 'optional', and 'required' are supported",
                word.text()
            );
            Err(args.word_error(&codes::BAD_VALUE, word, told))
        }
    }
}

fn not_loaded(args: &Args<'_>, word: &ConfigWord) -> Diagnostic {
    let told = format!("'{}' : unable to load {}", args.keyword, word.text());
    args.word_error(&codes::UNREADABLE, word, told)
}

fn authorities(source: &mut FileSource<'_>, args: &mut Args<'_>) -> Result<Box<str>, Diagnostic> {
    let word = args.required("a file")?;
    match source {
        FileSource::Loading(loader) => {
            let found = tls_files::authorities(loader, args, word)?;
            loader
                .config
                .certificates
                .add_authorities(&found.name, found.content);
            Ok(found.name)
        }
        FileSource::Serving(store) => match store.authorities(&word.text()) {
            Some(_) => Ok(word.text().into()),
            None => Err(not_loaded(args, word)),
        },
    }
}

fn revocations(source: &mut FileSource<'_>, args: &mut Args<'_>) -> Result<Box<str>, Diagnostic> {
    let word = args.required("a file")?;
    match source {
        FileSource::Loading(loader) => {
            let found = tls_files::revocations(loader, args, word)?;
            loader
                .config
                .certificates
                .add_revocations(&found.name, found.content);
            Ok(found.name)
        }
        FileSource::Serving(store) => match store.revocations(&word.text()) {
            Some(_) => Ok(word.text().into()),
            None => Err(not_loaded(args, word)),
        },
    }
}

fn line_word(loader: &mut Loader, bind: &mut Bind, args: &mut Args<'_>) -> Built {
    shared(
        &mut FileSource::Loading(loader),
        &mut words(bind).line,
        args,
    )
}

fn version(_: &mut Loader, bind: &mut Bind, args: &mut Args<'_>) -> Built {
    tls_words::version(&mut words(bind).line.side, args)
}

fn switch(_: &mut Loader, bind: &mut Bind, args: &mut Args<'_>) -> Built {
    let words = words(bind);
    let side = &mut words.line.side;
    match args.keyword {
        "ssl" => words.ssl = true,
        "strict-sni" => side.strict_sni = true,
        "no-strict-sni" => side.strict_sni = false,
        "no-tls-tickets" => side.no_tickets = true,
        "tls-tickets" => side.no_tickets = false,
        _ => side.prefer_client_ciphers = true,
    }
    Ok(())
}

fn ignored(_: &mut Loader, bind: &mut Bind, args: &mut Args<'_>) -> Built {
    let word = args.required("`all` or a comma-separated list of numbers")?;
    let text = word.text();
    let found = IgnoredErrors::parse(&text).map_err(|bad| {
        let told = format!(
            "'{}' : ID '{}' out of range (1..{}) in error IDs list '{text}'",
            args.keyword,
            bad.number,
            tls::ignore::ERROR_MAX
        );
        args.word_error(&codes::OUT_OF_RANGE, word, told)
    })?;
    match args.keyword {
        "ca-ignore-err" => words(bind).ca_ignore_err = found,
        _ => words(bind).crt_ignore_err = found,
    }
    Ok(())
}

fn crt(loader: &mut Loader, bind: &mut Bind, args: &mut Args<'_>) -> Built {
    let Some(word) = args.next() else {
        return args.required("a file").map(|_| ());
    };
    let mut source = loader.certificates(word)?;
    if args.keyword == "default-crt" {
        source = match source {
            CertificateSource::Certificates(names) => CertificateSource::Default(names),
            _ => {
                let told = format!(
                    "'{}' is a directory, but a certificate file is expected",
                    word.text()
                );
                return Err(args.word_error(&codes::BAD_CERTIFICATE, word, told));
            }
        };
    }
    words(bind).sources.push(source);
    Ok(())
}

fn list(loader: &mut Loader, bind: &mut Bind, args: &mut Args<'_>) -> Built {
    let word = args.required("a file")?;
    let name = loader.certificate_list(word)?;
    words(bind).sources.push(CertificateSource::List(name));
    Ok(())
}

/// Refuses `generate-certificates`, which creates certificates for any requested name: not
/// supported.
fn generate(_: &mut Loader, _: &mut Bind, args: &mut Args<'_>) -> Built {
    let span = args.keyword_span();
    Err(Diagnostic::error(
        &codes::NOT_BUILT,
        span,
        "'generate-certificates' is not supported",
    )
    .help("list the certificates with `crt` or `crt-list`"))
}

fn signing(_: &mut Loader, _: &mut Bind, args: &mut Args<'_>) -> Built {
    let word = args.required("an argument")?;
    let told = format!(
        "'{}' has no effect: no certificates are generated",
        args.keyword
    );
    args.add_warning(Diagnostic::warning(&codes::TLS_NOT_DONE, word.span, told).help("remove it"));
    Ok(())
}

fn ticket_keys(loader: &mut Loader, bind: &mut Bind, args: &mut Args<'_>) -> Built {
    let word = args.required("a file")?;
    let path = loader.path(word);
    let failed = |label: &str| {
        let told = format!("'{}' : unable to load ssl tickets keys file", word.text());
        Diagnostic::error(&codes::BAD_TLS_SETTING, word.span, told).label(label)
    };
    let keys = loader
        .context
        .outside
        .read_secret(&path, TICKET_KEYS_BYTES_MAX);
    let keys = keys.map_err(|error| failed(&std::io::Error::from(error).to_string()))?;
    let mut lengths = Vec::new();
    for line in keys.bytes().split(|b| *b == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        lengths.push(key_length(line));
    }
    let first = lengths.first().copied().flatten();
    if first.is_none() || lengths.iter().any(|length| *length != first) {
        return Err(failed(
            "each line is a key of 48 bytes, or each of 80, in Base64: `openssl rand -base64 80 | tr -d '\\n'`",
        ));
    }
    if lengths.len() < TICKET_KEYS_MIN {
        return Err(failed("at least three keys are needed"));
    }
    let text = std::str::from_utf8(keys.bytes()).unwrap_or_default();
    let ring = FileKeys::parse(text).map_err(|error| failed(&error.to_string()))?;
    let digest = digest::digest(&digest::SHA256, keys.bytes());
    let store = &loader.config.certificates;
    let ring = store.ticket_keys_of(&word.text(), ring);
    words(bind).ticket_keys = Some(TicketKeys { path, digest, ring });
    Ok(())
}

/// Returns the length of a ticket key in bytes; None if the line is no valid key.
fn key_length(line: &[u8]) -> Option<usize> {
    use base64::Engine;
    /// Lengths for AES-128 and AES-256, each including the key name and the HMAC key.
    const LENGTHS: [usize; 2] = [48, 80];
    let mut key = zeroize::Zeroizing::new([0; 128]);
    let engine = base64::engine::general_purpose::STANDARD;
    let length = engine.decode_slice(line, &mut key[..]).ok()?;
    LENGTHS.contains(&length).then_some(length)
}

/// Parses the options in the brackets of a crt-list line.
///
/// # Errors
/// Returns the first error: an unknown option, or an invalid argument of one.
pub fn list_options(loader: &mut Loader, line: &ConfigLine) -> Result<TlsLine, Diagnostic> {
    let mut args = Args::new(line, 0, "crt-list", "", &codes::OF_ARGUMENTS);
    let read = options(&mut FileSource::Loading(loader), &mut args);
    loader.report_all(args.take_warnings());
    read
}

fn options(source: &mut FileSource<'_>, args: &mut Args<'_>) -> Result<TlsLine, Diagnostic> {
    let mut line = TlsLine::default();
    while let Some(word) = args.peek() {
        let found = registry().binds.find(std::iter::once(word.str()));
        let row = match found {
            KeywordLookup::Built(row, _) if IN_LISTS.contains(&row.name()) => row,
            _ => return Err(unknown_option(args, word)),
        };
        let mut option = args.option(row.name(), row.syntax, 1);
        let built = shared(source, &mut line, &mut option);
        args.resume(&option);
        built?;
    }
    Ok(line)
}

fn unknown_option(args: &Args<'_>, word: &ConfigWord) -> Diagnostic {
    let text = word.text();
    if word.is("ocsp-update") {
        return super::proxy::unsupported_word(word, "ocsp-update");
    }
    let told = format!("unknown ssl keyword {text}");
    let told = args.word_error(&codes::BAD_CERTIFICATE_LIST, word, told);
    let near = suggest::nearest(&text, IN_LISTS.iter().copied());
    told.did_you_mean(word.span, near)
}

/// Line of a crt-list as an operator sends it: `<certificate> [options] filters`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SentLine {
    pub certificate: Box<str>,
    pub options: TlsLine,
    pub option_words: Box<str>,
    pub filters: Vec<SniFilter>,
}

/// Parses the payload of `add ssl crt-list`. Files named in its options must be in the store.
///
/// # Errors
/// Returns the message for the operator if the payload has no certificate or several lines, or if
/// an option is unknown or invalid.
pub fn sent_line(text: &str, store: &Store) -> Result<SentLine, String> {
    let at_line = |why: String| format!("parsing [CLI:1]: {why}");
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let line = lines.next().unwrap_or_default();
    if lines.next().is_some() {
        return Err("only one line of payload is supported!".to_owned());
    }
    let cut = crt_list::words(line.as_bytes(), 0..line.len());
    let words = cut
        .map_err(|error| at_line(error.to_string()))?
        .ok_or_else(|| at_line("no certificate found".to_owned()))?;
    let word = |place: &std::ops::Range<usize>| ConfigWord {
        bytes: line.as_bytes()[place.clone()].to_vec(),
        span: Span::default(),
    };
    let option_words: Vec<&str> = words
        .options
        .iter()
        .map(|place| &line[place.clone()])
        .collect();
    let option_words = crt_list::option_words(&option_words);
    let mut options_read = TlsLine::default();
    if !words.options.is_empty() {
        let line = ConfigLine {
            words: words.options.iter().map(word).collect(),
            span: Span::default(),
            unset: Vec::new(),
        };
        let mut args = Args::new(&line, 0, "crt-list", "", &codes::OF_ARGUMENTS);
        options_read =
            options(&mut FileSource::Serving(store), &mut args).map_err(|diagnostic| {
                match &diagnostic.message {
                    unknown if unknown.starts_with("unknown") => at_line(unknown.clone()),
                    told => told.clone(),
                }
            })?;
    }
    let filters = words.filters.iter();
    Ok(SentLine {
        certificate: line[words.certificate.clone()].into(),
        options: options_read,
        option_words: option_words.into(),
        filters: filters
            .map(|place| SniFilter::parse(line[place.clone()].as_bytes()))
            .collect(),
    })
}

pub static OPTIONS: &[BindRow] = language::rows! {
    "allow-0rtt" BIND, line_word, "# bind :443 ssl crt /etc/ssl/site.pem allow-0rtt",
        "Accepts a request in the first packet of a resumed TLS 1.3 session (early data). The request is forwarded \
         when the handshake is complete, so a replayed packet has no effect. `ssl_fc_has_early` tests for early data.";
    "alpn <protocol>[,<protocol>…]" BIND, line_word,
        "# bind :443 ssl crt /etc/ssl/site.pem alpn h2,http/1.1",
        "Lists the protocols that clients can negotiate, in order of preference. Without it HTTP/1 is used; `alpn \
         h2,http/1.1` offers HTTP/2.";
    "ca-file { <file> | <directory> | @system-ca }" BIND, line_word,
        "# bind :443 ssl crt /etc/ssl/site.pem ca-file /etc/ssl/clients.pem verify required",
        "CA certificates (PEM) that verify client certificates. `verify` sets whether clients must present one.";
    "ca-ignore-err { all | <number>[,<number>…] }" BIND, ignored,
        "# bind :443 ssl crt /etc/ssl/site.pem ca-file /etc/ssl/c.pem verify optional ca-ignore-err all",
        "OpenSSL error numbers of issuer certificates that do not end the handshake. `ssl_c_ca_err` returns the error \
         to rules.";
    "ca-sign-file <file>" BIND, signing,
        "# bind :443 ssl crt /etc/ssl/site.pem ca-sign-file /etc/ssl/ca.pem",
        "The CA for `generate-certificates`, which is not supported: no effect, with a warning.";
    "ca-sign-pass <passphrase>" BIND, signing,
        "# bind :443 ssl crt /etc/ssl/site.pem ca-sign-pass secret",
        "The passphrase of the CA for `generate-certificates`, which is not supported: no effect, with a warning.";
    "ca-verify-file <file>" BIND, line_word,
        "# bind :443 ssl crt /etc/ssl/site.pem ca-file /etc/ssl/c.pem ca-verify-file /etc/ssl/root.pem verify required",
        "CA certificates that verify client certificates like those of `ca-file`, but are not announced to clients.";
    "ciphers <list>" BIND, line_word,
        "# bind :443 ssl crt /etc/ssl/site.pem ciphers ECDHE-RSA-AES128-GCM-SHA256",
        "Cipher suites up to TLS 1.2, in OpenSSL's notation. A warning lists unsupported ones.";
    "ciphersuites <list>" BIND, line_word,
        "# bind :443 ssl crt /etc/ssl/site.pem ciphersuites TLS_AES_128_GCM_SHA256",
        "Cipher suites for TLS 1.3, in order of preference.";
    "client-sigalgs <list>" BIND, line_word,
        "# bind :443 ssl crt /etc/ssl/site.pem client-sigalgs ECDSA+SHA256",
        "Signature algorithms accepted for client certificates, in order of preference.";
    "crl-file <file>" BIND, line_word,
        "# bind :443 ssl crt /etc/ssl/site.pem ca-file /etc/ssl/c.pem crl-file /etc/ssl/c.crl verify required",
        "Certificate revocation lists (PEM). A client with a revoked certificate is refused.";
    "crt { <file> | <directory> | @<store>/<name> }" BIND, crt,
        "# bind :443 ssl crt /etc/ssl/site.pem",
        "A certificate (PEM) with its issuers and its private key, or a directory of such files. May be repeated. The \
         key may be in a file of the same name with the suffix `.key`. The client's SNI selects the certificate; the \
         first one is the default. With `FILE.rsa` and `FILE.ecdsa` instead of FILE, each client gets the one that it \
         supports.";
    "crt-ignore-err { all | <number>[,<number>…] }" BIND, ignored,
        "# bind :443 ssl crt /etc/ssl/site.pem ca-file /etc/ssl/c.pem verify optional crt-ignore-err all",
        "OpenSSL error numbers of the client's own certificate that do not end the handshake. `ssl_c_err` returns the \
         error to rules.";
    "crt-list <file>" BIND, list, "# bind :443 ssl crt-list /etc/ssl/sites.list",
        "A file with one certificate per line, optionally with its own options in brackets and with the host names \
         that it serves: `site.pem [alpn h2] *.example.com !old.example.com`.";
    "curves <list>" BIND, line_word, "# bind :443 ssl crt /etc/ssl/site.pem curves X25519:P-256",
        "Elliptic curves for key exchange, in order of preference, with OpenSSL's names.";
    "default-crt <file>" BIND, crt,
        "# bind :443 ssl default-crt /etc/ssl/site.pem crt /etc/ssl/sites/",
        "The certificate for names that no other certificate matches. The default is the first `crt`. If given twice, \
         with keys of two types, each client gets the one that it supports.";
    "ecdhe <curve>" BIND, line_word, "# bind :443 ssl crt /etc/ssl/site.pem ecdhe prime256v1",
        "The only elliptic curve for key exchange. Use `curves` instead.";
    "force-sslv3" BIND, version, "# bind :443 ssl crt /etc/ssl/site.pem force-sslv3",
        "Refused with `ssl`: SSLv3 is broken and not supported.";
    "force-tlsv10" BIND, version, "# bind :443 ssl crt /etc/ssl/site.pem force-tlsv10",
        "Refused with `ssl`: TLS 1.0 is withdrawn and not supported.";
    "force-tlsv11" BIND, version, "# bind :443 ssl crt /etc/ssl/site.pem force-tlsv11",
        "Refused with `ssl`: TLS 1.1 is withdrawn and not supported.";
    "force-tlsv12" BIND, version, "# bind :443 ssl crt /etc/ssl/site.pem force-tlsv12",
        "Allows only TLS 1.2. Prefer `ssl-min-ver` and `ssl-max-ver`.";
    "force-tlsv13" BIND, version, "# bind :443 ssl crt /etc/ssl/site.pem force-tlsv13",
        "Allows only TLS 1.3. Prefer `ssl-min-ver TLSv1.3`.";
    "generate-certificates" BIND, generate,
        "# bind :443 ssl crt /etc/ssl/site.pem generate-certificates",
        "In HAProxy, creates a certificate for each requested name on the fly. Not supported: refused.";
    "no-alpn" BIND, line_word, "# bind :443 ssl crt /etc/ssl/site.pem no-alpn",
        "Disables ALPN, which is the default. Cancels an earlier `alpn` on the line.";
    "no-ca-names" BIND, line_word,
        "# bind :443 ssl crt /etc/ssl/site.pem ca-file /etc/ssl/c.pem verify required no-ca-names",
        "Does not send the names of accepted CAs to clients. They choose a certificate without that hint.";
    "no-sslv3" BIND, version, "# bind :443 ssl crt /etc/ssl/site.pem no-sslv3",
        "SSLv3 is never supported, so this has no effect. Remove it when you next edit the line.";
    "no-strict-sni" BIND, switch, "# bind :443 ssl crt /etc/ssl/site.pem no-strict-sni",
        "Cancels an earlier `strict-sni` on the line.";
    "no-tls-tickets" BIND, switch, "# bind :443 ssl crt /etc/ssl/site.pem no-tls-tickets",
        "Keeps sessions for resumption in the proxy instead of in tickets at the clients.";
    "no-tlsv10" BIND, version, "# bind :443 ssl crt /etc/ssl/site.pem no-tlsv10",
        "TLS 1.0 is never supported, so this has no effect. Remove it when you next edit the line.";
    "no-tlsv11" BIND, version, "# bind :443 ssl crt /etc/ssl/site.pem no-tlsv11",
        "TLS 1.1 is never supported, so this has no effect. Remove it when you next edit the line.";
    "no-tlsv12" BIND, version, "# bind :443 ssl crt /etc/ssl/site.pem no-tlsv12",
        "Disables TLS 1.2 on this listener. Prefer `ssl-min-ver`.";
    "no-tlsv13" BIND, version, "# bind :443 ssl crt /etc/ssl/site.pem no-tlsv13",
        "Disables TLS 1.3 on this listener. Prefer `ssl-max-ver`.";
    "npn <protocol>[,<protocol>…]" BIND, line_word,
        "# bind :443 ssl crt /etc/ssl/site.pem npn http/1.1",
        "The predecessor of ALPN, obsolete since 2014: no effect, with a warning. Use `alpn`.";
    "prefer-client-ciphers" BIND, switch,
        "# bind :443 ssl crt /etc/ssl/site.pem prefer-client-ciphers",
        "Uses the client's order of cipher preference instead of the listener's. This suits clients that know which \
         cipher is fast for them.";
    "sigalgs <list>" BIND, line_word,
        "# bind :443 ssl crt /etc/ssl/site.pem sigalgs ECDSA+SHA256:RSA-PSS+SHA256",
        "Signature algorithms for handshakes, in order of preference, with OpenSSL's names.";
    "ssl" BIND, switch, "# bind :443 ssl crt /etc/ssl/site.pem",
        "Enables TLS on this listener. Requires a certificate: `crt` or `crt-list`.";
    "ssl-max-ver { TLSv1.2 | TLSv1.3 }" BIND, line_word,
        "# bind :443 ssl crt /etc/ssl/site.pem ssl-max-ver TLSv1.2",
        "The highest TLS version. SSLv3, TLS 1.0 and 1.1 are not supported.";
    "ssl-min-ver { TLSv1.2 | TLSv1.3 }" BIND, line_word,
        "# bind :443 ssl crt /etc/ssl/site.pem ssl-min-ver TLSv1.3",
        "The lowest TLS version. Versions below 1.2 are raised to 1.2.";
    "strict-sni" BIND, switch, "# bind :443 ssl crt /etc/ssl/sites/ strict-sni",
        "Refuses a client whose SNI matches no certificate, or that sends none, instead of using the first \
         certificate. Such a listener may start without any certificate.";
    "tls-ticket-keys <file>" BIND, ticket_keys,
        "# bind :443 ssl crt /etc/ssl/site.pem tls-ticket-keys /run/tickets",
        "Session ticket keys, one Base64 line each, of 48 or 80 bytes, so that several hosts can resume each other's \
         sessions. The last but one encrypts. Replace the keys often.";
    "tls-tickets" BIND, switch, "# bind :443 ssl crt /etc/ssl/site.pem tls-tickets",
        "Cancels an earlier `no-tls-tickets` on the line.";
    "verify { none | optional | required }" BIND, line_word,
        "# bind :443 ssl crt /etc/ssl/site.pem ca-file /etc/ssl/clients.pem verify required",
        "Sets whether clients must present a certificate signed by a CA in `ca-file`: `none` does not ask, `optional` \
         asks, `required` ends the handshake without one.";
};

#[cfg(test)]
mod tests;
