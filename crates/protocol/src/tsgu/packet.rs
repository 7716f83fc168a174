//! Parses the packets that the client of a remote desktop gateway sends.

use std::fmt;

/// Maximum length of a packet in bytes: data of the maximum length.
pub const PACKET_BYTES_MAX: usize = HEAD_BYTES + 2 + u16::MAX as usize;
const HEAD_BYTES: usize = 8;
/// Maximum number of host names that a client may send.
const NAMES_MAX: usize = 16;
/// Maximum length in bytes of a host name, and of the client's name.
const NAME_BYTES_MAX: usize = 1_024;
/// Field flag of a tunnel with a cookie.
const FIELD_COOKIE: u16 = 0x1;
const FIELD_REAUTH: u16 = 0x2;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet {
    /// First packet, with the version and the bits of the extended authentication.
    Handshake {
        /// Major version, which must be 1.
        major: u8,
        /// Authentication method within the protocol; 0: the client has authenticated in HTTP.
        authentication: u16,
    },
    /// Authentication within the protocol, which this side never offers.
    ExtendedAuthentication,
    TunnelCreate {
        capabilities: u32,
        cookie: Option<String>,
        /// Id of the tunnel that this one re-authenticates.
        reauthenticates: Option<u64>,
    },
    TunnelAuthorise {
        machine: String,
    },
    ChannelCreate {
        /// Names of the host, in the client's order.
        names: Vec<String>,
        port: u16,
    },
    Data(Vec<u8>),
    KeepAlive,
    Close,
    /// Response to the end of a channel.
    Closed,
}

/// Type of a packet, for messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TsguPacketType(pub(super) u16);

impl TsguPacketType {
    pub(super) const HANDSHAKE: TsguPacketType = TsguPacketType(0x1);
    pub(super) const HANDSHAKE_RESPONSE: TsguPacketType = TsguPacketType(0x2);
    pub(super) const EXTENDED_AUTHENTICATION: TsguPacketType = TsguPacketType(0x3);
    pub(super) const TUNNEL_CREATE: TsguPacketType = TsguPacketType(0x4);
    pub(super) const TUNNEL_RESPONSE: TsguPacketType = TsguPacketType(0x5);
    pub(super) const TUNNEL_AUTHORISE: TsguPacketType = TsguPacketType(0x6);
    pub(super) const TUNNEL_AUTHORISE_RESPONSE: TsguPacketType = TsguPacketType(0x7);
    pub(super) const CHANNEL_CREATE: TsguPacketType = TsguPacketType(0x8);
    pub(super) const CHANNEL_RESPONSE: TsguPacketType = TsguPacketType(0x9);
    pub(super) const DATA: TsguPacketType = TsguPacketType(0xa);
    pub(super) const REAUTHENTICATE: TsguPacketType = TsguPacketType(0xc);
    pub(super) const KEEP_ALIVE: TsguPacketType = TsguPacketType(0xd);
    pub(super) const CLOSE: TsguPacketType = TsguPacketType(0x10);
    pub(super) const CLOSED: TsguPacketType = TsguPacketType(0x11);
}

impl fmt::Display for TsguPacketType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            TsguPacketType::HANDSHAKE => "handshake request",
            TsguPacketType::HANDSHAKE_RESPONSE => "handshake response",
            TsguPacketType::EXTENDED_AUTHENTICATION => "extended authentication",
            TsguPacketType::TUNNEL_CREATE => "tunnel request",
            TsguPacketType::TUNNEL_RESPONSE => "tunnel response",
            TsguPacketType::TUNNEL_AUTHORISE => "tunnel authorisation request",
            TsguPacketType::TUNNEL_AUTHORISE_RESPONSE => "tunnel authorisation response",
            TsguPacketType::CHANNEL_CREATE => "channel request",
            TsguPacketType::CHANNEL_RESPONSE => "channel response",
            TsguPacketType::DATA => "data packet",
            TsguPacketType::REAUTHENTICATE => "reauthentication request",
            TsguPacketType::KEEP_ALIVE => "keep-alive packet",
            TsguPacketType::CLOSE => "close request",
            TsguPacketType::CLOSED => "close response",
            TsguPacketType(other) => return write!(out, "packet of type {other:#x}"),
        };
        out.write_str(name)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TsguPacketError {
    #[error("a {kind} of {bytes} bytes; 8 to {PACKET_BYTES_MAX} are allowed")]
    Length { kind: TsguPacketType, bytes: u32 },
    /// The fields of the packet need more bytes than it has, or fewer.
    #[error("the fields of the {kind} do not match its length")]
    Fields { kind: TsguPacketType },
    #[error("the {kind} has an invalid {field}")]
    Field {
        kind: TsguPacketType,
        /// Name of the field in the specification.
        field: &'static str,
    },
    /// A client never sends this packet, or not now.
    #[error("unexpected {kind}")]
    OutOfOrder { kind: TsguPacketType },
}

/// Splits a stream of bytes into packets.
#[derive(Debug, Default)]
pub struct Packets {
    bytes: Vec<u8>,
    /// Number of bytes at the front of the buffer that belong to packets already returned.
    taken: usize,
}

impl Packets {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next packet; None if it is incomplete.
    ///
    /// # Errors
    /// The stream is invalid from here on.
    pub fn take(&mut self) -> Result<Option<Packet>, TsguPacketError> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some((head, _)) = rest.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let [a, b, _, _, length @ ..] = *head;
        let kind = TsguPacketType(u16::from_le_bytes([a, b]));
        let bytes = u32::from_le_bytes(length);
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        if !(HEAD_BYTES..=PACKET_BYTES_MAX).contains(&length) {
            return Err(TsguPacketError::Length { kind, bytes });
        }
        let Some(packet) = rest.get(HEAD_BYTES..length) else {
            return Ok(None);
        };
        let packet = Packet::decode(kind, packet)?;
        self.taken += length;
        Ok(Some(packet))
    }
}

