//! Tests two nodes of a cluster that boot one machine, whichever node is available.

use crate::boot::site::{MAC, image};
use crate::cluster::site::{SOON, Site, configuration};
use lab::Image;
use lab::eventually;
use lab::{Diskless, Firmware};

/// Configuration lines in addition to those of the site.
const LINES: &str = "
boot lan
\tinterface eth0
\trange 10.60.0.120 10.60.0.129
\ton alpha leases {alpha}
\ton beta leases {beta}
\timage rescue {boots} of=rescue
\timage worker {boots} of=worker
\tmachine node7 mac 52:54:00:00:00:07 address 10.60.0.107 image rescue
\tmachine node8 mac 52:54:00:00:00:08 image rescue once
";

/// Returns the words of an `image` line that boots a kernel, with `more` before the kernel's
/// command line.
pub fn boots(image: &Image, more: &str) -> String {
    format!(
        "kernel {} initrd {} {more} append console=ttyS0 quiet panic=-1",
        image.kernel().display(),
        image.initrd().display()
    )
}

/// A cluster that boots a machine.
pub struct Pair {
    pub machine: Diskless,
    pub site: Site,
    _image: Option<Image>,
}

impl Pair {
    fn new(name: &str) -> Option<Pair> {
        let image = image()?;
        let lines = LINES.replace("{boots}", &boots(&image, ""));
        let pair = Pair::with(name, &lines);
        pair.shares();
        Some(Pair {
            _image: Some(image),
            ..pair
        })
    }

    /// Creates a cluster whose configuration has these lines, too: `{alpha}` and `{beta}` in them
    /// are directories of the nodes.
    pub fn with(name: &str, lines: &str) -> Pair {
        let site = Site::new(name);
        let machine = Diskless::new(&site.lab, &site.lan, "diskless").unwrap();
        let pair = Pair {
            machine,
            site,
            _image: None,
        };
        pair.apply(lines);
        for node in ["alpha", "beta"] {
            pair.shows(node, &["answers"]);
        }
        pair
    }

    /// Applies the configuration with these lines.
    #[track_caller]
    pub fn apply(&self, lines: &str) {
        let mut lines = lines.to_owned();
        for node in ["alpha", "beta"] {
            let leases = self.site.machine(node).scratch().join("boot");
            lines = lines.replace(&format!("{{{node}}}"), &leases.display().to_string());
        }
        let text = configuration("boot") + &lines;
        self.site.alpha.apply(&text, &["--now"]).well();
    }

    /// Waits until each node has a part whose leases the other one knows, too.
    #[track_caller]
    fn shares(&self) {
        for (node, other) in [("alpha", "beta"), ("beta", "alpha")] {
            let known = format!("parts held 1 of 2, leases known to {other}");
            self.shows(node, &["answers", &known]);
        }
    }

    /// Waits until `evenkeel boot show` of a node has these words.
    #[track_caller]
    pub fn shows(&self, node: &str, words: &[&str]) {
        let shown = || self.site.machine(node).command(&["boot", "show"]).text();
        let all = || words.iter().all(|word| shown().contains(word));
        assert!(
            eventually(SOON, all),
            "{node} does not show {words:?}: {}\n{}",
            shown(),
            self.site
                .machine(node)
                .command(&["cluster", "status"])
                .text()
        );
    }
}

#[test]
fn node_leases_the_range_of_an_absent_node() {
    let Some(mut pair) = Pair::new("boot-parts") else {
        return;
    };
    pair.site.alpha.kill();
    pair.shows("beta", &["answers", "parts held 2 of 2"]);
    // Beta lists node8, which boots its image only once, with its disk.
    let list = pair.site.beta.command(&["boot", "list"]).text();
    let once = list
        .lines()
        .find(|line| line.contains("node8"))
        .unwrap_or_default();
    assert!(once.contains("its disk"), "{list}");
    pair.site.alpha.start();
    pair.shares();
}

#[test]
#[ignore = "boots three times"]
fn machine_boots_without_either_node() {
    let Some(mut pair) = Pair::new("boot-either") else {
        return;
    };
    pair.machine
        .boot(MAC, Firmware::Bios)
        .unwrap()
        .boots("of=rescue");
    pair.site.alpha.kill();
    pair.machine
        .boot(MAC, Firmware::Bios)
        .unwrap()
        .boots("of=rescue");
    pair.site.alpha.start();
    pair.shows("alpha", &["answers"]);
    pair.site.beta.kill();
    pair.machine
        .boot(MAC, Firmware::Bios)
        .unwrap()
        .boots("of=rescue");
}

#[test]
#[ignore = "boots twice"]
fn order_applies_at_both_nodes() {
    let Some(pair) = Pair::new("boot-order") else {
        return;
    };
    let order = ["boot", "once", "node7", "worker"];
    let at_beta = pair.site.beta.command(&order);
    at_beta.refused(&["node alpha decides"]);
    pair.site.alpha.command(&order).well();
    pair.machine
        .boot(MAC, Firmware::Bios)
        .unwrap()
        .boots("of=worker");
    pair.machine
        .boot(MAC, Firmware::Bios)
        .unwrap()
        .boots("of=rescue");
}
