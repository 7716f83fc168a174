//! What the kernel refuses QEMU besides files. Its network is an empty one, but sockets of some
//! families belong to no network.

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};
use std::io;

/// The filter that refuses sockets between this machine and its virtual machines (vsock(7)): with
/// them, what breaks out of a guest would reach programs of this machine, and take their ports.
///
/// # Errors
/// The compiler of filters does not know this processor.
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

/// In the child: applies it. The process gains no privileges any more.
pub(super) fn apply(filter: &BpfProgram) -> io::Result<()> {
    match seccompiler::apply_filter(filter) {
        Ok(()) => Ok(()),
        Err(seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error)) => Err(error),
        Err(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}
