//! Tests whole sections as each machine loads them.

use super::*;
use crate::config::{Instance, InstanceTransport};
use crate::role::KeptInstance;
use configuration::outside::Interface;
use language::reader::{Facts, Reader};
use language::{Environment, render};
use std::net::IpAddr;
use std::time::Duration;

fn host(name: &str) -> TargetHost {
    let interface = |name: &str, addresses: &[(&str, u8)]| Interface {
        name: name.to_owned(),
        addresses: addresses
            .iter()
            .map(|(text, prefix)| (text.parse().expect("an address"), *prefix))
            .collect(),
    };
    TargetHost {
        name: (!name.is_empty()).then(|| name.to_owned()),
        is_accepted: false,
        interfaces: vec![
            interface("lo", &[("127.0.0.1", 8)]),
            interface("eth0", &[("172.16.61.2", 24), ("2001:db8::2", 64)]),
            interface("eth1", &[("10.0.0.2", 8)]),
        ],
    }
}

/// Loads a text on a host; returns the configuration and the messages.
fn load_on(host: &TargetHost, text: &str) -> (Option<SectionConfig>, String) {
    let mut context = Context::default();
    if host.is_accepted {
        context.options.ignore_unresolved = true;
        context.options.version = "version 1".to_owned();
    }
    let file = context.sources.add("test.cfg", text.as_bytes().to_vec());
    let mut reader = Reader::new(vec![file], Facts::new("2.6.12"));
    let draft = TabledDraft::new(AddressConfigDraft::new(host.clone()));
    let mut draft: Box<dyn configuration::PartDraft> = Box::new(draft);
    let none = Environment::empty();
    while let Some(line) = reader.next(&context.sources, &none, &mut context.diagnostics) {
        if SECTIONS.has(line.words[0].str()) {
            draft.section(&mut context, &line)
        } else {
            draft.line(&mut context, &line)
        }
    }
    let read = draft.finish(&mut context, &mut Exchange::default());
    let read = read.downcast::<Read>().expect("what was read");
    let told = render::concise(&context.sources, &context.diagnostics, true);
    (read.outcome, told)
}

fn load(name: &str, text: &str) -> (Option<SectionConfig>, String) {
    load_on(&host(name), text)
}

/// Returns the instances of a text that must have no errors.
fn good(name: &str, text: &str) -> Vec<Instance> {
    let (outcome, told) = load(name, text);
    assert_eq!(told, "", "{text}");
    outcome.expect("no error").config.instances
}

/// Returns the messages about a text that must have an error.
fn bad(name: &str, text: &str) -> String {
    let (outcome, told) = load(name, text);
    assert!(outcome.is_none(), "{text}\n{told}");
    told
}

const PAIR: &str = "\
node alpha
    address 10.0.0.2
node beta
    address 10.0.0.3 2001:db8::3
virtual-ip www
    address 172.16.61.150/24
    prefer beta alpha
    failover 50ms
";

#[test]
fn one_file_is_for_both_machines_and_each_has_its_own_priority() {
    let on = |name: &str, own: &str| {
        let mut machine = host(name);
        machine.interfaces[2].addresses[0].0 = own.parse().expect("an address");
        let (outcome, told) = load_on(&machine, PAIR);
        assert_eq!(told, "");
        outcome.expect("no error")
    };
    let (alpha, beta) = (on("alpha", "10.0.0.2"), on("beta.example.com", "10.0.0.3"));
    assert_eq!(alpha.node.as_deref(), Some("alpha"));
    assert_eq!(beta.node.as_deref(), Some("beta"));
    let (a, b) = (&alpha.config.instances[0], &beta.config.instances[0]);
    assert_eq!((a.bands, a.priority), (Some([210, 130, 50]), 210));
    assert_eq!((b.bands, b.priority), (Some([220, 140, 60]), 220));
    assert_eq!((a.vrid, a.options.version, a.ipv6), (b.vrid, 3, false));
    assert_eq!(a.options.advert_interval, Duration::from_millis(10));
    assert_eq!((a.interface.as_str(), a.options.preempt), ("eth0", true));
    assert_eq!(a.options.handover_drain, Duration::from_secs(2));
    assert_eq!(a.prefer, ["beta", "alpha"]);
    assert!(alpha.config.global.lock_memory && alpha.config.global.dynamic_interfaces);
    let again = Config::decode(&alpha.config.encode()).expect("its own encoding");
    assert_eq!(again, alpha.config);
}

