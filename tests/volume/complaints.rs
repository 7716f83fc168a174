//! Tests frequent complaints of users of replicated block devices, a scenario each, on real
//! machines. The slow variations run with `VOLUME_LONG=1`.

use crate::cluster::site::SOON;
use crate::volume::site::{Client, VolumeSite, Writer, clients, other};
use lab::{eventually, setting};
use std::fs;

/// Returns the number of repetitions.
fn rounds(few: u64, many: u64) -> u64 {
    match setting("VOLUME_LONG") {
        Some(_) => many,
        None => few,
    }
}

/// A resync ends while clients write to the blocks that it copies, even if its link breaks in
/// between.
#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_resync_does_not_stop_at_99_percent() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-99");
    let owner = volumes.in_sync();
    let writers = clients(&volumes);
    let here = usize::from(owner == "beta");
    for _ in 0..rounds(1, 10) {
        volumes.site.machine_mut(other(owner)).kill();
        volumes.becomes(owner, "serving alone");
        writers[here].gets_on(100);
        volumes.site.machine_mut(other(owner)).start();
        writers[here].gets_on(20);
        let cut = volumes.site.cut_direct();
        writers[here].gets_on(20);
        drop(cut);
        // Clients write all the time, which never delays the end.
        assert_eq!(volumes.in_sync(), owner);
    }
    volumes.holds(writers);
}

/// The arbiter has no data, and a resync needs it neither to begin nor to end: the two nodes are a
/// majority. The resync continues when the arbiter disappears and returns.
#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_resync_is_not_latched_by_a_tie_breaker_without_data() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-tie-breaker");
    let owner = volumes.in_sync();
    let writers = clients(&volumes);
    let here = usize::from(owner == "beta");
    volumes.site.machine_mut(other(owner)).kill();
    volumes.becomes(owner, "serving alone");
    writers[here].gets_on(50);
    volumes.site.arbiter.kill();
    volumes.site.machine_mut(other(owner)).start();
    volumes.in_sync();
    volumes.site.arbiter.start();
    let owner = volumes.in_sync();
    volumes.site.machine_mut(other(owner)).kill();
    volumes.becomes(owner, "serving alone");
    volumes.site.machine_mut(other(owner)).start();
    volumes.holds(writers);
}

/// Both copies are kept until an operator gives one up, at its own node, by a command that shows
/// what would be lost.
#[test]
fn split_brain_is_not_resolved_by_discarding() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-split");
    let owner = volumes.in_sync();
    let there = other(owner);
    let mut client = Client::connect(&volumes.socket(owner)).unwrap();
    client.write(3, &[7; 4096], true).unwrap();
    volumes.site.machine_mut(there).stop();
    volumes.becomes(owner, "serving alone");
    // Creates another copy in place of the first one, with other data.
    let file = volumes.file(there);
    fs::remove_file(&file).unwrap();
    fs::remove_file(file.with_extension("metadata")).unwrap();
    let single = volumes.scratch().join("single.cfg");
    let text = volumes.configuration("").replace("\ton alpha beta\n", "");
    let (_, section) = text.split_once("volume mail").unwrap();
    fs::write(&single, format!("volume mail{section}")).unwrap();
    let single = single.to_str().unwrap();
    let create = ["volume", "create", "mail", "--from", single];
    volumes.site.machine(there).command(&create).well();
    let mut bytes = fs::read(&file).unwrap();
    bytes[5 * 4096..6 * 4096].fill(9);
    fs::write(&file, &bytes).unwrap();
    volumes.site.machine_mut(there).start();
    volumes.becomes(there, "refused");
    client.write(4, &[8; 4096], true).unwrap();
    // Neither copy changes, and orders to the wrong node are refused.
    let machine = |node| volumes.site.machine(node);
    let discard = ["volume", "resync", "mail", "--discard-mine"];
    let confirmed = ["volume", "resync", "mail", "--discard-mine", "--yes"];
    machine(owner)
        .command(&confirmed)
        .refused(&["this node owns volume 'mail'"]);
    let resync = ["volume", "resync", "mail"];
    // The refused copy learns of its refusal from the cluster, and the owner when the copies are
    // connected.
    let connected = || {
        let said = machine(owner).command(&resync);
        let shown = machine(there).command(&discard);
        !said.text().contains("is not connected") && shown.text().contains("another volume")
    };
    assert!(eventually(SOON, connected), "{}", volumes.tell());
    machine(owner)
        .command(&resync)
        .refused(&["is refused", "--discard-mine"]);
    machine(there)
        .command(&resync)
        .refused(&["its owner is", owner]);
    let shown = machine(there).command(&discard);
    shown.refused(&[
        "nothing was changed",
        "written here",
        "belongs to another volume",
    ]);
    assert_eq!(fs::read(&file).unwrap()[5 * 4096], 9);
    // The operator confirms the choice.
    machine(there).command(&confirmed).well();
    volumes.in_sync();
    let again = machine(there).command(&confirmed);
    again.refused(&["is not refused", "nothing to discard"]);
    assert_eq!(client.read(3).unwrap(), [7; 4096]);
    assert_eq!(client.read(4).unwrap(), [8; 4096]);
    assert_eq!(client.read(5).unwrap(), [0; 4096]);
    drop(client);
    volumes.holds(Vec::new());
}

