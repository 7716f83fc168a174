//! Guests with a disk of a storage system: the real QEMU with its driver for iSCSI, and a real target in
//! user space (tgt). The system of the guest is a boot sector that counts on its disk.

use super::{NODES, Site, guest};
use guest::agreement::GuestRecord;
use guest::config::{Boot, Bus, Disk, Guest};
use guest::message::Message;
use lab::{Location, Peer, Scratch, eventually, free_port};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const TARGET: &str = "iqn.2001-04.com.example:mail";
const DISK_BYTES: u64 = 4 << 20;

/// Adds one to the second word of sector 1, then one to the first word and writes the sector, for ever,
/// at each tick of the clock.
const COUNTS: &[u8] = &[
    0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xfb, // its registers
    0xb8, 0x01, 0x02, 0xbb, 0x00, 0x80, 0xb9, 0x02, 0x00, 0xba, 0x80, 0x00, 0xcd,
    0x13, // reads
    0xff, 0x06, 0x02, 0x80, // starts
    0xff, 0x06, 0x00, 0x80, // ticks
    0xb8, 0x01, 0x03, 0xbb, 0x00, 0x80, 0xb9, 0x02, 0x00, 0xba, 0x80, 0x00, 0xcd,
    0x13, // writes
    0xf4, 0xeb, 0xeb, // waits, and again
];

/// A target with one unit.
struct Target {
    target: Peer,
    scratch: Scratch,
}

impl Target {
    /// With a user and a password, if it wants some.
    fn start(login: Option<[&str; 2]>) -> Target {
        let scratch = Scratch::new().unwrap();
        let image = File::create(scratch.path().join("image")).unwrap();
        image.set_len(DISK_BYTES).unwrap();
        image.write_all_at(COUNTS, 0).unwrap();
        image.write_all_at(&[0x55, 0xaa], 510).unwrap();
        let address = format!("127.0.0.1:{}", free_port().unwrap());
        let portal = format!("portal={address}");
        let arguments = ["TGT_IPC_SOCKET={dir}/ipc", "tgtd", "-f", "--iscsi", &portal];
        let address = address.parse().unwrap();
        let target = Peer::start(Location::Here, "env", &arguments, "", address).unwrap();
        let target = Target { target, scratch };
        let image = target.image().display().to_string();
        target.tell(&[
            "--mode", "target", "--op", "new", "--tid", "1", "-T", TARGET,
        ]);
        let unit = ["--mode", "logicalunit", "--op", "new", "--tid", "1"];
        target.tell(&[&unit[..], &["--lun", "1", "-b", &image]].concat());
        if let Some([user, password]) = login {
            let new = ["--mode", "account", "--op", "new", "--user", user];
            target.tell(&[&new[..], &["--password", password]].concat());
            target.tell(&[
                "--mode", "account", "--op", "bind", "--tid", "1", "--user", user,
            ]);
        }
        target.tell(&[
            "--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL",
        ]);
        target
    }

    fn tell(&self, arguments: &[&str]) {
        let mut command = Command::new("tgtadm");
        command.env("TGT_IPC_SOCKET", self.target.directory().join("ipc"));
        command.args(["--lld", "iscsi"]).args(arguments);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {done:?}");
    }

    fn image(&self) -> PathBuf {
        self.scratch.path().join("image")
    }

    /// How often the guest counted, and how often it was started.
    fn counted(&self) -> [u16; 2] {
        let mut words = [0; 4];
        let image = File::open(self.image()).unwrap();
        image.read_exact_at(&mut words, 512).unwrap();
        let [a, b, c, d] = words;
        [[a, b], [c, d]].map(u16::from_le_bytes)
    }

    fn disk(&self, login: Option<&str>) -> Disk {
        let login = login.map(|user| configuration::Login {
            user: user.to_owned(),
            password_file: self.scratch.path().join("password"),
        });
        Disk {
            volume: "mail".to_owned(),
            read_only: false,
            bus: Bus::Virtio,
            external: Some(configuration::External {
                storage: configuration::Storage::Iscsi {
                    portal: self.target.address(),
                    target: TARGET.to_owned(),
                    lun: 1,
                    login,
                },
                size_bytes: Some(DISK_BYTES),
            }),
        }
    }

