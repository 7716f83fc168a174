//! Tests VRRP behaviour that neither RFC defines: late timers, probes, suspended machines,
//! hand-overs, resumption, address conflicts, and addresses that other programs delete.

use super::{RuleFixture, host, kept, packet, settings};
use crate::vrrp::advert::GROUP_V4;
use crate::vrrp::simulation::standing;
use crate::vrrp::{Counter, Instance, Probing, Reason, Settings, VrrpState};
use std::time::Duration;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

fn probing() -> Settings {
    Settings {
        probing: Some(Probing {
            wait: Duration::from_millis(100),
            bound: Duration::from_secs(10),
        }),
        ..settings()
    }
}

fn answer(desk: &mut RuleFixture, mac_is_ours: bool) {
    desk.give(|router, now| {
        router.handle_neighbour(now, Instance(0), host(100), mac_is_ours, MAC);
    });
}

fn why(desk: &RuleFixture) -> Reason {
    desk.router.status(Instance(0)).unwrap().why
}

#[test]
fn takeover_follows_the_down_interval_and_unanswered_probes() {
    let mut desk = RuleFixture::new(probing());
    desk.did();
    desk.until(3_750);
    let did = desk.did();
    assert_eq!(did[0], "3609 probe");
    assert_eq!(did.last().unwrap(), "3709 Master");
    assert!(matches!(why(&desk), Reason::Silence { .. }));
}

#[test]
fn own_reply_is_ignored() {
    let mut desk = RuleFixture::new(probing());
    desk.until(3_650);
    answer(&mut desk, true);
    desk.until(3_710);
    assert_eq!(desk.state(0), VrrpState::Master);
}

#[test]
fn takeover_waits_for_the_bound_while_the_kernel_replies() {
    let mut desk = RuleFixture::new(probing());
    desk.until(1_000);
    desk.hear(2, 200);
    for ms in (4_610..11_000).step_by(50) {
        desk.until(ms);
        answer(&mut desk, false);
    }
    assert_eq!(desk.state(0), VrrpState::Backup);
    desk.until(11_001);
    assert_eq!(desk.state(0), VrrpState::Master);
    let Reason::SilenceBound { since } = why(&desk) else {
        panic!("{:?}", why(&desk));
    };
    assert_eq!(since, Duration::from_secs(10));
}

fn yields(desk: &mut RuleFixture, yields_to_users: bool) {
    let standing = crate::vrrp::OwnershipLimits {
        yields_to_users,
        ..standing(0, 0, true)
    };
    desk.give(|router, now| router.set_standing(now, Instance(0), Some(standing)));
}

#[test]
fn yielding_router_takes_no_address_in_use() {
    let mut desk = RuleFixture::new(probing());
    yields(&mut desk, true);
    for ms in (3_610..20_000).step_by(50) {
        desk.until(ms);
        answer(&mut desk, false);
    }
    let probes = |did: &[String]| did.iter().filter(|did| did.ends_with("probe")).count();
    let count = probes(&desk.did());
    assert!((10..60).contains(&count), "{count} probes");
    assert_eq!(desk.state(0), VrrpState::Backup);
    // No machine responds any more.
    desk.until(21_000);
    assert_eq!(desk.state(0), VrrpState::Master);
}

#[test]
fn yielding_master_releases_an_address_in_use() {
    let mut desk = RuleFixture::new(probing());
    desk.until(4_000);
    assert_eq!(desk.state(0), VrrpState::Master);
    answer(&mut desk, false);
    assert_eq!(desk.state(0), VrrpState::Master);
    desk.did();
    // The router probes at once whether another machine already uses the addresses.
    yields(&mut desk, true);
    assert!(desk.did_what().contains(&"probe".to_owned()));
    answer(&mut desk, true);
    assert_eq!(desk.state(0), VrrpState::Master);
    answer(&mut desk, false);
    assert_eq!(desk.state(0), VrrpState::Backup);
    assert!(matches!(why(&desk), Reason::Used { .. }));
}

