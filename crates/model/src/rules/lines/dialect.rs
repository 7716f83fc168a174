//! Patterns as POSIX and PCRE of HAProxy 1.x read them, for the engines here:
//! where these want an escape, or take what the others do not, one is written.

/// The pattern for our engines: a brace that repeats nothing stands for itself, as
/// do a bracket within a class, an escaped letter without a meaning, and bytes that
/// are no UTF-8.
pub(super) fn translated(pattern: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pattern.len() + 8);
    let mut at = 0;
    while let Some(byte) = pattern.get(at) {
        match byte {
            b'\\' => at += escape(pattern, at, &mut out),
            b'[' => at += class(pattern, at, &mut out),
            b'{' if !repeats(&pattern[at..]) => {
                out.extend_from_slice(b"\\{");
                at += 1;
            }
            b'}' if !out_has_open_repetition(pattern, at) => {
                out.extend_from_slice(b"\\}");
                at += 1;
            }
            _ => at += literal(pattern, at, &mut out),
        }
    }
    out
}

/// One character that stands for itself, or has a meaning in both.
fn literal(pattern: &[u8], at: usize, out: &mut Vec<u8>) -> usize {
    let byte = pattern[at];
    if byte.is_ascii() {
        out.push(byte);
        return 1;
    }
    let length = pattern[at..].len().min(4);
    let whole = (2..=length).find(|n| std::str::from_utf8(&pattern[at..at + n]).is_ok());
    match whole {
        Some(n) => {
            out.extend_from_slice(&pattern[at..at + n]);
            n
        }
        None => {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
            1
        }
    }
}

/// Letters that mean something behind a backslash in every dialect.
const ESCAPES: &[u8] = b"AbBdDsSwWntrfvaxzQEpPkKgGhHRXNZcueouU0123456789<>";

fn escape(pattern: &[u8], at: usize, out: &mut Vec<u8>) -> usize {
    let Some(next) = pattern.get(at + 1) else {
        // A backslash at the end, which PCRE refuses too.
        out.push(b'\\');
        return 1;
    };
    if !next.is_ascii() {
        return 1;
    }
    if next.is_ascii_alphanumeric() && !ESCAPES.contains(next) {
        out.push(*next);
    } else if *next == b'h' {
        out.extend_from_slice(b"[ \\t]");
    } else {
        out.extend_from_slice(&[b'\\', *next]);
    }
    2
}

/// A class in brackets; how many bytes of the pattern it was.
fn class(pattern: &[u8], start: usize, out: &mut Vec<u8>) -> usize {
    let mut at = start + 1;
    out.push(b'[');
    if pattern.get(at) == Some(&b'^') {
        out.push(b'^');
        at += 1;
    }
    let first = at;
    while let Some(byte) = pattern.get(at) {
        match byte {
            b']' if at > first => {
                out.push(b']');
                return at + 1 - start;
            }
            b']' => {
                out.extend_from_slice(b"\\]");
                at += 1;
            }
            b'\\' => at += escape(pattern, at, out),
            b'[' => match posix_class(&pattern[at..]) {
                Some(length) => {
                    out.extend_from_slice(&pattern[at..at + length]);
                    at += length;
                }
                None => {
                    out.extend_from_slice(b"\\[");
                    at += 1;
                }
            },
            // Twice they are operators on sets here.
            b'&' | b'~' => {
                out.extend_from_slice(&[b'\\', *byte]);
                at += 1;
            }
            _ => at += literal(pattern, at, out),
        }
    }
    at - start
}

/// `[:alpha:]` within a class.
fn posix_class(rest: &[u8]) -> Option<usize> {
    let inner = rest.strip_prefix(b"[:")?;
    let end = memchr::memmem::find(inner, b":]")?;
    let name = &inner[..end];
    let named = name.iter().all(|b| b.is_ascii_alphabetic() || *b == b'^');
    named.then_some(end + 4)
}

/// `{2}`, `{2,}`, `{2,3}`.
fn repeats(rest: &[u8]) -> bool {
    let Some(end) = memchr::memchr(b'}', rest) else {
        return false;
    };
    let inner = &rest[1..end];
    inner.first().is_some_and(u8::is_ascii_digit)
        && inner.iter().all(|b| b.is_ascii_digit() || *b == b',')
        && inner.iter().filter(|b| **b == b',').count() <= 1
}

/// Whether the brace that closes at this place ends a repetition.
fn out_has_open_repetition(pattern: &[u8], at: usize) -> bool {
    let before = &pattern[..at];
    memchr::memrchr(b'{', before).is_some_and(|open| {
        repeats(&pattern[open..])
            && !(open > 0 && pattern[open - 1] == b'\\')
            && memchr::memchr(b'}', &pattern[open..]) == Some(at - open)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::regular::Regular;

    #[test]
    fn patterns_of_then_match_what_they_matched_then() {
        let rows: &[(&[u8], &[u8], bool)] = &[
            (b"^[^\\ ]*\\ /", b"GET /x", true),
            (b"a{", b"a{", true),
            (b"a}", b"a}", true),
            (b"^a{2}$", b"aa", true),
            (b"^a{2,}$", b"aaa", true),
            (b"{x}", b"{x}", true),
            (b"[[]", b"[", true),
            (b"[]a]", b"]", true),
            (b"[^]a]", b"]", false),
            (b"[a&&b]", b"&", true),
            (b"[[:space:]]x", b"\tx", true),
            (b"\\y", b"y", true),
            (b"\\/\\-\\_\\ \\:", b"/-_ :", true),
            (b"\\d\\w\\s", b"1a ", true),
            (b"a\\{b", b"a{b", true),
            (b"\xe9t\xe9", b"\xe9t\xe9", true),
            ("é".as_bytes(), "é".as_bytes(), true),
            (b"[\xe9]", b"\xe9", true),
            (b"^.*?x", b"aax", true),
        ];
        for (pattern, text, expected) in rows {
            let shown = String::from_utf8_lossy(pattern);
            let translated = translated(pattern);
            let regular = Regular::new(&translated, false)
                .unwrap_or_else(|error| panic!("{shown}: {error:?}"));
            assert_eq!(regular.is_match(text), *expected, "{shown}");
        }
    }
}
