//! Defines the memory in which the proxy and the address role see each other's state: the heartbeat
//! of each serving thread, which frontends of each virtual address are available, and the state of
//! the addresses. The supervisor creates one memory file, and both map it; no message is sent for
//! any of it.
//!
//! The memory is [`BYTES`] long and consists of 64-bit words in native byte order:
//!
//! | words | written by | what |
//! |---|---|---|
//! | 0 | supervisor | [`MAGIC`], with the version of this layout |
//! | 1 | proxy | the one of several proxies that writes (a number of its own) |
//! | 2 | proxy | number of threads with a heartbeat |
//! | 3 | proxy | number of writes of the slot table; odd during a write |
//! | 4 | proxy | number of slots |
//! | 5 | address role | its heartbeat |
//! | 6 | proxy | the candidate version (a number of its own); 0 is none |
//! | 7 | address role | the candidate whose rollback it requests |
//! | 8 | proxy | the heartbeat of its side thread |
//! | [`THREADS_AT`]… | proxy | a heartbeat per thread, 8 words apart (a cache line) |
//! | [`SLOTS_AT`]… | both | the slots, [`SLOT_WORDS`] apart |
//!
//! A slot is an instance: a virtual address with everything that moves with it. It is
//! identified by the instance's name, not by its index, because the two sides change
//! their configurations at different times.
//!
//! | word of a slot | written by | what |
//! |---|---|---|
//! | 0 | proxy | length of the name in bytes |
//! | 1-8 | proxy | the name |
//! | 9 | proxy | [`Band`] as a number |
//! | 10 | proxy | requests in progress at these addresses, plus one; 0 is unknown |
//! | 11 | address role | [`SlotReport::state`] as a number |
//! | 12 | address role | time until which a hand-over waits for requests; 0 is none |
//! | 13-15 | address role | since, transitions, priority |
//! | 16-18 | address role | the owner: address (two words), priority |
//! | 19-… | address role | counters, in the order of [`Counter`](crate::vrrp::Counter) |
//! | 63 | proxy | 1 until the first health checks of its servers have ended |
//!
//! All times are milliseconds of CLOCK_BOOTTIME. Neither side trusts the other: a value
//! that is too large is bounded, an invalid one counts as the worst valid one. Writes are
//! release stores, reads are acquire loads. The numbers of a slot are not read as one
//! consistent snapshot.

mod service;
mod slot;
mod table;
#[cfg(test)]
mod tests;

pub use service::Service;
pub use slot::{SLOT_STATES, SlotReport, SlotState};

use std::sync::atomic::{AtomicU64, Ordering};

/// First word: the letters `EKVITAL` and the version of the layout.
pub const MAGIC: u64 = u64::from_be_bytes(*b"EKVITAL\x01");

/// Maximum number of threads with a heartbeat; a proxy with more threads writes only those of the
/// first ones.
pub const THREADS_MAX: usize = 256;

/// Maximum number of virtual routers with a slot; the services of further ones are not judged.
pub const SLOTS_MAX: usize = 256;

/// Maximum length of a virtual router's name in bytes; longer names are truncated.
pub const NAME_BYTES_MAX: usize = 64;

pub const THREADS_AT: usize = 16;

pub const THREAD_WORDS: usize = 8;

pub const SLOTS_AT: usize = THREADS_AT + THREADS_MAX * THREAD_WORDS;

pub const SLOT_WORDS: usize = 64;

pub const WORDS: usize = SLOTS_AT + SLOTS_MAX * SLOT_WORDS;

pub const BYTES: usize = WORDS * 8;

pub const BEAT_EVERY_MS: u64 = 250;

/// Age in milliseconds from which a heartbeat counts as missing: its thread then counts as not
/// serving.
pub const STALE_AFTER_MS: u64 = 1_000;

const OWNER_AT: usize = 1;
const THREADS: usize = 2;
const TABLE_AT: usize = 3;
const SLOTS: usize = 4;
const ROLE_BEAT_AT: usize = 5;
const TRIAL_AT: usize = 6;
const BACK_AT: usize = 7;
const SIDE_BEAT_AT: usize = 8;

