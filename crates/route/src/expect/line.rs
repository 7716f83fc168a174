//! Parses the `expect` lines of a `test` section into requests with their expected results, and
//! documents the keyword.

use super::{ExpectationsDraft, Row, codes};
use crate::{Request, RouteEndpoint, RouteRequest};
use language::arguments::{Args, Built};
use language::{ConfigWord, Diagnostic, Span, suggest};
use std::fmt;
use std::ops::RangeInclusive;

const STATUS: RangeInclusive<i64> = 100..=599;
const EXPECTATIONS_MAX: usize = 1000;
const WORDS: [&str; 12] = [
    "from", "on", "to", "through", "sni", "header", "data", "backend", "server", "status",
    "location", "refused",
];

/// A request with its expected results.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expectation {
    pub request: Request,
    pub span: Span,
    pub on: Option<Span>,
    pub wishes: Vec<(ExpectedResult, Span)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExpectedResult {
    /// A server of this backend gets the request. If a response is expected, too, the backend
    /// responds instead.
    Backend(String),
    Server {
        backend: Option<String>,
        server: String,
    },
    Status(u16),
    Location(String),
    /// No server gets the request, and no rule sends a response.
    Refused,
}

impl fmt::Display for ExpectedResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExpectedResult::Backend(name) => write!(f, "backend {name}"),
            ExpectedResult::Server {
                backend: Some(backend),
                server,
            } => write!(f, "server {backend}/{server}"),
            ExpectedResult::Server { server, .. } => write!(f, "server {server}"),
            ExpectedResult::Status(status) => write!(f, "status {status}"),
            ExpectedResult::Location(location) => write!(f, "location {location}"),
            ExpectedResult::Refused => write!(f, "refused"),
        }
    }
}

fn once<T>(
    args: &Args<'_>,
    word: &ConfigWord,
    slot: &mut Option<T>,
    value: T,
) -> Result<(), Diagnostic> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(args.unexpected_value(word, "there twice")),
    }
}

fn behind<'l>(
    args: &mut Args<'l>,
    word: &ConfigWord,
    what: &str,
) -> Result<&'l ConfigWord, Diagnostic> {
    args.required(&format!("{what} after '{}'", word.text()))
}

fn text(args: &mut Args<'_>, word: &ConfigWord, what: &str) -> Result<String, Diagnostic> {
    let value = behind(args, word, what)?;
    match value.str() {
        "" => Err(args.unexpected_value(value, "not UTF-8")),
        value => Ok(value.to_owned()),
    }
}

fn end(args: &mut Args<'_>, word: &ConfigWord) -> Result<RouteEndpoint, Diagnostic> {
    let value = behind(args, word, "an address")?;
    let not = "not an IP address, such as 192.0.2.1, 192.0.2.1:443 or [2001:db8::1]:443";
    crate::end(value.str()).ok_or_else(|| args.unexpected_value(value, not))
}

fn unknown(args: &Args<'_>, word: &ConfigWord) -> Diagnostic {
    let told = args.unexpected_value(word, "neither a request nor a keyword of this line");
    match suggest::nearest(&word.text(), WORDS) {
        Some(near) => told.did_you_mean(word.span, Some(near)),
        None => told.note(format!("keywords: {}", WORDS.join(", "))),
    }
}

/// Parses the request at the beginning of the line. A line without one tests a connection.
fn asked(args: &mut Args<'_>) -> Result<RouteRequest, Diagnostic> {
    let is_target = |word: &ConfigWord| word.str().starts_with('/') || word.str().contains("://");
    let Some(first) = args.peek().filter(|word| !WORDS.contains(&word.str())) else {
        return Ok(RouteRequest::connection(false));
    };
    args.next();
    let (method, target) = match (is_target(first), args.peek()) {
        (true, _) => ("GET", first),
        (false, Some(second)) if is_target(second) => {
            args.next();
            (first.str(), second)
        }
        (false, _) => return Err(unknown(args, first)),
    };
    let asked = if target.str().starts_with('/') {
        RouteRequest::of_path(method, target.str())
    } else {
        RouteRequest::parse(&format!("{method} {}", target.str()))
    };
    asked.map_err(|words| args.value_error(&codes::VALUE, first.span.to(target.span), &words))
}

#[derive(Default)]
struct Gathered {
    source: Option<RouteEndpoint>,
    through: Option<RouteEndpoint>,
    to: Option<RouteEndpoint>,
    sni: Option<String>,
    on: Option<(String, Span)>,
    data: Option<Vec<u8>>,
    wishes: Vec<(ExpectedResult, Span)>,
}

