//! Interprets Content-Length and Transfer-Encoding: the result is one length of the body or an
//! error. Accepted values are rewritten in their plain form.

use super::fault::{FaultKind, HttpParseError};
use super::head::Noted;
use crate::message::{Fields, split_values};

/// Maximum length of a body, bytes: the range of a signed 64-bit number, which many recipients use.
const CONTENT_LENGTH_MAX: u64 = i64::MAX as u64;

/// The only supported transfer coding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Coding {
    Chunked,
}

/// Returns the length on which all Content-Length values agree, and reduces them to one line.
pub(crate) fn content_length(
    fields: &mut Fields,
    noted: &Noted,
) -> Result<Option<u64>, HttpParseError> {
    if !noted.content_length.has_occurred() {
        return Ok(None);
    }
    const NAME: &[u8] = b"content-length";
    // Leaves a single plain number unchanged, as the value nearly always is.
    if noted.content_length.count == 1
        && let Some(length) = fields.get(NAME).and_then(plain_number)
    {
        return Ok(Some(length));
    }
    let mut length = None;
    for line in fields.get_all(NAME) {
        for value in split_values(line) {
            let this = number(value).ok_or(noted.content_length.fault(FaultKind::ContentLength))?;
            if length.is_some_and(|l| l != this) {
                return Err(noted.content_length.fault(FaultKind::ContentLengthsDiffer));
            }
            length = Some(this);
        }
    }
    let mut digits = Digits::default();
    let plain = digits.of(length.unwrap_or(0));
    keep_single_value(fields, NAME, noted.content_length.count, plain);
    Ok(length)
}

/// Returns whether the body is chunked. Any other coding is a fault, because not all recipients on
/// the path can know how to read it.
pub(super) fn transfer_encoding(
    fields: &mut Fields,
    noted: &Noted,
) -> Result<Option<Coding>, HttpParseError> {
    if !noted.transfer_encoding.has_occurred() {
        return Ok(None);
    }
    const NAME: &[u8] = b"transfer-encoding";
    let (mut values, mut chunked, mut last_chunked, mut empty) = (0, 0, false, false);
    for value in fields.values(NAME) {
        values += 1;
        last_chunked = value.eq_ignore_ascii_case(b"chunked");
        chunked += usize::from(last_chunked);
        empty |= value.is_empty();
    }
    if chunked != 1 || !last_chunked || empty {
        return Err(noted.transfer_encoding.fault(FaultKind::TransferEncoding));
    }
    if values > 1 {
        return Err(noted.transfer_encoding.fault(FaultKind::TransferCoding));
    }
    keep_single_value(fields, NAME, noted.transfer_encoding.count, b"chunked");
    Ok(Some(Coding::Chunked))
}

/// Removes both headers, because the message has no body regardless of them.
pub(super) fn remove_both(fields: &mut Fields) {
    fields.remove(b"content-length");
    fields.remove(b"transfer-encoding");
}

fn keep_single_value(fields: &mut Fields, name: &[u8], count: u32, plain: &[u8]) {
    let Some(first) = fields.position(name, 0) else {
        return;
    };
    for _ in 1..count {
        if let Some(next) = fields.position(name, first + 1) {
            fields.remove_at(next);
        }
    }
    if fields.at(first).is_some_and(|(_, value)| value != plain) {
        // Ignores the result, because the plain value is never longer than the original.
        let _ = fields.replace_value(first, plain);
    }
}

/// Parses a number in plain form: digits without a leading zero, few enough not to overflow.
fn plain_number(value: &[u8]) -> Option<u64> {
    const DIGITS_MAX: usize = 18;
    if value.is_empty() || value.len() > DIGITS_MAX || (value[0] == b'0' && value.len() > 1) {
        return None;
    }
    value.iter().try_fold(0, |sum: u64, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| sum * 10 + u64::from(digit))
    })
}

fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let mut sum: u64 = 0;
    for byte in value {
        let digit = byte.checked_sub(b'0').filter(|d| *d < 10)?;
        sum = sum.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (sum <= CONTENT_LENGTH_MAX).then_some(sum)
}

#[derive(Default)]
struct Digits([u8; 20]);

impl Digits {
    fn of(&mut self, mut number: u64) -> &[u8] {
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return &self.0[at..];
            }
        }
    }
}
