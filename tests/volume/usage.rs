//! Tests volumes with two copies that another part of the machine uses, as guests do. The test
//! takes the place of that part: it reports which volumes it uses, and reads their state.

use crate::cluster::site::SOON;
use crate::volume::site::{Client, NODES, Reader, VolumeSite, Writer, clients, other};
use lab::{eventually, sleep_in_test};
use part::channel::{Channel, Received};
use part::memory;
use part::report::StatusReport;
use part::role::VolumeUse::{self, Alone, HandsOver, Reads};
use part::role::{SupervisorMessage, UsedVolume, UsedVolumes};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
use rustix::process::{Signal, kill_process};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Error number of a client that may not write: NBD's ESHUTDOWN.
const SHUTDOWN: i32 = 108;
/// Timeout of a response of the supervisor.
const ANSWER: Option<Duration> = Some(Duration::from_secs(5));
/// Longest pause of a guest while its volume moves, on an idle machine. Ten times the measured
/// value, because tests run beside others.
const MOVES: Duration = Duration::from_millis(1000);

/// Returns the supervisor's socket of a node.
fn control(volumes: &VolumeSite, node: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(volumes.site.machine(node).runtime()).ok()?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths.find(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        let is_instance = |name: &str| name.starts_with(|first: char| first.is_ascii_digit());
        name.is_some_and(|name| name.ends_with(".sock") && is_instance(name))
    })
}

/// A part of a node that uses the volume.
struct Part {
    control: PathBuf,
}

impl Part {
    fn of(volumes: &VolumeSite, node: &str) -> Part {
        let control = control(volumes, node).expect("a supervisor");
        Part { control }
    }

    fn ask(&self, message: &SupervisorMessage) -> Received {
        let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        connect(&socket, &SocketAddrUnix::new(&self.control).unwrap()).unwrap();
        let mut channel = Channel::new(socket).unwrap();
        channel.send_numbered(1, message, &[]).unwrap();
        channel.wait(ANSWER).unwrap()
    }

    /// Reports that the part uses the volume in this way; None: it uses no volume.
    fn uses(&self, used: Option<VolumeUse>) {
        let volume = |r#use| UsedVolume {
            name: "mail".to_owned(),
            r#use,
            ..UsedVolume::default()
        };
        let used = UsedVolumes {
            part: "guest".to_owned(),
            volumes: used.map(volume).into_iter().collect(),
        };
        // A role that is still starting gets the message later.
        self.ask(&SupervisorMessage::Part(Box::new(used.envelope("volume"))));
    }

    /// Returns the report of the node about the use; empty if there is none.
    fn told(&self) -> String {
        let part = "volume".to_owned();
        let answer = self.ask(&SupervisorMessage::TellReport { part });
        let Some(file) = answer.descriptors.first() else {
            return String::new();
        };
        let report = StatusReport::decode(&memory::read(file).unwrap()).unwrap();
        let subject = report.find("volume", "mail");
        let words = subject.and_then(|subject| subject.words("used by"));
        words.unwrap_or_default()
    }

    #[track_caller]
    fn is_told(&self, words: &str) {
        let mut last = String::new();
        let is_told = || {
            last = self.told();
            last == words
        };
        assert!(eventually(SOON, is_told), "{last}");
    }
}

fn write(volumes: &VolumeSite, node: &str, byte: u8) -> Result<(), Option<i32>> {
    let mut client = Client::connect(&volumes.socket(node)).unwrap();
    let written = client.write(u64::from(byte), &[byte; 4096], true);
    written.map_err(|error| error.raw_os_error())
}

/// Reports exclusive use of the volume at a node, and waits until the volume is ready there.
#[track_caller]
fn used_alone(volumes: &VolumeSite, node: &str) -> Part {
    let part = Part::of(volumes, node);
    part.uses(Some(Alone));
    part.is_told("guest, alone");
    assert_eq!(volumes.owner(), Some(node), "{}", volumes.tell());
    part
}

#[test]
fn a_volume_comes_to_the_node_that_uses_it_alone_and_only_its_clients_write() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-used");
    let there = other(volumes.in_sync());
    let part = Part::of(&volumes, there);
    part.uses(Some(Reads));
    part.is_told("guest, reads");
    assert_eq!(volumes.in_sync(), other(there));
    part.uses(Some(Alone));
    part.is_told("guest, alone");
    assert_eq!(volumes.in_sync(), there);
    let only = volumes.fact(there, "only clients of");
    assert_eq!(only.as_deref(), Some(there));
    assert_eq!(write(&volumes, other(there), 1), Err(Some(SHUTDOWN)));
    assert_eq!(write(&volumes, there, 2), Ok(()));
    // The volume has no user: it stays as it is, and may be handed over.
    part.uses(None);
    part.is_told("");
    let hand_over = ["volume", "hand-over", "mail"];
    volumes.site.machine(there).command(&hand_over).well();
    assert_eq!(volumes.in_sync(), other(there));
    assert_eq!(write(&volumes, other(there), 3), Err(Some(SHUTDOWN)));
    assert_eq!(write(&volumes, there, 4), Ok(()));
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_volume_that_both_nodes_use_alone_stays_where_it_is() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-both");
    let owner = volumes.in_sync();
    let first = used_alone(&volumes, owner);
    let second = Part::of(&volumes, other(owner));
    second.uses(Some(Alone));
    let waits = format!(
        "guest, alone, not ready: {owner} serves it, and has not handed it over to this node yet"
    );
    second.is_told(&waits);
    // A better node would get the lease after one or two renewals.
    sleep_in_test(Duration::from_secs(5), "the lease is renewed");
    assert_eq!(second.told(), waits);
    assert_eq!(first.told(), "guest, alone");
    assert_eq!(write(&volumes, owner, 1), Ok(()));
    assert_eq!(write(&volumes, other(owner), 2), Err(Some(SHUTDOWN)));
}