#[test]
fn every_example_loads_in_its_section_and_says_what_it_is() {
    for row in documented() {
        let lines: String = row.example.lines().map(|l| format!("    {l}\n")).collect();
        for place in row.places {
            let text = match *place {
                // The row is a section itself.
                "file" => format!("{}\n", row.example),
                "node" => format!(
                    "node alpha\n{lines}virtual-ip www\n    address 172.16.61.150\n    interface eth0\n"
                ),
                _ => {
                    let needed = match row.name {
                        "address" => "",
                        _ => "    address 172.16.61.150/24\n",
                    };
                    format!(
                        "node alpha\n    address 10.0.0.2\nnode beta\n    address 10.0.0.3\nvirtual-ip www\n{needed}{lines}"
                    )
                }
            };
            let (outcome, told) = load("alpha", &text);
            assert!(outcome.is_some(), "{}: {told}", row.name);
        }
        assert!(row.syntax.starts_with(row.name), "{}", row.syntax);
        assert!(row.doc.len() > 40 && row.doc.ends_with('.'), "{}", row.name);
        assert!(!row.family.is_empty(), "{}", row.name);
    }
}

#[test]
fn codes_are_in_order_and_each_is_explained() {
    let ids: Vec<&str> = codes::CODES.iter().map(|code| code.id).collect();
    let number = |id: &str| id[1..].parse::<u32>().expect("a number");
    let is_own = |number| (650..700).contains(&number) || (1_070..1_080).contains(&number);
    assert!(ids.iter().all(|id| is_own(number(id))));
    assert!(codes::CODES.iter().all(|code| code.explanation.len() > 60));
}

#[test]
fn a_machine_that_the_file_does_not_name_is_told_what_to_write() {
    let told = bad(
        "gamma",
        "virtual-ip www\n    address 172.16.61.150/24\n    prefer alpha beta\n",
    );
    assert!(told.contains("E0657"), "{told}");
    assert!(
        told.contains("this machine is called 'gamma', but the file names only: alpha, beta"),
        "{told}"
    );
    let (outcome, told) = load(
        "",
        "virtual-ip www\n    address 198.51.100.1/24\n    prefer alpha beta\n    notify /not/here\n",
    );
    assert_eq!(told, "", "a file from elsewhere is for other machines");
    assert_eq!(outcome.expect("no error").config.instances[0].priority, 220);
}

#[test]
fn a_machine_is_a_node_by_its_name_its_other_name_or_an_address() {
    let node = |host: &str, lines: &str| {
        let text = format!("{lines}\nnode other\nvirtual-ip www\n    address 172.16.61.150/24\n");
        load(host, &text).0.and_then(|outcome| outcome.node)
    };
    assert_eq!(node("alpha", "node alpha").as_deref(), Some("alpha"));
    assert_eq!(
        node("lb7", "node alpha\n    hostname lb7.example.com").as_deref(),
        Some("alpha")
    );
    assert_eq!(
        node("lb7", "node alpha\n    address 10.0.0.2").as_deref(),
        Some("alpha")
    );
    assert_eq!(node("lb7", "node alpha\n    address 10.0.0.4"), None);
    let two_names = "node alpha\nnode beta\n    hostname alpha\n";
    let two_addresses = "node gamma\n    address 10.0.0.2\nnode beta\n    address 172.16.61.2\n";
    for text in [two_names, two_addresses] {
        let told = bad("alpha", text);
        assert!(told.contains("error[E0659]"), "{told}");
    }
}

/// Loads a text as a configuration version that the cluster accepted earlier.
fn load_accepted(name: &str, text: &str) -> (Option<SectionConfig>, String) {
    let host = TargetHost {
        is_accepted: true,
        ..host(name)
    };
    load_on(&host, text)
}

#[test]
fn name_of_a_node_decides_against_the_address_of_another() {
    let sections = [
        "node alpha\n    address 10.0.0.9\n",
        "node beta\n    address 10.0.0.2\n",
    ];
    let lines = "virtual-ip www\n    address 172.16.61.150/24\n    prefer beta alpha\n";
    for nodes in [sections.concat(), sections.iter().rev().copied().collect()] {
        for load in [load, load_accepted] {
            let (outcome, told) = load("alpha", &format!("{nodes}{lines}"));
            let outcome = outcome.unwrap_or_else(|| panic!("{told}"));
            assert!(told.contains("warning[E0659]"), "{told}");
            assert_eq!(outcome.node.as_deref(), Some("alpha"));
            assert_eq!(
                outcome.config.instances[0].priority,
                crate::standing::plain(1)[0]
            );
        }
    }
}

