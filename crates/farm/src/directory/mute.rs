//! Hosts that pass their check and answer no connection. The check sees that a host accepts and answers a request;
//! behind that it may hang, and would have the most room for ever. So a host whose connections got no answer
//! several times in a row gets nobody new while another one takes users, but one user now and then who
//! tries it. Each node goes by the connections that it carries itself.

use super::entry::{Entry, Presence};
use super::{Directory, HostState, Why};
use crate::collection::{Assignee, CollectionId};
use crate::user::UserId;

/// How often a user tries a host whose connections got no answer, milliseconds.
pub const TRIAL_MS: u64 = 30_000;

/// A host whose connections get no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mute {
    /// How many of them, in a row.
    pub count: u32,
    /// When the next user tries it, milliseconds.
    trial_ms: u64,
    /// Who tried it last.
    trial: Option<UserId>,
}

impl Directory {
    /// So many connections to a host in a row got no answer. Returns whether that is new.
    pub fn mute(&mut self, host: &str, count: u32, now_ms: u64) -> bool {
        let Some(state) = self.hosts.get_mut(host) else {
            return false;
        };
        let first = Mute {
            count,
            trial_ms: now_ms.saturating_add(TRIAL_MS),
            trial: None,
        };
        let is_new = state.mute.is_none();
        state.mute.get_or_insert(first).count = count;
        is_new
    }

    /// A host answers. Returns whether that is new.
    pub fn speaks(&mut self, host: &str) -> bool {
        let state = self.hosts.get_mut(host);
        state.is_some_and(|state| state.mute.take().is_some())
    }

    /// Whether a host of a collection takes users and is not mute. Without one no host counts as mute.
    pub fn has_other(&self, of: CollectionId) -> bool {
        let takes = |(host, state): (&str, &HostState)| {
            state.takes() && state.mute.is_none() && self.has(of, host)
        };
        self.hosts().any(takes)
    }

    /// Whether a user without a session, as far as is known, gets another host than the one before, which is mute.
    pub(super) fn shuns(&self, id: Assignee, entry: &Entry) -> bool {
        let mute = self.hosts.get(&entry.host).and_then(|state| state.mute);
        let is_on_trial =
            |mute: Mute| entry.presence == Presence::Pending && mute.trial == Some(id.user);
        let is_mute = mute.is_some_and(|mute| !is_on_trial(mute));
        is_mute && !entry.is_proved && self.has_other(id.collection)
    }

    /// The mute host that a user without a session has to try now.
    pub(super) fn trial(&self, of: CollectionId, now_ms: u64) -> Option<(String, Why)> {
        let mut hosts = self.hosts.iter();
        let (host, mute) = hosts.find_map(|(host, state)| {
            let mute = state.mute.filter(|mute| mute.trial_ms <= now_ms)?;
            (state.takes() && self.has(of, host)).then_some((host, mute))
        })?;
        let count = mute.count;
        { self.has_other(of) }.then(|| (host.clone(), Why::Trial { count }))
    }

