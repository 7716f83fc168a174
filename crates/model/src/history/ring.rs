//! Stores the request history of a thread in groups of entries. When memory is full, the oldest
//! group is reused for the newest entries.

use super::entry::{self, Entry, FIELDS, RequestRecord, RuleLocation};
use super::{HistoryEntry, HistoryPage, HistoryRange};
use crate::config::{Config, RuleTexts};
use crate::transaction::{Others, ProxyStream, RULES_MAX, RuleMet, Try};
use std::collections::VecDeque;
use std::sync::Arc;

/// Maximum number of file names that a thread's history knows; further files are unknown.
const FILES_MAX: usize = 255;
/// Number of configurations whose rule texts are kept. For rules of older configurations, only the
/// line numbers are known.
const VERSIONS_MAX: usize = 8;
/// Number of entries of a group.
const GROUP: usize = 64;

#[derive(Debug)]
pub(super) struct Ring {
    /// Groups of entries, oldest first; all but the last are full ([`GROUP`]).
    groups: VecDeque<Group>,
    /// Configured number of entries; one more group than that may be in memory.
    limit: usize,
    /// Number of entries ever recorded.
    pub(super) written: u64,
    pub(super) files: RuleFileNames,
    texts: VecDeque<(u64, Arc<RuleTexts>)>,
}

/// Consecutive entries. Each kind of data is in one list, so that a new entry touches little
/// memory.
#[derive(Default, Debug)]
struct Group {
    rows: Vec<Row>,
    text: Vec<u8>,
    rules: Vec<(RuleMet, u8)>,
    tries: Vec<Try>,
}

/// An entry, with the end of its data in each list of the group.
#[derive(Debug)]
struct Row {
    facts: RequestRecord,
    ends: [u16; FIELDS],
    text: u32,
    rules: u16,
    tries: u16,
    others: Option<Others>,
}

#[derive(Debug)]
pub(super) struct RuleFileNames {
    names: Vec<Arc<str>>,
    /// The last lookup: number of the configuration, index of the file in it, and index in
    /// `names`.
    last: Option<(u64, u32, u8)>,
}

impl RuleFileNames {
    /// Returns the index of a file name; [`RuleLocation::NO_FILE`] if there is no room for another
    /// name.
    pub(super) fn place(&mut self, config: &Config, file: u32) -> u8 {
        if let Some((version, number, place)) = self.last
            && (version, number) == (config.version, file)
        {
            return place;
        }
        let Some(name) = config.files.get(file as usize) else {
            return RuleLocation::NO_FILE;
        };
        let known = self.names.iter().position(|one| **one == **name);
        let at = known.unwrap_or_else(|| {
            if self.names.len() < FILES_MAX {
                self.names.push(name.as_str().into());
            }
            self.names.len() - 1
        });
        let is_it = self.names.get(at).is_some_and(|one| **one == **name);
        let place = if is_it {
            u8::try_from(at).unwrap_or(RuleLocation::NO_FILE)
        } else {
            RuleLocation::NO_FILE
        };
        self.last = Some((config.version, file, place));
        place
    }
}

impl Group {
    fn clear(&mut self) {
        self.rows.clear();
        self.text.clear();
        self.rules.clear();
        self.tries.clear();
    }

    /// Frees memory that the entries of a group do not use: lists grow by doubling, and an idle
    /// thread keeps its groups.
    fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.rules.shrink_to_fit();
        self.tries.shrink_to_fit();
    }

    fn push(&mut self, stream: &ProxyStream, number: u64, files: &mut RuleFileNames) {
        let mut file = |file| files.place(&stream.config, file);
        let facts = RequestRecord::of(stream, number, &mut file);
        let ends = entry::put_texts(stream, &mut self.text);
        let decided = stream.decided.as_deref();
        if let Some(decided) = decided {
            let rules = decided.rules().map(|rule| (*rule, file(rule.file)));
            self.rules.extend(rules);
            self.tries.extend(decided.tries().copied());
        }
        self.rows.push(Row {
            facts,
            ends,
            text: self.text.len() as u32,
            rules: self.rules.len() as u16,
            tries: self.tries.len() as u16,
            others: decided.map(|decided| decided.others()),
        });
    }

    fn read(&self, at: usize, out: &mut Entry) {
        let Some(row) = self.rows.get(at) else {
            return;
        };
        let before = at.checked_sub(1).and_then(|at| self.rows.get(at));
        let begins = before.map_or((0, 0, 0), |row| (row.text, row.rules, row.tries));
        out.facts = row.facts;
        out.text.ends = row.ends;
        out.text.bytes.clear();
        let text = self.text.get(begins.0 as usize..row.text as usize);
        out.text.bytes.extend_from_slice(text.unwrap_or_default());
        out.files = [RuleLocation::NO_FILE; RULES_MAX];
        let Some(others) = row.others else {
            out.decided = None;
            return;
        };
        let rules = self
            .rules
            .get(usize::from(begins.1)..usize::from(row.rules));
        let rules = rules.unwrap_or_default();
        for (file, (_, kept)) in out.files.iter_mut().zip(rules) {
            *file = *kept;
        }
        let tries = self
            .tries
            .get(usize::from(begins.2)..usize::from(row.tries));
        out.decided.get_or_insert_default().become_kept(
            rules.iter().map(|(rule, _)| *rule),
            tries.unwrap_or_default().iter().copied(),
            others,
        );
    }
}

