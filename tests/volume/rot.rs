//! Tests `verify yes` with two copies: silent damage on a disk is found by reads and by a verify,
//! and repaired from the other copy while clients use the volume.

use crate::cluster::site::SOON;
use crate::volume::site::{Client, Log, NODES, SIZE, VolumeSite, Writer, clients, other};
use lab::{Random, eventually, setting};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

/// First of some blocks that no load writes.
const QUIET: u64 = 2000;
const VERIFY: &str = "\tverify yes\n";

/// Creates a volume whose two copies have all checksums; returns it with the owner.
fn checked(name: &str) -> (VolumeSite, &'static str) {
    let volumes = VolumeSite::new(name);
    let text = volumes.configuration(VERIFY);
    volumes.site.alpha.apply(&text, &["--now"]).well();
    for node in NODES {
        complete(&volumes, node);
    }
    let owner = volumes.in_sync();
    (volumes, owner)
}

/// Waits until all blocks of a copy have checksums.
#[track_caller]
fn complete(volumes: &VolumeSite, node: &str) {
    let is = || volumes.fact(node, "checksums").as_deref() == Some("complete");
    assert!(eventually(SOON, is), "{}", volumes.tell());
}

/// Writes a block with this byte to stable storage.
fn write(volumes: &VolumeSite, node: &str, block: u64, byte: u8) {
    let mut client = Client::connect(&volumes.socket(node)).unwrap();
    client.write(block, &[byte; 4096], true).unwrap();
}

fn read(volumes: &VolumeSite, node: &str, block: u64) -> std::io::Result<Vec<u8>> {
    Client::connect(&volumes.socket(node)).unwrap().read(block)
}

/// Changes a byte of a copy directly in its file.
fn rot(volumes: &VolumeSite, node: &str, block: u64) {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).open(volumes.file(node));
    let file = file.unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, block * 4096 + 99).unwrap();
    let flipped = [byte[0] ^ 4];
    file.write_all_at(&flipped, block * 4096 + 99).unwrap();
    file.sync_all().unwrap();
}

/// Returns whether a block of a copy has these bytes on its disk.
fn has(volumes: &VolumeSite, node: &str, block: u64, byte: u8) -> bool {
    let file = OpenOptions::new().read(true).open(volumes.file(node));
    let mut bytes = [0; 4096];
    file.unwrap()
        .read_exact_at(&mut bytes, block * 4096)
        .unwrap();
    bytes == [byte; 4096]
}

#[test]
#[ignore = "it takes long: make test-long"]
fn disk_damage_is_repaired_and_hidden_from_clients() {
    lab::skip_unless_root!();
    let (volumes, owner) = checked("volume-rot");
    let there = other(owner);
    let writers = clients(&volumes);
    for block in QUIET..QUIET + 4 {
        write(&volumes, owner, block, 7);
    }
    // At the owner: found and repaired by the read of a client, at either node.
    for (block, reader) in [(QUIET, owner), (QUIET + 1, there)] {
        rot(&volumes, owner, block);
        assert!(!has(&volumes, owner, block, 7));
        assert_eq!(read(&volumes, reader, block).unwrap(), [7; 4096]);
        assert!(has(&volumes, owner, block, 7), "{}", volumes.tell());
    }
    let repaired = volumes.fact(
        owner,
        "Damaged blocks that were repaired from the other copy",
    );
    assert_eq!(repaired.as_deref(), Some("2"), "{}", volumes.tell());
    let shown = volumes.shown(owner);
    let words = format!(
        "bytes {}-{} were repaired from the other copy",
        QUIET * 4096,
        QUIET * 4096 + 4095
    );
    assert!(shown.contains(&words), "{shown}");
    assert_eq!(volumes.fact(owner, "state").as_deref(), Some("serving"));
    let machine = volumes.site.machine(owner);
    let metrics = machine
        .command(&["status", "volume", "--metrics"])
        .well()
        .text();
    let counter = "evenkeel_volume_repaired_blocks_total{volume=\"mail\"} 2";
    assert!(metrics.contains(counter), "{metrics}");
    // A verify finds damage in both copies, and repairs it in the right direction on request.
    rot(&volumes, owner, QUIET + 2);
    rot(&volumes, there, QUIET + 3);
    let verify = ["volume", "verify", "mail"];
    let words = [
        "4 KiB do not match their checksums here",
        "4 KiB do not match their checksums at the other node",
        "nothing was repaired",
        "from the other copy",
    ];
    machine.command(&verify).refused(&words);
    assert!(!has(&volumes, there, QUIET + 3, 7));
    let repairs = ["volume", "verify", "mail", "--repair"];
    machine.command(&repairs).refused(&["8 KiB repaired"]);
    assert!(has(&volumes, owner, QUIET + 2, 7), "{}", volumes.tell());
    assert!(has(&volumes, there, QUIET + 3, 7), "{}", volumes.tell());
    machine.command(&verify).well();
    writers.iter().for_each(|writer| writer.gets_on(20));
    volumes.holds(writers);
}

