//! A frame of AoE at a disk in memory: whatever it is, a reply fits into a packet of the interface, and
//! the disk is asked only for sectors that it has.
#![no_main]

use boot::aoe::frame::AoeAddress;
use boot::aoe::request::Request;
use boot::disk::{Disk, DiskError};
use libfuzzer_sys::fuzz_target;

/// A disk of so many bytes, all zeroes.
struct Zeroes(u64);

impl Zeroes {
    fn has(&self, offset: u64, length: usize) -> Result<(), DiskError> {
        assert!(length > 0 && offset + length as u64 <= self.0);
        Ok(())
    }
}

impl Disk for Zeroes {
    fn reach(&self) -> Result<(), DiskError> {
        Ok(())
    }

    fn size(&self) -> Result<u64, DiskError> {
        Ok(self.0)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        self.has(offset, bytes.len())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.has(offset, bytes.len())
    }

    fn flush(&self) -> Result<(), DiskError> {
        Ok(())
    }

    fn close(&self) {}
}

fuzz_target!(|input: (u64, u16, &[u8])| {
    let (size, mtu, frame) = input;
    let (disk, mtu) = (Zeroes(size.min(i64::MAX as u64)), usize::from(mtu).max(576));
    let Some(request) = Request::parse(frame, mtu) else {
        return;
    };
    if let Some((extent, _)) = request.extent() {
        assert!(extent.start < extent.end && extent.end - extent.start <= mtu as u64);
    }
    let target = AoeAddress { shelf: 0, slot: 1 };
    let reply = request.serve(target, "system", mtu, &disk);
    let reply = reply.expect("the disk is there");
    assert!(reply.is_none_or(|reply| (46..=mtu).contains(&reply.len())));
});
