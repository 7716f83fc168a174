//! NTLMv2 ([MS-NLMP]), as a server verifies it that knows the hash of the user's password: the client's
//! NEGOTIATE, our CHALLENGE, the client's AUTHENTICATE. Its message integrity code is required, so nobody
//! in between changes what was negotiated; and where the client names the TLS connection by which it
//! comes, it has to be this one, so nobody passes its proof on to another server.
//!
//! LM and NTLMv1 are refused. Every byte is hostile.

mod crypt;
mod message;

pub use crypt::{channel_hash, nt_hash};
pub use message::{Authenticate, Exchange, MESSAGE_BYTES_MAX, Malformed, Refused, Target};

#[cfg(test)]
mod tests;
