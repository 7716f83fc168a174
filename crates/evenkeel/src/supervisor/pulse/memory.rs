//! The heartbeat memory: the proxy writes it, address role and supervisor read it.

use super::super::route::PROXY;
use super::super::run::Supervisor;
use part::Shared;
use protocol::vitals::{BYTES, MAGIC};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::fs::File;
use std::io;
use std::sync::Arc;

impl Supervisor {
    /// Makes the heartbeat memory, where there is none yet.
    pub(in super::super) fn make_vitals(&mut self) {
        if self.pulses.file.is_none() {
            let made = vitals().map_err(|error| {
                self.voice.warning(format_args!(
                    "cannot create the heartbeat memory ({error}): virtual addresses do not follow the health of the \
                     proxy, and a frozen proxy is not restarted"
                ));
            });
            self.pulses.file = made.ok();
            self.share_vitals();
        }
    }

    /// Gives the proxy the heartbeat memory, which other roles read.
    pub(in super::super) fn give_vitals(&mut self) {
        match self.pulses.file {
            Some(_) => self.share_vitals(),
            None => self.make_vitals(),
        }
    }

    fn share_vitals(&mut self) {
        if let Some(proxy) = &mut self.slots[PROXY].running {
            proxy.process.share(self.pulses.file.as_ref());
        }
    }
}

/// Creates the heartbeat memory, sealed against shrinking, so that other processes can map
/// it safely.
fn vitals() -> io::Result<Shared> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("evenkeel vitals", flags)?;
    ftruncate(&file, BYTES as u64)?;
    rustix::io::pwrite(&file, &MAGIC.to_ne_bytes(), 0)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    Ok(Arc::new(File::from(file).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_heartbeats_begins_as_its_readers_expect_and_keeps_its_length() {
        let file = vitals().unwrap();
        let mut head = [0; 8];
        rustix::io::pread(&*file, &mut head, 0).unwrap();
        assert_eq!(u64::from_ne_bytes(head), MAGIC);
        assert!(ftruncate(&*file, 8).is_err());
    }
}
