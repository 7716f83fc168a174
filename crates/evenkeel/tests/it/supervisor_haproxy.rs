//! Tests of `haproxy -W`, compared with the real HAProxy: signals, exit codes, messages that
//! scripts search for, the PID file, and the background.

use crate::harness::{Bench, PATIENCE, listening, oracle_path};
use crate::supervised::{
    Client, Supervised, answers, children_of, lives, origin, passes, reads_signals,
};
use lab::{eventually, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;

fn programs(bench: &Bench, test: &str) -> Vec<std::path::PathBuf> {
    let mut all = vec![bench.haproxy.clone()];
    if lab::may_run(test, lab::installed("haproxy")) {
        all.push(oracle_path());
    }
    all
}

/// Returns the lines that begin with `[`, with `PID` instead of process numbers.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines().filter(|line| line.starts_with('[')) {
        let digits = |c: char| c.is_ascii_digit();
        let mut kept = String::new();
        for word in line.split(' ').filter(|word| !word.is_empty()) {
            let bare = word.trim_matches(['(', ')']);
            let number =
                bare.len() > 2 && bare.chars().all(digits) && !["130", "143"].contains(&bare);
            kept += if number { "PID" } else { word };
            kept.push(' ');
        }
        out += kept.trim_end();
        out.push('\n');
    }
    out
}

fn last_lines(text: &str) -> Vec<String> {
    let kept = [
        "New worker",
        "Loading success",
        "Exiting Master",
        "Current worker",
        "All workers",
    ];
    without_numbers(text)
        .lines()
        .filter(|line| kept.iter().any(|words| line.contains(words)))
        .map(str::to_owned)
        .collect()
}

#[test]
fn signals_end_a_master_as_in_haproxy() {
    let bench = Bench::new();
    for (signal, code) in [
        (Signal::SIGINT, 130),
        (Signal::SIGTERM, 0),
        (Signal::SIGUSR1, 0),
    ] {
        let mut said = Vec::new();
        for program in programs(&bench, "the end of a master") {
            let port = free_port().unwrap();
            bench.file("listening.cfg", &passes("", &[port], origin("one")));
            let arguments = ["-W", "-f", "listening.cfg"];
            let master = Supervised::start(&program, bench.scratch.path(), arguments);
            assert!(answers(port, "one"));
            // The master listens, and its worker responds, before it reads signals and reports
            // success.
            assert!(eventually(PATIENCE, || master.reads_signals()));
            let serves = || master.has_said("Loading success.");
            assert!(eventually(PATIENCE, serves));
            let outcome = master.end(signal);
            assert_eq!(outcome.code(), Some(code), "{signal}: {}", outcome.stderr);
            said.push(last_lines(&outcome.stderr));
        }
        assert!(
            said.windows(2).all(|pair| pair[0] == pair[1]),
            "{signal}: {said:#?}"
        );
    }
}

#[test]
fn usr2_and_hup_reload_in_place_and_report_failures() {
    let bench = Bench::new();
    let port = free_port().unwrap();
    bench.file("a.cfg", &passes("", &[port], origin("one")));
    let arguments = ["-W", "-f", "a.cfg"];
    let master = Supervised::start(&bench.haproxy, bench.scratch.path(), arguments);
    assert!(answers(port, "one"));
    let role = master.role();
    for (signal, name) in [(Signal::SIGUSR2, "two"), (Signal::SIGHUP, "three")] {
        bench.file("a.cfg", &passes("", &[port], origin(name)));
        master.signal(signal);
        assert!(answers(port, name));
    }
    bench.file("a.cfg", "nonsense\n");
    let outcome = master.reload();
    assert_eq!(outcome.code(), Some(1));
    assert!(answers(port, "three"));
    assert_eq!(master.role(), role, "one process all along");
    let outcome = master.end(Signal::SIGTERM);
    for words in ["Reloading HAProxy", "Loading failure!", "[a.cfg:1]"] {
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    assert_eq!(outcome.stderr.matches("Loading success.").count(), 3);
    assert_eq!(outcome.stderr.matches("New worker").count(), 1);
}

#[test]
fn the_pid_file_has_the_masters_id_in_the_foreground_and_in_the_background() {
    let bench = Bench::new();
    for program in programs(&bench, "the pid file of a master") {
        let port = free_port().unwrap();
        bench.listening(port, "");
        let pid_file = bench.scratch.path().join("own.pid");
        let _ = std::fs::remove_file(&pid_file);
        let arguments = ["-W", "-p", "own.pid", "-f", "listening.cfg"];
        let master = Supervised::start(&program, bench.scratch.path(), arguments);
        assert!(eventually(PATIENCE, || Client::new(port).is_some()));
        let written = || std::fs::read_to_string(&pid_file).unwrap_or_default();
        assert!(eventually(PATIENCE, || written().trim() == master.pid.to_string()));
        assert!(eventually(PATIENCE, || master.reads_signals()));
        assert_eq!(master.end(Signal::SIGTERM).code(), Some(0));
        for flags in [&["-D", "-W"][..], &["-D", "-Ws"], &["-D", "-W", "-db"]] {
            background(&bench, &program, flags, &pid_file, port);
        }
    }
}

fn background(bench: &Bench, program: &Path, flags: &[&str], pid_file: &Path, port: u16) {
    std::fs::remove_file(pid_file).unwrap();
    let arguments = [flags, &["-p", "own.pid", "-f", "listening.cfg"]].concat();
    let outcome = crate::harness::run(program, bench.scratch.path(), arguments);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let text = || std::fs::read_to_string(pid_file).unwrap_or_default();
    assert!(eventually(PATIENCE, || !text().is_empty()));
    let master: i32 = text().trim().parse().unwrap();
    assert!(eventually(PATIENCE, || Client::new(port).is_some()));
    assert!(eventually(PATIENCE, || reads_signals(Pid::from_raw(
        master
    ))));
    let workers = children_of(Pid::from_raw(master));
    kill(Pid::from_raw(master), Signal::SIGTERM).unwrap();
    assert!(eventually(PATIENCE, || !lives(master)
        && workers.iter().all(|pid| !lives(*pid))));
}

#[test]
fn a_file_that_says_master_worker_is_supervised_without_the_flag() {
    let bench = Bench::new();
    let port = free_port().unwrap();
    let arguments = ["-f", "a.cfg"];
    bench.file(
        "a.cfg",
        &passes("    master-worker", &[port], origin("one")),
    );
    let master = Supervised::start(&bench.haproxy, bench.scratch.path(), arguments);
    assert!(answers(port, "one"));
    assert!(master.role().is_some());
    let outcome = master.end(Signal::SIGINT);
    assert_eq!(outcome.code(), Some(130), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("New worker").count(), 1);
}

#[test]
fn quiet_master_prints_nothing_and_failed_start_exits_with_1() {
    let bench = Bench::new();
    let port = free_port().unwrap();
    bench.listening(port, "");
    let arguments = ["-W", "-q", "-f", "listening.cfg"];
    let master = Supervised::start(&bench.haproxy, bench.scratch.path(), arguments);
    assert!(eventually(PATIENCE, || master.role().is_some()
        && master.reads_signals()
        && Client::new(port).is_some()));
    let outcome = master.end(Signal::SIGTERM);
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (Some(0), ""));
    bench.file("bad.cfg", &listening(port, "    foo"));
    for arguments in [&["-W", "-f", "bad.cfg"][..], &["-D", "-W", "-f", "bad.cfg"]] {
        let ours = bench.run(arguments);
        assert_eq!(ours.code(), Some(1));
        assert!(
            ours.stderr.contains("unknown keyword 'foo'"),
            "{}",
            ours.stderr
        );
    }
}

