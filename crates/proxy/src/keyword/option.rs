//! `option …` of proxies that are on or off, the connection modes of HTTP
//! (which exclude each other), and `option redispatch`.
//! Options that choose a log format or a check stand with those.

use super::places::{ALL, BACK, FRONT};
use super::{Args, Built, LineRow};
use crate::config::ProxyOption;
use crate::load::{Loader, codes};
use language::Diagnostic;

/// `option redispatch` without an interval: the last retry goes elsewhere.
pub(super) const REDISPATCH_DEFAULT: i32 = -1;

/// The ways of ending an HTTP exchange; at most one of them is set.
const CONNECTION_MODES: [ProxyOption; 3] = [
    ProxyOption::HttpServerClose,
    ProxyOption::HttpClose,
    ProxyOption::HttpKeepAlive,
];

/// Chooses a connection mode, or leaves it if it is the one that was chosen.
pub(super) fn connection_mode(loader: &mut Loader, mode: ProxyOption, on: bool) {
    let options = &mut loader.proxy().options;
    if on {
        for other in CONNECTION_MODES {
            options.set(other, other == mode);
        }
    } else {
        options.set(mode, false);
    }
}

fn option_of(keyword: &str) -> Option<ProxyOption> {
    FLAGS
        .iter()
        .find(|(name, _)| *name == keyword)
        .map(|(_, option)| *option)
}

/// The names of the options that are only on or off.
const FLAGS: &[(&str, ProxyOption)] = &[
    ("option abortonclose", ProxyOption::AbortOnClose),
    (
        "option accept-invalid-http-request",
        ProxyOption::AcceptInvalidHttpRequest,
    ),
    (
        "option accept-invalid-http-response",
        ProxyOption::AcceptInvalidHttpResponse,
    ),
    (
        "option accept-unsafe-violations-in-http-request",
        ProxyOption::AcceptInvalidHttpRequest,
    ),
    (
        "option accept-unsafe-violations-in-http-response",
        ProxyOption::AcceptInvalidHttpResponse,
    ),
    ("option allbackups", ProxyOption::AllBackups),
    ("option checkcache", ProxyOption::CheckCache),
    ("option clitcpka", ProxyOption::ClientTcpKeepAlive),
    ("option contstats", ProxyOption::ContStats),
    ("option disable-h2-upgrade", ProxyOption::DisableH2Upgrade),
    ("option dontlog-normal", ProxyOption::DontLogNormal),
    ("option dontlognull", ProxyOption::DontLogNull),
    (
        "option h1-case-adjust-bogus-client",
        ProxyOption::H1CaseClient,
    ),
    (
        "option h1-case-adjust-bogus-server",
        ProxyOption::H1CaseServer,
    ),
    (
        "option http-drop-request-trailers",
        ProxyOption::DropRequestTrailers,
    ),
    (
        "option http-drop-response-trailers",
        ProxyOption::DropResponseTrailers,
    ),
    ("option http-buffer-request", ProxyOption::HttpBufferRequest),
    ("option http-ignore-probes", ProxyOption::HttpIgnoreProbes),
    ("option http-keep-alive", ProxyOption::HttpKeepAlive),
    ("option http-no-delay", ProxyOption::HttpNoDelay),
    (
        "option http-pretend-keepalive",
        ProxyOption::HttpPretendKeepAlive,
    ),
    ("option http-server-close", ProxyOption::HttpServerClose),
    (
        "option http-use-proxy-header",
        ProxyOption::HttpUseProxyHeader,
    ),
    ("option httpclose", ProxyOption::HttpClose),
    (
        "option idle-close-on-response",
        ProxyOption::IdleCloseOnResponse,
    ),
    (
        "option independent-streams",
        ProxyOption::IndependentStreams,
    ),
    ("option log-health-checks", ProxyOption::LogHealthChecks),
    ("option log-separate-errors", ProxyOption::LogSeparateErrors),
    ("option logasap", ProxyOption::LogAsap),
    ("option nolinger", ProxyOption::NoLinger),
    ("option persist", ProxyOption::Persist),
    ("option prefer-last-server", ProxyOption::PreferLastServer),
    ("option socket-stats", ProxyOption::SocketStats),
    ("option splice-auto", ProxyOption::SpliceAuto),
    ("option splice-request", ProxyOption::SpliceAuto),
    ("option splice-response", ProxyOption::SpliceAuto),
    ("option srvtcpka", ProxyOption::ServerTcpKeepAlive),
    ("option tcp-smart-accept", ProxyOption::TcpSmartAccept),
    ("option tcp-smart-connect", ProxyOption::TcpSmartConnect),
];

fn flag(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    args.end()?;
    let on = !(args.negated || args.reset);
    let Some(option) = option_of(args.keyword) else {
        return Ok(());
    };
    if CONNECTION_MODES.contains(&option) {
        connection_mode(loader, option, on);
    } else {
        loader.proxy().options.set(option, on);
    }
    Ok(())
}

