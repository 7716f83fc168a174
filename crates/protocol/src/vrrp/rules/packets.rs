//! Tests VRRP packets that are dropped, counted, and reported once.

use super::{RuleFixture, host, packet, settings, version_2};
use crate::vrrp::{AdvertTransport, Authentication, Counter, Instance, Peer, Settings, VrrpState};
use std::net::IpAddr;
use std::time::Duration;

struct Case {
    what: &'static str,
    ours: Settings,
    theirs: Settings,
    from: IpAddr,
    ttl: u8,
    /// Counter of the rejection; `None` for a valid advert.
    counter: Option<Counter>,
}

fn unicast(ttl: Option<(u8, u8)>, check_source: bool) -> Settings {
    Settings {
        transport: AdvertTransport::Unicast {
            peers: vec![Peer {
                address: host(2),
                ttl,
            }],
            check_source,
        },
        ..settings()
    }
}

fn with_password(word: &[u8; 8]) -> Settings {
    Settings {
        authentication: Some(Authentication::Pass(*word)),
        ..version_2()
    }
}

fn with_addresses(last: &[u8]) -> Settings {
    Settings {
        addresses: last.iter().map(|last| host(*last)).collect(),
        ..settings()
    }
}

/// Returns a case from 10.9.0.2 with the correct TTL.
fn case(what: &'static str, ours: Settings, theirs: Settings, counter: Option<Counter>) -> Case {
    Case {
        what,
        ours,
        theirs,
        from: host(2),
        ttl: 255,
        counter,
    }
}

fn of_the_head() -> Vec<Case> {
    let vrid = Settings {
        vrid: 52,
        ..settings()
    };
    let slow = Settings {
        interval: Duration::from_secs(2),
        ..version_2()
    };
    let slow_3 = Settings {
        interval: Duration::from_secs(2),
        ..settings()
    };
    vec![
        case("a good one", settings(), settings(), None),
        case("another interval in version 3", settings(), slow_3, None),
        case("another id", settings(), vrid, Some(Counter::VridErrors)),
        case(
            "version 2",
            settings(),
            version_2(),
            Some(Counter::VersionErrors),
        ),
        case(
            "version 3",
            version_2(),
            settings(),
            Some(Counter::VersionErrors),
        ),
        case(
            "another interval",
            version_2(),
            slow,
            Some(Counter::IntervalErrors),
        ),
        case(
            "a password",
            with_password(b"secret\0\0"),
            with_password(b"secret\0\0"),
            None,
        ),
        case(
            "a wrong password",
            with_password(b"secret\0\0"),
            with_password(b"Secret\0\0"),
            Some(Counter::AuthenticationFailures),
        ),
        case(
            "no password",
            with_password(b"secret\0\0"),
            version_2(),
            Some(Counter::AuthenticationTypeMismatch),
        ),
        case(
            "a password that nobody wants",
            version_2(),
            with_password(b"secret\0\0"),
            Some(Counter::AuthenticationTypeMismatch),
        ),
    ]
}

fn of_the_list() -> Vec<Case> {
    vec![
        case(
            "one address more",
            settings(),
            with_addresses(&[100, 101]),
            Some(Counter::AddressListErrors),
        ),
        case(
            "another address",
            settings(),
            with_addresses(&[77]),
            Some(Counter::AddressListErrors),
        ),
    ]
}

fn of_the_way() -> Vec<Case> {
    vec![
        Case {
            ttl: 254,
            ..case(
                "multicast through a router",
                settings(),
                settings(),
                Some(Counter::TtlErrors),
            )
        },
        Case {
            ttl: 64,
            ..case(
                "unicast from anywhere",
                unicast(None, false),
                settings(),
                None,
            )
        },
        Case {
            from: host(3),
            ..case(
                "a stranger, unchecked",
                unicast(None, false),
                settings(),
                None,
            )
        },
        Case {
            from: host(3),
            ..case(
                "a stranger",
                unicast(None, true),
                settings(),
                Some(Counter::AddressListErrors),
            )
        },
        Case {
            ttl: 250,
            ..case(
                "a peer from near",
                unicast(Some((250, 255)), true),
                settings(),
                None,
            )
        },
        Case {
            ttl: 249,
            ..case(
                "a peer from too far",
                unicast(Some((250, 255)), true),
                settings(),
                Some(Counter::TtlErrors),
            )
        },
    ]
}

