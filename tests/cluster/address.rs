//! Tests the conditions under which a cluster member may own a virtual address: membership,
//! majority, version, and what the node can serve.

use crate::cluster::site::{Machine, SOON, Site, VIP, configuration, vip};
use lab::eventually;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::time::{Duration, Instant};

/// Returns the response to clients of the virtual address.
fn served_at_vip(site: &Site) -> Option<String> {
    let answer = site.ask(vip(), "/version").ok()?;
    Some(answer.text().trim().to_owned())
}

/// Returns whether `evenkeel address` on a machine shows these words.
fn shows(machine: &Machine, words: &str) -> bool {
    machine.command(&["address"]).text().contains(words)
}

#[track_caller]
fn assert_serves(site: &Site, version: &str) {
    let served = served_at_vip(site);
    assert_eq!(served.as_deref(), Some(version), "{}", site.tell());
}

fn only_alpha_has_it(site: &Site) -> bool {
    site.alpha.has(VIP) && !site.beta.has(VIP)
}

#[track_caller]
fn wait_for(site: &Site, what: &str, condition: impl Fn() -> bool) {
    assert!(eventually(SOON, condition), "not {what}\n{}", site.tell());
}

#[test]
fn returning_node_waits_until_a_majority_confirms_its_version() {
    lab::skip_unless_root!();
    let mut site = Site::new("returns");
    site.leader();
    site.alpha.kill();
    wait_for(&site, "taken over", || site.beta.has(VIP));
    let two = || site.beta.apply(&configuration("two"), &["--now"]).good;
    wait_for(&site, "applied without alpha", two);
    let cut = [site.cut("alpha", "beta"), site.cut("alpha", "arbiter")];
    site.alpha.start();
    wait_for(&site, "waiting", || {
        shows(&site.alpha, "standing    unconfirmed")
    });
    wait_for(&site, "a backup that hears beta", || {
        shows(&site.alpha, "BACKUP") && shows(&site.alpha, "with priority")
    });
    // beta knows that alpha does not serve the accepted version.
    wait_for(&site, "ahead", || {
        shows(
            &site.beta,
            "standing    ahead (without the accepted version: alpha)",
        )
    });
    assert!(!site.alpha.has(VIP), "{}", site.tell());
    assert_serves(&site, "two");
    // Without another owner, the old version is better than none.
    site.beta.kill();
    wait_for(&site, "served by alpha", || {
        served_at_vip(&site).as_deref() == Some("one")
    });
    site.beta.start();
    wait_for(&site, "served by beta", || {
        served_at_vip(&site).as_deref() == Some("two")
    });
    // With the cluster back, the preferred node has the address, and the version.
    drop(cut);
    wait_for(&site, "back at alpha", || only_alpha_has_it(&site));
    assert_serves(&site, "two");
    wait_until_settled_at_alpha(&site);
}

#[test]
fn owner_without_the_accepted_version_loses_the_address() {
    lab::skip_unless_root!();
    let site = Site::new("outlinked");
    site.leader();
    let cut = [site.cut("alpha", "beta"), site.cut("alpha", "arbiter")];
    wait_for(&site, "unconfirmed", || {
        shows(&site.alpha, "standing    unconfirmed")
    });
    // The same version: the address stays.
    assert!(only_alpha_has_it(&site), "{}", site.tell());
    let two = || site.beta.apply(&configuration("two"), &["--now"]).good;
    wait_for(&site, "applied without alpha", two);
    wait_for(&site, "moved", || {
        site.beta.has(VIP) && !site.alpha.has(VIP)
    });
    assert_serves(&site, "two");
    drop(cut);
    wait_for(&site, "back at alpha", || only_alpha_has_it(&site));
    assert_serves(&site, "two");
}

