//! Write admission of the user that is shared by both nodes: all machines of network boot. No role
//! asks for the volume on its behalf, so the owner itself admits the clients of both nodes once
//! this user has the volume. Until then the writes of its clients wait.
//!
//! A change is made only to an admission that the record has for another user. The order of an
//! operator stays.

use super::Mirror;
use super::admission::WriteAdmission;
use super::clients::RequestOrigin;
use super::peer::number_of;
use crate::export::{RESERVED_FOR, SHARED_USER, VolumeUser};
use part::role::VolumeUse;
use std::time::Instant;

/// Presence of users on the other node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum OtherNode {
    /// The node is connected and has not reported its user yet, or it may still run another user.
    Unknown,
    /// The node is connected: the number of its user, or 0.
    Connected(u64),
    /// The node is away, and no other user is awaited there.
    Away,
}

/// Returns the node to be admitted for the shared user, empty for both nodes. None: the shared user
/// does not have the volume alone, or the record needs no change.
fn next_admission(
    here: Option<&VolumeUser>,
    there: OtherNode,
    recorded: &WriteAdmission,
    me: &str,
) -> Option<String> {
    let is_here = match here {
        None => false,
        Some(user) if is_shared(user) => true,
        Some(_) => return None,
    };
    let only = match there {
        OtherNode::Connected(user) if user == number_of(SHARED_USER) => "",
        // A process of the previous user may still exist on the other node, also where that node
        // reports none: its reservation has an end, and an earlier version reports no users.
        OtherNode::Connected(0) | OtherNode::Away if is_here => me,
        _ => return None,
    };
    let is_of_a_user = !recorded.only.is_empty() && recorded.user != 0;
    (is_of_a_user && recorded.only != only).then(|| only.to_owned())
}

fn is_shared(user: &VolumeUser) -> bool {
    matches!(user, VolumeUser::User { name, .. } if name == SHARED_USER)
}

impl Mirror {
    fn other_node(&self, now: Instant) -> OtherNode {
        match (self.peer.users(), self.peer.session()) {
            (Some(users), _) => OtherNode::Connected(users.holder),
            (None, Some(_)) => OtherNode::Unknown,
            (None, None) if self.peer.may_have_other(SHARED_USER, now) => OtherNode::Unknown,
            (None, None) if self.may_have_recorded_user(now) => OtherNode::Unknown,
            (None, None) => OtherNode::Away,
        }
    }

    /// Returns whether a user of the other node, for which that node was admitted last, may
    /// continue there: this process was not connected to it yet.
    fn may_have_recorded_user(&self, now: Instant) -> bool {
        let recorded = &self.lease.recorded.clients;
        let is_of_another = recorded.user != 0 && recorded.user != number_of(SHARED_USER);
        let is_there = recorded.only == self.lease.names.other && !recorded.only.is_empty();
        is_of_another && is_there && now < self.opened + RESERVED_FOR
    }

    /// Tells the export whether the other node has, or may have, another user than the shared one.
    pub(super) fn watch_other_user(&mut self, now: Instant) {
        let is_used = match self.other_node(now) {
            OtherNode::Connected(user) => user != 0 && user != number_of(SHARED_USER),
            OtherNode::Unknown => true,
            OtherNode::Away => false,
        };
        self.export.set_used_elsewhere(is_used);
    }

    /// Admits the clients of the shared user once it has the volume.
    pub(super) fn advance_sharing(&mut self, now: Instant) {
        let is_granted = match self.clients.used.here() {
            None | Some(VolumeUse::Reads) => false,
            Some(VolumeUse::Alone | VolumeUse::HandsOver) => true,
        };
        if is_granted || self.replica.serves().is_none() {
            return;
        }
        let there = self.other_node(now);
        let (here, names) = (self.export.holder(), &self.lease.names);
        let only = next_admission(here, there, &self.lease.recorded.clients, &names.me);
        if let Some(only) = only.filter(|only| !self.is_admitting(only)) {
            self.admit(only, number_of(SHARED_USER));
        }
    }

