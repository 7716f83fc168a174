//! Authenticates members to each other, with the cluster's own CA and its certificates, and
//! encrypts contents, so that only nodes can read them.
//!
//! - [`Authority`] is the CA. Its key is on nodes only.
//! - [`MemberIdentity`] is the certificate and key of a member. [`Trust`] verifies other
//!   members: the chain, *and* that the cluster knows the key.
//! - [`Token`] invites a new member; the protocol is [`crate::wire::join`].
//! - [`SealingKey`] and [`Rings`] encrypt contents: AES-256-GCM under ring keys, each
//!   encrypted for every node by HPKE.
//! - [`disk`] stores secrets in the state directory.
//!
//! CAs follow each other: the log distributes the next one with a certificate of the
//! current one ([`Authority::vouch_for`]), so that members that were away trust it, too.
//! Of a previous CA, only known keys of members that were away since are trusted
//! ([`Trust::late`]): its key can no longer create members.
//!
//! No certificate is refused because of the wall clock. One that is valid at another time than now
//! is accepted and counted ([`TlsConfigs::clocks_wrong`]). Clocks are wrong after a dead battery,
//! and a cluster that does not start for that reason would be worse.

mod certificate;
pub mod content;
mod der;
pub mod disk;
mod error;
mod part;
mod ring;
mod tls;
mod token;
mod trust;

#[cfg(test)]
mod tests;

pub use certificate::{
    AUTHORITY_VALID_DAYS, Authority, CertificateRequest, FORMER_AUTHORITIES_MAX, MEMBER_VALID_DAYS,
    MemberIdentity, MemberKey, PREDECESSORS_MAX, certificate_digest, fingerprint, follow_up_due,
    is_issued_by, is_signed_by_key, key_digest, member_name,
};
pub use content::{CHUNK_PLAIN_BYTES, Sealed};
pub use error::AuthorityError;
pub use part::{PartCredentials, PartNode};
pub use ring::{RINGS_MAX, Rings, SealingKey, seal_to};
pub(crate) use tls::joining;
pub use tls::{ALPN_JOIN, ALPN_MEMBER, ALPN_TUNNEL, TlsConfigs};
pub use token::{TOKEN_PREFIX, Token, TokenError};
pub(crate) use trust::is_vouched_for;
pub use trust::{CertificateRelation, PeerRejection, Trust};
