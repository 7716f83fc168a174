//! Parses the lines of a message head: preceding blank lines, line ends, and header fields with
//! their folding. Requests, responses and trailers share this parser; start lines are parsed
//! elsewhere. The positions of headers that frame or route a message are recorded.

use super::Limits;
use super::fault::{FaultKind, HttpParseError};
use crate::message::{Fields, NAME_BYTES, trim};

/// Maximum number of blank lines before a head. A client may send one after a miscounted body, but
/// no client sends many.
const BLANK_LINES_MAX: usize = 16;

/// A line without its line end, and its position.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLine<'a> {
    /// Content without NUL, CR and LF.
    pub(super) bytes: &'a [u8],
    pub(super) whole: &'a [u8],
    pub(super) at: usize,
}

/// Reader of lines from the front of the input. A line ends with LF, and a preceding CR belongs to
/// the line end; as in HAProxy the CR may be missing, because forwarded lines have both. Any other
/// CR, and NUL, are refused.
#[derive(Debug)]
pub(super) struct HeadLineReader<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> HeadLineReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        HeadLineReader { bytes, at: 0 }
    }

    /// Returns the next line, `None` if its end has not arrived.
    pub(super) fn next(&mut self) -> Result<Option<HeadLine<'a>>, HttpParseError> {
        let rest = &self.bytes[self.at..];
        let Some(end) = memchr::memchr3(b'\n', b'\r', 0, rest) else {
            return Ok(None);
        };
        let len = match &rest[end..] {
            [b'\n', ..] => end + 1,
            [b'\r', b'\n', ..] => end + 2,
            [b'\r'] => return Ok(None),
            _ => return Err(HttpParseError::new(FaultKind::ControlByte, self.at + end)),
        };
        let at = self.at;
        self.at += len;
        Ok(Some(HeadLine {
            bytes: &rest[..end],
            whole: &rest[..len],
            at,
        }))
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Returns the first line of a head, `None` if its end has not arrived; then `check_partial`
    /// checks the available part.
    pub(super) fn start_line(
        &mut self,
        limits: &Limits,
        check_partial: impl Fn(&Self) -> Result<(), HttpParseError>,
    ) -> Result<Option<HeadLine<'a>>, HttpParseError> {
        self.skip_blank()?;
        match self.next() {
            Ok(Some(line)) => Ok(Some(line)),
            Ok(None) => {
                check_partial(self)?;
                self.incomplete(limits)?;
                Ok(None)
            }
            Err(fault) => {
                // Reports the first error, however the bytes arrived.
                check_partial(self)?;
                Err(fault)
            }
        }
    }

    fn skip_blank(&mut self) -> Result<(), HttpParseError> {
        for _ in 0..=BLANK_LINES_MAX {
            match self.rest() {
                [b'\n', ..] => self.at += 1,
                [b'\r', b'\n', ..] => self.at += 2,
                _ => return Ok(()),
            }
        }
        Err(HttpParseError::new(FaultKind::TooManyBlankLines, self.at))
    }

    pub(super) fn incomplete(&self, limits: &Limits) -> Result<(), HttpParseError> {
        if self.bytes.len() >= limits.head_bytes {
            Err(HttpParseError::new(
                FaultKind::HeadTooLong,
                limits.head_bytes,
            ))
        } else {
            Ok(())
        }
    }
}

/// Occurrences of headers that need further checks.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Noted {
    pub(super) host: NameOccurrences,
    pub(super) content_length: NameOccurrences,
    pub(super) transfer_encoding: NameOccurrences,
    pub(super) connection: NameOccurrences,
    pub(super) upgrade: NameOccurrences,
    pub(super) te: NameOccurrences,
    pub(super) expect: NameOccurrences,
}

/// Number of occurrences of a name, and the position of the first.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct NameOccurrences {
    pub(super) count: u32,
    pub(super) at: u32,
}

