//! Tests of commands for the disks of guests: consistent snapshots, restores, templates, clones,
//! and the remains of a removed guest. The tests use the real QEMU; the guests have no operating
//! system.

use crate::harness::PATIENCE;
use crate::volume_snapshots::Xfs;
use crate::volumes::VolumeFixture;
use lab::{eventually, skip_unless_installed, skip_unless_root};
use nix::sys::signal::Signal;

/// Ends the guests, which would outlive the supervisor.
struct Guests<'b>(&'b VolumeFixture);

impl Drop for Guests<'_> {
    fn drop(&mut self) {
        for name in ["mail", "web"] {
            self.0.run(&["guest", "stop", name, "--kill"]);
        }
    }
}

const MAIL: &str = "guest mail\n    memory 32m\n    disk mail\n    disk mail-data\n    disk tools ro\n    \
                    console serial\n    stop-timeout 1s\n";

impl VolumeFixture {
    fn volumes(&self) -> String {
        ["mail", "mail-data", "tools"]
            .map(|name| self.section(name, "64m"))
            .concat()
    }

    fn guest_is(&self, name: &str, state: &str) {
        let is = || {
            self.run(&["guest", "show", name])
                .stdout
                .contains(&format!("state: {state}\n"))
        };
        assert!(
            eventually(PATIENCE, is),
            "{name} {state}: {:?}",
            self.run(&["guest", "show", name])
        );
    }

    fn refuses(&self, words: &[&str], why: &str) {
        let outcome = self.run(words);
        assert_ne!(outcome.code(), Some(0), "{words:?}: {outcome:?}");
        assert!(outcome.stderr.contains(why), "{words:?}: {outcome:?}");
    }

    fn serves(&self, sections: &[String]) {
        self.write(sections);
        self.good(&["reload"]);
    }
}

