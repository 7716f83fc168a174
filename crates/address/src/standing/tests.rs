//! Tests each row of the ownership table.

use super::*;

fn facts(version: VersionStanding, service: Service, place: u8) -> OwnershipFacts {
    OwnershipFacts {
        is_member: true,
        version,
        service,
        preference_position: Some(place),
        preempt: true,
        ..OwnershipFacts::default()
    }
}

/// Formats the row, the priorities of the first and second node of `prefer`, and the owners whose
/// addresses are taken.
fn line(standing: &OwnershipFacts) -> String {
    let at = |place: u8| OwnershipFacts {
        preference_position: standing.preference_position.map(|_| place),
        ..standing.clone()
    };
    let (first, second) = (at(0).ownership_rank(), at(1).ownership_rank());
    let (Some(first), Some(second)) = (first, second) else {
        return format!("{}: owns nothing", standing.row().name());
    };
    let priority = |rank: &Rank| {
        rank.priority
            .map_or("configured".to_owned(), |p| p.to_string())
    };
    format!(
        "{}: {} {}, takes below {}, also {:?}",
        standing.row().name(),
        priority(&first),
        priority(&second),
        first.takes_below,
        first.takes_also
    )
}

#[test]
fn standalone_row_has_its_priorities_and_owners() {
    use Service::{All, None, Some};
    let alone = |service| OwnershipFacts {
        is_member: false,
        ..facts(VersionStanding::Unconfirmed, service, 0)
    };
    let lines = [
        (alone(All), "standalone: 220 210, takes below 255, also []"),
        (alone(Some), "standalone: 140 130, takes below 80, also []"),
        (alone(None), "standalone: 60 50, takes below 0, also []"),
    ];
    for (standing, expected) in lines {
        assert_eq!(line(&standing), expected);
    }
}

#[test]
fn each_row_of_a_member_has_its_priorities_and_owners() {
    use Service::{All, None, Some};
    use VersionStanding::{Current, Outdated, Removed, Unconfirmed};
    let own = |version, service| facts(version, service, 0);
    let behind = |version, service| OwnershipFacts {
        behind: vec![1],
        is_ahead: true,
        ..facts(version, service, 0)
    };
    let lines = [
        (
            own(Current, All),
            "current: 220 210, takes below 255, also []",
        ),
        (
            own(Current, Some),
            "current: 140 130, takes below 80, also [99, 94, 98, 93, 97, 92, 96, 91, 95, 90]",
        ),
        (own(Current, None), "current: 60 50, takes below 0, also []"),
        (
            behind(Current, All),
            "ahead: 254 253, takes below 255, also [50, 93, 98, 130, 210, 238, 243, 248, 253]",
        ),
        (
            behind(Current, Some),
            "ahead: 249 248, takes below 80, also [99, 94, 98, 93, 97, 92, 96, 91, 95, 90]",
        ),
        (
            behind(Current, None),
            "ahead: 60 50, takes below 0, also []",
        ),
        (
            own(Unconfirmed, All),
            "unconfirmed: 220 210, takes below 80, also []",
        ),
        (
            own(Unconfirmed, Some),
            "unconfirmed: 140 130, takes below 80, also []",
        ),
        (
            own(Unconfirmed, None),
            "unconfirmed: 60 50, takes below 0, also []",
        ),
        (
            behind(Unconfirmed, All),
            "ahead, unconfirmed: 244 243, takes below 80, also []",
        ),
        (
            behind(Unconfirmed, Some),
            "ahead, unconfirmed: 239 238, takes below 80, also []",
        ),
        (
            own(Outdated, All),
            "outdated: 220 210, takes below 80, also []",
        ),
        (
            own(Outdated, None),
            "outdated: 60 50, takes below 0, also []",
        ),
        (own(Removed, All), "removed: owns nothing"),
    ];
    for (standing, expected) in lines {
        assert_eq!(line(&standing), expected);
    }
}

