//! Parses the ClientHello: to select the settings of a handshake before rustls gets the same
//! bytes, and for fetches about TLS connections that are passed through undecrypted. rustls
//! validates again everything that it uses.

use std::borrow::Cow;

/// Maximum length of a ClientHello with all its records, bytes.
pub const HELLO_BYTES_MAX: usize = 32 * 1024;
/// Maximum number of records of a ClientHello. One byte per record would be an attack.
const RECORDS_MAX: usize = 64;
/// Maximum length of the content of an unencrypted record, bytes.
const RECORD_BYTES_MAX: usize = 16 * 1024;
const RECORD_HANDSHAKE: u8 = 0x16;
const CLIENT_HELLO: u8 = 1;

/// Reads bytes from the front; None at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor<'b>(pub &'b [u8]);

impl<'b> Cursor<'b> {
    /// Returns the next `n` bytes. If fewer are left, consumes nothing.
    pub fn take(&mut self, n: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    /// Reads a big-endian number of `bytes` bytes (at most 4).
    pub fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(
            self.take(bytes)?
                .iter()
                .fold(0, |n, byte| (n << 8) | usize::from(*byte)),
        )
    }

    /// Reads bytes that are preceded by their length, which has `count_bytes` bytes.
    pub fn counted(&mut self, count_bytes: usize) -> Option<Cursor<'b>> {
        let count = self.number(count_bytes)?;
        self.take(count).map(Cursor)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Hello<'b> {
    /// Legacy version field. TLS 1.3 is indicated in an extension.
    pub version: (u8, u8),
    pub random: &'b [u8],
    /// Session to resume, up to TLS 1.2.
    pub session_id: &'b [u8],
    /// Cipher suites, two bytes each.
    pub ciphers: &'b [u8],
    pub extensions: Cursor<'b>,
}

impl<'b> Hello<'b> {
    /// Parses the body of a ClientHello: the part after the message's type and length.
    pub fn of_body(body: &'b [u8]) -> Option<Hello<'b>> {
        let mut hello = Cursor(body);
        let version = hello.take(2)?;
        let random = hello.take(32)?;
        let session_id = hello.counted(1)?.0;
        let ciphers = hello.counted(2)?.0;
        hello.counted(1)?;
        // Accepts a ClientHello that ends without extensions.
        let extensions = if hello.0.is_empty() {
            Cursor(b"")
        } else {
            hello.counted(2)?
        };
        Some(Hello {
            version: (version[0], version[1]),
            random,
            session_id,
            ciphers,
            extensions,
        })
    }

    pub fn all_extensions(&self) -> impl Iterator<Item = (u16, &'b [u8])> + use<'b> {
        let mut rest = self.extensions;
        std::iter::from_fn(move || {
            let kind = rest.number(2)?;
            Some((u16::try_from(kind).ok()?, rest.counted(2)?.0))
        })
    }

    pub fn extension(&self, wanted: u16) -> Option<Cursor<'b>> {
        let mut all = self.all_extensions();
        all.find(|(kind, _)| *kind == wanted)
            .map(|(_, content)| Cursor(content))
    }

    pub fn server_name(&self) -> Option<&'b [u8]> {
        let mut names = self.extension(0)?.counted(2)?;
        loop {
            let kind = names.number(1)?;
            let name = names.counted(2)?;
            // Returns the first name of type 0, a host name; no other type was ever defined.
            if kind == 0 {
                return Some(name.0);
            }
        }
    }

    /// Returns whether the ClientHello has no SNI, or exactly one host name. Anything else is
    /// ambiguous, and OpenSSL rejects it, too.
    pub fn has_unambiguous_host(&self) -> bool {
        let Some(mut content) = self.extension(0) else {
            return true;
        };
        let Some(mut names) = content.counted(2).filter(|_| content.0.is_empty()) else {
            return false;
        };
        let (kind, host) = (names.number(1), names.counted(2));
        let is_name = |host: Cursor<'_>| !host.0.is_empty() && !host.0.contains(&0);
        kind == Some(0) && host.is_some_and(is_name) && names.0.is_empty()
    }

    /// Returns the offered application protocols, the preferred first.
    pub fn protocols(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let list = self.extension(16).and_then(|mut e| e.counted(2));
        let mut list = list.unwrap_or(Cursor(b""));
        std::iter::from_fn(move || list.counted(1).map(|name| name.0))
    }

