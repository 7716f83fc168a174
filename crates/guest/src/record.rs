//! Encodes and decodes the records of guests and nodes that the nodes write to the cluster under
//! leases: at most 320 bytes each.

use part::codec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Maximum length of a reason, bytes: a record has room for three of them.
const WHY_BYTES_MAX: usize = 40;
const FAILED_MAX: usize = 2;

/// Record of a guest under its lease, written by the node that holds the lease.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct GuestRecord {
    /// Reason why the guest must stay stopped; empty: it should run.
    pub stopped: String,
    /// Node to which the guest moves next, regardless of its preferences; empty: none.
    pub to: String,
    pub failed: BTreeMap<String, String>,
    pub up: bool,
    /// Node that may have the guest's disks on external storage open, and the number of its boot;
    /// empty: none.
    pub opened: String,
}

/// Record of a node under its own lease, written by the node itself.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct NodeRecord {
    pub drained: bool,
    /// True if the node proposes its drain, and drains unless no other node accepts its guests.
    pub wants_drain: bool,
    pub refused_drains: u32,
    pub memory_bytes: u64,
    pub cpus: u32,
    /// True if the node stopped in an orderly way and without guests, so that it need not be
    /// fenced.
    pub leaves: bool,
    /// Result of the fencing of this node, which the fencing node has written.
    pub fenced: Fenced,
    pub boot: u32,
    pub watched: bool,
}

/// Result of the fencing of a node.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fenced {
    #[default]
    No,
    Off,
    Failed,
}

impl GuestRecord {
    /// Decodes the record of a guest. An empty record is the default: no node has had the guest
    /// yet. None: the bytes are not the record of a guest.
    pub fn decode(bytes: &[u8]) -> Option<GuestRecord> {
        match bytes {
            [] => Some(GuestRecord::default()),
            bytes => codec::decode(bytes).ok(),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let failed = self.failed.iter().rev().take(FAILED_MAX);
        let short = GuestRecord {
            stopped: cut(&self.stopped),
            to: self.to.clone(),
            failed: failed.map(|(node, why)| (node.clone(), cut(why))).collect(),
            up: self.up,
            opened: self.opened.clone(),
        };
        codec::encode(&short)
    }
}

impl NodeRecord {
    /// Decodes the record of a node. None: there is no record yet, or the bytes are not the record
    /// of a node.
    pub fn decode(bytes: &[u8]) -> Option<NodeRecord> {
        codec::decode(bytes).ok()
    }

    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
}

const REST: &str = "…";

/// Truncates a reason to its maximum length, at the end of a word, or else of a character.
pub(crate) fn cut(text: &str) -> String {
    if text.len() <= WHY_BYTES_MAX {
        return text.to_owned();
    }
    let head = language::truncated(text, WHY_BYTES_MAX - REST.len());
    let end = head.len();
    let is_whole = text.get(end..).is_some_and(|rest| rest.starts_with(' '));
    // Cuts within a long word, because nothing would be left otherwise.
    let word = head.rfind(' ').filter(|at| !is_whole && *at >= end / 2);
    let head = word.and_then(|at| head.get(..at)).unwrap_or(head);
    format!("{}{REST}", head.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::role::SHORT_RECORD_BYTES_MAX;

    #[test]
    fn the_longest_record_has_room_under_a_lease() {
        let long = "ä".repeat(1000);
        let node = |letter: &str| letter.repeat(24);
        let record = GuestRecord {
            stopped: long.clone(),
            to: node("x"),
            failed: ["a", "b", "c"].map(|one| (node(one), long.clone())).into(),
            up: true,
            opened: format!("{} {:x}", node("y"), u32::MAX),
        };
        let bytes = record.encode();
        assert!(bytes.len() <= SHORT_RECORD_BYTES_MAX, "{}", bytes.len());
        let read = GuestRecord::decode(&bytes).unwrap();
        assert_eq!((read.stopped.len(), read.failed.len()), (39, 2));
        assert_eq!(read.opened, record.opened);
        assert_eq!(GuestRecord::decode(&[]), Some(GuestRecord::default()));
        assert_eq!(GuestRecord::decode(b"nonsense"), None);
    }

    #[test]
    fn a_reason_is_cut_between_words_and_says_so() {
        for (text, short) in [
            ("QEMU was ended by signal 9", "QEMU was ended by signal 9"),
            (
                "/srv/iso/debian.iso cannot be read on this node: No such file",
                "/srv/iso/debian.iso cannot be read on…",
            ),
            (
                "the bridge 'br-customers' of its card is not there",
                "the bridge 'br-customers' of its card…",
            ),
            (
                "at /srv/images/a-directory-with-a-long-name/x",
                "at /srv/images/a-directory-with-a-lon…",
            ),
        ] {
            assert_eq!(cut(text), short);
            // A reason is cut again when it is compared with a record, so a cut reason must stay
            // the same.
            assert_eq!(cut(short), short);
            assert!(cut(text).len() <= WHY_BYTES_MAX);
        }
    }
}
