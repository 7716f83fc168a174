//! Saves the state of a farm for the next process of the role, and restores it there: the hosts of
//! the users, and the hosts that operators drained.

use super::FarmState;
use crate::collection::{Assignee, CollectionId};
use crate::config::Farm;
use crate::directory::{
    self, Assignment, DecisionVersion, Directory, DirectoryId, Entry, HostOrder, Presence,
};
use crate::user::{ID_BYTES, UserId};
use part::lock;
use part::report::Moment;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Limit of saved users of all farms together: the size of a state file.
const USERS_MAX: usize = 2 * directory::USERS_MAX;

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct SavedFarm {
    pub drained: Vec<String>,
    pub users: Vec<KeptUser>,
    /// Versions of the users' decisions, in the order of `users`: generation, clock and origin.
    pub versions: Vec<(u64, u64, u64)>,
    /// Hosts that have users and are in no configuration.
    pub removed: BTreeMap<String, SocketAddr>,
    /// Latest order for each host. State files of earlier releases of evenkeel may lack it.
    pub orders: BTreeMap<String, HostOrder>,
    /// Hosts of the configuration, and addresses for RDP, by which a farm whose section was renamed
    /// is recognised. State files of earlier releases of evenkeel may lack them.
    pub hosts: BTreeMap<String, SocketAddr>,
    pub binds: Vec<SocketAddr>,
}

impl SavedFarm {
    /// Removes and returns the saved state of the farm that this one continues under another name,
    /// with the earlier name: a farm that shares a session host. Among several, one with an address
    /// of this farm is preferred, then the one with the most hosts of this farm.
    pub fn take_renamed(
        saved: &mut BTreeMap<String, SavedFarm>,
        farm: &Farm,
    ) -> Option<(String, SavedFarm)> {
        let rank = |saved: &SavedFarm| {
            let hosts_of_farm = farm.hosts.values();
            let has_address = |one: &SocketAddr| farm.binds.iter().any(|bind| bind.address == *one);
            let is_bound = saved.binds.iter().any(has_address);
            let hosts = saved
                .hosts
                .values()
                .filter(|one| hosts_of_farm.clone().any(|host| host.address == **one));
            (is_bound, hosts.count())
        };
        let ranked = saved.iter().map(|(name, saved)| (rank(saved), name));
        let best = ranked
            .filter(|((_, hosts), _)| *hosts > 0)
            .max_by_key(|(rank, _)| *rank);
        let name = best.map(|(_, name)| name.clone())?;
        saved.remove_entry(&name)
    }
}

/// Saved user: identity, name, host, start and expiry in milliseconds of the boot clock, whether
/// there was a session, and the collection.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct KeptUser(
    #[serde(with = "serde_bytes")] pub [u8; ID_BYTES],
    pub String,
    pub String,
    pub u64,
    pub u64,
    #[serde(default)] pub bool,
    #[serde(default)] pub CollectionId,
);

impl FarmState {
    pub fn changed(&self) -> bool {
        std::mem::take(&mut lock(&self.inner).has_changed)
    }

    /// Returns the state to save; `farms` is the number of farms that share the space. The
    /// connections end with the role, so each user is saved as disconnected.
    pub fn state_to_save(&self, farms: usize) -> SavedFarm {
        let inner = lock(&self.inner);
        let now_ms = Moment::now().boottime_ms;
        let directory = &inner.agreement.directory;
        let hosts = directory.hosts().filter(|(_, state)| state.is_ordered);
        let removed = directory.hosts().filter(|(_, state)| state.is_removed);
        let removed = removed.map(|(name, state)| (name.to_owned(), state.address));
        let mut users: Vec<(KeptUser, (u64, u64, u64))> = { directory.users() }
            // Skips clients that were only sent to a host, because they will reconnect.
            .filter(|(_, entry)| entry.presence() != Presence::Pending)
            .map(|(id, entry)| {
                let keep_ms = directory.table().keep_ms(entry.is_proved);
                let until = entry.until_ms.unwrap_or(now_ms.saturating_add(keep_ms));
                let version = &entry.version;
                let user = KeptUser(
                    id.user.0,
                    entry.name.clone(),
                    entry.host.clone(),
                    entry.since_ms,
                    until,
                    entry.is_proved,
                    id.collection,
                );
                let version = (version.generation, version.clock, version.origin.0);
                (user, version)
            })
            .collect();
        users.sort_by_key(|(KeptUser(.., until, is_proved, _), _)| {
            std::cmp::Reverse((*is_proved, *until))
        });
        users.truncate(USERS_MAX / farms.max(1));
        let (users, versions) = users.into_iter().unzip();
        let addresses = inner.farm.hosts.iter();
        let addresses = addresses.map(|(name, host)| (name.clone(), host.address));
        SavedFarm {
            drained: hosts.map(|(name, _)| name.to_owned()).collect(),
            users,
            versions,
            removed: removed.collect(),
            orders: directory.orders().clone(),
            hosts: addresses.collect(),
            binds: inner.farm.binds.iter().map(|bind| bind.address).collect(),
        }
    }

