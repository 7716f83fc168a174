//! Parses an HTTP request of a client: the name in the path, and the requested range of a file (RFC
//! 9110, section 14).

use std::ops::Range;

pub const NAME_MAX: usize = 255;

/// Returns the file name in the path of a URL. None: the path does not begin with a slash, is
/// encoded incorrectly, too long or not text, or has control characters.
pub fn name(path: &str) -> Option<String> {
    let mut name = Vec::with_capacity(path.len().min(NAME_MAX));
    let mut rest = path.strip_prefix('/')?.bytes();
    while let Some(byte) = rest.next() {
        name.push(match byte {
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            byte => byte,
        });
        if name.len() > NAME_MAX {
            return None;
        }
    }
    let name = String::from_utf8(name).ok()?;
    (!name.contains(char::is_control)).then(|| name.trim_start_matches('/').to_owned())
}

fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

/// Range of a file that a request selects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RequestedRange {
    Whole,
    Some(Range<u64>),
    Outside,
}

/// Returns the range of a file of `size` bytes that a `Range` header selects. A header with several
/// ranges, another unit or an error is ignored, as RFC 9110 (14.2) allows.
pub fn part(range: Option<&[u8]>, size: u64) -> RequestedRange {
    range
        .and_then(|range| wanted(range, size))
        .unwrap_or(RequestedRange::Whole)
}

fn wanted(range: &[u8], size: u64) -> Option<RequestedRange> {
    let range = std::str::from_utf8(range).ok()?;
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    if first.is_empty() {
        let from = size.saturating_sub(number(last)?);
        return Some(satisfied(from..size));
    }
    let first = number(first)?;
    let end = match last {
        "" => size,
        last => {
            let last = number(last).filter(|last| *last >= first)?;
            last.saturating_add(1).min(size)
        }
    };
    Some(satisfied(first..end))
}

fn satisfied(bytes: Range<u64>) -> RequestedRange {
    if bytes.is_empty() {
        RequestedRange::Outside
    } else {
        RequestedRange::Some(bytes)
    }
}

/// Parses a number. A number that is too large becomes the maximum; None: other characters.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_decoded_strictly() {
        for (path, expected) in [
            ("/ipxe.efi", Some("ipxe.efi")),
            ("//debian/linux", Some("debian/linux")),
            ("/a%20b%2fc", Some("a b/c")),
            ("/%C3%A4", Some("ä")),
            ("/../a", Some("../a")),
            ("/a+b", Some("a+b")),
            ("/", Some("")),
            ("/%", None),
            ("/%4", None),
            ("/%4g", None),
            ("/%+4", None),
            ("/%ff", None),
            ("/a%00b", None),
            ("/a%0ab", None),
            ("a", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(name(path).as_deref(), expected, "{path}");
        }
        let long = format!("/{}", "n".repeat(NAME_MAX));
        assert!(name(&long).is_some());
        assert!(name(&format!("{long}n")).is_none());
    }

    #[test]
    fn a_range_is_a_part_or_none() {
        let some = RequestedRange::Some;
        for (range, size, expected) in [
            ("bytes=0-0", 10, some(0..1)),
            ("bytes=2-5", 10, some(2..6)),
            ("Bytes = 2-", 10, some(2..10)),
            ("bytes=9-100", 10, some(9..10)),
            ("bytes=0-99999999999999999999999", 10, some(0..10)),
            ("bytes=-3", 10, some(7..10)),
            ("bytes=-30", 10, some(0..10)),
            ("bytes=10-", 10, RequestedRange::Outside),
            (
                "bytes=99999999999999999999999-",
                10,
                RequestedRange::Outside,
            ),
            ("bytes=-0", 10, RequestedRange::Outside),
            ("bytes=0-", 0, RequestedRange::Outside),
            ("bytes=-5", 0, RequestedRange::Outside),
            ("bytes=5-2", 10, RequestedRange::Whole),
            ("bytes=0-1,4-5", 10, RequestedRange::Whole),
            ("bytes=-", 10, RequestedRange::Whole),
            ("bytes=a-", 10, RequestedRange::Whole),
            ("bytes=+1-", 10, RequestedRange::Whole),
            ("lines=0-1", 10, RequestedRange::Whole),
            ("0-1", 10, RequestedRange::Whole),
            ("", 10, RequestedRange::Whole),
        ] {
            assert_eq!(part(Some(range.as_bytes()), size), expected, "{range}");
        }
        assert_eq!(part(None, 10), RequestedRange::Whole);
        assert_eq!(part(Some(b"\xff"), 10), RequestedRange::Whole);
    }
}
