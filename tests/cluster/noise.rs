//! Tests that no command and no page decides by a text that another process rendered for people:
//! with noise in place of all of them (`part::words`), exit codes and the states in JSON stay the
//! same.

use crate::cluster::site::{Machine, SOON};
use crate::guest::site::GuestSite;
use crate::volume::site::{VolumeSite, other};
use lab::eventually;
use lab::pki::{Authority, Leaf};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::process::Command;

/// Sections of all other parts.
const FURTHER: &str = "
virtual-ip www
\taddress 10.60.0.100/24
\tinterface eth0
\tprefer alpha beta
\tfailover 300ms

userlist staff
\tuser vera insecure-password plum

console
\tbind 127.0.0.1:8600 plain
\tusers staff
\trole admin user vera

farm office
\tbind 0.0.0.0:3389 crt {crt}
\ttoken-key {key}
\thost ts1 10.60.0.181

boot lan
\tinterface eth0
\trange 10.60.0.120 10.60.0.129
\ton alpha leases {alpha}
\ton beta leases {beta}
\timage rescue program uefi {loader}
\tmachine node7 mac 52:54:00:00:00:07 address 10.60.0.107 image rescue
";

/// Runs a command and checks its exit code.
#[track_caller]
fn exits(site: &VolumeSite, node: &str, words: &[&str], code: i32) {
    let machine = site.site.machine(node);
    let ended = machine.exit_code(words);
    assert_eq!(ended, Some(code), "{node}: {words:?}\n{}", site.tell());
}

/// Returns the typed status of a subject in the JSON of a node.
fn status(machine: &Machine, part: &str, kind: &str, name: &str) -> Value {
    let said = machine.command(&["status", part, "--json"]).out;
    let reports: Value = serde_json::from_str(&said).unwrap_or_default();
    let subjects = reports[0]["subjects"].as_array().cloned();
    let mut subjects = subjects.unwrap_or_default().into_iter();
    let subject = subjects.find(|one| one["kind"] == kind && one["name"] == name);
    subject.map_or(Value::Null, |one| one["status"].clone())
}

/// Waits until the typed status of a subject has these values.
#[track_caller]
fn becomes(site: &VolumeSite, node: &str, [part, kind, name]: [&str; 3], wanted: &Value) {
    let mut shown = Value::Null;
    let has = || {
        shown = status(site.site.machine(node), part, kind, name);
        let fields = wanted.as_object().into_iter().flatten();
        fields
            .into_iter()
            .all(|(field, value)| shown[field] == *value)
    };
    let reached = eventually(SOON, has);
    assert!(reached, "{node}: {kind} {name}: {shown}\n{}", site.tell());
}

/// Requests a path of the console of a node; returns the status code and the body.
fn console(machine: &Machine, words: &[&str], path: &str) -> (String, String) {
    let mut command = Command::new("curl");
    command.args(["-s", "-u", "vera:plum", "-w", "\n%{http_code}"]);
    command
        .args(words)
        .arg(format!("http://127.0.0.1:8600{path}"));
    let said = machine.host.run(command).unwrap_or_default();
    let (body, code) = said.rsplit_once('\n').unwrap_or_default();
    (code.to_owned(), body.to_owned())
}

/// Requests an action that a report offers; returns the status code and the body.
fn act(site: &VolumeSite, node: &str, [part, kind, name, word]: [&str; 4]) -> (String, String) {
    let fields = [
        "what=offer".to_owned(),
        format!("part={part}"),
        format!("kind={kind}"),
        format!("name={name}"),
        format!("word={word}"),
    ];
    let words = fields.iter().flat_map(|one| ["--data-urlencode", one]);
    let words: Vec<&str> = words.collect();
    console(site.site.machine(node), &words, "/api/v1/act")
}

/// Requests an action until the console knows the offer.
#[track_caller]
fn acts(site: &VolumeSite, node: &str, offer: [&str; 4]) {
    let mut said = Default::default();
    let done = || {
        said = act(site, node, offer);
        said.0 == "200"
    };
    let is_done = eventually(SOON, done);
    assert!(is_done, "{node}: {offer:?}: {said:?}\n{}", site.tell());
}

