//! The record of a volume: what the cluster agrees on. Bound to the lease, so that only
//! the holder of the current epoch changes it, and every grant comes with it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A node that has a copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Node(pub u16);

/// Epoch of the volume's lease. Grows by one with every grant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// Counts the changes of a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Generation(pub u64);

/// One history of a volume's content. An operator who decides between diverged copies, or
/// who serves a copy that may lack writes, starts another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// Former incarnations that a record names at most.
pub const FORKS_MAX: usize = 16;

/// A former incarnation, and the generation at which it was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fork {
    /// The incarnation that was left.
    pub incarnation: Incarnation,
    /// Its last generation that the current incarnation contains.
    pub at: Generation,
}

/// The copies that have every acknowledged write: one or both.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InSync {
    /// This one only.
    One(Node),
    /// Both of them.
    Both(Node, Node),
}

impl InSync {
    /// Returns whether the copy of this node is one of them.
    pub fn contains(self, node: Node) -> bool {
        match self {
            InSync::One(one) => one == node,
            InSync::Both(one, other) => one == node || other == node,
        }
    }

    /// Returns whether there are two.
    pub fn is_both(self) -> bool {
        matches!(self, InSync::Both(..))
    }
}

/// What the cluster knows of a volume's copies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The history of content that is valid.
    pub incarnation: Incarnation,
    /// Counted up by every change.
    pub generation: Generation,
    /// The epoch in which it was proposed, which each copy in it has promised; 0 if that is
    /// not known.
    pub epoch: Epoch,
    /// The copies that have every acknowledged write.
    pub in_sync: InSync,
    /// Former incarnations, the newest last; at most [`FORKS_MAX`].
    pub forks: Vec<Fork>,
}

impl Generation {
    /// The next one. A record that has the last one is damaged: it cannot be changed.
    pub fn next(self) -> Generation {
        Generation(self.0.saturating_add(1))
    }
}

impl Record {
    /// The next record, which an owner in this epoch proposes, with other copies in sync.
    pub fn with(&self, epoch: Epoch, in_sync: InSync) -> Record {
        Record {
            generation: self.generation.next(),
            epoch,
            in_sync,
            ..self.clone()
        }
    }
}

impl fmt::Display for Node {
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
            in_sync: InSync::One(Node(0)),
            forks: Vec::new(),
        };
        let next = damaged.with(Epoch(1), InSync::Both(Node(0), Node(1)));
        assert_eq!(next.generation, damaged.generation);
    }
}
