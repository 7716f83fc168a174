//! Identifies collections: the sets of session hosts on which the desktop and the programs of a
//! farm run. Programs with the same hosts are in one collection, because a user has one session at
//! a host for all of them.

use crate::user::UserId;
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

pub const ID_BYTES: usize = 8;

/// Identifier of a collection: the beginning of the SHA-256 of its hosts' names. If a reload
/// changes the hosts of a program, the program is in another collection.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct CollectionId(#[serde(with = "serde_bytes")] pub [u8; ID_BYTES]);

impl CollectionId {
    pub const ALL: CollectionId = CollectionId([0; ID_BYTES]);

    pub fn of(hosts: &BTreeSet<String>) -> CollectionId {
        // Joins the names with spaces, which no name contains.
        let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let hash = digest(&SHA256, names.join(" ").as_bytes());
        let mut id = [0; ID_BYTES];
        id.iter_mut()
            .zip(hash.as_ref())
            .for_each(|(to, from)| *to = *from);
        CollectionId(id)
    }
}

impl fmt::Debug for CollectionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// A user in a collection. The directory assigns a host to each such pair.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Assignee {
    pub user: UserId,
    pub collection: CollectionId,
}

impl Assignee {
    pub fn new(user: UserId, collection: CollectionId) -> Assignee {
        Assignee { user, collection }
    }
}

impl record::Key for Assignee {
    type Group = UserId;

    fn group(&self) -> UserId {
        self.user
    }

    fn first_of(user: UserId) -> Assignee {
        Assignee::new(user, CollectionId::ALL)
    }
}

/// Uses the collection of all hosts.
impl From<UserId> for Assignee {
    fn from(user: UserId) -> Assignee {
        Assignee::new(user, CollectionId::ALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_is_its_set_of_hosts() {
        let of =
            |hosts: &[&str]| CollectionId::of(&hosts.iter().map(|one| one.to_string()).collect());
        assert_eq!(of(&["ts1", "ts2"]), of(&["ts2", "ts1", "ts2"]));
        assert_ne!(of(&["ts1", "ts2"]), of(&["ts1"]));
        assert_ne!(of(&["ts1", "ts2"]), of(&["ts1ts2"]));
        assert_ne!(of(&["ts1"]), CollectionId::ALL);
    }
}
