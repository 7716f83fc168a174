//! Encodes and decodes the record of a volume in the cluster. The record has nodes by name, so that
//! it means the same on both nodes and after a configuration change.

use super::admission::WriteAdmission;
use crate::link::frame::checksum;
use crate::overwrite::OverwriteMark;
use crate::replica::{
    CopyId, Epoch, Generation, HistoryFork, InSync, Incarnation, NodeId, Record, RecordedCopy,
};
use part::role::SHORT_RECORD_BYTES_MAX;

/// Format byte of a record without write admission.
const VERSION: u8 = 1;
const WITH_CLIENTS: u8 = 2;
/// Marker of a fork entry that contains the epoch; no real fork has this value. Releases without
/// epochs preserve the entry.
const SAYS_EPOCH: Incarnation = Incarnation(0);
/// Marker of a fork entry that contains the user whose node was admitted; no real fork has this
/// value. Releases without users preserve the entry.
const SAYS_USER: Incarnation = Incarnation(u64::MAX);
/// First 16 bits of the marker of a fork entry that contains the identity of a copy. The rest is a
/// checksum of the node's name and of the generation: releases without identities preserve the
/// entry, and a record that they have changed does not have that generation. Markers are even, and
/// real forks odd.
const SAYS_COPY: u64 = 0xc0b1;
/// First 16 bits of the marker of a fork entry that contains the mark of an incomplete volume, or
/// 0. The rest is the number of changes of the mark, and a zero bit: markers are even, and real
/// forks odd. Releases without marks preserve the entry.
const SAYS_OVERWRITE: u64 = 0xc0b2;
const STRANGER: NodeId = NodeId(2);

/// Number of this node within the replica.
pub(super) const ME: NodeId = NodeId(0);
pub(super) const OTHER: NodeId = NodeId(1);

/// Names of the two nodes. The other name is empty if the configuration names one node for a volume
/// that had two copies. It then stands for every other node in the record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NodeNames {
    pub(super) me: String,
    pub(super) other: String,
}

fn copy_marker(node: &str, generation: u64) -> Incarnation {
    let sum = checksum(&[&generation.to_le_bytes(), node.as_bytes()].concat());
    Incarnation(SAYS_COPY << 48 | sum >> 16 & !1)
}

fn says_copy(entry: Incarnation) -> bool {
    entry.0 >> 48 == SAYS_COPY && entry.0 & 1 == 0
}

fn overwrite_marker(marks: u64) -> Incarnation {
    Incarnation(SAYS_OVERWRITE << 48 | (marks << 1) & 0xffff_ffff_fffe)
}

fn says_overwrite(entry: Incarnation) -> Option<u64> {
    let is_one = entry.0 >> 48 == SAYS_OVERWRITE && entry.0 & 1 == 0;
    is_one.then_some(entry.0 >> 1 & 0x7fff_ffff_ffff)
}

impl NodeNames {
    pub(super) fn of(&self, node: NodeId) -> &str {
        match node {
            ME => &self.me,
            OTHER => &self.other,
            _ => "",
        }
    }

    pub(super) fn node(&self, name: &str) -> NodeId {
        match name {
            name if name == self.me => ME,
            name if name == self.other || self.other.is_empty() => OTHER,
            _ => STRANGER,
        }
    }

