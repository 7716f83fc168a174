//! `judge`, `keep`, `confirm`: how changes go, and what is kept of them.

use super::{Draft, Row, Written, codes};
use language::arguments::{Args, Built};
use language::value::{TimeUnit, written_time};
use language::{Diagnostic, Span};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Nobody looks at a stage for longer.
const JUDGE_MAX: Duration = Duration::from_secs(3_600);
/// Less time is not enough to look at what was changed.
const CONFIRM_MIN: Duration = Duration::from_secs(10);
/// Whoever has not confirmed after a day will not.
const CONFIRM_MAX: Duration = Duration::from_secs(86_400);
/// Fewer versions leave nothing to go back to.
const KEEP_MIN: u32 = 2;
/// The log is read as a whole.
const KEEP_MAX: u32 = 1_000;

/// Takes a time within a range; a bare number counts seconds.
pub(super) fn time_within(
    args: &mut Args<'_>,
    range: RangeInclusive<Duration>,
) -> Result<Duration, Box<Diagnostic>> {
    let (time, span) = args.time(TimeUnit::Seconds)?;
    if range.contains(&time) {
        return Ok(time);
    }
    let what = format!(
        "a time from {} to {} is expected",
        written_time(*range.start()),
        written_time(*range.end())
    );
    Err(args.mistake(&codes::VALUE, span, &what))
}

/// Refuses a keyword that was given already.
fn once<T>(
    args: &Args<'_>,
    first: Option<Span>,
    value: T,
) -> Result<Option<Written<T>>, Box<Diagnostic>> {
    let Some(first) = first else {
        let span = args.line().span;
        return Ok(Some(Written { value, span }));
    };
    let told = format!("'{}' may be given once", args.keyword);
    Err(Box::new(
        Diagnostic::error(&codes::TWICE, args.line().span, told)
            .label("a second one")
            .also(first, "first given here")
            .help("remove one of the two"),
    ))
}

fn judge(draft: &mut Draft, args: &mut Args<'_>) -> Built {
    let value = time_within(args, Duration::ZERO..=JUDGE_MAX)?;
    args.end()?;
    let first = draft.judge.as_ref().map(|first| first.span);
    draft.judge = once(args, first, value)?;
    Ok(())
}

fn confirm(draft: &mut Draft, args: &mut Args<'_>) -> Built {
    let value = time_within(args, CONFIRM_MIN..=CONFIRM_MAX)?;
    args.end()?;
    let first = draft.confirm.as_ref().map(|first| first.span);
    draft.confirm = once(args, first, value)?;
    Ok(())
}

fn keep(draft: &mut Draft, args: &mut Args<'_>) -> Built {
    let value = args.count("a number of versions", KEEP_MIN..=KEEP_MAX)?;
    args.end()?;
    let first = draft.keep.as_ref().map(|first| first.span);
    draft.keep = once(args, first, value)?;
    Ok(())
}

pub(super) static LINES: &[Row] = &[
    Row {
        name: "judge",
        places: &["config"],
        syntax: "judge <time>",
        doc: "How long a change is looked at, first on the node that owns the fewest addresses, then on the others, before it is the \
              accepted version: up to 1h, by default 10s. If errors or the health of servers get worse within it the change is \
              taken back by itself. 0 looks at nothing; `evenkeel config apply --judge` and `--now` say otherwise for one change.",
        example: "judge 30s",
        build: judge,
    },
    Row {
        name: "confirm",
        places: &["config"],
        syntax: "confirm <time>",
        doc: "What an operator applies takes itself back unless `evenkeel config confirm` comes within this time, from 10s to 24h. For \
              changes that may cut the operator off. Without the line a change needs no confirmation, unless `evenkeel config apply \
              --confirm-within` asks for one; what is followed never does.",
        example: "confirm 5m",
        build: confirm,
    },
    Row {
        name: "keep",
        places: &["config"],
        syntax: "keep <number>",
        doc: "How many versions are kept, from 2 to 1000, by default 200: older ones can neither be shown nor gone back to. Files \
              that versions share are kept once. The last accepted one of each repository that is followed is kept besides.",
        example: "keep 500",
        build: keep,
    },
];
