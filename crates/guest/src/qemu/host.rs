//! Finds out which QEMU and which hardware virtualisation this machine has.

use super::command::PROGRAM;
use rustix::fs::{Access, access};
use std::env;
use std::path::{Path, PathBuf};

pub fn program() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/usr/local/bin".into());
    let mut all = env::split_paths(&path).map(|directory| directory.join(PROGRAM));
    let found = all.find(|program| access(program, Access::EXEC_OK).is_ok());
    found.unwrap_or_else(|| Path::new("/usr/bin").join(PROGRAM))
}

/// Returns whether this machine supports KVM. The device alone does not prove it: a container can
/// have the device without the processor's support.
pub fn has_kvm() -> bool {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut flags = processors.lines().filter(|line| line.starts_with("flags"));
    let flags = flags.next().unwrap_or_default();
    let can = flags
        .split_whitespace()
        .any(|flag| matches!(flag, "vmx" | "svm"));
    can && access("/dev/kvm", Access::READ_OK | Access::WRITE_OK).is_ok()
}
