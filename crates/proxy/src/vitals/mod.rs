//! Virtual addresses, as far as the proxy has part in them: its threads show that they
//! live, the side thread judges whether what stands behind each address can be served
//! ([`judge`], a value), and connections are led to their end before an address is
//! given away on purpose. All of it is told and heard in one memory
//! ([`protocol::vitals`]); who owns an address is decided elsewhere.
//!
//! A request pays one load for all of this.

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
use rustix::time::{ClockId, clock_gettime};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often a thread shows that it lives: soon enough also when a turn of its loop
/// takes its time.
const BEAT: Duration = Duration::from_millis(BEAT_EVERY_MS * 4 / 5);

/// Milliseconds of the clock that counts while the machine sleeps.
pub(crate) fn now_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000 + nanos / 1_000_000
}

/// Begins to use the heartbeat memory mapped at `words`, for as long as the process
/// lives. Called again, it claims whatever memory is mapped there now: a supervisor that
/// adopted this process has brought its own.
pub fn share(runtime: &'static Runtime, words: &'static [AtomicU64]) -> Result<(), VitalsError> {
    let vitals = Vitals::open(words)?;
    let owner = u64::from(std::process::id()).max(1);
    if runtime.vitals.memory.set((vitals, owner)).is_err() {
        claim(runtime);
        return Ok(());
    }
    claim(runtime);
    for thread in 0..runtime.threads() {
        // One that has ended beats no more, which is what is to be seen.
        let _ = reactor::inject(thread, move || reactor::spawn(beat(runtime, thread)));
    }
    Ok(())
}

/// From now on this process writes: it serves, or serves again.
pub(crate) fn claim(runtime: &Runtime) {
    if let Some((vitals, owner)) = runtime.vitals.memory()
        && !vitals.is_owner(owner)
    {
        vitals.claim(owner, runtime.threads());
        runtime.vitals.claims.fetch_add(1, Ordering::Relaxed);
    }
}

/// It serves no more.
pub(crate) fn rest(runtime: &Runtime) {
    if let Some((vitals, owner)) = runtime.vitals.memory() {
        vitals.rest(owner);
    }
}

/// A thread shows that it lives, until the process stops.
pub(crate) async fn beat(runtime: &'static Runtime, thread: usize) {
    while let Some((vitals, owner)) = runtime.vitals.memory()
        && !runtime.stopping()
    {
        vitals.beat(owner, thread, now_ms());
        reactor::sleep(BEAT).await;
    }
}

/// In which time connections to an address are led to their end, as the address is about
/// to be given away.
pub(crate) fn drain_of(runtime: &Runtime, address: Option<IpAddr>) -> Option<Drain> {
    runtime.vitals.draining.of(address?)
}
