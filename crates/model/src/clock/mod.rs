//! Measures time for the states of servers and proxies: milliseconds since an origin before the
//! start of the process.

pub mod revision;

use std::sync::OnceLock;
use std::time::Instant;

/// Time from the start of the clock to the start of the process, so that times recorded by a
/// previous process are representable: ten years, in milliseconds.
pub(crate) const BEFORE_MS: u64 = 10 * 365 * 24 * 3600 * 1000;

/// Returns the milliseconds since [`BEFORE_MS`] before the first call, by the monotonic clock.
/// Never 0, so that 0 can mean "never".
pub fn now_ms() -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    BEFORE_MS + EPOCH.get_or_init(Instant::now).elapsed().as_millis() as u64
}
