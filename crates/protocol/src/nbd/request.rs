//! Requests of the transmission, and whether an export can do them.

use super::{Errno, Export, Fault, PAYLOAD_BYTES_MAX, take_u16, take_u32, take_u64};

/// The name of the metadata context that is offered (`doc/proto.md`: `base:allocation`).
pub const ALLOCATION: &str = "base:allocation";
/// Bytes of a request without its payload.
pub const REQUEST_BYTES: usize = 28;

pub(super) const REQUEST_MAGIC: u32 = 0x2560_9513;

/// Flags of a request.
mod flag {
    pub(super) const FUA: u16 = 1;
    pub(super) const NO_HOLE: u16 = 1 << 1;
    pub(super) const DF: u16 = 1 << 2;
    pub(super) const REQ_ONE: u16 = 1 << 3;
    pub(super) const FAST_ZERO: u16 = 1 << 4;
}

/// Transmission flags: what an export offers.
pub(super) mod offers {
    pub const HAS_FLAGS: u16 = 1;
    pub const READ_ONLY: u16 = 1 << 1;
    pub const FLUSH: u16 = 1 << 2;
    pub const FUA: u16 = 1 << 3;
    pub const TRIM: u16 = 1 << 5;
    pub const WRITE_ZEROES: u16 = 1 << 6;
    pub const DF: u16 = 1 << 7;
    pub const MULTI_CONN: u16 = 1 << 8;
    pub const CACHE: u16 = 1 << 10;
    pub const FAST_ZERO: u16 = 1 << 11;
}

/// Numbers of commands.
pub(super) mod command {
    pub const READ: u16 = 0;
    pub const WRITE: u16 = 1;
    pub const DISCONNECT: u16 = 2;
    pub const FLUSH: u16 = 3;
    pub const TRIM: u16 = 4;
    pub const CACHE: u16 = 5;
    pub const WRITE_ZEROES: u16 = 6;
    pub const BLOCK_STATUS: u16 = 7;
}

/// The head of a request, as it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    flags: u16,
    command: u16,
    /// The client's number for it, which the reply repeats.
    pub cookie: u64,
    /// Where, in bytes.
    pub offset: u64,
    /// How much, in bytes.
    pub length: u32,
}

/// What a request asks for, once it is known to be possible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Bytes are read; `whole`: the reply must not be cut into pieces.
    Read {
        /// The reply is one piece.
        whole: bool,
    },
    /// The payload is written.
    Write {
        /// It is on stable storage before the reply.
        fua: bool,
    },
    /// The client ends the connection; there is no reply.
    Disconnect,
    /// All that was acknowledged before is on stable storage before the reply.
    Flush,
    /// The range is not needed any more; reads may return anything.
    Trim {
        /// As in a write.
        fua: bool,
    },
    /// The range reads as zeroes.
    Zeroes {
        /// As in a write.
        fua: bool,
        /// The space stays allocated.
        allocate: bool,
        /// Only if it is faster than a write.
        fast: bool,
    },
    /// The range may be read soon.
    Cache,
    /// Which parts of the range are allocated; `one`: only the first extent.
    Status {
        /// The reply has one extent.
        one: bool,
    },
}

/// What was agreed on in the handshake, and the export.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// The device.
    pub export: Export,
    /// Replies are structured.
    pub structured: bool,
    allocation: bool,
    /// The user for whom the client opened the export, if it named one.
    pub user: Option<String>,
}

impl Request {
    /// Reads the head of a request.
    ///
    /// # Errors
    /// It is none, or the payload behind it is longer than any server takes.
    pub fn decode(bytes: &[u8; REQUEST_BYTES]) -> Result<Request, Fault> {
        let bytes = &mut bytes.as_slice();
        let magic = take_u32(bytes).ok_or(Fault::Request)?;
        if magic != REQUEST_MAGIC {
            return Err(Fault::Request);
        }
        let request = Request {
            flags: take_u16(bytes).ok_or(Fault::Request)?,
            command: take_u16(bytes).ok_or(Fault::Request)?,
            cookie: take_u64(bytes).ok_or(Fault::Request)?,
            offset: take_u64(bytes).ok_or(Fault::Request)?,
            length: take_u32(bytes).ok_or(Fault::Request)?,
        };
        match request.payload_bytes() {
            payload if payload > PAYLOAD_BYTES_MAX => Err(Fault::PayloadTooLong(payload)),
            _ => Ok(request),
        }
    }