impl NameOccurrences {
    pub(super) fn has_occurred(self) -> bool {
        self.count > 0
    }

    fn note(&mut self, at: usize) {
        if self.count == 0 {
            self.at = at as u32;
        }
        self.count += 1;
    }

    pub(super) fn fault(self, kind: FaultKind) -> HttpParseError {
        HttpParseError::new(kind, self.at as usize)
    }
}

/// Returns whether a name equals a known one of lower-case letters and dashes, in any case. A fixed
/// length and no early exit allow the compiler to use a few wide instructions.
fn is<const N: usize>(name: &[u8], known: &[u8; N]) -> bool {
    /// Bit that distinguishes lower-case from upper-case letters. It is set in a dash.
    const SMALL: u8 = 0x20;
    let Ok(name) = <&[u8; N]>::try_from(name) else {
        return false;
    };
    let mut differs = 0;
    for at in 0..N {
        // Ignores the case. Besides a lower-case letter, only its upper-case form becomes that
        // letter with this bit. Besides a dash, only CR becomes a dash, but no line contains CR.
        differs |= (name[at] | SMALL) ^ known[at];
    }
    differs == 0
}

impl Noted {
    pub(crate) fn note(&mut self, name: &[u8], at: usize) {
        if let Some(seen) = self.of(name) {
            seen.note(at);
        }
    }

    // Inlined, because the loop over the fields of every head calls this.
    #[inline(always)]
    fn of(&mut self, name: &[u8]) -> Option<&mut NameOccurrences> {
        // Compares the length first, because nearly all names are none of these.
        let (seen, is) = match name.len() {
            2 => (&mut self.te, is(name, b"te")),
            4 => (&mut self.host, is(name, b"host")),
            6 => (&mut self.expect, is(name, b"expect")),
            7 => (&mut self.upgrade, is(name, b"upgrade")),
            10 => (&mut self.connection, is(name, b"connection")),
            14 => (&mut self.content_length, is(name, b"content-length")),
            17 => (&mut self.transfer_encoding, is(name, b"transfer-encoding")),
            _ => return None,
        };
        is.then_some(seen)
    }

    /// Returns whether a fold in this header would be ambiguous for the framing or routing of the
    /// message.
    fn affects_framing(name: &[u8]) -> bool {
        [
            &b"host"[..],
            b"content-length",
            b"transfer-encoding",
            b"connection",
            b"upgrade",
        ]
        .iter()
        .any(|f| name.eq_ignore_ascii_case(f))
    }
}

/// Result of parsing a section of fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Section {
    Incomplete,
    Done,
}

pub(super) fn parse_fields(
    lines: &mut HeadLineReader<'_>,
    limits: &Limits,
    fields: &mut Fields,
    noted: &mut Noted,
) -> Result<Section, HttpParseError> {
    let mut folded = false;
    loop {
        let Some(line) = lines.next()? else {
            lines.incomplete(limits)?;
            return Ok(Section::Incomplete);
        };
        if line.bytes.is_empty() {
            if lines.at > limits.head_bytes {
                return Err(HttpParseError::new(
                    FaultKind::HeadTooLong,
                    limits.head_bytes,
                ));
            }
            if folded {
                // Trims the values at the end, when no further fold can follow.
                fields.trim_values();
            }
            return Ok(Section::Done);
        }
        if matches!(line.bytes[0], b' ' | b'\t') {
            folded = true;
            append_folded_line(fields, line)?;
            continue;
        }
        if fields.len() + 1 >= limits.headers {
            return Err(HttpParseError::new(FaultKind::TooManyHeaders, line.at));
        }
        let (name, value) = split(line, limits.accept_invalid)?;
        if let Some(seen) = noted.of(name) {
            seen.note(line.at);
        }
        // Copies the line as it is, because nearly all lines already have the form in which they
        // are sent.
        if line.whole.len() == line.bytes.len() + 2
            && line.bytes.len() == name.len() + 2 + value.len()
            && line.bytes[name.len()..].starts_with(b": ")
        {
            fields.push_wire(line.whole, name.len());
        } else {
            fields.push_checked(name, value);
        }
    }
}

