//! Writes values into a buffer: numbers without allocating, and text with unsafe bytes encoded,
//! which could mislead a reader of logs.

use super::Flags;
use std::net::IpAddr;

/// Output buffer, and the encoding of the value.
pub(super) struct Put<'o> {
    pub(super) out: &'o mut Vec<u8>,
    pub(super) flags: Flags,
    /// True if a missing value is written as a dash.
    pub(super) dash: bool,
}

/// Set of bytes that are written as `#XX` in a text from a client or server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Encode {
    /// Request lines: non-printable bytes, `"` and `#`.
    Target,
    /// Captured headers: the same bytes, and `{`, `|` and `}`, which separate captures.
    Header,
}

const fn table(header: bool) -> [bool; 256] {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        table[i] = byte < 32 || byte > 126 || byte == b'"' || byte == b'#';
        if header && (byte == b'{' || byte == b'|' || byte == b'}') {
            table[i] = true;
        }
        i += 1;
    }
    table
}

static TARGET: [bool; 256] = table(false);
static HEADER: [bool; 256] = table(true);
const HEX: &[u8; 16] = b"0123456789ABCDEF";

impl Put<'_> {
    /// Appends text unchanged, except for the flags.
    pub(super) fn text(&mut self, text: &[u8]) {
        self.quote();
        self.escaped(text);
        self.quote();
    }

    /// Appends the value of an expression outside of logs. It is never quoted. Control characters
    /// except the tab are percent-encoded, so that the value cannot end a line.
    pub(super) fn visible(&mut self, text: &[u8]) {
        let control = |b: &u8| (*b < b' ' && *b != b'\t') || *b == 0x7f;
        let mut rest = text;
        loop {
            let clean = rest.iter().position(control).unwrap_or(rest.len());
            self.escaped(&rest[..clean]);
            let Some((odd, after)) = rest[clean..].split_first() else {
                return;
            };
            self.out.extend_from_slice(&[
                b'%',
                HEX[usize::from(odd >> 4)],
                HEX[usize::from(odd & 15)],
            ]);
            rest = after;
        }
    }

    pub(super) fn encoded(&mut self, text: &[u8], encode: Encode) {
        self.quote();
        self.inner(text, encode);
        self.quote();
    }

    pub(super) fn missing(&mut self) {
        if self.flags.quoted {
            self.out.extend_from_slice(b"\"\"");
        } else if self.dash {
            self.out.push(b'-');
        }
    }

    pub(super) fn text_or_missing(&mut self, text: &[u8]) {
        if text.is_empty() {
            self.missing()
        } else {
            self.text(text)
        }
    }

    pub(super) fn quote(&mut self) {
        if self.flags.quoted {
            self.out.push(b'"');
        }
    }

    fn escaped(&mut self, text: &[u8]) {
        if !self.flags.escaped {
            return self.out.extend_from_slice(text);
        }
        for byte in text {
            if matches!(byte, b'"' | b'\\' | b']') {
                self.out.push(b'\\');
            }
            self.out.push(*byte);
        }
    }

    /// Appends encoded text without quotes around it.
    pub(super) fn inner(&mut self, text: &[u8], encode: Encode) {
        let table = if encode == Encode::Header {
            &HEADER
        } else {
            &TARGET
        };
        let mut rest = text;
        loop {
            let clean = rest
                .iter()
                .position(|b| table[usize::from(*b)])
                .unwrap_or(rest.len());
            self.escaped(&rest[..clean]);
            let Some((odd, after)) = rest[clean..].split_first() else {
                return;
            };
            self.out.extend_from_slice(&[
                b'#',
                HEX[usize::from(odd >> 4)],
                HEX[usize::from(odd & 15)],
            ]);
            rest = after;
        }
    }

    /// Appends a count, which is decimal also with the flag `+X`.
    pub(super) fn count(&mut self, n: u64) {
        decimal(self.out, n, 1);
    }

    pub(super) fn number(&mut self, n: u64, hex_digits: usize) {
        if self.flags.hex {
            hexadecimal(self.out, n, hex_digits)
        } else {
            decimal(self.out, n, 1)
        }
    }

    pub(super) fn address(&mut self, ip: IpAddr) {
        if self.flags.hex {
            match ip {
                IpAddr::V4(v4) => hexadecimal(self.out, u64::from(u32::from(v4)), 8),
                IpAddr::V6(v6) => {
                    let bits = u128::from(v6);
                    hexadecimal(self.out, (bits >> 64) as u64, 16);
                    hexadecimal(self.out, bits as u64, 16);
                }
            }
            return;
        }
        self.quote();
        match ip {
            IpAddr::V4(v4) => {
                for (n, octet) in v4.octets().into_iter().enumerate() {
                    if n > 0 {
                        self.out.push(b'.');
                    }
                    decimal(self.out, u64::from(octet), 1);
                }
            }
            IpAddr::V6(v6) => {
                use std::io::Write;
                // Writing into memory cannot fail.
                let _ = write!(self.out, "{v6}");
            }
        }
        self.quote();
    }
}

/// Appends a number with at least `digits` digits.
pub(super) fn decimal(out: &mut Vec<u8>, mut n: u64, digits: usize) {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    let at = at.min(text.len() - digits.min(text.len()));
    out.extend_from_slice(&text[at..]);
}

/// Appends a number in uppercase hexadecimal with at least `digits` digits.
pub(super) fn hexadecimal(out: &mut Vec<u8>, mut n: u64, digits: usize) {
    let mut text = [b'0'; 16];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = HEX[(n & 15) as usize];
        n >>= 4;
        if n == 0 {
            break;
        }
    }
    let at = at.min(text.len() - digits.min(text.len()));
    out.extend_from_slice(&text[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_digits() {
        let show = |write: fn(&mut Vec<u8>, u64, usize), n, digits| {
            let mut out = Vec::new();
            write(&mut out, n, digits);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(show(decimal, 0, 1), "0");
        assert_eq!(show(decimal, 7, 3), "007");
        assert_eq!(show(decimal, u64::MAX, 1), u64::MAX.to_string());
        assert_eq!(show(decimal, 1, 99), "00000000000000000001");
        assert_eq!(show(hexadecimal, 0x4a39, 4), "4A39");
        assert_eq!(show(hexadecimal, 1, 4), "0001");
        assert_eq!(show(hexadecimal, u64::MAX, 2), "FFFFFFFFFFFFFFFF");
    }

    #[test]
    fn bytes_that_could_fool_a_reader_are_shown_by_their_number() {
        let show = |text: &[u8], encode, flags| {
            let mut out = Vec::new();
            Put {
                out: &mut out,
                flags,
                dash: true,
            }
            .encoded(text, encode);
            String::from_utf8(out).unwrap()
        };
        let odd = b"a\"b{c}|d\\e]f#g \xe9\tz%<>";
        let plain = Flags::default();
        assert_eq!(
            show(odd, Encode::Header, plain),
            "a#22b#7Bc#7D#7Cd\\e]f#23g #E9#09z%<>"
        );
        assert_eq!(
            show(odd, Encode::Target, plain),
            "a#22b{c}|d\\e]f#23g #E9#09z%<>"
        );
        let both = Flags {
            quoted: true,
            escaped: true,
            ..plain
        };
        assert_eq!(
            show(odd, Encode::Header, both),
            "\"a#22b#7Bc#7D#7Cd\\\\e\\]f#23g #E9#09z%<>\""
        );
    }
}
