//! Tests of volumes with the real role: sections, sockets, commands, and the data when processes
//! die and files change.

use crate::harness::{CommandOutput, PATIENCE, evenkeel, run};
use crate::supervised::{Supervised, lives, roles_of};
use lab::{ScratchDirectory, eventually, skip_unless_installed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) struct VolumeFixture {
    pub(crate) scratch: ScratchDirectory,
}

impl VolumeFixture {
    pub(crate) fn new() -> VolumeFixture {
        let scratch = ScratchDirectory::new().unwrap();
        std::fs::create_dir(scratch.path().join("volumes")).unwrap();
        VolumeFixture { scratch }
    }

    pub(crate) fn section(&self, name: &str, size: &str) -> String {
        let directory = self.scratch.path().join("volumes");
        format!(
            "volume {name}\n    size {size}\n    backing file {}\n",
            directory.display()
        )
    }

    pub(crate) fn write(&self, sections: &[String]) {
        self.scratch.write("site.cfg", sections.concat()).unwrap();
    }

    pub(crate) fn serve(&self) -> Supervised {
        Supervised::run(&self.scratch, "site.cfg")
    }

    pub(crate) fn run(&self, words: &[&str]) -> CommandOutput {
        run(evenkeel(), self.scratch.path(), words)
    }

    pub(crate) fn good(&self, words: &[&str]) -> String {
        let outcome = self.run(words);
        assert_eq!(outcome.code(), Some(0), "{words:?}: {outcome:?}");
        outcome.stdout
    }

    pub(crate) fn create(&self, name: &str) {
        self.good(&["volume", "create", name, "--from", "site.cfg"]);
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.scratch
            .path()
            .join(format!("runtime/volume-{name}.sock"))
    }

    /// Returns the state of a volume; empty if no role reports it.
    pub(crate) fn state(&self, name: &str) -> String {
        let outcome = self.run(&["volume", "show", name]);
        let line = outcome
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("state: "));
        line.unwrap_or_default().to_owned()
    }

    pub(crate) fn comes_to(&self, name: &str, state: &str) {
        let is_so = eventually(PATIENCE, || self.state(name) == state);
        assert!(is_so, "{name} {state}: {:?}", self.run(&["volume", "list"]));
    }

    pub(crate) fn qemu_io(&self, name: &str, steps: &[&str]) -> String {
        let uri = format!("nbd+unix:///{name}?socket={}", self.socket(name).display());
        let mut command = Command::new("timeout");
        command.args(["60", "qemu-io", "-f", "raw"]);
        steps.iter().for_each(|step| {
            command.args(["-c", step]);
        });
        let output = command.arg(&uri).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let bad = ["failed", "error", "verification"];
        let good = output.status.success() && !bad.iter().any(|word| text.contains(word));
        let volumes = || self.run(&["volume", "list"]);
        assert!(
            good,
            "{name} {steps:?}: {} {text} {:?}",
            output.status,
            volumes()
        );
        text
    }
}

/// Process qemu-io with an open connection to a volume, which waits for commands.
pub(crate) struct Connected(std::process::Child);