struct Fields<'a> {
    bytes: &'a [u8],
    kind: TsguPacketType,
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], TsguPacketError> {
        let kind = self.kind;
        let taken = self.bytes.split_at_checked(length);
        let (taken, rest) = taken.ok_or(TsguPacketError::Fields { kind })?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TsguPacketError> {
        let kind = self.kind;
        let taken = self.take(N)?;
        taken
            .try_into()
            .map_err(|_| TsguPacketError::Fields { kind })
    }

    fn u8(&mut self) -> Result<u8, TsguPacketError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, TsguPacketError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, TsguPacketError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Parses a UTF-16 text behind its length, without the terminating zero.
    fn text(&mut self, bytes_max: usize, field: &'static str) -> Result<String, TsguPacketError> {
        let kind = self.kind;
        let invalid = TsguPacketError::Field { kind, field };
        let length = usize::from(self.u16()?);
        let (units, odd) = self.take(length)?.as_chunks::<2>();
        if !odd.is_empty() || length > bytes_max {
            return Err(invalid);
        }
        let units = units.iter().map(|pair| u16::from_le_bytes(*pair));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        let text = text.map_err(|_| invalid)?;
        let text = text.trim_end_matches('\0');
        if text.contains('\0') {
            Err(invalid)
        } else {
            Ok(text.to_owned())
        }
    }

    fn end(&self) -> Result<(), TsguPacketError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(TsguPacketError::Fields { kind: self.kind })
        }
    }
}

impl Packet {
    fn decode(kind: TsguPacketType, bytes: &[u8]) -> Result<Packet, TsguPacketError> {
        let mut fields = Fields { bytes, kind };
        let packet = match kind {
            TsguPacketType::HANDSHAKE => {
                let [major, _minor] = fields.array()?;
                let _client_version = fields.u16()?;
                let authentication = fields.u16()?;
                Packet::Handshake {
                    major,
                    authentication,
                }
            }
            // Ignores the content, because this authentication is never offered.
            TsguPacketType::EXTENDED_AUTHENTICATION => return Ok(Packet::ExtendedAuthentication),
            TsguPacketType::TUNNEL_CREATE => tunnel_create(&mut fields)?,
            TsguPacketType::TUNNEL_AUTHORISE => {
                let present = fields.u16()?;
                let machine = fields.text(NAME_BYTES_MAX, "clientName")?;
                // Skips a statement of health, which was not requested.
                if present & 1 != 0 {
                    let length = fields.u16()?;
                    fields.take(length.into())?;
                }
                Packet::TunnelAuthorise { machine }
            }
            TsguPacketType::CHANNEL_CREATE => channel_create(&mut fields)?,
            TsguPacketType::DATA => {
                let length = fields.u16()?;
                Packet::Data(fields.take(length.into())?.to_vec())
            }
            TsguPacketType::KEEP_ALIVE => Packet::KeepAlive,
            TsguPacketType::CLOSE => {
                fields.u32()?;
                Packet::Close
            }
            TsguPacketType::CLOSED => {
                fields.u32()?;
                Packet::Closed
            }
            _ => return Err(TsguPacketError::OutOfOrder { kind }),
        };
        fields.end()?;
        Ok(packet)
    }

    pub(super) fn kind(&self) -> TsguPacketType {
        match self {
            Packet::Handshake { .. } => TsguPacketType::HANDSHAKE,
            Packet::ExtendedAuthentication => TsguPacketType::EXTENDED_AUTHENTICATION,
            Packet::TunnelCreate { .. } => TsguPacketType::TUNNEL_CREATE,
            Packet::TunnelAuthorise { .. } => TsguPacketType::TUNNEL_AUTHORISE,
            Packet::ChannelCreate { .. } => TsguPacketType::CHANNEL_CREATE,
            Packet::Data(_) => TsguPacketType::DATA,
            Packet::KeepAlive => TsguPacketType::KEEP_ALIVE,
            Packet::Close => TsguPacketType::CLOSE,
            Packet::Closed => TsguPacketType::CLOSED,
        }
    }
}

fn tunnel_create(fields: &mut Fields<'_>) -> Result<Packet, TsguPacketError> {
    let capabilities = fields.u32()?;
    let present = fields.u16()?;
    let _reserved = fields.u16()?;
    let reauthenticates = match present & FIELD_REAUTH {
        0 => None,
        _ => Some(fields.array().map(u64::from_le_bytes)?),
    };
    let cookie = match present & FIELD_COOKIE {
        0 => None,
        _ => Some(fields.text(u16::MAX.into(), "PAACookie")?),
    };
    Ok(Packet::TunnelCreate {
        capabilities,
        cookie,
        reauthenticates,
    })
}

fn channel_create(fields: &mut Fields<'_>) -> Result<Packet, TsguPacketError> {
    let (resources, others) = (fields.u8()?, fields.u8()?);
    let port = fields.u16()?;
    let _protocol = fields.u16()?;
    let count = usize::from(resources) + usize::from(others);
    if resources == 0 || count > NAMES_MAX {
        return Err(TsguPacketError::Field {
            kind: fields.kind,
            field: "numResources",
        });
    }
    let names: Result<Vec<String>, _> = (0..count)
        .map(|_| fields.text(NAME_BYTES_MAX, "resource"))
        .collect();
    Ok(Packet::ChannelCreate {
        names: names?,
        port,
    })
}
