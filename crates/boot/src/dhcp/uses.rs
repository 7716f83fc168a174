//! Defines the states of an address of a range: offered, leased, released, declined and unclear.
//! Derives from a state the client of the address, and the holder to store on disk.

use super::holder::Holder;
use crate::mac::Mac;

/// Time within which a host may respond to an ARP request, milliseconds. Later and unsolicited
/// replies do not count.
const ANSWER_MS: u64 = 2_000;

/// State of an address in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AddressUse {
    /// The address is offered to a client.
    Offered {
        mac: Mac,
        until_ms: u64,
        /// Time at which this node sent an ARP request for the address.
        asked_ms: Option<u64>,
    },
    /// A client has a lease of the address.
    Leased {
        mac: Mac,
        until_ms: u64,
        /// Start of the lease. Renewals do not change it.
        since_ms: u64,
        /// True if the client had the address before, too: its packets of then may still arrive.
        is_again: bool,
        /// Time of this node's ARP request for the address, until the lease is renewed: a late
        /// reply ends the lease.
        asked_ms: Option<u64>,
    },
    /// The client has released the address.
    Released { mac: Mac, until_ms: u64 },
    /// Another host uses the address.
    Declined {
        until_ms: u64,
        /// Client that had the address and declined it: any host may have forged the DECLINE.
        by: Option<Mac>,
    },
    /// A client may have got the address from another node.
    Unclear {
        until_ms: u64,
        /// Client that responds at the address, or had it from this node.
        user: Option<Mac>,
        /// True if the previous holder of the part knows the lease.
        is_before: bool,
    },
}

impl AddressUse {
    pub(super) fn unclear(until_ms: u64, user: Option<Mac>, is_before: bool) -> AddressUse {
        AddressUse::Unclear {
            until_ms,
            user,
            is_before,
        }
    }

    pub(super) fn until_ms(self) -> u64 {
        match self {
            AddressUse::Offered { until_ms, .. }
            | AddressUse::Leased { until_ms, .. }
            | AddressUse::Released { until_ms, .. }
            | AddressUse::Declined { until_ms, .. }
            | AddressUse::Unclear { until_ms, .. } => until_ms,
        }
    }

    /// Returns the client that has the address, was offered it or has just released it.
    pub(super) fn mac(self) -> Option<Mac> {
        match self {
            AddressUse::Offered { mac, .. }
            | AddressUse::Leased { mac, .. }
            | AddressUse::Released { mac, .. } => Some(mac),
            AddressUse::Declined { .. } | AddressUse::Unclear { .. } => None,
        }
    }

    /// Returns the client that is known to use an unclear address, or that declined the address.
    pub(super) fn user(self) -> Option<Mac> {
        match self {
            AddressUse::Unclear { user, .. } | AddressUse::Declined { by: user, .. } => user,
            _ => None,
        }
    }

    /// Returns the holder to store for the next start.
    pub(super) fn holder(self) -> Holder {
        match self {
            // Stores a released address as the client's: no other client gets it within the
            // lifetime of a packet.
            AddressUse::Leased { mac, .. } | AddressUse::Released { mac, .. } => {
                Holder::Client(mac)
            }
            // Stores a declined address as unclear, too: its client may not have learned yet that
            // another host uses it.
            AddressUse::Unclear {
                is_before: true,
                user,
                ..
            } => Holder::Before(user),
            AddressUse::Unclear { user, .. } => Holder::Unclear(user),
            AddressUse::Declined { .. } => Holder::Unclear(None),
            AddressUse::Offered { .. } => Holder::Nobody,
        }
    }

    /// Returns whether an ARP reply for this use of the address still counts.
    pub(super) fn awaits_answer(self, now_ms: u64) -> bool {
        let asked_ms = match self {
            AddressUse::Offered { asked_ms, .. } | AddressUse::Leased { asked_ms, .. } => asked_ms,
            _ => None,
        };
        asked_ms.is_some_and(|at| now_ms < at.saturating_add(ANSWER_MS))
    }
}
