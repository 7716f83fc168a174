//! By what members know each other: the cluster's own authority and the certificates
//! that it gives; and what keeps contents from whoever is no node.
//!
//! - [`Authority`] signs. Its key is on nodes only.
//! - [`Identity`] is what a member shows: its certificate and key; [`Trust`] is what
//!   it believes of others: the chain *and* that the cluster knows the key.
//! - [`Token`] invites somebody; the protocol is [`crate::wire::join`].
//! - [`SealingKey`] and [`Rings`] keep contents: AES-256-GCM under ring keys, each
//!   sealed to every node by HPKE.
//! - [`disk`] keeps secrets in the state directory.
//!
//! Authorities follow each other: the next one comes through the log with a certificate
//! by the present one ([`Authority::vouch_for`]), so that who was away believes it, too.
//! Of a former one only keys are trusted that the cluster knows of members that were
//! away since ([`Trust::late`]): its key makes nobody a member any more.
//!
//! Nothing here decides by the wall clock. A certificate that a clock says to be over
//! is taken when the cluster knows its key, and that is said: clocks are wrong after
//! a dead battery, and a cluster that does not start for that would be worse.

mod certificate;
pub mod content;
mod der;
pub mod disk;
mod error;
mod ring;
mod tls;
mod token;
mod trust;

#[cfg(test)]
mod tests;

pub use certificate::{
    AUTHORITY_VALID_DAYS, Authority, CertificateRequest, FORMER_AUTHORITIES_MAX, Identity,
    MEMBER_VALID_DAYS, MemberKey, PREDECESSORS_MAX, certificate_digest, fingerprint, follow_up_due,
    is_issued_by, member_name,
};
pub use content::{CHUNK_PLAIN_BYTES, Sealed};
pub use error::AuthorityError;
pub use ring::{RINGS_MAX, Rings, SealingKey, seal_to};
pub(crate) use tls::joining;
pub use tls::{ALPN_JOIN, ALPN_MEMBER, ALPN_TUNNEL, TlsConfigs};
pub use token::{TOKEN_PREFIX, Token, TokenError};
pub(crate) use trust::is_vouched_for;
pub use trust::{Known, Refused, Trust};
