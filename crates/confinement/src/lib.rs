//! Confines processes to the privileges that they need, and reports which remain. [`Confinement`]
//! describes the privileges that one process keeps. [`prepare`] does what needs the initial
//! privileges. [`apply`] does the rest, after the change of root directory, groups and user and
//! before the first thread: threads inherit only what was dropped before their start.
//!
//! The four layers are capabilities, no-new-privs, Landlock (files) and seccomp (system calls);
//! each protects where another one has a hole. A kernel without one of the last three is reported,
//! not refused, since the proxy served there before. No privilege is ever regained. The loader
//! opens files and sockets for the confined processes.

mod calls;
mod capabilities;
mod error;
mod files;
mod filter;
mod held;
mod identity;
mod nobody;
#[cfg(test)]
mod tests;

pub use capabilities::{RetainedCapability, names};
pub use error::ConfinementError;
pub use files::{of_guest, only_directory, only_reading, only_volume};
pub use held::{FileConfinement, Filtered, RemainingPrivileges};
pub use identity::{
    IdentityOrigin, ProcessIdentity, ServiceUser, StartedAs, become_user, group_name, identity_for,
};
pub use nobody::{as_console, as_farm};

use model::config::Config;
use rustix::thread::CapabilitySet;
use std::path::{Path, PathBuf};

/// Kinds of confined processes. The supervisor is not confined: it starts the others with the
/// privileges that they need at first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfinedProcess {
    /// Reads files, resolves names and opens sockets with the initial privileges, then ends. It
    /// keeps those privileges, but starts no program and does not affect other processes or the
    /// system.
    Loader,
    /// Serves network traffic; it was passed all that it needs.
    Proxy,
    /// Communicates with the other members of a cluster, and stores the log in its state directory.
    /// If a repository is followed, it starts `git` or `hg`, which inherit the confinement.
    Control,
    /// Speaks NBD with clients of this machine. Its threads have io_uring, and are confined
    /// to the files of one volume each.
    Volume,
    /// Serves browsers; it opens no file.
    Console,
    /// Serves booting machines. Its threads are confined to the files that each of them needs.
    Boot,
}

/// Privileges that one process keeps: capabilities, and paths for reading, writing and executing.
#[derive(Clone, Debug)]
pub struct Confinement {
    pub role: ConfinedProcess,
    pub keeps: Vec<RetainedCapability>,
    pub reads: Vec<PathBuf>,
    pub writes: Vec<PathBuf>,
    pub programs: Vec<PathBuf>,
}

/// Directories of programs and of their dynamic linker. No directory in which a control role may
/// write may be in this list.
const PROGRAMS: &[&str] = &[
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix", "/gnu",
];

/// Directories with the files for resolving names: `hosts`, `resolv.conf` and `nsswitch.conf`,
/// which may be links to files that are replaced later, and the NSS libraries.
const NAME_FILES: &[&str] = &["/etc", "/run", "/lib", "/lib64", "/usr/lib", "/usr/lib64"];

impl Confinement {
    pub fn loader() -> Confinement {
        Confinement {
            role: ConfinedProcess::Loader,
            keeps: Vec::new(),
            reads: Vec::new(),
            writes: Vec::new(),
            programs: Vec::new(),
        }
    }

    /// Returns the confinement of the control role. It writes to its state directory and to the
    /// directory of its socket. It may read every file that its user may, since `git` reads
    /// repositories, keys and settings from anywhere.
    pub fn control(state: &Path, runtime: Option<&Path>) -> Confinement {
        let writes = std::iter::once(state).chain(runtime);
        let programs = PROGRAMS.iter().map(PathBuf::from);
        Confinement {
            role: ConfinedProcess::Control,
            keeps: Vec::new(),
            reads: vec![PathBuf::from("/")],
            writes: writes.map(PathBuf::from).collect(),
            programs: programs.filter(|path| path.is_dir()).collect(),
        }
    }

    /// Returns the confinement of the volume role: no capability. The files that it needs change
    /// with a reload, so each of its threads is confined separately ([`only_volume`]).
    pub fn volume() -> Confinement {
        Confinement {
            role: ConfinedProcess::Volume,
            ..Confinement::loader()
        }
    }

    pub fn console() -> Confinement {
        Confinement {
            role: ConfinedProcess::Console,
            ..Confinement::loader()
        }
    }

    /// Returns the confinement of the farm role. In addition to that of the console role, the
    /// process may open ports below 1024, which a reload may add, and read the files for name
    /// resolution, since names of LDAP servers are resolved again.
    pub fn farm() -> Confinement {
        let kept = RetainedCapability {
            capability: CapabilitySet::NET_BIND_SERVICE,
            why: capabilities::Why::Listens,
            span: language::Span::default(),
        };
        let reads = NAME_FILES.iter().map(PathBuf::from);
        Confinement {
            keeps: vec![kept],
            reads: reads.filter(|path| path.is_dir()).collect(),
            ..Confinement::console()
        }
    }

