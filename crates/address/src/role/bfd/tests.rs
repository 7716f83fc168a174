//! Tests BFD sessions between namespaces, and with a real keepalived.

use super::*;
use crate::config::Weight;
use lab::{Lab, LabHost, ScratchDirectory, eventually};
use std::net::IpAddr;
use std::time::Duration;

/// Timeout that no step exceeds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct BfdHostPair {
    _lab: Lab,
    a: LabHost,
    b: LabHost,
    link: lab::HostLink,
}

impl BfdHostPair {
    fn new(name: &str) -> BfdHostPair {
        let lab = Lab::new(name).unwrap();
        let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
        let link = lab.link(&a, &b).unwrap();
        for (end, n) in [(&link.a, 1), (&link.b, 2)] {
            end.address(&format!("10.9.0.{n}/24")).unwrap();
            end.address(&format!("fd09::{n}/64")).unwrap();
        }
        BfdHostPair {
            _lab: lab,
            a,
            b,
            link,
        }
    }
}

fn session(name: &str, source: &str, neighbour: &str) -> BfdSession {
    let neighbour: IpAddr = neighbour.parse().unwrap();
    BfdSession {
        name: name.to_owned(),
        neighbour,
        source: Some(source.parse().unwrap()),
        min_rx: Duration::from_millis(200),
        min_tx: Duration::from_millis(200),
        idle_tx: Duration::from_secs(1),
        multiplier: 5,
        passive: false,
        // Uses the defaults of keepalived from here on.
        ttl: if neighbour.is_ipv6() { 64 } else { 255 },
        max_hops: 0,
        weight: Weight::default(),
    }
}

/// Sessions of both families for the first host, or with swapped ends for the second one.
fn both_families(second: bool) -> Vec<BfdSession> {
    let of = |name, one, other| {
        if second {
            session(name, other, one)
        } else {
            session(name, one, other)
        }
    };
    vec![
        of("four", "10.9.0.1", "10.9.0.2"),
        of("six", "fd09::1", "fd09::2"),
    ]
}

fn open(host: &LabHost, wanted: &[BfdSession]) -> Bfd {
    host.enter(|| Bfd::open(wanted, Bfd::default(), clock::now()).0)
}

/// Runs all sessions in turn until `done`. The sockets are created in the namespaces of their
/// hosts.
fn turns(ends: &mut [(&LabHost, &mut Bfd)], mut done: impl FnMut(&[(&LabHost, &mut Bfd)]) -> bool) {
    let held = eventually(PATIENCE, || {
        for (host, bfd) in ends.iter_mut() {
            host.enter(|| bfd.handle());
        }
        done(ends)
    });
    assert!(held, "{ends:?}");
}

fn all_are(bfd: &Bfd, state: BfdState) -> bool {
    bfd.all().all(|(_, is, _)| is == state)
}

#[test]
fn a_cut_cable_takes_sessions_of_both_families_down_and_back_up() {
    lab::skip_unless_root!();
    let pair = BfdHostPair::new("bfd-pair");
    let mut a = open(&pair.a, &both_families(false));
    let mut b = open(&pair.b, &both_families(true));
    assert_eq!(a.verdict("four"), TrackedState::Down);
    assert_eq!(a.verdict("nobody"), TrackedState::Unknown);
    let mut ends = [(&pair.a, &mut a), (&pair.b, &mut b)];
    turns(&mut ends, |e| e.iter().all(|e| all_are(e.1, BfdState::Up)));
    assert_eq!(ends[0].1.verdict("six"), TrackedState::Up);
    {
        let _cut = pair.link.silence().unwrap();
        turns(&mut ends, |e| {
            e.iter().all(|e| all_are(e.1, BfdState::Down))
        });
        let why = ends[0].1.all().next().map(|(_, _, why)| why);
        assert_eq!(why, Some(Diagnostic::Expired));
    }
    turns(&mut ends, |e| e.iter().all(|e| all_are(e.1, BfdState::Up)));
}

#[test]
fn a_reload_takes_no_session_down_that_stays_as_it_was() {
    lab::skip_unless_root!();
    let pair = BfdHostPair::new("bfd-reload");
    let mut a = open(&pair.a, &both_families(false));
    let mut b = open(&pair.b, &both_families(true));
    turns(&mut [(&pair.a, &mut a), (&pair.b, &mut b)], |e| {
        e.iter().all(|e| all_are(e.1, BfdState::Up))
    });
    let mut wanted = both_families(false);
    wanted.remove(0);
    wanted[0].weight.value = 10;
    let again = |old| Bfd::open(&wanted, old, clock::now()).0;
    a = pair.a.enter(|| again(a));
    assert_eq!(a.verdict("six"), TrackedState::Up);
    // The removed session signalled AdminDown, which is no outage; the other one is unchanged.
    let mut ends = [(&pair.a, &mut a), (&pair.b, &mut b)];
    let why = |e: &[(&LabHost, &mut Bfd)]| e[1].1.all().next().map(|(_, _, why)| why);
    turns(&mut ends, |e| why(e) == Some(Diagnostic::PeerStopped));
    assert_eq!(ends[1].1.verdict("four"), TrackedState::Up);
    assert_eq!(ends[1].1.verdict("six"), TrackedState::Up);
}

