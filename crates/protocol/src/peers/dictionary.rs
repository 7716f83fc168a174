//! Texts that are sent once and then by number. Each side numbers what it sends.

/// Texts that one side may have sent: numbers from 1 up to this one.
pub(super) const NUMBERS: usize = 128;
/// Bytes of one text.
pub(super) const TEXT_BYTES_MAX: usize = 255;

/// The dictionary of one direction.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    texts: Vec<Option<Box<str>>>,
    next: usize,
}

impl Dictionary {
    /// The number of a text, and whether it has to be sent with it.
    pub fn number(&mut self, text: &str) -> (u64, bool) {
        let known = |known: &Option<Box<str>>| known.as_deref() == Some(text);
        if let Some(at) = self.texts.iter().position(known) {
            return (at as u64 + 1, false);
        }
        // The oldest number is given to another text.
        let at = self.next % (NUMBERS - 1);
        self.next = at + 1;
        self.set(at as u64 + 1, text);
        (at as u64 + 1, true)
    }

    /// A number has a text from now on.
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

    /// The text of a number.
    pub fn text(&self, number: u64) -> Option<&str> {
        self.texts
            .get((number as usize).checked_sub(1)?)?
            .as_deref()
    }
}
