//! Keeps a disk of the portal reachable: a thread opens the disk, opens it again after a failure,
//! and replaces it when it is superseded. [`MonitoredDisk::disk_of`] returns the disk for a client,
//! with the overlay of a machine.

use crate::disk::served::replaced;
use crate::disk::{BootCounts, Disk, DiskUser, OverlayDisk, Overlays, ServedDisk, Storage};
use part::voice::write_error;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Interval at which a disk is checked, and opened if it is unreachable.
const AGAIN: Duration = Duration::from_millis(200);

/// Maximum wait for an overlay, which is created when the machine fetches its script.
const OVERLAY_MAX: Duration = Duration::from_secs(5);

/// Disk that is kept reachable. Dropping the value closes the disk and ends the thread.
pub struct MonitoredDisk {
    inner: Arc<DiskMonitorState>,
    thread: Option<JoinHandle<()>>,
}

struct DiskMonitorState {
    name: String,
    disk: ServedDisk,
    overlays: Option<Overlays>,
    is_file: bool,
    state: Mutex<DiskReachability>,
    changed: Condvar,
}

#[derive(Debug)]
struct DiskReachability {
    stop: bool,
    trouble: Option<String>,
}

fn lock(of: &Mutex<DiskReachability>) -> MutexGuard<'_, DiskReachability> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MonitoredDisk {
    /// Starts the thread of a disk. `confine` restricts this thread to reading files.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn start(
        name: &str,
        storage: &Storage,
        overlays: Option<Overlays>,
        boots: &BootCounts,
        confine: fn() -> io::Result<()>,
    ) -> io::Result<MonitoredDisk> {
        let inner = Arc::new(DiskMonitorState {
            name: name.to_owned(),
            disk: ServedDisk::new(storage, boots.clone()),
            overlays,
            is_file: storage.is_file(),
            state: Mutex::new(DiskReachability {
                stop: false,
                trouble: Some("it has not been looked for".to_owned()),
            }),
            changed: Condvar::new(),
        });
        let keeps = Arc::clone(&inner);
        let thread = std::thread::Builder::new().name("disk".to_owned());
        let thread = thread.spawn(move || keeps.keep(confine))?;
        Ok(MonitoredDisk {
            inner,
            thread: Some(thread),
        })
    }

    /// Returns the disk for a user: with the changes of a machine, if the disk has overlays. None:
    /// the user has no usable overlay, and has to boot again.
    pub fn disk_of(&self, user: DiskUser) -> Option<Arc<dyn Disk>> {
        let base = self.inner.disk.of(user);
        let Some(overlays) = &self.inner.overlays else {
            return Some(base);
        };
        let DiskUser::Machine(mac) = user else {
            return None;
        };
        let overlay = overlays.of(mac, OVERLAY_MAX)?;
        let overlaid = OverlayDisk::new(base, overlay).ok()?;
        Some(Arc::new(overlaid))
    }

    /// Returns whether machines write the disk itself: there are no overlays, and the disk is not
    /// read-only.
    pub fn is_written(&self) -> bool {
        self.inner.overlays.is_none() && !self.inner.disk.current().is_read_only()
    }

    pub fn trouble(&self) -> Option<String> {
        lock(&self.inner.state).trouble.clone()
    }

    /// Reports that a request found the disk unreachable, so that the thread opens it again at
    /// once.
    pub fn is_lost(&self) {
        let mut state = lock(&self.inner.state);
        state
            .trouble
            .get_or_insert_with(|| "the connection ended".to_owned());
        self.inner.changed.notify_all();
    }

    pub fn waits(&self, until: Instant) -> bool {
        let mut state = lock(&self.inner.state);
        while state.trouble.is_some() && !state.stop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.inner.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.stop
    }

    /// Stops the thread, and closes the current disk.
    pub fn close(&self) {
        lock(&self.inner.state).stop = true;
        self.inner.changed.notify_all();
        self.inner.disk.current().close();
    }
}

impl Drop for MonitoredDisk {
    fn drop(&mut self) {
        self.close();
        if let Some(thread) = self.thread.take() {
            // Ignores a panic of the thread, whose message has been printed.
            let _ = thread.join();
        }
    }
}

impl DiskMonitorState {
    fn keep(&self, confine: fn() -> io::Result<()>) {
        let mut is_confined = false;
        loop {
            let is_here = lock(&self.state).trouble.is_none();
            // Confines the thread as soon as it needs to open no further file: at once for a
            // volume, otherwise once the file of the disk is open.
            if !is_confined && (!self.is_file || is_here) {
                if let Err(error) = confine() {
                    let (name, why) = (&self.name, language::reason(&error));
                    write_error(&format!(
                        "evenkeel: boot: disk {name}: cannot confine a thread: {why}\n"
                    ));
                    return;
                }
                is_confined = true;
            }
            let mut reached = self.disk.current().reach();
            if let Some(clients) = self.disk.replace_superseded() {
                if clients > 0 {
                    write_error(&replaced(&self.name, clients));
                }
                reached = self.disk.current().reach();
            }
            let mut state = lock(&self.state);
            let trouble = reached.err().map(|error| error.to_string());
            if state.trouble != trouble {
                state.trouble = trouble;
                self.changed.notify_all();
            }
            if state.stop {
                return;
            }
            let waited = self.changed.wait_timeout(state, AGAIN);
            if waited.unwrap_or_else(PoisonError::into_inner).0.stop {
                return;
            }
        }
    }
}
