//! Tests frequent complaints of users of virtual addresses, a scenario each, in which Evenkeel must
//! not fail. Where keepalived 2.2.7 fails every time, a second scenario shows that. If such a
//! scenario no longer fails, keepalived has improved, and the comparison has to be revised.

use crate::address::site::{Router, Running, SOON, Site, VIP, Vrrp};
use lab::{BusyProcessors, CapturedFrame, Signal, eventually};
use std::time::Duration;

/// Starts a pair of machines, and waits until the first one is master and the second one backup.
fn pair(name: &str, router: Router, vrrp: &Vrrp) -> (Site, Running, Running) {
    let site = Site::new(name);
    let high = site.alpha.run(router, &vrrp.priority(200).text());
    assert!(site.owned_by(VIP, &["alpha"]), "{}", high.said());
    let low = site.beta.run(router, &vrrp.priority(100).text());
    assert!(low.says("Entering BACKUP STATE", 1), "{}", low.said());
    (site, high, low)
}

/// Waits until `node` has sent `count` further adverts, so that an undesired effect has the time to
/// happen.
fn intervals(site: &Site, node: &crate::address::site::Node, count: usize) {
    let before = site.adverts(node).len();
    let later = || site.adverts(node).len() >= before + count;
    assert!(eventually(SOON, later));
}

fn announcements(site: &Site, from: &crate::address::site::Node) -> usize {
    let mac = from.ethernet();
    let of = |frame: &CapturedFrame| frame.is_announcement() && frame.sender() == mac;
    let frames = site.capture.frames();
    let about = |frame: &&CapturedFrame| of(frame) && frame.about() == VIP.parse().ok();
    frames.iter().filter(about).count()
}

/// Partitions the machines, so that both own the address and the neighbours learn that of the
/// second machine last. After the partition, the second machine becomes backup with the first
/// advert that it receives. Returns whether the first machine then announces the address again.
fn announced_after_a_partition(router: Router) -> bool {
    let site = Site::new("partition");
    // The second router sends adverts so rarely that it always receives one first.
    let vrrp = Vrrp::new(3);
    let high = site
        .alpha
        .run(router, &vrrp.advert("0.1").priority(200).text());
    let low = site
        .beta
        .run(router, &vrrp.advert("4").priority(100).text());
    assert!(site.owned_by(VIP, &["alpha"]), "{}", high.said());
    assert!(low.says("Entering BACKUP STATE", 1), "{}", low.said());
    let (alpha, beta) = (&site.alpha, &site.beta);
    let cut = site
        .lab
        .partition(&[&[&alpha.host], &[&beta.host]])
        .unwrap();
    assert!(site.owned_by(VIP, &["alpha", "beta"]), "{}", low.said());
    // Waits for the end of the announcements that follow a takeover.
    assert!(eventually(SOON, || announcements(&site, beta) >= 10));
    intervals(&site, beta, 1);
    site.capture.clear();
    cut.heal().unwrap();
    assert!(site.owned_by(VIP, &["alpha"]), "{}", low.said());
    let told = || announcements(&site, alpha) > 0;
    // Twenty intervals of the router that should announce the address.
    intervals(&site, alpha, 20);
    told()
}

#[test]
fn one_owner_remains_after_a_partition_and_announces() {
    lab::skip_unless_root!();
    assert!(announced_after_a_partition(Router::Evenkeel));
}

#[test]
fn keepalived_sends_no_announcement_after_a_partition() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("keepalived");
    assert!(!announced_after_a_partition(Router::Keepalived));
}

#[test]
fn client_is_served_by_the_owner_after_a_partition() {
    lab::skip_unless_root!();
    let (site, high, low) = pair("healed", Router::Evenkeel, &Vrrp::new(3));
    let watcher = site.watch(VIP);
    assert!(watcher.wait_for(Some("alpha"), 10, SOON));
    let (alpha, beta) = (&site.alpha.host, &site.beta.host);
    let cut = site
        .lab
        .partition(&[&[alpha, &site.client], &[beta]])
        .unwrap();
    assert!(site.owned_by(VIP, &["alpha", "beta"]), "{}", low.said());
    cut.heal().unwrap();
    let owners = lab::Condition::new("one owner", || match site.owners(VIP).as_slice() {
        ["alpha"] => Ok(()),
        other => Err(format!("{other:?}")),
    });
    site.lab.wait_healed(SOON, &mut [owners]).unwrap();
    assert!(watcher.wait_for(Some("alpha"), 20, SOON), "{}", high.said());
    let seen = watcher.stop();
    assert_eq!(
        seen.responses_by_machine().len(),
        1,
        "the client was on the owner's side: {seen}"
    );
}

