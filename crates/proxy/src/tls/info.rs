//! What is known of a TLS connection once its handshake is done, for fetches
//! and logs.

use super::certified::Certified;
use super::verify::Outcome;
use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, ProtocolVersion};
use std::sync::Arc;

/// What a handshake came to.
#[derive(Clone, Debug)]
pub struct Info {
    /// The version.
    pub version: ProtocolVersion,
    /// The cipher suite.
    pub suite: CipherSuite,
    /// The name of the server that the client wanted.
    pub sni: Option<Box<str>>,
    /// The protocol that was agreed on.
    pub alpn: Option<Box<[u8]>>,
    /// An earlier session went on.
    pub resumed: bool,
    /// The first data came before the handshake was done, and could be a repeat.
    pub early_data: bool,
    /// The certificate that we showed, where we are the server.
    pub own_certificate: Option<Arc<Certified>>,
    /// What was found of the peer's certificates. Of a session that goes on
    /// nothing is verified again.
    pub verified: Outcome,
    /// The peer's certificates, its own first.
    pub peer_certificates: Option<Arc<[CertificateDer<'static>]>>,
}
