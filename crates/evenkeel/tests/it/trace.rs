//! Tests of `evenkeel trace` and `evenkeel support` with a running instance: events of all
//! processes, their levels, and an archive without secrets.

use crate::harness::{CommandOutput, PATIENCE, evenkeel, run};
use crate::supervised::{Supervised, answers, lives, origin, passes};
use lab::{ScratchDirectory, eventually, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

const SECRET: &str = "S3CRET-of-anna";

/// Returns a proxy's configuration with a user list, and these lines in `global`.
fn file(global: &str, port: u16, server: u16) -> String {
    passes(global, &[port], server)
        + &format!("userlist u\n    user anna insecure-password {SECRET}\n")
}

fn trace(scratch: &ScratchDirectory, arguments: &[&str]) -> CommandOutput {
    let command = ["trace"].iter().chain(arguments);
    run(evenkeel(), scratch.path(), command)
}

/// Returns the events of a role, as JSON.
#[track_caller]
fn events(scratch: &ScratchDirectory, role: &str) -> Vec<Value> {
    let outcome = trace(scratch, &[role, "--json"]);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let lines = outcome.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn has(events: &[Value], message: &str) -> bool {
    events.iter().any(|one| one["message"] == message)
}

/// Returns the trace levels of a role, from an archive of `evenkeel support`.
fn levels(scratch: &ScratchDirectory, role: &str) -> String {
    let support = scratch.path().join("levels.tar");
    let _ = std::fs::remove_file(&support);
    let outcome = run(
        evenkeel(),
        scratch.path(),
        ["support", support.to_str().unwrap()],
    );
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let files = archive(&support);
    let levels = files["evenkeel-support/events/levels.txt"].lines();
    let role = format!("{role}: ");
    let mut levels = levels.filter_map(|line| line.strip_prefix(&role));
    levels.next().unwrap_or_default().to_owned()
}

/// Returns the files of an archive.
fn archive(path: &Path) -> BTreeMap<String, String> {
    let bytes = std::fs::read(path).unwrap();
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.insert(name, text);
    }
    files
}

#[test]
fn version_has_one_operation_in_all_processes() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free_port().unwrap();
    scratch
        .write("a.cfg", file("", port, origin("one")))
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    scratch
        .write("a.cfg", file("", port, origin("two")))
        .unwrap();
    assert_eq!(supervised.reload().code(), Some(0));
    let events = events(&scratch, "supervisor");
    let applied = events
        .iter()
        .rfind(|one| one["message"] == "version applied");
    let applied = applied.unwrap_or_else(|| panic!("{events:?}"));
    let operation = applied["fields"]["op"].as_str().unwrap();
    let none = trace(&scratch, &["--op", "nosuch"]);
    assert_eq!(none.code(), Some(1));
    assert!(none.stderr.contains("'nosuch'"), "{}", none.stderr);
    let outcome = trace(&scratch, &["--op", operation]);
    for (role, message) in [
        ("supervisor", "change started"),
        ("loader", "load finished"),
        ("proxy", "configuration replaced"),
        ("supervisor", "version applied"),
    ] {
        let is_event = |line: &str| line.contains(role) && line.contains(message);
        assert!(
            outcome.stdout.lines().any(is_event),
            "{message}: {}",
            outcome.stdout
        );
    }
    assert!(
        !outcome.stdout.contains("start from the files"),
        "{}",
        outcome.stdout
    );
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
}

