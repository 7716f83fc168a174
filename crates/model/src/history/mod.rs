//! The history of requests: each thread keeps its newest finished requests and TCP sessions with
//! what was decided for each, until `request-history` newer ones have come. Operators ask for
//! them by the runtime API (`show request`, `show requests`); the threads are asked one after the
//! other, a part of their entries at a time.
//!
//! A request is kept by copying small numbers and bounded texts into the memory of the oldest
//! one: no lock, and no allocation once the ring is full. Query strings are never kept.

mod asked;
mod entry;
mod filter;

pub use asked::Asked;
pub use entry::{BackendBy, Entry, Field, Place, Spans};
pub use filter::{Filter, FilterError};

use crate::config::Config;
use crate::log;
use crate::transaction::Stream;
use std::cell::RefCell;
use std::sync::Arc;

/// Names of files that a ring holds; those of later ones are unknown.
const FILES_MAX: usize = 255;

thread_local! {
    static RING: RefCell<Ring> = const { RefCell::new(Ring::new()) };
}

/// The newest requests of a thread.
#[derive(Debug)]
struct Ring {
    /// In a circle once there are as many as are kept.
    entries: Vec<Entry>,
    /// Where the next one goes.
    next: usize,
    /// How many there ever were.
    written: u64,
    files: Files,
}

/// The files of the rules that entries name.
#[derive(Debug)]
struct Files {
    names: Vec<Arc<str>>,
    /// The last one that was asked for: the version of its configuration, its number there, and
    /// its place here.
    last: Option<(u64, u32, u8)>,
}

impl Files {
    /// The place of the name of a file; [`Place::NO_FILE`] if there is no room.
    fn place(&mut self, config: &Config, file: u32) -> u8 {
        if let Some((version, number, place)) = self.last
            && (version, number) == (config.version, file)
        {
            return place;
        }
        let Some(name) = config.files.get(file as usize) else {
            return Place::NO_FILE;
        };
        let known = self.names.iter().position(|one| **one == **name);
        let at = known.unwrap_or_else(|| {
            if self.names.len() < FILES_MAX {
                self.names.push(name.as_str().into());
            }
            self.names.len() - 1
        });
        let is_it = self.names.get(at).is_some_and(|one| **one == **name);
        let place = match is_it {
            true => u8::try_from(at).unwrap_or(Place::NO_FILE),
            false => Place::NO_FILE,
        };
        self.last = Some((config.version, file, place));
        place
    }
}

impl Ring {
    const fn new() -> Ring {
        Ring {
            entries: Vec::new(),
            next: 0,
            written: 0,
            files: Files {
                names: Vec::new(),
                last: None,
            },
        }
    }

    /// The memory for a new entry, of at most `limit`; 0 frees all.
    fn slot(&mut self, limit: usize) -> Option<(&mut Entry, &mut Files)> {
        if self.entries.len() > limit || (self.next != 0 && self.entries.len() < limit) {
            self.straighten(limit);
        }
        if limit == 0 {
            return None;
        }
        if self.entries.len() < limit {
            self.entries.push(Entry::default());
            self.next = 0;
            self.written += 1;
            let last = self.entries.last_mut()?;
            last.number = self.written;
            return Some((last, &mut self.files));
        }
        let at = self.next;
        self.next = if at + 1 >= limit { 0 } else { at + 1 };
        self.written += 1;
        let slot = self.entries.get_mut(at)?;
        slot.number = self.written;
        Some((slot, &mut self.files))
    }

    /// Begins with the oldest one, and keeps the newest `limit`.
    #[cold]
    fn straighten(&mut self, limit: usize) {
        self.entries.rotate_left(self.next);
        self.next = 0;
        let over = self.entries.len().saturating_sub(limit);
        self.entries.drain(..over);
        self.entries.shrink_to(limit);
    }

    /// The entries, newest first.
    fn newest(&self) -> impl Iterator<Item = &Entry> {
        let (newer, older) = self.entries.split_at(self.next.min(self.entries.len()));
        newer.iter().rev().chain(older.iter().rev())
    }

    fn tell(&self, look: Look, fits: impl Fn(&Entry) -> Option<u32>) -> Part {
        let files: Arc<[Arc<str>]> = self.files.names.as_slice().into();
        // Otherwise the number is of a process that served before this one.
        let since = if look.since <= self.written {
            look.since
        } else {
            0
        };
        let is_older = |entry: &Entry| look.before.is_none_or(|before| entry.number < before);
        let mut rest = { self.newest() }.filter(|entry| entry.number > since && is_older(entry));
        let mut told = Vec::new();
        let mut last = None;
        for entry in rest.by_ref().take(look.max) {
            last = Some(entry.number);
            if let Some(how) = fits(entry) {
                let (entry, files) = (entry.clone(), Arc::clone(&files));
                told.push((how, Told { entry, files }));
            }
        }
        let before = rest.next().and(last);
        let oldest = { self.entries.get(self.next) }.or_else(|| self.entries.first());
        let lost = oldest.map_or(0, |oldest| oldest.number.saturating_sub(since + 1));
        Part {
            told,
            before,
            written: self.written,
            kept: self.entries.len() as u64,
            missed: if since > 0 { lost } else { 0 },
            oldest_ms: oldest.map(Entry::ended_ms),
        }
    }
}

/// Keeps a stream that has ended, where its configuration keeps any.
pub fn ended(stream: &mut Stream) {
    let limit = stream.config.global.requests_kept() as usize;
    if limit > 0 && log::is_hidden(stream) {
        return;
    }
    RING.with_borrow_mut(|ring| {
        if limit == 0 && ring.entries.is_empty() {
            return;
        }
        if let Some((entry, files)) = ring.slot(limit) {
            entry.fill(stream, |file| files.place(&stream.config, file));
            // The memory of the oldest one becomes that of a later stream.
            std::mem::swap(&mut entry.decided, &mut stream.decided);
        }
    });
}

/// An entry, with the names of the files that it refers to.
#[derive(Clone, Debug)]
pub struct Told {
    /// What is kept.
    pub entry: Entry,
    files: Arc<[Arc<str>]>,
}

impl Told {
    /// A line of a file, as `FILE:LINE`.
    pub fn place(&self, place: Place) -> Option<(&str, u32)> {
        let name = self.files.get(usize::from(place.file))?;
        (place.line > 0).then_some((name, place.line))
    }
}

/// What a part of the ring of this thread holds.
#[derive(Clone, Debug)]
pub struct Part {
    /// Entries, newest first, each with how well it fits.
    pub told: Vec<(u32, Told)>,
    /// The next part is of those that are older than this one; None: there is none.
    pub before: Option<u64>,
    /// How many entries there ever were.
    pub written: u64,
    /// How many are kept.
    pub kept: u64,
    /// Entries that were asked for and are not kept any more.
    pub missed: u64,
    /// When the oldest entry ended that is kept, milliseconds since 1970.
    pub oldest_ms: Option<u64>,
}

/// Which entries of a thread are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// Those behind this number; where there never were so many, all.
    pub since: u64,
    /// Those older than this one; None: from the newest on.
    pub before: Option<u64>,
    /// How many at most.
    pub max: usize,
}

/// Looks at entries of this thread, and returns those that `fits` gives a number.
pub fn tell(look: Look, fits: impl Fn(&Entry) -> Option<u32>) -> Part {
    RING.with_borrow(|ring| ring.tell(look, fits))
}

#[cfg(test)]
mod tests;
