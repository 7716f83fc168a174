//! Tests guests on one machine with the real QEMU: what happens when they, or their role, end. The
//! guests have no operating system: their firmware keeps looking for something to boot.

use guest::config::{Check, Console, Guest, Guests, Probe};
use guest::message::GuestOrder;
use guest::role::report::{CHECK, GUEST, RUNNING};
use guest::role::{GuestRole, RoleEnvironment};
use lab::{ScratchDirectory, eventually};
use part::codec;
use part::report::{Grade, Subject};
use part::role::{VOLUME_SOCKET, VolumeNews, VolumeState, volume_directory};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::Permissions;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

fn guest(stop_ms: u64) -> Guest {
    Guest {
        console: Console::Serial,
        stop_ms,
        ..Guest::plain(32 << 20)
    }
}

fn payload(all: &[(&str, Guest)]) -> Vec<u8> {
    let guests = all
        .iter()
        .map(|(name, guest)| ((*name).to_owned(), guest.clone()));
    codec::encode(&Guests {
        guests: guests.collect(),
        ..Guests::default()
    })
}

struct RoleFixture {
    scratch: ScratchDirectory,
    role: GuestRole,
}

impl RoleFixture {
    fn new(payload: &[u8]) -> RoleFixture {
        let scratch = ScratchDirectory::new().unwrap();
        let role = begin(scratch.path(), "qemu-system-x86_64", payload, None);
        RoleFixture { scratch, role }
    }

    /// Kills the role, and starts the next one.
    fn again(&mut self, payload: &[u8]) {
        let kept = self.role.kept();
        self.role = begin(
            self.scratch.path(),
            "qemu-system-x86_64",
            payload,
            Some(&kept),
        );
    }

    fn subject(&self, name: &str) -> Option<Subject> {
        self.role.report().find(GUEST, name).cloned()
    }

    #[track_caller]
    fn until(&mut self, what: &str, is: impl Fn(&RoleFixture) -> bool) {
        let reached = eventually(PATIENCE, || {
            self.role.turn();
            is(self)
        });
        assert!(reached, "{what}: {:#?}", self.role.report());
    }

    #[track_caller]
    fn runs(&mut self, name: &str) -> u64 {
        self.until("runs", |site| {
            site.subject(name)
                .is_some_and(|one| one.value(RUNNING) == Some(1))
        });
        self.subject(name)
            .and_then(|one| one.value("process"))
            .unwrap()
    }

    #[track_caller]
    fn becomes(&mut self, name: &str, state: &str) {
        self.until(state, |site| {
            site.subject(name)
                .is_some_and(|one| one.state.word == state)
        });
    }

    fn stop(&mut self, kills: bool) {
        let name = "mail".to_owned();
        let answer = self.role.order(&GuestOrder::Stop { name, kills });
        assert!(answer.good, "{}", answer.words);
    }
}

