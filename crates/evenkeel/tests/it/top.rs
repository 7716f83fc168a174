//! Tests of `evenkeel top`: once without a terminal, and in a terminal with keys, signals, and a
//! lost supervisor.

use crate::addresses::{AddressFixture, VIP};
use crate::harness::{PATIENCE, evenkeel, run};
use crate::supervised::{answers, children_of, lives, serving_one};
use lab::{ScratchDirectory, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// `evenkeel top` in a terminal.
struct Terminal {
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(scratch: &ScratchDirectory) -> Terminal {
        let top = format!("stty rows 24 cols 80; exec {} top", evenkeel().display());
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &top, "/dev/null"])
            .current_dir(scratch.path())
            .env("EVENKEEL_RUNTIME_DIRECTORY", scratch.path().join("runtime"))
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let seen = Arc::<Mutex<Vec<u8>>>::default();
        let (mut stdout, sees) = (child.stdout.take().unwrap(), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = stdout.read(&mut bytes) {
                sees.lock().unwrap().extend_from_slice(&bytes[..read]);
            }
        });
        Terminal { child, seen }
    }

    /// Returns the process ID of the command.
    fn top(&self) -> i32 {
        let script = i32::try_from(self.child.id()).unwrap();
        match children_of(Pid::from_raw(script))[..] {
            [top] => top,
            ref other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn shows(&self, words: &str) {
        let text = || String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned();
        assert!(
            eventually(PATIENCE, || text().contains(words)),
            "{}",
            text()
        );
    }

    fn press(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn top_once_works_without_a_stats_socket() {
    let (scratch, port, supervised) = serving_one();
    let once = || run(evenkeel(), scratch.path(), ["top", "--once"]);
    let traffic = |text: &str| {
        let page = text.split("== ").find(|page| page.starts_with("traffic"));
        page.unwrap_or_default().to_owned()
    };
    let outcome = once();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let page = traffic(&outcome.stdout);
    for words in ["web (frontend)", "app (backend)", "  one "] {
        assert!(page.contains(words), "{}", outcome.stdout);
    }
    assert!(
        outcome.stdout.contains("role proxy: running for "),
        "{}",
        outcome.stdout
    );
    // Each poll releases its resources.
    for _ in 0..300 {
        assert_eq!(once().code(), Some(0));
    }
    assert!(answers(port, "one"));
    supervised.end(Signal::SIGTERM);
    let gone = once();
    assert_eq!(gone.code(), Some(1));
    assert!(gone.stderr.contains("no running"), "{}", gone.stderr);
}

#[test]
fn top_runs_until_a_key_and_follows_a_restart() {
    let (scratch, _, supervised) = serving_one();
    let mut terminal = Terminal::start(&scratch);
    terminal.shows("overview");
    terminal.shows("requests");
    terminal.press("2");
    terminal.shows("web (frontend)");
    terminal.press("?");
    // Searches for a single word: the terminal skips cells that stay blank.
    terminal.shows("previous");
    supervised.end(Signal::SIGTERM);
    terminal.shows("no running");
    terminal.press("x");
    terminal.press("q");
    let mut code = None;
    assert!(eventually(PATIENCE, || {
        code = terminal.child.try_wait().unwrap();
        code.is_some()
    }));
    assert_eq!(code.and_then(|code| code.code()), Some(0));
    terminal.shows("\u{1b}[?1049l");
}

#[test]
fn a_terminal_that_is_closed_ends_it() {
    let (scratch, _, supervised) = serving_one();
    let terminal = Terminal::start(&scratch);
    terminal.shows("overview");
    let top = terminal.top();
    // Closes the terminal, which also sends a signal.
    drop(terminal);
    assert!(eventually(PATIENCE, || !lives(top)));
    supervised.end(Signal::SIGTERM);
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let (scratch, _, supervised) = serving_one();
    let terminal = Terminal::start(&scratch);
    terminal.shows("overview");
    let top = terminal.top();
    kill(Pid::from_raw(top), Signal::SIGTERM).unwrap();
    terminal.shows("\u{1b}[?1049l");
    supervised.end(Signal::SIGTERM);
}

#[test]
fn hanging_supervisor_is_reported() {
    let (scratch, _, supervised) = serving_one();
    let terminal = Terminal::start(&scratch);
    terminal.shows("overview");
    supervised.signal(Signal::SIGSTOP);
    terminal.shows("does not respond");
    let once = run(evenkeel(), scratch.path(), ["top", "--once"]);
    assert_eq!(once.code(), Some(1));
    assert!(once.stderr.contains("does not respond"), "{}", once.stderr);
    supervised.signal(Signal::SIGCONT);
    supervised.end(Signal::SIGTERM);
}

#[test]
fn addresses_alone_are_shown_without_a_proxy() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-top");
    let supervised = bed.start(&["run", "-f", "k.conf"]);
    bed.comes(VIP);
    let once = bed.run(&["top", "--once"]);
    assert_eq!(once.code(), Some(0), "{}", once.stderr);
    assert!(once.stdout.contains("VI_1: MASTER"), "{}", once.stdout);
    assert!(!once.stdout.contains("== traffic"), "{}", once.stdout);
    supervised.end(Signal::SIGTERM);
}

#[test]
fn top_without_a_terminal_suggests_once() {
    let (scratch, _, supervised) = serving_one();
    let outcome = run(evenkeel(), scratch.path(), ["top"]);
    assert_eq!(outcome.code(), Some(1));
    assert!(outcome.stderr.contains("--once"), "{}", outcome.stderr);
    supervised.end(Signal::SIGTERM);
}