#[test]
fn resumed_owner_yields_to_confirmed_nodes_only() {
    use VersionStanding::{Current, Outdated, Unconfirmed};
    let resumed = |version, service, place| OwnershipFacts {
        is_resumed: true,
        ..facts(version, service, place)
    };
    // A confirmed node is no longer bound by the restart.
    let current = facts(Current, Service::All, 0).ownership_rank();
    assert_eq!(resumed(Current, Service::All, 0).ownership_rank(), current);
    for (place, version) in [(0, Unconfirmed), (1, Unconfirmed), (0, Outdated)] {
        for service in [Service::All, Service::Some] {
            let owner = resumed(version, service, place).ownership_rank().unwrap();
            assert!(owner.yields_to_users);
            let announced = owner.priority.unwrap();
            let takes = |rank: Rank| {
                let is_listed = rank.takes_also.contains(&announced);
                rank.priority > Some(announced) && (announced < rank.takes_below || is_listed)
            };
            for other in [Service::All, Service::Some] {
                for preempt in [true, false] {
                    let other = |version| OwnershipFacts {
                        preempt,
                        ..facts(version, other, 1 - place)
                    };
                    assert!(takes(other(Current).ownership_rank().unwrap()));
                    assert!(!takes(other(Unconfirmed).ownership_rank().unwrap()));
                    assert!(!takes(other(Outdated).ownership_rank().unwrap()));
                }
            }
            // A node that serves nothing is no replacement.
            assert!(!takes(
                facts(Current, Service::None, 1 - place)
                    .ownership_rank()
                    .unwrap()
            ));
        }
    }
    let keepalived = OwnershipFacts {
        preference_position: None,
        ..resumed(Unconfirmed, Service::All, 0)
    };
    assert_eq!(keepalived.ownership_rank().unwrap().priority, Some(1));
    let standalone = OwnershipFacts {
        is_member: false,
        ..resumed(Unconfirmed, Service::All, 0)
    };
    assert_eq!(standalone.ownership_rank().unwrap().priority, Some(220));
}

#[test]
fn candidate_keeps_the_priority_and_takes_nothing() {
    for behind in [vec![], vec![1]] {
        let without = OwnershipFacts {
            behind,
            ..facts(VersionStanding::Current, Service::All, 0)
        };
        let with = OwnershipFacts {
            is_candidate: true,
            ..without.clone()
        };
        let (without, with) = (
            without.ownership_rank().unwrap(),
            with.ownership_rank().unwrap(),
        );
        assert_eq!(with.priority, without.priority);
        assert_eq!((with.takes_below, with.takes_also), (0, vec![]));
    }
}

#[test]
fn without_preempt_only_less_healthy_or_outdated_owners_lose() {
    let plain = OwnershipFacts {
        preempt: false,
        ..facts(VersionStanding::Current, Service::All, 0)
    };
    let rank = plain.ownership_rank().unwrap();
    assert!(rank.takes_below > 140 && rank.takes_below <= 180);
    let ahead = OwnershipFacts {
        behind: vec![1],
        is_ahead: true,
        ..plain
    };
    assert!(ahead.ownership_rank().unwrap().takes_also.contains(&210));
}

#[test]
fn keepalived_instance_keeps_its_configured_priority() {
    let foreign = |version, service, preempt| OwnershipFacts {
        preference_position: None,
        preempt,
        ..facts(version, service, 0)
    };
    for (standing, expected) in [
        (
            foreign(VersionStanding::Current, Service::All, true),
            "current: configured configured, takes below 255, also []",
        ),
        (
            foreign(VersionStanding::Current, Service::All, false),
            "current: configured configured, takes below 0, also []",
        ),
        (
            foreign(VersionStanding::Unconfirmed, Service::All, true),
            "unconfirmed: configured configured, takes below 0, also []",
        ),
        (
            foreign(VersionStanding::Current, Service::Some, true),
            "current: 1 1, takes below 0, also []",
        ),
    ] {
        assert_eq!(line(&standing), expected);
    }
}

#[test]
fn confirmation_ends_at_its_time() {
    let instance = Instance {
        prefer: ["alpha", "beta", "gamma", "delta", "last", "shared"]
            .map(str::to_owned)
            .to_vec(),
        bands: Some(plain(1)),
        ..Instance::default()
    };
    let news = MemberNews {
        version: VersionStanding::Current,
        until_ns: 100,
        behind: ["alpha", "last", "stranger"].map(str::to_owned).to_vec(),
        ..MemberNews::default()
    };
    let at = |now_ns| OwnershipFacts::of(&instance, true, &news, now_ns);
    assert_eq!(at(99).row(), Row::Ahead);
    assert_eq!(at(100).row(), Row::AheadUnconfirmed);
    assert_eq!(at(99).preference_position, Some(1));
    assert_eq!(
        at(99).behind,
        [0],
        "the last positions share their priorities"
    );
    assert_eq!(
        OwnershipFacts::of(&instance, false, &news, 0).row(),
        Row::Standalone
    );
    let silent = OwnershipFacts::of(&instance, true, &MemberNews::default(), 0);
    assert_eq!(silent.row(), Row::Unconfirmed);
}

