//! Tests `evenkeel copy`: a raw disk and a volume are copied to a volume of another node, in a real
//! cluster.

use crate::cluster::site::SOON;
use crate::volume::site::{Client, VolumeSite};
use lab::{Random, eventually};
use rustix::process::{Signal, kill_process};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

const SIZE: u64 = 48 << 20;

/// Creates a cluster with the volume `store` on beta, and a raw disk with data and holes.
fn site(name: &str) -> (VolumeSite, PathBuf) {
    let volumes = VolumeSite::new(name);
    let directory = volumes.configuration("");
    let backing = directory.lines().find(|line| line.contains("backing"));
    let text = volumes.configuration(&format!(
        "\nvolume store\n\tsize {SIZE}\n\ton beta\n{}\n",
        backing.unwrap_or_default()
    ));
    volumes.site.alpha.apply(&text, &["--now"]).well();
    let beta = &volumes.site.beta;
    let known = || beta.command(&["volume", "show", "store"]).good;
    assert!(eventually(SOON, known), "{}", volumes.tell());
    volumes
        .site
        .beta
        .command(&["volume", "create", "store"])
        .well();
    let path = volumes.scratch().join("disk.raw");
    let file = File::create(&path).unwrap();
    file.set_len(SIZE - 5000).unwrap();
    let mut random = Random::new(9);
    for at in (0..SIZE - (2 << 20)).step_by(3 << 20) {
        let mut noise = vec![0; 1 << 20];
        random.fill(&mut noise);
        file.write_all_at(&noise, at).unwrap();
        file.write_all_at(&[7; 1 << 20], at + (1 << 20)).unwrap();
    }
    (volumes, path)
}

/// Asserts that the target has the data of the disk, followed by zeroes.
#[track_caller]
fn is_copied(volumes: &VolumeSite, wanted: &[u8]) {
    let has = fs::read(volumes.file("beta").with_file_name("store.volume")).unwrap();
    let (copied, behind) = has.split_at(wanted.len());
    let differs = copied.iter().zip(wanted).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{}", volumes.tell());
    assert!(behind.iter().all(|byte| *byte == 0));
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_disk_is_copied_to_another_node_although_its_role_is_killed_in_the_middle() {
    lab::skip_unless_root!();
    let (volumes, path) = site("volume-copy");
    let (alpha, beta) = (&volumes.site.alpha, &volumes.site.beta);
    let from = path.to_str().unwrap();
    let store = volumes.file("beta").with_file_name("store.volume");
    let stored = || fs::metadata(&store).map_or(0, |found| found.blocks());
    let before = stored();
    std::thread::scope(|scope| {
        let copy = scope.spawn(|| alpha.command(&["copy", from, "beta:store"]));
        assert!(eventually(SOON, || stored() > before), "{}", volumes.tell());
        let role = beta.role("volume-role").expect("a role");
        kill_process(role, Signal::KILL).unwrap();
        let said = copy.join().unwrap().well();
        assert!(
            said.text().contains("checksums are equal"),
            "{}",
            said.text()
        );
    });
    let mut wanted = fs::read(&path).unwrap();
    is_copied(&volumes, &wanted);
    // Copies the disk again, after a change of ten bytes.
    wanted[300_000..300_010].fill(1);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .write_all_at(&[1; 10], 300_000)
        .unwrap();
    let refused = alpha.command(&["copy", from, "beta:store"]);
    refused.refused(&[
        "holds other data",
        "`--yes` overwrites",
        "Nothing was written",
    ]);
    let said = alpha.command(&["copy", from, "beta:store", "--yes"]).well();
    assert!(said.text().contains("sent 64.0 KiB"), "{}", said.text());
    is_copied(&volumes, &wanted);
}

#[test]
#[ignore = "it takes long: make test-long"]
fn a_volume_with_two_copies_is_copied_and_what_cannot_be_copied_is_refused_in_words() {
    lab::skip_unless_root!();
    let (volumes, path) = site("volume-copy-pair");
    let (alpha, beta) = (&volumes.site.alpha, &volumes.site.beta);
    let from = path.to_str().unwrap();
    let empty = volumes.scratch().join("empty.raw");
    File::create(&empty).unwrap();
    let empty = empty.display().to_string();
    for (words, expected) in [
        (["copy", from, "gamma:store"], "no node 'gamma'"),
        (["copy", from, "beta:none"], "beta has no volume 'none'"),
        (["copy", from, "beta:mail"], "write `size "),
        (
            ["copy", "beta:mail", "beta:store"],
            "run the command on the node",
        ),
        (["copy", "none", "beta:store"], "no volume 'none'"),
        (["copy", from, "store"], "is not NODE:VOLUME"),
        (["copy", from, "BETA:none"], "beta has no volume 'none'"),
        (["copy", "mail", "Beta:mail"], "is volume 'mail' itself"),
        (["copy", &empty, "beta:store"], "is empty (0 bytes)"),
    ] {
        let said = alpha.command(&words);
        said.refused(&[expected, "Nothing was written"]);
    }
    let socket = beta.runtime().join("volume-store.sock");
    let client = Client::connect_to(&socket, "store").unwrap();
    let said = alpha.command(&["copy", "mail", "beta:store"]);
    said.refused(&["has clients (1"]);
    drop(client);
    let mut client = Client::connect(&volumes.socket("alpha")).unwrap();
    client.write(5, &[5; 4096], true).unwrap();
    drop(client);
    let said = alpha.command(&["copy", "mail", "beta:store"]).well();
    assert!(said.text().contains("sent 64.0 KiB"), "{}", said.text());
    let mut wanted = vec![0; SIZE as usize];
    wanted[5 * 4096..6 * 4096].fill(5);
    is_copied(&volumes, &wanted);
    // Copies to a volume with two copies, which is refused, and to the node of the command.
    let said = beta.command(&["copy", "store", "beta:mail", "--yes"]);
    said.refused(&["write `size "]);
    let said = beta.command(&["copy", "mail", "beta:store"]).well();
    assert!(said.text().contains("sent 0 B"), "{}", said.text());
}
