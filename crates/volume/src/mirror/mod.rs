//! A volume with two copies, on one of its nodes: the replica with its disk, the link to the
//! other node, the lease, and the clients, on one thread with one epoll loop.
//!
//! - [`founding`] decides what a volume begins with, for which the cluster has no record.
//! - [`record`] and [`durable`] are what the replica knows, for the cluster and for the disk.
//! - [`wire`] is its messages as frames; [`peer`] the other node; [`local`] the disk.
//! - [`clients`] are the requests, which go to the replica here, or to the other node;
//!   [`admission`] says whose clients may write;
//!   [`used`] carries out how a part of this node uses the volume.
//! - [`apart`] is a copy that is refused, until an operator gives it up; [`keeping`] the snapshot
//!   of a copy before a resync.
//! - [`without_majority`] fails requests that no node may serve, if the file says so.
//! - [`ending`] is what a stop waits for.
//! - [`room`] prepares the backing for a larger size.
//! - [`mailbox`] is how other threads tell this one something.
//!
//! It decides nothing about copies: the replica does.

mod admission;
mod adoption;
mod apart;
#[cfg(test)]
mod bed;
mod clients;
mod durable;
mod ending;
mod founding;
#[cfg(test)]
mod fuzz;
mod keeping;
mod lease;
mod local;
pub mod mailbox;
mod peer;
mod record;
mod requests;
mod room;
mod shown;
mod turn;
mod used;
mod wire;
mod without_majority;

pub use apart::Apart;
pub use local::Sums;
pub use peer::Users;
pub use shown::{NO_CLUSTER, Shown, ShownSize};

use crate::config::WithoutMajority;
use crate::device::{Backing, Device};
use crate::disk::{Buffer, Completion, DiskError};
use crate::export::{Export, Listener, Tenure};
use crate::layout::{self, Metadata};
use crate::link::dial::Dialer;
use crate::link::greeting::Facts;
use crate::meter::{Meter, Stopwatch};
use crate::replica::{
    self, BLOCK_BYTES, Boot, Bounds, EXTENT_BLOCKS, Epoch, Geometry, LOG_EXTENTS, Payload, Replica,
    Settings, Time, VolumeId,
};
use clients::Clients;
use keeping::Keeping;
use lease::Lease;
use local::Local;
use mailbox::{Mailbox, Wish};
use peer::Peer;
use protocol::nbd;
use record::{ME, Names, OTHER};
use room::Room;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

const DISK_KEY: u64 = 0;
const STOP_KEY: u64 = 1;
const LETTERS_KEY: u64 = 2;
const LINK_KEY: u64 = 3;

/// Requests that the replica has at a time: what all clients may have.
const REQUESTS_MAX: usize = 4096;

/// The bytes of blocks, in memory of the disk.
#[derive(Clone, Debug)]
pub struct Data(pub Rc<Buffer>);

impl Payload for Data {
    fn checksum(&self) -> u64 {
        crate::link::frame::checksum(self.0.bytes())
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Data) -> bool {
        self.0.bytes() == other.0.bytes()
    }
}

impl Eq for Data {}

/// Why a volume is not served any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MirrorError {
    /// The disk cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Events cannot be waited for.
    #[error("cannot wait for events: {0}")]
    Wait(Errno),
    /// The copy became smaller, and does not fit its checksums any more.
    #[error("the copy became smaller: it is opened again")]
    Reopens,
}

/// What the thread of a volume has from outside.
#[derive(Clone)]
pub struct Outside {
    /// What it is told.
    pub mailbox: Arc<Mailbox>,
    /// What it wants of the cluster.
    pub wishes: Arc<dyn Fn(Wish) + Send + Sync>,
    /// How it is.
    pub show: Arc<dyn Fn(Shown) + Send + Sync>,
    /// What it did, for operators.
    pub say: Arc<dyn Fn(String) + Send + Sync>,
    /// Makes connections, at the node that does.
    pub dialer: Option<Arc<Dialer>>,
    /// Its numbers.
    pub meter: Arc<Meter>,
    /// Its user on this node.
    pub tenure: Arc<Tenure>,
    /// The boot of this machine ([`boot`]).
    pub boot: u128,
}

/// A copy that was opened.
pub struct Opened<'d> {
    /// Its backing.
    pub device: &'d Device,
    /// Its metadata.
    pub layout: Metadata,
    /// What was read of it.
    pub loaded: layout::Loaded,
    /// Where it is.
    pub backing: &'d Backing,
    /// Its checksums, if it has some.
    pub sums: Option<Sums>,
}

/// Between which nodes.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The name of this node.
    pub me: String,
    /// The name of the other one.
    pub other: String,
    /// Bytes a second of a resync at most.
    pub resync_rate: u64,
    /// What requests do while no node may serve.
    pub without_majority: WithoutMajority,
}

