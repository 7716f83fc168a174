//! Holds the state of a backend's load-balancing algorithm. Each configuration has its own;
//! `crate::balance` chooses servers with it.

pub(crate) mod heap;
pub(crate) mod ring;

use crate::compiled::Balance;
use heap::{Heap, Key};
use ring::{Ring, Seed};
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Balancing state of the servers of a backend. Each configuration has its own, so that streams of
/// two configurations do not disturb each other. Changes of a server are reported to all of them.
#[derive(Debug, Default)]
pub struct BalanceState {
    pub(crate) inner: Mutex<AlgorithmState>,
    pub(crate) has_changes: Arc<AtomicBool>,
    /// Indices of the servers by their uids.
    pub(crate) places: OnceLock<HashMap<u32, u32>>,
}

/// Returns an empty state: while a configuration is built, its proxies are copied.
impl Clone for BalanceState {
    fn clone(&self) -> Self {
        BalanceState::default()
    }
}

impl BalanceState {
    pub(crate) fn inner(&self) -> MutexGuard<'_, AlgorithmState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Active servers or backups, with their heap.
#[derive(Debug, Default)]
pub(crate) struct BalanceGroup {
    pub(crate) heap: Heap,
    /// Round robin: current position. Least connections: the last serial number.
    pub(crate) clock: u64,
    pub(crate) usable: u32,
}

/// Last known properties of a server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ServerProperties {
    pub(crate) weight: u32,
    pub(crate) whole_weight: u32,
    pub(crate) backup: bool,
}

/// Positions of the servers of a configuration, from which the next one continues.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    pub(crate) algorithm: Balance,
    pub(crate) uids: Vec<u32>,
    pub(crate) known: Vec<ServerProperties>,
    pub(crate) active: (u64, Vec<Key>),
    pub(crate) backup: (u64, Vec<Key>),
    pub(crate) cursor: usize,
    pub(crate) seed: u64,
}

/// State of an algorithm for the servers of one configuration.
#[derive(Debug, Default)]
pub(crate) struct AlgorithmState {
    /// Memory address and number of the servers, to detect another configuration.
    pub(crate) layout: (usize, usize),
    pub(crate) algorithm: Balance,
    pub(crate) uids: Vec<u32>,
    pub(crate) known: Vec<ServerProperties>,
    pub(crate) active: BalanceGroup,
    pub(crate) backup: BalanceGroup,
    /// Backups in the order of the file.
    pub(crate) backups: Vec<u32>,
    /// Server indices in the order of their ids, for `balance first`.
    pub(crate) by_id: Vec<u32>,
    pub(crate) table: Option<Vec<u32>>,
    /// `hash-type consistent`: used in place of the table.
    pub(crate) ring: Option<Ring>,
    pub(crate) seeds: Vec<Seed>,
    /// Sum of the configured weights of the preceding servers of the same kind.
    pub(crate) weights_before: Vec<u32>,
    pub(crate) cursor: usize,
    pub(crate) seed: u64,
    /// Servers that one choice skipped.
    pub(crate) passed: Vec<usize>,
}