impl Connected {
    pub(crate) fn new(socket: &Path) -> Connected {
        let uri = format!("nbd+unix:///mail?socket={}", socket.display());
        let mut command = Command::new("qemu-io");
        command.args(["-f", "raw", &uri]).stdin(Stdio::piped());
        Connected(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Ends qemu-io after writes and reads on the existing connection, and returns whether they
    /// succeeded.
    pub(crate) fn still_works(mut self) -> bool {
        let mut stdin = self.0.stdin.take().unwrap();
        let steps = b"write -P 0x77 1M 64k\nflush\nread -P 0x77 1M 64k\nquit\n";
        stdin.write_all(steps).unwrap();
        // qemu-io checks for further lines only when there is input.
        drop(stdin);
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("wrote 65536/65536") && text.contains("read 65536/65536")
    }
}

pub(crate) fn role(supervised: &Supervised) -> Option<i32> {
    let is_role = |pid: &i32| title_of(*pid).starts_with(b"evenkeel: volume");
    supervised.children().into_iter().find(is_role)
}

fn title_of(pid: i32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

#[test]
fn sections_are_checked_and_documented() {
    let bed = VolumeFixture::new();
    bed.write(&[bed.section("mail", "64m")]);
    assert!(bed.good(&["check", "site.cfg"]).contains("1 volume"));
    let rights = bed.good(&["check", "--privileges", "site.cfg"]);
    let (_, role) = rights.split_once("volume role: ").unwrap();
    let directory = bed.scratch.path().join("volumes").display().to_string();
    for words in [
        "capabilities    none",
        "user            root (0): as started",
        &directory,
    ] {
        assert!(role.contains(words), "{words}: {role}");
    }
    bed.write(&[bed.section("mail", "64m").replace("size", "siez")]);
    let outcome = bed.run(&["check", "--format", "concise", "site.cfg"]);
    assert!(
        outcome.stdout.contains("did you mean 'size'?"),
        "{outcome:?}"
    );
    let nodes = "node alpha\nnode beta\n";
    let shared = nodes.to_owned() + &bed.section("mail", "64m");
    bed.write(std::slice::from_ref(&shared));
    let check = [
        "check", "--node", "alpha", "--format", "concise", "site.cfg",
    ];
    assert!(
        bed.run(&check).stdout.contains("E0808"),
        "{:?}",
        bed.run(&check)
    );
    // The warning says that the link between the copies needs a cluster.
    let pair = "    on alpha beta\n";
    bed.write(&[shared.clone(), pair.to_owned()]);
    let outcome = bed.run(&check);
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains("W0812"), "{outcome:?}");
    let link = "volume-defaults\n    link nodes plain\n";
    bed.write(&[shared.clone(), format!("{pair}{link}")]);
    assert!(
        bed.run(&check).stdout.contains("E0811"),
        "{:?}",
        bed.run(&check)
    );
    bed.write(&[shared.clone(), "    on gamma\n".to_owned()]);
    assert!(
        bed.run(&check).stdout.contains("E0807"),
        "{:?}",
        bed.run(&check)
    );
    bed.write(&[shared, "    on alpha\n".to_owned()]);
    assert_eq!(bed.run(&check).stdout, "");
    assert!(
        bed.good(&["keyword", "backing", "file"])
            .contains("symbolic link")
    );
    assert!(bed.good(&["manual", "Volumes"]).contains("volume <name>"));
    assert!(bed.good(&["explain", "E0806"]).contains("one copy"));
}

#[test]
fn file_of_a_volume_belongs_to_no_other_section() {
    let bed = VolumeFixture::new();
    let directory = bed.scratch.path().join("volumes");
    let at = |name: &str| directory.join(name);
    for name in ["mail.volume", "other.img"] {
        std::fs::write(at(name), "").unwrap();
    }
    std::fs::hard_link(at("mail.volume"), at("hard")).unwrap();
    std::os::unix::fs::symlink("mail.volume", at("soft")).unwrap();
    std::os::unix::fs::symlink(&directory, bed.scratch.path().join("link")).unwrap();
    let mail = bed.section("mail", "1m");
    let check = |section: String| {
        bed.write(&[mail.clone(), section]);
        let outcome = bed.run(&["check", "--format", "concise", "site.cfg"]);
        (outcome.stdout.clone() + &outcome.stderr, outcome.code())
    };
    let boot = "boot lan\n    interface lo\n    network 10.9.0.0/24\n    range 10.9.0.1 10.9.0.9\n";
    let guest = "guest web\n    memory 256m\n";
    let linked = bed.scratch.path().join("link/mail.volume");
    for path in [at("mail.volume"), at("hard"), at("soft"), linked] {
        let path = path.display().to_string();
        for (section, code) in [
            (format!("{boot}    disk d file {path} nbd\n"), "E1191"),
            (format!("{boot}    disk d file {path} ro iscsi\n"), "E1191"),
            (format!("{boot}    image i kernel {path}\n"), "E1191"),
            (format!("{guest}    boot iso {path}\n"), "E1192"),
            (format!("{guest}    boot kernel {path}\n"), "E1192"),
        ] {
            let (said, exit) = check(section.clone());
            assert!(said.contains(code), "{section}{said}");
            assert_eq!(exit, Some(1), "{section}{said}");
        }
    }
    let other = at("other.img").display().to_string();
    for section in [
        format!("{boot}    disk d file {other} nbd\n"),
        format!("{guest}    boot iso {other}\n"),
    ] {
        let (said, _) = check(section.clone());
        assert!(!said.contains("E119"), "{section}{said}");
    }
    // Another volume on the same file, and two disks on one file.
    std::fs::hard_link(at("mail.volume"), at("post.volume")).unwrap();
    let (said, _) = check(bed.section("post", "1m"));
    assert!(said.contains("E0809"), "{said}");
    std::fs::hard_link(at("other.img"), at("another.img")).unwrap();
    let another = at("another.img").display().to_string();
    let (said, _) = check(format!(
        "{boot}    disk d file {other} nbd\n    disk e file {another} nbd\n"
    ));
    assert!(said.contains("E1085"), "{said}");
}

#[test]
fn flushed_data_survives_a_killed_role() {
    skip_unless_installed!("qemu-io");
    let bed = VolumeFixture::new();
    bed.write(&[bed.section("mail", "64m")]);
    let supervised = bed.serve();
    bed.comes_to("mail", "not created");
    let why = bed.good(&["volume", "list"]);
    assert!(
        why.contains("`evenkeel volume create mail` creates it"),
        "{why}"
    );
    let created = bed.good(&["volume", "create", "mail"]);
    assert!(
        created.contains("created volume mail: 64m on file"),
        "{created}"
    );
    bed.comes_to("mail", "serving");
    let mode = std::fs::metadata(bed.socket("mail"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o666);
    bed.qemu_io(
        "mail",
        &["write -P 0xaa 0 4M", "write -P 0xbb 63M 64k", "flush"],
    );
    let killed = role(&supervised).unwrap();
    kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
    let follows = || role(&supervised).is_some_and(|other| other != killed);
    assert!(eventually(PATIENCE, follows));
    bed.comes_to("mail", "serving");
    bed.qemu_io(
        "mail",
        &[
            "read -P 0xaa 0 4M",
            "read -P 0xbb 63M 64k",
            "read -P 0 8M 1M",
        ],
    );
    let json = bed.good(&["volume", "list", "--json"]);
    assert!(json.contains("\"volume\""), "{json}");
    let metrics = bed.good(&["status", "volume", "--metrics"]);
    assert!(
        metrics.contains("evenkeel_volume_read_operations_total{volume=\"mail\"}"),
        "{metrics}"
    );
    assert!(bed.good(&["status"]).contains("volume mail: serving"));
    // The role has no capability.
    let status = std::fs::read_to_string(format!("/proc/{}/status", role(&supervised).unwrap()));
    let status = status.unwrap();
    for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    assert!(
        !bed.socket("mail").exists(),
        "a stopped role leaves no socket"
    );
}

#[test]
fn a_supervisor_that_was_killed_leaves_a_role_that_serves_and_is_adopted() {
    skip_unless_installed!("qemu-io");
    let bed = VolumeFixture::new();
    bed.write(&[bed.section("mail", "64m")]);
    bed.create("mail");
    let supervised = bed.serve();
    bed.comes_to("mail", "serving");
    let before = role(&supervised);
    supervised.signal(Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !lives(supervised.pid.as_raw())));
    bed.qemu_io("mail", &["write -P 0xcc 0 64k", "flush"]);
    let again = bed.serve();
    bed.comes_to("mail", "serving");
    bed.qemu_io("mail", &["read -P 0xcc 0 64k"]);
    let is_volume = |pid: &i32| title_of(*pid).starts_with(b"evenkeel: volume");
    let roles = roles_of(bed.scratch.path()).into_iter().filter(is_volume);
    assert_eq!(
        roles.collect::<Vec<_>>(),
        Vec::from_iter(before),
        "the same process"
    );
    assert_eq!(again.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn a_reload_adds_removes_and_grows_without_touching_other_clients() {
    skip_unless_installed!("qemu-io");
    let bed = VolumeFixture::new();
    let (mail, web) = (bed.section("mail", "64m"), bed.section("web", "64m"));
    bed.write(std::slice::from_ref(&mail));
    bed.create("mail");
    let supervised = bed.serve();
    bed.comes_to("mail", "serving");
    let client = Connected::new(&bed.socket("mail"));
    bed.write(&[mail.clone(), web.clone()]);
    bed.create("web");
    let outcome = supervised.reload();
    assert!(
        outcome.stderr.contains("+ volume web: size 64m"),
        "{outcome:?}"
    );
    bed.comes_to("web", "serving");
    bed.qemu_io("web", &["write -P 0xdd 0 64k", "flush"]);
    // The size is larger for later connections.
    bed.write(&[mail.replace("64m", "128m"), web.clone()]);
    let outcome = supervised.reload();
    assert!(
        outcome.stderr.contains("~ volume mail: size 64m -> 128m"),
        "{outcome:?}"
    );
    let grown = || bed.good(&["volume", "show", "mail"]).contains("size: 128m");
    assert!(eventually(PATIENCE, grown));
    bed.qemu_io("mail", &["write -P 0xee 127M 1M", "read -P 0xee 127M 1M"]);
    // A smaller size is refused, and changes nothing.
    bed.write(&[mail.clone(), web]);
    let outcome = supervised.reload();
    assert!(
        outcome.stderr.contains("cannot shrink to 64m"),
        "{outcome:?}"
    );
    assert!(bed.good(&["volume", "show", "mail"]).contains("size: 128m"));
    // The data of a removed volume stays until it is removed explicitly.
    let words = ["volume", "remove", "web", "--from", "site.cfg", "--yes"];
    let outcome = bed.run(&words);
    assert!(
        outcome
            .stderr
            .contains("remove the section and reload first"),
        "{outcome:?}"
    );
    bed.write(&[mail.replace("64m", "128m")]);
    let outcome = supervised.reload();
    assert!(outcome.stderr.contains("- volume web"), "{outcome:?}");
    assert!(eventually(PATIENCE, || !bed.socket("web").exists()));
    let directory = bed.scratch.path().join("volumes").display().to_string();
    let words = ["volume", "remove", "web", "--backing", "file", &directory];
    let outcome = bed.run(&words);
    assert!(
        outcome.stderr.contains("nothing was removed"),
        "{outcome:?}"
    );
    assert!(
        bed.good(&[&words[..], &["--yes"]].concat())
            .contains("removed volume web with 64m")
    );
    assert!(!bed.scratch.path().join("volumes/web.volume").exists());
    assert!(client.still_works());
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn refused_backing_is_named_and_other_volumes_run() {
    use std::os::unix::fs::symlink;
    let bed = VolumeFixture::new();
    let directory = bed.scratch.path().join("volumes");
    let elsewhere = |name: &str, path: &str| {
        let path = bed.scratch.path().join(path);
        format!(
            "volume {name}\n    size 64m\n    backing file {}\n",
            path.display()
        )
    };
    symlink(&directory, bed.scratch.path().join("link")).unwrap();
    let sections = [
        bed.section("good", "64m"),
        bed.section("damaged", "64m"),
        bed.section("smaller", "64m"),
        elsewhere("missing", "nowhere"),
        elsewhere("linked", "link"),
    ];
    bed.write(&sections);
    for name in ["good", "damaged", "smaller"] {
        bed.create(name);
    }
    std::fs::write(directory.join("damaged.metadata"), [7; 70_000]).unwrap();
    let shrunk = sections.concat().replacen(
        "volume smaller\n    size 64m",
        "volume smaller\n    size 32m",
        1,
    );
    bed.write(&[shrunk]);
    let supervised = bed.serve();
    bed.comes_to("good", "serving");
    for (name, why) in [
        ("damaged", "no metadata of a volume"),
        ("smaller", "it has 64m and cannot shrink to 32m"),
        ("missing", "nowhere"),
        ("linked", "is a symbolic link"),
    ] {
        bed.comes_to(name, "failed");
        let shown = bed.good(&["volume", "show", name]);
        assert!(shown.contains(why), "{shown}");
    }
    let again = bed.run(&["volume", "create", "damaged", "--from", "site.cfg", "--yes"]);
    assert!(again.stderr.contains("exists already"), "{again:?}");
    let used = bed.run(&["volume", "create", "good", "--yes"]);
    assert!(used.stderr.contains("exists already"), "{used:?}");
    let unknown = bed.run(&["volume", "create", "other"]);
    assert!(
        unknown.stderr.contains("has no volume 'other'"),
        "{unknown:?}"
    );
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn files_of_another_volume_are_refused_until_they_are_adopted() {
    skip_unless_installed!("qemu-io");
    let bed = VolumeFixture::new();
    let sections = ["one", "two"].map(|name| bed.section(name, "64m"));
    bed.write(&sections);
    bed.create("one");
    bed.create("two");
    let supervised = bed.serve();
    for (name, step) in [
        ("one", "write -P 0x11 0 64k"),
        ("two", "write -P 0x22 0 64k"),
    ] {
        bed.comes_to(name, "serving");
        bed.qemu_io(name, &[step, "flush"]);
    }
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
    let directory = bed.scratch.path().join("volumes");
    let swap = |ending: &str| {
        let of = |name: &str| directory.join(format!("{name}.{ending}"));
        std::fs::rename(of("one"), of("x")).unwrap();
        std::fs::rename(of("two"), of("one")).unwrap();
        std::fs::rename(of("x"), of("two")).unwrap();
    };
    swap("volume");
    swap("metadata");
    let supervised = bed.serve();
    for (name, other) in [("one", "two"), ("two", "one")] {
        bed.comes_to(name, "failed");
        let shown = bed.good(&["volume", "show", name]);
        let words = format!("is of volume '{other}': its files were renamed");
        assert!(shown.contains(&words), "{shown}");
    }
    let outcome = bed.run(&["volume", "adopt", "one"]);
    assert!(
        outcome.stderr.contains("the data of volume 'two'"),
        "{outcome:?}"
    );
    bed.good(&["volume", "adopt", "one", "--yes"]);
    bed.comes_to("one", "serving");
    bed.qemu_io("one", &["read -P 0x22 0 64k"]);
    assert_eq!(bed.state("two"), "failed");
    let outcome = bed.run(&["volume", "adopt", "one", "--yes"]);
    assert_ne!(outcome.code(), Some(0), "{outcome:?}");
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn files_that_were_deleted_while_they_are_open_are_noticed_and_can_be_saved() {
    skip_unless_installed!("qemu-io");
    let bed = VolumeFixture::new();
    bed.write(&[bed.section("mail", "64m")]);
    bed.create("mail");
    let supervised = bed.serve();
    bed.comes_to("mail", "serving");
    bed.qemu_io("mail", &["write -P 0x5a 1M 4k", "flush"]);
    for end in ["volume", "metadata"] {
        let file = bed.scratch.path().join(format!("volumes/mail.{end}"));
        std::fs::remove_file(file).unwrap();
    }
    bed.comes_to("mail", "failing");
    let shown = bed.good(&["volume", "show", "mail"]);
    for words in ["deleted while open", "volume export mail FILE"] {
        assert!(shown.contains(words), "{shown}");
    }
    // A new file would not be the one to which clients write.
    let again = bed.run(&["volume", "create", "mail"]);
    assert!(again.stderr.contains("is still open"), "{again:?}");
    bed.good(&["volume", "export", "mail", "saved.raw"]);
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
    let supervised = bed.serve();
    bed.comes_to("mail", "not created");
    bed.good(&["volume", "create", "mail"]);
    bed.comes_to("mail", "serving");
    bed.good(&["volume", "import", "mail", "saved.raw"]);
    bed.qemu_io("mail", &["read -P 0x5a 1M 4k"]);
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn shells_complete_the_names_of_volumes() {
    let bed = VolumeFixture::new();
    let script = bed.good(&["completions", "bash"]);
    let path = bed.scratch.write("completion", script).unwrap();
    let complete = |words: &str| {
        let program = format!(
            "source {}; evenkeel() {{ printf 'NAME STATE\\nmail serving\\nmail2 failed\\nweb failed\\nweb: why\\n'; }}; \
             COMP_WORDS=(evenkeel {words}); COMP_CWORD=3; _evenkeel_volumes evenkeel; echo \"${{COMPREPLY[@]}}\"",
            path.display()
        );
        let output = Command::new("bash")
            .args(["-c", &program])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("volume show m"), "mail mail2");
    assert_eq!(complete("volume export ''"), "mail mail2 web");
    assert!(complete("volume list --j").contains("--json"));
    let zsh = bed.good(&["completions", "zsh"]);
    assert!(zsh.contains("NAME -- The volume:_evenkeel_volumes"));
    assert_eq!(zsh.matches("_evenkeel_volumes() {").count(), 1);
    assert!(
        bed.good(&["completions", "fish"])
            .contains("evenkeel volume list")
    );
}

/// A loop device with a file system, removed on drop.
struct Loop(String);

impl Loop {
    fn with_ext4(bed: &VolumeFixture) -> Loop {
        let file = bed.scratch.path().join("disk");
        std::fs::File::create(&file)
            .unwrap()
            .set_len(64 << 20)
            .unwrap();
        let made = Command::new("mkfs.ext4").arg("-q").arg(&file).status();
        assert!(made.unwrap().success());
        let mut losetup = Command::new("losetup");
        let output = losetup.args(["--find", "--show"]).arg(&file).output();
        let path = String::from_utf8(output.unwrap().stdout).unwrap();
        Loop(path.trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

#[test]
fn device_with_a_file_system_needs_yes_and_is_released() {
    lab::skip_unless_root!();
    skip_unless_installed!("losetup");
    skip_unless_installed!("mkfs.ext4");
    skip_unless_installed!("qemu-io");
    let bed = VolumeFixture::new();
    let device = Loop::with_ext4(&bed);
    let section = format!(
        "volume mail\n    size 32m\n    backing device {}\n",
        device.0
    );
    bed.write(&[section.clone(), bed.section("web", "1m")]);
    let supervised = bed.serve();
    bed.comes_to("mail", "not created");
    let refused = bed.run(&["volume", "create", "mail"]);
    let words = "is not empty: it holds an ext2, ext3 or ext4 file system. Nothing was written";
    assert!(refused.stderr.contains(words), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("create mail --yes` overwrites all of that"),
        "{refused:?}"
    );
    bed.good(&["volume", "create", "mail", "--yes"]);
    bed.comes_to("mail", "serving");
    bed.qemu_io(
        "mail",
        &["read -P 0 0 32M", "write -P 0xaa 31M 1M", "flush"],
    );
    uses_a_device(&bed);
    bed.write(&[section.replace("32m", "128m"), bed.section("web", "1m")]);
    supervised.reload();
    let shown = || bed.good(&["volume", "show", "mail"]).contains("too small");
    assert!(
        eventually(PATIENCE, shown),
        "{}",
        bed.good(&["volume", "show", "mail"])
    );
    bed.write(&[bed.section("web", "1m")]);
    supervised.reload();
    let remove = [
        "volume",
        "remove",
        "mail",
        "--backing",
        "device",
        &device.0,
        "--yes",
    ];
    bed.good(&remove);
    let again = bed.run(&remove);
    assert_eq!(again.code(), Some(1), "{again:?}");
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

/// Checks a volume on a device, which does not report allocated ranges and has no snapshots.
fn uses_a_device(bed: &VolumeFixture) {
    bed.scratch.write("source", vec![0x5a; 1 << 20]).unwrap();
    let refused = bed.run(&["volume", "import", "mail", "source"]);
    assert!(
        refused.stderr.contains("volume 'mail' holds data"),
        "{refused:?}"
    );
    bed.good(&["volume", "import", "mail", "source", "--yes"]);
    bed.qemu_io("mail", &["read -P 0x5a 0 1M", "read -P 0 1M 31M"]);
    let refused = bed.run(&["volume", "snapshot", "mail"]);
    assert!(
        refused
            .stderr
            .contains("a block device does not support them here"),
        "{refused:?}"
    );
    let refused = bed.run(&["volume", "grow", "mail"]);
    assert!(
        refused
            .stderr
            .contains("write the larger `size` into its section and reload"),
        "{refused:?}"
    );
}

#[test]
fn damaged_volume_can_be_removed_and_recreated() {
    let bed = VolumeFixture::new();
    bed.write(&[bed.section("mail", "1m")]);
    let file = |end: &str| bed.scratch.path().join(format!("volumes/mail.{end}"));
    let remove = ["volume", "remove", "mail", "--from", "site.cfg"];
    let confirmed = ["volume", "remove", "mail", "--from", "site.cfg", "--yes"];
    type Damage = fn(&dyn Fn(&str) -> PathBuf);
    let damages: [(Damage, &str); 4] = [
        (
            |file| std::fs::write(file("metadata"), []).unwrap(),
            "the metadata is empty",
        ),
        (
            |file| std::fs::write(file("metadata"), vec![7; 200_000]).unwrap(),
            "no metadata of a volume",
        ),
        (
            |file| std::fs::remove_file(file("metadata")).unwrap(),
            "no such file",
        ),
        (
            |file| std::fs::remove_file(file("volume")).unwrap(),
            "is missing",
        ),
    ];
    for (damage, why) in damages {
        bed.create("mail");
        damage(&file);
        let left = ["volume", "metadata"].map(|end| std::fs::read(file(end)).ok());
        let refused = bed.run(&remove);
        for words in ["nothing was removed", why, "what is left of it"] {
            assert!(refused.stderr.contains(words), "{refused:?}");
        }
        let now = ["volume", "metadata"].map(|end| std::fs::read(file(end)).ok());
        assert!(now == left, "{refused:?}");
        let removed = bed.good(&confirmed);
        assert!(removed.contains("removed what was left"), "{removed}");
    }
    let nothing = bed.run(&confirmed);
    assert!(nothing.stderr.contains("no such file"), "{nothing:?}");
}

#[test]
fn damaged_metadata_is_reported_with_recovery_steps() {
    let bed = VolumeFixture::new();
    bed.write(&[bed.section("mail", "1m")]);
    bed.create("mail");
    let metadata = bed.scratch.path().join("volumes/mail.metadata");
    for damage in [true, false] {
        if damage {
            std::fs::write(&metadata, []).unwrap()
        } else {
            std::fs::remove_file(&metadata).unwrap()
        }
        let supervised = bed.serve();
        bed.comes_to("mail", "failed");
        let shown = bed.good(&["volume", "show", "mail"]);
        let refused = bed.run(&["volume", "create", "mail"]).stderr;
        for text in [shown, refused] {
            for words in [
                "mail.volume is the raw disk and may be intact: back it up first (`cp --sparse=always ",
                "then delete ",
                "`evenkeel volume create mail` and",
                "volume import mail ",
            ] {
                assert!(text.contains(words), "{text}");
            }
            assert!(!text.contains("remove the volume first"), "{text}");
        }
        drop(supervised);
    }
}
