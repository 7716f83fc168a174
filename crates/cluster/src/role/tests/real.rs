//! Tests three roles in one process, each in its thread, over TCP of the loopback device. The tests
//! use their sockets, as operators do.

use super::machine::{BAD, Fake, WORSE};
use super::{MemberTestDirectory, apply};
use crate::authority::{MemberIdentity, MemberKey, PREDECESSORS_MAX, Token, disk};
use crate::command::VersionId;
use crate::member::{MemberId, MemberKind};
use crate::request::{AskError, Client, ControlReply, Request};
use crate::role::directory::StateDirectory;
use crate::role::setup::{self, SetupOptions};
use crate::role::status::{ClusterStatus, Reach};
use crate::role::{Clock, ControlRoleOptions, RoleError, run, run_with};
use crate::store::Store;
use crate::store::held::TestDisk;
use crate::wire::Tcp;
use crate::wire::join::{Denied, Newcomer, rude};
use part::report::Grade;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(50);

pub(super) struct Real {
    pub(super) place: SetupOptions,
    socket: PathBuf,
    pub(super) machine: Fake,
    thread: Option<JoinHandle<()>>,
}

fn free_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], lab::free_port().unwrap()))
}

impl Real {
    pub(super) fn new(scratch: &MemberTestDirectory, name: &str) -> Real {
        let at = free_port();
        Real {
            place: SetupOptions {
                directory: scratch.path().join(name),
                name: name.into(),
                listen: vec![at],
                addresses: vec![at],
            },
            socket: scratch.path().join(format!("{name}.sock")),
            machine: Fake::default(),
            thread: None,
        }
    }

    /// Starts with a store outside of its directory.
    fn start_on(&mut self, store: Store) {
        self.live(|options, machine| async move {
            run_with(options, machine, Tcp, Ok(store), Clock::System, None).await
        });
    }

    pub(super) fn start(&mut self) {
        self.live(|options, machine| run(options, machine, Tcp));
    }

    fn live<F: Future<Output = Result<(), RoleError>>>(
        &mut self,
        role: impl FnOnce(ControlRoleOptions, Fake) -> F + Send + 'static,
    ) {
        let options = ControlRoleOptions {
            directory: self.place.directory.clone(),
            socket: Some(self.socket.clone()),
            program: "evenkeel test".into(),
            texts: None,
        };
        self.machine = Fake::default();
        let machine = self.machine.clone();
        self.thread = Some(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(role(options, machine)).unwrap();
        }));
    }

    pub(super) fn stop(&mut self) {
        self.machine.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub(super) fn ask(&self, request: &Request) -> Result<ControlReply, AskError> {
        Client::connect(&self.socket)?.done(request, SOON, |_| {})
    }

    pub(super) fn status(&self) -> Option<ClusterStatus> {
        match self.ask(&Request::Status) {
            Ok(ControlReply::Json(text)) => serde_json::from_str(&text).ok(),
            _ => None,
        }
    }

    /// Sends a request until it succeeds. On a busy machine there may be no leader for a
    /// moment, and then nothing was changed.
    #[track_caller]
    pub(super) fn done(&self, request: &Request) -> String {
        let until = Instant::now() + SOON;
        loop {
            match self.ask(request) {
                Ok(ControlReply::Done { words, .. }) => return words,
                Ok(ControlReply::Refused { words })
                    if words.starts_with("nothing was changed: no leader")
                        && Instant::now() < until =>
                {
                    std::thread::sleep(AGAIN);
                }
                other => panic!("not done: {other:?}\n{}", self.text()),
            }
        }
    }

    #[track_caller]
    pub(super) fn refused(&self, request: &Request) -> String {
        match self.ask(request) {
            Ok(ControlReply::Refused { words }) => words,
            other => panic!("not refused: {other:?}\n{}", self.text()),
        }
    }

    pub(super) fn text(&self) -> String {
        self.status()
            .map(|status| status.text())
            .unwrap_or_default()
    }

    fn join(&mut self, through: &Real, kind: MemberKind) {
        self.admit(through, kind);
        self.start();
    }

    /// Adds the member to the cluster, without starting it.
    fn admit(&mut self, through: &Real, kind: MemberKind) {
        let valid_ms = 60_000;
        let reply = through.ask(&Request::Invite { kind, valid_ms }).unwrap();
        let ControlReply::Token { token, .. } = reply else {
            panic!("no token: {reply:?}");
        };
        setup::join(&self.place, &token, kind, SOON).unwrap();
        // A token works once.
        let again = SetupOptions {
            directory: self.place.directory.with_extension("again"),
            ..self.place.clone()
        };
        let replayed = setup::join(&again, &token, kind, SOON);
        assert!(replayed.unwrap_err().to_string().contains("token"));
    }
}

