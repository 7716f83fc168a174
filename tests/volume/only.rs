//! Tests clusters that serve only volumes: a node that serves nothing any longer, and the first and
//! the last listener of a proxy.

use crate::cluster::site::{Machine, SOON};
use crate::volume::site::{Client, VolumeSite, Writer};
use lab::eventually;
use rustix::process::{Signal, kill_process};

/// Returns the section of the volume without the sections of nodes.
fn alone(volumes: &VolumeSite) -> String {
    let text = volumes.configuration("");
    text[text.find("volume mail").unwrap()..].to_owned()
}

/// Waits until a node no longer serves the volume.
#[track_caller]
fn gone(volumes: &VolumeSite, node: &str) {
    let socket = volumes.socket(node);
    assert!(eventually(SOON, || !socket.exists()), "{}", volumes.tell());
}

/// Adds a proxy that responds with a word.
fn with_proxy(text: &str, word: &str) -> String {
    format!(
        "{text}\nfrontend www\n\tmode http\n\ttimeout client 20s\n\tbind :80\n\thttp-request return status 200 content-type text/plain \
         string {word}\n"
    )
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn the_last_volume_of_a_node_and_of_the_cluster_can_be_taken_away_and_come_back() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-last");
    let writer = Writer::start(volumes.socket("alpha"), 0);
    writer.gets_on(20);
    for further in [&["--now"][..], &["--judge", "2s"]] {
        let one = alone(&volumes).replace("on alpha beta", "on alpha");
        volumes.site.alpha.apply(&one, further).well();
        gone(&volumes, "beta");
        volumes.becomes("alpha", "serving");
        writer.gets_on(20);
        volumes.site.alpha.apply(&alone(&volumes), further).well();
        volumes.in_sync();
        writer.gets_on(20);
    }
    writer.stop();
    // An empty configuration is refused, and changes nothing.
    for text in ["", "global\n"] {
        let said = volumes.site.alpha.apply(text, &["--now"]);
        said.refused(&["nothing to run on any node", "stop the nodes"]);
    }
    volumes.in_sync();
    // The nodes serve no volume any longer, even after a restart.
    let other = with_proxy("", "other");
    volumes.site.alpha.apply(&other, &["--now"]).well();
    gone(&volumes, "alpha");
    gone(&volumes, "beta");
    volumes.site.beta.stop();
    volumes.site.beta.start();
    volumes.site.leader();
    let text = alone(&volumes);
    volumes.site.beta.apply(&text, &["--now"]).well();
    volumes.in_sync();
    Client::connect(&volumes.socket("beta")).unwrap();
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_proxy_comes_and_goes_by_a_version_of_the_cluster_while_clients_use_the_volume() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-and-proxy");
    let writer = Writer::start(volumes.socket("alpha"), 0);
    let text = alone(&volumes);
    let site = &volumes.site;
    let silent = |node: &&Machine| site.word_of(node).is_none();
    for (further, word) in [(&["--now"][..], "one"), (&["--judge", "2s"], "two")] {
        writer.gets_on(20);
        let said = site.alpha.apply(&with_proxy(&text, word), further);
        said.well();
        let serves = || site.serves_everywhere(word);
        assert!(eventually(SOON, serves), "{}", volumes.tell());
        writer.gets_on(20);
        site.alpha.apply(&text, further).well();
        let none = || site.nodes().iter().all(silent);
        assert!(eventually(SOON, none), "{}", volumes.tell());
    }
    writer.gets_on(20);
    writer.stop();
    volumes.in_sync();
}

#[test]
fn a_first_proxy_that_dies_as_a_candidate_leaves_nothing_behind() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-no-proxy");
    let writer = Writer::start(volumes.socket("beta"), 0);
    writer.gets_on(20);
    let site = &volumes.site;
    let text = with_proxy(&alone(&volumes), "bad");
    let proxy = || site.nodes().iter().find_map(|node| node.role("proxy-role"));
    std::thread::scope(|scope| {
        let said = scope.spawn(|| site.alpha.apply(&text, &["--judge", "60s"]));
        let serves = || site.nodes().iter().any(|node| site.serves(node, "bad"));
        assert!(eventually(SOON, serves), "{}", volumes.tell());
        kill_process(proxy().expect("a proxy"), Signal::KILL).unwrap();
        said.join().unwrap().refused(&["rolled back"]);
    });
    assert!(eventually(SOON, || proxy().is_none()), "{}", volumes.tell());
    // The failed candidate does not affect the next version.
    site.alpha
        .apply(&with_proxy(&alone(&volumes), "good"), &["--now"])
        .well();
    let serves = || site.serves_everywhere("good");
    assert!(eventually(SOON, serves), "{}", volumes.tell());
    writer.gets_on(20);
    writer.stop();
    volumes.in_sync();
}
