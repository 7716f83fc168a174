//! Whether the state of any server changed (its health, what an operator wants of
//! it, its weight or its limit), or an operator changed a list. For whoever passes states on and does not want to
//! compare ten thousand of them; it never says what changed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static CHANGES: AtomicU64 = AtomicU64::new(0);

/// Something changed.
pub(crate) fn advance() {
    CHANGES.fetch_add(1, Relaxed);
}

/// Another number than before when something changed since.
pub fn read() -> u64 {
    CHANGES.load(Relaxed)
}
