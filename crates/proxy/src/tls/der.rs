//! DER, as far as answers of OCSP need it: values one behind the other, each
//! length compared with what is left.

/// Bytes of DER values.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

/// Tags that are asked for.
pub mod tag {
    pub const INTEGER: u8 = 0x02;
    pub const BIT_STRING: u8 = 0x03;
    pub const OCTET_STRING: u8 = 0x04;
    pub const OID: u8 = 0x06;
    pub const ENUMERATED: u8 = 0x0a;
    pub const GENERALIZED_TIME: u8 = 0x18;
    pub const SEQUENCE: u8 = 0x30;

    /// A tag of the context that holds further values.
    pub const fn context(number: u8) -> u8 {
        0xa0 | number
    }
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next value.
    pub fn peek(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// How long the head of the next value is, and what it holds.
    fn head(self) -> Option<(usize, usize)> {
        let first = *self.0.get(1)?;
        if first < 0x80 {
            return Some((2, first.into()));
        }
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let bytes = self.0.get(2..2 + count)?;
        let length = bytes.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
        Some((2 + count, usize::try_from(length).ok()?))
    }

    /// The next value with its head, and what stands behind.
    pub fn whole(self) -> Option<(&'a [u8], &'a [u8])> {
        let (head, length) = self.head()?;
        self.0.split_at_checked(head.checked_add(length)?)
    }

    /// Takes the next value, whatever it is.
    pub fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let tag = self.peek()?;
        let (head, _) = self.head()?;
        let (whole, rest) = self.whole()?;
        self.0 = rest;
        Some((tag, &whole[head..]))
    }

    /// Takes the next value if it has this tag.
    pub fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        (self.peek()? == tag).then(|| self.any())?.map(|(_, value)| value)
    }

    /// Takes the next value, which holds values, if it has this tag.
    pub fn enter(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.take(tag).map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_lengths_that_lie_are_not() {
        let mut reader = Reader::new(b"\x30\x03\x02\x01\x05\x04\x81\x02ab");
        let mut inner = reader.enter(tag::SEQUENCE).unwrap();
        assert_eq!(inner.take(tag::OCTET_STRING), None);
        assert_eq!(inner.take(tag::INTEGER), Some(&b"\x05"[..]));
        assert!(inner.is_empty());
        assert_eq!(reader.take(tag::OCTET_STRING), Some(&b"ab"[..]));
        assert_eq!(reader.any(), None);
        for lie in [
            &b"\x30"[..],
            b"\x30\x01",
            b"\x30\x80",
            b"\x30\x85\x01\x01\x01\x01\x01",
            b"\x30\x84\xff\xff\xff\xffx",
        ] {
            assert_eq!(Reader::new(lie).any(), None, "{lie:?}");
        }
    }
}
