//! Keeps the policy for writes that the disk refuses (wait or fail), and the start and the reason
//! of the current refusal.

use crate::store::error::StoreError;
use part::lock;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// State that the store and its writer share.
#[derive(Debug, Default)]
pub(super) struct Patience {
    waits: AtomicBool,
    refused: Mutex<Option<(Instant, StoreError)>>,
}

impl Patience {
    pub(super) fn set(&self, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
    }

    pub(super) fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    pub(super) fn refused_by(&self, why: StoreError) {
        let mut refused = lock(&self.refused);
        let since = refused.as_ref().map(|(since, _)| *since);
        *refused = Some((since.unwrap_or_else(Instant::now), why));
    }

    pub(super) fn over(&self) {
        lock(&self.refused).take();
    }

    pub(super) fn refused(&self) -> Option<StoreError> {
        Some(lock(&self.refused).as_ref()?.1.clone())
    }

    pub(super) fn refused_for(&self) -> Duration {
        let refused = lock(&self.refused);
        refused
            .as_ref()
            .map_or(Duration::ZERO, |(since, _)| since.elapsed())
    }
}