impl Drop for RoleFixture {
    fn drop(&mut self) {
        for subject in self.role.report().subjects {
            let pid = subject
                .value("process")
                .and_then(|pid| i32::try_from(pid).ok());
            if let Some(pid) = pid.and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

fn begin(runtime: &Path, program: &str, payload: &[u8], kept: Option<&[u8]>) -> GuestRole {
    let directories = ["/usr/bin", "/usr/local/bin", "/bin"];
    let paths = directories.map(|directory| Path::new(directory).join(program));
    let found = paths.iter().find(|path| path.exists());
    let place = RoleEnvironment {
        runtime: runtime.to_owned(),
        program: found.cloned().unwrap_or_else(|| program.into()),
        confine: None,
        has_kvm: false,
        move_bandwidth: 0,
        groups: None,
        claimed: std::collections::BTreeSet::new(),
        commands: "/nonexistent".into(),
    };
    GuestRole::new(place, payload, kept).unwrap()
}

fn signal(pid: u64, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn kill(pid: u64) {
    signal(pid, Signal::KILL);
}

#[test]
fn a_guest_is_found_by_the_next_role_and_started_again_if_its_qemu_is_killed() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let payload = payload(&[("mail", guest(60_000)), ("web", guest(60_000))]);
    let mut site = RoleFixture::new(&payload);
    let (mail, web) = (site.runs("mail"), site.runs("web"));
    site.again(&payload);
    assert_eq!((site.runs("mail"), site.runs("web")), (mail, web));
    kill(mail);
    site.until("ended", |site| {
        site.subject("mail")
            .is_some_and(|one| one.value("process") == Some(0))
    });
    let told = site.subject("mail").unwrap();
    assert!(told.why.contains("signal 9"), "{}", told.why);
    assert_ne!(site.runs("mail"), mail);
    assert_eq!(site.runs("web"), web);
}

fn status(pid: u64, field: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap().trim_start_matches(':').trim().to_owned()
}

/// Returns whether a process of this user, in the directory of its guest, can connect to a socket.
fn connects(user: u32, home: &Path, socket: &Path) -> bool {
    let socket = socket.to_owned();
    let mut command = Command::new("true");
    command.uid(user).gid(user).current_dir(home);
    // SAFETY: the child has one thread, and the allocator's lock is free in it.
    unsafe {
        command.pre_exec(move || UnixStream::connect(&socket).map(drop));
    }
    command.status().is_ok()
}

#[test]
fn the_qemu_of_a_guest_is_a_user_of_its_own_and_reaches_nothing_of_others() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_root!();
    let payload = payload(&[("mail", guest(60_000)), ("web", guest(60_000))]);
    let mut site = RoleFixture::new(&payload);
    // The same path as the supervisor passes.
    let runtime = site.scratch.path().to_owned();
    std::fs::set_permissions(&runtime, Permissions::from_mode(0o700)).unwrap();
    let pids = [site.runs("mail"), site.runs("web")];
    let users = pids.map(|pid| {
        let ids = status(pid, "Uid");
        let mut ids = ids.split_whitespace().map(|id| id.parse::<u32>().unwrap());
        let user = ids.next().unwrap();
        assert!(user > 60_000 && ids.all(|id| id == user), "{user}");
        assert_eq!(status(pid, "Gid"), status(pid, "Uid"));
        assert_eq!(status(pid, "Groups"), user.to_string());
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status(pid, set), "0000000000000000", "{set}");
        }
        assert_eq!(status(pid, "NoNewPrivs"), "1");
        assert_eq!(status(pid, "Seccomp"), "2");
        let network = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        assert_ne!(network(&pid.to_string()), network("self"));
        user
    });
    assert_ne!(users[0], users[1]);
    let monitor = runtime.join("guest-web/monitor.sock");
    assert!(UnixStream::connect(&monitor).is_ok(), "root does");
    let home = runtime.join("guest-mail");
    let others = ["guest-web/monitor.sock", "guest-mail/monitor.sock"];
    for socket in others.map(|socket| runtime.join(socket)) {
        assert!(!connects(users[0], &home, &socket), "{}", socket.display());
    }
    for socket in ["monitor.sock", "../guest-web/monitor.sock"] {
        assert!(!connects(users[0], &home, Path::new(socket)), "{socket}");
    }
    // The next start uses the same directory and user.
    kill(pids[0]);
    let process = |site: &RoleFixture| site.subject("mail").and_then(|one| one.value("process"));
    site.until("ended", |site| process(site) == Some(0));
    let again = site.runs("mail");
    assert_eq!(
        status(again, "Uid").split_whitespace().next(),
        Some(&*users[0].to_string())
    );
}

#[test]
fn a_qemu_whose_lock_or_directory_was_removed_ends_before_another_one_starts() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let payload = payload(&[("mail", guest(60_000))]);
    let mut site = RoleFixture::new(&payload);
    let mut before = site.runs("mail");
    let home = site.scratch.path().join("guest-mail");
    for is_whole in [false, true] {
        if is_whole {
            std::fs::remove_dir_all(&home).unwrap()
        } else {
            std::fs::remove_file(home.join("lock")).unwrap()
        }
        site.again(&payload);
        assert!(!is_alive(before), "nobody can end it any more");
        let after = site.runs("mail");
        assert_ne!(after, before);
        let told = site.subject("mail").unwrap();
        let words: Vec<&str> = told.events.iter().map(|event| &*event.to).collect();
        let lost = format!("its QEMU, process {before}, has lost its lock file: killed");
        assert!(words.contains(&&*lost), "{words:?}");
        before = after;
    }
    // The same while the runtime directory itself is missing.
    std::fs::remove_dir_all(site.scratch.path()).unwrap();
    site.again(&payload);
    assert!(!is_alive(before), "another node may have started the guest");
}

