//! Two nodes and an arbiter become one system: members that know each other by
//! certificates of their own authority, a log that all of them agree on, and what
//! follows from its commands: versions of the configuration with their history,
//! leases with epochs, who belongs to it.
//!
//! - [`command`] is what is agreed on, [`state`] the value that it leads to.
//! - [`log`] is what members agree on one after the other, [`raft`] the agreement
//!   (openraft), [`store`] its disk (redb).
//! - [`wire`] is how members reach each other, [`authority`] by what they know each
//!   other, and what keeps contents from the arbiter.
//! - [`rollout`] decides how a change goes to the nodes, [`lease`] who holds what,
//!   [`gossip`] spreads what need not agree.
//! - [`file_set`] is a version as a machine loads it; [`history`] tells of versions.
//! - [`role`] is the process that joins them. What it wants of its machine goes
//!   through [`machine::Machine`]; what operators want of it is [`request`].
//!
//! This crate never serves traffic and never knows what a keyword of the proxy
//! means. Nothing that serves waits for it.

pub mod authority;
pub mod command;
pub mod durable;
pub mod file_set;
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
