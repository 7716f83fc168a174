//! Runs a mirrored volume on one of its two nodes: the replica with its disk, the link to the other
//! node, the lease and the clients, on one thread with one epoll loop.
//!
//! - [`founding`] decides the initial content of a volume without a cluster record.
//! - [`record`] and [`durable`] encode the replica's state for the cluster and for the disk.
//! - [`wire`] converts the replica's messages to frames; [`peer`] is the other node; [`local`] is
//!   the disk.
//! - [`clients`] tracks requests, which run in the local replica or at the other node;
//!   [`admission`] decides whose clients may write; [`used`] implements the use by a role of this
//!   node, and [`sharing`] that of network boot by both nodes; [`overwriting`] marks a volume whose
//!   content a command replaces.
//! - [`apart`] is a refused copy, until an operator discards it; [`keeping`] manages the snapshot
//!   of a copy before a resync.
//! - [`history`] ends the users of this node when the volume continues with another history.
//! - [`without_majority`] fails requests that no node may serve, if configured.
//! - [`ending`] decides what a stop waits for.
//! - [`room`] prepares the backing store for growth.
//! - [`mailbox`] carries messages from other threads.
//!
//! Decisions about copies belong to the replica, not to this module.

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
mod history;
mod keeping;
mod lease;
mod local;
pub mod mailbox;
mod overwriting;
mod peer;
mod record;
mod requests;
mod room;
mod sharing;
mod shown;
mod turn;
mod used;
mod wire;
mod without_majority;

pub use apart::Apart;
pub use local::Sums;
pub use peer::Users;
pub use record::nodes_with_complete_copy;
pub use shown::{MirrorStatus, NO_CLUSTER, SizeStatus};

use crate::config::WithoutMajority;
use crate::device::{Backing, Device};
use crate::disk::{Buffer, Completion, DiskError};
use crate::export::{Export, ExportListener, Tenure};
use crate::layout::{self, Metadata};
use crate::link::dial::Dialer;
use crate::link::greeting::ReplicaProperties;
use crate::meter::{Meter, Stopwatch};
use crate::replica::{
    self, BLOCK_BYTES, Boot, CopyId, EXTENT_BLOCKS, Epoch, Geometry, Incarnation, LOG_EXTENTS,
    Payload, Replica, ReplicaLimits, Settings, Time, VolumeId,
};
use clients::Clients;
use keeping::ResyncSnapshot;
use lease::Lease;
use local::LocalDisk;
use mailbox::{ClusterRequest, Mailbox};
use overwriting::Overwriting;
use peer::Peer;
use protocol::nbd;
use record::{ME, NodeNames, OTHER};
use room::Room;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

const DISK_KEY: u64 = 0;
const STOP_KEY: u64 = 1;
const LETTERS_KEY: u64 = 2;
const LINK_KEY: u64 = 3;

/// Maximum number of concurrent requests in the replica: the total of all clients' limits.
const REQUESTS_MAX: usize = 4096;

/// Content of blocks, in a disk buffer.
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

/// Reason why a volume is no longer served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MirrorError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("cannot wait for events: {0}")]
    Wait(Errno),
    #[error("cannot generate an identity for the copy: {0}")]
    Random(Errno),
    #[error("the copy became smaller: it is opened again")]
    Reopens,
}

/// Environment of a volume's thread: connections to the role and to the other node.
#[derive(Clone)]
pub struct MirrorEnvironment {
    pub mailbox: Arc<Mailbox>,
    pub wishes: Arc<dyn Fn(ClusterRequest) + Send + Sync>,
    pub show: Arc<dyn Fn(MirrorStatus) + Send + Sync>,
    pub say: Arc<dyn Fn(String) + Send + Sync>,
    /// Dials the other node; None if the other node dials.
    pub dialer: Option<Arc<Dialer>>,
    pub meter: Arc<Meter>,
    /// Tenure, which determines the user on this node.
    pub tenure: Arc<Tenure>,
    pub boot: u128,
}

pub struct OpenCopy<'d> {
    pub device: &'d Device,
    pub layout: Metadata,
    pub loaded: layout::Loaded,
    pub backing: &'d Backing,
    pub sums: Option<Sums>,
}

/// Nodes of a mirrored volume, and its settings.
#[derive(Clone, Debug)]
pub struct MirrorSettings {
    pub me: String,
    /// Name of the other node; empty if the configuration names only this node.
    pub other: String,
    pub resync_rate: u64,
    pub without_majority: WithoutMajority,
}

/// Mirrored volume on this node: drives a [`Replica`], and connects it with the disk, the other
/// node, the lease and the clients. One thread owns the value and runs its event loop.
pub struct Mirror {
    epoll: Rc<OwnedFd>,
    export: Export,
    local: LocalDisk,
    replica: Replica<Data>,
    settings: Settings,
    actions: Vec<replica::ReplicaAction<Data>>,
    peer: Peer,
    clients: Clients,
    /// History that the users of this node have read and written; None if it is unknown.
    history: Option<Incarnation>,
    completed: Vec<Completion>,
    lease: Lease,
    room: Room,
    keeping: ResyncSnapshot,
    overwriting: Overwriting,
    stopwatch: Stopwatch,
    shown: shown::StatusPublisher,
    opened: Instant,
    outside: MirrorEnvironment,
}