fn nolinger(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    if !(args.negated || args.reset) {
        loader.tell(
            Diagnostic::warning(
                &codes::NO_LINGER,
                span,
                "'option nolinger' ends connections with a reset, and a client may lose what it has not read yet",
            )
            .label("reset once the client's system has it all")
            .help("remove the line; `timeout client-fin` frees half-closed connections safely"),
        );
    }
    flag(loader, args)
}

fn tcpka(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let on = !(args.negated || args.reset);
    let options = &mut loader.proxy().options;
    options.set(ProxyOption::ClientTcpKeepAlive, on);
    options.set(ProxyOption::ServerTcpKeepAlive, on);
    args.end()
}

fn redispatch(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let mut interval = REDISPATCH_DEFAULT;
    if args.peek().is_some() {
        let range = i64::from(i32::MIN)..=i64::from(i32::MAX);
        let number = args.integer("a number of retries", range)?;
        interval = i32::try_from(number).unwrap_or(REDISPATCH_DEFAULT);
    }
    let on = !(args.negated || args.reset) && interval != 0;
    loader.proxy().redispatch = on.then_some(interval);
    args.surplus()
}

macro_rules! flags {
    ($($name:literal, $places:expr, $doc:literal;)*) => {
        /// The options that are only on or off.
        pub static LINES: &[LineRow] = &[$(LineRow {
            name: $name,
            places: $places,
            syntax: concat!("[no] ", $name),
            doc: $doc,
            example: $name,
            build: flag,
        }),*];
    };
}

