//! Runs consensus: openraft on this crate's store, wire and state.
//!
//! [`Engine`] is the interface to the rest of the crate. It owns no socket: messages to
//! other members go through a `transport::MemberTransport`, messages from them through
//! [`Engine::handle`]. It reads no wall clock: leases and timeouts use the runtime's
//! clock. No result depends on them, only who stands for election and when.

mod duties;
mod election;
mod engine;
mod error;
#[cfg(test)]
mod forgery;
mod members;
mod message;
mod network;
mod pipeline;
mod propose;
mod receive;
mod rejoin;
mod replica;
mod rights;
mod send;
mod settings;
mod silent;
#[cfg(test)]
mod simulation;
mod store_io;
#[cfg(test)]
pub(crate) mod test_keys;
#[cfg(test)]
mod tests;
pub mod transport;

pub use engine::{Changes, Engine, LogStatus, RaftStatus};
pub use error::{EngineError, ProposeError};
pub use settings::Settings;
