//! Defines the state of a session host (health, user counts, capacity), and compares the load of
//! hosts for the choice of a host for a user without a session.

use super::agents::AgentState;
use crate::config::Balance;
use crate::token::NameId;
use record::Presence;
use std::cmp::Ordering;
use std::net::{Ipv4Addr, SocketAddr};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Health {
    /// No check has completed yet. The host accepts users.
    #[default]
    Unknown,
    Up,
    /// The host does not accept connections, or accepts them and never responds.
    Down {
        /// Milliseconds of the boot clock.
        since_ms: u64,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Users who were sent to the host and have not connected.
    pub pending: u64,
    pub connected: u64,
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

/// State of a host while the farm runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostState {
    pub id: NameId,
    pub address: SocketAddr,
    pub weight: u32,
    pub is_drained: bool,
    pub is_ordered: bool,
    /// True if only the configurations of other nodes have the host.
    pub is_far: bool,
    /// True if no configuration has the host any longer; its sessions stay until they end.
    pub is_removed: bool,
    pub health: Health,
    pub counts: Counts,
    pub claimed: u64,
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

    pub fn is_down(&self) -> bool {
        matches!(self.health, Health::Down { .. })
    }

    pub fn accepts_new_users(&self) -> bool {
        let is_held = self.is_drained || self.is_ordered || self.is_far || self.is_removed;
        !self.is_down() && !is_held && self.agent.accepts_new_users() && !self.is_full()
    }
}

/// Free capacity of a host; the host with the greatest one is chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
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

    /// Compares the load per weight that each host would have with one more user: (count + 1) /
    /// weight.
    pub(super) fn cmp(&self, other: &Room) -> Ordering {
        let share = |one: &Room, other: &Room| {
            u128::from(one.count.saturating_add(1)) * u128::from(other.weight.max(1))
        };
        let by_share = share(other, self).cmp(&share(self, other));
        // Prefers the greater weight of two equal ratios, because that host has more free capacity.
        by_share.then(self.weight.cmp(&other.weight))
    }
}
