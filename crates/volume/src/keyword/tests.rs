//! Tests `volume` sections and their diagnostics.

use super::*;
use crate::config::WithoutMajority;
use configuration::{LoadOptions, Recording, SectionKeywords};
use language::render;
use language::source::Text;
use language::{Environment, Facts};

pub(super) fn load(text: &str, options: LoadOptions) -> (Volumes, String) {
    let files = vec![("site.cfg".to_owned(), Text::new(text.into()))];
    let (environment, facts) = (Environment::empty(), Facts::new("2.6.12"));
    let words = SectionKeywords::from_parts([&PART.sections]);
    let inputs = Recording::new(files, environment, facts, options, words);
    let mut loaded =
        configuration::load(&[&PART], inputs, configuration::outside::Outside::default());
    let told = render::concise(&loaded.sources, &loaded.diagnostics, true);
    (loaded.take_part(&PART), told)
}

/// Loads the configuration on the machine `alpha` of these nodes.
pub(super) fn on_alpha(text: &str, nodes: &[&str]) -> (Volumes, String) {
    let options = LoadOptions {
        node: Some("alpha".to_owned()),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        ..LoadOptions::default()
    };
    load(text, options)
}

pub(super) fn told(text: &str) -> String {
    load(text, LoadOptions::default()).1
}

const LINK: &str = "volume-defaults\n    link 10.99.0.0/30 plain\n";
const GOOD: &str = "volume mail\n    size 40g\n    backing file /srv/volumes/\n";

#[test]
fn every_example_is_good_and_every_row_has_one() {
    for row in (PART.documented)() {
        // External storage supports none of the replica settings.
        let others = ["size 1g", "backing file /srv"];
        let word = row.name.split(' ').next().unwrap_or_default();
        let others = others.iter().filter(|line| !line.starts_with(word));
        let others: String = others.map(|line| format!("    {line}\n")).collect();
        let text = match row.kind {
            "section" => format!("{}\n", row.example),
            _ if row.places.contains(&"volume-defaults") => {
                format!("volume-defaults\n    {}\n", row.example)
            }
            _ if word == "on" => format!("{LINK}volume x\n    {}\n{others}", row.example),
            _ => format!("volume x\n    {}\n{others}", row.example),
        };
        // Outside of a cluster, two replicas cause a warning.
        let options = LoadOptions {
            version: "version 1".to_owned(),
            ..LoadOptions::default()
        };
        assert_eq!(load(&text, options).1, "", "{}", row.name);
        assert!(
            !row.doc.is_empty() && !row.family.is_empty(),
            "{}",
            row.name
        );
    }
}

#[test]
fn a_section_is_a_volume_of_this_machine() {
    let (volumes, told) = load(GOOD, LoadOptions::default());
    assert_eq!(told, "");
    let spec = Spec {
        pair: None,
        node: None,
        size_bytes: 40 << 30,
        backing: Backing::File("/srv/volumes".into()),
        snapshots: None,
        without_majority: WithoutMajority::Freeze,
        verify: None,
        read_only: false,
        bind: None,
    };
    assert_eq!(
        volumes.0.into_iter().collect::<Vec<_>>(),
        [("mail".to_owned(), spec)]
    );
}

#[test]
fn other_parts_may_name_a_volume_and_know_its_nodes() {
    let export = |text: &str| {
        let mut exchange = Vec::new();
        let files = vec![("site.cfg".to_owned(), Text::new(text.into()))];
        let (environment, facts) = (Environment::empty(), Facts::new("2.6.12"));
        let words = SectionKeywords::from_parts([&PART.sections]);
        let inputs = Recording::new(files, environment, facts, LoadOptions::default(), words);
        let loaded =
            configuration::load(&[&PART], inputs, configuration::outside::Outside::default());
        let volumes = loaded.recording.imports.iter();
        for export in volumes.filter(|export| &*export.kind == "volume") {
            let located: Located = export.value().unwrap();
            exchange.push((export.kind.clone(), export.name.clone(), located.nodes));
        }
        exchange
    };
    let named = |nodes: &[&str]| {
        let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
        [("volume".to_owned(), "mail".to_owned(), nodes)]
    };
    assert_eq!(export(GOOD), named(&[]));
    let pair = format!("{GOOD}    on alpha beta\n");
    assert_eq!(export(&pair), named(&["alpha", "beta"]));
}

