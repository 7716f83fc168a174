//! Simulates a disk as the kernel and the hardware provide it: reads return what was written and
//! not synced. After a power cut such data may be missing, partial or torn. The disk can fail, be
//! slow, and refuse writes for a while.

use super::runtime::SimulatedProcess;
use lab::Random;
use redb::StorageBackend;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Unit of writing that a power cut leaves whole, bytes.
const SECTOR: usize = 512;

/// Operation since the last sync.
#[derive(Clone, Debug)]
enum Done {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Done {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Done::Length(length) => to.resize(*length as usize, 0),
            Done::Write(offset, data) => {
                let begin = *offset as usize;
                let end = begin + data.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[begin..end].copy_from_slice(data);
            }
        }
    }
}

struct SimulatedDiskState {
    random: Random,
    image: Vec<u8>,
    /// Image that certainly survives a power cut.
    durable: Vec<u8>,
    unsynced: Vec<Done>,
    /// Number of times that a process opened or lost the disk; an older backend gets errors.
    life: u64,
    owner: Option<SimulatedProcess>,
    /// Number of syncs until one fails; 0: one has failed.
    fails_in: Option<u64>,
    /// True if the disk is full: syncs fail, and most writes.
    full: bool,
    /// Percentage of syncs that are slow, and their duration.
    slow: Option<(u64, Duration)>,
    lies: bool,
    /// Durable image before the last sync. Set if a power cut is to show that the sync
    /// was acknowledged too early.
    before_last: Option<Vec<u8>>,
}

#[derive(Clone)]
pub struct Disk(Arc<Mutex<SimulatedDiskState>>);

impl Disk {
    pub fn new(random: Random) -> Disk {
        Disk(Arc::new(Mutex::new(SimulatedDiskState {
            random,
            image: Vec::new(),
            durable: Vec::new(),
            unsynced: Vec::new(),
            life: 0,
            owner: None,
            fails_in: None,
            full: false,
            slow: None,
            lies: false,
            before_last: None,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, SimulatedDiskState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn open(&self, owner: SimulatedProcess) -> Backend {
        let mut inner = self.inner();
        inner.life += 1;
        inner.owner = Some(owner);
        inner.fails_in = None;
        Backend {
            disk: self.clone(),
            life: inner.life,
        }
    }

    /// Releases the disk after its process ended; the kernel keeps what it wrote.
    pub fn release(&self) {
        let mut inner = self.inner();
        inner.life += 1;
        inner.owner = None;
    }

    /// Cuts the power: any part of the data that was not synced may survive.
    pub fn cut_power(&self) {
        let mut inner = self.inner();
        let inner = &mut *inner;
        inner.life += 1;
        inner.owner = None;
        if let Some(before) = &inner.before_last {
            inner.durable.clone_from(before);
            inner.unsynced.clear();
        }
        let unsynced = std::mem::take(&mut inner.unsynced);
        let keep = inner.random.pick(&[0, 0, 30, 70, 100]);
        for done in &unsynced {
            if !inner.random.percent(keep) {
                continue;
            }
            match done {
                Done::Write(offset, data) if inner.random.percent(50) => {
                    for (place, sector) in data.chunks(SECTOR).enumerate() {
                        if inner.random.percent(60) {
                            let at = offset + (place * SECTOR) as u64;
                            Done::Write(at, sector.to_vec()).apply(&mut inner.durable);
                        }
                    }
                }
                done => done.apply(&mut inner.durable),
            }
        }
        inner.image.clone_from(&inner.durable);
    }

    /// Returns the image that a power cut would leave now, for later use.
    pub fn backup(&self) -> Vec<u8> {
        self.inner().durable.clone()
    }

    /// Replaces the whole disk by this image. No process may have it open.
    pub fn restore(&self, image: Vec<u8>) {
        let mut inner = self.inner();
        inner.life += 1;
        inner.owner = None;
        inner.unsynced.clear();
        inner.durable.clone_from(&image);
        inner.image = image;
    }

    /// Makes one of the next syncs fail, and everything after it until the disk is opened
    /// again.
    pub fn fail_soon(&self) {
        let mut inner = self.inner();
        inner.fails_in = Some(inner.random.below(6) + 1);
    }

    pub fn fill(&self, full: bool) {
        self.inner().full = full;
    }

    /// Makes the disk fast, and clears failures that have not happened yet.
    pub fn heal(&self) {
        let mut inner = self.inner();
        inner.slow = None;
        inner.full = false;
        inner.fails_in = inner.fails_in.filter(|left| *left == 0);
    }

    /// Makes this percentage of syncs take this long; the process waits for them.
    pub fn slow(&self, slow: Option<(u64, Duration)>) {
        self.inner().slow = slow;
    }

    /// Makes later syncs report success without storing anything.
    pub fn lie(&self) {
        self.inner().lies = true;
    }

    /// A loss of power undoes the last sync.
    pub fn lose_last_sync(&self) {
        let mut inner = self.inner();
        inner.before_last = Some(inner.durable.clone());
    }
}

pub struct Backend {
    disk: Disk,
    life: u64,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.life)
    }
}

impl Backend {
    fn inner(&self) -> Result<MutexGuard<'_, SimulatedDiskState>, io::Error> {
        let inner = self.disk.inner();
        if inner.life != self.life || inner.fails_in == Some(0) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(inner)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.inner()?.image.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let inner = self.inner()?;
        let begin = offset as usize;
        let part = inner.image.get(begin..begin + out.len());
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut inner = self.inner()?;
        if inner.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let done = Done::Length(len);
        done.apply(&mut inner.image);
        inner.unsynced.push(done);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut inner = self.inner()?;
        let inner = &mut *inner;
        if let Some(left) = &mut inner.fails_in {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return Err(io::Error::from_raw_os_error(5));
            }
        }
        if inner.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if inner.lies {
            return Ok(());
        }
        if inner.before_last.is_some() {
            inner.before_last = Some(inner.durable.clone());
        }
        for done in inner.unsynced.drain(..) {
            done.apply(&mut inner.durable);
        }
        if let (Some((chance, long)), Some(owner)) = (inner.slow, &inner.owner)
            && inner.random.percent(chance)
        {
            owner.stand_still(long);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut inner = self.inner()?;
        // Needs no space, because it overwrites bytes in place.
        if inner.full && inner.random.percent(70) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let done = Done::Write(offset, data.to_vec());
        done.apply(&mut inner.image);
        inner.unsynced.push(done);
        Ok(())
    }
}
