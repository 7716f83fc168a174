//! Tests that a new supervisor trusts an orphaned role only for its sockets: a compromised role
//! cannot choose the user of the next role, nor the path or content of a written file.

use crate::harness::{PATIENCE, evenkeel};
use crate::supervised::{Client, Supervised, answers, get, lives, origin, passes, roles_of};
use lab::{ScratchDirectory, eventually, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use part::role::{Decoded, Rights, SupervisorMessage, Take, VersionPlan};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, accept_with, bind, listen, recv, sendmsg, socket_with,
};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Environment variable for the test process that plays a role: the path of its directory.
const PLAYS: &str = "EVENKEEL_TEST_ROLE";

struct UntrustedRoleFixture {
    scratch: ScratchDirectory,
    port: u16,
}

impl UntrustedRoleFixture {
    fn new() -> UntrustedRoleFixture {
        let bed = UntrustedRoleFixture {
            scratch: ScratchDirectory::new().unwrap(),
            port: free_port().unwrap(),
        };
        bed.serve("one");
        bed
    }

    fn serve(&self, name: &'static str) {
        let pid_file = format!("    pidfile {}", self.path("pid").display());
        let text = passes(&pid_file, &[self.port], origin(name));
        self.scratch.write("a.cfg", text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn start(&self) -> Supervised {
        let supervised = Supervised::run(&self.scratch, "a.cfg");
        assert!(answers(self.port, "one"));
        supervised
    }

    /// Starts a role and kills its supervisor.
    fn orphan(&self) -> (Supervised, i32) {
        let first = self.start();
        let role = first.role().unwrap();
        first.signal(Signal::SIGKILL);
        assert!(eventually(PATIENCE, || !lives(first.pid.as_raw())));
        (first, role)
    }

    /// Returns the path of the file in which the supervisor stores its version.
    fn kept(&self) -> PathBuf {
        let entries = std::fs::read_dir(self.path("runtime")).unwrap().flatten();
        let mut paths = entries.map(|entry| entry.path());
        paths
            .find(|path| path.extension().is_some_and(|end| end == "kept"))
            .unwrap()
    }

    fn written_pid(&self) -> String {
        std::fs::read_to_string(self.path("pid")).unwrap_or_default()
    }
}

#[test]
fn stored_state_is_private_and_removed_at_the_end() {
    let bed = UntrustedRoleFixture::new();
    let supervised = bed.start();
    let first = std::fs::metadata(bed.kept()).unwrap();
    assert_eq!(first.permissions().mode() & 0o7777, 0o600);
    // The text of the configuration may contain passwords.
    let stored = std::fs::read(bed.kept()).unwrap();
    let text = std::fs::read(bed.path("a.cfg")).unwrap();
    for line in text.split(|b| *b == b'\n').filter(|line| line.len() > 8) {
        let is_stored = stored.windows(line.len()).any(|part| part == line);
        assert!(!is_stored, "{}", String::from_utf8_lossy(line));
    }
    bed.serve("two");
    assert_eq!(supervised.reload().code(), Some(0));
    let second = std::fs::metadata(bed.kept()).unwrap();
    assert_ne!(first.ino(), second.ino(), "written beside and renamed");
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
    assert_eq!(Supervised::left_behind(bed.scratch.path()), 0);
}

#[test]
fn without_stored_state_the_role_keeps_serving_and_files_are_read() {
    type Spoil<'s> = (&'s str, &'s dyn Fn(&Path));
    let spoil: [Spoil<'_>; 3] = [
        ("No such file", &|path| std::fs::remove_file(path).unwrap()),
        ("other users could have", &|path| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
        }),
        ("it is incomplete", &|path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, [&bytes[..], b"x"].concat()).unwrap();
        }),
    ];
    for (said, spoil) in spoil {
        let bed = UntrustedRoleFixture::new();
        let (_first, role) = bed.orphan();
        let mut client = Client::new(bed.port).unwrap();
        assert_eq!(client.get().as_deref(), Some("one"));
        spoil(&bed.kept());
        bed.serve("two");
        let second = Supervised::run(&bed.scratch, "a.cfg");
        assert!(answers(bed.port, "two"));
        assert_eq!(client.get().as_deref(), Some("two"), "the same connection");
        let pid = second.pid.to_string();
        assert!(eventually(PATIENCE, || bed.written_pid().trim() == pid));
        // A supervisor works as usual, whatever the other one did.
        bed.serve("three");
        let outcome = second.reload();
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        assert_eq!(client.get().as_deref(), Some("three"));
        assert_eq!(roles_of(bed.scratch.path()), [role], "the same process");
        kill(Pid::from_raw(role), Signal::SIGKILL).unwrap();
        assert!(answers(bed.port, "three"));
        let outcome = second.end(Signal::SIGTERM);
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
        assert_eq!(Supervised::left_behind(bed.scratch.path()), 0);
    }
}

