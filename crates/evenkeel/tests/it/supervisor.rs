//! Tests of `evenkeel run`: reloads, deaths of processes, stops, privileges of the roles, and that
//! no process or file remains.

use crate::harness::{PATIENCE, evenkeel, run};
use crate::supervised::{Client, Supervised, answers, get, lives, origin, passes, serving_one};
use lab::{ScratchDirectory, eventually, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::fs::PermissionsExt;

fn free() -> u16 {
    free_port().unwrap()
}

#[test]
fn reload_reaches_kept_alive_connections() {
    let scratch = ScratchDirectory::new().unwrap();
    let (port, added) = (free(), free());
    scratch
        .write("a.cfg", passes("", &[port], origin("old")))
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "old"));
    let mut client = Client::new(port).unwrap();
    assert_eq!(client.get().as_deref(), Some("old"));
    let role = supervised.role().unwrap();
    scratch
        .write("a.cfg", passes("", &[port, added], origin("new")))
        .unwrap();
    let outcome = supervised.reload();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("serving on 2 addresses"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("frontend web"),
        "{}",
        outcome.stderr
    );
    assert_eq!(
        client.get().as_deref(),
        Some("new"),
        "on the same connection"
    );
    assert_eq!(get(added).as_deref(), Some("new"));
    assert_eq!(supervised.role(), Some(role), "the same process");
    scratch
        .write("a.cfg", passes("", &[added], origin("new")))
        .unwrap();
    assert_eq!(supervised.reload().code(), Some(0));
    assert!(
        eventually(PATIENCE, || Client::new(port).is_none()),
        "an address that is gone is closed by everyone"
    );
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(eventually(PATIENCE, || !lives(role)));
    assert_eq!(Supervised::left_behind(scratch.path()), 0);
}

