//! Builds the options for header fields that are added for servers, and for the case of header
//! names: `option forwardfor`, `originalto`, `forwarded`, `http-restrict-req-hdr-names`,
//! `h1-case-adjust`; and the settings of TCP keep-alive packets.

use super::places::{ALL, BACK, FRONT, GLOBAL};
use super::value::parse_choice;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::value::{self, AddressNetwork, ValueError};
use language::{ConfigWord, Diagnostic};
use model::codes;
use model::config::{ForwardFor, Forwarded, HeaderCases, HeaderNames, KeepAlive, ParameterSource};
use model::rules::{Expression, Usage};
use std::net::IpAddr;
use std::sync::Arc;

fn network(word: &ConfigWord, keyword: &str) -> Result<(IpAddr, u8), Diagnostic> {
    let what = format!("'{keyword} except'");
    let network =
        value::network(&word.text()).map_err(|error| error.diagnostic(word.span, &what))?;
    match network {
        AddressNetwork::V6(network) => Ok((network.address.into(), network.prefix)),
        AddressNetwork::V4(network) => match network.prefix() {
            Some(prefix) => Ok((network.address.into(), prefix)),
            None => Err(Diagnostic::error(
                &codes::BAD_ADDRESS,
                word.span,
                format!("{what}: the mask of '{}' is not contiguous", word.text()),
            )
            .label("use a prefix length, as in 192.0.2.0/24")),
        },
    }
}

fn forwardfor(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let option = addressed(args, b"x-forwarded-for", true)?;
    loader.proxy().forward_for = Some(option);
    Ok(())
}

fn originalto(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let option = addressed(args, b"x-original-to", false)?;
    loader.proxy().original_to = Some(option);
    Ok(())
}

/// Parses the options of a header field with an address. `can_yield` permits `if-none`.
fn addressed(
    args: &mut Args<'_>,
    header: &[u8],
    can_yield: bool,
) -> Result<ForwardFor, Diagnostic> {
    let mut option = ForwardFor {
        header: header.into(),
        except: Vec::new(),
        if_none: false,
    };
    while let Some(word) = args.next() {
        match word.str() {
            "except" => option
                .except
                .push(network(args.required("a network")?, args.keyword)?),
            "header" => {
                let name = args.required("a header name")?;
                let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
                if !name.bytes.iter().all(token) {
                    return Err(args.word_error(
                        &codes::BAD_VALUE,
                        name,
                        format!("'{}' is not a valid header name", name.text()),
                    ));
                }
                option.header = name.bytes.to_ascii_lowercase().into();
            }
            "if-none" if can_yield => option.if_none = true,
            _ => {
                let choices = ["except", "header", "if-none"];
                let choices = &choices[..if can_yield { 3 } else { 2 }];
                return Err(super::value::unknown_choice_error(args, word, choices));
            }
        }
    }
    Ok(option)
}

fn forwarded(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    if args.negated || args.reset {
        loader.proxy().forwarded = None;
        return args.end();
    }
    let mut option = Forwarded::default();
    let mut any = false;
    while let Some(word) = args.next() {
        any = true;
        let (name, found) = match word.str().strip_suffix("-expr") {
            Some(name) => (name, true),
            None => (word.str(), false),
        };
        let place = match name {
            "proto" if !found => {
                option.proto = true;
                continue;
            }
            "host" => &mut option.host,
            "by" => &mut option.by,
            "by_port" => &mut option.by_port,
            "for" => &mut option.for_,
            "for_port" => &mut option.for_port,
            _ => {
                let choices = [
                    "proto",
                    "host",
                    "host-expr",
                    "by",
                    "by-expr",
                    "by_port",
                    "by_port-expr",
                    "for",
                    "for-expr",
                    "for_port",
                    "for_port-expr",
                ];
                return Err(super::value::unknown_choice_error(args, word, &choices));
            }
        };
        *place = Some(if found {
            let word = args.required("<expr>")?;
            let usage = Usage::BACK_HTTP_REQUEST;
            ParameterSource::Found(Box::new(Expression::parse(loader, word, usage)?))
        } else {
            ParameterSource::AsItIs
        });
    }
    if !any {
        option.proto = true;
        option.for_ = Some(ParameterSource::AsItIs);
    }
    loader.proxy().forwarded = Some(Arc::new(option));
    Ok(())
}

fn restrict(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let ways = [
        ("preserve", HeaderNames::Preserve),
        ("delete", HeaderNames::Delete),
        ("reject", HeaderNames::Reject),
    ];
    let way = parse_choice(args, "preserve, delete or reject", &ways)?;
    let proxy = loader.proxy();
    (proxy.header_names_said, proxy.header_names) = (true, way);
    args.end()
}

fn adjust(cases: &mut HeaderCases, from: &[u8], to: &[u8]) -> Result<(), &'static str> {
    if from.is_empty() || from.iter().any(u8::is_ascii_uppercase) {
        return Err("the first name must be in lower case");
    }
    if !from.eq_ignore_ascii_case(to) {
        return Err("both names must differ only in case");
    }
    match cases.insert(from.into(), to.into()) {
        Some(_) => Err("this name has an adjustment already"),
        None => Ok(()),
    }
}

fn case(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let from = args.required("<from>")?;
    let to = args.required("<to>")?;
    let cases = loader.config.global.header_cases.get_or_insert_default();
    adjust(Arc::make_mut(cases), &from.bytes, &to.bytes).map_err(|why| {
        let message = format!("'h1-case-adjust' of '{}': {why}", from.text());
        Diagnostic::error(&codes::BAD_VALUE, from.span, message).label(why)
    })?;
    args.end()
}

