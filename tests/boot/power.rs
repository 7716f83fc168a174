//! Tests the power control of the machines of a `boot` section: a real `ipmitool` with a simulated
//! management controller, and a program.

use crate::boot::site::BootSite;
use lab::{Controller, ScratchDirectory};
use serde_json::Value;
use std::fs;
use std::path::Path;

#[test]
fn machines_are_switched_by_their_controller_and_by_a_program() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("ipmi_sim");
    lab::skip_unless_installed!("ipmitool");
    let image = "\timage own disk\n";
    let Some(site) = BootSite::new("boot-power", image) else {
        return;
    };
    let bmc = site.lab.host("bmc").unwrap();
    let card = site.lan.attach(&bmc).unwrap();
    card.address("10.20.0.17/24").unwrap();
    let controller = Controller::start(&bmc, ([10, 20, 0, 17], 623).into()).unwrap();
    let scratch = ScratchDirectory::new().unwrap();
    let lines = image.to_owned() + &machines(&controller, scratch.path());
    site.reload("eth0", &lines);
    let power = |action: &str, machine: &str| site.command(&["boot", "power", action, machine]);
    let named = "(ipmi 10.20.0.17)";
    // The machine is powered on at the start.
    assert_eq!(power("status", "node7"), format!("node7: on {named}\n"));
    assert_eq!(power("on", "node7"), format!("node7: on already {named}\n"));
    assert_eq!(power("off", "node7"), format!("node7: off {named}\n"));
    assert!(!controller.is_on());
    let card = "52:54:00:00:00:07";
    assert_eq!(power("status", card), format!("{card}: off {named}\n"));
    assert_eq!(power("cycle", "node7"), format!("node7: on {named}\n"));
    assert!(controller.is_on());
    let before = controller.power_off_count();
    assert_eq!(
        power("cycle", "node7"),
        format!("node7: on again {named}\n")
    );
    assert!(controller.is_on() && controller.power_off_count() > before);
    assert_eq!(power("on", "node8"), "node8: on (exec /bin/sh)\n");
    assert!(fs::exists(scratch.path().join("on")).unwrap());
    assert_eq!(power("off", "node8"), "node8: off (exec /bin/sh)\n");
    assert!(!fs::exists(scratch.path().join("on")).unwrap());
    refusals(&site);
    assert!(controller.is_on());
    is_shown(&site);
}

/// Checks that powering a machine off is refused with these words.
#[track_caller]
fn refused(site: &BootSite, machine: &str, words: &[&str]) {
    let told = site.fails(&["boot", "power", "off", machine]);
    for word in words {
        assert!(told.contains(word), "no `{word}`: {told}");
    }
}

fn refusals(site: &BootSite) {
    refused(
        site,
        "wrong",
        &["Unable to establish", "try by hand: ipmitool -I lanplus"],
    );
    refused(
        site,
        "plain",
        &["has no `power`", "evenkeel boot wake plain"],
    );
    refused(site, "nobody", &["there is no machine 'nobody'"]);
}

/// Checks the other commands, which show the power control.
fn is_shown(site: &BootSite) {
    let woken = site.command(&["boot", "wake", "node7"]);
    assert!(woken.contains("`evenkeel boot power on node7`"), "{woken}");
    let woken = site.command(&["boot", "wake", "plain"]);
    assert!(!woken.contains("power control"), "{woken}");
    let list: Value = serde_json::from_str(&site.command(&["boot", "list", "--json"])).unwrap();
    let all = list["machines"].as_array().unwrap();
    let of = |name: &str| all.iter().find(|one| one["name"] == name).unwrap()["power"].clone();
    assert_eq!(of("node7"), "ipmi 10.20.0.17");
    assert_eq!(of("plain"), Value::Null);
}

/// Returns the lines of machines with a controller, with a program, and without either.
fn machines(controller: &Controller, scratch: &Path) -> String {
    let script = format!(
        "cd {}; case $1$2 in 3on) >on;; 3off) rm on;; 3status) [ -e on ] || exit 2;; *) exit 1;; esac",
        scratch.display()
    );
    let outlet = scratch.join("outlet");
    fs::write(&outlet, script).unwrap();
    let with = |name: &str, last: u8, power: &str| {
        format!(
            "\tmachine {name} mac 52:54:00:00:00:0{last} address 10.20.0.10{last} image own{power}\n"
        )
    };
    let ipmi = |password: String| {
        let user = Controller::USER;
        format!(" power ipmi 10.20.0.17 user {user} password-file {password} cipher 3")
    };
    [
        with(
            "node7",
            7,
            &ipmi(controller.password().display().to_string()),
        ),
        with(
            "node8",
            8,
            &format!(" power exec /bin/sh {} 3", outlet.display()),
        ),
        with(
            "wrong",
            6,
            &ipmi(controller.wrong_password().display().to_string()),
        ),
        with("plain", 5, ""),
    ]
    .concat()
}
