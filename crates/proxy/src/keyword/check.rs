//! What health checks ask: `option httpchk`, `option tcp-check`, `http-check`.

use super::{Args, Built, LineRow, places};
use crate::config::{CheckKind, HttpCheckRequest};
use crate::health::{Expect, Matcher, Pattern, StatusRange};
use crate::load::{Loader, codes};
use language::{Diagnostic, Span, Word, suggest};
use regex::bytes::Regex;

/// The lines of this family.
pub static LINES: &[LineRow] = &[
    LineRow {
        name: "option httpchk",
        places: places::BACK,
        syntax: "option httpchk [<uri> | <method> <uri> [<version>]]",
        doc: "Health checks of this backend send an HTTP request; an answer of 200 to 399 is good. Without words it is \
              `OPTIONS / HTTP/1.0`; header fields belong into `http-check send`.",
        example: "option httpchk GET /health",
        build: httpchk,
    },
    LineRow {
        name: "option tcp-check",
        places: places::BACK,
        syntax: "option tcp-check",
        doc: "Health checks of this backend are good when the connection is accepted. It is the default, and undoes an \
              `option httpchk` of the defaults.",
        example: "option tcp-check",
        build: tcp_check,
    },
    LineRow {
        name: "option ssl-hello-chk",
        places: places::BACK,
        syntax: "option ssl-hello-chk",
        doc: "Health checks of this backend send the first message of SSLv3, and a server that answers it at all, if only to \
              refuse so old a version, is alive. `check-ssl` is the better check: it makes the whole handshake.",
        example: "option ssl-hello-chk",
        build: tls_hello,
    },
    LineRow {
        name: "http-check send",
        places: places::BACK,
        syntax: "http-check send [meth <method>] [uri <uri>] [ver <version>] [hdr <name> <value>]… [body <text>]",
        doc: "The request of `option httpchk`: what is said here counts before the words of that line. `content-length`, \
              and `connection: close` for HTTP/1.1, are added where they are missing.",
        example: "http-check send meth GET uri /health ver HTTP/1.1 hdr host www.example.com",
        build: send,
    },
    LineRow {
        name: "http-check expect",
        places: places::BACK,
        syntax: "http-check expect [min-recv <bytes>] [!] { status | rstatus | string | rstring | hdr | fhdr } <pattern>",
        doc: "What the answer of an HTTP check must be, in place of a status of 200 to 399. With `!` it must not be so; \
              several lines must all be content.",
        example: "http-check expect status 200-299,404",
        build: expect,
    },
    LineRow {
        name: "http-check disable-on-404",
        places: places::BACK,
        syntax: "http-check disable-on-404",
        doc: "A server that is up and answers a check with 404 gets no new sessions but persistent ones, until it answers \
              otherwise. That lets an application take itself out gently.",
        example: "http-check disable-on-404",
        build: disable_on_404,
    },
    LineRow {
        name: "http-check send-state",
        places: places::BACK,
        syntax: "http-check send-state",
        doc: "HTTP checks carry a field `X-Haproxy-Server-State` with the server's state, name, weight and sessions.",
        example: "http-check send-state",
        build: send_state,
    },
];

/// Fields of a check's request at most.
const FIELDS_MAX: usize = 64;
/// `http-check expect` lines of a proxy at most.
const EXPECTS_MAX: usize = 64;

fn httpchk(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    if args.negated {
        return Err(Box::new(
            Diagnostic::error(
                &codes::NO_NEGATION,
                args.keyword_span(),
                "negation is not supported for option 'httpchk'",
            )
            .help("write `option tcp-check` to check connections only"),
        ));
    }
    let mut request = HttpCheckRequest::default();
    let first = args.next();
    let second = args.next();
    match (first, second) {
        (None, _) => {}
        (Some(uri), None) => request.uri = Some(uri.bytes.as_slice().into()),
        (Some(method), Some(uri)) => {
            request.method = Some(method.text().into());
            request.uri = Some(uri.bytes.as_slice().into());
        }
    }
    if let Some(version) = args.next() {
        hidden_fields(loader, version, args.line().end(), &mut request);
    }
    let check = &mut loader.proxy().check;
    check.kind = CheckKind::Http;
    check.line = request;
    args.end()
}

