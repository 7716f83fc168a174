//! Defines the record of a volume: the state that the cluster agrees on. The record is bound to the
//! lease: only the holder of the current epoch changes it, and every grant includes it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Number that stands for a node that has, or had, a copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct NodeId(pub u16);

/// Epoch of the volume's lease, incremented by every grant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// Number of changes of a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Generation(pub u64);

/// Number of a history of a volume's content. A new history starts when an operator decides between
/// diverged copies, or serves a copy that may lack writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

pub const FORKS_MAX: usize = 16;

/// Earlier history of the volume's content, and the generation up to which it is part of the
/// current one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HistoryFork {
    pub incarnation: Incarnation,
    /// Last generation of the earlier history that the current history contains.
    pub at: Generation,
}

/// Identity of one copy: a random number, drawn when the copy is created.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CopyId(pub u64);

/// Identity of the copy that a record lists for a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecordedCopy {
    pub node: NodeId,
    pub copy: CopyId,
}

/// Copies with every acknowledged write: one or both.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InSync {
    One(NodeId),
    Both(NodeId, NodeId),
}

impl InSync {
    pub fn contains(self, node: NodeId) -> bool {
        match self {
            InSync::One(one) => one == node,
            InSync::Both(one, other) => one == node || other == node,
        }
    }

    pub fn is_both(self) -> bool {
        matches!(self, InSync::Both(..))
    }
}

/// Record of the cluster about the copies of a volume: which of them have every acknowledged write.
/// Only the holder of the lease proposes the next record, with the next generation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    pub incarnation: Incarnation,
    /// Generation, which every change increments.
    pub generation: Generation,
    /// Epoch in which the record was proposed, and which each copy in the record has promised; 0 if
    /// unknown.
    pub epoch: Epoch,
    pub in_sync: InSync,
    /// Identities of the copies in `in_sync`, as far as they are known. A copy with another
    /// identity at such a node does not have every acknowledged write.
    pub copies: Vec<RecordedCopy>,
    /// Earlier histories, the newest last; at most [`FORKS_MAX`].
    pub forks: Vec<HistoryFork>,
}

impl Generation {
    /// Returns the next generation. A record with the maximum generation is damaged and cannot be
    /// changed.
    pub fn next(self) -> Generation {
        Generation(self.0.saturating_add(1))
    }
}

impl Record {
    /// Returns the next record with other copies in sync, proposed by an owner in this epoch.
    pub fn with(&self, epoch: Epoch, in_sync: InSync, copies: Vec<RecordedCopy>) -> Record {
        Record {
            generation: self.generation.next(),
            epoch,
            in_sync,
            copies,
            incarnation: self.incarnation,
            forks: self.forks.clone(),
        }
    }

    /// Returns the identity of the copy that is in sync at the node; None if it is unknown.
    pub fn copy_of(&self, node: NodeId) -> Option<CopyId> {
        let mut copies = self.copies.iter();
        copies.find(|one| one.node == node).map(|one| one.copy)
    }

    /// Returns whether the copy with this identity can be the recorded one at the node. An unknown
    /// identity counts as equal.
    pub fn can_mean(&self, node: NodeId, copy: Option<CopyId>) -> bool {
        let known = copy.zip(self.copy_of(node));
        known.is_none_or(|(copy, recorded)| copy == recorded)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_record_with_the_last_generation_has_no_next_one() {
        let damaged = Record {
            incarnation: Incarnation(1),
            generation: Generation(u64::MAX),
            epoch: Epoch(1),
            in_sync: InSync::One(NodeId(0)),
            copies: Vec::new(),
            forks: Vec::new(),
        };
        let both = InSync::Both(NodeId(0), NodeId(1));
        let next = damaged.with(Epoch(1), both, Vec::new());
        assert_eq!(next.generation, damaged.generation);
    }
}
