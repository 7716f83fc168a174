//! Tests `boot` sections: the resulting configuration, and the diagnostics of wrong ones.

use super::*;
use configuration::{LoadOptions, Recording, SectionKeywords};
use language::render;
use language::source::Text;
use language::{Environment, Facts};

fn told(lines: &[&str]) -> String {
    told_with(lines, LoadOptions::default())
}

/// Loads a section for this machine, so that files and interfaces are checked.
fn told_here(lines: &[&str]) -> String {
    let options = LoadOptions {
        here: true,
        ..LoadOptions::default()
    };
    told_with(lines, options)
}

fn told_with(lines: &[&str], options: LoadOptions) -> String {
    let mut text = "boot lan\n    network 10.20.0.0/24\n    interface eth0\n".to_owned();
    lines
        .iter()
        .for_each(|line| text.push_str(&format!("    {line}\n")));
    let files = vec![("site.cfg".to_owned(), Text::new(text.into()))];
    let (environment, facts) = (Environment::empty(), Facts::new("2.6.12"));
    let words = SectionKeywords::from_parts([&PART.sections]);
    let inputs = Recording::new(files, environment, facts, options, words);
    let loaded = configuration::load(&[&PART], inputs, configuration::outside::Outside::default());
    render::concise(&loaded.sources, &loaded.diagnostics, true)
}