#[test]
fn when_the_owners_kernel_falls_silent_too_the_bound_is_not_waited_for() {
    let mut desk = RuleFixture::new(probing());
    for ms in (3_610..5_000).step_by(50) {
        desk.until(ms);
        answer(&mut desk, false);
    }
    desk.until(5_250);
    assert_eq!(desk.state(0), VrrpState::Master);
    assert!(matches!(why(&desk), Reason::Silence { .. }));
}

#[test]
fn an_advert_at_any_time_ends_the_probing() {
    let mut desk = RuleFixture::new(probing());
    desk.until(3_650);
    desk.hear(2, 200);
    desk.until(3_650 + 3_608);
    assert_eq!(desk.state(0), VrrpState::Backup);
}

#[test]
fn no_probes_for_a_stopped_or_preempted_owner() {
    for priority in [0, 50] {
        let mut desk = RuleFixture::new(probing());
        desk.until(3_000);
        desk.hear(2, priority);
        desk.until(3_650);
        let did = desk.did_what();
        assert!(!did.contains(&"probe".to_owned()), "{priority} {did:?}");
        assert_eq!(desk.state(0), VrrpState::Master);
    }
}

#[test]
fn late_timer_extends_the_wait_at_most_twice() {
    let mut desk = RuleFixture::new(settings());
    desk.hear(2, 200);
    for (late_ms, expected) in [
        (5_000, VrrpState::Backup),
        (8_000, VrrpState::Backup),
        (11_000, VrrpState::Master),
    ] {
        desk.freeze_until(late_ms);
        desk.wake();
        assert_eq!(desk.state(0), expected, "{late_ms}");
    }
}

#[test]
fn a_late_timer_costs_one_interval_and_its_skew() {
    let mut desk = RuleFixture::new(settings());
    desk.freeze_until(5_000);
    desk.wake();
    desk.until(5_000 + 1_608);
    assert_eq!(desk.state(0), VrrpState::Backup);
    desk.until(5_000 + 1_610);
    assert_eq!(desk.state(0), VrrpState::Master);
}

#[test]
fn a_pause_that_ends_before_the_down_interval_does_is_noticed_too() {
    let mut desk = RuleFixture::new(settings());
    desk.until(1_200);
    desk.freeze_until(3_600);
    desk.wake();
    desk.until(5_100);
    assert_eq!(
        desk.state(0),
        VrrpState::Backup,
        "it has listened for less than an interval"
    );
    desk.until(5_300);
    assert_eq!(desk.state(0), VrrpState::Master);
}

#[test]
fn frozen_master_yields_to_another_master() {
    for priority in [50, 100, 200] {
        let mut desk = RuleFixture::master(settings());
        desk.freeze_until(20_000);
        desk.hear(2, priority);
        desk.wake();
        assert_eq!(
            desk.did_what(),
            ["release", "advert 0", "Backup"],
            "{priority}"
        );
    }
}

#[test]
fn frozen_master_without_rival_listens_then_sends_adverts() {
    let mut desk = RuleFixture::master(settings());
    desk.freeze_until(20_000);
    desk.wake();
    desk.until(21_499);
    assert!(desk.did().is_empty(), "it listens");
    desk.until(21_501);
    let expected = [
        "21500 acquire",
        "21500 advert 100",
        "21500 announce contested x5",
    ];
    assert_eq!(desk.did()[..3], expected);
    assert_eq!(desk.state(0), VrrpState::Master);
}

#[test]
fn frozen_master_that_was_probed_sends_adverts_at_once() {
    let mut desk = RuleFixture::new(probing());
    desk.until(3_800);
    desk.did();
    desk.freeze_until(9_000);
    desk.wake();
    assert_eq!(desk.did_what()[..2], ["acquire", "advert 100"]);
}

