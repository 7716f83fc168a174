//! Tests a copy whose disk returns to an earlier state, as when a machine is restored from a
//! backup, or loses its end.

use crate::cluster::site::SOON;
use crate::volume::site::{Client, NODES, SIZE, VolumeSite, other};
use lab::eventually;
use std::fs;

/// Files of a volume on a node: data and metadata.
struct Backup([Vec<u8>; 2]);

impl Backup {
    fn of(volumes: &VolumeSite, node: &str) -> Backup {
        let file = volumes.file(node);
        let metadata = file.with_extension("metadata");
        Backup([file, metadata].map(|path| fs::read(path).unwrap()))
    }

    fn restore(&self, volumes: &VolumeSite, node: &str) {
        let file = volumes.file(node);
        fs::write(&file, &self.0[0]).unwrap();
        fs::write(file.with_extension("metadata"), &self.0[1]).unwrap();
    }
}

/// Creates a volume with a block of ones, and a backup of the copy on the node that does not own
/// it.
fn backed_up(name: &str) -> (VolumeSite, &'static str, Backup) {
    let mut volumes = VolumeSite::new(name);
    let owner = volumes.in_sync();
    let there = other(owner);
    let mut client = Client::connect(&volumes.socket(owner)).unwrap();
    client.write(3, &[1; 4096], true).unwrap();
    drop(client);
    volumes.site.machine_mut(there).stop();
    let backup = Backup::of(&volumes, there);
    volumes.site.machine_mut(there).start();
    volumes.in_sync();
    (volumes, there, backup)
}

/// Overwrites the block with twos at a node.
fn overwrite(volumes: &VolumeSite, node: &str) {
    let mut client = Client::connect(&volumes.socket(node)).unwrap();
    client.write(3, &[2; 4096], true).unwrap();
}

