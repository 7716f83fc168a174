//! The directory of a farm: which host a user gets. A user with a session gets the host of that
//! session, whatever state it is in, until the session is over or counts as lost; everybody else gets
//! the host with the most room. So two logons of one user never come to two hosts.
//!
//! It is a value: times are arguments, and who calls it has the connections.

mod choice;
mod entry;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use choice::{Counts, Health, HostState};
pub use entry::{Entry, Presence};

use crate::config::{Balance, Farm};
use crate::token::{Claims, NameId};
use crate::user::{User, UserId};
use choice::Room;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// How long a host is kept for a user who was sent there and has not come, milliseconds.
pub const PENDING_MS: u64 = 60_000;
/// Users that are known at one time.
pub const USERS_MAX: usize = 100_000;

/// What of a farm decides.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// How a host is chosen.
    pub balance: Balance,
    /// How long a session belongs to its host after its last connection, milliseconds.
    pub keep_ms: u64,
    /// How long a host is down until its sessions count as lost, milliseconds.
    pub lost_after_ms: u64,
}

impl Settings {
    /// Those of a farm.
    pub fn of(farm: &Farm) -> Settings {
        Settings {
            balance: farm.balance,
            keep_ms: farm.sessions.keep_ms,
            lost_after_ms: farm.sessions.lost_after_ms,
        }
    }
}

/// The host of a user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Its name.
    pub host: String,
    /// Where it accepts RDP.
    pub address: SocketAddr,
    /// Why this one.
    pub why: Why,
}

/// Why a user gets a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The session is there, with a connection.
    Connected,
    /// The session is there, without a connection.
    Session,
    /// Another logon of the user is on the way there.
    Pending,
    /// The directory does not know the session; the token was made for this host.
    Token,
    /// It has the most room of those that take users.
    Room {
        /// What counts on it, before this user.
        count: u64,
        /// Its weight.
        weight: u32,
        /// The hosts that take users.
        of: usize,
        /// The session before was lost with its host.
        has_lost: bool,
    },
}

/// Why a user gets no host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoHost {
    /// None takes users.
    #[error("no host takes new users: {down} down, {drained} drained")]
    NoneTakes {
        /// Hosts that are down.
        down: usize,
        /// Hosts that are drained.
        drained: usize,
    },
    /// Every user that is known has a connection.
    #[error("the directory is full: {USERS_MAX} users are connected")]
    Full,
}

/// The directory.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    settings: Settings,
    hosts: BTreeMap<String, HostState>,
    users: BTreeMap<UserId, Entry>,
    /// When users without a connection are forgotten.
    due: BTreeSet<(u64, UserId)>,
    #[cfg(test)]
    defect: Option<simulation::Defect>,
}

impl Directory {
    /// Takes a farm's hosts and settings; what is known of those that stay is kept.
    pub fn configure(&mut self, farm: &Farm) {
        self.settings = Settings::of(farm);
        let before = std::mem::take(&mut self.hosts);
        for (name, host) in &farm.hosts {
            let mut state = before
                .get(name)
                .cloned()
                .unwrap_or_else(|| HostState::new(name));
            state.address = host.address;
            state.weight = host.weight;
            state.is_drained = host.drained;
            self.hosts.insert(name.clone(), state);
        }
        // Sessions of a host that is gone are lost.
        let gone = |entry: &Entry| !farm.hosts.contains_key(&entry.host);
        let gone: Vec<UserId> = { self.users.iter() }
            .filter(|(_, entry)| gone(entry))
            .map(|(id, _)| *id)
            .collect();
        gone.into_iter().for_each(|id| self.forget(id));
    }

    /// Decides which host a user gets.
    ///
    /// # Errors
    /// There is none.
    pub fn decide(&mut self, user: &User, now_ms: u64) -> Result<Decision, NoHost> {
        self.decide_from(user.id, &user.name, None, now_ms)
    }

    /// Decides which host a user with a token gets. Only a directory that does not know the user looks
    /// at the host of the token.
    ///
    /// # Errors
    /// There is none.
    pub fn decide_token(&mut self, claims: &Claims, now_ms: u64) -> Result<Decision, NoHost> {
        self.decide_from(claims.user, "", Some(claims.host), now_ms)
    }

