//! Holds the `compression …` settings of a proxy.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// `identity`: no compression.
    Identity,
    /// `gzip` (RFC 1952).
    Gzip,
    /// `deflate`: the zlib format (RFC 1950).
    Deflate,
    /// `raw-deflate` (RFC 1951), which some clients mean by "deflate".
    RawDeflate,
}

impl Algorithm {
    /// Returns the name in `compression algo` lines.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Identity => "identity",
            Algorithm::Gzip => "gzip",
            Algorithm::Deflate => "deflate",
            Algorithm::RawDeflate => "raw-deflate",
        }
    }

    /// Returns the content coding for `Accept-Encoding` and `Content-Encoding` (RFC 9110, section
    /// 8.4.1).
    pub fn coding(self) -> &'static [u8] {
        match self {
            Algorithm::Identity => b"identity",
            Algorithm::Gzip => b"gzip",
            Algorithm::Deflate | Algorithm::RawDeflate => b"deflate",
        }
    }
}

/// Compression of the messages in one direction.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Compressed {
    /// Enabled algorithms. The first is used if the receiver accepts any of them. An empty list
    /// disables compression.
    pub algorithms: Vec<Algorithm>,
    /// Prefixes of the `Content-Type` of compressed messages; empty compresses all.
    pub types: Vec<Box<[u8]>>,
    /// Minimum size of a compressed body, bytes; applies only if the size is known in advance.
    pub size_min: u64,
}

/// Direction of compressed messages (`compression direction`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Direction {
    #[default]
    Response,
    Request,
    Both,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Compression {
    pub response: Compressed,
    pub request: Compressed,
    pub direction: Direction,
    /// `compression offload`: `Accept-Encoding` is not passed to servers.
    pub offload: bool,
}
