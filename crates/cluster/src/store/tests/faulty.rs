//! Simulates a disk that loses power: unsynced data is then present, torn or missing.

use lab::Random;
use redb::StorageBackend;
use std::io;
use std::sync::{Arc, Mutex};

/// Unit of writing of a disk, bytes.
const SECTOR_BYTES: usize = 512;

#[derive(Debug)]
enum UnsyncedChange {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Default)]
struct Platter {
    /// Contents as a running program sees them.
    now: Vec<u8>,
    /// Contents that certainly survive a loss of power.
    synced: Vec<u8>,
    unsynced: Vec<UnsyncedChange>,
    /// Number of operations until the power is lost.
    fuse: Option<u64>,
    dead: bool,
}

/// The disk; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Faulty(Arc<Mutex<Platter>>);

impl Faulty {
    /// Cuts the power before the operation after this many.
    pub fn light_fuse(&self, operations: u64) {
        self.0.lock().unwrap().fuse = Some(operations);
    }

    /// Power is back: of what was not synced each part is there or not.
    pub fn after_power_loss(&self, random: &mut Random) -> Faulty {
        let mut platter = self.0.lock().unwrap();
        let mut bytes = platter.synced.clone();
        for change in std::mem::take(&mut platter.unsynced) {
            match change {
                UnsyncedChange::Length(length) => {
                    if length > bytes.len() || random.below(2) == 0 {
                        bytes.resize(length, 0);
                    }
                }
                UnsyncedChange::Write {
                    offset,
                    bytes: part,
                } => {
                    for (number, sector) in part.chunks(SECTOR_BYTES).enumerate() {
                        let at = offset + number * SECTOR_BYTES;
                        if random.below(2) == 0 && at + sector.len() <= bytes.len() {
                            bytes[at..at + sector.len()].copy_from_slice(sector);
                        }
                    }
                }
            }
        }
        platter.dead = true;
        Faulty::of(bytes)
    }

    pub fn of(bytes: Vec<u8>) -> Faulty {
        Faulty(Arc::new(Mutex::new(Platter {
            now: bytes.clone(),
            synced: bytes,
            ..Platter::default()
        })))
    }

    /// Flips a bit of the stored data.
    pub fn turn_bit(&self, random: &mut Random) {
        let mut platter = self.0.lock().unwrap();
        let at = random.below(platter.now.len() as u64) as usize;
        let bit = 1 << random.below(8);
        platter.now[at] ^= bit;
    }

    fn operate<T>(&self, work: impl FnOnce(&mut Platter) -> T) -> Result<T, io::Error> {
        let mut platter = self.0.lock().unwrap();
        if platter.dead {
            return Err(io::Error::other("no power"));
        }
        if let Some(left) = platter.fuse.as_mut() {
            if *left == 0 {
                platter.dead = true;
                return Err(io::Error::other("power is lost"));
            }
            *left -= 1;
        }
        Ok(work(&mut platter))
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let platter = self.0.lock().unwrap();
        let offset = offset as usize;
        let found = platter
            .now
            .get(offset..offset + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.operate(|platter| {
            platter.now.resize(len as usize, 0);
            platter.unsynced.push(UnsyncedChange::Length(len as usize));
        })
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.operate(|platter| {
            platter.synced = platter.now.clone();
            platter.unsynced.clear();
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.operate(|platter| {
            let offset = offset as usize;
            platter.now[offset..offset + data.len()].copy_from_slice(data);
            platter.unsynced.push(UnsyncedChange::Write {
                offset,
                bytes: data.to_vec(),
            });
        })
    }
}
