//! Tests DHCP with real clients, a real relay and real other servers.

use crate::boot::dhcp_site::{BootSite, Client, SOON};
use lab::{
    LabHost, LabProcess, ScratchDirectory, Signal, eventually, installed, may_run, privileged,
};
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};

const RANGE: &str = " range 10.60.0.100 10.60.0.109 lease 1h\n unknown menu";

fn is_ready(test: &str, programs: &[&'static str]) -> bool {
    let mut needs = privileged();
    for program in programs {
        needs = needs.and_then(|()| installed(program));
    }
    may_run(test, needs)
}

fn dnsmasq(host: &LabHost, scratch: &ScratchDirectory, words: &[&str]) -> LabProcess {
    let mut command = Command::new("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
    ]);
    command.arg(format!(
        "--pid-file={}",
        scratch.path().join("dnsmasq.pid").display()
    ));
    command.arg(format!(
        "--dhcp-leasefile={}",
        scratch.path().join("dnsmasq.leases").display()
    ));
    command.args(words).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    host.spawn(command).unwrap()
}

#[test]
fn lease_is_acquired_renewed_released_and_survives_a_kill() {
    if !is_ready("an address", &["udhcpc", "dhclient"]) {
        return;
    }
    let mut site = BootSite::new("boot-dhcp");
    site.start(RANGE);
    let watch = site.watches();
    let one = site.client("one");
    let program = one.stays();
    let first = one.hears("bound ");
    site.watched(&[&one.mac(), "DISCOVER", &format!("-> OFFER {first}")]);
    drop(watch);
    assert!(first.starts_with("10.60.0.10"), "{first}");
    site.why(&one, &format!("ACK {first}"));
    program.signal(Signal::USR1).unwrap();
    assert_eq!(one.hears("renew "), first);
    program.signal(Signal::KILL).unwrap();
    program.wait(SOON);
    // The lease outlives the client program, which gets the same address again.
    site.kill();
    site.start_again();
    site.shows("answers");
    let two = site.client("two");
    let second = two.asks().unwrap();
    assert_ne!(first, second);
    assert_eq!(one.asks().as_deref(), Some(&*first));
    let three = site.client("three");
    let third = three.asks_with_dhclient();
    assert!(third != first && third != second, "{third}");
    // A released address is free after a while.
    let four = site.client("four");
    let program = four.stays();
    let fourth = four.hears("bound ");
    program.signal(Signal::USR2).unwrap();
    four.hears("deconfig");
    site.why(&four, "its address is free soon");
    assert!(![first, second, third].contains(&fourth));
}

#[test]
fn a_client_behind_a_relay_gets_an_address_of_its_network() {
    if !is_ready("a relay", &["udhcpc", "dnsmasq"]) {
        return;
    }
    let mut site = BootSite::new("boot-relay");
    let far = site.lab.switch("far").unwrap();
    let relay = site.lab.host("relay").unwrap();
    site.lan
        .attach(&relay)
        .unwrap()
        .address("10.60.0.9/24")
        .unwrap();
    far.attach(&relay).unwrap().address("10.70.0.1/24").unwrap();
    relay.sysctl("net/ipv4/ip_forward", "1").unwrap();
    site.server.route("10.70.0.0/24", "10.60.0.9").unwrap();
    let scratch = ScratchDirectory::new().unwrap();
    let _relay = dnsmasq(&relay, &scratch, &["--dhcp-relay=10.70.0.1,10.60.0.1"]);
    site.start(" network 10.70.0.0/24\n range 10.70.0.100 10.70.0.109 lease 1h\n gateway 10.70.0.1\n unknown menu");
    let client = Client::new(&site.lab, &far, "client");
    let address = client.asks().unwrap();
    assert!(address.starts_with("10.70.0.10"), "{address}");
    site.why(&client, "through relay 10.70.0.1");
}

#[test]
fn another_server_in_the_network_is_shown() {
    if !is_ready("another server", &["udhcpc", "dnsmasq"]) {
        return;
    }
    let mut site = BootSite::new("boot-other");
    site.start(" range 10.60.0.100 10.60.0.100 lease 1h\n unknown menu");
    let one = site.client("one");
    assert_eq!(one.asks().as_deref(), Some("10.60.0.100"));
    let other = site.lab.host("other").unwrap();
    site.lan
        .attach(&other)
        .unwrap()
        .address("10.60.0.8/24")
        .unwrap();
    let scratch = ScratchDirectory::new().unwrap();
    let _other = dnsmasq(
        &other,
        &scratch,
        &["--dhcp-range=10.60.0.200,10.60.0.209,1h", "--no-ping"],
    );
    let two = site.client("two");
    let asked = || {
        two.asks()
            .is_some_and(|address| address.starts_with("10.60.0.20"))
    };
    assert!(eventually(SOON, asked));
    site.shows("another DHCP server, 10.60.0.8");
    site.why(&two, "it takes the offer of 10.60.0.8");
}

#[test]
fn address_in_use_is_not_offered() {
    if !is_ready("an address in use", &["udhcpc"]) {
        return;
    }
    let mut site = BootSite::new("boot-in-use");
    let squatter = site.client("squatter");
    for last in 100..=108 {
        squatter.at.address(&format!("10.60.0.{last}/24")).unwrap();
    }
    site.start(RANGE);
    // The client is offered the free address and none that is in use.
    let client = site.client("client");
    let mut given = None;
    let got = || {
        given = client.asks_for("10.60.0.100");
        given.as_deref() == Some("10.60.0.109")
    };
    let good = eventually(SOON * 2, got);
    let why = site.ours(&["boot", "why", &client.mac()]);
    assert!(good, "{given:?}\n{why}");
    site.why(&squatter, "it did not get this address here");
}

