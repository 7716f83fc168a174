//! What an idle client meets while the process finishes what it has, or while the
//! address that it connected to is about to be given away. Closing its
//! connection at once would meet requests that are on their way already, which
//! their senders then see fail. So it stays for a moment: a request that comes is
//! served, and its answer says that it is the last one; where none comes the
//! connection is closed. `close-spread-time` says when in place of that.

use super::Session;
use super::session::Client;
use crate::runtime::{self, Drain};
use crate::vitals;
use model::config::{CloseSpread, ProxyOption};
use model::thread::here;
use reactor::{self, Instant};
use std::time::Duration;

/// How long a connection that waits for its next request is kept: longer than
/// most clients that go on at all wait between two, and short for an operator.
const SILENCE: Duration = Duration::from_secs(1);
/// An odd number without a pattern: near points of time come far apart.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Whether the client's connection is to end because the process does.
pub(super) fn knows(client: &Client) -> bool {
    client.streams > 0
        && leaves_since(&client.session).is_some()
        && !client
            .session
            .frontend()
            .has(ProxyOption::IdleCloseOnResponse)
        && spread(client) != Some(CloseSpread::Never)
}

/// The end of its wait for a request, where that is sooner than its own.
pub(super) fn sooner(client: &Client, own: Option<Instant>) -> Option<Instant> {
    let leaves = knows(client).then(|| silent_until(client)).flatten();
    match (own, leaves) {
        (Some(own), Some(leaves)) => Some(own.min(leaves)),
        (own, leaves) => own.or(leaves),
    }
}

/// Whether the request that has come is the last one of its connection, which
/// the answer then says.
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

/// Returns when an HTTP/2 connection starts to close because the process stops. A request
/// may be in transit, so its streams continue; `used`: it has streams, or had some.
pub(crate) fn leaves_at(session: &Session, used: bool) -> Option<Instant> {
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

/// Since when the process ends, or the address of a session goes.
fn leaves_since(session: &Session) -> Option<Instant> {
    let runtime = here().process;
    let stops = runtime.stopping_since_ms();
    let stops = stops.map(|ms| runtime.started + Duration::from_millis(ms));
    stops.or_else(|| drain(session).map(|drain| drain.since))
}

/// In which time the address of a session goes.
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
    // Once the address has gone a request would be answered by a reset.
    let last = drain(&client.session).map(|drain| drain.last_close());
    Some(last.map_or(own, |last| own.min(last)))
}

/// A connection's own moment in the window, the same however often it is asked for.
fn share(accepted: Instant, window_ms: u32) -> Duration {
    let scattered = accepted.as_nanos().wrapping_mul(SCATTER) >> 32;
    Duration::from_millis((scattered * u64::from(window_ms)) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_spread_over_the_window_and_never_behind_it() {
        let shares = (0..1000).map(|n| share(Instant::from_nanos(n * 1_000), 10_000));
        let mut tenths = [0; 10];
        for share in shares {
            tenths[share.as_millis() as usize / 1000] += 1;
        }
        assert!(tenths.iter().all(|n| (50..200).contains(n)), "{tenths:?}");
        assert_eq!(share(Instant::from_nanos(u64::MAX), 0), Duration::ZERO);
    }
}
