//! Rules of connections: `tcp-request connection`, `session` and `content`,
//! `tcp-response content`, and how long content is waited for.

use super::http_rules::not_in_unnamed_defaults;
use super::{Args, Built, LineRow, places};
use crate::config::Proxy;
use crate::load::Loader;
use crate::rules::{RuleSet, TcpRule, tcp_rule, warn_unreachable};
use language::value::TimeUnit;

pub(super) static LINES: &[LineRow] = &[
    LineRow {
        name: "tcp-request connection",
        places: places::FRONT,
        syntax: "tcp-request connection <action> [ { if | unless } <condition> ]",
        doc: "A rule for new connections, before anything is read: only the addresses are known. It is the cheapest way to refuse a client.",
        example: "tcp-request connection reject if { src 192.0.2.0/24 }",
        build: |loader, args| tcp(loader, args, RuleSet::TcpConnection),
    },
    LineRow {
        name: "tcp-request session",
        places: places::FRONT,
        syntax: "tcp-request session <action> [ { if | unless } <condition> ]",
        doc: "A rule for connections that are ready: the PROXY header was read, so the client's own address is known.",
        example: "tcp-request session reject if { src 192.0.2.0/24 }",
        build: |loader, args| tcp(loader, args, RuleSet::TcpSession),
    },
    LineRow {
        name: "tcp-request content",
        places: places::ALL,
        syntax: "tcp-request content <action> [ { if | unless } <condition> ]",
        doc: "A rule that can look at the first bytes of a stream. A condition that needs bytes which have not come yet waits for them, up to \
              `tcp-request inspect-delay`. In HTTP mode it looks at each request, before `http-request` rules.",
        example: "tcp-request content reject if { req.len gt 1000 }",
        build: |loader, args| tcp(loader, args, RuleSet::TcpContent),
    },
    LineRow {
        name: "tcp-request inspect-delay",
        places: places::ALL,
        syntax: "tcp-request inspect-delay <time>",
        doc: "How long the rules of `tcp-request content` may wait for bytes; after it what has not come counts as not there. Without it they do not wait.",
        example: "tcp-request inspect-delay 5s",
        build: |loader, args| {
            let delay_ms = args.time_ms(TimeUnit::Milliseconds)?;
            args.end()?;
            loader.proxy().inspect_delay_ms = Some(delay_ms);
            Ok(())
        },
    },
    LineRow {
        name: "tcp-response content",
        places: places::BACK,
        syntax: "tcp-response content <action> [ { if | unless } <condition> ]",
        doc: "A rule that can look at the first bytes of a server. A condition that needs bytes which have not come yet waits for them as long as \
              `tcp-response inspect-delay` says, and is false without that line. What the client sends passes meanwhile.",
        example: "tcp-response content reject if { res.payload(0,3) -m str 421 }",
        build: |loader, args| tcp(loader, args, RuleSet::TcpResponse),
    },
    LineRow {
        name: "tcp-response inspect-delay",
        places: places::BACK,
        syntax: "tcp-response inspect-delay <time>",
        doc: "How long the rules of `tcp-response content` may wait for bytes of the server; after it what has not come counts as not there. Without it \
              they do not wait, and so hardly see any.",
        example: "tcp-response inspect-delay 5s",
        build: |loader, args| {
            let delay_ms = args.time_ms(TimeUnit::Milliseconds)?;
            args.end()?;
            loader.proxy().response_delay_ms = Some(delay_ms);
            Ok(())
        },
    },
];

fn tcp(loader: &mut Loader, args: &mut Args<'_>, set: RuleSet) -> Built {
    not_in_unnamed_defaults(loader, args)?;
    let rule = tcp_rule(loader, args, set)?;
    let list: fn(&mut Proxy) -> &mut Vec<TcpRule> = match set {
        RuleSet::TcpConnection => |proxy| &mut proxy.tcp_connection,
        RuleSet::TcpSession => |proxy| &mut proxy.tcp_session,
        RuleSet::TcpResponse => |proxy| &mut proxy.tcp_response,
        _ => |proxy| &mut proxy.tcp_content,
    };
    let before = list(loader.proxy()).last().cloned();
    warn_unreachable(loader, before.as_ref().map(TcpRule::rule), rule.rule());
    list(loader.proxy()).push(rule);
    Ok(())
}
