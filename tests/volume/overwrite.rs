//! Tests commands that replace the content of a volume and are killed meanwhile. The incomplete
//! content is never served as complete, under any name, at any node, after any restart.

use crate::cluster::site::{Machine, SOON};
use crate::volume::site::{Client, NODES, VolumeSite, other};
use lab::eventually;
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// Rate in bytes per second at which an import reads its source, so slow that the import does not
/// end by itself.
const RATE: u64 = 256 << 10;
/// Size of the import's source in bytes.
const SOURCE: usize = 8 << 20;

/// Slow source of an import.
struct SlowSource {
    server: Child,
    uri: String,
    /// The same data as a file.
    file: PathBuf,
}

impl SlowSource {
    fn start(directory: &Path) -> SlowSource {
        let file = directory.join("source.raw");
        std::fs::write(&file, vec![0x5a; SOURCE]).unwrap();
        let socket = directory.join("source.sock");
        let server = Command::new("qemu-nbd")
            .arg("--persistent")
            .arg("--read-only")
            .args(["--socket".as_ref(), socket.as_os_str()])
            .args([
                "--object",
                &format!("throttle-group,id=slow,x-bps-read={RATE}"),
            ])
            .args([
                "--image-opts",
                &format!(
                    "driver=throttle,throttle-group=slow,file.driver=raw,file.file.driver=file,file.file.filename={}",
                    file.display()
                ),
            ])
            .spawn()
            .unwrap();
        assert!(eventually(SOON, || socket.exists()));
        SlowSource {
            server,
            uri: format!("nbd+unix:///?socket={}", socket.display()),
            file,
        }
    }
}

impl Drop for SlowSource {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Returns a fact that a node shows about a volume.
fn fact(node: &Machine, volume: &str, name: &str) -> Option<String> {
    let text = node.command(&["volume", "show", volume]).text();
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.map(str::to_owned)
}

/// Starts an import at a node, and kills it once the volume is marked.
#[track_caller]
fn interrupt_import(node: &Machine, volume: &str, source: &SlowSource) {
    std::thread::scope(|scope| {
        let import =
            scope.spawn(|| node.command(&["volume", "import", volume, &source.uri, "--yes"]));
        let has_written = || {
            let marked = fact(node, volume, "incomplete");
            marked.is_some_and(|words| words.contains("overwrites it"))
        };
        assert!(
            eventually(SOON, has_written),
            "{}",
            node.command(&["volume", "show", volume]).text()
        );
        let user = fact(node, volume, "user").unwrap_or_default();
        let number = user.rsplit(['/', ' ']).next();
        let number = number.and_then(|pid| pid.parse().ok());
        let pid = number.and_then(Pid::from_raw).expect("the command");
        kill_process(pid, Signal::KILL).unwrap();
        assert!(!import.join().unwrap().good);
    });
    is_incomplete(node, volume);
}

/// Waits until a node shows that a command was interrupted.
#[track_caller]
fn is_incomplete(node: &Machine, volume: &str) {
    let is_shown = || {
        let words = fact(node, volume, "incomplete");
        words.is_some_and(|words| {
            words.contains("`evenkeel volume import` of ") && words.contains("was interrupted")
        })
    };
    assert!(
        eventually(SOON, is_shown),
        "{}: {}",
        node.name(),
        node.command(&["volume", "show", volume]).text()
    );
}

fn socket(node: &Machine, volume: &str) -> PathBuf {
    node.runtime().join(format!("volume-{volume}.sock"))
}

#[track_caller]
fn opens(node: &Machine, volume: &str) {
    let is_open = || Client::connect_to(&socket(node, volume), volume).is_ok();
    assert!(
        eventually(SOON, is_open),
        "{}",
        node.command(&["volume", "show", volume]).text()
    );
}

#[track_caller]
fn refuses(node: &Machine, volume: &str) {
    let listens = || socket(node, volume).exists();
    assert!(eventually(SOON, listens));
    assert!(Client::connect_to(&socket(node, volume), volume).is_err());
    let export = node.scratch().join("export.raw");
    let export = export.to_string_lossy();
    node.command(&["volume", "export", volume, &export])
        .refused(&["is incomplete", "run that command again"]);
}

#[test]
fn interrupted_import_is_refused_at_both_nodes_until_it_is_repeated_or_accepted() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-nbd");
    let mut volumes = VolumeSite::new("volume-overwrite");
    let source = SlowSource::start(volumes.scratch());
    // The command runs where the volume is not served.
    let owner = volumes.in_sync();
    let node = other(owner);
    interrupt_import(volumes.site.machine(node), "mail", &source);
    for node in NODES {
        is_incomplete(volumes.site.machine(node), "mail");
        refuses(volumes.site.machine(node), "mail");
    }
    let listed = volumes.site.machine(owner).command(&["volume", "list"]);
    assert!(listed.text().contains("incomplete"), "{}", listed.text());
    // All processes of both nodes die, and start again.
    for node in NODES {
        volumes.site.machine_mut(node).kill();
    }
    for node in NODES {
        volumes.site.machine_mut(node).start();
    }
    for node in NODES {
        is_incomplete(volumes.site.machine(node), "mail");
        refuses(volumes.site.machine(node), "mail");
    }
    // A guest that names the volume does not start, whatever its name.
    for guest in ["old", "new"] {
        let text = volumes.configuration(&format!(
            "\nguest {guest}\n\tmemory 64m\n\tdisk mail\n\tprefer {owner}\n"
        ));
        volumes.site.machine(owner).apply(&text, &["--now"]).well();
        let machine = volumes.site.machine(owner);
        let waits = || {
            let shown = machine.command(&["guest", "show", guest]).text();
            shown.contains("it is incomplete: `evenkeel volume import` of ")
        };
        assert!(
            eventually(SOON, waits),
            "{}",
            machine.command(&["guest", "show", guest]).text()
        );
        machine
            .command(&["guest", "start", guest])
            .refused(&["volume mail is incomplete", "--yes"]);
    }
    volumes
        .site
        .machine(owner)
        .apply(&volumes.configuration(""), &["--now"])
        .well();
    // The command again, from the other node, completes the volume.
    let machine = volumes.site.machine(owner);
    let file = source.file.to_string_lossy();
    let again = || {
        machine
            .command(&["volume", "import", "mail", &file, "--yes"])
            .good
    };
    assert!(eventually(SOON, again), "{}", volumes.tell());
    for node in NODES {
        let machine = volumes.site.machine(node);
        opens(machine, "mail");
        assert_eq!(fact(machine, "mail", "incomplete"), None);
    }
    let [alpha, beta] = NODES.map(|node| std::fs::read(volumes.file(node)).unwrap());
    assert!(alpha[..SOURCE].iter().all(|byte| *byte == 0x5a) && alpha == beta);
    // An operator accepts an incomplete volume as it is.
    interrupt_import(machine, "mail", &source);
    let accept = ["volume", "accept", "mail"];
    machine
        .command(&accept)
        .refused(&["not confirmed", "`evenkeel volume import` of "]);
    machine.command(&[&accept[..], &["--yes"]].concat()).well();
    for node in NODES {
        opens(volumes.site.machine(node), "mail");
    }
}

