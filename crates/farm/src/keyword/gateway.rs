//! Parses the lines of a `farm` section for its gateway (where it listens, and its address), and
//! reports missing ones.

use super::section::{Bind, Farm, FarmSectionDraft, binds};
use super::settings::time;
use super::{FarmLineBuilder, codes};
use crate::config::{self, GATEWAY_PATH};
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::section::{many, once};
use language::{Diagnostic, Span, Spanned};
use std::ops::RangeInclusive;

const HTTPS: u16 = 443;
const LIMIT_MS: RangeInclusive<u32> = 60_000..=2_073_600_000;

#[derive(Debug, Default)]
pub(super) struct Gateway {
    pub(super) web: Vec<Bind>,
    pub(super) gateway: Option<Spanned<config::Gateway>>,
}

fn web(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = many(&mut draft.farms, args, "web")?;
    binds(&mut farm.gateway.web, &mut farm.proxies, args)
}

fn gateway(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = once(&mut draft.farms, args, "gateway")?;
    let word =
        args.required("an address such as https://desktop.example.org/remoteDesktopGateway/")?;
    let (name, port) = address(word.str()).map_err(|why| args.unexpected_value(word, why))?;
    let mut gateway = config::Gateway {
        name,
        port,
        idle_ms: None,
        session_ms: None,
    };
    while let Some(option) = args.next() {
        match option.str() {
            "idle" => gateway.idle_ms = Some(time(args, &LIMIT_MS)?),
            "session" => gateway.session_ms = Some(time(args, &LIMIT_MS)?),
            _ => return Err(args.unexpected_value(option, "not `idle` or `session`")),
        }
    }
    farm.gateway.gateway = Some(Spanned::new(gateway, word.span));
    Ok(())
}

fn address(text: &str) -> Result<(String, u16), &'static str> {
    const NONE: &str = "not an address such as https://desktop.example.org/remoteDesktopGateway/";
    let rest = text.strip_prefix("https://").ok_or(NONE)?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, GATEWAY_PATH),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (
            host,
            port.parse().ok().filter(|port| *port != 0).ok_or(NONE)?,
        ),
        None => (authority, HTTPS),
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    if host.is_empty() || host.len() > 253 || !host.bytes().all(fits) {
        return Err(NONE);
    }
    if path.eq_ignore_ascii_case(GATEWAY_PATH) {
        Ok((host.to_ascii_lowercase(), port))
    } else {
        Err("not the path /remoteDesktopGateway/, the only one that clients ask for")
    }
}

pub(super) fn incomplete(farm: &Farm) -> Vec<Diagnostic> {
    let Some(gateway) = &farm.gateway.gateway else {
        return Vec::new();
    };
    let helps = [
        (
            &["web"][..],
            "add `web [ADDRESS]:PORT crt FILE`, such as `web :443 crt /etc/evenkeel/desktop.pem`",
        ),
        (
            &["users", "pam"],
            "add `users NAME` with the name of a `userlist`",
        ),
    ];
    let helps = helps.into_iter();
    let missing = helps.filter(|(keywords, _)| !keywords.iter().any(|one| farm.given.has(one)));
    let told = |(keywords, help): (&[&str], &str)| {
        let told = format!("the gateway has no '{}' line", keywords.join("' or '"));
        Diagnostic::error(&codes::INCOMPLETE_GATEWAY, gateway.span, told).help(help)
    };
    missing.map(told).collect()
}

pub(super) fn web_name(farm: &Farm) -> Option<(&str, Span)> {
    let gateway = farm.gateway.gateway.as_ref()?;
    Some((&gateway.value.name, gateway.span))
}

pub(super) static LINES: &[Keyword<FarmLineBuilder>] = language::rows! {
    "web [<address>]:<port> crt <file> [accept-proxy]" &["farm"], web,
        "web 192.0.2.10:443 crt /etc/evenkeel/desktop.pem",
        "Where the farm listens for HTTPS: an IP address and a port, at most 8 lines. A virtual address may be named \
         before the machine has it. `crt` is a certificate with its issuers and its private key in PEM format. The \
         gateway and the portal are there. `accept-proxy` is as for `bind`. A port below 1024 can be added only by a \
         restart.";
    "gateway <address> [idle <time>] [session <time>]" &["farm"], gateway,
        "gateway https://desktop.example.org/remoteDesktopGateway/ idle 2h session 12h",
        "The gateway: clients that have only HTTPS reach the farm and its hosts through it (RD Gateway, [MS-TSGU] over \
         WebSocket or over two requests). The address is the one that clients have, with the path that they ask for. \
         It needs a line `web` and a line `users`: users authenticate by NTLMv2, which needs `insecure-password` in \
         the `userlist`, by Basic, or by the cookie of a `.rdp` file. Any other host is refused. Without input for \
         `idle` a tunnel ends; after `session` its user has to authenticate again, which clients do by themselves. \
         Without them there is no such limit.";
};
