//! Passes listening sockets between two processes with HAProxy's protocol (`-x`,
//! `expose-fd listeners`); the other process may be HAProxy. [`wire`] is the protocol without IO,
//! [`fetch`] requests sockets, [`hand_over`] sends them. [`crate::listener::Inherited`] decides
//! which of the received sockets are used, by querying the kernel about them.

mod client;
mod server;
pub mod state;
#[cfg(test)]
mod tests;
pub mod wire;

pub use client::{SourceError, TakenSocket, TakeoverError, TakeoverSource, fetch};
pub use server::hand_over;
