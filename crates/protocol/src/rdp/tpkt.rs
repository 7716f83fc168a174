//! TPKT (RFC 1006) and the head of X.224: what is around each packet.

use super::reader::{Reader, push_u16_be};
use super::{Malformed, Pdu};

/// Bytes of the head of a TPKT.
pub(super) const HEAD_BYTES: usize = 4;
/// The longest Connection Request: its length has one byte, of which 255 is reserved.
pub const REQUEST_BYTES_MAX: usize = HEAD_BYTES + 1 + 254;
/// The first byte of each packet: the version of TPKT.
const VERSION: u8 = 3;
/// The X.224 head of data: its length, DT, the end of the unit.
const DATA: [u8; 3] = [2, 0xf0, 0x80];

/// How far a packet has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// At least so many more bytes are needed, never zero and never beyond the packet.
    Incomplete {
        /// How many bytes are missing at least.
        missing_bytes: usize,
    },
    /// The packet is whole.
    Complete {
        /// Its length with its head.
        packet_bytes: usize,
    },
}

/// Finds the end of the packet at the beginning of `bytes`.
///
/// # Errors
/// No packet begins so, or it is longer than `max_bytes`.
pub fn frame(bytes: &[u8], max_bytes: usize) -> Result<Frame, Malformed> {
    if let Some(found) = bytes.first().filter(|first| **first != VERSION) {
        return Err(Malformed::NotRdp { found: *found });
    }
    let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else {
        let missing_bytes = HEAD_BYTES - bytes.len();
        return Ok(Frame::Incomplete { missing_bytes });
    };
    let packet_bytes = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if packet_bytes > max_bytes {
        return Err(Malformed::TooLong {
            found_bytes: packet_bytes,
            max_bytes,
        });
    }
    if packet_bytes <= HEAD_BYTES {
        let (pdu, field) = (Pdu::Packet, "length");
        return Err(Malformed::Field { pdu, field });
    }
    Ok(match packet_bytes.checked_sub(bytes.len()) {
        None | Some(0) => Frame::Complete { packet_bytes },
        Some(missing_bytes) => Frame::Incomplete { missing_bytes },
    })
}

/// The variable part of a whole packet of X.224's connection phase with this code, in its high four bits.
///
/// # Errors
/// The bytes are not such a packet.
pub(super) fn connection(packet: &[u8], code: u8, pdu: Pdu) -> Result<Reader<'_>, Malformed> {
    let mut reader = Reader::new(packet, pdu);
    reader.take(HEAD_BYTES)?;
    let length = reader.u8()?;
    if usize::from(length) != reader.rest().len() {
        return Err(reader.invalid("length indicator"));
    }
    let found = reader.u8()?;
    if found & 0xf0 != code {
        return Err(Malformed::OutOfOrder { due: pdu, found });
    }
    // References, which mean nothing over TCP, and the class.
    reader.take(4)?;
    match reader.u8()? & 0xf0 {
        0 => Ok(reader),
        _ => Err(reader.invalid("class")),
    }
}

/// Appends a packet of X.224's connection phase.
pub(super) fn push_connection(out: &mut Vec<u8>, code: u8, variable: &[u8]) {
    let length = 6 + variable.len();
    out.extend_from_slice(&[VERSION, 0]);
    push_u16_be(out, HEAD_BYTES + 1 + length);
    out.push(u8::try_from(length).unwrap_or(u8::MAX));
    out.extend_from_slice(&[code, 0, 0, 0, 0, 0]);
    out.extend_from_slice(variable);
}

/// What a whole packet of data has.
///
/// # Errors
/// It is none.
pub(super) fn data(packet: &[u8], due: Pdu) -> Result<Reader<'_>, Malformed> {
    let mut reader = Reader::new(packet, due);
    reader.take(HEAD_BYTES)?;
    reader.fixed(&DATA, "X.224 head")?;
    Ok(reader)
}

/// Appends a packet of data.
pub(super) fn push_data(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(&[VERSION, 0]);
    push_u16_be(out, HEAD_BYTES + DATA.len() + data.len());
    out.extend_from_slice(&DATA);
    out.extend_from_slice(data);
}