/// Availability of the frontends behind a virtual address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Band {
    All,
    Some,
    /// No frontend is available, or no proxy runs.
    #[default]
    None,
}

impl Band {
    /// Returns the band with this number; an invalid number in the memory counts as the worst
    /// band.
    pub fn of(number: u64) -> Band {
        match number {
            0 => Band::All,
            1 => Band::Some,
            _ => Band::None,
        }
    }

    /// Returns the index of the band in the list `bands` of a virtual router.
    pub fn index(self) -> usize {
        self as usize
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VitalsError {
    #[error("the heartbeat memory has {words} of {WORDS} words")]
    Length {
        /// Size of the memory in words.
        words: usize,
    },
    #[error("the heartbeat memory begins with {first:#x}, the layout of another version")]
    Layout {
        /// Value of the first word.
        first: u64,
    },
}

/// Returns the address of the lower half of a word. The kernel compares only this half when a
/// thread waits for a change (`futex`).
pub fn low_half(word: &AtomicU64) -> *const u32 {
    let half = std::ptr::from_ref(word).cast::<u32>();
    if cfg!(target_endian = "little") {
        half
    } else {
        half.wrapping_add(1)
    }
}

/// The state of the proxy according to its heartbeats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pulse {
    NotBegun,
    Beats,
    Stuck {
        silent: usize,
        threads: usize,
        oldest_ms: u64,
    },
}

/// The mapped memory. Both sides share this type; each uses its own methods.
#[derive(Clone, Copy, Debug)]
pub struct Vitals<'m> {
    words: &'m [AtomicU64],
}

