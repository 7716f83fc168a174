//! TLS: certificates and who is shown which, what is negotiated, who is
//! believed, and the records of one connection. Built on rustls; no
//! cryptography of our own.

mod bytes;
pub mod handshake;
pub mod hello;
mod info;
mod record;
pub mod resume;
mod session;
pub mod tickets;
mod turn;

#[cfg(test)]
mod tests;

pub use info::Info;
pub use session::Session;
