//! Tests the results of `guest` sections, and the diagnostics about wrong ones.

mod lines;
mod together;

use super::*;
use crate::config::{Bus, Check, Console, Disk, Firmware, Migrate, Model, Probe, Room};
use configuration::outside::Outside;
use configuration::{
    ConfiguredNode, Export, External, LoadOptions, Located, ObjectKind, PartDraft, Recording,
    SectionKeywords, Storage,
};
use language::source::Text;
use language::{ConfigLine, Environment, Facts, Span, render};
use part::power::control::PowerControl;

language::codes! {
    NO_VOLUME = "E0001", "no volume of this name", "As the part of volumes has it.";
}

/// Stand-in for the sections `node` and `volume`, as far as guests need them.
static OTHERS: ConfigurationPart = ConfigurationPart {
    name: "others",
    sections: Sections {
        names: &[("node", "A machine."), ("volume", "A volume.")],
        on_lists: &["volume"],
        ..Sections::NONE
    },
    documented: Vec::new,
    codes: || CODES.to_vec(),
    exports: &[ObjectKind {
        name: "volume",
        unknown: &NO_VOLUME,
        label: "no section of this name",
    }],
    begin: |_| Box::new(Heads::default()),
    run: None,
};

/// Header lines of these sections, the lines `on` of volumes, and the guests that these name.
#[derive(Debug, Default)]
struct Heads(
    Vec<(&'static str, String, Vec<String>)>,
    Vec<(String, Span)>,
);

impl PartDraft for Heads {
    fn section(&mut self, _: &mut Context, head: &ConfigLine) {
        let kind = if head.words[0].is("node") {
            "node"
        } else {
            "volume"
        };
        let name = head.words[1].text().into_owned();
        // The stand-in has no line for a user, so the name of the volume contains it.
        if let Some(guest) = name.strip_prefix("of-") {
            self.1.push((guest.to_owned(), head.words[1].span));
        }
        self.0.push((kind, name, Vec::new()));
    }

    fn current_section(&self) -> Option<&'static str> {
        self.0.last().map(|(kind, ..)| *kind)
    }

    fn line(&mut self, _: &mut Context, line: &ConfigLine) {
        let (.., nodes) = self.0.last_mut().unwrap();
        let words = line.words[1..].iter();
        nodes.extend(words.map(|word| word.text().into_owned()));
    }

    fn nodes(&self) -> Vec<ConfiguredNode> {
        let nodes = self.0.iter().filter(|(kind, ..)| *kind == "node");
        let node = |(_, name, _): &(_, String, _)| ConfiguredNode {
            name: Some(name.clone()),
            ..ConfiguredNode::default()
        };
        nodes.map(node).collect()
    }

    fn finish(self: Box<Self>, _: &mut Context, exchange: &mut Exchange) -> Box<dyn Any> {
        for (guest, span) in &self.1 {
            exchange.require_object("guest", guest, *span);
        }
        for (_, name, mut nodes) in self.0.into_iter().filter(|(kind, ..)| *kind == "volume") {
            let is_external = nodes.iter().any(|node| node == "external");
            nodes.retain(|node| node != "external");
            // The stand-in has no line for read-only volumes, so the name of the volume says that.
            let read_only = name.starts_with("frozen");
            let external = is_external.then(external);
            let located = Located {
                nodes,
                read_only,
                external,
            };
            exchange.export(Export::new("volume", &name, &located));
        }
        Box::new(())
    }
}

/// Returns an image in external storage for volumes whose name has this word.
fn external() -> External {
    External {
        storage: Storage::Nfs {
            server: [10, 0, 0, 9].into(),
            path: "/srv/mail.img".to_owned(),
        },
        size_bytes: None,
    }
}

