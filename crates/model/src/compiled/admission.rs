//! Holds the configuration lines that decide whether a client is admitted, in a form in which two
//! configurations can be compared.

use crate::sample::live::Lists;
use language::ConfigLine;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

/// A `tcp-request connection`, `tcp-request session` or `acl` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdmissionLine {
    /// Hash of the words of the line, after expansion of environment variables.
    words: u64,
    /// Range of the numbers of the lists and maps that the line uses; [`Lists::use_count`] assigns
    /// them.
    uses: Range<usize>,
}

impl AdmissionLine {
    /// `uses`: range of the list uses that were registered while this line was compiled.
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