#[test]
fn without_stored_state_a_bad_file_does_not_end_the_role() {
    let bed = UntrustedRoleFixture::new();
    let (_first, role) = bed.orphan();
    std::fs::remove_file(bed.kept()).unwrap();
    let good = std::fs::read(bed.path("a.cfg")).unwrap();
    bed.scratch.write("a.cfg", "nonsense\n").unwrap();
    let second = Supervised::run(&bed.scratch, "a.cfg");
    assert!(eventually(PATIENCE, || {
        second.reload().stderr.contains("nothing was changed")
    }));
    assert_eq!(get(bed.port).as_deref(), Some("one"));
    bed.scratch.write("a.cfg", &good).unwrap();
    let outcome = second.reload();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert_eq!(roles_of(bed.scratch.path()), [role]);
    assert_eq!(second.end(Signal::SIGTERM).code(), Some(0));
    assert!(eventually(PATIENCE, || !lives(role)));
}

#[test]
fn role_dying_before_its_version_is_known_restarts_from_files() {
    let bed = UntrustedRoleFixture::new();
    let (_first, role) = bed.orphan();
    std::fs::remove_file(bed.kept()).unwrap();
    let good = std::fs::read(bed.path("a.cfg")).unwrap();
    bed.scratch.write("a.cfg", "nonsense\n").unwrap();
    let second = Supervised::run(&bed.scratch, "a.cfg");
    assert!(eventually(PATIENCE, || {
        second.reload().stderr.contains("nothing was changed")
    }));
    bed.scratch.write("a.cfg", &good).unwrap();
    kill(Pid::from_raw(role), Signal::SIGKILL).unwrap();
    assert!(answers(bed.port, "one"));
    assert_eq!(second.reload().code(), Some(0));
    assert_eq!(second.end(Signal::SIGTERM).code(), Some(0));
    assert_eq!(Supervised::left_behind(bed.scratch.path()), 0);
}

/// Starts a compromised role as a separate process.
fn hostile(bed: &UntrustedRoleFixture) -> std::process::Child {
    let name = "distrust::acts_as_a_compromised_role";
    lab::with_default_signals(&mut Command::new(std::env::current_exe().unwrap()))
        .args(["--exact", name, "--nocapture"])
        .env(PLAYS, bed.scratch.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn compromised_role_chooses_no_path_privileges_or_bundle() {
    let bed = UntrustedRoleFixture::new();
    let runtime = bed.path("runtime");
    std::fs::create_dir(&runtime).unwrap();
    std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(0o700)).unwrap();
    let precious = bed.path("precious");
    std::fs::write(&precious, "as it was").unwrap();
    let mut role = hostile(&bed);
    let there = || runtime.join("999999.role").exists();
    assert!(eventually(PATIENCE, there));
    let second = Supervised::run(&bed.scratch, "a.cfg");
    let asked = || bed.path("asked").exists();
    assert!(eventually(PATIENCE, asked), "it was found and asked");
    // After the end of the compromised role, a role of ours serves the files.
    let _ = role.kill();
    role.wait().unwrap();
    assert!(answers(bed.port, "one"));
    assert_eq!(std::fs::read(&precious).unwrap(), b"as it was");
    assert_eq!(bed.written_pid().trim(), second.pid.to_string());
    let outcome = second.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("reading the files again"),
        "{}",
        outcome.stderr
    );
}

