//! Provides a disk for tests that is slow, stuck or full on demand, or fails its syncs.

use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

/// A disk in memory whose syncs wait while it is held, and whose writes fail while it is full.
#[derive(Clone, Debug)]
pub(crate) struct TestDisk {
    disk: Arc<InMemoryBackend>,
    held: Arc<(Mutex<bool>, Condvar)>,
    full: Arc<AtomicBool>,
    unsynced: Arc<AtomicBool>,
    takes_ms: Arc<AtomicU64>,
}

impl TestDisk {
    pub(crate) fn new() -> TestDisk {
        TestDisk {
            disk: Arc::new(InMemoryBackend::new()),
            held: Arc::default(),
            full: Arc::default(),
            unsynced: Arc::default(),
            takes_ms: Arc::default(),
        }
    }

    pub(crate) fn hold(&self, held: bool) {
        *self.held.0.lock().unwrap() = held;
        self.held.1.notify_all();
    }

    pub(crate) fn slow_down(&self, takes: Duration) {
        self.takes_ms
            .store(takes.as_millis() as u64, Ordering::Relaxed);
    }

    pub(crate) fn fill(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    pub(crate) fn fail_syncs(&self, fail: bool) {
        self.unsynced.store(fail, Ordering::Relaxed);
    }
}

impl StorageBackend for TestDisk {
    fn len(&self) -> Result<u64, io::Error> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        if self.unsynced.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let held = self.held.0.lock().unwrap();
        let (held, timeout) = self
            .held
            .1
            .wait_timeout_while(held, PATIENCE, |held| *held)
            .unwrap();
        drop(held);
        assert!(!timeout.timed_out());
        let takes = Duration::from_millis(self.takes_ms.load(Ordering::Relaxed));
        std::thread::sleep(takes);
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        if self.full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.disk.write(offset, data)
    }
}
