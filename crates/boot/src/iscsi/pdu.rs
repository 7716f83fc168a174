//! Encodes and decodes the basic header segment (48 bytes) of iSCSI PDUs, and writes PDUs with
//! their data segment (RFC 7143, section 11).

use std::io::{self, Write};

pub const HEADER_BYTES: usize = 48;
/// Longest data segment that an initiator may send, bytes: MaxRecvDataSegmentLength.
pub const DATA_BYTES_MAX: usize = 256 << 10;
/// Longest data segment during the login, bytes (RFC 7143, 13.12).
pub const LOGIN_BYTES_MAX: usize = 8 << 10;
pub const NO_TAG: u32 = 0xffff_ffff;
pub const FINAL: u8 = 0x80;

/// Opcodes: the first byte of a PDU without the flag for immediate delivery.
pub mod opcode {
    #![allow(missing_docs, reason = "the names of RFC 7143, section 11.2.1.2")]
    pub const NOP_OUT: u8 = 0x00;
    pub const COMMAND: u8 = 0x01;
    pub const TASK: u8 = 0x02;
    pub const LOGIN: u8 = 0x03;
    pub const TEXT: u8 = 0x04;
    pub const DATA_OUT: u8 = 0x05;
    pub const LOGOUT: u8 = 0x06;
    pub const NOP_IN: u8 = 0x20;
    pub const RESPONSE: u8 = 0x21;
    pub const TASK_RESPONSE: u8 = 0x22;
    pub const LOGIN_RESPONSE: u8 = 0x23;
    pub const TEXT_RESPONSE: u8 = 0x24;
    pub const DATA_IN: u8 = 0x25;
    pub const LOGOUT_RESPONSE: u8 = 0x26;
    pub const R2T: u8 = 0x31;
    pub const REJECT: u8 = 0x3f;
}

/// Basic header segment (BHS) of a PDU: 48 bytes, not yet checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header(pub [u8; HEADER_BYTES]);

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pdu {
    pub header: Header,
    pub data: Vec<u8>,
}

/// Reason why a connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum IscsiError {
    #[error("the initiator breaks the protocol: {0}")]
    Protocol(&'static str),
    #[error("the disk is out of reach")]
    Away,
    #[error("the session has ended")]
    Ended,
    #[error(transparent)]
    Connection(#[from] io::Error),
}

impl Header {
    pub fn opcode(&self) -> u8 {
        self.0[0] & 0x3f
    }

    /// Returns whether the PDU is for immediate delivery and does not use up a CmdSN.
    pub fn is_immediate(&self) -> bool {
        self.0[0] & 0x40 != 0
    }

    /// Returns the flags, whose meaning depends on the opcode.
    pub fn flags(&self) -> u8 {
        self.0[1]
    }

    pub fn is_final(&self) -> bool {
        self.0[1] & FINAL != 0
    }

    /// Returns the big-endian number in the four bytes at an offset, or 0 beyond the end of the
    /// header.
    pub fn word(&self, at: usize) -> u32 {
        let bytes = self.0.get(at..at + 4);
        bytes.map_or(0, |bytes| {
            bytes
                .iter()
                .fold(0, |all, byte| all << 8 | u32::from(*byte))
        })
    }

    pub fn tag(&self) -> u32 {
        self.word(16)
    }

    /// Returns the LUN field, unparsed.
    pub fn lun(&self) -> u64 {
        u64::from(self.word(8)) << 32 | u64::from(self.word(12))
    }

    pub fn further_bytes(&self) -> usize {
        usize::from(self.0[4]) * 4
    }

    pub fn data_bytes(&self) -> usize {
        (self.word(4) & 0x00ff_ffff) as usize
    }

    /// Returns how many bytes follow the header: additional header segments, data and its
    /// padding.
    ///
    /// # Errors
    ///
    /// The data is longer than `max`.
    pub fn rest_bytes(&self, max: usize) -> Result<usize, IscsiError> {
        match self.data_bytes() {
            data if data > max => Err(IscsiError::Protocol("a data segment that is too long")),
            data => Ok(self.further_bytes() + data.next_multiple_of(4)),
        }
    }

    /// Builds the PDU from the header and the bytes after it, without additional header segments
    /// and padding. None: there are fewer bytes than the header announces.
    pub fn with(self, mut rest: Vec<u8>) -> Option<Pdu> {
        let start = self.further_bytes();
        if rest.len() < start + self.data_bytes() {
            return None;
        }
        rest.drain(..start);
        rest.truncate(self.data_bytes());
        Some(Pdu {
            header: self,
            data: rest,
        })
    }
}

/// Header of a response that is being built.
#[derive(Clone, Debug)]
pub struct IscsiResponseHeader([u8; HEADER_BYTES]);

impl IscsiResponseHeader {
    pub fn new(opcode: u8, flags: u8) -> IscsiResponseHeader {
        let mut bytes = [0; HEADER_BYTES];
        (bytes[0], bytes[1]) = (opcode, flags);
        IscsiResponseHeader(bytes)
    }

    #[must_use]
    pub fn byte(mut self, at: usize, value: u8) -> IscsiResponseHeader {
        self.0[at] = value;
        self
    }

    #[must_use]
    pub fn same(mut self, of: &Header, range: std::ops::Range<usize>) -> IscsiResponseHeader {
        self.0[range.clone()].copy_from_slice(&of.0[range]);
        self
    }

    #[must_use]
    pub fn word(mut self, at: usize, value: u32) -> IscsiResponseHeader {
        self.0[at..at + 4].copy_from_slice(&value.to_be_bytes());
        self
    }

    /// Writes the PDU with its data segment.
    ///
    /// # Errors
    ///
    /// The connection fails.
    pub fn write(mut self, data: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let length = u32::try_from(data.len()).unwrap_or(0).to_be_bytes();
        self.0[5..8].copy_from_slice(&length[1..]);
        let padding = data.len().next_multiple_of(4) - data.len();
        out.write_all(&self.0)?;
        out.write_all(data)?;
        out.write_all(&[0; 4][..padding])
    }
}
