//! Tests of a reload after the program's file was replaced: the same process executes the new
//! program without losing a connection, or refuses it and changes nothing.

use crate::harness::{CommandOutput, PATIENCE, evenkeel};
use crate::supervised::{Client, Supervised, answers, get, lives, origin, passes};
use lab::pki::{Authority, Leaf};
use lab::{ScratchDirectory, eventually, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};

fn free() -> u16 {
    free_port().unwrap()
}

/// Directory with a copy of the program, which tests replace, and a configuration.
struct UpgradeFixture {
    scratch: ScratchDirectory,
    port: u16,
}

impl UpgradeFixture {
    fn new() -> UpgradeFixture {
        let bed = UpgradeFixture {
            scratch: ScratchDirectory::new().unwrap(),
            port: free(),
        };
        bed.serve("one");
        copy(evenkeel(), &bed.program());
        bed
    }

    fn program(&self) -> PathBuf {
        self.scratch.path().join("evenkeel")
    }

    fn serve(&self, name: &'static str) {
        let global = "    hard-stop-after 5s";
        let text = passes(global, &[self.port], origin(name));
        self.scratch.write("a.cfg", text).unwrap();
    }

    fn start(&self) -> Supervised {
        let arguments = ["run", "-f", "a.cfg"];
        let supervised = Supervised::start(&self.program(), self.scratch.path(), arguments);
        assert!(answers(self.port, "one"));
        supervised
    }

    /// Replaces the program by a file that `put` writes, with an atomic rename.
    fn replace(&self, put: impl FnOnce(&PathBuf)) {
        let new = self.scratch.path().join("new");
        put(&new);
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&new, self.program()).unwrap();
    }

    fn copy(&self) {
        self.replace(|new| copy(evenkeel(), new));
    }

    /// Replaces the program with a script, in which `real` is the real program.
    fn script(&self, lines: &str) {
        let text = format!("#!/bin/sh\nreal={}\n{lines}\n", evenkeel().display());
        let lines = self.scratch.write("lines", text).unwrap();
        self.replace(|new| copy(&lines, new));
    }

    fn reload(&self, pid: Pid) -> CommandOutput {
        let pid = pid.to_string();
        crate::harness::run(evenkeel(), self.scratch.path(), ["reload", "--pid", &pid])
    }

    /// Checks that the new program is refused and nothing has changed.
    fn refuses(&self, supervised: &Supervised, said: &str) {
        let role = supervised.role();
        let mut client = Client::new(self.port).unwrap();
        assert_eq!(client.get().as_deref(), Some("one"));
        self.serve("two");
        let outcome = supervised.reload();
        assert_eq!(outcome.code(), Some(1), "{}", outcome.stderr);
        for words in [said, "nothing was changed"] {
            assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
        }
        assert_eq!(client.get().as_deref(), Some("one"), "the same connection");
        assert_eq!(get(self.port).as_deref(), Some("one"));
        assert_eq!(supervised.role(), role);
        let alone = || supervised.children().len() == 1;
        assert!(eventually(PATIENCE, alone), "{:?}", supervised.children());
        // With a valid program, upgrades work again.
        self.copy();
        let outcome = supervised.reload();
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        assert_eq!(get(self.port).as_deref(), Some("two"));
    }
}

/// Copies a file by another process. A process that a parallel test starts could inherit the
/// descriptor for writing, and then the copy could not be executed.
pub fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").args([from, to]).status();
    assert!(status.unwrap().success());
}

fn is_current(pid: i32) -> bool {
    let binary = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    !binary.to_string_lossy().ends_with(" (deleted)")
}

fn ends_well(supervised: Supervised) -> CommandOutput {
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    outcome
}

#[test]
fn a_new_program_serves_and_the_same_process_supervises_with_it() {
    let bed = UpgradeFixture::new();
    let supervised = bed.start();
    let old = supervised.role().unwrap();
    let mut client = Client::new(bed.port).unwrap();
    assert_eq!(client.get().as_deref(), Some("one"));
    for name in ["two", "three"] {
        bed.copy();
        bed.serve(name);
        let outcome = supervised.reload();
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("now serving with"),
            "{}",
            outcome.stderr
        );
        assert_eq!(get(bed.port).as_deref(), Some(name));
        let pid = supervised.pid.as_raw();
        assert!(eventually(PATIENCE, || is_current(pid)), "it follows");
    }
    assert!(eventually(PATIENCE, || !lives(old)), "the old one finishes");
    assert!(eventually(PATIENCE, || supervised.children().len() == 1));
    assert!(supervised.children().into_iter().all(is_current));
    // Reloads without another program: the role stays.
    let role = supervised.role();
    bed.serve("four");
    assert_eq!(supervised.reload().code(), Some(0));
    assert_eq!(get(bed.port).as_deref(), Some("four"));
    assert_eq!(supervised.role(), role);
    let outcome = ends_well(supervised);
    let words = "the supervisor is now evenkeel";
    assert_eq!(
        outcome.stderr.matches(words).count(),
        2,
        "{}",
        outcome.stderr
    );
    assert_eq!(Supervised::left_behind(bed.scratch.path()), 0);
}

