//! Agreement: openraft on our store, our wire and our state.
//!
//! [`Engine`] is all that the rest of the crate knows of it. It owns no socket: what
//! goes to other members goes through a [`transport::Transport`], what comes from
//! them through [`Engine::handle`]. It reads no wall clock: leases and time-outs are
//! the runtime's, and no answer of ours rests on them, only who stands for election
//! and when.

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
