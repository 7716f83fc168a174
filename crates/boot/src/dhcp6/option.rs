//! Options of DHCPv6 (RFC 8415, 21.1): a code and a length of two bytes each, and the data.

use std::net::Ipv6Addr;

/// The client's identifier.
pub const CLIENT_ID: u16 = 1;
/// The server's identifier.
pub const SERVER_ID: u16 = 2;
/// Addresses for one interface of a client.
pub const IA_NA: u16 = 3;
/// Temporary addresses.
pub const IA_TA: u16 = 4;
/// One address.
pub const IA_ADDRESS: u16 = 5;
/// The options that a client asks for.
pub const WANTED: u16 = 6;
/// The message inside that of a relay.
pub const RELAYED: u16 = 9;
/// Whether something was done.
pub const STATUS: u16 = 13;
/// Two messages are enough.
pub const RAPID_COMMIT: u16 = 14;
/// What a client calls its kind.
pub const USER_CLASS: u16 = 15;
/// What the vendor calls the kind of a client.
pub const VENDOR_CLASS: u16 = 16;
/// The interface of a relay.
pub const INTERFACE_ID: u16 = 18;
/// Nameservers (RFC 3646).
pub const DNS: u16 = 23;
/// Domains to search (RFC 3646).
pub const DOMAINS: u16 = 24;
/// Addresses of one network, for a router.
pub const IA_PD: u16 = 25;
/// What to boot (RFC 5970).
pub const BOOT_FILE: u16 = 59;
/// The kinds of the client's firmware (RFC 5970).
pub const ARCHITECTURES: u16 = 61;
/// The client's card, as its relay knows it (RFC 6939).
pub const LINK_ADDRESS: u16 = 79;

/// The options of a message, until the first that is cut off.
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
    /// The data of the first option with a code.
    pub fn find(mut self, code: u16) -> Option<&'p [u8]> {
        Iterator::find(&mut self, |(known, _)| *known == code).map(|(_, data)| data)
    }
}

/// Writes an option. One that is longer than an option can be is left out.
pub fn put(bytes: &mut Vec<u8>, code: u16, data: &[u8]) {
    if let Ok(length) = u16::try_from(data.len()) {
        bytes.extend(code.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(data);
    }
}

/// Reads an address that is all of some data, or its begin.
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
