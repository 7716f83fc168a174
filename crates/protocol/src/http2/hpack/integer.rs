//! Encodes and decodes the integers of HPACK, which have a prefix (RFC 7541, section 5.1), and
//! reads the bytes of a header block.

use super::HpackError;

/// Maximum accepted integer: no string or table is longer.
const VALUE_MAX: u32 = 1 << 28;
/// Maximum number of bytes after the prefix; `VALUE_MAX` needs four.
const BYTES_MAX: u32 = 5;

/// The rest of a header block that was not parsed yet.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(block: &'a [u8]) -> Self {
        Reader { rest: block }
    }

    /// Returns the first byte of the next field; `None` at the end.
    pub(super) fn first(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Skips fields of one byte that refer to table entries up to the index `most`.
    pub(super) fn pass_indexed(&mut self, most: usize) {
        // Index 127 is the first one that needs more bytes.
        let last = 0x80 | most.min(126) as u8;
        let other = |byte: &u8| !(0x81..=last).contains(byte);
        let end = self.rest.iter().position(other);
        self.rest = self
            .rest
            .get(end.unwrap_or(self.rest.len())..)
            .unwrap_or_default();
    }

    fn byte(&mut self) -> Result<u8, HpackError> {
        let (byte, rest) = self.rest.split_first().ok_or(HpackError::Truncated)?;
        self.rest = rest;
        Ok(*byte)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], HpackError> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(HpackError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Parses an integer whose first `bits` bits (1 to 8) are in the next byte.
    pub(super) fn integer(&mut self, bits: u32) -> Result<usize, HpackError> {
        let full = (1u32 << bits) - 1;
        let low = u32::from(self.byte()?) & full;
        if low < full {
            return Ok(low as usize);
        }
        let mut sum = u64::from(full);
        for n in 0..BYTES_MAX {
            let byte = self.byte()?;
            sum += u64::from(byte & 0x7f) << (7 * n);
            if byte & 0x80 == 0 {
                return if sum <= u64::from(VALUE_MAX) {
                    Ok(sum as usize)
                } else {
                    Err(HpackError::Integer)
                };
            }
        }
        Err(HpackError::Integer)
    }
}

/// Appends an integer, whose first byte also contains `flags`.
pub(super) fn write(value: usize, bits: u32, flags: u8, out: &mut Vec<u8>) {
    let full = (1usize << bits) - 1;
    if value < full {
        out.push(flags | value as u8);
        return;
    }
    out.push(flags | full as u8);
    let mut rest = value - full;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_as_in_the_rfc_and_read_back() {
        let table: [(usize, u32, &[u8]); 4] = [
            (10, 5, &[0x0a]),
            (1337, 5, &[0x1f, 0x9a, 0x0a]),
            (42, 8, &[0x2a]),
            (255, 8, &[0xff, 0x00]),
        ];
        for (value, bits, wire) in table {
            let mut out = Vec::new();
            write(value, bits, 0, &mut out);
            assert_eq!(out, wire);
        }
        for bits in 1..=8 {
            for value in (0..2000).chain([1 << 14, (1 << 21) + 1, VALUE_MAX as usize]) {
                let mut out = Vec::new();
                write(value, bits, 0, &mut out);
                let mut reader = Reader::new(&out);
                assert_eq!(reader.integer(bits), Ok(value));
                assert_eq!(reader.first(), None);
            }
        }
    }

    #[test]
    fn integers_that_do_not_end_or_do_not_fit_are_refused() {
        let table: [(&[u8], HpackError); 5] = [
            (&[], HpackError::Truncated),
            (&[0x1f], HpackError::Truncated),
            (&[0x1f, 0x80], HpackError::Truncated),
            (&[0x1f, 0xff, 0xff, 0xff, 0xff, 0x0f], HpackError::Integer),
            (
                &[0x1f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
                HpackError::Integer,
            ),
        ];
        for (wire, error) in table {
            assert_eq!(Reader::new(wire).integer(5), Err(error), "{wire:?}");
        }
    }
}
