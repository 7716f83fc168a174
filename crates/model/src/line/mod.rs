//! The servers of a backend of one tree, as its algorithm has them in line: data, which the
//! configuration holds. `crate::balance` chooses.

pub(crate) mod heap;
pub(crate) mod ring;

use crate::compiled::Balance;
use heap::{Heap, Key};
use ring::{Ring, Seed};
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The servers of a backend of one tree, as its algorithm has them in line.
/// Each tree has its own, so that streams of two of them do not undo each
/// other's; what happens to a server is told to all of them.
#[derive(Debug, Default)]
pub struct Line {
    pub(crate) inner: Mutex<Inner>,
    pub(crate) bell: Arc<AtomicBool>,
    /// The places of the tree's servers by their uids.
    pub(crate) places: OnceLock<HashMap<u32, u32>>,
}

/// While a configuration is built, its proxies are copies of others: each starts with
/// empty state.
impl Clone for Line {
    fn clone(&self) -> Self {
        Line::default()
    }
}

impl Line {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of its two heaps a server stands in.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) heap: Heap,
    /// Round robin: how far the line went. Least connections: the last serial.
    pub(crate) clock: u64,
    pub(crate) usable: u32,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    pub(crate) weight: u32,
    pub(crate) whole_weight: u32,
    pub(crate) backup: bool,
}

/// Where the servers of a tree stand: what the next tree goes on from.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    pub(crate) algorithm: Balance,
    pub(crate) uids: Vec<u32>,
    pub(crate) known: Vec<Known>,
    pub(crate) active: (u64, Vec<Key>),
    pub(crate) backup: (u64, Vec<Key>),
    pub(crate) cursor: usize,
    pub(crate) seed: u64,
}

/// What an algorithm remembers of the servers of one tree.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    /// Where that tree's servers are, to see when they are others.
    pub(crate) layout: (usize, usize),
    pub(crate) algorithm: Balance,
    pub(crate) uids: Vec<u32>,
    pub(crate) known: Vec<Known>,
    pub(crate) active: Side,
    pub(crate) backup: Side,
    /// Backups in the order of the file.
    pub(crate) backups: Vec<u32>,
    /// `first`: by id.
    pub(crate) by_id: Vec<u32>,
    pub(crate) table: Option<Vec<u32>>,
    /// `hash-type consistent`: in place of the table.
    pub(crate) ring: Option<Ring>,
    /// What the points of each server come from.
    pub(crate) seeds: Vec<Seed>,
    /// What the servers before each, of its kind, weigh by the file.
    pub(crate) weights_before: Vec<u32>,
    pub(crate) cursor: usize,
    pub(crate) seed: u64,
    /// Members ignored in one choice.
    pub(crate) passed: Vec<usize>,
}
