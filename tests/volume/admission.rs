//! Tests which clients may write to a volume with two copies: those of the node where its guest
//! runs.

use crate::cluster::site::SOON;
use crate::volume::site::{Client, VolumeSite, other};
use lab::eventually;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Error number of a client that may not write: NBD's ESHUTDOWN.
const SHUTDOWN: i32 = 108;

fn write(volumes: &VolumeSite, node: &str, byte: u8) -> Result<(), Option<i32>> {
    let mut client = Client::connect(&volumes.socket(node)).unwrap();
    let written = client.write(u64::from(byte), &[byte; 4096], true);
    written.map_err(|error| error.raw_os_error())
}

fn read(volumes: &VolumeSite, node: &str, block: u64) -> Vec<u8> {
    let mut client = Client::connect(&volumes.socket(node)).unwrap();
    client.read(block).unwrap()
}

/// Waits until a node serves with both copies in sync.
#[track_caller]
fn owns(volumes: &VolumeSite, node: &str) {
    let is = || volumes.owner() == Some(node);
    assert!(eventually(SOON, is), "{}", volumes.tell());
    volumes.in_sync();
}

/// A client that stays behind on its node, like an instance of a guest: it writes one block again
/// and again, with a growing number, and ignores errors.
struct Stray {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Stray {
    fn start(socket: PathBuf, block: u64, first: u64) -> Stray {
        let stop = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut number, mut acknowledged) = (first, 0);
            let mut client: Option<Client> = None;
            while !stops.load(Ordering::Relaxed) {
                let Some(connected) = &mut client else {
                    client = Client::connect(&socket).ok();
                    continue;
                };
                number += 1;
                let bytes = number.to_le_bytes().repeat(512);
                match connected.write(block, &bytes, false) {
                    Ok(()) => acknowledged = number,
                    Err(error) if error.raw_os_error().is_some_and(|code| code == SHUTDOWN) => {}
                    Err(_) => client = None,
                }
            }
            acknowledged
        });
        Stray { stop, thread }
    }

    /// Stops the client; returns the last number that was acknowledged.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Returns the number in a block, which must be the same in all of the block.
fn number(volumes: &VolumeSite, node: &str, block: u64) -> u64 {
    let bytes = read(volumes, node, block);
    let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(bytes, number.to_le_bytes().repeat(512), "it is torn");
    number
}

#[test]
fn only_the_clients_of_one_node_write_whoever_owns_the_volume() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-admission");
    let owner = volumes.in_sync();
    let there = other(owner);
    let at = |node| volumes.site.machine(node);
    let said = at(owner)
        .command(&["volume", "admit", "mail", owner])
        .well();
    let words = format!("only clients of {owner} may write to volume mail");
    assert!(said.out.contains(&words), "{}", said.out);
    assert_eq!(write(&volumes, owner, 1), Ok(()));
    assert_eq!(write(&volumes, there, 2), Err(Some(SHUTDOWN)));
    assert_eq!(read(&volumes, there, 1), [1; 4096]);
    assert_eq!(read(&volumes, there, 2), [0; 4096]);
    let only = || volumes.fact(there, "only clients of");
    assert!(eventually(SOON, || only().as_deref() == Some(owner)));
    // A refused write does not count as a failure of the disk.
    assert!(!volumes.shown(there).contains("writes fail"));
    volumes.in_sync();

    // The next owner still knows the node whose clients may write.
    at(owner).command(&["volume", "hand-over", "mail"]).well();
    owns(&volumes, there);
    assert_eq!(write(&volumes, there, 3), Err(Some(SHUTDOWN)));
    assert_eq!(write(&volumes, owner, 4), Ok(()));
    for (node, whose, why) in [
        (owner, there, "its owner is"),
        (there, "gamma", "no copy on node 'gamma'"),
    ] {
        let refused = at(node).command(&["volume", "admit", "mail", whose]);
        refused.refused(&[why]);
    }
    at(there)
        .command(&["volume", "admit", "mail", there])
        .well();
    assert_eq!(write(&volumes, owner, 5), Err(Some(SHUTDOWN)));
    assert_eq!(write(&volumes, there, 6), Ok(()));
    at(there)
        .command(&["volume", "admit", "mail", "--all"])
        .well();
    assert_eq!(write(&volumes, owner, 7), Ok(()));
    assert_eq!(write(&volumes, there, 8), Ok(()));
    assert!(eventually(SOON, || only().is_none()));
    for byte in 1..=8_u8 {
        let is_written = [1, 4, 6, 7, 8].contains(&byte);
        let byte_there = if is_written { byte } else { 0 };
        assert_eq!(read(&volumes, owner, byte.into()), [byte_there; 4096]);
    }
}

