//! Parses the keywords `judge`, `keep` and `confirm`: how long a change is judged, how many
//! versions are kept, and within which time an operator must confirm.

use super::{ClusterSectionDraft, Row, codes};
use language::arguments::{Args, Built};
use language::value::{TimeUnit, written_time};
use language::{Diagnostic, Spanned};
use std::ops::RangeInclusive;
use std::time::Duration;

const JUDGE_MAX: Duration = Duration::from_secs(3_600);
/// Shortest time for a confirmation: less does not suffice to examine a change.
const CONFIRM_MIN: Duration = Duration::from_secs(10);
const CONFIRM_MAX: Duration = Duration::from_secs(86_400);
/// Minimum of `keep`: with fewer versions there is nothing to roll back to.
const KEEP_MIN: u32 = 2;
/// Maximum of `keep`, because the log is read as a whole.
const KEEP_MAX: u32 = 1_000;

/// Parses a time within a range; a bare number counts seconds.
pub(super) fn time_within(
    args: &mut Args<'_>,
    range: RangeInclusive<Duration>,
) -> Result<Duration, Diagnostic> {
    let (time, span) = args.time(TimeUnit::Seconds)?;
    if range.contains(&time) {
        return Ok(time);
    }
    let what = format!(
        "expected a duration from {} to {}",
        written_time(*range.start()),
        written_time(*range.end())
    );
    Err(args.value_error(&codes::VALUE, span, &what))
}

fn once<T>(args: &mut Args<'_>, value: T, into: &mut Option<Spanned<T>>) -> Built {
    args.end()?;
    let span = args.line().span;
    let Some(Spanned { span: first, .. }) = *into else {
        *into = Some(Spanned { value, span });
        return Ok(());
    };
    let told = format!("'{}' may appear only once", args.keyword);
    Err(Diagnostic::error(&codes::TWICE, span, told)
        .duplicate_of(first)
        .help("remove one of the two"))
}

fn judge(draft: &mut ClusterSectionDraft, args: &mut Args<'_>) -> Built {
    let value = time_within(args, Duration::ZERO..=JUDGE_MAX)?;
    once(args, value, &mut draft.judge)
}

fn confirm(draft: &mut ClusterSectionDraft, args: &mut Args<'_>) -> Built {
    let value = time_within(args, CONFIRM_MIN..=CONFIRM_MAX)?;
    once(args, value, &mut draft.confirm)
}

fn keep(draft: &mut ClusterSectionDraft, args: &mut Args<'_>) -> Built {
    let value = args.count("a number of versions", KEEP_MIN..=KEEP_MAX)?;
    once(args, value, &mut draft.keep)
}

pub(super) static LINES: &[Row] = language::rows! {
    "judge <time>" &["config"], judge, "judge 30s",
        "How long a change is judged, first on the node that owns the fewest addresses, then on the others, before it \
         is accepted: up to 1h, by default 10s. If errors or server health get worse in that time, the change is \
         rolled back. 0 disables judging. `evenkeel config apply --judge` and `--now` override it for one change.";
    "confirm <time>" &["config"], confirm, "confirm 5m",
        "Rolls back a change by an operator unless `evenkeel config confirm` is run within this time, from 10s to 24h. \
         Use it for changes that may lock the operator out. By default no confirmation is needed, unless `evenkeel \
         config apply --confirm-within` requires one. Followed revisions never need one.";
    "keep <number>" &["config"], keep, "keep 500",
        "Number of kept versions, from 2 to 1000, by default 200. Older ones can neither be shown nor restored. Files \
         shared by versions are stored once. The last accepted version of each followed repository is always kept.";
};