#[test]
fn each_mistake_is_told_at_its_line() {
    let disk = "image d disk";
    let range = "range 10.20.0.100 10.20.0.199 lease 12h";
    let one = "machine one mac 52:54:00:00:00:01 image d";
    let table: &[&[&str]] = &[
        &[disk, range, one],
        &[disk, one],
        &[
            disk,
            range,
            one,
            "machine one mac 52:54:00:00:00:02 image d",
        ],
        &[
            disk,
            range,
            one,
            "machine two mac 52:54:00:00:00:01 image d",
        ],
        &[disk, range, "machine one mac 53:54:00:00:00:01 image d"],
        &[disk, range, "machine one mac 52:54:00:00:00:01 image e"],
        &[
            disk,
            "machine one mac 52:54:00:00:00:01 address 10.20.1.7 image d",
        ],
        &[
            disk,
            "machine one mac 52:54:00:00:00:01 address 10.20.0.255 image d",
        ],
        &["range 10.20.0.199 10.20.0.100"],
        &["range 10.20.0.100 10.21.0.100"],
        &["range 10.20.0.100 10.20.0.199 lease 1s"],
        &["range 10.20.0.100 10.20.0.199 lease 25d"],
        &["range 10.20.0.100 10.20.0.199 lease 12"],
        &[
            disk,
            "server 10.20.0.7",
            "machine one mac 52:54:00:00:00:01 address 10.20.0.7 image d",
        ],
        &[range, range],
        &["proxy", range],
        &["unknown never"],
        &["nonsense"],
    ];
    let mut text = String::new();
    for lines in table {
        text.push_str(&format!("{}\n{}\n", lines.join("; "), told(lines)));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn each_mistake_of_ipv6_is_told_at_its_line() {
    let disk = "image d disk";
    let network = "network6 fd00:20::/64";
    let range = "range6 fd00:20::100 fd00:20::1ff lease 12h";
    let one = "machine one mac 52:54:00:00:00:01 address6 fd00:20::7 image d";
    let table: &[&[&str]] = &[
        &[disk, network, range, one, "dns 10.20.0.1 fd00:20::1"],
        &[disk, network, one],
        &[disk, one],
        &[range],
        &[network, network],
        &["network6 fd00:20::1/64"],
        &["network6 fd00:20::/16"],
        &["network6 fe80::/64"],
        &["network6 10.20.0.0/24"],
        &[network, "range6 fd00:20::1ff fd00:20::100"],
        &[network, "range6 fd00:20::100 fd00:21::100"],
        &[network, "range6 fd00:20::1:0 fd00:20::2:0"],
        &[network, "range6 fd00:21::100 fd00:21::1ff"],
        &[network, "range6 10.20.0.1 10.20.0.2"],
        &[network, "range6 fd00:20::100 fd00:20::1ff lease 1s"],
        &[
            disk,
            network,
            one,
            "machine two mac 52:54:00:00:00:02 address6 fd00:20::7 image d",
        ],
        &[
            disk,
            network,
            "machine one mac 52:54:00:00:00:01 address6 fd00:20:: image d",
        ],
        &[
            disk,
            network,
            "machine one mac 52:54:00:00:00:01 address6 fe80::1 image d",
        ],
        &[disk, network, one, "range6 fd00:20::7 fd00:20::7"],
    ];
    let mut text = String::new();
    for lines in table {
        text.push_str(&format!("{}\n{}\n", lines.join("; "), told(lines)));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_power_of_a_machine_ends_its_line() {
    let with = |power: &str| {
        let line = format!("machine one mac 52:54:00:00:00:01 address 10.20.0.7 {power}");
        told(&["image d disk", &line])
    };
    for (power, words) in [
        ("image d power", "expects `ipmi`, `exec` or `agent`"),
        ("image d power ipmy", "did you mean 'ipmi'?"),
        (
            "image d power ipmi 10.99.0.17 user admin",
            "expects `password-file` and a file",
        ),
        (
            "image d power ipmi 10.99.0.17 user a user b",
            "error[E0954]: 'user' may appear only once",
        ),
        (
            "image d power exec outlet",
            "'outlet' is not an absolute path",
        ),
        ("image d power agent apc", "not the name of a fence agent"),
        (
            "power exec /bin/outlet image d",
            "has no `image` before `power`, whose words end the line",
        ),
    ] {
        let told = with(power);
        assert!(told.contains(words), "{power}: {told}");
    }
    for power in [
        "ipmi 10.99.0.17 user admin password-file /etc/evenkeel/ipmi",
        "exec /bin/outlet 3",
        "agent fence_apc ip=10.99.0.12 plug=3",
    ] {
        let told = with(&format!("image d once power {power}"));
        assert!(!told.contains("error"), "{told}");
    }
}

#[test]
fn a_file_that_is_empty_and_a_program_that_cannot_be_started_are_told_at_their_lines() {
    let scratch = lab::ScratchDirectory::new().unwrap();
    let empty = scratch.write("empty", "").unwrap();
    let full = scratch.write("full", "a kernel").unwrap();
    let (empty, full) = (empty.display(), full.display());
    let machine = |name: u8, program: &str| {
        format!(
            "machine m{name} mac 52:54:00:00:00:0{name} address 10.20.0.{name} image one power exec {program}"
        )
    };
    let lines = [
        format!("image one kernel {full} initrd {empty}"),
        machine(1, "/bin/sh on"),
        machine(2, &full.to_string()),
        machine(3, "/nowhere/outlet 3"),
        machine(4, "/bin"),
        machine(5, "/bin/sh").replace(
            "exec /bin/sh",
            "ipmi 10.99.0.1 user a password-file /nowhere/secret",
        ),
        machine(6, "/bin/sh").replace(
            "exec /bin/sh",
            &format!("ipmi 10.99.0.1 user a password-file {full}"),
        ),
    ];
    let told = told_here(&lines.each_ref().map(String::as_str));
    for (line, words) in [
        (4, format!("[W0962]: file '{empty}' is empty")),
        (6, format!("[W0949]: program '{full}' is not executable")),
        (
            7,
            "[W0949]: program '/nowhere/outlet' is not there".to_owned(),
        ),
        (8, "[W0949]: program '/bin' is a directory".to_owned()),
        (
            9,
            "[W0949]: password file '/nowhere/secret' is not there".to_owned(),
        ),
    ] {
        let is_there =
            |one: &str| one.contains(&format!("site.cfg:{line}:")) && one.contains(&words);
        assert!(told.lines().any(is_there), "{line} {words}: {told}");
    }
    assert_eq!(told.matches("W0949").count(), 4, "{told}");
    assert_eq!(told.matches("W0962").count(), 1, "{told}");
}

#[test]
fn a_server_of_files_that_nobody_has_is_told_at_its_line() {
    let words = "neither this node nor a `virtual-ip` section has 10.20.0.9";
    let told = told_here(&["server 10.20.0.9"]);
    assert!(
        told.contains("site.cfg:4:") && told.contains("W0947") && told.contains(words),
        "{told}"
    );
    // Not reported: an address outside of the network, and a configuration for another machine.
    for told in [
        told_here(&["server 10.21.0.9"]),
        self::told(&["server 10.20.0.9"]),
    ] {
        assert!(!told.contains("W0947"), "{told}");
    }
}

#[test]
fn a_directory_of_leases_that_cannot_be_there_is_named_at_its_line() {
    let scratch = lab::ScratchDirectory::new().unwrap();
    let file = scratch.write("file", "").unwrap();
    let (file, directory) = (file.display(), scratch.path().display());
    let at = |path: &str, is_here: bool| {
        let line = format!("leases {path}");
        if is_here {
            told_here(&[&line])
        } else {
            told(&[&line])
        }
    };
    for (path, words) in [
        (file.to_string(), format!("'{file}' is not a directory")),
        (
            format!("{file}/lan"),
            format!("'{file}' is not a directory"),
        ),
        (
            format!("{directory}/none/lan"),
            format!("there is no directory '{directory}/none'"),
        ),
    ] {
        let told = at(&path, true);
        let words = format!("warning[W0948]: {words}");
        assert!(
            told.contains("site.cfg:4:") && told.contains(&words),
            "{told}"
        );
        // Not reported: the configuration is for another machine.
        assert!(!at(&path, false).contains("W0948"));
    }
    for path in [directory.to_string(), format!("{directory}/new")] {
        let told = at(&path, true);
        assert!(!told.contains("W0948"), "{told}");
    }
    // The default directory is created with all of its parents.
    assert!(!told_here(&["unknown menu"]).contains("W0948"));
}

#[test]
fn two_sections_at_one_interface_are_refused_at_the_second_line() {
    let told = told(&["unknown menu", "", "boot other", "interface eth0"]);
    let words = "site.cfg:7:";
    assert!(
        told.contains(words) && told.contains("[E0965]: two boot sections answer"),
        "{told}"
    );
    let told = self::told(&["unknown menu", "", "boot other", "interface eth1"]);
    assert!(!told.contains("E0965"), "{told}");
}

#[test]
fn renamed_disk_with_kept_overlays_is_a_warning_until_it_has_its_own() {
    let scratch = lab::ScratchDirectory::new().unwrap();
    let directory = scratch.path().display().to_string();
    let line = format!("disk system file /x nbd overlay {directory} keep");
    let lines = [line.as_str(), "image root kernel /dev/null nbd system"];
    let warns = |lines: &[&str]| told_here(lines).contains("W1095");
    assert!(!warns(&lines));
    for other in ["notes.kept", "office.system.52-54-00-00-00-01.overlay"] {
        scratch.write(other, "").unwrap();
    }
    assert!(!warns(&lines));
    scratch
        .write("office.system.52-54-00-00-00-01.kept", "")
        .unwrap();
    let said = told_here(&lines);
    let words = "disk 'system' begins without the changes of 1 machines to 'office.system'";
    assert!(said.contains(words), "{said}");
    assert!(
        !told(&lines).contains("W1095"),
        "the files are for another machine"
    );
    let unkept = line.replace(" keep", "");
    assert!(!warns(&[&unkept, lines[1]]));
    scratch
        .write("lan.system.52-54-00-00-00-02.kept", "")
        .unwrap();
    assert!(!warns(&lines));
}