    /// Returns whether a write that is not admitted yet waits instead of being refused: its client
    /// belongs to the shared user, and the record admits another user.
    pub(super) fn waits_for_admission(&self, origin: RequestOrigin) -> bool {
        let is_shared = match origin {
            RequestOrigin::Here(_) => self.export.holder().is_some_and(is_shared),
            RequestOrigin::There(_) => {
                let users = self.peer.users();
                users.is_some_and(|users| users.holder == number_of(SHARED_USER))
            }
        };
        is_shared && self.lease.recorded.clients.user != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::Presence;

    fn user(name: &str, presence: Presence) -> VolumeUser {
        VolumeUser::User {
            name: name.to_owned(),
            presence,
        }
    }

    fn only(node: &str, user: &str) -> WriteAdmission {
        let user = if user.is_empty() { 0 } else { number_of(user) };
        WriteAdmission {
            count: 3,
            only: node.to_owned(),
            user,
        }
    }

    /// Returns the next admission on alpha. `there`: the user on beta.
    fn next(
        here: Option<&VolumeUser>,
        there: OtherNode,
        recorded: &WriteAdmission,
    ) -> Option<String> {
        next_admission(here, there, recorded, "alpha")
    }

    #[test]
    fn shared_user_admits_both_nodes_after_a_guest() {
        let boot = user(SHARED_USER, Presence::Connected);
        let number = number_of(SHARED_USER);
        let both = Some(String::new());
        for node in ["alpha", "beta"] {
            let recorded = only(node, "guest/a");
            // Machines at both nodes, and at the other node.
            let free = OtherNode::Connected(0);
            let there = OtherNode::Connected(number);
            assert_eq!(next(Some(&boot), there, &recorded), both);
            assert_eq!(next(None, there, &recorded), both);
            assert_eq!(next(None, free, &recorded), None);
        }
        // The order of an operator stays, and so does what is admitted already.
        let there = OtherNode::Connected(number);
        for recorded in [only("alpha", ""), only("", SHARED_USER), only("", "")] {
            assert_eq!(next(Some(&boot), there, &recorded), None, "{recorded:?}");
        }
    }

    #[test]
    fn shared_user_admits_its_node_alone_while_the_other_node_is_away() {
        let boot = user(SHARED_USER, Presence::Connected);
        let away = |node, user| next(Some(&boot), OtherNode::Away, &only(node, user));
        assert_eq!(away("beta", "guest/a"), Some("alpha".to_owned()));
        assert_eq!(away("alpha", "guest/a"), None);
        // The other node has reported no user of its own: a process may still exist there.
        let free = OtherNode::Connected(0);
        let alpha = Some("alpha".to_owned());
        assert_eq!(next(Some(&boot), free, &only("beta", "guest/a")), alpha);
        // Machines connect to the other node, too.
        let recorded = only("alpha", SHARED_USER);
        assert_eq!(next(Some(&boot), free, &recorded), None);
        let both = Some(String::new());
        let there = OtherNode::Connected(number_of(SHARED_USER));
        assert_eq!(next(Some(&boot), there, &recorded), both);
    }

    #[test]
    fn shared_user_admits_nobody_while_another_user_has_the_volume() {
        let recorded = only("beta", "guest/a");
        let boot = user(SHARED_USER, Presence::Connected);
        let guest = OtherNode::Connected(number_of("guest/a"));
        assert_eq!(next(Some(&boot), guest, &recorded), None);
        assert_eq!(next(Some(&boot), OtherNode::Unknown, &recorded), None);
        let there = OtherNode::Connected(number_of(SHARED_USER));
        for presence in [Presence::Connected, Presence::Reserved, Presence::Expected] {
            let guest = user("guest/a", presence);
            assert_eq!(next(Some(&guest), there, &recorded), None);
        }
        assert_eq!(next(Some(&VolumeUser::Clients), there, &recorded), None);
    }
}
