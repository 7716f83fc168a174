//! Joins two nodes and an arbiter into one cluster: members that authenticate each other
//! by certificates of their own CA, a replicated log, and the state that follows from its
//! commands: versions of the configuration with their history, leases with epochs,
//! members.
//!
//! - [`command`] has the replicated commands, [`state`] the value that results from them.
//! - [`log`] has the log entries, [`raft`] the consensus (openraft), [`store`] its disk (redb).
//! - [`wire`] connects members; [`authority`] authenticates them, and encrypts contents
//!   so that the arbiter cannot read them.
//! - [`rollout`] decides how a change reaches the nodes, [`lease`] who holds which
//!   lease, [`gossip`] spreads values that need no consensus.
//! - [`file_set`] is a version as a machine loads it; [`history`] shows versions.
//! - [`role`] is the process that joins them. Its requests to the machine go through
//!   `machine::ServingMachine`; those of operators to it are [`request`].
//!
//! This crate never serves traffic and never knows what a keyword of the proxy means.
//! Traffic never waits for it.

pub mod authority;
pub mod background;
pub mod command;
pub mod durable;
pub mod follow;
pub mod gossip;
pub mod history;
pub mod keyword;
pub mod lease;
pub mod log;
pub mod machine;
pub mod member;
pub mod message;
pub mod raft;
pub mod request;
pub mod role;
pub mod rollout;
pub mod state;
pub mod store;
pub mod wire;

pub use part::file_set;
