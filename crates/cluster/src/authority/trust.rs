//! Decides whether the bearer of a certificate is a member: the chain to a CA of the cluster proves
//! that the certificate was issued, and the replicated list of members that its owner still belongs
//! to the cluster.

use super::certificate::{
    certificate_digest, has_name, is_issued_by, member_name, predecessor_name,
};
use crate::command::NextAuthority;
use crate::member::{ClusterMember, Digest, MemberId};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Certificates and CAs by which this member authenticates the others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trust {
    pub cluster: String,
    /// Certificates (DER) of the CAs: one, or two during a replacement.
    pub authorities: Vec<Vec<u8>>,
    /// Certificates (DER) of previous CAs, of which only the keys in [`Trust::late`] are
    /// trusted: the key of such a CA cannot create members.
    pub former: Vec<Vec<u8>>,
    /// Members that were away when a former CA was dropped.
    pub late: BTreeSet<MemberId>,
    pub members: BTreeMap<MemberId, ClusterMember>,
    /// Keys (SPKI digests) of removed members.
    pub removed: BTreeSet<Digest>,
    /// Highest member number ever assigned, as far as this member knows.
    pub highest: MemberId,
}

/// Relation of an authenticated certificate to the member that the cluster knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CertificateRelation {
    Member,
    /// Authenticated by a key whose certificate names the known key as its predecessor:
    /// this member was away when the key changed.
    Successor,
    /// Authenticated by the CA only: its number is higher than all that this member
    /// knows, so it joined while this member was away. It may connect, so that this
    /// member can learn of it. The decision is repeated with every change.
    Newcomer,
}

/// Reason why a peer is not trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum PeerRejection {
    #[error("this member was removed from the cluster")]
    Removed,
    #[error("the certificate does not belong to member {claimed}")]
    Name { claimed: MemberId },
    /// The cluster knows another key for that member.
    #[error("the cluster knows this member with another key")]
    Key,
    #[error("no member of the cluster has this number")]
    Unknown,
    #[error("cannot parse the certificate")]
    Certificate,
}

impl Trust {
    pub(super) fn late_keys(&self) -> BTreeSet<Digest> {
        let late = self.late.iter().filter_map(|id| self.members.get(id));
        late.map(|member| member.certificate).collect()
    }

    /// Returns whether this trust and another one accept the same certificates in a handshake.
    pub(crate) fn believes_as(&self, other: &Trust) -> bool {
        self.authorities == other.authorities
            && self.former == other.former
            && self.removed == other.removed
            && self.late_keys() == other.late_keys()
    }

    /// Returns whether a certificate (DER) that was trusted once still is: its CA may
    /// have been abandoned since.
    pub(crate) fn believes_issuer_of(&self, certificate: &[u8]) -> bool {
        let given_by = |authority: &Vec<u8>| is_issued_by(certificate, authority);
        let is_late = || {
            let key = certificate_digest(certificate);
            key.is_some_and(|key| self.late_keys().contains(&key))
        };
        self.authorities.iter().any(given_by) || (self.former.iter().any(given_by) && is_late())
    }

    /// Checks whether the bearer of a certificate with a verified chain is the member
    /// that it claims to be.
    ///
    /// # Errors
    /// Returns the reason why the bearer is not trusted. [`PeerRejection::Removed`] also means a
    /// number that was given once and belongs to no member now.
    pub fn judge(
        &self,
        certificate: &[u8],
        claimed: MemberId,
    ) -> Result<CertificateRelation, PeerRejection> {
        let digest = certificate_digest(certificate).ok_or(PeerRejection::Certificate)?;
        if self.removed.contains(&digest) {
            return Err(PeerRejection::Removed);
        }
        let der = CertificateDer::from(certificate);
        let parsed = ParsedCertificate::try_from(&der).map_err(|_| PeerRejection::Certificate)?;
        if !has_name(&parsed, &member_name(&self.cluster, claimed)) {
            return Err(PeerRejection::Name { claimed });
        }
        let Some(member) = self.members.get(&claimed) else {
            return if claimed > self.highest() {
                Ok(CertificateRelation::Newcomer)
            } else {
                Err(PeerRejection::Removed)
            };
        };
        if member.certificate == digest {
            return Ok(CertificateRelation::Member);
        }
        let before = predecessor_name(&self.cluster, claimed, &member.certificate);
        if has_name(&parsed, &before) {
            return Ok(CertificateRelation::Successor);
        }
        Err(PeerRejection::Key)
    }

    /// Returns the keys that a member's next certificate may name, of those that the
    /// member says it had before. They are the current key, and those named in the
    /// certificate (DER) of its connection. None if that certificate is not for the key
    /// that the cluster knows now. So neither the holder of a former key nor one who
    /// named a successor himself gets another certificate.
    pub(crate) fn predecessors_of(
        &self,
        certificate: &[u8],
        member: MemberId,
        before: &[Digest],
    ) -> Option<Vec<Digest>> {
        let present = self.judge(certificate, member) == Ok(CertificateRelation::Member);
        let known = self.members.get(&member).filter(|_| present)?.certificate;
        let der = CertificateDer::from(certificate);
        let parsed = ParsedCertificate::try_from(&der).ok()?;
        let is_named = |key: &&Digest| {
            **key == known || has_name(&parsed, &predecessor_name(&self.cluster, member, key))
        };
        Some(before.iter().filter(is_named).copied().collect())
    }

    fn highest(&self) -> MemberId {
        let known = self.members.keys().next_back().copied();
        self.highest.max(known.unwrap_or_default())
    }
}

/// Returns whether the current CA certifies the next CA's key, and the next CA's own
/// certificate is for that key and signed by it. Validity periods are ignored, so that
/// all members get the same result.
pub(crate) fn is_vouched_for(next: &NextAuthority, present: &[u8]) -> bool {
    let key = certificate_digest(&next.certificate);
    key.is_some()
        && certificate_digest(&next.vouched) == key
        && is_issued_by(&next.vouched, present)
        && is_issued_by(&next.certificate, &next.certificate)
}
