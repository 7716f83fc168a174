//! Runs an address role in a process of its own: this test binary, started again. The process
//! connects to the test's Unix socket, receives one order per line, and sends one event per line.

use crate::scene::LATEST;
use address::config::Config;
use address::role::{
    Dump, KeptState, Lease, Level, Notification, OrderChannel, RoleInputs, RoleOrder, run,
};
use part::role::{MemberNews, VersionStanding};
use std::cell::RefCell;
use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;

/// Variable with the path of the test's socket.
pub const SOCKET: &str = "EVENKEEL_TEST_ROLE_SOCKET";

/// Variable with the path of the role's state file.
pub const STATE: &str = "EVENKEEL_TEST_ROLE_STATE";

/// Variable with the directory for dumps.
pub const DUMPS: &str = "EVENKEEL_TEST_ROLE_DUMPS";

/// Variable with the path of the stall file. While that file exists, the loop blocks where it would
/// wait for the kernel: after the request that adds addresses.
pub const STALL: &str = "EVENKEEL_TEST_ROLE_STALL";

/// Variable with the path of the heartbeat memory, if there is one.
pub const VITALS: &str = "EVENKEEL_TEST_ROLE_VITALS";

struct LineOrderChannel {
    stream: UnixStream,
    bytes: Vec<u8>,
    write: Rc<RefCell<UnixStream>>,
}

fn say(write: &Rc<RefCell<UnixStream>>, line: &str) {
    let mut write = write.borrow_mut();
    let _ = write.write_all(line.replace('\n', " ").as_bytes());
    let _ = write.write_all(b"\n");
}

/// Parses a lease's name and expiry; empty for an empty line.
fn held(line: &str) -> Vec<Lease> {
    let lease = line.split_once(' ').map(|(name, until_ns)| Lease {
        name: name.to_owned(),
        until_ns: until_ns.parse().unwrap(),
        is_inherited: false,
    });
    lease.into_iter().collect()
}

impl OrderChannel for LineOrderChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    fn next(&mut self) -> Option<RoleOrder> {
        let mut buffer = [0; 65536];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Some(RoleOrder::Left),
            Ok(n) => self.bytes.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        let end = self.bytes.iter().position(|b| *b == b'\n')?;
        let line: Vec<u8> = self.bytes.drain(..=end).collect();
        let line = String::from_utf8(line).unwrap();
        let (word, rest) = line
            .trim_end()
            .split_once(' ')
            .unwrap_or((line.trim_end(), ""));
        Some(match word {
            "take" => RoleOrder::Take(Box::new(Config::decode(rest.as_bytes()).unwrap())),
            "stop" => RoleOrder::Stop {
                release: true,
                stays: false,
            },
            "leave" => RoleOrder::Stop {
                release: false,
                stays: false,
            },
            "status" => RoleOrder::Status,
            "hand-over" => RoleOrder::HandOver {
                name: Some(rest.to_owned()),
                drain: None,
            },
            "hold" => RoleOrder::Hold(held(rest)),
            "member" => RoleOrder::Member(MemberNews {
                version: match rest {
                    "current" => VersionStanding::Current,
                    "removed" => VersionStanding::Removed,
                    other => panic!("{other}"),
                },
                until_ns: u64::MAX,
                ..MemberNews::default()
            }),
            "hand-over-lease" => RoleOrder::HandOverLease(rest.to_owned()),
            "data" => RoleOrder::Dump(Dump::Data),
            "stats" => RoleOrder::Dump(Dump::Statistics),
            "json" => RoleOrder::Dump(Dump::Json),
            other => panic!("{other}"),
        })
    }

    fn send_notification(&mut self, told: Notification) {
        let line = match told {
            Notification::Ready => "ready".to_owned(),
            Notification::Taken => "taken".to_owned(),
            Notification::Stopped => "stopped".to_owned(),
            Notification::Report(report) => {
                format!("report {}", serde_json::to_string(&report).unwrap())
            }
            Notification::Changed { name, event } => {
                format!("changed {name} {} {}", event.to, event.why)
            }
            Notification::Dumped(path) => format!("dumped {}", path.display()),
            other => format!("{other:?}"),
        };
        say(&self.write, &line);
    }
}

/// Does nothing unless another test started the process as a role.
#[test]
fn this_process_is_a_role_when_it_was_started_as_one() {
    let Ok(socket) = env::var(SOCKET) else {
        return;
    };
    let mut stream = UnixStream::connect(socket).unwrap();
    let mut first = String::new();
    // Read byte by byte: the bytes after the first line are orders.
    let mut byte = [0];
    while stream.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        first.push(byte[0] as char);
    }
    let config = Config::decode(first.as_bytes()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let write = stream.try_clone().unwrap();
    let write = Rc::new(RefCell::new(write));
    let log_to = Rc::clone(&write);
    let stall = env::var(STALL).unwrap();
    let state = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(env::var(STATE).unwrap())
        .unwrap();
    let given = RoleInputs {
        orders: Box::new(LineOrderChannel {
            stream,
            bytes: Vec::new(),
            write,
        }),
        log: Box::new(move |level: Level, line: &str| {
            say(&log_to, &format!("log {level:?} {line}"));
            if line.contains("setting VIPs") {
                assert!(lab::eventually(LATEST, || !Path::new(&stall).exists()));
            }
        }),
        stored_state: KeptState::read(state.as_fd()),
        keep: Some(OwnedFd::from(state)),
        vitals: env::var(VITALS).ok().map(|path| {
            let file = File::options().read(true).write(true).open(path);
            OwnedFd::from(file.unwrap())
        }),
        dump_directory: env::var(DUMPS).unwrap().into(),
    };
    run(config, given).unwrap();
}

pub fn lines(stream: UnixStream) -> impl Iterator<Item = String> {
    BufReader::new(stream).lines().map_while(Result::ok)
}
