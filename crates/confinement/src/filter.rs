//! Builds seccomp filters from the lists of system calls, and installs those of a process. Of
//! several filters the strictest result counts, so each of them stays simple.

use super::calls::{
    DEADLY, REFUSED, RINGS, RefusedSystemCall, Test, USED, USED_IN_VAIN, USED_OLD, WRITING,
};
use super::{ConfinedProcess, Confinement, ConfinementError, Filtered};
use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::io;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Flag that keeps the processor's speed: before Linux 5.16 a filter turned off speculation past
/// stores, which is necessary only for untrusted code.
const FAST: libc::c_ulong = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
const LOUD: libc::c_ulong = libc::SECCOMP_FILTER_FLAG_LOG;

/// Installs the filters of a process. The filter that permits the fewest calls is installed last.
/// Returns [`Filtered::NotBuilt`] if the kernel has no filters.
pub fn install(confinement: &Confinement) -> Result<Filtered, ConfinementError> {
    let programs = match confinement.role {
        ConfinedProcess::Loader | ConfinedProcess::Console | ConfinedProcess::Boot => {
            vec![(kill_forbidden_calls(), LOUD)]
        }
        ConfinedProcess::Volume => vec![(kill_forbidden_except(RINGS), LOUD)],
        ConfinedProcess::Control => vec![(not_for_control(), LOUD), (missing(USED_IN_VAIN), 0)],
        ConfinedProcess::Proxy => vec![
            (kill_forbidden_calls(), LOUD),
            (missing(USED_IN_VAIN), 0),
            (refused(!confinement.writes.is_empty()), LOUD),
            (used(), LOUD),
        ],
    };
    for (program, loud) in programs {
        let program = program.map_err(ConfinementError::Filter)?;
        match install_one(&program, loud) {
            Ok(()) => {}
            Err(error) if is_missing(&error) => return Ok(Filtered::NotBuilt),
            Err(error) => return Err(ConfinementError::FilterRefused(error)),
        }
    }
    Ok(Filtered::Yes)
}

/// Returns whether the error means that the kernel has no filters. Such a kernel calls the request
/// invalid, and tests prove that our filters are valid.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL))
}

/// Installs a filter, and installs it without flags if the kernel is older than they are.
fn install_one(program: &BpfProgram, loud: libc::c_ulong) -> io::Result<()> {
    match ask(program, FAST | loud) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => ask(program, 0),
        result => result,
    }
}

/// Calls seccomp(2) with flags, which the crate that compiles filters does not support.
fn ask(program: &BpfProgram, flags: libc::c_ulong) -> io::Result<()> {
    let description = libc::sock_fprog {
        // The compiler bounds programs to 4096 instructions.
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: both structs have the kernel's layout, the description and the
    // program that it points to are live for the call, and the kernel copies
    // them and writes to neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const description,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn compile(
    rules: Rules,
    matching: SeccompAction,
    others: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let processor = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, others, matching, processor)?.try_into()
}

fn any<'a>(calls: impl IntoIterator<Item = &'a libc::c_long>) -> Rules {
    calls.into_iter().map(|call| (*call, Vec::new())).collect()
}

fn kill_forbidden_calls() -> Result<BpfProgram, BackendError> {
    kill_forbidden_except(&[])
}

fn kill_forbidden_except(used: &[libc::c_long]) -> Result<BpfProgram, BackendError> {
    compile(
        any(DEADLY.iter().filter(|call| !used.contains(call))),
        SeccompAction::KillProcess,
        SeccompAction::Allow,
    )
}

/// Builds the filter that refuses calls which a control role and its programs do not need. The
/// processes are not killed: a library may try such a call and continue without it (Kerberos tries
/// kernel keyrings when `ssh` starts).
fn not_for_control() -> Result<BpfProgram, BackendError> {
    let executes = [libc::SYS_execve, libc::SYS_execveat];
    let mut rules = any(DEADLY.iter().filter(|call| !executes.contains(call)));
    let new_user = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(libc::CLONE_NEWUSER as u64),
        libc::CLONE_NEWUSER as u64,
    )?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![new_user])?]);
    compile(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
    )
}

fn missing(calls: &[libc::c_long]) -> Result<BpfProgram, BackendError> {
    compile(
        any(calls),
        SeccompAction::Errno(libc::ENOSYS as u32),
        SeccompAction::Allow,
    )
}

fn used() -> Result<BpfProgram, BackendError> {
    compile(
        any(USED.iter().chain(USED_OLD)),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
    )
}

fn refused(writes: bool) -> Result<BpfProgram, BackendError> {
    let mut rules = Rules::new();
    let asked = REFUSED
        .iter()
        .filter(|r| !(writes && r.test == Test::Writes));
    for refusal in asked {
        let of_call = rules.entry(refusal.call).or_default();
        for conditions in conditions(refusal)? {
            of_call.push(SeccompRule::new(conditions)?);
        }
    }
    compile(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
    )
}

/// Returns the alternatives under which a call is refused, each as a list of conditions that must
/// all be true.
fn conditions(refusal: &RefusedSystemCall) -> Result<Vec<Vec<SeccompCondition>>, BackendError> {
    let condition = |operator, value: u32| {
        SeccompCondition::new(
            refusal.argument,
            SeccompCmpArgLen::Dword,
            operator,
            u64::from(value),
        )
    };
    let differs = |value: &u32| condition(SeccompCmpOp::Ne, *value);
    let has = |mask: u32, value| condition(SeccompCmpOp::MaskedEq(mask.into()), value);
    Ok(vec![match refusal.test {
        Test::NoneOf(values) => values.iter().map(differs).collect::<Result<_, _>>()?,
        Test::Bits(mask, value) => vec![has(mask, value)?],
        Test::Writes => {
            let flags = WRITING.iter();
            return flags
                .map(|(mask, value)| Ok(vec![has(*mask, *value)?]))
                .collect();
        }
        // The value 0 means the process group, which the process may signal.
        Test::OtherProcess => vec![differs(&0)?, differs(&std::process::id())?],
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_compiles() {
        for program in [
            kill_forbidden_calls(),
            not_for_control(),
            missing(USED_IN_VAIN),
            used(),
            refused(false),
            refused(true),
        ] {
            assert!(!program.unwrap().is_empty());
        }
    }
}
