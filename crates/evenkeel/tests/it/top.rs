//! `evenkeel top` beside a running program, and in a terminal.

use crate::harness::{PATIENCE, evenkeel, run};
use crate::supervised::{answers, serving_one};
use lab::{Scratch, eventually};
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// `evenkeel top` in a terminal.
struct Terminal {
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(scratch: &Scratch) -> Terminal {
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
fn what_runs_is_printed_once_without_a_socket_for_statistics() {
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
    // Each look takes no more than it gives back.
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
fn a_terminal_shows_it_until_a_key_ends_it_and_follows_a_restart() {
    let (scratch, _, supervised) = serving_one();
    let mut terminal = Terminal::start(&scratch);
    terminal.shows("overview");
    terminal.shows("requests");
    terminal.press("2");
    terminal.shows("web (frontend)");
    terminal.press("?");
    terminal.shows("the next page");
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
fn without_a_terminal_it_names_the_other_way() {
    let (scratch, _, supervised) = serving_one();
    let outcome = run(evenkeel(), scratch.path(), ["top"]);
    assert_eq!(outcome.code(), Some(1));
    assert!(outcome.stderr.contains("--once"), "{}", outcome.stderr);
    supervised.end(Signal::SIGTERM);
}
