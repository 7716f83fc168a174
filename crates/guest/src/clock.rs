//! Reads the clocks of the guest role.

pub use part::clock::{boottime_ms, boottime_ns};

/// Returns a number for the current boot of this machine; each boot has another one.
pub fn boot() -> u32 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    part::fnv::fnv1a_32(id.trim().bytes())
}
