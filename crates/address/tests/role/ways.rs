//! Tests the paths of adverts and addresses: unicast, IPv6, virtual interfaces, other interfaces
//! than the instance's own, and routes; also the reports about them.

use crate::scene::{LATEST, Scene, VIP, address, config, instance, simple, unicast};
use address::config::{InstanceTransport, NextHop, Route, Rule, RuleAction, Vmac};
use lab::eventually;
use part::report::Subject;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

#[test]
fn adverts_go_to_peers() {
    lab::skip_unless_root!();
    let scene = Scene::new("unicast");
    let alpha = scene.role(&scene.alpha, &config(vec![unicast("10.0.0.2", 150)]));
    let beta = scene.role(&scene.beta, &config(vec![unicast("10.0.0.1", 100)]));
    assert!(scene.comes_to(&scene.alpha, VIP));
    let owner = || beta.first().words("with priority");
    assert!(eventually(LATEST, || owner().is_some_and(|priority| priority == "150")));
    drop(alpha);
    assert!(scene.comes_to(&scene.beta, VIP));
}

#[test]
fn an_address_of_ipv6_moves_and_can_be_used_at_once() {
    lab::skip_unless_root!();
    let scene = Scene::new("six");
    let six = |priority| {
        let mut i = instance("VI_6", 61, priority);
        i.ipv6 = true;
        i.transport = InstanceTransport::Multicast {
            group: "ff02::12".parse::<IpAddr>().unwrap(),
        };
        i.addresses = vec![address("fe80::100/64"), address("fd00::100/64")];
        config(vec![i])
    };
    let alpha = scene.role(&scene.alpha, &six(150));
    let beta = scene.role(&scene.beta, &six(100));
    assert!(
        scene.comes_to(&scene.alpha, "fd00::100"),
        "{}",
        alpha.said().join("\n")
    );
    alpha.wait_for("Sending unsolicited Neighbour Advert on eth0 for fd00::100");
    assert!(eventually(LATEST, || beta.state("VI_6") == "BACKUP"));
    alpha.order("stop");
    assert!(scene.comes_to(&scene.beta, "fd00::100"));
    let shown = scene.beta.ip(&["address", "show"]).unwrap();
    assert!(!shown.contains("tentative"), "{shown}");
    assert!(!scene.has(&scene.alpha, "fd00::100"));
}

#[test]
fn a_virtual_mac_moves_with_the_address() {
    lab::skip_unless_root!();
    let scene = Scene::new("vmac");
    let vmac = |priority| {
        let mut c = simple(priority);
        c.instances[0].vmac = Some(Vmac::default());
        c
    };
    let alpha = scene.role(&scene.alpha, &vmac(150));
    assert!(
        scene.comes_to(&scene.alpha, VIP),
        "{}",
        alpha.said().join("\n")
    );
    let link = scene.alpha.ip(&["-o", "link", "show", "vrrp.51"]).unwrap();
    assert!(link.contains("00:00:5e:00:01:33"), "{link}");
    let beta = scene.role(&scene.beta, &vmac(100));
    assert!(eventually(LATEST, || beta.state("VI_1") == "BACKUP"));
    let reaches = || {
        let at = "10.0.0.100:1".parse().unwrap();
        let answer = scene
            .client
            .tcp_connect(at, std::time::Duration::from_secs(1));
        answer.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
    };
    assert!(
        eventually(LATEST, reaches),
        "it answers from the virtual MAC"
    );
    alpha.order("stop");
    alpha.wait_for("stopped");
    assert!(
        scene.alpha.ip(&["link", "show", "vrrp.51"]).is_err(),
        "it goes with the role"
    );
    assert!(
        scene.comes_to(&scene.beta, VIP),
        "{}",
        beta.said().join("\n")
    );
    assert!(eventually(LATEST, reaches));
}

