//! Builds the lines that select the type of health checks (`option httpchk`, `option smtpchk`, …),
//! their requests, and settings of all `http-check` requests. The steps of check scripts are in
//! submodules.

mod connect;
mod expect;
pub(super) mod external;
mod request;
mod step;

pub(in crate::family) use step::LINES as STEPS;

use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use language::{ConfigWord, Diagnostic, Span, suggest};
use model::check::HttpSend;
use model::codes;
use model::config::{Check, CheckKind, MySqlUser};
use model::rules::Format;
use model::rules::draft::Section;

pub static LINES: &[LineRow] = language::rows! {
    "option httpchk [<uri> | <method> <uri> [<version>]]" places::BACK, httpchk,
        "option httpchk GET /health",
        "Uses HTTP requests as health checks of this backend; a response with status 200 to 399 is a success. Without \
         arguments the request is `OPTIONS / HTTP/1.0`. Set headers with `http-check send`.";
    "option tcp-check" places::BACK, |loader, args| plain(loader, args, CheckKind::Tcp),
        "option tcp-check",
        "Uses the `tcp-check` rules of this backend as health checks, in order. Without such rules, an accepted \
         connection is a success.";
    "option ssl-hello-chk" places::BACK, |loader, args| plain(loader, args, CheckKind::TlsHello),
        "option ssl-hello-chk",
        "Uses the first message of an SSLv3 client as health check; any response, even a refusal, is a success. Prefer \
         `check-ssl`, which performs a complete handshake.";
    "option smtpchk [{ HELO | EHLO } <domain>]" places::BACK, smtp,
        "option smtpchk EHLO mail.example.com",
        "Uses an SMTP dialogue as health check: greeting, then QUIT. Codes 2xx are a success. Without arguments the \
         greeting is `HELO localhost`.";
    "option mysql-check [user <username> [post-41 | pre-41]]" places::BACK, mysql,
        "option mysql-check user haproxy",
        "Uses the greeting of a MySQL server as health check. With `user`, the check logs in without a password, so \
         that the server does not count it as a failed connection: create that user without rights. `pre-41` logs in \
         like clients before version 4.1.";
    "option pgsql-check { user <username> }" places::BACK, postgresql,
        "option pgsql-check user haproxy",
        "Uses the first message of a PostgreSQL client as health check. A server that asks for authentication, or \
         needs none, is up.";
    "option redis-check" places::BACK, |loader, args| plain(loader, args, CheckKind::Redis),
        "option redis-check",
        "Uses a Redis PING as health check. The server must respond with `+PONG`.";
    "option ldap-check" places::BACK, |loader, args| plain(loader, args, CheckKind::Ldap),
        "option ldap-check",
        "Uses an anonymous LDAP (version 3) bind as health check; the bind must succeed.";
    "option spop-check" places::BACK, |loader, args| plain(loader, args, CheckKind::Spop),
        "option spop-check",
        "Uses an SPOP hello as health check of an SPOE agent, and expects its hello.";
    "http-check disable-on-404" places::CHECKS, disable_on_404, "http-check disable-on-404",
        "A server that is up and responds with 404 to a check gets no new sessions, except persistent ones, until its \
         response changes. This lets an application leave service gracefully.";
    "http-check send-state" places::CHECKS, send_state, "http-check send-state",
        "Adds a header `X-Haproxy-Server-State` to HTTP checks, with the server's state, name, weight and sessions.";
    "type { tcp-check | httpchk … | ssl-hello-chk | smtpchk … | mysql-check … | pgsql-check … | redis-check | ldap-check | spop-check }" places::HEALTH_CHECK,
        kind, "type httpchk GET /health",
        "Sets the type of the checks in this section, with the same words as after `option` in a backend.";
};

type Comment = Option<Box<[u8]>>;

/// Maximum number of header fields in a check's request.
const FIELDS_MAX: usize = 64;