#[track_caller]
pub(super) fn eventually(what: &str, mut holds: impl FnMut() -> bool, tell: impl Fn() -> String) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < SOON, "never: {what}\n{}", tell());
        std::thread::sleep(AGAIN);
    }
}

pub(super) fn all_vote(member: &Real, count: usize) -> bool {
    member.status().is_some_and(|status| {
        let votes = status.members.iter().filter(|m| m.votes).count();
        status.majority && votes == count && status.members.len() == count
    })
}

/// Two nodes and an arbiter.
pub(super) fn three(scratch: &MemberTestDirectory) -> [Real; 3] {
    let mut a = Real::new(scratch, "a");
    let (mut b, mut c) = (Real::new(scratch, "b"), Real::new(scratch, "c"));
    setup::found(&a.place, "north").unwrap();
    a.start();
    eventually("a leads", || all_vote(&a, 1), || a.text());
    b.join(&a, MemberKind::Node);
    eventually("b votes", || all_vote(&a, 2), || a.text());
    c.join(&a, MemberKind::Arbiter);
    eventually("c votes", || all_vote(&a, 3), || a.text());
    eventually("b knows all", || all_vote(&b, 3), || b.text());
    [a, b, c]
}

#[test]
fn failed_setup_leaves_no_files() {
    let scratch = MemberTestDirectory::new();
    let member = Real::new(&scratch, "a");
    let directory = &member.place.directory;
    let founds = || setup::found(&member.place, "not a name!").unwrap_err();
    let joins = || setup::join(&member.place, "EK1-nonsense", MemberKind::Node, SOON).unwrap_err();
    founds();
    joins();
    assert!(!directory.exists());
    // Files of somebody else stay.
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(directory)
        .unwrap();
    std::fs::write(directory.join("notes"), "kept").unwrap();
    founds();
    joins();
    let names = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["lock", "notes"]);
    setup::found(&member.place, "north").unwrap();
    // A member is never removed by another setup.
    founds();
    assert!(directory.join("member").exists() && directory.join("notes").exists());
}

#[test]
fn three_members_replicate_and_survive_failures() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    let serves = |member: &Real, text: &str| member.machine.settled().as_deref() == Some(text);

    b.done(&Request::Apply(apply(None, "one", 0)));
    eventually("a serves one", || serves(&a, "one"), || a.text());
    eventually("b serves one", || serves(&b, "one"), || b.text());

    let words = a.refused(&Request::Apply(apply(Some(1), BAD, 0)));
    assert!(words.contains("/etc/evenkeel.cfg:1"), "{words}");
    let words = a.refused(&Request::Apply(apply(None, "two", 0)));
    assert!(
        words.contains("version 1 was accepted meanwhile"),
        "{words}"
    );
    let words = c.refused(&Request::Apply(apply(Some(1), "two", 0)));
    assert!(words.contains("arbiter"), "{words}");
    let words = a.refused(&Request::Apply(apply(Some(1), WORSE, 2000)));
    assert!(words.contains("requests failed"), "{words}");
    assert!(serves(&a, "one") && serves(&b, "one"));

    // The leader is stopped: the others continue, and it catches up after its return.
    let leads = |member: &Real| member.status().is_some_and(|s| s.leader == Some(s.me));
    let (first, second) = if leads(&a) {
        (&mut a, &mut b)
    } else {
        (&mut b, &mut a)
    };
    first.stop();
    second.done(&Request::Apply(apply(Some(1), "three", 500)));
    assert!(serves(second, "three"));
    first.start();
    eventually("it caught up", || serves(first, "three"), || first.text());
    // The version is on disk a moment after it is served.
    let on_disk = |member: &Real| {
        let directory = crate::role::directory::StateDirectory::open(&member.place.directory);
        let accepted = directory.unwrap().accepted().unwrap();
        accepted.map(|set| set.version)
    };
    let accepted = second.status().unwrap().configuration.accepted;
    let kept = || on_disk(first) == accepted;
    eventually("it is on disk", kept, || first.text());

    // A member alone reports what is frozen, and refuses at once.
    eventually("all are back", || all_vote(first, 3), || first.text());
    second.stop();
    c.stop();
    let frozen = |member: &Real| member.status().is_some_and(|s| !s.majority);
    eventually("frozen", || frozen(first), || first.text());
    let words = first.refused(&Request::Apply(apply(Some(4), "four", 0)));
    assert!(
        words.contains("1 of 3 members are reachable and 2 are needed"),
        "{words}"
    );
    assert!(serves(first, "three"));
    second.start();
    c.start();
    eventually("resumed", || all_vote(first, 3), || first.text());
    for member in [first, second, &mut c] {
        member.stop();
    }
}

