//! What `guest` sections come to, and what is said of wrong ones.

use super::*;
use crate::config::{Bus, Check, Console, Disk, Fence, Firmware, Migrate, Model, Probe, Room};
use configuration::outside::Outside;
use configuration::{
    Draft as PartDraft, Export, Kind, LoadOptions, Located, Node, Recording, Words,
};
use language::source::Text;
use language::{Environment, Facts, Line, render};

language::codes! {
    NO_VOLUME = "E0001", "no volume of this name", "As the part of volumes has it.";
}

/// The sections `node` and `volume`, as far as guests need them.
static OTHERS: Part = Part {
    name: "others",
    sections: Sections {
        names: &[("node", "A machine."), ("volume", "A volume.")],
        on_lists: &["volume"],
        ..Sections::NONE
    },
    documented: Vec::new,
    codes: || CODES.to_vec(),
    exports: &[Kind {
        name: "volume",
        unknown: &NO_VOLUME,
        label: "no section of this name",
    }],
    begin: |_| Box::new(Heads::default()),
    run: None,
};

/// The heads of these sections, and the lines `on` of volumes.
#[derive(Debug, Default)]
struct Heads(Vec<(&'static str, String, Vec<String>)>);

impl PartDraft for Heads {
    fn section(&mut self, _: &mut Context, head: &Line) {
        let kind = if head.words[0].is("node") {
            "node"
        } else {
            "volume"
        };
        let name = head.words[1].text().into_owned();
        self.0.push((kind, name, Vec::new()));
    }

    fn place(&self) -> Option<&'static str> {
        self.0.last().map(|(kind, ..)| *kind)
    }

    fn line(&mut self, _: &mut Context, line: &Line) {
        let (.., nodes) = self.0.last_mut().unwrap();
        let words = line.words[1..].iter();
        nodes.extend(words.map(|word| word.text().into_owned()));
    }

    fn nodes(&self) -> Vec<Node> {
        let nodes = self.0.iter().filter(|(kind, ..)| *kind == "node");
        let node = |(_, name, _): &(_, String, _)| Node {
            name: Some(name.clone()),
            ..Node::default()
        };
        nodes.map(node).collect()
    }

    fn finish(self: Box<Self>, _: &mut Context, exchange: &mut Exchange) -> Box<dyn Any> {
        for (_, name, nodes) in self.0.into_iter().filter(|(kind, ..)| *kind == "volume") {
            exchange.export(Export::new("volume", &name, &Located { nodes }));
        }
        Box::new(())
    }
}

fn load(text: &str, options: LoadOptions) -> (Guests, String) {
    let parts: [&'static Part; 2] = [&OTHERS, &PART];
    let files = vec![("site.cfg".to_owned(), Text::new(text.into()))];
    let (environment, facts) = (Environment::empty(), Facts::new("2.6.12"));
    let words = Words::of(parts.iter().map(|part| &part.sections));
    let inputs = Recording::new(files, environment, facts, options, words);
    let mut loaded = configuration::load(&parts, inputs, Outside::default());
    let told = render::concise(&loaded.sources, &loaded.diagnostics, true);
    (loaded.take(&PART), told)
}

/// On the member `alpha` of a cluster of `alpha` and `beta`.
fn on_alpha(text: &str) -> (Guests, String) {
    let options = LoadOptions {
        node: Some("alpha".to_owned()),
        nodes: vec!["alpha".to_owned(), "beta".to_owned()],
        version: "version 1".to_owned(),
        ..LoadOptions::default()
    };
    load(text, options)
}

/// On one machine, without nodes.
fn alone(text: &str) -> (Guests, String) {
    load(text, LoadOptions::default())
}

/// Nodes that can be powered off, and volumes of both.
const SITE: &str = "\
node alpha
    fence watchdog /dev/watchdog
node beta
    fence exec /usr/local/sbin/off beta
volume mail
    on alpha beta
volume directory
    on alpha beta
";

const MAIL: &str = "\
guest mail
    prefer alpha beta
    memory 4g
    disk mail
    nic br0 address 192.0.2.25
";

const DIRECTORY: &str = "\
guest directory
    prefer beta alpha
    memory 2g
    disk directory
";

/// Loads with the site on `alpha`; there is one diagnostic, with these words.
#[track_caller]
fn refused(text: &str, expected: &str) {
    let (_, told) = on_alpha(&format!("{SITE}{text}"));
    let one = told.lines().count() == 1 && told.contains(expected);
    assert!(one, "{text}\nexpected {expected}\n{told}");
}

#[test]
fn every_example_is_good_and_every_row_has_one() {
    let scratch = lab::Scratch::new().unwrap();
    scratch.write("mail.yaml", "#cloud-config\n").unwrap();
    for row in (PART.documented)() {
        let word = row.name.split(' ').next().unwrap_or_default();
        let line = match word {
            "user-data" => format!("user-data {}", scratch.path().join("mail.yaml").display()),
            _ => row.example.to_owned(),
        };
        let text = match (row.kind, row.places) {
            ("section", _) => format!("{line}\n"),
            (_, ["node"]) => format!("{MAIL}node gamma\n    {line}\n"),
            _ => {
                let others = ["prefer alpha beta", "memory 1g", "disk data"];
                let others = others.iter().filter(|line| !line.starts_with(word));
                let others: String = others.map(|line| format!("    {line}\n")).collect();
                format!("volume data\n    on alpha beta\nguest x\n    {line}\n{others}{DIRECTORY}")
            }
        };
        assert_eq!(on_alpha(&format!("{SITE}{text}")).1, "", "{}", row.name);
        assert!(
            !row.doc.is_empty() && !row.family.is_empty() && !row.example.is_empty(),
            "{}",
            row.name
        );
    }
}

/// Every line that a section can have.
const ALL: &str = "\
guest mail
    prefer alpha beta
    memory 4g
    cpus 2
    disk mail
    disk data ro bus sata
    nic br0 mac 52:54:00:12:34:56 address 192.0.2.25 address 2001:db8::25 model e1000
    nic br1
    boot kernel /srv/linux initrd /srv/initrd append console=ttyS0 root=/dev/vda
    firmware uefi
    console serial
    check tcp 25 inter 5s timeout 1s fall 4 rise 1 grace 90s restart
    start-order after directory
    priority -10
    beside directory
    fail-back yes
    migrate cold
    stop-timeout 30s
";

#[test]
fn a_section_is_a_guest_with_all_that_its_lines_say() {
    let text = format!("{SITE}volume data\n    on alpha beta\n{ALL}{DIRECTORY}");
    let (guests, told) = on_alpha(&text);
    assert_eq!((&*guests.me, &*told), ("alpha", ""));
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let disk = |volume: &str, read_only, bus| Disk {
        volume: volume.to_owned(),
        read_only,
        bus,
    };
    let mail = config::Guest {
        prefer: vec!["alpha".to_owned(), "beta".to_owned()],
        memory_bytes: 4 << 30,
        cpus: 2,
        disks: vec![
            disk("mail", false, Bus::Virtio),
            disk("data", true, Bus::Sata),
        ],
        nics: vec![
            Nic {
                bridge: "br0".to_owned(),
                mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
                addresses: vec![
                    "192.0.2.25".parse().unwrap(),
                    "2001:db8::25".parse().unwrap(),
                ],
                model: Model::E1000,
            },
            Nic {
                bridge: "br1".to_owned(),
                mac: mac_of("mail", 1),
                addresses: Vec::new(),
                model: Model::Virtio,
            },
        ],
        boot: Boot::Kernel {
            kernel: "/srv/linux".into(),
            initrd: Some("/srv/initrd".into()),
            append: "console=ttyS0 root=/dev/vda".to_owned(),
        },
        firmware: Firmware::Uefi,
        user_data: None,
        console: Console::Serial,
        check: Some(Check {
            probe: Probe::Tcp {
                at: "192.0.2.25".parse().unwrap(),
                port: 25,
            },
            inter_ms: 5_000,
            timeout_ms: 1_000,
            fall: 4,
            rise: 1,
            grace_ms: 90_000,
            restarts: true,
        }),
        migrate: Migrate::Cold,
        stop_ms: 30_000,
        order: Order {
            after: names(&["directory"]),
            priority: -10,
            beside: names(&["directory"]),
            apart: names(&[]),
            fails_back: true,
        },
    };
    assert_eq!(guests.guests["mail"], mail);
    assert_eq!(guests.guests.len(), 2);
    let bytes = codec::encode(&guests);
    assert_eq!(codec::decode::<Guests>(&bytes).unwrap(), guests);
    let run = PART.run.as_ref().unwrap();
    let given = (run.given)(&guests, None).unwrap();
    assert_eq!((&*given.size, given.payload), ("2 guests", bytes));
}

#[test]
fn a_node_says_how_it_is_powered_off_and_what_it_has() {
    let text = "\
node alpha
    fence ipmi 10.99.0.11 user admin password-file /etc/evenkeel/ipmi
    fence agent fence_apc ip=10.99.0.12 plug=3
    fence exec /usr/local/sbin/off alpha
    fence watchdog /dev/watchdog
    on alpha room memory 56g cpus 12
    on beta room memory 8g
";
    let (guests, told) = on_alpha(&format!(
        "{text}{MAIL}volume mail\nnode beta\n    fence exec /off\n"
    ));
    assert_eq!(told, "");
    let ipmi = Fence::Ipmi {
        at: "10.99.0.11".to_owned(),
        user: "admin".to_owned(),
        password_file: "/etc/evenkeel/ipmi".into(),
    };
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let agent = Fence::Agent {
        name: "fence_apc".to_owned(),
        options: [option("ip", "10.99.0.12"), option("plug", "3")].into(),
    };
    let exec = ["/usr/local/sbin/off", "alpha"].map(str::to_owned).to_vec();
    let node = config::Node {
        fences: vec![ipmi, agent, Fence::Exec(exec)],
        watchdog: Some("/dev/watchdog".into()),
        room: Some(Room {
            memory_bytes: Some(56 << 30),
            cpus: Some(12),
        }),
    };
    assert_eq!(guests.nodes["alpha"], node);
    assert_eq!(guests.nodes.len(), 2);
}

#[test]
fn wrong_lines_of_a_guest_are_refused_with_words() {
    for (line, expected) in [
        (
            "memory 40q",
            "error[E0842]: 'memory': '40q' is not a size: write a number and `m`, `g` or `t`",
        ),
        (
            "memory 40",
            "error[E0842]: 'memory': '40' has no unit, so it is 40 bytes (add `m`",
        ),
        ("memory 1500k", "'1500k' is not a multiple of 1 MiB"),
        ("memory 8m", "'8m' is not between 16m and 16t"),
        ("memory", "error[E0841]: 'memory' expects a size"),
        ("cpus 0", "error[E0842]"),
        ("cpus 256", "error[E0842]"),
        ("disk mail rw", "'rw' is not `ro` or `bus`"),
        (
            "disk mail bus scsi",
            "'scsi' is not `virtio`, `sata` or `ide`",
        ),
        (
            "disk mail ro ro",
            "error[E0844]: 'ro' may appear only once in this line",
        ),
        ("nic", "error[E0841]: 'nic' expects the name of a bridge"),
        (
            "nic bridge-of-the-office",
            "'bridge-of-the-office' is not the name of an interface: at most 15 bytes",
        ),
        ("nic br0:1", "'br0:1' is not the name of an interface"),
        ("nic ..", "'..' is not the name of an interface"),
        ("nic br0 mac 52:54", "'52:54' is not a MAC address"),
        (
            "nic br0 mac 01:00:5e:00:00:01",
            "'01:00:5e:00:00:01' is a multicast address",
        ),
        (
            "nic br0 mac 00:00:00:00:00:00",
            "'00:00:00:00:00:00' is zero",
        ),
        (
            "nic br0 address 192.0.2.25/24",
            "'192.0.2.25/24' is not an IP address",
        ),
        (
            "nic br0 address 224.0.0.1",
            "'224.0.0.1' is not an address that a guest can have",
        ),
        ("nic br0 modle virtio", "(did you mean 'model'?)"),
        (
            "nic br0 model rtl8139",
            "'rtl8139' is not `virtio` or `e1000`",
        ),
        (
            "boot cd",
            "'cd' is not `disk`, `network`, `iso` or `kernel`",
        ),
        (
            "boot iso debian.iso",
            "'debian.iso' is not an absolute path",
        ),
        (
            "boot iso /srv/../debian.iso",
            "is not an absolute path without",
        ),
        ("boot kernel /srv/linux append", "expects the command line"),
        ("boot disk 1", "cannot handle unexpected argument '1'"),
        ("firmware efi", "'efi' is not `bios` or `uefi`"),
        ("console vga", "'vga' is not `vnc`, `spice` or `serial`"),
        ("migrate hot", "'hot' is not `live`, `cold` or `never`"),
        ("fail-back on", "'on' is not `yes` or `no`"),
        ("stop-timeout 10ms", "'10ms' is not between 1s and 24h"),
        ("priority 1001", "error[E0842]"),
        ("check http 80", "'http' is not `tcp`, `ping` or `agent`"),
        ("check tcp 0", "error[E0842]"),
        ("check tcp 25 inter 2", "'2' is not between 100ms and 1h"),
        ("check tcp 25 fall 0", "error[E0842]"),
        (
            "check tcp 25 at mail.example.com",
            "'mail.example.com' is not an IP address",
        ),
        ("check tcp 25 fal 2", "(did you mean 'fall'?)"),
        ("check agent at 192.0.2.1", "'check agent' has no address"),
        ("user-data mail.yaml", "'mail.yaml' is not an absolute path"),
        (
            "memmory 4g",
            "error[E0840]: unknown keyword 'memmory' in 'guest' section (did you mean 'memory'?)",
        ),
        (
            "start-order before directory",
            "unknown keyword 'start-order before'",
        ),
    ] {
        // The good lines that it replaces are left out.
        let word = line.split(' ').next().unwrap();
        let other = MAIL
            .lines()
            .filter(|line| !line.trim_start().starts_with(&format!("{word} ")));
        let other: String = other.map(|line| format!("{line}\n")).collect();
        refused(&format!("{other}    {line}\n"), expected);
    }
}

#[test]
fn wrong_lines_of_a_node_are_refused_with_words() {
    for (line, expected) in [
        ("fence", "error[E0841]: 'fence' is an incomplete keyword"),
        ("fence impi 10.0.0.1", "(did you mean 'fence ipmi'?)"),
        (
            "fence ipmi 10.0.0.1",
            "'fence ipmi' expects `user` and the name of a user",
        ),
        (
            "fence ipmi 10.0.0.1 user admin",
            "expects `password-file` and a file",
        ),
        (
            "fence ipmi 10.0.0.1 user admin password-file pw",
            "'pw' is not an absolute path",
        ),
        (
            "fence ipmi -v user admin password-file /pw",
            "'-v' is not an address or a host name",
        ),
        (
            "fence ipmi 10.0.0.1 pasword-file /pw",
            "(did you mean 'password-file'?)",
        ),
        ("fence exec off", "'off' is not an absolute path"),
        ("fence agent apc", "'apc' is not the name of a fence agent"),
        (
            "fence agent fence_apc plug",
            "'plug' is not an option of the form `NAME=VALUE`",
        ),
        (
            "fence agent fence_apc action=on",
            "the action is always `off`",
        ),
        (
            "fence agent fence_apc plug=1 plug=2",
            "error[E0844]: 'plug' may appear only once",
        ),
        ("fence watchdog", "'fence watchdog' expects a device"),
        ("room", "'room' expects `memory` or `cpus`"),
        ("room memory 1", "has no unit"),
        ("room cpu 4", "(did you mean 'cpus'?)"),
        (
            "room cpus 4\n    room cpus 8",
            "error[E0844]: 'room' may appear only once",
        ),
        (
            "fence watchdog /dev/a\n    fence watchdog /dev/b",
            "error[E0844]: 'fence watchdog' may appear only once",
        ),
    ] {
        refused(&format!("{MAIL}node gamma\n    {line}\n"), expected);
    }
    let many = "    fence exec /off\n".repeat(9);
    refused(
        &format!("{MAIL}node gamma\n{many}"),
        "error[E0857]: a node has at most 8 lines 'fence'",
    );
}

#[test]
fn heads_are_names_each_once_and_not_too_many() {
    for (text, expected) in [
        ("guest\n", "error[E0841]: 'guest' expects the guest's name"),
        (
            "guest .x\n",
            "error[E0843]: '.x' cannot be the name of a guest",
        ),
        ("guest a:b\n", "error[E0843]: 'a:b' cannot be"),
        (
            "guest a/b\n",
            "error[E0843]: character '/' is not permitted in 'guest' name 'a/b'",
        ),
    ] {
        refused(text, expected);
    }
    let long = "x".repeat(65);
    refused(&format!("guest {long}\n"), "error[E0843]");
    refused(
        &format!("{MAIL}{MAIL}"),
        "error[E0843]: duplicate 'guest' section 'mail'",
    );
    let guest = |at| format!("guest g{at}\n  prefer alpha\n  memory 1g\n  boot iso /x\n");
    let many: String = (0..257).map(guest).collect();
    refused(&many, "error[E0857]: more than 256 guest sections");
    let disks: String = (0..17)
        .map(|at| format!("volume d{at}\n"))
        .chain([MAIL.replace("    disk mail\n", "")])
        .chain((0..17).map(|at| format!("    disk d{at}\n")))
        .collect();
    refused(&disks, "error[E0857]: a guest has at most 16 disks");
    let nics = "    nic br1\n".repeat(8);
    refused(
        &format!("{MAIL}{nics}"),
        "error[E0857]: a guest has at most 8 network cards",
    );
}

#[test]
fn a_line_may_appear_once() {
    for line in [
        "prefer alpha",
        "memory 4g",
        "cpus 2",
        "boot disk",
        "console vnc",
        "check agent",
        "apart directory",
        "user-data /dev/null",
    ] {
        let text = MAIL.replace("    prefer alpha beta\n    memory 4g\n", "");
        let others = ["prefer alpha beta", "memory 4g"];
        let word = line.split(' ').next().unwrap();
        let others = others.iter().filter(|other| !other.starts_with(word));
        let others: String = others.map(|line| format!("    {line}\n")).collect();
        let expected = format!("error[E0844]: '{word}' may appear only once in a section");
        refused(
            &format!("{text}{others}    {line}\n    {line}\n{DIRECTORY}"),
            &expected,
        );
    }
}

#[test]
fn a_guest_has_memory_and_something_to_boot_from() {
    let without = |line: &str| MAIL.replace(line, "");
    refused(
        &without("    memory 4g\n"),
        "error[E0845]: guest 'mail' has no 'memory' line (add `memory SIZE`",
    );
    refused(
        &without("    disk mail\n"),
        "error[E0846]: guest 'mail' has no disk to boot from",
    );
    let network = format!(
        "{}    boot network\n",
        without("    nic br0 address 192.0.2.25\n")
    );
    refused(
        &network,
        "error[E0846]: guest 'mail' has no network card to boot from",
    );
    for boot in ["network", "iso /srv/x.iso", "kernel /srv/linux"] {
        let text = format!("{SITE}{}    boot {boot}\n", without("    disk mail\n"));
        assert_eq!(on_alpha(&text).1, "", "{boot}");
    }
}

#[test]
fn where_there_are_nodes_a_guest_prefers_some_of_them() {
    let prefer = |nodes: &str| MAIL.replace("prefer alpha beta", nodes);
    for (nodes, expected) in [
        (
            "cpus 1",
            "error[E0848]: guest 'mail' does not say on which nodes it may run (add `prefer NODE`; nodes: alpha, beta",
        ),
        (
            "prefer alpha betta",
            "error[E0847]: no node is called 'betta' (did you mean 'beta'?)",
        ),
        (
            "prefer alpha beta alpha.example.com",
            "error[E0847]: guest 'mail' prefers node 'alpha.example.com' twice",
        ),
        ("prefer al/pha", "error[E0842]"),
        (
            "prefer",
            "error[E0841]: 'prefer' expects the name of a node",
        ),
    ] {
        let text = prefer(nodes).replace("disk mail", "boot iso /x");
        refused(&text, expected);
    }
    // The name is the cluster's.
    let (guests, told) = on_alpha(&format!(
        "{SITE}{}",
        prefer("prefer beta.example.com alpha")
    ));
    assert_eq!(told, "");
    assert_eq!(guests.guests["mail"].prefer, ["beta", "alpha"]);
}

#[test]
fn a_disk_is_a_volume_with_a_copy_on_each_node() {
    let (_, told) = on_alpha(&format!("{SITE}{}", MAIL.replace("disk mail", "disk mali")));
    assert_eq!(
        told,
        "site.cfg:12:10: error[E0001]: there is no volume 'mali' (did you mean 'mail'?)\n"
    );
    refused(
        &format!("volume data\n    on alpha\n{MAIL}    disk data\n"),
        "error[E0855]: volume 'data' has no copy on node 'beta', which guest 'mail' prefers",
    );
}

#[test]
fn the_writer_of_a_volume_is_one_guest() {
    let second = |line: &str| format!("{MAIL}{DIRECTORY}    disk mail{line}\n");
    let expected = "error[E0852]: volume 'mail' is a disk of guest 'mail' already";
    refused(&second(""), expected);
    refused(&second(" ro"), expected);
    refused(&format!("{MAIL}    disk mail\n"), expected);
    let readers = second(" ro").replace("disk mail\n", "disk mail ro\n");
    assert_eq!(on_alpha(&format!("{SITE}{readers}")).1, "");
}

#[test]
fn no_two_cards_have_one_address() {
    let mac = "    nic br0 mac 52:54:00:12:34:56\n";
    refused(
        &format!("{MAIL}{mac}{DIRECTORY}{mac}"),
        "error[E0853]: 52:54:00:12:34:56 is the MAC address of guest 'mail' already",
    );
    let pairs = mac_of("mail", 0).map(|byte| format!("{byte:02x}"));
    refused(
        &format!("{MAIL}    nic br0 mac {}\n", pairs.join("-")),
        "is the MAC address of guest 'mail' already",
    );
    refused(
        &format!("{MAIL}{DIRECTORY}    nic br0 address 192.0.2.25\n"),
        "error[E0854]: 192.0.2.25 is an address of guest 'mail' already",
    );
}

#[test]
fn a_check_needs_an_address_unless_the_agent_is_asked() {
    let text = MAIL.replace(" address 192.0.2.25", "");
    for (check, expected) in [
        ("tcp 25", None),
        ("ping", None),
        ("agent", Some(Probe::Agent)),
        (
            "ping at 192.0.2.1",
            Some(Probe::Ping([192, 0, 2, 1].into())),
        ),
    ] {
        let text = format!("{text}    check {check}\n");
        let Some(probe) = expected else {
            refused(
                &text,
                "error[E0856]: the check of guest 'mail' has no address",
            );
            continue;
        };
        let (guests, told) = on_alpha(&format!("{SITE}{text}"));
        assert_eq!(told, "");
        let check = guests.guests["mail"].check.clone().unwrap();
        let times = (check.inter_ms, check.timeout_ms, check.grace_ms);
        assert_eq!((check.probe, times), (probe, (2_000, 2_000, 60_000)));
        assert_eq!((check.fall, check.rise, check.restarts), (3, 2, false));
    }
}

#[test]
fn names_of_other_guests_exist_and_do_not_contradict_each_other() {
    let mail = |line: &str| format!("{MAIL}    {line}\n");
    let directory = |line: &str| format!("{DIRECTORY}    {line}\n");
    for (text, expected) in [
        (
            mail("start-order after directroy") + DIRECTORY,
            "error[E0849]: there is no guest 'directroy' (did you mean 'directory'?)",
        ),
        (
            mail("apart mail"),
            "error[E0849]: 'apart' of guest 'mail' names the guest itself",
        ),
        (
            mail("start-order after directory") + &directory("start-order after mail"),
            "error[E0850]: guests wait for each other: mail after directory after mail",
        ),
        (
            mail("beside directory\n    apart directory") + DIRECTORY,
            "error[E0851]: guest 'mail' is both beside 'directory' and apart from it",
        ),
        (
            mail("apart directory") + &directory("beside mail"),
            "error[E0851]: guest 'mail' is both beside 'directory' and apart from it",
        ),
        (
            mail("beside directory").replace("prefer alpha beta", "prefer alpha")
                + &DIRECTORY.replace("prefer beta alpha", "prefer beta"),
            "error[E0851]: guest 'mail' has no node in common with 'directory'",
        ),
    ] {
        refused(&text, expected);
    }
    let third = "guest third\n    prefer alpha beta\n    memory 1g\n    boot iso /x\n";
    refused(
        &format!(
            "{}{}{third}    apart mail\n",
            mail("beside directory"),
            directory("beside third")
        ),
        "error[E0851]: guest 'third' is apart from 'mail', but lines `beside` put both on one node",
    );
    let circle = mail("start-order after directory") + &directory("start-order after third");
    refused(
        &format!("{circle}{third}    start-order after mail\n"),
        "guests wait for each other: mail after directory after third after mail",
    );
}

#[test]
fn a_guest_that_no_node_has_room_for_is_refused() {
    let room = |alpha: &str, beta: &str| {
        format!("node alpha.\n    {alpha}\nnode beta.\n    {beta}\n").replace('.', ".example.com")
    };
    let fence = "fence exec /off\n    ";
    for (alpha, beta, is_refused) in [
        ("room memory 2g", "room memory 3g", true),
        ("room memory 2g", "room memory 4g", false),
        ("room memory 2g", "fence exec /off2", false),
        ("room memory 8g cpus 1", "room cpus 1", true),
        ("room memory 8g cpus 1", "room cpus 2", false),
    ] {
        let nodes = room(&format!("{fence}{alpha}"), &format!("{fence}{beta}"));
        let (_, told) = on_alpha(&format!("{nodes}volume mail\n{MAIL}    cpus 2\n"));
        let expected = "error[E0858]: guest 'mail' is larger than the room of each of its nodes";
        assert_eq!(
            told.contains(expected),
            is_refused,
            "{alpha}, {beta}: {told}"
        );
        assert_eq!(told.is_empty(), !is_refused, "{alpha}, {beta}: {told}");
    }
}

#[test]
fn guests_of_nodes_that_cannot_be_powered_off_are_warned_of_together() {
    let volumes = "volume mail\nvolume directory\n";
    let (_, told) = on_alpha(&format!("{volumes}{MAIL}{DIRECTORY}"));
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        [
            "site.cfg:4:12: warning[W0861]: guest 'mail': nodes 'alpha', 'beta' have no `fence` and no watchdog (add \
          `fence ipmi …`, or `fence watchdog /dev/watchdog`, to the section `node alpha`)"
        ]
    );
    let one = "node alpha\n    fence watchdog /dev/watchdog\n";
    let (_, told) = on_alpha(&format!("{one}{volumes}{MAIL}"));
    assert!(
        told.contains("warning[W0861]: guest 'mail': node 'beta' has no `fence`"),
        "{told}"
    );
    // A guest of one node is not taken over.
    let text = MAIL.replace("prefer alpha beta", "prefer beta");
    assert_eq!(on_alpha(&format!("{volumes}{text}")).1, "");
}

#[test]
fn outside_of_a_cluster_guests_of_several_nodes_wait_and_others_run_here() {
    let own = "guest x\n    memory 1g\n    boot iso /x\n";
    let (guests, told) = alone(own);
    assert_eq!((&*guests.me, guests.guests.len(), &*told), ("", 1, ""));
    let (guests, told) = alone(&format!("{SITE}{MAIL}"));
    assert_eq!(
        told,
        "site.cfg:10:18: warning[W0860]: a guest of several nodes runs only in a cluster (apply these files with \
         `evenkeel config apply`, and run the members without `-f`)\n"
    );
    assert_eq!((&*guests.me, guests.guests.len()), ("alpha", 1));
    // Each machine runs those that have its name.
    let nodes = "node alpha\nnode beta\n";
    let on = |node: &str| own.replace("guest x\n", &format!("guest {node}\n    prefer {node}\n"));
    let options = LoadOptions {
        host: "beta.example.com".to_owned(),
        ..LoadOptions::default()
    };
    let (guests, told) = load(&format!("{nodes}{}{}", on("alpha"), on("beta")), options);
    let names: Vec<&String> = guests.guests.keys().collect();
    assert_eq!((&*guests.me, &*told), ("", ""));
    assert_eq!(names, ["beta"]);
}

#[test]
fn user_data_is_read_at_the_load() {
    let scratch = lab::Scratch::new().unwrap();
    scratch.write("good.yaml", "#cloud-config\n").unwrap();
    scratch.write("large.yaml", &"x".repeat(1 << 21)).unwrap();
    std::fs::write(scratch.path().join("bytes.yaml"), b"\xff\xfe").unwrap();
    let text = |name: &str| {
        let path = scratch.path().join(name);
        format!("{MAIL}    user-data {}\n", path.display())
    };
    let (guests, told) = on_alpha(&format!("{SITE}{}", text("good.yaml")));
    let user_data = guests.guests["mail"].user_data.as_deref();
    assert_eq!((user_data, &*told), (Some("#cloud-config\n"), ""));
    for name in ["none.yaml", "large.yaml", "bytes.yaml"] {
        refused(&text(name), "error[E0859]: 'user-data': cannot use '");
    }
}

#[test]
fn a_line_may_be_for_one_node() {
    let text = MAIL.replace(
        "    nic br0 address 192.0.2.25\n",
        "    on alpha nic br0\n    on beta nic vmbr0\n",
    );
    let (guests, told) = on_alpha(&format!("{SITE}{text}"));
    assert_eq!(told, "");
    let nics = &guests.guests["mail"].nics;
    assert_eq!((nics.len(), &*nics[0].bridge), (1, "br0"));
    // A mistake for the other node is reported here, too.
    let text = text.replace("vmbr0", "vm/br0");
    refused(&text, "'vm/br0' is not the name of an interface");
}