#[test]
fn old_role_finishes_its_requests() {
    let bed = UpgradeFixture::new();
    let slow = slow_origin();
    bed.scratch
        .write("a.cfg", passes("", &[bed.port], slow.port))
        .unwrap();
    let arguments = ["run", "-f", "a.cfg"];
    let supervised = Supervised::start(&bed.program(), bed.scratch.path(), arguments);
    assert!(eventually(PATIENCE, || Client::new(bed.port).is_some()));
    let mut client = Client::new(bed.port).unwrap();
    let waits = std::thread::spawn(move || client.get());
    slow.asked.recv_timeout(PATIENCE).unwrap();
    bed.copy();
    let outcome = supervised.reload();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert_eq!(supervised.children().len(), 2, "the old one has a request");
    // A change does not wait for the request.
    assert_eq!(supervised.reload().code(), Some(0));
    slow.answer.send(()).unwrap();
    assert_eq!(waits.join().unwrap().as_deref(), Some("slow"));
    assert!(eventually(PATIENCE, || supervised.children().len() == 1));
    ends_well(supervised);
}

struct Slow {
    port: u16,
    asked: std::sync::mpsc::Receiver<()>,
    answer: std::sync::mpsc::Sender<()>,
}

/// Starts a server whose first response waits for the test.
fn slow_origin() -> Slow {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (ask, asked) = std::sync::mpsc::channel();
    let (answer, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let _ = stream.read(&mut [0; 4096]);
        ask.send(()).unwrap();
        told.recv().unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow";
        stream.write_all(answer).unwrap();
    });
    Slow {
        port,
        asked,
        answer,
    }
}

#[test]
fn a_program_that_cannot_run_is_refused_before_anything_is_done() {
    let bed = UpgradeFixture::new();
    let supervised = bed.start();
    bed.script("exit 1");
    bed.refuses(&supervised, "self-test failed with exit status 1");
    ends_well(supervised);
    let bed = UpgradeFixture::new();
    let supervised = bed.start();
    bed.replace(|new| std::fs::write(new, "no program").unwrap());
    bed.refuses(&supervised, "cannot run it");
    ends_well(supervised);
}

#[test]
fn a_program_whose_loader_crashes_changes_nothing() {
    let bed = UpgradeFixture::new();
    let supervised = bed.start();
    bed.script("case $2 in loader) kill -SEGV $$;; *) exec $real \"$@\";; esac");
    bed.refuses(&supervised, "the loader ended without a message");
    ends_well(supervised);
}

#[test]
fn a_program_that_crashes_before_it_serves_changes_nothing() {
    let bed = UpgradeFixture::new();
    let supervised = bed.start();
    bed.script("case $2 in proxy-role) exit 7;; *) exec $real \"$@\";; esac");
    bed.refuses(&supervised, "the new program");
    ends_well(supervised);
}

#[test]
fn a_program_that_crashes_in_its_first_seconds_leaves_the_old_serving() {
    let bed = UpgradeFixture::new();
    let supervised = bed.start();
    bed.script(
        "case $2 in proxy-role) $real \"$@\" & sleep 1.5; kill -KILL $!; exit 9;; \
         *) exec $real \"$@\";; esac",
    );
    bed.refuses(&supervised, "the new program exited with code 9");
    ends_well(supervised);
}

