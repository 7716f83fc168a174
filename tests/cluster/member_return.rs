//! Tests members whose state or address no longer matches the cluster: both sides report it, and
//! the documented commands bring them back.

use crate::cluster::site::{Machine, SOON, Site, configuration};
use lab::eventually;
use serde_json::Value;
use std::process::Command;

fn member<'s>(status: &'s Value, name: &str) -> Option<&'s Value> {
    let members = status["members"].as_array()?;
    members.iter().find(|member| member["name"] == name)
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// Gives a machine another address on the network of the members.
fn move_address(machine: &Machine) {
    let run = |line: &str| {
        let mut command = Command::new("ip");
        command.args(line.split_whitespace());
        machine.host.run(command).unwrap()
    };
    let shown = run("-o -4 addr show to 10.61.0.0/24");
    let device = shown
        .split_whitespace()
        .nth(1)
        .expect("a device")
        .to_owned();
    let number = machine.number;
    run(&format!("addr del 10.61.0.{number}/24 dev {device}"));
    run(&format!("addr add 10.62.0.{number}/24 dev {device}"));
}

#[track_caller]
fn shows(machine: &Machine, words: &[&str]) {
    let text = || machine.command(&["cluster", "status"]).text();
    assert!(machine.tells_words(words), "{}", text());
}

#[test]
fn members_with_older_state_or_other_addresses_return() {
    let mut site = Site::new("member-return");
    put_beta_back(&mut site);

    // Removes beta and joins it again, as documented.
    site.alpha
        .command(&["cluster", "remove", "beta", "--yes"])
        .well();
    let token = site.alpha.token(&["cluster", "invite"]);
    site.beta.stop();
    let state = site.beta.state();
    let old = site.beta.scratch().join("state.old");
    site.beta.move_state(&old);
    site.beta.set_state(&state);
    let join = ["cluster", "join", &token, "--name", "beta"];
    site.beta.command(&join).well();
    site.beta.start();
    site.leader();

    move_all(&mut site);
    let two = configuration("two");
    site.alpha.apply(&two, &["--now"]).well();
    assert!(
        eventually(SOON, || site.serves_everywhere("two")),
        "{}",
        site.tell()
    );
}

/// Replaces beta's state by a copy that is older than the CA, and checks what both sides report.
fn put_beta_back(site: &mut Site) {
    site.beta.stop();
    let (state, snapshot) = (site.beta.state(), site.beta.scratch().join("snapshot"));
    copy(&state, &snapshot);
    site.beta.start();
    site.leader();
    let rotate = ["cluster", "rotate", "--authority"];
    site.alpha.command(&rotate).well();
    let is_replaced = |status: &Value| {
        let authority = &status["authority"];
        let uncertified = authority["uncertified"].as_array();
        authority["next"].is_null() && uncertified.is_some_and(Vec::is_empty)
    };
    assert!(site.alpha.tells(is_replaced), "{}", site.tell());
    site.beta.kill();
    std::fs::remove_dir_all(&state).unwrap();
    copy(&snapshot, &state);
    site.beta.start();
    let on_beta = [
        "do not accept each other's certificates",
        "cluster remove beta",
        "join TOKEN",
    ];
    shows(&site.beta, &on_beta);
    let on_alpha = [
        "at the address of beta",
        "older state",
        "cluster remove beta",
    ];
    shows(&site.alpha, &on_alpha);
    // The member serves its accepted version.
    assert!(
        eventually(SOON, || site.serves(&site.beta, "one")),
        "{}",
        site.tell()
    );
}

/// Moves all members to another network at once.
fn move_all(site: &mut Site) {
    for name in ["alpha", "beta", "arbiter"] {
        site.machine_mut(name).stop();
        move_address(site.machine(name));
    }
    site.alpha.start();
    shows(
        &site.alpha,
        &[
            "cannot listen for others on 10.61.0.1:7443",
            "cluster address",
        ],
    );
    let serves = || site.serves(&site.alpha, "one");
    assert!(eventually(SOON, serves), "{}", site.tell());
    let at = |machine: &Machine| format!("10.62.0.{}:7443", machine.number);
    let place = |machine: &Machine| machine.state().display().to_string();
    let (listen, state) = (at(&site.alpha), place(&site.alpha));
    let alone = ["cluster", "address", "--listen", &listen, "--state", &state];
    site.alpha
        .command(&alone)
        .refused(&["in use by another evenkeel process"]);
    site.alpha.stop();
    for machine in site.machines() {
        let (listen, state) = (at(machine), place(machine));
        let mut words = vec!["cluster", "address", "--listen", &listen, "--state", &state];
        let others = site.machines().into_iter();
        let others = others.filter(|other| other.name() != machine.name());
        let others: Vec<String> = others
            .map(|other| format!("{}={}", other.name(), at(other)))
            .collect();
        others
            .iter()
            .for_each(|other| words.extend(["--member", other]));
        machine.command(&words).well();
    }
    for name in ["alpha", "beta", "arbiter"] {
        site.machine_mut(name).start();
    }
    site.leader();
    let are_announced = |status: &Value| {
        let is_new = |machine: &&Machine| {
            let addresses = member(status, machine.name()).map(|one| one["addresses"].clone());
            addresses == Some(serde_json::json!([at(machine)]))
        };
        site.machines().iter().all(is_new)
    };
    assert!(site.alpha.tells(are_announced), "{}", site.tell());
}