pub(super) fn split<'a>(
    line: HeadLine<'a>,
    relaxed: bool,
) -> Result<(&'a [u8], &'a [u8]), HttpParseError> {
    let bytes = line.bytes;
    let name_end = bytes
        .iter()
        .position(|b| NAME_BYTES[*b as usize] == 0)
        .unwrap_or(bytes.len());
    if name_end < bytes.len() && bytes[name_end] == b':' {
        if name_end == 0 {
            return Err(HttpParseError::new(FaultKind::NameMissing, line.at));
        }
        return Ok((&bytes[..name_end], trim(&bytes[name_end + 1..])));
    }
    split_invalid_name(line, name_end, relaxed)
}

/// Parses a line whose name is not a token. In relaxed mode, visible odd bytes and inner spaces are
/// accepted, and blanks before the colon are dropped. So `content-length : 1` counts as a length
/// here, as it may for the server.
fn split_invalid_name<'a>(
    line: HeadLine<'a>,
    odd: usize,
    relaxed: bool,
) -> Result<(&'a [u8], &'a [u8]), HttpParseError> {
    let Some(colon) = memchr::memchr(b':', line.bytes) else {
        return Err(HttpParseError::new(FaultKind::ColonMissing, line.at + odd));
    };
    let fault = HttpParseError::new(FaultKind::NameByte, line.at + odd);
    let name = trim(&line.bytes[..colon]);
    if !relaxed {
        return Err(fault);
    }
    if name
        .iter()
        .any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f)
    {
        return Err(fault);
    }
    // Refuses odd bytes within the name of a framing header, because a recipient may drop them.
    let mut token = name.to_vec();
    token.retain(|b| NAME_BYTES[*b as usize] != 0);
    if token.len() != name.len() && Noted::affects_framing(&token) {
        return Err(fault);
    }
    if name.is_empty() {
        return Err(HttpParseError::new(FaultKind::NameMissing, line.at));
    }
    Ok((name, trim(&line.bytes[colon + 1..])))
}

/// Handles obsolete folding: the line is appended to the previous value. As in HAProxy, the line
/// end becomes two spaces and the blanks are kept.
fn append_folded_line(fields: &mut Fields, line: HeadLine<'_>) -> Result<(), HttpParseError> {
    let Some(last) = fields.len().checked_sub(1) else {
        return Err(HttpParseError::new(FaultKind::FoldedFirstLine, line.at));
    };
    let Some((name, _)) = fields.at(last) else {
        return Err(HttpParseError::new(FaultKind::FoldedFirstLine, line.at));
    };
    if Noted::affects_framing(name) {
        return Err(HttpParseError::new(FaultKind::FoldedFraming, line.at));
    }
    // Keeps trailing blanks for now, because another fold may follow.
    fields.extend_last(&[b"  ", line.bytes]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_header_names_match_in_any_case_only() {
        const NAMES: [&[u8]; 7] = [
            b"te",
            b"host",
            b"expect",
            b"upgrade",
            b"connection",
            b"content-length",
            b"transfer-encoding",
        ];
        for known in NAMES {
            let capitals = known.to_ascii_uppercase();
            for name in [known, &capitals] {
                assert!(Noted::default().of(name).is_some());
            }
            // Every other byte at every position, except CR, which ends a line.
            for at in 0..known.len() {
                for byte in (0..=u8::MAX).filter(|byte| *byte != b'\r') {
                    let mut name = known.to_vec();
                    name[at] = byte;
                    let noted = Noted::default().of(&name).is_some();
                    assert_eq!(noted, name.eq_ignore_ascii_case(known), "{name:?}");
                }
            }
        }
    }
}
