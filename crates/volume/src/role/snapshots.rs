//! Takes the scheduled snapshots of a volume, on their own thread, because the file system may be
//! slow. The next due time is derived from the existing snapshots, so a restarted role continues
//! the schedule.

use crate::config::Schedule;
use crate::device::{Backing, Snapshot, SnapshotReason, Stamp, snapshot};
use crate::status::SnapshotStatus;
use part::voice::write_error;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const RETRY: Duration = Duration::from_secs(60);
const SERVED_LOOK: Duration = Duration::from_secs(5);
/// Maximum sleep of the thread: the clock may be changed while no snapshot is due.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// Snapshot thread, which ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Snapshots {
    pub(super) schedule: Schedule,
    backing: Backing,
    taken: Arc<Mutex<SnapshotStatus>>,
    _stop: Sender<()>,
}

struct Keeper<S> {
    name: String,
    backing: Backing,
    schedule: Schedule,
    serves: S,
    taken: Arc<Mutex<SnapshotStatus>>,
}

impl Snapshots {
    /// Starts the thread. `serves` returns whether the volume is served, because only then its data
    /// is valid.
    pub(super) fn start(
        name: &str,
        backing: &Backing,
        schedule: Schedule,
        serves: impl Fn() -> bool + Send + 'static,
    ) -> Snapshots {
        let (stop, stopped) = channel::<()>();
        let taken = Arc::new(Mutex::new(SnapshotStatus::default()));
        let keeper = Keeper {
            name: name.to_owned(),
            backing: backing.clone(),
            schedule,
            serves,
            taken: Arc::clone(&taken),
        };
        let builder = std::thread::Builder::new().name(format!("snapshot/{name}"));
        let thread = builder.spawn(move || {
            let mut wait = Duration::ZERO;
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                wait = keeper.take_due_snapshot(Stamp::now());
            }
        });
        if let Err(error) = thread {
            let words = format!("cannot start a thread: {error}");
            taken.lock().unwrap_or_else(PoisonError::into_inner).trouble = Some(words);
        }
        Snapshots {
            schedule,
            backing: backing.clone(),
            taken,
            _stop: stop,
        }
    }

    pub(super) fn fits(&self, backing: &Backing, schedule: Option<Schedule>) -> bool {
        Some(self.schedule) == schedule && self.backing == *backing
    }

    pub(super) fn taken(&self) -> SnapshotStatus {
        let taken = self.taken.lock();
        taken.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S: Fn() -> bool> Keeper<S> {
    /// Takes a snapshot if one is due. Returns the time until the next check.
    fn take_due_snapshot(&self, now: Stamp) -> Duration {
        match self.keep(now) {
            Ok(wait) => wait.min(WAIT_MAX),
            Err(words) => {
                let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
                if taken.trouble.as_ref() != Some(&words) {
                    let name = &self.name;
                    write_error(&format!("evenkeel: volume {name}: no snapshot: {words}\n"));
                }
                taken.trouble = Some(words);
                RETRY
            }
        }
    }

    fn keep(&self, now: Stamp) -> Result<Duration, String> {
        let mut all = self.scheduled()?;
        let every = self.schedule.every_seconds.max(1);
        let newest = all.last().map(|one| one.stamp);
        // Ignores a snapshot from the future: the clock was set back.
        let newest = newest.filter(|stamp| *stamp <= now);
        let due = newest.map_or(now, |stamp| Stamp(stamp.0.saturating_add(every)));
        let is_due = due <= now;
        if is_due {
            if !(self.serves)() {
                return Ok(SERVED_LOOK);
            }
            let taken = snapshot::take(&self.backing, &self.name, now, SnapshotReason::Scheduled);
            all.push(taken.map_err(|error| error.to_string())?);
        }
        let surplus = all.len().saturating_sub(self.schedule.keep as usize);
        for one in all.drain(..surplus) {
            one.remove().map_err(|error| error.to_string())?;
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = SnapshotStatus {
            count: all.len(),
            newest: all.last().map(|one| one.stamp),
            trouble: None,
        };
        let wait = if is_due { every } else { due.0 - now.0 };
        Ok(Duration::from_secs(wait))
    }

    fn scheduled(&self) -> Result<Vec<Snapshot>, String> {
        let all = snapshot::list(&self.backing, &self.name);
        let mut all = all.map_err(|error| error.to_string())?;
        all.retain(|one| one.kind == SnapshotReason::Scheduled);
        Ok(all)
    }
}