#[test]
fn a_new_role_that_is_killed_while_it_is_tried_leaves_the_old_serving() {
    let bed = UpgradeFixture::new();
    let supervised = bed.start();
    let old = supervised.role().unwrap();
    bed.copy();
    bed.serve("two");
    let killer = std::thread::scope(|scope| {
        let reload = scope.spawn(|| {
            let pid = supervised.pid.to_string();
            let words = ["reload", "--pid", &pid];
            crate::harness::run(evenkeel(), bed.scratch.path(), words)
        });
        // Kills the new role while it serves as a candidate.
        assert!(answers(bed.port, "two"));
        let new = supervised.children().into_iter().find(|pid| *pid != old);
        kill(Pid::from_raw(new.unwrap()), Signal::SIGKILL).unwrap();
        reload.join().unwrap()
    });
    assert_eq!(killer.code(), Some(1), "{}", killer.stderr);
    let said = "the proxy of the new program was killed by SIGKILL";
    assert!(killer.stderr.contains(said), "{}", killer.stderr);
    assert_eq!(get(bed.port).as_deref(), Some("one"));
    assert_eq!(supervised.role(), Some(old));
    ends_well(supervised);
}

#[test]
fn a_new_role_that_freezes_while_it_is_tried_leaves_the_old_serving() {
    let bed = UpgradeFixture::new();
    let supervised = bed.start();
    let pid = supervised.pid;
    let old = supervised.role().unwrap();
    bed.copy();
    bed.serve("two");
    let refused = std::thread::scope(|scope| {
        let reload = scope.spawn(|| bed.reload(pid));
        assert!(answers(bed.port, "two"));
        let new = supervised.children().into_iter().find(|pid| *pid != old);
        let new = new.unwrap();
        let shown = || {
            let pid = pid.to_string();
            let words = ["status", "supervisor", "--pid", &pid];
            crate::harness::run(evenkeel(), bed.scratch.path(), words).stdout
        };
        let names_it = || {
            let text = shown();
            text.contains("role proxy: paused")
                && text.contains(&format!("process {new} of the new"))
        };
        assert!(eventually(PATIENCE, names_it), "{}", shown());
        kill(Pid::from_raw(new), Signal::SIGSTOP).unwrap();
        reload.join().unwrap()
    });
    assert_eq!(refused.code(), Some(1), "{}", refused.stderr);
    let said = "the proxy of the new program does not respond";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    assert_eq!(get(bed.port).as_deref(), Some("one"));
    assert_eq!(supervised.role(), Some(old));
    ends_well(supervised);
}

#[test]
fn pause_ended_during_an_upgrade_stays_ended() {
    let bed = UpgradeFixture::new();
    let supervised = bed.start();
    let pid = supervised.pid;
    let old = supervised.role().unwrap();
    supervised.signal(Signal::SIGTTOU);
    bed.copy();
    bed.serve("two");
    let taken = std::thread::scope(|scope| {
        let reload = scope.spawn(|| bed.reload(pid));
        let tried = || supervised.children().iter().any(|pid| *pid != old);
        assert!(eventually(PATIENCE, tried));
        supervised.signal(Signal::SIGTTIN);
        reload.join().unwrap()
    });
    assert_eq!(taken.code(), Some(0), "{}", taken.stderr);
    assert!(eventually(PATIENCE, || !lives(old)));
    for _ in 0..5 {
        assert_eq!(get(bed.port).as_deref(), Some("two"));
    }
    ends_well(supervised);
}

#[test]
fn a_program_that_is_replaced_while_another_one_is_tried_is_not_executed() {
    let bed = UpgradeFixture::new();
    let supervised = bed.start();
    let pid = supervised.pid;
    bed.copy();
    bed.serve("two");
    let taken = std::thread::scope(|scope| {
        let reload = scope.spawn(|| bed.reload(pid));
        assert!(answers(bed.port, "two"));
        bed.script("exit 3");
        reload.join().unwrap()
    });
    assert_eq!(taken.code(), Some(0), "{}", taken.stderr);
    assert_eq!(get(bed.port).as_deref(), Some("two"));
    let said = "continues with the old program";
    assert!(eventually(PATIENCE, || supervised.has_said(said)));
    bed.copy();
    let outcome = supervised.reload();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(eventually(PATIENCE, || is_current(pid.as_raw())));
    ends_well(supervised);
}

#[test]
fn new_role_replaces_an_old_one_that_dies_during_an_upgrade() {
    let bed = UpgradeFixture::new();
    let supervised = bed.start();
    let old = supervised.role().unwrap();
    bed.copy();
    bed.serve("two");
    supervised.signal(Signal::SIGHUP);
    assert!(answers(bed.port, "two"));
    kill(Pid::from_raw(old), Signal::SIGKILL).unwrap();
    assert!(eventually(PATIENCE, || !lives(old)));
    for _ in 0..5 {
        assert_eq!(get(bed.port).as_deref(), Some("two"));
    }
    let pid = supervised.pid.as_raw();
    assert!(eventually(PATIENCE, || is_current(pid)));
    assert_eq!(supervised.children().len(), 1);
    ends_well(supervised);
}

