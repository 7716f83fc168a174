//! Edits single cookies in a `cookie` or `set-cookie` header field, without IO.

use http::message::{pair_end, trim};

/// Change to one cookie of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Edit {
    Keep,
    /// Remove the cookie and the attributes that follow it.
    Delete,
    /// Remove this many bytes from the beginning of the value.
    Strip(usize),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Edited {
    Same,
    Changed(Vec<u8>),
    /// The line has no cookie left, so it must be removed.
    Gone,
}

fn parts(cookie: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = memchr::memchr(b'=', cookie)?;
    Some((trim(&cookie[..equals]), trim(&cookie[equals + 1..])))
}

fn leading(text: &[u8]) -> usize {
    let blank = |byte: &&u8| matches!(**byte, b' ' | b'\t');
    text.iter().take_while(blank).count()
}

/// Returns the numbers of blanks before and after the equals sign; None if there are none. HAProxy
/// removes such blanks from every cookie that it examines.
fn blanks(cookie: &[u8]) -> Option<(usize, usize)> {
    let equals = memchr::memchr(b'=', cookie)?;
    let before = equals - trim_end(&cookie[..equals]).len();
    let after = leading(&cookie[equals + 1..]);
    // Keeps the blanks before an equals sign without a name, which belong to the line.
    let before = if before == equals { 0 } else { before };
    (before + after > 0).then_some((before, after))
}

fn trim_end(text: &[u8]) -> &[u8] {
    let blank = |byte: &&u8| matches!(**byte, b' ' | b'\t');
    &text[..text.len() - text.iter().rev().take_while(blank).count()]
}

/// Appends a cookie without the blanks around its equals sign, and without this many bytes of its
/// value.
fn put(out: &mut Vec<u8>, cookie: &[u8], strip: usize) {
    let Some(equals) = memchr::memchr(b'=', cookie) else {
        return out.extend_from_slice(cookie);
    };
    let (before, after) = blanks(cookie).unwrap_or_default();
    let value = &cookie[equals + 1 + after..];
    out.extend_from_slice(&cookie[..equals - before]);
    out.push(b'=');
    out.extend_from_slice(value.get(strip..).unwrap_or_default());
}

/// Edits the cookies of a `cookie` line. `visit` gets the name and value of each cookie and
/// returns the change; attributes (`$Path`) are skipped.
pub(super) fn edit(line: &[u8], mut visit: impl FnMut(&[u8], &[u8]) -> Edit) -> Edited {
    // Allocates the new line at the first change.
    let mut out: Option<Vec<u8>> = None;
    let (mut at, mut deleted, mut kept, mut cookies) = (0, false, false, false);
    // `drops_attributes`: the last cookie was deleted, so its attributes are deleted, too.
    // `last_deleted`: the last cookie or attribute was deleted.
    let (mut drops_attributes, mut last_deleted) = (false, false);
    loop {
        let end = at + pair_end(&line[at..], b";,");
        let cookie = &line[at..end];
        let bare = trim(cookie);
        let edit = match parts(cookie) {
            _ if bare.starts_with(b"$") => {
                if drops_attributes {
                    Edit::Delete
                } else {
                    Edit::Keep
                }
            }
            Some((name, value)) => visit(name, value),
            None => Edit::Keep,
        };
        if !bare.starts_with(b"$") {
            drops_attributes = edit == Edit::Delete;
            cookies |= edit != Edit::Delete && !bare.is_empty();
        }
        let changes = edit != Edit::Keep || blanks(cookie).is_some();
        if changes && out.is_none() {
            // Copies the text before the cookie, without its delimiter.
            let mut copy = Vec::with_capacity(line.len());
            copy.extend_from_slice(&line[..at.saturating_sub(1)]);
            out = Some(copy);
        }
        if edit == Edit::Delete {
            (deleted, last_deleted) = (true, true);
            if let Some(out) = &mut out {
                // Removes the blanks before the delimiter, too.
                let kept = trim_end(out).len();
                out.truncate(kept);
            }
        } else {
            if let Some(out) = &mut out {
                if kept {
                    out.push(line[at - 1]);
                }
                let mut text = cookie;
                if last_deleted {
                    text = &cookie[leading(cookie)..];
                    out.extend_from_slice(if kept { b" " } else { b"" });
                }
                let strip = if let Edit::Strip(bytes) = edit {
                    bytes
                } else {
                    0
                };
                put(out, text, strip);
            }
            (kept, last_deleted) = (true, false);
        }
        if end >= line.len() {
            break;
        }
        at = end + 1;
    }
    match out {
        _ if deleted && !cookies => Edited::Gone,
        Some(out) => Edited::Changed(out),
        None => Edited::Same,
    }
}

pub(super) fn set_by(line: &[u8]) -> Option<(&[u8], &[u8])> {
    parts(&line[..pair_end(line, b";,")])
}

/// Returns the line without the blanks around the equals sign of its cookie; None if there are
/// none.
pub(super) fn without_blanks(line: &[u8]) -> Option<Vec<u8>> {
    let end = pair_end(line, b";,");
    blanks(&line[..end])?;
    let mut out = Vec::with_capacity(line.len());
    put(&mut out, &line[..end], 0);
    out.extend_from_slice(&line[end..]);
    Some(out)
}

