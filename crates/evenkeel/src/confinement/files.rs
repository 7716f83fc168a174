//! Files: Landlock, as much of it as the kernel has.
//!
//! Connecting to a Unix socket by its path is left alone (servers and log
//! targets have some, and a change may bring others), so are addresses and
//! ports: what a process may connect to changes with its configuration, and
//! Landlock only ever takes more away.

use super::{Confinement, ConfinementError, Files, PROGRAMS, Role};
use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The newest version whose rules are used; a later one may govern what is to
/// stay free (version 9 governs connecting to Unix sockets).
const NEWEST: ABI = ABI::V7;

/// Leaves this process with these paths, and without signals to others.
pub fn restrict(confinement: &Confinement) -> Result<Files, ConfinementError> {
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
    if confinement.role == Role::Control {
        // Programs are started with it, and open it themselves.
        let device = make_bitflags!(AccessFs::{ReadFile | WriteFile | IoctlDev});
        rules = allow(rules, Path::new("/dev/null"), device)?;
    }
    enforce(rules)
}

fn enforce(rules: RulesetCreated) -> Result<Files, ConfinementError> {
    let status = rules.restrict_self().map_err(ConfinementError::Files)?;
    Ok(match status.landlock {
        LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        } => Files::Confined {
            version: kernel_abi
                .and_then(|version| u32::try_from(version).ok())
                .unwrap_or(effective_abi as u32),
        },
        LandlockStatus::NotEnabled => Files::NotEnabled,
        _ => Files::NotBuilt,
    })
}

/// Leaves this thread with the files of a volume: its directory or device, and the runtime
/// directory, where its socket is. Threads that it starts have no more.
pub fn only_volume(runtime: &Path, backing: &Path) -> Result<Files, ConfinementError> {
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

/// Leaves this thread, and those that it starts, with files to read and none to write.
pub fn only_reading() -> Result<Files, ConfinementError> {
    let reading = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    enforce(allow(
        rules().map_err(ConfinementError::Files)?,
        Path::new("/"),
        reading,
    )?)
}

/// Leaves this thread with a directory in which it writes, and what the kernel says of network cards.
pub fn only_directory(directory: &Path) -> Result<Files, ConfinementError> {
    let own = make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | MakeReg | RemoveFile
    });
    let reading = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let rules = rules().map_err(ConfinementError::Files)?;
    let rules = allow(rules, Path::new("/sys"), reading)?;
    enforce(allow(rules, directory, own)?)
}

/// Makes rules that leave QEMU with the directory of its guest, these files to read, and what a
/// program needs; a child enforces them on itself. None where the kernel has no Landlock.
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

/// Files that QEMU reads: the cache of the dynamic linker, the processors, its own threads.
const OF_QEMU: [&str; 4] = [
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/sys/devices/system",
    "/proc",
];
/// The devices that QEMU uses.
const DEVICES_OF_QEMU: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
    "/dev/kvm",
    "/dev/vhost-net",
];

/// Returns the access rights to the directories that a role writes to. A control role
/// creates sockets, mirrors of repositories and files that it renames there, and executes
/// none.
fn writing(role: Role) -> BitFlags<AccessFs> {
    match role {
        Role::Control => make_bitflags!(AccessFs::{
            ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | MakeSym | MakeSock
                | MakeFifo | RemoveFile | RemoveDir | Refer
        }),
        Role::Loader | Role::Proxy | Role::Volume | Role::Console | Role::Boot => {
            make_bitflags!(AccessFs::{
                ReadFile | ReadDir | WriteFile | MakeReg | Truncate | RemoveFile
            })
        }
    }
}

/// Everything that can be governed is, by the best effort of the kernel.
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