fn load(text: &str, options: LoadOptions) -> (Guests, String) {
    let parts: [&'static ConfigurationPart; 2] = [&OTHERS, &PART];
    let files = vec![("site.cfg".to_owned(), Text::new(text.into()))];
    let (environment, facts) = (Environment::empty(), Facts::new("2.6.12"));
    let words = SectionKeywords::from_parts(parts.iter().map(|part| &part.sections));
    let inputs = Recording::new(files, environment, facts, options, words);
    let mut loaded = configuration::load(&parts, inputs, Outside::default());
    let told = render::concise(&loaded.sources, &loaded.diagnostics, true);
    (loaded.take_part(&PART), told)
}

/// Loads the text on the member `alpha` of a cluster of `alpha` and `beta`.
fn on_alpha(text: &str) -> (Guests, String) {
    let options = LoadOptions {
        node: Some("alpha".to_owned()),
        nodes: vec!["alpha".to_owned(), "beta".to_owned()],
        version: "version 1".to_owned(),
        ..LoadOptions::default()
    };
    load(text, options)
}

/// Loads the text on a single machine, without nodes.
fn alone(text: &str) -> (Guests, String) {
    load(text, LoadOptions::default())
}

/// Sections of nodes that can be powered off, and of volumes on both.
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

/// Loads the text with these sections on `alpha`, and checks that it causes one diagnostic, with
/// these words.
#[track_caller]
fn refused(text: &str, expected: &str) {
    let (_, told) = on_alpha(&format!("{SITE}{text}"));
    let one = told.lines().count() == 1 && told.contains(expected);
    assert!(one, "{text}\nexpected {expected}\n{told}");
}

#[test]
fn every_example_is_good_and_every_row_has_one() {
    let scratch = lab::ScratchDirectory::new().unwrap();
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
                let (disk, volume) = match word {
                    "template" => ("disk frozen", "frozen"),
                    _ => ("disk data", "data"),
                };
                let others = ["prefer alpha beta", "memory 1g", disk];
                let others = others.iter().filter(|line| !line.starts_with(word));
                let others: String = others.map(|line| format!("    {line}\n")).collect();
                format!(
                    "volume {volume}\n    on alpha beta\nguest x\n    {line}\n{others}{DIRECTORY}"
                )
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

/// All lines that a `guest` section can have.
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

fn all() -> config::Guest {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let disk = |volume: &str, read_only, bus| Disk {
        external: None,
        volume: volume.to_owned(),
        read_only,
        bus,
    };
    config::Guest {
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
        order: PlacementRules {
            after: names(&["directory"]),
            priority: -10,
            beside: names(&["directory"]),
            apart: names(&[]),
            fails_back: true,
        },
    }
}

#[test]
fn a_section_is_a_guest_with_all_that_its_lines_say() {
    let text = format!("{SITE}volume data\n    on alpha beta\n{ALL}{DIRECTORY}");
    let (guests, told) = on_alpha(&text);
    assert_eq!((&*guests.me, &*told), ("alpha", ""));
    assert_eq!(guests.guests["mail"], all());
    assert_eq!(guests.guests.len(), 2);
    let bytes = codec::encode(&guests);
    assert_eq!(codec::decode::<Guests>(&bytes).unwrap(), guests);
    let run = PART.run.as_ref().unwrap();
    let given = (run.role_input)(&guests, None).unwrap();
    assert_eq!(
        (given.size.to_string(), given.payload),
        ("2 guests".to_owned(), bytes)
    );
}

#[test]
fn a_node_says_how_it_is_powered_off_and_what_it_has() {
    let text = "\
node alpha
    fence ipmi 10.99.0.11 user admin password-file /etc/evenkeel/ipmi cipher 17
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
    let ipmi = PowerControl::Ipmi {
        at: "10.99.0.11".to_owned(),
        user: "admin".to_owned(),
        password_file: "/etc/evenkeel/ipmi".into(),
        cipher: Some(17),
    };
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let agent = PowerControl::Agent {
        name: "fence_apc".to_owned(),
        options: [option("ip", "10.99.0.12"), option("plug", "3")].into(),
    };
    let exec = ["/usr/local/sbin/off", "alpha"].map(str::to_owned).to_vec();
    let node = config::NodeSettings {
        fences: vec![ipmi, agent, PowerControl::Exec(exec)],
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
fn user_data_is_read_at_the_load() {
    let scratch = lab::ScratchDirectory::new().unwrap();
    scratch.write("good.yaml", "#cloud-config\n").unwrap();
    scratch.write("large.yaml", "x".repeat(1 << 21)).unwrap();
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
    // A mistake in a section for the other node is reported on this one, too.
    let text = text.replace("vmbr0", "vm/br0");
    refused(&text, "'vm/br0' is not the name of an interface");
}

#[test]
fn role_starts_for_a_guest_that_was_left_running() {
    let scratch = lab::ScratchDirectory::new().unwrap();
    let run = PART.run.as_ref().unwrap();
    let none = Guests::default();
    let given = |claimed: &[String]| {
        let claimed = claimed.iter().cloned().collect();
        let rest = configuration::Rest {
            runtime: scratch.path(),
            state: None,
            claimed: &claimed,
        };
        (run.leftover_input)(&none, &rest)
    };
    let home = GuestDirectory::new(scratch.path(), "mail");
    home.make().unwrap();
    assert!(given(&[]).is_none(), "a directory without QEMU");
    let _held = home.lock().unwrap();
    assert_eq!(given(&[]).unwrap().resources, ["guest mail"]);
    assert!(
        given(&["guest mail".to_owned()]).is_none(),
        "it is another instance's"
    );
}

#[test]
fn role_stays_for_guests_whose_sections_are_gone() {
    let run = PART.run.as_ref().unwrap();
    let none = Guests::default();
    assert!((run.role_input)(&none, None).is_none(), "no guest at all");
    let before = codec::encode(&Guests {
        guests: [("mail".to_owned(), config::Guest::plain(32 << 20))].into(),
        ..Guests::default()
    });
    let given = (run.role_input)(&none, Some(&before)).unwrap();
    // The guests also remain at a second reload, while they still shut down.
    assert!((run.role_input)(&none, Some(&given.payload)).is_some());
}