fn check_of(loader: &mut Loader) -> &mut Check {
    match loader.section {
        Section::HealthCheck(index) => &mut loader.sections.health_checks[index].check,
        _ => &mut loader.proxy().check,
    }
}

fn text_of(args: &Args<'_>) -> Box<[u8]> {
    let words = args.line().words.iter().map(|word| &word.bytes[..]);
    words.collect::<Vec<_>>().join(&b' ').into()
}

/// Builds `type` of a `healthcheck` section.
fn kind(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    const KINDS: &[&str] = &[
        "tcp-check",
        "httpchk",
        "ssl-hello-chk",
        "smtpchk",
        "mysql-check",
        "pgsql-check",
        "redis-check",
        "ldap-check",
        "spop-check",
    ];
    let word = args.required("the type of the checks")?;
    match word.str() {
        "tcp-check" => plain(loader, args, CheckKind::Tcp),
        "ssl-hello-chk" => plain(loader, args, CheckKind::TlsHello),
        "redis-check" => plain(loader, args, CheckKind::Redis),
        "ldap-check" => plain(loader, args, CheckKind::Ldap),
        "spop-check" => plain(loader, args, CheckKind::Spop),
        "httpchk" => http_words(loader, args),
        "smtpchk" => smtp(loader, args),
        "mysql-check" => mysql(loader, args),
        "pgsql-check" => postgresql(loader, args),
        _ => Err(unknown_word(args, word, KINDS)),
    }
}

fn plain(loader: &mut Loader, args: &mut Args<'_>, kind: CheckKind) -> Built {
    args.end()?;
    check_of(loader).kind = kind;
    Ok(())
}

fn httpchk(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    if args.negated {
        return Err(Diagnostic::error(
            &codes::NO_NEGATION,
            args.keyword_span(),
            "negation is not supported for option 'httpchk'",
        )
        .help("write `option tcp-check` to check connections only"));
    }
    http_words(loader, args)
}

/// Parses `[<uri> | <method> <uri> [<version>]]` into the request of an HTTP check.
fn http_words(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let mut request = HttpSend {
        text: text_of(args),
        ..HttpSend::default()
    };
    let first = args.next();
    let second = args.next();
    match (first, second) {
        (None, _) => {}
        (Some(uri), None) => request.uri = Some(Format::constant(&uri.bytes)),
        (Some(method), Some(uri)) => {
            request.method = Some(method.text().into());
            request.uri = Some(Format::constant(&uri.bytes));
        }
    }
    if let Some(version) = args.next() {
        hidden_fields(loader, version, args.line().end(), &mut request);
    }
    let check = check_of(loader);
    check.kind = CheckKind::Http;
    check.line = request;
    args.end()
}

/// Header field: name and value.
type HeaderField<'l> = (&'l [u8], &'l [u8]);

/// Returns the version, and the `http-check send` line that replaces the hidden header fields.
/// Returns None if there is a body, no field, or a text that needs more than plain words.
fn send_line(version: &[u8], fields: &[HeaderField<'_>], body: &[u8]) -> Option<(String, String)> {
    let plain = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        let quotes = text.bytes().any(|b| b < b' ' || matches!(b, b'\'' | b'%'));
        (!text.is_empty() && !quotes).then(|| {
            if text.contains([' ', '"', '\\', '#']) {
                format!("'{text}'")
            } else {
                text.to_owned()
            }
        })
    };
    if !body.is_empty() || fields.is_empty() {
        return None;
    }
    let mut line = "http-check send".to_owned();
    for (name, value) in fields {
        line.push_str(&format!(" hdr {} {}", plain(name)?, plain(value)?));
    }
    Some((plain(version)?, line))
}

