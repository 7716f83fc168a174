//! Provides a control role that a test plays: the supervisor starts the test binary as the control
//! role, which hands its channel over to the test. Also provides a machine that is a cluster
//! member.

use crate::harness::{PATIENCE, evenkeel};
use crate::supervised::Supervised;
use cluster::file_set::{FileSet, SetFile};
use cluster::member::{MemberId, MemberKind};
use cluster::role::directory::{LocalMember, StateDirectory};
use lab::ScratchDirectory;
use part::role::{Decoded, Header, SupervisorMessage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

/// Environment variable with the path at which the test waits for the channel.
const PLACE: &str = "EVENKEEL_TEST_CONTROL";
const PACKET_BYTES_MAX: usize = 128 * 1024;

/// Registers [`before_main`] to run before the test harness, which would parse the arguments.
#[used]
// SAFETY: the section holds pointers to functions like this one, which the C library
// calls before main.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    let line = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    if words.get(1..3) != Some(&[b"internal", b"control-role"]) {
        return;
    }
    let number = words.get(3).and_then(|word| std::str::from_utf8(word).ok());
    let number = number.and_then(|word| word.parse().ok()).unwrap_or(-1);
    let handed = std::env::var_os(PLACE).and_then(|path| hand_over(&path.into(), number));
    std::process::exit(i32::from(handed.is_none()));
}

/// Passes the channel to the test, then lives until the test closes the connection.
fn hand_over(path: &PathBuf, number: i32) -> Option<()> {
    let mut stream = UnixStream::connect(path).ok()?;
    // SAFETY: the supervisor opened it for this process.
    let channel = unsafe { BorrowedFd::borrow_raw(number) };
    let pid = std::process::id().to_le_bytes();
    send_bytes(stream.as_fd(), &pid, &[channel]);
    let _ = stream.read(&mut [0]);
    Some(())
}

