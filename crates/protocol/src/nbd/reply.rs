//! Builds the replies of an NBD server in the transmission phase. The data of a read is not part of
//! them: the caller writes it after the head that is built here.

use super::{Errno, Session};

pub const SIMPLE_BYTES: usize = 16;
/// Number of bytes before the content of a chunk.
const CHUNK_BYTES: usize = 20;
/// Number of bytes before the data of a read in a structured reply.
pub const DATA_BYTES: usize = CHUNK_BYTES + 8;
pub const EXTENTS_MAX: usize = 1024;

pub(super) const SIMPLE_MAGIC: u32 = 0x6744_6698;
pub(super) const CHUNK_MAGIC: u32 = 0x668e_33ef;
/// Flag of the last chunk of a reply.
pub(super) const DONE: u16 = 1;

/// A part of the data of a read, and whether it ends the reply. Offset and length are in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NbdReadChunk {
    pub offset: u64,
    pub length: u32,
    /// No further chunk of this reply follows. A simple reply has only one.
    pub is_last: bool,
}

pub(super) mod kind {
    pub const NONE: u16 = 0;
    pub const OFFSET_DATA: u16 = 1;
    pub const OFFSET_HOLE: u16 = 2;
    pub const BLOCK_STATUS: u16 = 5;
    pub const IS_ERROR: u16 = 1 << 15;
    pub const ERROR: u16 = IS_ERROR | 1;
}

/// Flag of an unallocated extent in `base:allocation`.
const HOLE: u32 = 1;
pub(super) const ZERO: u32 = 1 << 1;

/// A range of a device, with its length in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    pub length: u32,
    /// The range is unallocated, and reads as zeroes.
    pub hole: bool,
}

/// Appends the reply to a successful request that returns no data.
pub fn done(session: &Session, cookie: u64, out: &mut Vec<u8>) {
    if session.structured {
        chunk(kind::NONE, DONE, cookie, 0, out)
    } else {
        simple(0, cookie, out)
    }
}

pub fn failed(session: &Session, cookie: u64, error: Errno, out: &mut Vec<u8>) {
    if !session.structured {
        return simple(error as u32, cookie, out);
    }
    let words = error.words().as_bytes();
    let length = u16::try_from(words.len()).unwrap_or(0);
    chunk(kind::ERROR, DONE, cookie, 6 + u32::from(length), out);
    out.extend_from_slice(&(error as u32).to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&words[..usize::from(length)]);
}

/// Appends the head of a part of a read's reply; the caller appends the data. With simple replies,
/// the only part is the whole.
pub fn data(session: &Session, cookie: u64, piece: NbdReadChunk, out: &mut Vec<u8>) {
    if !session.structured {
        return simple(0, cookie, out);
    }
    let length = piece.length.saturating_add(8);
    chunk(kind::OFFSET_DATA, piece.flags(), cookie, length, out);
    out.extend_from_slice(&piece.offset.to_be_bytes());
}

/// Appends a part of a read's reply that is all zeroes, without data. Returns false with simple
/// replies, which need the data.
#[must_use]
pub fn hole(session: &Session, cookie: u64, piece: NbdReadChunk, out: &mut Vec<u8>) -> bool {
    if session.structured {
        chunk(kind::OFFSET_HOLE, piece.flags(), cookie, 12, out);
        out.extend_from_slice(&piece.offset.to_be_bytes());
        out.extend_from_slice(&piece.length.to_be_bytes());
    }
    session.structured
}

/// Appends the reply to a block status request, with at most [`EXTENTS_MAX`] extents. There must be
/// at least one extent; equal neighbours must have been joined.
pub fn status(cookie: u64, extents: &[Extent], out: &mut Vec<u8>) {
    let extents = &extents[..extents.len().min(EXTENTS_MAX)];
    let length = u32::try_from(4 + extents.len() * 8).unwrap_or(4);
    chunk(kind::BLOCK_STATUS, DONE, cookie, length, out);
    out.extend_from_slice(&Session::ALLOCATION_ID.to_be_bytes());
    for extent in extents {
        out.extend_from_slice(&extent.length.to_be_bytes());
        let flags = if extent.hole { HOLE | ZERO } else { 0 };
        out.extend_from_slice(&flags.to_be_bytes());
    }
}

fn simple(error: u32, cookie: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&SIMPLE_MAGIC.to_be_bytes());
    out.extend_from_slice(&error.to_be_bytes());
    out.extend_from_slice(&cookie.to_be_bytes());
}

impl NbdReadChunk {
    fn flags(self) -> u16 {
        if self.is_last { DONE } else { 0 }
    }
}

fn chunk(kind: u16, flags: u16, cookie: u64, length: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&CHUNK_MAGIC.to_be_bytes());
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&cookie.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
}
