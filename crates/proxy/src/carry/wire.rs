//! Fields as bytes: a tag, a length, a value; numbers are in groups of seven
//! bits, the lowest first. A reader skips tags that it does not know, so an older
//! and a newer program understand each other. Knows no field.

use super::CarryError;

/// Bytes that a number has at most.
const NUMBER_BYTES_MAX: usize = 10;

/// Writes fields.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    /// A number without a tag: within a value.
    pub fn plain(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.bytes.push(n as u8);
    }

    /// A number; 0 is left out, being what a reader takes for granted.
    pub fn number(&mut self, tag: u8, n: u64) {
        if n != 0 {
            self.present(tag, n);
        }
    }

    /// A number whose presence says something.
    pub fn present(&mut self, tag: u8, n: u64) {
        self.nested(tag, |w| w.plain(n));
    }

    /// Bytes.
    pub fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        self.bytes.push(tag);
        self.plain(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// A field that consists of what `write` writes.
    pub fn nested(&mut self, tag: u8, write: impl FnOnce(&mut Writer)) {
        self.bytes.push(tag);
        let start = self.bytes.len();
        write(self);
        let end = self.bytes.len();
        self.plain((end - start) as u64);
        // The length was written behind what it counts.
        let length = self.bytes.len() - end;
        self.bytes[start..].rotate_right(length);
    }
}

/// Reads fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// The next field; None at the end.
    pub fn field(&mut self) -> Result<Option<(u8, &'b [u8])>, CarryError> {
        let Some((tag, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        self.rest = rest;
        let length = usize::try_from(self.plain()?).map_err(|_| CarryError::Cut)?;
        let (value, rest) = self.rest.split_at_checked(length).ok_or(CarryError::Cut)?;
        self.rest = rest;
        Ok(Some((*tag, value)))
    }

    /// A number without a tag.
    pub fn plain(&mut self) -> Result<u64, CarryError> {
        let mut n = 0;
        for (at, byte) in self.rest.iter().take(NUMBER_BYTES_MAX).enumerate() {
            // Bits beyond the 64th are dropped.
            n |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(n);
            }
        }
        Err(CarryError::Cut)
    }

    /// So many bytes.
    pub fn take(&mut self, count: u64) -> Result<&'b [u8], CarryError> {
        let count = usize::try_from(count).map_err(|_| CarryError::Cut)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CarryError::Cut)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Whether all was read.
    pub fn done(&self) -> bool {
        self.rest.is_empty()
    }
}

/// The number that is a field's value.
pub(super) fn number(value: &[u8]) -> Result<u64, CarryError> {
    Reader::new(value).plain()
}

/// The same where it does not fit: as much as fits.
pub(super) fn small(value: &[u8]) -> Result<u32, CarryError> {
    Ok(u32::try_from(number(value)?).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_written() {
        let mut writer = Writer::default();
        writer.number(1, 0);
        writer.present(2, 0);
        writer.number(3, u64::MAX);
        writer.nested(4, |w| {
            w.bytes(5, &[7; 300]);
            w.number(6, 127);
        });
        let mut reader = Reader::new(&writer.bytes);
        assert_eq!(reader.field(), Ok(Some((2, &[0][..]))));
        let (tag, value) = reader.field().unwrap().unwrap();
        assert_eq!((tag, number(value)), (3, Ok(u64::MAX)));
        let (tag, inner) = reader.field().unwrap().unwrap();
        assert_eq!((tag, reader.field()), (4, Ok(None)));
        let mut inner = Reader::new(inner);
        assert_eq!(inner.field(), Ok(Some((5, &[7; 300][..]))));
        assert_eq!(inner.field(), Ok(Some((6, &[127][..]))));
        assert!(inner.done());
    }

    #[test]
    fn what_is_cut_off_or_without_an_end_is_an_error() {
        for bytes in [&[1][..], &[1, 3, 0, 0], &[1, 0x80], &[1, 0xff, 0xff]] {
            assert_eq!(Reader::new(bytes).field(), Err(CarryError::Cut));
        }
        assert_eq!(number(&[0xff; 11]), Err(CarryError::Cut));
        assert_eq!(small(&[0xff, 0xff, 0xff, 0xff, 0x7f]), Ok(u32::MAX));
    }
}
