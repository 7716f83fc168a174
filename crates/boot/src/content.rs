//! What a client may fetch, whatever it fetches it with: a name leads to bytes that were made for
//! it, or to a file that a section names. Never to anything else.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// How somebody fetches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// By TFTP.
    Tftp,
    /// By HTTP.
    Http,
}

/// Somebody who fetches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asker {
    /// Its address.
    pub address: IpAddr,
    /// How it fetches.
    pub via: Via,
}

/// What is behind a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Bytes that were made for the asker.
    Made(Arc<[u8]>),
    /// A file as it is now.
    File(PathBuf),
}

/// Why there is nothing behind a name, in words for a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Absent(pub String);

impl fmt::Display for Absent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// How a fetch ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fetched {
    /// The client has the whole of it: how many bytes.
    Whole(u64),
    /// It ended before: why.
    Broken(String),
}

/// All that may be fetched.
pub trait Shelf: Send + Sync {
    /// What is behind a name. `query`: what followed a question mark, by HTTP.
    ///
    /// # Errors
    /// There is nothing of this name for this asker.
    fn find(&self, name: &str, query: &str, asker: &Asker) -> Result<Content, Absent>;

    /// A fetch has ended.
    fn fetched(&self, name: &str, asker: &Asker, end: &Fetched);
}