impl Gathered {
    fn take(&mut self, args: &mut Args<'_>, word: &ConfigWord, asked: &mut RouteRequest) -> Built {
        match word.str() {
            "from" => {
                let value = end(args, word)?;
                once(args, word, &mut self.source, value)
            }
            "through" => {
                let value = end(args, word)?;
                once(args, word, &mut self.through, value)
            }
            "to" => {
                let value = end(args, word)?;
                once(args, word, &mut self.to, value)
            }
            "sni" => {
                let value = text(args, word, "a name")?;
                once(args, word, &mut self.sni, value)
            }
            "on" => {
                let name = behind(args, word, "the name of a frontend")?;
                let value = (name.text().into_owned(), name.span);
                once(args, word, &mut self.on, value)
            }
            "data" => {
                let value = behind(args, word, "the body")?.bytes.clone();
                once(args, word, &mut self.data, value)
            }
            "header" => {
                let value = behind(args, word, "a header")?;
                asked
                    .add_header(value.str())
                    .map_err(|words| args.value_error(&codes::VALUE, value.span, &words))
            }
            _ => {
                let wish = wish(args, word)?;
                let span = word.span.to(args.option_word().span);
                self.wishes.push((wish, span));
                Ok(())
            }
        }
    }
}

fn wish(args: &mut Args<'_>, word: &ConfigWord) -> Result<ExpectedResult, Diagnostic> {
    Ok(match word.str() {
        "backend" => ExpectedResult::Backend(text(args, word, "the name of a backend")?),
        "server" => {
            let name = text(args, word, "the name of a server")?;
            let (backend, server) = name.split_once('/').unzip();
            ExpectedResult::Server {
                backend: backend.map(str::to_owned),
                server: server.unwrap_or(&name).to_owned(),
            }
        }
        "status" => {
            let status = args.integer("a status code after 'status'", STATUS)?;
            ExpectedResult::Status(u16::try_from(status).unwrap_or_default())
        }
        "location" => ExpectedResult::Location(text(args, word, "a URL")?),
        "refused" => ExpectedResult::Refused,
        _ => return Err(unknown(args, word)),
    })
}

fn expect(draft: &mut ExpectationsDraft, args: &mut Args<'_>) -> Built {
    let mut asked = asked(args)?;
    let mut gathered = Gathered::default();
    while let Some(word) = args.next() {
        gathered.take(args, word, &mut asked)?;
    }
    asked.body = gathered.data.unwrap_or_default();
    let line = args.line().span;
    let mistake = |words: &str| args.value_error(&codes::VALUE, line, words);
    asked.check_length().map_err(|words| mistake(&words))?;
    asked.tls |= asked.is_connection() && gathered.sni.is_some();
    if asked.is_path && gathered.on.is_none() && gathered.to.is_none() {
        return Err(mistake(
            "the frontend is not specified: add `on NAME` or `to ADDRESS:PORT`, or write a URL",
        ));
    }
    if gathered.wishes.is_empty() {
        args.required("an outcome: `backend`, `server`, `status`, `location` or `refused`")?;
    }
    let refused = gathered
        .wishes
        .iter()
        .find(|(wish, _)| *wish == ExpectedResult::Refused);
    if let Some((_, span)) = refused.filter(|_| gathered.wishes.len() > 1) {
        let words = "`refused` excludes every other outcome";
        return Err(args.value_error(&codes::VALUE, *span, words));
    }
    if draft.expectations.len() >= EXPECTATIONS_MAX {
        let told = format!("more than {EXPECTATIONS_MAX} lines `expect`");
        return Err(Diagnostic::error(&codes::TOO_MANY, line, told));
    }
    draft.expectations.push(Expectation {
        on: gathered.on.as_ref().map(|(_, span)| *span),
        request: Request {
            frontend: gathered.on.map(|(name, _)| name),
            source: gathered.source,
            through: gathered.through,
            to: gathered.to,
            sni: gathered.sni,
            ..Request::new(asked)
        },
        span: line,
        wishes: gathered.wishes,
    });
    Ok(())
}

pub(super) static LINES: &[Row] = language::rows! {
    "expect [<method>] [<url> | <path>] [on <frontend>] [from <address>] [to <address>] [through <address>] [sni \
          <name>] [header <header>]… [data <text>] { backend <name> | server [<backend>/]<name> | status <code> | location \
          <url> | refused }…" &["test"],
        expect,
        "expect GET https://shop.example.org/cart from 198.51.100.7 backend app",
        "A request and its expected outcome. `evenkeel check` and `evenkeel config apply` evaluate each \
          such request with the code of the proxy, without contacting a server, and refuse the files if the \
          outcome differs.\n\n\
        The listener is the one on the port of the URL (80, or 443 with https). A path needs `on <frontend>`; its host is \
        `localhost`. Without either it is a connection: to a frontend with `mode http` a GET for `/`, to others nothing \
        but the `data`, or a TLS client with `sni`.\n\n\
        `backend`: a server of this backend gets the request. `server`: this server gets it. `status`: the proxy itself replies \
        with this status; together with `backend`, in that backend. `location`: it redirects there. \
        `refused`: the request gets \
        neither, because the connection is closed, no line chooses a backend, or the backend has no \
        available server.\n\n\
        Each request is evaluated as directly after a start: all servers count as up unless their line says \
        `disabled`, and stick tables are empty. `from` sets the address of the client (192.0.2.10 by \
        default), `to` the address that it connects to, and `through` the load balancer that connects to a \
        listener with `accept-proxy`. `evenkeel route` evaluates the same request and shows each line that \
        was evaluated.";
};