#[test]
fn interrupted_import_into_one_copy_is_refused_after_a_kill_of_its_role() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-nbd");
    let mut volumes = VolumeSite::uncreated("volume-overwrite-one");
    let source = SlowSource::start(volumes.scratch());
    let text = format!(
        "volume store\n\tsize 16m\n\ton alpha\n\tbacking file {}\n",
        volumes.backing()
    );
    volumes.site.alpha.apply(&text, &["--now"]).well();
    let created = || {
        volumes
            .site
            .alpha
            .command(&["volume", "create", "store"])
            .good
    };
    assert!(eventually(SOON, created));
    opens(&volumes.site.alpha, "store");
    interrupt_import(&volumes.site.alpha, "store", &source);
    refuses(&volumes.site.alpha, "store");
    volumes.site.machine_mut("alpha").kill();
    volumes.site.machine_mut("alpha").start();
    is_incomplete(&volumes.site.alpha, "store");
    refuses(&volumes.site.alpha, "store");
    let file = source.file.to_string_lossy();
    let alpha = &volumes.site.alpha;
    alpha
        .command(&["volume", "import", "store", &file])
        .refused(&["holds data", "--yes"]);
    is_incomplete(alpha, "store");
    alpha
        .command(&["volume", "import", "store", &file, "--yes"])
        .well();
    opens(alpha, "store");
    // The mark ends with the volume: a new one of this name is complete.
    interrupt_import(alpha, "store", &source);
    volumes.site.alpha.apply("node alpha\n\taddress 10.61.0.1\nnode beta\n\taddress 10.61.0.2\n\nfrontend www\n\tmode http\n\ttimeout client 20s\n\tbind :80\n\thttp-request return status 200\n", &["--now"]).well();
    let backing = volumes.backing();
    let removed = || {
        let remove = [
            "volume",
            "remove",
            "store",
            "--yes",
            "--backing",
            "file",
            &backing,
        ];
        alpha.command(&remove).good
    };
    assert!(eventually(SOON, removed));
    alpha.apply(&text, &["--now"]).well();
    let created = || alpha.command(&["volume", "create", "store"]).good;
    assert!(eventually(SOON, created));
    opens(alpha, "store");
}
