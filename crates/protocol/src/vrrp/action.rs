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
    /// The router cannot take part, because an interface, a tracked object, or a member of its
    /// group has failed.
    Fault,
}

/// Step of a planned hand-over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandOver {
    /// Requests in progress may finish; this machine still has the address and serves all
    /// requests.
    Draining { until: Time },
    /// Other routers can take over (adverts with priority zero); this machine still has the
    /// address.
    Offered {
        /// Time at which the offer is withdrawn.
        until: Time,
    },
    /// Another router is master now, so the addresses are released at once.
    Taken { by: IpAddr },
    /// No other router became master in time: this machine keeps the addresses, and its adverts
    /// continue.
    Withdrawn,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Announce {
    /// The router became master. This is the first block of announcements.
    Acquired,
    /// A repeated block of announcements.
    Again,
    /// Another router also claims the addresses, or may have done so while this machine was
    /// suspended.
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
    /// No advert arrived, and although the owner's kernel responded to probes, the maximum wait
    /// has ended.
    SilenceBound {
        since: Duration,
    },
    /// Another machine uses this address, and may keep it (`yields_to_users`).
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
    /// Send this VRRP packet, without an IP header. (For IPv6 and version 3, the checksum covers
    /// the pseudo header with `from` and `to`.)
    Send {
        instance: Instance,
        /// Destination: the group or a peer.
        to: IpAddr,
        bytes: Vec<u8>,
    },
    /// Add the addresses, routes and rules of the router to the kernel.
    Acquire { instance: Instance },
    /// Remove the addresses, routes and rules of the router from the kernel.
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
    /// The router entered a state. For logs, notify scripts and statistics.
    Entered {
        instance: Instance,
        from: VrrpState,
        to: VrrpState,
        why: Reason,
    },
    /// A hand-over that an operator requested by [`super::Router::hand_over`] reached this step.
    HandOver { instance: Instance, step: HandOver },
    /// A sync group as a whole entered a state.
    GroupEntered { group: usize, to: VrrpState },
    /// A master received an advert of lower priority (`notify_master_rx_lower_pri`).
    HeardLower {
        instance: Instance,
        from: IpAddr,
        priority: u8,
    },
    /// A message to log. The rate is limited, and the same message is repeated after ten minutes at
    /// the earliest, unless its topic has ended in between.
    Note { instance: Instance, words: String },
}

/// State of a virtual router for the process that replaces this one. See
/// [`super::Router::instance_snapshot`] and [`super::Router::start`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resume {
    pub state: VrrpState,
    pub since: Time,
    /// Time of writing; for a master, the time of its last advert. If a killed master starts again
    /// within its down interval, or the bound of probes if that is longer, it continues as master.
    pub at: Time,
    /// The kernel may have the addresses.
    pub holds: bool,
    /// In the backup state: the owner of the addresses and its priority.
    pub owner: Option<(IpAddr, u8)>,
    /// In the backup state: expiry of the master-down timer, or of the wait for a reply to a probe.
    pub master_down_at: Option<Time>,
    pub owner_interval: Duration,
    /// Priority of the owner to which an operator handed the addresses over. This router does not
    /// preempt as long as that owner announces at least this priority.
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
    /// In the backup state: expiry of the master-down timer, or of the wait for a reply to a probe.
    pub master_down_at: Option<Time>,
    pub counters: Counters,
    /// Senders of dropped packets with the reason, the newest last.
    pub rejected: Vec<Rejected>,
    /// Another node that announces a priority reserved for this node's position in `prefer`: the
    /// other node's list has another order.
    pub same_place: Option<(IpAddr, u8)>,
    pub handing_over: bool,
    pub yielded: Option<u8>,
}
