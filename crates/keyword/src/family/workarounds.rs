//! Builds the switches of `global` for compatibility with old peers and hardening against unusual
//! clients, which change what is refused, announced or reported.

use super::places::GLOBAL;
use super::value::on_off;
use super::{Args, Built, LineRow};
use crate::family::Loader;

fn switch(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let set = &mut loader.config.global.tune.workarounds;
    match args.keyword {
        "h1-accept-payload-with-any-method" => set.body_with_any_method = true,
        "h2-workaround-bogus-websocket-clients" => set.no_websocket_over_http2 = true,
        "pp2-never-send-local" => set.never_send_local = true,
        _ => {}
    }
    args.end()
}

fn hardening(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let on = on_off(args)?;
    if args.keyword == "harden.reject-privileged-ports.tcp" {
        let set = &mut loader.config.global.tune.workarounds;
        set.reject_privileged_ports = on;
    }
    args.end()
}

pub static LINES: &[LineRow] = language::rows! {
    "h1-accept-payload-with-any-method" GLOBAL, switch, "h1-accept-payload-with-any-method",
        "Accepts a body on GET, HEAD and DELETE requests of HTTP/1.0. Otherwise they are refused with 413, because \
         some intermediaries would mistake that body for another request.";
    "h2-workaround-bogus-websocket-clients" GLOBAL, switch, "h2-workaround-bogus-websocket-clients",
        "Does not announce WebSocket over HTTP/2 (RFC 8441) to HTTP/2 clients, so that clients with a faulty \
         implementation use HTTP/1 for it.";
    "pp2-never-send-local" GLOBAL, switch, "pp2-never-send-local",
        "Health checks of servers with `send-proxy-v2` send the addresses of their own connection instead of the LOCAL \
         command, for servers that do not support LOCAL and would be marked down.";
    "harden.reject-privileged-ports.tcp { on | off }" GLOBAL, hardening,
        "harden.reject-privileged-ports.tcp on",
        "Closes connections from client ports below 1024 at once, without a response or a log line. Legitimate clients \
         do not use such ports, and a forged one may make two services respond to each other. Off by default.";
    "harden.reject-privileged-ports.quic { on | off }" GLOBAL, hardening,
        "harden.reject-privileged-ports.quic on",
        "The same as for TCP, for QUIC clients. QUIC is not supported.";
};

#[cfg(test)]
mod tests {
    use crate::testing::load_text;
    use model::config::Workarounds;

    #[test]
    fn each_line_sets_its_switch() {
        let text = "global\n h1-accept-payload-with-any-method\n pp2-never-send-local\n \
                    h2-workaround-bogus-websocket-clients\n harden.reject-privileged-ports.tcp on\n\
                    listen a\n bind 127.0.0.1:1\n";
        let config = load_text(text).config.expect("no mistake");
        let all = Workarounds {
            reject_privileged_ports: true,
            body_with_any_method: true,
            no_websocket_over_http2: true,
            never_send_local: true,
        };
        assert_eq!(config.global.tune.workarounds, all);
        assert!(
            load_text("global\n harden.reject-privileged-ports.tcp yes\n")
                .diagnostics
                .errors()
                > 0
        );
    }
}
