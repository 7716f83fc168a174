//! Serves a volume with one replica: its export and its disk on one thread with one epoll loop. If
//! the backing store is open without direct I/O, operations go through the page cache.

use crate::disk::{BackingFile, Completion, Disk, DiskError, Pool, Preference};
use crate::export::{Export, ExportListener, KEYS, Tenure};
use crate::meter::{Meter, Stopwatch};
use crate::overwrite::OverwriteMark;
use crate::stream::wait;
use crate::sums::area::Area;
use crate::sums::{Checked, Tally};
use protocol::nbd;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

const EVENTS_MAX: usize = 32;
const ROUNDS_MAX: usize = 8;
/// Timeout of requests in progress after a stop.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Retry delay of operations that the kernel refused.
const RETRY: Duration = Duration::from_millis(1);

const DISK_KEY: u64 = 0;
const STOP_KEY: u64 = 1;
const WAKE_KEY: u64 = 2;

/// Reason why a volume is no longer served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("cannot wait for events: {0}")]
    Wait(Errno),
    #[error("it is opened again")]
    Reopens,
}

/// Source of changes to a volume while it is served.
pub struct ChangeSource<'w> {
    pub wakes: BorrowedFd<'w>,
    /// Function that makes `wakes` unreadable, and returns the pending changes.
    pub woken: &'w mut dyn FnMut() -> VolumeChanges,
}

/// Changes to a volume while it is served.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct VolumeChanges {
    /// New size for clients that connect from now on, bytes.
    pub size: Option<u64>,
    pub check: Option<bool>,
    /// Rate for building and checking checksums, bytes per second.
    pub rate: Option<u64>,
    /// Ends the serving with [`ServeError::Reopens`].
    pub reopens: bool,
    /// New mark of an incomplete volume, which is stored; `Some(None)` if it was removed.
    pub overwrite: Option<Option<OverwriteMark>>,
}

/// Volume with one replica, being served.
pub struct Single {
    epoll: Rc<OwnedFd>,
    export: Export,
    disk: Checked,
    meter: Arc<Meter>,
    stopwatch: Stopwatch,
    user_changed: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for Single {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Single({:?})", self.export)
    }
}

impl Single {
    /// Exports the content of `target` on the listeners.
    ///
    /// # Errors
    /// The disk cannot be used, or the listeners cannot be added to epoll.
    pub fn new(
        target: &BackingFile,
        export: nbd::Export,
        listeners: Vec<ExportListener>,
        prefers: Preference,
    ) -> Result<Single, ServeError> {
        Single::checked(target, export, listeners, prefers, None)
    }

    /// Exports like [`Single::new`], with checksums. Missing ones are built at `rate` bytes per
    /// second, and the tally receives their status.
    ///
    /// # Errors
    /// The disk cannot be used, or the listeners cannot be added to epoll.
    pub fn checked(
        target: &BackingFile,
        export: nbd::Export,
        listeners: Vec<ExportListener>,
        prefers: Preference,
        sums: Option<(Area, u64, Arc<Tally>)>,
    ) -> Result<Single, ServeError> {
        let epoll = Rc::new(epoll::create(CreateFlags::CLOEXEC).map_err(ServeError::Wait)?);
        let pool = Pool::new()?;
        let mut disk = Disk::new(target, &pool, prefers)?;
        let disk = match sums {
            Some((area, rate, tally)) => Checked::with(disk, area, &pool, prefers, rate, tally)?,
            None => {
                if !target.is_direct() {
                    disk.use_cache(target);
                }
                Checked::new(disk)
            }
        };
        for descriptor in disk.descriptors() {
            let data = EventData::new_u64(DISK_KEY);
            epoll::add(&epoll, descriptor, data, EventFlags::IN).map_err(ServeError::Wait)?;
        }
        let export = Export::new(Rc::clone(&epoll), export, listeners, pool)?;
        Ok(Single {
            epoll,
            export,
            disk,
            meter: Arc::default(),
            stopwatch: Stopwatch::default(),
            user_changed: None,
        })
    }

    /// Makes the volume count its I/O in this meter, after clearing the meter's errors of earlier
    /// openings of the volume.
    pub fn count_in(&mut self, meter: Arc<Meter>) {
        meter.forget_troubles();
        self.meter = meter;
    }

    /// Connects the volume to its tenure, which decides which user may open it. `changed` is called
    /// when the user changes.
    pub fn attach_tenure(&mut self, tenure: Arc<Tenure>, changed: Arc<dyn Fn() + Send + Sync>) {
        self.export.attach_tenure(tenure);
        self.user_changed = Some(changed);
    }