    /// Returns the numbers of an extension that is a counted list of 16-bit numbers.
    fn numbers(&self, extension: u16, count_bytes: usize) -> impl Iterator<Item = u16> + use<'b> {
        let list = self
            .extension(extension)
            .and_then(|mut e| e.counted(count_bytes));
        let mut list = list.unwrap_or(Cursor(b""));
        std::iter::from_fn(move || u16::try_from(list.number(2)?).ok())
    }

    /// Returns the supported signature schemes, the preferred first.
    pub fn signature_schemes(&self) -> impl Iterator<Item = u16> + use<'b> {
        self.numbers(13, 2)
    }

    /// Returns the supported groups (curves), the preferred first.
    pub fn groups(&self) -> impl Iterator<Item = u16> + use<'b> {
        self.numbers(10, 2)
    }

    /// Returns the TLS versions in the extension of TLS 1.3. Empty for the hello of an older
    /// client.
    pub fn versions(&self) -> impl Iterator<Item = u16> + use<'b> {
        self.numbers(43, 1)
    }

    /// Returns the offered cipher suites, the preferred first.
    pub fn cipher_suites(&self) -> impl Iterator<Item = u16> + use<'b> {
        let mut list = Cursor(self.ciphers);
        std::iter::from_fn(move || u16::try_from(list.number(2)?).ok())
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Assembled<'b> {
    Incomplete,
    /// The complete body of the ClientHello, see [`Hello::of_body`].
    Whole(Cow<'b, [u8]>),
    /// The bytes cannot become a ClientHello.
    Foreign,
    Excessive,
}