#[test]
fn guest_gets_snapshots_and_becomes_a_template() {
    skip_unless_root!();
    skip_unless_installed!("mkfs.xfs");
    skip_unless_installed!("qemu-io");
    skip_unless_installed!("qemu-system-x86_64");
    let bed = VolumeFixture::new();
    let xfs = Xfs::mount(&bed);
    bed.write(&[bed.volumes(), MAIL.to_owned()]);
    ["mail", "mail-data", "tools"]
        .iter()
        .for_each(|name| bed.create(name));
    let supervised = bed.serve();
    let guests = Guests(&bed);
    bed.guest_is("mail", "running");
    let stamp = takes(&bed, &xfs);
    restores(&bed, &stamp);
    let sections = clones(&bed, &xfs);
    becomes_a_template(&bed, &sections);
    removes(&bed);
    drop(guests);
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

/// Takes snapshots while the guest runs, and returns the name of the first.
fn takes(bed: &VolumeFixture, xfs: &Xfs) -> String {
    bed.refuses(&["guest", "snapshot", "web"], "no guest 'web'");
    bed.refuses(
        &["guest", "snapshot", "mail", "--name", "a b"],
        "is not a snapshot name",
    );
    let taken = bed.run(&["guest", "snapshot", "mail", "--name", "before"]);
    assert_eq!(taken.code(), Some(0), "{taken:?}");
    for words in [
        "mail, mail-data: ",
        "crash-consistent",
        "the guest agent does not respond",
        "was paused for",
    ] {
        assert!(taken.stderr.contains(words), "{words}: {taken:?}");
    }
    let stamp = taken.stdout.trim_end().to_owned();
    let files = ["mail-data", "mail"].map(|name| format!("{name}@{stamp}-guest-before.snapshot"));
    assert_eq!(xfs.snapshots(), files);
    bed.guest_is("mail", "running");
    bed.refuses(
        &["guest", "snapshot", "mail", "--name", "before"],
        &format!("a snapshot 'before' of {stamp} exists"),
    );
    let second = bed.good(&["guest", "snapshot", "mail"]);
    let line = format!("snapshot: {stamp} (before), mail 64m, mail-data 64m\n");
    let listed = bed.good(&["guest", "snapshots", "mail"]);
    assert!(
        listed.starts_with(&line) && listed.lines().count() == 2,
        "{listed}"
    );
    assert!(bed.good(&["guest", "show", "mail"]).contains(&line));
    bed.good(&["guest", "snapshot", "mail", "--remove", second.trim_end()]);
    assert_eq!(xfs.snapshots(), files);
    // Removes a part of the snapshot, which is then listed as incomplete.
    let data = xfs.0.join(&files[0]);
    let aside = xfs.0.join("aside");
    std::fs::rename(&data, &aside).unwrap();
    let listed = bed.good(&["guest", "snapshots", "mail"]);
    assert!(
        listed.contains("; incomplete: without mail-data\n"),
        "{listed}"
    );
    std::fs::rename(&aside, &data).unwrap();
    stamp
}

fn restores(bed: &VolumeFixture, stamp: &str) {
    let yes = ["guest", "restore", "mail", "before", "--yes"];
    bed.refuses(
        &yes,
        "guest mail is running: `evenkeel guest stop mail` first",
    );
    bed.good(&["guest", "stop", "mail"]);
    bed.qemu_io("mail", &["write -P 0xaa 0 4M", "flush"]);
    bed.qemu_io("mail-data", &["write -P 0xbb 0 4M", "flush"]);
    bed.refuses(
        &yes[..4],
        "`--yes` replaces all data of mail, mail-data by that of",
    );
    bed.refuses(
        &["guest", "restore", "mail", "nothing", "--yes"],
        "has no snapshot 'nothing'",
    );
    let restored = bed.good(&yes);
    assert!(
        restored.contains(&format!("is restored to {stamp} (before)")),
        "{restored}"
    );
    bed.qemu_io("mail", &["read -P 0 0 64M"]);
    bed.qemu_io("mail-data", &["read -P 0 0 64M"]);
    let (_, before) = restored
        .split_once("the state before is snapshot ")
        .unwrap();
    let before = &before[..16];
    // Restores the state before, with a guest that is stopped already.
    bed.good(&["guest", "restore", "mail", before, "--yes"]);
    bed.qemu_io("mail", &["read -P 0xaa 0 4M"]);
    bed.qemu_io("mail-data", &["read -P 0xbb 0 4M"]);
    bed.guest_is("mail", "down");
}

/// Clones the stopped guest, and returns the sections of the new one.
fn clones(bed: &VolumeFixture, xfs: &Xfs) -> String {
    bed.refuses(
        &["guest", "clone", "mail", "mail"],
        "needs a name other than",
    );
    let sections = bed.good(&["guest", "clone", "mail", "web"]);
    for words in [
        "guest web\n    memory 32m\n",
        "    disk web\n    disk web-data\n    disk tools ro\n",
        "volume web-data\n    size 64m\n    backing file ",
    ] {
        assert!(sections.contains(words), "{words}: {sections}");
    }
    bed.serves(&[bed.volumes(), MAIL.to_owned(), sections.clone()]);
    let before = xfs.snapshots();
    let cloned = bed.run(&["guest", "clone", "mail", "web"]);
    assert_eq!(cloned.code(), Some(0), "{cloned:?}");
    assert!(
        cloned
            .stdout
            .contains("volume web-data shares its blocks with mail-data"),
        "{cloned:?}"
    );
    assert!(cloned.stderr.contains("SSH host keys"), "{cloned:?}");
    assert_eq!(xfs.snapshots(), before);
    bed.guest_is("web", "down");
    bed.qemu_io("web", &["read -P 0xaa 0 4M", "write -P 0xcc 0 1M", "flush"]);
    bed.qemu_io("web-data", &["read -P 0xbb 0 4M"]);
    bed.qemu_io("mail", &["read -P 0xaa 0 4M"]);
    bed.refuses(
        &["guest", "clone", "mail", "web"],
        "volume 'web' exists and holds data",
    );
    assert_eq!(xfs.snapshots(), before);
    bed.good(&["guest", "start", "web"]);
    bed.refuses(&["guest", "clone", "mail", "web"], "guest web is running");
    bed.good(&["guest", "stop", "web"]);
    sections
}

fn becomes_a_template(bed: &VolumeFixture, sections: &str) {
    let lines = bed.good(&["guest", "template", "mail"]);
    let expected = "guest mail\n    template yes\nvolume mail\n    read-only yes\nvolume mail-data\n    read-only yes\n";
    assert_eq!(lines, expected);
    assert_eq!(
        bed.good(&["guest", "template", "mail", "--undo"]),
        "guest mail is not a template\n"
    );
    let frozen = |name: &str| bed.section(name, "64m") + "    read-only yes\n";
    let mail = MAIL.to_owned() + "    template yes\n";
    let volumes = frozen("mail") + &frozen("mail-data") + &bed.section("tools", "64m");
    bed.serves(&[volumes, mail, sections.to_owned()]);
    bed.guest_is("mail", "template");
    assert!(bed.good(&["guest", "list"]).contains("template"));
    assert_eq!(
        bed.good(&["guest", "template", "mail"]),
        "guest mail is already a template\n"
    );
    assert_eq!(bed.good(&["guest", "template", "mail", "--undo"]), expected);
    bed.refuses(
        &["guest", "start", "mail"],
        "is a template, which never starts",
    );
    // The template is read-only.
    bed.comes_to("mail", "serving");
    let uri = format!("nbd+unix:///mail?socket={}", bed.socket("mail").display());
    let write = |flags: &[&str]| {
        let mut command = std::process::Command::new("qemu-io");
        command.args(["-f", "raw"]).args(flags);
        command
            .args(["-c", "write -P 0xdd 0 4k", &uri])
            .output()
            .unwrap()
    };
    assert!(!write(&[]).status.success());
    let read = std::process::Command::new("qemu-io")
        .args(["-r", "-f", "raw", "-c", "read -P 0xaa 0 4M", &uri])
        .output();
    assert!(read.unwrap().status.success());
    bed.refuses(
        &["volume", "import", "mail", "site.cfg", "--raw", "--yes"],
        "read-only",
    );
}

fn removes(bed: &VolumeFixture) {
    bed.good(&["guest", "stop", "web"]);
    let steps = bed.good(&["guest", "remove", "web"]);
    for words in [
        "remove the section `guest web`",
        "evenkeel volume remove web --backing file ",
    ] {
        assert!(steps.contains(words), "{words}: {steps}");
    }
    bed.serves(&[bed.volumes(), MAIL.to_owned()]);
    let first = bed.good(&["guest", "remove", "web"]);
    assert_eq!(
        bed.good(&["guest", "remove", "web"]),
        "nothing is left of guest web\n"
    );
    assert!(first.contains("guest web"), "{first}");
    assert!(!bed.scratch.path().join("runtime/guest-web").exists());
    bed.refuses(&["guest", "remove", "../x"], "is not a guest name");
}
