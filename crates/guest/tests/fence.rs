//! Fencing with the real `ipmitool` and a simulated management controller (`ipmi_sim` of OpenIPMI).

use guest::agreement::Fenced;
use guest::config::Fence;
use guest::fence::nodes::Nodes;
use guest::fence::proof::{self, Proof};
use lab::{Scratch, eventually};
use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);
const PASSWORD: &str = "secret";

/// A controller on a port of the loopback, with the power of its machine in a file.
struct Controller {
    scratch: Scratch,
    port: u16,
    process: Child,
}

impl Controller {
    fn start() -> Controller {
        let scratch = Scratch::new().unwrap();
        let path = |name: &str| scratch.path().join(name);
        let port = free_port();
        let chassis = path("chassis");
        write(
            &chassis,
            &format!(
                "#!/bin/sh\nshift\nverb=$1\nshift\ncase $verb in\nget) for one; do case $one in\npower) echo \
                 \"power:$(cat {0})\";;\n*) echo \"$one:0\";;\nesac; done;;\nset) while [ $# -gt 1 ]; do\n[ $1 = power ] \
                 && echo $2 >{0}\nshift 2\ndone;;\nesac\n",
                path("power").display()
            ),
            0o755,
        );
        write(&path("power"), "1\n", 0o600);
        write(&path("password"), PASSWORD, 0o600);
        write(&path("wrong"), "another", 0o600);
        let auth = "none md2 md5 straight";
        let levels = ["callback", "user", "operator", "admin"];
        let allowed = levels.map(|level| format!("allowed_auths_{level} {auth}\n"));
        let lan = format!(
            "name \"sim\"\nset_working_mc 0x20\nstartlan 1\naddr 127.0.0.1 {port}\npriv_limit admin\n{}guid \
             a123456789abcdefa123456789abcdef\nendlan\nchassis_control \"{} 0x20\"\nuser 2 true \"admin\" \"{PASSWORD}\" \
             admin 10 {auth}\n",
            allowed.concat(),
            chassis.display()
        );
        write(&path("lan.conf"), &lan, 0o600);
        let commands = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 \
                        persist_sdr\nmc_enable 0x20\n";
        write(&path("commands"), commands, 0o600);
        fs::create_dir(path("state")).unwrap();
        let mut command = Command::new("ipmi_sim");
        command.arg("-n").arg("-c").arg(path("lan.conf"));
        command.arg("-f").arg(path("commands"));
        command.arg("-s").arg(path("state"));
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.stderr(Stdio::null()).spawn().unwrap();
        let controller = Controller {
            scratch,
            port,
            process,
        };
        let listens = || UdpSocket::bind(("127.0.0.1", port)).is_err();
        assert!(eventually(PATIENCE, listens), "ipmi_sim listens");
        controller
    }

    fn fence(&self, password: &str) -> Fence {
        ipmi(self.port, self.scratch.path().join(password))
    }

    fn is_on(&self) -> bool {
        fs::read_to_string(self.scratch.path().join("power")).unwrap() == "1\n"
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ipmi(port: u16, password_file: PathBuf) -> Fence {
    Fence::Ipmi {
        at: format!("127.0.0.1:{port}"),
        user: "admin".to_owned(),
        password_file,
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// Fences a node until that has ended.
fn fence(fences: Vec<Fence>) -> (Fenced, String) {
    let wanted: BTreeMap<String, Vec<Fence>> = [("beta".to_owned(), fences)].into();
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
fn refused(proof: &Proof) {
    assert!(!proof.works, "{proof:?}");
    assert!(proof.words.contains("Unable to establish"), "{proof:?}");
}

#[test]
fn a_node_is_powered_off_by_its_controller_after_a_method_that_does_not_work() {
    lab::skip_unless_installed!("ipmi_sim");
    lab::skip_unless_installed!("ipmitool");
    let controller = Controller::start();
    let good = controller.fence("password");
    let proof = proof::of(&good);
    assert!(
        proof.works && proof.words.ends_with("the node is on"),
        "{proof:?}"
    );
    refused(&proof::of(&controller.fence("wrong")));
    assert!(controller.is_on());
    let (fenced, words) = fence(vec![controller.fence("wrong"), good.clone()]);
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
    let controller = Controller::start();
    let (fenced, words) = fence(vec![controller.fence("wrong")]);
    assert_eq!(fenced, Fenced::Failed, "{words}");
    assert!(words.contains("Unable to establish"), "{words}");
    assert!(controller.is_on());
}

#[test]
fn a_controller_that_is_unreachable_or_never_responds_is_a_failure_in_words() {
    lab::skip_unless_installed!("ipmitool");
    let scratch = Scratch::new().unwrap();
    let password = scratch.path().join("password");
    write(&password, PASSWORD, 0o600);
    refused(&proof::of(&ipmi(free_port(), password.clone())));
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    refused(&proof::of(&ipmi(port, password.clone())));
    // Then the next method is used.
    let off = Fence::Exec(vec!["/bin/true".to_owned()]);
    let (fenced, words) = fence(vec![ipmi(port, password), off]);
    assert_eq!(fenced, Fenced::Off);
    assert!(
        words.starts_with("off confirmed by exec /bin/true"),
        "{words}"
    );
}
