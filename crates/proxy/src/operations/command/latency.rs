//! Implements `show latency`: prints percentiles of the durations of recent requests.

use super::{CommandReply, Context, Session};
use model::config::ProxyKind;
use model::state::Counters;
use std::fmt::Write;

const HEAD: &str = "# pxname,svname,samples,p50_ms,p95_ms,p99_ms\n";

/// `show latency`: one line for each frontend, backend and server that has had requests.
pub fn show(context: &Context, _: &Session, _: &[&str]) -> CommandReply {
    let config = context.runtime.config();
    let mut text = HEAD.to_owned();
    let mut line = |proxy: &str, name: &str, counters: &Counters| {
        let of = counters.percentiles();
        if of.samples > 0 {
            let (samples, p50, p95, p99) = (of.samples, of.p50_ms, of.p95_ms, of.p99_ms);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{proxy},{name},{samples},{p50},{p95},{p99}");
        }
    };
    for proxy in &config.proxies {
        if proxy.kind != ProxyKind::Backend {
            line(&proxy.name, "FRONTEND", &proxy.state.frontend.counters);
        }
        for server in &proxy.servers {
            line(&proxy.name, &server.name, &server.state.traffic.counters);
        }
        if proxy.kind != ProxyKind::Frontend {
            line(&proxy.name, "BACKEND", &proxy.state.backend.counters);
        }
    }
    CommandReply::report(text)
}