impl Mirror {
    /// Opens the volume for clients of the listener.
    ///
    /// # Errors
    /// The disk cannot be used, the system has no random numbers, or a descriptor cannot be added
    /// to epoll.
    pub fn new(
        opened: OpenCopy<'_>,
        pair: &MirrorSettings,
        export: nbd::Export,
        listener: ExportListener,
        outside: MirrorEnvironment,
    ) -> Result<Mirror, MirrorError> {
        let epoll = Rc::new(epoll::create(CreateFlags::CLOEXEC).map_err(MirrorError::Wait)?);
        let OpenCopy {
            device,
            layout,
            loaded,
            backing,
            sums,
        } = opened;
        let size = layout.head().size_bytes;
        let size_max = sums.as_ref().map_or(u64::MAX, |(area, ..)| area.size_max);
        let room = Room::new(device, backing, &export.name, size, size_max);
        let names = NodeNames {
            me: pair.me.clone(),
            other: pair.other.clone(),
        };
        let copy = durable::draw_copy().map_err(MirrorError::Random)?;
        let durable = durable::loaded(&loaded, &names);
        let overwriting = Overwriting::new(loaded.head.overwrite);
        let local = LocalDisk::new(&device.data, &device.metadata, layout, sums, names.clone())?;
        let watch = |descriptor, key| {
            let data = EventData::new_u64(key);
            epoll::add(&epoll, descriptor, data, EventFlags::IN).map_err(MirrorError::Wait)
        };
        for descriptor in local.descriptors() {
            watch(descriptor, DISK_KEY)?;
        }
        watch(outside.mailbox.letters().as_fd(), LETTERS_KEY)?;
        let settings = settings(size, pair, outside.boot, copy);
        let replica = Replica::new(settings, &durable, boottime());
        let lease = Lease::new(names, Epoch(loaded.head.promised));
        let peer = Peer::new(Rc::clone(&epoll), LINK_KEY, local.pool());
        let mut export = Export::new(
            Rc::clone(&epoll),
            export,
            vec![listener],
            local.pool().clone(),
        )?;
        export.attach_tenure(Arc::clone(&outside.tenure));
        export.set_overwrite(overwriting.stored);
        // Continues the user that was connected to the previous process of the volume role.
        let clients = Clients::after_restart(outside.tenure.named_user());
        let head = local.header();
        let history = head.volume.map(|_| head.incarnation);
        let mirror = Mirror {
            epoll,
            export,
            local,
            replica,
            settings,
            actions: Vec::new(),
            peer,
            clients,
            history,
            completed: Vec::new(),
            lease,
            room,
            keeping: ResyncSnapshot::new(backing),
            overwriting,
            stopwatch: Stopwatch::default(),
            shown: shown::StatusPublisher::new(Instant::now()),
            opened: Instant::now(),
            outside,
        };
        mirror.outside.mailbox.set_facts(mirror.facts());
        Ok(mirror)
    }

    pub fn uses_ring(&self) -> bool {
        self.local.uses_ring()
    }

    fn facts(&self) -> ReplicaProperties {
        let head = self.local.head();
        ReplicaProperties {
            volume: head.volume.map(|volume| VolumeId(volume.0)),
            size_bytes: head.size_bytes,
        }
    }
}

/// Returns the minimum time per block of a resync at this rate (bytes per second), nanoseconds.
fn block_ns(rate: u64) -> u64 {
    BLOCK_BYTES * 1_000_000_000 / rate.max(BLOCK_BYTES)
}

fn settings(size: u64, pair: &MirrorSettings, boot: u128, copy: CopyId) -> Settings {
    Settings {
        me: ME,
        other: OTHER,
        boot: Boot(boot),
        copy,
        geometry: Geometry {
            blocks: size / BLOCK_BYTES,
            extent_blocks: EXTENT_BLOCKS,
            log_extents: LOG_EXTENTS,
        },
        bounds: ReplicaLimits {
            requests: REQUESTS_MAX,
            fail_ns: without_majority::fail_ns(pair.without_majority),
            resync_block_ns: block_ns(pair.resync_rate),
            ..ReplicaLimits::default()
        },
    }
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mirror({:?})", self.replica.report(boottime()))
    }
}

fn boottime() -> Time {
    Time(part::clock::boottime_ns())
}

fn moment(time: Time) -> Instant {
    let left = time.0.saturating_sub(boottime().0);
    let now = Instant::now();
    now.checked_add(std::time::Duration::from_nanos(left))
        .unwrap_or(now)
}

/// Returns the identifier of this machine's boot. If the kernel does not provide one, each start of
/// the process counts as a boot, so a copy may seem to have lost power although it has not. Must be
/// called before a thread is confined.
pub fn boot() -> u128 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let hex = id.ok().map(|id| id.trim().replace('-', ""));
    let known = hex.and_then(|hex| u128::from_str_radix(&hex, 16).ok());
    known.unwrap_or_else(|| u128::from(boottime().0) << 32 | u128::from(std::process::id()))
}