#[test]
fn a_forged_lock_affects_no_other_process() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let payload = payload(&[("mail", guest(60_000))]);
    let mut site = RoleFixture::new(&payload);
    let pid = site.runs("mail");
    let mut victim = Command::new("sleep").arg("1000").spawn().unwrap();
    let lock = site.scratch.path().join("guest-mail/lock");
    std::fs::write(lock, victim.id().to_string()).unwrap();
    site.again(&payload);
    assert_eq!(site.runs("mail"), pid);
    site.stop(true);
    site.until("stopped", |site| {
        site.subject("mail").and_then(|one| one.value("process")) == Some(0)
    });
    assert!(!is_alive(pid) && is_alive(victim.id().into()));
    victim.kill().unwrap();
    victim.wait().unwrap();
}

#[test]
fn a_qemu_that_does_not_respond_is_reported_until_it_does() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = RoleFixture::new(&payload(&[("mail", guest(60_000))]));
    let pid = site.runs("mail");
    let says = |site: &RoleFixture| site.subject("mail").unwrap().why.contains("not responded");
    let held = SuspendedThread::new(pid);
    site.until("silent", says);
    drop(held);
    site.until("well again", |site| !says(site));
    assert_eq!(site.runs("mail"), pid);
}

/// Suspends the main thread of a process until it is dropped. The process does not count as stopped
/// by a signal, which the role would end.
struct SuspendedThread(libc::pid_t);

impl SuspendedThread {
    fn new(pid: u64) -> SuspendedThread {
        let pid = libc::pid_t::try_from(pid).unwrap();
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: these requests read and write no memory of this process.
        let done = unsafe {
            libc::ptrace(libc::PTRACE_SEIZE, pid, none, none) == 0
                && libc::ptrace(libc::PTRACE_INTERRUPT, pid, none, none) == 0
        };
        assert!(done, "{}", std::io::Error::last_os_error());
        let mut status = 0;
        // SAFETY: the status is an integer of this function.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        assert_eq!(waited, pid, "it has stopped");
        SuspendedThread(pid)
    }
}

impl Drop for SuspendedThread {
    fn drop(&mut self) {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: the request reads and writes no memory of this process.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, none, none) };
    }
}

/// Returns whether a process exists and has not ended.
fn is_alive(pid: u64) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = text
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

#[test]
fn a_stopped_guest_stays_so_for_the_next_role_until_it_is_started() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    // The guest has no operating system, so it ignores the power button.
    let payload = payload(&[("mail", guest(1))]);
    let mut site = RoleFixture::new(&payload);
    site.runs("mail");
    site.stop(false);
    site.becomes("mail", "down");
    site.again(&payload);
    site.becomes("mail", "down");
    let why = site.subject("mail").unwrap().why;
    assert!(why.contains("an operator stopped it"), "{why}");
    let answer = site.role.order(&GuestOrder::Start {
        name: "mail".to_owned(),
    });
    assert!(answer.good, "{}", answer.words);
    site.runs("mail");
    site.stop(true);
    site.becomes("mail", "down");
    let answer = site.role.order(&GuestOrder::Start {
        name: "web".to_owned(),
    });
    assert!(
        answer.words.contains("has no guest 'web'"),
        "{}",
        answer.words
    );
}

#[test]
fn a_guest_whose_section_is_gone_shuts_down_and_leaves_nothing() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let both = payload(&[("mail", guest(1)), ("web", guest(1))]);
    let mut site = RoleFixture::new(&both);
    let web = site.runs("web");
    site.runs("mail");
    let one = payload(&[("web", guest(1))]);
    site.role.change(&one).unwrap();
    // The default shutdown time applies.
    site.stop_gone();
    site.until("gone", |site| site.subject("mail").is_none());
    assert!(!site.scratch.path().join("guest-mail").exists());
    assert_eq!(site.runs("web"), web);
}

impl RoleFixture {
    fn stop_gone(&mut self) {
        let name = "mail".to_owned();
        let answer = self.role.order(&GuestOrder::Stop { name, kills: true });
        // The power button, which was pressed when the section was removed, may have ended the
        // guest already.
        let is_gone = self.subject("mail").is_none();
        assert!(answer.good || is_gone, "{}", answer.words);
    }
}