#[test]
fn routes_and_rules_come_and_go_with_the_master_and_are_put_back() {
    lab::skip_unless_root!();
    let scene = Scene::new("routes");
    let mut routed = simple(150);
    routed.instances[0].routes = vec![Route {
        destination: Some(("10.9.0.0".parse().unwrap(), 24)),
        hops: vec![NextHop {
            via: Some("10.0.0.77".parse().unwrap()),
            interface: Some("eth0".to_owned()),
            weight: 1,
            ..NextHop::default()
        }],
        text: "10.9.0.0/24 via 10.0.0.77 dev eth0".to_owned(),
        ..Route::default()
    }];
    routed.instances[0].rules = vec![Rule {
        ipv6: false,
        invert: false,
        from: Some(("10.9.0.0".parse().unwrap(), 24)),
        to: None,
        input: None,
        output: None,
        tos: None,
        mark: None,
        preference: Some(1000),
        realms: None,
        suppress_prefix: None,
        suppress_group: None,
        uids: None,
        protocol: None,
        source_ports: None,
        destination_ports: None,
        tunnel: None,
        made_by: None,
        action: RuleAction::Table(100),
        no_track: false,
        track_group: None,
        text: "from 10.9.0.0/24 table 100".to_owned(),
    }];
    let alpha = scene.role(&scene.alpha, &routed);
    let shows = |words: &[&str]| scene.alpha.ip(words).unwrap().contains("10.9.0.0/24");
    assert!(eventually(LATEST, || shows(&["route"]) && shows(&["rule"])));
    scene.alpha.ip(&["route", "delete", "10.9.0.0/24"]).unwrap();
    assert!(eventually(LATEST, || shows(&["route"])));
    assert_eq!(alpha.state("VI_1"), "MASTER");
    alpha.order("stop");
    alpha.wait_for("stopped");
    assert!(!shows(&["route"]) && !shows(&["rule"]));
}

fn another_interface(scene: &Scene) {
    let ip = |words: &[&str]| scene.alpha.ip(words).unwrap();
    ip(&[
        "link", "add", "extra0", "type", "veth", "peer", "name", "extra1",
    ]);
    for name in ["extra0", "extra1"] {
        ip(&["link", "set", name, "up"]);
    }
}

