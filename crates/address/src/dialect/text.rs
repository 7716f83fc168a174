//! Stores a line together with the position of every byte, so that every word still has its
//! position in a file after variables are replaced.

use language::Span;

/// Text whose every byte has its position in a file.
#[derive(Clone, Default, Debug)]
pub(super) struct Text {
    bytes: Vec<u8>,
    places: Vec<Span>,
}

impl Text {
    /// Creates a text whose bytes follow one another in a file from `start` on.
    pub(super) fn of_file(bytes: &[u8], start: Span) -> Text {
        let place = |i: usize| Span {
            file: start.file,
            start: start.start + i as u32,
            end: start.start + i as u32 + 1,
        };
        Text {
            bytes: bytes.to_vec(),
            places: (0..bytes.len()).map(place).collect(),
        }
    }

    /// Creates a text whose bytes all have the same position.
    pub(super) fn of_place(bytes: &[u8], place: Span) -> Text {
        Text {
            bytes: bytes.to_vec(),
            places: vec![place; bytes.len()],
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns a byte; 0 beyond the end.
    pub(super) fn at(&self, index: usize) -> u8 {
        self.bytes.get(index).copied().unwrap_or(0)
    }

    /// Returns a part of the text; bounds beyond the end mean the end.
    pub(super) fn part(&self, start: usize, end: usize) -> Text {
        let end = end.min(self.len());
        let start = start.min(end);
        Text {
            bytes: self.bytes[start..end].to_vec(),
            places: self.places[start..end].to_vec(),
        }
    }

    /// Returns the part from `start` on.
    pub(super) fn from(&self, start: usize) -> Text {
        self.part(start, self.len())
    }

    /// Returns the position of a part. An empty part has the position of the byte that follows, or
    /// of the last byte at the end.
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        let Some(last) = self.places.len().checked_sub(1) else {
            return Span::default();
        };
        let first = self.places[start.min(last)];
        first.to(self.places[end.saturating_sub(1).clamp(start.min(last), last)])
    }

    /// Returns the position of the whole text.
    pub(super) fn place(&self) -> Span {
        self.span(0, self.len())
    }

    pub(super) fn append(&mut self, other: &Text) {
        self.bytes.extend_from_slice(&other.bytes);
        self.places.extend_from_slice(&other.places);
    }

    /// Removes white space at both ends.
    pub(super) fn trim(&self) -> Text {
        let start = self.bytes.iter().position(|b| !is_space(*b));
        let end = self.bytes.iter().rposition(|b| !is_space(*b));
        match (start, end) {
            (Some(start), Some(end)) => self.part(start, end + 1),
            _ => Text::default(),
        }
    }

    pub(super) fn string(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Assigns one position to all bytes.
    pub(super) fn placed(mut self, place: Span) -> Text {
        self.places.fill(place);
        self
    }
}

/// Returns whether the byte separates words.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

/// Returns whether the byte may be part of a variable name.
pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
