//! Tests options of `global_defs` by their externally visible effects.

use crate::scene::{LATEST, Scene, VIP, address, config, instance, simple};
use address::config::{Fifo, NextHop, Route, SyncGroup};
use lab::{Signal, eventually};
use rustix::fs::{Mode, OFlags};
use std::fs::read_to_string;
use std::io::Read;
use std::path::Path;

fn drained(path: &Path) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let pipe = rustix::fs::open(path, flags, Mode::empty()).unwrap();
    let mut pipe = std::fs::File::from(pipe);
    let mut bytes = Vec::new();
    // Reading ends when the pipe is empty: the role keeps the pipe open.
    let _ = pipe.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_reload_writes_all_states_into_the_pipes_where_that_is_asked_for() {
    lab::skip_unless_root!();
    let scene = Scene::new("states");
    let path = scene.scratch.path().join("pipe");
    let mut asked = simple(150);
    asked.groups = vec![SyncGroup {
        name: "G".to_owned(),
        members: vec!["VI_1".to_owned()],
        ..SyncGroup::default()
    }];
    asked.global.fifos = vec![Fifo {
        path: path.clone(),
        account: None,
        script: None,
    }];
    let alpha = scene.role(&scene.alpha, &asked);
    assert!(scene.comes_to(&scene.alpha, VIP));
    let mut said = String::new();
    assert!(eventually(LATEST, || {
        said += &drained(&path);
        said.contains("GROUP \"G\" MASTER")
    }));
    alpha.take(&asked);
    assert_eq!(drained(&path), "", "nothing changed");
    asked.global.fifo_states_on_reload = true;
    alpha.take(&asked);
    assert_eq!(
        drained(&path),
        "INSTANCE \"VI_1\" MASTER 150\nGROUP \"G\" MASTER 0\n"
    );
}

#[test]
fn adverts_of_unknown_routers_are_logged_where_that_is_asked_for() {
    lab::skip_unless_root!();
    let scene = Scene::new("unknown");
    let mut asked = simple(150);
    asked.global.log_unknown_vrids = true;
    let alpha = scene.role(&scene.alpha, &asked);
    let mut other = config(vec![instance("VI_1", 51, 100), instance("VI_2", 77, 100)]);
    other.instances[1].addresses = vec![address("10.0.0.102/24")];
    let _beta = scene.role(&scene.beta, &other);
    alpha.wait_for("Unknown VRID(77) received on interface(eth0). ignoring...");
    assert!(!alpha.says("VRID(51)"));
}

/// Returns whether the state file of alpha's role contains these words. The file starts with a
/// binary length.
fn has_kept(scene: &Scene, words: &str) -> bool {
    let state = std::fs::read(scene.scratch.path().join("alpha.state"));
    state.is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(words))
}

/// Returns the setting for IGMP reports of link-local groups in alpha's kernel.
fn group_reports(scene: &Scene) -> String {
    let path = "/proc/sys/net/ipv4/igmp_link_local_mcast_reports";
    let read = scene.alpha.enter(|| read_to_string(path));
    read.unwrap().trim().to_owned()
}

#[test]
fn a_setting_that_a_killed_role_changed_is_as_before_after_its_successors_stop() {
    lab::skip_unless_root!();
    let scene = Scene::new("settings");
    let before = group_reports(&scene);
    let mut asked = simple(150);
    asked.global.disable_local_igmp = true;
    let first = scene.role(&scene.alpha, &asked);
    assert!(eventually(LATEST, || has_kept(&scene, "mcast_reports")));
    first.process.signal(Signal::KILL).unwrap();
    first.process.wait(LATEST).unwrap();
    assert_eq!(
        (before.as_str(), group_reports(&scene).as_str()),
        ("1", "0")
    );
    let next = scene.role(&scene.alpha, &asked);
    next.order("stop");
    next.wait_for("stopped");
    assert_eq!(group_reports(&scene), before);
}

#[test]
fn dumps_hold_the_names_of_the_instance_and_group_reports_are_off_while_it_runs() {
    lab::skip_unless_root!();
    let scene = Scene::new("names");
    let reports = || group_reports(&scene);
    let before = reports();
    let mut asked = simple(150);
    asked.global.disable_local_igmp = true;
    asked.global.dumps_by_instance = true;
    asked.global.instance = Some("a/b".to_owned());
    let alpha = scene.role(&scene.alpha, &asked);
    assert_eq!((before.as_str(), reports().as_str()), ("1", "0"));
    alpha.order("data");
    alpha.wait_for("dumped");
    assert!(alpha.says("/keepalived_a_b.data"), "{:?}", alpha.said());
    alpha.order("stop");
    alpha.wait_for("stopped");
    assert_eq!(reports(), before);
}

#[test]
fn routes_of_a_killed_process_go_with_the_instance_that_is_gone() {
    lab::skip_unless_root!();
    let scene = Scene::new("left-routes");
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
    let alpha = scene.role(&scene.alpha, &routed);
    let shows = || scene.alpha.ip(&["route"]).unwrap().contains("10.9.0.0/24");
    assert!(eventually(LATEST, shows));
    assert_eq!(alpha.state("VI_1"), "MASTER");
    // The state file must contain the route before the kill.
    assert!(eventually(LATEST, || has_kept(&scene, "10.9.0.0")));
    alpha.process.signal(Signal::KILL).unwrap();
    alpha.process.wait(LATEST).unwrap();
    assert!(shows());
    let mut other = instance("VI_2", 52, 150);
    other.addresses = vec![address("10.0.0.102/24")];
    let next = scene.role(&scene.alpha, &config(vec![other]));
    next.wait_for("removing 10.9.0.0/24 via 10.0.0.77 dev eth0, left by a previous process");
    assert!(!shows());
}
