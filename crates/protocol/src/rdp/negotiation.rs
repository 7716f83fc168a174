//! Encodes and decodes the X.224 Connection Confirm of RDP ([MS-RDPBCGR] 2.2.1.2), in which the
//! server selects the security protocol.

use super::tpkt;
use super::{Pdu, RdpPacketError};

const CODE: u8 = 0xd0;
/// Type of the structure `RDP_NEG_RSP`.
const RESPONSE: u8 = 2;
const FAILURE: u8 = 3;
const BYTES: u8 = 8;

pub const FAILED_SSL_REQUIRED: u32 = 1;
pub const FAILED_HYBRID_REQUIRED: u32 = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Negotiated {
    /// The server supports RDP's own encryption only, and names no protocol.
    Unsaid,
    Selected {
        /// Further capabilities of the server.
        flags: u8,
        /// Selected protocol, one of those requested.
        protocol: u32,
    },
    Failed {
        /// Failure code such as [`FAILED_SSL_REQUIRED`].
        code: u32,
    },
}

impl Negotiated {
    pub fn encode(&self) -> Vec<u8> {
        let mut variable = Vec::new();
        let (kind, flags, value) = match *self {
            Negotiated::Unsaid => (0, 0, 0),
            Negotiated::Selected { flags, protocol } => (RESPONSE, flags, protocol),
            Negotiated::Failed { code } => (FAILURE, 0, code),
        };
        if kind != 0 {
            variable.extend_from_slice(&[kind, flags, BYTES, 0]);
            variable.extend_from_slice(&value.to_le_bytes());
        }
        let mut packet = Vec::new();
        tpkt::push_connection(&mut packet, CODE, &variable);
        packet
    }

    /// Parses a whole packet.
    ///
    /// # Errors
    /// The packet is not a Connection Confirm.
    pub fn decode(packet: &[u8]) -> Result<Negotiated, RdpPacketError> {
        let mut reader = tpkt::connection(packet, CODE, Pdu::ConnectionConfirm)?;
        if reader.is_empty() {
            return Ok(Negotiated::Unsaid);
        }
        let (kind, flags) = (reader.u8()?, reader.u8()?);
        reader.fixed(&[BYTES, 0], "length of the negotiation")?;
        let value = reader.u32_le()?;
        match kind {
            _ if !reader.is_empty() => Err(reader.invalid("end")),
            RESPONSE => Ok(Negotiated::Selected {
                flags,
                protocol: value,
            }),
            FAILURE => Ok(Negotiated::Failed { code: value }),
            _ => Err(reader.invalid("type of negotiation")),
        }
    }
}