impl<'m> Vitals<'m> {
    /// Initializes new memory, which must be zeroed.
    ///
    /// # Errors
    /// The memory is too short.
    pub fn begin(words: &'m [AtomicU64]) -> Result<Vitals<'m>, VitalsError> {
        let vitals = Vitals::of_length(words)?;
        vitals.put(0, MAGIC);
        Ok(vitals)
    }

    /// Opens memory that was initialized by [`Vitals::begin`].
    ///
    /// # Errors
    /// The memory is too short, or of another format.
    pub fn open(words: &'m [AtomicU64]) -> Result<Vitals<'m>, VitalsError> {
        let vitals = Vitals::of_length(words)?;
        match vitals.get(0) {
            MAGIC => Ok(vitals),
            first => Err(VitalsError::Layout { first }),
        }
    }

    fn of_length(words: &'m [AtomicU64]) -> Result<Vitals<'m>, VitalsError> {
        match words.get(..WORDS) {
            Some(words) => Ok(Vitals { words }),
            None => Err(VitalsError::Length { words: words.len() }),
        }
    }

    fn get(&self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |w| w.load(Ordering::Acquire))
    }

    fn put(&self, at: usize, value: u64) {
        if let Some(word) = self.words.get(at) {
            word.store(value, Ordering::Release);
        }
    }

    // The following methods are for the proxy.

    /// Makes this proxy the only writer: during an upgrade, two proxies have the memory. `owner`
    /// is a unique number other than zero (the process id).
    pub fn claim(&self, owner: u64, threads: usize) {
        let threads = threads.min(THREADS_MAX);
        for thread in 0..THREADS_MAX {
            self.put(THREADS_AT + thread * THREAD_WORDS, 0);
        }
        self.put(THREADS, threads as u64);
        self.put(SIDE_BEAT_AT, 0);
        // A candidate configuration of the previous writer is no longer served.
        self.put(TRIAL_AT, 0);
        self.put(OWNER_AT, owner);
    }

    /// Sets the number of the candidate configuration that this proxy serves; zero means none.
    pub fn set_candidate_number(&self, owner: u64, number: u64) {
        if self.is_owner(owner) {
            self.put(TRIAL_AT, number);
        }
    }

    /// Returns the number of the candidate configuration whose rollback was requested.
    pub fn rollback_requested(&self) -> u64 {
        self.get(BACK_AT)
    }

    /// Returns the word that contains the number in [`Self::rollback_requested`], to wait for its
    /// change.
    pub fn back_word(&self) -> Option<&'m AtomicU64> {
        self.words.get(BACK_AT)
    }

    pub fn set_threads(&self, owner: u64, threads: usize) {
        if self.is_owner(owner) {
            self.put(THREADS, threads.min(THREADS_MAX) as u64);
        }
    }

    /// Returns the number of the proxy that writes; 0 before the first one does.
    pub fn owner(&self) -> u64 {
        self.get(OWNER_AT)
    }

    pub fn is_owner(&self, owner: u64) -> bool {
        self.get(OWNER_AT) == owner
    }

    /// Writes the heartbeat of a thread: one load and one store, and nothing if another proxy is
    /// the writer.
    pub fn write_thread_heartbeat(&self, owner: u64, thread: usize, now_ms: u64) {
        if thread < THREADS_MAX && self.is_owner(owner) {
            self.put(THREADS_AT + thread * THREAD_WORDS, now_ms);
        }
    }

    pub fn write_side_heartbeat(&self, owner: u64, now_ms: u64) {
        if self.is_owner(owner) {
            self.put(SIDE_BEAT_AT, now_ms);
        }
    }

    /// Clears the heartbeats of the threads when the proxy ends, or while it is paused.
    pub fn rest(&self, owner: u64) {
        if self.is_owner(owner) {
            for thread in 0..THREADS_MAX {
                self.put(THREADS_AT + thread * THREAD_WORDS, 0);
            }
        }
    }

    /// Returns the time of the last heartbeat of the process that moves virtual addresses; 0:
    /// never.
    pub fn role_heartbeat_ms(&self) -> u64 {
        self.get(ROLE_BEAT_AT)
    }

    // The following methods are for the address role.

    pub fn write_role_heartbeat(&self, now_ms: u64) {
        self.put(ROLE_BEAT_AT, now_ms);
    }

    /// Returns the number of the candidate configuration that the proxy serves; 0: none.
    pub fn candidate_number(&self) -> u64 {
        self.get(TRIAL_AT)
    }

    pub fn request_rollback(&self, number: u64) {
        self.put(BACK_AT, number);
    }

    /// Returns the last heartbeat of each thread; 0 if it has none yet.
    pub fn thread_heartbeats(&self) -> impl Iterator<Item = u64> {
        let threads = (self.get(THREADS) as usize).min(THREADS_MAX);
        (0..threads).map(|thread| self.get(THREADS_AT + thread * THREAD_WORDS))
    }

    /// Returns the last heartbeat of the side thread; 0 if it has never written one.
    pub fn side_heartbeat_ms(&self) -> u64 {
        self.get(SIDE_BEAT_AT)
    }

    pub fn pulse(&self, now_ms: u64) -> Pulse {
        let threads = (self.get(THREADS) as usize).min(THREADS_MAX);
        let beats = (0..threads).map(|t| self.get(THREADS_AT + t * THREAD_WORDS));
        let (mut silent, mut oldest_ms, mut begun) = (0, 0, false);
        for beat in beats {
            begun |= beat != 0;
            let age = match beat {
                0 => u64::MAX,
                // Counts a heartbeat from the future as missing.
                beat if beat > now_ms.saturating_add(STALE_AFTER_MS) => u64::MAX,
                beat => now_ms.saturating_sub(beat),
            };
            oldest_ms = oldest_ms.max(age);
            silent += usize::from(age > STALE_AFTER_MS);
        }
        match (begun, silent) {
            (false, _) => Pulse::NotBegun,
            (true, 0) => Pulse::Beats,
            (true, silent) => Pulse::Stuck {
                silent,
                threads,
                oldest_ms,
            },
        }
    }

    /// Returns how much of a virtual router's services is available: the worst band if a thread is
    /// stuck or no proxy serves; None if the slot table has no virtual router of that name, or is
    /// being written.
    pub fn band(&self, name: &str, now_ms: u64) -> Option<Band> {
        let slot = self.find(name)?;
        Some(match self.pulse(now_ms) {
            Pulse::Beats => self.last_written_band(slot),
            Pulse::NotBegun | Pulse::Stuck { .. } => Band::None,
        })
    }
}
