//! Fairness between handshakes and everything else: a handshake computes for
//! half a millisecond or more, so only some may do so in one turn of the loop.
//! The others wait for the next, behind what is established.

use crate::reactor::{self, Instant};
use std::cell::Cell;

/// Steps of handshakes in one turn. Not each step computes much.
const STEPS_MAX: u32 = 8;

thread_local! {
    /// The turn, by when it began, and the steps in it.
    static TURN: Cell<(Instant, u32)> = const { Cell::new((Instant::from_nanos(0), 0)) };
}

/// Waits until a step may be made.
pub(super) async fn wait() {
    while !try_now() {
        reactor::yield_now().await;
    }
}

/// Whether a step may be made now: it is counted then.
pub(super) fn try_now() -> bool {
    let now = reactor::now();
    TURN.with(|turn| {
        let (at, steps) = turn.get();
        let steps = if at == now { steps } else { 0 };
        turn.set((now, steps.saturating_add(1)));
        steps < STEPS_MAX
    })
}
