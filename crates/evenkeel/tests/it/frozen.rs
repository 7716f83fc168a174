//! Tests that frozen roles are replaced, that dead roles are replaced quickly, and that commands of
//! operators work while other connections are silent.

use crate::addresses::{AddressFixture, VIP, address_roles, end};
use crate::harness::{PATIENCE, evenkeel, run};
use crate::supervised::{Supervised, answers, children_of, get, lives, origin, passes};
use lab::{ScratchDirectory, eventually, free_port, sleep_in_test};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Timeout: a frozen role is noticed within ten seconds of the supervisor's own running time.
const NOTICED: Duration = Duration::from_secs(90);

fn stop(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
}

#[test]
fn frozen_proxy_is_killed_and_restarted() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free_port().unwrap();
    scratch
        .write("a.cfg", passes("", &[port], origin("one")))
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    let frozen = supervised.role().unwrap();
    stop(frozen);
    let followed = || supervised.role().is_some_and(|role| role != frozen);
    assert!(eventually(NOTICED, followed));
    assert!(!lives(frozen));
    assert!(answers(port, "one"));
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let words =
        format!("the proxy (process {frozen}) is frozen: its main thread is stopped by a signal");
    assert!(outcome.stderr.contains(&words), "{}", outcome.stderr);
}

#[test]
fn frozen_address_role_is_restarted_and_owns_the_address() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-frozen");
    let supervised = bed.start(&["run", "-f", "k.conf"]);
    bed.comes(VIP);
    let [frozen] = address_roles(bed.scratch.path())[..] else {
        panic!("one role");
    };
    stop(frozen);
    let followed = || matches!(address_roles(bed.scratch.path())[..], [other] if other != frozen);
    assert!(eventually(NOTICED, followed));
    let owner = || bed.run(&["address"]).stdout.contains("VI_1: MASTER");
    assert!(eventually(PATIENCE, owner));
    let outcome = supervised.end(Signal::SIGTERM);
    let words = format!("the address role (process {frozen}) is frozen");
    assert!(outcome.stderr.contains(&words), "{}", outcome.stderr);
}

/// Time for which the supervisor is suspended: longer than the permitted delay of a poll.
const STANDS: Duration = Duration::from_millis(4_200);

/// Delays every poll of the supervisor, as on a busy machine, until the frozen process has ended.
/// Returns false if the process has not ended after 20 polls.
fn ends_under_a_late(supervised: &Supervised, frozen: i32) -> bool {
    for _ in 0..20 {
        supervised.signal(Signal::SIGSTOP);
        sleep_in_test(STANDS, "the supervisor gets no processor");
        // A suspended supervisor does not count the time against its wait. So a signal without
        // effect wakes it for a poll, and it is stopped before the next one.
        supervised.signal(Signal::SIGCONT);
        supervised.signal(Signal::SIGTTIN);
        if eventually(Duration::from_millis(200), || !lives(frozen)) {
            return true;
        }
    }
    false
}

#[test]
#[ignore = "it takes long: make test-long"]
fn frozen_roles_restart_despite_late_polls() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("frozen-late");
    let text = passes("", &[4_080], 4_081);
    bed.scratch.write("a.cfg", text).unwrap();
    let supervised = bed.start(&["run", "-f", "a.cfg", "-f", "k.conf"]);
    bed.comes(VIP);
    let address = || address_roles(bed.scratch.path()).first().copied();
    let proxy = supervised.role().unwrap();
    let role = address().unwrap();
    stop(proxy);
    stop(role);
    assert!(ends_under_a_late(&supervised, proxy));
    assert!(eventually(NOTICED, || !lives(role)));
    let other = |one: Option<i32>, frozen: i32| one.is_some_and(|one| one != frozen);
    assert!(eventually(PATIENCE, || other(supervised.role(), proxy)));
    assert!(eventually(PATIENCE, || other(address(), role)));
    let owner = || bed.run(&["address"]).stdout.contains("VI_1: MASTER");
    assert!(eventually(PATIENCE, owner));
    let outcome = supervised.end(Signal::SIGTERM);
    for (what, frozen) in [("proxy", proxy), ("address role", role)] {
        let words = format!("the {what} (process {frozen}) is frozen");
        assert!(outcome.stderr.contains(&words), "{}", outcome.stderr);
    }
}

#[test]
fn proxy_stopped_before_serving_is_restarted() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free_port().unwrap();
    scratch
        .write("a.cfg", passes("", &[port], origin("one")))
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(eventually(PATIENCE, || supervised.role().is_some()));
    let frozen = supervised.role().unwrap();
    stop(frozen);
    assert!(eventually(NOTICED, || !lives(frozen)));
    assert!(answers(port, "one"));
    let outcome = supervised.end(Signal::SIGTERM);
    let words = format!("the proxy (process {frozen}) is frozen");
    assert!(outcome.stderr.contains(&words), "{}", outcome.stderr);
}