impl Ring {
    pub(super) const fn new() -> Ring {
        Ring {
            groups: VecDeque::new(),
            limit: 0,
            written: 0,
            files: RuleFileNames {
                names: Vec::new(),
                last: None,
            },
            texts: VecDeque::new(),
        }
    }

    /// Records a stream. The last `limit` entries and at most one group more stay in memory; a
    /// limit of 0 frees all and records nothing.
    pub(super) fn keep(&mut self, stream: &ProxyStream, limit: usize) {
        if limit != self.limit {
            self.limit_to(limit);
        }
        if limit == 0 {
            return;
        }
        if self
            .groups
            .back()
            .is_none_or(|group| group.rows.len() >= GROUP)
        {
            self.next_group();
        }
        if let Some(group) = self.groups.back_mut() {
            self.written += 1;
            let version = stream.config.version;
            // Adds the rule texts of the stream's configuration unless they are known. All known
            // ones are compared, because streams under different configurations end in any order.
            if !self.texts.iter().rev().any(|(known, _)| *known == version) {
                let texts = Arc::clone(&stream.config.rule_texts);
                self.texts.push_back((version, texts));
                if self.texts.len() > VERSIONS_MAX {
                    self.texts.pop_front();
                }
            }
            group.push(stream, self.written, &mut self.files);
        }
    }

    fn entries(&self) -> usize {
        let last = self.groups.back().map_or(0, |group| group.rows.len());
        self.groups.len().saturating_sub(1) * GROUP + last
    }

    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        let group = |group: &Group| {
            group.rows.capacity() * size_of::<Row>()
                + group.text.capacity()
                + group.rules.capacity() * size_of::<(RuleMet, u8)>()
                + group.tries.capacity() * size_of::<Try>()
        };
        self.groups.iter().map(group).sum()
    }

    /// Adds an empty group. The oldest group is reused for that if the others have enough entries.
    fn next_group(&mut self) {
        if let Some(full) = self.groups.back_mut() {
            full.shrink();
        }
        let others = self.entries().saturating_sub(GROUP);
        let used = if others >= self.limit {
            self.groups.pop_front()
        } else {
            None
        };
        let mut group = used.unwrap_or_default();
        group.clear();
        group.rows.reserve_exact(GROUP);
        self.groups.push_back(group);
    }

    #[cold]
    fn limit_to(&mut self, limit: usize) {
        self.limit = limit;
        if limit == 0 {
            self.groups = VecDeque::new();
            self.texts = VecDeque::new();
        }
        while self.groups.len() > 1 && self.entries() - GROUP >= limit {
            self.groups.pop_front();
        }
        self.groups.shrink_to(limit / GROUP + 2);
    }

    fn read(&self, number: u64, out: &mut Entry) {
        let first = self.written - self.entries() as u64 + 1;
        let at = number.saturating_sub(first) as usize;
        if let Some(group) = self.groups.get(at / GROUP) {
            group.read(at % GROUP, out);
        }
    }

    pub(super) fn find_entries(
        &self,
        look: HistoryRange,
        fits: impl Fn(&Entry) -> Option<u32>,
    ) -> HistoryPage {
        let files: Arc<[Arc<str>]> = self.files.names.as_slice().into();
        // Treats a number beyond the last entry as 0, because it comes from an earlier process.
        let since = if look.since <= self.written {
            look.since
        } else {
            0
        };
        let kept = self.entries().min(self.limit) as u64;
        let oldest = self.written - kept + 1;
        let newest = look.before.unwrap_or(u64::MAX).min(self.written + 1);
        let mut rest = (oldest.max(since + 1)..newest).rev();
        let (mut told, mut last, mut entry) = (Vec::new(), None, Entry::default());
        for number in rest.by_ref().take(look.max) {
            last = Some(number);
            self.read(number, &mut entry);
            if let Some(how) = fits(&entry) {
                let (entry, files) = (entry.clone(), Arc::clone(&files));
                let mut texts = self.texts.iter();
                let texts = texts.find(|(version, _)| *version == entry.version);
                let texts = texts.map(|(_, texts)| Arc::clone(texts));
                told.push((
                    how,
                    HistoryEntry {
                        entry,
                        files,
                        texts,
                    },
                ));
            }
        }
        let before = rest.next().and(last);
        let oldest_ms = (kept > 0).then(|| {
            self.read(oldest, &mut entry);
            entry.ended_ms()
        });
        let lost = if kept > 0 {
            oldest.saturating_sub(since + 1)
        } else {
            0
        };
        HistoryPage {
            entries: told,
            before,
            written: self.written,
            kept,
            missed: if since > 0 { lost } else { 0 },
            oldest_ms,
        }
    }
}
