//! Closes idle client connections while the process stops, or while the virtual address that they
//! use is about to leave this machine. If a connection were closed at once, a request in transit
//! would fail. The connection therefore stays open for a moment: a request that arrives is
//! served, and its response announces the close. Without a request the connection is then closed.
//! `close-spread-time` sets the length of that moment.

use super::Session;
use super::session::Client;
use crate::runtime::{self, Drain};
use crate::vitals;
use model::config::{CloseSpread, ProxyOption};
use model::thread::current_thread_data;
use reactor::{self, Instant};
use std::time::Duration;

/// Time for which a connection without a request stays open. Longer than the pause of most active
/// clients between two requests, and short for an operator who waits.
const SILENCE: Duration = Duration::from_secs(1);
/// Multiplier that distributes accept times which are close together over the whole window.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;

pub(super) fn should_close_idle(client: &Client) -> bool {
    client.streams > 0
        && leaves_since(&client.session).is_some()
        && !client
            .session
            .frontend()
            .has(ProxyOption::IdleCloseOnResponse)
        && spread(client) != Some(CloseSpread::Never)
}

/// Returns the end of the wait for a request: the connection's own deadline, or the one for
/// connections that must close, whichever is earlier.
pub(super) fn sooner(client: &Client, own: Option<Instant>) -> Option<Instant> {
    let leaves = should_close_idle(client)
        .then(|| silent_until(client))
        .flatten();
    match (own, leaves) {
        (Some(own), Some(leaves)) => Some(own.min(leaves)),
        (own, leaves) => own.or(leaves),
    }
}

/// Returns whether the current request is the last one of its connection; the response
/// announces that.
pub(super) fn is_last(client: &Client) -> bool {
    let Some(since) = leaves_since(&client.session) else {
        return false;
    };
    match spread(client) {
        None => true,
        Some(CloseSpread::Never) => false,
        Some(CloseSpread::Over(window_ms)) => {
            since + share(client.session.accepted, window_ms) <= reactor::now()
        }
    }
}

/// Returns when an HTTP/2 connection must start to close, because the process stops or the address
/// leaves. With `option idle-close-on-response`, a connection that never had a stream (`used` is
/// false) does not start to close.
pub(crate) fn close_starts_at(session: &Session, used: bool) -> Option<Instant> {
    let since = leaves_since(session)?;
    if !used && session.frontend().has(ProxyOption::IdleCloseOnResponse) {
        return None;
    }
    match session.config.global.close_spread {
        None => Some(since),
        Some(CloseSpread::Over(window_ms)) => Some(since + share(session.accepted, window_ms)),
        Some(CloseSpread::Never) => None,
    }
}

fn spread(client: &Client) -> Option<CloseSpread> {
    client.session.config.global.close_spread
}

/// Returns when the process began to stop, or the session's address began to drain.
fn leaves_since(session: &Session) -> Option<Instant> {
    let runtime = current_thread_data().process;
    let stops = runtime.stopping_since_ms();
    let stops = stops.map(|ms| runtime.started + Duration::from_millis(ms));
    stops.or_else(|| drain(session).map(|drain| drain.since))
}

fn drain(session: &Session) -> Option<Drain> {
    vitals::drain_of(runtime::of_thread(), session.destination.ip())
}

fn silent_until(client: &Client) -> Option<Instant> {
    let since = leaves_since(&client.session)?;
    let own = match spread(client) {
        None => since.max(client.idle_since) + SILENCE,
        Some(CloseSpread::Over(window_ms)) => since + share(client.session.accepted, window_ms),
        Some(CloseSpread::Never) => return None,
    };
    // Closes before the address has left this machine, because a request would get a reset after
    // that.
    let last = drain(&client.session).map(|drain| drain.last_close());
    Some(last.map_or(own, |last| own.min(last)))
}

/// Returns how far into the window a connection is closed; the same on every call.
fn share(accepted: Instant, window_ms: u32) -> Duration {
    let scattered = accepted.as_nanos().wrapping_mul(SCATTER) >> 32;
    Duration::from_millis((scattered * u64::from(window_ms)) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_times_are_spread_within_the_window() {
        let shares = (0..1000).map(|n| share(Instant::from_nanos(n * 1_000), 10_000));
        let mut tenths = [0; 10];
        for share in shares {
            tenths[share.as_millis() as usize / 1000] += 1;
        }
        assert!(tenths.iter().all(|n| (50..200).contains(n)), "{tenths:?}");
        assert_eq!(share(Instant::from_nanos(u64::MAX), 0), Duration::ZERO);
    }
}
