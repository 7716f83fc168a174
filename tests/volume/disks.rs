//! Tests faulty disks under one of two copies: clients see no error, and no acknowledged write is
//! lost.

use crate::cluster::site::SOON;
use crate::volume::site::{Client, Log, NODES, Reader, VolumeSite, Writer, other};
use lab::{Random, Trouble, eventually};
use std::time::Duration;

/// The node whose disk fails.
#[derive(Clone, Copy)]
enum Under {
    Owner,
    Other,
}

/// A fault of a disk, and the longest wait of clients according to the documentation of volumes.
struct Case {
    name: &'static str,
    trouble: Trouble,
    bound: Duration,
}

/// Longest wait of clients for the move of the lease to the other node, which records that it
/// serves alone.
const ERROR: Duration = Duration::from_secs(6);
/// Additional time on a machine that is busy with other tests.
const BUSY: Duration = Duration::from_secs(10);

fn case(name: &'static str, bound: Duration, change: impl Fn(&mut Trouble)) -> Case {
    let mut trouble = Trouble::default();
    change(&mut trouble);
    Case {
        name,
        trouble,
        bound,
    }
}

fn writes_fail() -> Case {
    case("writes fail", ERROR, |on| on.writes = true)
}

fn others() -> [Case; 4] {
    // The sector lies in the middle of the blocks that clients write.
    let sector = ("volume", 40);
    [
        case("flushes fail", ERROR, |on| on.flushes = true),
        case("a sector fails", ERROR, |on| on.sector = Some(sector)),
        case("no room", ERROR, |on| on.full = true),
        case("all fails", ERROR, |on| {
            (on.reads, on.writes, on.flushes) = (true, true, true)
        }),
    ]
}

/// An operation of the owner's disk may take 10 s, one of the other copy's 2 s.
fn stall(under: Under) -> Case {
    let bound = match under {
        Under::Owner => Duration::from_secs(10) + ERROR,
        Under::Other => Duration::from_secs(2) + ERROR,
    };
    case("it stalls", bound, |on| on.stalls = true)
}

/// Injects these faults into the disk of the owner, or of the other node, one after the other, and
/// removes each of them again.
#[track_caller]
fn survives(name: &str, under: Under, cases: &[Case]) {
    let volumes = VolumeSite::on_unreliable_disks(name);
    let mut logs: Vec<Log> = [0, 4096].into_iter().map(Log::new).collect();
    for case in cases {
        let owner = volumes.in_sync();
        let node = match under {
            Under::Owner => owner,
            Under::Other => other(owner),
        };
        let (disk, survivor) = (volumes.disk(node), other(node));
        let writers = NODES.into_iter().zip(logs);
        let writers = writers.map(|(node, log)| Writer::go_on(volumes.socket(node), log));
        let writers: Vec<Writer> = writers.collect();
        let readers = NODES.map(|node| Reader::start(volumes.socket(node)));
        writers.iter().for_each(|writer| writer.gets_on(50));
        disk.set(case.trouble.clone());
        volumes.becomes(survivor, "serving alone");
        writers.iter().for_each(|writer| writer.gets_on(50));
        assert!(disk.failed() > 0 || disk.stalled() > 0, "{}", case.name);
        // The report of the node with the faulty disk names the fault.
        let named = || {
            if case.trouble.stalls {
                volumes.shown(node).contains("disk does not respond")
            } else {
                volumes.shown(node).contains("its disk fails: ")
            }
        };
        let tell = || format!("{}\n{}", case.name, volumes.tell());
        assert!(eventually(SOON, named), "{}", tell());
        disk.set(Trouble::default());
        volumes.in_sync();
        let healed = || volumes.fact(node, "why").is_none();
        assert!(eventually(SOON, healed), "{}", tell());
        writers.iter().for_each(|writer| writer.gets_on(50));
        readers.into_iter().for_each(Reader::stop);
        logs = volumes.holds(writers);
        for log in &logs {
            let longest = log.longest;
            assert!(longest < case.bound + BUSY, "{longest:?}: {}", tell());
        }
    }
}

#[test]
#[ignore = "it takes long: make test-long"]
fn an_owner_with_a_failed_disk_hands_over_and_is_refilled() {
    lab::skip_unless_root!();
    survives("volume-bad-owner", Under::Owner, &[writes_fail()]);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_copy_with_a_failed_disk_is_excluded_and_refilled() {
    lab::skip_unless_root!();
    survives("volume-bad-copy", Under::Other, &[writes_fail()]);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn every_disk_fault_is_survived() {
    lab::skip_unless_root!();
    for under in [Under::Owner, Under::Other] {
        survives("volume-troubles", under, &others());
        survives("volume-stall", under, &[stall(under)]);
    }
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn both_copies_recover_after_full_disks() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::on_unreliable_disks("volume-full");
    let owner = volumes.in_sync();
    let full = case("no room", ERROR, |on| on.full = true);
    for node in NODES {
        volumes.disk(node).set(full.trouble.clone());
    }
    // A client at the owner writes once and then leaves; another one continues at the other node.
    let mut once = Client::connect(&volumes.socket(owner)).unwrap();
    assert!(once.write(3000, &[7; 4096], true).is_err());
    drop(once);
    for node in NODES {
        volumes.disk(node).set(Trouble::default());
    }
    let mut client = Client::connect(&volumes.socket(other(owner))).unwrap();
    let mut writes = || client.write(3001, &[8; 4096], true).is_ok();
    assert!(eventually(SOON, &mut writes), "{}", volumes.tell());
    volumes.in_sync();
    let healed = || {
        NODES.into_iter().all(|node| {
            let (state, why) = (volumes.fact(node, "state"), volumes.fact(node, "why"));
            why.is_none() && state.as_deref() != Some("failing")
        })
    };
    assert!(eventually(SOON, healed), "{}", volumes.tell());
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn writes_lost_by_a_lying_disk_are_resynced() {
    lab::skip_unless_root!();
    let mut random = Random::new(5);
    let mut volumes = VolumeSite::on_unreliable_disks("volume-lies");
    let mut log = Log::new(0);
    for at_owner in [false, true] {
        let owner = volumes.in_sync();
        let node = if at_owner { owner } else { other(owner) };
        let lies = case("", ERROR, |on| on.lies = true);
        volumes.disk(node).set(lies.trouble);
        let survivor = other(node);
        let writer = Writer::go_on(volumes.socket(survivor), log);
        writer.gets_on(300);
        volumes.lose_power(&[node], &mut random);
        writer.gets_on(50);
        volumes.disk(node).set(Trouble::default());
        volumes.site.machine_mut(node).start();
        volumes.in_sync();
        writer.gets_on(50);
        log = volumes.holds(vec![writer]).remove(0);
    }
}