    fn decide_from(
        &mut self,
        id: UserId,
        name: &str,
        hint: Option<NameId>,
        now_ms: u64,
    ) -> Result<Decision, NoHost> {
        self.expire(now_ms);
        let mut has_lost = false;
        if let Some(entry) = self.users.get(&id) {
            let why = match entry.presence {
                Presence::Connected(_) => Why::Connected,
                Presence::Pending => Why::Pending,
                Presence::Left => Why::Session,
            };
            let leaves = match why {
                Why::Connected => false,
                // Somebody who has never been there has nothing to lose.
                Why::Pending => self.hosts.get(&entry.host).is_none_or(HostState::is_down),
                _ => self.is_lost(&entry.host, now_ms),
            };
            if !leaves && let Some(decision) = self.decision(&entry.host.clone(), why) {
                self.renew(id, name, now_ms);
                return Ok(decision);
            }
            has_lost = why == Why::Session;
        }
        let of_token = hint.and_then(|hint| {
            let mut hosts = self.hosts.iter();
            let (host, _) = hosts.find(|(_, state)| state.id == hint)?;
            (!self.is_lost(host, now_ms)).then(|| host.clone())
        });
        let (host, why, presence, time_ms) = match of_token {
            // The session may be there.
            Some(host) => (host, Why::Token, Presence::Left, self.settings.keep_ms),
            None => {
                let (host, why) = self.choose(has_lost)?;
                (host, why, Presence::Pending, PENDING_MS)
            }
        };
        // Only now: without another host the user stays with this one.
        self.forget(id);
        if self.users.len() >= USERS_MAX {
            // Who left the longest time ago comes back least probably.
            let (_, oldest) = *self.due.first().ok_or(NoHost::Full)?;
            self.forget(oldest);
        }
        let entry = Entry {
            name: name.to_owned(),
            host: host.clone(),
            presence,
            since_ms: now_ms,
            until_ms: Some(now_ms.saturating_add(time_ms)),
        };
        self.enter(id, entry);
        self.decision(&host, why).ok_or(NoHost::NoneTakes {
            down: 0,
            drained: 0,
        })
    }

    fn decision(&self, host: &str, why: Why) -> Option<Decision> {
        let state = self.hosts.get(host)?;
        Some(Decision {
            host: host.to_owned(),
            address: state.address,
            why,
        })
    }

    fn choose(&self, has_lost: bool) -> Result<(String, Why), NoHost> {
        let takes = |state: &HostState| {
            #[cfg(test)]
            if self.defect == Some(simulation::Defect::DrainedTakes) {
                return !state.is_down();
            }
            state.takes()
        };
        let open = || self.hosts.iter().filter(|(_, state)| takes(state));
        let room = |state: &HostState| Room::of(state, self.settings.balance);
        // Of equals the first by name.
        let best = { open().rev() }.max_by(|(_, a), (_, b)| room(a).cmp(&room(b)));
        let Some((host, state)) = best else {
            let down = self.hosts.values().filter(|state| state.is_down()).count();
            let drained = self.hosts.len() - down;
            return Err(NoHost::NoneTakes { down, drained });
        };
        let why = Why::Room {
            count: room(state).count,
            weight: state.weight,
            of: open().count(),
            has_lost,
        };
        Ok((host.clone(), why))
    }

    fn is_lost(&self, host: &str, now_ms: u64) -> bool {
        let Some(state) = self.hosts.get(host) else {
            return true;
        };
        match state.health {
            Health::Down { since_ms } => {
                now_ms.saturating_sub(since_ms) >= self.settings.lost_after_ms
            }
            Health::Unknown | Health::Up => false,
        }
    }

    /// The user logs on again, and is known: a logon that was pending has its time again.
    fn renew(&mut self, id: UserId, name: &str, now_ms: u64) {
        let Some(mut entry) = self.leave(id) else {
            return;
        };
        if entry.name.is_empty() {
            name.clone_into(&mut entry.name);
        }
        if entry.presence == Presence::Pending {
            entry.until_ms = Some(now_ms.saturating_add(PENDING_MS));
        }
        self.enter(id, entry);
    }

