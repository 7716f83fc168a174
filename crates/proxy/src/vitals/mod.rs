//! Reports to the process that moves virtual addresses how well this proxy serves. The threads
//! that serve clients write heartbeats. The side thread judges whether the services behind each
//! address can be served ([`judge`], without IO). Before an address leaves this machine as
//! planned, its client connections are drained. Both processes exchange all of this in one shared
//! memory ([`protocol::vitals`]); which machine has an address is decided elsewhere.
//!
//! A request pays one atomic load for all of this.

mod judge;
mod report;
mod summary;
mod trial;
mod watch;

#[cfg(test)]
pub use report::example;
pub use report::{COLUMNS, report};
pub use summary::{FrontendSummary, Summary, summary};
pub use trial::OnTrial;
pub use watch::{Watching, start};

use crate::runtime::{Drain, Runtime};
use protocol::vitals::{BEAT_EVERY_MS, Vitals, VitalsError};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Interval of a thread's heartbeats, with a margin for a slow turn of its event loop.
const BEAT: Duration = Duration::from_millis(BEAT_EVERY_MS * 4 / 5);

pub(crate) use part::clock::boottime_ms as now_ms;

/// Begins to use the shared memory mapped at `words`, until the process ends. If called again,
/// claims the memory that is mapped there then: a new supervisor has brought its own.
///
/// # Errors
/// Fails if the memory is too short, or has the layout of another version.
pub fn share(runtime: &'static Runtime, words: &'static [AtomicU64]) -> Result<(), VitalsError> {
    let vitals = Vitals::open(words)?;
    let owner = u64::from(std::process::id()).max(1);
    if runtime.vitals.memory.set((vitals, owner)).is_err() {
        claim(runtime);
        return Ok(());
    }
    claim(runtime);
    for thread in 0..runtime.threads() {
        // Ignores a failure for a thread that has ended, which must not send heartbeats.
        let _ = reactor::inject(thread, move || reactor::spawn(beat(runtime, thread)));
    }
    Ok(())
}

pub(crate) fn claim(runtime: &Runtime) {
    if let Some((vitals, owner)) = runtime.vitals.memory()
        && !vitals.is_owner(owner)
    {
        vitals.claim(owner, runtime.threads());
        runtime.vitals.claims.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) fn rest(runtime: &Runtime) {
    if let Some((vitals, owner)) = runtime.vitals.memory() {
        vitals.rest(owner);
    }
}

pub(crate) async fn beat(runtime: &'static Runtime, thread: usize) {
    while let Some((vitals, owner)) = runtime.vitals.memory()
        && !runtime.stopping()
    {
        vitals.write_thread_heartbeat(owner, thread, now_ms());
        reactor::sleep(BEAT).await;
    }
}

/// Returns the period in which connections to an address are drained; None if the address is not
/// about to leave this machine.
pub(crate) fn drain_of(runtime: &Runtime, address: Option<IpAddr>) -> Option<Drain> {
    runtime.vitals.draining.of(address?)
}
