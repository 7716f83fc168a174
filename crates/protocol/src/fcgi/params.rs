//! Encodes the parameters of a FastCGI request: pairs of names and values, in records. A pair is
//! never split over two records, because applications parse each record by itself.

use super::CONTENT_MAX;

/// The pair does not fit into a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a FastCGI parameter is longer than a record")]
pub struct TooLong;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Params {
    bytes: Vec<u8>,
    /// Offset of each record except the first.
    cuts: Vec<usize>,
}

impl Params {
    /// Adds a pair. The pieces of the name are joined, letters converted to upper case, and all
    /// characters other than letters and digits to `_`.
    ///
    /// # Errors
    /// The pair is longer than a record.
    pub fn add(&mut self, name: &[&[u8]], value: &[u8]) -> Result<(), TooLong> {
        let begin = self.bytes.len();
        let name_bytes = name.iter().map(|piece| piece.len()).sum();
        length(name_bytes, &mut self.bytes);
        length(value.len(), &mut self.bytes);
        for byte in name.iter().copied().flatten() {
            self.bytes.push(match byte {
                byte if byte.is_ascii_alphanumeric() => byte.to_ascii_uppercase(),
                _ => b'_',
            });
        }
        self.bytes.extend_from_slice(value);
        if self.bytes.len() - begin > CONTENT_MAX {
            self.bytes.truncate(begin);
            return Err(TooLong);
        }
        let record = self.cuts.last().copied().unwrap_or(0);
        if self.bytes.len() - record > CONTENT_MAX {
            self.cuts.push(begin);
        }
        Ok(())
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.cuts.iter().copied());
        let ends = (self.cuts.iter().copied()).chain(std::iter::once(self.bytes.len()));
        begins
            .zip(ends)
            .map(|(begin, end)| &self.bytes[begin..end])
            .filter(|content| !content.is_empty())
    }
}

/// Appends a length in one byte, or in four bytes from 128 on.
fn length(length: usize, out: &mut Vec<u8>) {
    match u8::try_from(length) {
        Ok(length) if length < 0x80 => out.push(length),
        _ => {
            let length = u32::try_from(length).unwrap_or(u32::MAX) | 0x8000_0000;
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}