#[test]
fn accepted_version_starts_whatever_node_the_machine_matches() {
    let lines = "virtual-ip www\n    address 172.16.61.150/24\n";
    for (nodes, code, node) in [
        ("node alpha.example.org\nnode alpha\n", "E0659", "alpha"),
        (
            "node x\n    address 10.0.0.2\nnode y\n    address 172.16.61.2\n",
            "E0659",
            "x",
        ),
        ("node x\n    address 10.0.0.4\nnode y\n", "E0657", "alpha"),
    ] {
        let text = format!("{nodes}{lines}");
        let told = bad("alpha", &text);
        assert!(told.contains(&format!("error[{code}]")), "{told}");
        let (outcome, told) = load_accepted("alpha", &text);
        let outcome = outcome.unwrap_or_else(|| panic!("{told}"));
        assert!(told.contains(&format!("warning[{code}]")), "{told}");
        assert_eq!(outcome.node.as_deref(), Some(node));
        assert_eq!(outcome.config.instances.len(), usize::from(code == "E0659"));
    }
}

#[test]
fn accepted_version_starts_without_an_interface_of_its_addresses() {
    let served = "virtual-ip good\n    address 172.16.61.9\n    vrid 7\n";
    let lost = "virtual-ip lost\n    address 192.0.2.1/24\n    vrid 7\n";
    let text = format!("{lost}{served}");
    let (outcome, told) = load_accepted("alpha", &text);
    let outcome = outcome.unwrap_or_else(|| panic!("{told}"));
    assert!(told.contains("warning[E0656]"), "{told}");
    let names: Vec<_> = outcome
        .config
        .instances
        .iter()
        .map(|one| &one.name)
        .collect();
    assert_eq!(names, ["good"]);

    // Of several interfaces one is used, and no router id is used twice on it.
    let mut host = host("alpha");
    host.is_accepted = true;
    host.interfaces[2].addresses = host.interfaces[1].addresses.clone();
    let second = served.replace("good", "two").replace("61.9", "61.10");
    let (outcome, told) = load_on(&host, &format!("{served}{second}"));
    let outcome = outcome.unwrap_or_else(|| panic!("{told}"));
    let served = outcome.config.instances.iter();
    let served: Vec<_> = served.map(|one| (&*one.name, &*one.interface)).collect();
    assert_eq!(served, [("good", "eth0")]);
    assert!(told.contains("warning[E0660]"), "{told}");
}

#[test]
fn a_mistake_is_told_once_and_no_word_is_proposed_that_stands_there_already() {
    let text = "node alpha\nvirtual-ip www\n    address 172.16.61.150\n    prefer alpha alphb\n";
    let told = bad("alpha", text);
    assert!(
        told.contains("E0658") && !told.contains("did you mean"),
        "{told}"
    );
    let text =
        "virtual-ip www\n    address 172.16.61.150\nvirtual-ip two\n    address 172.16.61.150\n";
    let told = bad("alpha", text);
    assert!(told.contains("E0655") && !told.contains("E0654"), "{told}");
}

#[test]
fn without_names_every_machine_is_as_good_as_another() {
    let all = good("anything", "virtual-ip www\n    address 172.16.61.150\n");
    assert_eq!(all[0].bands, Some([220, 140, 60]));
    assert_eq!(
        all[0].addresses[0].prefix, 24,
        "that of the interface's network"
    );
    assert!(all[0].prefer.is_empty());
}

#[test]
fn a_machine_has_nothing_to_do_with_addresses_of_others() {
    let text = "virtual-ip www\n    address 172.16.61.150\n    prefer alpha beta\n\
                virtual-ip mail\n    address 172.16.61.151\n    prefer gamma\n";
    assert_eq!(good("gamma", text).len(), 1);
    assert_eq!(good("beta", text)[0].priority, 210);
}

#[test]
fn interfaces_are_found_by_network_and_may_differ_between_machines() {
    let of = |line: &str| {
        let text =
            format!("node alpha\nnode beta\nvirtual-ip www\n    address 172.16.61.150/24\n{line}");
        good("alpha", &text)[0].interface.clone()
    };
    assert_eq!(of(""), "eth0");
    assert_eq!(of("    interface eth1\n"), "eth1");
    assert_eq!(
        of("    interface eth1 on alpha\n    interface ens3\n"),
        "eth1"
    );
    let told = bad("alpha", "virtual-ip www\n    address 192.0.2.1/24\n");
    assert!(
        told.contains("E0656") && told.contains("192.0.2.1"),
        "{told}"
    );
    let (outcome, told) = load(
        "alpha",
        "virtual-ip www\n    address 192.0.2.1/24\n    interface eht0\n",
    );
    assert!(outcome.is_some() && told.contains("W0650"), "{told}");
}

