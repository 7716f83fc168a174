//! Builds the `timeout …` lines of proxies, and the old names of three timeouts, and finds missing
//! timeouts. Each line sets one field of [`Timeouts`]; 0 is the same as none, as in HAProxy.

use super::places::{ALL, BACK, FRONT};
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::value::TimeUnit;
use language::{Diagnostic, Span};
use model::codes;
use model::config::Timeouts;

/// Milliseconds below which a number without a unit causes a warning: the unit was probably
/// forgotten.
const SUSPICIOUS_MS: u32 = 100;

fn field<'t>(timeouts: &'t mut Timeouts, keyword: &str) -> Option<&'t mut Option<u32>> {
    Some(match keyword {
        "timeout client" | "clitimeout" | "timeout clitimeout" => &mut timeouts.client_ms,
        "timeout client-fin" => &mut timeouts.client_fin_ms,
        "timeout http-request" => &mut timeouts.http_request_ms,
        "timeout http-keep-alive" => &mut timeouts.http_keep_alive_ms,
        "timeout connect" | "contimeout" | "timeout contimeout" => &mut timeouts.connect_ms,
        "timeout queue" => &mut timeouts.queue_ms,
        "timeout server" | "srvtimeout" | "timeout srvtimeout" => &mut timeouts.server_ms,
        "timeout server-fin" => &mut timeouts.server_fin_ms,
        "timeout tunnel" => &mut timeouts.tunnel_ms,
        "timeout tarpit" => &mut timeouts.tarpit_ms,
        "timeout check" => &mut timeouts.check_ms,
        "timeout client-hs" => &mut timeouts.handshake_ms,
        _ => return None,
    })
}

fn timeout(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    if matches!(loader.section, model::rules::draft::Section::Ring(_)) {
        return super::ring::timeout(loader, args);
    }
    if loader.section == model::rules::draft::Section::LogForward {
        return super::log_forward::timeout(loader, args);
    }
    let keyword = args.keyword;
    let word = args.peek();
    let ms = args.time_ms(TimeUnit::Milliseconds)?;
    args.end()?;
    let bare = word.filter(|w| w.bytes.iter().all(u8::is_ascii_digit));
    if let Some(word) = bare.filter(|_| ms > 0 && ms < SUSPICIOUS_MS) {
        let told = format!("'{keyword} {ms}' is {ms} milliseconds");
        loader.report(
            Diagnostic::warning(&codes::SMALL_TIMEOUT, word.span, told)
                .label("the unit is missing")
                .help(format!("for seconds write '{keyword} {ms}s'"))
                .fix(word.span, format!("{ms}s")),
        );
    }
    if let Some(field) = field(&mut loader.proxy().timeouts, keyword) {
        *field = (ms > 0).then_some(ms);
    }
    Ok(())
}

fn old_timeout(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let name = match args.keyword {
        "contimeout" | "timeout contimeout" => "timeout connect",
        "srvtimeout" | "timeout srvtimeout" => "timeout server",
        _ => "timeout client",
    };
    let span = args.keyword_span();
    super::legacy::warn(loader, span, args.keyword, name);
    timeout(loader, args)
}

/// Returns the names of the timeouts that a proxy lacks and HAProxy warns about.
pub(crate) fn missing_timeouts(proxy: &model::config::Proxy) -> Vec<&'static str> {
    let serves = proxy.kind.is_backend() && !proxy.servers.is_empty();
    let timeouts = &proxy.timeouts;
    let mut missing = Vec::new();
    if proxy.mode == model::config::Mode::Log {
        return missing;
    }
    if proxy.kind.is_frontend() && timeouts.client_ms.is_none() {
        missing.push("client");
    }
    if serves && timeouts.connect_ms.is_none() {
        missing.push("connect");
    }
    if serves && timeouts.server_ms.is_none() {
        missing.push("server");
    }
    missing
}

pub(crate) fn missing_warning(span: Span, what: &str, missing: &[&str]) -> Diagnostic {
    let lines: Vec<String> = missing
        .iter()
        .map(|name| format!("timeout {name} 30s"))
        .collect();
    Diagnostic::warning(
        &codes::MISSING_TIMEOUT,
        span,
        format!("missing timeouts for {what}"),
    )
    .label(format!("'{}' not set, or 0", missing.join("', '")))
    .note("'client', 'connect' and 'server' must be greater than 0 in each proxy that uses them")
    .help(format!(
        "add to it or to its `defaults`: {}",
        lines.join(", ")
    ))
}