/// A volume with two copies.
pub struct Mirror {
    epoll: Rc<OwnedFd>,
    export: Export,
    local: Local,
    replica: Replica<Data>,
    settings: Settings,
    actions: Vec<replica::Action<Data>>,
    peer: Peer,
    clients: Clients,
    /// What the export is about to hear.
    completed: Vec<Completion>,
    lease: Lease,
    room: Room,
    keeping: Keeping,
    stopwatch: Stopwatch,
    shown: shown::Showing,
    outside: Outside,
}

impl Mirror {
    /// Offers an open copy at the listener.
    ///
    /// # Errors
    /// The disk cannot be used, or something cannot be watched.
    pub fn new(
        opened: Opened<'_>,
        pair: &Pair,
        export: nbd::Export,
        listener: Listener,
        outside: Outside,
    ) -> Result<Mirror, MirrorError> {
        let epoll = Rc::new(epoll::create(CreateFlags::CLOEXEC).map_err(MirrorError::Wait)?);
        let Opened {
            device,
            layout,
            loaded,
            backing,
            sums,
        } = opened;
        let size = layout.head().size_bytes;
        let size_max = sums.as_ref().map_or(u64::MAX, |(area, ..)| area.size_max);
        let room = Room::new(device, backing, &export.name, (size, size_max));
        let local = Local::new(&device.data, &device.metadata, layout, sums)?;
        let watch = |descriptor, key| {
            let data = EventData::new_u64(key);
            epoll::add(&epoll, descriptor, data, EventFlags::IN).map_err(MirrorError::Wait)
        };
        for descriptor in local.descriptors() {
            watch(descriptor, DISK_KEY)?;
        }
        watch(outside.mailbox.letters().as_fd(), LETTERS_KEY)?;
        let settings = settings(size, pair, outside.boot);
        let durable = durable::loaded(&loaded);
        let replica = Replica::new(settings, &durable, boottime());
        let lease = Lease::new(
            Names {
                me: pair.me.clone(),
                other: pair.other.clone(),
            },
            Epoch(loaded.head.promised),
        );
        let peer = Peer::new(Rc::clone(&epoll), LINK_KEY, local.pool());
        let mut export = Export::new(
            Rc::clone(&epoll),
            export,
            vec![listener],
            local.pool().clone(),
        )?;
        export.heed(Arc::clone(&outside.tenure));
        // A process that was connected to the role before this one continues.
        let clients = Clients::after_restart(outside.tenure.named_user());
        let mirror = Mirror {
            epoll,
            export,
            local,
            replica,
            settings,
            actions: Vec::new(),
            peer,
            clients,
            completed: Vec::new(),
            lease,
            room,
            keeping: Keeping::new(backing),
            stopwatch: Stopwatch::default(),
            shown: shown::Showing::new(Instant::now()),
            outside,
        };
        mirror.outside.mailbox.set_facts(mirror.facts());
        Ok(mirror)
    }

    /// Whether operations are done by io_uring.
    pub fn uses_ring(&self) -> bool {
        self.local.uses_ring()
    }

    /// What the copy is, for the other node.
    fn facts(&self) -> Facts {
        let head = self.local.head();
        Facts {
            volume: head.volume.map(|volume| VolumeId(volume.0)),
            size_bytes: head.size_bytes,
        }
    }
}

/// How long a resync takes for a block at least, nanoseconds, at this rate in bytes a second.
fn block_ns(rate: u64) -> u64 {
    BLOCK_BYTES * 1_000_000_000 / rate.max(BLOCK_BYTES)
}

/// The settings of the replica of a volume of this size, bytes.
fn settings(size: u64, pair: &Pair, boot: u128) -> Settings {
    Settings {
        me: ME,
        other: OTHER,
        boot: Boot(boot),
        geometry: Geometry {
            blocks: size / BLOCK_BYTES,
            extent_blocks: EXTENT_BLOCKS,
            log_extents: LOG_EXTENTS,
        },
        bounds: Bounds {
            requests: REQUESTS_MAX,
            fail_ns: without_majority::fail_ns(pair.without_majority),
            resync_block_ns: block_ns(pair.resync_rate),
            ..Bounds::default()
        },
    }
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mirror({:?})", self.replica.report(boottime()))
    }
}

/// The present, by the clock of leases.
fn boottime() -> Time {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let ns = u64::try_from(now.tv_nsec).unwrap_or(0);
    Time(seconds.saturating_mul(1_000_000_000).saturating_add(ns))
}

/// The moment of a time of that clock.
fn moment(time: Time) -> Instant {
    let left = time.0.saturating_sub(boottime().0);
    let now = Instant::now();
    now.checked_add(std::time::Duration::from_nanos(left))
        .unwrap_or(now)
}

/// The boot of this machine. Where the kernel does not say it, every start of the process
/// counts as one: then a copy may be held for one that lost power. To be asked before a thread
/// is confined.
pub fn boot() -> u128 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let hex = id.ok().map(|id| id.trim().replace('-', ""));
    let known = hex.and_then(|hex| u128::from_str_radix(&hex, 16).ok());
    known.unwrap_or_else(|| u128::from(boottime().0) << 32 | u128::from(std::process::id()))
}