fn volume_commands(site: &VolumeSite) {
    let owner = site.in_sync();
    let away = other(owner);
    let run = |node: &str, words: &[&str], code| {
        exits(site, node, &[&["volume"], words, &[][..]].concat(), code);
    };
    run(owner, &["verify", "mail"], 0);
    run(away, &["verify", "mail"], 1);
    run(owner, &["resync", "mail"], 0);
    run(away, &["resync", "mail"], 1);
    run(owner, &["admit", "mail", owner], 0);
    run(owner, &["admit", "mail", "--all"], 0);
    let image = site.scratch().join("image");
    let image = image.display().to_string();
    run(owner, &["export", "mail", &image], 0);
    run(owner, &["import", "mail", &image, "--yes"], 0);
    run(owner, &["accept", "mail"], 0);
    run(away, &["hand-over", "mail"], 1);
    site.in_sync();
    run(owner, &["hand-over", "mail"], 0);
    let mail = ["volume", "volume", "mail"];
    let moved = json!({ "owner": away, "is_owner": false, "complete": "both" });
    becomes(site, owner, mail, &moved);
    assert_eq!(site.in_sync(), away);
    let file = OpenOptions::new().write(true).open(site.file(owner));
    let file = file.unwrap();
    file.write_all_at(&[0x5a; 8192], 2000 * 4096).unwrap();
    file.sync_all().unwrap();
    run(away, &["verify", "mail"], 1);
    run(away, &["verify", "mail", "--repair"], 1);
    run(away, &["verify", "mail"], 0);
    run(away, &["hand-over", "nosuch"], 1);
}

fn guest_commands(guests: &GuestSite) {
    let site = &guests.volumes;
    let mail = ["guest", "guest", "mail"];
    exits(site, "beta", &["guest", "start", "mail"], 0);
    let running = json!({ "state": "running", "node": "alpha", "stop_order": "none" });
    becomes(site, "alpha", mail, &running);
    guests.runs_on("alpha");
    exits(site, "beta", &["guest", "start", "mail"], 0);
    exits(site, "beta", &["guest", "start", "nosuch"], 1);
    exits(site, "alpha", &["guest", "move", "mail", "nosuch"], 1);
    exits(site, "alpha", &["guest", "move", "mail", "beta"], 0);
    becomes(site, "beta", mail, &json!({ "state": "running" }));
    let there = json!({ "state": "elsewhere", "node": "beta" });
    becomes(site, "alpha", mail, &there);
    exits(site, "beta", &["node", "drain"], 0);
    let node = ["guest", "guest node", "beta"];
    becomes(site, "alpha", node, &json!({ "state": "drained" }));
    becomes(site, "alpha", mail, &json!({ "state": "running" }));
    exits(site, "beta", &["node", "fill"], 0);
    becomes(site, "alpha", node, &json!({ "state": "available" }));
}

fn address_commands(site: &VolumeSite) {
    let www = ["address", "virtual-ip", "www"];
    becomes(site, "alpha", www, &json!({ "state": "master" }));
    becomes(site, "beta", www, &json!({ "state": "backup" }));
    exits(site, "beta", &["address", "hand-over", "www"], 1);
    exits(site, "alpha", &["address", "hand-over", "www"], 0);
    becomes(site, "beta", www, &json!({ "state": "master" }));
    becomes(site, "alpha", www, &json!({ "state": "backup" }));
}

