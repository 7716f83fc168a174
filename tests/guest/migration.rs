//! Tests the live migration of guests between two nodes: they continue with the next number, and
//! report no start.

use crate::cluster::site::SOON;
use crate::guest::site::{GuestSite, PATIENCE, kill};
use crate::volume::site::other;
use lab::eventually;
use std::fs;
use std::thread;
use std::time::Instant;

/// Limit of a migration in bytes per second, slow enough for a fault in the middle.
const SLOW: u64 = 3_000_000;

/// Returns the numbers that a guest wrote on a node, as its serial output there has them.
fn numbers(site: &GuestSite, node: &str) -> Vec<u64> {
    let said = site.said(node);
    let all = said
        .lines()
        .filter_map(|line| line.split("guest: wrote ").nth(1));
    all.filter_map(|number| number.trim().parse().ok())
        .collect()
}

/// Moves the guest, and asserts that it continues without a restart and without a missing number.
fn moves(site: &GuestSite, from: &str) {
    let to = other(from);
    let before = site.said(to).matches("begins with").count();
    let last = site.said(to).lines().count();
    let begun = Instant::now();
    let said = site
        .machine(from)
        .command(&["guest", "move", "mail", to])
        .well()
        .text();
    let took = begun.elapsed();
    site.runs_on(to);
    assert_eq!(
        site.said(to).matches("begins with").count(),
        before,
        "it has started again: {}",
        site.tell()
    );
    let still = site.shown(to);
    let still = still
        .lines()
        .find(|line| line.contains("it was paused for"));
    println!("{from} -> {to}: the command took {took:?}: {said}{still:?}");
    let left = numbers(site, from);
    let text = site.said(to);
    let came: Vec<u64> = text
        .lines()
        .skip(last)
        .filter_map(|line| line.split("guest: wrote ").nth(1)?.trim().parse().ok())
        .collect();
    // A line may be cut where the guest was paused: the end of the line is at the other node.
    let (last, first) = (left.last().unwrap(), came.first().unwrap());
    assert!(
        *first == last + 1 || *first == last + 2,
        "{last} and then {first}: {}",
        site.tell()
    );
    let without_a_gap = |all: &[u64]| all.windows(2).all(|pair| pair[1] == pair[0] + 1);
    assert!(without_a_gap(&came), "{came:?}");
}

