//! Takeover of listening sockets from another process, and handing them over to one,
//! compatible with HAProxy (`-x`, `expose-fd listeners`): either side may be HAProxy.
//! [`wire`] is the protocol without IO, [`fetch`] requests, [`hand_over`] responds.
//! [`crate::listener::Inherited`] decides which of the sockets are useful, by asking the
//! kernel what they are.

mod client;
mod server;
pub mod state;
#[cfg(test)]
mod tests;
pub mod wire;

pub use client::{SourceError, TakenSocket, TakeoverError, TakeoverSource, fetch};
pub use server::hand_over;
