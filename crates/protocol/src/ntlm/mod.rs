//! Implements NTLMv2 ([MS-NLMP]) for a server that knows the hash of the user's password: the
//! client's NEGOTIATE, the server's CHALLENGE, the client's AUTHENTICATE. The message integrity
//! code is required, so that a man in the middle cannot change what was negotiated. If the client
//! names its TLS connection, that must be the connection to this server, so that the client's
//! proof cannot be relayed.
//!
//! LM and NTLMv1 are refused. Every byte is hostile.

mod crypt;
mod message;

pub use crypt::{channel_hash, nt_hash};
pub use message::{
    Authenticate, Exchange, MESSAGE_BYTES_MAX, NtlmAuthenticationError, NtlmMessageError,
    NtlmTarget,
};

#[cfg(test)]
mod tests;
