//! Tests the disks of a guest with two nodes. The guest writes the same numbers to two disks in
//! turn, so in snapshots of one moment both have the same number, or the first disk has the next
//! one.

use crate::cluster::site::SOON;
use crate::guest::site::{MODULES, PATIENCE, PROGRAMS};
use crate::volume::site::{NODES, VolumeSite};
use lab::Image;
use lab::eventually;
use std::fs::File;
use std::io::Read;
use std::path::Path;

struct Disks {
    volumes: VolumeSite,
    image: Image,
}

impl Disks {
    fn configuration(&self) -> String {
        format!(
            "{}\nvolume data\n\tsize 32m\n\ton alpha beta\n\tbacking file {}\n\
             guest mail\n\tprefer alpha\n\tmemory 96m\n\tdisk mail\n\tdisk data\n\tconsole serial\n\
             \tstop-timeout 120s\n\tboot kernel {} initrd {} append \"console=ttyS0 quiet panic=-1\"\n",
            self.volumes.configuration(""),
            self.volumes.backing(),
            self.image.kernel().display(),
            self.image.initrd().display(),
        )
    }

    fn said(&self) -> String {
        let path = self
            .volumes
            .site
            .alpha
            .runtime()
            .join("guest-mail/serial.log");
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }

    fn last(&self, words: &str) -> Option<u64> {
        let said = self.said();
        let mut numbers = said
            .lines()
            .filter_map(|line| line.split(words).nth(1)?.trim().parse().ok());
        numbers.next_back()
    }

    #[track_caller]
    fn writes_on(&self) {
        let before = self.last("guest: wrote ").unwrap_or(0);
        let more = || {
            self.last("guest: wrote ")
                .is_some_and(|number| number > before + 2)
        };
        assert!(eventually(PATIENCE, more), "{}{}", self.said(), self.tell());
    }

    fn tell(&self) -> String {
        let alpha = &self.volumes.site.alpha;
        let shown = ["guest", "volume"].map(|part| alpha.command(&[part, "list"]).text());
        shown.concat()
    }

