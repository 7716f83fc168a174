//! How a volume is, as its thread says.

use crate::config::{Schedule, Spec};
use crate::device::{Device, Stamp};
use crate::meter::{Kind, Meter};
use crate::mirror::Shown;
use crate::network::Seen;
use crate::sums::Tally;
use crate::verified::Verified;
use part::report::{Event, Grade, Moment};
use rustix::fs::{FileType, fstat};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

/// The state of a copy that is no part of the volume.
pub(crate) const REFUSED: &str = "refused";

/// Changes of the state that are kept.
const EVENTS_MAX: usize = 16;

/// What a volume does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Its backing is being opened.
    Opening,
    /// Clients can use it.
    Serving,
    /// Clients can use it, and only this node has all data.
    Alone,
    /// Clients can use it, and the other copy gets what it lacks.
    Resync,
    /// The other node serves it, and this copy has all data.
    Following,
    /// The other node serves it, and this copy gets what it lacks.
    Filling,
    /// The other node serves a volume that this copy is no part of.
    Refused,
    /// Its requests wait: no node may serve it now.
    Frozen,
    /// Its backing holds no volume yet.
    NotCreated,
    /// Another process has it, or a volume of this name that still stops.
    InUse,
    /// It cannot be served.
    Failed,
    /// It finishes its requests.
    Stopping,
}

impl State {
    /// Whether clients can use it here.
    pub fn is_served(self) -> bool {
        matches!(self, State::Serving | State::Alone | State::Resync)
    }

    /// Its word, and how good it is.
    pub fn words(self) -> (&'static str, Grade) {
        match self {
            State::Opening => ("opening", Grade::Busy),
            State::Serving => ("serving", Grade::Good),
            State::Alone => ("serving alone", Grade::Bad),
            State::Resync => ("resync", Grade::Busy),
            State::Following => ("copy", Grade::Good),
            State::Filling => ("filling", Grade::Busy),
            State::Refused => (REFUSED, Grade::Bad),
            State::Frozen => ("waiting", Grade::Bad),
            State::NotCreated => ("not created", Grade::Bad),
            State::InUse => ("in use", Grade::Bad),
            State::Failed => ("failed", Grade::Bad),
            State::Stopping => ("stopping", Grade::Busy),
        }
    }
}

/// How a volume is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Served {
    /// Its size in bytes, for clients that connect now.
    pub size_bytes: u64,
    /// Operations are done by io_uring.
    pub uses_ring: bool,
    /// They bypass the page cache.
    pub is_direct: bool,
}

/// What is known of the scheduled snapshots of a volume.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// How many there are.
    pub count: usize,
    /// The newest of them.
    pub newest: Option<Stamp>,
    /// Why there is none of late, in words.
    pub trouble: Option<String>,
}

/// All that is reported of a volume.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// What the file says of it.
    pub spec: Spec,
    /// Where clients connect.
    pub socket: PathBuf,
    /// What it does.
    pub state: State,
    /// Since when.
    pub since: Moment,
    /// Why, in words.
    pub why: String,
    /// How it is served, if it is.
    pub served: Option<Served>,
    /// Its files, while they are open.
    pub opened: Vec<Weak<File>>,
    /// How its two copies are, if it has two.
    pub mirror: Option<Shown>,
    /// The verify that runs, or the last one.
    pub verified: Option<Verified>,
    /// The last changes of its state, the newest last.
    pub events: Vec<Event>,
    /// When snapshots are taken, and those that there are.
    pub snapshots: Option<(Schedule, Taken)>,
    /// Where clients reach it over TCP, if they do.
    pub network: Option<Seen>,
    /// Its checksums.
    pub sums: Arc<Tally>,
    /// Its numbers, and its user.
    pub meter: Arc<Meter>,
}

impl Status {
    /// Its backing is open.
    pub(crate) fn open(&mut self, device: &Device) {
        let files = [&device.data.file, &device.metadata.file];
        self.opened = files.map(Arc::downgrade).into();
    }

    /// Whether a file of it was deleted while it is open. Nothing waits for a disk here.
    pub fn is_deleted(&self) -> bool {
        let mut open = self.opened.iter().filter_map(Weak::upgrade);
        open.any(|file| {
            fstat(&file).is_ok_and(|stat| {
                let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                is_file && stat.st_nlink == 0
            })
        })
    }

    /// The last write, or the last flush, has failed.
    pub(crate) fn has_failed_writes(&self) -> bool {
        let mut kinds = [Kind::Write, Kind::Flush].into_iter();
        kinds.any(|kind| self.meter.count(kind).trouble.is_some())
    }

    /// Enters a state. Returns whether anything changed.
    pub(crate) fn enter(&mut self, state: State, why: String) -> bool {
        let why = named(&why, &self.name);
        if (state, &why) == (self.state, &self.why) {
            return false;
        }
        let at = Moment::now();
        if state != self.state {
            self.events.push(Event {
                at,
                from: self.state.words().0.to_owned(),
                to: state.words().0.to_owned(),
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
/// Words about a volume with its name in the commands, for which [`crate::replica`] and
/// [`crate::mirror`], which do not know it, write NAME.
pub(crate) fn named(words: &str, name: &str) -> String {
    words.replace(" NAME", &format!(" {name}"))
}