#[test]
fn a_path_is_as_long_as_the_system_takes_it_with_the_names_of_files() {
    let of =
        |kind: &str, path: &str| told(&format!("volume x\n  size 1g\n  backing {kind} {path}\n"));
    let long = |bytes: usize| {
        let path = "/srv".repeat(bytes / 4) + &"v".repeat(bytes % 4);
        assert_eq!(path.len(), bytes);
        path
    };
    for (kind, most) in [("device", 4095), ("file", 4095 - 67)] {
        assert_eq!(of(kind, &long(most)), "");
        for bytes in [most + 1, 5000] {
            let words = of(kind, &long(bytes));
            assert!(words.contains("is longer than a path may be"), "{words}");
        }
        let part = format!("/srv/{}", "v".repeat(255));
        assert_eq!(of(kind, &part), "");
        let words = of(kind, &format!("{part}v"));
        let expected = "is not a path: a part of it is longer than 255 bytes";
        assert!(words.contains(expected), "{words}");
    }
}

#[test]
fn a_wrong_character_of_a_name_is_shown_whole() {
    let expected =
        "site.cfg:1:8: error[E0803]: character 'ü' is not permitted in 'volume' name 'tür'\n";
    let words = told("volume tür\n");
    assert!(words.starts_with(expected), "{words}");
}

#[test]
fn wrong_lines_are_refused_with_words() {
    for (text, expected) in [
        (
            "volume\n",
            "site.cfg:1:7: error[E0801]: 'volume' expects the volume's name\n",
        ),
        (
            "volume .x\n",
            "site.cfg:1:8: error[E0803]: '.x' cannot be the name of a volume\n",
        ),
        (
            "volume a/b\n",
            "site.cfg:1:8: error[E0803]: character '/' is not permitted in 'volume' name 'a/b'\n",
        ),
        (
            "volume x\n",
            "site.cfg:1:8: error[E0805]: volume 'x' has no 'size' line\n\
             site.cfg:1:8: error[E0805]: volume 'x' has no 'backing' line\n",
        ),
        (
            "volume x\n  size 40q\n  backing file /srv\n",
            "site.cfg:2:8: error[E0802]: 'size': '40q' is not a size: write a number and `k`, `m`, `g` or `t`\n",
        ),
        (
            "volume x\n  size 5000\n  backing file /srv\n",
            "site.cfg:2:8: error[E0802]: 'size': '5000' has no unit, so it is 5000 bytes (add `k`\n",
        ),
        (
            "volume x\n  size 17t\n  backing file /srv\n",
            "site.cfg:2:8: error[E0802]: 'size': '17t' is not between 4k and 16t\n",
        ),
        (
            "volume x\n  size 1g\n  size 2g\n  backing file /srv\n",
            "site.cfg:3:3: error[E0804]: 'size' may appear only once in a section\n",
        ),
        (
            "volume x\n  size 1g\n  backing file srv\n",
            "site.cfg:3:16: error[E0802]: 'backing file': 'srv' is not an absolute path without `.` and `..`\n",
        ),
        (
            "volume x\n  size 1g\n  backing zfs vg0\n",
            "site.cfg:3:11: error[E0800]: unknown keyword 'backing zfs' in 'volume' section\nsite.cfg:1:8: error[E0805]: volume 'x' has no 'backing' line\n",
        ),
        (
            "volume x\n  size 1g\n  backing lvm vg0/\n",
            "site.cfg:3:15: error[E0802]: 'backing lvm': 'vg0/' is not a volume group: write `GROUP` or `GROUP/POOL`\n",
        ),
        (
            "volume x\n  size 1g\n  backing lvm vg0\n  snapshot every 1h keep 3\n",
            "site.cfg:4:3: error[E0820]: 'snapshot every' needs `backing file` on XFS or btrfs (remove this line; in a thin pool\n",
        ),
        (
            "volume x\n  size 1g\n  backing file /srv\n  snapshot every 5s keep 3\n",
            "site.cfg:4:18: error[E0802]: 'snapshot every': not between one minute and 366 days\n",
        ),
        (
            "volume x\n  size 1g\n  backing file /srv\n  snapshot every 1h\n",
            "site.cfg:4:20: error[E0801]: 'snapshot every' expects `keep`\n",
        ),
    ] {
        // The suggested fix follows the message in parentheses.
        let told = told(text);
        let same = told.lines().zip(expected.lines());
        let same = same.filter(|(told, expected)| told.starts_with(expected));
        let counts = [told.lines().count(), expected.lines().count()];
        assert_eq!([same.count(); 2], counts, "{text}: {told}");
    }
    let twice = format!("{GOOD}{GOOD}");
    assert!(told(&twice).contains("E0803"), "{}", told(&twice));
}