/// Returns the line with `new` as the value of its cookie or, with `keep_old`, before the old
/// value.
pub(super) fn with_value(line: &[u8], new: &[&[u8]], keep_old: bool) -> Vec<u8> {
    let end = pair_end(line, b";,");
    let mut out = Vec::with_capacity(line.len() + 64);
    let Some((name, value)) = parts(&line[..end]) else {
        return line.to_vec();
    };
    out.extend_from_slice(name);
    out.push(b'=');
    for piece in new {
        out.extend_from_slice(piece);
    }
    if keep_old {
        out.extend_from_slice(value);
    }
    // Keeps the blanks between the value and the delimiter.
    let blanks = end - trim_end(&line[..end]).len();
    out.extend_from_slice(&line[end - blanks..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(line: &str) -> String {
        match edit(line.as_bytes(), |name, _| match name {
            b"SRV" => Edit::Delete,
            _ => Edit::Keep,
        }) {
            Edited::Same => line.to_owned(),
            Edited::Changed(line) => String::from_utf8(line).unwrap(),
            Edited::Gone => "-".to_owned(),
        }
    }

    #[test]
    fn cookie_is_removed_as_in_haproxy() {
        // Recorded from HAProxy 2.6.12 with `cookie SRV insert indirect`.
        for (line, want) in [
            ("x=1; SRV=b; y=2", "x=1; y=2"),
            ("SRV=b; y=2", "y=2"),
            ("x=1; SRV=b", "x=1"),
            ("x=1;SRV=b;y=2", "x=1; y=2"),
            ("x=1;  SRV=b  ;  y=2", "x=1; y=2"),
            ("x=1, SRV=b, y=2", "x=1, y=2"),
            ("x=1, SRV=b; y=2", "x=1; y=2"),
            ("x=1; SRV=b, y=2", "x=1, y=2"),
            ("SRV=a; SRV=b", "-"),
            (
                "x=1; $Path=/; SRV=b; $Path=/; y=2; $Domain=x",
                "x=1; $Path=/; y=2; $Domain=x",
            ),
            ("$Version=1; SRV=b; $Path=/; x=1", "$Version=1; x=1"),
            ("SRV=b; $Path=/", "-"),
            ("$Version=1; SRV=b", "-"),
            ("$Version=1, SRV=b, $Path=/", "-"),
            ("$Version=1; x=1; SRV=b", "$Version=1; x=1"),
            ("x; SRV=b; y", "x; y"),
            ("SRV=b;", "-"),
            ("; SRV=b", "-"),
            ("=; SRV=b", "="),
            ("=1; SRV=b", "=1"),
            ("SRV=\"b\"; x", "x"),
            ("x = 1; SRV=b;y = 2", "x=1; y=2"),
            ("x = 1", "x=1"),
            ("x=\" SRV=b", "x=\" SRV=b"),
            ("x=\\\"; SRV=b", "x=\\\"; SRV=b"),
            ("x=1;;SRV=b;;y=1", "x=1;; ;y=1"),
            ("x=1   ;y=2;SRV=b", "x=1   ;y=2"),
            ("SRV=b;x=1;z=2", "x=1;z=2"),
            ("SRVX=b; SRV=b", "SRVX=b"),
            ("\"SRV\"=b", "\"SRV\"=b"),
            ("SRV", "SRV"),
            ("", ""),
        ] {
            assert_eq!(without(line), want, "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn rewritten_cookie_line_stays_one_line(
            text in "(SRV|x|\\$Path|[ -~]|\"|=|;|,| |\\\\){0,30}",
            bytes in proptest::collection::vec(0x20u8..0xff, 0..60),
            strip in 0usize..5,
        ) {
            for line in [text.into_bytes(), bytes] {
                for how in [Edit::Keep, Edit::Delete, Edit::Strip(strip)] {
                    let edited = edit(&line, |name, _| match name {
                        b"SRV" => how,
                        _ => Edit::Keep,
                    });
                    if let Edited::Changed(new) = edited {
                        assert!(new.len() <= line.len());
                        assert!(new.iter().all(|byte| line.contains(byte) || b" =".contains(byte)));
                        if how == Edit::Delete {
                            let again = edit(&new, |name, _| {
                                assert_ne!(name, b"SRV", "{line:?}");
                                Edit::Keep
                            });
                            assert_eq!(again, Edited::Same);
                        }
                    }
                }
                let new = with_value(&line, &[b"web1", b"~"], true);
                assert!(new.len() <= line.len() + 6);
                assert!(without_blanks(&line).is_none_or(|new| new.len() < line.len() + 1));
            }
        }
    }

    #[test]
    fn bytes_in_front_of_a_value_are_stripped() {
        let stripped = |line: &str| {
            edit(line.as_bytes(), |name, value| match name {
                b"SRV" => Edit::Strip(value.iter().position(|b| *b == b'~').map_or(0, |n| n + 1)),
                _ => Edit::Keep,
            })
        };
        for (line, want) in [
            ("SRV=b~x; SRV=a~y", "SRV=x; SRV=y"),
            ("SRV=b~x~y; y=2", "SRV=x~y; y=2"),
            ("a=1; SRV = b~; x", "a=1; SRV=; x"),
        ] {
            assert_eq!(stripped(line), Edited::Changed(want.into()), "{line}");
        }
    }

    #[test]
    fn a_value_is_replaced_and_the_attributes_stay() {
        for (line, want, prefixed) in [
            ("SRV=foo; path=/", "SRV=b; path=/", "SRV=b~foo; path=/"),
            ("SRV=", "SRV=b", "SRV=b~"),
            ("SRV = foo ; path=/", "SRV=b ; path=/", "SRV=b~foo ; path=/"),
            ("SRV=\"a;b\" ; x", "SRV=b ; x", "SRV=b~\"a;b\" ; x"),
        ] {
            let line = line.as_bytes();
            assert_eq!(with_value(line, &[b"b"], false), want.as_bytes());
            assert_eq!(with_value(line, &[b"b", b"~"], true), prefixed.as_bytes());
        }
        assert_eq!(
            without_blanks(b"y = 1; SRV = foo").as_deref(),
            Some(&b"y=1; SRV = foo"[..])
        );
        assert_eq!(without_blanks(b"y=1; SRV = foo"), None);
    }
}