#[test]
fn strangers_without_a_token_write_no_log_entries() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    let invited = a.ask(&Request::Invite {
        kind: MemberKind::Arbiter,
        valid_ms: 60_000,
    });
    let Ok(ControlReply::Token { token, .. }) = invited else {
        panic!("no token: {invited:?}");
    };
    let mut token: Token = token.parse().unwrap();
    token.addresses = a.place.addresses.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let began = Instant::now();
    for number in 0..5 {
        let stranger = Newcomer::new(&format!("stranger{number}"), MemberKind::Arbiter);
        let demand = rude::demand(&Tcp, &token, &stranger, true);
        let told = runtime.block_on(demand);
        assert!(matches!(told, Ok(Denied::Token)), "{told:?}");
    }
    assert!(began.elapsed() >= Duration::from_millis(400));
    // The changes of the others would be committed before this one.
    a.done(&Request::Apply(apply(None, "one", 0)));
    let one = || b.machine.settled().as_deref() == Some("one");
    eventually("b serves", one, || b.text());
    let wanted = |member: &Real| -> Vec<String> {
        let events = member.status().unwrap().events;
        let wanted = events.iter().filter(|words| words.contains("join request"));
        wanted.cloned().collect()
    };
    assert_eq!(wanted(&b), Vec::<String>::new());
    let told = wanted(&a);
    assert!(
        matches!(&*told, [one] if one.starts_with("a a join request was refused")),
        "{told:?}"
    );
    for member in [&mut a, &mut b, &mut c] {
        member.stop();
    }
}

#[test]
fn a_member_is_removed_and_replaced_and_cannot_come_back() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    a.done(&Request::Apply(apply(None, "one", 0)));
    b.stop();
    a.done(&Request::Remove { name: "b".into() });
    eventually("two are left", || all_vote(&a, 2), || a.text());
    b.start();
    let told = |member: &Real| {
        let status = member.status();
        status.is_some_and(|s| s.frozen.iter().any(|words| words.contains("was removed")))
    };
    eventually("b is told", || told(&b), || b.text());
    b.stop();
    let namesake = Real::new(&scratch, "A.example.org");
    let (kind, valid_ms) = (MemberKind::Node, 60_000);
    let Ok(ControlReply::Token { token, .. }) = a.ask(&Request::Invite { kind, valid_ms }) else {
        panic!("no token");
    };
    let refused = setup::join(&namesake.place, &token, kind, SOON).unwrap_err();
    let words = refused.to_string();
    assert!(words.contains("also refers to the member 'a'"), "{words}");
    let mut d = Real::new(&scratch, "d");
    d.join(&a, MemberKind::Node);
    eventually("d votes", || all_vote(&a, 3), || a.text());
    eventually(
        "d serves",
        || d.machine.settled().as_deref() == Some("one"),
        || d.text(),
    );
    d.done(&Request::Apply(apply(Some(1), "two", 0)));
    let shown = a.ask(&Request::Show {
        version: Some(VersionId(2)),
    });
    assert!(matches!(shown, Ok(ControlReply::Set(set)) if set.files[0].bytes == b"two"));
    a.done(&Request::Remove { name: "c".into() });
    let mut e = Real::new(&scratch, "e");
    e.join(&d, MemberKind::Arbiter);
    eventually("e votes", || all_vote(&d, 3), || d.text());
    let there = |status: ClusterStatus| status.members.iter().all(|m| m.reach != Reach::Away);
    eventually(
        "all are reached",
        || a.status().is_some_and(there),
        || a.text(),
    );
    for member in [&mut a, &mut c, &mut d, &mut e] {
        member.stop();
    }
}

