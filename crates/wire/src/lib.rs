//! Connections between the roles of two nodes, and with clients on the network: plain TCP, or TLS
//! with the certificates of the cluster.
//!
//! - [`Trusted`] describes the nodes of the cluster.
//! - [`Young`] is a connection during the handshake and the greetings: it blocks, with a
//!   deadline.
//! - [`Wire`] is a connection after the greetings: it never blocks.
//! - [`Bond`] ends a connection when the cluster no longer accepts the node at the other end.
//! - [`Relay`] forwards bytes between a connection and a local stream, without inspecting them.
//!
//! This crate knows nothing about the protocols on a connection.

mod bonds;
mod bytes;
mod connection;
mod here;
mod relay;
mod silence;
mod trusted;
mod young;

pub use bonds::{Bond, NodeOf};
pub use bytes::Bytes;
pub use connection::Wire;
pub use here::{is_mine, unspecified};
pub use relay::{Peer, Relay};
pub use trusted::Trusted;
pub use young::{HandshakeError, Timed, Young, is_closed};
