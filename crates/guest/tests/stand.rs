//! Tests standstills for snapshots with the real QEMU and a simulated guest agent. The guests have
//! no operating system.

use guest::config::{Console, Guest, Guests};
use guest::message::{GuestOrder, Stand, StandstillProgress, StandstillRequest, StandstillStatus};
use guest::role::report::{GUEST, RUNNING};
use guest::role::{GuestRole, RoleEnvironment};
use lab::{ScratchDirectory, eventually};
use part::codec;
use part::report::{Grade, Subject};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
const NAME: &str = "mail";

fn payload() -> Vec<u8> {
    let guest = Guest {
        console: Console::Serial,
        stop_ms: 1,
        ..Guest::plain(32 << 20)
    };
    codec::encode(&Guests {
        guests: [(NAME.to_owned(), guest)].into(),
        ..Guests::default()
    })
}

fn begin(runtime: &Path, kept: Option<&[u8]>) -> GuestRole {
    let place = RoleEnvironment {
        runtime: runtime.to_owned(),
        program: "/usr/bin/qemu-system-x86_64".into(),
        confine: None,
        has_kvm: false,
        move_bandwidth: 0,
        groups: None,
        claimed: std::collections::BTreeSet::new(),
        commands: "/nonexistent".into(),
    };
    GuestRole::new(place, &payload(), kept).unwrap()
}

/// Simulated agent: the commands that it received in order, and whether it refuses to freeze, or to
/// thaw.
#[derive(Clone, Default)]
struct Agent {
    told: Arc<Mutex<Vec<String>>>,
    refuses: bool,
    stays_frozen: Arc<AtomicBool>,
}