#[test]
fn a_hand_over_keeps_the_address_until_another_one_is_master() {
    let mut desk = RuleFixture::master(settings());
    desk.until(4_300);
    desk.give(|router, now| {
        assert!(router.hand_over(now, Instance(0), Duration::from_secs(2)));
        assert!(
            !router.hand_over(now, Instance(0), Duration::ZERO),
            "one is under way"
        );
    });
    desk.until(6_500);
    let expected = [
        "4300 drains",
        "4609 advert 100",
        "5609 advert 100",
        "6300 offers",
        "6300 advert 0",
    ];
    assert_eq!(desk.did(), expected);
    desk.hear(2, 50);
    assert_eq!(desk.did_what(), ["taken", "release", "Backup"]);
}

#[test]
fn handed_over_address_is_not_preempted_at_equal_health() {
    let mut desk = RuleFixture::master(settings());
    desk.until(4_300);
    desk.give(|router, now| {
        router.hand_over(now, Instance(0), Duration::ZERO);
    });
    for second in 5..60 {
        desk.until(second * 1_000);
        desk.hear(2, 50);
    }
    assert_eq!(desk.state(0), VrrpState::Backup);
    for second in 60..65 {
        desk.until(second * 1_000);
        desk.hear(2, 49);
    }
    assert_eq!(
        desk.state(0),
        VrrpState::Master,
        "its owner is worse than it was"
    );
}

#[test]
fn requests_that_have_finished_end_the_drain() {
    let mut desk = RuleFixture::master(settings());
    desk.until(4_300);
    desk.give(|router, now| {
        router.hand_over(now, Instance(0), Duration::from_secs(60));
        router.drained(now, Instance(0));
    });
    assert_eq!(desk.did_what(), ["drains", "offers", "advert 0"]);
}

#[test]
fn hand_over_without_a_taker_is_withdrawn() {
    let mut desk = RuleFixture::master(settings());
    desk.until(4_300);
    desk.give(|router, now| {
        router.hand_over(now, Instance(0), Duration::ZERO);
    });
    desk.until(8_400);
    let did = desk.did_what();
    let zeroes = did.iter().filter(|what| *what == "advert 0").count();
    assert!((4..=5).contains(&zeroes), "{did:?}");
    assert!(did.contains(&"withdrawn".to_owned()) && did.contains(&"advert 100".to_owned()));
    assert_eq!(desk.state(0), VrrpState::Master);
    assert!(!did.contains(&"release".to_owned()));
}

#[test]
fn only_a_master_hands_over() {
    let mut desk = RuleFixture::new(settings());
    desk.give(|router, now| assert!(!router.hand_over(now, Instance(0), Duration::ZERO)));
}

#[test]
fn killed_master_resumes_if_no_takeover_was_possible() {
    let cases = [
        (settings(), 3_609, VrrpState::Master),
        (settings(), 3_611, VrrpState::Backup),
        // The other routers probe the kernel of this machine, which still responds.
        (probing(), 10_000, VrrpState::Master),
        (probing(), 10_001, VrrpState::Backup),
    ];
    for (settings, dead_ms, expected) in cases {
        let mut desk = RuleFixture::idle(vec![settings], vec![]);
        let kept = kept(&desk, Duration::from_millis(dead_ms));
        desk.give(|router, now| router.start(now, Instance(0), Some(kept)));
        assert_eq!(desk.state(0), expected, "{dead_ms}");
        let did = desk.did_what();
        match expected {
            VrrpState::Master => {
                assert_eq!(
                    did,
                    ["acquire", "advert 100", "announce again x5", "Master"]
                );
            }
            _ => assert_eq!(did, ["release", "Backup"]),
        }
    }
}

