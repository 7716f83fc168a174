//! Tests that a member starts with the version that it accepted, whatever the machine lacks for it.
//! The member reports what is missing, and serves it as soon as it exists.

use crate::cluster::site::{Machine, SOON, Site, configuration};
use lab::{OriginServer, eventually};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const NAME: &str = "web1.shop.example";
const LOCAL: &str = "127.0.0.1 localhost\n";

/// Gives the processes of a machine their own /etc/hosts; returns the path of that file.
fn with_hosts(machine: &mut Machine) -> PathBuf {
    let hosts = machine.scratch().join("hosts");
    fs::write(&hosts, LOCAL).unwrap();
    let program = machine.scratch().join("evenkeel-with-hosts");
    let script = format!(
        "#!/bin/sh\nexec unshare -m sh -c 'mount --bind {} /etc/hosts && exec {} \"$@\"' evenkeel \"$@\"\n",
        hosts.display(),
        crate::program::binary().display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    machine.set_program(&program);
    hosts
}

/// The configuration with a server that is known by its name, and a second frontend.
fn with_name(word: &str) -> String {
    let named = configuration(word).replace(
        "server one 10.60.0.181:80",
        &format!("server one {NAME}:80"),
    );
    assert!(named.contains(NAME));
    format!("{named}\nfrontend other\n\tbind :81\n\thttp-request return status 204\n")
}

fn member<'s>(status: &'s Value, name: &str) -> Option<&'s Value> {
    let members = status["members"].as_array()?;
    members.iter().find(|member| member["name"] == name)
}

fn other_of(machine: &Machine) -> SocketAddr {
    SocketAddr::from(([10, 60, 0, machine.number], 81))
}

fn farm_serves(site: &Site, node: &Machine) -> bool {
    let answer = site.ask(node.service(), "/");
    answer.is_ok_and(|answer| answer.status == 200)
}

/// Waits until a condition of the site holds.
#[track_caller]
fn wait(site: &Site, fits: impl Fn() -> bool) {
    assert!(eventually(SOON, fits), "{}", site.tell());
}

fn supervisor_of(node: &Machine) -> String {
    node.command(&["status", "supervisor"]).text()
}

#[test]
fn accepted_version_starts_without_names_and_ports() {
    let mut site = Site::empty("member-start");
    let hosts = [with_hosts(&mut site.alpha), with_hosts(&mut site.beta)];
    let set_names = |text: &str| {
        for file in &hosts {
            fs::write(file, format!("{LOCAL}{text}")).unwrap();
        }
    };
    let known = format!("10.60.0.181 {NAME}\n");
    set_names(&known);
    site.found();
    site.alpha.apply(&with_name("one"), &["--now"]).well();
    wait(&site, || site.serves_everywhere("one"));
    wait(&site, || {
        site.nodes()
            .into_iter()
            .all(|node| farm_serves(&site, node))
    });

    // A power cut: everything starts at once, before the nameserver is back.
    set_names("");
    start_without_names(&mut site);
    // A new version with the same fault is refused.
    site.leader();
    site.alpha
        .apply(&with_name("two"), &["--now"])
        .refused(&["could not resolve address", NAME]);

    // The nameserver is back: nothing is missing any more.
    set_names(&known);
    let is_whole = |node: &Machine| !supervisor_of(node).contains(NAME);
    wait(&site, || site.nodes().into_iter().all(is_whole));
    site.alpha.apply(&with_name("two"), &["--now"]).well();
    wait(&site, || site.serves_everywhere("two"));

    port_of_another_program(&mut site);
}

fn start_without_names(site: &mut Site) {
    for name in ["alpha", "beta", "arbiter"] {
        site.machine_mut(name).kill();
    }
    for name in ["alpha", "beta", "arbiter"] {
        site.machine_mut(name).start();
    }
    wait(site, || site.serves_everywhere("one"));
    for node in site.nodes() {
        wait(site, || farm_serves(site, node));
        let text = supervisor_of(node);
        for word in [NAME, "does not resolve", "10.60.0.181"] {
            assert!(text.contains(word), "{text}");
        }
    }
}

/// Another program has a port of beta at its next start: the rest is served and reported.
fn port_of_another_program(site: &mut Site) {
    site.beta.kill();
    let at = SocketAddr::from(([0, 0, 0, 0], 80));
    let mut other = OriginServer::start(&site.beta.host, "other", at).unwrap();
    site.beta.start();
    wait(site, || {
        let answer = site.ask(other_of(&site.beta), "/");
        answer.is_ok_and(|answer| answer.status == 204)
    });
    let is_reported = |status: &Value| {
        let text = |name: &str, field: &str| member(status, name).map(|one| one[field].to_string());
        let (missing, forecast) = (text("beta", "missing"), text("alpha", "if_it_fails"));
        missing.is_some_and(|text| text.contains(":80 of www"))
            && forecast.is_some_and(|text| text.contains("beta serves without"))
    };
    assert!(site.alpha.tells(is_reported), "{}", site.tell());
    let has = |metric: &str, value: &str| {
        let text = site.beta.command(&["status", "--metrics"]).text();
        let mut lines = text.lines();
        lines.any(|line| line.starts_with(metric) && line.ends_with(value))
    };
    wait(site, || has("evenkeel_version_missing", " 1"));
    // A virtual address prefers the other node meanwhile.
    wait(site, || has("evenkeel_address_band", " 1"));

    // The port is free again.
    other.stop();
    drop(other);
    wait(site, || site.serves_everywhere("two"));
    wait(site, || has("evenkeel_address_band", " 0"));
    let none = serde_json::json!([]);
    let is_whole =
        |status: &Value| member(status, "beta").is_some_and(|beta| beta["missing"] == none);
    assert!(site.alpha.tells(is_whole), "{}", site.tell());
}