/// Version and `http-check send` line that say the same as an old form; None where
/// it holds what takes more than plain words.
fn send_line(version: &[u8], request: &HttpCheckRequest) -> Option<(String, String)> {
    let plain = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        let quotes = text.bytes().any(|b| b < b' ' || matches!(b, b'\'' | b'%'));
        (!text.is_empty() && !quotes).then(|| match text.contains([' ', '"', '\\', '#']) {
            true => format!("'{text}'"),
            false => text.to_owned(),
        })
    };
    if !request.body.is_empty() || request.headers.is_empty() {
        return None;
    }
    let mut line = "http-check send".to_owned();
    for (name, value) in &request.headers {
        line.push_str(&format!(" hdr {} {}", plain(name)?, plain(value)?));
    }
    Some((plain(version)?, line))
}

/// The old form: fields and a body hidden at the end of the version.
fn hidden_fields(loader: &mut Loader, word: &Word, end: Span, request: &mut HttpCheckRequest) {
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
    for line in head.split(|byte| *byte == b'\n').take(FIELDS_MAX) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        request.headers.push((name.into(), value.into()));
    }
    request.body = body.into();
    let told = Diagnostic::warning(
        &codes::LEGACY,
        word.span,
        "'option httpchk': fields and body at the end of the version are an old form",
    )
    .help("write them into `http-check send ver HTTP/1.1 hdr <name> <value>`");
    loader.tell(match send_line(version, request) {
        Some((version, line)) => told
            .fix(word.span, version)
            .also_fix(end, format!("\n{line}")),
        None => told,
    });
}

fn tcp_check(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    args.end()?;
    loader.proxy().check.kind = CheckKind::Connect;
    Ok(())
}

fn tls_hello(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    args.end()?;
    loader.proxy().check.kind = CheckKind::TlsHello;
    Ok(())
}

fn note_rule(loader: &mut Loader, args: &Args<'_>) {
    let span = args.keyword_span();
    loader.proxy().check.rules.get_or_insert(span);
}

fn disable_on_404(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    args.end()?;
    loader.proxy().check.disable_on_404 = true;
    Ok(())
}

fn send_state(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    args.end()?;
    loader.proxy().check.send_state = true;
    Ok(())
}

const SEND_WORDS: &[&str] = &["meth", "uri", "ver", "hdr", "body", "comment"];

fn send(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    note_rule(loader, args);
    let mut request = HttpCheckRequest::default();
    while let Some(word) = args.next() {
        match word.str() {
            "meth" => request.method = Some(args.required("<method>")?.text().into()),
            "uri" => request.uri = Some(args.required("<uri>")?.bytes.as_slice().into()),
            "ver" => request.version = Some(args.required("<version>")?.text().into()),
            "body" => request.body = args.required("<text>")?.bytes.as_slice().into(),
            "comment" => _ = args.required("<text>")?,
            "hdr" => {
                let name = args.required("<name> and <value>")?;
                let value = args.required("<value>")?;
                let field = (name.bytes.as_slice().into(), value.bytes.as_slice().into());
                if value.bytes.contains(&b'%') {
                    return Err(not_built(value, "a format in a check's field"));
                }
                if request.headers.len() == FIELDS_MAX {
                    return Err(args.wrong(
                        &codes::OUT_OF_RANGE,
                        word,
                        format!("a check's request has at most {FIELDS_MAX} fields"),
                    ));
                }
                request.headers.push(field);
            }
            "uri-lf" | "body-lf" => {
                return Err(not_built(
                    word,
                    &format!("'http-check send {}'", word.text()),
                ));
            }
            _ => return Err(unknown_word(args, word, SEND_WORDS)),
        }
    }
    if loader.proxy().check.send.is_some() {
        let span = args.keyword_span();
        return Err(Box::new(
            Diagnostic::error(
                &codes::NOT_BUILT,
                span,
                "a second 'http-check send' in one section is known, but not built yet",
            )
            .label("checks of several requests do not work yet"),
        ));
    }
    loader.proxy().check.send = Some(request);
    Ok(())
}

fn not_built(word: &Word, what: &str) -> Box<Diagnostic> {
    Box::new(
        Diagnostic::error(
            &codes::NOT_BUILT,
            word.span,
            format!("{what} is known, but not built yet"),
        )
        .label("Evenkeel does not do this yet"),
    )
}

