//! Tests the diagnostics about single lines.

use super::{DIRECTORY, MAIL, refused};

/// Lines of a `guest` section, and the diagnostics about them.
const OF_GUESTS: &[(&str, &str)] = &[
    (
        "memory 40q",
        "error[E0842]: 'memory': '40q' is not a size: write a number and `m`, `g` or `t`",
    ),
    (
        "memory 40",
        "error[E0842]: 'memory': '40' has no unit, so it is 40 bytes (add `m`",
    ),
    ("memory 512", "add `m`, `g` or `t`, such as `512m`"),
    ("memory 4000000000", "add `m`, `g` or `t`, such as `3815m`"),
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
];

#[test]
fn wrong_lines_of_a_guest_are_refused_with_words() {
    for (line, expected) in OF_GUESTS {
        // The valid lines with the same keyword are left out.
        let word = line.split(' ').next().unwrap();
        let other = MAIL
            .lines()
            .filter(|line| !line.trim_start().starts_with(&format!("{word} ")));
        let other: String = other.map(|line| format!("{line}\n")).collect();
        refused(&format!("{other}    {line}\n"), expected);
    }
}

/// Lines of a `node` section, and the diagnostics about them.
const OF_NODES: &[(&str, &str)] = &[
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
        "fence ipmi 10.0.0.1 user admin password-file /pw cipher 20",
        "'20' is out of range: expected 1 to 19",
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
        "each command sets its own action",
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
];

#[test]
fn wrong_lines_of_a_node_are_refused_with_words() {
    for (line, expected) in OF_NODES {
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
