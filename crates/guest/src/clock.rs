//! Reads the clocks of the guest role.

use rustix::time::{ClockId, clock_gettime};

/// Returns CLOCK_BOOTTIME in nanoseconds, the clock of leases.
pub fn boottime_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let rest = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

pub fn boottime_ms() -> u64 {
    boottime_ns() / 1_000_000
}

/// Returns a number for the current boot of this machine; each boot has another one.
pub fn boot() -> u32 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // FNV-1a, 32 bits: any hash will do.
    let hash = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    id.trim().bytes().fold(0x811c_9dc5, hash)
}
