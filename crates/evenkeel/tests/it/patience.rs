//! Tests that a reload whose loader hangs is killed, and that a reload is cancelled when no caller
//! waits for it any more.

use crate::harness::{PATIENCE, evenkeel, start};
use crate::supervised::{Client, Supervised, answers, get, origin, passes};
use lab::{ScratchDirectory, eventually, free_port};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use std::time::Duration;

/// A supervisor whose configuration file is a pipe without an end, so that its loader hangs.
struct SlowLoaderFixture {
    scratch: ScratchDirectory,
    port: u16,
    supervised: Supervised,
}

impl SlowLoaderFixture {
    fn new(variables: &[(&str, &str)]) -> SlowLoaderFixture {
        let scratch = ScratchDirectory::new().unwrap();
        let port = free_port().unwrap();
        let text = passes("", &[port], origin("one"));
        scratch.write("a.cfg", text).unwrap();
        let arguments = ["run", "-f", "a.cfg"];
        let supervised = Supervised::start_with(evenkeel(), scratch.path(), arguments, variables);
        assert!(answers(port, "one"));
        let file = scratch.path().join("a.cfg");
        std::fs::remove_file(&file).unwrap();
        mkfifo(&file, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        SlowLoaderFixture {
            scratch,
            port,
            supervised,
        }
    }

    /// Replaces the pipe with a configuration file whose server responds with this name.
    fn serve(&self, name: &'static str) {
        let text = passes("", &[self.port], origin(name));
        std::fs::remove_file(self.scratch.path().join("a.cfg")).unwrap();
        self.scratch.write("a.cfg", text).unwrap();
    }

    fn loads(&self) -> bool {
        self.supervised.children().len() == 2
    }

    fn asks(&self) -> std::process::Child {
        let pid = self.supervised.pid.to_string();
        start(evenkeel(), self.scratch.path(), ["reload", "--pid", &pid])
    }
}

#[test]
fn hanging_loader_is_killed_and_serving_continues() {
    let bed = SlowLoaderFixture::new(&[("EVENKEEL_LOADER_SECONDS", "10")]);
    let mut client = Client::new(bed.port).unwrap();
    assert_eq!(client.get().as_deref(), Some("one"));
    let asks = bed.asks();
    assert!(eventually(PATIENCE, || bed.loads()));
    assert_eq!(get(bed.port).as_deref(), Some("one"), "meanwhile");
    let outcome = crate::harness::finish(asks);
    assert_eq!(outcome.code(), Some(1), "{}", outcome.stderr);
    for words in [
        "longer than 10 s",
        "EVENKEEL_LOADER_SECONDS",
        "nothing was changed",
    ] {
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    assert_eq!(client.get().as_deref(), Some("one"), "the same connection");
    assert_eq!(bed.supervised.children().len(), 1);
    bed.serve("two");
    assert_eq!(bed.supervised.reload().code(), Some(0));
    assert_eq!(client.get().as_deref(), Some("two"));
    assert_eq!(bed.supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn reload_is_cancelled_when_all_requesters_have_gone() {
    let bed = SlowLoaderFixture::new(&[]);
    let mut askers = [bed.asks(), bed.asks()];
    assert!(eventually(PATIENCE, || bed.loads()));
    // The request may arrive while the change runs already.
    std::thread::sleep(Duration::from_millis(200));
    for asker in &mut askers {
        kill(Pid::from_raw(asker.id() as i32), Signal::SIGINT).unwrap();
        asker.wait().unwrap();
    }
    assert!(eventually(PATIENCE, || !bed.loads()), "within moments");
    assert_eq!(get(bed.port).as_deref(), Some("one"));
    bed.serve("two");
    let outcome = bed.supervised.reload();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert_eq!(get(bed.port).as_deref(), Some("two"));
    let outcome = bed.supervised.end(Signal::SIGTERM);
    let words = "the reload is cancelled and nothing was changed";
    assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
}

#[test]
fn reload_by_a_signal_is_not_cancelled() {
    let bed = SlowLoaderFixture::new(&[]);
    bed.supervised.signal(Signal::SIGHUP);
    assert!(eventually(PATIENCE, || bed.loads()));
    let mut asks = bed.asks();
    std::thread::sleep(Duration::from_millis(200));
    kill(Pid::from_raw(asks.id() as i32), Signal::SIGINT).unwrap();
    asks.wait().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(bed.loads());
    // A stop does not wait for the change.
    assert_eq!(bed.supervised.end(Signal::SIGTERM).code(), Some(0));
}
