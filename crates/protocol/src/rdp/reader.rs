//! Reads the bytes of an RDP packet field by field.

use super::{Pdu, RdpPacketError};

/// Unparsed rest of a PDU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    pdu: Pdu,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], pdu: Pdu) -> Reader<'a> {
        Reader { bytes, pdu }
    }

    /// Returns a reader of the same bytes that reports errors for another PDU.
    pub(super) fn within(self, pdu: Pdu) -> Reader<'a> {
        Reader { pdu, ..self }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn invalid(&self, field: &'static str) -> RdpPacketError {
        let pdu = self.pdu;
        RdpPacketError::Field { pdu, field }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], RdpPacketError> {
        let pdu = self.pdu;
        let taken = self.bytes.split_at_checked(length);
        let (taken, rest) = taken.ok_or(RdpPacketError::Truncated { pdu })?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(super) fn part(&mut self, length: usize) -> Result<Reader<'a>, RdpPacketError> {
        Ok(Reader::new(self.take(length)?, self.pdu))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RdpPacketError> {
        let pdu = self.pdu;
        let taken = self.take(N)?;
        taken
            .try_into()
            .map_err(|_| RdpPacketError::Truncated { pdu })
    }

    pub(super) fn u8(&mut self) -> Result<u8, RdpPacketError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16_be(&mut self) -> Result<u16, RdpPacketError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u16_le(&mut self) -> Result<u16, RdpPacketError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32_le(&mut self) -> Result<u32, RdpPacketError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Skips bytes that must have a fixed value.
    pub(super) fn fixed(
        &mut self,
        bytes: &[u8],
        field: &'static str,
    ) -> Result<(), RdpPacketError> {
        if self.take(bytes.len())? == bytes {
            Ok(())
        } else {
            Err(self.invalid(field))
        }
    }

    /// Parses a BER length in the definite form, of at most three bytes.
    pub(super) fn ber_length(&mut self) -> Result<usize, RdpPacketError> {
        match self.u8()? {
            short @ 0..=0x7f => Ok(short.into()),
            0x81 => Ok(self.u8()?.into()),
            0x82 => Ok(self.u16_be()?.into()),
            _ => Err(self.invalid("length")),
        }
    }

    pub(super) fn ber(
        &mut self,
        tag: u8,
        field: &'static str,
    ) -> Result<Reader<'a>, RdpPacketError> {
        self.fixed(&[tag], field)?;
        let length = self.ber_length()?;
        self.part(length)
    }

    pub(super) fn per_length(&mut self) -> Result<usize, RdpPacketError> {
        match self.u8()? {
            short @ 0..=0x7f => Ok(short.into()),
            long @ 0x80..=0xbf => {
                let low = self.u8()?;
                Ok(usize::from(long & 0x3f) << 8 | usize::from(low))
            }
            // Refuses a fragment of a packet, which no RDP client sends.
            _ => Err(self.invalid("length")),
        }
    }
}

/// Appends a BER length in the two-byte form.
pub(super) fn push_ber_length(out: &mut Vec<u8>, length: usize) {
    out.push(0x82);
    push_u16_be(out, length);
}

/// Appends a length in aligned PER in the two-byte form. Our lengths are all below 16 KiB.
pub(super) fn push_per_length(out: &mut Vec<u8>, length: usize) {
    push_u16_be(out, length & 0x3fff | 0x8000);
}

pub(super) fn push_u16_be(out: &mut Vec<u8>, value: usize) {
    let value = u16::try_from(value).unwrap_or(u16::MAX);
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn push_u16_le(out: &mut Vec<u8>, value: usize) {
    let value = u16::try_from(value).unwrap_or(u16::MAX);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Decodes UTF-16 up to the first zero; None if it is invalid.
pub(super) fn utf16(bytes: &[u8]) -> Option<String> {
    let (units, odd) = bytes.as_chunks::<2>();
    let units = units.iter().map(|pair| u16::from_le_bytes(*pair));
    let text: Result<String, _> = char::decode_utf16(units.take_while(|unit| *unit != 0)).collect();
    text.ok().filter(|_| odd.is_empty())
}