fn case_file(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("<file>")?;
    args.end()?;
    let text = loader.read_file(word)?;
    let cases = loader.config.global.header_cases.get_or_insert_default();
    let cases = Arc::make_mut(cases);
    let lines = text.split(|byte| *byte == b'\n');
    for (number, line) in (1..).zip(lines) {
        let mut words = line
            .split(|byte| byte.is_ascii_whitespace())
            .filter(|word| !word.is_empty());
        let result = match (words.next(), words.next(), words.next()) {
            (None, ..) => continue,
            (Some(first), ..) if first.starts_with(b"#") => continue,
            (Some(from), Some(to), None) => adjust(cases, from, to),
            _ => Err("two names are expected"),
        };
        result.map_err(|why| {
            let message = format!("line {number} of '{}': {why}", word.text());
            Diagnostic::error(&codes::BAD_VALUE, word.span, message).label(why)
        })?;
    }
    Ok(())
}

/// Maximum number of keep-alive probes that the kernel accepts.
const PROBES_MAX: u32 = 127;
/// Maximum time of a keep-alive setting that the kernel accepts, seconds.
const SECONDS_MAX: u32 = 32_767;

fn keep_alive(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let keyword = args.keyword;
    let number = if keyword.ends_with("-cnt") {
        args.count("a number of probes", 0..=PROBES_MAX)?
    } else {
        args.time_s()?.min(SECONDS_MAX)
    };
    args.end()?;
    let proxy = loader.proxy();
    let settings: &mut KeepAlive = if keyword.starts_with("cli") {
        &mut proxy.client_keep_alive
    } else {
        &mut proxy.server_keep_alive
    };
    let field = match keyword.rsplit('-').next() {
        Some("cnt") => &mut settings.probes,
        Some("idle") => &mut settings.idle_s,
        _ => &mut settings.interval_s,
    };
    // Treats zero as the system's default, as HAProxy does.
    *field = Some(number).filter(|number| *number > 0);
    Ok(())
}

pub(super) static KEEP_ALIVES: &[LineRow] = language::rows! {
    "clitcpka-cnt <count>" FRONT, keep_alive, "clitcpka-cnt 3",
        "Number of unanswered keep-alive packets after which a client connection is closed, with `option clitcpka`. \
         The default is the system setting.";
    "clitcpka-idle <time>" FRONT, keep_alive, "clitcpka-idle 60s",
        "Idle time of a client before the first keep-alive packet, with `option clitcpka`, in whole seconds.";
    "clitcpka-intvl <time>" FRONT, keep_alive, "clitcpka-intvl 10s",
        "Interval between keep-alive packets to a client, with `option clitcpka`, in whole seconds.";
    "srvtcpka-cnt <count>" BACK, keep_alive, "srvtcpka-cnt 3",
        "Number of unanswered keep-alive packets after which a server connection is closed, with `option srvtcpka`. \
         The default is the system setting.";
    "srvtcpka-idle <time>" BACK, keep_alive, "srvtcpka-idle 60s",
        "Idle time of a server before the first keep-alive packet, with `option srvtcpka`, in whole seconds.";
    "srvtcpka-intvl <time>" BACK, keep_alive, "srvtcpka-intvl 10s",
        "Interval between keep-alive packets to a server, with `option srvtcpka`, in whole seconds.";
};

pub(super) static LINES: &[LineRow] = language::rows! {
    "option forwardfor [except <network>] [header <name>] [if-none]" ALL, forwardfor,
        "option forwardfor except 127.0.0.0/8 header X-Client",
        "Adds the header `x-forwarded-for` (or another name) with the client's address to requests. `except` excludes \
         clients of a network. `if-none` excludes requests that already have the header; then any client can forge it.";
    "option originalto [except <network>] [header <name>]" ALL, originalto,
        "option originalto except 127.0.0.1 header X-To",
        "Adds the header `x-original-to` (or another name) with the client's destination address to requests, which is \
         useful if connections are redirected to the proxy. `except` excludes addresses of a network.";
    "[no] option forwarded [proto] [host | host-expr <expr>] [by | by-expr <expr>] [by_port | by_port-expr <expr>] [for | for-expr <expr>] [for_port | for_port-expr <expr>]" BACK,
        forwarded, "option forwarded proto host for for_port",
        "Adds the header `forwarded` of RFC 7239 to requests, the standard form of `x-forwarded-for` and similar \
         headers. Without arguments it contains the protocol and the client's address. The result of an expression is \
         written as an address, or as a name with an underscore before it.";
    "option http-restrict-req-hdr-names { preserve | delete | reject }" ALL, restrict,
        "option http-restrict-req-hdr-names delete",
        "Sets what happens to headers with other bytes than letters, digits and dashes in their names: they are passed \
         on, dropped, or their request is rejected with 403. Applications that replace dashes by underscores may \
         confuse such names.";
    "h1-case-adjust <from> <to>" GLOBAL, case, "h1-case-adjust content-length Content-Length",
        "Sets the case of a header name for HTTP/1 clients or servers that depend on it. Proxies enable it with \
         `option h1-case-adjust-bogus-client` or `-server`; others use lower case.";
    "h1-case-adjust-file <file>" GLOBAL, case_file, "h1-case-adjust-file /dev/null",
        "Like `h1-case-adjust`, for all lines of a file: two names per line, the first in lower case. Empty lines and \
         lines that begin with `#` are ignored.";
};
