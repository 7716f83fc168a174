//! Rewrites the store of a member that has lost the others for good, so that it continues alone.

use crate::log::{Entry, LogId, Vote};
use crate::member::MemberId;
use crate::store::disk::Op;
use crate::store::{Store, StoreError};
use openraft::entry::RaftEntry;
use openraft::vote::RaftLeaderIdExt;
use openraft::{EmptyNode, EntryPayload, Membership};
use part::codec;
use part::lock;
use std::collections::{BTreeMap, BTreeSet};

/// Positions in the log of a member that continues alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// Index of the last entry that was known to be committed.
    pub agreed: Option<u64>,
    /// Index of the last entry of the log. The entries after `agreed` may never have been
    /// committed, and count as committed from now on.
    pub last: Option<u64>,
}

impl Store {
    /// Makes this member alone the cluster, while no engine uses the store. Everything
    /// that the others committed without it is lost, and they must not return as the
    /// members that they were. The caller must warn of that.
    ///
    /// # Errors
    /// Fails if the disk does.
    pub fn rewrite_membership(&self, alone: MemberId) -> Result<Recovered, StoreError> {
        let (last, committed, vote) = {
            let book = lock(&self.book);
            (book.last, book.committed, book.vote)
        };
        let term = vote
            .map_or(0, |vote| vote.leader_id.term)
            .max(last.map_or(0, |id| id.leader_id.term))
            + 1;
        let index = last.map_or(0, |id| id.index + 1);
        let membership = Membership::new(
            vec![BTreeSet::from([alone])],
            BTreeMap::from([(alone, EmptyNode::default())]),
        );
        let entry = match membership {
            Ok(membership) => Entry::new(
                LogId::new(crate::log::LeaderId::new_committed(term, alone), index),
                EntryPayload::Membership(membership),
            ),
            // Cannot fail: the only voter is among the nodes of the membership.
            Err(_) => return Err(StoreError::Ended),
        };
        let vote = Vote::new(term, alone);
        let bytes = codec::encode(&entry);
        self.disk.write(
            &[
                Op::Vote(vote),
                Op::Append {
                    id: entry.log_id,
                    bytes,
                    write: 0,
                },
            ],
            true,
        )?;
        let mut book = lock(&self.book);
        (book.vote, book.prepared) = (Some(vote), None);
        book.last = Some(entry.log_id);
        book.cache.truncate(0);
        Ok(Recovered {
            agreed: committed.map(|id| id.index),
            last: last.map(|id| id.index),
        })
    }
}
