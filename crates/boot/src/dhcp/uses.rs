//! The use of an address of a range.

use super::holder::Holder;
use crate::mac::Mac;

/// How long a card may take to answer who has an address, milliseconds. What it says later, or unasked, does not count.
const ANSWER_MS: u64 = 2_000;

/// The use of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// It was offered to a client.
    Offered {
        mac: Mac,
        until_ms: u64,
        /// When this node asked who has the address.
        asked_ms: Option<u64>,
    },
    /// A client has it.
    Leased {
        mac: Mac,
        until_ms: u64,
        /// When it began. Renewals do not change that.
        since_ms: u64,
        /// The client had it before, too: what it sent then may still come.
        is_again: bool,
        /// When this node asked who has the address, until the lease is renewed: a late answer ends the lease.
        asked_ms: Option<u64>,
    },
    /// A client has given it back.
    Released { mac: Mac, until_ms: u64 },
    /// Somebody else uses it.
    Declined {
        until_ms: u64,
        /// The client that had it and says so: anybody may have written that in its name.
        by: Option<Mac>,
    },
    /// Somebody may have got it from another node.
    Unclear {
        until_ms: u64,
        /// The client that answers there, or had it from this node.
        user: Option<Mac>,
        /// The node that held the part before knows more.
        is_before: bool,
    },
}

impl Use {
    /// See there.
    pub(super) fn unclear(until_ms: u64, user: Option<Mac>, is_before: bool) -> Use {
        Use::Unclear {
            until_ms,
            user,
            is_before,
        }
    }

    /// When it ends.
    pub(super) fn until_ms(self) -> u64 {
        match self {
            Use::Offered { until_ms, .. }
            | Use::Leased { until_ms, .. }
            | Use::Released { until_ms, .. }
            | Use::Declined { until_ms, .. }
            | Use::Unclear { until_ms, .. } => until_ms,
        }
    }

    /// The client that has it or was offered it.
    pub(super) fn mac(self) -> Option<Mac> {
        match self {
            Use::Offered { mac, .. } | Use::Leased { mac, .. } | Use::Released { mac, .. } => {
                Some(mac)
            }
            Use::Declined { .. } | Use::Unclear { .. } => None,
        }
    }

    /// The client that is known to use an unclear address.
    pub(super) fn user(self) -> Option<Mac> {
        match self {
            Use::Unclear { user, .. } | Use::Declined { by: user, .. } => user,
            _ => None,
        }
    }

    /// What the next start has to know of it.
    pub(super) fn holder(self) -> Holder {
        match self {
            // Until the time of a packet is over, nobody else gets it.
            Use::Leased { mac, .. } | Use::Released { mac, .. } => Holder::Client(mac),
            // A client may not have heard that its address is another's.
            Use::Unclear {
                is_before: true,
                user,
                ..
            } => Holder::Before(user),
            Use::Unclear { user, .. } => Holder::Unclear(user),
            Use::Declined { .. } => Holder::Unclear(None),
            Use::Offered { .. } => Holder::Nobody,
        }
    }

    /// Whether a card may still answer a question for this use of the address.
    pub(super) fn awaits_answer(self, now_ms: u64) -> bool {
        let asked_ms = match self {
            Use::Offered { asked_ms, .. } | Use::Leased { asked_ms, .. } => asked_ms,
            _ => None,
        };
        asked_ms.is_some_and(|at| now_ms < at.saturating_add(ANSWER_MS))
    }
}
