//! Splits a byte stream into syslog messages (RFC 6587). The first byte of each message
//! determines whether a length precedes it or a newline ends it.

use std::ops::Range;

const DIGITS_MAX: usize = 8;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FramingResult {
    More,
    /// Position of a message in the input, and the number of bytes that it uses with its framing.
    Message(Range<usize>, usize),
    Broken,
}

/// Parses the first message of a connection's input. `newlines_only`: lengths are not recognized.
pub fn next(bytes: &[u8], newlines_only: bool, message_max: usize) -> FramingResult {
    match bytes.first() {
        None => FramingResult::More,
        Some(b'<') => line(bytes, message_max),
        Some(_) if newlines_only => line(bytes, message_max),
        Some(b'1'..=b'9') => counted(bytes, message_max),
        Some(_) => FramingResult::Broken,
    }
}

fn line(bytes: &[u8], message_max: usize) -> FramingResult {
    let looked_at = &bytes[..bytes.len().min(message_max)];
    match memchr::memchr(b'\n', looked_at) {
        Some(end) => {
            let message = &bytes[..end];
            let length = message.strip_suffix(b"\r").unwrap_or(message).len();
            FramingResult::Message(0..length, end + 1)
        }
        None if bytes.len() >= message_max => FramingResult::Broken,
        None => FramingResult::More,
    }
}

fn counted(bytes: &[u8], message_max: usize) -> FramingResult {
    let digits = bytes
        .iter()
        .take(DIGITS_MAX + 1)
        .take_while(|b| b.is_ascii_digit())
        .count();
    if digits > DIGITS_MAX {
        return FramingResult::Broken;
    }
    let length = bytes[..digits]
        .iter()
        .fold(0usize, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    if length > message_max {
        return FramingResult::Broken;
    }
    match bytes.get(digits) {
        None => FramingResult::More,
        Some(b' ') => {
            let (begin, end) = (digits + 1, digits + 1 + length);
            if bytes.len() < end {
                FramingResult::More
            } else {
                FramingResult::Message(begin..end, end)
            }
        }
        Some(_) => FramingResult::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_by_length_or_newline() {
        use FramingResult::{Broken, Message, More};
        let rows: [(&str, bool, FramingResult); 17] = [
            ("", false, More),
            ("<3>a", false, More),
            ("<3>a\n<", false, Message(0..4, 5)),
            ("<3>a\r\n", false, Message(0..4, 6)),
            ("4 <3>ab", false, Message(2..6, 6)),
            ("4 <3>", false, More),
            ("4", false, More),
            ("12", false, More),
            ("17 <3>", false, Broken),
            ("123456789", false, Broken),
            ("4<3>a", false, Broken),
            ("0 <3>", false, Broken),
            ("abc\n", false, Broken),
            ("\n", false, Broken),
            ("\n", true, Message(0..0, 1)),
            ("4 <3>a\n", true, Message(0..6, 7)),
            ("<3>a23456789abcdef", false, Broken),
        ];
        for (bytes, newlines_only, wanted) in rows {
            let told = next(bytes.as_bytes(), newlines_only, 16);
            assert_eq!(told, wanted, "{bytes}");
        }
    }
}
