//! Tests that a host without power ends its processes and returns with its configuration.

use lab::{Answerer, Lab, eventually};
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn powered_off_host_returns_with_its_configuration() {
    lab::skip_unless_root!();
    let lab = Lab::new("power").unwrap();
    let switch = lab.switch("lan").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let (at_a, at_b) = (switch.attach(&a).unwrap(), switch.attach(&b).unwrap());
    for (at, n) in [(&at_a, 1), (&at_b, 2)] {
        at.address(&format!("10.10.0.{n}/24")).unwrap();
        at.address(&format!("fd10::{n}/64")).unwrap();
    }
    a.route("10.11.0.0/16", "10.10.0.2").unwrap();
    // An address that a program adds is not part of the host's configuration.
    a.ip(&["address", "add", "10.10.0.100/32", "dev", at_a.name()])
        .unwrap();
    let answers = |to: &str, timeout| b.tcp_connect(to.parse().unwrap(), timeout).is_ok();
    let _answerer = Answerer::start(&a, "[::]:7".parse().unwrap(), "a").unwrap();
    assert!(answers("10.10.0.1:7", SOON) && answers("[fd10::1]:7", SOON));
    let mut command = Command::new("sh");
    command.args(["-c", "setsid sleep 600 & sleep 600"]);
    let process = a.spawn(command).unwrap();
    assert!(eventually(SOON, || a.processes().len() == 3));
    let off = a.power_off().unwrap();
    assert!(process.wait(SOON).is_some());
    assert!(eventually(SOON, || a.processes().is_empty()));
    assert!(!answers("10.10.0.1:7", Duration::from_millis(300)));
    assert_eq!(lab.faults(), ["a has no power"]);
    off.heal().unwrap();
    assert!(eventually(SOON, || answers("10.10.0.1:7", SOON)));
    assert!(eventually(SOON, || answers("[fd10::1]:7", SOON)));
    assert!(!at_a.has_address("10.10.0.100").unwrap());
    assert!(a.ip(&["route"]).unwrap().contains("10.11.0.0/16"));
}
