//! Tests migrations of guests with a disk on a storage system: the real QEMU with its iSCSI driver,
//! and a real target in user space (tgt).

use super::{MigrationFixture, NODES, guest};
use configuration::{External, Login, Storage};
use guest::agreement::GuestRecord;
use guest::config::{Bus, Disk, Guest, Migrate};
use guest::message::GuestOrder;
use guest::role::report::NOT_MOVED;
use lab::{IscsiTarget, Location, eventually, free_port};
use std::fs;
use std::time::Duration;

fn start(login: Option<[&str; 2]>) -> IscsiTarget {
    let address = ([127, 0, 0, 1], free_port().unwrap()).into();
    IscsiTarget::start(Location::Here, address, login).unwrap()
}

/// Guest that increments a counter on an iSCSI disk.
fn counting(target: &IscsiTarget, login: Option<&str>) -> Guest {
    let login = login.map(|user| Login {
        user: user.to_owned(),
        password_file: target.directory().join("password"),
    });
    let storage = Storage::Iscsi {
        portal: target.address(),
        target: target.name().to_owned(),
        lun: 1,
        login,
    };
    let disk = Disk {
        volume: "mail".to_owned(),
        read_only: false,
        bus: Bus::Virtio,
        external: Some(External {
            storage,
            size_bytes: Some(IscsiTarget::BYTES),
        }),
    };
    Guest {
        disks: vec![disk],
        // The guest ignores the power button.
        stop_ms: 1,
        ..guest(64)
    }
}

/// Starts such a guest on alpha.
fn on_alpha(network: u8, bandwidth: u64) -> (IscsiTarget, MigrationFixture) {
    let target = start(None);
    let mut site = MigrationFixture::begin(network, bandwidth, &counting(&target, None));
    site.until_alpha("counts", |site| {
        site.runs(0) && target.guest_counters()[1] == 1
    });
    (target, site)
}

impl MigrationFixture {
    /// Node, and its boot, on which the disks are open according to the cluster.
    fn opened(&self) -> String {
        let lease = self.leases.get("guest/mail");
        let record = lease.and_then(|lease| GuestRecord::decode(&lease.record));
        record.unwrap_or_default().opened
    }

    fn told(&mut self, at: usize, message: &GuestOrder) {
        let answer = self.roles[at].order(message);
        assert!(answer.good, "{}", answer.words);
    }
}

#[test]
fn a_storage_guest_starts_elsewhere_only_after_a_confirmed_stop() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("tgtd");
    let target = start(Some(["evenkeel", "twelve-bytes"]));
    fs::write(target.directory().join("password"), "twelve-bytes\n").unwrap();
    let mut site = MigrationFixture::begin(8, 0, &counting(&target, Some("evenkeel")));
    // The cluster does not know yet that the disks are open.
    (site.loses_records, site.stopped) = (true, Some(1));
    for _ in 0..20 {
        site.turn();
    }
    assert_eq!((site.opened(), site.process(0)), (String::new(), 0));
    site.loses_records = false;
    site.until_alpha("counts", |site| {
        site.runs(0) && target.guest_counters()[0] > 2
    });
    assert!(site.opened().starts_with("alpha "), "{}", site.opened());
    assert_eq!(target.guest_counters()[1], 1);
    // Alpha's role no longer responds, but its QEMU continues to write.
    (site.stopped, site.gone) = (Some(0), Some(0));
    site.until("is beta's", |site| {
        site.subject(1)
            .why
            .contains("`evenkeel fence confirm alpha`")
    });
    for _ in 0..20 {
        site.turn();
    }
    assert_eq!((site.process(1), target.guest_counters()[1]), (0, 1));
    // A person pulls the plug.
    super::kill(site.process(0));
    site.told(
        1,
        &GuestOrder::ConfirmOff {
            node: NODES[0].to_owned(),
        },
    );
    site.until("counts", |site| {
        site.runs(1) && target.guest_counters()[1] == 2
    });
    assert!(site.opened().starts_with("beta "), "{}", site.opened());
    // Alpha is back, and beta is stopped in an orderly way: no confirmation is needed.
    site.again(0);
    (site.stopped, site.gone) = (None, None);
    let name = || "mail".to_owned();
    site.told(
        1,
        &GuestOrder::Stop {
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
    site.told(0, &GuestOrder::Start { name: name() });
    site.until("counts", |site| {
        site.runs(0) && target.guest_counters()[1] == 3
    });
    assert!(site.opened().starts_with("alpha "), "{}", site.opened());
}

#[test]
fn a_killed_storage_guest_starts_only_on_its_node() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("tgtd");
    let (_target, mut site) = on_alpha(17, 0);
    let name = "mail".to_owned();
    site.told(0, &GuestOrder::Stop { name, kills: true });
    site.until("is down", |site| site.process(0) == 0);
    for _ in 0..20 {
        site.turn();
    }
    // The last write may be in flight.
    assert!(site.opened().starts_with("alpha "), "{}", site.opened());
    assert_eq!(site.process(1), 0);
}

#[test]
fn a_guest_whose_volume_cannot_move_is_not_paused_for_it() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("tgtd");
    let (target, mut site) = on_alpha(16, 200_000);
    let pid = site.process(0);
    let words = "beta is not connected";
    let stays = |site: &MigrationFixture| {
        let why = site.subject(0).words(NOT_MOVED);
        why.is_some_and(|why| why.contains("volume mail: beta is not connected"))
    };
    site.stays = Some(words);
    site.turn();
    site.order(0);
    site.until("stays", stays);
    assert!(
        !site.events(0).contains("it is to move"),
        "{}",
        site.events(0)
    );
    assert_eq!((site.process(0), site.process(1)), (pid, 0));
    // The volume becomes unmovable while the memory is copied.
    site.stays = None;
    site.turn();
    site.order(0);
    site.until("copies", |site| site.subject(0).value("sent") > Some(0));
    site.stays = Some(words);
    site.until("stays", stays);
    site.until("runs", |site| site.runs(0) && site.process(1) == 0);
    assert_eq!((site.process(0), target.guest_counters()[1]), (pid, 1));
    // A guest with cold migration is not shut down either.
    let mut cold = counting(&target, None);
    cold.migrate = Migrate::Cold;
    for (index, node) in NODES.iter().enumerate() {
        let payload = super::payload(node, cold.clone());
        site.roles[index].change(&payload).unwrap();
    }
    site.order(0);
    site.until("stays", stays);
    for _ in 0..20 {
        site.turn();
    }
    assert!(site.runs(0) && site.process(0) == pid);
}

#[test]
fn a_storage_guest_moves_while_it_runs() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("tgtd");
    let target = start(None);
    let mut site = MigrationFixture::begin(10, 0, &counting(&target, None));
    site.until_alpha("counts", |site| {
        site.runs(0) && target.guest_counters()[0] > 2
    });
    for from in [0, 1] {
        let to = 1 - from;
        site.order(from);
        site.until("moves", |site| site.runs(to) && site.process(from) == 0);
        let [before, _] = target.guest_counters();
        site.until("counts on", |_| target.guest_counters()[0] > before + 2);
        assert!(site.opened().starts_with(NODES[to]), "{}", site.opened());
    }
    // The counter shows that the guest was never restarted.
    assert_eq!(target.guest_counters()[1], 1);
    assert!(eventually(Duration::from_secs(60), || target
        .guest_counters()[0]
        > 10));
}
