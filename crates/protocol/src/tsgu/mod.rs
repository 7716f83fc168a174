//! Implements the protocol of remote desktop gateways over HTTP ([MS-TSGU] 2.2.10, 3.2 and 3.3),
//! on the gateway's side: the packets within a WebSocket, or within the pair of an endless
//! response and an endless request.
//!
//! - [`Packets`] splits a client's stream of bytes into [`Packet`]s.
//! - [`Tunnel`] interprets packets in the order that the protocol requires, and builds the
//!   responses.
//! - [`Code`] is the reason of a refusal.
//!
//! Every byte is hostile: a packet has at most [`PACKET_BYTES_MAX`], and its lengths are checked
//! before they are used.

mod code;
mod packet;
mod reply;
mod tunnel;

pub use code::Code;
pub use packet::{PACKET_BYTES_MAX, Packet, Packets, TsguPacketError};
pub use reply::{DATA_BYTES_MAX, close, closed, data, keep_alive, reauthenticate};
pub use tunnel::{Limits, TsguRequest, Tunnel};

#[cfg(test)]
mod tests;
