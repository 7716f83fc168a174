//! Encodes stick table entries compactly: numbers in groups of seven bits, the lowest first; byte
//! strings after their length.

use super::CarryError;

const NUMBER_BYTES_MAX: usize = 10;

#[derive(Debug, Default)]
pub(super) struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    pub fn plain(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.bytes.push(n as u8);
    }

    /// Packs bytes, with their length in front.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.plain(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Reader { rest: bytes }
    }

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

    pub fn bytes(&mut self) -> Result<&'b [u8], CarryError> {
        let count = usize::try_from(self.plain()?).map_err(|_| CarryError::Cut)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CarryError::Cut)?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn done(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_data_is_unpacked_unchanged() {
        let mut writer = Writer::default();
        writer.plain(0);
        writer.plain(u64::MAX);
        writer.bytes(&[7; 300]);
        writer.plain(127);
        let mut reader = Reader::new(&writer.bytes);
        assert_eq!(
            (reader.plain(), reader.plain(), reader.bytes()),
            (Ok(0), Ok(u64::MAX), Ok(&[7; 300][..]))
        );
        assert_eq!((reader.plain(), reader.done()), (Ok(127), true));
    }

    #[test]
    fn truncated_or_endless_data_is_an_error() {
        for bytes in [&[][..], &[3, 0, 0], &[0x80], &[0xff, 0xff], &[0xff; 11]] {
            assert_eq!(Reader::new(bytes).bytes(), Err(CarryError::Cut));
        }
    }
}
