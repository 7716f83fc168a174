//! NTLMv2 ([MS-NLMP]) for a server that knows the hash of the user's password: the client's
//! NEGOTIATE, our CHALLENGE, the client's AUTHENTICATE. The message integrity code is required, so
//! that a man in the middle cannot change what was negotiated. If the client names its TLS
//! connection, it must be this one, so that its proof cannot be relayed to another server.
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