#[test]
fn packets_for_others_are_dropped_and_counted() {
    let cases = of_the_head().into_iter().chain(of_the_list());
    for case in cases.chain(of_the_way()) {
        let mut desk = RuleFixture::new(case.ours);
        let bytes = packet(&case.theirs, case.from, 150);
        desk.until(1_000);
        desk.hear_bytes(0, case.from, case.ttl, &bytes);
        let status = desk.router.status(Instance(0)).unwrap();
        match case.counter {
            Some(counter) => {
                assert_eq!(status.counters[counter], 1, "{}", case.what);
                assert_eq!(
                    status.counters[Counter::AdvertsReceived],
                    0,
                    "{}",
                    case.what
                );
                assert_eq!(status.owner, None, "{}", case.what);
            }
            None => assert_eq!(
                status.counters[Counter::AdvertsReceived],
                1,
                "{}",
                case.what
            ),
        }
    }
}

#[test]
fn skip_check_adv_addr_compares_the_list_only_when_the_owner_changes() {
    let ours = Settings {
        skip_check_addresses: true,
        ..settings()
    };
    let theirs = with_addresses(&[77]);
    let mut desk = RuleFixture::new(ours);
    let strange = packet(&theirs, host(2), 150);
    let received = |desk: &RuleFixture| {
        let status = desk.router.status(Instance(0)).unwrap();
        status.counters[Counter::AdvertsReceived]
    };
    desk.hear_bytes(0, host(2), 255, &strange);
    assert_eq!(received(&desk), 0);
    desk.hear(2, 150);
    desk.hear_bytes(0, host(2), 255, &strange);
    assert_eq!(received(&desk), 2, "the same owner");
    let strange = packet(&theirs, host(3), 150);
    desk.hear_bytes(0, host(3), 255, &strange);
    assert_eq!(received(&desk), 2, "another owner");
}

#[test]
fn dropped_packets_are_reported_once_per_reason() {
    let mut desk = RuleFixture::new(settings());
    let theirs = with_addresses(&[77]);
    let mut notes = Vec::new();
    for second in 1..100 {
        desk.until(second * 1_000);
        let bytes = packet(&theirs, host(2), 150);
        notes.extend(desk.notes(|router, now| {
            router.handle_packet(now, Instance(0), host(2), 255, &bytes);
        }));
    }
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains("10.9.0.2") && notes[0].contains("10.9.0.100"),
        "{notes:?}"
    );
}

#[test]
fn a_flood_of_strangers_is_not_a_flood_of_notes() {
    let mut desk = RuleFixture::new(settings());
    let mut notes = 0;
    for n in 0..10_000_u64 {
        desk.freeze_until(1 + n / 10);
        let from = IpAddr::from([10, 9, (n / 250) as u8, (n % 250) as u8]);
        notes += desk
            .notes(|router, now| router.handle_packet(now, Instance(0), from, 255, b"nonsense"))
            .len();
    }
    assert!((1..=10).contains(&notes), "{notes} in a second");
}

#[test]
fn own_packets_are_ignored() {
    let mut desk = RuleFixture::master(settings());
    desk.hear(5, 200);
    assert_eq!(desk.state(0), VrrpState::Master);
    let mut desk = RuleFixture::new(settings());
    desk.until(3_000);
    desk.hear(5, 200);
    desk.until(3_610);
    assert_eq!(desk.state(0), VrrpState::Master);
}

#[test]
fn forged_stops_move_the_addresses_no_faster_than_they_are_paced() {
    let ours = Settings {
        interval: Duration::from_millis(10),
        ..settings()
    };
    let mut desk = RuleFixture::new(ours);
    let mut masters = 0;
    for n in 0..1_000 {
        desk.until(100 + n * 10);
        desk.hear(2, 255);
        desk.hear(2, 0);
        desk.until(100 + n * 10 + 8);
        masters += desk
            .did()
            .iter()
            .filter(|what| what.ends_with("Master"))
            .count();
    }
    assert!(masters <= 5 + 10 + 1, "{masters} takeovers in ten seconds");
}
