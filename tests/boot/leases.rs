//! Tests machines with dynamic addresses at two nodes: after the failure of either node, each
//! machine gets its address again from the other one.

use crate::boot::cluster::Pair;
use crate::boot::dhcp_site::{Client, SOON};
use crate::cluster::site::configuration;
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

const LINES: &str = "
boot lan
\tinterface eth0
\trange 10.60.0.120 10.60.0.139 lease 1h
\ton alpha leases {alpha}
\ton beta leases {beta}
\timage rescue disk
\tunknown menu
";

/// Checks that each client gets its address again, and that a new client gets another one.
#[track_caller]
fn all_as_before(pair: &Pair, clients: &[Client], before: &[String], new: &str) {
    for (client, address) in clients.iter().zip(before) {
        // If its node has just returned, the client may have to send its request again.
        let mut got = None;
        let asks = || {
            got = client.asks();
            got.is_some()
        };
        assert!(lab::eventually(SOON, asks), "no address");
        let shown = ["alpha", "beta"].map(|node| {
            let node = pair.site.machine(node);
            let shown = node.command(&["boot", "show"]).text();
            shown + &node.command(&["boot", "why", &client.mac()]).text()
        });
        assert_eq!(got.as_ref(), Some(address), "{}", shown.join("\n"));
    }
    let client = Client::new(&pair.site.lab, &pair.site.lan, new);
    let address = client.asks().expect("a new client gets an address");
    assert!(!before.contains(&address), "{address} is another's");
}

/// Returns what a node shows of a subject in JSON.
fn json(pair: &Pair, node: &str, words: &[&str]) -> Value {
    let text = pair.site.machine(node).command(words).well().text();
    serde_json::from_str(&text).expect("JSON")
}

/// Each node lists each client with its address and its node, and what it booted at alpha, and the
/// leases of both nodes are as many as the clients.
#[track_caller]
fn all_are_listed(pair: &Pair, clients: &[Client], addresses: &[String]) {
    let mut listed = Vec::new();
    let wants = |listed: &Value| {
        let machines = listed["machines"].as_array().unwrap();
        clients.iter().zip(addresses).all(|(client, address)| {
            let mac = client.mac();
            let one = machines.iter().find(|one| one["mac"] == *mac);
            one.is_some_and(|one| {
                let is_booted = &one["booted"]["image"] == "rescue";
                &one["address"] == address && is_booted && one["booted"]["node"] == "alpha"
            })
        })
    };
    let same = || {
        let nodes = |listed: &Value| {
            let machines = listed["machines"].as_array().unwrap().iter();
            let nodes = machines.map(|one| (one["mac"].to_string(), one["node"].to_string()));
            nodes.collect::<BTreeSet<_>>()
        };
        listed = ["alpha", "beta"]
            .map(|node| json(pair, node, &["boot", "list", "--json"]))
            .into();
        listed.iter().all(wants) && nodes(&listed[0]) == nodes(&listed[1])
    };
    assert!(lab::eventually(SOON, same), "{listed:#?}");
    let number = |node, name: &str| {
        let shown = json(pair, node, &["boot", "show", "--json"]);
        shown["subjects"][0]["numbers"][name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name}: {shown}"))
    };
    let other = "leased by other nodes";
    let counted = [number("alpha", "leased"), number("beta", "leased")];
    assert_eq!(counted[0] + counted[1], clients.len() as u64);
    assert_eq!([number("beta", other), number("alpha", other)], counted);
}

#[test]
fn both_nodes_list_all_machines_and_leases_once() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("udhcpc");
    lab::skip_unless_installed!("curl");
    let mut pair = Pair::with("boot-listed", LINES);
    pair.shows("alpha", &["parts held 1 of 2", "known to beta", "answers"]);
    pair.shows("beta", &["parts held 1 of 2", "known to alpha", "answers"]);
    let clients = ["one", "two", "three", "four", "five"];
    let clients = clients.map(|name| Client::new(&pair.site.lab, &pair.site.lan, name));
    let addresses = clients
        .iter()
        .map(|client| client.asks().expect("an address"));
    let addresses: Vec<String> = addresses.collect();
    for client in &clients {
        // The scripts come from alpha, whichever node has given the address.
        let mut fetch = Command::new("curl");
        let mac = client.mac().replace(':', "-");
        let url = format!("http://10.60.0.1:7447/boot/{mac}/rescue.ipxe");
        fetch.args(["-sf", &url]);
        client.host.run(fetch).unwrap();
    }
    all_are_listed(&pair, &clients, &addresses);
    // Alpha has forgotten what it did, and beta has not.
    let role = pair.site.alpha.role("boot").expect("a boot role");
    kill_process(role, Signal::KILL).unwrap();
    pair.shows("alpha", &["parts held 1 of 2", "known to beta"]);
    pair.shows("beta", &["leases known to alpha"]);
    let why = pair
        .site
        .beta
        .command(&["boot", "why", &clients[0].mac()])
        .text();
    for words in [&addresses[0], "by node", "booted: rescue"] {
        assert!(why.contains(words), "no {words}: {why}");
    }
    // Beta alone has all leases.
    pair.site.alpha.kill();
    pair.shows("beta", &["parts held 2 of 2", "5 by beta"]);
}

