//! `compression …` of a proxy.

/// A way to compress a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// `identity`: nothing is changed.
    Identity,
    /// `gzip` (RFC 1952).
    Gzip,
    /// `deflate` (RFC 1950).
    Deflate,
    /// `raw-deflate` (RFC 1951), which some clients mean by "deflate".
    RawDeflate,
}

impl Algorithm {
    /// Its word on `compression algo` lines.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Identity => "identity",
            Algorithm::Gzip => "gzip",
            Algorithm::Deflate => "deflate",
            Algorithm::RawDeflate => "raw-deflate",
        }
    }

    /// What `Accept-Encoding` and `Content-Encoding` call it (RFC 9110, section 8.4.1).
    pub fn coding(self) -> &'static [u8] {
        match self {
            Algorithm::Identity => b"identity",
            Algorithm::Gzip => b"gzip",
            Algorithm::Deflate | Algorithm::RawDeflate => b"deflate",
        }
    }
}

/// What is compressed of one side's messages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Compressed {
    /// What may be used; the first where the other side takes anything. None: nothing is compressed.
    pub algorithms: Vec<Algorithm>,
    /// How the `Content-Type` begins of what is compressed; none means all.
    pub types: Vec<Box<[u8]>>,
    /// Bodies that are known to be shorter go as they are, bytes.
    pub size_min: u64,
}

/// Which messages are compressed (`compression direction`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Direction {
    /// Answers to clients.
    #[default]
    Response,
    /// Requests to servers.
    Request,
    /// Both.
    Both,
}

/// `compression …`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Compression {
    /// Of answers.
    pub response: Compressed,
    /// Of requests.
    pub request: Compressed,
    /// Which of them.
    pub direction: Direction,
    /// `compression offload`: servers are not asked to compress.
    pub offload: bool,
}
