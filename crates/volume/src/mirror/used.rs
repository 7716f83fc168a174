//! How a part of this node uses the volume (a guest that runs here, or moves to the other node),
//! and what that asks for: who is to own it, and whose clients may write.

use super::Mirror;
use crate::replica::{Input, Order};
use part::role::VolumeUse;
use std::time::{Duration, Instant};

/// The rank of a copy that can serve at once ([`crate::replica::Replica::rank`]).
const GOOD: u32 = 2;
/// The rank of such a copy at the node that alone uses the volume.
const USED_HERE: u32 = 4;
/// A hand-over that came to nothing is tried again after this.
const AGAIN: Duration = Duration::from_millis(200);

/// The use of this node.
#[derive(Debug, Default)]
pub(super) struct Used {
    here: Option<VolumeUse>,
    /// When it was handed over last.
    handed_over: Option<Instant>,
}

impl Mirror {
    /// What uses the volume here may have changed.
    pub(super) fn learn_use(&mut self) {
        let here = self.outside.mailbox.used();
        self.shown.is_due = true;
        if self.clients.used.here != here {
            let handed_over = None;
            self.clients.used = Used { here, handed_over };
        }
    }

    /// The rank of this node, if that of its copy is this one.
    pub(super) fn used_rank(&self, rank: u32) -> u32 {
        match self.clients.used.here {
            Some(VolumeUse::Alone) if rank == GOOD => USED_HERE,
            _ => rank,
        }
    }

    /// Whether another user is still connected at the other node: the clients of that node write
    /// until it has closed the volume. A guest that moves is one user at both nodes. Without a
    /// connection to the other node its clients are excluded at once: a volume that fails over does
    /// not wait for a node that is gone.
    pub(super) fn waits_for_user(&self) -> bool {
        if self.clients.used.here != Some(VolumeUse::Alone) {
            return false;
        }
        let recorded = &self.lease.recorded.clients.only;
        if *recorded == self.lease.names.me {
            return false;
        }
        let Some(users) = self.peer.users() else {
            // The first pulse of a new connection says it.
            return self.peer.session().is_some();
        };
        let own = self.outside.tenure.granted();
        own.is_some_and(|own| users.has_other(&own.user))
    }

    /// Does what the use of this node asks of an owner. Returns whether anything was begun.
    pub(super) fn advance_use(&mut self, now: Instant) -> bool {
        if self.clients.used.here == Some(VolumeUse::Alone) {
            // A guest may move back at once.
            self.replica.end_rest();
        }
        let names = &self.lease.names;
        let only = match self.clients.used.here {
            Some(VolumeUse::Alone) if self.replica.serves().is_some() => &names.me,
            // While the other copy could not serve, the clients of this node go on.
            Some(VolumeUse::HandsOver) if self.replica.is_mirrored() => &names.other,
            _ => return false,
        };
        if only.is_empty() || self.waits_for_user() {
            return false;
        }
        let begins = self.lease.recorded.clients.only != *only && !self.is_admitting(only);
        if begins {
            self.admit(only.clone());
            self.advance_admission(now);
        }
        let rests = { self.clients.used.handed_over }.is_some_and(|at| now < at + AGAIN);
        if self.clients.used.here != Some(VolumeUse::HandsOver) || rests {
            return begins;
        }
        // It does not wait for the record of whose clients may write, which goes before the release: the
        // guest stands still. If that one is lost, the next owner records it.
        self.clients.used.handed_over = Some(now);
        self.feed(Input::Order(Order::HandOver));
        true
    }
}