#[test]
#[ignore = "it takes long: make test-long"]
fn a_volume_moves_under_load_within_the_pause_of_a_migration_and_nothing_is_lost() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-moves");
    let mut from = volumes.in_sync();
    let mut source = used_alone(&volumes, from);
    let mut target = Part::of(&volumes, other(from));
    target.uses(Some(Alone));
    let reader = Reader::start(volumes.socket(other(from)));
    // The writer stands for the guest: data that is acknowledged at the source is there when the
    // guest continues at the target.
    let mut log = Writer::start(volumes.socket(from), 0);
    let mut all = Vec::new();
    for _ in 0..10 {
        log.gets_on(200);
        // A client that is left behind at the source: its writes fail.
        let stray = Writer::start(volumes.socket(from), 4096);
        stray.gets_on(20);
        let paused = log.stop();
        let began = Instant::now();
        source.uses(Some(HandsOver));
        while target.told() != "guest, alone" {
            assert!(began.elapsed() < SOON, "{}", volumes.tell());
        }
        let took = began.elapsed();
        all.push(took);
        log = Writer::go_on(volumes.socket(other(from)), paused);
        log.gets_on(20);
        source.is_told("guest, hands over");
        assert_eq!(write(&volumes, from, 200), Err(Some(SHUTDOWN)));
        let stray = stray.stop();
        assert!(stray.acknowledged() > 0);
        // The next round moves the guest back.
        source.uses(Some(Alone));
        std::mem::swap(&mut source, &mut target);
        from = other(from);
        volumes.in_sync();
    }
    reader.stop();
    volumes.holds(vec![log]);
    all.sort();
    println!("a guest stood still for {all:?}");
    assert!(all.iter().all(|took| *took < MOVES), "{all:?}");
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn the_volume_role_is_killed_in_the_middle_and_comes_back_to_the_same() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-use-killed");
    let owner = volumes.in_sync();
    let source = used_alone(&volumes, owner);
    for killed in [owner, other(owner)] {
        let machine = volumes.site.machine(killed);
        let role = machine.role("volume-role").expect("a role");
        kill_process(role, Signal::KILL).unwrap();
        source.is_told("guest, alone");
        volumes.in_sync();
        source.is_told("guest, alone");
        assert_eq!(volumes.owner(), Some(owner), "{}", volumes.tell());
    }
    let target = Part::of(&volumes, other(owner));
    target.uses(Some(Alone));
    source.uses(Some(HandsOver));
    let role = volumes.site.machine(owner).role("volume-role");
    kill_process(role.expect("a role"), Signal::KILL).unwrap();
    target.is_told("guest, alone");
    source.is_told("guest, hands over");
    assert_eq!(volumes.in_sync(), other(owner));
    assert_eq!(write(&volumes, owner, 1), Err(Some(SHUTDOWN)));
    assert_eq!(write(&volumes, other(owner), 2), Ok(()));
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_volume_whose_other_copy_is_away_stays_in_use_and_moves_when_that_is_back() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-use-away");
    let owner = volumes.in_sync();
    let source = used_alone(&volumes, owner);
    volumes.site.machine_mut(other(owner)).kill();
    volumes.becomes(owner, "serving alone");
    source.is_told("guest, alone");
    source.uses(Some(HandsOver));
    let words = format!("guest, hands over, not ready: {} is not", other(owner));
    assert!(eventually(SOON, || source.told().starts_with(&words)));
    // Writes succeed while the other copy is away.
    assert_eq!(write(&volumes, owner, 1), Ok(()));
    volumes.site.machine_mut(other(owner)).start();
    source.is_told("guest, hands over");
    assert_eq!(volumes.in_sync(), other(owner));
    let mut client = Client::connect(&volumes.socket(other(owner))).unwrap();
    assert_eq!(client.read(1).unwrap(), [1; 4096]);
    assert_eq!(write(&volumes, owner, 2), Err(Some(SHUTDOWN)));
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_volume_that_nobody_uses_is_as_before() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-unused");
    let writers = clients(&volumes);
    let owner = volumes.in_sync();
    for node in NODES {
        let part = Part::of(&volumes, node);
        part.uses(Some(Reads));
        part.is_told("guest, reads");
        part.uses(None);
        part.is_told("");
    }
    writers.iter().for_each(|writer| writer.gets_on(100));
    assert_eq!(volumes.in_sync(), owner);
    assert_eq!(volumes.fact(owner, "only clients of"), None);
    volumes.holds(writers);
}
