//! Encodes and decodes values in BER with definite lengths, as RFC 4511 section 5.1 restricts
//! them.

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BerError {
    #[error("a value is cut off")]
    Truncated,
    /// The length is in the indefinite form, or has more bytes than any message needs.
    #[error("a length is invalid")]
    Length,
    #[error("the message is too large")]
    TooLarge,
    #[error("a value has the wrong type")]
    Type,
    #[error("the message belongs to no request")]
    Unasked,
}

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

const LENGTH_BYTES_MAX: usize = 4;

/// Parses the tag and length of a value: returns the tag, the number of bytes before the value,
/// and the length of the value. None: incomplete.
pub(super) fn head(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, BerError> {
    let [tag, first, rest @ ..] = bytes else {
        return Ok(None);
    };
    // Refuses a tag of several bytes, which no message contains.
    if tag & 0x1f == 0x1f {
        return Err(BerError::Type);
    }
    if *first < 0x80 {
        return Ok(Some((*tag, 2, usize::from(*first))));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=LENGTH_BYTES_MAX).contains(&count) {
        return Err(BerError::Length);
    }
    let Some(digits) = rest.get(..count) else {
        return Ok(None);
    };
    let length = digits
        .iter()
        .fold(0u32, |all, digit| all << 8 | u32::from(*digit));
    let length = usize::try_from(length).map_err(|_| BerError::Length)?;
    Ok(Some((*tag, 2 + count, length)))
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'b>(pub(super) &'b [u8]);

impl<'b> Values<'b> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn next(&mut self) -> Result<(u8, &'b [u8]), BerError> {
        let (tag, begins, length) = head(self.0)?.ok_or(BerError::Truncated)?;
        let rest = self.0.get(begins..).ok_or(BerError::Truncated)?;
        let (inside, rest) = rest.split_at_checked(length).ok_or(BerError::Truncated)?;
        self.0 = rest;
        Ok((tag, inside))
    }

    /// Returns the content of the next value, which must have this tag.
    pub(super) fn tagged(&mut self, wanted: u8) -> Result<&'b [u8], BerError> {
        let (tag, inside) = self.next()?;
        if tag == wanted {
            Ok(inside)
        } else {
            Err(BerError::Type)
        }
    }

    /// Parses a number that is not negative.
    pub(super) fn number(&mut self, tag: u8) -> Result<u32, BerError> {
        let inside = self.tagged(tag)?;
        let fits = (1..=5).contains(&inside.len()) && inside[0] < 0x80;
        let number = inside
            .iter()
            .fold(0u64, |all, digit| all << 8 | u64::from(*digit));
        let number = u32::try_from(number).ok().filter(|_| fits);
        number.ok_or(BerError::Type)
    }
}

pub(super) fn value(tag: u8, inside: &[u8]) -> Vec<u8> {
    let length = inside.len();
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let digits = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
            bytes.push(0x84);
            bytes.extend(digits);
        }
    }
    bytes.extend(inside);
    bytes
}

pub(super) fn number(tag: u8, number: u32) -> Vec<u8> {
    let digits = u64::from(number).to_be_bytes();
    // Keeps a zero byte in front of a leading one bit, which would make the number negative.
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let mut begins = zeros.min(digits.len() - 1);
    if digits[begins] >= 0x80 {
        begins -= 1;
    }
    value(tag, &digits[begins..])
}