#[test]
fn repeatedly_killed_proxy_restarts_at_once() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free_port().unwrap();
    scratch
        .write("a.cfg", passes("", &[port], origin("one")))
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    // A role that dies before it has reported `ready` is restarted after a pause.
    let serves = || {
        let status = run(evenkeel(), scratch.path(), ["status"]).stdout;
        // After two deaths it is reported as unstable although it serves.
        status.contains("role proxy: running for ") || status.contains("role proxy: unstable for ")
    };
    assert!(eventually(PATIENCE, serves));
    for _ in 0..4 {
        let role = supervised.role().unwrap();
        end(role);
        assert!(eventually(PATIENCE, || !lives(role)));
        assert!(answers(port, "one"));
        assert!(eventually(PATIENCE, serves));
    }
    let outcome = supervised.end(Signal::SIGTERM);
    let at_once = outcome.stderr.matches("restarting it at once").count();
    assert_eq!(at_once, 4, "{}", outcome.stderr);
}

#[test]
fn silent_connections_do_not_block_the_statistics_socket() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free_port().unwrap();
    let socket = scratch.path().join("s");
    let global = format!(
        " stats socket {} level admin\n stats timeout 10m\n stats maxconn 10\n",
        socket.display()
    );
    scratch
        .write("a.cfg", passes(&global, &[port], origin("one")))
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    let connect = || UnixStream::connect(&socket).unwrap();
    // Meanwhile an operator's session works.
    let mut working = connect();
    working.set_read_timeout(Some(PATIENCE)).unwrap();
    working.write_all(b"prompt\n").unwrap();
    let mut sign = [0; 3];
    working.read_exact(&mut sign).unwrap();
    assert_eq!(&sign, b"\n> ");
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(connect());
        if silent.len() % 100 == 0 {
            let mut operator = connect();
            operator.write_all(b"show info\n").unwrap();
            operator.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut answer = String::new();
            operator.read_to_string(&mut answer).unwrap();
            assert!(answer.contains("Name: "), "{answer}");
        }
    }
    working.write_all(b"show version\n").unwrap();
    let mut byte = [0];
    working.read_exact(&mut byte).expect("it was not displaced");
    assert_eq!(get(port).as_deref(), Some("one"));
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

/// Returns the runner of check programs, and the program that it runs.
fn runner_and_program(supervised: &Supervised) -> Option<(i32, i32)> {
    let is_runner = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"evenkeel: checks")
    };
    let runner = supervised.children().into_iter().find(is_runner)?;
    let program = *children_of(Pid::from_raw(runner)).first()?;
    Some((runner, program))
}

#[test]
fn frozen_check_runner_restarts_and_an_unused_one_ends() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free_port().unwrap();
    let file = passes(
        "    external-check\n    insecure-fork-wanted\n",
        &[port],
        origin("one"),
    );
    let checked = file.replace(
        "\nbackend app\n",
        "\nbackend app\n    timeout check 100s\n    option external-check\n    external-check command /bin/sh\n    \
         external-check path /usr/bin:/bin\n    default-server check inter 500\n",
    );
    let program = scratch
        .write("sleeps", "#!/bin/sh\nexec sleep 1000\n")
        .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let checked = checked.replace("/bin/sh", &program.display().to_string());
    scratch.write("a.cfg", &checked).unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    let runs = || runner_and_program(&supervised);
    assert!(eventually(PATIENCE, || runs().is_some()));
    let (frozen, program) = runs().unwrap();
    let status = || run(evenkeel(), scratch.path(), ["status"]).stdout;
    assert!(status().contains("process checks: running"), "{}", status());
    stop(frozen);
    assert!(eventually(NOTICED, || !lives(frozen)));
    assert!(eventually(PATIENCE, || !lives(program)));
    let followed = || runs().is_some_and(|(runner, _)| runner != frozen);
    assert!(eventually(PATIENCE, followed));
    let (runner, program) = runs().unwrap();
    end(runner);
    assert!(eventually(PATIENCE, || !lives(program)), "it ends, too");
    assert!(eventually(PATIENCE, || runs().is_some()));
    let (runner, program) = runs().unwrap();
    scratch.write("a.cfg", &file).unwrap();
    let outcome = supervised.reload();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(eventually(PATIENCE, || !lives(runner) && !lives(program)));
    assert!(!status().contains("process checks"), "{}", status());
    let outcome = supervised.end(Signal::SIGTERM);
    let words = format!("the process of external checks (process {frozen}) is frozen");
    assert!(outcome.stderr.contains(&words), "{}", outcome.stderr);
}
