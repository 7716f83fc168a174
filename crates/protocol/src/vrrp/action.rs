//! Defines the actions that the VRRP state machine requests from its driver, and the status that
//! it reports.

use super::{Counters, Rejected, Time};
use std::net::IpAddr;
use std::time::Duration;

/// Index of a virtual router in the list of settings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instance(pub usize);

/// State of a virtual router (RFC 9568, 6.4), with keepalived's fourth one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VrrpState {
    Init,
    Backup,
    Master,
    /// The router cannot take part: an interface, a tracked object, or a member of its group
    /// failed.
    Fault,
}

/// Step of a planned hand-over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandOver {
    /// Requests in progress may finish; the address still serves everything.
    Draining { until: Time },
    /// Other routers are asked to take over; the address still serves.
    Offered {
        /// Time at which the offer is withdrawn.
        until: Time,
    },
    /// Another router is master now: `Release` follows at once.
    Taken { by: IpAddr },
    /// No router took over in time: the addresses stay, and adverts continue.
    Withdrawn,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Announce {
    /// The router became master: the first block.
    Acquired,
    /// The second block.
    Again,
    /// After an advert of lower priority, or after a partition healed.
    Contested,
    Refresh,
}

/// Reason for the transition to a state; the driver formats it for display.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    Started,
    /// The router started as the owner of the addresses (priority 255).
    OwnsAddresses,
    /// The router continues where a killed or replaced process left off.
    Resumed,
    /// No advert arrived for this time.
    Silence {
        since: Duration,
    },
    /// No advert arrived, and the owner's kernel responded until the bound.
    SilenceBound {
        since: Duration,
    },
    /// Another machine uses this address, and keeps it (`yields_to_users`).
    Used {
        address: IpAddr,
    },
    /// The owner announced its stop (priority zero).
    OwnerStopped {
        owner: IpAddr,
    },
    Preempts {
        owner: IpAddr,
        priority: u8,
    },
    /// Another router has a higher priority, or an equal one and a higher address.
    Preempted {
        by: IpAddr,
        priority: u8,
    },
    /// Something that the router needs failed; the text comes from the driver.
    Failed(String),
    Recovered,
    Group {
        member: String,
    },
    Stopped,
    /// An operator requested a hand-over, and another router took over.
    HandOver {
        by: IpAddr,
    },
}

/// An action for the driver; actions must be executed in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VrrpAction {
    /// Send this VRRP packet (without an IP header; for IPv6 and version 3 the checksum
    /// covers the pseudo header of `from` and `to`).
    Send {
        instance: Instance,
        /// Destination: the group or a peer.
        to: IpAddr,
        bytes: Vec<u8>,
    },
    /// Add the addresses, routes and rules to the kernel. `Announce` follows.
    Acquire { instance: Instance },
    /// Remove them from the kernel.
    Release { instance: Instance },
    /// Announce each address to the neighbours, this number of times.
    Announce {
        instance: Instance,
        repeat: u32,
        why: Announce,
    },
    /// Probe the owner of the addresses (ARP, neighbour solicitation); replies are passed to
    /// [`super::Router::handle_neighbour`].
    Probe { instance: Instance },
    /// A state was entered: for logs, notify scripts, statistics.
    Entered {
        instance: Instance,
        from: VrrpState,
        to: VrrpState,
        why: Reason,
    },
    /// A planned hand-over of [`super::Router::hand_over`] reached this step.
    HandOver { instance: Instance, step: HandOver },
    /// A sync group as a whole entered a state.
    GroupEntered { group: usize, to: VrrpState },
    /// A master received an advert of lower priority (`notify_master_rx_lower_pri`).
    HeardLower {
        instance: Instance,
        from: IpAddr,
        priority: u8,
    },
    /// A message to log, issued once until it changes, and rate-limited.
    Note {
        instance: Instance,
        /// Message for display: `Malformed`, `wrong password`, `another group with our id`…
        words: String,
    },
}

/// State of a virtual router that outlives its process. The driver stores it after each turn that
/// changed it, and as master three times per down interval. See `Router::kept` and
/// [`super::Router::start`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resume {
    pub state: VrrpState,
    pub since: Time,
    /// Time of writing; for a master, the time of its last advert. A master that was killed no
    /// longer than its down interval ago continues as master.
    pub at: Time,
    /// The addresses may be in the kernel.
    pub holds: bool,
    /// As a backup: the owner and its priority.
    pub owner: Option<(IpAddr, u8)>,
    /// As a backup: expiry of the master-down timer.
    pub master_down_at: Option<Time>,
    pub owner_interval: Duration,
    /// Priority of the owner to which an operator handed the addresses over. The router does not
    /// preempt while that owner is as good.
    pub yielded: Option<u8>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct VrrpStatus {
    pub state: VrrpState,
    pub since: Time,
    pub why: Reason,
    /// Priority that the router announces, or would announce.
    pub priority: u8,
    /// Sender of the last advert, its priority, and the time of that advert.
    pub owner: Option<(IpAddr, u8, Time)>,
    /// As a backup: expiry of the master-down timer.
    pub master_down_at: Option<Time>,
    pub counters: Counters,
    /// Senders of dropped packets with the reason, the newest last.
    pub rejected: Vec<Rejected>,
    /// Another node that announces a priority of our position in `prefer`: its list has another
    /// order.
    pub same_place: Option<(IpAddr, u8)>,
    pub handing_over: bool,
    pub yielded: Option<u8>,
}
