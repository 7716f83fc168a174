//! Least privilege: what a process that serves gives up for good, and what it
//! was found to hold afterwards. [`Confinement`] says what one process is to be
//! left with; [`prepare`] does what needs the rights of the start, [`apply`]
//! the rest, after the root directory, the groups and the user were given up
//! and before the first thread: what a thread gives up, only those that it
//! starts later have given up, too.
//!
//! Four layers, each of which holds where another has a hole: capabilities,
//! no-new-privs, Landlock (files), seccomp (system calls). A kernel without one
//! of the last three is told, not refused: the proxy serves as it did there.
//! Nothing here is ever given back, and nothing here opens what a process
//! needs: that is the loader's.

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

pub use capabilities::{Kept, names};
pub use error::ConfinementError;
pub use files::{of_guest, only_directory, only_reading, only_volume};
pub use held::{Files, Filtered, Held};
pub use identity::{
    Identity, Origin, ServiceUser, StartedAs, become_user, group_name, identity_for, user_name,
};
pub use nobody::{as_console, as_farm};

use model::config::Config;
use rustix::thread::CapabilitySet;
use std::path::{Path, PathBuf};

/// The confined processes. The supervisor is not confined: it starts the others with the
/// privileges that they need at first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Reads files, resolves names and opens sockets with the rights of the
    /// start, then ends. It keeps those rights, but starts no program and does
    /// nothing to other processes or to the system.
    Loader,
    /// Speaks with the network; it was handed all that it needs.
    Proxy,
    /// Speaks with the other members of a cluster, keeps the log in its state directory,
    /// and starts `git` or `hg` where a repository is followed, which inherit all of this.
    Control,
    /// Speaks NBD with clients of this machine. Its threads have io_uring, and are confined
    /// to the files of one volume each.
    Volume,
    /// Speaks with browsers; it opens no file.
    Console,
    /// Answers machines that boot. Its threads are confined to what each of them needs of the disk.
    Boot,
}

/// The privileges that remain for one process.
#[derive(Clone, Debug)]
pub struct Confinement {
    /// The process.
    pub role: Role,
    /// Capabilities that it keeps, and why.
    pub keeps: Vec<Kept>,
    /// Paths that it may read, with everything below.
    pub reads: Vec<PathBuf>,
    /// Directories where it may create and write files.
    pub writes: Vec<PathBuf>,
    /// Directories of the programs that it may execute.
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
    /// Of the process that reads and opens, with the rights of the start.
    pub fn loader() -> Confinement {
        Confinement {
            role: Role::Loader,
            keeps: Vec::new(),
            reads: Vec::new(),
            writes: Vec::new(),
            programs: Vec::new(),
        }
    }

    /// Of the control role: it writes to its state directory and to the directory of its
    /// socket. It may read every file that its user may, since `git` reads repositories,
    /// keys and settings from anywhere.
    pub fn control(state: &Path, runtime: Option<&Path>) -> Confinement {
        let writes = std::iter::once(state).chain(runtime);
        let programs = PROGRAMS.iter().map(PathBuf::from);
        Confinement {
            role: Role::Control,
            keeps: Vec::new(),
            reads: vec![PathBuf::from("/")],
            writes: writes.map(PathBuf::from).collect(),
            programs: programs.filter(|path| path.is_dir()).collect(),
        }
    }

    /// Of the volume role: no capability. Which files it needs changes with a reload, so
    /// each of its threads is confined to its own ([`only_volume`]).
    pub fn volume() -> Confinement {
        Confinement {
            role: Role::Volume,
            ..Confinement::loader()
        }
    }

    /// Of the console role: no capability, and no file.
    pub fn console() -> Confinement {
        Confinement {
            role: Role::Console,
            ..Confinement::loader()
        }
    }

    /// Of the farm role: as the console role, but a reload may give it ports below 1024, and it resolves the names of
    /// directories again. So it may read what the system resolves names with, as far as everybody may.
    pub fn farm() -> Confinement {
        let kept = Kept {
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

    /// Of the boot role, which keeps the rights to open its ports again when an interface returns
    /// (`keep_only`). Which files it needs changes with a reload, so its threads are confined by
    /// themselves ([`only_reading`], [`only_directory`]).
    pub fn boot() -> Confinement {
        Confinement {
            role: Role::Boot,
            ..Confinement::loader()
        }
    }

    /// Of a process that shows where a request would go: it serves one as the proxy does, and has no
    /// capability and no file.
    pub fn route() -> Confinement {
        Confinement {
            role: Role::Proxy,
            ..Confinement::loader()
        }
    }

    /// Of the process that serves with this configuration as this user.
    pub fn proxy(config: &Config, identity: &Identity) -> Confinement {
        // A core file is written with the rights of the process that crashed.
        let writes = match config.global.dumpable {
            true => vec![PathBuf::from(".")],
            false => Vec::new(),
        };
        Confinement {
            role: Role::Proxy,
            keeps: capabilities::needed(config, identity),
            reads: Vec::new(),
            writes,
            programs: Vec::new(),
        }
    }

    /// The capabilities that it keeps, as one set.
    pub fn capabilities(&self) -> CapabilitySet {
        self.keeps.iter().map(|kept| kept.capability).collect()
    }
}

/// The first half, with the rights of the start still there: what is read
/// lazily is read, capabilities that nobody keeps leave the bounding set, and
/// those that are kept outlive the change of the user.
pub fn prepare(confinement: &Confinement) -> Result<(), ConfinementError> {
    if confinement.role == Role::Loader {
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

/// The zone of local dates, and where the kernel's clock is found: libraries
/// look for both when they are first asked.
fn read_what_is_read_once() {
    let _ = model::log::time_zone();
    let _ = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
}

/// Gives up every capability but these, for a process that starts programs; what it
/// is left with. Where these programs are to have what root has (`programs`), the
/// bounding set stays: it is what root gets back when it executes one. To be called
/// by the only thread of the process.
pub fn keep_only(keeps: CapabilitySet, programs: bool) -> Result<CapabilitySet, ConfinementError> {
    match programs {
        true => capabilities::lower(keeps),
        false => capabilities::reduce(keeps),
    }
}

/// Applies it to a thread that ends at once: what a process would be left with
/// on this kernel. None where it failed.
pub fn rehearse(confinement: &Confinement) -> Option<Held> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || apply(confinement).ok());
        thread.ok()?.join().ok()?
    })
}

/// The second half: gives up everything else, and tells what was achieved. To
/// be called by the only thread of the process.
pub fn apply(confinement: &Confinement) -> Result<Held, ConfinementError> {
    let capabilities = match confinement.role {
        // The boot role has given up what it does not keep.
        Role::Loader | Role::Boot => capabilities::held()?,
        Role::Proxy | Role::Control | Role::Volume | Role::Console => {
            capabilities::reduce(confinement.capabilities())?
        }
    };
    // Without it, only a privileged process may set the next two.
    let no_new_privileges = rustix::thread::set_no_new_privs(true).is_ok();
    let files = match confinement.role {
        Role::Loader | Role::Volume | Role::Boot => Files::Unconfined,
        Role::Proxy | Role::Control | Role::Console => files::restrict(confinement)?,
    };
    let system_calls = filter::install(confinement)?;
    Ok(Held {
        wanted: confinement.capabilities(),
        capabilities,
        no_new_privileges,
        files,
        system_calls,
    })
}
