//! Parses and encodes DHCPv6 options, and names their codes (RFC 8415, 21.1): an option has a code
//! and a length of two bytes each, and the data.

use std::net::Ipv6Addr;

/// Client Identifier (RFC 8415, 21.2).
pub const CLIENT_ID: u16 = 1;
/// Server Identifier (RFC 8415, 21.3).
pub const SERVER_ID: u16 = 2;
/// Identity association for non-temporary addresses (IA_NA).
pub const IA_NA: u16 = 3;
/// Identity association for temporary addresses (IA_TA).
pub const IA_TA: u16 = 4;
/// IA Address: an address of an association.
pub const IA_ADDRESS: u16 = 5;
/// Option Request: codes of the options that a client requests.
pub const WANTED: u16 = 6;
/// Relay Message: the message inside that of a relay.
pub const RELAYED: u16 = 9;
/// Status Code: success or failure of a request.
pub const STATUS: u16 = 13;
/// Rapid Commit: an exchange of two messages.
pub const RAPID_COMMIT: u16 = 14;
/// User Class, which the client chooses for itself.
pub const USER_CLASS: u16 = 15;
/// Vendor Class, which the client's vendor chooses.
pub const VENDOR_CLASS: u16 = 16;
pub const INTERFACE_ID: u16 = 18;
/// DNS recursive nameservers (RFC 3646).
pub const DNS: u16 = 23;
/// Domain search list (RFC 3646).
pub const DOMAINS: u16 = 24;
/// Identity association for prefix delegation (IA_PD), for routers.
pub const IA_PD: u16 = 25;
/// Boot file URL (RFC 5970).
pub const BOOT_FILE: u16 = 59;
/// Client system architecture types (RFC 5970).
pub const ARCHITECTURES: u16 = 61;
/// Client link-layer address, as its relay knows it (RFC 6939).
pub const LINK_ADDRESS: u16 = 79;

/// Iterator over the options of a message. An option that is cut off ends the iteration.
#[derive(Clone, Copy, Debug)]
pub struct Options<'p>(pub &'p [u8]);

impl<'p> Iterator for Options<'p> {
    type Item = (u16, &'p [u8]);

    fn next(&mut self) -> Option<(u16, &'p [u8])> {
        let (code, rest) = self.0.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = u16::from_be_bytes(*length).into();
        let (data, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((u16::from_be_bytes(*code), data))
    }
}

impl<'p> Options<'p> {
    /// Returns the data of the first option with a code.
    pub fn find(mut self, code: u16) -> Option<&'p [u8]> {
        Iterator::find(&mut self, |(known, _)| *known == code).map(|(_, data)| data)
    }
}

/// Appends an option. Data that is too long for an option is left out.
pub fn put(bytes: &mut Vec<u8>, code: u16, data: &[u8]) {
    if let Ok(length) = u16::try_from(data.len()) {
        bytes.extend(code.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(data);
    }
}

/// Returns the IPv6 address in the first 16 bytes of some data.
pub fn address(data: &[u8]) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = *data.first_chunk()?;
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_end_at_the_first_that_is_cut_off() {
        let mut bytes = Vec::new();
        put(&mut bytes, CLIENT_ID, &[1, 2]);
        put(&mut bytes, RAPID_COMMIT, &[]);
        put(&mut bytes, CLIENT_ID, &[3]);
        assert_eq!(bytes, [0, 1, 0, 2, 1, 2, 0, 14, 0, 0, 0, 1, 0, 1, 3]);
        let all: Vec<_> = Options(&bytes).collect();
        assert_eq!(all, [(1, &[1, 2][..]), (14, &[][..]), (1, &[3][..])]);
        assert_eq!(Options(&bytes).find(CLIENT_ID), Some(&[1, 2][..]));
        assert_eq!(Options(&bytes).find(SERVER_ID), None);
        for length in 0..bytes.len() {
            let whole = [6, 10].iter().filter(|end| **end <= length).count();
            assert_eq!(Options(&bytes[..length]).count(), whole, "{length}");
        }
    }
}
