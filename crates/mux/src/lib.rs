//! HTTP/2 connections: many streams over one transport, of a client or to a
//! server. Frames, windows and floods are `protocol::http2`, a value; this moves
//! its bytes and wakes its streams. It knows no rule and no header.
//!
//! One task drives a connection: [`fn@serve`] a client's, the task behind a
//! [`ServerMux`] a server's. Each stream is used by a task of its own, through
//! its [`MuxStream`]. They meet in [`shared`], on one thread.

mod client;
mod drains;
mod driver;
pub mod link;
mod mapping;
mod received;
mod server;
mod settings;
mod shared;
mod slot;
mod stream;
mod watch;

pub use client::serve;
pub use driver::{Side, Then, View};
pub use mapping::expected_length;
pub use server::ServerMux;
pub use settings::{Http2, Http2Side, Limits};
pub use shared::{Accept, Opened};
pub use slot::{Expected, Gone};
pub use stream::{HeadFailure, MuxStream};
pub use watch::StreamWatch;

#[cfg(test)]
mod tests;
