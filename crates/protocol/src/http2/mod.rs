//! Implements HTTP/2 (RFC 9113) with HPACK (RFC 7541), without IO: bytes in, events out, and the
//! bytes to send. Both roles are supported. The module owns no socket, reads no clock and
//! interprets no header (except `:status`, to tell an interim response from a final one). Every
//! queue and list has a bound, except for headers that the owner sends.
//!
//! The implementation exists for speed: with the `h2` crate, whose streams are futures with their
//! own wakers and buffers, the proxy missed its target at 1 and 10 streams (measured). Tests use
//! that crate as the peer.
//!
//! Input: [`Connection::receive`] accepts received bytes and returns their meaning, one event at a
//! time. Output: [`Connection::send_headers`], [`Connection::send_data`] and the responses of the
//! protocol itself are in [`Connection::output`] until [`Connection::output_consumed`].
//!
//! Duties of the owner: every byte of [`Event::Data`] is passed to [`Connection::consumed`] exactly
//! once, even if the stream is gone meanwhile; a stream from [`Connection::open`] sends its headers
//! (or is reset) before the next one is opened.

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2Role {
    Server,
    Client,
}