    /// A user tries a mute host; the next one does so later.
    pub(super) fn tries(&mut self, host: &str, user: UserId, now_ms: u64) {
        if let Some(mute) = { self.hosts.get_mut(host) }.and_then(|state| state.mute.as_mut()) {
            mute.trial_ms = now_ms.saturating_add(TRIAL_MS);
            mute.trial = Some(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::farm;
    use super::*;
    use crate::config::Balance;
    use crate::token::{Claims, NameId};
    use crate::user::User;

    fn user(name: &str) -> User {
        User::named(name).unwrap()
    }

    /// Of two hosts the first one has by far the most room, and is mute.
    fn directory() -> Directory {
        let mut directory = Directory::default();
        directory.configure(&farm(Balance::Load, &[100, 1]));
        assert!(directory.mute("ts1", 3, 1_000));
        assert!(!directory.mute("ts1", 4, 1_001));
        directory
    }

    fn gets(directory: &mut Directory, name: &str, now_ms: u64) -> (String, Why) {
        let decision = directory.decide(&user(name), now_ms).unwrap();
        (decision.host, decision.why)
    }

    /// Logs on, connects and goes.
    fn tries(directory: &mut Directory, name: &str, now_ms: u64) -> String {
        let host = gets(directory, name, now_ms).0;
        directory.connected(user(name).id, &host, now_ms);
        directory.ended(user(name).id, &host, now_ms + 2);
        host
    }

    #[test]
    fn a_mute_host_gets_nobody_new_but_one_user_now_and_then() {
        let mut directory = directory();
        for number in 0..10 {
            let (host, why) = gets(&mut directory, &format!("user{number}"), 2_000 + number);
            assert_eq!(host, "ts2");
            let Why::Room { mute: 1, of: 1, .. } = why else {
                panic!("{why:?}");
            };
        }
        for round in 1..4 {
            let now_ms = 1_000 + round * TRIAL_MS;
            let (early, one, other) = (
                format!("a{round}"),
                format!("b{round}"),
                format!("c{round}"),
            );
            assert_eq!(gets(&mut directory, &early, now_ms - 1).0, "ts2");
            let tried = ("ts1".to_owned(), Why::Trial { count: 4 });
            assert_eq!(gets(&mut directory, &one, now_ms), tried);
            // Who tries it comes there with a token, and is the only one.
            assert_eq!(gets(&mut directory, &one, now_ms + 1).0, "ts1");
            assert_eq!(gets(&mut directory, &other, now_ms + 1).0, "ts2");
        }
        assert!(directory.speaks("ts1") && !directory.speaks("ts1"));
        assert_eq!(gets(&mut directory, "next", 200_000).0, "ts1");
    }

    #[test]
    fn who_has_no_session_at_a_mute_host_leaves_it_and_who_has_one_comes_back() {
        let mut directory = Directory::default();
        directory.configure(&farm(Balance::Load, &[100, 1]));
        for name in ["tried", "proved", "connected", "token"] {
            assert_eq!(tries(&mut directory, name, 10), "ts1");
        }
        assert_eq!(gets(&mut directory, "pending", 10).0, "ts1");
        directory.proved(user("proved").id, "ts1", 11);
        directory.connected(user("connected").id, "ts1", 11);
        directory.mute("ts1", 3, 20);
        assert_eq!(
            gets(&mut directory, "proved", 30),
            ("ts1".to_owned(), Why::Session)
        );
        assert_eq!(gets(&mut directory, "connected", 30).0, "ts1");
        for name in ["tried", "pending"] {
            let (host, why) = gets(&mut directory, name, 30);
            assert!(
                matches!(
                    why,
                    Why::Room {
                        has_lost: false,
                        ..
                    }
                ),
                "{why:?}"
            );
            assert_eq!(host, "ts2", "{name}");
        }
        // Nor does a token lead there.
        for name in ["token", "unknown"] {
            let claims = Claims {
                farm: NameId::of("office"),
                user: user(name).id,
                collection: CollectionId::ALL,
                host: Some(NameId::of("ts1")),
                expires_s: 0,
            };
            assert_eq!(directory.decide_token(&claims, 30).unwrap().host, "ts2");
        }
        // The one who has tried it gets another one at once.
        assert_eq!(tries(&mut directory, "trial", 20 + TRIAL_MS), "ts1");
        assert_eq!(tries(&mut directory, "trial", 30 + TRIAL_MS), "ts2");
    }

    #[test]
    fn without_a_host_that_answers_none_counts_as_mute() {
        let mut directory = directory();
        directory.mute("ts2", 3, 1_000);
        let (host, why) = gets(&mut directory, "anna", 2_000);
        assert!(matches!(why, Why::Room { mute: 0, of: 2, .. }), "{why:?}");
        assert_eq!(host, "ts1");
        assert_eq!(tries(&mut directory, "anna", 2_001), "ts1");
        // Who was there leaves it only for one that answers.
        assert_eq!(gets(&mut directory, "anna", 2_010).0, "ts1");
        directory.speaks("ts2");
        assert_eq!(gets(&mut directory, "anna", 2_020).0, "ts2");
        directory.drain("ts2", true, 0);
        assert_eq!(gets(&mut directory, "bert", 2_020 + TRIAL_MS).0, "ts1");
    }
}
