//! Tests the backup state of a VRRP router: RFC 9568, 6.4.1 and 6.4.2, and keepalived's options.

use super::{RuleFixture, settings, version_2};
use crate::vrrp::{Instance, Reason, Settings, VrrpState};
use std::time::Duration;

/// Returns the time from the start, in ms, after which a router that receives no advert becomes
/// master.
fn silent_after(settings: Settings) -> u64 {
    let mut desk = RuleFixture::new(settings);
    desk.until(60_000);
    let did = desk.did();
    let master = did.iter().find(|what| what.ends_with("Master"));
    master.unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn takeover_follows_the_down_interval_of_the_version() {
    let quick = |version: Settings, interval_ms: u64| Settings {
        interval: Duration::from_millis(interval_ms),
        ..version
    };
    let with = |priority: u8, settings: Settings| Settings {
        priority,
        ..settings
    };
    // Skew: of one second in version 2, of the interval in version 3 (156/256 for priority 100).
    let cases = [
        (settings(), 3_609),
        (version_2(), 3_609),
        (quick(settings(), 2_000), 7_218),
        (quick(version_2(), 2_000), 6_609),
        (quick(settings(), 10), 36),
        (quick(settings(), 250), 902),
        // The rounding equals keepalived's: to whole seconds in version 2, and never to zero.
        (quick(version_2(), 100), 3_609),
        (with(254, settings()), 3_007),
        (with(1, settings()), 3_996),
    ];
    for (settings, expected) in cases {
        let told = format!("{settings:?}");
        assert_eq!(silent_after(settings), expected, "{told}");
    }
}

#[test]
fn options_that_delay_the_first_takeover_and_those_that_do_not() {
    let cases = [
        // `state MASTER` is effective with priority 255 only.
        (
            Settings {
                priority: 255,
                ..settings()
            },
            3_003,
        ),
        (
            Settings {
                starts_as_master: true,
                ..settings()
            },
            3_609,
        ),
        (
            Settings {
                down_adverts: 5,
                interval: Duration::from_millis(250),
                ..settings()
            },
            1_402,
        ),
        (
            Settings {
                down_adverts: 1,
                ..settings()
            },
            1_609,
        ),
        (
            Settings {
                startup_delay: Duration::from_secs(3),
                ..settings()
            },
            6_609,
        ),
        // If the addresses have no owner, there is nothing to preempt.
        (
            Settings {
                preempt_delay: Duration::from_secs(9),
                ..settings()
            },
            3_609,
        ),
        (
            Settings {
                preempt: false,
                ..settings()
            },
            3_609,
        ),
    ];
    for (settings, expected) in cases {
        let told = format!("{settings:?}");
        assert_eq!(silent_after(settings), expected, "{told}");
    }
}

#[test]
fn the_owner_of_the_addresses_begins_as_master() {
    let mut desk = RuleFixture::new(Settings {
        priority: 255,
        starts_as_master: true,
        ..settings()
    });
    let expected = ["acquire", "advert 255", "announce acquired x5", "Master"];
    assert_eq!(desk.did_what(), expected);
}

#[test]
fn addresses_left_by_a_predecessor_are_released_at_start() {
    let mut desk = RuleFixture::new(settings());
    assert_eq!(desk.did_what(), ["release", "Backup"]);
}

#[test]
fn advert_of_equal_priority_restarts_the_down_timer() {
    for priority in [100, 101, 254, 255] {
        let mut desk = RuleFixture::new(settings());
        for second in 1..10 {
            desk.until(second * 1_000);
            desk.hear(2, priority);
        }
        desk.until(9_000 + 3_608);
        assert_eq!(desk.state(0), VrrpState::Backup, "{priority}");
        desk.until(9_000 + 3_610);
        assert_eq!(desk.state(0), VrrpState::Master, "{priority}");
    }
}

#[test]
fn adverts_of_lower_priority_are_not_the_owners_when_it_preempts() {
    let mut desk = RuleFixture::new(settings());
    for ms in [1_000, 2_000, 3_000] {
        desk.until(ms);
        desk.hear(2, 99);
    }
    desk.until(3_610);
    assert_eq!(desk.state(0), VrrpState::Master);
    let why = desk.router.status(Instance(0)).unwrap().why;
    assert!(
        matches!(why, Reason::Preempts { priority: 99, .. }),
        "{why:?}"
    );
}

#[test]
fn nopreempt_waits_for_silence() {
    let mut desk = RuleFixture::new(Settings {
        preempt: false,
        ..settings()
    });
    for second in 1..30 {
        desk.until(second * 1_000);
        desk.hear(2, 50);
    }
    assert_eq!(desk.state(0), VrrpState::Backup);
    desk.until(29_000 + 3_610);
    assert_eq!(desk.state(0), VrrpState::Master);
}

#[test]
fn priority_zero_takes_effect_after_the_skew() {
    for (settings, skew) in [(settings(), 609), (version_2(), 609)] {
        let mut desk = RuleFixture::new(Settings {
            preempt: false,
            ..settings
        });
        desk.until(1_000);
        desk.hear(2, 150);
        desk.until(2_000);
        desk.hear(2, 0);
        desk.until(2_000 + skew - 1);
        assert_eq!(desk.state(0), VrrpState::Backup);
        desk.until(2_000 + skew + 1);
        let why = desk.router.status(Instance(0)).unwrap().why;
        assert!(matches!(why, Reason::OwnerStopped { .. }), "{why:?}");
    }
}

#[test]
fn repeated_priority_zero_does_not_restart_the_skew() {
    let mut desk = RuleFixture::new(settings());
    desk.hear(2, 150);
    for ms in [1_000, 1_300, 1_600] {
        desk.until(ms);
        desk.hear(2, 0);
    }
    desk.until(1_610);
    assert_eq!(desk.state(0), VrrpState::Master);
}

#[test]
fn priority_zero_of_a_backup_is_ignored() {
    let mut desk = RuleFixture::new(settings());
    for ms in [1_000, 2_000, 3_000] {
        desk.until(ms);
        desk.hear(2, 150);
        desk.hear(3, 0);
    }
    desk.until(6_600);
    assert_eq!(desk.state(0), VrrpState::Backup);
}

#[test]
fn preempt_delay_begins_with_the_first_lower_advert_as_keepalived_counts() {
    // As keepalived 2.2.7 with adverts of priority 50 each second and `preempt_delay 5`: the delay
    // begins with the first advert, and the wait for the master-down timer with the last advert
    // within the delay.
    let mut desk = RuleFixture::new(Settings {
        preempt_delay: Duration::from_secs(5),
        ..version_2()
    });
    for ms in [1_008, 2_010, 3_013, 4_016, 5_017, 6_018, 7_019, 8_022] {
        desk.until(ms);
        desk.hear(2, 50);
    }
    desk.until(8_625);
    assert_eq!(desk.state(0), VrrpState::Backup);
    desk.until(8_627);
    assert_eq!(desk.state(0), VrrpState::Master);
}

#[test]
fn preempt_delay_never_delays_the_takeover_of_a_silent_owner() {
    let mut desk = RuleFixture::new(Settings {
        preempt_delay: Duration::from_secs(100),
        ..settings()
    });
    desk.until(1_000);
    desk.hear(2, 50);
    desk.until(1_000 + 3_610);
    assert_eq!(desk.state(0), VrrpState::Master);
}

#[test]
fn version_3_learns_the_interval_of_its_master_and_forgets_it_as_master() {
    let mut desk = RuleFixture::new(settings());
    let slow = Settings {
        interval: Duration::from_secs(2),
        ..settings()
    };
    desk.until(1_000);
    let bytes = super::packet(&slow, super::host(2), 150);
    desk.hear_bytes(0, super::host(2), 255, &bytes);
    desk.until(1_000 + 7_218);
    assert_eq!(desk.state(0), VrrpState::Backup);
    desk.until(1_000 + 7_219);
    assert_eq!(desk.state(0), VrrpState::Master);
    desk.did();
    desk.until(8_219 + 1_001);
    assert_eq!(desk.did_what(), ["advert 100"], "ours is a second again");
}

#[test]
fn the_skew_of_priority_zero_is_of_the_learned_interval() {
    let mut desk = RuleFixture::new(Settings {
        interval: Duration::from_millis(250),
        down_adverts: 5,
        ..settings()
    });
    desk.hear(2, 200);
    desk.until(500);
    desk.hear(2, 0);
    desk.until(500 + 152);
    assert_eq!(desk.state(0), VrrpState::Backup);
    desk.until(500 + 153);
    assert_eq!(desk.state(0), VrrpState::Master);
}
