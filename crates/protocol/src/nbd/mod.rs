//! Implements NBD, the network block device: the server's side of the handshake ([`Handshake`])
//! and of the transmission ([`NbdRequestHeader`], [`Session`], `reply`), and the client's side
//! ([`client`]). Supported are the fixed newstyle handshake, simple and structured replies, and
//! the metadata context `base:allocation`. Payloads are not handled: the caller reads and writes
//! them after the headers that this module builds.
//!
//! Source: the NBD project's `doc/proto.md`.

pub mod client;
mod handshake;
pub mod reply;
mod request;
#[cfg(test)]
mod tests;

pub use handshake::{
    GREETING, Gate, Handshake, NbdHandshakeStep, NbdTransport, OPTION_BYTES_MAX, USER_BYTES_MAX,
};
pub use request::{ALLOCATION, NbdCommand, NbdRequestHeader, REQUEST_BYTES, Session};

/// Maximum length of an export's name, in bytes (`doc/proto.md`: strings).
pub const NAME_BYTES_MAX: usize = 4096;
/// Maximum payload of a request or a reply in bytes, which every client may use.
pub const PAYLOAD_BYTES_MAX: u32 = 32 << 20;

/// A block device that a server offers. All sizes are in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Export {
    /// Name of the export; the default export has an empty one.
    pub name: String,
    pub description: String,
    pub size: u64,
    pub read_only: bool,
    /// Data that one connection has flushed is visible on all others, so a client may use several
    /// connections.
    pub multi_conn: bool,
    /// Granularity of offsets and lengths in bytes: a power of two from 1 to 64 KiB.
    pub block_min: u32,
    /// Preferred block size in bytes, with which requests are fastest.
    pub block_preferred: u32,
}

/// Reason why a connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NbdConnectionError {
    /// The first bytes are not those of a client with the fixed newstyle handshake.
    #[error("the client does not speak NBD's fixed newstyle handshake")]
    Flags,
    #[error("a malformed NBD option")]
    Option,
    #[error("an NBD option of {0} bytes exceeds the limit")]
    OptionTooLong(u32),
    #[error("too many NBD options before an export was chosen")]
    TooManyOptions,
    /// `NBD_OPT_EXPORT_NAME` named an unknown export; that option has no reply for the error.
    #[error("the client asked for an NBD export that does not exist")]
    NoSuchExport,
    /// `NBD_OPT_EXPORT_NAME` named an export that the gate refuses because another user has it
    /// open.
    #[error("the client asked for an NBD export that another user has open")]
    InUse,
    #[error("the NBD client does not use TLS")]
    TlsRequired,
    #[error("a malformed NBD request")]
    Request,
    /// The payload of a write is longer than [`PAYLOAD_BYTES_MAX`].
    #[error("an NBD write of {0} bytes exceeds the limit")]
    PayloadTooLong(u32),
}

/// Error number of a request, as NBD defines them (`doc/proto.md`: error values).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Errno {
    /// A change of a read-only export.
    Perm = 1,
    Io = 5,
    NoMemory = 12,
    /// The request is invalid: flags, alignment, a length of zero, a read past the end.
    Invalid = 22,
    /// A change past the end.
    NoSpace = 28,
    Overflow = 75,
    /// The command is not supported, or would not be fast.
    NotSupported = 95,
    /// The server is shutting down, or this client may no longer use the export.
    Shutdown = 108,
}

impl Errno {
    /// Parses the number of a reply. Numbers that a client need not distinguish become
    /// [`Errno::Io`].
    pub fn from_number(number: u32) -> Errno {
        let all = [
            Errno::Perm,
            Errno::NoMemory,
            Errno::Invalid,
            Errno::NoSpace,
            Errno::Overflow,
            Errno::NotSupported,
            Errno::Shutdown,
        ];
        let known = all.into_iter().find(|one| *one as u32 == number);
        known.unwrap_or(Errno::Io)
    }

    pub fn words(self) -> &'static str {
        match self {
            Errno::Perm => "the export is read-only",
            Errno::Io => "the volume failed",
            Errno::NoMemory => "no memory for the request",
            Errno::Invalid => "an invalid request",
            Errno::NoSpace => "beyond the end of the volume",
            Errno::Overflow => "the reply would be too long",
            Errno::NotSupported => "not supported",
            Errno::Shutdown => "the export is closed",
        }
    }
}

/// Takes a fixed number of bytes from the front; `None` if there are too few.
fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

fn take_u16(bytes: &mut &[u8]) -> Option<u16> {
    take(bytes, 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes, 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes, 8)?.try_into().ok().map(u64::from_be_bytes)
}
