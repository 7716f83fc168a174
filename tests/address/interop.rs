//! Tests Evenkeel and keepalived on one network, in both roles: the backup follows the adverts of
//! the other program, and takes over when it must.

use crate::address::site::{Router, SOON, Site, VIP, VIP6, Vrrp};
use lab::{CapturedFrame, eventually};
use std::time::Duration;

/// Returns the priority of an advert, which is at the same offset in both versions of VRRP.
fn priority(frame: &CapturedFrame) -> u8 {
    frame.payload()[2]
}

/// Checks the start of a pair, preemption, a clean stop, the return, and a power failure.
fn a_pair_shares(name: &str, alpha: Router, beta: Router, vrrp: &Vrrp) {
    let site = Site::new(name);
    let vip = vrrp.vip();
    let low = site.beta.run(beta, &vrrp.priority(100).text());
    assert!(site.owned_by(vip, &["beta"]), "{}", low.said());
    // The machine with the higher priority becomes master, and the other one yields.
    let high = site.alpha.run(alpha, &vrrp.priority(200).text());
    assert!(site.owned_by(vip, &["alpha"]), "{}", high.said());
    assert!(high.says("(VI_1) Entering MASTER STATE", 1));
    assert!(
        low.says("(VI_1) Entering BACKUP STATE", 2),
        "{}",
        low.said()
    );
    // A clean stop is announced, so there is no wait for the down interval.
    site.capture.clear();
    high.stop();
    assert!(site.owned_by(vip, &["beta"]), "{}", low.said());
    // A switch sends unicast frames to their target only.
    if !vrrp.unicast {
        let taken = || !site.adverts(&site.beta).is_empty();
        assert!(eventually(SOON, taken), "{}", low.said());
        let goodbyes = site.adverts(&site.alpha);
        let goodbye = goodbyes.iter().find(|frame| priority(frame) == 0);
        let goodbye = goodbye.expect("an advert of priority zero");
        let first = &site.adverts(&site.beta)[0];
        let took = first.at.saturating_duration_since(goodbye.at);
        // After silence, the takeover would have taken at least three intervals.
        let silence: f64 = 3.0 * vrrp.advert.parse::<f64>().unwrap();
        assert!(took < Duration::from_secs_f64(silence), "{took:?}");
    }
    // Alpha returns and becomes master again.
    let high = site.alpha.run(alpha, &vrrp.priority(200).text());
    assert!(site.owned_by(vip, &["alpha"]), "{}", high.said());
    // If the master loses power and link at once, it announces nothing, so beta takes the address
    // after a timeout.
    let off = site.alpha.host.power_off().unwrap();
    assert!(eventually(SOON, || site.beta.has(vip)), "{}", low.said());
    drop(off);
}

fn both_ways(name: &str, vrrp: &Vrrp) {
    for [alpha, beta] in Router::MIXED {
        a_pair_shares(name, alpha, beta, vrrp);
    }
}

macro_rules! interop {
    ($($test:ident: $vrrp:expr;)+) => {$(
        #[test]
        fn $test() {
            lab::skip_unless_root!();
            lab::skip_unless_installed!("keepalived");
            both_ways("interop", &$vrrp);
        }
    )+};
}

interop! {
    version_2_by_multicast_is_shared_with_keepalived: Vrrp::new(2);
    version_2_by_unicast_is_shared_with_keepalived: Vrrp { unicast: true, ..Vrrp::new(2) };
    version_3_by_multicast_is_shared_with_keepalived: Vrrp::new(3);
    version_3_by_unicast_is_shared_with_keepalived: Vrrp { unicast: true, ..Vrrp::new(3) };
    ipv6_by_multicast_is_shared_with_keepalived: Vrrp { six: true, ..Vrrp::new(3) };
    ipv6_by_unicast_is_shared_with_keepalived: Vrrp { six: true, unicast: true, ..Vrrp::new(3) };
    a_password_is_shared_with_keepalived:
        Vrrp::new(2).more("authentication {\n auth_type PASS\n auth_pass letmein1\n }");
}

