//! The time that states are dated with: milliseconds since some time before the
//! process began.

pub mod revision;

use std::sync::OnceLock;
use std::time::Instant;

/// How long before the process began this clock has its zero, so that what
/// another process saw before this one took over has a time, too: ten years.
pub(crate) const BEFORE_MS: u64 = 10 * 365 * 24 * 3600 * 1000;

/// Milliseconds by the monotonic clock since [`BEFORE_MS`] before the first
/// question. Never 0, so that 0 can say "never".
pub fn now_ms() -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    BEFORE_MS + EPOCH.get_or_init(Instant::now).elapsed().as_millis() as u64
}