fn unknown_word(args: &Args<'_>, word: &Word, words: &[&'static str]) -> Box<Diagnostic> {
    let message = format!("'{}' does not know '{}'", args.keyword, word.text());
    let mut diagnostic = Diagnostic::error(&codes::BAD_VALUE, word.span, message)
        .label("no word of this line")
        .note(format!("it knows: {}", words.join(", ")));
    if let Some(near) = suggest::nearest(word.str(), words.iter().copied()) {
        diagnostic = diagnostic
            .help(format!("did you mean '{near}'?"))
            .fix(word.span, near);
    }
    Box::new(diagnostic)
}

const EXPECT_WORDS: &[&str] = &[
    "status", "rstatus", "string", "rstring", "hdr", "fhdr", "min-recv", "comment",
];
/// Words that only change what is told, or which code a result carries.
const EXPECT_NOT_BUILT: &[&str] = &[
    "string-lf",
    "ok-status",
    "error-status",
    "tout-status",
    "on-success",
    "on-error",
    "status-code",
];

fn expect(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    note_rule(loader, args);
    let mut min_recv = 0;
    let mut word = args.required("a matching pattern")?;
    loop {
        match word.str() {
            "min-recv" => {
                min_recv = args.integer("<bytes>", -1..=i64::from(i32::MAX))?.max(0) as usize
            }
            "comment" => _ = args.required("<text>")?,
            other if EXPECT_NOT_BUILT.contains(&other) => {
                return Err(not_built(word, &format!("'http-check expect … {other}'")));
            }
            _ => break,
        }
        word = args.required("a matching pattern")?;
    }
    let mut negated = false;
    // `!` stands alone or before the word.
    let mut kind = word.text().into_owned();
    while let Some(rest) = kind.strip_prefix('!') {
        negated = !negated;
        kind = rest.to_owned();
        if kind.is_empty() {
            word = args.required("a matching pattern")?;
            kind = word.text().into_owned();
        }
    }
    if kind == "string-lf" {
        return Err(not_built(word, "'http-check expect string-lf'"));
    }
    let pattern = match kind.as_str() {
        "status" => Pattern::Status(statuses(args)?),
        "rstatus" => Pattern::StatusText(regex(args)?),
        "string" => Pattern::Body(args.required("<pattern>")?.bytes.as_slice().into()),
        "rstring" => Pattern::BodyRegex(regex(args)?),
        "hdr" => header(args, false)?,
        "fhdr" => header(args, true)?,
        _ => return Err(unknown_word(args, word, EXPECT_WORDS)),
    };
    args.end()?;
    let expects = &mut loader.proxy().check.expects;
    if expects.len() == EXPECTS_MAX {
        return Err(args.wrong(
            &codes::OUT_OF_RANGE,
            word,
            format!("a section has at most {EXPECTS_MAX} 'http-check expect' lines"),
        ));
    }
    expects.push(Expect {
        pattern,
        negated,
        min_recv,
    });
    Ok(())
}

fn statuses(args: &mut Args<'_>) -> Result<Vec<StatusRange>, Box<Diagnostic>> {
    let word = args.required("<pattern>")?;
    let mut ranges = Vec::new();
    for part in word.str().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => ranges.push(StatusRange { first, last }),
            _ => {
                return Err(Box::new(
                    Diagnostic::error(
                        &codes::BAD_VALUE,
                        word.span,
                        format!(
                            "'{}': '{part}' is no status and no range of them",
                            args.keyword
                        ),
                    )
                    .label("statuses and ranges, with commas between")
                    .help("write `http-check expect status 200-299,404`"),
                ));
            }
        }
    }
    Ok(ranges)
}

fn regex(args: &mut Args<'_>) -> Result<Regex, Box<Diagnostic>> {
    let word = args.required("<regex>")?;
    regex_of(args, word)
}

fn regex_of(args: &Args<'_>, word: &Word) -> Result<Regex, Box<Diagnostic>> {
    Regex::new(word.str()).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().to_owned();
        Box::new(
            Diagnostic::error(
                &codes::BAD_VALUE,
                word.span,
                format!("'{}': regex '{}' is invalid", args.keyword, word.text()),
            )
            .label(reason),
        )
    })
}

fn header(args: &mut Args<'_>, full: bool) -> Result<Pattern, Box<Diagnostic>> {
    if !args.take("name") {
        let missing = args.required("the word `name` and a pattern")?;
        return Err(unknown_word(args, missing, &["name"]));
    }
    let name = matcher(args, true)?;
    let value = if args.take("value") {
        Some(matcher(args, false)?)
    } else {
        None
    };
    Ok(Pattern::Header { name, value, full })
}

