//! TLS: certificates and who is shown which, what is negotiated, who is
//! believed, and the records of one connection. Built on rustls; no
//! cryptography of our own.

mod bytes;
pub mod handshake;
pub mod hello;
mod info;
mod record;
mod session;
mod turn;

#[cfg(test)]
mod tests;

pub use info::Info;
pub use session::Session;
