//! Applies the use of a volume that another role of this node reports: the role only reads it, only
//! clients of this node write, or the volume moves to the other node. The use determines which node
//! should own the volume, and which node's clients may write.

use super::Mirror;
use super::peer::number_of;
use crate::export::{Grant, user_words};
use crate::replica::{Input, ReplicaOrder};
use part::role::VolumeUse;
use std::time::{Duration, Instant};

/// Rank of a copy that can serve at once ([`crate::replica::Replica::rank`]).
const GOOD: u32 = 2;
/// Rank of such a copy on the node that alone uses the volume.
const USED_HERE: u32 = 4;
const AGAIN: Duration = Duration::from_millis(200);

/// Last use of the volume that a role of this node has reported.
#[derive(Debug, Default)]
pub(super) struct LocalUse {
    here: Option<VolumeUse>,
    handed_over: Option<Instant>,
}

/// User of this node whose process has the volume open, and whether another user has had the volume
/// since then.
#[derive(Debug, Default)]
pub(super) struct OpenUser {
    /// User that this node was admitted for while its process had the volume open.
    admitted: Option<String>,
    /// The cluster has since recorded another node, or both, for another user. That user may have
    /// written, so the local process caches outdated data.
    pub(super) is_superseded: bool,
}

impl OpenUser {
    pub(super) fn after_restart(user: Option<String>) -> OpenUser {
        OpenUser {
            admitted: user,
            is_superseded: false,
        }
    }

    pub(super) fn supersede(&mut self, user: String) {
        *self = OpenUser {
            admitted: Some(user),
            is_superseded: true,
        };
    }

    /// Updates this state from the use on this node and the recorded write admission.
    ///
    /// A user that hands over or closes the volume is no longer tracked. If no role reports a use,
    /// the role is restarting, and the user's process may still exist.
    fn follow(
        &mut self,
        used: Option<VolumeUse>,
        grant: Option<&Grant>,
        only: &str,
        user: u64,
        me: &str,
    ) {
        let open = grant.filter(|grant| grant.is_open);
        match (used, open) {
            (None | Some(VolumeUse::Reads), _) => {}
            // Keeps a process of a discarded history superseded: a migration does not make it
            // valid.
            (Some(VolumeUse::HandsOver), Some(_)) if self.is_superseded => {}
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
                } else if user != 0 && self.admitted.is_some() {
                    self.is_superseded |= user != number_of(&open.user);
                }
            }
        }
    }
}

impl Mirror {
    /// Returns the user of this node: the one whose process has the volume open according to its
    /// role, or the one that is connected or has a reservation.
    pub(super) fn local_user(&self) -> Option<String> {
        let tenure = &self.outside.tenure;
        let granted = tenure.granted().filter(|grant| grant.is_open);
        granted.map(|grant| grant.user).or(tenure.named_user())
    }

    /// Returns whether the user of this node is the one whose process has outdated data. Later
    /// users may write.
    pub(super) fn is_used_by_superseded(&self) -> bool {
        let admitted = self.clients.open_user.admitted.as_ref();
        let is_same = |user: String| Some(&user) == admitted;
        self.is_superseded() && self.local_user().is_some_and(is_same)
    }
}

impl LocalUse {
    pub(super) fn here(&self) -> Option<VolumeUse> {
        self.here
    }
}

impl Mirror {
    pub(super) fn apply_use_change(&mut self) {
        let here = self.outside.mailbox.used();
        self.shown.is_due = true;
        if self.clients.used.here != here {
            let handed_over = None;
            self.clients.used = LocalUse { here, handed_over };
        }
        self.watch_supersession();
    }

    pub(super) fn used_rank(&self, rank: u32) -> u32 {
        match self.clients.used.here {
            Some(VolumeUse::Alone) if rank == GOOD => USED_HERE,
            _ => rank,
        }
    }

