//! Tests the leader of a cluster. After the death of a leader another member leads. Busy processors
//! and a cut of the direct link between the nodes cause no election.

use crate::cluster::site::{SOON, Site};
use lab::{BusyProcessors, eventually};
use std::time::Duration;

/// Time for which the processors are busy.
const BUSY_TIME: Duration = Duration::from_secs(6);
const BUSY_PROCESSES: usize = 8;

/// Time for which the link is cut: many election timeouts.
const CUT_TIME: Duration = Duration::from_secs(3);

#[test]
fn new_leader_is_elected_and_changes_continue() {
    lab::skip_unless_root!();
    let mut site = Site::new("leader");
    let (first, term) = site.leader();
    assert_ne!(first, "arbiter", "an arbiter hands over: {}", site.tell());
    site.machine_mut(&first).kill();
    let survivors: Vec<&str> = ["alpha", "beta", "arbiter"]
        .into_iter()
        .filter(|name| *name != first)
        .collect();
    let mut second = None;
    let agreed = || {
        let survivors: Vec<_> = survivors.iter().map(|name| site.machine(name)).collect();
        second = site.agree(&survivors);
        second.as_ref().is_some_and(|(name, _)| *name != first)
    };
    assert!(eventually(SOON, agreed), "{}", site.tell());
    let node = if first == "alpha" { "beta" } else { "alpha" };
    // The arbiter leads no longer than it takes to hand over.
    assert!(
        eventually(SOON, || {
            let survivors: Vec<_> = survivors.iter().map(|name| site.machine(name)).collect();
            site.agree(&survivors).is_some_and(|(name, _)| name == node)
        }),
        "{}",
        site.tell()
    );
    site.apply("two").well();
    let serves = || site.serves(site.machine(node), "two");
    assert!(eventually(SOON, serves), "{}", site.tell());
    // The dead member returns and catches up.
    site.machine_mut(&first).start();
    assert!(
        eventually(SOON, || site.serves_everywhere("two")),
        "{}",
        site.tell()
    );
    let (_, now) = site.leader();
    assert!(now > term, "{now} {term}");
}

#[test]
fn eight_busy_processes_cause_no_election() {
    lab::skip_unless_root!();
    let site = Site::new("busy");
    // A suspended test machine may cause one election; busy processes would cause one each time.
    let calm = (0..3).any(|_| {
        let before = site.leader();
        let busy = BusyProcessors::start(BUSY_PROCESSES).unwrap();
        lab::sleep_in_test(BUSY_TIME, "a load lasts");
        drop(busy);
        site.leader() == before
    });
    assert!(calm, "{}", site.tell());
}

#[test]
fn cut_direct_link_causes_no_election_or_failed_request() {
    lab::skip_unless_root!();
    let site = Site::new("direct");
    let load = site.load();
    // A suspended test machine may cause one election; the cut would cause one each time.
    let calm = ["two", "three", "four"].into_iter().any(|word| {
        let before = site.leader();
        let cut = site.cut_direct();
        // Changes meanwhile reach both through the arbiter.
        site.apply(word).well();
        assert!(
            eventually(SOON, || site.serves_everywhere(word)),
            "{}",
            site.tell()
        );
        lab::sleep_in_test(CUT_TIME, "a cut lasts");
        let told = site
            .alpha
            .tells_words(&["the direct link to beta is cut", "through arbiter"]);
        assert!(told, "{}", site.tell());
        let meanwhile = site.leader();
        drop(cut);
        site.healed();
        meanwhile == before && site.leader() == before
    });
    assert!(calm, "{}", site.tell());
    load.stop().without_a_failure();
    let direct = |status: &serde_json::Value| {
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let beta = members.iter().find(|member| member["name"] == "beta");
        beta.is_some_and(|beta| beta["reach"]["direct"].is_object())
    };
    assert!(site.alpha.tells(direct), "{}", site.tell());
}

#[test]
fn leadership_moves_and_keys_rotate_during_changes() {
    lab::skip_unless_root!();
    let site = Site::new("hand-over");
    let (first, _) = site.leader();
    let load = site.load();
    let second = if first == "alpha" { "beta" } else { "alpha" };
    let refused = site.arbiter.command(&["cluster", "hand-over"]);
    assert!(!refused.good, "an arbiter changes nothing: {refused:?}");
    site.alpha.command(&["cluster", "hand-over"]).well();
    assert!(
        eventually(SOON, || {
            let agreed = site.agree(&site.machines());
            agreed.is_some_and(|(name, _)| name == second)
        }),
        "{}",
        site.tell()
    );
    site.apply("two").well();
    site.alpha.command(&["cluster", "rotate"]).well();
    site.leader();
    site.apply("three").well();
    let serves = || site.serves_everywhere("three");
    assert!(eventually(SOON, serves), "{}", site.tell());
    load.stop().without_a_failure();
    // The status describes what each failure would cause.
    let text = site.beta.command(&["cluster", "status"]).well().out;
    for words in ["if it fails", "virtual address", "remain possible"] {
        assert!(text.contains(words), "{text}");
    }
}
