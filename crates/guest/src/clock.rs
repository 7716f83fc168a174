//! Reads the clock since boot, and identifies the current boot of this machine, for the guest role.

pub use part::clock::{boottime_ms, boottime_ns};

/// Returns a hash of the kernel's identifier of the current boot, by which two boots of a machine
/// are distinguished.
pub fn boot() -> u32 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    part::fnv::fnv1a_32(id.trim().bytes())
}
