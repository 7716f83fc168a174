//! Parses the lines of a `farm` section that have defaults.

use super::FarmLineBuilder;
use super::section::FarmSectionDraft;
use crate::config::Balance;
use access::keyword::absolute_file;
use language::Diagnostic;
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::section::once;
use language::value::TimeUnit;
use std::ops::RangeInclusive;

const CHECK_MS: RangeInclusive<u32> = 100..=3_600_000;
const KEEP_MS: RangeInclusive<u32> = 60_000..=2_073_600_000;
const LOST_MS: RangeInclusive<u32> = 1_000..=86_400_000;
const MAXCONN: RangeInclusive<u32> = 1..=100_000;

pub(super) fn time(args: &mut Args<'_>, bounds: &RangeInclusive<u32>) -> Result<u64, Diagnostic> {
    let word = args.peek();
    let ms = args.time_ms(TimeUnit::Milliseconds)?;
    match word {
        Some(word) if !bounds.contains(&ms) => {
            let [least, most] = [bounds.start(), bounds.end()].map(|ms| written(*ms));
            let is_bare = word.str().bytes().all(|byte| byte.is_ascii_digit());
            let unit = if is_bare {
                "; a number without a unit is milliseconds"
            } else {
                ""
            };
            let told = format!("not from {least} to {most}{unit}");
            Err(args.unexpected_value(word, &told))
        }
        _ => Ok(ms.into()),
    }
}

/// Formats a time in the largest unit in which it is a whole number.
fn written(ms: u32) -> String {
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    let whole = units
        .into_iter()
        .find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    let (unit, letter) = whole.unwrap_or((1, "ms"));
    format!("{}{letter}", ms / unit)
}

fn balance(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = once(&mut draft.farms, args, "balance")?;
    let word = args.required("`load` or `leastconn`")?;
    let all = [Balance::Load, Balance::Leastconn];
    let found = all.into_iter().find(|one| one.word() == word.str());
    farm.settings.balance =
        found.ok_or_else(|| args.unexpected_value(word, "not `load` or `leastconn`"))?;
    args.end()
}

fn check(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = once(&mut draft.farms, args, "check")?;
    let check = &mut farm.settings.check;
    if args.peek().is_none() {
        args.required("`interval`, `timeout`, `fall` or `rise`")?;
    }
    while let Some(option) = args.next() {
        match option.str() {
            "interval" => check.interval_ms = time(args, &CHECK_MS)?,
            "timeout" => check.timeout_ms = time(args, &CHECK_MS)?,
            "fall" => check.fall = args.count("a number of checks", 1..=100)?,
            "rise" => check.rise = args.count("a number of checks", 1..=100)?,
            _ => {
                return Err(
                    args.unexpected_value(option, "not `interval`, `timeout`, `fall` or `rise`")
                );
            }
        }
    }
    Ok(())
}

fn keep_sessions(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = once(&mut draft.farms, args, "keep-sessions")?;
    farm.settings.sessions.keep_ms = time(args, &KEEP_MS)?;
    args.end()
}

fn lost_after(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = once(&mut draft.farms, args, "lost-after")?;
    farm.settings.sessions.lost_after_ms = time(args, &LOST_MS)?;
    args.end()
}

fn token_key(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = once(&mut draft.farms, args, "token-key")?;
    farm.key = Some(absolute_file(args)?);
    args.end()
}

fn token_lifetime(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = once(&mut draft.farms, args, "token-lifetime")?;
    farm.settings.lifetime_ms = time(args, &KEEP_MS)?;
    args.end()
}

fn maxconn(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = once(&mut draft.farms, args, "maxconn")?;
    farm.settings.maxconn = args.count("a number of connections", MAXCONN)?;
    args.end()
}

pub(super) static LINES: &[Keyword<FarmLineBuilder>] = language::rows! {
    "balance (load | leastconn)" &["farm"], balance, "balance load",
        "How the host of a user without a session is chosen, by the weights of the hosts. With `load`, the default, \
         sessions count, also those without a connection; with `leastconn` only users with a connection. Logons that \
         were sent to a host and have not come yet count in both, so that many at once are shared evenly.";
    "check [interval <time>] [timeout <time>] [fall <number>] [rise <number>]" &["farm"], check,
        "check interval 5s timeout 1s fall 3 rise 2",
        "How hosts are checked: each is sent a request of RDP, and has to answer it in time, so a host that accepts \
         connections and never answers is down. Every ten seconds one that selects TLS or NLA has to react to the \
         hello of TLS behind it in the same time, too. It is down after `fall` failures and up after `rise` successes; \
         a client whose host does not answer counts as a failure, too. The defaults are 2s, 2s, 3 and 2.";
    "keep-sessions <time>" &["farm"], keep_sessions, "keep-sessions 3d",
        "For how long a user without a connection keeps the host, from one minute to 24 days. It should be as long as \
         the hosts keep disconnected sessions. The default is 24h.";
    "lost-after <time>" &["farm"], lost_after, "lost-after 5m",
        "After this time, from one second to a day, sessions of a host that is down count as lost, and its users get \
         another one. Before it they are sent to their own host only. The default is 1m.";
    "token-key <file>" &["farm"], token_key, "token-key /etc/evenkeel/farm.key",
        "A file with 32 to 1024 random bytes, the key by which routing tokens are signed. All nodes that serve the \
         farm need the same. Without the line the node makes a key itself, and tokens of before are invalid once it is \
         lost.";
    "token-lifetime <time>" &["farm"], token_lifetime, "token-lifetime 1d",
        "For how long a routing token is valid, from one minute to 24 days. A client that reconnects by itself uses \
         its token again; one whose token has expired is redirected again. A token routes, and never authorises. The \
         default is 12h.";
    "maxconn <number>" &["farm"], maxconn, "maxconn 500",
        "Connections at one time, from 1 to 100000; further ones are closed. An address may have 200 that are not \
         routed yet. The default is 2000.";
};
