//! Tests of health checks with real sockets on this machine.

use super::attempt::CheckTarget;
use super::health::HealthState;
use super::{CheckResult, Checker};
use crate::config::{Check, Probe};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

fn nowhere() -> CheckTarget<'static> {
    CheckTarget {
        agent: Path::new("/nonexistent/agent.sock"),
        bridge: "",
    }
}

fn check(probe: Probe) -> Check {
    Check {
        probe,
        inter_ms: 1_000,
        timeout_ms: 60_000,
        fall: 1,
        rise: 1,
        grace_ms: 0,
        restarts: true,
    }
}

fn once(checker: &mut Checker, target: CheckTarget<'_>) -> CheckResult {
    let turn = checker.turn(Some(1), target, 0);
    if checker.watched().is_none() {
        return turn;
    }
    loop {
        let turn = checker.turn(Some(1), target, 0);
        let Some((fd, flags)) = checker.watched() else {
            return turn;
        };
        let events = PollFlags::from_bits_truncate(flags.bits() as u16);
        let mut watched = [PollFd::from_borrowed_fd(fd, events)];
        let patience = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        let count = poll(&mut watched, Some(&patience)).unwrap();
        assert_eq!(count, 1, "nothing came");
    }
}

fn of(probe: Probe) -> Checker {
    Checker::new(&check(probe), 0)
}

#[test]
fn a_port_that_listens_is_up_and_one_that_does_not_is_down() {
    for at in ["127.0.0.1", "::1"] {
        let at: IpAddr = at.parse().unwrap();
        let Ok(listener) = TcpListener::bind((at, 0)) else {
            eprintln!("skipped: no {at}");
            continue;
        };
        let port = listener.local_addr().unwrap().port();
        let mut checker = of(Probe::Tcp { at, port });
        assert_eq!(once(&mut checker, nowhere()), CheckResult::Up);
        assert!(checker.is_up() && !checker.wants_restart());
        drop(listener);
        checker.restart(0);
        let turn = once(&mut checker, nowhere());
        assert_eq!(turn, CheckResult::Down("connection refused".to_owned()));
        assert!(!checker.is_up() && checker.wants_restart());
    }
}

#[test]
fn an_address_that_responds_to_echo_requests_is_up() {
    for at in ["127.0.0.1", "::1"] {
        let at: IpAddr = at.parse().unwrap();
        if TcpListener::bind((at, 0)).is_err() || lab::privileged().is_err() {
            eprintln!("skipped: no {at}, or no right to open ICMP sockets");
            continue;
        }
        assert_eq!(
            once(&mut of(Probe::Ping(at)), nowhere()),
            CheckResult::Up,
            "{at}"
        );
    }
}

#[test]
fn an_agent_that_responds_is_up_and_one_that_closes_is_down() {
    let scratch = lab::ScratchDirectory::new().unwrap();
    let agent = scratch.path().join("agent.sock");
    let target = CheckTarget {
        agent: &agent,
        ..nowhere()
    };
    let mut checker = of(Probe::Agent);
    let words = match once(&mut checker, target) {
        CheckResult::Down(words) => words,
        other => panic!("{other:?}"),
    };
    assert!(words.contains("No such file"), "{words}");

    let listener = UnixListener::bind(&agent).unwrap();
    let guest = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let reply = |text: &str| (&stream).write_all(text.as_bytes()).unwrap();
        let sync = lines.next().unwrap().unwrap();
        let sync: serde_json::Value = serde_json::from_str(&sync).unwrap();
        reply("{\"return\": {}}\n");
        reply(&format!("{{\"return\": {}}}\n", sync["arguments"]["id"]));
        let ping = lines.next().unwrap().unwrap();
        assert_eq!(ping, "{\"execute\":\"guest-ping\"}");
        reply("{\"return\": {}}\n");
        // The next attempt finds that nobody listens.
        let (stream, _) = listener.accept().unwrap();
        drop(stream);
    });
    checker.restart(0);
    assert_eq!(once(&mut checker, target), CheckResult::Up);
    checker.restart(0);
    assert!(matches!(once(&mut checker, target), CheckResult::Down(_)));
    guest.join().unwrap();
}

#[test]
fn no_response_in_time_is_a_failure_with_its_reason() {
    let scratch = lab::ScratchDirectory::new().unwrap();
    let agent = scratch.path().join("agent.sock");
    let _listener = UnixListener::bind(&agent).unwrap();
    let target = CheckTarget {
        agent: &agent,
        ..nowhere()
    };
    let mut checker = of(Probe::Agent);
    assert_eq!(checker.turn(Some(1), target, 0), CheckResult::Nothing);
    assert_eq!(checker.turn(Some(1), target, 59_999), CheckResult::Nothing);
    let down = CheckResult::Down("no response within 60000 ms".to_owned());
    assert_eq!(checker.turn(Some(1), target, 60_000), down);
    assert!(checker.watched().is_none());
}

#[test]
fn a_paused_guest_is_not_checked() {
    let mut checker = of(Probe::Agent);
    assert!(matches!(
        checker.turn(Some(1), nowhere(), 0),
        CheckResult::Down(_)
    ));
    assert_eq!(checker.turn(None, nowhere(), 5_000), CheckResult::Nothing);
    assert_eq!(checker.health().state(), HealthState::Down);
    let other = Check {
        grace_ms: 100_000,
        ..check(Probe::Agent)
    };
    checker.set(&other, 5_000);
    assert_eq!(checker.health().state(), HealthState::Down);
    assert_eq!(
        checker.turn(Some(2), nowhere(), 6_000),
        CheckResult::Nothing
    );
    assert_eq!(checker.health().state(), HealthState::Starting);
    assert!(checker.health().why().contains("No such file"));
    let ping = Probe::Ping("192.0.2.1".parse().unwrap());
    checker.set(&check(ping), 7_000);
    assert_eq!(checker.health().why(), "");
}
