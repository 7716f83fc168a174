//! Implements the start of RDP ([MS-RDPBCGR] 1.3.1.1) for a relay in front of session hosts.
//!
//! - [`ConnectionRequest`] is a client's first, unencrypted message: a routing token or a hint,
//!   and the supported security protocols. [`Negotiated`] is the response.
//! - [`Acceptor`] follows a client over TLS until it has sent the name of its user.
//! - [`valid_client`] ends licensing, and [`Redirection`] sends the client to another host:
//!   [MS-RDPBCGR] 2.2.13, in the form for enhanced security.
//!
//! Every byte is hostile: lengths are checked before they are used, and a packet has at most
//! [`PACKET_BYTES_MAX`]. Passwords are skipped, never copied.

mod acceptor;
mod error;
mod gcc;
mod info;
mod license;
mod mcs;
mod negotiation;
mod reader;
mod redirection;
mod request;
mod tpkt;

pub use acceptor::{Acceptor, Logon, RdpAcceptorStep};
pub use error::{Pdu, RdpPacketError};
pub use gcc::CHANNELS_MAX;
pub use info::NAME_BYTES_MAX;
pub use license::valid_client;
pub use negotiation::{FAILED_HYBRID_REQUIRED, FAILED_SSL_REQUIRED, Negotiated};
pub use redirection::{LOAD_BALANCE_BYTES_MAX, Redirection};
pub use request::{
    ConnectionRequest, HYBRID, HYBRID_EX, NegotiationRequest, REDIRECTED_AUTHENTICATION,
    RESTRICTED_ADMIN, Routing, SSL,
};
pub use tpkt::{REQUEST_BYTES_MAX, TpktFrame, frame};

/// Maximum length in bytes of a packet from a client whose user is not known yet.
pub const PACKET_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests;