#[test]
fn successor_continues_the_state_and_predecessor_is_silent() {
    for seconds in [2, 10] {
        let mut desk = RuleFixture::new(settings());
        for second in 0..seconds.min(3) {
            desk.until(second * 1_000);
            if seconds == 2 {
                desk.hear(2, 200);
            }
        }
        desk.until(seconds * 1_000);
        let now = desk.now();
        let state = desk.state(0);
        let kept = desk.router.instance_snapshot(now, Instance(0)).unwrap();
        desk.did();
        desk.give(|router, now| {
            router.stop_for_successor(now);
            router.stop_all(now);
            router.handle_time(now);
            assert_eq!(router.deadline(), None);
        });
        assert!(desk.did().is_empty());
        let mut after = RuleFixture::idle(vec![settings()], vec![]);
        after.freeze_until(seconds * 1_000);
        after.give(|router, now| router.start(now, Instance(0), Some(kept)));
        assert_eq!(after.state(0), state);
        let since = after.router.status(Instance(0)).unwrap().since;
        assert_eq!(since, kept.since);
        assert!(!after.did().iter().any(|what| what.contains("release")));
    }
}

#[test]
fn address_conflict_is_reported_and_defended() {
    let mut desk = RuleFixture::master(settings());
    desk.until(4_000);
    let notes = desk.notes(|router, now| {
        router.handle_neighbour(now, Instance(0), host(100), false, MAC);
    });
    assert!(notes[0].contains("02:00:00:00:00:09") && notes[0].contains("10.9.0.100"));
    for ms in 4_001..9_000 {
        desk.until(ms);
        answer(&mut desk, false);
    }
    let mut did = desk.did();
    did.retain(|what| what.contains("contested"));
    assert_eq!(did.first().unwrap(), "5000 announce contested x5");
    assert!(did.len() <= 6, "{did:?}");
}

#[test]
fn repeated_conflicts_are_defended_with_back_off() {
    let mut desk = RuleFixture::master(settings());
    let announced = |desk: &mut RuleFixture, begin: u64, until: u64| {
        for ms in (begin..until).step_by(500) {
            desk.until(ms);
            answer(desk, false);
        }
        let mut did = desk.did();
        did.retain(|what| what.contains("contested"));
        did.len()
    };
    let minute = announced(&mut desk, 4_000, 60_000);
    assert!((6..=12).contains(&minute), "{minute}");
    let ten = announced(&mut desk, 60_000, 600_000);
    assert!(ten <= 8, "{ten}");
    let hours = announced(&mut desk, 600_000, 4 * 3_600_000);
    assert!(hours <= 14, "{hours}");
    // The other machine no longer uses the address. Its last use is still contested; after that,
    // nothing is sent.
    desk.until(8 * 3_600_000);
    assert!(desk.did().iter().any(|what| what.contains("contested")));
    desk.until(12 * 3_600_000);
    assert!(!desk.did().iter().any(|what| what.contains("contested")));
    let begin = 12 * 3_600_000;
    let again = announced(&mut desk, begin, begin + 60_000);
    assert!((6..=12).contains(&again), "{again}");
}

#[test]
fn hand_over_is_reported_until_it_succeeds_or_fails() {
    let mut desk = RuleFixture::master(settings());
    desk.until(4_100);
    let shown = |desk: &RuleFixture| desk.router.status(Instance(0)).unwrap().handing_over;
    assert!(!shown(&desk));
    desk.give(|router, now| {
        assert!(router.hand_over(now, Instance(0), Duration::ZERO));
    });
    assert!(shown(&desk), "also before the first offer");
    desk.until(20_000);
    assert!(!shown(&desk));
    assert_eq!(desk.state(0), VrrpState::Master);
}

#[test]
fn duplicate_position_in_prefer_is_reported() {
    let mut desk = RuleFixture::new(Settings {
        priority: 210,
        place: vec![210, 130, 50],
        ..settings()
    });
    let same = |desk: &RuleFixture| desk.router.status(Instance(0)).unwrap().same_place;
    desk.hear(2, 220);
    assert_eq!(same(&desk), None);
    desk.hear(2, 210);
    assert_eq!(same(&desk), Some((host(2), 210)));
    desk.hear(3, 220);
    assert!(same(&desk).is_some());
    desk.hear(2, 0);
    assert!(same(&desk).is_some(), "a farewell says nothing");
    desk.hear(2, 130);
    assert_eq!(same(&desk), Some((host(2), 130)), "in another band");
    desk.hear(2, 220);
    assert_eq!(same(&desk), None);
}