#[test]
fn outside_of_a_cluster_two_copies_are_warned_of() {
    let text = format!("{LINK}{GOOD}    on alpha beta\n");
    let expected = "warning[W0812]: volume 'mail' has two copies, so only a cluster serves it";
    let told = told(&text);
    assert!(
        told.lines().count() == 1 && told.contains(expected),
        "{told}"
    );
    assert_eq!(on_alpha(&text, &["alpha", "beta"]).1, "");
}

#[test]
fn two_volumes_of_a_node_have_two_devices() {
    let volume = |name: &str, node: &str| {
        format!("volume {name}\n  size 1g\n  on {node}\n  backing device /dev/sdb\n")
    };
    let nodes = ["alpha", "beta"];
    let one = volume("a", "alpha");
    let (_, told) = on_alpha(&(one.clone() + &volume("b", "alpha")), &nodes);
    assert!(
        told.contains("error[E0809]: /dev/sdb belongs to volume 'a'"),
        "{told}"
    );
    let (volumes, told) = on_alpha(&(one + &volume("b", "beta")), &nodes);
    assert_eq!(told, "");
    assert_eq!(
        volumes.0.keys().collect::<Vec<_>>(),
        ["a"],
        "the other one is beta's"
    );
}

#[test]
fn where_there_are_nodes_a_volume_is_on_one_of_them() {
    let nodes = ["alpha", "beta"];
    let (_, told) = on_alpha(GOOD, &nodes);
    assert!(
        told.contains("error[E0808]: volume 'mail' does not say on which node"),
        "{told}"
    );
    let (volumes, told) = on_alpha(&format!("{GOOD}    on betta\n"), &nodes);
    assert!(
        told.contains("error[E0807]: no node is called 'betta' (did you mean 'beta'?)"),
        "{told}"
    );
    assert!(volumes.0.is_empty());
    let (volumes, told) = on_alpha(&format!("{GOOD}    on alpha.example.com\n"), &nodes);
    assert_eq!((volumes.0.len(), &*told), (1, ""));
    let (volumes, told) = on_alpha(&format!("{GOOD}    on beta\n"), &[]);
    assert_eq!(
        (volumes.0.len(), &*told),
        (0, ""),
        "nothing says which nodes there are"
    );
}