    /// Returns the number at the beginning of a file of alpha.
    fn number(&self, file: &str) -> u64 {
        let directory = self.volumes.file("alpha");
        let path = directory.parent().unwrap_or(Path::new("/")).join(file);
        let mut bytes = [0; 64];
        File::open(&path).unwrap().read_exact(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let line = text.lines().next().unwrap_or_default();
        line.parse()
            .unwrap_or_else(|_| panic!("{}: {text:?}", path.display()))
    }
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn snapshots_of_two_disks_are_of_one_moment_and_clones_and_restores_reach_both_copies() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("mkfs.xfs");
    let Some(image) = Image::with(include_bytes!("guest-counter.sh"), &PROGRAMS, &MODULES) else {
        panic!("the kernel for guests is not installed");
    };
    let disks = Disks {
        volumes: VolumeSite::on_xfs("guest-disks"),
        image,
    };
    let (alpha, beta) = (&disks.volumes.site.alpha, &disks.volumes.site.beta);
    alpha.apply(&disks.configuration(), &["--now"]).well();
    for node in [alpha, beta] {
        for volume in ["mail", "data"] {
            let made = || node.command(&["volume", "create", volume]).good;
            assert!(eventually(SOON, made), "{volume}: {}", disks.tell());
        }
    }
    disks.writes_on();
    let first = takes(&disks);
    restores(&disks, &first);
    clones_and_removes(&disks);
}

fn takes(disks: &Disks) -> String {
    let (alpha, beta) = (&disks.volumes.site.alpha, &disks.volumes.site.beta);
    beta.command(&["guest", "snapshot", "mail"])
        .refused(&["it is on alpha: run the command there"]);
    let mut first = None;
    for round in 0..8 {
        disks.writes_on();
        let taken = alpha.command(&["guest", "snapshot", "mail"]);
        assert!(taken.good, "{}{}", taken.err, disks.tell());
        let stamp = taken.out.trim_end().to_owned();
        let [mail, data] =
            ["mail", "data"].map(|name| disks.number(&format!("{name}@{stamp}-guest.snapshot")));
        println!("round {round}: {mail} and {data}; {}", taken.err.trim_end());
        assert!(mail == data || mail == data + 1, "{mail} and {data}");
        first.get_or_insert(stamp);
    }
    disks.writes_on();
    first.unwrap()
}

fn restores(disks: &Disks, stamp: &str) {
    let alpha = &disks.volumes.site.alpha;
    let then = disks.number(&format!("mail@{stamp}-guest.snapshot"));
    alpha
        .command(&["guest", "restore", "mail", stamp, "--yes"])
        .refused(&["guest mail is running"]);
    alpha.command(&["guest", "stop", "mail"]).well();
    let wrote = disks.last("guest: wrote ").unwrap();
    assert!(wrote > then);
    alpha
        .command(&["guest", "restore", "mail", stamp, "--yes"])
        .well();
    for node in NODES {
        let file = disks.volumes.file(node);
        let mut bytes = [0; 16];
        File::open(&file).unwrap().read_exact(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(text.lines().next(), Some(&*then.to_string()), "{node}");
    }
    alpha.command(&["guest", "start", "mail"]).well();
    let begins = || disks.last("guest: begins with ") == Some(then);
    assert!(
        eventually(PATIENCE, begins),
        "{}{}",
        disks.said(),
        disks.tell()
    );
    disks.writes_on();
}

fn clones_and_removes(disks: &Disks) {
    let (alpha, beta) = (&disks.volumes.site.alpha, &disks.volumes.site.beta);
    let clone = ["guest", "clone", "mail", "web"];
    let sections = alpha.command(&clone);
    assert!(sections.good, "{}", sections.err);
    assert!(
        sections
            .out
            .contains("volume web-data\n    size 32m\n    on alpha beta\n"),
        "{}",
        sections.out
    );
    let with = format!("{}\n{}", disks.configuration(), sections.out);
    alpha.apply(&with, &["--now"]).well();
    let create = |volume| format!("`evenkeel volume create {volume}`");
    let missing = [create("web"), create("web-data")].join(" and ");
    alpha
        .command(&clone)
        .refused(&[&missing, "on beta, then this command again"]);
    for volume in ["web", "web-data"] {
        beta.command(&["volume", "create", volume]).well();
        let served = || alpha.command(&["volume", "list"]).text();
        let served = || {
            served()
                .lines()
                .any(|line| line.starts_with(&format!("{volume} ")) && line.contains("serving"))
        };
        assert!(eventually(SOON, served), "{}", disks.tell());
    }
    // Clones the disks while the original guest writes.
    let cloned = alpha.command(&clone);
    assert!(cloned.good, "{}{}", cloned.err, disks.tell());
    println!("{}{}", cloned.out, cloned.err);
    let [web, data] = ["web.volume", "web-data.volume"].map(|file| disks.number(file));
    assert!(web == data || web == data + 1, "{web} and {data}");
    disks.writes_on();
    alpha
        .command(&clone)
        .refused(&["volume 'web' exists and holds data"]);
    begins_and_is_removed(disks, web);
}

/// Checks that the clone begins with the number on its disks, and that nothing of it is left after
/// its removal.
fn begins_and_is_removed(disks: &Disks, web: u64) {
    let alpha = &disks.volumes.site.alpha;
    alpha.command(&["guest", "start", "web"]).well();
    let path = alpha.runtime().join("guest-web/serial.log");
    let said = || String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
    let begins = || said().contains(&format!("guest: begins with {web}"));
    assert!(eventually(PATIENCE, begins), "{}{}", said(), disks.tell());
    alpha
        .command(&["guest", "remove", "web"])
        .refused(&["guest web is running"]);
    alpha.command(&["guest", "stop", "web"]).well();
    assert!(
        alpha
            .command(&["guest", "remove", "web"])
            .text()
            .contains("evenkeel volume remove web-data --backing")
    );
    alpha.apply(&disks.configuration(), &["--now"]).well();
    let removed = alpha.command(&["guest", "remove", "web"]);
    assert!(
        removed
            .text()
            .contains("removed what was left of guest web"),
        "{}{}",
        removed.out,
        removed.err
    );
    let again = alpha.command(&["guest", "remove", "web"]);
    assert!(
        again.text().contains("nothing is left of guest web"),
        "{}{}",
        again.out,
        again.err
    );
    disks.writes_on();
}