#[test]
fn supervisor_killed_during_an_upgrade_leaves_an_adoptable_role() {
    let bed = UpgradeFixture::new();
    let supervised = bed.start();
    let old = supervised.role().unwrap();
    bed.copy();
    bed.serve("two");
    supervised.signal(Signal::SIGHUP);
    assert!(answers(bed.port, "two"));
    let new = supervised.children().into_iter().find(|pid| *pid != old);
    supervised.signal(Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !lives(new.unwrap())), "it ends");
    assert!(lives(old));
    assert_eq!(get(bed.port).as_deref(), Some("one"));
    let arguments = ["run", "-f", "a.cfg"];
    let next = Supervised::start(&bed.program(), bed.scratch.path(), arguments);
    // The adopted role is of the old program, so it is replaced.
    assert!(answers(bed.port, "two"));
    assert!(eventually(PATIENCE, || !lives(old)));
    assert!(eventually(PATIENCE, || next.children().len() == 1));
    assert!(next.children().into_iter().all(is_current));
    ends_well(next);
}

/// Adopts roles with a proxy that has private keys: the previous supervisor stores no version with
/// keys, so the next one learns the version from the files.
#[test]
fn roles_beside_a_proxy_with_keys_are_adopted_and_replaced_by_another_program() {
    let bed = UpgradeFixture::new();
    let issued = Authority::new("Test CA").unwrap().issue(&Leaf::default());
    let bundle = issued.unwrap().bundle();
    bed.scratch.write("site.pem", bundle).unwrap();
    let text = passes("", &[bed.port], origin("one"))
        + &format!(
            "frontend secure\n    bind 127.0.0.1:{} ssl crt {}\n    default_backend app\n\
             console\n    bind 127.0.0.1:{} plain\n",
            free(),
            bed.scratch.path().join("site.pem").display(),
            free()
        );
    bed.scratch.write("a.cfg", text).unwrap();
    let first = bed.start();
    assert!(eventually(PATIENCE, || first.children().len() == 2));
    let old = first.children();
    first.signal(Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !lives(first.pid.as_raw())));
    bed.copy();
    let next = bed.start();
    assert!(eventually(PATIENCE, || next.children().len() == 2));
    assert!(eventually(PATIENCE, || old.iter().all(|pid| !lives(*pid))));
    assert!(next.children().into_iter().all(is_current));
    assert_eq!(get(bed.port).as_deref(), Some("one"));
    ends_well(next);
}

#[test]
fn a_stop_while_a_new_role_is_tried_ends_both() {
    for signal in [Signal::SIGTERM, Signal::SIGUSR1] {
        let bed = UpgradeFixture::new();
        let supervised = bed.start();
        bed.copy();
        bed.serve("two");
        supervised.signal(Signal::SIGHUP);
        assert!(answers(bed.port, "two"));
        let roles = supervised.children();
        assert_eq!(roles.len(), 2);
        let outcome = supervised.end(signal);
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        assert!(roles.into_iter().all(|pid| !lives(pid)));
        assert_eq!(Supervised::left_behind(bed.scratch.path()), 0);
    }
}