#[test]
fn reload_and_support_print_their_results_as_json() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free_port().unwrap();
    scratch
        .write("a.cfg", file("", port, origin("one")))
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    let ours = |arguments: &[&str]| run(evenkeel(), scratch.path(), arguments);
    let document = |arguments: &[&str]| -> Value {
        let outcome = ours(arguments);
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        serde_json::from_str(&outcome.stdout).unwrap()
    };
    scratch
        .write("a.cfg", file("", port, origin("two")))
        .unwrap();
    let reloaded = document(&["reload", "--json"]);
    assert_eq!(reloaded["process"], supervised.pid.as_raw());
    assert!(!reloaded["messages"].as_array().unwrap().is_empty());
    let saved = document(&["support", "saved.tar", "--json"]);
    assert_eq!(saved["archive"], "saved.tar");
    assert!(saved["files"].as_u64().unwrap() > 5);
    // A failure is a message and no document.
    scratch.write("a.cfg", "frontend f\n    bnid :1\n").unwrap();
    let refused = ours(&["reload", "--json"]);
    assert_eq!((refused.code(), &*refused.stdout), (Some(1), ""));
    assert!(refused.stderr.contains("E0101"), "{}", refused.stderr);
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
}

#[test]
fn levels_are_configured_and_set_for_a_time() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free_port().unwrap();
    let server = origin("one");
    scratch
        .write(
            "a.cfg",
            file("    log-level supervisor=warn,proxy=error", port, server),
        )
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    assert!(eventually(PATIENCE, || {
        levels(&scratch, "proxy") == "proxy=error,supervisor=warn"
    }));
    scratch.write("a.cfg", file("", port, server)).unwrap();
    assert_eq!(supervised.reload().code(), Some(0));
    assert!(eventually(PATIENCE, || levels(&scratch, "proxy") == "info"));
    // Levels set by a command expire.
    let outcome = trace(
        &scratch,
        &["proxy", "--level", "proxy=trace", "--for", "3s"],
    );
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("levels proxy=trace for"),
        "{}",
        outcome.stderr
    );
    assert_eq!(levels(&scratch, "proxy"), "proxy=trace");
    assert_eq!(levels(&scratch, "supervisor"), "info");
    assert!(eventually(PATIENCE, || levels(&scratch, "proxy") == "info"));
    // Earlier levels with time left apply again.
    for (level, time) in [("proxy=debug", "10m"), ("proxy=trace", "1s")] {
        let outcome = trace(&scratch, &["proxy", "--level", level, "--for", time]);
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    }
    assert!(eventually(PATIENCE, || levels(&scratch, "proxy") == "proxy=debug"));
    trace(&scratch, &["proxy", "--level", "info", "--for", "0s"]);
    assert!(eventually(PATIENCE, || levels(&scratch, "proxy") == "info"));
    let events = events(&scratch, "supervisor");
    let ended = events
        .iter()
        .filter(|one| one["message"] == "temporary levels ended");
    let ended: Vec<&str> = ended
        .filter_map(|one| one["fields"]["levels"].as_str())
        .collect();
    assert_eq!(ended, ["proxy=trace", "proxy=trace", "proxy=debug"]);
    for (arguments, words) in [
        (&["volume"][..], "role 'volume' has not run"),
        (
            &["nobody", "--level", "debug"],
            "there is no role 'nobody' here",
        ),
        (&["--level", "loud"], "unknown level 'loud'"),
    ] {
        let outcome = trace(&scratch, arguments);
        assert_ne!(outcome.code(), Some(0), "{arguments:?}");
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
}

