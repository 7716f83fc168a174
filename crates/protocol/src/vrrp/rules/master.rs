//! Tests the master state of a VRRP router: RFC 9568, 6.4.3, and keepalived's options.

use super::{RuleFixture, settings};
use crate::vrrp::{Garp, Instance, Reason, Settings, VrrpState};
use std::time::Duration;

#[test]
fn becoming_master_acquires_then_adverts_then_announces() {
    let mut desk = RuleFixture::new(settings());
    desk.did();
    desk.until(3_610);
    let expected = [
        "3609 acquire",
        "3609 advert 100",
        "3609 announce acquired x5",
        "3609 Master",
    ];
    assert_eq!(desk.did(), expected);
}

#[test]
fn an_advert_goes_out_in_each_interval() {
    let mut desk = RuleFixture::master(settings());
    desk.until(7_700);
    let expected = [
        "4609 advert 100",
        "5609 advert 100",
        "6609 advert 100",
        "7609 advert 100",
    ];
    assert_eq!(desk.did(), expected);
}

#[test]
fn neighbours_get_announcements_after_delay_and_refresh() {
    let garp = Garp {
        delay: Duration::from_millis(1_500),
        repeat: 2,
        refresh: Duration::from_secs(2),
        refresh_repeat: 3,
        ..settings().garp
    };
    let mut desk = RuleFixture::master(Settings { garp, ..settings() });
    desk.until(8_000);
    let mut did = desk.did();
    did.retain(|what| what.contains("announce"));
    let expected = [
        "5109 announce again x2",
        "5609 announce refresh x3",
        "7609 announce refresh x3",
    ];
    assert_eq!(did, expected);
}

#[test]
fn no_announcements_when_disabled() {
    let garp = Garp {
        delay: Duration::ZERO,
        repeat: 0,
        ..settings().garp
    };
    let mut desk = RuleFixture::new(Settings { garp, ..settings() });
    desk.until(20_000);
    assert!(!desk.did().iter().any(|what| what.contains("announce")));
}

#[test]
fn higher_priority_or_equal_with_higher_address_wins() {
    // Last byte of the sender's address, its priority, and whether the tested router (10.9.0.5,
    // priority 100) yields.
    let cases = [
        (2, 101, true),
        (9, 101, true),
        (2, 255, true),
        (2, 100, false),
        (9, 100, true),
        (9, 99, false),
        (2, 1, false),
    ];
    for (from, priority, gives) in cases {
        let mut desk = RuleFixture::master(settings());
        desk.until(4_000);
        desk.hear(from, priority);
        let expected = if gives {
            VrrpState::Backup
        } else {
            VrrpState::Master
        };
        assert_eq!(desk.state(0), expected, "{from} {priority}");
        if gives {
            // The router had become master because of silence, so it sends one more advert before
            // it yields.
            assert_eq!(desk.did_what(), ["advert 100", "release", "Backup"]);
        }
    }
}

#[test]
fn lower_advert_triggers_advert_and_announcements() {
    let mut desk = RuleFixture::master(settings());
    desk.until(4_000);
    desk.hear(2, 50);
    assert_eq!(
        desk.did(),
        ["4000 advert 100", "4000 announce contested x5"]
    );
    desk.until(9_100);
    let mut did = desk.did();
    did.retain(|what| what.contains("contested"));
    assert_eq!(did, ["9000 announce contested x5"]);
}

#[test]
fn lower_prio_no_advert_only_announces() {
    let mut desk = RuleFixture::master(Settings {
        lower_prio_no_advert: true,
        ..settings()
    });
    desk.until(4_000);
    desk.hear(2, 50);
    assert_eq!(desk.did_what(), ["announce contested x5"]);
}

#[test]
fn higher_prio_send_advert_sends_before_yielding() {
    for (sends, expected) in [
        (true, &["advert 100", "release", "Backup"][..]),
        (false, &["release", "Backup"][..]),
    ] {
        let mut desk = RuleFixture::new(Settings {
            higher_prio_send_advert: sends,
            ..settings()
        });
        desk.until(3_000);
        desk.hear(2, 50);
        desk.until(3_700);
        desk.did();
        desk.until(4_200);
        desk.hear(2, 200);
        assert_eq!(desk.did_what(), expected);
    }
}

