//! The choice of a host for somebody without a session.

use super::agents::AgentState;
use super::entry::Presence;
use crate::config::Balance;
use crate::token::NameId;
use std::cmp::Ordering;
use std::net::{Ipv4Addr, SocketAddr};

/// How a host is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Health {
    /// No check has ended yet: it takes users.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not accept, or accepts and never answers.
    Down {
        /// Since when, milliseconds.
        since_ms: u64,
    },
}

/// The users of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// On the way to it.
    pub pending: u64,
    /// With a connection.
    pub connected: u64,
    /// Without one.
    pub left: u64,
}

impl Counts {
    fn of(&mut self, presence: Presence) -> &mut u64 {
        match presence {
            Presence::Pending => &mut self.pending,
            Presence::Connected(_) => &mut self.connected,
            Presence::Left => &mut self.left,
        }
    }

    pub(super) fn add(&mut self, presence: Presence) {
        *self.of(presence) += 1;
    }

    pub(super) fn remove(&mut self, presence: Presence) {
        let count = self.of(presence);
        *count = count.saturating_sub(1);
    }
}

/// A host while the farm runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostState {
    /// The digest of its name.
    pub id: NameId,
    /// Where it accepts RDP.
    pub address: SocketAddr,
    /// Its share of users.
    pub weight: u32,
    /// The file drains it.
    pub is_drained: bool,
    /// An operator drains it.
    pub is_ordered: bool,
    /// Only the configurations of other nodes have it.
    pub is_far: bool,
    /// No configuration has it any more; its sessions stay until they end.
    pub is_removed: bool,
    /// How it is.
    pub health: Health,
    /// Its users.
    pub counts: Counts,
    /// Users for whom this node has proposed it, and has no answer of the other nodes yet.
    pub claimed: u64,
    /// What its agent said last.
    pub agent: AgentState,
}

impl HostState {
    pub(super) fn new(name: &str) -> HostState {
        HostState {
            id: NameId::of(name),
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            weight: 1,
            is_drained: false,
            is_ordered: false,
            is_far: false,
            is_removed: false,
            health: Health::Unknown,
            counts: Counts::default(),
            claimed: 0,
            agent: AgentState::default(),
        }
    }

    /// Whether it is down.
    pub fn is_down(&self) -> bool {
        matches!(self.health, Health::Down { .. })
    }

    /// Whether it takes new users.
    pub fn takes(&self) -> bool {
        let is_held = self.is_drained || self.is_ordered || self.is_far || self.is_removed;
        !self.is_down() && !is_held && self.agent.takes() && !self.is_full()
    }
}

/// The room of a host: the greater, the better.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// What counts on it.
    pub(super) count: u64,
    weight: u32,
}

impl Room {
    pub(super) fn of(state: &HostState, balance: Balance) -> Room {
        let Counts {
            pending,
            connected,
            left,
        } = state.counts;
        let count = match balance {
            Balance::Load => (pending + connected + left).saturating_add(state.agent.beyond),
            Balance::Leastconn => (pending + connected).saturating_add(state.agent.active_beyond),
        };
        Room {
            count: count.saturating_add(state.claimed),
            weight: state.share(),
        }
    }

    /// Compares the shares that both would have with one more: (count + 1) / weight.
    pub(super) fn cmp(&self, other: &Room) -> Ordering {
        let share = |one: &Room, other: &Room| {
            u128::from(one.count.saturating_add(1)) * u128::from(other.weight.max(1))
        };
        let by_share = share(other, self).cmp(&share(self, other));
        // Of two equal shares the greater host has more left.
        by_share.then(self.weight.cmp(&other.weight))
    }
}
