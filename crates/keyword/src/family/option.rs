//! Builds the boolean `option …` lines of proxies, the connection modes of HTTP (which exclude each
//! other), and `option redispatch`. Options that select a log format or a check are with those
//! families.

use super::places::{ALL, BACK, FRONT};
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::Diagnostic;
use model::codes;
use model::config::ProxyOption;

/// Default interval of `option redispatch`: only the last retry may use another server.
pub(super) const REDISPATCH_DEFAULT: i32 = -1;

/// HTTP connection modes; at most one of them is set.
const CONNECTION_MODES: [ProxyOption; 3] = [
    ProxyOption::HttpServerClose,
    ProxyOption::HttpClose,
    ProxyOption::HttpKeepAlive,
];

/// Sets a connection mode and clears the other ones; if `on` is false, clears only this mode.
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

fn flag(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    args.end()?;
    let on = !(args.negated || args.reset);
    let flag = FLAGS.iter().find(|(name, _)| *name == args.keyword);
    match flag.map(|(_, option)| *option) {
        Some(mode) if CONNECTION_MODES.contains(&mode) => connection_mode(loader, mode, on),
        Some(option) => loader.proxy().options.set(option, on),
        None => {}
    }
    Ok(())
}

fn nolinger(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let on = !(args.negated || args.reset);
    if on {
        loader.report(
            Diagnostic::warning(
                &codes::NO_LINGER,
                span,
                "'option nolinger' ends connections with a reset, so a client may lose data that it has not read yet",
            )
            .label("reset after the client's system has received everything")
            .help("remove the line; `timeout client-fin` frees half-closed connections safely"),
        );
    }
    args.end()?;
    loader.proxy().options.set(ProxyOption::NoLinger, on);
    Ok(())
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
    args.warn_of_surplus()
}

macro_rules! flags {
    ($($name:literal, $option:ident, $places:expr, $doc:literal;)*) => {
        const FLAGS: &[(&str, ProxyOption)] = &[$(($name, ProxyOption::$option)),*];

        pub static LINES: &[LineRow] = &[$(LineRow {
            places: $places,
            syntax: concat!("[no] ", $name),
            doc: $doc,
            example: $name,
            build: flag,
        }),*];
    };
}