#[test]
fn sole_survivor_continues_alone() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    a.done(&Request::Apply(apply(None, "one", 0)));
    for member in [&mut a, &mut b, &mut c] {
        member.stop();
    }
    let words = setup::recover_alone(&a.place.directory).unwrap();
    assert!(
        words.contains("a is now the only member of the cluster north"),
        "{words}"
    );
    a.start();
    eventually("a is alone", || all_vote(&a, 1), || a.text());
    a.done(&Request::Apply(apply(Some(1), "two", 0)));
    a.stop();
}

#[test]
fn unannounced_key_is_committed_later() {
    let scratch = MemberTestDirectory::new();
    let mut a = Real::new(&scratch, "a");
    let mut b = Real::new(&scratch, "b");
    setup::found(&a.place, "north").unwrap();
    a.start();
    eventually("a leads", || all_vote(&a, 1), || a.text());
    b.join(&a, MemberKind::Node);
    eventually("b votes", || all_vote(&a, 2), || a.text());
    b.stop();
    // The state that `cluster rotate` leaves if it ends after the key is on disk.
    let path = &b.place.directory;
    let identity = disk::read_identity(path, "north", MemberId(2)).unwrap();
    let sealing = disk::read_sealing_key(path).unwrap().unwrap();
    let certificate = identity.chain().last().unwrap();
    let authority = disk::read_authority(path, "north", certificate, &sealing);
    let authority = authority.unwrap().unwrap();
    let key = MemberKey::generate().unwrap();
    let new = key.digest();
    let before = vec![identity.key().digest()];
    let request = key.request(b"").unwrap();
    let signed = authority.sign(MemberId(2), &request, &before).unwrap();
    let chain = &identity.chain()[1..];
    let rotated = MemberIdentity::new("north", MemberId(2), key, signed, chain).unwrap();
    disk::write_identity(path, &rotated.with_predecessors(before)).unwrap();
    b.start();
    let known = || {
        let who = StateDirectory::open(&a.place.directory).unwrap().member();
        let members = who.unwrap().members;
        members.into_iter().find(|m| m.id == MemberId(2)).unwrap()
    };
    eventually("it is agreed", || known().certificate == new, || a.text());
    a.stop();
    b.stop();
}

#[test]
fn node_with_a_stuck_disk_is_reported_and_delays_no_change() {
    let scratch = MemberTestDirectory::new();
    let mut a = Real::new(&scratch, "a");
    let (mut b, mut c) = (Real::new(&scratch, "b"), Real::new(&scratch, "c"));
    setup::found(&a.place, "north").unwrap();
    a.start();
    eventually("a leads", || all_vote(&a, 1), || a.text());
    let disk = TestDisk::new();
    b.admit(&a, MemberKind::Node);
    b.start_on(Store::with_slow_backend(disk.clone()).unwrap());
    eventually("b votes", || all_vote(&a, 2), || a.text());
    c.join(&a, MemberKind::Arbiter);
    eventually("c votes", || all_vote(&a, 3), || a.text());
    a.done(&Request::Apply(apply(None, "one", 0)));
    let serves = |member: &Real, text: &str| member.machine.settled().as_deref() == Some(text);
    eventually("b serves one", || serves(&b, "one"), || b.text());
    let leads = |member: &Real| member.status().is_some_and(|s| s.leader == Some(s.me));
    eventually("a leads still", || leads(&a), || a.text());

    disk.hold(true);
    // Something that it would have to write.
    let began = Instant::now();
    a.done(&Request::Apply(apply(Some(1), "two", 0)));
    assert!(serves(&a, "two"));
    let limit = Duration::from_millis(crate::rollout::CHECK_LIMIT_MS / 2);
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
    let told = |member: &Real| {
        member
            .text()
            .contains("the disk of b has not responded for")
    };
    eventually("a tells of it", || told(&a), || a.text());
    eventually("b tells of it", || told(&b), || b.text());
    disk.hold(false);
    eventually("b serves two", || serves(&b, "two"), || b.text());
    eventually("nobody tells of it", || !told(&a), || a.text());
    for member in [&mut a, &mut b, &mut c] {
        member.stop();
    }
}

