//! Numbers the short texts (server names) to which entries of a stick table refer. Peers can add
//! texts, so their number is limited.

use std::sync::{Arc, PoisonError, RwLock};

/// Maximum number of texts of a table.
const WORDS_MAX: usize = 4096;
/// Maximum length of a text, bytes.
pub const WORD_BYTES_MAX: usize = 255;

/// Texts by number, from 1; 0 means no text.
#[derive(Debug, Default)]
pub struct StringTable(RwLock<Vec<Arc<str>>>);

impl StringTable {
    /// Returns the number of a text and adds it if needed; 0 if it is too long or there is no room.
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

    pub fn text(&self, number: u32) -> Option<Arc<str>> {
        let words = self.0.read().unwrap_or_else(PoisonError::into_inner);
        words.get((number as usize).checked_sub(1)?).cloned()
    }
}
