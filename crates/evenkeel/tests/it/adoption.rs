//! Tests of a supervisor that starts after another one was killed: it adopts the running roles,
//! starts no second role, and loses no connection.

use crate::harness::{PATIENCE, evenkeel, run};
use crate::supervised::{
    Client, Supervised, answers, get, lives, origin, passes, roles_of, serving_one,
};
use lab::{ScratchDirectory, eventually, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

fn free() -> u16 {
    free_port().unwrap()
}

/// Returns the proxy roles that serve files of a directory, under any supervisor.
fn roles(directory: &Path) -> Vec<i32> {
    let is_role = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"evenkeel: proxy")
    };
    roles_of(directory).into_iter().filter(is_role).collect()
}

/// Kills the supervisor, waits for its end, and returns the process ID of its proxy role.
fn kill_supervisor(supervised: &Supervised) -> i32 {
    let role = supervised.role().unwrap();
    supervised.signal(Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !lives(supervised.pid.as_raw())));
    role
}

#[test]
fn a_new_supervisor_adopts_the_role_and_no_connection_is_lost() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    let pid_file = format!("    pidfile {}", scratch.path().join("pid").display());
    let file = |name| passes(&pid_file, &[port], origin(name));
    scratch.write("a.cfg", file("one")).unwrap();
    let first = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    let mut client = Client::new(port).unwrap();
    assert_eq!(client.get().as_deref(), Some("one"));
    let role = kill_supervisor(&first);
    // The current content of the files is loaded as a change.
    scratch.write("a.cfg", file("two")).unwrap();
    let second = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "two"));
    assert_eq!(client.get().as_deref(), Some("two"), "the same connection");
    assert_eq!(roles(scratch.path()), [role], "the same process, and one");
    let written = || std::fs::read_to_string(scratch.path().join("pid")).unwrap();
    assert!(eventually(PATIENCE, || {
        written().trim() == second.pid.to_string()
    }));
    scratch.write("a.cfg", file("three")).unwrap();
    let outcome = second.reload();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert_eq!(client.get().as_deref(), Some("three"));
    assert_eq!(roles(scratch.path()), [role]);
    let outcome = second.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let words = format!("adopted the proxy (process {role})");
    assert!(outcome.stderr.contains(&words), "{}", outcome.stderr);
    assert!(eventually(PATIENCE, || !lives(role)));
    assert_eq!(Supervised::left_behind(scratch.path()), 0);
}

#[test]
fn an_adopted_role_that_dies_is_followed_by_another_one_and_adopted_again() {
    let (scratch, port, first) = serving_one();
    let role = kill_supervisor(&first);
    let second = Supervised::run(&scratch, "a.cfg");
    assert!(eventually(PATIENCE, || second.reload().code() == Some(0)));
    kill(Pid::from_raw(role), Signal::SIGKILL).unwrap();
    assert!(answers(port, "one"));
    assert!(eventually(PATIENCE, || second
        .role()
        .is_some_and(|next| next != role)));
    let next = kill_supervisor(&second);
    let third = Supervised::run(&scratch, "a.cfg");
    assert!(eventually(PATIENCE, || third.reload().code() == Some(0)));
    assert_eq!(roles(scratch.path()), [next]);
    let outcome = third.end(Signal::SIGUSR1);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(eventually(PATIENCE, || roles(scratch.path()).is_empty()));
}

#[test]
fn orphaned_role_is_adopted_with_its_states() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    let socket = scratch.path().join("admin");
    let global = format!("    stats socket {} level admin", socket.display());
    scratch
        .write("a.cfg", passes(&global, &[port], origin("one")))
        .unwrap();
    let first = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    let role = kill_supervisor(&first);
    // The role reports changed states at most once a second, so one is pending for this
    // supervisor.
    let mut operator = UnixStream::connect(&socket).unwrap();
    operator
        .write_all(b"set server app/one weight 7\n")
        .unwrap();
    let mut answer = String::new();
    operator.read_to_string(&mut answer).unwrap();
    lab::sleep_in_test(Duration::from_millis(1500), "states are sent by time");
    let second = Supervised::run(&scratch, "a.cfg");
    assert!(eventually(PATIENCE, || second.reload().code() == Some(0)));
    assert_eq!(roles(scratch.path()), [role], "no second one beside it");
    let outcome = second.end(Signal::SIGTERM);
    let words = format!("adopted the proxy (process {role})");
    assert!(outcome.stderr.contains(&words), "{}", outcome.stderr);
}

