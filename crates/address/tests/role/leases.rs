//! Tests addresses that are bound to a lease of the cluster, and which leases the role requests.

use crate::scene::{Scene, VIP, simple};
use address::config::{Config, Script, Weight};
use std::time::Duration;

/// An expiry long after the test, nanoseconds of CLOCK_BOOTTIME.
const LONG: u64 = 1 << 62;

const WANTED: &str = "WantsLeases([WantedLease { name: \"address/VI_1\", rank: 150 }])";
const NOTHING_WANTED: &str = "WantsLeases([])";

fn bound() -> Config {
    let mut config = simple(150);
    config.instances[0].options.lease = true;
    config
}

#[test]
fn an_address_comes_with_its_lease_and_goes_to_a_better_machine_with_it() {
    lab::skip_unless_root!();
    let scene = Scene::new("lease");
    let alpha = scene.role(&scene.alpha, &bound());
    alpha.wait_for(WANTED);
    assert_eq!(alpha.state("VI_1"), "FAULT");
    assert!(!scene.has(&scene.alpha, VIP));
    alpha.order(&format!("hold address/VI_1 {LONG}"));
    assert!(scene.comes_to(&scene.alpha, VIP));
    alpha.order("hand-over-lease address/VI_1");
    assert!(scene.leaves(&scene.alpha, VIP));
    alpha.wait_for(NOTHING_WANTED);
    assert!(
        !scene.has(&scene.alpha, VIP),
        "it goes before it is given up"
    );
    alpha.order("hold");
    // After a short wait the role requests the lease again.
    let wanted = || alpha.count(WANTED) == 2;
    assert!(lab::eventually(Duration::from_secs(30), wanted));
    // An outdated report of the released lease changes nothing; the next grant ends later.
    alpha.order(&format!("hold address/VI_1 {}", LONG + 1));
    assert!(scene.comes_to(&scene.alpha, VIP));
    alpha.order("stop");
    alpha.wait_for("stopped");
    assert_eq!(alpha.count(NOTHING_WANTED), 2, "others need not wait");
}

#[test]
fn what_is_not_known_yet_gives_no_lease_up_that_is_held() {
    lab::skip_unless_root!();
    let scene = Scene::new("lease-unknown");
    let mut config = bound();
    config.scripts = vec![Script {
        name: "slow".to_owned(),
        words: vec!["/bin/sleep".to_owned(), "60".to_owned()],
        interval: Duration::from_secs(1),
        timeout: Some(Duration::from_secs(60)),
        weight: Weight {
            value: 0,
            reverse: false,
        },
        rise: 1,
        fall: 1,
        account: None,
        init_fail: false,
    }];
    config.instances[0].tracked.scripts = vec![("slow".to_owned(), None)];
    let alpha = scene.role(&scene.alpha, &config);
    alpha.wait_for(NOTHING_WANTED);
    alpha.order(&format!("hold address/VI_1 {LONG}"));
    alpha.wait_for(WANTED);
    assert_eq!(alpha.count(NOTHING_WANTED), 1);
}