#[test]
fn a_guest_that_cannot_start_is_left_stopped_with_the_reason() {
    let scratch = ScratchDirectory::new().unwrap();
    let payload = payload(&[("mail", guest(1))]);
    let role = begin(scratch.path(), "no-such-qemu", &payload, None);
    let mut site = RoleFixture { scratch, role };
    site.becomes("mail", "failed");
    let why = site.subject("mail").unwrap().why;
    assert!(why.contains("no-such-qemu is not installed"), "{why}");
    assert!(
        why.contains("`evenkeel guest start mail` tries again"),
        "{why}"
    );
}

#[test]
fn a_fake_qemu_is_not_a_guest() {
    let scratch = ScratchDirectory::new().unwrap();
    let payload = payload(&[("mail", guest(1))]);
    // The program `true`, in place of QEMU, exits at once without a message.
    let role = begin(scratch.path(), "true", &payload, None);
    let mut site = RoleFixture { scratch, role };
    site.becomes("mail", "failed");
    let why = site.subject("mail").unwrap().why;
    assert!(why.contains("ended with exit code 0"), "{why}");
}

/// Returns a guest with a check. It has no operating system, so something on this machine has to
/// respond instead.
fn checked(at: SocketAddr, restarts: bool) -> Guest {
    Guest {
        check: Some(Check {
            probe: Probe::Tcp {
                at: at.ip(),
                port: at.port(),
            },
            inter_ms: 100,
            timeout_ms: 60_000,
            fall: 2,
            rise: 2,
            grace_ms: 0,
            restarts,
        }),
        ..guest(1)
    }
}

#[test]
fn a_guest_whose_check_fails_is_reported_and_one_that_starts_after_it_waits() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = reserved.local_addr().unwrap();
    drop(reserved);
    let mut web = guest(1);
    web.order.after.insert("mail".to_owned());
    let payload = payload(&[("mail", checked(at, false)), ("web", web)]);
    let mut site = RoleFixture::new(&payload);
    site.until("bad", |site| {
        site.subject("mail")
            .is_some_and(|one| one.state.grade == Grade::Bad && one.state.word == "running")
    });
    let mail = site.subject("mail").unwrap();
    assert_eq!(mail.why, "its check fails: connection refused");
    assert_eq!((mail.value(RUNNING), mail.value(CHECK)), (Some(1), Some(0)));
    let web = site.subject("web").unwrap();
    assert_eq!((&*web.state.word, web.value(RUNNING)), ("down", Some(0)));
    assert!(web.why.contains("starts after mail"), "{}", web.why);

    let _listener = TcpListener::bind(at).unwrap();
    site.runs("web");
    let mail = site.subject("mail").unwrap();
    assert_eq!((mail.state.grade, &*mail.why), (Grade::Good, ""));
    assert_eq!(mail.value(CHECK), Some(1));
}

#[test]
fn a_guest_whose_check_never_succeeds_is_restarted_until_it_failed_too_often() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = reserved.local_addr().unwrap();
    drop(reserved);
    let mut site = RoleFixture::new(&payload(&[("mail", checked(at, true))]));
    site.becomes("mail", "failed");
    let mail = site.subject("mail").unwrap();
    let why = "it failed too often: its check failed: connection refused";
    assert!(mail.why.contains(why), "{}", mail.why);
    let starts = mail
        .events
        .iter()
        .filter(|event| event.to.starts_with("started,"));
    assert_eq!(starts.count(), 3);
}

#[test]
fn a_guest_without_section_keeps_its_last_stop_timeout() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = RoleFixture::new(&payload(&[("mail", guest(60_000))]));
    site.until("runs", |site| {
        site.subject("mail")
            .is_some_and(|one| one.value(RUNNING) == Some(1))
    });
    // A changed shutdown time takes effect without a restart of the guest.
    site.role
        .change(&payload(&[("mail", guest(300_000))]))
        .unwrap();
    let told = |site: &RoleFixture| site.subject("mail").map(|one| one.why).unwrap_or_default();
    let template = codec::encode(&Guests {
        templates: [("mail".to_owned(), guest(300_000))].into(),
        ..Guests::default()
    });
    site.role.change(&template).unwrap();
    site.until("shuts down", |site| told(site).contains("killed in"));
    let words = told(&site);
    assert!(
        words.starts_with("its section says `template yes` now"),
        "{words}"
    );
    let left = words.split("killed in ").nth(1);
    let left = left.and_then(|left| left.split(' ').next()?.parse::<u64>().ok());
    assert!(left.is_some_and(|left| left > 120), "{words}");
}

