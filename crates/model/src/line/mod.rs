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

/// State of a backend's load-balancing algorithm. Each configuration has its own, so that streams
/// under two configurations do not disturb each other. Changes of a server are reported to all of
/// them.
#[derive(Debug, Default)]
pub struct BalanceState {
    pub(crate) inner: Mutex<AlgorithmState>,
    pub(crate) has_changes: Arc<AtomicBool>,
    /// Indices of the servers by their uids.
    pub(crate) places: OnceLock<HashMap<u32, u32>>,
}

/// Returns an empty state: proxies are copied only while a configuration is built.
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

/// The active servers or the backups, in a heap.
#[derive(Debug, Default)]
pub(crate) struct BalanceGroup {
    pub(crate) heap: Heap,
    /// In round robin: the current position. In least connections: the last serial number.
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

/// Positions of the servers under one configuration, from which the next configuration continues.
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
    /// Memory address and number of the servers, by which another configuration is detected.
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
    /// For each server, the sum of the configured weights of the servers before it: active servers
    /// and backups separately.
    pub(crate) weights_before: Vec<u32>,
    pub(crate) cursor: usize,
    pub(crate) seed: u64,
    /// Servers that the current choice skipped.
    pub(crate) passed: Vec<usize>,
}
