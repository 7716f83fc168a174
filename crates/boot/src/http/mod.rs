//! The HTTP server, from which iPXE, UEFI and installers fetch files: GET and HEAD by HTTP/1.1, with
//! ranges. It knows no files but those of its [`Shelf`](crate::content::Shelf).
//!
//! - [`ask`] is what a request asks for, as values.
//! - [`server`] is the thread with the connections.
//!
//! Everything a client may hold is limited: connections, headers, and the time without progress. A
//! disk that is slow keeps only those waiting that read from it.

pub mod ask;
mod body;
mod passing;
mod patient;
mod places;
pub mod server;

pub use server::{Limits, Server};