impl Agent {
    /// Listens at the socket that QEMU would create for the agent.
    fn listen(&self, path: &Path) {
        std::fs::remove_file(path).unwrap();
        let listener = UnixListener::bind(path).unwrap();
        let agent = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // When a client disconnects, the next one is served.
                let _ = agent.serve(&stream);
            }
        });
    }

    fn serve(&self, mut stream: &UnixStream) -> Option<()> {
        for line in BufReader::new(stream).lines() {
            let command: serde_json::Value = serde_json::from_str(&line.ok()?).ok()?;
            let reply = match command["execute"].as_str()? {
                "guest-sync" => command["arguments"]["id"].to_string(),
                word => {
                    self.told.lock().unwrap().push(word.to_owned());
                    "1".to_owned()
                }
            };
            let refuses = match command["execute"].as_str()? {
                FREEZE => self.refuses,
                THAW => self.stays_frozen.load(Ordering::SeqCst),
                _ => false,
            };
            let reply = if refuses {
                r#"{"error": {"desc": "disabled"}}"#.to_owned()
            } else {
                format!("{{\"return\": {reply}}}")
            };
            stream.write_all(format!("{reply}\n").as_bytes()).ok()?;
        }
        Some(())
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

const FREEZE: &str = "guest-fsfreeze-freeze";
const THAW: &str = "guest-fsfreeze-thaw";

struct StandstillFixture {
    scratch: ScratchDirectory,
    role: GuestRole,
    agent: Agent,
}

impl StandstillFixture {
    /// Creates a fixture with a guest that runs, and an agent.
    fn new(refuses: bool) -> StandstillFixture {
        let scratch = ScratchDirectory::new().unwrap();
        let role = begin(scratch.path(), None);
        let agent = Agent {
            refuses,
            ..Agent::default()
        };
        let mut site = StandstillFixture {
            scratch,
            role,
            agent,
        };
        site.runs();
        let path = site.scratch.path().join("guest-mail/agent.sock");
        site.agent.listen(&path);
        site
    }

    fn subject(&self) -> Subject {
        self.role.report().find(GUEST, NAME).cloned().unwrap()
    }

    #[track_caller]
    fn until(&mut self, what: &str, is: impl Fn(&StandstillFixture) -> bool) {
        let reached = eventually(PATIENCE, || {
            self.role.turn();
            is(self)
        });
        assert!(reached, "{what}: {:#?}", self.role.report());
    }

    #[track_caller]
    fn runs(&mut self) {
        self.until("runs", |site| site.subject().value(RUNNING) == Some(1));
    }

    #[track_caller]
    fn thawed(&mut self) {
        let path = self.scratch.path().join("guest-mail/frozen");
        self.until("thawed", |_| !path.exists());
        assert_eq!(self.agent.told(), [FREEZE, THAW]);
    }

    fn ask(&mut self, number: u64, step: Stand) -> StandstillStatus {
        let name = NAME.to_owned();
        self.role.stand(&StandstillRequest { name, number, step })
    }

    #[track_caller]
    fn becomes(&mut self, number: u64, state: StandstillProgress) -> StandstillStatus {
        let mut last = None;
        let reached = eventually(PATIENCE, || {
            let stood = self.ask(number, Stand::Look);
            let is = stood.state == state;
            last = Some(stood);
            is
        });
        assert!(reached, "{state:?}: {last:?}");
        last.unwrap()
    }

    #[track_caller]
    fn stands(&mut self, number: u64) -> StandstillStatus {
        let begun = self.ask(number, Stand::Begin);
        assert_ne!(begun.state, StandstillProgress::Refused, "{}", begun.words);
        self.becomes(number, StandstillProgress::Stands)
    }

    fn stop(&mut self) {
        let name = NAME.to_owned();
        let answer = self.role.order(&GuestOrder::Stop { name, kills: false });
        assert!(answer.good, "{}", answer.words);
    }
}

impl Drop for StandstillFixture {
    fn drop(&mut self) {
        let pid = self.subject().value("process");
        let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn file_systems_are_frozen_and_the_guest_paused_until_the_end() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = StandstillFixture::new(false);
    let stood = site.stands(1);
    assert_eq!((stood.not_frozen, stood.is_down), (None, false));
    let subject = site.subject();
    let why = "paused: a snapshot of its disks is taken";
    assert_eq!((&*subject.state.word, &*subject.why), ("paused", why));
    assert_eq!(site.agent.told(), [FREEZE]);
    let other = site.ask(2, Stand::Begin);
    assert_eq!(other.words, "another snapshot of it is being taken");
    assert_eq!(site.ask(2, Stand::End).state, StandstillProgress::Refused);
    assert_eq!(site.ask(1, Stand::Look).state, StandstillProgress::Stands);

    assert_eq!(site.ask(1, Stand::End).state, StandstillProgress::GoesOn);
    site.becomes(1, StandstillProgress::Over);
    site.thawed();
    site.runs();
    // The standstill can be repeated.
    site.stands(3);
    site.ask(3, Stand::End);
    site.becomes(3, StandstillProgress::Over);
    assert_eq!(site.agent.told(), [FREEZE, THAW, FREEZE, THAW]);
}

#[test]
fn a_guest_with_a_refusing_agent_is_paused_and_thawed() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = StandstillFixture::new(true);
    let stood = site.stands(1);
    let words = format!("the guest agent refused `{FREEZE}`: disabled");
    assert_eq!(stood.not_frozen, Some(words));
    site.ask(1, Stand::End);
    site.becomes(1, StandstillProgress::Over);
    site.thawed();
}

#[test]
fn a_guest_that_stays_frozen_is_reported_as_faulty() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = StandstillFixture::new(false);
    site.agent.stays_frozen.store(true, Ordering::SeqCst);
    site.stands(1);
    site.ask(1, Stand::End);
    // QEMU does not yet run the guest, which is nobody's fault.
    assert_ne!(
        site.subject().state.grade,
        Grade::Bad,
        "{:?}",
        site.subject()
    );
    site.until("reported", |site| site.subject().state.grade == Grade::Bad);
    let subject = site.subject();
    assert_eq!(subject.value(RUNNING), Some(1), "{subject:?}");
    assert!(
        subject.why.contains("still frozen after a snapshot"),
        "{}",
        subject.why
    );
    let refused = |event: &&part::report::Event| {
        event
            .to
            .contains("could not be thawed: the guest agent refused")
    };
    assert!(
        subject.events.iter().any(|event| refused(&event)),
        "{subject:?}"
    );
    assert_eq!(
        site.ask(1, Stand::Look).state,
        StandstillProgress::GoesOn,
        "no success"
    );

    site.agent.stays_frozen.store(false, Ordering::SeqCst);
    site.becomes(1, StandstillProgress::Over);
    site.until("thawed", |site| site.subject().state.grade == Grade::Good);
    assert_eq!(site.subject().why, "");
}

