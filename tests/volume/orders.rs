//! Tests changes and orders of operators for volumes with two copies: a larger size, fewer copies.

use crate::cluster::site::SOON;
use crate::volume::site::{Client, SIZE, VolumeSite, Writer, other};
use lab::eventually;

const LARGE: u64 = 2 * SIZE;

/// Waits until clients of these nodes get this size.
#[track_caller]
fn has_size(volumes: &VolumeSite, nodes: &[&str], size: u64) {
    let sized = |node: &&str| {
        let client = Client::connect(&volumes.socket(node));
        client.is_ok_and(|client| client.size == size)
    };
    let all = || nodes.iter().all(sized);
    assert!(eventually(SOON, all), "{}", volumes.tell());
}

/// Starts a client that writes to the new part of the volume.
fn in_new_part(volumes: &VolumeSite, node: &str) -> Writer {
    let writer = Writer::start(volumes.socket(node), SIZE / 4096 + 700);
    writer.gets_on(50);
    writer
}

#[test]
#[ignore = "it takes long: make test-long"]
fn a_larger_size_grows_both_copies_while_clients_write_and_survives_the_owner() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-grows");
    let owner = volumes.in_sync();
    let mut writers = vec![Writer::start(volumes.socket(owner), 0)];
    writers[0].gets_on(50);
    let large = volumes.sized("64m");
    volumes.site.alpha.apply(&large, &["--now"]).well();
    has_size(&volumes, &["alpha", "beta"], LARGE);
    assert_eq!(volumes.fact(owner, "size").as_deref(), Some("64m"));
    writers.push(in_new_part(&volumes, other(owner)));
    // The other copy has the new part, too.
    volumes.site.machine_mut(owner).kill();
    volumes.becomes(other(owner), "serving alone");
    writers[1].gets_on(50);
    has_size(&volumes, &[other(owner)], LARGE);
    volumes.site.machine_mut(owner).start();
    volumes.in_sync();
    has_size(&volumes, &["alpha", "beta"], LARGE);
    volumes.holds(writers);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_copy_that_was_away_gets_the_larger_size_when_it_is_back() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-grows-away");
    let owner = volumes.in_sync();
    let away = other(owner);
    volumes.site.machine_mut(away).kill();
    volumes.becomes(owner, "serving alone");
    let large = volumes.sized("64m");
    volumes.site.machine(owner).apply(&large, &["--now"]).well();
    has_size(&volumes, &[owner], LARGE);
    let writer = in_new_part(&volumes, owner);
    volumes.site.machine_mut(away).start();
    volumes.in_sync();
    has_size(&volumes, &[owner, away], LARGE);
    writer.gets_on(50);
    volumes.holds(vec![writer]);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_size_for_which_there_is_no_room_is_refused_in_words_and_the_volume_goes_on() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-no-room");
    let owner = volumes.in_sync();
    let writer = Writer::start(volumes.socket(owner), 0);
    writer.gets_on(20);
    let huge = volumes.sized("15t");
    volumes.site.alpha.apply(&huge, &["--now"]).well();
    let told = || {
        let shown = volumes.shown(owner);
        shown.contains("cannot grow from 32m to 15t") && shown.contains("is too small")
    };
    assert!(eventually(SOON, told), "{}", volumes.tell());
    writer.gets_on(50);
    has_size(&volumes, &["alpha", "beta"], SIZE);
    let large = volumes.sized("64m");
    volumes.site.alpha.apply(&large, &["--now"]).well();
    has_size(&volumes, &["alpha", "beta"], LARGE);
    volumes.holds(vec![writer]);
}

/// Applies a file that names these nodes.
fn names(volumes: &VolumeSite, nodes: &str) {
    let text = volumes.configuration("");
    let text = text.replace("on alpha beta", &format!("on {nodes}"));
    volumes.site.alpha.apply(&text, &["--now"]).well();
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_volume_goes_back_to_one_copy_and_the_one_that_was_left_is_never_merged() {
    lab::skip_unless_root!();
    for node in ["alpha", "beta"] {
        let mut volumes = VolumeSite::new(&format!("volume-one-{node}"));
        let writer = Writer::start(volumes.socket(node), 0);
        writer.gets_on(50);
        // The node that stays may be the owner or not.
        names(&volumes, node);
        let gone = || !volumes.socket(other(node)).exists();
        assert!(eventually(SOON, gone), "{}", volumes.tell());
        volumes.becomes(node, "serving");
        writer.gets_on(50);
        // The node also serves after a restart, at which it no longer knows the name of the other
        // node.
        volumes.site.machine_mut(node).kill();
        volumes.site.machine_mut(node).start();
        writer.gets_on(50);
        volumes.becomes(node, "serving");
        // The abandoned copy does not serve its data, whatever the configuration says.
        names(&volumes, other(node));
        volumes.becomes(other(node), "waiting");
        let shown = volumes.shown(other(node));
        assert!(shown.contains("this copy is not complete"), "{shown}");
        names(&volumes, "alpha beta");
        volumes.in_sync();
        writer.gets_on(50);
        volumes.holds(vec![writer]);
    }
}
