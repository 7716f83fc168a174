//! Parses the requests of an NBD client in the transmission phase, and validates them against the
//! export.

use super::{Errno, Export, NbdConnectionError, PAYLOAD_BYTES_MAX, take_u16, take_u32, take_u64};

/// Name of the only metadata context (`doc/proto.md`: `base:allocation`).
pub const ALLOCATION: &str = "base:allocation";
/// Length of a request without its payload, in bytes.
pub const REQUEST_BYTES: usize = 28;

pub(super) const REQUEST_MAGIC: u32 = 0x2560_9513;

mod flag {
    pub(super) const FUA: u16 = 1;
    pub(super) const NO_HOLE: u16 = 1 << 1;
    pub(super) const DF: u16 = 1 << 2;
    pub(super) const REQ_ONE: u16 = 1 << 3;
    pub(super) const FAST_ZERO: u16 = 1 << 4;
}

/// Transmission flags: features of an export.
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

/// Head of a received request. Offset and length are in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NbdRequestHeader {
    flags: u16,
    command: u16,
    /// Client's identifier of the request, which the reply repeats.
    pub cookie: u64,
    pub offset: u64,
    pub length: u32,
}

/// Meaning of a valid request. With `fua`, the change must be on stable storage before the reply
/// is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NbdCommand {
    /// Read bytes; with `whole`, the reply must not be split.
    Read {
        whole: bool,
    },
    Write {
        fua: bool,
    },
    /// End the connection; there is no reply.
    Disconnect,
    /// Put all acknowledged writes on stable storage before the reply.
    Flush,
    /// The client no longer needs the data in this range; reads may return anything afterwards.
    Trim {
        fua: bool,
    },
    Zeroes {
        fua: bool,
        allocate: bool,
        /// Fail if the operation would not be faster than a write.
        fast: bool,
    },
    /// The client will probably read the range soon.
    Cache,
    Status {
        /// The reply has only one extent.
        one: bool,
    },
}

/// Result of the handshake: the export and the features of the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    pub export: Export,
    pub structured: bool,
    allocation: bool,
    /// User for whom the client opened the export, if it named one.
    pub user: Option<String>,
}

impl NbdRequestHeader {
    /// Parses the head of a request.
    ///
    /// # Errors
    /// The bytes are not a request, or its payload is longer than [`PAYLOAD_BYTES_MAX`].
    pub fn decode(bytes: &[u8; REQUEST_BYTES]) -> Result<NbdRequestHeader, NbdConnectionError> {
        let bytes = &mut bytes.as_slice();
        let magic = take_u32(bytes).ok_or(NbdConnectionError::Request)?;
        if magic != REQUEST_MAGIC {
            return Err(NbdConnectionError::Request);
        }
        let request = NbdRequestHeader {
            flags: take_u16(bytes).ok_or(NbdConnectionError::Request)?,
            command: take_u16(bytes).ok_or(NbdConnectionError::Request)?,
            cookie: take_u64(bytes).ok_or(NbdConnectionError::Request)?,
            offset: take_u64(bytes).ok_or(NbdConnectionError::Request)?,
            length: take_u32(bytes).ok_or(NbdConnectionError::Request)?,
        };
        match request.payload_bytes() {
            payload if payload > PAYLOAD_BYTES_MAX => {
                Err(NbdConnectionError::PayloadTooLong(payload))
            }
            _ => Ok(request),
        }
    }

    /// Returns the length of the payload after the head in bytes, also for a request that will be
    /// refused.
    pub fn payload_bytes(&self) -> u32 {
        match self.command {
            command::WRITE => self.length,
            _ => 0,
        }
    }
}

impl Session {
    /// Id that this server assigns to the context `base:allocation`.
    pub const ALLOCATION_ID: u32 = 1;

    pub(super) fn new(export: Export, structured: bool, allocation: bool) -> Session {
        Session {
            export,
            structured,
            allocation,
            user: None,
        }
    }

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

    /// Returns the validated command of a request.
    ///
    /// # Errors
    /// The reason why the request is refused. The connection continues after its payload.
    pub fn command(&self, request: &NbdRequestHeader) -> Result<NbdCommand, Errno> {
        let has = |flag: u16| request.flags & flag != 0;
        let (known, command) = match request.command {
            command::READ => (
                flag::DF,
                NbdCommand::Read {
                    whole: has(flag::DF),
                },
            ),
            command::WRITE => (
                0,
                NbdCommand::Write {
                    fua: has(flag::FUA),
                },
            ),
            command::DISCONNECT => return Ok(NbdCommand::Disconnect),
            command::FLUSH => (0, NbdCommand::Flush),
            command::TRIM => (
                0,
                NbdCommand::Trim {
                    fua: has(flag::FUA),
                },
            ),
            command::CACHE => (0, NbdCommand::Cache),
            command::WRITE_ZEROES => (
                flag::NO_HOLE | flag::FAST_ZERO,
                NbdCommand::Zeroes {
                    fua: has(flag::FUA),
                    allocate: has(flag::NO_HOLE),
                    fast: has(flag::FAST_ZERO),
                },
            ),
            command::BLOCK_STATUS => {
                let one = has(flag::REQ_ONE);
                (flag::REQ_ONE, NbdCommand::Status { one })
            }
            _ => return Err(Errno::Invalid),
        };
        // FUA is allowed for every command, without effect where it makes no sense.
        if request.flags & !(known | flag::FUA) != 0 {
            return Err(Errno::Invalid);
        }
        self.check(request, command)?;
        Ok(command)
    }

    fn check(&self, request: &NbdRequestHeader, command: NbdCommand) -> Result<(), Errno> {
        let changes = matches!(
            command,
            NbdCommand::Write { .. } | NbdCommand::Trim { .. } | NbdCommand::Zeroes { .. }
        );
        if changes && self.export.read_only {
            return Err(Errno::Perm);
        }
        if command == NbdCommand::Flush {
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
            NbdCommand::Read { .. } if request.length > PAYLOAD_BYTES_MAX => Err(Errno::Overflow),
            NbdCommand::Status { .. } if !self.allocation => Err(Errno::Invalid),
            NbdCommand::Read { whole: true } if !self.structured => Err(Errno::Invalid),
            _ => Ok(()),
        }
    }
}