#[test]
fn failed_write_of_the_accepted_version_is_a_problem() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    a.done(&Request::Apply(apply(None, "one", 0)));
    let serves = |member: &Real, text: &str| member.machine.settled().as_deref() == Some(text);
    eventually("b serves one", || serves(&b, "one"), || b.text());
    // The path of the temporary file for the kept version is occupied.
    let in_the_way = b.place.directory.join(".accepted.set.new");
    std::fs::create_dir(&in_the_way).unwrap();
    a.done(&Request::Apply(apply(Some(1), "two", 0)));
    eventually("b serves two", || serves(&b, "two"), || b.text());
    let state = |member: &Real| {
        let report = member.status().unwrap().report();
        let subject = report.find("member", "b").unwrap();
        (subject.state.grade, subject.why.clone())
    };
    let fails = |member: &Real| {
        let (grade, why) = state(member);
        grade == Grade::Bad && why.starts_with("the disk of b fails: cannot keep version 2: ")
    };
    eventually("a shows it", || fails(&a), || a.text());
    eventually("b shows it", || fails(&b), || b.text());
    assert!(state(&a).1.contains("Free space"), "{}", a.text());
    std::fs::remove_dir(&in_the_way).unwrap();
    let good = |member: &Real| state(member) == (Grade::Good, String::new());
    eventually("b keeps it", || good(&b), || b.text());
    eventually("a shows that", || good(&a), || a.text());
    let directory = StateDirectory::open(&b.place.directory).unwrap();
    let kept = directory.accepted().unwrap().map(|set| set.version);
    assert_eq!(kept, Some(VersionId(2)));
    for member in [&mut a, &mut b, &mut c] {
        member.stop();
    }
}

#[test]
fn member_needed_for_a_majority_is_not_removed() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    b.stop();
    let away = |name: &str| {
        let is_away = |m: &crate::role::status::MemberStatus| m.name == name && !m.reach.is_there();
        a.status().is_some_and(|s| s.members.iter().any(is_away))
    };
    eventually("b is away", || away("b"), || a.text());
    let remove = |name: &str| Request::Remove { name: name.into() };
    let words = a.refused(&remove("c"));
    assert!(words.contains("cannot remove c while b is away"), "{words}");
    // Member c still votes, and the member that never returns may be removed.
    assert!(all_vote(&a, 3), "{}", a.text());
    a.done(&remove("b"));
    a.done(&remove("c"));
    eventually("a is alone", || all_vote(&a, 1), || a.text());
    a.stop();
    c.stop();
}

#[test]
fn rotations_stop_before_an_absent_member_cannot_return() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    for _ in 0..3 {
        a.done(&Request::Rotate);
    }
    b.stop();
    let refused = (0..PREDECESSORS_MAX).find_map(|_| match a.ask(&Request::Rotate) {
        Ok(ControlReply::Refused { words }) => Some(words),
        other => other.map(|_| None).unwrap(),
    });
    let words = refused.expect("as many keys as a certificate can name");
    assert!(words.contains("rotate when b is back"), "{words}");
    b.start();
    eventually("b votes", || all_vote(&b, 3), || b.text());
    eventually("all vote", || all_vote(&a, 3), || a.text());
    a.done(&Request::Rotate);
    b.stop();
    b.start();
    eventually("b votes again", || all_vote(&b, 3), || b.text());
    for member in [&mut a, &mut b, &mut c] {
        member.stop();
    }
}
