//! Builds and parses netlink messages: a header, a fixed body, attributes. Messages of the kernel
//! are parsed leniently, attribute by attribute, because a newer kernel may add attributes.

use std::net::IpAddr;

/// Length of the kernel's `struct nlmsghdr`, bytes.
pub(super) const HEADER: usize = 16;
/// Flag in an attribute's type: the attribute contains attributes.
const NESTED: u16 = 0x8000;
/// Bits of an attribute's type without flags.
const KIND: u16 = 0x3fff;

/// Flags of a netlink message, `NLM_F_*`.
pub(super) mod flag {
    pub const REQUEST: u16 = 0x1;
    pub const ACK: u16 = 0x4;
    pub const DUMP_INTERRUPTED: u16 = 0x10;
    pub const REPLACE: u16 = 0x100;
    pub const CAPPED: u16 = 0x100;
    pub const EXCLUSIVE: u16 = 0x200;
    pub const ACK_ATTRIBUTES: u16 = 0x200;
    pub const DUMP: u16 = 0x300;
    pub const CREATE: u16 = 0x400;
    pub const APPEND: u16 = 0x800;
}

pub(super) mod kind {
    pub const ERROR: u16 = 2;
    pub const DONE: u16 = 3;
    pub const OVERRUN: u16 = 4;
    pub const NEW_LINK: u16 = 16;
    pub const DELETE_LINK: u16 = 17;
    pub const GET_LINK: u16 = 18;
    pub const NEW_ADDRESS: u16 = 20;
    pub const DELETE_ADDRESS: u16 = 21;
    pub const GET_ADDRESS: u16 = 22;
    pub const NEW_ROUTE: u16 = 24;
    pub const DELETE_ROUTE: u16 = 25;
    pub const GET_ROUTE: u16 = 26;
    pub const NEW_RULE: u16 = 32;
    pub const DELETE_RULE: u16 = 33;
    pub const GET_RULE: u16 = 34;
}

pub(super) const INET: u8 = 2;
pub(super) const INET6: u8 = 10;

pub(super) fn family(address: IpAddr) -> u8 {
    if address.is_ipv6() { INET6 } else { INET }
}

/// Returns the bytes of an address in network order.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// A message that is being built.
#[derive(Clone, Debug)]
pub(super) struct NetlinkMessage {
    bytes: Vec<u8>,
}

impl NetlinkMessage {
    /// Creates a message with its fixed body, whose length is a multiple of four bytes.
    pub fn new(kind: u16, flags: u16, body: &[u8]) -> NetlinkMessage {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(body);
        NetlinkMessage { bytes }
    }

    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        let value = value.get(..usize::from(length) - 4).unwrap_or(value);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    pub fn u8(&mut self, kind: u16, value: u8) {
        self.attribute(kind, &[value]);
    }

    pub fn u16(&mut self, kind: u16, value: u16) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    pub fn u32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// Adds a string with the terminating zero that the kernel expects.
    pub fn string(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes);
    }

    pub fn address(&mut self, kind: u16, value: IpAddr) {
        self.attribute(kind, &octets(value));
    }

    /// Adds an attribute if it has a value.
    pub fn optional<T>(&mut self, kind: u16, value: Option<T>, add: fn(&mut Self, u16, T)) {
        if let Some(value) = value {
            add(self, kind, value);
        }
    }

    pub fn nested(&mut self, kind: u16, inside: impl FnOnce(&mut NetlinkMessage)) {
        self.open(kind | NESTED, &[], inside);
    }

    /// Adds a nested attribute like [`NetlinkMessage::nested`], with a fixed part before the
    /// attributes, and without the NLA_F_NESTED flag (as for the next hops of a route and old
    /// attributes of the kernel).
    pub fn open(&mut self, kind: u16, fixed: &[u8], inside: impl FnOnce(&mut NetlinkMessage)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(fixed);
        inside(self);
        self.close(start);
    }

    /// Adds a structure that begins with its length, such as `struct rtnexthop`.
    pub fn counted(&mut self, rest: &[u8], inside: impl FnOnce(&mut NetlinkMessage)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(rest);
        inside(self);
        self.close(start);
    }

    fn close(&mut self, start: usize) {
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        if let Some(place) = self.bytes.get_mut(start..start + 2) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Requests an acknowledgement even on success.
    pub fn acknowledge(&mut self) {
        if let Some(place) = self.bytes.get_mut(6..8) {
            let flags = u16_at(place, 0).unwrap_or(0) | flag::ACK;
            place.copy_from_slice(&flags.to_ne_bytes());
        }
    }

    pub fn finish(&mut self, sequence: u32) -> &[u8] {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        if let Some(place) = self.bytes.get_mut(..4) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
        if let Some(place) = self.bytes.get_mut(8..12) {
            place.copy_from_slice(&sequence.to_ne_bytes());
        }
        &self.bytes
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub body: &'a [u8],
}

impl<'a> Incoming<'a> {
    /// Returns the netlink attributes that follow a fixed header of `fixed` bytes in the body.
    pub fn attributes(&self, fixed: usize) -> Attributes<'a> {
        Attributes(self.body.get(fixed.next_multiple_of(4)..).unwrap_or(&[]))
    }

    /// Parses the message if it has the given kind; otherwise returns None.
    pub fn read_as<T>(&self, kind: u16, read: impl Fn(&Self) -> Option<T>) -> Option<T> {
        if self.kind == kind { read(self) } else { None }
    }

    /// Returns whether a message that begins with its family is about IPv6; None: another family.
    pub fn is_ipv6(&self) -> Option<bool> {
        match *self.body.first()? {
            INET => Some(false),
            INET6 => Some(true),
            _ => None,
        }
    }
}

