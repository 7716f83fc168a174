//! Numbers texts of the peers protocol, which are sent once and then by number. Each side numbers
//! the texts that it sends.

/// Maximum number that a peer may use for a text; this side uses one number less.
pub(super) const NUMBERS: usize = 128;
pub(super) const TEXT_BYTES_MAX: usize = 255;

#[derive(Debug, Default)]
pub(super) struct Dictionary {
    texts: Vec<Option<Box<str>>>,
    next: usize,
}

impl Dictionary {
    /// Returns the number of a text, and whether the text itself must be sent with it.
    pub fn number(&mut self, text: &str) -> (u64, bool) {
        let known = |known: &Option<Box<str>>| known.as_deref() == Some(text);
        if let Some(at) = self.texts.iter().position(known) {
            return (at as u64 + 1, false);
        }
        // Reuses the oldest number for a new text.
        let at = self.next % (NUMBERS - 1);
        self.next = at + 1;
        self.set(at as u64 + 1, text);
        (at as u64 + 1, true)
    }

    pub fn set(&mut self, number: u64, text: &str) {
        let Some(at) = (number as usize).checked_sub(1).filter(|at| *at < NUMBERS) else {
            return;
        };
        if self.texts.len() <= at {
            self.texts.resize(at + 1, None);
        }
        if let Some(place) = self.texts.get_mut(at) {
            *place = Some(text.into());
        }
    }

    pub fn text(&self, number: u64) -> Option<&str> {
        self.texts
            .get((number as usize).checked_sub(1)?)?
            .as_deref()
    }
}
