//! What `volume` sections come to, and what is said of wrong ones.

use super::*;
use configuration::{LoadOptions, Recording, Words};
use language::render;
use language::source::Text;
use language::{Environment, Facts};

fn load(text: &str, options: LoadOptions) -> (Volumes, String) {
    let files = vec![("site.cfg".to_owned(), Text::new(text.into()))];
    let (environment, facts) = (Environment::empty(), Facts::new("2.6.12"));
    let words = Words::of([&PART.sections]);
    let inputs = Recording::new(files, environment, facts, options, words);
    let mut loaded =
        configuration::load(&[&PART], inputs, configuration::outside::Outside::default());
    let told = render::concise(&loaded.sources, &loaded.diagnostics, true);
    (loaded.take(&PART), told)
}

/// On the machine `alpha` of these nodes.
fn on_alpha(text: &str, nodes: &[&str]) -> (Volumes, String) {
    let options = LoadOptions {
        node: Some("alpha".to_owned()),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        ..LoadOptions::default()
    };
    load(text, options)
}

fn told(text: &str) -> String {
    load(text, LoadOptions::default()).1
}

const GOOD: &str = "volume mail\n    size 40g\n    backing file /srv/volumes/\n";

#[test]
fn every_example_is_good_and_every_row_has_one() {
    for row in (PART.documented)() {
        let others = ["size 1g", "backing file /srv"];
        let word = row.name.split(' ').next().unwrap_or_default();
        let others = others.iter().filter(|line| !line.starts_with(word));
        let others: String = others.map(|line| format!("    {line}\n")).collect();
        let text = match row.kind {
            "section" => format!("{}\n", row.example),
            _ => format!("volume x\n    {}\n{others}", row.example),
        };
        assert_eq!(told(&text), "", "{}", row.name);
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
        size_bytes: 40 << 30,
        backing: Backing::File("/srv/volumes".into()),
    };
    assert_eq!(
        volumes.0.into_iter().collect::<Vec<_>>(),
        [("mail".to_owned(), spec)]
    );
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
            "site.cfg:2:8: error[E0802]: 'size': '5000' is not a multiple of 4 KiB\n",
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
            "volume x\n  size 1g\n  backing lvm vg0\n",
            "site.cfg:3:11: error[E0800]: unknown keyword 'backing lvm' in 'volume' section\nsite.cfg:1:8: error[E0805]: volume 'x' has no 'backing' line\n",
        ),
        (
            "volume x\n  size 1g\n  backing file /srv\n  snapshot every 1h\n",
            "site.cfg:4:3: error[E0800]: unknown keyword 'snapshot' in 'volume' section\n",
        ),
    ] {
        // What to write instead follows in parentheses.
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
    let (_, told) = on_alpha(&format!("{GOOD}    on alpha beta\n"), &nodes);
    assert!(
        told.contains("error[E0806]: volume 'mail' is on several nodes"),
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