    /// Bytes of the payload that follows the head, also where the request is refused.
    pub fn payload_bytes(&self) -> u32 {
        match self.command {
            command::WRITE => self.length,
            _ => 0,
        }
    }
}

impl Session {
    /// The number of the context `base:allocation`.
    pub const ALLOCATION_ID: u32 = 1;

    pub(super) fn new(export: Export, structured: bool, allocation: bool) -> Session {
        Session {
            export,
            structured,
            allocation,
            user: None,
        }
    }

    /// The transmission flags.
    pub(super) fn flags(&self) -> u16 {
        let when = |is: bool, flag: u16| if is { flag } else { 0 };
        let changes = offers::TRIM | offers::WRITE_ZEROES | offers::FAST_ZERO;
        offers::HAS_FLAGS
            | offers::FLUSH
            | offers::FUA
            | offers::CACHE
            | when(self.export.read_only, offers::READ_ONLY)
            | when(!self.export.read_only, changes)
            | when(self.structured, offers::DF)
            | when(self.export.multi_conn, offers::MULTI_CONN)
    }

    /// Returns what a request asks for.
    ///
    /// # Errors
    /// Why it is refused; the connection goes on, behind its payload.
    pub fn command(&self, request: &Request) -> Result<Command, Errno> {
        let has = |flag: u16| request.flags & flag != 0;
        let (known, command) = match request.command {
            command::READ => (
                flag::DF,
                Command::Read {
                    whole: has(flag::DF),
                },
            ),
            command::WRITE => (
                0,
                Command::Write {
                    fua: has(flag::FUA),
                },
            ),
            command::DISCONNECT => return Ok(Command::Disconnect),
            command::FLUSH => (0, Command::Flush),
            command::TRIM => (
                0,
                Command::Trim {
                    fua: has(flag::FUA),
                },
            ),
            command::CACHE => (0, Command::Cache),
            command::WRITE_ZEROES => (
                flag::NO_HOLE | flag::FAST_ZERO,
                Command::Zeroes {
                    fua: has(flag::FUA),
                    allocate: has(flag::NO_HOLE),
                    fast: has(flag::FAST_ZERO),
                },
            ),
            command::BLOCK_STATUS => {
                let one = has(flag::REQ_ONE);
                (flag::REQ_ONE, Command::Status { one })
            }
            _ => return Err(Errno::Invalid),
        };
        // FUA is allowed, without effect, where it makes no sense.
        if request.flags & !(known | flag::FUA) != 0 {
            return Err(Errno::Invalid);
        }
        self.check(request, command)?;
        Ok(command)
    }

    fn check(&self, request: &Request, command: Command) -> Result<(), Errno> {
        let changes = matches!(
            command,
            Command::Write { .. } | Command::Trim { .. } | Command::Zeroes { .. }
        );
        if changes && self.export.read_only {
            return Err(Errno::Perm);
        }
        if command == Command::Flush {
            return match (request.offset, request.length) {
                (0, 0) => Ok(()),
                _ => Err(Errno::Invalid),
            };
        }
        let length = u64::from(request.length);
        let end = request.offset.checked_add(length);
        if end.is_none_or(|end| end > self.export.size) {
            return Err(if changes {
                Errno::NoSpace
            } else {
                Errno::Invalid
            });
        }
        let mask = u64::from(self.export.block_min.max(1)) - 1;
        if length == 0 || (request.offset | length) & mask != 0 {
            return Err(Errno::Invalid);
        }
        match command {
            Command::Read { .. } if request.length > PAYLOAD_BYTES_MAX => Err(Errno::Overflow),
            Command::Status { .. } if !self.allocation => Err(Errno::Invalid),
            Command::Read { whole: true } if !self.structured => Err(Errno::Invalid),
            _ => Ok(()),
        }
    }
}