    /// A connection of the user to the host that was decided begins. A user whom the directory has
    /// forgotten meanwhile is known again.
    pub fn connected(&mut self, id: UserId, host: &str, now_ms: u64) {
        let before = self.leave(id).filter(|entry| entry.host == host);
        let entry = match before {
            Some(entry) => Entry {
                presence: match entry.presence {
                    Presence::Connected(count) => Presence::Connected(count.saturating_add(1)),
                    Presence::Pending | Presence::Left => Presence::Connected(1),
                },
                until_ms: None,
                ..entry
            },
            None => Entry {
                name: String::new(),
                host: host.to_owned(),
                presence: Presence::Connected(1),
                since_ms: now_ms,
                until_ms: None,
            },
        };
        if self.hosts.contains_key(host) {
            self.enter(id, entry);
        }
    }

    /// A connection of the user to a host ends; the session stays there.
    pub fn ended(&mut self, id: UserId, host: &str, now_ms: u64) {
        if self.users.get(&id).is_none_or(|entry| entry.host != host) {
            // The host was removed meanwhile, and the user is elsewhere.
            return;
        }
        let Some(mut entry) = self.leave(id) else {
            return;
        };
        #[cfg(test)]
        if self.defect == Some(simulation::Defect::ForgetsAtEnd) {
            return;
        }
        match entry.presence {
            Presence::Connected(count) if count > 1 => {
                entry.presence = Presence::Connected(count - 1)
            }
            Presence::Connected(_) => {
                entry.presence = Presence::Left;
                entry.until_ms = Some(now_ms.saturating_add(self.settings.keep_ms));
            }
            Presence::Pending | Presence::Left => {}
        }
        self.enter(id, entry);
    }

    /// A host's health, as its checks say it.
    pub fn checked(&mut self, host: &str, health: Health) {
        if let Some(state) = self.hosts.get_mut(host) {
            state.health = match (state.health, health) {
                // It is down since the first check that failed.
                (before @ Health::Down { .. }, Health::Down { .. }) => before,
                (_, now) => now,
            };
        }
    }

    /// An operator drains a host, or ends that. False: there is no such host.
    pub fn drain(&mut self, host: &str, is_drained: bool) -> bool {
        let found = self.hosts.get_mut(host);
        found.map(|state| state.is_ordered = is_drained).is_some()
    }

    /// Forgets users whose time is over.
    pub fn expire(&mut self, now_ms: u64) {
        while let Some((until, id)) = self
            .due
            .first()
            .copied()
            .filter(|(until, _)| *until <= now_ms)
        {
            self.due.remove(&(until, id));
            self.forget(id);
        }
    }

    /// Takes an entry out, so that it can be changed.
    fn leave(&mut self, id: UserId) -> Option<Entry> {
        let entry = self.users.remove(&id)?;
        if let Some(until) = entry.until_ms {
            self.due.remove(&(until, id));
        }
        if let Some(state) = self.hosts.get_mut(&entry.host) {
            state.counts.remove(entry.presence);
        }
        Some(entry)
    }

    /// Puts an entry in.
    fn enter(&mut self, id: UserId, entry: Entry) {
        if let Some(until) = entry.until_ms {
            self.due.insert((until, id));
        }
        if let Some(state) = self.hosts.get_mut(&entry.host) {
            state.counts.add(entry.presence);
        }
        self.users.insert(id, entry);
    }

    fn forget(&mut self, id: UserId) {
        self.leave(id);
    }

    /// The hosts by name, with what is known of them.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &HostState)> {
        self.hosts
            .iter()
            .map(|(name, state)| (name.as_str(), state))
    }

    /// The users.
    pub fn users(&self) -> impl Iterator<Item = (UserId, &Entry)> {
        self.users.iter().map(|(id, entry)| (*id, entry))
    }

    /// What is known of a user.
    pub fn user(&self, id: UserId) -> Option<&Entry> {
        self.users.get(&id)
    }

    /// Takes a user over from the role before this one, who has no connection now.
    pub fn restore(&mut self, id: UserId, entry: Entry) {
        let is_here = self.hosts.contains_key(&entry.host);
        if is_here && self.users.len() < USERS_MAX && !self.users.contains_key(&id) {
            self.enter(id, entry);
        }
    }
}