#[test]
fn bad_file_changes_nothing_and_is_reported() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    let good = passes("", &[port], origin("one"));
    scratch.write("a.cfg", &good).unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    scratch
        .write("a.cfg", good.clone() + "    srever x\n")
        .unwrap();
    let outcome = supervised.reload();
    assert_eq!(outcome.code(), Some(1));
    for words in ["did you mean", "nothing was changed"] {
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    assert_eq!(get(port).as_deref(), Some("one"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_port = taken.local_addr().unwrap().port();
    scratch
        .write("a.cfg", passes("", &[port, taken_port], origin("two")))
        .unwrap();
    let outcome = supervised.reload();
    assert_eq!(outcome.code(), Some(1), "an address that cannot be had");
    assert!(
        outcome
            .stderr
            .contains(&format!(":{taken_port}: Address already in use")),
        "{}",
        outcome.stderr
    );
    assert_eq!(get(port).as_deref(), Some("one"));
    let outcome = supervised.end(Signal::SIGTERM);
    assert!(
        outcome.stderr.contains("did you mean"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn quick_reloads_end_with_the_last_file() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    let names = ["a", "b", "c", "d", "e"];
    scratch
        .write("a.cfg", passes("", &[port], origin("first")))
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "first"));
    for name in names {
        scratch
            .write("a.cfg", passes("", &[port], origin(name)))
            .unwrap();
        supervised.signal(Signal::SIGHUP);
    }
    assert!(answers(port, "e"));
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
}

#[test]
fn killed_proxy_restarts_with_the_same_listeners() {
    let (scratch, port, supervised) = serving_one();
    for _ in 0..2 {
        let role = supervised.role().unwrap();
        // The current content of the file is irrelevant: the last accepted version is served.
        scratch.write("a.cfg", "nonsense\n").unwrap();
        kill(Pid::from_raw(role), Signal::SIGKILL).unwrap();
        // Connections are never refused: the supervisor holds the listeners.
        assert_eq!(get(port).as_deref().unwrap_or("one"), "one");
        assert!(answers(port, "one"));
        assert!(supervised.role().is_some_and(|next| next != role));
    }
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0));
    assert!(
        outcome.stderr.contains("was killed by SIGKILL"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_proxy_whose_supervisor_is_killed_serves_on() {
    let (_scratch, port, supervised) = serving_one();
    let role = supervised.role().unwrap();
    let mut client = Client::new(port).unwrap();
    assert_eq!(client.get().as_deref(), Some("one"));
    supervised.signal(Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !lives(supervised.pid.as_raw())));
    for _ in 0..3 {
        assert_eq!(
            client.get().as_deref(),
            Some("one"),
            "on the same connection"
        );
        assert_eq!(get(port).as_deref(), Some("one"), "on a new one");
    }
    assert!(lives(role));
    kill(Pid::from_raw(role), Signal::SIGTERM).unwrap();
    assert!(eventually(PATIENCE, || !lives(role)));
}

#[test]
fn second_instance_of_the_same_files_is_refused() {
    let (scratch, _port, supervised) = serving_one();
    // Waits for six files: two sockets, their lists, the version, and the events.
    assert!(eventually(PATIENCE, || Supervised::left_behind(
        scratch.path()
    ) == 6));
    let second = run(evenkeel(), scratch.path(), ["run", "-f", "./a.cfg"]);
    assert_eq!(second.code(), Some(1));
    let words = format!("evenkeel reload --pid {}", supervised.pid);
    assert!(second.stderr.contains(&words), "{}", second.stderr);
    let found = run(evenkeel(), scratch.path(), ["reload", "-f", "a.cfg"]);
    assert_eq!(found.code(), Some(0), "{}", found.stderr);
    assert_eq!(supervised.end(Signal::SIGINT).code(), Some(130));
    let none = run(evenkeel(), scratch.path(), ["reload"]);
    assert_eq!(none.code(), Some(1));
    assert!(
        none.stderr.contains("no running `evenkeel run`"),
        "{}",
        none.stderr
    );
}

#[test]
fn a_soft_stop_finishes_what_there_is_and_closes_every_address() {
    let (_scratch, port, supervised) = serving_one();
    let outcome = supervised.end(Signal::SIGUSR1);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(Client::new(port).is_none());
}

#[test]
fn soft_stop_of_the_proxy_ends_the_supervisor() {
    let (_scratch, port, supervised) = serving_one();
    let mut held = Client::new(port).unwrap();
    assert_eq!(held.get().as_deref(), Some("one"));
    kill(Pid::from_raw(supervised.role().unwrap()), Signal::SIGUSR1).unwrap();
    assert!(
        eventually(PATIENCE, || Client::new(port).is_none()),
        "closed by both processes"
    );
    drop(held);
    assert_eq!(supervised.finish().code(), Some(0));
}

#[test]
fn failed_start_exits_with_1_and_the_reason() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    for (file, said) in [
        ("nonsense\n".to_owned(), "error"),
        (
            passes("    chroot /nonexistent/x", &[port], 9),
            "Cannot chroot(/nonexistent/x)",
        ),
        (
            passes("    pidfile /nonexistent/x", &[port], 9),
            "Cannot create pidfile",
        ),
    ] {
        scratch.write("a.cfg", &file).unwrap();
        let outcome = run(evenkeel(), scratch.path(), ["run", "-f", "a.cfg"]);
        assert_eq!(outcome.code(), Some(1), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
        assert_eq!(Supervised::left_behind(scratch.path()), 0);
    }
}

#[test]
fn internal_processes_refuse_to_run_manually() {
    let scratch = ScratchDirectory::new().unwrap();
    for arguments in [
        "internal",
        "internal loader 3 evenkeel",
        "internal proxy-role 0 evenkeel",
    ] {
        let outcome = run(evenkeel(), scratch.path(), arguments.split(' '));
        assert_eq!(outcome.code(), Some(1));
        assert!(
            outcome.stderr.contains("evenkeel run -f FILE"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn proxy_serves_without_a_runtime_directory() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    scratch.write("runtime", "a file in its place").unwrap();
    scratch
        .write("a.cfg", passes("", &[port], origin("one")))
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    scratch
        .write("a.cfg", passes("", &[port], origin("two")))
        .unwrap();
    supervised.signal(Signal::SIGHUP);
    assert!(answers(port, "two"));
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(
        outcome.stderr.matches("will not find this process").count(),
        1
    );
}

/// Returns the lines of a process's user and groups, and its root directory.
fn confined(pid: i32) -> (Vec<String>, String) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let ids = |name: &str| {
        status
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or("")
            .to_owned()
    };
    let root = std::fs::read_link(format!("/proc/{pid}/root")).unwrap();
    let all = ["Uid:", "Gid:", "Groups:", "CapEff:", "CapPrm:"].map(ids);
    (all.to_vec(), root.display().to_string())
}

#[test]
fn reload_gives_a_confined_proxy_a_privileged_port_and_private_map() {
    if !lab::may_run(
        "a proxy as nobody gets a privileged port",
        lab::privileged(),
    ) {
        return;
    }
    let scratch = ScratchDirectory::new().unwrap();
    let (port, empty) = (free(), scratch.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    let global = format!(
        "    user nobody\n    group nogroup\n    chroot {}",
        empty.display()
    );
    let served = origin("one");
    scratch
        .write("a.cfg", passes(&global, &[port], served))
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    let role = supervised.role().unwrap();
    let (ids, root) = confined(role);
    assert_eq!(ids[0], "Uid:\t65534\t65534\t65534\t65534");
    assert!(ids[1].starts_with("Gid:\t65534\t65534"), "{ids:?}");
    assert_eq!(ids[2].trim_end(), "Groups:\t65534");
    assert!(
        ids[3].ends_with("0000000000000000") && ids[4].ends_with("0000000000000000"),
        "{ids:?}"
    );
    assert_eq!(root, empty.display().to_string());
    let map = scratch.write("secret.map", "x app\n").unwrap();
    std::fs::set_permissions(&map, std::fs::Permissions::from_mode(0o600)).unwrap();
    let low = (600..1024).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let low = low.unwrap();
    let changed = passes(&global, &[port, low], served).replace(
        "default_backend app",
        &format!("use_backend %[req.hdr(host),map({})]", map.display()),
    );
    scratch.write("a.cfg", changed).unwrap();
    let outcome = supervised.reload();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert_eq!(get(low).as_deref(), Some("one"), "by the map");
    assert_eq!(get(port).as_deref(), Some("one"));
    assert_eq!(supervised.role(), Some(role));
    // An unchangeable setting is named, and the rest is applied.
    let other = global.replace("user nobody", "user daemon");
    scratch
        .write("a.cfg", passes(&other, &[port], origin("two")))
        .unwrap();
    let outcome = supervised.reload();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("the user stays nobody (65534)"),
        "{}",
        outcome.stderr
    );
    assert_eq!(get(port).as_deref(), Some("two"));
    // The next role is as confined as the first.
    kill(Pid::from_raw(role), Signal::SIGKILL).unwrap();
    assert!(answers(port, "two"));
    let next = supervised.role().unwrap();
    assert_eq!(confined(next).0[..2], ids[..2]);
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn a_role_gets_neither_descriptors_nor_groups_nor_the_service_managers_socket_from_the_start() {
    lab::skip_unless_root!();
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    let text = passes("user nobody\n group root", &[port], origin("one"));
    scratch.write("a.cfg", text).unwrap();
    let script = "exec 9</; export NOTIFY_SOCKET=@nobody-hears; \
                  exec setpriv --groups 4,24 \"$0\" run -f a.cfg";
    let arguments = ["-c", script, evenkeel().to_str().unwrap()];
    let supervised = Supervised::start(std::path::Path::new("/bin/sh"), scratch.path(), arguments);
    assert!(answers(port, "one"));
    let role = supervised.role().unwrap();
    let directories = std::fs::read_dir(format!("/proc/{role}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::metadata(entry.ok()?.path()).ok())
        .filter(std::fs::Metadata::is_dir)
        .count();
    assert_eq!(directories, 0, "a way out of any root");
    let status = std::fs::read_to_string(format!("/proc/{role}/status")).unwrap();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    assert_eq!(groups.map(str::trim), Some(""), "{status}");
    let environment = std::fs::read(format!("/proc/{role}/environ")).unwrap();
    let names = String::from_utf8_lossy(&environment);
    assert!(!names.contains("NOTIFY_SOCKET"), "{names}");
}

#[test]
fn manually_ended_proxy_ends_everything_with_a_log_entry() {
    let (_scratch, _port, supervised) = serving_one();
    let role = supervised.role().unwrap();
    kill(Pid::from_raw(role), Signal::SIGTERM).unwrap();
    let outcome = supervised.finish();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let words = "evenkeel stops, because the proxy received SIGTERM";
    assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
}
