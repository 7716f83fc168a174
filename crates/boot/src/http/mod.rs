//! Serves files by HTTP, for iPXE, UEFI and installers: GET and HEAD by HTTP/1.1, with ranges. The
//! server has only the files of its [`ContentSource`](crate::content::ContentSource).
//!
//! - [`ask`] parses requests, without I/O.
//! - [`server`] is the thread with the connections.
//! - `body` produces the body of a response, `passing` sends chunks of cached files, `patient`
//!   applies the write timeout, and `places` limits the connections.
//!
//! All resources of a client are limited: connections, headers, and the time without progress. A
//! slow disk delays only the fetches that read from it.

pub mod ask;
mod body;
mod passing;
mod patient;
mod places;
pub mod server;

pub use server::{Limits, Server};
