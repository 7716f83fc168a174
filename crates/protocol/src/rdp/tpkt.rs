//! Reads and builds the TPKT (RFC 1006) and X.224 headers that surround each RDP packet.

use super::reader::{Reader, push_u16_be};
use super::{Pdu, RdpPacketError};

pub(super) const HEAD_BYTES: usize = 4;
/// Maximum length of a Connection Request in bytes: its length field has one byte, of which 255 is
/// reserved.
pub const REQUEST_BYTES_MAX: usize = HEAD_BYTES + 1 + 254;
/// First byte of each packet: the version of TPKT.
const VERSION: u8 = 3;
/// X.224 header of data: its length, DT, end of the unit.
const DATA: [u8; 3] = [2, 0xf0, 0x80];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TpktFrame {
    /// At least this many more bytes are needed: never zero, and never beyond the packet.
    Incomplete { missing_bytes: usize },
    Complete {
        /// Length of the packet with its header.
        packet_bytes: usize,
    },
}

/// Finds the end of the packet at the start of `bytes`.
///
/// # Errors
/// The bytes are not a packet, or it is longer than `max_bytes`.
pub fn frame(bytes: &[u8], max_bytes: usize) -> Result<TpktFrame, RdpPacketError> {
    if let Some(found) = bytes.first().filter(|first| **first != VERSION) {
        return Err(RdpPacketError::NotRdp { found: *found });
    }
    let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else {
        let missing_bytes = HEAD_BYTES - bytes.len();
        return Ok(TpktFrame::Incomplete { missing_bytes });
    };
    let packet_bytes = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if packet_bytes > max_bytes {
        return Err(RdpPacketError::TooLong {
            found_bytes: packet_bytes,
            max_bytes,
        });
    }
    if packet_bytes <= HEAD_BYTES {
        let (pdu, field) = (Pdu::Packet, "length");
        return Err(RdpPacketError::Field { pdu, field });
    }
    Ok(match packet_bytes.checked_sub(bytes.len()) {
        None | Some(0) => TpktFrame::Complete { packet_bytes },
        Some(missing_bytes) => TpktFrame::Incomplete { missing_bytes },
    })
}

/// Returns the variable part of a whole X.224 connection packet with this code, in its high four
/// bits.
///
/// # Errors
/// The bytes are not such a packet.
pub(super) fn connection(packet: &[u8], code: u8, pdu: Pdu) -> Result<Reader<'_>, RdpPacketError> {
    let mut reader = Reader::new(packet, pdu);
    reader.take(HEAD_BYTES)?;
    let length = reader.u8()?;
    if usize::from(length) != reader.rest().len() {
        return Err(reader.invalid("length indicator"));
    }
    let found = reader.u8()?;
    if found & 0xf0 != code {
        return Err(RdpPacketError::OutOfOrder { due: pdu, found });
    }
    // Skips the references, which mean nothing over TCP, and checks the class.
    reader.take(4)?;
    match reader.u8()? & 0xf0 {
        0 => Ok(reader),
        _ => Err(reader.invalid("class")),
    }
}

pub(super) fn push_connection(out: &mut Vec<u8>, code: u8, variable: &[u8]) {
    let length = 6 + variable.len();
    out.extend_from_slice(&[VERSION, 0]);
    push_u16_be(out, HEAD_BYTES + 1 + length);
    out.push(u8::try_from(length).unwrap_or(u8::MAX));
    out.extend_from_slice(&[code, 0, 0, 0, 0, 0]);
    out.extend_from_slice(variable);
}

/// Returns the content of a whole data packet.
///
/// # Errors
/// The bytes are not a data packet.
pub(super) fn data(packet: &[u8], due: Pdu) -> Result<Reader<'_>, RdpPacketError> {
    let mut reader = Reader::new(packet, due);
    reader.take(HEAD_BYTES)?;
    reader.fixed(&DATA, "X.224 head")?;
    Ok(reader)
}

pub(super) fn push_data(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(&[VERSION, 0]);
    push_u16_be(out, HEAD_BYTES + DATA.len() + data.len());
    out.extend_from_slice(&DATA);
    out.extend_from_slice(data);
}
