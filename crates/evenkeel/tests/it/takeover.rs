//! Tests of `-x`, `-sf` and `-st`, by which one process takes over from another, either of them
//! HAProxy or Evenkeel, and of the state that the next process gets.

use crate::harness::{Bench, CommandOutput, PATIENCE, finish, oracle_path, start};
use lab::{eventually, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;

/// Configuration file for all processes of a test, whose counters therefore have the same names.
struct TakeoverFixture {
    bench: Bench,
    port: u16,
    socket: PathBuf,
    map: PathBuf,
}

impl TakeoverFixture {
    fn new() -> TakeoverFixture {
        let bench = Bench::new();
        let port = free_port().unwrap();
        let socket = bench.scratch.path().join("s");
        let map = bench.scratch.path().join("a.map");
        let text = format!(
            "global\n    stats socket {} mode 600 level admin expose-fd listeners\ndefaults\n    mode http\n    \
             timeout client 5s\n    timeout server 5s\n    timeout connect 1s\nfrontend web\n    \
             bind 127.0.0.1:{port}\n    http-request set-header x %[path,map({map})]\n    \
             http-request return status 200 content-type text/plain string ok\n\
             backend app\n    server one 127.0.0.1:9\n",
            socket.display(),
            map = map.display()
        );
        bench.file("a.cfg", &text);
        bench.file("a.map", "/one 1\n/two 2\n");
        TakeoverFixture {
            bench,
            port,
            socket,
            map,
        }
    }

    fn start(&self, program: &Path, more: &[&str]) -> KillOnDrop {
        let all = ["-db", "-f", "a.cfg"].iter().chain(more);
        let child = start(program, self.bench.scratch.path(), all);
        KillOnDrop(Some(child))
    }

    /// Starts a process that replaces another one.
    fn follow(
        &self,
        program: &Path,
        before: &KillOnDrop,
        farewell: &str,
        more: &[&str],
    ) -> KillOnDrop {
        let (socket, pid) = (self.socket.to_str().unwrap(), before.pid().to_string());
        let mut all = more.to_vec();
        all.extend(["-x", socket, farewell, &pid]);
        self.start(program, &all)
    }

    /// Returns the entries of the map.
    fn map(&self) -> String {
        let told = self.command(&format!("show map {}", self.map.display()));
        let pairs = told.lines().filter_map(|line| line.split_once(' '));
        pairs.map(|(_, pair)| format!("{pair};")).collect()
    }

    fn change_map(&self) {
        let map = self.map.display();
        self.command(&format!("del map {map} /one"));
        self.command(&format!("set map {map} /two 3"));
        self.command(&format!("add map {map} /four 4"));
    }

    fn serves(&self) -> bool {
        eventually(PATIENCE, || self.request().is_some())
    }

    fn request(&self) -> Option<()> {
        let mut client = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    }

    fn command(&self, command: &str) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = UnixStream::connect(&self.socket) {
            let _ = stream.write_all(format!("{command}\n").as_bytes());
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_string(&mut answer);
        }
        answer
    }

    /// Returns the request count of the frontend and the state of the server.
    fn told(&self) -> (String, String) {
        let told = self.command("show stat");
        let field = |row: &str, n: usize| {
            let line = told.lines().find(|line| line.starts_with(row));
            let field = line.and_then(|line| line.split(',').nth(n));
            field.unwrap_or_default().to_owned()
        };
        (field("web,FRONTEND,", 48), field("app,one,", 17))
    }
}

/// Child process that gets SIGTERM on drop.
struct KillOnDrop(Option<Child>);

impl KillOnDrop {
    fn pid(&self) -> i32 {
        self.0.as_ref().unwrap().id().try_into().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    fn end(mut self) -> CommandOutput {
        finish(self.0.take().unwrap())
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // TERM, so that a supervisor ends its role, too.
            let _ = kill(
                Pid::from_raw(child.id().try_into().unwrap()),
                Signal::SIGTERM,
            );
            let _ = child.wait();
        }
    }
}

