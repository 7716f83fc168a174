//! A line whose bytes know where they come from: variables are replaced in it, and
//! every word still has its place in a file.

use language::Span;

/// Bytes with their places.
#[derive(Clone, Default, Debug)]
pub(super) struct Text {
    bytes: Vec<u8>,
    places: Vec<Span>,
}

impl Text {
    /// Bytes as they stand in a file from this byte on.
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

    /// Bytes that all come from one place.
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

    /// The byte there, 0 behind the end.
    pub(super) fn at(&self, index: usize) -> u8 {
        self.bytes.get(index).copied().unwrap_or(0)
    }

    /// A part of it; bounds beyond the end are the end.
    pub(super) fn part(&self, start: usize, end: usize) -> Text {
        let end = end.min(self.len());
        let start = start.min(end);
        Text {
            bytes: self.bytes[start..end].to_vec(),
            places: self.places[start..end].to_vec(),
        }
    }

    /// The part from there on.
    pub(super) fn from(&self, start: usize) -> Text {
        self.part(start, self.len())
    }

    /// The place of a part; of an empty one that of what is before it.
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        let Some(last) = self.places.len().checked_sub(1) else {
            return Span::default();
        };
        let first = self.places[start.min(last)];
        first.to(self.places[end.saturating_sub(1).clamp(start.min(last), last)])
    }

    /// The place of all of it.
    pub(super) fn place(&self) -> Span {
        self.span(0, self.len())
    }

    pub(super) fn append(&mut self, other: &Text) {
        self.bytes.extend_from_slice(&other.bytes);
        self.places.extend_from_slice(&other.places);
    }

    /// Without white space at both ends.
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

    /// All of its bytes point there.
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
