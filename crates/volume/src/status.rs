//! Defines the status of a volume on this node, as the volume's thread reports it.

use crate::config::{Schedule, Spec};
use crate::device::{Device, Stamp};
use crate::export::OverwriteStatus;
use crate::meter::{Meter, OperationKind};
use crate::mirror::MirrorStatus;
use crate::network::ListenerStatus;
use crate::overwrite::OverwriteMark;
use crate::sums::Tally;
use crate::verified::VerifyRecord;
use part::report::{Event, Grade, Moment};
use part::status::VolumeServiceState;
use rustix::fs::{FileType, fstat};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

/// Name of the state of a replica that does not belong to the volume which the other node serves.
pub(crate) const REFUSED: &str = "refused";

const EVENTS_MAX: usize = 16;

/// Returns the word for a state, and its grade.
pub(crate) fn state_words(state: VolumeServiceState) -> (&'static str, Grade) {
    match state {
        VolumeServiceState::Opening => ("opening", Grade::Busy),
        VolumeServiceState::Serving => ("serving", Grade::Good),
        VolumeServiceState::Alone => ("serving alone", Grade::Bad),
        VolumeServiceState::Resync => ("resync", Grade::Busy),
        VolumeServiceState::Following => ("copy", Grade::Good),
        VolumeServiceState::Filling => ("filling", Grade::Busy),
        VolumeServiceState::Refused => (REFUSED, Grade::Bad),
        VolumeServiceState::Frozen => ("waiting", Grade::Bad),
        VolumeServiceState::NotCreated => ("not created", Grade::Bad),
        VolumeServiceState::InUse => ("in use", Grade::Bad),
        VolumeServiceState::Failed => ("failed", Grade::Bad),
        VolumeServiceState::Stopping => ("stopping", Grade::Busy),
        VolumeServiceState::External => ("external", Grade::Unknown),
        VolumeServiceState::Unknown => ("unknown", Grade::Unknown),
    }
}

/// Properties of a volume that is being served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServedProperties {
    /// Size for clients that connect now, bytes.
    pub size_bytes: u64,
    /// True if io_uring does the operations, false for threads.
    pub uses_ring: bool,
    /// True for direct I/O, false for the page cache.
    pub is_direct: bool,
}

/// Status of a volume's scheduled snapshots.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SnapshotStatus {
    pub count: usize,
    pub newest: Option<Stamp>,
    pub trouble: Option<String>,
}

/// Complete status of a volume.
#[derive(Clone, Debug)]
pub struct VolumeStatus {
    pub name: String,
    pub spec: Spec,
    pub socket: PathBuf,
    pub state: VolumeServiceState,
    pub since: Moment,
    pub why: String,
    /// Properties of the served volume; None if it is not served.
    pub served: Option<ServedProperties>,
    pub opened: Vec<Weak<File>>,
    pub mirror: Option<MirrorStatus>,
    pub overwrite: Option<OverwriteMark>,
    pub verified: Option<VerifyRecord>,
    pub events: Vec<Event>,
    pub snapshots: Option<(Schedule, SnapshotStatus)>,
    pub network: Option<ListenerStatus>,
    pub sums: Arc<Tally>,
    pub meter: Arc<Meter>,
}

impl VolumeStatus {
    pub(crate) fn open(&mut self, device: &Device) {
        let files = [&device.data.file, &device.metadata.file];
        self.opened = files.map(Arc::downgrade).into();
    }

    /// Returns whether an open file of the volume was deleted. Does not wait for a disk.
    pub fn is_deleted(&self) -> bool {
        let mut open = self.opened.iter().filter_map(Weak::upgrade);
        open.any(|file| {
            fstat(&file).is_ok_and(|stat| {
                let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                is_file && stat.st_nlink == 0
            })
        })
    }

    /// Returns the overwrite of the volume that is not completed: the command still runs, or was
    /// interrupted.
    pub fn overwrite(&self) -> Option<OverwriteStatus> {
        let mirrored = self.mirror.as_ref().and_then(|shown| shown.overwrite);
        let holder = self.meter.tenure.holder();
        let mut status = OverwriteStatus::new(mirrored.or(self.overwrite), holder.as_ref())?;
        // Counts any user of the other node as the command: only commands can have an incomplete
        // volume open.
        let there = self.mirror.as_ref().and_then(|shown| shown.users);
        status.is_running |= there.is_some_and(|users| users.holder != 0);
        Some(status)
    }

    pub(crate) fn has_failed_writes(&self) -> bool {
        let mut kinds = [OperationKind::Write, OperationKind::Flush].into_iter();
        kinds.any(|kind| self.meter.count(kind).trouble.is_some())
    }

    /// Enters a state. Returns whether the state or its reason changed.
    pub(crate) fn enter(&mut self, state: VolumeServiceState, why: String) -> bool {
        let why = named(&why, &self.name);
        if (state, &why) == (self.state, &self.why) {
            return false;
        }
        tracing::info!(volume = self.name, ?state, reason = why, "state changed");
        let at = Moment::now();
        if state != self.state {
            self.events.push(Event {
                at,
                from: state_words(self.state).0.to_owned(),
                to: state_words(state).0.to_owned(),
                why: why.clone(),
            });
            let surplus = self.events.len().saturating_sub(EVENTS_MAX);
            self.events.drain(..surplus);
            self.since = at;
        }
        (self.state, self.why) = (state, why);
        true
    }
}
/// Replaces NAME in a message by the volume's name. [`crate::replica`] and [`crate::mirror`] write
/// NAME because they do not know the volume's name.
pub(crate) fn named(words: &str, name: &str) -> String {
    words.replace(" NAME", &format!(" {name}"))
}