#[test]
fn what_came_through_too_many_routers_is_refused() {
    lab::skip_unless_root!();
    let pair = BfdHostPair::new("bfd-hops");
    let mut far = session("four", "10.9.0.2", "10.9.0.1");
    far.ttl = 250;
    let near = session("four", "10.9.0.1", "10.9.0.2");
    let (mut a, mut b) = (
        open(&pair.a, std::slice::from_ref(&near)),
        open(&pair.b, &[far]),
    );
    let mut ends = [(&pair.a, &mut a), (&pair.b, &mut b)];
    turns(&mut ends, |e| e[0].1.refused() >= 2);
    assert_ne!(ends[0].1.verdict("four"), TrackedState::Up);
    // A TTL of 250 means five hops, which the session now permits.
    let mut wider = near;
    wider.max_hops = 5;
    let reopened = |old| Bfd::open(&[wider], old, clock::now()).0;
    a = pair.a.enter(|| reopened(a));
    turns(&mut [(&pair.a, &mut a), (&pair.b, &mut b)], |e| {
        e.iter().all(|e| all_are(e.1, BfdState::Up))
    });
}

#[test]
fn an_address_that_comes_later_is_waited_for_and_said_once() {
    lab::skip_unless_root!();
    let pair = BfdHostPair::new("bfd-later");
    let mut a = open(&pair.a, &[session("late", "10.9.0.3", "10.9.0.2")]);
    let mut b = open(&pair.b, &[session("late", "10.9.0.2", "10.9.0.3")]);
    let mut said = Vec::new();
    let mut failures = 0;
    assert!(eventually(PATIENCE, || {
        let changes = pair.a.enter(|| a.handle());
        failures += usize::from(a.links[0].failed.is_some());
        said.extend(changes);
        // Time for more than one attempt.
        failures > 300
    }));
    assert!(
        matches!(&said[..], [BfdChange::CannotSend { name, .. }] if name == "late"),
        "{said:?}"
    );
    pair.link.a.address("10.9.0.3/24").unwrap();
    turns(&mut [(&pair.a, &mut a), (&pair.b, &mut b)], |e| {
        e.iter().all(|e| all_are(e.1, BfdState::Up))
    });
}

fn keepalived(host: &LabHost, scratch: &ScratchDirectory, passive: bool) -> lab::LabProcess {
    let mut config = String::new();
    for wanted in both_families(true) {
        let passive = if passive { "passive" } else { "" };
        config += &format!(
            "bfd_instance {} {{\n neighbor_ip {}\n source_ip {}\n min_rx 200\n min_tx 200\n \
             multiplier 5\n {passive}\n}}\n",
            wanted.name,
            wanted.neighbour,
            wanted.source.unwrap(),
        );
    }
    // keepalived requires a tracked object before the instance that tracks it.
    config += "vrrp_instance v {\n interface eth0\n virtual_router_id 5\n \
               track_bfd {\n four\n six\n }\n virtual_ipaddress {\n 10.9.0.100\n }\n}\n";
    let path = scratch.write("keepalived.conf", config).unwrap();
    let mut command = std::process::Command::new("keepalived");
    command.args(["-n", "-l", "-D", "-f"]).arg(&path);
    for option in ["-p", "-r", "-c", "-b"] {
        command.arg(option).arg(scratch.path().join(option));
    }
    let said = std::fs::File::create(scratch.path().join("said")).unwrap();
    command.stdout(said.try_clone().unwrap()).stderr(said);
    host.spawn(command).unwrap()
}

#[test]
fn a_real_keepalived_agrees_on_what_is_up_and_down() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("keepalived");
    for passive in [false, true] {
        let pair = BfdHostPair::new("bfd-keepalived");
        let scratch = ScratchDirectory::new().unwrap();
        let process = keepalived(&pair.b, &scratch, passive);
        let said = |what: &str| {
            let path = scratch.path().join("said");
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.matches(what).count()
        };
        let up = |name: &str| said(&format!("instance {name} is in state Up"));
        let down = |name: &str| said(&format!("instance {name} is in state Down"));
        let mut a = open(&pair.a, &both_families(false));
        turns(&mut [(&pair.a, &mut a)], |e| {
            all_are(e[0].1, BfdState::Up) && up("four") == 1 && up("six") == 1
        });
        // The sessions were down at the start, too, so this is the second time.
        drop(a);
        let told = eventually(PATIENCE, || down("four") == 2 && down("six") == 2);
        let all = std::fs::read_to_string(scratch.path().join("said"));
        assert!(told, "{}", all.unwrap_or_default());
        let mut a = open(&pair.a, &both_families(false));
        turns(&mut [(&pair.a, &mut a)], |e| {
            all_are(e[0].1, BfdState::Up) && up("four") == 2 && up("six") == 2
        });
        process.kill_tree();
        turns(&mut [(&pair.a, &mut a)], |e| {
            all_are(e[0].1, BfdState::Down)
        });
    }
}