#[test]
fn priority_zero_triggers_an_advert_at_once() {
    let mut desk = RuleFixture::master(settings());
    desk.until(4_000);
    desk.hear(2, 0);
    assert_eq!(desk.did_what(), ["advert 100", "announce contested x5"]);
    assert_eq!(desk.state(0), VrrpState::Master);
}

#[test]
fn triggered_adverts_are_limited_to_four_per_interval() {
    let mut desk = RuleFixture::master(settings());
    for n in 0..1_000 {
        desk.until(4_609 + n);
        desk.hear(2, 50);
    }
    desk.until(5_609);
    let did = desk.did();
    let adverts = did.iter().filter(|what| what.contains("advert")).count();
    let blocks = did.iter().filter(|what| what.contains("announce")).count();
    assert!((4..=5).contains(&adverts), "{did:?}");
    assert!(blocks <= 3, "{did:?}");
}

#[test]
fn second_address_owner_is_reported_and_ours_becomes_254() {
    let mut desk = RuleFixture::new(Settings {
        priority: 255,
        starts_as_master: true,
        ..settings()
    });
    desk.until(2_000);
    desk.hear(2, 255);
    assert_eq!(desk.state(0), VrrpState::Backup);
    assert_eq!(desk.router.status(Instance(0)).unwrap().priority, 254);
}

#[test]
fn stop_releases_before_the_final_advert() {
    let mut desk = RuleFixture::master(settings());
    desk.give(|router, now| router.stop_all(now));
    assert_eq!(desk.did_what(), ["release", "advert 0", "Init"]);
    desk.until(100_000);
    desk.hear(2, 50);
    assert!(desk.did().is_empty(), "it is over");
}

#[test]
fn backup_stops_without_an_advert() {
    let mut desk = RuleFixture::new(settings());
    desk.did();
    desk.give(|router, now| router.stop(now, Instance(0)));
    assert_eq!(desk.did_what(), ["Init"]);
}

#[test]
fn fault_releases_then_recovery_begins_as_backup() {
    let mut desk = RuleFixture::master(settings());
    let words = || Some("eth0 is down".to_owned());
    desk.give(|router, now| router.set_fault(now, Instance(0), words()));
    assert_eq!(desk.did_what(), ["release", "advert 0", "Fault"]);
    desk.until(50_000);
    desk.hear(2, 50);
    desk.give(|router, now| router.set_fault(now, Instance(0), words()));
    assert!(desk.did().is_empty());
    desk.give(|router, now| router.set_fault(now, Instance(0), None));
    assert_eq!(desk.did_what(), ["Backup"]);
    desk.until(50_000 + 3_608);
    assert_eq!(desk.state(0), VrrpState::Backup);
    desk.until(50_000 + 3_610);
    assert_eq!(desk.state(0), VrrpState::Master);
}

#[test]
fn a_fault_before_the_start_begins_with_it() {
    let mut desk = RuleFixture::idle(vec![settings()], vec![]);
    desk.give(|router, now| router.set_fault(now, Instance(0), Some("no carrier".to_owned())));
    assert!(desk.did().is_empty());
    desk.give(|router, now| router.start(now, Instance(0), None));
    assert_eq!(desk.did_what(), ["release", "Fault"]);
    let why = desk.router.status(Instance(0)).unwrap().why;
    assert_eq!(why, Reason::Failed("no carrier".to_owned()));
}

#[test]
fn a_changed_priority_is_announced_at_once_and_not_if_it_is_the_same() {
    let mut desk = RuleFixture::master(settings());
    desk.until(4_000);
    desk.give(|router, now| router.set_priority(now, Instance(0), 100));
    assert!(desk.did().is_empty());
    desk.give(|router, now| router.set_priority(now, Instance(0), 70));
    assert_eq!(desk.did_what(), ["advert 70"]);
    desk.give(|router, now| router.set_priority(now, Instance(0), 60));
    assert!(desk.did().is_empty(), "not more than four in an interval");
    desk.until(4_251);
    assert_eq!(desk.did(), ["4250 advert 60"]);
}
