//! Tests of a serving process under the name `haproxy` from start to end: the background, the PID
//! file, signals, and addresses that are already in use.

use crate::harness::{Bench, PATIENCE, finish, start};
use lab::{eventually, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

fn serves(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.")
}

/// Process in the background, which is killed on drop.
struct Background(Pid);

impl Background {
    fn of(text: &str) -> Background {
        Background(Pid::from_raw(text.trim().parse().unwrap()))
    }

    fn lives(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        // A process without a waiting parent remains as a zombie.
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

#[test]
fn int_and_term_end_the_process_as_signals_and_usr1_ends_it_with_0() {
    for (signal, by_signal, code) in [
        (Signal::SIGINT, Some(2), None),
        (Signal::SIGTERM, Some(15), None),
        (Signal::SIGUSR1, None, Some(0)),
    ] {
        let bench = Bench::new();
        let port = free_port().unwrap();
        bench.listening(port, "");
        let child = start(
            &bench.haproxy,
            bench.scratch.path(),
            ["-db", "-f", "listening.cfg"],
        );
        assert!(eventually(PATIENCE, || serves(port)), "{signal}");
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let outcome = finish(child);
        assert_eq!(
            (outcome.status.signal(), outcome.code()),
            (by_signal, code),
            "{signal}: {}",
            outcome.stderr
        );
        assert!(!serves(port));
    }
}

#[test]
fn the_command_returns_when_the_background_serves_and_its_streams_are_closed() {
    for (global, flag) in [("    daemon", None), ("", Some("-D"))] {
        let bench = Bench::new();
        let port = free_port().unwrap();
        bench.listening(port, global);
        let arguments = ["-p", "own.pid", "-f", "listening.cfg"]
            .into_iter()
            .chain(flag);
        // `finish` waits for the end of the standard streams.
        let outcome = bench.run(arguments);
        assert_eq!((outcome.code(), outcome.stderr.as_str()), (Some(0), ""));
        let pid = std::fs::read_to_string(bench.scratch.path().join("own.pid")).unwrap();
        let background = Background::of(&pid);
        assert!(
            TcpStream::connect(("127.0.0.1", port)).is_ok(),
            "it listened before the command returned"
        );
        assert!(serves(port) && background.lives());
        for number in 0..3 {
            let target = std::fs::read_link(format!("/proc/{}/fd/{number}", background.0)).unwrap();
            assert_eq!(target.to_str(), Some("/dev/null"));
        }
        kill(background.0, Signal::SIGUSR1).unwrap();
        assert!(eventually(PATIENCE, || !background.lives()));
    }
}

#[test]
fn a_soft_stop_lets_a_request_finish_and_hard_stop_after_bounds_it() {
    let bench = Bench::new();
    let (port, origin) = (
        free_port().unwrap(),
        TcpListener::bind("127.0.0.1:0").unwrap(),
    );
    let text = crate::harness::listening(port, "    hard-stop-after 1s");
    let address = origin.local_addr().unwrap().to_string();
    bench.file(
        "slow.cfg",
        &text.replace("127.0.0.1:9\n", &format!("{address}\n")),
    );
    let child = start(
        &bench.haproxy,
        bench.scratch.path(),
        ["-db", "-f", "slow.cfg"],
    );
    assert!(eventually(PATIENCE, || TcpStream::connect((
        "127.0.0.1",
        port
    ))
    .is_ok()));
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    // The server accepts the request and never responds.
    let _held = origin.accept().unwrap();
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGUSR1,
    )
    .unwrap();
    assert!(
        eventually(PATIENCE, || TcpStream::connect(("127.0.0.1", port))
            .is_err()),
        "it listens no more"
    );
    let outcome = finish(child);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("hard-stop"), "{}", outcome.stderr);
}

#[test]
fn every_address_in_use_is_reported_with_exit_code_1() {
    let bench = Bench::new();
    let taken = [
        TcpListener::bind("127.0.0.1:0").unwrap(),
        TcpListener::bind("127.0.0.1:0").unwrap(),
    ];
    let ports = taken
        .each_ref()
        .map(|listener| listener.local_addr().unwrap().port());
    let binds: String = ports
        .iter()
        .map(|port| format!("    bind 127.0.0.1:{port}\n"))
        .collect();
    bench.file(
        "taken.cfg",
        &format!("defaults\n    timeout client 1s\nfrontend f\n{binds}"),
    );
    for arguments in ["-db -f taken.cfg", "-D -f taken.cfg"] {
        let ours = bench.run(arguments.split(' '));
        let theirs = bench.oracle("every taken address is told", arguments.split(' '));
        for outcome in [Some(ours), theirs].into_iter().flatten() {
            assert_eq!(outcome.code(), Some(1));
            let messages = outcome.messages();
            for (line, port) in [(4, ports[0]), (5, ports[1])] {
                let said = format!(
                    "[ALERT]    (PID) : Binding [taken.cfg:{line}] for frontend f: cannot bind socket (Address already in use) for [127.0.0.1:{port}]"
                );
                assert!(messages.contains(&said), "{}", outcome.stderr);
            }
            assert!(messages.iter().any(|said| {
                said.ends_with("Some protocols failed to start their listeners! Exiting.")
            }));
        }
    }
    assert_eq!(bench.run(["-q", "-db", "-f", "taken.cfg"]).stderr, "");
    let own = crate::harness::run(
        crate::harness::evenkeel(),
        bench.scratch.path(),
        ["run", "-f", "taken.cfg"],
    );
    let help = format!(
        "taken.cfg:4: frontend 'f': cannot bind socket 127.0.0.1:{}: Address already in use; `ss -ltnp` shows the process that listens there",
        ports[0]
    );
    assert!(own.stderr.contains(&help), "{}", own.stderr);
}

#[test]
fn a_background_that_cannot_start_fails_the_command() {
    let bench = Bench::new();
    let port = free_port().unwrap();
    for (global, arguments, said) in [
        (
            "    chroot /nonexistent/root",
            "-D -f listening.cfg",
            "Cannot chroot(/nonexistent/root)",
        ),
        (
            "",
            "-D -p /nonexistent/own.pid -f listening.cfg",
            "Cannot create pidfile /nonexistent/own.pid",
        ),
    ] {
        bench.listening(port, global);
        let outcome = bench.run(arguments.split(' '));
        assert_eq!(outcome.code(), Some(1), "{arguments}");
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
        assert!(!serves(port));
    }
}

#[test]
fn start_without_listeners_exits_with_1() {
    let bench = Bench::new();
    bench.file(
        "none.cfg",
        "backend b\n    timeout server 1s\n    timeout connect 1s\n    server s 127.0.0.1:9\n",
    );
    let outcome = bench.run(["-db", "-f", "none.cfg"]);
    assert_eq!(outcome.code(), Some(1));
    assert!(
        outcome.stderr.contains("No enabled listener found"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn hup_prints_the_state_of_every_server() {
    let bench = Bench::new();
    let port = free_port().unwrap();
    bench.listening(port, "");
    let child = start(
        &bench.haproxy,
        bench.scratch.path(),
        ["-db", "-f", "listening.cfg"],
    );
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    assert!(eventually(PATIENCE, || serves(port)));
    kill(pid, Signal::SIGHUP).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    kill(pid, Signal::SIGUSR1).unwrap();
    let outcome = finish(child);
    assert!(
        outcome.stderr.contains("SIGHUP: Server app/one is UP."),
        "{}",
        outcome.stderr
    );
}