#[test]
fn a_change_that_the_cluster_did_not_record_in_time_takes_no_effect_later() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-admission-late");
    let owner = volumes.in_sync();
    let arbiter = volumes.site.arbiter.name();
    let cuts = [("alpha", "beta"), ("alpha", arbiter), ("beta", arbiter)];
    let cuts = cuts.map(|(one, other)| volumes.site.cut(one, other));
    let admit = ["volume", "admit", "mail", other(owner)];
    let said = volumes.site.machine(owner).command(&admit);
    said.refused(&["was withdrawn"]);
    drop(cuts);
    volumes.in_sync();
    for node in ["alpha", "beta"] {
        assert_eq!(volumes.fact(node, "only clients of"), None);
        assert_eq!(write(&volumes, node, 1), Ok(()));
    }
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_node_serves_when_the_hand_over_to_it_has_ended_and_names_have_no_case() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-admission-at-once");
    for _ in 0..4 {
        let owner = volumes.in_sync();
        let at = |node| volumes.site.machine(node);
        at(owner).command(&["volume", "hand-over", "mail"]).well();
        let next = at(other(owner));
        next.command(&["volume", "admit", "mail", "--all"]).well();
        let loud = other(owner).to_uppercase();
        next.command(&["volume", "admit", "mail", &loud]).well();
        let only = volumes.fact(other(owner), "only clients of");
        assert_eq!(only.as_deref(), Some(other(owner)));
        next.command(&["volume", "admit", "mail", "--all"]).well();
    }
}

#[test]
#[ignore = "it takes long: make test-long"]
fn a_left_behind_client_cannot_write_after_a_hand_over() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-stray");
    let mut first = 0;
    for _ in 0..3 {
        let owner = volumes.in_sync();
        let there = other(owner);
        let machine = volumes.site.machine(owner);
        machine.command(&["volume", "admit", "mail", owner]).well();
        let blocks = 10..14;
        let strays = blocks.clone().map(|block| {
            let socket = volumes.socket(owner);
            Stray::start(socket, block, first)
        });
        let strays: Vec<Stray> = strays.collect();
        let on = || {
            blocks
                .clone()
                .all(|block| number(&volumes, there, block) > first)
        };
        assert!(eventually(SOON, on), "{}", volumes.tell());
        let hand_over = ["volume", "hand-over", "mail", "--clients"];
        machine.command(&hand_over).well();
        let seen: Vec<u64> = blocks
            .clone()
            .map(|block| number(&volumes, there, block))
            .collect();
        assert_eq!(write(&volumes, there, 9), Ok(()));
        owns(&volumes, there);
        for (stray, (seen, block)) in strays.into_iter().zip(seen.into_iter().zip(blocks)) {
            let acknowledged = stray.stop();
            assert!(acknowledged <= seen, "{acknowledged} after {seen}");
            assert_eq!(number(&volumes, there, block), seen);
            first = first.max(seen);
        }
    }
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_removed_node_blocks_no_client_permanently() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-unnamed");
    let owner = volumes.in_sync();
    let there = other(owner);
    let machine = volumes.site.machine(owner);
    machine.command(&["volume", "admit", "mail", owner]).well();
    volumes.site.machine_mut(owner).kill();
    volumes.becomes(there, "serving alone");
    let text = volumes.configuration("");
    let text = text.replace("on alpha beta", &format!("on {there}"));
    let survivor = volumes.site.machine(there);
    survivor.apply(&text, &["--now"]).well();
    let words = format!("only clients of {owner} may write, and `on` does not name it");
    let says = || {
        volumes
            .fact(there, "why")
            .is_some_and(|why| why.contains(&words))
    };
    assert!(eventually(SOON, says), "{}", volumes.tell());
    assert_eq!(write(&volumes, there, 1), Err(Some(SHUTDOWN)));
    let stranger = survivor.command(&["volume", "admit", "mail", owner]);
    stranger.refused(&["no copy on node"]);
    survivor.command(&["volume", "admit", "mail", there]).well();
    assert_eq!(write(&volumes, there, 2), Ok(()));
    survivor
        .command(&["volume", "admit", "mail", "--all"])
        .well();
    assert_eq!(write(&volumes, there, 3), Ok(()));
    let is_well = || {
        volumes
            .fact(there, "why")
            .is_none_or(|why| !why.contains(&words))
    };
    assert!(eventually(SOON, is_well), "{}", volumes.tell());
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_node_that_returns_finds_its_clients_excluded() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-excluded");
    let owner = volumes.in_sync();
    let there = other(owner);
    let machine = volumes.site.machine(owner);
    machine.command(&["volume", "admit", "mail", owner]).well();
    volumes.site.machine_mut(owner).kill();
    volumes.becomes(there, "serving alone");
    assert_eq!(write(&volumes, there, 1), Err(Some(SHUTDOWN)));
    let survivor = volumes.site.machine(there);
    survivor.command(&["volume", "admit", "mail", there]).well();
    assert_eq!(write(&volumes, there, 2), Ok(()));
    volumes.site.machine_mut(owner).start();
    volumes.in_sync();
    assert_eq!(write(&volumes, owner, 3), Err(Some(SHUTDOWN)));
    assert_eq!(read(&volumes, owner, 2), [2; 4096]);
    assert_eq!(read(&volumes, owner, 1), [0; 4096]);
}