#[test]
fn nopreempt_owner_stays_with_either_program() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("keepalived");
    for [alpha, beta] in Router::MIXED {
        let site = Site::new("nopreempt");
        let vrrp = Vrrp::new(3).more("nopreempt");
        let low = site.beta.run(beta, &vrrp.priority(100).text());
        assert!(site.owned_by(VIP, &["beta"]), "{}", low.said());
        let high = site.alpha.run(alpha, &vrrp.priority(200).text());
        assert!(high.says("Entering BACKUP STATE", 1), "{}", high.said());
        // Waits ten times as long as a preemption would take.
        let seen = site.adverts(&site.beta).len();
        assert!(eventually(SOON, || site.adverts(&site.beta).len() > seen + 40));
        assert_eq!(site.owners(VIP), ["beta"], "{}", high.said());
        assert!(site.adverts(&site.alpha).is_empty());
    }
}

#[test]
fn wrong_password_is_ignored_by_either_program() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("keepalived");
    for [alpha, beta] in Router::MIXED {
        let site = Site::new("password");
        let one = Vrrp::new(2).more("authentication {\n auth_type PASS\n auth_pass one\n }");
        let other = Vrrp::new(2).more("authentication {\n auth_type PASS\n auth_pass other\n }");
        let high = site.alpha.run(alpha, &one.priority(200).text());
        let low = site.beta.run(beta, &other.priority(100).text());
        assert!(site.owned_by(VIP, &["alpha", "beta"]), "{}", low.said());
        let adverts = || [&site.alpha, &site.beta].map(|node| site.adverts(node).len());
        let shown = || {
            let (high, low) = (high.said(), low.said());
            format!("{:?}\nalpha: {high}\nbeta: {low}", adverts())
        };
        // keepalived begins its interval anew with each advert that it drops, and may
        // never come to send its own.
        let heard = || adverts().into_iter().any(|heard| heard > 6);
        assert!(eventually(SOON, heard), "{}", shown());
        assert_eq!(site.owners(VIP), ["alpha", "beta"], "{}", shown());
    }
}

const GROUP: &str = "
global_defs {
    vrrp_version 3
}
vrrp_sync_group both {
    group {
        inner
        outer
    }
}
vrrp_instance outer {
    state BACKUP
    interface {at}
    virtual_router_id 51
    priority {priority}
    advert_int 0.2
    virtual_ipaddress {
        10.60.0.100/24
    }
}
vrrp_instance inner {
    state BACKUP
    interface eth1
    virtual_router_id 52
    priority {priority}
    advert_int 0.2
    virtual_ipaddress {
        10.61.0.100/24
    }
}
";

#[test]
fn group_moves_with_one_cable_with_either_program() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("keepalived");
    for [alpha, beta] in Router::MIXED {
        let site = Site::new("group");
        let inside = site.lab.switch("inside").unwrap();
        let mut cables = Vec::new();
        for node in site.nodes() {
            let cable = inside.attach(&node.host).unwrap();
            cable
                .address(&format!("10.61.0.{}/24", node.number))
                .unwrap();
            cables.push(cable);
        }
        let text = |priority: &str| GROUP.replace("{priority}", priority);
        let high = site.alpha.run(alpha, &text("200"));
        let low = site.beta.run(beta, &text("100"));
        let all = |owner: &str| {
            site.owned_by("10.60.0.100", &[owner]) && site.owned_by("10.61.0.100", &[owner])
        };
        assert!(all("alpha"), "{}\n{}", high.said(), low.said());
        let pulled = cables[0].pull().unwrap();
        assert!(all("beta"), "{}\n{}", high.said(), low.said());
        pulled.heal().unwrap();
        assert!(all("alpha"), "{}\n{}", high.said(), low.said());
    }
}

#[test]
fn addresses_of_both_families_are_served_by_either_program() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("keepalived");
    let beside = "virtual_ipaddress_excluded {\n fd60::100/64\n }";
    for [alpha, beta] in Router::MIXED {
        let site = Site::new("beside");
        let vrrp = Vrrp::new(3).more(beside);
        let low = site.beta.run(beta, &vrrp.priority(100).text());
        assert!(site.owned_by(VIP6, &["beta"]), "{}", low.said());
        let high = site.alpha.run(alpha, &vrrp.priority(200).text());
        for vip in [VIP, VIP6] {
            assert!(site.owned_by(vip, &["alpha"]), "{}", high.said());
            let watcher = site.watch(vip);
            assert!(
                watcher.wait_for(Some("alpha"), 5, SOON),
                "{}",
                watcher.stop()
            );
        }
    }
}
