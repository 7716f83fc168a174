//! Encodes echo requests and decodes their replies: ICMP (RFC 792) and ICMPv6 (RFC 4443, section
//! 4).

/// Type of an ICMP echo request.
const REQUEST: u8 = 8;
/// Type of the reply to an ICMP echo request.
const REPLY: u8 = 0;
/// Type of an ICMPv6 echo request.
const REQUEST_6: u8 = 128;
/// Type of the reply to an ICMPv6 echo request.
const REPLY_6: u8 = 129;
/// Payload of a request, which its reply repeats.
const DATA: [u8; 8] = *b"evenkeel";

/// Echo request, with which a reply is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Echo {
    pub is_ipv6: bool,
    /// Identifier; None: the kernel chooses one, and delivers only replies that have it.
    pub id: Option<u16>,
    pub sequence: u16,
}

impl Echo {
    /// Returns the request without an IP header. The kernel fills in the ICMPv6 checksum.
    pub fn request(&self) -> Vec<u8> {
        let kind = if self.is_ipv6 { REQUEST_6 } else { REQUEST };
        let mut bytes = vec![kind, 0, 0, 0];
        bytes.extend(self.id.unwrap_or_default().to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(DATA);
        if !self.is_ipv6 {
            let sum = checksum(&bytes).to_be_bytes();
            bytes.splice(2..4, sum);
        }
        bytes
    }

    /// Returns whether these bytes are the reply to the request. `has_header`: they begin with an
    /// IPv4 header, as on a raw socket.
    pub fn is_reply(&self, bytes: &[u8], has_header: bool) -> bool {
        let bytes = if has_header && !self.is_ipv6 {
            // Reads the length of the IPv4 header in words of 32 bits (RFC 791, section 3.1).
            let words = bytes.first().map_or(0, |first| usize::from(first & 0x0f));
            bytes.get(words.max(5) * 4..).unwrap_or_default()
        } else {
            bytes
        };
        let wanted = if self.is_ipv6 { REPLY_6 } else { REPLY };
        let [kind, 0, _, _, id0, id1, sequence0, sequence1, data @ ..] = bytes else {
            return false;
        };
        let id = u16::from_be_bytes([*id0, *id1]);
        *kind == wanted
            && self.id.is_none_or(|own| own == id)
            && u16::from_be_bytes([*sequence0, *sequence1]) == self.sequence
            && data == DATA
    }
}

/// Returns the Internet checksum (RFC 1071).
pub fn checksum(bytes: &[u8]) -> u16 {
    let pairs = bytes.chunks(2);
    let words = pairs.map(|pair| {
        let low = pair.get(1).copied().unwrap_or_default();
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let mut sum: u32 = words.fold(0, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V4: Echo = Echo {
        is_ipv6: false,
        id: Some(0x1234),
        sequence: 7,
    };
    const V6: Echo = Echo {
        is_ipv6: true,
        ..V4
    };

    #[test]
    fn requests_are_those_of_the_protocols() {
        let v4 = b"\x08\x00\x4a\x0e\x12\x34\x00\x07evenkeel";
        assert_eq!(V4.request(), v4);
        assert_eq!(checksum(v4), 0, "a right checksum makes the sum zero");
        assert_eq!(V6.request(), b"\x80\x00\x00\x00\x12\x34\x00\x07evenkeel");
    }

    #[test]
    fn a_reply_matches_kind_identifier_and_sequence_number() {
        let ok = b"\x00\x00\x4c\x37\x12\x34\x00\x07evenkeel";
        assert!(V4.is_reply(ok, false));
        assert!(Echo { id: None, ..V4 }.is_reply(ok, false));
        assert!(V6.is_reply(b"\x81\x00\xab\xcd\x12\x34\x00\x07evenkeel", true));
        // A header with one option.
        let mut raw = vec![0x46; 24];
        raw.extend(ok);
        assert!(V4.is_reply(&raw, true));
        for (bad, what) in [
            (&b""[..], "nothing"),
            (b"\x00\x00\x00\x00\x12\x34\x00", "short"),
            (b"\x08\x00\x44\x04\x12\x34\x00\x07evenkeel", "a request"),
            (b"\x03\x00\x4c\x04\x12\x34\x00\x07evenkeel", "an error"),
            (b"\x00\x01\x4c\x04\x12\x34\x00\x07evenkeel", "a code"),
            (b"\x00\x00\x4c\x04\x12\x35\x00\x07evenkeel", "identifier"),
            (b"\x00\x00\x4c\x04\x12\x34\x00\x08evenkeel", "sequence"),
            (b"\x00\x00\x4c\x04\x12\x34\x00\x07evenkeeL", "data"),
        ] {
            assert!(!V4.is_reply(bad, false), "{what}");
        }
        assert!(!V4.is_reply(ok, true), "no header");
        assert!(!V6.is_reply(ok, false), "the other protocol");
    }

    proptest! {
        #[test]
        fn random_bytes_are_a_reply_or_ignored(bytes in proptest::collection::vec(any::<u8>(), 0..64), header in any::<bool>()) {
            let _ = V4.is_reply(&bytes, header);
            let _ = V6.is_reply(&bytes, header);
        }
    }
}