#[test]
fn each_machine_keeps_its_address_when_a_role_and_then_a_node_is_killed() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("udhcpc");
    let mut pair = Pair::with("boot-leases", LINES);
    // On a new cluster both parts can be used, whichever node came first.
    pair.shows("alpha", &["parts held 1 of 2", "known to beta", "answers"]);
    pair.shows("beta", &["parts held 1 of 2", "known to alpha", "answers"]);
    let names = ["one", "two", "three", "four"];
    let clients = names.map(|name| Client::new(&pair.site.lab, &pair.site.lan, name));
    let before = clients
        .iter()
        .map(|client| client.asks().expect("an address"));
    let before: Vec<String> = before.collect();
    let role = pair.site.alpha.role("boot").expect("a boot role");
    kill_process(role, Signal::KILL).unwrap();
    all_as_before(&pair, &clients, &before, "five");
    pair.shows("alpha", &["parts held 1 of 2", "known to beta"]);
    pair.shows("beta", &["parts held 1 of 2", "known to alpha"]);
    all_as_before(&pair, &clients, &before, "six");
    pair.site.alpha.kill();
    pair.shows("beta", &["parts held 2 of 2"]);
    all_as_before(&pair, &clients, &before, "seven");
}

/// Message of a node that withholds all remaining addresses.
const WITHHELD: &str = "another node may have given";

#[test]
fn returned_node_frees_withheld_addresses() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("udhcpc");
    let mut pair = Pair::with("boot-alone", LINES);
    pair.shows("alpha", &["parts held 1 of 2", "known to beta"]);
    pair.shows("beta", &["parts held 1 of 2", "known to alpha"]);
    let asks = |pair: &Pair, name: &str| {
        let client = Client::new(&pair.site.lab, &pair.site.lan, name);
        let address = client.asks().expect("an address");
        (client, address)
    };
    let mut all = vec![asks(&pair, "one"), asks(&pair, "two")];
    pair.site.beta.kill();
    pair.shows("alpha", &["parts held 2 of 2"]);
    // Beta does not know of this lease.
    all.push(asks(&pair, "three"));
    pair.site.alpha.kill();
    pair.site.beta.start();
    pair.shows("beta", &["parts held 2 of 2", WITHHELD]);
    pair.site.alpha.start();
    for (node, other) in [("alpha", "beta"), ("beta", "alpha")] {
        let known = format!("parts held 1 of 2, leases known to {other}");
        let shown = || pair.site.machine(node).command(&["boot", "show"]).text();
        let is_good = || shown().contains(&known) && !shown().contains(WITHHELD);
        assert!(lab::eventually(SOON, is_good), "{node}: {}", shown());
    }
    let (clients, before): (Vec<Client>, Vec<String>) = all.into_iter().unzip();
    all_as_before(&pair, &clients, &before, "four");
}

#[test]
fn range_moved_during_a_partition_withholds_nothing_later() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("udhcpc");
    let mut pair = Pair::with("boot-apart", LINES);
    let shares = |pair: &Pair| {
        pair.shows("alpha", &["parts held 1 of 2, leases known to beta"]);
        pair.shows("beta", &["parts held 1 of 2, leases known to alpha"]);
    };
    shares(&pair);
    pair.site.alpha.kill();
    pair.shows("beta", &["parts held 2 of 2"]);
    // Two addresses of beta's part of the range, and one of alpha's.
    let wants = ["10.60.0.131", "10.60.0.137", "10.60.0.121"];
    let clients =
        ["one", "two", "three"].map(|name| Client::new(&pair.site.lab, &pair.site.lan, name));
    for (client, wants) in clients.iter().zip(wants) {
        assert_eq!(client.asks_for(wants).as_deref(), Some(wants));
    }
    pair.site.alpha.start();
    shares(&pair);
    let cut = pair.site.cut_direct();
    // Alpha now has the leases of beta.
    pair.apply(&LINES.replace("120 10.60.0.139", "130 10.60.0.149"));
    pair.shows("alpha", &["10.60.0.149", "parts held 1 of 2", WITHHELD]);
    pair.shows("beta", &["10.60.0.149", "parts held 1 of 2"]);
    let withheld = || {
        let node = pair.site.machine("alpha");
        node.command(&["boot", "show"]).text().contains(WITHHELD)
    };
    drop(cut);
    shares(&pair);
    assert!(lab::eventually(SOON, || !withheld()), "withheld");
    shares(&pair);
    let before = ["10.60.0.131", "10.60.0.137"].map(str::to_owned);
    all_as_before(&pair, &clients[..2], &before, "four");
}

