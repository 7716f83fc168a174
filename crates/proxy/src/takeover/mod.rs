//! Taking listening sockets over from another process, and giving them to one,
//! in the manner of HAProxy (`-x`, `expose-fd listeners`), so that either side
//! may be HAProxy. [`wire`] is what is said, as values; [`fetch`] asks,
//! [`hand_over`] answers. Which of the sockets are of use is not decided here:
//! [`crate::listener::Inherited`] asks the kernel what they are.

mod client;
mod server;
pub mod state;
#[cfg(test)]
mod tests;
pub mod wire;

pub use client::{Source, SourceError, TakenSocket, TakeoverError, fetch};
pub use server::hand_over;