/// Returns how often a machine became master while eight processes kept two processors busy and
/// adverts were sent every 10 ms.
fn takeovers_under_load(router: Router, seconds: u64) -> usize {
    let vrrp = Vrrp::new(3).advert("0.01");
    let (_site, high, low) = pair("load", router, &vrrp);
    let masters = || {
        let of = |running: &Running| running.said().matches("Entering MASTER STATE").count();
        of(&high) + of(&low)
    };
    let before = masters();
    let busy = BusyProcessors::start(8).unwrap();
    lab::sleep_in_test(Duration::from_secs(seconds), "a load lasts");
    drop(busy);
    masters() - before
}

#[test]
fn busy_processors_do_not_make_the_address_flap() {
    lab::skip_unless_root!();
    assert_eq!(takeovers_under_load(Router::Evenkeel, 8), 0);
}

/// Reloads both machines with one more address. Returns an error if the address moved, an advert of
/// priority zero was sent, or a poll of the address got no response.
fn reload(router: Router) -> Result<(), String> {
    let vrrp = Vrrp::new(3).advert("0.1");
    let (site, high, low) = pair("reload", router, &vrrp);
    let watcher = site.watch(VIP);
    assert!(watcher.wait_for(Some("alpha"), 20, SOON));
    let text = |priority| {
        let text = vrrp.priority(priority).text();
        text.replace(
            " virtual_ipaddress {\n",
            " virtual_ipaddress {\n 10.60.0.101/24\n",
        )
    };
    site.capture.clear();
    for (node, running, priority) in [(&site.beta, &low, 100), (&site.alpha, &high, 200)] {
        let text = node.fill(&text(priority), running.directory());
        std::fs::write(running.config(), text).unwrap();
        running.process.signal(Signal::HUP).unwrap();
    }
    assert!(site.owned_by("10.60.0.101", &["alpha"]), "{}", high.said());
    assert!(watcher.wait_for(Some("alpha"), 100, SOON));
    let seen = watcher.stop();
    let zero = site
        .adverts(&site.alpha)
        .iter()
        .any(|f| f.payload()[2] == 0);
    if seen.responder_changes().len() > 1 || zero || !site.adverts(&site.beta).is_empty() {
        return Err(format!("it moved: {seen}\n{}\n{}", high.said(), low.said()));
    }
    if seen.response_count() != seen.polls.len() {
        return Err(format!("it was away: {seen}\n{}", high.said()));
    }
    Ok(())
}

#[test]
fn a_reload_with_another_address_moves_nothing() {
    lab::skip_unless_root!();
    reload(Router::Evenkeel).unwrap();
}

/// Returns whether the address disappears from a machine on which everything was killed.
fn vanishes_after_sigkill(router: Router) -> bool {
    let (site, high, low) = pair("sigkill", router, &Vrrp::new(3));
    high.process.kill_tree();
    assert!(eventually(SOON, || site.beta.has(VIP)), "{}", low.said());
    let gone = eventually(Duration::from_secs(15), || !site.alpha.has(VIP));
    if gone {
        let watcher = site.watch(VIP);
        assert!(watcher.wait_for(Some("beta"), 20, SOON), "{}", low.said());
    }
    gone
}

#[test]
fn address_expires_when_all_processes_are_killed() {
    lab::skip_unless_root!();
    assert!(vanishes_after_sigkill(Router::Evenkeel));
}

#[test]
fn an_address_stays_on_both_when_keepalived_is_killed() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("keepalived");
    // The second process of keepalived may or may not notice that the first one is gone.
    let stays = (0..5).any(|_| !vanishes_after_sigkill(Router::Keepalived));
    assert!(stays);
}

