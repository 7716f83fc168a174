//! Tests sync groups of VRRP routers.

use super::{RuleFixture, settings};
use crate::vrrp::{GroupSettings, Instance, Reason, Settings, VrrpState};

fn pair() -> RuleFixture {
    let named = |name: &str, vrid: u8| Settings {
        name: name.to_owned(),
        vrid,
        ..settings()
    };
    let group = GroupSettings {
        name: "VG".to_owned(),
        members: vec![0, 1],
    };
    RuleFixture::idle(vec![named("inside", 51), named("outside", 52)], vec![group])
}

fn begun() -> RuleFixture {
    let mut desk = pair();
    for member in 0..2 {
        desk.give(|router, now| router.start(now, Instance(member), None));
    }
    desk
}

fn masters() -> RuleFixture {
    let mut desk = begun();
    desk.until(3_700);
    desk.did();
    desk
}

fn states(desk: &RuleFixture) -> [VrrpState; 2] {
    [desk.state(0), desk.state(1)]
}

#[test]
fn all_become_master_when_each_of_them_may() {
    let mut desk = begun();
    for ms in [1_000, 2_000, 3_000] {
        desk.until(ms);
        desk.hear_at(1, 2, 150);
    }
    desk.until(6_600);
    assert_eq!(
        states(&desk),
        [VrrpState::Backup; 2],
        "one still hears an owner"
    );
    desk.did();
    desk.until(6_700);
    assert_eq!(states(&desk), [VrrpState::Master; 2]);
    assert_eq!(desk.did().last().unwrap(), "6609 group Master");
}

#[test]
fn a_fault_of_one_is_a_fault_of_all() {
    let mut desk = masters();
    desk.give(|router, now| router.set_fault(now, Instance(1), Some("down".to_owned())));
    let expected = [
        "release",
        "advert 0",
        "Fault",
        "release #1",
        "advert 0 #1",
        "Fault #1",
        "group Fault",
    ];
    assert_eq!(desk.did_what(), expected);
    let why = desk.router.status(Instance(0)).unwrap().why;
    let member = "outside".to_owned();
    assert_eq!(why, Reason::Group { member });
    desk.give(|router, now| router.set_fault(now, Instance(0), Some("down, too".to_owned())));
    desk.give(|router, now| router.set_fault(now, Instance(1), None));
    assert_eq!(
        states(&desk),
        [VrrpState::Fault; 2],
        "one still has a fault"
    );
    desk.give(|router, now| router.set_fault(now, Instance(0), None));
    assert_eq!(states(&desk), [VrrpState::Backup; 2]);
}

#[test]
fn group_yields_as_a_whole() {
    let mut desk = masters();
    desk.until(4_000);
    desk.hear_at(0, 2, 200);
    let expected = [
        "advert 100",
        "release",
        "Backup",
        "release #1",
        "advert 0 #1",
        "Backup #1",
        "group Backup",
    ];
    assert_eq!(desk.did_what(), expected);
}

#[test]
fn ready_member_waits_again_after_an_advert() {
    let mut desk = begun();
    for ms in [1_000, 2_000, 3_000, 4_000] {
        desk.until(ms);
        desk.hear_at(1, 2, 150);
    }
    desk.hear_at(0, 2, 150);
    desk.until(7_600);
    assert_eq!(states(&desk), [VrrpState::Backup; 2]);
    desk.until(7_620);
    assert_eq!(states(&desk), [VrrpState::Master; 2]);
}

#[test]
fn group_resumes_as_a_whole_or_not_at_all() {
    for (second, expected) in [(1, VrrpState::Master), (100, VrrpState::Backup)] {
        let mut desk = pair();
        let now = desk.now();
        let first = super::kept(&desk, std::time::Duration::from_secs(1));
        let second = super::kept(&desk, std::time::Duration::from_secs(second));
        desk.router.start(now, Instance(0), Some(first));
        assert_eq!(desk.state(0), VrrpState::Init, "it waits for the others");
        desk.router.start(now, Instance(1), Some(second));
        assert_eq!(states(&desk), [expected; 2]);
    }
}

#[test]
fn a_stop_of_one_stops_all() {
    let mut desk = masters();
    desk.give(|router, now| router.stop(now, Instance(1)));
    assert_eq!(states(&desk), [VrrpState::Init; 2]);
    assert_eq!(desk.did().last().unwrap(), "3700 group Init");
}

#[test]
fn a_hand_over_moves_all() {
    let mut desk = masters();
    desk.until(4_300);
    desk.give(|router, now| {
        assert!(router.hand_over(now, Instance(1), std::time::Duration::ZERO));
    });
    desk.hear_at(0, 2, 50);
    desk.hear_at(1, 2, 50);
    assert_eq!(states(&desk), [VrrpState::Backup; 2]);
}
