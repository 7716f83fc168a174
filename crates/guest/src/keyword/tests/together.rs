//! Tests the diagnostics about guests in relation to nodes, volumes and other guests.

use super::{DIRECTORY, MAIL, SITE, alone, load, on_alpha, refused};
use crate::config::mac_of;
use configuration::LoadOptions;

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
    // The node has the name that it has in the cluster.
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
fn other_parts_may_name_a_guest_that_there_is() {
    let naming = |guest: &str| format!("{SITE}{MAIL}volume of-{guest}\n    on alpha beta\n");
    assert_eq!(on_alpha(&naming("mail")).1, "");
    let (_, told) = on_alpha(&naming("mali"));
    assert!(
        told.contains("error[E0864]: there is no guest 'mali' (did you mean 'mail'?)"),
        "{told}"
    );
}

#[test]
fn a_template_is_no_guest_and_nobody_writes_its_volumes() {
    let frozen = "volume frozen\n    on alpha beta\n";
    let with = |disk: &str, line: &str| {
        let text = MAIL.replace("disk mail", disk);
        format!("{frozen}{text}{line}")
    };
    let (guests, told) = on_alpha(&format!(
        "{SITE}{}",
        with("disk frozen", "    template yes\n")
    ));
    assert_eq!(told, "");
    assert!(guests.guests.is_empty());
    assert_eq!(guests.templates["mail"].disks[0].volume, "frozen");
    let (guests, _) = on_alpha(&format!("{SITE}{}", with("disk mail", "    template no\n")));
    assert!(guests.templates.is_empty() && guests.guests.contains_key("mail"));
    refused(
        &with("disk mail", "    template yes\n"),
        "error[E0862]: volume 'mail' of template 'mail' can be written",
    );
    refused(
        &with("disk frozen", ""),
        "error[E0862]: volume 'frozen' is read-only, and guest 'mail' would write it",
    );
    // A disk that the guest only reads may be read-only or writable.
    let both = with("disk frozen", "    template yes\n    disk directory ro\n");
    assert_eq!(on_alpha(&format!("{SITE}{both}")).1, "");
    let reads = with("disk mail", "    disk frozen ro\n");
    assert_eq!(on_alpha(&format!("{SITE}{reads}")).1, "");
    refused(&with("disk mail", "    template perhaps\n"), "error[E0842]");
}

#[test]
fn the_section_of_a_copy_is_the_same_guest_with_volumes_and_cards_of_its_own() {
    let lines = "    firmware uefi\n    console serial\n    migrate cold\n    stop-timeout 61s\n    priority 7\n    \
                 fail-back yes\n    cpus 3\n    check agent\n    nic br1 mac 52:54:00:00:00:01 model e1000\n    \
                 disk directory ro bus sata\n    boot kernel \"/boot/a b\" initrd /i append \"quiet x=\\\"1\\\"\"\n";
    let (guests, told) = on_alpha(&format!("{SITE}{MAIL}{lines}"));
    assert_eq!(told, "");
    let old = guests.guests["mail"].clone();
    let text = crate::section::copied("web", &old, |volume| format!("{volume}-2"));
    let volume = "volume mail-2\n    on alpha beta\n";
    let (guests, told) = on_alpha(&format!("{SITE}{volume}{text}"));
    assert_eq!(told, "", "{text}");
    let mut new = guests.guests["web"].clone();
    assert_eq!(new.disks[0].volume, "mail-2");
    for (at, nic) in new.nics.iter_mut().enumerate() {
        assert_eq!(nic.mac, mac_of("web", at));
        assert_ne!(nic.mac, old.nics[at].mac);
        (nic.mac, nic.addresses) = (old.nics[at].mac, old.nics[at].addresses.clone());
    }
    new.disks[0].volume = old.disks[0].volume.clone();
    // Neither section has a host name of its own in the text; comments name what was left out.
    let lines = text.lines().filter_map(|line| line.split('#').next());
    let text: String = lines.collect();
    assert!(
        !text.contains("52:54") && !text.contains("address 1"),
        "{text}"
    );
    assert_eq!(new.check.is_some(), old.check.is_some());
    (new.check, new.user_data) = (old.check.clone(), old.user_data.clone());
    assert_eq!(new, old);
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
fn a_bridge_or_a_file_that_is_not_on_this_machine_is_warned_of() {
    let text = |prefer: &str, bridge: &str, kernel: &str| {
        format!(
            "guest mail\n    {prefer}memory 4g\n    nic {bridge}\n    boot kernel {kernel} initrd /dev/null\n"
        )
    };
    let on = |host: &str, text: &str| {
        let options = LoadOptions {
            here: true,
            host: host.to_owned(),
            ..LoadOptions::default()
        };
        load(text, options).1
    };
    assert_eq!(on("alpha", &text("", "lo", "/dev/null")), "");
    let told = on("alpha", &text("", "no-such-bridge", "/no/kernel"));
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    let starts = [
        "site.cfg:3:9: warning[W0863]: guest 'mail': bridge 'no-such-bridge' is not on this machine",
        "site.cfg:4:5: warning[W0863]: guest 'mail': file '/no/kernel' is not on this machine",
    ];
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    // The files of another node are not checked on this one.
    let other = text("prefer beta\n    ", "no-such-bridge", "/no/kernel");
    let nodes = "node alpha\nnode beta\n";
    assert_eq!(on("alpha", &format!("{nodes}{other}")), "");
    assert!(on("beta", &format!("{nodes}{other}")).contains("W0863"));
    // The files of another machine are not checked, either.
    assert_eq!(alone(&text("", "no-such-bridge", "/no/kernel")).1, "");
}

#[test]
fn the_line_that_is_too_much_is_marked() {
    let line = |alpha: &str, cpus: &str| {
        let nodes = format!("node alpha\n    room {alpha}\n    fence exec /off\n");
        let text = format!(
            "{nodes}volume mail\nguest mail\n    memory 4g\n    prefer alpha\n    disk mail\n    {cpus}\n"
        );
        let (_, told) = on_alpha(&text);
        assert!(told.contains("E0858"), "{told}");
        told.split(':').nth(1).map(str::to_owned)
    };
    assert_eq!(line("memory 8g cpus 1", "cpus 2").as_deref(), Some("9"));
    assert_eq!(line("memory 2g cpus 1", "cpus 2").as_deref(), Some("6"));
    assert_eq!(line("memory 2g", "cpus 2").as_deref(), Some("6"));
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
    // A guest with one node never starts on another one.
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
    // Without a cluster, each machine runs the guests whose `prefer` has its name.
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
fn a_guest_on_storage_knows_its_image_and_needs_nodes_that_something_stops() {
    let text = format!("volume mail\n    storage external\n{MAIL}");
    let (guests, told) = on_alpha(&text);
    assert!(
        told.contains(
            "warning[W0862]: guest 'mail' has a disk of a storage system, and no `fence` or watchdog stops node \
             'alpha', 'beta'"
        ),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
    let mail = &guests.guests["mail"];
    assert!(mail.is_external() && mail.disks[0].external == Some(super::external()));
    // A guest that only reads does not count as external, and nodes with fencing cause no warning.
    let reads = text.replace("disk mail", "disk mail ro");
    let (guests, told) = on_alpha(&reads);
    assert!(
        told.contains("W0861") && !guests.guests["mail"].is_external(),
        "{told}"
    );
    let fenced = "fence watchdog /dev/watchdog\n";
    let nodes = format!("node alpha\n    {fenced}node beta\n    {fenced}");
    assert_eq!(on_alpha(&format!("{nodes}{text}")).1, "");
}