/// Waits until a node shows a migration that has sent bytes.
#[track_caller]
fn is_on_its_way(site: &GuestSite, node: &str) {
    let sent = || {
        site.fact(node, "sent")
            .and_then(|sent| sent.parse::<u64>().ok())
    };
    let is = || sent().is_some_and(|sent| sent > 0);
    assert!(eventually(PATIENCE, is), "{}", site.tell());
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_guest_moves_to_and_fro_and_goes_on_with_the_next_number() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(site) = GuestSite::new("guest-move") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    for from in ["alpha", "beta", "alpha"] {
        moves(&site, from);
    }
    // The guest moves, too, when its node is drained.
    let before = site.said("alpha").matches("begins with").count();
    site.machine("beta").command(&["node", "drain"]).well();
    site.runs_on("alpha");
    assert_eq!(site.said("alpha").matches("begins with").count(), before);
    site.machine("beta").command(&["node", "fill"]).well();
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_guest_whose_move_fails_continues_on_its_node() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(site) = GuestSite::slow("guest-unmoved", SLOW) else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    let pid = site.process("alpha").expect("it runs");
    let ordered = |what: &dyn Fn()| {
        thread::scope(|scope| {
            let order = || {
                site.machine("alpha")
                    .command(&["guest", "move", "mail", "beta"])
            };
            let order = scope.spawn(order);
            is_on_its_way(&site, "alpha");
            what();
            order.join().unwrap()
        })
    };
    // The QEMU process that waits at the target is killed.
    ordered(&|| kill(site.process("beta"))).refused(&["has not moved to beta"]);
    assert_eq!(site.goes_on(site.wrote("alpha")), "alpha");
    assert_eq!(site.process("alpha"), Some(pid), "{}", site.tell());
    // The role at the target is killed.
    let role = |node: &str| site.machine(node).role("guest-role");
    let killed = |node: &'static str| {
        kill(role(node).map(|pid| pid.as_raw_nonzero().get().unsigned_abs()));
    };
    ordered(&|| killed("beta")).refused(&["has not moved to beta"]);
    assert_eq!(site.goes_on(site.wrote("alpha")), "alpha");
    assert_eq!(site.process("alpha"), Some(pid), "{}", site.tell());
    // The direct link between the nodes is cut.
    ordered(&|| {
        let cut = site.volumes.site.cut_direct();
        let stays = || site.status("alpha").has_failed_move;
        assert!(eventually(PATIENCE, stays), "{}", site.tell());
        cut.into_iter().for_each(|fault| fault.heal().unwrap());
    });
    site.volumes.in_sync();
    let node = site.goes_on(site.wrote("alpha"));
    // Nothing of the failed moves is in the way of the next one.
    let to = other(node);
    site.is_there(to);
    let words = ["guest", "move", "mail", to];
    site.machine(node).command(&words).well();
    site.runs_on(to);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_guest_whose_source_role_is_killed_in_its_move_runs_at_exactly_one_node() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(site) = GuestSite::slow("guest-source", 3 * SLOW) else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            site.machine("alpha")
                .command(&["guest", "move", "mail", "beta"])
        });
        is_on_its_way(&site, "alpha");
        let role = site.machine("alpha").role("guest-role");
        kill(role.map(|pid| pid.as_raw_nonzero().get().unsigned_abs()));
        // The record still names the target: the next role begins the move again.
        let moved = || site.runs() == Some("beta");
        assert!(eventually(PATIENCE, moved), "{}", site.tell());
    });
    // No write is lost, whether it is the same guest or one that started from its disks.
    let wrote = site.wrote("alpha");
    site.goes_on(wrote);
    let began = site.began("beta");
    assert!(began.is_none_or(|began| began >= wrote), "{}", site.tell());
    println!("started from its disks: {}", began.is_some());
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_node_is_drained_of_six_guests_and_filled_again_and_again() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(site) = GuestSite::new("guest-drain") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    // Nothing boots from the empty image: the guests wait in their BIOS.
    let image = site.volumes.scratch().join("empty.iso");
    fs::write(&image, vec![0; 1 << 20]).unwrap();
    let section = |number: u32| {
        format!(
            "\nguest w{number}\n\tprefer alpha beta\n\tmemory 32m\n\tconsole serial\n\tboot iso {}\n",
            image.display()
        )
    };
    let more: String = (1..=5).map(section).collect();
    let text = site.configuration(&more);
    site.machine("alpha").apply(&text, &["--now"]).well();
    let names = ["mail", "w1", "w2", "w3", "w4", "w5"];
    let running = |node: &str| {
        let shown = |name: &&str| {
            let text = site.machine(node).command(&["guest", "show", name]).text();
            text.lines().any(|line| line == "running: 1")
        };
        names.iter().filter(|name| shown(name)).count()
    };
    let all = || running("alpha") + running("beta") == names.len();
    assert!(eventually(PATIENCE, all), "{}", site.tell());
    let began = || ["alpha", "beta"].map(|node| site.said(node).matches("begins with").count());
    let before = began();
    for round in 0..3 {
        for (node, to) in [("alpha", "beta"), ("beta", "alpha")] {
            let begun = Instant::now();
            site.machine(to).command(&["node", "drain", node]).well();
            println!("round {round}: {node} drained in {:?}", begun.elapsed());
            assert!(
                eventually(SOON, || running(to) == names.len()),
                "{}",
                site.tell()
            );
            site.machine(to).command(&["node", "fill", node]).well();
            site.is_there(node);
        }
    }
    for node in ["alpha", "beta"] {
        let said = site.machine(node).said();
        let failed = said.lines().filter(|line| line.contains("did not"));
        failed.for_each(|line| println!("{node}: {line}"));
    }
    assert_eq!(began(), before, "it has started again: {}", site.tell());
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_guest_comes_when_the_one_that_gives_way_to_it_has_left_and_is_no_new_one() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(site) = GuestSite::new("guest-way") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    // Guest web waits in its BIOS, so it ignores a shutdown and is killed.
    let image = site.volumes.scratch().join("empty.iso");
    fs::write(&image, vec![0; 1 << 20]).unwrap();
    let web = format!(
        "\nguest web\n\tprefer beta alpha\n\tpriority -1\n\tapart mail\n\tmemory 32m\n\tconsole serial\n\t\
         stop-timeout 5s\n\tboot iso {}\n",
        image.display()
    );
    let text = site.configuration(&web);
    site.machine("alpha").apply(&text, &["--now"]).well();
    let runs = |name: &str, node: &str| {
        let text = site.machine(node).command(&["guest", "show", name]).text();
        text.lines().any(|line| line == "running: 1")
    };
    assert!(
        eventually(PATIENCE, || runs("web", "beta")),
        "{}",
        site.tell()
    );
    // No guest gives way to an order of an operator.
    let words = ["guest", "move", "mail", "beta"];
    let said = site.machine("alpha").command(&words);
    said.refused(&["web is on beta", "apart", "move or stop web first"]);
    let said = site
        .machine("beta")
        .command(&["guest", "move", "web", "alpha"]);
    said.refused(&["mail is on alpha", "move or stop mail first"]);
    let before = site.said("beta").matches("begins with").count();
    let last = site.wrote("alpha");
    site.machine("beta")
        .command(&["node", "drain", "alpha"])
        .well();
    site.runs_on("beta");
    assert_eq!(site.goes_on(last), "beta");
    let began = site.said("beta").matches("begins with").count();
    assert_eq!(began, before, "it has started again: {}", site.tell());
    let log = site.machine("beta").said();
    let of = |words: &str| log.rfind(words).unwrap_or_else(|| panic!("{words}: {log}"));
    assert!(
        of("guest web: QEMU ended") < of("guest mail: it comes from alpha"),
        "{log}"
    );
    site.machine("beta")
        .command(&["node", "fill", "alpha"])
        .well();
    assert!(
        eventually(PATIENCE, || runs("web", "alpha")),
        "{}",
        site.tell()
    );
    assert!(runs("mail", "beta"), "{}", site.tell());
}