/// Returns a guest with a disk on a volume that is reported as ready.
fn with_disk(volume: &str) -> Guest {
    let disk = guest::config::Disk {
        volume: volume.to_owned(),
        read_only: false,
        bus: guest::config::Bus::default(),
        external: None,
    };
    Guest {
        disks: vec![disk],
        ..guest(60_000)
    }
}

/// Serves a volume under the user name of a guest, as the volume role does.
struct VolumeServer(std::process::Child);

impl VolumeServer {
    fn start(runtime: &Path, volume: &str, guest: &str) -> VolumeServer {
        let directory = volume_directory(runtime, volume);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        let disk = directory.join("disk");
        std::fs::write(&disk, vec![0; 1 << 20]).unwrap();
        let socket = directory.join(VOLUME_SOCKET);
        let child = Command::new("qemu-nbd")
            .args(["-f", "raw", "-t", "-e", "8", "-x"])
            .arg(format!("{volume}/guest/{guest}"))
            .arg("-k")
            .arg(&socket)
            .arg(&disk)
            .spawn()
            .unwrap();
        assert!(eventually(PATIENCE, || socket.exists()), "qemu-nbd listens");
        // QEMU runs as another user.
        std::fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
        VolumeServer(child)
    }
}

impl Drop for VolumeServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl RoleFixture {
    /// Reports, as the volume role, that the volumes are ready. Returns the users that the guest
    /// role wants for them.
    fn ready(&mut self) -> Vec<(String, String)> {
        self.role.turn();
        let Some(used) = self.role.take_outbox().volumes else {
            return Vec::new();
        };
        let ready = |one: &part::role::UsedVolume| VolumeState {
            name: one.name.clone(),
            r#use: one.r#use,
            ready: true,
            ..VolumeState::default()
        };
        let volumes = used.volumes.iter().map(ready).collect();
        self.role.apply_volume_news(VolumeNews { volumes });
        let named = used.volumes.into_iter();
        named.map(|one| (one.name, one.user)).collect()
    }
}

fn pair(volume: &str, user: &str) -> (String, String) {
    (volume.to_owned(), user.to_owned())
}

#[test]
fn a_guest_waits_until_the_previous_user_of_its_disk_ends() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("qemu-nbd");
    // The guest is renamed, or the volume moves to another guest that stays.
    let renamed = [("new", with_disk("mail"))];
    let moved = [("new", with_disk("mail")), ("old", guest(60_000))];
    for then in [&renamed[..], &moved[..]] {
        let mut site = RoleFixture::new(&payload(&[]));
        let _served = VolumeServer::start(site.scratch.path(), "mail", "old");
        site.role
            .change(&payload(&[("old", with_disk("mail"))]))
            .unwrap();
        assert_eq!(site.ready(), [pair("mail", "guest/old")]);
        let pid = site.runs("old");
        site.ready();
        site.role.change(&payload(then)).unwrap();
        assert_eq!(site.ready(), [], "its user stays the same");
        for _ in 0..3 {
            site.role.turn();
        }
        let new = site.subject("new").unwrap();
        assert_eq!(new.value("process"), Some(0), "{new:?}");
        assert!(
            new.why.contains("guest old has volume mail open"),
            "{new:?}"
        );
        // A role process that starts now also knows that.
        site.again(&payload(then));
        assert_eq!(site.ready(), [pair("mail", "guest/old")]);
        assert_eq!(site.subject("new").unwrap().value("process"), Some(0));
        kill(pid);
        site.until("the next user", |site| {
            let old = site.subject("old");
            old.is_none_or(|old| old.value("process") != Some(pid))
        });
        let is_next = eventually(PATIENCE, || {
            site.ready().contains(&pair("mail", "guest/new"))
        });
        assert!(is_next, "{:#?}", site.role.report());
    }
}

#[test]
fn process_that_a_signal_has_stopped_is_continued() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = RoleFixture::new(&payload(&[("mail", guest(0))]));
    let pid = site.runs("mail");
    signal(pid, Signal::STOP);
    site.until("it is noticed", |site| {
        let events = site.subject("mail").unwrap().events;
        events.iter().any(|event| event.to.contains("(state T)"))
    });
    site.until("it is continued", |_| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let state = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        state.is_some_and(|state| state != 'T')
    });
    assert_eq!(site.runs("mail"), pid);
}
