//! The time that states are dated with: milliseconds since the first question.

use std::sync::OnceLock;
use std::time::Instant;

/// Milliseconds since the process's epoch, by the monotonic clock. Never 0, so
/// that 0 can say "never".
pub fn now_ms() -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    EPOCH.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1
}
