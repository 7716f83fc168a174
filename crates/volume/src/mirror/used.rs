//! How a part of this node uses the volume (a guest that runs here, or moves to the other node),
//! and what that asks for: who is to own it, and whose clients may write.

use super::Mirror;
use super::peer::number_of;
use crate::export::{Grant, user_words};
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

/// The user of this node whose process has the volume open, and whether another user has had the
/// volume since.
#[derive(Debug, Default)]
pub(super) struct OpenUser {
    /// The user that this node was admitted for while its process had the volume open.
    admitted: Option<String>,
    /// The cluster has recorded another node, for another user, since then: that one may have
    /// written, so what the process here has in memory is of an older volume.
    pub(super) is_superseded: bool,
}

impl OpenUser {
    /// `user`: the user that was connected to the volume role before this one.
    pub(super) fn after_restart(user: Option<String>) -> OpenUser {
        OpenUser {
            admitted: user,
            is_superseded: false,
        }
    }

    /// Follows the use of this node, and the record of whose clients may write.
    ///
    /// A user that hands the volume over, or has closed it, is no longer followed. While no part
    /// says how it uses the volume, its role restarts, and the process may still be there.
    fn follow(
        &mut self,
        (used, grant): (Option<VolumeUse>, Option<&Grant>),
        (only, user): (&str, u64),
        me: &str,
    ) {
        let open = grant.filter(|grant| grant.is_open);
        match (used, open) {
            (None | Some(VolumeUse::Reads), _) => {}
            (Some(VolumeUse::HandsOver), _) | (Some(VolumeUse::Alone), None) => {
                *self = OpenUser::default();
            }
            (Some(VolumeUse::Alone), Some(open)) => {
                if self
                    .admitted
                    .as_ref()
                    .is_some_and(|user| *user != open.user)
                {
                    *self = OpenUser::default();
                }
                if only == me {
                    self.admitted = Some(open.user.clone());
                } else if !only.is_empty() && user != 0 && self.admitted.is_some() {
                    self.is_superseded |= user != number_of(&open.user);
                }
            }
        }
    }
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
    /// connection to the other node its last known user keeps the volume for a while, because that
    /// node may have lost its volume role only; clients that name no user are excluded at once.
    pub(super) fn waits_for_user(&self) -> bool {
        if self.clients.used.here != Some(VolumeUse::Alone) {
            return false;
        }
        let recorded = &self.lease.recorded.clients.only;
        if *recorded == self.lease.names.me {
            return false;
        }
        let own = self.outside.tenure.granted();
        match (self.peer.users(), self.peer.session()) {
            (Some(users), _) => own.is_some_and(|own| users.has_other(&own.user)),
            // The first pulse of a new connection says it.
            (None, Some(_)) => true,
            (None, None) => {
                let now = Instant::now();
                own.is_some_and(|own| self.peer.may_have_other(&own.user, now))
            }
        }
    }

    /// Whether another user has had the volume while a process of this node had it open.
    pub(super) fn is_superseded(&self) -> bool {
        self.clients.open_user.is_superseded
    }

    /// Notices that another user has had the volume.
    pub(super) fn watch_supersession(&mut self) {
        let grant = self.outside.tenure.granted();
        let recorded = &self.lease.recorded.clients;
        let was_superseded = self.is_superseded();
        self.clients.open_user.follow(
            (self.clients.used.here, grant.as_ref()),
            (&recorded.only, recorded.user),
            &self.lease.names.me,
        );
        if self.is_superseded() == was_superseded {
            return;
        }
        self.shown.is_due = true;
        if let Some(grant) = grant.filter(|_| !was_superseded) {
            (self.outside.say)(format!(
                "another user has had the volume at {} while {} had it open here: that process must \
                 end, what it has not written is lost",
                recorded.only,
                user_words(&grant.user)
            ));
        }
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
        if only.is_empty() || self.waits_for_user() || self.is_superseded() {
            return false;
        }
        let begins = self.lease.recorded.clients.only != *only && !self.is_admitting(only);
        if begins {
            let user = self.outside.tenure.granted();
            let user = user.map_or(0, |grant| number_of(&grant.user));
            self.admit(only.clone(), user);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn open(user: &str) -> Grant {
        Grant {
            user: user.to_owned(),
            is_open: true,
            is_unnamed: false,
        }
    }

    /// Whether guest/a at alpha, admitted and open, is superseded after this.
    fn after(steps: impl FnOnce(&mut OpenUser)) -> bool {
        let mut user = OpenUser::default();
        let a = open("guest/a");
        user.follow((Some(VolumeUse::Alone), Some(&a)), ("alpha", 0), "alpha");
        steps(&mut user);
        user.is_superseded
    }

    #[test]
    fn process_is_superseded_by_another_user_of_the_other_node() {
        let alone = Some(VolumeUse::Alone);
        let a = open("guest/a");
        let b = number_of("guest/b");
        assert!(after(|user| user.follow(
            (alone, Some(&a)),
            ("beta", b),
            "alpha"
        )));
        // While its role restarts, and after the other user has left.
        assert!(after(|user| {
            user.follow((None, None), ("beta", b), "alpha");
            user.follow((alone, Some(&a)), ("beta", b), "alpha");
            user.follow((alone, Some(&a)), ("alpha", b), "alpha");
        }));
        let mut restarted = OpenUser::after_restart(Some("guest/a".to_owned()));
        restarted.follow((alone, Some(&a)), ("beta", b), "alpha");
        assert!(restarted.is_superseded);
        // Once it has ended, the same guest may use the volume again.
        let closed = Grant {
            is_open: false,
            ..a
        };
        restarted.follow((alone, Some(&closed)), ("beta", b), "alpha");
        assert!(!restarted.is_superseded);
    }

    #[test]
    fn process_that_moves_or_arrives_is_not_superseded() {
        let alone = Some(VolumeUse::Alone);
        let a = open("guest/a");
        let (own, b) = (number_of("guest/a"), number_of("guest/b"));
        // It moves, and stays after all.
        assert!(!after(|user| {
            user.follow(
                (Some(VolumeUse::HandsOver), Some(&a)),
                ("beta", own),
                "alpha",
            );
            user.follow((alone, Some(&a)), ("beta", own), "alpha");
        }));
        // An operator or an earlier version admitted the other node.
        assert!(!after(|user| user.follow(
            (alone, Some(&a)),
            ("beta", 0),
            "alpha"
        )));
        assert!(!after(|user| user.follow(
            (alone, Some(&a)),
            ("", 0),
            "alpha"
        )));
        // It arrives while the other node is still recorded, for a guest before it.
        let mut arrives = OpenUser::default();
        arrives.follow((alone, Some(&a)), ("beta", b), "alpha");
        assert!(!arrives.is_superseded);
        // The next user of this node.
        let next = open("guest/b");
        assert!(!after(|user| user.follow(
            (alone, Some(&next)),
            ("beta", own),
            "alpha"
        )));
    }
}