#[test]
fn a_volume_on_two_nodes_has_a_copy_on_each_and_a_link() {
    let three = ["alpha", "beta", "gamma"];
    let on = |words: &str| format!("{GOOD}    on {words}\n");
    for (text, expected) in [
        (
            LINK.to_owned() + &on("alpha beta gamma"),
            "error[E0806]: volume 'mail' is on more than two nodes",
        ),
        (
            LINK.to_owned() + &on("alpha alpha.example.com"),
            "error[E0806]: volume 'mail' has both copies on one node",
        ),
        (
            LINK.to_owned() + &on("alpha delta"),
            "error[E0807]: no node is called 'delta'",
        ),
        (
            "volume-defaults\n  link nodes plain\n".to_owned() + &on("alpha beta"),
            "error[E0811]: 'link nodes plain' would send data over the network in the clear",
        ),
        (
            "volume-defaults\n  link 10.99.0.0/24 plain\n".to_owned(),
            "'10.99.0.0/24' is not a network of two addresses",
        ),
        (
            "volume-defaults\n  link 10.99.0.1 10.99.0.1 plain\n".to_owned(),
            "'10.99.0.1' is not another address of the same family",
        ),
        (
            "volume-defaults\n  link 10.99.0.1 10.99.0.2 port 0 plain\n".to_owned(),
            "'0' is not a port",
        ),
        (
            format!("{LINK}  link 10.99.0.0/30 plain\n"),
            "error[E0804]: 'link' may appear only once",
        ),
        (
            format!("{LINK}{LINK}"),
            "error[E0804]: duplicate 'volume-defaults' section",
        ),
        (
            "volume-defaults\n  resync-rate 1k\n".to_owned(),
            "'1k' is not between 1m and 100g",
        ),
    ] {
        let (_, told) = on_alpha(&text, &three);
        let one = told.lines().count() == 1 && told.contains(expected);
        assert!(one, "{text}: {told}");
    }
    // Sections in either order, on either node.
    let rate = "    resync-rate 1m\n";
    for text in [
        format!("{LINK}{rate}{}", on("beta alpha")),
        format!("{}{LINK}{rate}", on("beta alpha")),
    ] {
        let (volumes, told) = on_alpha(&text, &three);
        assert_eq!(told, "");
        let pair = volumes.0["mail"].pair.clone().unwrap();
        assert_eq!((&*pair.me, &*pair.other), ("alpha", "beta"));
        assert_eq!(
            pair.cable.to_string(),
            "10.99.0.1 - 10.99.0.2 port 7444, plain"
        );
        assert_eq!(pair.resync_rate, 1 << 20);
    }
    let (volumes, told) = on_alpha(&(LINK.to_owned() + &on("beta gamma")), &three);
    assert_eq!((volumes.0.len(), &*told), (0, ""), "it is not on this node");
}

#[test]
fn a_volume_says_what_happens_without_a_majority_or_the_defaults_do() {
    use WithoutMajority::{Error, Freeze};
    for (defaults, own, expected) in [
        ("", "", Freeze),
        ("", "error", Error),
        ("error", "", Error),
        ("error", "freeze", Freeze),
    ] {
        let line = |word: &str| match word {
            "" => String::new(),
            word => format!("    without-majority {word}\n"),
        };
        let (defaults, own) = (line(defaults), line(own));
        let text = format!("volume-defaults\n{defaults}{GOOD}    on alpha beta\n{own}");
        let (volumes, told) = on_alpha(&text, &["alpha", "beta"]);
        assert_eq!((volumes.0["mail"].without_majority, &*told), (expected, ""));
    }
    let line = "    without-majority error\n";
    for (text, expected) in [
        (
            "volume-defaults\n  without-majority wait\n".to_owned(),
            "error[E0802]: 'without-majority': 'wait' is not `freeze` or `error`",
        ),
        (
            format!("{GOOD}{line}{line}"),
            "error[E0804]: 'without-majority' may",
        ),
        (
            format!("volume-defaults\n{line}{line}"),
            "error[E0804]: 'without-majority' may",
        ),
    ] {
        let told = self::told(&text);
        let one = told.lines().count() == 1 && told.contains(expected);
        assert!(one, "{text}: {told}");
    }
}

#[test]
fn a_link_leads_over_the_nodes_unless_told_otherwise() {
    let three = ["alpha", "beta", "gamma"];
    for (link, expected) in [
        ("", "by the addresses of the nodes, port 7444"),
        (
            "  link nodes port 7500\n",
            "by the addresses of the nodes, port 7500",
        ),
        ("  link fd00::/127\n", "fd00:: - fd00::1 port 7444"),
    ] {
        let text = format!("volume-defaults\n{link}{GOOD}    on alpha beta\n");
        let (volumes, told) = on_alpha(&text, &three);
        let cable = volumes.0["mail"].pair.as_ref().unwrap().cable.to_string();
        assert_eq!((&*cable, &*told), (expected, ""));
    }
}

