//! Parses `failover`, `handover-drain` and `preempt-delay`, and derives the intervals of adverts
//! and probes and the lifetime of addresses from `failover`.

use super::draft::AddressConfigDraft;
use super::{Row, codes};
use crate::config::Probing;
use language::arguments::{Args, Built};
use language::value::{TimeUnit, written_time};
use language::{Diagnostic, Span, Spanned};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Minimum `failover`: five adverts of 10 ms, the shortest interval of VRRP version 3.
pub(super) const FAILOVER_MIN: Duration = Duration::from_millis(50);
/// Maximum `failover`: an advert has 12 bits for its interval in hundredths of a second.
pub(super) const FAILOVER_MAX: Duration = Duration::from_secs(200);
pub(super) const FAILOVER_DEFAULT: Duration = Duration::from_secs(1);

/// Number of advert intervals in a `failover`.
const ADVERTS: u32 = 5;
/// Number of missing adverts that trigger a takeover.
pub(super) const DOWN_ADVERTS: u8 = 3;
const HUNDREDTH: Duration = Duration::from_millis(10);
/// Maximum wait for a reply of the owner's kernel: on one link it takes milliseconds.
const PROBE_WAIT_MAX: Duration = Duration::from_millis(200);
const PROBE_WAIT_MIN: Duration = Duration::from_millis(2);
/// Minimum time before a takeover while the owner's kernel still responds to probes.
const BOUND_MIN: Duration = Duration::from_secs(1);
/// Time before a takeover while the owner's kernel still responds to probes, as a multiple of
/// `failover`.
const BOUND_FAILOVERS: u32 = 3;
/// Minimum lifetime that the kernel observes accurately: it counts seconds.
const LIFETIME_MIN: Duration = Duration::from_secs(2);

/// Timers that follow from `failover`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timers {
    pub advert_interval: Duration,
    pub probing: Probing,
    /// Time for which addresses outlive their role.
    pub lifetime: Duration,
}

impl Timers {
    /// Returns the timers for a machine of this priority, so that another one takes over
    /// within `failover`: three missing adverts, the skew time of its priority, and the
    /// rest for the probe.
    pub fn of(failover: Duration, priority: u8) -> Timers {
        let failover = failover.clamp(FAILOVER_MIN, FAILOVER_MAX);
        let hundredths = (failover / ADVERTS).as_millis() / HUNDREDTH.as_millis();
        let hundredths = u32::try_from(hundredths).unwrap_or(u32::MAX).max(1);
        let advert_interval = HUNDREDTH.saturating_mul(hundredths);
        let skew = advert_interval * (256 - u32::from(priority)) / 256;
        let down = advert_interval * u32::from(DOWN_ADVERTS) + skew;
        let bound = (failover * BOUND_FAILOVERS).max(BOUND_MIN);
        Timers {
            advert_interval,
            probing: Probing {
                wait: failover
                    .saturating_sub(down)
                    .clamp(PROBE_WAIT_MIN, PROBE_WAIT_MAX),
                bound,
            },
            // As long as the time after which another node takes the addresses over even if this
            // kernel still responds for them.
            lifetime: bound.max(LIFETIME_MIN),
        }
    }
}

/// Parses a time within a range; a bare number is in milliseconds.
pub(super) fn time_within(
    args: &mut Args<'_>,
    range: RangeInclusive<Duration>,
) -> Result<(Duration, Span), Diagnostic> {
    let (time, span) = args.time(TimeUnit::Milliseconds)?;
    if range.contains(&time) {
        return Ok((time, span));
    }
    let told = format!(
        "'{}' takes a duration from {} to {}",
        args.keyword,
        written_time(*range.start()),
        written_time(*range.end())
    );
    Err(args.refused_value(&codes::VALUE, span, told))
}

fn failover(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    draft.virtual_ip().once("'failover'", args.keyword_span())?;
    let (value, span) = time_within(args, FAILOVER_MIN..=FAILOVER_MAX)?;
    args.end()?;
    draft.virtual_ip().failover = Some(Spanned { value, span });
    Ok(())
}

const DRAIN_MAX: Duration = Duration::from_secs(600);
const PREEMPT_DELAY_MAX: Duration = Duration::from_secs(1_000);

fn handover_drain(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    draft
        .virtual_ip()
        .once("'handover-drain'", args.keyword_span())?;
    let (value, _) = time_within(args, Duration::ZERO..=DRAIN_MAX)?;
    args.end()?;
    draft.virtual_ip().options.handover_drain = value;
    Ok(())
}

fn preempt_delay(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    draft
        .virtual_ip()
        .once("'preempt-delay'", args.keyword_span())?;
    let (value, _) = time_within(args, Duration::ZERO..=PREEMPT_DELAY_MAX)?;
    args.end()?;
    draft.virtual_ip().options.preempt_delay = value;
    Ok(())
}

pub(super) static LINES: &[Row] = language::rows! {
    "failover <time>" &["virtual-ip"], failover, "failover 50ms",
        "Maximum time until another node takes over the addresses after their owner fails, from 50ms to 200s, by \
         default 1s. The advert interval is a fifth of this time, at least 10 ms. After three missing adverts the \
         standby probes the address, and takes it if nobody replies. While the owner's kernel still replies (it is \
         busy, or its role was killed), the owner gets three times as long, at least one second. Each address has a \
         lifetime of three times this time, at least two seconds, which the address role renews. If all processes are \
         killed, the addresses expire after it.";
    "handover-drain <time>" &["virtual-ip"], handover_drain, "handover-drain 5s",
        "Time for connections to finish during a planned hand-over (a stop, `evenkeel address hand-over`, the return \
         of a better node), by default 2s. The new owner gets the addresses and all new connections at once, and \
         forwards older connections to the old owner, whose responses close them. A stop ends as soon as no request is \
         in progress. Use the same value in all files. With 0, or on a kernel without nftables (which is logged), \
         connections do not survive the hand-over.";
    "preempt-delay <time>" &["virtual-ip"], preempt_delay, "preempt-delay 30s",
        "Additional delay before a returning machine takes the addresses from a less preferred one, by default 0: it \
         takes them when it has been healthy for two seconds.";
};

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_dead_machine_is_followed_within_failover_question_included() {
        for failover in [50, 60, 99, 100, 333, 1_000, 3_000, 200_000].map(ms) {
            for priority in [50, 60, 130, 210, 220] {
                let timers = Timers::of(failover, priority);
                let skew = timers.advert_interval * (256 - u32::from(priority)) / 256;
                let down = timers.advert_interval * 3 + skew;
                let all = down + timers.probing.wait;
                assert!(all <= failover, "{failover:?}, {priority}: {timers:?}");
                assert!(
                    timers.probing.bound >= all,
                    "{failover:?}, {priority}: {timers:?}"
                );
                assert_eq!(timers.lifetime, timers.probing.bound.max(ms(2_000)));
                let hundredths = timers.advert_interval.as_millis() / 10;
                assert!((1..=4_095).contains(&hundredths), "{timers:?}");
            }
        }
    }

    #[test]
    fn fifty_milliseconds_are_adverts_of_ten_and_seventeen_for_the_question() {
        let timers = Timers::of(ms(50), 210);
        assert_eq!(timers.advert_interval, ms(10));
        assert_eq!(timers.probing.bound, ms(1_000));
        assert_eq!(timers.lifetime, ms(2_000));
        assert_eq!(timers.probing.wait.as_millis(), 18);
    }
}
