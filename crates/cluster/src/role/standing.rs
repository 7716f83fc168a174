//! Reports to all roles of this node whether the node serves the accepted configuration version,
//! and which other nodes are not known to serve it ([`MemberNews`]).

use crate::command::{Reported, VersionId};
use crate::machine::ServingMachine;
use crate::member::MemberId;
use crate::role::removal::RemovalMark;
use crate::role::shared::{RoleState, moved};
use crate::state::ClusterState;
use crate::wire::ConnectionFactory;
use part::role::{MemberNews, VersionStanding};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const POLL: Duration = Duration::from_millis(250);
const VALID: Duration = Duration::from_secs(3);
/// Time for which a node that was up to date may load a newly accepted version and still counts as
/// up to date.
const LOADS_WITHIN_MS: u64 = 2_000;
/// Time for which another node may lack the accepted version before it is reported.
const BEHIND_AFTER_MS: u64 = 3_000;

/// Knowledge of whether another node serves the accepted version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PeerVersion {
    /// The node is reachable and reports whether it serves the accepted version. `has_served`: the
    /// log records that the node served that version before.
    Reported {
        serves: bool,
        has_served: bool,
    },
    Silent {
        has_served: bool,
    },
    /// The process of the node ended, so its earlier reports are no longer valid.
    Ended,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct RoleFacts {
    removed: bool,
    has_removed: bool,
    /// Send time of the latest request that a majority answered, nanoseconds of
    /// CLOCK_BOOTTIME.
    confirmed_at_ns: Option<u64>,
    accepted: Option<VersionId>,
    serves: Option<VersionId>,
    others: BTreeMap<MemberId, (String, PeerVersion)>,
    /// True if another member of any kind is reachable.
    reaches_another: bool,
    /// CLOCK_BOOTTIME, nanoseconds.
    now_ns: u64,
}

#[derive(Debug, Default)]
struct Tracker {
    was_current: bool,
    was_confirmed: bool,
    alone_since_ns: Option<u64>,
    mismatch_since_ms: Option<u64>,
    behind_since_ms: BTreeMap<MemberId, u64>,
    /// Nodes that served the accepted version once and then reported another one, each with that
    /// accepted version.
    regressed: BTreeMap<MemberId, Option<VersionId>>,
}

impl Tracker {
    fn news(&mut self, facts: &RoleFacts, now_ms: u64) -> MemberNews {
        let is_same = facts.serves == facts.accepted;
        let since_ms = if is_same {
            self.mismatch_since_ms = None;
            now_ms
        } else {
            *self.mismatch_since_ms.get_or_insert(now_ms)
        };
        let is_loading = self.was_current && now_ms < since_ms.saturating_add(LOADS_WITHIN_MS);
        let version = match facts.confirmed_at_ns {
            _ if facts.removed => VersionStanding::Removed,
            None => VersionStanding::Unconfirmed,
            Some(_) if is_same || is_loading => VersionStanding::Current,
            Some(_) => VersionStanding::Outdated,
        };
        self.was_current = version == VersionStanding::Current;
        self.was_confirmed = match version {
            VersionStanding::Current => true,
            VersionStanding::Unconfirmed => self.was_confirmed,
            VersionStanding::Outdated | VersionStanding::Removed => false,
        };
        let alone_since_ns = if facts.reaches_another {
            self.alone_since_ns = None;
            0
        } else {
            *self.alone_since_ns.get_or_insert(facts.now_ns.max(1))
        };
        let lacking = self.nodes_without_version(facts);
        self.behind_since_ms.retain(|id, _| lacking.contains(id));
        for id in lacking {
            self.behind_since_ms.entry(id).or_insert(now_ms);
        }
        let is_behind = |since_ms: &u64| since_ms.saturating_add(BEHIND_AFTER_MS) <= now_ms;
        let behind = self.behind_since_ms.iter();
        let behind = behind.filter(|(_, since_ms)| is_same && is_behind(since_ms));
        let names = behind.filter_map(|(id, _)| Some(facts.others.get(id)?.0.clone()));
        let valid_ns = u64::try_from(VALID.as_nanos()).unwrap_or(u64::MAX);
        MemberNews {
            version,
            until_ns: facts
                .confirmed_at_ns
                .map_or(0, |at_ns| at_ns.saturating_add(valid_ns)),
            behind: names.collect(),
            has_removed: facts.has_removed,
            was_confirmed: self.was_confirmed,
            alone_since_ns,
        }
    }
}