    pub fn restore(&self, kept: SavedFarm) {
        let mut inner = lock(&self.inner);
        let directory = &mut inner.agreement.directory;
        for (host, address) in &kept.removed {
            directory.know_removed(host, *address);
        }
        // Adds hosts of the saved users that may have left the configuration together with the
        // earlier name of the farm.
        for KeptUser(_, _, host, ..) in &kept.users {
            if let Some(address) = kept.hosts.get(host) {
                directory.know_removed(host, *address);
            }
        }
        directory.take_orders(&kept.orders);
        if kept.orders.is_empty() {
            for host in kept.drained {
                directory.drain(&host, true, 0);
            }
        }
        let now_ms = Moment::now().boottime_ms;
        let mut versions = kept.versions.into_iter();
        for KeptUser(id, name, host, since_ms, until_ms, is_proved, collection) in kept.users {
            let (generation, clock, origin) = versions.next().unwrap_or_default();
            let entry = Entry {
                value: Assignment {
                    name,
                    host,
                    removed: None,
                },
                version: DecisionVersion {
                    generation,
                    used: true,
                    clock,
                    origin: DirectoryId(origin),
                },
                since_ms,
                until_ms: Some(until_ms),
                far: Vec::new(),
                holds: 0,
                is_proved,
            };
            let id = Assignee::new(UserId(id), collection);
            directory.restore(id, entry, now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::tests::farm;
    use crate::user::FarmUser;
    use part::{codec, state_file};

    fn user(number: usize) -> KeptUser {
        let user = FarmUser::named(&format!("user{number}")).unwrap();
        let until_ms = Moment::now().boottime_ms + 3_600_000;
        let host = "ts1".to_owned();
        let collection = CollectionId([7; 8]);
        KeptUser(user.id.0, user.name, host, 0, until_ms, true, collection)
    }

    #[test]
    fn renamed_farm_takes_users_of_its_hosts() {
        let config = |hosts: &[u32]| farm(Default::default(), hosts);
        let before = FarmState::new("office", config(&[1, 1]), &[7; 32], None);
        before.restore(SavedFarm {
            users: (0..3).map(user).collect(),
            ..SavedFarm::default()
        });
        let other = SavedFarm {
            hosts: BTreeMap::from([("other".to_owned(), "192.0.2.99:3389".parse().unwrap())]),
            ..SavedFarm::default()
        };
        let mut saved = BTreeMap::from([
            ("office".to_owned(), before.state_to_save(1)),
            ("aside".to_owned(), other),
        ]);
        let (name, kept) = SavedFarm::take_renamed(&mut saved, &config(&[1, 1])).unwrap();
        assert_eq!((name.as_str(), kept.users.len()), ("office", 3));
        let after = FarmState::new("buero", config(&[1, 1]), &[7; 32], None);
        after.restore(kept);
        assert_eq!(after.state_to_save(1).users.len(), 3);
        // The other farm has none of these hosts, so it is no predecessor.
        assert_eq!(SavedFarm::take_renamed(&mut saved, &config(&[1, 1])), None);
        assert!(saved.contains_key("aside"));
    }

    #[test]
    fn users_of_a_host_removed_in_a_rename_return() {
        let before = FarmState::new("office", farm(Default::default(), &[1, 1]), &[7; 32], None);
        before.restore(SavedFarm {
            users: vec![user(1)],
            ..SavedFarm::default()
        });
        let kept = before.state_to_save(1);
        let mut config = farm(Default::default(), &[1, 1]);
        config.hosts.remove("ts1");
        let after = FarmState::new("buero", config, &[7; 32], None);
        after.restore(kept);
        assert_eq!(after.state_to_save(1).users.len(), 1);
    }

    #[test]
    fn all_users_are_kept_and_have_room_in_a_state_file() {
        let site = FarmState::new("office", farm(Default::default(), &[1]), &[7; 32], None);
        let users: Vec<KeptUser> = (0..12_000).map(user).collect();
        let ids = |kept: &[KeptUser]| kept.iter().map(|one| one.0).collect::<Vec<_>>();
        let mut expected = ids(&users);
        site.restore(SavedFarm {
            users,
            ..SavedFarm::default()
        });
        let kept = site.state_to_save(1);
        let mut known = ids(&kept.users);
        known.sort_unstable();
        expected.sort_unstable();
        assert_eq!(known, expected);
        let of_one = codec::encode(&kept).len().div_ceil(12_000);
        assert!(of_one * USERS_MAX < state_file::BYTES_MAX, "{of_one}");
        // Many farms share the limit.
        assert_eq!(site.state_to_save(100).users.len(), USERS_MAX / 100);
    }

    /// Tests with bytes as an earlier release of evenkeel saved them, before the directory used the
    /// record store.
    #[test]
    fn state_of_previous_program_is_restored() {
        const SAVED: &str = "87a7647261696e656491a3747331a575736572739197c4100102030405060708090a0b0c0d0e0f10a461\
            6e6e61a3747331cd03e8ce000182b8c3c4080909090909090909a876657273696f6e73919302cd012c07\
            a772656d6f76656480a66f726465727381a374733184a561745f6d73cf0000018bcfe56800a5636c6f63\
            6b05a66f726967696e07aa69735f647261696e6564c3a5686f73747381a374733181a2563492940a0000\
            01cd0d3da562696e647390";
        let byte = |at: usize| u8::from_str_radix(&SAVED[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..SAVED.len()).step_by(2).map(byte).collect();
        let mut kept: SavedFarm = codec::decode(&bytes).unwrap();
        assert_eq!(codec::encode(&kept), bytes);
        // The times in the file are from an earlier boot.
        kept.users[0].4 = Moment::now().boottime_ms + 60_000;
        let site = FarmState::new("office", farm(Default::default(), &[1]), &[7; 32], None);
        site.restore(kept);
        let inner = lock(&site.inner);
        let directory = &inner.agreement.directory;
        let (_, host) = directory.hosts().next().unwrap();
        assert!(host.is_ordered);
        let (_, entry) = directory.users().next().unwrap();
        assert_eq!((entry.name.as_str(), entry.host.as_str()), ("anna", "ts1"));
        assert_eq!(entry.presence(), Presence::Left);
        let version = entry.version;
        assert_eq!(
            (version.generation, version.clock, version.origin.0),
            (2, 300, 7)
        );
    }
}