#[test]
fn killed_role_restarts_without_a_gap() {
    lab::skip_unless_root!();
    let (site, high, low) = pair("role", Router::Evenkeel, &Vrrp::new(3).advert("0.5"));
    let watcher = site.watch(VIP);
    assert!(watcher.wait_for(Some("alpha"), 20, SOON));
    let own = high.process.pid();
    let role = || {
        let tree = high.process.tree();
        let pids = tree.iter().map(|pid| pid.as_raw_nonzero().get());
        pids.filter(|pid| *pid != own).max()
    };
    let first = role().expect("a role of its own");
    let pid = rustix::process::Pid::from_raw(first).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    assert!(eventually(SOON, || role().is_some_and(|role| role != first)));
    intervals(&site, &site.alpha, 5);
    let seen = watcher.stop();
    assert_eq!(
        seen.response_count(),
        seen.polls.len(),
        "{seen}\n{}",
        high.said()
    );
    assert_eq!(low.said().matches("Entering MASTER STATE").count(), 0);
    assert_eq!(site.owners(VIP), ["alpha"]);
}

/// Deletes the address from the first machine with `ip`, and waits until the machine restores it.
fn put_back(router: Router) -> (Site, Running, Running) {
    let (site, high, low) = pair("deleted", router, &Vrrp::new(3));
    let at = site.alpha.at.name();
    let words = ["address", "delete", &format!("{VIP}/24"), "dev", at];
    site.alpha.host.ip(&words).unwrap();
    assert!(site.owned_by(VIP, &["alpha"]), "{}", high.said());
    (site, high, low)
}

#[test]
fn deleted_address_is_restored_by_its_owner() {
    lab::skip_unless_root!();
    let (site, high, low) = put_back(Router::Evenkeel);
    intervals(&site, &site.alpha, 10);
    let adverts = site.adverts(&site.alpha);
    let gaps = adverts.windows(2).map(|two| two[1].at - two[0].at);
    let said = format!(
        "longest time between two adverts {:?}\n{}\n{}",
        gaps.max(),
        high.said(),
        low.said()
    );
    let entered = |of: &Running| of.said().matches("Entering MASTER STATE").count();
    assert_eq!((entered(&high), entered(&low)), (1, 0), "{said}");
    let watcher = site.watch(VIP);
    assert!(watcher.wait_for(Some("alpha"), 20, SOON));
}

/// Suspends a master until the other machine has taken over, and then resumes it. With `nopreempt`
/// it must stay backup. Returns whether the other machine kept the address.
fn kept_from_a_frozen_master(router: Router) -> bool {
    let vrrp = Vrrp::new(3).more("nopreempt");
    let site = Site::new("frozen");
    let high = site.alpha.run(router, &vrrp.priority(200).text());
    assert!(site.owned_by(VIP, &["alpha"]), "{}", high.said());
    let low = site.beta.run(router, &vrrp.priority(100).text());
    assert!(low.says("Entering BACKUP STATE", 1), "{}", low.said());
    let frozen = high.process.freeze().unwrap();
    assert!(eventually(SOON, || site.beta.has(VIP)), "{}", low.said());
    intervals(&site, &site.beta, 10);
    site.capture.clear();
    frozen.thaw();
    let one = |owner: &str| site.owners(VIP) == [owner];
    assert!(
        eventually(SOON, || one("alpha") || one("beta")),
        "{}",
        high.said()
    );
    lab::sleep_in_test(Duration::from_secs(2), "nothing moves");
    // The resumed master may send a final advert, so that the owner announces the address once
    // more.
    let claims = |frame: &CapturedFrame| frame.payload()[2] != 0;
    one("beta") && !site.adverts(&site.alpha).iter().any(claims)
}

#[test]
fn frozen_master_detects_a_takeover() {
    lab::skip_unless_root!();
    assert!(kept_from_a_frozen_master(Router::Evenkeel));
}

#[test]
fn frozen_keepalived_takes_the_address_back() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("keepalived");
    assert!(!kept_from_a_frozen_master(Router::Keepalived));
}

#[test]
fn preferred_machine_regains_its_address_in_one_move() {
    lab::skip_unless_root!();
    let (site, high, low) = pair("thawed", Router::Evenkeel, &Vrrp::new(3));
    let frozen = high.process.freeze().unwrap();
    assert!(eventually(SOON, || site.beta.has(VIP)), "{}", low.said());
    frozen.thaw();
    assert!(
        site.owned_by(VIP, &["alpha"]),
        "{}\n{}",
        high.said(),
        low.said()
    );
    intervals(&site, &site.alpha, 20);
    assert_eq!(low.said().matches("Entering MASTER STATE").count(), 1);
    let watcher = site.watch(VIP);
    assert!(watcher.wait_for(Some("alpha"), 20, SOON));
}
