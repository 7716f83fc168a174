//! Creates the heartbeat memory: the proxy writes it; the address role and the supervisor read it.

use part::SharedFd;
use protocol::vitals::{BYTES, MAGIC};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::fs::File;
use std::io;
use std::sync::Arc;

/// Creates the heartbeat memory, sealed against shrinking, so that other processes can map
/// it safely.
pub fn create() -> io::Result<SharedFd> {
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
        let file = create().unwrap();
        let mut head = [0; 8];
        rustix::io::pread(&*file, &mut head, 0).unwrap();
        assert_eq!(u64::from_ne_bytes(head), MAGIC);
        assert!(ftruncate(&*file, 8).is_err());
    }
}