#[test]
fn damage_that_the_other_copy_cannot_repair_is_an_error_and_never_wrong_data() {
    lab::skip_unless_root!();
    let (mut volumes, owner) = checked("volume-rot-alone");
    let there = other(owner);
    write(&volumes, owner, QUIET, 7);
    write(&volumes, owner, QUIET + 1, 7);
    volumes.site.machine_mut(there).stop();
    volumes.becomes(owner, "serving alone");
    rot(&volumes, owner, QUIET);
    assert!(read(&volumes, owner, QUIET).is_err());
    volumes.becomes(owner, "failing");
    let shown = volumes.shown(owner);
    assert!(shown.contains("the other copy is not connected"), "{shown}");
    // Only this copy has the new data, and its block is damaged: the other copy does not get it.
    write(&volumes, owner, QUIET + 1, 8);
    rot(&volumes, owner, QUIET + 1);
    volumes.site.machine_mut(there).start();
    let is_repaired = || read(&volumes, owner, QUIET).is_ok_and(|bytes| bytes == [7; 4096]);
    assert!(eventually(SOON, is_repaired), "{}", volumes.tell());
    assert!(read(&volumes, owner, QUIET + 1).is_err());
    let told = || {
        volumes
            .shown(owner)
            .contains("the resync ends when they are overwritten")
    };
    assert!(eventually(SOON, told), "{}", volumes.tell());
    write(&volumes, owner, QUIET + 1, 9);
    volumes.in_sync();
    for node in NODES {
        assert_eq!(read(&volumes, node, QUIET + 1).unwrap(), [9; 4096]);
        assert!(has(&volumes, node, QUIET + 1, 9));
    }
    // The block is damaged in both copies.
    NODES.iter().for_each(|node| rot(&volumes, node, QUIET));
    assert!(read(&volumes, owner, QUIET).is_err());
    let words = "they are damaged in the other copy, too";
    let told = || volumes.shown(owner).contains(words);
    assert!(eventually(SOON, told), "{}", volumes.tell());
    write(&volumes, owner, QUIET, 5);
    for node in NODES {
        assert_eq!(read(&volumes, node, QUIET).unwrap(), [5; 4096]);
    }
    volumes.becomes(owner, "serving");
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_pair_that_grows_or_is_filled_has_checksums_of_all_of_it() {
    lab::skip_unless_root!();
    let (mut volumes, owner) = checked("volume-rot-grows");
    let there = other(owner);
    let larger = SIZE + (8 << 20);
    let text = volumes.sized(&larger.to_string()) + VERIFY;
    volumes.site.alpha.apply(&text, &["--now"]).well();
    let has_grown = || Client::connect(&volumes.socket(owner)).is_ok_and(|one| one.size == larger);
    assert!(eventually(SOON, has_grown), "{}", volumes.tell());
    let last = larger / 4096 - 1;
    write(&volumes, owner, last, 7);
    // The last block has been written, the one before it never.
    for (block, byte) in [(last, 7), (last - 1, 0)] {
        complete(&volumes, owner);
        rot(&volumes, owner, block);
        assert_eq!(read(&volumes, owner, block).unwrap(), [byte; 4096]);
        assert!(has(&volumes, owner, block, byte));
    }
    // The other copy is created again and filled, and its node becomes the owner.
    let machine = volumes.site.machine_mut(there);
    machine.stop();
    for extension in ["volume", "metadata"] {
        let path = volumes.file(there).with_extension(extension);
        std::fs::remove_file(path).unwrap();
    }
    volumes.site.machine_mut(there).start();
    volumes.becomes(there, "not created");
    let create = ["volume", "create", "mail"];
    volumes.site.machine(there).command(&create).well();
    volumes.in_sync();
    complete(&volumes, there);
    let hand_over = ["volume", "hand-over", "mail"];
    volumes.site.machine(owner).command(&hand_over).well();
    assert_eq!(volumes.in_sync(), there, "{}", volumes.tell());
    rot(&volumes, there, last);
    assert_eq!(read(&volumes, owner, last).unwrap(), [7; 4096]);
    assert!(has(&volumes, there, last, 7));
    // Without the line VERIFY nothing is checked; with it, all checksums are computed again.
    let without = text.replace(VERIFY, "");
    volumes.site.alpha.apply(&without, &["--now"]).well();
    let is_off = || {
        NODES
            .iter()
            .all(|node| volumes.fact(node, "checksums").is_none())
    };
    assert!(eventually(SOON, is_off), "{}", volumes.tell());
    let owner = volumes.in_sync();
    write(&volumes, owner, last, 8);
    volumes.site.alpha.apply(&text, &["--now"]).well();
    NODES.iter().for_each(|node| complete(&volumes, node));
    let owner = volumes.in_sync();
    assert_eq!(read(&volumes, owner, last).unwrap(), [8; 4096]);
}

/// Number of power cuts; `VOLUME_CUTS` sets another number.
const CUTS: u64 = 200;

/// Data and its checksum are not written at once: no loss of power makes a block look damaged
/// that is not.
#[test]
#[ignore = "it takes minutes: make test-long"]
fn power_cuts_leave_no_block_that_counts_as_damaged() {
    lab::skip_unless_root!();
    let mut random = Random::new(setting("VOLUME_SEED").unwrap_or(1));
    let mut volumes = VolumeSite::on_unreliable_disks("volume-rot-power");
    let text = volumes.configuration(VERIFY);
    volumes.site.alpha.apply(&text, &["--now"]).well();
    volumes.in_sync();
    let mut logs: Vec<Log> = [0, 4096].into_iter().map(Log::new).collect();
    for _ in 0..setting("VOLUME_CUTS").unwrap_or(CUTS) {
        let nodes = NODES.into_iter().zip(logs);
        let writers = nodes.map(|(node, log)| Writer::go_on(volumes.socket(node), log));
        let writers: Vec<Writer> = writers.collect();
        writers.iter().for_each(|writer| writer.gets_on(40));
        volumes.lose_power(&["alpha", "beta", "arbiter"], &mut random);
        logs = writers.into_iter().map(Writer::stop).collect();
        for name in ["arbiter", "beta", "alpha"] {
            volumes.site.machine_mut(name).start();
        }
        volumes.holds_what_was_flushed(&mut logs);
        NODES.iter().for_each(|node| complete(&volumes, node));
        let owner = volumes.in_sync();
        let verify = ["volume", "verify", "mail"];
        volumes.site.machine(owner).command(&verify).well();
        for node in NODES {
            let found = volumes.fact(node, "Blocks that a read found damaged");
            assert_eq!(found.as_deref(), Some("0"), "{}", volumes.tell());
        }
    }
}
