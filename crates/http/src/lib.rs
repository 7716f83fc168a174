//! HTTP as values: one message for every version, and what each version has in its
//! place on the wire. It never reads or writes a socket.

pub mod http1;
pub mod http2;
pub mod message;
pub mod websocket;
