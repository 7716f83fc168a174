//! Implements the part of Rust's grammar that the checks need: the ranges of code and of text, and
//! the ends of functions. The files are expected to compile; results for others may be wrong.

use std::ops::Range;

/// Returns the text with all comments and literals replaced by spaces, of the same length, with all
/// line ends.
pub(super) fn blank(text: &str) -> String {
    // Replaces other characters than ASCII, which matter only in literals.
    let mut out: Vec<u8> = text
        .bytes()
        .map(|b| if b.is_ascii() { b } else { b' ' })
        .collect();
    for literal in literals(text) {
        for byte in out[literal].iter_mut().filter(|b| **b != b'\n') {
            *byte = b' ';
        }
    }
    String::from_utf8(out).unwrap_or_default()
}

/// Returns the ranges of the comments and literals, in their order.
pub(super) fn literals(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end > at {
            found.push(at..end);
        }
        at = end.max(at + 1);
    }
    found
}

/// Returns the end of the comment or literal that begins here; `at` if none begins.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let in_word = at > 0 && is_word(bytes[at - 1]);
    let length = match rest {
        [b'/', b'/', ..] => rest.iter().position(|b| *b == b'\n'),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => string(rest),
        [b'\'', ..] => return at + character(rest),
        [b'r', b'"' | b'#', ..] if !in_word => match raw_string(rest) {
            Some(length) => length,
            None => return at,
        },
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !in_word => match raw_string(&rest[1..]) {
            Some(length) => length.map(|l| l + 1),
            None => return at,
        },
        _ => return at,
    };
    // An unterminated comment or literal extends to the end of the file.
    length.map_or(bytes.len(), |length| at + length)
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn block_comment(rest: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn string(rest: &[u8]) -> Option<usize> {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// Returns the length of a raw string; the outer None means a raw identifier, the inner one an
/// unterminated string.
fn raw_string(rest: &[u8]) -> Option<Option<usize>> {
    let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'#'; hashes + 1];
    end[0] = b'"';
    let start = 2 + hashes;
    let found = rest[start..].windows(end.len()).position(|w| w == end);
    Some(found.map(|at| start + at + end.len()))
}

/// Returns the length of a character literal; zero for a lifetime.
fn character(rest: &[u8]) -> usize {
    let closing = |from: usize| {
        let found = rest.get(from..)?.iter().position(|b| *b == b'\'')?;
        Some(from + found + 1)
    };
    match rest {
        [_, b'\\', ..] => closing(3).unwrap_or(0),
        // A character has at most four bytes.
        _ => closing(2)
            .filter(|end| *end <= 6 && is_one(&rest[1..end - 1]))
            .unwrap_or(0),
    }
}

fn is_one(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.chars().count() == 1)
}

/// Returns the words of code with their positions.
pub(super) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let bytes = code.as_bytes();
        let start = at + bytes.get(at..)?.iter().position(|b| is_word(*b))?;
        let length = bytes[start..].iter().take_while(|b| is_word(**b)).count();
        at = start + length;
        Some((start, &code[start..at]))
    })
}

/// Returns the position of the brace that closes the one at `start`.
pub(super) fn matching_brace(code: &str, start: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_code_is_not() {
        for (text, code) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"a("b\"c") d"#, "a(      ) d"),
            ("a(r#\"b\"c\"#) d", "a(        ) d"),
            ("a(br\"b\") d", "a(     ) d"),
            (
                "a('\"') b('\\'') c('\\u{1f}')",
                "a(   ) b(    ) c(        )",
            ),
            ("fn a<'b>(c: &'b str)", "fn a<'b>(c: &'b str)"),
            ("r#type + bar\"x\"", "r#type + bar   "),
            ("'ü' x", "     x"),
            ("\"not closed", "           "),
        ] {
            assert_eq!(blank(text), code, "{text}");
            assert_eq!(blank(text).len(), text.len());
        }
    }
}
