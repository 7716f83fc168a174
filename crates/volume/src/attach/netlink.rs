//! Encodes and decodes the generic netlink messages that configure the kernel's nbd driver.
//!
//! Source: Linux, `include/uapi/linux/nbd-netlink.h`, `netlink.h` and `genetlink.h`. Numbers are
//! in native byte order.

use rustix::io::Errno;

const HEAD_BYTES: usize = 20;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// Message type `NLMSG_ERROR`, which ends the reply to a request.
const END: u16 = 2;
/// Number of the control family, `GENL_ID_CTRL`.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// Flag of an attribute that contains attributes.
const NESTED: u16 = 1 << 15;
const TYPE_MASK: u16 = !(3 << 14);

mod command {
    pub(super) const CONNECT: u8 = 1;
    pub(super) const DISCONNECT: u8 = 2;
    pub(super) const RECONFIGURE: u8 = 3;
}

mod attribute {
    pub(super) const INDEX: u16 = 1;
    pub(super) const SIZE_BYTES: u16 = 2;
    pub(super) const BLOCK_SIZE_BYTES: u16 = 3;
    pub(super) const SERVER_FLAGS: u16 = 5;
    pub(super) const SOCKETS: u16 = 7;
    pub(super) const DEAD_CONNECTION_TIMEOUT: u16 = 8;
    pub(super) const BACKEND: u16 = 10;
    pub(super) const SOCKET_ITEM: u16 = 1;
    pub(super) const SOCKET_FD: u16 = 1;
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NbdDeviceParameters<'a> {
    /// Descriptor of the connection, after its handshake.
    pub socket: u32,
    pub size_bytes: u64,
    pub block_bytes: u64,
    pub flags: u16,
    /// Time for which the kernel keeps requests that wait for a new connection, seconds.
    pub wait_seconds: u64,
    /// Text that the kernel shows in `/sys/block/nbdN/backend`.
    pub backend: &'a str,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetlinkRequest<'a> {
    Family,
    /// Creates a device with any free number, with these parameters.
    Connect(NbdDeviceParameters<'a>),
    Reconnect(u32, NbdDeviceParameters<'a>),
    Disconnect(u32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NetlinkReply {
    Number(u32),
    Done,
    Refused(Errno),
    Nothing,
}

/// Encodes a request. `family` is the number of the family `nbd`.
pub fn encode(ask: &NetlinkRequest<'_>, family: u16, sequence: u32) -> Vec<u8> {
    let (family, command) = match ask {
        NetlinkRequest::Family => (CONTROL, GET_FAMILY),
        NetlinkRequest::Connect(_) => (family, command::CONNECT),
        NetlinkRequest::Reconnect(..) => (family, command::RECONFIGURE),
        NetlinkRequest::Disconnect(_) => (family, command::DISCONNECT),
    };
    let mut body = Vec::new();
    match ask {
        NetlinkRequest::Family => add(&mut body, FAMILY_NAME, b"nbd\0"),
        NetlinkRequest::Connect(wanted) => wanted.encode(&mut body),
        NetlinkRequest::Reconnect(index, wanted) => {
            add(&mut body, attribute::INDEX, &index.to_ne_bytes());
            wanted.encode(&mut body);
        }
        NetlinkRequest::Disconnect(index) => add(&mut body, attribute::INDEX, &index.to_ne_bytes()),
    }
    let mut message = Vec::with_capacity(HEAD_BYTES + body.len());
    let length = u32::try_from(HEAD_BYTES + body.len()).unwrap_or(0);
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&family.to_ne_bytes());
    message.extend_from_slice(&(REQUEST | ACK).to_ne_bytes());
    message.extend_from_slice(&sequence.to_ne_bytes());
    // Writes netlink port 0, because the kernel knows the sender, then the command and the version
    // number, which is 1 in both families.
    message.extend_from_slice(&0_u32.to_ne_bytes());
    message.extend_from_slice(&[command, 1, 0, 0]);
    message.extend_from_slice(&body);
    message
}

impl NbdDeviceParameters<'_> {
    fn encode(&self, body: &mut Vec<u8>) {
        let mut number = |kind, value: u64| add(body, kind, &value.to_ne_bytes());
        number(attribute::SIZE_BYTES, self.size_bytes);
        number(attribute::BLOCK_SIZE_BYTES, self.block_bytes);
        number(attribute::SERVER_FLAGS, u64::from(self.flags));
        number(attribute::DEAD_CONNECTION_TIMEOUT, self.wait_seconds);
        let (mut socket, mut item) = (Vec::new(), Vec::new());
        add(
            &mut socket,
            attribute::SOCKET_FD,
            &self.socket.to_ne_bytes(),
        );
        add(&mut item, attribute::SOCKET_ITEM | NESTED, &socket);
        add(body, attribute::SOCKETS | NESTED, &item);
        let backend = [self.backend.as_bytes(), b"\0"].concat();
        add(body, attribute::BACKEND, &backend);
    }
}

/// Appends an attribute, padded to a multiple of four bytes.
fn add(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(0);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Decodes the next message; `None` at the end or if it is malformed.
pub fn decode(input: &mut &[u8]) -> Option<NetlinkReply> {
    let bytes = *input;
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let message = bytes.get(..length).filter(|_| length >= 16)?;
    *input = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    let kind = u16::from_ne_bytes(message[4..6].try_into().ok()?);
    if kind == END {
        let error = i32::from_ne_bytes(message.get(16..20)?.try_into().ok()?);
        return Some(match error {
            0 => NetlinkReply::Done,
            error => NetlinkReply::Refused(Errno::from_raw_os_error(error.checked_neg()?)),
        });
    }
    let wanted = match kind {
        CONTROL => FAMILY_ID,
        _ => attribute::INDEX,
    };
    let mut rest = message.get(HEAD_BYTES..)?;
    while let Some(head) = rest.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & TYPE_MASK;
        let value = rest.get(4..length)?;
        if kind == wanted {
            return match value {
                [a, b] => Some(NetlinkReply::Number(u32::from(u16::from_ne_bytes([
                    *a, *b,
                ])))),
                [a, b, c, d] => Some(NetlinkReply::Number(u32::from_ne_bytes([*a, *b, *c, *d]))),
                _ => None,
            };
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(NetlinkReply::Nothing)
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pairs = digits
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).unwrap());
        pairs
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    }

    fn wanted() -> NbdDeviceParameters<'static> {
        NbdDeviceParameters {
            socket: 7,
            size_bytes: 64 << 20,
            block_bytes: 512,
            flags: 0x86d,
            wait_seconds: 60,
            backend: "mail",
        }
    }

    #[test]
    fn requests_are_the_bytes_that_the_header_files_say() {
        // Attributes in this order: size, block size, flags, timeout, sockets { item { descriptor }
        // }, backend.
        let device = "0c000200 0000000400000000 0c000300 0002000000000000 0c000500 6d08000000000000 \
                      0c000800 3c00000000000000 10000780 0c000180 08000100 07000000 \
                      09000a00 6d61696c00000000";
        for (ask, bytes) in [
            (
                NetlinkRequest::Family,
                "1c000000 1000 0500 09000000 00000000 03010000 08000200 6e626400".to_owned(),
            ),
            (
                NetlinkRequest::Connect(wanted()),
                format!("60000000 2100 0500 09000000 00000000 01010000 {device}"),
            ),
            (
                NetlinkRequest::Reconnect(3, wanted()),
                format!("68000000 2100 0500 09000000 00000000 03010000 08000100 03000000 {device}"),
            ),
            (
                NetlinkRequest::Disconnect(3),
                "1c000000 2100 0500 09000000 00000000 02010000 08000100 03000000".to_owned(),
            ),
        ] {
            assert_eq!(encode(&ask, 0x21, 9), hex(&bytes), "{ask:?}");
        }
    }

    #[test]
    fn replies_are_a_number_and_an_end() {
        // Family number, after the family's name; device number; success and error; another
        // attribute.
        let bytes = hex(
            "24000000 1000 0000 09000000 00000000 01020000 08000200 6e626400 06000100 21000000 \
             1c000000 2100 0000 09000000 00000000 01010000 08000100 05000000 \
             24000000 0200 0001 09000000 00000000 00000000 1c000000210005000900000000000000 \
             24000000 0200 0000 09000000 00000000 f0ffffff 1c000000210005000900000000000000 \
             1c000000 2100 0000 09000000 00000000 01010000 08000600 05000000",
        );
        let mut input = bytes.as_slice();
        let told: Vec<NetlinkReply> = std::iter::from_fn(|| decode(&mut input)).collect();
        let expected = [
            NetlinkReply::Number(0x21),
            NetlinkReply::Number(5),
            NetlinkReply::Done,
            NetlinkReply::Refused(Errno::BUSY),
            NetlinkReply::Nothing,
        ];
        assert_eq!(told, expected);
        assert!(input.is_empty());
        for end in 0..bytes.len() {
            // Truncated input neither panics nor loops.
            let mut input = &bytes[..end];
            while decode(&mut input).is_some() {}
            let mut input = &bytes[end..];
            while decode(&mut input).is_some() {}
        }
    }
}
