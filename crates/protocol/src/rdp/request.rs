//! Encodes and decodes the X.224 Connection Request of RDP ([MS-RDPBCGR] 2.2.1.1): the only
//! message that a client sends unencrypted.

use super::reader::Reader;
use super::tpkt;
use super::{Pdu, RdpPacketError};

const CODE: u8 = 0xe0;
/// Type of the structure `RDP_NEG_REQ`.
const NEGOTIATION: u8 = 1;
const NEGOTIATION_BYTES: usize = 8;
/// Type of the structure `RDP_NEG_CORRELATION_INFO`.
const CORRELATION: u8 = 6;
const CORRELATION_BYTES: usize = 36;
const HAS_CORRELATION: u8 = 8;
const COOKIE: &[u8] = b"Cookie: mstshash=";
const END: &[u8] = b"\r\n";

/// Bit of `requestedProtocols` that stands for TLS.
pub const SSL: u32 = 1;
/// Bit of `requestedProtocols`: CredSSP, which is NLA.
pub const HYBRID: u32 = 2;
/// Bit of `requestedProtocols`: CredSSP with an early result.
pub const HYBRID_EX: u32 = 8;
/// Flag: the client does not send its password to a server (Restricted Admin).
pub const RESTRICTED_ADMIN: u8 = 1;
/// Flag: the client authenticates by way of its own machine (Remote Credential Guard).
pub const REDIRECTED_AUTHENTICATION: u8 = 2;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Routing {
    None,
    /// Cookie `mstshash`: the beginning of a user's name, which mstsc truncates to nine characters.
    Hint(String),
    /// Routing token without its CR LF: the `loadbalanceinfo` of a `.rdp` file, or of a
    /// redirection.
    Token(Vec<u8>),
}

/// Security protocols that a client supports (`RDP_NEG_REQ`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NegotiationRequest {
    /// Flags of the request, such as [`RESTRICTED_ADMIN`].
    pub flags: u8,
    /// Protocols such as [`SSL`]; zero: RDP's own encryption.
    pub protocols: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionRequest {
    pub routing: Routing,
    /// Supported security protocols; None: a client that is older than the negotiation.
    pub negotiation: Option<NegotiationRequest>,
}

impl ConnectionRequest {
    /// Parses a whole packet.
    ///
    /// # Errors
    /// The packet is not a Connection Request.
    pub fn decode(packet: &[u8]) -> Result<ConnectionRequest, RdpPacketError> {
        let mut reader = tpkt::connection(packet, CODE, Pdu::ConnectionRequest)?;
        let rest = reader.rest();
        // Recognizes a negotiation without routing by its first byte and length, which no token has
        // together. A correlation identifier may contain the CR LF that ends a token.
        let is_negotiation = rest.first() == Some(&NEGOTIATION)
            && [NEGOTIATION_BYTES, NEGOTIATION_BYTES + CORRELATION_BYTES].contains(&rest.len());
        let routing = if rest.is_empty() || is_negotiation {
            Routing::None
        } else {
            routing(&mut reader)?
        };
        let negotiation = if reader.is_empty() {
            None
        } else {
            Some(negotiation(&mut reader)?)
        };
        Ok(ConnectionRequest {
            routing,
            negotiation,
        })
    }

    /// Returns whether the client would accept TLS alone, so that a man in the middle could read
    /// its credentials.
    pub fn takes_tls(&self) -> bool {
        self.negotiation.is_some_and(|negotiation| {
            let is_guarded =
                negotiation.flags & (RESTRICTED_ADMIN | REDIRECTED_AUTHENTICATION) != 0;
            negotiation.protocols & SSL != 0 && !is_guarded
        })
    }

    /// Encodes the packet. A token or hint that does not fit into a request is truncated.
    pub fn encode(&self) -> Vec<u8> {
        let mut variable = Vec::new();
        match &self.routing {
            Routing::None => {}
            Routing::Hint(name) => {
                variable.extend_from_slice(COOKIE);
                variable.extend_from_slice(name.as_bytes());
            }
            Routing::Token(token) => variable.extend_from_slice(token),
        }
        if self.routing != Routing::None {
            variable.truncate(super::REQUEST_BYTES_MAX - 11 - NEGOTIATION_BYTES - END.len());
            variable.extend_from_slice(END);
        }
        if let Some(NegotiationRequest { flags, protocols }) = self.negotiation {
            let flags = flags & !HAS_CORRELATION;
            variable.extend_from_slice(&[NEGOTIATION, flags, NEGOTIATION_BYTES as u8, 0]);
            variable.extend_from_slice(&protocols.to_le_bytes());
        }
        let mut packet = Vec::with_capacity(super::REQUEST_BYTES_MAX);
        tpkt::push_connection(&mut packet, CODE, &variable);
        packet
    }
}

fn routing(reader: &mut Reader<'_>) -> Result<Routing, RdpPacketError> {
    let rest = reader.rest();
    let end = rest.windows(END.len()).position(|pair| pair == END);
    let end = end.ok_or_else(|| reader.invalid("routing token without its end"))?;
    let token = reader.take(end)?;
    reader.take(END.len())?;
    Ok(match token.strip_prefix(COOKIE) {
        Some(name) => Routing::Hint(String::from_utf8_lossy(name).into_owned()),
        None => Routing::Token(token.to_vec()),
    })
}

fn negotiation(reader: &mut Reader<'_>) -> Result<NegotiationRequest, RdpPacketError> {
    if reader.u8()? != NEGOTIATION {
        return Err(reader.invalid("type of negotiation"));
    }
    let flags = reader.u8()?;
    if usize::from(reader.u16_le()?) != NEGOTIATION_BYTES {
        return Err(reader.invalid("length of the negotiation"));
    }
    let protocols = reader.u32_le()?;
    if flags & HAS_CORRELATION != 0 {
        reader.fixed(&[CORRELATION], "type of correlation")?;
        reader.take(CORRELATION_BYTES - 1)?;
    }
    if reader.is_empty() {
        Ok(NegotiationRequest { flags, protocols })
    } else {
        Err(reader.invalid("end"))
    }
}
