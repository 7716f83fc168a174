//! Converts between the field lists of HTTP/2 and `message::HttpMessage`. Both directions are
//! strict: input that HTTP/1 or another recipient could interpret differently is refused. Frames
//! and their compression are in `protocol::http2`.
//!
//! A request has the form that HAProxy 2.6 presents to rules and logs: its target is
//! `https://host/path`, its first header is `host`, and its last one has all cookies.
//! [`write_request`] removes what an HTTP/1 server must not see.
//!
//! Checks that HTTP/1 also needs (hosts, lengths, bytes of a target) are shared with HTTP/1, so
//! that the two cannot differ.

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
