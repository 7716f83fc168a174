//! A counter of changes to the state of any server (health, administrative state, weight,
//! limit) and to lists changed by operators. So the sender of states need not compare ten
//! thousand of them. It does not say what changed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static CHANGES: AtomicU64 = AtomicU64::new(0);

/// Something changed.
pub fn advance() {
    CHANGES.fetch_add(1, Relaxed);
}

/// Another number than before when something changed since.
pub fn read() -> u64 {
    CHANGES.load(Relaxed)
}
