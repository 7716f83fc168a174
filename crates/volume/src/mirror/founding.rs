//! Decides with which copy a mirrored volume without a cluster record starts. Does no I/O.
//!
//! A copy with data is never discarded in favour of an empty one. If both copies have data, only
//! an operator may choose.

use crate::config::size_words;
use crate::link::greeting::ReplicaProperties;
use crate::replica::VolumeId;

/// Action of the lease holder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum FoundingAction {
    Waits,
    /// Makes its own empty copy the first copy of the volume.
    Creates,
    /// Records its own copy, which has the volume's content.
    Records,
    /// Releases the lease, because the other node has the data.
    GivesWay,
    /// Waits for an operator's decision; the text gives the reason.
    Refuses(String),
    /// Releases the lease, because this release cannot decode the cluster's record.
    Unreadable,
}

/// Decides what the lease holder does. `theirs` is None until the other node has sent its facts.
pub(super) fn decide(
    mine: &ReplicaProperties,
    theirs: Option<&ReplicaProperties>,
    adopts: bool,
) -> FoundingAction {
    if adopts {
        return match mine.volume {
            Some(_) => FoundingAction::Records,
            None => FoundingAction::Creates,
        };
    }
    let Some(theirs) = theirs else {
        return FoundingAction::Waits;
    };
    if theirs.size_bytes != mine.size_bytes {
        return FoundingAction::Refuses(sizes(mine, theirs));
    }
    match (mine.volume, theirs.volume) {
        (None, None) => FoundingAction::Creates,
        (None, Some(_)) => FoundingAction::GivesWay,
        // Records this copy: only one copy was used before, or this is the second attempt.
        (Some(_), None) => FoundingAction::Records,
        (Some(mine), Some(theirs)) => FoundingAction::Refuses(both(mine, theirs)),
    }
}

fn sizes(mine: &ReplicaProperties, theirs: &ReplicaProperties) -> String {
    let [here, there] = [mine, theirs].map(|facts| size_words(facts.size_bytes));
    let size = match (mine.volume, theirs.volume) {
        (Some(_), None) => &here,
        (None, Some(_)) => &there,
        _ if mine.size_bytes >= theirs.size_bytes => &here,
        _ => &there,
    };
    format!(
        "the copies differ in size: {here} here, {there} at the other node. On the node with the copy of another size \
         than {size}, remove it (`evenkeel volume remove`) and create it again with `size {size}` in the section"
    )
}

fn both(mine: VolumeId, theirs: VolumeId) -> String {
    let what = if mine == theirs {
        "both copies have data, and the cluster has lost its record of which one is complete"
    } else {
        "both nodes have a volume of this name with data of its own"
    };
    format!(
        "{what}: nothing is changed. `evenkeel volume adopt NAME --yes` starts with the copy of the node \
         where it is run"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(volume: Option<u8>) -> ReplicaProperties {
        ReplicaProperties {
            volume: volume.map(|byte| VolumeId([byte; 16])),
            size_bytes: 4096,
        }
    }

    #[test]
    fn data_is_never_discarded_by_a_guess() {
        use FoundingAction::{Creates, GivesWay, Records, Waits};
        for (mine, theirs, adopts, decided) in [
            (None, None, false, Waits),
            (Some(1), None, false, Waits),
            (None, Some(None), false, Creates),
            (None, Some(Some(1)), false, GivesWay),
            (Some(1), Some(None), false, Records),
            (Some(1), Some(Some(1)), true, Records),
            (Some(1), None, true, Records),
            (None, None, true, Creates),
        ] {
            let theirs = theirs.map(facts);
            assert_eq!(decide(&facts(mine), theirs.as_ref(), adopts), decided);
        }
        for theirs in [1, 2] {
            let decided = decide(&facts(Some(1)), Some(&facts(Some(theirs))), false);
            assert!(matches!(decided, FoundingAction::Refuses(_)), "{decided:?}");
        }
        let mut larger = facts(None);
        larger.size_bytes = 8192;
        let decided = decide(&facts(Some(1)), Some(&larger), false);
        assert!(matches!(decided, FoundingAction::Refuses(_)), "{decided:?}");
    }
}
