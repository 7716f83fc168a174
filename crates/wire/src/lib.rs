//! Connections between the roles of two nodes, and with clients of the network: TCP alone, or with
//! TLS by the certificates of the cluster.
//!
//! - [`Trusted`] is what the cluster says of its nodes.
//! - [`Young`] is a connection during the handshake and the greetings: it blocks, with a deadline.
//! - [`Wire`] is one afterwards: it never blocks.
//! - [`Bond`] ends a connection when the cluster no longer accepts the node at the other end.
//! - [`Relay`] carries bytes between one and a stream of this machine, without looking at them.
//!
//! Nothing here knows what is said on a connection.

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
