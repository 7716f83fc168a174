//! The lines of a head: blank lines before it, the end of each line, header
//! fields with their folding. Shared by requests, responses and trailers.
//!
//! It knows no start line and, of the names, only those that frame or route a
//! message: it notes where they are.

use super::Limits;
use super::fault::{Fault, FaultKind};
use crate::message::{Fields, NAME_BYTES, trim};

/// Blank lines skipped before a head: a client may send one after a body that
/// it miscounted; more than a handful is not a client.
const BLANK_LINES_MAX: usize = 16;

/// A line without its end, and where it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Holds no NUL, CR or LF.
    pub(super) bytes: &'a [u8],
    /// The input including the line end.
    pub(super) whole: &'a [u8],
    pub(super) at: usize,
}

/// Reads lines from the front. A line ends in LF, and a CR before it belongs
/// to the end; as with HAProxy the CR may be missing, since what goes on is
/// written with both. A CR elsewhere and NUL are refused.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Lines { bytes, at: 0 }
    }

    /// The next line, `None` when its end is not here yet.
    pub(super) fn next(&mut self) -> Result<Option<Line<'a>>, Fault> {
        let rest = &self.bytes[self.at..];
        let Some(end) = memchr::memchr3(b'\n', b'\r', 0, rest) else {
            return Ok(None);
        };
        let len = match &rest[end..] {
            [b'\n', ..] => end + 1,
            [b'\r', b'\n', ..] => end + 2,
            [b'\r'] => return Ok(None),
            _ => return Err(Fault::new(FaultKind::ControlByte, self.at + end)),
        };
        let at = self.at;
        self.at += len;
        Ok(Some(Line {
            bytes: &rest[..end],
            whole: &rest[..len],
            at,
        }))
    }

    /// Returns the rest, without a line end.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The first line of a head, `None` when its end is not here yet; then
    /// `check_partial` looks at what is.
    pub(super) fn start_line(
        &mut self,
        limits: &Limits,
        check_partial: impl Fn(&Self) -> Result<(), Fault>,
    ) -> Result<Option<Line<'a>>, Fault> {
        self.skip_blank()?;
        match self.next() {
            Ok(Some(line)) => Ok(Some(line)),
            Ok(None) => {
                check_partial(self)?;
                self.incomplete(limits)?;
                Ok(None)
            }
            Err(fault) => {
                // What is wrong first is told, however the bytes arrived.
                check_partial(self)?;
                Err(fault)
            }
        }
    }

    /// Skips blank lines before a head.
    fn skip_blank(&mut self) -> Result<(), Fault> {
        for _ in 0..=BLANK_LINES_MAX {
            match self.rest() {
                [b'\n', ..] => self.at += 1,
                [b'\r', b'\n', ..] => self.at += 2,
                _ => return Ok(()),
            }
        }
        Err(Fault::new(FaultKind::TooManyBlankLines, self.at))
    }

    /// Whether the head that does not end in these bytes can still end in
    /// time.
    pub(super) fn incomplete(&self, limits: &Limits) -> Result<(), Fault> {
        match self.bytes.len() >= limits.head_bytes {
            true => Err(Fault::new(FaultKind::HeadTooLong, limits.head_bytes)),
            false => Ok(()),
        }
    }
}

/// Header lines that need a second look, as flags and as the index of the
/// first one of the kind.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Noted {
    pub(super) host: Seen,
    pub(super) content_length: Seen,
    pub(super) transfer_encoding: Seen,
    pub(super) connection: Seen,
    pub(super) upgrade: Seen,
    pub(super) te: Seen,
    pub(super) expect: Seen,
}

/// How often a name was seen, and where first.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Seen {
    pub(super) count: u32,
    /// Offset in the input of the first.
    pub(super) at: u32,
}

impl Seen {
    pub(super) fn any(self) -> bool {
        self.count > 0
    }

    fn note(&mut self, at: usize) {
        if self.count == 0 {
            self.at = at as u32;
        }
        self.count += 1;
    }

    pub(super) fn fault(self, kind: FaultKind) -> Fault {
        Fault::new(kind, self.at as usize)
    }
}

/// Whether a name is a known one of small letters and dashes, in either case. Of
/// a fixed length and without a way out it is a few wide instructions.
fn is<const N: usize>(name: &[u8], known: &[u8; N]) -> bool {
    /// Parts small letters from capitals; a dash has it.
    const SMALL: u8 = 0x20;
    let Ok(name) = <&[u8; N]>::try_from(name) else {
        return false;
    };
    let mut differs = 0;
    for at in 0..N {
        // What else becomes a small letter so is its capital; what becomes a
        // dash is CR, which no line holds.
        differs |= (name[at] | SMALL) ^ known[at];
    }
    differs == 0
}