#[test]
fn a_guest_goes_on_when_the_role_is_killed_or_stopped_and_the_next_one_thaws_it() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = StandstillFixture::new(false);
    site.stands(1);
    // The role is killed.
    let kept = site.role.kept();
    site.role = begin(site.scratch.path(), Some(&kept));
    site.thawed();
    site.runs();
    let end = site.ask(1, Stand::End);
    assert_eq!(end.state, StandstillProgress::Refused);
    assert_eq!(end.words, "the guest role was restarted meanwhile");
    // The role is stopped in an orderly way: when it has ended, nothing is left to be done.
    site.stands(2);
    site.role.end();
    assert_eq!(site.agent.told(), [FREEZE, THAW, FREEZE, THAW]);
    assert!(!site.scratch.path().join("guest-mail/frozen").exists());
    assert_eq!(site.subject().value(RUNNING), Some(1));
}

#[test]
fn a_guest_continues_if_the_command_does_not_return() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = StandstillFixture::new(false);
    site.stands(1);
    let stood = site.becomes(1, StandstillProgress::Refused);
    assert!(stood.words.contains("longer than 10 s"), "{}", stood.words);
    site.runs();
    site.thawed();
    assert_eq!(site.ask(1, Stand::End).state, StandstillProgress::Refused);
}

#[test]
fn a_stop_takes_precedence_over_a_snapshot() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = StandstillFixture::new(false);
    site.stands(1);
    site.stop();
    site.until("down", |site| site.subject().state.word == "down");
    let stood = site.ask(1, Stand::End);
    assert_eq!(stood.state, StandstillProgress::Refused);
    assert!(!site.scratch.path().join("guest-mail/frozen").exists());

    assert!(site.stands(2).is_down);
    let name = NAME.to_owned();
    assert!(site.role.order(&GuestOrder::Start { name }).good);
    assert_eq!(site.subject().value("process"), Some(0));
    assert_eq!(site.ask(2, Stand::Look).state, StandstillProgress::Stands);
    let ended = site.ask(2, Stand::End);
    assert_ne!(ended.state, StandstillProgress::Refused, "{}", ended.words);
    site.runs();
}

#[test]
fn a_guest_without_agent_is_paused_and_an_unknown_one_refused() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let scratch = ScratchDirectory::new().unwrap();
    let role = begin(scratch.path(), None);
    let agent = Agent::default();
    let mut site = StandstillFixture {
        scratch,
        role,
        agent,
    };
    let early = site.ask(1, Stand::Begin);
    assert!(
        early.words.contains("neither runs nor is down"),
        "{}",
        early.words
    );
    site.runs();
    let stood = site.stands(2);
    let words = "the guest agent does not respond".to_owned();
    assert_eq!(stood.not_frozen, Some(words));
    site.ask(2, Stand::End);
    site.becomes(2, StandstillProgress::Over);
    site.runs();
    let name = "web".to_owned();
    let step = Stand::Begin;
    let stood = site.role.stand(&StandstillRequest {
        name,
        number: 3,
        step,
    });
    assert_eq!(stood.words, "the served configuration has no guest 'web'");
}