flags! {
    "option abortonclose", AbortOnClose, ALL,
        "Drops a request whose client has closed its sending side while the request waits for a server. This saves \
         work when impatient users reload, but also drops requests of clients that half-close and wait.";
    "option accept-invalid-http-request", AcceptInvalidHttpRequest, FRONT,
        "Forwards requests with invalid bytes in targets and header names, if these cannot affect the framing, \
         instead of responding with 400. Use it for broken applications that cannot be fixed at once.";
    "option accept-invalid-http-response", AcceptInvalidHttpResponse, BACK,
        "Forwards responses with invalid bytes in header names instead of responding with 502. Framing is always \
         checked.";
    "option accept-unsafe-violations-in-http-request", AcceptInvalidHttpRequest, FRONT,
        "The newer name of `option accept-invalid-http-request`, with the same meaning. Framing is always checked.";
    "option accept-unsafe-violations-in-http-response", AcceptInvalidHttpResponse, BACK,
        "The newer name of `option accept-invalid-http-response`, with the same meaning. Framing is always checked.";
    "option allbackups", AllBackups, BACK,
        "When no ordinary server is left, all backup servers share the load. By default only the first one takes it.";
    "option checkcache", CheckCache, BACK,
        "Blocks a response with 502 if it sets a cookie and shared caches may store it, because it would give one \
         user's session to others.";
    "option clitcpka", ClientTcpKeepAlive, FRONT,
        "Sends TCP keep-alive packets on idle client connections, so that the system detects dead clients and \
         firewalls do not forget the connection.";
    "option contstats", ContStats, FRONT,
        "Counts the bytes of long downloads and tunnels while they are transferred, instead of at their end, so that \
         traffic graphs are smooth.";
    "option dontlog-normal", DontLogNormal, FRONT,
        "Does not log requests that ended without an error, a retry or a redispatch. Only problems are logged, so the \
         logs no longer show the traffic.";
    "option dontlognull", DontLogNull, FRONT,
        "Does not log connections without any data: health checks of other proxies, port scans, preconnecting \
         browsers.";
    "option disable-h2-upgrade", DisableH2Upgrade, FRONT,
        "Responds with 400 to a clear-text HTTP/1 connection that begins with the HTTP/2 preface, instead of \
         switching to HTTP/2.";
    "option h1-case-adjust-bogus-client", H1CaseClient, FRONT,
        "Writes header names of responses to HTTP/1 clients as `h1-case-adjust` defines, for clients that depend on \
         the case. Nothing else changes.";
    "option h1-case-adjust-bogus-server", H1CaseServer, BACK,
        "Writes header names of requests to HTTP/1 servers as `h1-case-adjust` defines, for servers that depend on \
         the case. Nothing else changes.";
    "option http-drop-request-trailers", DropRequestTrailers, BACK,
        "Drops the trailers of requests, because a server might mistake them for headers.";
    "option http-drop-response-trailers", DropResponseTrailers, FRONT,
        "Drops the trailers of responses, because a client might mistake them for headers.";
    "option http-buffer-request", HttpBufferRequest, ALL,
        "Waits for the whole request body, or for a full buffer, before evaluating rules and selecting a server. \
         Rules can then inspect the body, and slow clients do not occupy servers.";
    "option http-ignore-probes", HttpIgnoreProbes, FRONT,
        "Sends no 400 or 408, and logs nothing, when a connection ends or times out before its first request. \
         Preconnecting browsers would otherwise show that error.";
    "option http-keep-alive", HttpKeepAlive, ALL,
        "Keeps client and server connections open between requests. This is the default; the line cancels `option \
         httpclose` or `option http-server-close` of the `defaults` section.";
    "option http-no-delay", HttpNoDelay, ALL,
        "In HAProxy, sends partial messages at once instead of joining them. Evenkeel always does so; the line has no \
         effect.";
    "option http-pretend-keepalive", HttpPretendKeepAlive, BACK,
        "With `option http-server-close`, does not tell the server that the connection will be closed. Some servers \
         only send a `content-length` on connections that seem to be kept alive.";
    "option http-server-close", HttpServerClose, ALL,
        "Closes the server connection after each response, and keeps the client connection open. It costs one \
         connection per request; the default, keep-alive on both sides, is faster.";
    "option http-use-proxy-header", HttpUseProxyHeader, FRONT,
        "Applies the header `Proxy-Connection` of clients to the connection, in requests with an absolute URL. Use it \
         in front of a forward proxy that browsers are configured to use.";
    "option httpclose", HttpClose, ALL,
        "Closes both connections after each response. Use it for clients or servers that do not support keep-alive; \
         one connection per request is expensive.";
    "option idle-close-on-response", IdleCloseOnResponse, FRONT,
        "In a soft stop, keeps idle client connections open until the response to their next request or their \
         timeout, instead of closing them at once.";
    "option independent-streams", IndependentStreams, ALL,
        "Renews the timeout of each direction of a connection separately. This detects a peer that receives data but \
         sends none.";
    "option log-health-checks", LogHealthChecks, BACK,
        "Logs every change of a server's health checks, not only when the server goes up or down.";
    "option log-separate-errors", LogSeparateErrors, FRONT,
        "Logs failed requests with level `err` instead of `info`, so that syslog can write them to a separate file.";
    "option logasap", LogAsap, FRONT,
        "Logs a request after the response headers, with `+` before its time and size, instead of at its end. Use it \
         for long downloads and tunnels.";
    "option persist", Persist, BACK,
        "Sends a stream to its persistent server even if health checks report it as down. Without `option redispatch` \
         the stream fails if the server is really down.";
    "option prefer-last-server", PreferLastServer, BACK,
        "Sends a request to the server of the previous request on the same connection, if possible, instead of \
         balancing it, so that the server connection can be reused. A client whose connection is authenticated by \
         a server (NTLM, Negotiate) stays there without this option, unless a hash chooses the server.";
    "option socket-stats", SocketStats, FRONT,
        "Shows a line in the statistics for each `bind` of the frontend, not only their sum.";
    "option splice-auto", SpliceAuto, ALL,
        "In HAProxy, splices data between sockets in the kernel, without a copy. Evenkeel always does so for large \
         bodies and tunnels that no rule inspects, between connections without TLS and HTTP/2; the line has no \
         effect. `nosplice` disables it.";
    "option splice-request", SpliceAuto, ALL,
        "Like `option splice-auto`, for data from clients: no effect in Evenkeel.";
    "option splice-response", SpliceAuto, ALL,
        "Like `option splice-auto`, for data from servers: no effect in Evenkeel.";
    "option srvtcpka", ServerTcpKeepAlive, BACK,
        "Sends TCP keep-alive packets on server connections, so that the system detects dead servers and firewalls do \
         not forget the connection.";
    "option tcp-smart-accept", TcpSmartAccept, FRONT,
        "In HAProxy, delays the acknowledgement of a client's first packet until there is a response. Evenkeel leaves \
         that to the kernel; the line has no effect.";
    "option tcp-smart-connect", TcpSmartConnect, BACK,
        "In HAProxy, sends the first data together with the last packet of the handshake with a server. Evenkeel \
         leaves that to the kernel; the line has no effect.";
}

/// Rows of options that have more than a flag.
pub static SPECIAL: &[LineRow] = language::rows! {
    "[no] option nolinger" ALL, nolinger, "no option nolinger",
        "Closes connections with a reset, so that the system forgets them at once. Connections with unsent data are \
         closed normally. Even so, some clients lose data that they have received but not read. The option exists for \
         old files, and causes a warning.";
    "[no] option tcpka" ALL, tcpka, "option tcpka",
        "`option clitcpka` and `option srvtcpka` together: TCP keep-alive packets on both sides.";
    "[no] option redispatch [<interval>]" BACK, redispatch, "option redispatch",
        "Lets a retried connection go to another server than the one selected by a cookie or a hash. -1, the default, \
         does so on the last retry, 1 on each retry, 3 on every third; 0 never does.";
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_an_option_has_its_flag() {
        for row in LINES {
            let has_flag = FLAGS.iter().any(|(name, _)| *name == row.name());
            assert!(has_flag, "{}", row.name());
        }
        for (name, _) in FLAGS {
            let found = LINES.iter().chain(SPECIAL).any(|row| row.name() == *name);
            assert!(found, "{name}");
        }
    }
}