/// Returns a message in which the role requests to run as root.
fn wished(scratch: &Path) -> Take {
    use std::os::unix::ffi::OsStrExt;
    Take {
        version: u64::MAX,
        plan: VersionPlan {
            rights: Rights {
                uid: Some(0),
                capabilities: u64::MAX,
                ..Rights::default()
            },
            pid_file: Some(scratch.join("precious").as_os_str().as_bytes().to_vec()),
            files_max: 7,
            listeners: 1,
            ..VersionPlan::default()
        },
        ..Take::default()
    }
}

/// Runs only as a process of a test above.
#[test]
fn acts_as_a_compromised_role() {
    let Some(scratch) = std::env::var_os(PLAYS).map(PathBuf::from) else {
        return;
    };
    let runtime = scratch.join("runtime");
    let network = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
    let listing = format!(
        "pid 999999\nprogram evenkeel\nnetwork {network}\nfile {}\n",
        scratch.join("a.cfg").display()
    );
    std::fs::write(runtime.join("999999.role-of"), listing).unwrap();
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    let beside = runtime.join(".begins");
    bind(&socket, &SocketAddrUnix::new(&beside).unwrap()).unwrap();
    listen(&socket, 4).unwrap();
    std::fs::rename(&beside, runtime.join("999999.role")).unwrap();
    let supervisor = accept_with(&socket, flags).unwrap();
    send(
        &supervisor,
        &SupervisorMessage::Alone { version: u64::MAX },
        &[],
    );
    let mut bytes = vec![0; 1 << 17];
    loop {
        let (length, _) = recv(&supervisor, &mut bytes[..], RecvFlags::empty()).unwrap();
        match SupervisorMessage::decode(&bytes[..length]) {
            _ if length == 0 => return,
            Ok(Decoded::Message(SupervisorMessage::GiveVersion)) => {
                let bundle: OwnedFd = std::fs::File::open("/").unwrap().into();
                let listener: OwnedFd = TcpListener::bind("127.0.0.1:0").unwrap().into();
                let take = Box::new(wished(&scratch));
                // An invalid state that was not requested.
                let state = SupervisorMessage::State {
                    rest: false,
                    asked: true,
                };
                for _ in 0..3 {
                    send(
                        &supervisor,
                        &state,
                        &[std::fs::File::open("/").unwrap().into()],
                    );
                }
                send(
                    &supervisor,
                    &SupervisorMessage::Version(take),
                    &[bundle, listener],
                );
                std::fs::write(scratch.join("asked"), "").unwrap();
            }
            _ => {}
        }
    }
}

fn send(socket: &OwnedFd, message: &SupervisorMessage, descriptors: &[OwnedFd]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    if !borrowed.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
    }
    let bytes = message.encode(0, descriptors.len());
    let from = [IoSlice::new(&bytes)];
    sendmsg(socket, &from, &mut control, SendFlags::NOSIGNAL).unwrap();
}

#[test]
fn signalled_adopted_role_ends_its_supervisor() {
    for (signal, code) in [(Signal::SIGTERM, 0), (Signal::SIGINT, 130)] {
        let bed = UntrustedRoleFixture::new();
        let (_first, role) = bed.orphan();
        let second = Supervised::run(&bed.scratch, "a.cfg");
        assert!(eventually(PATIENCE, || second.reload().code() == Some(0)));
        kill(Pid::from_raw(role), signal).unwrap();
        let outcome = second.finish();
        assert_eq!(outcome.code(), Some(code), "{}", outcome.stderr);
        assert!(Client::new(bed.port).is_none());
        let other = || roles_of(bed.scratch.path()).is_empty();
        assert!(eventually(PATIENCE, other));
        // Repeats this with a role that is a child of its supervisor.
        let third = Supervised::start(evenkeel(), bed.scratch.path(), ["run", "-f", "a.cfg"]);
        assert!(answers(bed.port, "one"));
        kill(Pid::from_raw(third.role().unwrap()), signal).unwrap();
        assert_eq!(third.finish().code(), Some(code));
    }
}