#[test]
fn deleted_address_is_restored_within_a_limit() {
    let mut desk = RuleFixture::master(settings());
    desk.until(4_000);
    desk.give(|router, now| router.handle_address_lost(now, Instance(0)));
    assert_eq!(desk.did_what(), ["acquire", "announce again x5"]);
    for ms in 4_001..7_000 {
        desk.until(ms);
        desk.give(|router, now| router.handle_address_lost(now, Instance(0)));
    }
    let acquired = desk
        .did()
        .iter()
        .filter(|what| what.ends_with("acquire"))
        .count();
    assert!((4..=8).contains(&acquired), "{acquired} in three seconds");
}

#[test]
fn a_backup_does_not_miss_a_deleted_address() {
    let mut desk = RuleFixture::new(settings());
    desk.did();
    desk.give(|router, now| router.handle_address_lost(now, Instance(0)));
    assert!(desk.did().is_empty());
}

#[test]
fn a_worse_band_is_announced_at_once_and_only_the_better_take_over() {
    let node = |place: u8| Settings {
        priority: 220 - 10 * place,
        ..settings()
    };
    let mut desk = RuleFixture::master(node(0));
    desk.until(4_000);
    desk.give(|router, now| router.set_standing(now, Instance(0), Some(standing(0, 1, true))));
    assert_eq!(desk.did_what(), ["advert 140"]);
    // Priority of the owner, band of this router's services, and whether this router becomes
    // master.
    for (owner, band, takes) in [
        (140, 0, true),
        (140, 1, false),
        (60, 1, true),
        (60, 2, false),
    ] {
        let mut desk = RuleFixture::new(node(1));
        desk.give(|router, now| {
            router.set_standing(now, Instance(0), Some(standing(1, band, true)));
        });
        for second in 1..6 {
            desk.until(second * 1_000);
            desk.hear(2, owner);
        }
        assert_eq!(desk.state(0) == VrrpState::Master, takes, "{owner} {band}");
    }
}

#[test]
fn a_master_whose_driver_sent_its_adverts_meanwhile_was_not_frozen() {
    let mut desk = RuleFixture::master(settings());
    let next = desk.router.next_advert(Instance(0)).unwrap();
    assert_eq!(next.at, next.sent_at.after(next.interval));
    assert_eq!(next.patience, next.interval * 3);
    let packets = desk.router.encode_next_advert(Instance(0));
    let own = packet(&settings(), host(5), next.priority);
    assert_eq!(packets, [(GROUP_V4, own)]);
    let sent = |desk: &RuleFixture| {
        desk.router.status(Instance(0)).unwrap().counters[Counter::AdvertsSent]
    };
    let before = sent(&desk);
    desk.freeze_until(20_000);
    desk.router.advertised(desk.now(), Instance(0), 15);
    desk.wake();
    assert_eq!(sent(&desk), before + 15);
    let did = desk.did_what();
    assert!(!did.iter().any(|what| what == "acquire"), "{did:?}");
    let after = desk.router.next_advert(Instance(0)).unwrap();
    assert_eq!(
        (after.sent_at, after.at),
        (desk.now(), desk.now().after(after.interval))
    );
}

#[test]
fn only_a_master_that_speaks_has_a_next_advert() {
    let mut desk = RuleFixture::new(settings());
    assert_eq!(desk.router.next_advert(Instance(0)), None);
    desk.until(3_610);
    assert!(desk.router.next_advert(Instance(0)).is_some());
    desk.router.stop_for_successor(desk.now());
    assert_eq!(desk.router.next_advert(Instance(0)), None);
}