#[test]
fn checksums_are_for_volumes_with_one_copy_and_with_two() {
    let rate = 200 << 20;
    for (defaults, own, expected) in [
        ("", "", None),
        ("", "    verify yes\n", Some(rate)),
        ("    verify yes\n", "", Some(rate)),
        ("    verify yes\n", "    verify no\n", None),
        ("    resync-rate 1m\n", "    verify yes\n", Some(1 << 20)),
    ] {
        let text = format!("volume-defaults\n{defaults}{GOOD}{own}");
        let (volumes, told) = load(&text, LoadOptions::default());
        assert_eq!((volumes.0["mail"].verify, &*told), (expected, ""), "{text}");
    }
    let nodes = ["alpha", "beta"];
    let pair = format!("{GOOD}    on alpha beta\n");
    for (defaults, own, expected) in [
        ("", "    verify yes\n", Some(rate)),
        ("    verify yes\n", "", Some(rate)),
        ("    verify yes\n", "    verify no\n", None),
    ] {
        let text = format!("volume-defaults\n{defaults}{pair}{own}");
        let (volumes, told) = on_alpha(&text, &nodes);
        assert_eq!((volumes.0["mail"].verify, &*told), (expected, ""), "{text}");
    }
    let told = self::told(&format!("{GOOD}    verify maybe\n"));
    assert!(
        told.contains("error[E0802]: 'verify': 'maybe' is not `yes` or `no`"),
        "{told}"
    );
}

/// Creates a directory with a certificate and its key, the CA of clients, and invalid files.
fn certificates() -> lab::ScratchDirectory {
    let scratch = lab::ScratchDirectory::new().unwrap();
    let authority = lab::pki::Authority::new("clients").unwrap();
    let site = authority.issue(&lab::pki::Leaf::default()).unwrap();
    let other = authority.issue(&lab::pki::Leaf::default()).unwrap();
    let bundle = site.bundle();
    let only_key = &bundle[bundle.find("-----BEGIN PRIVATE").unwrap()..];
    let other_bundle = other.bundle();
    let cut = other_bundle.find("-----BEGIN PRIVATE").unwrap();
    for (name, text) in [
        ("site.pem", bundle.as_str()),
        ("ca.pem", authority.certificate_pem()),
        ("empty.pem", ""),
        ("key.pem", only_key),
        ("other.pem", &(other_bundle[..cut].to_owned() + only_key)),
        (
            "damaged.pem",
            "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
        ),
    ] {
        scratch.write(name, text).unwrap();
    }
    scratch
}

#[test]
fn a_volume_has_an_address_with_tls_or_one_of_this_machine() {
    let scratch = certificates();
    let file = |name: &str| scratch.path().join(name).display().to_string();
    let ssl = format!(
        " ssl crt {} ca-file {} verify required",
        file("site.pem"),
        file("ca.pem")
    );
    for (line, expected) in [
        ("127.0.0.1:10809".to_owned(), "127.0.0.1:10809"),
        ("[::1]:10809".to_owned(), "[::1]:10809"),
        (format!("192.0.2.1:10809{ssl}"), "192.0.2.1:10809 with TLS"),
        (format!(":10809{ssl}"), "0.0.0.0:10809 with TLS"),
        (format!("*:10809{ssl}"), "0.0.0.0:10809 with TLS"),
        (format!("[::]:10809{ssl}"), "[::]:10809 with TLS"),
    ] {
        let (volumes, told) = load(&format!("{GOOD}    bind {line}\n"), LoadOptions::default());
        assert_eq!(told, "", "{line}");
        let bind = volumes.0["mail"].bind.clone().unwrap();
        assert_eq!(bind.to_string(), expected);
        let bytes = codec::encode(&volumes);
        assert_eq!(codec::decode::<Volumes>(&bytes).unwrap(), volumes);
        assert!(!format!("{volumes:?}").contains("BEGIN"), "no key is shown");
    }
}

/// Checks that the `bind` line is refused with only this error.
fn refused(line: &str, expected: &str) {
    let told = told(&format!("{GOOD}    bind {line}\n"));
    let one = told.lines().count() == 1 && told.contains(expected);
    assert!(one, "{line}: {told}");
}