    fn guest(&self, login: Option<&str>) -> Guest {
        Guest {
            disks: vec![self.disk(login)],
            boot: Boot::Disk,
            // It does not hear the power button.
            stop_ms: 0,
            ..guest(64)
        }
    }
}

impl Site {
    /// On which node, and since which boot, the cluster has the disks as open.
    fn opened(&self) -> String {
        let lease = self.leases.get("guest/mail");
        let record = lease.and_then(|lease| GuestRecord::decode(&lease.record));
        record.unwrap_or_default().opened
    }

    fn told(&mut self, at: usize, message: &Message) {
        let answer = self.roles[at].order(message);
        assert!(answer.good, "{}", answer.words);
    }
}

#[test]
fn a_guest_on_storage_starts_elsewhere_only_when_its_node_is_off_or_it_ended_in_order() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("tgtd");
    let target = Target::start(Some(["evenkeel", "twelve-bytes"]));
    fs::write(target.scratch.path().join("password"), "twelve-bytes\n").unwrap();
    let mut site = Site::begin(8, 0, &target.guest(Some("evenkeel")));
    // The cluster does not have yet that its disks are open.
    site.loses_records = true;
    for _ in 0..20 {
        site.turn();
    }
    assert_eq!((site.opened(), site.process(0)), (String::new(), 0));
    site.loses_records = false;
    site.until("counts", |site| site.runs(0) && target.counted()[0] > 2);
    assert!(site.opened().starts_with("alpha "), "{}", site.opened());
    assert_eq!(target.counted()[1], 1);
    // Alpha does not respond any more, and its QEMU writes on.
    (site.stopped, site.gone) = (Some(0), Some(0));
    site.until("is beta's", |site| {
        site.subject(1)
            .why
            .contains("`evenkeel fence confirm alpha`")
    });
    for _ in 0..20 {
        site.turn();
    }
    assert_eq!((site.process(1), target.counted()[1]), (0, 1));
    // A person pulls the plug.
    super::kill(site.process(0));
    site.told(
        1,
        &Message::ConfirmOff {
            node: NODES[0].to_owned(),
        },
    );
    site.until("counts", |site| site.runs(1) && target.counted()[1] == 2);
    assert!(site.opened().starts_with("beta "), "{}", site.opened());
    // Alpha is there again, and beta is stopped in order: nothing has to be confirmed.
    site.again(0);
    (site.stopped, site.gone) = (None, None);
    let name = || "mail".to_owned();
    site.told(
        1,
        &Message::Stop {
            name: name(),
            kills: false,
        },
    );
    site.until("is closed", |site| {
        site.opened().is_empty() && site.process(1) == 0
    });
    site.until("is known", |site| {
        site.subject(0).why.contains("guest start")
    });
    site.told(0, &Message::Start { name: name() });
    site.until("counts", |site| site.runs(0) && target.counted()[1] == 3);
    assert!(site.opened().starts_with("alpha "), "{}", site.opened());
}

#[test]
fn a_guest_on_storage_that_was_killed_starts_on_its_node_alone() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("tgtd");
    let target = Target::start(None);
    let mut site = Site::begin(9, 0, &target.guest(None));
    site.until("counts", |site| site.runs(0) && target.counted()[1] == 1);
    let name = "mail".to_owned();
    site.told(0, &Message::Stop { name, kills: true });
    site.until("is down", |site| site.process(0) == 0);
    for _ in 0..20 {
        site.turn();
    }
    // What it wrote last may be on its way.
    assert!(site.opened().starts_with("alpha "), "{}", site.opened());
    assert_eq!(site.process(1), 0);
}

#[test]
fn a_guest_on_storage_moves_while_it_counts() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("tgtd");
    let target = Target::start(None);
    let mut site = Site::begin(10, 0, &target.guest(None));
    site.until("counts", |site| site.runs(0) && target.counted()[0] > 2);
    for from in [0, 1] {
        let to = 1 - from;
        site.order(from);
        site.until("moves", |site| site.runs(to) && site.process(from) == 0);
        let [before, _] = target.counted();
        site.until("counts on", |_| target.counted()[0] > before + 2);
        assert!(site.opened().starts_with(NODES[to]), "{}", site.opened());
    }
    // It was never started again.
    assert_eq!(target.counted()[1], 1);
    assert!(eventually(Duration::from_secs(60), || target.counted()[0] > 10));
}
