//! Builds `option http_proxy` of HAProxy 1.x: a backend without servers that connects to the
//! address in each request's URL. Current versions need four lines for that, from which this option
//! is built.

use super::places::ALL;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::{ConfigLine, ConfigWord, Diagnostic, Span};
use model::codes;
use model::config::{ProxyIndex, ServerAddress};
use model::rules::draft::Section;
use model::rules::{RuleSet, http_rule};
use std::net::Ipv4Addr;

/// Rules that are appended to the proxy's own `http-request` rules: the destination comes from the
/// URL, which must contain an address; the server sees only the path.
const RULES: &[&str] = &[
    "http-request deny deny_status 400 unless { url_ip -m found }",
    "http-request set-dst url_ip",
    "http-request set-dst-port url_port",
    "http-request set-uri %[pathq]",
];

fn http_proxy(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let on = !(args.negated || args.reset);
    loader.proxy().http_proxy = on.then_some(span);
    if on {
        let today = [RULES, &["option transparent"]].concat().join("\n");
        loader.report(
            Diagnostic::warning(
                &codes::LEGACY,
                span,
                "'option http_proxy' is obsolete: use 'option transparent' with rules",
            )
            .label("removed from HAProxy")
            .help(format!("in a backend without servers, write:\n{today}")),
        );
    }
    args.end()
}

/// Returns a line with this text, whose words have the span of the line that it replaces.
fn line(text: &str, span: Span) -> ConfigLine {
    let word = |word: &str| ConfigWord {
        bytes: word.as_bytes().to_vec(),
        span,
    };
    ConfigLine {
        words: text.split(' ').map(word).collect(),
        span,
        unset: Vec::new(),
    }
}

/// Adds the rules and a destination to the backends with the option that have neither servers nor
/// `dispatch`, after all lines were read.
pub(crate) fn finish(loader: &mut Loader) {
    let said = |proxy: &model::config::Proxy| {
        let alone = proxy.kind.is_backend() && proxy.servers.is_empty();
        proxy
            .http_proxy
            .filter(|_| alone && proxy.dispatch.is_none())
    };
    for index in 0..loader.config.proxies.len() {
        let proxy = &loader.config.proxies[index];
        let (Some(span), kind) = (said(proxy), proxy.kind) else {
            continue;
        };
        let section = Section::Proxy(ProxyIndex(index as u32), kind);
        let before = std::mem::replace(&mut loader.section, section);
        for text in RULES {
            let line = line(text, span);
            let mut args = Args::new(
                &line,
                1,
                "http-request",
                "http-request <action>",
                &codes::OF_ARGUMENTS,
            );
            match http_rule(loader, &mut args, RuleSet::HttpRequest) {
                Ok(rule) => loader.proxy().http_request.push(rule),
                Err(told) => loader.report(told),
            }
        }
        let anywhere = ServerAddress::SamePort(Ipv4Addr::UNSPECIFIED.into(), 0);
        loader.proxy().dispatch = Some((anywhere, span));
        loader.section = before;
    }
}

pub(super) static LINES: &[LineRow] = language::rows! {
    "[no] option http_proxy" ALL, http_proxy, "option http_proxy",
        "A backend without servers connects to the address and port in the URL of each request. The URL must contain \
         an IP address: names are not resolved, and other requests get status 400. The server gets only the path. \
         HAProxy has removed this option; it still works, with a warning that shows the current form.";
};

#[cfg(test)]
mod tests {
    use super::RULES;
    use crate::testing::{backend, codes_of};

    #[test]
    fn it_stands_for_rules_and_a_server_anywhere() {
        let proxy = backend("mode http\noption http_proxy");
        assert_eq!(proxy.http_request.len(), RULES.len());
        assert_eq!(proxy.servers.len(), 1);
        assert_eq!(codes_of("mode http\noption http_proxy"), ["W0104"]);
        let beside = backend("mode http\noption http_proxy\nserver a 127.0.0.1:1");
        assert!(beside.http_request.is_empty());
        let off = backend("mode http\noption http_proxy\nno option http_proxy");
        assert!(off.http_request.is_empty());
    }
}