impl Noted {
    /// Notes a header of HTTP/2, which stands in no line.
    pub(crate) fn note(&mut self, name: &[u8], at: usize) {
        if let Some(seen) = self.of(name) {
            seen.note(at);
        }
    }

    // In the loop over the fields of every head.
    #[inline(always)]
    fn of(&mut self, name: &[u8]) -> Option<&mut Seen> {
        // Lengths first: nearly all names are none of these.
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

    /// Whether a fold in this header could be read in two ways by which a
    /// message is framed or routed.
    fn frames(name: &[u8]) -> bool {
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

/// How a section of fields ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Section {
    Incomplete,
    Done,
}

/// Reads the header lines up to the blank one.
pub(super) fn parse_fields(
    lines: &mut Lines<'_>,
    limits: &Limits,
    fields: &mut Fields,
    noted: &mut Noted,
) -> Result<Section, Fault> {
    let mut folded = false;
    loop {
        let Some(line) = lines.next()? else {
            lines.incomplete(limits)?;
            return Ok(Section::Incomplete);
        };
        if line.bytes.is_empty() {
            if lines.at > limits.head_bytes {
                return Err(Fault::new(FaultKind::HeadTooLong, limits.head_bytes));
            }
            if folded {
                // Now that nothing more comes behind them.
                fields.trim_values();
            }
            return Ok(Section::Done);
        }
        if matches!(line.bytes[0], b' ' | b'\t') {
            folded = true;
            fold(fields, line)?;
            continue;
        }
        if fields.len() + 1 >= limits.headers {
            return Err(Fault::new(FaultKind::TooManyHeaders, line.at));
        }
        let (name, value) = split(line, limits.accept_invalid)?;
        if let Some(seen) = noted.of(name) {
            seen.note(line.at);
        }
        // Nearly all lines are in wire form already.
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

/// Splits a header line at its colon and checks the name.
pub(super) fn split<'a>(line: Line<'a>, relaxed: bool) -> Result<(&'a [u8], &'a [u8]), Fault> {
    let bytes = line.bytes;
    let name_end = bytes
        .iter()
        .position(|b| NAME_BYTES[*b as usize] == 0)
        .unwrap_or(bytes.len());
    if name_end < bytes.len() && bytes[name_end] == b':' {
        if name_end == 0 {
            return Err(Fault::new(FaultKind::NameMissing, line.at));
        }
        return Ok((&bytes[..name_end], trim(&bytes[name_end + 1..])));
    }
    split_odd(line, name_end, relaxed)
}

/// Parses a line whose name is not a token. In relaxed mode, visible odd bytes and inner
/// spaces are accepted, and blanks before the colon are dropped, so `content-length : 1`
/// is a length here as it may be for the server.
fn split_odd<'a>(line: Line<'a>, odd: usize, relaxed: bool) -> Result<(&'a [u8], &'a [u8]), Fault> {
    let Some(colon) = memchr::memchr(b':', line.bytes) else {
        return Err(Fault::new(FaultKind::ColonMissing, line.at + odd));
    };
    let fault = Fault::new(FaultKind::NameByte, line.at + odd);
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
    // A recipient that drops the odd bytes must not find framing there.
    let mut token = name.to_vec();
    token.retain(|b| NAME_BYTES[*b as usize] != 0);
    if token.len() != name.len() && Noted::frames(&token) {
        return Err(fault);
    }
    if name.is_empty() {
        return Err(Fault::new(FaultKind::NameMissing, line.at));
    }
    Ok((name, trim(&line.bytes[colon + 1..])))
}

/// Obsolete folding: the line joins the value before it. As with HAProxy the
/// line end becomes two spaces and the blanks stay.
fn fold(fields: &mut Fields, line: Line<'_>) -> Result<(), Fault> {
    let Some(last) = fields.len().checked_sub(1) else {
        return Err(Fault::new(FaultKind::FoldedFirstLine, line.at));
    };
    let Some((name, _)) = fields.at(last) else {
        return Err(Fault::new(FaultKind::FoldedFirstLine, line.at));
    };
    if Noted::frames(name) {
        return Err(Fault::new(FaultKind::FoldedFraming, line.at));
    }
    // Blanks at the end stay for now: a further fold may come behind them.
    fields.extend_last(&[b"  ", line.bytes]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noted_name_is_known_in_either_case_and_no_other_byte_passes_for_it() {
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
            // Every other byte in every place, but CR, which ends a line.
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