pub static LINES: &[LineRow] = language::rows! {
    "timeout client <timeout>" &["defaults", "frontend", "listen", "log-forward"], timeout,
        "timeout client 30s",
        "Maximum inactivity of a client that is expected to send or receive data. A bare number is in milliseconds. \
         There is no default: a frontend without it never closes connections of dead clients, and causes a warning.";
    "timeout client-fin <timeout>" FRONT, timeout, "timeout client-fin 5s",
        "Replaces `timeout client` once one direction of the connection is closed, so that half-closed connections do \
         not remain. The default is `timeout client`.";
    "timeout client-hs <timeout>" FRONT, timeout, "timeout client-hs 5s",
        "Maximum time for a client's TLS handshake, from the acceptance of its connection. The default is `timeout \
         client`.";
    "timeout http-request <timeout>" ALL, timeout, "timeout http-request 5s",
        "Maximum time for complete request headers, from their first byte (for the first request, from the acceptance \
         of the connection). Slow clients do not extend it. The default is `timeout client`.";
    "timeout http-keep-alive <timeout>" ALL, timeout, "timeout http-keep-alive 10s",
        "Maximum idle time of a client connection between a response and the next request. The default is `timeout \
         http-request`, or else `timeout client`.";
    "timeout connect <timeout>" &["defaults", "listen", "backend", "ring"], timeout,
        "timeout connect 5s",
        "Maximum time to establish a connection to a server; then the attempt fails and `retries` applies. A few \
         seconds cover a lost packet on a local network.";
    "timeout queue <timeout>" BACK, timeout, "timeout queue 30s",
        "Maximum time that a request waits for a free slot of a server; then it gets status 503. The default is \
         `timeout connect`.";
    "timeout server <timeout>" &["defaults", "listen", "backend", "ring"], timeout,
        "timeout server 30s",
        "Maximum inactivity of a server, especially until its response begins; then the client gets 504. There is no \
         default: a backend with servers and without it causes a warning.";
    "timeout server-fin <timeout>" BACK, timeout, "timeout server-fin 5s",
        "Replaces `timeout server` once one direction of the server connection is closed. The default is `timeout \
         server`.";
    "timeout tunnel <timeout>" BACK, timeout, "timeout tunnel 1h",
        "Replaces `timeout client` and `timeout server` in tunnels: TCP, WebSocket, CONNECT. It allows long idle times \
         there, while requests keep short timeouts.";
    "timeout tarpit <timeout>" ALL, timeout, "timeout tarpit 10s",
        "Time that a tarpitted request is held before its response. The default is `timeout connect`.";
    "timeout check <timeout>" BACK, timeout, "timeout check 2s",
        "Maximum time for the response to a health check, once connected; `timeout connect` then limits the \
         connection. By default the interval between two checks limits the whole check.";
    "clitimeout <timeout>" FRONT, old_timeout, "clitimeout 50000",
        "The name of `timeout client` in HAProxy 1.x. It still works, with a warning that shows the current form.";
    "timeout clitimeout <timeout>" FRONT, old_timeout, "timeout clitimeout 50s",
        "An alternative name of `timeout client` in HAProxy 1.x. It still works, with a warning.";
    "contimeout <timeout>" BACK, old_timeout, "contimeout 5000",
        "The name of `timeout connect` in HAProxy 1.x. It still works, with a warning that shows the current form.";
    "timeout contimeout <timeout>" BACK, old_timeout, "timeout contimeout 5s",
        "An alternative name of `timeout connect` in HAProxy 1.x. It still works, with a warning.";
    "srvtimeout <timeout>" BACK, old_timeout, "srvtimeout 50000",
        "The name of `timeout server` in HAProxy 1.x. It still works, with a warning that shows the current form.";
    "timeout srvtimeout <timeout>" BACK, old_timeout, "timeout srvtimeout 50s",
        "An alternative name of `timeout server` in HAProxy 1.x. It still works, with a warning.";
};
