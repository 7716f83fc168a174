//! Tests the boot role over IPv6 with real clients, a real relay and, on request, real firmware.

mod firmware;
mod site;

use lab::{ScratchDirectory, eventually, installed, may_run, privileged};
use site::{Client, Ipv6NetworkFixture, PATIENCE, ip, with_range};
use std::process::{Command, Stdio};

fn is_ready(test: &str, programs: &[&'static str]) -> bool {
    let needs = programs.iter().fold(privileged(), |needs, program| {
        needs.and_then(|()| installed(program))
    });
    may_run(test, needs)
}

#[test]
fn an_address_is_kept_over_a_restart_and_given_back() {
    if !is_ready("an address of IPv6", &["dhclient"]) {
        return;
    }
    let mut site = Ipv6NetworkFixture::new("six", "fd00:60::1/64");
    site.start(with_range(0x60));
    let one = site.client("one");
    let first = one.asks();
    assert!(first.starts_with("fd00:60::10"), "{first}");
    site.why(&one, &format!("REPLY {first}"));
    // The lease outlives the role: no other client gets the address, and this one gets it again.
    site.stop();
    site.start(with_range(0x60));
    let two = site.client("two");
    let second = two.asks();
    assert_ne!(first, second);
    assert_eq!(one.asks(), first);
    two.gives_back();
    site.why(&two, "its address is free soon");
}

#[test]
fn a_machine_of_the_file_has_its_own_address_and_learns_its_network_and_no_router() {
    if !is_ready("an own address of IPv6", &["dhclient"]) {
        return;
    }
    let mut site = Ipv6NetworkFixture::new("six-own", "fd00:60::1/64");
    let one = site.client("one");
    let mut lan = with_range(0x60);
    let six = lan.six.as_mut().unwrap();
    six.range = None;
    six.machines.insert(one.card(), ip(0x60, 0x777));
    site.start(lan);
    assert_eq!(one.asks(), "fd00:60::777");
    // The kernel has learned that the network is on-link, and knows no router.
    let routes = |words: &[&str]| one.host.ip(&[&["-6", "route", "show"], words].concat());
    let is_known = || {
        routes(&["proto", "kernel"])
            .unwrap()
            .contains("fd00:60::/64")
    };
    assert!(eventually(PATIENCE, is_known), "{:?}", routes(&[]));
    assert_eq!(routes(&["default"]).unwrap(), "");
    let made = one.at.addresses().unwrap();
    assert!(made.is_empty(), "none is made of the prefix: {made:?}");
    // The second client has no address yet.
    let two = site.client("two");
    let program = two.stays();
    site.why(
        &two,
        "it has no IPv6 address in the file, and there is no range6",
    );
    drop(program);
}

#[test]
fn a_machine_is_known_by_the_card_of_its_frames() {
    if !is_ready("the card of frames", &["dhclient"]) {
        return;
    }
    let mut site = Ipv6NetworkFixture::new("six-card", "fd00:60::1/64");
    let one = site.client("one");
    let mut lan = with_range(0x60);
    let machines = &mut lan.six.as_mut().unwrap().machines;
    machines.insert(one.card(), ip(0x60, 0x777));
    site.start(lan);
    assert_eq!(one.asks_without_its_card(), "fd00:60::777");
}

#[test]
fn a_client_behind_a_relay_gets_an_address_of_its_network() {
    if !is_ready("a relay of IPv6", &["dhclient", "dnsmasq"]) {
        return;
    }
    let mut site = Ipv6NetworkFixture::new("six-relay", "fd00:60::1/64");
    let far = site.lab.switch("far").unwrap();
    let relay = site.lab.host("relay").unwrap();
    let near = site.lan.attach(&relay).unwrap();
    near.address("fd00:60::9/64").unwrap();
    let at_far = far.attach(&relay).unwrap();
    at_far.address("fd00:70::1/64").unwrap();
    relay.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
    site.server.route("fd00:70::/64", "fd00:60::9").unwrap();
    site.start(with_range(0x70));
    let scratch = ScratchDirectory::new().unwrap();
    let mut dnsmasq = Command::new("dnsmasq");
    dnsmasq.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--dhcp-relay=fd00:70::1,fd00:60::1",
    ]);
    let pid = scratch.path().join("dnsmasq.pid");
    dnsmasq.arg(format!("--pid-file={}", pid.display()));
    dnsmasq.stdin(Stdio::null()).stdout(Stdio::null());
    dnsmasq.stderr(Stdio::null());
    let _relay = relay.spawn(dnsmasq).unwrap();
    let client = Client::new(&site.lab, &far, "client");
    let address = client.asks();
    assert!(address.starts_with("fd00:70::10"), "{address}");
    site.why(&client, "through relay fd00:70::1");
}

#[test]
fn files_are_fetched_over_ipv6_as_long_as_the_section_has_it() {
    if !is_ready("files over IPv6", &["curl"]) {
        return;
    }
    let mut site = Ipv6NetworkFixture::new("six-files", "fd00:60::1/64");
    let one = site.client("one");
    one.at.address("fd00:60::9/64").unwrap();
    let fetched = || {
        let mut curl = Command::new("curl");
        let words = ["-s", "-g", "--max-time", "20", "-o", "/dev/null"];
        curl.args(words).args(["-w", "%{http_code}"]);
        curl.arg("http://[fd00:60::1]:7447/boot/52-54-00-00-00-07.ipxe");
        one.host.run(curl).unwrap_or_else(|_| "nothing".to_owned())
    };
    site.start(with_range(0x60));
    assert!(eventually(PATIENCE, || fetched() == "200"));
    let mut without = with_range(0x60);
    without.six = None;
    site.change(without);
    assert!(eventually(PATIENCE, || fetched() == "nothing"));
    site.change(with_range(0x60));
    assert!(eventually(PATIENCE, || fetched() == "200"));
}
