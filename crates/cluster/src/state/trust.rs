//! Derives from the replicated state which CAs, members and keys this member trusts, and the chain
//! of certificates that it presents.

use super::ClusterState;
use crate::authority::{Trust, is_vouched_for};

impl ClusterState {
    pub fn trust(&self) -> Trust {
        let formers = self.succession.formers.iter();
        let with_late = formers.filter(|former| !former.late.is_empty());
        Trust {
            cluster: self.cluster.clone(),
            authorities: self.believed_authorities(),
            former: with_late
                .clone()
                .map(|one| one.certificate.clone())
                .collect(),
            late: with_late.flat_map(|one| one.late.clone()).collect(),
            members: self.members.clone(),
            removed: self.removed.keys().copied().collect(),
            highest: self.last_member,
        }
    }

    /// Returns the chain that members send with a certificate of this CA: the
    /// certificates that lead from it to previous CAs, then its own. None unless it is
    /// the current or the next CA.
    pub fn chain_to(&self, authority: &[u8]) -> Option<Vec<Vec<u8>>> {
        let formers = self.succession.formers.iter().rev();
        let mut chain: Vec<Vec<u8>> = formers.map(|former| former.vouched.clone()).collect();
        if let Some(next) = &self.succession.next
            && next.certificate == authority
        {
            chain.insert(0, next.vouched.clone());
        } else if self.authority != authority {
            return None;
        }
        chain.push(authority.to_vec());
        Some(chain)
    }

    /// Returns the current CA, and the next one if the current one certifies it.
    fn believed_authorities(&self) -> Vec<Vec<u8>> {
        let mut authorities = vec![self.authority.clone()];
        if let Some(next) = &self.succession.next
            && is_vouched_for(next, &self.authority)
        {
            authorities.push(next.certificate.clone());
        }
        authorities
    }
}