/// Assembles the ClientHello at the beginning of a connection from its records.
pub fn assemble(bytes: &[u8]) -> Assembled<'_> {
    let mut cursor = Cursor(bytes);
    let mut message: Cow<'_, [u8]> = Cow::Borrowed(b"");
    for _ in 0..RECORDS_MAX {
        // Reports bytes that cannot become a record at once, so that a client of another protocol
        // need not wait.
        let begins = [RECORD_HANDSHAKE, 3];
        if cursor.0.iter().zip(begins).any(|(is, must)| *is != must) {
            return Assembled::Foreign;
        }
        let Some(length) = cursor.take(3).and_then(|_| cursor.number(2)) else {
            return Assembled::Incomplete;
        };
        if length == 0 || length > RECORD_BYTES_MAX {
            return Assembled::Foreign;
        }
        let here = cursor.take(length.min(cursor.0.len())).unwrap_or_default();
        if message.is_empty() {
            message = Cow::Borrowed(here);
        } else {
            message.to_mut().extend_from_slice(here);
        }
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Assembled::Foreign;
        }
        let mut header = Cursor(message.get(1..).unwrap_or_default());
        if let Some(body) = header.number(3) {
            if body > HELLO_BYTES_MAX {
                return Assembled::Excessive;
            }
            if message.len() - 4 >= body {
                return Assembled::Whole(match message {
                    Cow::Borrowed(message) => Cow::Borrowed(&message[4..4 + body]),
                    Cow::Owned(mut message) => {
                        message.truncate(4 + body);
                        message.drain(..4);
                        Cow::Owned(message)
                    }
                });
            }
        }
        if here.len() < length {
            return Assembled::Incomplete;
        }
    }
    Assembled::Excessive
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::extension;

    fn sni(name: &str) -> Vec<u8> {
        let length = (name.len() as u16).to_be_bytes();
        let entry = [&[0][..], &length, name.as_bytes()].concat();
        let list = (entry.len() as u16).to_be_bytes();
        extension(0, &[&list[..], &entry].concat())
    }

    fn message(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend([0, 4, 0x13, 0x01, 0xc0, 0x2f]);
        body.extend([1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend_from_slice(extensions);
        [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat()
    }

    fn records(message: &[u8], each: usize) -> Vec<u8> {
        let record = |piece: &[u8]| {
            [
                &[0x16, 3, 1][..],
                &(piece.len() as u16).to_be_bytes(),
                piece,
            ]
            .concat()
        };
        message.chunks(each).flat_map(record).collect()
    }

    #[test]
    fn a_hello_is_put_together_from_any_number_of_records_and_pieces() {
        let sent = message(&[extension(10, &[0, 2, 0, 29]), sni("shop.example.com")].concat());
        for each in [3, 4, 5, 17, 90, 4000] {
            let bytes = records(&sent, each);
            for cut in 0..bytes.len() {
                assert_eq!(
                    assemble(&bytes[..cut]),
                    Assembled::Incomplete,
                    "{each} {cut}"
                );
            }
            let Assembled::Whole(body) = assemble(&bytes) else {
                panic!("not whole in records of {each}");
            };
            let hello = Hello::of_body(&body).unwrap();
            assert_eq!(hello.server_name(), Some(&b"shop.example.com"[..]));
            assert_eq!(hello.groups().collect::<Vec<_>>(), [29]);
            assert_eq!(hello.cipher_suites().collect::<Vec<_>>(), [0x1301, 0xc02f]);
        }
    }

    #[test]
    fn invalid_hello_is_detected_at_its_first_wrong_byte() {
        for bytes in [
            &b"G"[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x02",
            b"\x16\x03\x01\x00\x00",
            b"\x16\x03\x01\x00\x05\x02",
            b"\x16\x03\x01\xff\xff",
        ] {
            assert_eq!(assemble(bytes), Assembled::Foreign, "{bytes:?}");
        }
    }

    #[test]
    fn endless_or_fragmented_hello_is_refused() {
        let long = b"\x16\x03\x01\x00\x05\x01\x10\x00\x00\x03";
        assert_eq!(assemble(long), Assembled::Excessive);
        let crumbs = records(&message(&extension(21, &[0; 200])), 1);
        assert_eq!(assemble(&crumbs), Assembled::Excessive);
    }

    #[test]
    fn lists_of_a_hello_are_read() {
        let protocols = extension(16, b"\x00\x0c\x02h2\x08http/1.1");
        let versions = extension(43, &[4, 3, 4, 3, 3]);
        let schemes = extension(13, &[0, 4, 4, 3, 8, 4]);
        let sent = message(&[protocols, versions, schemes].concat());
        let hello = Hello::of_body(&sent[4..]).unwrap();
        let names: Vec<&[u8]> = hello.protocols().collect();
        assert_eq!(names, [&b"h2"[..], b"http/1.1"]);
        assert_eq!(hello.versions().collect::<Vec<_>>(), [0x0304, 0x0303]);
        assert_eq!(
            hello.signature_schemes().collect::<Vec<_>>(),
            [0x0403, 0x0804]
        );
        assert_eq!(hello.server_name(), None);
    }

    #[test]
    fn a_list_of_names_is_one_host_or_nothing() {
        let is_sound = |content: &[u8]| {
            let sent = message(&extension(0, content));
            Hello::of_body(&sent[4..]).unwrap().has_unambiguous_host()
        };
        assert!(is_sound(b"\0\x04\0\0\x01a"));
        for content in [
            &b""[..],
            b"\0\0",
            b"\0\x03\0\0\0",
            // An entry of another type before or after a host; two hosts.
            b"\0\x08\x01\0\x01a\0\0\x01b",
            b"\0\x08\0\0\x01a\x01\0\x01b",
            b"\0\x08\0\0\x01a\0\0\x01b",
            b"\0\x04\x01\0\x01a",
            // A zero byte in the name, trailing bytes, wrong lengths.
            b"\0\x06\0\0\x03a\0b",
            b"\0\x04\0\0\x01ab",
            b"\0\x05\0\0\x01a",
            b"\0\x04\0\0\x02a",
        ] {
            assert!(!is_sound(content), "{content:?}");
        }
        let none = message(b"");
        assert!(Hello::of_body(&none[4..]).unwrap().has_unambiguous_host());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_break_the_parser(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), cut in 0_usize..120) {
            let _ = assemble(&bytes);
            let mut broken = records(&message(&sni("a.example")), 40);
            let at = cut.min(broken.len() - 1);
            broken[at] = bytes.first().copied().unwrap_or(0);
            if let Assembled::Whole(body) = assemble(&broken)
                && let Some(hello) = Hello::of_body(&body)
            {
                let _ = (hello.server_name().map(<[u8]>::len), hello.protocols().count());
                let _ = (hello.versions().count(), hello.signature_schemes().count());
            }
        }
    }
}