#[test]
fn two_names_with_one_router_id_are_told_which_line_to_write() {
    let other = (0..)
        .map(|n| format!("v{n}"))
        .find(|name| vrid::of_name(name) == vrid::of_name("www"))
        .expect("one of many");
    let sections = |line: &str| {
        format!(
            "virtual-ip www\n    address 172.16.61.150\nvirtual-ip {other}\n    address 172.16.61.151\n{line}"
        )
    };
    let told = bad("alpha", &sections(""));
    assert!(told.contains("E0660"), "{told}");
    let free = vrid::of_name("www") % 255 + 1;
    let all = good("alpha", &sections(&format!("    vrid {free}\n")));
    assert_eq!(all[1].vrid, free);
    let told = bad(
        "alpha",
        &sections(&format!("    vrid {}\n", vrid::of_name("www"))),
    );
    assert!(told.contains("E0660"), "{told}");
    let elsewhere = format!(
        "virtual-ip www\n    address 172.16.61.150\nvirtual-ip {other}\n    address 10.0.0.80\n"
    );
    assert_eq!(good("alpha", &elsewhere).len(), 2, "on another link");
}

#[test]
fn unicast_goes_to_the_address_of_each_other_node() {
    let text = format!("{PAIR}    unicast\n");
    let all = good("alpha", &text);
    let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
    let InstanceTransport::Unicast { peers, .. } = &all[0].transport else {
        panic!("{:?}", all[0].transport);
    };
    assert_eq!(
        peers.iter().map(|p| p.address).collect::<Vec<_>>(),
        [ip("10.0.0.3")]
    );
    assert_eq!(all[0].source, Some(ip("10.0.0.2")));
    let told = bad(
        "alpha",
        "node alpha\n    address 10.0.0.2\nnode beta\nvirtual-ip www\n    address 172.16.61.150\n    unicast\n",
    );
    assert!(
        told.contains("E0661") && told.contains("node 'beta'"),
        "{told}"
    );
    let six = "node alpha\n    address 10.0.0.2\nnode beta\n    address 10.0.0.3\nvirtual-ip www\n    address 2001:db8::80\n    unicast\n";
    assert_eq!(bad("alpha", six).matches("E0661").count(), 2);
}

#[test]
fn addresses_of_both_families_move_together() {
    let all = good(
        "alpha",
        "virtual-ip www\n    address 2001:db8::80 172.16.61.150 172.16.61.151\n",
    );
    assert!(!all[0].ipv6);
    assert_eq!(all[0].addresses.len(), 2);
    assert_eq!(all[0].excluded.len(), 1);
    assert!(all[0].excluded[0].no_dad);
    let six = good("alpha", "virtual-ip www\n    address 2001:db8::80\n");
    assert_eq!((six[0].ipv6, six[0].addresses[0].prefix), (true, 64));
    assert_eq!(
        six[0].transport,
        InstanceTransport::Multicast {
            group: "ff02::12".parse().expect("a group")
        }
    );
}

#[test]
fn what_an_advert_has_no_room_for_moves_all_the_same() {
    let many: Vec<String> = (1..=30).map(|n| format!("172.16.61.{}", 100 + n)).collect();
    let all = good(
        "alpha",
        &format!("virtual-ip www\n    address {}\n", many.join(" ")),
    );
    assert_eq!((all[0].addresses.len(), all[0].excluded.len()), (20, 10));
}

#[test]
fn mistakes_are_all_told_each_at_its_word() {
    let told = bad(
        "alpha",
        "node alpha\n    adress 10.0.0.1\n    prefer alpha\n\
         virtual-ip www\n    address 172.16.61.300\n    address 172.16.61.150/33\n    address 172.16.61.150/24 172.16.61.150\n    \
         failover 10ms\n    failover 2\n    vrid 0\n    vrid 256\n    track\n    track script relative\n    track script /bin/true evry 2s\n    \
         prefer alpha bta\n    nopreempt please\n    notify /not/here\n    handover-drain\n    address 127.0.0.1\nnode be!a\n",
    );
    insta::assert_snapshot!(told);
}

#[test]
fn a_virtual_address_is_no_address_of_a_node() {
    let told = bad(
        "alpha",
        "node alpha\n    address 172.16.61.150\nvirtual-ip www\n    address 172.16.61.150/24\n",
    );
    assert!(told.contains("E0655"), "{told}");
}

