//! The record of a volume as the cluster keeps it: nodes by their names, so that it means the
//! same on both of them and after a change of the file.

use crate::replica::{Fork, Generation, InSync, Incarnation, Node, Record};
use part::role::RECORD_BYTES_MAX;

/// The first byte.
const VERSION: u8 = 1;
/// A node that the file does not name any more.
const STRANGER: Node = Node(2);

/// This node and the other one, as the replica numbers them.
pub(super) const ME: Node = Node(0);
pub(super) const OTHER: Node = Node(1);

/// The names of the two nodes. The other one has none where the file names one node for a
/// volume that had two copies: then it is each that the record has beside this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Names {
    pub(super) me: String,
    pub(super) other: String,
}

impl Names {
    fn of(&self, node: Node) -> &str {
        match node {
            ME => &self.me,
            OTHER => &self.other,
            _ => "",
        }
    }

    fn node(&self, name: &str) -> Node {
        match name {
            name if name == self.me => ME,
            name if name == self.other || self.other.is_empty() => OTHER,
            _ => STRANGER,
        }
    }

    /// The bytes of a record. Forks for which there is no room are left out, the oldest first.
    pub(super) fn encode(&self, record: &Record) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for number in [record.incarnation.0, record.generation.0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let nodes = match record.in_sync {
            InSync::One(one) => vec![one],
            InSync::Both(one, other) => vec![one, other],
        };
        bytes.push(nodes.len() as u8);
        for node in nodes {
            let name = self.of(node).as_bytes();
            bytes.push(name.len() as u8);
            bytes.extend_from_slice(name);
        }
        let room = RECORD_BYTES_MAX.saturating_sub(bytes.len()) / 16;
        let left_out = record.forks.len().saturating_sub(room);
        for fork in &record.forks[left_out..] {
            bytes.extend_from_slice(&fork.incarnation.0.to_le_bytes());
            bytes.extend_from_slice(&fork.at.0.to_le_bytes());
        }
        bytes
    }

    /// Reads a record; None if it is none of this version.
    pub(super) fn decode(&self, bytes: &[u8]) -> Option<Record> {
        let (version, mut rest) = bytes.split_first()?;
        let number = |rest: &mut &[u8]| {
            let (number, behind) = rest.split_first_chunk()?;
            *rest = behind;
            Some(u64::from_le_bytes(*number))
        };
        let (incarnation, generation) = (number(&mut rest)?, number(&mut rest)?);
        let (count, mut rest) = rest.split_first()?;
        let mut nodes = Vec::new();
        for _ in 0..*count {
            let (length, behind) = rest.split_first()?;
            let (name, behind) = behind.split_at_checked(usize::from(*length))?;
            nodes.push(self.node(std::str::from_utf8(name).ok()?));
            rest = behind;
        }
        let in_sync = match nodes[..] {
            [one] => InSync::One(one),
            [one, other] => InSync::Both(one, other),
            _ => return None,
        };
        let mut forks = Vec::new();
        while !rest.is_empty() {
            forks.push(Fork {
                incarnation: Incarnation(number(&mut rest)?),
                at: Generation(number(&mut rest)?),
            });
        }
        (*version == VERSION).then_some(Record {
            incarnation: Incarnation(incarnation),
            generation: Generation(generation),
            in_sync,
            forks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::FORKS_MAX;
    use proptest::prelude::*;

    fn names(me: &str, other: &str) -> Names {
        Names {
            me: me.to_owned(),
            other: other.to_owned(),
        }
    }

    fn record(in_sync: InSync) -> Record {
        Record {
            incarnation: Incarnation(3),
            generation: Generation(70_000),
            in_sync,
            forks: vec![Fork {
                incarnation: Incarnation(2),
                at: Generation(4),
            }],
        }
    }

    #[test]
    fn the_other_node_reads_the_same_record() {
        let (alpha, beta) = (names("alpha", "beta"), names("beta", "alpha"));
        for (here, there) in [
            (InSync::One(ME), InSync::One(OTHER)),
            (InSync::One(OTHER), InSync::One(ME)),
            (InSync::Both(ME, OTHER), InSync::Both(OTHER, ME)),
        ] {
            let bytes = alpha.encode(&record(here));
            assert_eq!(alpha.decode(&bytes), Some(record(here)));
            assert_eq!(beta.decode(&bytes), Some(record(there)));
        }
        // A node that is not named any more has a copy that nobody asks.
        let bytes = alpha.encode(&record(InSync::Both(ME, OTHER)));
        let changed = names("alpha", "gamma").decode(&bytes).unwrap();
        assert!(changed.in_sync.contains(ME) && !changed.in_sync.contains(OTHER));
        let single = names("alpha", "").decode(&bytes).unwrap();
        assert_eq!(single.in_sync, InSync::Both(ME, OTHER));
    }

    #[test]
    fn a_record_has_the_room_that_the_cluster_gives() {
        let long = names(&"a".repeat(63), &"b".repeat(63));
        let mut full = record(InSync::Both(ME, OTHER));
        full.forks = (0..FORKS_MAX as u64)
            .map(|number| Fork {
                incarnation: Incarnation(number),
                at: Generation(number),
            })
            .collect();
        let bytes = long.encode(&full);
        assert!(bytes.len() <= RECORD_BYTES_MAX, "{}", bytes.len());
        let back = long.decode(&bytes).unwrap();
        assert_eq!(back.forks.last(), full.forks.last());
        let short = names("alpha", "beta");
        assert_eq!(short.decode(&short.encode(&full)), Some(full));
    }

    proptest! {
        #[test]
        fn bytes_of_anybody_are_a_record_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = names("alpha", "beta").decode(&bytes);
        }
    }
}