#[test]
fn an_address_on_another_interface_has_the_virtual_mac_there_and_survives_its_loss() {
    lab::skip_unless_root!();
    let scene = Scene::new("vmac-beside");
    another_interface(&scene);
    let mut config = simple(150);
    config.global.vmac_address_prefix = Some("va".to_owned());
    config.instances[0].excluded = ["10.8.0.1/24", "fd08::1/64"]
        .map(|written| {
            let mut elsewhere = address(written);
            (elsewhere.interface, elsewhere.vmac) = (Some("extra0".to_owned()), true);
            elsewhere
        })
        .into();
    let alpha = scene.role(&scene.alpha, &config);
    assert!(scene.comes_to(&scene.alpha, VIP));
    assert!(scene.comes_to(&scene.alpha, "10.8.0.1") && scene.comes_to(&scene.alpha, "fd08::1"));
    let all = || scene.alpha.ip(&["-o", "address", "show"]).unwrap();
    let on = |address: &str| {
        let shown = all();
        let line = shown.lines().find(|line| line.contains(address)).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(on(VIP), "eth0");
    let (four, six) = (on("10.8.0.1/"), on("fd08::1/"));
    assert!(four.starts_with("va") && four.ends_with(".51"), "{four}");
    let mac = |name: &str| scene.alpha.ip(&["-o", "link", "show", name]).unwrap();
    assert!(mac(&four).contains("00:00:5e:00:01:33"), "{}", mac(&four));
    assert!(mac(&six).contains("00:00:5e:00:02:33"), "{}", mac(&six));
    let shown = alpha.first().children;
    let on_four = |one: &Subject| one.words("on").as_ref() == Some(&four);
    assert!(shown.iter().any(on_four), "{shown:?}");
    // After another process deleted the interface, the role restores it with its address.
    scene.alpha.ip(&["link", "delete", &four]).unwrap();
    assert!(scene.comes_to(&scene.alpha, "10.8.0.1"));
    assert_eq!(on("10.8.0.1/"), four);
    alpha.order("stop");
    alpha.wait_for("stopped");
    assert!(!all().contains("10.8.0.1"));
    for name in [four, six] {
        assert!(scene.alpha.ip(&["link", "show", &name]).is_err(), "{name}");
    }
}

#[test]
fn addresses_on_another_interface_are_tracked_with_it() {
    lab::skip_unless_root!();
    let scene = Scene::new("other");
    another_interface(&scene);
    let ip = |words: &[&str]| scene.alpha.ip(words).unwrap();
    let mut other = simple(150);
    let mut elsewhere = address("10.8.0.1/24");
    elsewhere.interface = Some("extra0".to_owned());
    other.instances[0].excluded = vec![elsewhere];
    let alpha = scene.role(&scene.alpha, &other);
    assert!(scene.comes_to(&scene.alpha, "10.8.0.1"));
    ip(&["link", "set", "extra1", "down"]);
    alpha.wait_for("(VI_1) Entering FAULT STATE");
    assert!(scene.leaves(&scene.alpha, VIP));
    ip(&["link", "set", "extra1", "up"]);
    assert!(scene.comes_to(&scene.alpha, VIP));
}

#[test]
fn static_addresses_are_there_for_a_backup_too_and_their_group_fails_with_their_interface() {
    lab::skip_unless_root!();
    let scene = Scene::new("static");
    let ip = |words: &[&str]| scene.alpha.ip(words).unwrap();
    ip(&[
        "link", "add", "extra0", "type", "veth", "peer", "name", "extra1",
    ]);
    for name in ["extra0", "extra1"] {
        ip(&["link", "set", name, "up"]);
    }
    let mut fixed = address("10.8.0.1/24");
    fixed.interface = Some("extra0".to_owned());
    fixed.track_group = Some("T1".to_owned());
    let mut c = simple(150);
    c.addresses = vec![fixed];
    c.track_groups = vec![("T1".to_owned(), vec!["VI_1".to_owned()])];
    let alpha = scene.role(&scene.alpha, &c);
    assert!(scene.has(&scene.alpha, "10.8.0.1"));
    assert!(scene.comes_to(&scene.alpha, VIP));
    ip(&["address", "delete", "10.8.0.1/24", "dev", "extra0"]);
    assert!(scene.comes_to(&scene.alpha, "10.8.0.1"), "it is put back");
    ip(&["link", "set", "extra1", "down"]);
    alpha.wait_for("(VI_1) Entering FAULT STATE");
    assert!(scene.leaves(&scene.alpha, VIP));
    ip(&["link", "set", "extra1", "up"]);
    assert!(scene.comes_to(&scene.alpha, VIP));
    alpha.order("stop");
    alpha.wait_for("stopped");
    assert!(!scene.has(&scene.alpha, "10.8.0.1"));
}

#[test]
fn it_is_shown_in_words_in_keepalived_s_dumps_and_as_metrics() {
    lab::skip_unless_root!();
    let scene = Scene::new("shown");
    let alpha = scene.role(&scene.alpha, &simple(150));
    assert!(scene.comes_to(&scene.alpha, VIP));
    let report = alpha.report();
    let text = report.text();
    assert!(text.contains("VI_1: MASTER for "), "{text}");
    assert!(text.contains("no advert received for "), "{text}");
    assert!(text.contains("address     10.0.0.100/24\n"), "{text}");
    assert!(text.contains("BACKUP -> MASTER"), "{text}");
    let mut metrics = String::new();
    report.metrics(&mut metrics);
    let labels = "iname=\"VI_1\",intf=\"eth0\",vrid=\"51\"";
    assert!(
        metrics.contains(&format!(
            "keepalived_vrrp_state{{{labels},ip_address=\"10.0.0.100/24\"}} 2"
        )),
        "{metrics}"
    );
    assert!(metrics.contains(&format!("keepalived_become_master_total{{{labels}}} 1")));
    for (order, file, part) in [
        ("data", "keepalived.data", "   State = MASTER\n"),
        ("stats", "keepalived.stats", "  Became master: 1\n"),
        ("json", "keepalived.json", "\"iname\":\"VI_1\""),
    ] {
        alpha.order(order);
        alpha.wait_for(&format!(
            "dumped {}",
            scene.scratch.path().join(file).display()
        ));
        let path = scene.scratch.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(part), "{text}");
        // Checks that only the owner can read the dump, which contains passwords.
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}