    /// Returns whether clients of another user on the other node may still write, until that user
    /// closes the volume. A migrating guest is one user on both nodes. Without a connection, the
    /// last known user keeps the volume for a while, because that node may have lost only its
    /// volume role. Clients without a user name are excluded at once.
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
            // Waits, because the user is unknown until the first heartbeat of a new connection.
            (None, Some(_)) => true,
            (None, None) => {
                let now = Instant::now();
                own.is_some_and(|own| self.peer.may_have_other(&own.user, now))
            }
        }
    }

    pub(super) fn is_superseded(&self) -> bool {
        self.clients.open_user.is_superseded
    }

    pub(super) fn watch_supersession(&mut self) {
        let grant = self.outside.tenure.granted();
        let recorded = &self.lease.recorded.clients;
        let was_superseded = self.is_superseded();
        self.clients.open_user.follow(
            self.clients.used.here,
            grant.as_ref(),
            &recorded.only,
            recorded.user,
            &self.lease.names.me,
        );
        if self.is_superseded() == was_superseded {
            return;
        }
        self.shown.is_due = true;
        if let Some(grant) = grant.filter(|_| !was_superseded) {
            (self.outside.say)(format!(
                "another user used the volume on {} while {} had it open here: that process must end, and \
                 its unwritten data is lost",
                recorded.only,
                user_words(&grant.user)
            ));
        }
    }

    /// Applies the reported use of this node as the owner: admits clients, or hands the volume
    /// over. Returns whether an action was started.
    pub(super) fn advance_use(&mut self, now: Instant) -> bool {
        if self.clients.used.here == Some(VolumeUse::Alone) {
            // Permits the guest to migrate back at once.
            self.replica.end_rest();
        }
        let names = &self.lease.names;
        let only = match self.clients.used.here {
            Some(VolumeUse::Alone) if self.replica.serves().is_some() => &names.me,
            // Hands over only while the copies are in sync. Until then clients of this node
            // continue.
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
        let rests = self
            .clients
            .used
            .handed_over
            .is_some_and(|at| now < at + AGAIN);
        if self.clients.used.here != Some(VolumeUse::HandsOver) || rests {
            return begins;
        }
        // Hands over without waiting until the write admission is recorded, which happens before
        // the release: the guest is paused. If that record is lost, the next owner writes it.
        self.clients.used.handed_over = Some(now);
        self.apply_input(Input::Order(ReplicaOrder::HandOver));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::SHARED_USER;

    fn open(user: &str) -> Grant {
        Grant {
            user: user.to_owned(),
            is_open: true,
            is_unnamed: false,
        }
    }

    /// Returns whether guest/a on alpha, admitted and open, is superseded after these steps.
    fn after(steps: impl FnOnce(&mut OpenUser)) -> bool {
        let mut user = OpenUser::default();
        let a = open("guest/a");
        user.follow(Some(VolumeUse::Alone), Some(&a), "alpha", 0, "alpha");
        steps(&mut user);
        user.is_superseded
    }

    #[test]
    fn process_is_superseded_by_another_user_of_the_other_node() {
        let alone = Some(VolumeUse::Alone);
        let a = open("guest/a");
        let b = number_of("guest/b");
        assert!(after(|user| user.follow(
            alone,
            Some(&a),
            "beta",
            b,
            "alpha"
        )));
        // Both nodes are admitted for network boot.
        let boot = number_of(SHARED_USER);
        assert!(after(|user| user.follow(
            alone,
            Some(&a),
            "",
            boot,
            "alpha"
        )));
        // During a restart of its role, and after the other user has left.
        assert!(after(|user| {
            user.follow(None, None, "beta", b, "alpha");
            user.follow(alone, Some(&a), "beta", b, "alpha");
            user.follow(alone, Some(&a), "alpha", b, "alpha");
        }));
        let mut restarted = OpenUser::after_restart(Some("guest/a".to_owned()));
        restarted.follow(alone, Some(&a), "beta", b, "alpha");
        assert!(restarted.is_superseded);
        // Once its process has ended, the same guest may use the volume again.
        let closed = Grant {
            is_open: false,
            ..a
        };
        restarted.follow(alone, Some(&closed), "beta", b, "alpha");
        assert!(!restarted.is_superseded);
    }

    #[test]
    fn process_that_moves_or_arrives_is_not_superseded() {
        let alone = Some(VolumeUse::Alone);
        let a = open("guest/a");
        let (own, b) = (number_of("guest/a"), number_of("guest/b"));
        // The guest begins to migrate, and stays after all.
        assert!(!after(|user| {
            user.follow(Some(VolumeUse::HandsOver), Some(&a), "beta", own, "alpha");
            user.follow(alone, Some(&a), "beta", own, "alpha");
        }));
        // An operator or an earlier release admitted the other node.
        assert!(!after(|user| user.follow(
            alone,
            Some(&a),
            "beta",
            0,
            "alpha"
        )));
        assert!(!after(|user| user.follow(alone, Some(&a), "", 0, "alpha")));
        // The guest arrives while the other node is still recorded for an earlier guest.
        let mut arrives = OpenUser::default();
        arrives.follow(alone, Some(&a), "beta", b, "alpha");
        assert!(!arrives.is_superseded);
        // Next user of this node.
        let next = open("guest/b");
        assert!(!after(|user| user.follow(
            alone,
            Some(&next),
            "beta",
            own,
            "alpha"
        )));
    }
}
