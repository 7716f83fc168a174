//! Tests of a cluster member with a scripted control role: which version it serves, its candidate
//! versions, and the version in service after its processes have died.

use crate::control::{MemberFixture, version};
use crate::harness::{PATIENCE, evenkeel, run};
use crate::supervised::{Client, Supervised, answers, get, lives, origin, passes};
use cluster::file_set::SetFile;
use cluster::member::MemberKind;
use cluster::message::ControlMessage as OfCluster;
use lab::{Lab, LabHost, ScratchDirectory, eventually, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use part::role::{KnownLease, KnownLeases, LeaseNews, SupervisorMessage};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

fn went_back(message: &SupervisorMessage) -> bool {
    matches!(message, SupervisorMessage::WentBack { .. })
}

#[test]
fn start_without_files_and_cluster_names_both_options() {
    let scratch = ScratchDirectory::new().unwrap();
    let outcome = run(evenkeel(), scratch.path(), ["run", "--state", "state"]);
    assert_eq!(outcome.code(), Some(1));
    for way in [
        "evenkeel run -f FILE",
        "evenkeel cluster init",
        "evenkeel cluster join",
    ] {
        assert!(outcome.stderr.contains(way), "{}", outcome.stderr);
    }
}

#[test]
fn lost_membership_file_is_named_with_its_copy() {
    let scratch = ScratchDirectory::new().unwrap();
    scratch.write("member.copy", "any").unwrap();
    let outcome = run(evenkeel(), scratch.path(), ["run", "--state", "."]);
    assert_eq!(outcome.code(), Some(1));
    let restored = "`cp -p ./member.copy ./member`";
    assert!(outcome.stderr.contains(restored), "{}", outcome.stderr);
}

#[test]
fn member_restores_its_files_and_names_why_it_cannot_take_part() {
    lab::enter_own_network();
    let scratch = ScratchDirectory::new().unwrap();
    let at = |name: &str| scratch.path().join("state").join(name);
    let listen = format!("127.0.0.1:{}", free_port().unwrap());
    let words = [
        "cluster", "init", "shop", "--name", "a", "--listen", &listen, "--state", "state",
    ];
    let created = run(evenkeel(), scratch.path(), words);
    assert_eq!(created.code(), Some(0), "{}", created.stderr);
    let start = || Supervised::start(evenkeel(), scratch.path(), ["run", "--state", "state"]);
    let status = |words: &[&str]| {
        let words = [&["cluster", "status"], words].concat();
        let outcome = run(evenkeel(), scratch.path(), words);
        outcome.stdout + &outcome.stderr
    };
    let shows = |words: &str| {
        let is_shown = eventually(PATIENCE, || status(&[]).contains(words));
        assert!(is_shown, "{words}: {}", status(&[]));
    };
    let member = start();
    shows("a is the leader");
    for name in ["member.key", "member.pem", "authority.pem"] {
        std::fs::remove_file(at(name)).unwrap();
        assert!(eventually(PATIENCE, || at(name).exists()), "{name}");
    }
    shows("member.key was missing and was written again");
    // A file that is not restored is named as long as it is missing.
    std::fs::rename(at("sealing.key"), at("sealing.away")).unwrap();
    shows("sealing.key missing in");
    std::fs::rename(at("sealing.away"), at("sealing.key")).unwrap();
    assert_eq!(member.end(Signal::SIGTERM).code(), Some(0));
    std::fs::rename(at("member.key"), at("key.away")).unwrap();
    let member = start();
    shows("a cannot take part in its cluster: ");
    assert!(status(&["--json"]).contains("\"cannot_start\":\""));
    assert_eq!(member.end(Signal::SIGTERM).code(), Some(0));
    std::fs::rename(at("key.away"), at("member.key")).unwrap();
    let member = start();
    shows("a is the leader");
    assert_eq!(member.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn first_version_is_awaited_and_candidate_rolls_back_without_loss() {
    let member = MemberFixture::new(MemberKind::Node);
    let supervised = member.run();
    let mut control = member.control();
    let port = free_port().unwrap();
    let one = version(1, &passes("", &[port], origin("one")));
    let two = version(2, &passes("", &[port], origin("two")));
    assert_eq!(control.health(), None);
    let (good, words) = control.check(&one);
    assert!(good && get(port).is_none(), "{words}");
    let (good, words) = control.serve(&one, false);
    assert!(good, "{words}");
    assert!(answers(port, "one"));
    let mut client = Client::new(port).unwrap();
    assert_eq!(client.get().as_deref(), Some("one"));
    let role = supervised.role().unwrap();
    let (good, words) = control.serve(&two, true);
    assert!(good, "{words}");
    assert_eq!(client.get().as_deref(), Some("two"));
    let (good, words) = control.revert();
    assert!(good, "{words}");
    assert_eq!(client.get().as_deref(), Some("one"), "the same connection");
    assert_eq!(supervised.role(), Some(role), "and the same process");
    let (good, words) = control.serve(&two, true);
    assert!(good, "{words}");
    assert!(control.accept_set().0);
    assert_eq!(client.get().as_deref(), Some("two"));
    assert!(control.revert().0, "nothing is on trial any more");
    assert_eq!(client.get().as_deref(), Some("two"));
    let health = control.health().unwrap();
    assert!(health.requests >= 4 && health.errors == 0, "{health:?}");
    assert_eq!(health.frontends[0].listens, [format!("127.0.0.1:{port}")]);
    assert!(health.frontends[0].http && health.frontends[0].usable);
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
}

#[test]
fn rolled_back_first_version_leaves_nothing_served() {
    let member = MemberFixture::new(MemberKind::Node);
    let supervised = member.run();
    let mut control = member.control();
    let port = free_port().unwrap();
    let one = version(1, &passes("", &[port], origin("one")));
    for _ in 0..2 {
        let (good, words) = control.serve(&one, true);
        assert!(good && answers(port, "one"), "{words}");
        let (good, words) = control.revert();
        assert!(good && get(port).is_none(), "{words}");
        assert!(control.revert().0, "nothing is on trial any more");
    }
    // A role that dies with the version is not restarted; one that survives it is.
    let (good, words) = control.serve(&one, true);
    assert!(good && answers(port, "one"), "{words}");
    kill(Pid::from_raw(supervised.role().unwrap()), Signal::SIGKILL).unwrap();
    let _ = control.wait_for(went_back);
    assert!(get(port).is_none());
    let (good, words) = control.serve(&one, true);
    assert!(good && answers(port, "one"), "{words}");
    let (good, words) = control.accept_set();
    assert!(good, "{words}");
    kill(Pid::from_raw(supervised.role().unwrap()), Signal::SIGKILL).unwrap();
    assert!(answers(port, "one"));
    assert!(control.revert().0 && answers(port, "one"));
    supervised.end(Signal::SIGTERM);
}

#[test]
fn candidate_ends_with_the_control_role_unless_accepted() {
    let member = MemberFixture::new(MemberKind::Node);
    let port = free_port().unwrap();
    let one = version(1, &passes("", &[port], origin("one")));
    let two = version(2, &passes("", &[port], origin("two")));
    let supervised = member.run();
    let mut control = member.control();
    let dies = |control: &crate::control::TestControlRole| {
        kill(Pid::from_raw(control.pid), Signal::SIGKILL).unwrap();
    };
    assert!(control.serve(&one, true).0 && answers(port, "one"));
    dies(&control);
    assert!(eventually(PATIENCE, || get(port).is_none()));
    let mut control = member.control();
    assert!(control.serve(&one, true).0 && answers(port, "one"));
    member.accepts(&one);
    dies(&control);
    let mut control = member.control();
    assert!(
        control.revert().0 && answers(port, "one"),
        "it was accepted"
    );
    assert!(control.serve(&two, true).0 && answers(port, "two"));
    dies(&control);
    assert!(answers(port, "one"));
    // Repeats this with a control role that dies before it learns that its version is served.
    let mut control = member.control();
    let asked = SupervisorMessage::Serve {
        trial: true,
        operation: String::new(),
    };
    let rest = "# One of many lines that take some time.\n".repeat(60_000);
    let slow = version(3, &(passes("", &[port], origin("three")) + &rest));
    let before = supervised.children().len();
    control.begin(&asked, Some(&slow));
    let loads = || supervised.children().len() > before;
    assert!(eventually(PATIENCE, loads));
    dies(&control);
    let mut control = member.control();
    let loaded = || supervised.children().len() <= before;
    assert!(eventually(PATIENCE, loaded));
    // The rollback happens without a request.
    assert!(eventually(PATIENCE, || get(port).as_deref() == Some("one")));
    let (good, words) = control.revert();
    assert!(good && answers(port, "one"), "{words}");
    assert!(control.serve(&two, true).0 && answers(port, "two"));
    member.accepts(&two);
    dies(&control);
    let mut control = member.control();
    assert!(
        control.revert().0 && answers(port, "two"),
        "it was accepted"
    );
    supervised.end(Signal::SIGTERM);
}

#[test]
fn refused_version_is_reported_and_changes_nothing() {
    let member = MemberFixture::new(MemberKind::Node);
    let port = free_port().unwrap();
    let one = version(1, &passes("", &[port], origin("one")));
    member.accepts(&one);
    let supervised = member.run();
    let mut control = member.control();
    assert!(answers(port, "one"), "the last accepted version");
    let wrong = version(2, "frontend f\n    bnid 127.0.0.1:1\n");
    let (good, words) = control.check(&wrong);
    assert!(!good && words.contains("did you mean 'bind'?"), "{words}");
    let (good, words) = control.serve(&wrong, true);
    assert!(!good && words.contains("did you mean 'bind'?"), "{words}");
    // A file of this machine that the version does not contain.
    let map = member.scratch.write("hosts.map", "a b\n").unwrap();
    let text = passes("", &[port], origin("two"));
    let names = format!(
        "{text}    http-response set-header x %[src,map({})]\n",
        map.display()
    );
    let mut lacks = version(3, &names);
    let (good, words) = control.check(&lacks);
    let wanted = format!("'{}' is not in version 3", map.display());
    assert!(!good && words.contains(&wanted), "{words}");
    lacks.files.push(SetFile {
        path: map.to_str().unwrap().to_owned(),
        main: false,
        secret: false,
        mode: 0o644,
        bytes: b"a b\n".to_vec(),
    });
    assert!(control.check(&lacks).0);
    // An address that is in use.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = taken.local_addr().unwrap().port();
    let (good, words) = control.check(&version(4, &passes("", &[other], 1)));
    assert!(!good && words.contains("Address already in use"), "{words}");
    assert_eq!(get(port).as_deref(), Some("one"));
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
}

#[test]
fn proxy_dying_with_a_candidate_restarts_with_the_accepted_version() {
    let member = MemberFixture::new(MemberKind::Node);
    let port = free_port().unwrap();
    member.accepts(&version(1, &passes("", &[port], origin("one"))));
    let supervised = member.run();
    let mut control = member.control();
    assert!(answers(port, "one"));
    let two = version(2, &passes("", &[port], origin("two")));
    let (good, words) = control.serve(&two, true);
    assert!(good && get(port).as_deref() == Some("two"), "{words}");
    let role = supervised.role().unwrap();
    kill(Pid::from_raw(role), Signal::SIGKILL).unwrap();
    let _ = control.wait_for(went_back);
    assert!(answers(port, "one"));
    let (good, words) = control.serve(&two, false);
    assert!(good && get(port).as_deref() == Some("two"), "{words}");
    let role = supervised.role().unwrap();
    kill(Pid::from_raw(role), Signal::SIGKILL).unwrap();
    assert!(answers(port, "two"), "it is the accepted one");
    supervised.end(Signal::SIGTERM);
}

#[test]
fn the_death_of_the_control_role_or_of_the_supervisor_costs_no_connection() {
    let member = MemberFixture::new(MemberKind::Node);
    let port = free_port().unwrap();
    member.accepts(&version(1, &passes("", &[port], origin("one"))));
    let supervised = member.run();
    let control = member.control();
    assert!(answers(port, "one"));
    let mut client = Client::new(port).unwrap();
    assert_eq!(client.get().as_deref(), Some("one"));
    kill(Pid::from_raw(control.pid), Signal::SIGKILL).unwrap();
    let mut control = member.control();
    assert_eq!(client.get().as_deref(), Some("one"));
    let two = version(2, &passes("", &[port], origin("two")));
    let (good, words) = control.serve(&two, false);
    assert!(good, "{words}");
    member.accepts(&two);
    assert_eq!(client.get().as_deref(), Some("two"));
    let outcome = supervised.reload();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let role = supervised.role().unwrap();
    supervised.signal(Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !lives(supervised.pid.as_raw())));
    assert_eq!(client.get().as_deref(), Some("two"));
    drop(control);
    let next = member.run();
    let mut control = member.control();
    assert!(control.check(&two).0);
    assert_eq!(client.get().as_deref(), Some("two"));
    assert!(eventually(PATIENCE, || next.reload().code() == Some(0)));
    assert!(lives(role) && client.get().as_deref() == Some("two"));
    let outcome = next.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
}

#[test]
fn accepted_version_that_fails_is_retried() {
    let member = MemberFixture::new(MemberKind::Node);
    let port = free_port().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    member.accepts(&version(1, &passes("", &[port], origin("one"))));
    let supervised = member.run();
    let mut control = member.control();
    let wrong = version(2, "frontend f\n    bnid 127.0.0.1:1\n");
    assert!(!control.check(&wrong).0);
    drop(taken);
    assert!(answers(port, "one"));
    supervised.end(Signal::SIGTERM);
}

#[test]
fn arbiter_serves_nothing_and_stops_on_request() {
    let member = MemberFixture::new(MemberKind::Arbiter);
    let supervised = member.run();
    let mut control = member.control();
    let port = free_port().unwrap();
    let (good, words) = control.serve(&version(1, &passes("", &[port], 1)), false);
    assert!(!good && words.contains("arbiter"), "{words}");
    // Without a file to reload and without a new program, a reload succeeds.
    let outcome = supervised.reload();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("nothing to reload"),
        "{}",
        outcome.stderr
    );
    supervised.signal(Signal::SIGTERM);
    let _ = control.wait_for(|message| matches!(message, SupervisorMessage::Stop(_)));
    drop(control);
    let outcome = supervised.finish();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
}

fn host(lab: &Lab) -> LabHost {
    let host = lab.host("one").unwrap();
    let pair = ["link", "add", "v0", "type", "veth", "peer", "name", "v1"];
    host.ip(&pair).unwrap();
    for name in ["lo", "v0", "v1"] {
        host.ip(&["link", "set", name, "up"]).unwrap();
    }
    host.ip(&["addr", "add", "10.0.0.1/24", "dev", "v0"])
        .unwrap();
    host
}

fn held(within: Duration) -> SupervisorMessage {
    let now = clock_gettime(ClockId::Boottime);
    let now_ns = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    let held = KnownLeases(vec![KnownLease {
        name: "address/www".to_owned(),
        epoch: 1,
        until_ns: now_ns + within.as_nanos() as u64,
        ..KnownLease::default()
    }]);
    SupervisorMessage::Part(Box::new(LeaseNews::Known(held).envelope("address")))
}

#[test]
fn address_follows_its_lease_and_takeover_ends_a_candidate() {
    lab::skip_unless_root!();
    let lab = Lab::new("cluster-lease").unwrap();
    let host = host(&lab);
    let text = |name: &str| {
        format!(
            "defaults\n mode http\n timeout client 5s\n timeout connect 5s\n timeout server 5s\n\
             frontend f\n bind 127.0.0.1:8080\n bind 10.0.0.9:80\n http-request return status 200 content-type text/plain string {name}\n\
             virtual-ip www\n address 10.0.0.9/24\n interface v0\n failover 200ms\n lease\n"
        )
    };
    let member = MemberFixture::new(MemberKind::Node);
    member.accepts(&version(1, &text("one")));
    let supervised = host.enter(|| member.run());
    let mut control = member.control();
    let wants = |message: &SupervisorMessage| match message {
        SupervisorMessage::Part(message) => match message.read() {
            Some(OfCluster::Wants { leases, .. }) => {
                leases.0.iter().any(|lease| lease.name == "address/www")
            }
            _ => false,
        },
        _ => false,
    };
    let _ = control.wait_for(wants);
    let says = |name: &str| host.enter(|| answers(8080, name));
    assert!(says("one"));
    let has = || {
        let shown = host.ip(&["-o", "addr", "show"]).unwrap();
        shown.contains("inet 10.0.0.9/")
    };
    let (good, words) = control.serve(&version(2, &text("two")), true);
    assert!(good && says("two"), "{words}");
    assert!(!has(), "nobody gave it the lease");
    control.say(&held(Duration::from_secs(60)), None);
    assert!(eventually(PATIENCE, has));
    let _ = control.wait_for(went_back);
    assert!(
        says("one"),
        "the accepted version serves what was taken over"
    );
    // The owner serves another candidate.
    let (good, words) = control.serve(&version(3, &text("three")), true);
    assert!(good && says("three") && has(), "{words}");
    let role = supervised.children().into_iter().find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"evenkeel: address")
    });
    // No process renews the lease.
    control.say(&held(Duration::from_secs(2)), None);
    kill(Pid::from_raw(control.pid), Signal::SIGSTOP).unwrap();
    assert!(eventually(PATIENCE, || !has()));
    assert!(role.is_some_and(lives), "the role ended");
    assert!(says("three"), "the trial ended");
    kill(Pid::from_raw(control.pid), Signal::SIGKILL).unwrap();
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
}