/// `[-m <how>] <pattern>`
fn matcher(args: &mut Args<'_>, lower: bool) -> Result<Matcher, Box<Diagnostic>> {
    const HOW: &[&str] = &["str", "beg", "end", "sub", "reg"];
    let how = if args.take("-m") {
        Some(args.required("<match>")?)
    } else {
        None
    };
    let word = args.required("<pattern>")?;
    let bytes = || -> Box<[u8]> {
        if lower {
            word.bytes.to_ascii_lowercase().into()
        } else {
            word.bytes.as_slice().into()
        }
    };
    Ok(match how.map(Word::str) {
        None | Some("str") => Matcher::Exact(bytes()),
        Some("beg") => Matcher::Begin(bytes()),
        Some("end") => Matcher::End(bytes()),
        Some("sub") => Matcher::Contains(bytes()),
        Some("reg") => Matcher::Regex(regex_of(args, word)?),
        Some(_) => return Err(unknown_word(args, how.unwrap_or(word), HOW)),
    })
}

#[cfg(test)]
mod tests {
    use crate::config::CheckKind;
    use crate::keyword::testing::{backend, codes_of};

    fn request(lines: &str) -> String {
        let check = backend(lines).check;
        assert_eq!(check.kind, CheckKind::Http);
        let request = crate::health::request(&check, None);
        String::from_utf8_lossy(&request).replace("\r\n", "|")
    }

    #[test]
    fn requests_are_those_that_haproxy_sends() {
        // Recorded from haproxy 2.6.12.
        for (lines, want) in [
            ("option httpchk", "OPTIONS / HTTP/1.0||"),
            ("option httpchk /foo", "OPTIONS /foo HTTP/1.0||"),
            (
                "option httpchk GET /foo HTTP/1.1",
                "GET /foo HTTP/1.1|connection: close||",
            ),
            (
                r"option httpchk HEAD /a HTTP/1.1\r\nHost:\ w\r\nX-Y:\ z",
                "HEAD /a HTTP/1.1|host: w|x-y: z|connection: close||",
            ),
            (
                "option httpchk\nhttp-check send meth POST uri /p ver HTTP/1.1 hdr Host h.example hdr X 1 body hello",
                "POST /p HTTP/1.1|host: h.example|x: 1|content-length: 5|connection: close||hello",
            ),
            (
                "option httpchk\nhttp-check send meth PUT uri /p body hello",
                "PUT /p HTTP/1.0|content-length: 5||hello",
            ),
        ] {
            assert_eq!(request(lines), want, "{lines}");
        }
    }

    #[test]
    fn what_send_leaves_open_comes_from_httpchk() {
        let lines = "http-check send ver HTTP/1.1\noption httpchk GET /a";
        assert_eq!(request(lines), "GET /a HTTP/1.1|connection: close||");
    }

    #[test]
    fn the_last_of_both_options_counts() {
        assert_eq!(
            backend("option httpchk\noption tcp-check").check.kind,
            CheckKind::Connect
        );
        assert_eq!(
            backend("option httpchk\noption ssl-hello-chk").check.kind,
            CheckKind::TlsHello
        );
    }

    #[test]
    fn mistakes_are_told_by_what_they_are() {
        for (lines, want) in [
            ("option httpchk GET / HTTP/1.1 x", "E0202"),
            ("no option httpchk", "E0109"),
            ("option tcp-check x", "E0202"),
            ("option ssl-hello-chk x", "E0202"),
            ("http-check expect", "E0201"),
            ("http-check expect status", "E0201"),
            ("http-check expect status 2x", "E0207"),
            ("http-check expect status 300-200", "E0207"),
            ("http-check expect statos 200", "E0207"),
            ("http-check expect rstring (", "E0207"),
            ("http-check expect hdr x", "E0207"),
            ("http-check expect hdr name x -m foo y", "E0202"),
            ("http-check expect string-lf x", "E0103"),
            ("http-check send hdr x", "E0201"),
            ("http-check send foo", "E0207"),
            ("http-check send body-lf x", "E0103"),
            ("http-check send-state x", "E0202"),
            (
                "http-check send meth GET\nhttp-check send meth PUT",
                "E0103",
            ),
            ("http-check comment x", "E0103"),
        ] {
            assert_eq!(codes_of(lines), [want], "{lines}");
        }
    }
}