/// A volume is removed on one node while the other node does not respond, and on the other node
/// later.
#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_deletion_is_not_stuck_while_the_other_node_is() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-deleting");
    let owner = volumes.in_sync();
    let text = volumes.configuration("");
    let (nodes, _) = text.split_once("volume mail").unwrap();
    let directory = text.rsplit(' ').next().unwrap().trim();
    let remove = |node: &str| {
        let words = [
            "volume",
            "remove",
            "mail",
            "--backing",
            "file",
            directory,
            "--yes",
        ];
        let removed = || volumes.site.machine(node).command(&words).good;
        assert!(eventually(SOON, removed), "{}", volumes.tell());
        assert!(!volumes.file(node).exists());
    };
    let frozen = volumes.site.machine(other(owner)).freeze();
    volumes.becomes(owner, "serving alone");
    let applied = || volumes.site.machine(owner).apply(nodes, &["--now"]).good;
    assert!(eventually(SOON, applied), "{}", volumes.tell());
    remove(owner);
    frozen.thaw();
    remove(other(owner));
}

/// The silent loss of a peer freezes no client for longer than the detection takes.
#[test]
#[ignore = "it takes long: make test-long"]
fn a_lost_peer_does_not_freeze_the_volume() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-lost-peer");
    let writers = clients(&volumes);
    for _ in 0..rounds(1, 10) {
        let owner = volumes.in_sync();
        let here = usize::from(owner == "beta");
        let frozen = volumes.site.machine(other(owner)).freeze();
        volumes.becomes(owner, "serving alone");
        writers[here].gets_on(50);
        frozen.thaw();
        volumes.in_sync();
        writers.iter().for_each(|writer| writer.gets_on(20));
    }
    volumes.holds(writers);
}

/// A client at queue depth one continues during a resync of the whole volume that an operator
/// ordered.
#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_resync_does_not_starve_the_application() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::with_size("volume-starve", 256 << 20);
    let owner = volumes.in_sync();
    let writer = Writer::start(volumes.socket(owner), 0);
    writer.gets_on(20);
    // The whole volume is compared, and the command ends when both copies are in sync.
    let machine = volumes.site.machine(owner);
    let resync = ["volume", "resync", "mail", "--from", "here"];
    std::thread::scope(|scope| {
        let said = scope.spawn(|| machine.command(&resync));
        writer.gets_on(200);
        said.join().unwrap().well();
    });
    let wrong = ["volume", "resync", "mail", "--from", other(owner)];
    machine
        .command(&wrong)
        .refused(&["hand-over", "Nothing was changed"]);
    volumes.holds(vec![writer]);
}

#[test]
fn a_copy_that_lacks_writes_names_the_node_that_has_them() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-lacks");
    let owner = volumes.in_sync();
    let there = other(owner);
    volumes.site.machine_mut(there).kill();
    volumes.becomes(owner, "serving alone");
    let mut client = Client::connect(&volumes.socket(owner)).unwrap();
    client.write(1, &[1; 4096], true).unwrap();
    drop(client);
    volumes.site.machine_mut(owner).kill();
    volumes.site.machine_mut(there).start();
    volumes.becomes(there, "waiting");
    let words = format!("only the copy of {owner} is complete, because {owner} served alone");
    let why = || volumes.fact(there, "why").unwrap_or_default();
    assert!(
        eventually(SOON, || why().contains(&words)),
        "{}",
        volumes.tell()
    );
    let said = volumes.site.machine(there).said();
    assert!(!said.contains("no cluster has reported"), "{said}");
    volumes.site.machine_mut(owner).start();
    volumes.in_sync();
}