#[track_caller]
fn has(volumes: &VolumeSite, value: u8) {
    for node in NODES {
        let mut client = Client::connect(&volumes.socket(node)).unwrap();
        assert_eq!(client.read(3).unwrap(), [value; 4096], "{node}");
    }
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_restored_copy_that_alone_was_complete_serves_only_if_an_operator_says_so() {
    lab::skip_unless_root!();
    let (mut volumes, there, backup) = backed_up("volume-restored");
    let gone = other(there);
    volumes.site.machine_mut(gone).stop();
    volumes.becomes(there, "serving alone");
    overwrite(&volumes, there);
    volumes.site.machine_mut(there).stop();
    backup.restore(&volumes, there);
    for node in [gone, there] {
        volumes.site.machine_mut(node).start();
    }
    // The acknowledged write is no longer on any disk, and neither copy hides that.
    let told = || {
        volumes
            .shown(there)
            .contains("older than what the cluster recorded")
    };
    assert!(eventually(SOON, told), "{}", volumes.tell());
    volumes.becomes(gone, "waiting");
    assert_eq!(volumes.owner(), None, "{}", volumes.tell());
    let order = ["volume", "serve-alone", "mail"];
    let words = ["not confirmed", "this copy is served"];
    volumes.site.machine(there).command(&order).refused(&words);
    assert_eq!(volumes.owner(), None, "{}", volumes.tell());
    let order = ["volume", "serve-alone", "mail", "--yes"];
    volumes.site.machine(there).command(&order).well();
    assert_eq!(volumes.in_sync(), there);
    has(&volumes, 1);
    overwrite(&volumes, gone);
    has(&volumes, 2);
    // The volume works like any other again.
    volumes.site.machine_mut(there).stop();
    volumes.becomes(gone, "serving alone");
    volumes.site.machine_mut(there).start();
    volumes.in_sync();
    has(&volumes, 2);
    volumes.holds(Vec::new());
}

#[test]
#[ignore = "it takes long: make test-long"]
fn a_restored_copy_is_filled_by_the_one_that_is_complete() {
    lab::skip_unless_root!();
    let (mut volumes, there, backup) = backed_up("volume-restored-other");
    let owner = other(there);
    volumes.site.machine_mut(there).stop();
    volumes.becomes(owner, "serving alone");
    overwrite(&volumes, owner);
    volumes.site.machine_mut(there).start();
    volumes.in_sync();
    // Both copies are complete, and both machines stop. The machine with the restored copy starts
    // first.
    for node in NODES {
        volumes.site.machine_mut(node).stop();
    }
    backup.restore(&volumes, there);
    volumes.site.machine_mut(there).start();
    let told = || {
        volumes
            .shown(there)
            .contains("older than what the cluster recorded")
    };
    assert!(eventually(SOON, told), "{}", volumes.tell());
    assert_eq!(volumes.owner(), None, "{}", volumes.tell());
    volumes.site.machine_mut(owner).start();
    assert_eq!(volumes.in_sync(), owner);
    has(&volumes, 2);
    volumes.holds(Vec::new());
}

/// Number of a block near the end of the volume.
const LATE: u64 = 8000;
const CUT_BYTES: u64 = 1 << 20;

/// Sets the length of a copy's file in bytes.
fn set_length(volumes: &VolumeSite, node: &str, bytes: u64) {
    let file = fs::File::options().write(true).open(volumes.file(node));
    file.unwrap().set_len(bytes).unwrap();
}

/// Creates a volume with a block near its end that is stable: both nodes were stopped after the
/// write.
fn with_a_late_block(name: &str) -> VolumeSite {
    let mut volumes = VolumeSite::new(name);
    let owner = volumes.in_sync();
    let mut client = Client::connect(&volumes.socket(owner)).unwrap();
    client.write(LATE, &[5; 4096], true).unwrap();
    drop(client);
    for node in [other(owner), owner] {
        volumes.site.machine_mut(node).stop();
        volumes.site.machine_mut(node).start();
        volumes.in_sync();
    }
    volumes
}

/// Asserts that each node has the block on its own disk.
fn both_have_it(volumes: &mut VolumeSite) {
    for node in NODES {
        volumes.site.machine_mut(other(node)).stop();
        volumes.becomes(node, "serving alone");
        let mut client = Client::connect(&volumes.socket(node)).unwrap();
        assert_eq!(client.read(LATE).unwrap(), [5; 4096], "{node}");
        drop(client);
        volumes.site.machine_mut(other(node)).start();
        volumes.in_sync();
    }
    volumes.holds(Vec::new());
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_copy_whose_disk_lost_its_end_is_filled_as_a_whole() {
    lab::skip_unless_root!();
    let mut volumes = with_a_late_block("volume-cut");
    let mut client = Client::connect(&volumes.socket("alpha")).unwrap();
    // First the owner's disk loses its end, then that of the other node.
    for _ in 0..2 {
        let node = volumes.in_sync();
        set_length(&volumes, node, CUT_BYTES);
        // The first request beyond the end detects the loss, and the other node takes over.
        assert_eq!(client.read(LATE).unwrap(), [5; 4096]);
        volumes.becomes(other(node), "serving alone");
        set_length(&volumes, node, SIZE);
        volumes.in_sync();
    }
    drop(client);
    both_have_it(&mut volumes);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_copy_that_was_too_short_to_be_opened_is_filled_as_a_whole() {
    lab::skip_unless_root!();
    let mut volumes = with_a_late_block("volume-cut-open");
    let owner = volumes.in_sync();
    let there = other(owner);
    volumes.site.machine_mut(there).stop();
    set_length(&volumes, there, CUT_BYTES);
    volumes.site.machine_mut(there).start();
    volumes.becomes(there, "failed");
    // Both machines start with disks of the original length; the one whose disk was short starts
    // first.
    for node in NODES {
        volumes.site.machine_mut(node).stop();
    }
    set_length(&volumes, there, SIZE);
    volumes.site.machine_mut(there).start();
    volumes.becomes(there, "waiting");
    volumes.site.machine_mut(owner).start();
    volumes.in_sync();
    both_have_it(&mut volumes);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn the_only_complete_copy_without_its_end_serves_if_an_operator_says_so() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-cut-alone");
    let owner = volumes.in_sync();
    volumes.site.machine_mut(other(owner)).stop();
    volumes.becomes(owner, "serving alone");
    let mut client = Client::connect(&volumes.socket(owner)).unwrap();
    client.write(3, &[1; 4096], true).unwrap();
    drop(client);
    volumes.site.machine_mut(owner).stop();
    set_length(&volumes, owner, CUT_BYTES);
    volumes.site.machine_mut(owner).start();
    volumes.becomes(owner, "failed");
    set_length(&volumes, owner, SIZE);
    let told = || volumes.shown(owner).contains("data beyond its end is lost");
    assert!(eventually(SOON, told), "{}", volumes.tell());
    let order = ["volume", "serve-alone", "mail", "--yes"];
    volumes.site.machine(owner).command(&order).well();
    volumes.becomes(owner, "serving alone");
    // The order is not needed again after a restart.
    volumes.site.machine_mut(owner).stop();
    volumes.site.machine_mut(owner).start();
    volumes.becomes(owner, "serving alone");
    volumes.site.machine_mut(other(owner)).start();
    volumes.in_sync();
    has(&volumes, 1);
    volumes.holds(Vec::new());
}