flags! {
    "option abortonclose", ALL,
        "A request whose client has closed its sending side is dropped while it still waits for a server. It saves work when \
         impatient users reload, and cuts off clients that half-close and wait.";
    "option accept-invalid-http-request", FRONT,
        "Requests with bytes that HTTP forbids in targets and header names, but that cannot confuse their framing, are passed on \
         instead of answered with 400. It is for broken applications that cannot be repaired at once.";
    "option accept-invalid-http-response", BACK,
        "The same for answers: forbidden bytes in header names are passed on instead of answered with 502. Framing is checked \
         in any case.";
    "option accept-unsafe-violations-in-http-request", FRONT,
        "The newer name of `option accept-invalid-http-request`, with the same meaning here. Framing is checked in any case.";
    "option accept-unsafe-violations-in-http-response", BACK,
        "The newer name of `option accept-invalid-http-response`, with the same meaning here. Framing is checked in any case.";
    "option allbackups", BACK,
        "When no ordinary server is left, all backup servers share the load instead of the first one taking it alone.";
    "option checkcache", BACK,
        "An answer that sets a cookie and that shared caches would be allowed to keep is blocked with 502, because it would hand \
         one user's session to others.";
    "option clitcpka", FRONT,
        "TCP keep-alive packets are sent on idle connections of clients, so that the system notices dead ones and firewalls on \
         the way do not forget the connection.";
    "option contstats", FRONT,
        "The bytes of long downloads and tunnels are counted while they flow and not only at their end, so that curves of \
         traffic do not jump.";
    "option dontlog-normal", FRONT,
        "Requests that ended without an error, a retry or a redispatch are not logged. What is left are the problems; traffic \
         can no longer be analysed from such logs.";
    "option dontlognull", FRONT,
        "Connections over which nothing was sent are not logged: health checks of other proxies, port scans, browsers that \
         connect ahead of need.";
    "option disable-h2-upgrade", FRONT,
        "A connection of HTTP/1 without TLS that begins with the preface of HTTP/2 is answered with 400 instead of being taken for HTTP/2.";
    "option h1-case-adjust-bogus-client", FRONT,
        "Names of headers in answers are written to HTTP/1 clients as `h1-case-adjust` says, for clients that take case for a part of the name. \
         Nothing else is changed.";
    "option h1-case-adjust-bogus-server", BACK,
        "Names of headers in requests are written to HTTP/1 servers as `h1-case-adjust` says, for servers that take case for a part of the name. \
         Nothing else is changed.";
    "option http-drop-request-trailers", BACK,
        "Headers that a client sends behind the body of its request are not passed to the server, which might take them for more than they are.";
    "option http-drop-response-trailers", FRONT,
        "Headers that a server sends behind the body of its answer are not passed to the client.";
    "option http-buffer-request", ALL,
        "A request waits until its whole body, or a buffer full of it, has arrived before rules run and a server is chosen. Rules \
         can then look at the body, and slow senders do not hold servers.";
    "option http-ignore-probes", FRONT,
        "A connection that ends or times out before its first request gets no 400 or 408 and is not logged. Browsers that \
         connect ahead of need would otherwise show that answer.";
    "option http-keep-alive", ALL,
        "Connections to clients and servers stay open between requests. That is the default; the line undoes an `option \
         httpclose` or `option http-server-close` of the `defaults` section.";
    "option http-no-delay", ALL,
        "Lets HAProxy send parts of messages at once instead of joining them with what follows. Here they always are: the line \
         is accepted and makes no difference.";
    "option http-pretend-keepalive", BACK,
        "With `option http-server-close` the server is not told that its connection will be closed. Some servers only send a \
         `content-length` to clients that seem to keep their connection.";
    "option http-server-close", ALL,
        "The connection to the server is closed after each answer while the client's stays open. It costs a connection per \
         request; the default, keep-alive on both sides, is faster.";
    "option http-use-proxy-header", FRONT,
        "The connection of clients that send `Proxy-Connection` follows that header, in requests whose target is a whole URL. \
         It is for standing before a proxy that browsers are configured to use.";
    "option httpclose", ALL,
        "Both connections are closed after each answer. It is for clients or servers that cannot keep connections; one \
         connection per request is expensive.";
    "option idle-close-on-response", FRONT,
        "At a soft stop, idle connections of clients stay open until their next request was answered or their timeout passed, \
         instead of being closed at once.";
    "option independent-streams", ALL,
        "The timeout of a connection is renewed only by the direction that it watches, not by traffic of the other direction. It \
         detects a peer that takes data and sends none.";
    "option log-health-checks", BACK,
        "Every change of a server's health checks is logged, not only when the server goes up or down.";
    "option log-separate-errors", FRONT,
        "Log lines of requests that failed have the level `err` instead of `info`, so that syslog can put them into another file.";
    "option logasap", FRONT,
        "A request is logged when the answer's head was seen, with `+` before its time and size, instead of at its end. It is \
         for long downloads and tunnels.";
    "option persist", BACK,
        "A stream that belongs to a server goes there even while checks find it down. Without `option redispatch` it gets an error \
         where the server really is down.";
    "option prefer-last-server", BACK,
        "A request goes to the server of the one before it on the same connection if that is possible, rather than to the one \
         that balancing would choose, so that the connection to the server can be kept.";
    "option socket-stats", FRONT,
        "The statistics show a line for each `bind` of the frontend, not only their sum.";
    "option splice-auto", ALL,
        "Lets HAProxy move bytes between sockets inside the kernel, without a copy. Evenkeel does so by itself with large bodies and \
         tunnels that nobody looks at, from one connection without TLS and HTTP/2 to another; the line is accepted and makes no \
         difference. `nosplice` forbids it.";
    "option splice-request", ALL,
        "As `option splice-auto`, for what clients send: accepted, and without a difference here.";
    "option splice-response", ALL,
        "As `option splice-auto`, for what servers send: accepted, and without a difference here.";
    "option srvtcpka", BACK,
        "TCP keep-alive packets are sent on connections to servers, so that the system notices dead ones and firewalls on the \
         way do not forget the connection.";
    "option tcp-smart-accept", FRONT,
        "Lets HAProxy delay the acknowledgement of a client's first packet until there is an answer. Here that is left to the \
         kernel; the line is accepted and makes no difference.";
    "option tcp-smart-connect", BACK,
        "Lets HAProxy send the first data together with the acknowledgement that ends the handshake with a server. Here that is \
         left to the kernel; the line is accepted and makes no difference.";
}

/// The options that do more.
pub static SPECIAL: &[LineRow] = &[
    LineRow {
        name: "option nolinger",
        places: ALL,
        syntax: "[no] option nolinger",
        doc: "Connections are closed with a reset, so that the system forgets them at once; one with data still under way is \
              closed in the ordinary way. Even so some clients lose what they have received and not read. It is kept because \
              old files have it, and it is warned about.",
        example: "no option nolinger",
        build: nolinger,
    },
    LineRow {
        name: "option tcpka",
        places: ALL,
        syntax: "[no] option tcpka",
        doc: "`option clitcpka` and `option srvtcpka` together: TCP keep-alive packets on both sides.",
        example: "option tcpka",
        build: tcpka,
    },
    LineRow {
        name: "option redispatch",
        places: BACK,
        syntax: "[no] option redispatch [<interval>]",
        doc: "A retried connection may go to another server than the one that a cookie or a hash chose. -1, the default, does \
              so on the last retry, 1 on each, 3 on every third; 0 never does.",
        example: "option redispatch",
        build: redispatch,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_an_option_has_its_flag() {
        for row in LINES {
            assert!(option_of(row.name).is_some(), "{}", row.name);
        }
        for (name, _) in FLAGS {
            let found = LINES.iter().chain(SPECIAL).any(|row| row.name == *name);
            assert!(found, "{name}");
        }
    }
}