fn send_bytes(to: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(
        to,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .unwrap();
}

fn receive_bytes(from: BorrowedFd<'_>) -> (Vec<u8>, Vec<OwnedFd>) {
    let ten_s = Timespec {
        tv_sec: PATIENCE.as_secs().try_into().unwrap(),
        tv_nsec: 0,
    };
    let mut watched = [PollFd::from_borrowed_fd(from, PollFlags::IN)];
    let ready = poll(&mut watched, Some(&ten_s)).unwrap();
    assert!(ready > 0, "nothing was said");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; PACKET_BYTES_MAX];
    let mut into = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(from, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    bytes.truncate(received.bytes);
    (bytes, descriptors)
}

pub struct TestControlRole {
    _stream: UnixStream,
    channel: OwnedFd,
    pub pid: i32,
    asks: u64,
    pub news: Vec<SupervisorMessage>,
}

impl TestControlRole {
    fn accept(listener: &UnixListener) -> TestControlRole {
        let mut watched = [PollFd::new(listener, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: PATIENCE.as_secs().try_into().unwrap(),
            tv_nsec: 0,
        };
        assert!(
            poll(&mut watched, Some(&limit)).unwrap() > 0,
            "no control role"
        );
        let (stream, _) = listener.accept().unwrap();
        let (pid, descriptors) = receive_bytes(stream.as_fd());
        let mut control = TestControlRole {
            _stream: stream,
            channel: descriptors.into_iter().next().unwrap(),
            pid: i32::from_le_bytes(pid.try_into().unwrap()),
            asks: 0,
            news: Vec::new(),
        };
        let (first, _, _) = control.receive();
        assert!(matches!(first, SupervisorMessage::Take(_)), "{first:?}");
        control
    }

    fn receive(&mut self) -> (SupervisorMessage, u64, Vec<OwnedFd>) {
        let (bytes, descriptors) = receive_bytes(self.channel.as_fd());
        assert!(!bytes.is_empty(), "the supervisor has gone");
        let ask = Header::decode(&bytes).unwrap().ask;
        match SupervisorMessage::decode(&bytes).unwrap() {
            Decoded::Message(message) => (message, ask, descriptors),
            Decoded::Unknown(kind) => panic!("a message of kind {kind}"),
        }
    }

    pub fn say(&mut self, message: &SupervisorMessage, set: Option<&FileSet>) {
        self.say_numbered(0, message, set);
    }

    fn say_numbered(&mut self, ask: u64, message: &SupervisorMessage, set: Option<&FileSet>) {
        let set = set.map(sealed);
        let descriptors: Vec<BorrowedFd<'_>> = set.iter().map(AsFd::as_fd).collect();
        let bytes = message.encode(ask, descriptors.len());
        send_bytes(self.channel.as_fd(), &bytes, &descriptors);
    }

    /// Sends a request without waiting for the response.
    pub fn begin(&mut self, message: &SupervisorMessage, set: Option<&FileSet>) -> u64 {
        self.asks += 1;
        self.say_numbered(self.asks, message, set);
        self.asks
    }

    fn answer(
        &mut self,
        message: &SupervisorMessage,
        set: Option<&FileSet>,
    ) -> (SupervisorMessage, Vec<OwnedFd>) {
        let asked = self.begin(message, set);
        loop {
            let (message, ask, descriptors) = self.receive();
            if ask == asked {
                return (message, descriptors);
            } else {
                self.news.push(message)
            }
        }
    }

    pub fn ask(&mut self, message: &SupervisorMessage, set: Option<&FileSet>) -> (bool, String) {
        let (message, descriptors) = self.answer(message, set);
        let SupervisorMessage::Verdict { good, .. } = message else {
            panic!("no verdict: {message:?}");
        };
        (good, String::from_utf8(bytes_of(&descriptors[0])).unwrap())
    }

    pub fn check(&mut self, set: &FileSet) -> (bool, String) {
        self.ask(&SupervisorMessage::Check, Some(set))
    }

    pub fn serve(&mut self, set: &FileSet, trial: bool) -> (bool, String) {
        let operation = String::new();
        self.ask(&SupervisorMessage::Serve { trial, operation }, Some(set))
    }

    pub fn accept_set(&mut self) -> (bool, String) {
        self.ask(&SupervisorMessage::Accept, None)
    }

    pub fn revert(&mut self) -> (bool, String) {
        self.ask(&SupervisorMessage::Revert, None)
    }

    pub fn health(&mut self) -> Option<cluster::machine::Health> {
        let question = proxy::message::ProxyMessage::TellHealth.envelope();
        let (message, descriptors) =
            self.answer(&SupervisorMessage::Part(Box::new(question)), None);
        let known = matches!(
            message,
            SupervisorMessage::Answer { .. } | SupervisorMessage::Nobody { .. }
        );
        assert!(known, "{message:?}");
        let file = descriptors.first()?;
        Some(serde_json::from_slice(&bytes_of(file)).unwrap())
    }

    pub fn wait_for(
        &mut self,
        wanted: impl Fn(&SupervisorMessage) -> bool,
    ) -> (SupervisorMessage, Vec<OwnedFd>) {
        if let Some(at) = self.news.iter().position(&wanted) {
            return (self.news.remove(at), Vec::new());
        }
        loop {
            let (message, _, descriptors) = self.receive();
            if wanted(&message) {
                return (message, descriptors);
            }
            self.news.push(message);
        }
    }
}

fn sealed(set: &FileSet) -> OwnedFd {
    let file = memfd_create("a version", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    let bytes = set.encode();
    assert_eq!(rustix::io::write(&file, &bytes).unwrap(), bytes.len());
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    fcntl_add_seals(&file, seals).unwrap();
    file
}

fn bytes_of(file: &OwnedFd) -> Vec<u8> {
    let length = rustix::fs::fstat(file).unwrap().st_size;
    let mut bytes = vec![0; length.try_into().unwrap()];
    let read = rustix::io::pread(file, &mut bytes[..], 0).unwrap();
    assert_eq!(read, bytes.len());
    bytes
}

/// Returns a configuration version with one main file.
pub fn version(number: u64, text: &str) -> FileSet {
    FileSet {
        version: cluster::command::VersionId(number),
        label: format!("version {number}"),
        node: "one".to_owned(),
        files: vec![SetFile {
            path: "site.cfg".to_owned(),
            main: true,
            secret: false,
            mode: 0o644,
            bytes: text.as_bytes().to_vec(),
        }],
        listings: Vec::new(),
    }
}

pub struct MemberFixture {
    pub scratch: ScratchDirectory,
    listener: UnixListener,
    place: PathBuf,
}

impl MemberFixture {
    pub fn new(kind: MemberKind) -> MemberFixture {
        lab::enter_own_network();
        let scratch = ScratchDirectory::new().unwrap();
        let directory = StateDirectory::create(scratch.path().join("state")).unwrap();
        let who = LocalMember {
            cluster: "north".to_owned(),
            id: MemberId(1),
            name: "one".to_owned(),
            kind,
            listen: Vec::new(),
            addresses: Vec::new(),
            members: Vec::new(),
            moved: Default::default(),
        };
        directory.write_who(&who).unwrap();
        let place = scratch.path().join("control-of-the-test");
        let listener = UnixListener::bind(&place).unwrap();
        MemberFixture {
            scratch,
            listener,
            place,
        }
    }

    /// Stores a version as the accepted one.
    pub fn accepts(&self, set: &FileSet) {
        let directory = StateDirectory::open(self.scratch.path().join("state")).unwrap();
        directory.write_accepted(set).unwrap();
    }

    pub fn run(&self) -> Supervised {
        let own = std::env::current_exe().unwrap();
        let variables = [
            ("EVENKEEL_CONTROL_PROGRAM", own.to_str().unwrap()),
            (PLACE, self.place.to_str().unwrap()),
        ];
        let directory = self.scratch.path();
        Supervised::start_with(
            evenkeel(),
            directory,
            ["run", "--state", "state"],
            &variables,
        )
    }

    /// Waits for the next control role that the supervisor starts.
    pub fn control(&self) -> TestControlRole {
        TestControlRole::accept(&self.listener)
    }
}
