//! What the role after this one has to know of a farm: who has which host, and what operators drained.

use super::Site;
use crate::directory::{Entry, Presence};
use crate::user::{ID_BYTES, UserId};
use part::lock;
use part::report::Moment;
use serde::{Deserialize, Serialize};

/// Users that are kept of one farm: as many as a state file has room for.
const USERS_MAX: usize = 8_000;

/// A farm.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Kept {
    /// The hosts that operators drained.
    pub drained: Vec<String>,
    /// The users.
    pub users: Vec<KeptUser>,
}

/// A user: the identity, the name, the host, since when and until when, milliseconds of the boot clock.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct KeptUser(
    #[serde(with = "serde_bytes")] pub [u8; ID_BYTES],
    pub String,
    pub String,
    pub u64,
    pub u64,
);

impl Site {
    /// What has to be kept, if it has changed.
    pub fn changed(&self) -> bool {
        std::mem::take(&mut lock(&self.inner).has_changed)
    }

    /// What has to be kept. Without the role there is no connection, so each user has left.
    pub fn kept(&self) -> Kept {
        let inner = lock(&self.inner);
        let until = Moment::now()
            .boottime_ms
            .saturating_add(inner.farm.sessions.keep_ms);
        let hosts = inner
            .directory
            .hosts()
            .filter(|(_, state)| state.is_ordered);
        let mut users: Vec<KeptUser> = { inner.directory.users() }
            // Who is only on the way comes again.
            .filter(|(_, entry)| entry.presence != Presence::Pending)
            .map(|(id, entry)| {
                let until = entry.until_ms.unwrap_or(until);
                KeptUser(
                    id.0,
                    entry.name.clone(),
                    entry.host.clone(),
                    entry.since_ms,
                    until,
                )
            })
            .collect();
        users.sort_by_key(|KeptUser(.., until)| std::cmp::Reverse(*until));
        users.truncate(USERS_MAX);
        Kept {
            drained: hosts.map(|(name, _)| name.to_owned()).collect(),
            users,
        }
    }

    /// Takes over what the role before has kept.
    pub fn restore(&self, kept: Kept) {
        let mut inner = lock(&self.inner);
        for host in kept.drained {
            inner.directory.drain(&host, true);
        }
        for KeptUser(id, name, host, since_ms, until_ms) in kept.users {
            let entry = Entry {
                name,
                host,
                presence: Presence::Left,
                since_ms,
                until_ms: Some(until_ms),
            };
            inner.directory.restore(UserId(id), entry);
        }
    }
}