    /// Returns the confinement of the boot role. It keeps the privileges to open its ports again
    /// when an interface returns (`keep_only`). The files that it needs change with a reload, so
    /// its threads are confined separately ([`only_reading`], [`only_directory`]).
    pub fn boot() -> Confinement {
        Confinement {
            role: ConfinedProcess::Boot,
            ..Confinement::loader()
        }
    }

    /// Returns the confinement of a process that evaluates a route. It handles a request as the
    /// proxy does, and has no capability and no file.
    pub fn route() -> Confinement {
        Confinement {
            role: ConfinedProcess::Proxy,
            ..Confinement::loader()
        }
    }

    pub fn proxy(config: &Config, identity: &ProcessIdentity) -> Confinement {
        // Permits writing in the working directory for a core file, which the kernel writes with
        // the privileges of the crashed process.
        let writes = if config.global.dumpable {
            vec![PathBuf::from(".")]
        } else {
            Vec::new()
        };
        Confinement {
            role: ConfinedProcess::Proxy,
            keeps: capabilities::needed(config, identity),
            reads: Vec::new(),
            writes,
            programs: Vec::new(),
        }
    }

    pub fn capabilities(&self) -> CapabilitySet {
        self.keeps.iter().map(|kept| kept.capability).collect()
    }
}

/// Executes the steps that need the initial privileges: reads files that libraries would read
/// later, removes capabilities that are not kept from the bounding set, and makes the kept ones
/// survive the change of the user. Does nothing for the loader.
///
/// # Errors
/// Fails if the kernel refuses to change capabilities.
pub fn prepare(confinement: &Confinement) -> Result<(), ConfinementError> {
    if confinement.role == ConfinedProcess::Loader {
        return Ok(());
    }
    read_what_is_read_once();
    let keeps = confinement.capabilities();
    capabilities::bound(keeps)?;
    if !keeps.is_empty() {
        rustix::thread::set_keep_capabilities(true)
            .map_err(|errno| ConfinementError::Capabilities { errno })?;
    }
    Ok(())
}

/// Reads the local time zone and the clock source: libraries look for both at their first use.
fn read_what_is_read_once() {
    let _ = model::log::time_zone();
    let _ = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
}

/// Drops all capabilities except these, and returns the remaining ones. If the process starts
/// `programs`, the bounding set stays, from which root gets its capabilities back when it executes
/// a program. Must be called while the process has only one thread.
///
/// # Errors
/// Fails if the kernel refuses to change capabilities.
pub fn keep_only(keeps: CapabilitySet, programs: bool) -> Result<CapabilitySet, ConfinementError> {
    if programs {
        capabilities::lower(keeps)
    } else {
        capabilities::reduce(keeps)
    }
}

/// Applies the confinement to a short-lived thread, and returns the privileges that a process would
/// keep on this kernel. Returns None if that failed.
pub fn rehearse(confinement: &Confinement) -> Option<RemainingPrivileges> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || apply(confinement).ok());
        thread.ok()?.join().ok()?
    })
}

/// Drops the privileges that are not kept, and returns the remaining ones. The loader and the boot
/// role keep their current capabilities. Must be called while the process has only one thread.
///
/// # Errors
/// Fails if the kernel supports a layer and refuses it.
pub fn apply(confinement: &Confinement) -> Result<RemainingPrivileges, ConfinementError> {
    let capabilities = match confinement.role {
        // Keeps the current capabilities: the boot role has dropped the others already.
        ConfinedProcess::Loader | ConfinedProcess::Boot => capabilities::held()?,
        ConfinedProcess::Proxy
        | ConfinedProcess::Control
        | ConfinedProcess::Volume
        | ConfinedProcess::Console => capabilities::reduce(confinement.capabilities())?,
    };
    // Without no-new-privs only a privileged process may apply the next two layers.
    let no_new_privileges = rustix::thread::set_no_new_privs(true).is_ok();
    let files = match confinement.role {
        ConfinedProcess::Loader | ConfinedProcess::Volume | ConfinedProcess::Boot => {
            FileConfinement::Unconfined
        }
        ConfinedProcess::Proxy | ConfinedProcess::Control | ConfinedProcess::Console => {
            files::restrict(confinement)?
        }
    };
    let system_calls = filter::install(confinement)?;
    Ok(RemainingPrivileges {
        wanted: confinement.capabilities(),
        capabilities,
        no_new_privileges,
        files,
        system_calls,
    })
}