    /// Encodes a record with its write admission. Omits the oldest forks if space is short.
    pub(super) fn encode(&self, record: &Record, clients: &WriteAdmission) -> Vec<u8> {
        let with_clients = clients.count > 0;
        let mut bytes = vec![if with_clients { WITH_CLIENTS } else { VERSION }];
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
        if with_clients {
            bytes.extend_from_slice(&clients.count.to_le_bytes());
            bytes.push(clients.only.len() as u8);
            bytes.extend_from_slice(clients.only.as_bytes());
        }
        let copies = record.copies.iter().map(|one| HistoryFork {
            incarnation: copy_marker(self.of(one.node), record.generation.0),
            at: Generation(one.copy.0),
        });
        let has_mark = clients.marks > 0 || clients.overwrite.is_some();
        let mark = has_mark.then(|| HistoryFork {
            incarnation: overwrite_marker(clients.marks),
            at: Generation(clients.overwrite.map_or(0, OverwriteMark::number)),
        });
        let needs = 32 + (copies.len() + usize::from(has_mark)) * 16;
        let room = SHORT_RECORD_BYTES_MAX.saturating_sub(bytes.len() + needs) / 16;
        let left_out = record.forks.len().saturating_sub(room);
        let epoch = HistoryFork {
            incarnation: SAYS_EPOCH,
            at: Generation(record.epoch.0),
        };
        let user = (clients.user != 0).then_some(HistoryFork {
            incarnation: SAYS_USER,
            at: Generation(clients.user),
        });
        let forks = record.forks[left_out..].iter();
        let forks = forks.copied().chain(copies);
        for fork in forks.chain(mark).chain([epoch]).chain(user) {
            bytes.extend_from_slice(&fork.incarnation.0.to_le_bytes());
            bytes.extend_from_slice(&fork.at.0.to_le_bytes());
        }
        bytes
    }

    /// Returns the nodes with a complete copy according to a record, if the configuration names
    /// none of them.
    pub(super) fn complete_strangers(&self, bytes: &[u8]) -> Vec<String> {
        let names = complete_nodes(bytes).map_or(Vec::new(), |(names, _)| names);
        if names.iter().all(|name| self.node(name) == STRANGER) {
            names.into_iter().map(str::to_owned).collect()
        } else {
            Vec::new()
        }
    }

    /// Decodes a record with its write admission; None if its format is unknown or invalid.
    pub(super) fn decode(&self, bytes: &[u8]) -> Option<(Record, WriteAdmission)> {
        let (version, mut head) = bytes.split_first()?;
        let number = |rest: &mut &[u8]| {
            let (number, behind) = rest.split_first_chunk()?;
            *rest = behind;
            Some(u64::from_le_bytes(*number))
        };
        let (incarnation, generation) = (number(&mut head)?, number(&mut head)?);
        let (names, mut rest) = complete_nodes(bytes)?;
        let nodes: Vec<NodeId> = names.iter().map(|name| self.node(name)).collect();
        let in_sync = match nodes[..] {
            [one] => InSync::One(one),
            [one, other] => InSync::Both(one, other),
            _ => return None,
        };
        let mut clients = WriteAdmission::default();
        if *version == WITH_CLIENTS {
            clients.count = number(&mut rest)?;
            let (length, behind) = rest.split_first()?;
            let (name, behind) = behind.split_at_checked(usize::from(*length))?;
            std::str::from_utf8(name)
                .ok()?
                .clone_into(&mut clients.only);
            rest = behind;
        }
        let (mut forks, mut copies) = (Vec::new(), Vec::new());
        let mut epoch = 0;
        while !rest.is_empty() {
            match (Incarnation(number(&mut rest)?), number(&mut rest)?) {
                (SAYS_EPOCH, at) => epoch = epoch.max(at),
                (SAYS_USER, user) => clients.user = user,
                (entry, mark) if says_overwrite(entry).is_some() => {
                    clients.marks = says_overwrite(entry).unwrap_or_default();
                    clients.overwrite = OverwriteMark::from_number(mark);
                }
                (entry, copy) if says_copy(entry) => {
                    let mut marked = names.iter().zip(&nodes);
                    let of = marked.find(|(name, _)| copy_marker(name, generation) == entry);
                    copies.extend(of.filter(|_| copy != 0).map(|(_, node)| RecordedCopy {
                        node: *node,
                        copy: CopyId(copy),
                    }));
                }
                (incarnation, at) => forks.push(HistoryFork {
                    incarnation,
                    at: Generation(at),
                }),
            }
        }
        let record = Record {
            incarnation: Incarnation(incarnation),
            generation: Generation(generation),
            epoch: Epoch(epoch),
            in_sync,
            copies,
            forks,
        };
        [VERSION, WITH_CLIENTS]
            .contains(version)
            .then_some((record, clients))
    }
}

