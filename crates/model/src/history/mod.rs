//! Keeps the history of requests. Each thread keeps its last finished requests and TCP sessions
//! with the decisions on each, as many as `request-history` configures. Without that line a thread
//! keeps at most 256 and records them at a limited rate. Operators query them by the runtime API
//! (`show request`, `show requests`), which reads the threads one after the other, some entries at
//! a time.
//!
//! A request is recorded without a lock: small numbers and bounded texts are appended to the
//! memory that the thread wrote last. Access to memory that was unused for long would cost more
//! than the copying. Query strings are never recorded.

mod asked;
mod budget;
mod entry;
mod filter;
mod ring;

pub use asked::HistorySearch;
pub use entry::{BackendBy, Entry, EntryText, RequestRecord, RuleLocation, Spans};
pub use filter::{FilterError, HistoryFilter};

use crate::config::RuleTexts;
use crate::log;
use crate::transaction::ProxyStream;
use budget::Budget;
use ring::Ring;
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static RING: RefCell<Ring> = const { RefCell::new(Ring::new()) };
    static BUDGET: RefCell<Budget> = const { RefCell::new(Budget::new()) };
}

/// Records a stream that has ended, unless its configuration disables the history or the stream is
/// hidden from logs. Without a `request-history` line the budget of the thread limits the records.
pub fn ended(stream: &ProxyStream) {
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
pub struct HistoryEntry {
    pub entry: Entry,
    files: Arc<[Arc<str>]>,
    /// Texts of the rule lines; None if the thread no longer knows that configuration.
    texts: Option<Arc<RuleTexts>>,
}

impl HistoryEntry {
    pub fn place(&self, place: RuleLocation) -> Option<(&str, u32)> {
        let name = self.files.get(usize::from(place.file))?;
        (place.line > 0).then_some((name, place.line))
    }

    /// Returns the configuration line of a rule, as it was when the request was served, with
    /// secrets masked. Returns None if the text is no longer known.
    pub fn line_text(&self, place: RuleLocation) -> Option<String> {
        let (file, line) = self.place(place)?;
        self.texts.as_ref()?.get(file, line)
    }
}

/// Some of the entries of this thread's history.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// Entries, newest first, each with a rating of how well it matches.
    pub entries: Vec<(u32, HistoryEntry)>,
    /// The next page has entries with lower numbers than this; None if this is the last page.
    pub before: Option<u64>,
    /// Number of entries ever recorded.
    pub written: u64,
    pub kept: u64,
    /// Number of requested entries that were already overwritten.
    pub missed: u64,
    /// End time of the oldest entry in memory, milliseconds since 1970.
    pub oldest_ms: Option<u64>,
}

/// Range of entries of a thread's history to examine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistoryRange {
    /// Only entries with a higher number than this. If the thread has recorded fewer entries, the
    /// number is from an earlier process, and all entries are examined.
    pub since: u64,
    /// Only entries with a lower number than this; None starts with the newest.
    pub before: Option<u64>,
    pub max: usize,
}

/// Returns the entries of this thread in a range that match: those for which `fits` returns a
/// rating.
pub fn find_entries(look: HistoryRange, fits: impl Fn(&Entry) -> Option<u32>) -> HistoryPage {
    RING.with_borrow(|ring| ring.find_entries(look, fits))
}

#[cfg(test)]
mod tests;
