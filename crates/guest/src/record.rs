//! What nodes write down in the cluster about guests and about themselves, under leases: at most
//! 320 bytes each.

use part::codec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes of a reason that are kept: three of them have room in a record.
const WHY_BYTES_MAX: usize = 40;
/// Nodes whose failures are kept.
const FAILED_MAX: usize = 2;

/// Of a guest, under its lease: written by the node that holds it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct GuestRecord {
    /// It is not to run, and why; empty: it is.
    pub stopped: String,
    /// The node that takes it next, whatever it prefers; empty: none.
    pub to: String,
    /// The nodes on which it failed too often, and why.
    pub failed: BTreeMap<String, String>,
    /// It runs, and its check is well.
    pub up: bool,
    /// The node that may have disks of it open that a storage system keeps, and its boot; empty: none.
    pub opened: String,
}

/// Of a node, under the lease that says that it is there: written by itself.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct NodeRecord {
    /// It gives its guests away.
    pub drained: bool,
    /// Bytes of memory that it has for guests.
    pub memory_bytes: u64,
    /// Processors that it has for guests.
    pub cpus: u32,
    /// It stopped in good order, without guests: it need not be fenced.
    pub leaves: bool,
    /// What became of its fencing: written by the node that fenced it.
    pub fenced: Fenced,
    /// The boot of the machine.
    pub boot: u32,
    /// A watchdog resets it if it stops feeding it.
    pub watched: bool,
}

/// What became of the fencing of a node.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fenced {
    /// It was not fenced since it wrote its record.
    #[default]
    No,
    /// It is confirmed off.
    Off,
    /// No method succeeded.
    Failed,
}

impl GuestRecord {
    /// Reads the record. An empty one is that of a guest that nobody has had yet; None: one of
    /// another program.
    pub fn decode(bytes: &[u8]) -> Option<GuestRecord> {
        match bytes {
            [] => Some(GuestRecord::default()),
            bytes => codec::decode(bytes).ok(),
        }
    }

    /// The bytes, at most 320 of them.
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
    /// Reads the record; None where there is none yet, or one of another program.
    pub fn decode(bytes: &[u8]) -> Option<NodeRecord> {
        codec::decode(bytes).ok()
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
}

/// What stands for the rest of a reason.
const REST: &str = "…";

/// The beginning of a reason: up to the end of a word, or of a character where there is none.
pub(crate) fn cut(text: &str) -> String {
    if text.len() <= WHY_BYTES_MAX {
        return text.to_owned();
    }
    let mut ends = (0..=WHY_BYTES_MAX - REST.len()).rev();
    let end = ends.find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let head = text.get(..end).unwrap_or_default();
    let is_whole = text.get(end..).is_some_and(|rest| rest.starts_with(' '));
    // A long word is cut: nothing would be left.
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
            // As it is compared with what a node read.
            assert_eq!(cut(short), short);
            assert!(cut(text).len() <= WHY_BYTES_MAX);
        }
    }
}