#[test]
fn counters_and_states_continue_in_the_next_process() {
    for mode in [&[][..], &["-W"]] {
        let place = TakeoverFixture::new();
        let program = place.bench.haproxy.clone();
        let first = place.start(&program, mode);
        assert!(place.serves());
        for _ in 0..4 {
            place.request().unwrap();
        }
        place.command("set server app/one state maint");
        place.change_map();
        assert_eq!(place.told(), ("5".into(), "MAINT".into()));
        // A persistent connection that sends another request when the next process serves.
        let mut client = TcpStream::connect(("127.0.0.1", place.port)).unwrap();
        let mut ask = |times| {
            for _ in 0..times {
                client
                    .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    .unwrap();
                let mut answer = [0; 1024];
                assert!(client.read(&mut answer).unwrap() > 0);
            }
        };
        ask(1);
        let second = place.follow(&program, &first, "-sf", mode);
        assert!(eventually(PATIENCE, || {
            let told = place.told();
            told == ("6".into(), "MAINT".into())
                && place.command("show info").contains(&{
                    // Accepts only the response of the new process, which is not stopping.
                    "Stopping: 0".to_owned()
                })
        }));
        assert_eq!(place.map(), "/two 3;/four 4;");
        ask(1);
        let outcome = first.end();
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        assert!(
            eventually(PATIENCE, || place.told().0 == "7"),
            "{mode:?}: {:?}",
            place.told()
        );
        second.signal(Signal::SIGUSR1);
        assert_eq!(second.end().code(), Some(0));
    }
}

#[test]
fn st_ends_the_predecessor_at_once() {
    let place = TakeoverFixture::new();
    let program = place.bench.haproxy.clone();
    let first = place.start(&program, &[]);
    assert!(place.serves());
    let _held = TcpStream::connect(("127.0.0.1", place.port)).unwrap();
    let second = place.follow(&program, &first, "-st", &[]);
    assert_eq!(first.end().code(), None, "by the signal");
    assert!(place.serves());
    second.signal(Signal::SIGTERM);
    second.end();
}

#[test]
fn haproxy_hands_listeners_over_and_takes_them_back() {
    if !lab::may_run("takeover", lab::installed("haproxy")) {
        return;
    }
    for mode in [&[][..], &["-W"]] {
        let place = TakeoverFixture::new();
        let (ours, real) = (place.bench.haproxy.clone(), oracle_path());
        let mut current = place.start(&real, mode);
        assert!(place.serves());
        for program in [&ours, &real, &ours] {
            let next = place.follow(program, &current, "-sf", mode);
            let outcome = std::mem::replace(&mut current, next).end();
            assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
            place.request().unwrap();
        }
    }
}

#[test]
fn socket_without_listeners_fails_the_start() {
    let place = TakeoverFixture::new();
    for mode in [&[][..], &["-W"]] {
        let process = place.start(
            &place.bench.haproxy.clone(),
            &[mode, &["-x", "/nowhere/s"]].concat(),
        );
        let outcome = process.end();
        assert_eq!(outcome.code(), Some(1));
        let words = "Failed to get the sockets from the old process!";
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
}

#[test]
fn state_of_a_killed_role_reaches_the_next() {
    let place = TakeoverFixture::new();
    let process = place.start(&place.bench.haproxy.clone(), &["-W"]);
    assert!(place.serves());
    place.command("set server app/one state maint");
    place.change_map();
    let children = || {
        let path = format!("/proc/{0}/task/{0}/children", process.pid());
        std::fs::read_to_string(path).unwrap_or_default()
    };
    let role: i32 = children().trim().parse().unwrap();
    // The state is sent at most once a second.
    lab::sleep_in_test(std::time::Duration::from_secs(4), "states are sent by time");
    kill(Pid::from_raw(role), Signal::SIGKILL).unwrap();
    assert!(eventually(PATIENCE, || {
        children().trim() != role.to_string() && !children().trim().is_empty()
    }));
    assert!(place.serves());
    assert_eq!(place.told().1, "MAINT");
    assert_eq!(place.map(), "/two 3;/four 4;");
    process.signal(Signal::SIGTERM);
    process.end();
}

/// Replaces the program file of a running `haproxy -W` by our binary and reloads: Evenkeel
/// continues in the same process.
#[test]
fn a_running_haproxy_becomes_ours_by_a_reload() {
    if !lab::may_run("takeover", lab::installed("haproxy")) {
        return;
    }
    let place = TakeoverFixture::new();
    let program = place.bench.scratch.path().join("bin/haproxy");
    std::fs::create_dir(program.parent().unwrap()).unwrap();
    crate::upgrade::copy(oracle_path().as_ref(), &program);
    let master = place.start(&program, &["-W"]);
    assert!(place.serves());
    std::fs::remove_file(&program).unwrap();
    std::os::unix::fs::symlink(&place.bench.haproxy, &program).unwrap();
    // A master that has just started may lose the signal.
    assert!((0..10).any(|_| {
        master.signal(Signal::SIGUSR2);
        eventually(std::time::Duration::from_secs(2), || {
            assert!(place.request().is_some());
            place.command("show info").contains("-evenkeel-")
        })
    }));
    for _ in 0..20 {
        place.request().unwrap();
    }
    master.signal(Signal::SIGTERM);
    assert_eq!(master.end().code(), Some(0));
}