#[test]
fn busy_port_is_reported_and_bound_when_free() {
    if !is_ready("a port in use", &["udhcpc", "dnsmasq"]) {
        return;
    }
    let mut site = BootSite::new("boot-port");
    let scratch = ScratchDirectory::new().unwrap();
    let other = dnsmasq(
        &site.server,
        &scratch,
        &[
            "--dhcp-range=10.60.0.200,10.60.0.209,1h",
            "--bind-interfaces",
            "--interface=eth0",
        ],
    );
    let client = site.client("client");
    assert!(
        eventually(SOON, || client.asks().is_some()),
        "dnsmasq serves"
    );
    site.write(RANGE);
    site.start_again();
    site.shows("another DHCP server runs on this machine");
    other.kill_tree();
    site.shows("answers");
    assert!(
        client
            .asks()
            .is_some_and(|address| address.starts_with("10.60.0.10"))
    );
}

#[test]
fn interface_returns_and_reload_changes_the_address() {
    if !is_ready("an interface", &["udhcpc"]) {
        return;
    }
    let mut site = BootSite::new("boot-interface");
    let client = site.client("client");
    let line = |address: &str| {
        format!(
            " machine node7 mac {} address {address} image rescue",
            client.mac()
        )
    };
    site.start(&line("10.60.0.107"));
    assert_eq!(client.asks().as_deref(), Some("10.60.0.107"));
    for words in [
        ["set", "eth0", "down"].as_slice(),
        &["set", "eth0", "name", "gone0"],
    ] {
        site.server
            .ip(&[["link"].as_slice(), words].concat())
            .unwrap();
    }
    site.shows("interface eth0 is not on this machine");
    for words in [
        ["set", "gone0", "name", "eth0"].as_slice(),
        &["set", "eth0", "up"],
    ] {
        site.server
            .ip(&[["link"].as_slice(), words].concat())
            .unwrap();
    }
    site.shows("answers");
    assert_eq!(client.asks().as_deref(), Some("10.60.0.107"));
    site.write(&line("10.60.0.108"));
    site.ours(&["reload"]);
    let changed = || client.asks().as_deref() == Some("10.60.0.108");
    assert!(eventually(SOON, changed));
    site.why(&client, "10.60.0.108 is its own address in the file");
}

#[test]
fn reload_moves_the_lease_file_or_reports_why_not() {
    if !is_ready("leases that move", &["udhcpc"]) {
        return;
    }
    let mut site = BootSite::new("boot-move");
    site.start(RANGE);
    let one = site.client("one");
    let first = one.asks().unwrap();
    // The role may write only where root may.
    let foreign = site.path("foreign");
    fs::create_dir(&foreign).unwrap();
    chown(&foreign, Some(65_534), None).unwrap();
    site.write_with(&foreign, RANGE);
    site.ours(&["reload"]);
    site.shows("leases stay in");
    assert_eq!(one.asks().as_deref(), Some(&*first));
    let other = site.path("other");
    site.write_with(&other, RANGE);
    site.ours(&["reload"]);
    let names = |path: &Path| fs::read_dir(path).unwrap().count();
    let left = site.path("leases");
    assert!(eventually(SOON, || names(&left) == 0), "{}", names(&left));
    site.shows("answers");
    let two = site.client("two");
    let second = two.asks().unwrap();
    assert_ne!(first, second);
    site.kill();
    site.start_again();
    site.shows("answers");
    let third = site.client("three").asks().unwrap();
    assert!(third != first && third != second, "{third}");
    for (client, address) in [(&one, &first), (&two, &second)] {
        assert_eq!(client.asks().as_ref(), Some(address));
    }
}

#[test]
fn later_address_of_this_host_is_not_leased() {
    if !is_ready("an address of the host", &["udhcpc"]) {
        return;
    }
    let mut site = BootSite::new("boot-own");
    site.server
        .ip(&["link", "add", "other0", "type", "bridge"])
        .unwrap();
    site.server.ip(&["link", "set", "other0", "up"]).unwrap();
    site.start(RANGE);
    let client = site.client("client");
    let first = client.asks().unwrap();
    // All addresses except one, including that of the client, are on an interface of another
    // network.
    let left = if first == "10.60.0.109" { 108 } else { 109 };
    for last in (100..=109).filter(|last| *last != left) {
        let address = format!("10.60.0.{last}/32");
        site.server
            .ip(&["address", "add", &address, "dev", "other0"])
            .unwrap();
    }
    let left = format!("10.60.0.{left}");
    let gets = || client.asks_for(&first).as_deref() == Some(&*left);
    assert!(
        eventually(SOON * 2, gets),
        "{}",
        site.ours(&["boot", "why", &client.mac()])
    );
    let other = site.client("other");
    assert_eq!(other.asks_for(&first), None);
    // An address in use is not offered for ten minutes, so another one is free again.
    let mut all = (100..=109).map(|last| format!("10.60.0.{last}"));
    let free = all.find(|one| *one != first && *one != left).unwrap();
    site.server
        .ip(&["address", "del", &format!("{free}/32"), "dev", "other0"])
        .unwrap();
    let gets = || other.asks_for(&free).as_deref() == Some(&*free);
    assert!(
        eventually(SOON * 2, gets),
        "{}",
        site.ours(&["boot", "why", &other.mac()])
    );
}