#[test]
fn node_outranks_the_old_machine_of_a_removed_member() {
    let instance = Instance {
        prefer: ["beta", "alpha"].map(str::to_owned).to_vec(),
        bands: Some(plain(1)),
        ..Instance::default()
    };
    let news = |has_removed| MemberNews {
        version: VersionStanding::Current,
        until_ns: 100,
        has_removed,
        ..MemberNews::default()
    };
    let priority = |instance: &Instance, news: &MemberNews| {
        let standing = OwnershipFacts::of(instance, true, news, 0);
        standing.ownership_rank().expect("a member").priority
    };
    assert_eq!(priority(&instance, &news(false)), Some(210));
    // The priority is above that of the machine with the old version at the first position.
    assert_eq!(priority(&instance, &news(true)), Some(253));
    // A removed member does not change the priorities in keepalived.conf; a member that stays
    // behind does.
    let keepalived = Instance::default();
    assert_eq!(priority(&keepalived, &news(true)), None);
    let behind = MemberNews {
        behind: vec!["beta".to_owned()],
        ..news(true)
    };
    assert_eq!(priority(&keepalived, &behind), Some(254));
    let rank = OwnershipFacts::of(&keepalived, true, &behind, 0).ownership_rank();
    assert_eq!(rank.map(|rank| rank.takes_below), Some(u8::MAX));
}

#[test]
fn only_nodes_that_may_be_stale_yield_to_users_of_their_addresses() {
    use VersionStanding::{Current, Outdated, Unconfirmed};
    let yields =
        |standing: OwnershipFacts| standing.ownership_rank().expect("a member").yields_to_users;
    for (version, expected) in [(Current, false), (Unconfirmed, true), (Outdated, true)] {
        let standing = facts(version, Service::All, 0);
        assert_eq!(yields(standing.clone()), expected, "{version:?}");
        // Addresses of keepalived.conf stay in the kernel of an owner that died.
        let keepalived = OwnershipFacts {
            preference_position: None,
            ..standing
        };
        assert!(!yields(keepalived));
    }
}

#[test]
fn no_two_positions_share_a_priority() {
    let mut all: Vec<u8> = (0..=PLACE_MAX).flat_map(priorities).collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
    assert!(all.iter().all(|priority| (1..=254).contains(priority)));
}

#[test]
fn node_with_untested_servers_leaves_a_healthy_owner() {
    for version in [VersionStanding::Current, VersionStanding::Unconfirmed] {
        let untested = OwnershipFacts {
            is_untested: true,
            ..facts(version, Service::All, 0)
        };
        let rank = untested.ownership_rank().unwrap();
        // An untested node announces its usual priority, and preempts only an owner that serves
        // nothing.
        assert_eq!(
            rank.priority,
            facts(version, Service::All, 0)
                .ownership_rank()
                .unwrap()
                .priority
        );
        assert_eq!(rank.takes_below, BELOW_SOME, "{version:?}");
    }
    let ahead = OwnershipFacts {
        is_untested: true,
        behind: vec![1],
        ..facts(VersionStanding::Current, Service::All, 0)
    };
    assert!(ahead.ownership_rank().unwrap().takes_also.is_empty());
    assert!(ahead.is_last_for_lease(false) && !ahead.is_last_for_lease(true));
}

#[test]
fn lease_is_requested_last_without_the_accepted_version() {
    let is_last = |version, is_holder| facts(version, Service::All, 0).is_last_for_lease(is_holder);
    for is_holder in [true, false] {
        assert!(!is_last(VersionStanding::Current, is_holder));
        assert!(is_last(VersionStanding::Outdated, is_holder));
        assert!(is_last(VersionStanding::Removed, is_holder));
        // A holder whose confirmation is late keeps its lease.
        assert_eq!(is_last(VersionStanding::Unconfirmed, is_holder), !is_holder);
    }
    let candidate = OwnershipFacts {
        is_candidate: true,
        ..facts(VersionStanding::Outdated, Service::All, 0)
    };
    assert!(candidate.is_last_for_lease(false) && !candidate.is_last_for_lease(true));
}
