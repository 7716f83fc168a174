//! Parses and encodes TFTP packets (RFC 1350, with options by RFC 2347, 2348, 2349 and 7440),
//! without I/O.

use std::fmt::Write as _;

pub const NAME_MAX: usize = 255;
/// Maximum length of a request, bytes: RFC 2347 allows 512, and some firmware adds padding.
pub const REQUEST_MAX: usize = 1_024;
pub const HEAD_BYTES: usize = 4;
/// Number of bytes of a client's error message that are kept.
const WORDS_MAX: usize = 120;
const DIGITS_MAX: usize = 19;

const READ: u16 = 1;
const WRITE: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OPTIONS: u16 = 6;

/// Error codes (RFC 1350, appendix) that this server sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TftpErrorCode {
    /// Not defined: the message has the reason.
    Other = 0,
    NotFound = 1,
    Access = 2,
    Illegal = 4,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TftpMode {
    Octet,
    /// Text in the format of a terminal: LF becomes CR LF, and CR becomes CR NUL.
    Netascii,
}

/// Options of a request that this server supports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    pub block_bytes: Option<u64>,
    pub timeout_s: Option<u64>,
    /// True if the client requests the length of the file (`tsize`).
    pub size: bool,
    /// `windowsize`: blocks that are sent before an ACK.
    pub window: Option<u64>,
}

/// Read request (RRQ) of a client, with its options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// File name: with slashes for backslashes, and without leading ones.
    pub name: String,
    pub mode: TftpMode,
    pub options: Options,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TftpPacket {
    Read(Request),
    Write,
    Ack(u16),
    Error {
        /// Error code (RFC 1350, appendix).
        code: u16,
        /// Error message of the client without control characters, shortened to 120
        /// bytes.
        words: String,
    },
    OfServer,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TftpPacketError {
    #[error("unknown operation")]
    Operation,
    #[error("the packet is incomplete")]
    Short,
    #[error("a file name has 1 to {NAME_MAX} bytes of UTF-8")]
    Name,
    #[error("the mode must be octet or netascii")]
    Mode,
}

impl TftpPacket {
    /// Parses a datagram from a client.
    ///
    /// # Errors
    ///
    /// The datagram is not a TFTP packet, or a read request has an invalid name or mode. Options
    /// never cause an error: an unknown or invalid option is ignored, and nothing is read after an
    /// incomplete option.
    pub fn parse(bytes: &[u8]) -> Result<TftpPacket, TftpPacketError> {
        let (operation, rest) = number(bytes).ok_or(TftpPacketError::Short)?;
        match operation {
            READ => request(rest).map(TftpPacket::Read),
            WRITE => Ok(TftpPacket::Write),
            DATA | OPTIONS => Ok(TftpPacket::OfServer),
            ACK => {
                let (block, _) = number(rest).ok_or(TftpPacketError::Short)?;
                Ok(TftpPacket::Ack(block))
            }
            ERROR => {
                let (code, rest) = number(rest).ok_or(TftpPacketError::Short)?;
                let words = rest.split(|byte| *byte == 0).next().unwrap_or_default();
                let words = words.get(..WORDS_MAX).unwrap_or(words);
                let words = String::from_utf8_lossy(words);
                let words = words.chars().filter(|c| !c.is_control()).collect();
                Ok(TftpPacket::Error { code, words })
            }
            _ => Err(TftpPacketError::Operation),
        }
    }
}

fn number(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (two, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*two), rest))
}

fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (text, rest) = bytes.split_at_checked(end)?;
    *bytes = rest.get(1..).unwrap_or_default();
    Some(text)
}