#[test]
fn restarted_owner_with_an_older_version_yields() {
    lab::skip_unless_root!();
    let mut site = Site::new("restarted");
    site.leader();
    wait_for(&site, "at alpha", || only_alpha_has_it(&site));
    // The restart is over long before beta would take over from a silent owner.
    let slow = |word: &str| configuration(word).replace("failover 300ms", "failover 3s");
    site.alpha.apply(&slow("one"), &["--now"]).well();
    // A copy of the state directory from before the second version.
    site.alpha.kill();
    let older = site.alpha.scratch().join("older");
    copy_directory(&site.alpha.state(), &older);
    site.alpha.start();
    wait_for(&site, "current", || {
        only_alpha_has_it(&site) && shows(&site.alpha, "standing    current")
    });
    let two = || site.beta.apply(&slow("two"), &["--now"]).good;
    wait_for(&site, "applied", two);
    wait_for(&site, "served by alpha", || {
        only_alpha_has_it(&site) && served_at_vip(&site).as_deref() == Some("two")
    });
    // All processes end, and start again with that copy before beta takes over.
    let _cut = [site.cut("alpha", "beta"), site.cut("alpha", "arbiter")];
    site.alpha.kill();
    site.alpha.set_state(&older);
    site.alpha.start();
    wait_for(&site, "moved to beta", || {
        site.beta.has(VIP) && !site.alpha.has(VIP) && shows(&site.alpha, "BACKUP")
    });
    assert_serves(&site, "two");
    assert!(
        shows(&site.alpha, "standing    unconfirmed"),
        "{}",
        site.tell()
    );
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        let to = to.join(entry.file_name());
        if kind.is_dir() {
            copy_directory(&entry.path(), &to);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn removed_member_owns_no_address() {
    lab::skip_unless_root!();
    let mut site = Site::new("removed-owner");
    site.leader();
    let leases = |machine: &Machine| machine.scratch().join("boot").display().to_string();
    let boot = format!(
        "\nboot lan\n\tinterface eth0\n\trange 10.60.0.120 10.60.0.129\n\ton alpha leases {}\n\ton beta leases {}\n\
         \timage rescue disk\n\tunknown menu\n",
        leases(&site.alpha),
        leases(&site.beta)
    );
    let text = configuration("one") + &boot;
    site.alpha.apply(&text, &["--now"]).well();
    site.alpha.kill();
    wait_for(&site, "taken over", || site.beta.has(VIP));
    let removed = || site.beta.command(&["cluster", "remove", "alpha"]).good;
    wait_for(&site, "removed", removed);
    site.alpha.start();
    wait_for(&site, "a removed member", || {
        shows(
            &site.alpha,
            "standing    removed: this machine was removed from the cluster",
        )
    });
    assert!(!site.alpha.has(VIP), "{}", site.tell());
    // Within a second after its end, alpha resumes as owner until it learns of the removal.
    wait_for(&site, "back at beta", || site.beta.has(VIP));
    assert!(!site.alpha.has(VIP), "{}", site.tell());
    // The removed member does not take over from a dead owner either.
    site.beta.kill();
    wait_for(&site, "released by the kernel", || !site.beta.has(VIP));
    assert!(shows(&site.alpha, "FAULT"), "{}", site.tell());
    assert!(!site.alpha.has(VIP), "{}", site.tell());
    // The member knows of its removal after a restart without a link, even if its state directory
    // cannot be used.
    let _cut = [site.cut("alpha", "beta"), site.cut("alpha", "arbiter")];
    for is_usable in [true, false] {
        site.alpha.kill();
        if !is_usable {
            let lock = site.alpha.state().join("lock");
            std::fs::remove_file(&lock).unwrap();
            std::fs::create_dir(&lock).unwrap();
        }
        site.alpha.start();
        wait_for(&site, "removed after a restart", || {
            shows(&site.alpha, "standing    removed") && shows(&site.alpha, "FAULT")
        });
        let boot = || site.alpha.command(&["boot", "show"]).text();
        wait_for(&site, "closed for network boot", || {
            boot().contains("this machine was removed from the cluster: it answers nothing")
        });
        let is_served = || site.serves(&site.alpha, "one");
        wait_for(&site, "served by its proxy", is_served);
        assert!(!site.alpha.has(VIP), "{}", site.tell());
        let said = site.alpha.said();
        let told = "was removed from the cluster: its proxy serves the last accepted version";
        assert!(
            said.contains(told) && said.contains("cluster join TOKEN"),
            "{said}"
        );
    }
}

/// The configuration with an address that is bound to a lease.
fn leased(failover: &str) -> String {
    leased_version("one", failover)
}

fn leased_version(word: &str, failover: &str) -> String {
    let lease = format!("\tlease\n\tfailover {failover}");
    configuration(word).replace("\tfailover 300ms", &lease)
}

/// Waits until beta has the address, and fails if both machines have it at any time.
#[track_caller]
fn moves_without_two_owners(site: &Site) {
    let until = Instant::now() + SOON;
    loop {
        // Checked in this order, because alpha never gets the address back meanwhile.
        let beta = site.beta.has(VIP);
        let alpha = site.alpha.has(VIP);
        assert!(!(alpha && beta), "two owners\n{}", site.tell());
        if beta {
            return;
        }
        assert!(Instant::now() < until, "not moved\n{}", site.tell());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn leased_address_has_one_owner_while_processes_are_frozen_or_killed() {
    lab::skip_unless_root!();
    let mut site = Site::empty("lease-freeze");
    site.found();
    // Without a lease these addresses would live for 9 s in the kernel.
    site.alpha.apply(&leased("3s"), &["--now"]).well();
    // beta may have had the lease first, and keeps the address for its connections after that move.
    wait_for(&site, "at alpha", || only_alpha_has_it(&site));
    {
        let frozen = site.alpha.freeze();
        moves_without_two_owners(&site);
        drop(frozen);
    }
    // After the thaw, alpha requests the lease as any other node does. In this planned move, the
    // previous owner keeps the address for its connections, and does not reply for it.
    wait_for(&site, "back at alpha", || only_alpha_has_it(&site));
    let dead = site.alpha.kill_at_once();
    moves_without_two_owners(&site);
    drop(dead);
}

/// Waits until nothing moves the leased address from alpha any longer.
fn wait_until_settled_at_alpha(site: &Site) {
    // beta may have had the lease while the servers of alpha were not checked yet.
    wait_for(site, "settled", || {
        only_alpha_has_it(site)
            && shows(&site.alpha, "standing    current")
            && shows(&site.alpha, "all frontends are available")
    });
    // Waits until beta has this report of alpha; otherwise beta takes the address once alpha can no
    // longer report.
    let served = "servers up 2 of 2, virtual addresses 1";
    assert!(site.beta.tells_words(&[served]), "{}", site.tell());
}

/// Fails if alpha loses the address within this time.
#[track_caller]
fn stays_at_alpha(site: &Site, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        assert!(only_alpha_has_it(site), "lost\n{}", site.tell());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "it takes long, and a machine that is too slow loses the lease: make test-long"]
fn leased_address_stays_without_its_supervisor() {
    lab::skip_unless_root!();
    let mut site = Site::empty("lease-orphan");
    site.found();
    site.alpha.apply(&leased("300ms"), &["--now"]).well();
    wait_for(&site, "at alpha", || only_alpha_has_it(&site));
    wait_until_settled_at_alpha(&site);
    // Longer than a silent supervisor is tolerated, and longer than a lease is valid.
    let supervisor = site.alpha.supervisor().unwrap();
    kill_process(supervisor, Signal::STOP).unwrap();
    stays_at_alpha(&site, Duration::from_secs(10));
    kill_process(supervisor, Signal::CONT).unwrap();
    let orphan = site.alpha.control().unwrap();
    site.alpha.kill_supervisor();
    // Longer than a lease is valid.
    stays_at_alpha(&site, Duration::from_secs(6));
    // The next supervisor replaces the control role, and the address stays meanwhile.
    site.alpha.start();
    wait_for(&site, "another control role", || {
        assert!(only_alpha_has_it(&site), "lost\n{}", site.tell());
        !runs(orphan)
            && site.alpha.control().is_some()
            && site.alpha.status().is_some()
            && shows(&site.alpha, "standing    current")
    });
    // Longer than a lease is valid: the new control role renews it.
    stays_at_alpha(&site, Duration::from_secs(6));
    // Without the control role, the kernel removes the address before beta gets the lease.
    let control = site.alpha.control().unwrap();
    site.alpha.kill_supervisor();
    kill_process(control, Signal::KILL).unwrap();
    moves_without_two_owners(&site);
}

/// Returns whether a process runs. One that has ended and was not waited for has no command line.
fn runs(pid: Pid) -> bool {
    let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
    line.is_ok_and(|line| !line.is_empty())
}

#[test]
fn version_accepted_without_an_orphaned_owner_moves_its_leased_address() {
    lab::skip_unless_root!();
    let mut site = Site::empty("lease-behind");
    site.found();
    site.alpha.apply(&leased("300ms"), &["--now"]).well();
    wait_for(&site, "at alpha", || only_alpha_has_it(&site));
    wait_until_settled_at_alpha(&site);
    site.alpha.kill_supervisor();
    let two = leased_version("two", "300ms");
    let applied = || site.beta.apply(&two, &["--now"]).good;
    wait_for(&site, "accepted without alpha", applied);
    wait_for(&site, "moved to beta", || {
        site.beta.has(VIP) && served_at_vip(&site).as_deref() == Some("two")
    });
}

#[test]
fn forecast_names_a_node_that_cannot_own_the_address() {
    lab::skip_unless_root!();
    let site = Site::new("forecast");
    site.leader();
    wait_for(&site, "at alpha", || only_alpha_has_it(&site));
    let moves = "the virtual address of alpha moves to beta";
    assert!(site.alpha.tells_words(&[moves]), "{}", site.tell());
    let host = &site.beta.host;
    let own = format!("10.60.0.{}/24", site.beta.number);
    let change = |word: &str| host.ip(&["address", word, &own, "dev", "eth0"]).unwrap();
    change("del");
    let stays = "no node takes the virtual address of alpha";
    for node in site.nodes() {
        let words = [stays, "beta cannot own www: "];
        assert!(node.tells_words(&words), "{}", site.tell());
    }
    let is_bad = |status: &serde_json::Value| {
        let members = status["members"].as_array().into_iter().flatten();
        let mut beta = members.filter(|one| one["name"] == "beta");
        let parts = beta.next().and_then(|beta| beta["parts"].as_array());
        let mut parts = parts.into_iter().flatten();
        parts.any(|part| part["part"] == "address" && part["grade"] == "bad")
    };
    assert!(site.alpha.tells(is_bad), "{}", site.tell());
    change("add");
    assert!(site.alpha.tells_words(&[moves]), "{}", site.tell());
}
