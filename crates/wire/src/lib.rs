//! Provides connections between the roles of two nodes, and with clients on the network: plain TCP,
//! or TLS with the certificates of the cluster.
//!
//! - [`TrustedNodes`] describes the nodes of the cluster.
//! - [`GreetingConnection`] is a connection during the handshake and the greetings: it blocks, with
//!   a deadline.
//! - [`NodeConnection`] is a connection after the greetings: it never blocks.
//! - [`ConnectionPermission`] ends a connection when the cluster no longer accepts the node at the
//!   other end.
//! - [`Relay`] forwards bytes between a connection and a local stream, without inspecting them.
//!
//! The crate knows nothing about the protocols on a connection.

mod bonds;
mod bytes;
mod connection;
mod here;
mod relay;
mod silence;
mod trusted;
mod young;

pub use bonds::{ConnectionPermission, NodeOf};
pub use bytes::NonblockingStream;
pub use connection::NodeConnection;
pub use here::{is_mine, unspecified};
pub use relay::{Relay, RelayPeer};
pub use trusted::TrustedNodes;
pub use young::{GreetingConnection, HandshakeError, TimedStream, is_closed};