impl Tracker {
    /// Returns the nodes that are not known to serve the accepted version.
    fn nodes_without_version(&mut self, facts: &RoleFacts) -> BTreeSet<MemberId> {
        let accepted = facts.accepted;
        let is_same = |_: &MemberId, version: &mut Option<VersionId>| *version == accepted;
        self.regressed.retain(is_same);
        let mut lacking = BTreeSet::new();
        for (id, (_, version)) in &facts.others {
            let lacks = match *version {
                PeerVersion::Reported { serves, has_served } => {
                    if serves {
                        self.regressed.remove(id);
                    } else if has_served {
                        self.regressed.insert(*id, accepted);
                    }
                    !serves
                }
                PeerVersion::Silent { has_served } => {
                    !has_served || self.regressed.contains_key(id)
                }
                PeerVersion::Ended => true,
            };
            if lacks {
                lacking.insert(*id);
            }
        }
        lacking
    }
}

pub(super) async fn run<M: ServingMachine, N: ConnectionFactory>(shared: Arc<RoleState<M, N>>) {
    let mut tracker = Tracker::default();
    let mut mark = RemovalMark::new(&shared);
    let mut reported = None;
    let mut changes = shared.engine.changes();
    loop {
        mark.update(&shared);
        let news = tracker.news(&facts(&shared), shared.now_ms());
        if reported.as_ref() != Some(&news) {
            shared.machine.report_standing(news.clone()).await;
            reported = Some(news);
        }
        tokio::select! {
            () = moved(&mut changes) => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

fn facts<M: ServingMachine, N: ConnectionFactory>(shared: &RoleState<M, N>) -> RoleFacts {
    let state = shared.engine.state();
    let serving = shared.serving().clone();
    let paths = shared.wire.paths();
    let path_to = |id| paths.iter().find(|path| path.member == id);
    let is_reachable = |id| path_to(id).is_some_and(|path| path.up);
    let others = state.nodes().filter(|node| node.id != shared.me());
    let others = others.map(|node| {
        let status = shared.status_of_member(node.id);
        // Ignores the last status of an unreachable node: the node's report in the log may be
        // newer.
        let status = status.filter(|_| is_reachable(node.id));
        let has_served = has_served(&state, node.id);
        let version = match status {
            Some(status) => PeerVersion::Reported {
                serves: status.on_trial || status.serves == state.accepted,
                has_served,
            },
            None if path_to(node.id).is_some_and(|path| path.has_ended) => PeerVersion::Ended,
            None => PeerVersion::Silent { has_served },
        };
        (node.id, (node.name.clone(), version))
    });
    RoleFacts {
        removed: shared.is_removed(),
        has_removed: !state.removed.is_empty(),
        confirmed_at_ns: shared.confirmed_at_ns(),
        accepted: state.accepted,
        serves: if serving.on_trial {
            serving.accepted
        } else {
            serving.version
        },
        others: others.collect(),
        reaches_another: paths.iter().any(|path| path.up),
        now_ns: shared.clock.boottime().0,
    }
}

fn has_served(state: &ClusterState, node: MemberId) -> bool {
    let Some(record) = state.accepted() else {
        return true;
    };
    let report = record.reports.get(&node);
    report.is_some_and(|report| matches!(report.outcome, Reported::Serves | Reported::Good))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BETA: MemberId = MemberId(2);

    fn facts(accepted: u64, serves: u64, beta_serves: bool) -> RoleFacts {
        RoleFacts {
            removed: false,
            has_removed: false,
            confirmed_at_ns: Some(7),
            accepted: Some(VersionId(accepted)),
            serves: Some(VersionId(serves)),
            others: BTreeMap::from([(
                BETA,
                (
                    "beta".to_owned(),
                    PeerVersion::Silent {
                        has_served: beta_serves,
                    },
                ),
            )]),
            reaches_another: true,
            now_ns: 7,
        }
    }

    #[test]
    fn returning_node_is_outdated_at_once_and_a_current_one_may_load() {
        let mut tracker = Tracker::default();
        let standing =
            |tracker: &mut Tracker, facts: &RoleFacts, now_ms| tracker.news(facts, now_ms).version;
        let old = facts(2, 1, true);
        assert_eq!(standing(&mut tracker, &old, 0), VersionStanding::Outdated);
        let new = facts(2, 2, true);
        assert_eq!(standing(&mut tracker, &new, 10), VersionStanding::Current);
        let next = facts(3, 2, true);
        assert_eq!(standing(&mut tracker, &next, 20), VersionStanding::Current);
        let late_ms = 20 + LOADS_WITHIN_MS;
        assert_eq!(
            standing(&mut tracker, &next, late_ms - 1),
            VersionStanding::Current
        );
        assert_eq!(
            standing(&mut tracker, &next, late_ms),
            VersionStanding::Outdated
        );
        let again = facts(3, 3, true);
        assert_eq!(
            standing(&mut tracker, &again, late_ms + 1),
            VersionStanding::Current
        );
    }

    #[test]
    fn without_a_majority_nothing_is_current_and_a_removed_member_is_removed() {
        let mut tracker = Tracker::default();
        let alone = RoleFacts {
            confirmed_at_ns: None,
            ..facts(1, 1, true)
        };
        let news = tracker.news(&alone, 0);
        assert_eq!(
            (news.version, news.until_ns),
            (VersionStanding::Unconfirmed, 0)
        );
        let removed = RoleFacts {
            removed: true,
            ..facts(1, 1, true)
        };
        assert_eq!(tracker.news(&removed, 0).version, VersionStanding::Removed);
    }

    #[test]
    fn node_without_the_accepted_version_is_behind_after_a_while() {
        let mut tracker = Tracker::default();
        let behind =
            |tracker: &mut Tracker, facts: &RoleFacts, now_ms| tracker.news(facts, now_ms).behind;
        assert!(behind(&mut tracker, &facts(2, 2, false), 0).is_empty());
        assert!(behind(&mut tracker, &facts(2, 2, false), BEHIND_AFTER_MS - 1).is_empty());
        assert_eq!(
            behind(&mut tracker, &facts(2, 2, false), BEHIND_AFTER_MS),
            ["beta"]
        );
        // A node that does not serve the accepted version outranks nobody.
        assert!(behind(&mut tracker, &facts(3, 2, false), BEHIND_AFTER_MS).is_empty());
        assert!(behind(&mut tracker, &facts(3, 3, true), 9_000).is_empty());
        assert!(
            behind(&mut tracker, &facts(3, 3, false), 9_001).is_empty(),
            "it starts again"
        );
    }

    #[test]
    fn report_of_an_ended_process_does_not_count() {
        let mut tracker = Tracker::default();
        let mut behind = |version, accepted, now_ms| {
            let facts = RoleFacts {
                others: BTreeMap::from([(BETA, ("beta".to_owned(), version))]),
                ..facts(accepted, accepted, true)
            };
            !tracker.news(&facts, now_ms).behind.is_empty()
        };
        let reported = |serves| PeerVersion::Reported {
            serves,
            has_served: true,
        };
        let silent = PeerVersion::Silent { has_served: true };
        // A node that is only cut off serves what it served.
        assert!(!behind(reported(true), 2, 0));
        assert!(!behind(silent, 2, 10) && !behind(silent, 2, 90_000));
        // The process of beta ended: the version that its next process serves is unknown.
        assert!(!behind(PeerVersion::Ended, 2, 100_000));
        assert!(behind(PeerVersion::Ended, 2, 100_000 + BEHIND_AFTER_MS));
        assert!(!behind(reported(true), 2, 110_000));
        // Beta returns with an older version, and is cut off.
        assert!(!behind(reported(false), 2, 120_000));
        assert!(behind(silent, 2, 120_000 + BEHIND_AFTER_MS));
        // Another version is accepted, which beta had when it became silent.
        assert!(!behind(silent, 3, 130_000));
    }

    #[test]
    fn confirmation_outlives_the_majority_and_ends_with_another_version() {
        let mut tracker = Tracker::default();
        let mut confirmed = |facts: RoleFacts, now_ms| tracker.news(&facts, now_ms).was_confirmed;
        let lost = |accepted| RoleFacts {
            confirmed_at_ns: None,
            ..facts(accepted, 1, true)
        };
        assert!(!confirmed(lost(1), 0));
        assert!(confirmed(facts(1, 1, true), 1));
        assert!(confirmed(lost(1), 2));
        assert!(confirmed(facts(1, 1, true), 3));
        assert!(confirmed(facts(2, 1, true), 4), "the version is loading");
        assert!(!confirmed(facts(2, 1, true), 4 + LOADS_WITHIN_MS));
        assert!(!confirmed(lost(2), 5 + LOADS_WITHIN_MS));
    }

    #[test]
    fn member_is_alone_since_it_reaches_no_other_one() {
        let mut tracker = Tracker::default();
        let mut since = |reaches_another, now_ns| {
            let facts = RoleFacts {
                reaches_another,
                now_ns,
                ..facts(1, 1, true)
            };
            tracker.news(&facts, 0).alone_since_ns
        };
        assert_eq!([since(false, 5), since(false, 9)], [5, 5]);
        assert_eq!([since(true, 10), since(false, 11)], [0, 11]);
    }
}
