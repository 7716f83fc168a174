//! Encodes and decodes messages of the kernel's FUSE protocol (`linux/fuse.h`, version 7.31), as
//! far as files of one directory need them.

use std::io;

/// Maximum length of one write in bytes.
pub(super) const WRITE_BYTES_MAX: usize = 1 << 20;
/// Number of bytes before the content of a request.
pub(super) const HEAD_BYTES: usize = 40;
/// Number of bytes before the data of a write.
pub(super) const WRITE_HEAD_BYTES: usize = 40;
/// Flag of a write that must be on stable storage.
pub(super) const DSYNC: u32 = 0o10000;
/// Node number of the directory.
pub(super) const ROOT: u64 = 1;

/// Kind of a kernel request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FuseOpcode {
    Lookup,
    Getattr,
    Setattr,
    Unlink,
    Rename,
    Open,
    Read,
    Write,
    Statfs,
    Release,
    Fsync,
    Flush,
    Init,
    Readdir,
    Create,
    Fallocate,
    /// A request without a reply.
    Silent,
    Other,
}

impl FuseOpcode {
    fn of(code: u32) -> FuseOpcode {
        match code {
            1 => FuseOpcode::Lookup,
            2 | 36 | 42 => FuseOpcode::Silent,
            3 => FuseOpcode::Getattr,
            4 => FuseOpcode::Setattr,
            10 => FuseOpcode::Unlink,
            12 => FuseOpcode::Rename,
            14 | 27 => FuseOpcode::Open,
            15 => FuseOpcode::Read,
            16 => FuseOpcode::Write,
            17 => FuseOpcode::Statfs,
            18 | 29 => FuseOpcode::Release,
            20 => FuseOpcode::Fsync,
            25 | 30 => FuseOpcode::Flush,
            26 => FuseOpcode::Init,
            28 => FuseOpcode::Readdir,
            35 => FuseOpcode::Create,
            43 => FuseOpcode::Fallocate,
            _ => FuseOpcode::Other,
        }
    }
}

/// A request of the kernel.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: FuseOpcode,
    pub(super) unique: u64,
    pub(super) node: u64,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn parse(bytes: &[u8]) -> Option<Request> {
        let request = Request {
            kind: FuseOpcode::of(word(bytes, 4)?),
            unique: long(bytes, 8)?,
            node: long(bytes, 16)?,
            body: bytes.get(HEAD_BYTES..)?.to_vec(),
        };
        Some(request)
    }

    /// Returns a 32-bit number of the content.
    pub(super) fn word(&self, at: usize) -> u32 {
        word(&self.body, at).unwrap_or_default()
    }

    /// Returns a 64-bit number of the content.
    pub(super) fn long(&self, at: usize) -> u64 {
        long(&self.body, at).unwrap_or_default()
    }

    /// Returns the data of a write.
    pub(super) fn data(&self) -> &[u8] {
        self.body.get(WRITE_HEAD_BYTES..).unwrap_or_default()
    }

    /// Returns the names from a byte of the content on.
    pub(super) fn names(&self, from: usize) -> impl Iterator<Item = String> {
        let text = self.body.get(from..).unwrap_or_default();
        let names = text.split(|byte| *byte == 0);
        names.map(|name| String::from_utf8_lossy(name).into_owned())
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[derive(Debug, Default)]
pub(super) struct FuseReply(pub(super) Vec<u8>);

impl FuseReply {
    pub(super) fn word(mut self, value: u32) -> FuseReply {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(super) fn long(mut self, value: u64) -> FuseReply {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn zeroes(mut self, count: usize) -> FuseReply {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    /// Appends the attributes of the directory, or of a file of this length.
    fn attributes(self, node: u64, length: u64) -> FuseReply {
        let (mode, links) = match node {
            ROOT => (0o040_755, 2),
            _ => (0o100_644, 1),
        };
        let reply = self.long(node).long(length).long(length.div_ceil(512));
        let reply = reply.zeroes(3 * 8 + 3 * 4).word(mode).word(links);
        reply.zeroes(3 * 4).word(4096).zeroes(4)
    }

    /// Returns the reply to `GETATTR`, which the kernel must not cache.
    pub(super) fn attr(node: u64, length: u64) -> FuseReply {
        FuseReply::default().zeroes(16).attributes(node, length)
    }

    /// Returns the reply to `LOOKUP`.
    pub(super) fn entry(node: u64, length: u64) -> FuseReply {
        let reply = FuseReply::default().long(node).long(0).zeroes(24);
        reply.attributes(node, length)
    }

    /// Appends the fields for an open file. Their flag bypasses the page cache of the kernel, which
    /// would survive a simulated power failure.
    pub(super) fn opened(self) -> FuseReply {
        self.long(0).word(1).zeroes(4)
    }

    /// Returns the reply to `INIT`.
    pub(super) fn init() -> FuseReply {
        // Enables ASYNC_READ, BIG_WRITES, ASYNC_DIO, PARALLEL_DIROPS and MAX_PAGES.
        let flags = 1 | 1 << 5 | 1 << 15 | 1 << 18 | 1 << 22;
        let reply = FuseReply::default()
            .word(7)
            .word(31)
            .word(128 << 10)
            .word(flags);
        // Sets the limits of background requests.
        let reply = reply.word(256 | 192 << 16);
        let pages = WRITE_BYTES_MAX / 4096;
        let reply = reply.word(WRITE_BYTES_MAX as u32).word(1);
        reply.word(pages as u32).zeroes(32)
    }

    /// Returns the reply to `STATFS`, in blocks of 4 KiB.
    pub(super) fn statfs(blocks: u64, free: u64) -> FuseReply {
        let reply = FuseReply::default().long(blocks).long(free).long(free);
        let reply = reply.long(1000).long(900).word(4096).word(255).word(4096);
        reply.zeroes(28)
    }

    /// Appends an entry of `READDIR`.
    pub(super) fn named(self, node: u64, next: u64, name: &str) -> FuseReply {
        let reply = self.long(node).long(next).word(name.len() as u32).word(8);
        let mut reply = reply;
        reply.0.extend(name.as_bytes());
        let padded = reply.0.len().next_multiple_of(8);
        reply.0.resize(padded, 0);
        reply
    }
}

/// Encodes the reply for the kernel.
pub(super) fn encode(unique: u64, outcome: Result<FuseReply, rustix::io::Errno>) -> Vec<u8> {
    let (error, reply) = match outcome {
        Ok(reply) => (0, reply.0),
        Err(errno) => (-errno.raw_os_error(), Vec::new()),
    };
    let mut bytes = Vec::with_capacity(16 + reply.len());
    bytes.extend((16 + reply.len() as u32).to_ne_bytes());
    bytes.extend(error.to_ne_bytes());
    bytes.extend(unique.to_ne_bytes());
    bytes.extend(reply);
    bytes
}

/// Returns whether an error means that the file system was unmounted.
pub(super) fn is_over(error: &io::Error) -> bool {
    rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::NODEV)
}
