//! Holds the configuration lines that decide whether a client is admitted, in a form in which two
//! configurations can be compared.

use crate::sample::live::Lists;
use language::ConfigLine;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

/// A `tcp-request connection`, `tcp-request session` or `acl` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdmissionLine {
    /// Hash of its words, with variables expanded.
    words: u64,
    /// Uses of pattern lists and maps by the line, as [`Lists::use_count`] numbers them.
    uses: Range<usize>,
}

impl AdmissionLine {
    /// Creates the form of a line. `uses`: the uses of lists that were registered while the line
    /// was compiled.
    pub fn new(line: &ConfigLine, uses: Range<usize>) -> AdmissionLine {
        let mut hasher = DefaultHasher::new();
        for word in &line.words {
            word.text().hash(&mut hasher);
        }
        AdmissionLine {
            words: hasher.finish(),
            uses,
        }
    }

    #[cfg(test)]
    pub(crate) fn of_words(words: u64) -> AdmissionLine {
        AdmissionLine { words, uses: 0..0 }
    }

    pub(crate) fn is_same(
        &self,
        lists: &Lists,
        older: &AdmissionLine,
        older_lists: &Lists,
    ) -> bool {
        self.words == older.words && lists.were_loaded_alike(&self.uses, older_lists, &older.uses)
    }
}
