//! HTTP/2 messages as values: lists of fields become a [`crate::message::Message`]
//! and back. Strict both ways: what HTTP/1 or another recipient could read in
//! two ways is refused. Frames and their compression are `protocol::http2`.
//!
//! A request has the form that HAProxy 2.6 shows to rules and logs: its target is
//! `https://host/path`, its first header `host`, its last the cookies in one line.
//! What HTTP/1 must not see of that is taken out by [`write_request`].
//!
//! Checks that HTTP/1 has as well (hosts, lengths, bytes of a target) are HTTP/1's
//! own: there is one reading, not two that could differ.

mod downgrade;
mod list;
pub mod outgoing;
mod request;
mod response;

pub use downgrade::{response_to_http1, write_request};
pub use list::trailers;
pub use request::request;
pub use response::response;

#[cfg(test)]
mod tests;