fn request(mut bytes: &[u8]) -> Result<Request, TftpPacketError> {
    let name = text(&mut bytes).ok_or(TftpPacketError::Short)?;
    let mode = text(&mut bytes).ok_or(TftpPacketError::Short)?;
    if name.len() > NAME_MAX {
        return Err(TftpPacketError::Name);
    }
    let name = std::str::from_utf8(name).map_err(|_| TftpPacketError::Name)?;
    let name = name.replace('\\', "/");
    let name = name.trim_start_matches('/');
    if name.is_empty() {
        return Err(TftpPacketError::Name);
    }
    let mode = match mode {
        mode if mode.eq_ignore_ascii_case(b"octet") => TftpMode::Octet,
        mode if mode.eq_ignore_ascii_case(b"netascii") => TftpMode::Netascii,
        _ => return Err(TftpPacketError::Mode),
    };
    let mut options = Options::default();
    while let Some(name) = text(&mut bytes).filter(|name| !name.is_empty()) {
        let Some(value) = text(&mut bytes) else {
            break;
        };
        options.add(name, value);
    }
    Ok(Request {
        name: name.to_owned(),
        mode,
        options,
    })
}

impl Options {
    /// Adds an option of a request. Unknown options and values that are not numbers are ignored; of
    /// several values of an option, the first one counts.
    fn add(&mut self, name: &[u8], value: &[u8]) {
        let Some(value) = decimal(value) else {
            return;
        };
        let slot = match name {
            name if name.eq_ignore_ascii_case(b"blksize") => &mut self.block_bytes,
            name if name.eq_ignore_ascii_case(b"timeout") => &mut self.timeout_s,
            name if name.eq_ignore_ascii_case(b"windowsize") => &mut self.window,
            name if name.eq_ignore_ascii_case(b"tsize") => {
                self.size = true;
                return;
            }
            _ => return,
        };
        slot.get_or_insert(value);
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    let is_number = text.len() <= DIGITS_MAX && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_number)?;
    text.parse().ok()
}

pub fn data_head(block: u16) -> [u8; HEAD_BYTES] {
    let ([a, b], [c, d]) = (DATA.to_be_bytes(), block.to_be_bytes());
    [a, b, c, d]
}

pub fn error(code: TftpErrorCode, words: &str) -> Vec<u8> {
    let mut bytes = ERROR.to_be_bytes().to_vec();
    bytes.extend_from_slice(&(code as u16).to_be_bytes());
    bytes.extend(words.bytes().filter(|byte| *byte != 0));
    bytes.push(0);
    bytes
}

pub fn option_ack(options: &[(&str, u64)]) -> Vec<u8> {
    let mut texts = String::new();
    for (name, value) in options {
        // Ignores the result: a write to a string cannot fail.
        let _ = write!(texts, "{name}\0{value}\0");
    }
    let mut bytes = OPTIONS.to_be_bytes().to_vec();
    bytes.extend_from_slice(texts.as_bytes());
    bytes
}