#[test]
fn events_of_a_killed_role_are_in_the_archive_without_secrets() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free_port().unwrap();
    scratch
        .write("a.cfg", file("", port, origin("one")))
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    let first = supervised.role().unwrap();
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let followed = || supervised.role().is_some_and(|role| role != first);
    assert!(eventually(PATIENCE, followed));
    assert!(answers(port, "one"));
    assert!(!lives(first));
    let of_first = |events: &[Value]| {
        let serves = |one: &&Value| one["message"] == "serving" && one["process"] == first;
        events.iter().find(serves).is_some()
    };
    assert!(of_first(&events(&scratch, "proxy")));
    let ended = events(&scratch, "supervisor");
    assert!(
        has(&ended, "role ended") && has(&ended, "role started"),
        "{ended:?}"
    );

    let path = scratch.path().join("report.tar");
    let support = || {
        run(
            evenkeel(),
            scratch.path(),
            ["support", path.to_str().unwrap()],
        )
    };
    let outcome = support();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let files = archive(&path);
    for name in [
        "README.txt",
        "versions.txt",
        "status.json",
        "messages.txt",
        "errors.txt",
        "events/proxy.txt",
        "events/supervisor.json",
        "events/loader.txt",
        "system/proc-meminfo.txt",
        "system/proxy-limits.txt",
        "system/space.txt",
    ] {
        assert!(
            files.contains_key(&format!("evenkeel-support/{name}")),
            "{name}"
        );
    }
    assert_eq!(files["evenkeel-support/errors.txt"], "none\n");
    assert!(files["evenkeel-support/events/proxy.json"].contains(&first.to_string()));
    let messages = &files["evenkeel-support/messages.txt"];
    assert!(messages.contains("serving on"), "{messages}");
    let configuration = files.iter().find(|(name, _)| name.ends_with("a.cfg"));
    let (_, configuration) = configuration.expect("the configuration");
    assert!(
        configuration.contains("user anna insecure-password ***"),
        "{configuration}"
    );
    let bytes = std::fs::read(&path).unwrap();
    let leaks = bytes
        .windows(SECRET.len())
        .any(|part| part == SECRET.as_bytes());
    assert!(!leaks, "the archive has a secret");
    // An existing file is not replaced.
    assert_ne!(support().code(), Some(0));
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
}

#[test]
fn changing_command_is_an_event_without_its_values() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free_port().unwrap();
    let socket = scratch.path().join("s");
    let global = format!("    stats socket {} level admin\n", socket.display());
    scratch
        .write("a.cfg", file(&global, port, origin("one")))
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    assert!(eventually(PATIENCE, || socket.exists()));
    for command in [
        "disable server app/one".to_owned(),
        "disable server app/two".to_owned(),
        "set server app/one state ready".to_owned(),
        format!("experimental-mode on; set var proc.key str({SECRET})"),
        "show info".to_owned(),
    ] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        writeln!(stream, "{command}").unwrap();
        stream.read_to_string(&mut String::new()).unwrap();
    }
    let events = events(&scratch, "proxy");
    let commands: Vec<&Value> = events
        .iter()
        .filter(|one| one["message"] == "command that changes something")
        .map(|one| &one["fields"])
        .collect();
    let named = |command: &str, object: &str| {
        let mut all = commands.iter();
        all.find(|one| one["command"] == command && one["object"] == object)
    };
    let done = named("disable server", "app/one").expect("an event");
    assert!(done.get("refused").is_none(), "{done}");
    let refused = named("disable server", "app/two").expect("an event");
    assert_eq!(refused["refused"], "No such server.");
    assert!(named("set var", "proc.key").is_some(), "{commands:?}");
    let set = named("set server", "app/one").expect("an event");
    assert_eq!(set["property"], "state");
    assert_eq!(commands.len(), 4, "{commands:?}");
    assert!(!format!("{events:?}").contains(SECRET));
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
}

#[test]
fn events_survive_the_supervisor() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free_port().unwrap();
    scratch
        .write("a.cfg", file("", port, origin("one")))
        .unwrap();
    let first = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    let role = first.role().unwrap();
    first.signal(Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !lives(first.pid.as_raw())));
    let second = Supervised::run(&scratch, "a.cfg");
    assert!(eventually(PATIENCE, || {
        let outcome = trace(&scratch, &["supervisor"]);
        outcome.stdout.contains("role adopted")
    }));
    let of_first = |one: &Value| one["process"] == first.pid.as_raw();
    assert!(events(&scratch, "supervisor").iter().any(of_first));
    // The adopted role has moved its events to the ring of the new supervisor.
    let moved = || {
        let outcome = trace(&scratch, &["proxy", "--json"]);
        let is_serving =
            |line: &str| line.contains("\"serving\"") && line.contains(&role.to_string());
        outcome.stdout.lines().any(is_serving)
    };
    assert!(eventually(PATIENCE, moved));
    let outcome = second.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let mut left = std::fs::read_dir(scratch.path().join("runtime")).unwrap();
    assert!(left.all(|entry| {
        !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("trace")
    }));
}