/// Parses the HTTP version of a check, at whose end old configurations hide header fields and a
/// body, and warns of that form.
fn hidden_fields(loader: &mut Loader, word: &ConfigWord, end: Span, request: &mut HttpSend) {
    let text = &word.bytes;
    let (version, rest) = match memchr::memmem::find(text, b"\r\n") {
        Some(at) => (&text[..at], &text[at + 2..]),
        None => (&text[..], &[][..]),
    };
    request.version = Some(String::from_utf8_lossy(version).into());
    if rest.is_empty() {
        return;
    }
    let (head, body) = match memchr::memmem::find(rest, b"\r\n\r\n") {
        Some(at) => (&rest[..at], &rest[at + 4..]),
        None => (rest, &[][..]),
    };
    let mut fields = Vec::new();
    for line in head.split(|byte| *byte == b'\n').take(FIELDS_MAX) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        fields.push((name, value));
        request.headers.push((name.into(), Format::constant(value)));
    }
    request.body = (!body.is_empty()).then(|| Format::constant(body));
    let told = Diagnostic::warning(
        &codes::LEGACY,
        word.span,
        "'option httpchk': headers and body after the version are obsolete",
    )
    .help("write the headers into `http-check send hdr <name> <value>`");
    loader.report(match send_line(version, &fields, body) {
        Some((version, line)) => told
            .fix(word.span, version)
            .with_further_fix(end, format!("\n{line}")),
        None => told,
    });
}

fn smtp(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    // Ignores words that are no greeting, as HAProxy does, with a warning.
    let greeting = match (args.next(), args.next()) {
        (Some(word), Some(domain)) if word.is("HELO") || word.is("EHLO") => {
            [&word.bytes[..], b" ", &domain.bytes].concat()
        }
        (Some(word), _) => {
            args.add_warning(
                Diagnostic::warning(
                    &codes::SURPLUS,
                    word.span,
                    format!("'{}' is not a greeting with a domain", word.text()),
                )
                .label("`HELO localhost` is sent instead")
                .help("write `option smtpchk EHLO mail.example.com`"),
            );
            b"HELO localhost".to_vec()
        }
        _ => b"HELO localhost".to_vec(),
    };
    args.end()?;
    check_of(loader).kind = CheckKind::Smtp(greeting.into());
    Ok(())
}

fn mysql(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let mut user = None;
    if let Some(word) = args.next() {
        if !word.is("user") {
            return Err(unknown_word(args, word, &["user"]));
        }
        let name = args.required("<username>")?.bytes.as_slice().into();
        let old = match args.next() {
            None => false,
            Some(word) if word.is("post-41") => false,
            Some(word) if word.is("pre-41") => true,
            Some(word) => return Err(unknown_word(args, word, &["post-41", "pre-41"])),
        };
        user = Some(MySqlUser { name, old });
    }
    args.end()?;
    check_of(loader).kind = CheckKind::MySql(user);
    Ok(())
}

fn postgresql(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("user <username>")?;
    if !word.is("user") {
        return Err(unknown_word(args, word, &["user"]));
    }
    let user = args.required("<username>")?.bytes.as_slice().into();
    args.end()?;
    check_of(loader).kind = CheckKind::PostgreSql(user);
    Ok(())
}

fn note_rule(loader: &mut Loader, args: &Args<'_>) {
    let span = args.keyword_span();
    check_of(loader).http.first.get_or_insert(span);
}

fn disable_on_404(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    args.end()?;
    note_rule(loader, args);
    check_of(loader).disable_on_404 = true;
    Ok(())
}

fn send_state(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    args.end()?;
    note_rule(loader, args);
    check_of(loader).send_state = true;
    Ok(())
}

fn unknown_word(args: &Args<'_>, word: &ConfigWord, words: &[&'static str]) -> Diagnostic {
    let message = format!("'{}' does not accept '{}'", args.keyword, word.text());
    let diagnostic = Diagnostic::error(&codes::BAD_VALUE, word.span, message)
        .label("unknown word")
        .note(format!("accepted words: {}", words.join(", ")));
    diagnostic.did_you_mean(
        word.span,
        suggest::nearest(word.str(), words.iter().copied()),
    )
}

#[cfg(test)]
mod tests;
