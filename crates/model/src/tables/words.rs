//! The dictionary of a table: short texts (names of servers) that entries point
//! at by number. Peers write them, so there is a bound.

use std::sync::{Arc, PoisonError, RwLock};

/// Texts of one table.
const WORDS_MAX: usize = 4096;
/// Bytes of one.
pub const WORD_BYTES_MAX: usize = 255;

/// Texts by number; 0 is none.
#[derive(Debug, Default)]
pub struct Words(RwLock<Vec<Arc<str>>>);

impl Words {
    /// The number of a text; 0 where there is no room for one more.
    pub fn number(&self, text: &str) -> u32 {
        if text.is_empty() || text.len() > WORD_BYTES_MAX {
            return 0;
        }
        let at = |words: &[Arc<str>]| words.iter().position(|word| **word == *text);
        let words = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = at(&words) {
            return at as u32 + 1;
        }
        drop(words);
        let mut words = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = at(&words) {
            return at as u32 + 1;
        }
        if words.len() >= WORDS_MAX {
            return 0;
        }
        words.push(text.into());
        words.len() as u32
    }

    /// The text of a number.
    pub fn text(&self, number: u32) -> Option<Arc<str>> {
        let words = self.0.read().unwrap_or_else(PoisonError::into_inner);
        words.get((number as usize).checked_sub(1)?).cloned()
    }
}