/// Iterator over the messages of one datagram; a wrong length ends it.
pub(super) struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Incoming<'a>;

    fn next(&mut self) -> Option<Incoming<'a>> {
        let length = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let body = self.0.get(HEADER..length)?;
        let message = Incoming {
            kind: u16_at(self.0, 4)?,
            flags: u16_at(self.0, 6)?,
            sequence: u32_at(self.0, 8)?,
            body,
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    }
}

/// Iterator over attributes; a wrong length ends it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & KIND;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

impl<'a> Attributes<'a> {
    pub fn find(&self, wanted: u16) -> Option<&'a [u8]> {
        let mut all = *self;
        Iterator::find(&mut all, |(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    /// Returns the number in the first attribute of this type.
    pub fn number(&self, kind: u16) -> Option<u32> {
        self.find(kind).and_then(number)
    }

    /// Returns the address in the first attribute of this type.
    pub fn address(&self, kind: u16) -> Option<IpAddr> {
        self.find(kind).and_then(ip)
    }

    /// Returns the network in the first attribute of this type, with the prefix length from the
    /// fixed body. None if the prefix length is zero, which means all addresses.
    pub fn network(&self, kind: u16, prefix: u8) -> Option<(IpAddr, u8)> {
        let address = self.address(kind).filter(|_| prefix > 0)?;
        Some((address, prefix))
    }

    /// Returns the number of the protocol that added an object; zero: unknown.
    pub fn made_by(&self, kind: u16) -> u8 {
        let value = self.find(kind).and_then(<[u8]>::first);
        value.copied().unwrap_or(0)
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn number(value: &[u8]) -> Option<u32> {
    u32_at(value, 0)
}

/// Parses an address, whose length determines its family.
pub(super) fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(value).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?)),
        _ => None,
    }
}

pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or(value)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let mut message = NetlinkMessage::new(kind::NEW_LINK, flag::REQUEST, &[7; 16]);
        message.string(3, "eth0");
        message.nested(18, |m| m.u8(1, 9));
        message.u32(4, 1500);
        let bytes = message.finish(77).to_vec();
        let read: Vec<_> = Messages(&bytes).collect();
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].kind, read[0].sequence), (kind::NEW_LINK, 77));
        let attributes = read[0].attributes(16);
        assert_eq!(text(attributes.find(3).unwrap()), "eth0");
        assert_eq!(number(attributes.find(4).unwrap()), Some(1500));
        let inside = Attributes(attributes.find(18).unwrap());
        assert_eq!(inside.find(1), Some(&[9][..]));
        assert_eq!(attributes.find(99), None);
    }

    #[test]
    fn lengths_that_lie_end_the_reading() {
        assert_eq!(Messages(&[255; 20]).count(), 0);
        assert_eq!(Messages(&[0; 64]).count(), 0);
        assert_eq!(Attributes(&[0; 64]).count(), 0);
        assert_eq!(Attributes(&[9, 0, 1, 0, 5]).count(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_to_an_end(bytes: Vec<u8>) {
            for message in Messages(&bytes) {
                let _ = message.attributes(8).count();
            }
        }
    }
}