pub fn nodes_with_complete_copy(record: &[u8]) -> Vec<&str> {
    complete_nodes(record).map_or(Vec::new(), |(nodes, _)| nodes)
}

fn complete_nodes(bytes: &[u8]) -> Option<(Vec<&str>, &[u8])> {
    // Skips the format byte, the incarnation and the generation.
    let (count, mut rest) = bytes.get(17..)?.split_first()?;
    let mut nodes = Vec::new();
    for _ in 0..*count {
        let (length, behind) = rest.split_first()?;
        let (name, behind) = behind.split_at_checked(usize::from(*length))?;
        nodes.push(std::str::from_utf8(name).ok()?);
        rest = behind;
    }
    Some((nodes, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::FORKS_MAX;
    use proptest::prelude::*;

    fn names(me: &str, other: &str) -> NodeNames {
        NodeNames {
            me: me.to_owned(),
            other: other.to_owned(),
        }
    }

    fn all() -> WriteAdmission {
        WriteAdmission::default()
    }

    fn only(node: &str, count: u64) -> WriteAdmission {
        let only = node.to_owned();
        WriteAdmission {
            count,
            only,
            user: count / 2,
            ..WriteAdmission::default()
        }
    }

    fn marked(admission: WriteAdmission, marks: u64, number: u64) -> WriteAdmission {
        WriteAdmission {
            marks,
            overwrite: OverwriteMark::from_number(number),
            ..admission
        }
    }

    fn record(in_sync: InSync) -> Record {
        Record {
            incarnation: Incarnation(3),
            generation: Generation(70_000),
            epoch: Epoch(9),
            in_sync,
            copies: Vec::new(),
            forks: vec![HistoryFork {
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
            for clients in [all(), only("alpha", 1), only("beta", 7), only("", 300)] {
                let bytes = alpha.encode(&record(here), &clients);
                assert_eq!(alpha.decode(&bytes), Some((record(here), clients.clone())));
                assert_eq!(beta.decode(&bytes), Some((record(there), clients)));
            }
        }
        // The copy of a node that is no longer configured is ignored.
        let bytes = alpha.encode(&record(InSync::Both(ME, OTHER)), &all());
        let (changed, _) = names("alpha", "gamma").decode(&bytes).unwrap();
        assert!(changed.in_sync.contains(ME) && !changed.in_sync.contains(OTHER));
        // A complete copy of such a node is reported only if no configured copy is complete.
        let (nobody, beta_only) = (Vec::<String>::new(), vec!["beta".to_owned()]);
        assert_eq!(names("alpha", "gamma").complete_strangers(&bytes), nobody);
        let only_beta = alpha.encode(&record(InSync::One(OTHER)), &all());
        let strangers = names("alpha", "gamma").complete_strangers(&only_beta);
        assert_eq!(strangers, beta_only);
        assert_eq!(alpha.complete_strangers(&only_beta), nobody);
        assert_eq!(names("alpha", "").complete_strangers(&only_beta), nobody);
        let (single, _) = names("alpha", "").decode(&bytes).unwrap();
        assert_eq!(single.in_sync, InSync::Both(ME, OTHER));
    }

    /// Returns a record with identities of its copies.
    fn identified(in_sync: InSync) -> Record {
        let copies = [(ME, 11), (OTHER, 22)].map(|(node, copy)| RecordedCopy {
            node,
            copy: CopyId(copy),
        });
        let copies = copies.into_iter().filter(|one| in_sync.contains(one.node));
        Record {
            copies: copies.collect(),
            ..record(in_sync)
        }
    }

    #[test]
    fn identities_of_copies_are_of_their_nodes_and_of_one_generation() {
        let (alpha, beta) = (names("alpha", "beta"), names("beta", "alpha"));
        for in_sync in [InSync::One(ME), InSync::One(OTHER), InSync::Both(ME, OTHER)] {
            let record = identified(in_sync);
            let bytes = alpha.encode(&record, &only("beta", 3));
            assert_eq!(
                alpha.decode(&bytes),
                Some((record.clone(), only("beta", 3)))
            );
            let (there, _) = beta.decode(&bytes).unwrap();
            assert_eq!(there.copy_of(ME), record.copy_of(OTHER));
            assert_eq!(there.copy_of(OTHER), record.copy_of(ME));
        }
        // A release without identities preserves the entries and changes the generation.
        let mut bytes = alpha.encode(&identified(InSync::One(ME)), &all());
        bytes[9..17].copy_from_slice(&70_001_u64.to_le_bytes());
        let (changed, _) = alpha.decode(&bytes).unwrap();
        assert_eq!((changed.copies, changed.forks.len()), (Vec::new(), 1));
    }

    #[test]
    fn mark_of_an_incomplete_volume_is_read_by_both_nodes() {
        let (alpha, beta) = (names("alpha", "beta"), names("beta", "alpha"));
        let record = identified(InSync::Both(ME, OTHER));
        for clients in [
            marked(all(), 0, 1),
            marked(only("beta", 7), 3, u64::MAX),
            // The mark was removed; the number of its changes continues.
            marked(only("", 9), 4, 0),
        ] {
            let bytes = alpha.encode(&record, &clients);
            assert_eq!(
                alpha.decode(&bytes),
                Some((record.clone(), clients.clone()))
            );
            assert_eq!(beta.decode(&bytes).unwrap().1, clients);
        }
        // Releases without marks read the entry as a fork, and write it again.
        let clients = marked(only("beta", 7), 3, 0x0100_0000_0000_0007);
        let bytes = alpha.encode(&record, &clients);
        let marker = overwrite_marker(3).0.to_le_bytes();
        assert_eq!(marker, [6, 0, 0, 0, 0, 0, 0xb2, 0xc0]);
        let at = bytes.windows(8).position(|window| window == marker);
        assert_eq!(bytes[at.unwrap() + 8..][..8], [7, 0, 0, 0, 0, 0, 0, 1]);
        assert!(
            record
                .forks
                .iter()
                .all(|fork| says_overwrite(fork.incarnation).is_none())
        );
        let without = alpha.encode(&record, &only("beta", 7));
        assert_eq!(bytes.len(), without.len() + 16);
    }

    #[test]
    fn a_record_fits_the_cluster_limit() {
        let long = names(&"a".repeat(63), &"b".repeat(63));
        let mut full = identified(InSync::Both(ME, OTHER));
        full.forks = (1..=FORKS_MAX as u64)
            .map(|number| HistoryFork {
                incarnation: Incarnation(number),
                at: Generation(number),
            })
            .collect();
        let clients = marked(only(&"b".repeat(63), u64::MAX), 9, 7);
        let bytes = long.encode(&full, &clients);
        assert!(bytes.len() <= SHORT_RECORD_BYTES_MAX, "{}", bytes.len());
        let (back, back_clients) = long.decode(&bytes).unwrap();
        assert_eq!(back.forks.last(), full.forks.last());
        assert_eq!((back.copies, back_clients), (full.copies.clone(), clients));
        full.copies.clear();
        let short = names("alpha", "beta");
        let back = short.decode(&short.encode(&full, &all()));
        assert_eq!(back, Some((full, all())));
    }

    #[test]
    fn records_of_versions_without_epochs_are_readable() {
        let names = names("alpha", "beta");
        let (mut bytes, mut before) = (vec![1], record(InSync::One(ME)));
        for number in [3_u64, 70_000] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(b"\x01\x05alpha");
        for number in [2_u64, 4] {
            bytes.extend(number.to_le_bytes());
        }
        before.epoch = Epoch(0);
        assert_eq!(names.decode(&bytes), Some((before, all())));
        // Old releases preserve an epoch entry before or after later forks; the latest one counts.
        for (incarnation, at) in [(0, 7_u64), (1, 5), (0, 9), (0, 8)] {
            bytes.extend(u64::to_le_bytes(incarnation));
            bytes.extend(at.to_le_bytes());
        }
        let (read, _) = names.decode(&bytes).unwrap();
        assert_eq!((read.epoch, read.forks.len()), (Epoch(9), 2));
    }

    proptest! {
        #[test]
        fn random_bytes_are_a_record_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = names("alpha", "beta").decode(&bytes);
        }
    }
}
