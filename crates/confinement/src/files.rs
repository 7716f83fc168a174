//! Restricts the file access of processes and threads by Landlock, as far as the kernel supports
//! it.
//!
//! Connecting to a Unix socket by its path is not restricted (servers and log targets may have
//! some, and a reload may add others), nor are addresses and ports. The permitted connections
//! change with the configuration, and Landlock can only take more away.

use super::{ConfinedProcess, Confinement, ConfinementError, FileConfinement, PROGRAMS};
use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Newest version of Landlock whose rules are used. A later one may restrict what has to stay
/// permitted (version 9 restricts connecting to Unix sockets).
const NEWEST: ABI = ABI::V7;

/// Restricts the calling thread, and those that it starts, to the paths of the confinement. Signals
/// to other processes are refused as well.
pub fn restrict(confinement: &Confinement) -> Result<FileConfinement, ConfinementError> {
    let mut rules = rules().map_err(ConfinementError::Files)?;
    let reading = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    for path in &confinement.reads {
        rules = allow(rules, path, reading)?;
    }
    for path in &confinement.writes {
        rules = allow(rules, path, writing(confinement.role))?;
    }
    for path in &confinement.programs {
        rules = allow(rules, path, reading | AccessFs::Execute)?;
    }
    if confinement.role == ConfinedProcess::Control {
        // Permits the null device, which started programs open themselves.
        let device = make_bitflags!(AccessFs::{ReadFile | WriteFile | IoctlDev});
        rules = allow(rules, Path::new("/dev/null"), device)?;
    }
    enforce(rules)
}

fn enforce(rules: RulesetCreated) -> Result<FileConfinement, ConfinementError> {
    let status = rules.restrict_self().map_err(ConfinementError::Files)?;
    Ok(match status.landlock {
        LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        } => FileConfinement::Confined {
            version: kernel_abi
                .and_then(|version| u32::try_from(version).ok())
                .unwrap_or(effective_abi as u32),
        },
        LandlockStatus::NotEnabled => FileConfinement::NotEnabled,
        _ => FileConfinement::NotBuilt,
    })
}

/// Restricts this thread to the files of a volume: its directory or device, and the runtime
/// directory with its socket. Threads that it starts inherit the restriction.
///
/// # Errors
/// Fails if the kernel has Landlock and refuses the rules, or a path cannot be opened.
pub fn only_volume(runtime: &Path, backing: &Path) -> Result<FileConfinement, ConfinementError> {
    let files = make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | IoctlDev
    });
    let sockets = make_bitflags!(AccessFs::{
        ReadFile | WriteFile | MakeReg | MakeSock | MakeDir | MakeSym | RemoveFile
    });
    let rules = rules().map_err(ConfinementError::Files)?;
    let rules = allow(rules, backing, files)?;
    enforce(allow(rules, runtime, sockets)?)
}

/// Restricts this thread, and those that it starts, to reading files.
///
/// # Errors
/// Fails if the kernel has Landlock and refuses the rules, or a path cannot be opened.
pub fn only_reading() -> Result<FileConfinement, ConfinementError> {
    let reading = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    enforce(allow(
        rules().map_err(ConfinementError::Files)?,
        Path::new("/"),
        reading,
    )?)
}

/// Restricts this thread to the files of a directory, and to reading the kernel's data about
/// network interfaces below `/sys`.
///
/// # Errors
/// Fails if the kernel has Landlock and refuses the rules, or a path cannot be opened.
pub fn only_directory(directory: &Path) -> Result<FileConfinement, ConfinementError> {
    let own = make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | MakeReg | RemoveFile
    });
    let reading = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let rules = rules().map_err(ConfinementError::Files)?;
    let rules = allow(rules, Path::new("/sys"), reading)?;
    enforce(allow(rules, directory, own)?)
}

/// Creates rules for QEMU: the directory of its guest, the given files for reading, and what any
/// program needs. A child process applies them to itself. Returns None if the kernel has no
/// Landlock.
///
/// # Errors
/// Fails if the kernel has Landlock and refuses the rules, or a path cannot be opened.
pub fn of_guest(home: &Path, files: &[&Path]) -> Result<Option<OwnedFd>, ConfinementError> {
    let own = make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeSock | RemoveFile
    });
    let reading = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let device = make_bitflags!(AccessFs::{ReadFile | WriteFile | IoctlDev});
    let mut rules = rules().map_err(ConfinementError::Files)?;
    rules = allow(rules, home, own)?;
    for path in files {
        rules = allow(rules, path, make_bitflags!(AccessFs::{ReadFile}))?;
    }
    let there = |path: &&&str| Path::new(path).exists();
    for path in PROGRAMS.iter().filter(there) {
        rules = allow(rules, Path::new(path), reading | AccessFs::Execute)?;
    }
    for path in OF_QEMU.iter().filter(there) {
        rules = allow(rules, Path::new(path), reading)?;
    }
    for path in DEVICES_OF_QEMU.iter().filter(there) {
        rules = allow(rules, Path::new(path), device)?;
    }
    Ok(rules.into())
}

/// Files that QEMU reads: the cache of the dynamic linker, the time zone, data about processors and
/// devices, and its own threads.
const OF_QEMU: [&str; 4] = [
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/sys/devices/system",
    "/proc",
];
const DEVICES_OF_QEMU: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
    "/dev/kvm",
    "/dev/vhost-net",
];

/// Returns the access rights to the directories that a process writes to. A control role may also
/// create directories, links, sockets and pipes, and rename between directories; no process may
/// execute these files.
fn writing(role: ConfinedProcess) -> BitFlags<AccessFs> {
    match role {
        ConfinedProcess::Control => make_bitflags!(AccessFs::{
            ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | MakeSym | MakeSock
                | MakeFifo | RemoveFile | RemoveDir | Refer
        }),
        ConfinedProcess::Loader
        | ConfinedProcess::Proxy
        | ConfinedProcess::Volume
        | ConfinedProcess::Console
        | ConfinedProcess::Boot => {
            make_bitflags!(AccessFs::{
                ReadFile | ReadDir | WriteFile | MakeReg | Truncate | RemoveFile
            })
        }
    }
}

/// Creates an empty ruleset that refuses all access which Landlock can restrict, as far as the
/// kernel supports it.
fn rules() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::Signal)?
        .create()
}

fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, ConfinementError> {
    let directory = PathFd::new(path).map_err(|error| ConfinementError::Path {
        path: path.into(),
        error,
    })?;
    rules
        .add_rule(PathBeneath::new(directory, access))
        .map_err(ConfinementError::Files)
}
