//! Tests a guest with a disk of a storage system (iSCSI) in a cluster. The guest migrates live.
//! After the loss of its node it starts only once an operator has confirmed that the node is off.

use crate::guest::site::{PATIENCE, kill};
use crate::volume::site::VolumeSite;
use lab::{IscsiTarget, eventually};

const STORAGE: &str = "10.60.0.181:3260";

fn configuration(site: &VolumeSite, target: &IscsiTarget) -> String {
    format!(
        "{}\nvolume store\n\tsize {}\n\ton alpha beta\n\tbacking iscsi {STORAGE} {} 1\n\n\
         guest web\n\tprefer alpha beta\n\tmemory 64m\n\tdisk store\n\tconsole serial\n\tstop-timeout 1s\n",
        site.configuration(""),
        IscsiTarget::BYTES,
        target.name(),
    )
}

/// Returns a fact that a node shows about the guest.
fn fact(site: &VolumeSite, node: &str, name: &str) -> Option<String> {
    let machine = site.site.machine(node);
    let text = machine.command(&["guest", "show", "web"]).text();
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(&format!("{name}: ")));
    line.map(str::to_owned)
}

fn tell(site: &VolumeSite) -> String {
    let of = |node: &str| {
        let machine = site.site.machine(node);
        let shown = machine.command(&["guest", "show", "web"]).text();
        let volumes = machine.command(&["volume", "list"]).text();
        format!("== {node}\n{shown}\n{volumes}\n{}\n", machine.said())
    };
    of("alpha") + &of("beta")
}

/// Waits until the guest runs on a node and counts; asserts that it was started `starts` times.
#[track_caller]
fn counts_on(site: &VolumeSite, target: &IscsiTarget, node: &str, starts: u16) {
    let runs = || fact(site, node, "running").as_deref() == Some("1");
    assert!(eventually(PATIENCE, runs), "{}", tell(site));
    let [before, _] = target.guest_counters();
    let counts = || target.guest_counters()[0] > before;
    assert!(eventually(PATIENCE, counts), "{}", tell(site));
    assert_eq!(target.guest_counters()[1], starts, "{}", tell(site));
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_guest_on_storage_moves_and_waits_for_a_person_when_its_node_is_lost() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("tgtd");
    let mut site = VolumeSite::uncreated("guest-storage");
    let target = IscsiTarget::start(&site.site.farm, STORAGE.parse().unwrap(), None).unwrap();
    let text = configuration(&site, &target);
    let alone = text.replace("prefer alpha beta", "prefer alpha");
    site.site.alpha.apply(&alone, &["--now"]).well();
    counts_on(&site, &target, "alpha", 1);
    site.site.alpha.apply(&text, &["--now"]).well();
    // Commands about copies are refused, because an external storage system has the data.
    for words in [
        &["volume", "verify", "store"][..],
        &["volume", "snapshot", "store"],
    ] {
        let refused = site.site.alpha.command(words);
        refused.refused(&["stored by an external storage system"]);
    }
    let list = site.site.alpha.command(&["volume", "list"]).text();
    assert!(list.contains("owned here"), "{list}");
    let moved = ["guest", "move", "web", "beta"];
    // Beta may not have reported its status yet.
    let moves = || site.site.alpha.command(&moved).good;
    assert!(eventually(PATIENCE, moves), "{}", tell(&site));
    counts_on(&site, &target, "beta", 1);
    // The guest is not started again: its node is gone, and nothing proves that the node is off.
    let pid = fact(&site, "beta", "process").and_then(|pid| pid.parse().ok());
    site.site.machine_mut("beta").kill();
    kill(pid);
    let list = || site.site.alpha.command(&["guest", "list"]).text();
    let waits = || list().contains("evenkeel fence confirm beta");
    assert!(eventually(PATIENCE, waits), "{}", tell(&site));
    assert_eq!(target.guest_counters()[1], 1);
    let confirm = ["fence", "confirm", "beta"];
    site.site
        .alpha
        .command(&confirm)
        .refused(&["nothing was changed"]);
    site.site
        .alpha
        .command(&["fence", "confirm", "beta", "--yes"])
        .well();
    counts_on(&site, &target, "alpha", 2);
    // Beta returns, and a drain needs no fencing.
    site.site.machine_mut("beta").start();
    let moves = || {
        let command = ["guest", "move", "web", "beta"];
        site.site.alpha.command(&command).good
    };
    assert!(eventually(PATIENCE, moves), "{}", tell(&site));
    counts_on(&site, &target, "beta", 2);
}
