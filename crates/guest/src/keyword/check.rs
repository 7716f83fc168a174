//! Parses the line `check` of a `guest` section.

use super::GuestLineBuilder;
use super::codes;
use super::section::{GuestSection, ParsedSections};
use super::words::time_ms;
use crate::config::{self, Probe};
use configuration::Context;
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::section::once;
use language::{Diagnostic, Span};
use std::net::IpAddr;
use std::ops::RangeInclusive;

const INTER_MS: u64 = 2_000;
const FALL: u32 = 3;
const RISE: u32 = 2;
/// Default time that a guest may take to start, milliseconds.
const GRACE_MS: u64 = 60_000;

/// Bounds of the interval and the timeout in the line, milliseconds.
const TIMES_MS: RangeInclusive<u32> = 100..=3600 * 1000;
/// Bounds of the time that a guest may take to start, milliseconds.
const GRACES_MS: RangeInclusive<u32> = 0..=24 * 3600 * 1000;
const COUNT_MAX: u32 = 1000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tried {
    Tcp(u16),
    Ping,
    Agent,
}

#[derive(Debug)]
pub(super) struct Check {
    tried: Tried,
    at: Option<IpAddr>,
    inter_ms: u64,
    timeout_ms: Option<u64>,
    fall: u32,
    rise: u32,
    grace_ms: u64,
    restarts: bool,
    span: Span,
}

fn check(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = once(&mut draft.guests, args, "check")?;
    let choices = [
        ("tcp", Tried::Tcp(0)),
        ("ping", Tried::Ping),
        ("agent", Tried::Agent),
    ];
    let tried = match args.choice(&choices)? {
        Tried::Tcp(_) => {
            let port = args.count("a port", 1..=u16::MAX.into())?;
            Tried::Tcp(u16::try_from(port).unwrap_or_default())
        }
        other => other,
    };
    let mut check = Check {
        tried,
        at: None,
        inter_ms: INTER_MS,
        timeout_ms: None,
        fall: FALL,
        rise: RISE,
        grace_ms: GRACE_MS,
        restarts: false,
        span: args.line().span,
    };
    let known = ["at", "inter", "timeout", "fall", "rise", "grace", "restart"];
    args.options(&known, &[], &codes::TWICE, |option, args| {
        take(&mut check, option, args)
    })?;
    guest.check = Some(check);
    Ok(())
}

fn take(check: &mut Check, option: &str, args: &mut Args<'_>) -> Built {
    let time = |args: &mut Args<'_>| time_ms(args, TIMES_MS, "not between 100ms and 1h");
    match option {
        "at" if check.tried == Tried::Agent => {
            let told = "'check agent' has no address: it asks QEMU's guest agent";
            let span = args.line().span;
            return Err(args.refused(&codes::VALUE, span, told.to_owned()));
        }
        "at" => check.at = Some(args.address()?.0),
        "inter" => check.inter_ms = time(args)?,
        "timeout" => check.timeout_ms = Some(time(args)?),
        "fall" => check.fall = args.count("a number", 1..=COUNT_MAX)?,
        "rise" => check.rise = args.count("a number", 1..=COUNT_MAX)?,
        "grace" => check.grace_ms = time_ms(args, GRACES_MS, "not between 0 and 24h")?,
        _ => check.restarts = true,
    }
    Ok(())
}

pub(super) fn build(context: &mut Context, guest: &GuestSection) -> Option<config::Check> {
    let check = guest.check.as_ref()?;
    let mut addresses = guest.nics.iter().flat_map(|nic| &nic.addresses);
    let at = check.at.or(addresses.next().map(|one| one.value));
    let probe = match (check.tried, at) {
        (Tried::Agent, _) => Probe::Agent,
        (Tried::Tcp(port), Some(at)) => Probe::Tcp { at, port },
        (Tried::Ping, Some(at)) => Probe::Ping(at),
        (_, None) => {
            let told = format!("the check of guest '{}' has no address", guest.name.value);
            let told = Diagnostic::error(&codes::NO_ADDRESS, check.span, told);
            let help = "add `at ADDRESS` here, or `address ADDRESS` to the line `nic` of the guest";
            context.report(
                told.label("no `at`, and no `nic` with an `address`")
                    .help(help),
            );
            return None;
        }
    };
    Some(config::Check {
        probe,
        inter_ms: check.inter_ms,
        timeout_ms: check.timeout_ms.unwrap_or(check.inter_ms),
        fall: check.fall,
        rise: check.rise,
        grace_ms: check.grace_ms,
        restarts: check.restarts,
    })
}

pub(super) static LINES: &[Keyword<GuestLineBuilder>] = language::rows! {
    "check { tcp <port> | ping | agent } [at <address>] [inter <time>] [timeout <time>] [fall <number>] [rise \
          <number>] [grace <time>] [restart]" &["guest"],
        check,
        "check tcp 25 at 192.0.2.25 inter 2s fall 3 restart",
        "Checks whether the guest works, from the node on which it runs: a connection to a port, an echo (ICMP), or \
         the guest agent of QEMU. The address is the first `address` of the lines `nic`, or that of `at`. A check runs \
         every `inter` (2s) and fails without a response within `timeout` (the same as `inter`); after `fall` failures \
         in a row (3) the guest does not work, after `rise` successes (2) it does. Failures do not count for the time \
         `grace` (60s) after its start. With `restart`, a guest that does not work is restarted; otherwise it is only \
         reported.";
};
