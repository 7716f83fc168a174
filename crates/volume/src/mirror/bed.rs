//! Sets up a mirrored volume with a disk for tests.

use super::admission::WriteAdmission;
use super::mailbox::Mailbox;
use super::{Mirror, MirrorEnvironment, MirrorSettings, OpenCopy};
use crate::config::WithoutMajority;
use crate::device;
use crate::device::bed::create_mail;
use crate::export::{ExportListener, KEYS};
use crate::layout::Superblock;
use crate::link::greeting::{Greeting, ReplicaProperties};
use crate::replica::Record;
use crate::stream::wait;
use lab::ScratchDirectory;
use part::role::KnownLease;
use protocol::nbd;
use rustix::event::epoll::{Event, EventData, EventFlags};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

pub(super) const SIZE: u64 = 16 << 20;

/// Creates a volume without a lease, which the other node does not know.
pub(super) fn mirror(scratch: &ScratchDirectory, head: Superblock) -> Mirror {
    mirror_in(scratch.path(), head)
}

pub(super) fn mirror_in(directory: &Path, head: Superblock) -> Mirror {
    let backing = create_mail(directory, head);
    let (device, layout, loaded) = device::open(&backing, "mail", None).unwrap();
    let mailbox = Mailbox::new(Greeting {
        volume: "mail".to_owned(),
        from: "alpha".to_owned(),
        to: "beta".to_owned(),
        facts: ReplicaProperties::default(),
    });
    let outside = MirrorEnvironment {
        tenure: Default::default(),
        mailbox: Arc::new(mailbox.unwrap()),
        wishes: Arc::new(|_| {}),
        show: Arc::new(|_| {}),
        say: Arc::new(|_| {}),
        dialer: None,
        meter: Arc::default(),
        boot: 1,
    };
    let opened = OpenCopy {
        device: &device,
        layout,
        loaded,
        backing: &backing,
        sums: None,
    };
    let pair = MirrorSettings {
        me: "alpha".to_owned(),
        other: "beta".to_owned(),
        resync_rate: 1 << 30,
        without_majority: WithoutMajority::Freeze,
    };
    let export = nbd::Export {
        name: "mail".to_owned(),
        description: String::new(),
        size: SIZE,
        read_only: false,
        multi_conn: false,
        block_min: 4096,
        block_preferred: 4096,
    };
    let listener = UnixListener::bind(directory.join("socket")).unwrap();
    Mirror::new(
        opened,
        &pair,
        export,
        ExportListener::Unix(listener),
        outside,
    )
    .unwrap()
}

/// Applies a lease report of the cluster that names `holder`. `until_ns`: end of the lease on the
/// boot clock if this node is the holder; zero: the lease has ended.
pub(super) fn learn(mirror: &mut Mirror, holder: &str, until_ns: u64, record: &Record) {
    let record = mirror
        .lease
        .names
        .encode(record, &WriteAdmission::default());
    mirror.outside.mailbox.set_lease(Some(KnownLease {
        epoch: 5,
        until_ns,
        holder: holder.to_owned(),
        number: 1,
        record,
        ..KnownLease::default()
    }));
    mirror.apply_lease_report();
}

impl Mirror {
    pub(super) fn turn_once(&mut self) {
        let mut events = [const {
            Event {
                flags: EventFlags::empty(),
                data: EventData::new_u64(0),
            }
        }; 8];
        let now = Instant::now();
        let count = wait(&self.epoll, &mut events, Some(now)).unwrap();
        for event in &events[..count] {
            if event.data.u64() >= KEYS {
                self.export.handle_event(event.data.u64(), event.flags, now);
            }
        }
        self.turn(now);
    }
}
