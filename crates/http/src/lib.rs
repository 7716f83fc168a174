//! Parses and encodes HTTP messages without IO: one message type for all versions of HTTP, and
//! the encoding of each version. This crate never reads or writes a socket.

pub mod http1;
pub mod http2;
pub mod message;
pub mod websocket;