fn console_actions(site: &VolumeSite) {
    let alpha = site.site.machine("alpha");
    let known = || {
        let (_, body) = console(alpha, &[], "/api/v1/platform");
        let platform: Value = serde_json::from_str(&body).unwrap_or_default();
        let members = platform["members"].as_array().cloned();
        let members = members.unwrap_or_default();
        let kinds = members.iter().filter(|one| one["kind"] == "arbiter");
        let heard = members.iter().filter(|one| one["silent"].is_null());
        (members.len(), kinds.count(), heard.count()) == (3, 1, 3)
    };
    assert!(eventually(SOON, known), "{}", site.tell());
    acts(site, "beta", ["address", "virtual-ip", "www", "hand-over"]);
    becomes(
        site,
        "alpha",
        ["address", "virtual-ip", "www"],
        &json!({ "state": "master" }),
    );
    let unknown = ["address", "virtual-ip", "www", "fly"];
    let (refused, _) = act(site, "alpha", unknown);
    assert_eq!(refused, "409", "{}", site.tell());
}

/// Applies the configuration with all parts, and waits until each member is reached.
fn apply(site: &VolumeSite, text: &str) {
    let leaf = Leaf {
        names: &["desktop.example.org"],
        ..Leaf::default()
    };
    let issued = Authority::new("Test CA").unwrap().issue(&leaf).unwrap();
    let scratch = site.site.machine("alpha").scratch();
    let (crt, key) = (scratch.join("desktop.pem"), scratch.join("farm.key"));
    let loader = scratch.join("loader.efi");
    std::fs::write(&loader, b"MZ").unwrap();
    std::fs::write(&crt, issued.bundle()).unwrap();
    std::fs::write(&key, [7; 32]).unwrap();
    let mut text = text
        .replace("{crt}", &crt.display().to_string())
        .replace("{loader}", &loader.display().to_string())
        .replace("{key}", &key.display().to_string());
    for node in ["alpha", "beta"] {
        let leases = site.site.machine(node).scratch().join("boot");
        text = text.replace(&format!("{{{node}}}"), &leases.display().to_string());
    }
    site.site.machine("alpha").apply(&text, &["--now"]).well();
    let are_reached = || {
        let status = site.site.machine("beta").status().unwrap_or_default();
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let is_reached = |name: &str, kind: &str| {
            let mut named = members.iter().filter(|one| one["name"] == name);
            named.any(|one| one["kind"] == kind && one["reach"]["direct"].is_object())
        };
        is_reached("alpha", "node") && is_reached("arbiter", "arbiter")
    };
    assert!(eventually(SOON, are_reached), "{}", site.tell());
}

#[test]
fn commands_and_console_decide_the_same_with_noise_for_texts() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("curl");
    let site = VolumeSite::with_variable("noise", "EVENKEEL_NOISE=1");
    apply(&site, &site.configuration(FURTHER));
    exits(&site, "alpha", &["cluster", "hand-over", "nosuch"], 1);
    exits(&site, "alpha", &["cluster", "hand-over", "beta"], 0);
    volume_commands(&site);
    address_commands(&site);
    exits(&site, "alpha", &["farm", "drain", "ts1"], 0);
    exits(&site, "alpha", &["farm", "drain", "nosuch"], 1);
    exits(&site, "alpha", &["farm", "ready", "ts1"], 0);
    exits(&site, "alpha", &["boot", "wake", "node7"], 0);
    exits(&site, "alpha", &["boot", "wake", "nosuch"], 1);
    exits(&site, "alpha", &["boot", "list", "--json"], 0);
    console_actions(&site);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn guests_are_moved_and_stopped_the_same_with_noise_for_texts() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("curl");
    let Some(guests) = GuestSite::noisy("noise-guest") else {
        return;
    };
    let site = &guests.volumes;
    apply(site, &guests.configuration(FURTHER));
    let mail = ["guest", "guest", "mail"];
    exits(site, "alpha", &["guest", "stop", "mail", "--kill"], 0);
    let stopped = json!({ "state": "down", "stop_order": "until-start", "node": "" });
    becomes(site, "alpha", mail, &stopped);
    exits(site, "alpha", &["guest", "stop", "mail"], 0);
    guest_commands(&guests);
    acts(site, "alpha", ["guest", "guest", "mail", "move beta"]);
    guests.runs_on("beta");
    becomes(site, "beta", mail, &json!({ "state": "running" }));
}
