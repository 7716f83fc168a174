//! Reads the clocks of the guest role.

pub use part::clock::{boottime_ms, boottime_ns};

/// Returns a number for the current boot of this machine; each boot has another one.
pub fn boot() -> u32 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // FNV-1a, 32 bits: any hash will do.
    let hash = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    id.trim().bytes().fold(0x811c_9dc5, hash)
}