#[test]
fn what_is_tracked_gets_names_that_are_unique_in_the_file() {
    let text = "virtual-ip www\n    address 172.16.61.150\n    track script \"/bin/true a\" every 1s rise 2\n    \
                track script \"/bin/true a\" fall 3\n    track interface eth1\n    track backend app\n\
                virtual-ip mail\n    address 172.16.61.151\n    track script \"/bin/true a\"\n    track backend app\n";
    let (outcome, told) = load("alpha", text);
    assert_eq!(told, "");
    let outcome = outcome.expect("no error");
    let names: Vec<&str> = outcome
        .config
        .scripts
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["www: /bin/true", "www: /bin/true #2", "mail: /bin/true"]
    );
    assert_eq!(outcome.config.scripts[0].words, ["/bin/true", "a"]);
    assert_eq!(outcome.config.instances[0].tracked.scripts.len(), 2);
    assert_eq!(outcome.config.instances[0].tracked.interfaces[0].0, "eth1");
    assert_eq!(outcome.backends.len(), 2);
}

#[test]
fn program_that_others_can_change_needs_another_user_than_root() {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let scratch = lab::ScratchDirectory::new().unwrap();
    let program = scratch.path().join("notify.sh");
    std::fs::write(&program, "#!/bin/sh\n").unwrap();
    let mode = |mode| {
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let path = program.display();
    let text = |line: &str, user: &str| {
        format!("virtual-ip www\n    address 172.16.61.150\n    {line}\n    {user}\n")
    };
    let lines = [
        format!("notify {path}"),
        format!("notify master \"{path} a b\""),
        format!("notify stop \"/bin/sh {path}\""),
        format!("track script {path} every 5s"),
    ];
    for line in &lines {
        mode(0o755);
        let (outcome, told) = load("alpha", &text(line, ""));
        assert_eq!(told, "", "{line}");
        assert!(outcome.unwrap().config.global.script_security);
        mode(0o777);
        let (_, told) = load("alpha", &text(line, ""));
        let words = format!("users other than root can change {path}");
        assert!(told.contains("E1071") && told.contains(&words), "{told}");
        assert!(
            load("alpha", &text(line, "script-user root"))
                .1
                .contains("E1071")
        );
        // Another user may run the program. A file of another machine shows nothing about this
        // machine.
        let (outcome, told) = load("alpha", &text(line, "script-user nobody"));
        assert_eq!(told, "", "{line}");
        let config = outcome.unwrap().config;
        let notify = &config.instances[0].notify;
        let accounts = [&notify.any, &notify.master, &notify.stop];
        let accounts = accounts.into_iter().flatten().map(|one| &one.account);
        let mut accounts = accounts.chain(config.scripts.iter().map(|one| &one.account));
        let account = accounts.next().unwrap().as_ref().unwrap();
        assert_eq!((account.name.as_str(), account.uid), ("nobody", 65_534));
        assert_eq!(load("", &text(line, "")).1, "");
    }
    let (_, told) = load("alpha", &text(&lines[0], "script-user no-such-user"));
    assert!(
        told.contains("E1072") && told.contains("no user 'no-such-user'"),
        "{told}"
    );
    let (_, told) = load(
        "alpha",
        &text(&lines[0], "script-user nobody no-such-group"),
    );
    assert!(told.contains("no group 'no-such-group'"), "{told}");
}

#[test]
fn role_starts_for_addresses_that_a_killed_process_left() {
    let run = super::PART.run.as_ref().unwrap();
    let claimed = std::collections::BTreeSet::new();
    let given = |state: &KeptState| {
        let bytes = state.encode();
        let rest = configuration::Rest {
            runtime: std::path::Path::new("/run/evenkeel"),
            state: Some(&bytes),
            claimed: &claimed,
        };
        (run.leftover_input)(&Read::default(), &rest)
    };
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let held = KeptInstance {
        name: "www".to_owned(),
        holds: true,
        ..KeptInstance::default()
    };
    let mut state = KeptState {
        boot: boot.trim().to_owned(),
        instances: vec![KeptInstance::default()],
        ..KeptState::default()
    };
    assert_eq!(given(&state), None, "a backup holds nothing");
    state.instances.push(held);
    let payload = given(&state).unwrap().payload;
    assert_eq!(Config::decode(&payload).unwrap(), Config::default());
    state.boot = "another boot".to_owned();
    assert_eq!(given(&state), None, "the kernel forgot it");
}
