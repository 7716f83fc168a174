//! Carries many HTTP/2 streams over one transport, with a client or with a server. The protocol
//! with frames, windows and flood detection is `protocol::http2`, which does no IO; this crate
//! transfers the bytes and wakes the streams. It evaluates no rules and interprets no headers.
//!
//! Each connection is driven by one task: [`fn@serve`] for a client, or the task of a [`ServerMux`]
//! for a server. The user of a [`MuxStream`] is another task on the same thread. Both share the
//! state in [`shared`].

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
pub use driver::{ConnectionHandler, Then, View};
pub use mapping::expected_length;
pub use server::ServerMux;
pub use settings::{Http2, Http2Side, Limits};
pub use shared::{Accept, RequestDecision};
pub use slot::{Expected, Gone};
pub use stream::{HeadFailure, MuxStream};
pub use watch::StreamWatch;

#[cfg(test)]
mod tests;
