//! Tests fencing with the real `ipmitool` and a simulated management controller (`ipmi_sim` of
//! OpenIPMI).

use guest::agreement::Fenced;
use guest::fence::nodes::Nodes;
use guest::fence::proof::{self, FencingTestResult};
use lab::{Controller, Location, ScratchDirectory, eventually, free_port};
use part::power::control::PowerControl;
use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

fn start() -> Controller {
    Controller::start(
        Location::Here,
        ([127, 0, 0, 1], free_port().unwrap()).into(),
    )
    .unwrap()
}

fn fence_by(controller: &Controller, password: PathBuf) -> PowerControl {
    ipmi(controller.address().port(), password)
}

fn ipmi(port: u16, password_file: PathBuf) -> PowerControl {
    PowerControl::Ipmi {
        at: format!("127.0.0.1:{port}"),
        user: "admin".to_owned(),
        password_file,
        cipher: Some(3),
    }
}

fn fence(fences: Vec<PowerControl>) -> (Fenced, String) {
    let wanted: BTreeMap<String, Vec<PowerControl>> = [("beta".to_owned(), fences)].into();
    let start = Instant::now();
    let now = || u64::try_from(start.elapsed().as_millis()).unwrap();
    let mut nodes = Nodes::default();
    let mut ended = None;
    let done = eventually(PATIENCE, || {
        nodes.fence(&wanted, now());
        ended = nodes.turn(now()).pop();
        ended.is_some()
    });
    assert!(done, "fencing ends: {:?}", nodes.words("beta", now()));
    let (words, _) = nodes.words("beta", now()).unwrap();
    (ended.unwrap().1, words)
}

#[track_caller]
fn refused(proof: &FencingTestResult) {
    assert!(!proof.works, "{proof:?}");
    assert!(proof.words.contains("Unable to establish"), "{proof:?}");
}

#[test]
fn a_node_is_powered_off_by_its_controller_after_a_method_that_does_not_work() {
    lab::skip_unless_installed!("ipmi_sim");
    lab::skip_unless_installed!("ipmitool");
    let controller = start();
    let good = fence_by(&controller, controller.password());
    let proof = proof::of(&good);
    assert!(
        proof.works && proof.words.ends_with("the node is on"),
        "{proof:?}"
    );
    refused(&proof::of(&fence_by(
        &controller,
        controller.wrong_password(),
    )));
    assert!(controller.is_on());
    let (fenced, words) = fence(vec![
        fence_by(&controller, controller.wrong_password()),
        good.clone(),
    ]);
    assert_eq!(fenced, Fenced::Off, "{words}");
    assert!(
        words.starts_with(&format!("off confirmed by {}", good.name())),
        "{words}"
    );
    assert!(!controller.is_on());
    let proof = proof::of(&good);
    assert!(
        proof.works && proof.words.ends_with("the node is off"),
        "{proof:?}"
    );
}

#[test]
fn a_wrong_password_powers_nothing_off() {
    lab::skip_unless_installed!("ipmi_sim");
    lab::skip_unless_installed!("ipmitool");
    let controller = start();
    let (fenced, words) = fence(vec![fence_by(&controller, controller.wrong_password())]);
    assert_eq!(fenced, Fenced::Failed, "{words}");
    assert!(words.contains("Unable to establish"), "{words}");
    assert!(controller.is_on());
}

#[test]
fn an_unreachable_controller_is_reported() {
    lab::skip_unless_installed!("ipmitool");
    let scratch = ScratchDirectory::new().unwrap();
    let password = scratch.write("password", "secret").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    refused(&proof::of(&ipmi(free_port().unwrap(), password.clone())));
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    refused(&proof::of(&ipmi(port, password.clone())));
    // After the failure, the next method is used.
    let off = PowerControl::Exec(vec!["/bin/true".to_owned()]);
    let (fenced, words) = fence(vec![ipmi(port, password), off]);
    assert_eq!(fenced, Fenced::Off);
    assert!(
        words.starts_with("off confirmed by exec /bin/true"),
        "{words}"
    );
}
