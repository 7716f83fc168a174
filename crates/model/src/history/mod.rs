//! The history of requests: each thread keeps its newest finished requests and TCP sessions with
//! what was decided for each, until `request-history` newer ones have come; without that line a few,
//! as far as a budget of time allows. Operators ask for
//! them by the runtime API (`show request`, `show requests`); the threads are asked one after the
//! other, a part of their entries at a time.
//!
//! A request is kept by appending small numbers and bounded texts to what the thread wrote last,
//! without a lock: memory that was not used for long costs more than all the copying. Query
//! strings are never kept.

mod asked;
mod budget;
mod entry;
mod filter;
mod ring;

pub use asked::Asked;
pub use entry::{BackendBy, Entry, Facts, Field, Place, Spans};
pub use filter::{Filter, FilterError};

use crate::config::RuleTexts;
use crate::log;
use crate::transaction::Stream;
use budget::Budget;
use ring::Ring;
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static RING: RefCell<Ring> = const { RefCell::new(Ring::new()) };
    static BUDGET: RefCell<Budget> = const { RefCell::new(Budget::new()) };
}

/// Keeps a stream that has ended, where its configuration keeps any.
pub fn ended(stream: &Stream) {
    let limit = stream.config.global.requests_kept() as usize;
    if limit > 0 && log::is_hidden(stream) {
        return;
    }
    if stream.config.global.request_history.is_none() {
        let (now, has_failed) = (stream.times.end(), budget::has_failed(stream));
        if !BUDGET.with_borrow_mut(|budget| budget.takes(now, has_failed)) {
            return;
        }
    }
    RING.with_borrow_mut(|ring| ring.keep(stream, limit));
}

/// An entry, with the names of the files that it refers to.
#[derive(Clone, Debug)]
pub struct Told {
    /// What is kept.
    pub entry: Entry,
    files: Arc<[Arc<str>]>,
    /// None: its version was forgotten.
    texts: Option<Arc<RuleTexts>>,
}

impl Told {
    /// A line of a file, as `FILE:LINE`.
    pub fn place(&self, place: Place) -> Option<(&str, u32)> {
        let name = self.files.get(usize::from(place.file))?;
        (place.line > 0).then_some((name, place.line))
    }

    /// What stands there in the configuration that served the request, with secrets covered; None: that
    /// is not known any more.
    pub fn line_text(&self, place: Place) -> Option<&str> {
        let (file, line) = self.place(place)?;
        self.texts.as_ref()?.get(file, line)
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
