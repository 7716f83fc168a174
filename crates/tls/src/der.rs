//! Parses DER and returns the raw bytes of elements, because signatures cover the bytes as
//! received. Only definite lengths are accepted.

#[derive(Clone, Copy, Debug)]
pub struct Der<'a>(pub &'a [u8]);

#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    pub tag: u8,
    /// Bytes of the element, including tag and length.
    pub whole: &'a [u8],
    pub content: &'a [u8],
}

pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const OID: u8 = 0x06;
pub const BOOLEAN: u8 = 0x01;
pub const UTC_TIME: u8 = 0x17;
pub const GENERALIZED_TIME: u8 = 0x18;
pub const SEQUENCE: u8 = 0x30;

impl<'a> Der<'a> {
    /// Returns the next element. None at the end, or if it is malformed.
    #[allow(
        clippy::should_implement_trait,
        reason = "a reader that stops at what it cannot read is no iterator over all"
    )]
    pub fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        // Certificates contain no tags of more than one byte.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Element {
            tag,
            whole,
            content,
        })
    }

    /// Returns the next element if it has this tag. Otherwise reads nothing.
    pub fn take(&mut self, tag: u8) -> Option<Element<'a>> {
        (self.0.first() == Some(&tag)).then(|| self.next())?
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Element<'a> {
    pub fn inside(&self) -> Der<'a> {
        Der(self.content)
    }

    /// Returns the content of a BIT STRING that consists of whole bytes.
    pub fn bits(&self) -> Option<&'a [u8]> {
        match self.content.split_first()? {
            (0, bits) if self.tag == BIT_STRING => Some(bits),
            _ => None,
        }
    }

    /// Returns a small non-negative INTEGER.
    pub fn small(&self) -> Option<u32> {
        let digits = match self.content {
            [0, rest @ ..] => rest,
            all => all,
        };
        let fits = self.tag == INTEGER && self.content.first()? & 0x80 == 0 && digits.len() <= 4;
        fits.then(|| digits.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
    }

    /// Returns a time, seconds since 1970.
    pub fn time_s(&self) -> Option<i64> {
        let text = std::str::from_utf8(self.content).ok()?.strip_suffix('Z')?;
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (year, rest) = match self.tag {
            UTC_TIME if text.len() == 12 => {
                let year: i64 = text[..2].parse().ok()?;
                (year + if year < 50 { 2000 } else { 1900 }, &text[2..])
            }
            GENERALIZED_TIME if text.len() == 14 => (text[..4].parse().ok()?, &text[4..]),
            _ => return None,
        };
        let part = |n: usize| rest[2 * n..2 * n + 2].parse::<i64>().ok();
        let (month, day) = (part(0)?, part(1)?);
        let (hour, minute, second) = (part(2)?, part(3)?, part(4)?);
        let fits = (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 61;
        fits.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
    }
}

/// Returns the days from 1970 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // The year is counted from March, so that the leap day is its last day.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_with_their_bytes() {
        let mut der = Der(&[0x30, 3, 2, 1, 5, 4, 0]);
        let first = der.next().map(|e| (e.tag, e.whole.len(), e.content));
        assert_eq!(first, Some((SEQUENCE, 5, &[2, 1, 5][..])));
        assert!(der.take(INTEGER).is_none());
        assert!(der.take(OCTET_STRING).is_some() && der.is_empty() && der.next().is_none());
    }

    #[test]
    fn invalid_lengths_end_the_iteration() {
        for bytes in [
            &[0x30][..],
            &[0x30, 5, 1],
            &[0x30, 0x80, 1],
            &[0x30, 0x85, 0, 0, 0, 0, 1, 1],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x3f, 1, 1, 0],
        ] {
            assert!(Der(bytes).next().is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn times_count_from_1970() {
        let time = |tag, text: &str| {
            let element = Element {
                tag,
                whole: &[],
                content: text.as_bytes(),
            };
            element.time_s()
        };
        assert_eq!(time(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(time(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(GENERALIZED_TIME, "20000301000000Z"), Some(951_868_800));
        assert_eq!(
            time(GENERALIZED_TIME, "20241120120000Z"),
            Some(1_732_104_000)
        );
        for bad in [
            "",
            "Z",
            "700101000000",
            "70010100000\u{e9}Z",
            "701301000000Z",
            "700101250000Z",
        ] {
            assert_eq!(time(UTC_TIME, bad), None, "{bad}");
        }
    }
}