    /// Sets the stored mark of an incomplete volume, which only commands may open.
    pub fn set_overwrite(&mut self, mark: Option<OverwriteMark>) {
        self.export.set_overwrite(mark);
    }

    pub fn uses_ring(&self) -> bool {
        self.disk.uses_ring()
    }

    /// Serves until `stop` is readable or closed. Then waits for the requests in progress, and
    /// closes all connections.
    ///
    /// # Errors
    /// Waiting for events failed.
    pub fn run(self, stop: BorrowedFd<'_>) -> Result<(), ServeError> {
        self.run_woken(stop, None)
    }

    /// Serves like [`Single::run`], with a source of changes.
    ///
    /// # Errors
    /// Waiting for events failed, or the volume has to be reopened.
    pub fn run_woken(
        mut self,
        stop: BorrowedFd<'_>,
        mut waker: Option<ChangeSource<'_>>,
    ) -> Result<(), ServeError> {
        let watched = [
            (STOP_KEY, Some(stop)),
            (WAKE_KEY, waker.as_ref().map(|one| one.wakes)),
        ];
        for (key, descriptor) in watched {
            let data = EventData::new_u64(key);
            let add = |fd| epoll::add(&self.epoll, fd, data, EventFlags::IN);
            descriptor.map_or(Ok(()), add).map_err(ServeError::Wait)?;
        }
        let mut stops_at: Option<Instant> = None;
        let mut ends = Ok(());
        let mut completions = Vec::new();
        loop {
            let retry = self.disk.is_held_up().then(|| Instant::now() + RETRY);
            let deadlines = [
                self.export.deadline(),
                stops_at,
                retry,
                self.disk.deadline(),
            ];
            let deadline = deadlines.into_iter().flatten().min();
            let mut events = [const {
                Event {
                    flags: EventFlags::empty(),
                    data: EventData::new_u64(0),
                }
            }; EVENTS_MAX];
            let count = wait(&self.epoll, &mut events, deadline).map_err(ServeError::Wait)?;
            let now = Instant::now();
            for event in &events[..count] {
                match event.data.u64() {
                    DISK_KEY => {}
                    STOP_KEY => {
                        let _ = epoll::delete(&self.epoll, stop);
                        self.export.stop();
                        stops_at = now.checked_add(STOP_MAX);
                    }
                    WAKE_KEY => {
                        let woken = waker.as_mut().map(|waker| (waker.woken)());
                        let wanted = woken.unwrap_or_default();
                        if wanted.reopens && stops_at.is_none() {
                            ends = Err(ServeError::Reopens);
                            self.export.stop();
                            stops_at = now.checked_add(STOP_MAX);
                        }
                        self.woken(wanted);
                    }
                    key => {
                        debug_assert!(key >= KEYS);
                        self.export.handle_event(key, event.flags, now);
                    }
                }
            }
            self.turn(&mut completions, now);
            let is_late = stops_at.is_some_and(|at| now >= at);
            let is_idle = stops_at.is_some() && !self.export.is_busy();
            if stops_at.is_some() && is_late || is_idle && self.disk.stop() {
                return ends;
            }
            if is_idle {
                self.disk.start();
            }
        }
    }

    fn woken(&mut self, wanted: VolumeChanges) {
        if let Some(size) = wanted.size {
            match self.disk.grow(size) {
                Ok(()) => self.export.grow(size),
                // Hides from clients a size that the checksums cannot cover.
                Err(error) => self.disk.report_error(&error),
            }
        }
        if let Some(rate) = wanted.rate {
            self.disk.set_rate(rate);
        }
        if let Some(mark) = wanted.overwrite {
            self.set_overwrite(mark);
        }
        match wanted.check {
            Some(true) => self.disk.scrub(),
            Some(false) => self.disk.end_scrub(),
            None => {}
        }
    }

    /// Passes operations to the disk and completions to the clients, until there are none or other
    /// work has waited long enough. Operations in progress wake the loop again.
    fn turn(&mut self, completions: &mut Vec<Completion>, now: Instant) {
        self.export.handle_time(now);
        for _ in 0..ROUNDS_MAX {
            self.disk.completions(completions);
            self.stopwatch.end(&self.meter, completions);
            for completion in completions.drain(..) {
                self.export.handle_completion(completion);
            }
            let mut any = false;
            for (token, operation) in self.export.settle() {
                self.stopwatch.begin(token, &operation, now);
                self.disk.submit(token, operation);
                any = true;
            }
            if !any {
                break;
            }
            self.disk.start();
        }
        let counters = self.export.counters();
        self.meter.set_clients(self.export.clients(), counters);
        if self.export.show_holder()
            && let Some(changed) = &self.user_changed
        {
            changed();
        }
    }
}
