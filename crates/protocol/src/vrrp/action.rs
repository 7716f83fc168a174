//! Actions that a state machine requests, and its reports.

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
    /// Another router owns the addresses.
    Backup,
    /// The local router owns the addresses.
    Master,
    /// The router cannot take part: an interface, a tracked object, or a member of its group
    /// failed.
    Fault,
}

/// Step of a planned hand-over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandOver {
    /// Requests in progress may finish; the address still serves everything.
    Draining {
        /// Latest end of the drain.
        until: Time,
    },
    /// Other routers are asked to take over; the address still serves.
    Offered {
        /// Time at which the offer is withdrawn.
        until: Time,
    },
    /// Another router is master now: `Release` follows at once.
    Taken {
        /// Address of the new master.
        by: IpAddr,
    },
    /// No router took over in time: the addresses stay, and adverts continue.
    Withdrawn,
}

/// Reason for announcements to neighbours.
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
    /// The router started, and waits for adverts.
    Started,
    /// The router started as the owner of the addresses (priority 255).
    OwnsAddresses,
    /// The router continues where a killed or replaced process left off.
    Resumed,
    /// No advert arrived for this time.
    Silence {
        /// Time since the last advert.
        since: Duration,
    },
    /// No advert arrived, and the owner's kernel responded until the bound.
    SilenceBound {
        /// Time since the last advert.
        since: Duration,
    },
    /// Another machine uses this address, and keeps it (`yields_to_users`).
    Used { address: IpAddr },
    /// The owner announced its stop (priority zero).
    OwnerStopped { owner: IpAddr },
    /// The owner has a lower priority than this router.
    Preempts { owner: IpAddr, priority: u8 },
    /// Another router has a higher priority, or an equal one and a higher address.
    Preempted {
        /// Address of the other router.
        by: IpAddr,
        /// Priority of the other router.
        priority: u8,
    },
    /// Something that the router needs failed; the text comes from the driver.
    Failed(String),
    /// Everything that had failed works again.
    Recovered,
    /// A member of the sync group changed its state.
    Group { member: String },
    /// The router was asked to stop.
    Stopped,
    /// An operator requested a hand-over, and another router took over.
    HandOver {
        /// Address of the other router.
        by: IpAddr,
    },
}

/// An action for the driver; actions must be executed in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VrrpAction {
    /// Send this VRRP packet (without an IP header; for IPv6 and version 3 the checksum
    /// covers the pseudo header of `from` and `to`).
    Send {
        /// Instance that sends the packet.
        instance: Instance,
        /// Destination: the group or a peer.
        to: IpAddr,
        bytes: Vec<u8>,
    },
    /// Add the addresses, routes and rules to the kernel. `Announce` follows.
    Acquire {
        /// Instance that acquires its addresses.
        instance: Instance,
    },
    /// Remove them from the kernel.
    Release {
        /// Instance that releases its addresses.
        instance: Instance,
    },
    /// Announce each address to the neighbours, this number of times.
    Announce {
        /// Instance whose addresses are announced.
        instance: Instance,
        /// Number of announcements per address.
        repeat: u32,
        why: Announce,
    },
    /// Probe the owner of the addresses (ARP, neighbour solicitation); replies are passed to
    /// [`super::Router::handle_neighbour`].
    Probe {
        /// Instance that probes its addresses.
        instance: Instance,
    },
    /// A state was entered: for logs, notify scripts, statistics.
    Entered {
        /// Instance that changed its state.
        instance: Instance,
        from: VrrpState,
        to: VrrpState,
        why: Reason,
    },
    /// A planned hand-over of [`super::Router::hand_over`] reached this step.
    HandOver { instance: Instance, step: HandOver },
    /// A sync group as a whole entered a state.
    GroupEntered {
        /// Index in the list of groups.
        group: usize,
        /// New state of all members.
        to: VrrpState,
    },
    /// A master received an advert of lower priority (`notify_master_rx_lower_pri`).
    HeardLower {
        /// Instance that received the advert.
        instance: Instance,
        from: IpAddr,
        priority: u8,
    },
    /// A message to log, issued once until it changes, and rate-limited.
    Note {
        /// Instance that the message is about.
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
    /// State at the time of writing.
    pub state: VrrpState,
    /// Time of the last transition.
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
    /// Advert interval of the owner.
    pub owner_interval: Duration,
    /// Priority of the owner to which an operator handed the addresses over. The router does not
    /// preempt while that owner is as good.
    pub yielded: Option<u8>,
}

/// Status of a virtual router.
#[derive(Clone, PartialEq, Debug)]
pub struct VrrpStatus {
    pub state: VrrpState,
    /// Time of the last transition.
    pub since: Time,
    /// Reason for the last transition.
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
    /// A planned hand-over is in progress.
    pub handing_over: bool,
    /// Priority of the owner to which an operator handed the addresses over: the router does not
    /// take them back while that owner is as good.
    pub yielded: Option<u8>,
}