/// Configuration lines with IPv6; `{six}` is the range of IPv6 addresses.
const SIX: &str = "
boot lan
\tinterface eth0
\trange 10.60.0.120 10.60.0.139 lease 1h
\tnetwork6 fd00:60::/64
\trange6 {six} lease 1h
\ton alpha leases {alpha}
\ton beta leases {beta}
\timage rescue disk
\tunknown menu
";

/// Waits until dhclient gets an IPv6 address, and returns the address.
fn asks6(client: &Client) -> String {
    let mut address = None;
    let asks = || {
        address = client.asks6();
        address.is_some()
    };
    assert!(lab::eventually(SOON, asks), "no address");
    address.unwrap_or_default()
}

#[test]
fn a_range_of_ipv6_that_moves_withholds_nothing() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("dhclient");
    let pair = Pair::with("boot-six", LINES);
    let all_known = || {
        for (node, other) in [("alpha", "beta"), ("beta", "alpha")] {
            let known = format!("leases known to {other}");
            let shown = || pair.site.machine(node).command(&["boot", "show"]).text();
            let is_good = || {
                shown().contains(&known)
                    && shown().contains("parts held 1 of 2")
                    && !shown().contains(WITHHELD)
            };
            assert!(lab::eventually(SOON, is_good), "{node}: {}", shown());
        }
    };
    for (number, node) in [(1, "alpha"), (2, "beta")] {
        let address = format!("fd00:60::{number}/64");
        let words = ["address", "add", &address, "dev", "eth0", "nodad"];
        pair.site.machine(node).host.ip(&words).unwrap();
    }
    pair.apply(&SIX.replace("{six}", "fd00:60::100 fd00:60::109"));
    all_known();
    let client = |name: &str| Client::new(&pair.site.lab, &pair.site.lan, name);
    let clients = ["one", "two", "three", "four"].map(client);
    let before: Vec<String> = clients.iter().map(asks6).collect();
    pair.apply(&SIX.replace("{six}", "fd00:60::105 fd00:60::10e"));
    all_known();
    // A client keeps its address if the range still contains it.
    let has = |address: &String| {
        !["0", "1", "2", "3", "4"]
            .iter()
            .any(|last| address.ends_with(last))
    };
    let mut after = BTreeSet::new();
    for (client, before) in clients.iter().zip(&before) {
        let now = asks6(client);
        assert!(!has(before) || now == *before, "{before}: {now}");
        assert!(after.insert(now), "{after:?}");
    }
    for name in ["five", "six"] {
        assert!(after.insert(asks6(&client(name))), "{after:?}");
    }
}

#[test]
fn moved_leases_are_known_to_both_nodes() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("udhcpc");
    let mut pair = Pair::with("boot-moves", LINES);
    pair.shows("alpha", &["parts held 1 of 2", "known to beta", "answers"]);
    pair.shows("beta", &["parts held 1 of 2", "known to alpha", "answers"]);
    let clients = ["one", "two", "three"];
    let clients = clients.map(|name| Client::new(&pair.site.lab, &pair.site.lan, name));
    let before = clients
        .iter()
        .map(|client| client.asks().expect("an address"));
    let before: Vec<String> = before.collect();
    let mut lines = LINES.to_owned();
    for node in ["alpha", "beta"] {
        let moved = pair.site.machine(node).scratch().join("moved");
        lines = lines.replace(&format!("{{{node}}}"), &moved.display().to_string());
    }
    let text = configuration("boot") + &lines;
    let told = pair.site.alpha.apply(&text, &["--now"]).well().text();
    assert!(told.contains("~ leases"), "{told}");
    for node in ["alpha", "beta"] {
        let scratch = pair.site.machine(node).scratch();
        let files = |name: &str| {
            let found = std::fs::read_dir(scratch.join(name));
            found.map_or(0, Iterator::count)
        };
        let has_moved = || files("boot") == 0 && files("moved") > 0;
        assert!(lab::eventually(SOON, has_moved), "{node}");
    }
    pair.shows("alpha", &["parts held 1 of 2", "known to beta", "answers"]);
    pair.shows("beta", &["parts held 1 of 2", "known to alpha", "answers"]);
    all_as_before(&pair, &clients, &before, "four");
    pair.site.alpha.kill();
    pair.shows("beta", &["parts held 2 of 2"]);
    all_as_before(&pair, &clients, &before, "five");
}