/// Converts a text to netascii (RFC 764): LF as CR LF, CR as CR NUL.
pub fn netascii(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 16);
    for byte in bytes {
        match byte {
            b'\n' => out.extend_from_slice(b"\r\n"),
            b'\r' => out.extend_from_slice(b"\r\0"),
            byte => out.push(*byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, options: Options) -> Result<TftpPacket, TftpPacketError> {
        Ok(TftpPacket::Read(Request {
            name: name.to_owned(),
            mode: TftpMode::Octet,
            options,
        }))
    }

    #[test]
    fn the_packets_of_a_client_are_read() {
        let none = Options::default();
        let all = Options {
            block_bytes: Some(1468),
            timeout_s: Some(3),
            size: true,
            window: Some(16),
        };
        let first = Options {
            block_bytes: Some(8),
            ..none
        };
        let error = |code, words: &str| {
            let words = words.to_owned();
            Ok(TftpPacket::Error { code, words })
        };
        let netascii = TftpPacket::Read(Request {
            name: "a".to_owned(),
            mode: TftpMode::Netascii,
            options: none,
        });
        let cases: &[(&[u8], Result<TftpPacket, TftpPacketError>)] = &[
            (b"\0\x01pxe/a.0\0octet\0", read("pxe/a.0", none)),
            (b"\0\x01/a\0OcTeT\0", read("a", none)),
            (b"\0\x01\\boot\\BCD\0octet\0", read("boot/BCD", none)),
            (
                b"\0\x01../../etc/passwd\0octet\0",
                read("../../etc/passwd", none),
            ),
            (b"\0\x01a\0netascii\0", Ok(netascii)),
            (
                b"\0\x01a\0octet\0blksize\x001468\0Timeout\x003\0tsize\x000\0WINDOWSIZE\x0016\0",
                read("a", all),
            ),
            (
                b"\0\x01a\0octet\0blksize\x008\0blksize\x009\0",
                read("a", first),
            ),
            // Options whose values are no numbers are ignored.
            (
                b"\0\x01a\0octet\0blksize\0-8\0timeout\0\0x\0y\0",
                read("a", none),
            ),
            (
                b"\0\x01a\0octet\0blksize\x0099999999999999999999\0",
                read("a", none),
            ),
            (b"\0\x01a\0octet\0blksize\x001468", read("a", none)),
            (b"\0\x01a\0octet\0\0\0\0\0\0", read("a", none)),
            (b"\0\x01a\0octet\0blksize", read("a", none)),
            (b"\0\x02a\0octet\0", Ok(TftpPacket::Write)),
            (b"\0\x03\0\x01data", Ok(TftpPacket::OfServer)),
            (b"\0\x04\xff\xfe", Ok(TftpPacket::Ack(0xfffe))),
            (b"\0\x04\0\x01padded", Ok(TftpPacket::Ack(1))),
            (b"\0\x05\0\x08no\n\0x", error(8, "no")),
            (b"\0\x05\0\0", error(0, "")),
            (b"\0\x05\0\0\xff", error(0, "\u{fffd}")),
            (b"\0\x06", Ok(TftpPacket::OfServer)),
        ];
        for (bytes, expected) in cases {
            let bytes: &[u8] = bytes;
            assert_eq!(
                &TftpPacket::parse(bytes),
                expected,
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn what_is_no_packet_is_refused_with_its_reason() {
        let cases: &[(&[u8], TftpPacketError)] = &[
            (b"", TftpPacketError::Short),
            (b"\0", TftpPacketError::Short),
            (b"\0\x04\0", TftpPacketError::Short),
            (b"\0\x05\0", TftpPacketError::Short),
            (b"\0\x01a", TftpPacketError::Short),
            (b"\0\x01a\0octet", TftpPacketError::Short),
            (b"\0\x01\0octet\0", TftpPacketError::Name),
            (b"\0\x01//\0octet\0", TftpPacketError::Name),
            (b"\0\x01\xff\0octet\0", TftpPacketError::Name),
            (b"\0\x01a\0mail\0", TftpPacketError::Mode),
            (b"\x01\0a\0octet\0", TftpPacketError::Operation),
            (b"\0\x07", TftpPacketError::Operation),
        ];
        for (bytes, expected) in cases {
            let bytes: &[u8] = bytes;
            let parsed = TftpPacket::parse(bytes);
            assert_eq!(parsed, Err(*expected), "{}", bytes.escape_ascii());
        }
        for (length, fits) in [(NAME_MAX, true), (NAME_MAX + 1, false)] {
            let bytes = ["\0\x01", &"n".repeat(length), "\0octet\0"].concat();
            assert_eq!(TftpPacket::parse(bytes.as_bytes()).is_ok(), fits);
        }
    }

    #[test]
    fn a_long_message_of_a_client_is_shortened() {
        let bytes = [b"\0\x05\0\0".as_slice(), &[b'x'; 5_000], b"\0"].concat();
        let Ok(TftpPacket::Error { words, .. }) = TftpPacket::parse(&bytes) else {
            panic!("an error");
        };
        assert_eq!(words.len(), WORDS_MAX);
    }

    #[test]
    fn the_packets_of_the_server_are_written() {
        assert_eq!(data_head(0x1234), *b"\0\x03\x124");
        let written = error(TftpErrorCode::NotFound, "file\0 not found");
        assert_eq!(written, b"\0\x05\0\x01file not found\0");
        let written = option_ack(&[("blksize", 1468), ("tsize", 0)]);
        assert_eq!(written, b"\0\x06blksize\x001468\0tsize\x000\0");
        assert_eq!(netascii(b"a\nb\rc\r\n"), b"a\r\nb\r\0c\r\0\r\n");
    }
}