#[test]
fn one_of_two_starting_supervisors_adopts() {
    let (scratch, port, first) = serving_one();
    let role = kill_supervisor(&first);
    let both = [0, 1].map(|_| Supervised::run(&scratch, "a.cfg"));
    let alive = || both.iter().filter(|one| lives(one.pid.as_raw())).count();
    if !eventually(PATIENCE, || alive() == 1) {
        let said = both.map(|one| one.end(Signal::SIGTERM).stderr);
        panic!("{said:#?}");
    }
    assert_eq!(roles(scratch.path()), [role]);
    assert_eq!(get(port).as_deref(), Some("one"));
    for one in both {
        let adopts = lives(one.pid.as_raw());
        let outcome = if adopts {
            one.end(Signal::SIGTERM)
        } else {
            one.finish()
        };
        assert_eq!(
            outcome.code(),
            Some(i32::from(!adopts)),
            "{}",
            outcome.stderr
        );
        let said = if adopts {
            "adopted the proxy"
        } else {
            "already"
        };
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    }
}

#[test]
fn long_orphaned_role_with_many_states_is_adopted() {
    let (scratch, _port, first) = serving_one();
    let role = kill_supervisor(&first);
    // Longer than the interval at which the role reports its counters.
    lab::sleep_in_test(Duration::from_secs(11), "counters are sent by time");
    let second = Supervised::run(&scratch, "a.cfg");
    assert!(eventually(PATIENCE, || second.reload().code() == Some(0)));
    assert_eq!(roles(scratch.path()), [role]);
    let outcome = second.end(Signal::SIGTERM);
    assert!(
        outcome.stderr.contains("adopted the proxy"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn orphan_ends_on_a_signal_and_the_next_start_is_fresh() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    scratch
        .write("a.cfg", passes("", &[port], origin("one")))
        .unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1] {
        let supervised = Supervised::run(&scratch, "a.cfg");
        assert!(answers(port, "one"));
        let role = kill_supervisor(&supervised);
        assert_eq!(get(port).as_deref(), Some("one"));
        kill(Pid::from_raw(role), signal).unwrap();
        assert!(eventually(PATIENCE, || !lives(role)), "{signal}");
    }
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    let outcome = supervised.end(Signal::SIGTERM);
    assert!(
        !outcome.stderr.contains("adopted the proxy"),
        "{}",
        outcome.stderr
    );
    assert_eq!(Supervised::left_behind(scratch.path()), 0);
}

#[test]
fn invalid_file_does_not_end_an_adopted_role() {
    let (scratch, port, first) = serving_one();
    let role = kill_supervisor(&first);
    scratch.write("a.cfg", "nonsense\n").unwrap();
    let second = Supervised::run(&scratch, "a.cfg");
    assert!(eventually(PATIENCE, || {
        second.reload().stderr.contains("nothing was changed")
    }));
    assert_eq!(get(port).as_deref(), Some("one"));
    assert_eq!(roles(scratch.path()), [role]);
    let outcome = second.end(Signal::SIGTERM);
    assert!(
        outcome.stderr.contains("nothing was changed"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn haproxys_name_adopts_too_and_started_twice_on_purpose_it_does_not() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    scratch
        .write("a.cfg", passes("", &[port], origin("one")))
        .unwrap();
    let haproxy = scratch.path().join("haproxy");
    std::os::unix::fs::symlink(evenkeel(), &haproxy).unwrap();
    let start = || Supervised::start(&haproxy, scratch.path(), ["-W", "-f", "a.cfg"]);
    let first = start();
    assert!(answers(port, "one"));
    let beside = start();
    assert!(eventually(PATIENCE, || roles(scratch.path()).len() == 2));
    assert_eq!(beside.end(Signal::SIGTERM).code(), Some(0));
    let role = kill_supervisor(&first);
    // Under our own name the file is valid, too.
    let other = run(evenkeel(), scratch.path(), ["check", "a.cfg"]);
    assert_eq!(other.code(), Some(0), "{}", other.stderr);
    let second = start();
    let adopted = || std::fs::read_dir(scratch.path().join("runtime")).unwrap();
    assert!(eventually(PATIENCE, || {
        let name = format!("{}.sock", second.pid);
        adopted().flatten().any(|entry| entry.file_name() == *name)
    }));
    assert_eq!(roles(scratch.path()), [role]);
    assert_eq!(get(port).as_deref(), Some("one"));
    let outcome = second.end(Signal::SIGINT);
    assert_eq!(outcome.code(), Some(130), "{}", outcome.stderr);
    assert!(eventually(PATIENCE, || !lives(role)));
}

#[test]
fn orphan_without_a_runtime_directory_continues_to_serve() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    scratch.write("runtime", "a file in its place").unwrap();
    scratch
        .write("a.cfg", passes("", &[port], origin("one")))
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    let role = kill_supervisor(&supervised);
    for _ in 0..3 {
        assert_eq!(get(port).as_deref(), Some("one"));
    }
    assert!(lives(role));
    kill(Pid::from_raw(role), Signal::SIGTERM).unwrap();
    assert!(eventually(PATIENCE, || !lives(role)));
}

#[test]
fn a_role_as_nobody_is_adopted_by_root() {
    if !lab::may_run("a role as nobody is adopted", lab::privileged()) {
        return;
    }
    let scratch = ScratchDirectory::new().unwrap();
    let (port, empty) = (free(), scratch.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    let global = format!(
        "    user nobody\n    group nogroup\n    chroot {}",
        empty.display()
    );
    scratch
        .write("a.cfg", passes(&global, &[port], origin("one")))
        .unwrap();
    let first = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    let role = kill_supervisor(&first);
    scratch
        .write("a.cfg", passes(&global, &[port], origin("two")))
        .unwrap();
    let second = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "two"));
    let uid = std::fs::read_to_string(format!("/proc/{role}/status")).unwrap();
    assert!(uid.contains("Uid:\t65534"), "{uid}");
    let outcome = second.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(eventually(PATIENCE, || !lives(role)));
}

#[test]
fn one_of_two_instances_with_the_same_files_serves() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    let text = passes("", &[port], origin("one"));
    scratch.write("a.cfg", text).unwrap();
    for _ in 0..3 {
        let mut both = [(); 2].map(|()| Supervised::run(&scratch, "a.cfg"));
        let ended = |one: &Supervised| !lives(one.pid.as_raw());
        assert!(eventually(PATIENCE, || both.iter().any(ended)));
        if !ended(&both[0]) {
            both.reverse();
        }
        let [refused, serves] = both;
        let refused = refused.finish();
        assert_eq!(refused.code(), Some(1), "{}", refused.stderr);
        // A supervisor that started a moment later finds the other one and names it.
        let words = "already serves these files";
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
        assert!(answers(port, "one"));
        assert_eq!(roles(scratch.path()).len(), 1);
        assert_eq!(serves.end(Signal::SIGTERM).code(), Some(0));
        assert_eq!(Supervised::left_behind(scratch.path()), 0);
    }
}

