//! HTTP/2 (RFC 9113) with HPACK (RFC 7541) as values: bytes in, events out, and
//! the bytes that are to be sent. Both roles. It owns no socket, reads no clock
//! and knows no meaning of a header (but `:status`, to tell an interim answer
//! from a final one); every queue and list in it has a bound.
//!
//! It is written by hand for speed: with the `h2` crate, whose streams are futures with
//! wakers and buffers of their own, the proxy missed its target at 1 and 10 streams
//! (measured). Tests use that crate as the peer.
//!
//! The way in: [`Connection::receive`] takes what was read and says, one event
//! at a time, what it means. The way out: [`Connection::send_headers`],
//! [`Connection::send_data`] and the answers that the protocol itself wants
//! stand in [`Connection::output`] until [`Connection::output_consumed`].
//!
//! What the owner promises: every byte of [`Event::Data`] is given to
//! [`Connection::consumed`] exactly once, also when the stream has gone
//! meanwhile; a stream from [`Connection::open`] sends its headers (or is
//! reset) before the next one is opened.

mod connection;
mod error;
pub mod fields;
mod frame;
pub mod hpack;
mod settings;
mod stream;

pub use connection::{Connection, Event, Limits, Options, Rate, Statistics};
pub use error::{ConnectionError, ErrorCode, OpenError, SendError, Why};
pub use fields::FieldList;
pub use frame::PREFACE;
pub use settings::Settings;
pub use stream::StreamId;

/// The role of an endpoint of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The peer opens streams.
    Server,
    /// We open streams.
    Client,
}
