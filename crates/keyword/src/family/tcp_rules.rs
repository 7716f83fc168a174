//! Builds the rules for connections: `tcp-request connection`, `session` and `content`,
//! `tcp-response content`, and the time to wait for content.

use super::http_rules::not_in_unnamed_defaults;
use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use language::value::TimeUnit;
use model::compiled::AdmissionLine;
use model::config::Proxy;
use model::rules::{RuleSet, TcpRule, tcp_rule, warn_unreachable};

pub(super) static LINES: &[LineRow] = language::rows! {
    "tcp-request connection <action> [ { if | unless } <condition> ]" places::FRONT,
        |loader, args| tcp(loader, args, RuleSet::TcpConnection),
        "tcp-request connection reject if { src 192.0.2.0/24 }",
        "A rule for new connections, before any data is read: only the addresses are known. It is the cheapest way to \
         reject a client.";
    "tcp-request session <action> [ { if | unless } <condition> ]" places::FRONT,
        |loader, args| tcp(loader, args, RuleSet::TcpSession),
        "tcp-request session reject if { src 192.0.2.0/24 }",
        "A rule for established sessions: the PROXY header has been read, so the client's own address is known.";
    "tcp-request content <action> [ { if | unless } <condition> ]" places::ALL,
        |loader, args| tcp(loader, args, RuleSet::TcpContent),
        "tcp-request content reject if { req.len gt 1000 }",
        "A rule that can inspect the first bytes of a stream. A condition that needs data waits for it, up to \
         `tcp-request inspect-delay`. In HTTP mode the rule applies to each request, before `http-request` rules.";
    "tcp-request inspect-delay <time>" places::ALL,
        |loader, args| {
            let delay_ms = args.time_ms(TimeUnit::Milliseconds)?;
            args.end()?;
            loader.proxy().inspect_delay_ms = Some(delay_ms);
            Ok(())
        },
        "tcp-request inspect-delay 5s",
        "Maximum time that `tcp-request content` rules wait for data. Afterwards missing data counts as absent. By \
         default they do not wait.";
    "tcp-response content <action> [ { if | unless } <condition> ]" places::BACK,
        |loader, args| tcp(loader, args, RuleSet::TcpResponse),
        "tcp-response content reject if { res.payload(0,3) -m str 421 }",
        "A rule that can inspect the first bytes from a server. A condition that needs data waits for it, up to \
         `tcp-response inspect-delay`, and is false without that line. Data from the client passes meanwhile.";
    "tcp-response inspect-delay <time>" places::BACK,
        |loader, args| {
            let delay_ms = args.time_ms(TimeUnit::Milliseconds)?;
            args.end()?;
            loader.proxy().response_delay_ms = Some(delay_ms);
            Ok(())
        },
        "tcp-response inspect-delay 5s",
        "Maximum time that `tcp-response content` rules wait for data from the server. Afterwards missing data counts \
         as absent. By default they do not wait, so they rarely see any data.";
};

fn tcp(loader: &mut Loader, args: &mut Args<'_>, set: RuleSet) -> Built {
    not_in_unnamed_defaults(loader, args)?;
    let uses = loader.config.lists.use_count();
    let rule = tcp_rule(loader, args, set)?;
    if matches!(set, RuleSet::TcpConnection | RuleSet::TcpSession) {
        let uses = uses..loader.config.lists.use_count();
        let line = AdmissionLine::new(args.line(), uses);
        loader.proxy().admission.push(line);
    }
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