#[test]
fn program_that_cannot_read_the_state_adopts_the_role() {
    let bed = UpgradeFixture::new();
    let supervised = bed.start();
    bed.serve("two");
    bed.script("case $1 in run) exec 9</dev/null; EVENKEEL_HAND_OVER=9 exec $real \"$@\";; *) exec $real \"$@\";; esac");
    let outcome = supervised.reload();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(eventually(PATIENCE, || supervised.children().len() == 1));
    let role = supervised.role();
    bed.serve("three");
    assert!(eventually(PATIENCE, || supervised.reload().code() == Some(0)));
    assert!(answers(bed.port, "three"));
    assert_eq!(supervised.role(), role);
    let outcome = ends_well(supervised);
    for words in ["cannot read the state", "adopted the proxy"] {
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
}

/// Sends a command in a session at the master socket, and reads until the response ends with `end`.
fn ask(stream: &mut UnixStream, command: &str, end: &str) -> String {
    use std::io::{Read, Write};
    stream.write_all(command.as_bytes()).unwrap();
    let (mut answer, mut byte) = (String::new(), [0]);
    while !answer.ends_with(end) {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{answer}");
        answer.push(byte[0].into());
    }
    answer
}

#[test]
fn the_masters_socket_its_sessions_and_its_figures_survive_the_new_program() {
    let bed = UpgradeFixture::new();
    let path = |name: &str| bed.scratch.path().join(name);
    std::fs::rename(bed.program(), path("haproxy")).unwrap();
    let notify = UnixDatagram::bind(path("notify")).unwrap();
    notify.set_nonblocking(true).unwrap();
    let (master, told) = (path("master"), path("notify"));
    let arguments = ["-Ws", "-S", master.to_str().unwrap(), "-f", "a.cfg"];
    let variables = [
        ("NOTIFY_SOCKET", told.to_str().unwrap()),
        ("WATCHDOG_USEC", "2000000"),
    ];
    let (program, directory) = (path("haproxy"), bed.scratch.path());
    let supervised = Supervised::start_with(&program, directory, arguments, &variables);
    assert!(answers(bed.port, "one"));
    let slow = slow_origin();
    bed.scratch
        .write("a.cfg", passes("", &[bed.port], slow.port))
        .unwrap();
    assert_eq!(supervised.reload().code(), Some(0));
    let old = supervised.role().unwrap();
    let port = bed.port;
    let waits = std::thread::spawn(move || get(port));
    slow.asked.recv_timeout(PATIENCE).unwrap();
    let mut session = UnixStream::connect(&master).unwrap();
    session.set_read_timeout(Some(PATIENCE)).unwrap();
    ask(&mut session, "prompt\n", "master> ");
    let inode = || inode_of_listener(&master);
    let before = inode();
    bed.scratch.write("a.cfg", "nonsense\n").unwrap();
    assert_eq!(supervised.reload().code(), Some(1));
    bed.serve("two");
    copy(evenkeel(), &path("new"));
    std::fs::rename(path("new"), &program).unwrap();
    let outcome = supervised.reload();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let pid = supervised.pid.as_raw();
    assert!(eventually(PATIENCE, || is_current(pid)), "it follows");
    let table = ask(&mut session, "show proc\n", "# programs\n\nmaster> ");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let row = |first: &str| rows.iter().find(|row| row.first() == Some(&first));
    let own = row(&supervised.pid.to_string()).expect(&table);
    assert_eq!(own[1..5], ["master", "3", "[failed:", "0]"], "{table}");
    assert!(table.contains("# old workers\n"), "{table}");
    let former = row(&old.to_string()).expect(&table);
    assert_ne!(former[3], "0d00h00m00s", "{table}");
    assert_ne!(own[5], "0d00h00m00s", "{table}");
    assert_eq!(inode(), before, "the socket is the same");
    slow.answer.send(()).unwrap();
    assert_eq!(waits.join().unwrap().as_deref(), Some("slow"));
    lives_and_says_once_that_it_serves(&notify);
    ends_well(supervised);
}

/// Checks that the new program sends watchdog pings, and reports readiness once.
fn lives_and_says_once_that_it_serves(notify: &UnixDatagram) {
    let mut said = String::new();
    let mut alive = || {
        let mut bytes = [0; 4096];
        while let Ok(length) = notify.recv(&mut bytes) {
            said += &String::from_utf8_lossy(&bytes[..length]);
            said += "\n";
        }
        // Waits for a ping after the last readiness message: earlier pings may precede the end of a
        // change.
        let after = said.rsplit("READY=1").next();
        said.matches("READY=1").count() >= 4
            && said.matches("WATCHDOG=1").count() >= 6
            && after.is_some_and(|after| after.contains("WATCHDOG=1"))
    };
    assert!(eventually(PATIENCE, &mut alive));
    // Readiness is reported at the start, and after each of three changes.
    assert_eq!(said.matches("READY=1").count(), 4, "{said}");
}

/// Returns the inode of the socket that listens at a path.
fn inode_of_listener(path: &Path) -> String {
    let text = std::fs::read_to_string("/proc/net/unix").unwrap();
    // The socket was bound under a temporary name and then renamed. Accepted connections have
    // the same path.
    const LISTENS: &str = " 00010000 ";
    let listens = |line: &&str| line.contains(path.to_str().unwrap()) && line.contains(LISTENS);
    let line = text.lines().find(listens).unwrap();
    line.split_whitespace().nth(6).unwrap().to_owned()
}