#[test]
fn an_address_that_would_let_everybody_in_is_refused() {
    let scratch = certificates();
    let file = |name: &str| scratch.path().join(name).display().to_string();
    let (site, ca) = (file("site.pem"), file("ca.pem"));
    for (line, expected) in [
        (
            "192.0.2.1:1".to_owned(),
            "error[E0813]: 'bind 192.0.2.1:1' without 'ssl'",
        ),
        (
            ":1".to_owned(),
            "error[E0813]: 'bind 0.0.0.0:1' without 'ssl'",
        ),
        (
            format!("127.0.0.1:1 crt {site}"),
            "error[E0813]: 'bind' has certificates but no 'ssl'",
        ),
        (
            "192.0.2.1:1 ssl".to_owned(),
            "error[E0813]: 'bind' with 'ssl' needs 'crt'",
        ),
        (
            format!("192.0.2.1:1 ssl crt {site} verify required"),
            "error[E0813]: 'bind' with 'ssl' needs 'ca-file'",
        ),
        (
            format!("192.0.2.1:1 ssl crt {site} ca-file {ca}"),
            "error[E0813]: 'bind' with 'ssl' needs 'verify required'",
        ),
        (
            format!("192.0.2.1:1 ssl crt {site} ca-file {ca} verify none"),
            "error[E0813]: a client of a volume has to have a certificate",
        ),
        (
            "127.0.0.1".to_owned(),
            "error[E0802]: 'bind': '127.0.0.1' is no address: ",
        ),
        (
            "127.0.0.1:1-2".to_owned(),
            "error[E0802]: 'bind': '127.0.0.1:1-2' is not an IP address and one port",
        ),
        (
            "localhost:1".to_owned(),
            "error[E0802]: 'bind': 'localhost:1' is not an IP address and one port",
        ),
        (
            "/run/x".to_owned(),
            "error[E0802]: 'bind': '/run/x' is not an IP address and one port",
        ),
        (
            "127.0.0.1:1 tls".to_owned(),
            "error[E0802]: 'bind': 'tls' is not `ssl`, `crt`, `ca-file` or `verify`",
        ),
        (
            "127.0.0.1:1 ssl crt x.pem".to_owned(),
            "error[E0802]: 'bind': 'x.pem' is not an absolute path",
        ),
    ] {
        refused(&line, expected);
    }
    let line = "    bind 127.0.0.1:1\n";
    let twice = told(&format!("{GOOD}{line}{line}"));
    assert!(twice.contains("error[E0804]"), "{twice}");
}

#[test]
fn certificates_that_cannot_be_used_are_refused() {
    let scratch = certificates();
    for (own, ca, word) in [
        ("none.pem", "ca.pem", "crt"),
        ("empty.pem", "ca.pem", "crt"),
        ("key.pem", "ca.pem", "crt"),
        ("ca.pem", "ca.pem", "crt"),
        ("other.pem", "ca.pem", "crt"),
        ("damaged.pem", "ca.pem", "crt"),
        ("site.pem", "empty.pem", "ca-file"),
        ("site.pem", "damaged.pem", "ca-file"),
        ("site.pem", "key.pem", "ca-file"),
    ] {
        let [own, ca] = [own, ca].map(|name| scratch.path().join(name).display().to_string());
        refused(
            &format!("192.0.2.1:1 ssl crt {own} ca-file {ca} verify required"),
            &format!("error[E0814]: '{word}': cannot use '"),
        );
    }
}

#[test]
fn two_volumes_of_a_node_have_two_addresses() {
    let volume = |name: &str, node: &str, address: &str| {
        format!("volume {name}\n  size 1g\n  on {node}\n  backing file /srv\n  bind {address}\n")
    };
    let nodes = ["alpha", "beta"];
    for (node, address, is_refused) in [
        ("alpha", "127.0.0.1:1", true),
        ("beta", "127.0.0.1:1", false),
        ("alpha", "127.0.0.1:2", false),
        ("alpha", "127.0.0.2:1", false),
    ] {
        let text = volume("a", "alpha", "127.0.0.1:1") + &volume("b", node, address);
        let (_, told) = on_alpha(&text, &nodes);
        let expected = "error[E0815]: 127.0.0.1:1 is the address of volume 'a' already";
        assert_eq!(told.contains(expected), is_refused, "{told}");
        assert_eq!(told.is_empty(), !is_refused, "{told}");
    }
}
