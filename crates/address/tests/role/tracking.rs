//! Tests tracked objects and notifications of the address role.

use crate::scene::{LATEST, Scene, VIP, address, config, instance, simple};
use address::config::{
    Config, Fifo, Notify, NotifyScripts, Script, SyncGroup, TrackFile, TrackProcess, Weight,
};
use lab::eventually;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

fn program(scene: &Scene, name: &str, text: &str) -> String {
    let path = scene.scratch.write(name, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn script(words: Vec<String>, weight: i32) -> Script {
    Script {
        name: "chk".to_owned(),
        words,
        interval: Duration::from_millis(100),
        timeout: Some(Duration::from_secs(5)),
        weight: Weight {
            value: weight,
            reverse: false,
        },
        rise: 1,
        fall: 2,
        account: None,
        init_fail: false,
    }
}

fn ok_script(scene: &Scene) -> (String, String) {
    let ok = scene.scratch.path().join("ok").display().to_string();
    std::fs::write(&ok, "").unwrap();
    let text = format!("#!/bin/sh\n[ -e {ok} ]\n");
    (program(scene, "chk.sh", &text), ok)
}

#[test]
fn a_script_that_fails_lowers_the_priority_and_the_other_takes_over() {
    lab::skip_unless_root!();
    let scene = Scene::new("weight");
    let (chk, ok) = ok_script(&scene);
    let mut tracking = simple(150);
    tracking.scripts = vec![script(vec![chk], -60)];
    tracking.instances[0].tracked.scripts = vec![("chk".to_owned(), None)];
    let alpha = scene.role(&scene.alpha, &tracking);
    let beta = scene.role(&scene.beta, &simple(100));
    assert!(scene.comes_to(&scene.alpha, VIP));
    alpha.wait_for("VRRP_Script(chk) succeeded");
    std::fs::remove_file(&ok).unwrap();
    alpha.wait_for("VRRP_Script(chk) failed (exited with status 1)");
    alpha.wait_for("(VI_1) Changing effective priority from 150 to 90");
    assert!(scene.comes_to(&scene.beta, VIP));
    assert!(scene.leaves(&scene.alpha, VIP));
    alpha.wait_for("(VI_1) Master received advert from 10.0.0.2 with higher priority 100, ours 90");
    std::fs::write(&ok, "").unwrap();
    assert!(scene.comes_to(&scene.alpha, VIP));
    assert_eq!(alpha.first().words("priority").unwrap(), "150 (base 150)");
    drop(beta);
}

#[test]
fn a_script_without_a_weight_is_waited_for_and_its_failure_is_a_fault() {
    lab::skip_unless_root!();
    let scene = Scene::new("fault");
    let (chk, ok) = ok_script(&scene);
    let slow = format!("#!/bin/sh\nsleep 0.7\nexec {chk}\n");
    let slow = program(&scene, "slow.sh", &slow);
    let mut tracking = simple(150);
    tracking.scripts = vec![script(vec![slow], 0)];
    tracking.instances[0].tracked.scripts = vec![("chk".to_owned(), None)];
    let alpha = scene.role(&scene.alpha, &tracking);
    assert_eq!(alpha.state("VI_1"), "INIT", "nothing is known yet");
    assert!(scene.comes_to(&scene.alpha, VIP));
    assert_eq!(alpha.count("FAULT"), 0);
    std::fs::remove_file(&ok).unwrap();
    alpha.wait_for("(VI_1) Entering FAULT STATE");
    assert!(scene.leaves(&scene.alpha, VIP));
    std::fs::write(&ok, "").unwrap();
    assert!(scene.comes_to(&scene.alpha, VIP));
}

#[test]
fn a_script_that_hangs_is_ended_and_counts_as_failed_while_adverts_go_on() {
    lab::skip_unless_root!();
    let scene = Scene::new("hangs");
    let hangs = program(&scene, "hangs.sh", "#!/bin/sh\nsleep 600\n");
    let mut hanging = script(vec![hangs], -10);
    hanging.timeout = Some(Duration::from_millis(300));
    let mut tracking = simple(150);
    tracking.scripts = vec![hanging];
    tracking.instances[0].tracked.scripts = vec![("chk".to_owned(), None)];
    let alpha = scene.role(&scene.alpha, &tracking);
    alpha.wait_for("VRRP_Script(chk) timed_out");
    let sent = || alpha.number("adverts_sent");
    assert!(eventually(LATEST, || sent() > 0));
    let before = sent();
    assert!(eventually(LATEST, || sent() > before + 5));
}

#[test]
fn a_number_in_a_file_and_a_process_count() {
    lab::skip_unless_root!();
    let scene = Scene::new("counts");
    let path = scene.scratch.path().join("weight");
    let secret = format!("{}.25", 700 + std::process::id());
    let weight = |value| Weight {
        value,
        reverse: false,
    };
    let mut tracking = simple(100);
    tracking.files = vec![TrackFile {
        name: "f".to_owned(),
        path: path.clone(),
        weight: weight(2),
        init: Some((0, false)),
    }];
    tracking.processes = vec![TrackProcess {
        name: "p".to_owned(),
        words: vec!["sleep".to_owned(), secret.clone()],
        parameters: Some(address::config::ParameterMatch::Exact),
        full_command: false,
        weight: weight(5),
        quorum: 1,
        quorum_max: None,
        fork_delay: Duration::ZERO,
        terminate_delay: Duration::ZERO,
    }];
    let tracked = &mut tracking.instances[0].tracked;
    tracked.files = vec![("f".to_owned(), None)];
    tracked.processes = vec![("p".to_owned(), None)];
    let alpha = scene.role(&scene.alpha, &tracking);
    let priority = || alpha.number("priority");
    assert_eq!(priority(), 100);
    std::fs::write(&path, "20\n").unwrap();
    assert!(eventually(LATEST, || priority() == 140));
    let mut sleeping = std::process::Command::new("sleep");
    sleeping.arg(&secret);
    let process = scene.client.spawn(sleeping).unwrap();
    assert!(eventually(LATEST, || priority() == 145));
    drop(process);
    assert!(eventually(LATEST, || priority() == 140));
    std::fs::write(&path, "-200\n").unwrap();
    assert!(eventually(LATEST, || alpha.state("VI_1") == "FAULT"));
}

/// Returns a configuration that writes every notification to a file, and the path of that file.
fn notified(scene: &Scene, priority: u8) -> (Config, std::path::PathBuf) {
    let told = scene.scratch.path().join("told");
    let text = format!("#!/bin/sh\necho \"$*\" >> {}\n", told.display());
    let path = program(scene, "notify.sh", &text);
    let script = |word: &str| {
        Some(Notify {
            words: vec![path.clone(), word.to_owned()],
            account: None,
        })
    };
    let scripts = |of: &str| NotifyScripts {
        master: script(&format!("{of}-master")),
        backup: script(&format!("{of}-backup")),
        fault: script(&format!("{of}-fault")),
        stop: script(&format!("{of}-stop")),
        any: script(of),
        ..NotifyScripts::default()
    };
    let mut both = config(vec![
        instance("VI_1", 51, priority),
        instance("VI_2", 52, priority),
    ]);
    both.instances[1].addresses = vec![address("10.0.0.102/24")];
    both.instances[0].notify = scripts("instance");
    both.groups = vec![SyncGroup {
        name: "G1".to_owned(),
        members: vec!["VI_1".to_owned(), "VI_2".to_owned()],
        notify: scripts("group"),
        ..SyncGroup::default()
    }];
    (both, told)
}

#[test]
fn scripts_and_pipes_are_told_in_keepalived_s_words_and_in_order() {
    lab::skip_unless_root!();
    let scene = Scene::new("notify");
    let (mut both, told) = notified(&scene, 150);
    let fifo = scene.scratch.path().join("fifo");
    both.global.fifos = vec![Fifo {
        path: fifo.clone(),
        account: None,
        script: None,
    }];
    let alpha = scene.role(&scene.alpha, &both);
    let mut reader = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&fifo)
        .unwrap();
    assert!(scene.comes_to(&scene.alpha, VIP));
    assert!(scene.comes_to(&scene.alpha, "10.0.0.102"));
    alpha.wait_for("VRRP_Group(G1) Syncing instances to MASTER state");
    alpha.order("stop");
    alpha.wait_for("stopped");
    let lines = |prefix: &str| {
        let text = std::fs::read_to_string(&told).unwrap_or_default();
        let of = text.lines().filter(|l| l.starts_with(prefix));
        of.map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(eventually(LATEST, || lines("instance INSTANCE VI_1 STOP")
        .len()
        == 1));
    assert!(eventually(LATEST, || lines("group GROUP G1 STOP").len() == 1));
    let wanted = [
        "instance-backup",
        "instance INSTANCE VI_1 BACKUP 150",
        "instance-master",
        "instance INSTANCE VI_1 MASTER 150",
        "instance-stop",
        "instance INSTANCE VI_1 STOP 150",
    ];
    assert_eq!(lines("instance"), wanted);
    let mut buffer = vec![0; 65536];
    let n = reader.read(&mut buffer).unwrap();
    let piped = String::from_utf8(buffer[..n].to_vec()).unwrap();
    for line in [
        "INSTANCE \"VI_1\" BACKUP 150\n",
        "INSTANCE \"VI_2\" MASTER 150\n",
        "GROUP \"G1\" MASTER 0\n",
    ] {
        assert_eq!(piped.matches(line).count(), 1, "{line}{piped}");
    }
}

#[test]
fn members_of_a_sync_group_fail_and_return_together() {
    lab::skip_unless_root!();
    let scene = Scene::new("sync");
    // The script is written before a role runs it: a running script cannot be written.
    let (second, _) = notified(&scene, 100);
    let (mut both, _) = notified(&scene, 150);
    both.instances[1].tracked.interfaces = vec![("extra0".to_owned(), Weight::default())];
    let ip = |words: &[&str]| scene.alpha.ip(words).unwrap();
    ip(&[
        "link", "add", "extra0", "type", "veth", "peer", "name", "extra1",
    ]);
    for name in ["extra0", "extra1"] {
        ip(&["link", "set", name, "up"]);
    }
    let alpha = scene.role(&scene.alpha, &both);
    let _beta = scene.role(&scene.beta, &second);
    assert!(scene.comes_to(&scene.alpha, VIP) && scene.comes_to(&scene.alpha, "10.0.0.102"));
    ip(&["link", "set", "extra1", "down"]);
    alpha.wait_for("VRRP_Group(G1) Syncing instances to FAULT state");
    assert!(scene.comes_to(&scene.beta, VIP) && scene.comes_to(&scene.beta, "10.0.0.102"));
    assert!(scene.leaves(&scene.alpha, VIP) && scene.leaves(&scene.alpha, "10.0.0.102"));
    ip(&["link", "set", "extra1", "up"]);
    assert!(scene.comes_to(&scene.alpha, VIP) && scene.comes_to(&scene.alpha, "10.0.0.102"));
}

#[test]
fn a_script_that_others_can_write_is_not_run_where_security_is_asked_for() {
    lab::skip_unless_root!();
    let scene = Scene::new("secure");
    let (chk, _) = ok_script(&scene);
    std::fs::set_permissions(Path::new(&chk), std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut tracking = simple(150);
    tracking.global.script_security = true;
    tracking.scripts = vec![script(vec![chk], -60)];
    tracking.instances[0].tracked.scripts = vec![("chk".to_owned(), None)];
    let alpha = scene.role(&scene.alpha, &tracking);
    alpha.wait_for("Disabling track script chk: Unsafe permissions found for script");
    assert!(scene.comes_to(&scene.alpha, VIP));
}
