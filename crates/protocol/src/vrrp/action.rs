//! Actions that a state machine requests, and its reports.

use super::{Counters, Rejected, Time};
use std::net::IpAddr;
use std::time::Duration;

/// The place of a virtual router in the list of settings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instance(pub usize);

/// The state of a virtual router (RFC 9568, 6.4), and keepalived's fourth.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Not begun, or ended.
    Init,
    /// Another one owns the addresses.
    Backup,
    /// It owns them.
    Master,
    /// It cannot take part: an interface, something tracked, or a member of its group.
    Fault,
}

/// Where a planned hand-over is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandOver {
    /// Requests under way may finish; the address still serves everything.
    Draining {
        /// At the latest.
        until: Time,
    },
    /// The others are told to take over. The address still serves.
    Offered {
        /// When the offer is withdrawn.
        until: Time,
    },
    /// Another one is master now: `Release` comes right behind this.
    Taken {
        /// The other router.
        by: IpAddr,
    },
    /// Nobody took over in time: the addresses stay, and adverts go on as before.
    Withdrawn,
}

/// Why neighbours are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Announce {
    /// It became master: the first block.
    Acquired,
    /// The second block.
    Again,
    /// After an advert of lower priority, or after a partition healed.
    Contested,
    /// Repeated announcement.
    Refresh,
}

/// Why a state was entered; the driver has the words for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It began, and waits for adverts.
    Started,
    /// It began as the owner of the addresses (priority 255).
    OwnsAddresses,
    /// It goes on where a process before it was killed or replaced.
    Resumed,
    /// No advert came for that long.
    Silence {
        /// Since the last one.
        since: Duration,
    },
    /// No advert came, and the owner's kernel answered until the bound.
    SilenceBound {
        /// Since the last one.
        since: Duration,
    },
    /// Another machine uses this address, and keeps it ([`Standing::yields_to_users`]).
    ///
    /// [`Standing::yields_to_users`]: super::Standing::yields_to_users
    Used {
        /// The address.
        address: IpAddr,
    },
    /// The owner said that it stops (priority zero).
    OwnerStopped {
        /// The owner.
        owner: IpAddr,
    },
    /// The owner has a lower priority than we have.
    Preempts {
        /// The owner.
        owner: IpAddr,
        /// Its priority.
        priority: u8,
    },
    /// Another one has a higher priority, or an equal one and a higher address.
    Preempted {
        /// The other router.
        by: IpAddr,
        /// Its priority.
        priority: u8,
    },
    /// Something that it needs failed; the driver's words.
    Failed(String),
    /// All that failed is back.
    Recovered,
    /// A member of its sync group moved.
    Group {
        /// The member.
        member: String,
    },
    /// It was told to stop.
    Stopped,
    /// An operator asked for a hand-over, and another one took over.
    HandOver {
        /// The other router.
        by: IpAddr,
    },
}

/// An action for the driver; actions must be executed in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send this VRRP packet (without an IP header; for IPv6 and version 3 the checksum
    /// covers the pseudo header of `from` and `to`).
    Send {
        /// The instance.
        instance: Instance,
        /// To whom: the group or a peer.
        to: IpAddr,
        /// The packet.
        bytes: Vec<u8>,
    },
    /// Put the addresses, routes and rules into the kernel. `Announce` comes behind it.
    Acquire {
        /// The instance.
        instance: Instance,
    },
    /// Take them out.
    Release {
        /// The instance.
        instance: Instance,
    },
    /// Tell the neighbours of each address, so many times.
    Announce {
        /// The instance.
        instance: Instance,
        /// How many times.
        repeat: u32,
        /// Why.
        why: Announce,
    },
    /// Ask who has the addresses (ARP, neighbour solicitation); what answers comes
    /// to [`super::Router::handle_neighbour`].
    Probe {
        /// The instance.
        instance: Instance,
    },
    /// A state was entered: logs, notify scripts, statistics.
    Entered {
        /// The instance.
        instance: Instance,
        /// From where.
        from: State,
        /// The new state.
        to: State,
        /// Why.
        why: Reason,
    },
    /// A planned hand-over of [`super::Router::hand_over`] came to this step.
    HandOver {
        /// The instance.
        instance: Instance,
        /// The step.
        step: HandOver,
    },
    /// A sync group as a whole entered a state.
    GroupEntered {
        /// Its place in the list of groups.
        group: usize,
        /// The new state.
        to: State,
    },
    /// As master it heard an advert of lower priority (`notify_master_rx_lower_pri`).
    HeardLower {
        /// The instance.
        instance: Instance,
        /// From whom.
        from: IpAddr,
        /// Its priority.
        priority: u8,
    },
    /// Something to log, said once until it changes; never more often than a bound.
    Note {
        /// The instance.
        instance: Instance,
        /// For people: `Malformed`, `wrong password`, `another group with our id`…
        words: String,
    },
}

/// The state of a virtual router that outlives its process. The driver writes it after
/// each turn that changed it, and every third of a down interval as master. See
/// [`super::Router::kept`] and [`super::Router::start`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resume {
    /// The state.
    pub state: State,
    /// Since when.
    pub since: Time,
    /// When this was written, of a master when it sent its last advert: one that was
    /// killed no longer than its down interval ago goes on as master.
    pub at: Time,
    /// The addresses may be in the kernel.
    pub holds: bool,
    /// As a backup: the owner and its priority.
    pub owner: Option<(IpAddr, u8)>,
    /// As a backup: expiry of the master-down timer.
    pub master_down_at: Option<Time>,
    /// The interval between the owner's adverts.
    pub owner_interval: Duration,
    /// It was handed over by an operator to an owner of this priority: it does not
    /// preempt while that one is as good.
    pub yielded: Option<u8>,
}

/// The status of a virtual router.
#[derive(Clone, PartialEq, Debug)]
pub struct Status {
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: Time,
    /// Why.
    pub why: Reason,
    /// The priority that it announces, or would.
    pub priority: u8,
    /// Sender of the adverts, its priority, and the time of the last advert.
    pub owner: Option<(IpAddr, u8, Time)>,
    /// When silence will be believed, as a backup.
    pub master_down_at: Option<Time>,
    /// Counters, by keepalived's names.
    pub counters: Counters,
    /// Senders of dropped packets with the reason, the newest last.
    pub rejected: Vec<Rejected>,
    /// Another node that announces a priority of our place in `prefer`: its list has
    /// another order.
    pub same_place: Option<(IpAddr, u8)>,
    /// A planned hand-over is under way.
    pub handing_over: bool,
    /// An operator handed the addresses over to an owner of this priority: the router does not
    /// take them back while that owner is as good.
    pub yielded: Option<u8>,
}
