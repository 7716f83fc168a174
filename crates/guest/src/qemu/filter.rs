//! Installs a seccomp filter for QEMU. QEMU runs in an empty network namespace, but sockets of some
//! families belong to no network namespace.

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};
use std::io;

/// Returns the filter that refuses sockets between this machine and its virtual machines
/// (vsock(7)). With such sockets, code that escapes from a guest would reach programs of this
/// machine and could take their ports.
///
/// # Errors
/// The filter compiler does not support this processor.
pub(super) fn no_vsock() -> Result<BpfProgram, BackendError> {
    let family = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        libc::AF_VSOCK as u64,
    )?;
    let rule = SeccompRule::new(vec![family])?;
    let processor = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(
        [(libc::SYS_socket, vec![rule])].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32),
        processor,
    )?
    .try_into()
}

/// Applies the filter, in the child process. The process can no longer gain privileges then.
pub(super) fn apply(filter: &BpfProgram) -> io::Result<()> {
    match seccompiler::apply_filter(filter) {
        Ok(()) => Ok(()),
        Err(seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error)) => Err(error),
        Err(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}
