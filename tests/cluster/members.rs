//! Tests clusters with more than three members, the replacement of a member that is lost for good,
//! and rolling upgrades during service.

use crate::cluster::site::{Machine, SOON, Site};
use lab::eventually;
use rustix::process::{Signal, kill_process};
use std::fs;
use std::path::Path;

/// Returns a configuration for any number of nodes, without virtual addresses.
fn plain(word: &str) -> String {
    format!(
        "defaults\n\tmode http\n\ttimeout connect 2s\n\ttimeout client 20s\n\ttimeout server 20s\n\
         frontend www\n\tbind :80\n\thttp-request return status 200 content-type text/plain string {word} if {{ path /version }}\n"
    )
}

/// Joins a machine to the cluster, and starts it.
#[track_caller]
fn joins(through: &Machine, machine: &mut Machine) {
    let token = through.token(&["cluster", "invite"]);
    let name = machine.name().to_owned();
    let join = ["cluster", "join", &token, "--name", &name];
    machine.command(&join).well();
    machine.start();
}

fn tell(site: &Site, more: &[&Machine]) -> String {
    let said = more.iter().map(|machine| machine.said());
    site.tell() + &said.collect::<String>()
}

#[track_caller]
fn serve(site: &Site, nodes: &[&Machine], word: &str) {
    let all = || nodes.iter().all(|node| site.serves(node, word));
    assert!(eventually(SOON, all), "{word}: {}", tell(site, nodes));
}

#[test]
fn a_cluster_of_five_survives_two_and_replaces_one_that_died() {
    lab::skip_unless_root!();
    let mut site = Site::empty("five");
    site.found();
    site.alpha.apply(&plain("one"), &["--now"]).well();
    let [mut gamma, mut delta] =
        [("gamma", 4), ("delta", 5)].map(|(name, number)| site.machine_more(name, number));
    joins(&site.alpha, &mut gamma);
    joins(&site.beta, &mut delta);
    let all = [&site.alpha, &site.beta, &site.arbiter, &gamma, &delta];
    assert!(
        eventually(SOON, || site.agree_as(5, &all).is_some()),
        "{}",
        tell(&site, &[&gamma, &delta])
    );
    serve(&site, &[&site.alpha, &site.beta, &gamma, &delta], "one");
    gamma.apply(&plain("two"), &["--now"]).well();
    serve(&site, &[&site.alpha, &site.beta, &gamma, &delta], "two");
    // A member dies permanently, then the arbiter as well: three of five are left.
    delta.kill();
    site.arbiter.kill();
    let left = [&site.alpha, &site.beta, &gamma];
    let led = || site.agree_as(5, &left).is_some();
    assert!(eventually(SOON, led), "{}", tell(&site, &left));
    let applied = || site.beta.apply(&plain("three"), &["--now"]).good;
    assert!(eventually(SOON, applied), "{}", tell(&site, &left));
    serve(&site, &left, "three");
    // The lost members are replaced under their old names.
    gamma.command(&["cluster", "remove", "delta"]).well();
    let mut again = site.machine_more("delta-again", 6);
    joins(&gamma, &mut again);
    let four = [&site.alpha, &site.beta, &gamma, &again];
    let agreed = || site.agree_as(5, &four).is_some();
    assert!(eventually(SOON, agreed), "{}", tell(&site, &four));
    serve(&site, &four, "three");
    again.apply(&plain("four"), &["--now"]).well();
    serve(&site, &four, "four");
}

#[test]
fn rolling_upgrade_fails_no_request() {
    lab::skip_unless_root!();
    let mut site = Site::empty("rolling");
    for name in ["alpha", "beta", "arbiter"] {
        site.machine_mut(name).install();
    }
    site.found();
    site.begin();
    site.leader();
    let load = site.load();
    // An arbiter serves nothing: it becomes the new program in the same process.
    site.arbiter.command(&["reload"]).well();
    site.arbiter.install();
    site.arbiter.command(&["reload"]).well();
    let upgraded = || site.arbiter.runs_what_is_installed();
    assert!(eventually(SOON, upgraded), "{}", site.tell());
    site.leader();
    for (name, word) in [("beta", "two"), ("alpha", "three")] {
        let before = site.machine(name).processes().expect("it runs");
        site.machine_mut(name).install();
        site.machine(name).command(&["reload"]).well();
        let upgraded = || site.machine(name).runs_what_is_installed();
        assert!(eventually(SOON, upgraded), "{}", site.tell());
        let (supervisor, proxy) = site.machine(name).processes().expect("it runs");
        assert_eq!(supervisor, before.0, "the same process goes on");
        assert_ne!(proxy, before.1, "another one serves");
        site.leader();
        // Members with the previous program and with this one agree.
        site.apply(word).well();
        assert!(
            eventually(SOON, || site.serves_everywhere(word)),
            "{}",
            site.tell()
        );
    }
    load.stop().without_a_failure();
    assert!(site.alpha.has(crate::cluster::site::VIP), "{}", site.tell());
}

/// Two supervisors with the same state would each have a role that ends the guests of the other
/// one.
#[test]
fn second_supervisor_is_refused_despite_a_missing_socket() {
    lab::skip_unless_root!();
    let site = Site::new("members-twice");
    let alpha = &site.alpha;
    let supervisor = alpha.supervisor().expect("it runs");
    let pid = supervisor.as_raw_nonzero();
    let socket = alpha.runtime().join(format!("{pid}.sock"));
    // A running supervisor restores its socket.
    kill_process(supervisor, Signal::STOP).unwrap();
    fs::remove_file(&socket).unwrap();
    let state = alpha.state();
    let words = ["run", "--state", state.to_str().unwrap()];
    alpha
        .command(&words)
        .refused(&["another supervisor runs with the state in", "was removed"]);
    kill_process(supervisor, Signal::CONT).unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    site.healed();
}