#[test]
fn removed_runtime_directory_is_restored() {
    let (scratch, _port, first) = serving_one();
    let runtime = scratch.path().join("runtime");
    std::fs::remove_dir_all(&runtime).unwrap();
    let found = || first.reload().code() == Some(0);
    assert!(eventually(PATIENCE, found));
    // Removes only the files, as a cleaner does that keeps the directory.
    for entry in std::fs::read_dir(&runtime).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert!(eventually(PATIENCE, found));
    // A second instance is refused again.
    let second = Supervised::run(&scratch, "a.cfg");
    let refused = || second.has_said("already serves these files");
    assert!(eventually(PATIENCE, refused));
    drop(second);
    // The role can be adopted again, too.
    let role = kill_supervisor(&first);
    let second = Supervised::run(&scratch, "a.cfg");
    let adopted = || second.has_said("adopted the proxy");
    assert!(eventually(PATIENCE, adopted));
    assert_eq!(roles(scratch.path()), [role]);
    assert_eq!(second.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn a_role_of_other_files_whose_supervisor_has_ended_is_named_at_a_start() {
    let scratch = ScratchDirectory::new().unwrap();
    let (port, other) = (free(), free());
    scratch
        .write("a.cfg", passes("", &[port], origin("one")))
        .unwrap();
    scratch
        .write("b.cfg", passes("", &[other], origin("two")))
        .unwrap();
    let first = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    let role = kill_supervisor(&first);
    let reloaded = run(evenkeel(), scratch.path(), ["reload"]);
    let named = format!("\n  process {role} of evenkeel ");
    assert!(reloaded.stderr.contains(&named), "{}", reloaded.stderr);
    let second = Supervised::run(&scratch, "b.cfg");
    assert!(answers(other, "two"));
    let told = format!(
        "the proxy (process {role}) of {} continues without its supervisor (process {}, which has ended)",
        scratch.path().join("a.cfg").display(),
        first.pid
    );
    assert!(second.has_said(&told), "{told}");
    assert_eq!(second.end(Signal::SIGTERM).code(), Some(0));
    let third = Supervised::run(&scratch, "a.cfg");
    assert!(eventually(PATIENCE, || third.has_said("adopted the proxy")));
    assert_eq!(third.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn status_names_processes_without_sidecars() {
    let (scratch, _port, supervised) = serving_one();
    let role = supervised.role().unwrap();
    let status = |word: &str| {
        let words = ["status", word].into_iter().filter(|word| !word.is_empty());
        let outcome = run(evenkeel(), scratch.path(), words);
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        outcome.stdout
    };
    let text = status("");
    let head = format!("supervisor {}: running for ", supervised.pid);
    assert!(text.starts_with(&head), "{text}");
    assert!(text.contains("serves      1 address with "), "{text}");
    assert!(text.contains("role proxy: running for "), "{text}");
    assert!(text.contains(&format!("process     {role}\n")), "{text}");
    let json: serde_json::Value = serde_json::from_str(&status("--json")).unwrap();
    assert_eq!(json[0]["part"], "supervisor", "{json}");
    assert!(status("--metrics").contains("evenkeel_role_up{role=\"proxy\"} 1\n"));
    scratch.write("a.cfg", "nonsense\n").unwrap();
    assert_eq!(supervised.reload().code(), Some(1));
    assert!(
        status("supervisor").contains("last change"),
        "{}",
        status("supervisor")
    );
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}