#[test]
fn ttou_pauses_and_ttin_resumes() {
    let bench = Bench::new();
    let port = free_port().unwrap();
    bench.file("a.cfg", &passes("", &[port], origin("one")));
    let master = Supervised::start(&bench.haproxy, bench.scratch.path(), ["-W", "-f", "a.cfg"]);
    assert!(answers(port, "one"));
    master.signal(Signal::SIGTTOU);
    std::thread::sleep(std::time::Duration::from_millis(200));
    let waiting = std::thread::spawn(move || crate::supervised::get(port));
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(!waiting.is_finished(), "nothing is accepted");
    master.signal(Signal::SIGTTIN);
    assert_eq!(waiting.join().unwrap().as_deref(), Some("one"));
    assert_eq!(master.end(Signal::SIGTERM).code(), Some(0));
}

/// Starts a server that accepts connections and never responds.
fn silent_server() -> (std::net::TcpListener, u16) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn a_soft_stop_that_waits_is_cut_short_by_term() {
    let bench = Bench::new();
    for program in programs(&bench, "a soft stop that is cut short") {
        let (server, origin) = silent_server();
        let port = free_port().unwrap();
        bench.file("a.cfg", &passes("", &[port], origin));
        let arguments = ["-W", "-f", "a.cfg"];
        let master = Supervised::start(&program, bench.scratch.path(), arguments);
        assert!(eventually(PATIENCE, || Client::new(port).is_some()));
        assert!(eventually(PATIENCE, || master.reads_signals()));
        assert!(eventually(PATIENCE, || master.has_said("Loading success.")));
        let waits = std::thread::spawn(move || crate::supervised::get(port));
        let _held = server.accept().unwrap();
        master.signal(Signal::SIGUSR1);
        assert!(
            eventually(PATIENCE, || Client::new(port).is_none()),
            "{} listens no more",
            program.display()
        );
        assert!(!waits.is_finished() && lives(master.pid.as_raw()));
        let outcome = master.end(Signal::SIGTERM);
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        assert_eq!(
            outcome.stderr.matches("Exiting Master process...").count(),
            2
        );
        let last = "exited with code 143 (Terminated)";
        assert!(outcome.stderr.contains(last), "{}", outcome.stderr);
        assert!(
            outcome
                .stderr
                .contains("All workers exited. Exiting... (0)")
        );
        assert_eq!(waits.join().unwrap(), None);
    }
}

#[test]
fn db_and_ws_keep_a_master_in_the_foreground() {
    let bench = Bench::new();
    for program in programs(&bench, "-db with -W, and -Ws") {
        for flags in [&["-db", "-W"][..], &["-Ws"]] {
            let port = free_port().unwrap();
            bench.listening(port, "    daemon");
            let arguments = [flags, &["-f", "listening.cfg"]].concat();
            let master = Supervised::start(&program, bench.scratch.path(), arguments);
            assert!(eventually(PATIENCE, || Client::new(port).is_some()));
            assert!(eventually(PATIENCE, || master.reads_signals()));
            let outcome = master.end(Signal::SIGINT);
            assert_eq!(outcome.code(), Some(130), "{}", outcome.stderr);
        }
    }
}

#[test]
fn bad_file_has_the_message_and_exit_code_of_haproxy() {
    let bench = Bench::new();
    bench.file("bad.cfg", "defaults\n    mode htxp\n");
    for arguments in [&["-W", "-f", "bad.cfg"][..], &["-Ws", "-f", "bad.cfg"]] {
        let ours = bench.run(arguments);
        assert_eq!(ours.code(), Some(1));
        if let Some(theirs) = bench.oracle("a master with a bad file", arguments) {
            assert_eq!(theirs.code(), Some(1));
            // The text of an error is our own.
            assert_eq!(ours.messages()[1..], theirs.messages()[1..]);
        }
    }
}
