//! Gives each QEMU process a control group of its own (cgroup v2), with a memory limit. The groups
//! are below one that systemd has delegated: that of `evenkeel-qemu.service`, which is not the
//! service of Evenkeel, because systemd starts no process in a group that has limited groups below
//! it, and guests outlive the service.
//!
//! - A QEMU process that needs too much memory is killed alone.
//! - The kernel counts the memory of each guest.
//! - Without a delegated group, guests run in the group of the role, without limit.

use super::home::GuestDirectory;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Environment variable with the path of the delegated control group. The systemd units set it.
const VARIABLE: &str = "EVENKEEL_GUEST_CGROUP";
/// Memory that QEMU may need beside the memory of its guest, and beside an eighth of that: buffers,
/// thread stacks, page tables, screens, output in files of the runtime directory.
const OVERHEAD_BYTES: u64 = 1 << 30;
/// Maximum size of the translated code of a QEMU without KVM.
const TRANSLATION_BYTES: u64 = 1 << 30;

#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    #[error("{VARIABLE} is not set; the systemd units set it")]
    Unset,
    #[error("{0} is no control group (cgroup v2); is evenkeel-qemu.service active?")]
    NoGroup(String),
    #[error("{0} has no memory controller; is it delegated to the unit?")]
    NoMemory(String),
    #[error("{path}: {error}")]
    Failed { path: String, error: io::Error },
}

fn failed(path: &Path) -> impl Fn(io::Error) -> GroupError {
    let path = path.display().to_string();
    move |error| GroupError::Failed {
        path: path.clone(),
        error,
    }
}

/// Delegated control group, which contains the groups of guests and no process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestGroups(PathBuf);

impl GuestGroups {
    /// Opens the delegated group that the environment names.
    ///
    /// # Errors
    /// The environment names none, or [`GuestGroups::open`] fails.
    pub fn from_environment() -> Result<GuestGroups, GroupError> {
        match env::var_os(VARIABLE) {
            None => Err(GroupError::Unset),
            Some(path) => GuestGroups::open(Path::new(&path)),
        }
    }

    /// Opens a delegated group, and lets the groups below it limit and count memory.
    ///
    /// # Errors
    /// The directory is no control group, does not offer the memory controller, or is not writable.
    pub fn open(path: &Path) -> Result<GuestGroups, GroupError> {
        let words = || path.display().to_string();
        let offered = fs::read_to_string(path.join("cgroup.controllers"))
            .map_err(|_| GroupError::NoGroup(words()))?;
        if !offered.split_whitespace().any(|one| one == "memory") {
            return Err(GroupError::NoMemory(words()));
        }
        let control = path.join("cgroup.subtree_control");
        write(&control, "+memory").map_err(failed(&control))?;
        Ok(GuestGroups(path.to_owned()))
    }

    /// Creates the group of a QEMU process, without a process. The file [`GuestDirectory::group`]
    /// names it for the next role process.
    ///
    /// # Errors
    /// A system call fails. Nothing is left then.
    pub fn create(
        &self,
        guest: &str,
        home: &GuestDirectory,
        limit_bytes: u64,
    ) -> Result<GuestGroup, GroupError> {
        // Contains the process ID of the role, because two instances on one machine may both run
        // QEMU for a guest while it moves.
        let name = format!("guest-{guest}-{}", std::process::id());
        let group = GuestGroup(self.0.join(name));
        let file = home.group();
        // Writes the name first, so that a killed role leaves no group without one.
        fs::write(&file, group.0.as_os_str().as_encoded_bytes()).map_err(failed(&file))?;
        let created = group.create(limit_bytes);
        if created.is_err() {
            group.remove(home);
        }
        created.map(|()| group)
    }
}

/// Returns the memory limit of a QEMU process for a guest with this memory, bytes.
pub fn limit_bytes(guest_memory_bytes: u64, has_kvm: bool) -> u64 {
    let translation = if has_kvm { 0 } else { TRANSLATION_BYTES };
    guest_memory_bytes
        .saturating_add(guest_memory_bytes / 8)
        .saturating_add(OVERHEAD_BYTES + translation)
}

/// Why the kernel has killed a process of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutOfMemory {
    /// The group has reached its limit, bytes.
    Group(u64),
    Machine,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutOfMemory::Group(bytes) => write!(
                f,
                "out of memory: QEMU needed more than the {} MiB of its control group",
                bytes >> 20
            ),
            OutOfMemory::Machine => f.write_str("out of memory: this machine had none left"),
        }
    }
}

/// Control group of one QEMU process.
#[derive(PartialEq, Eq, Debug)]
pub struct GuestGroup(PathBuf);

impl GuestGroup {
    /// Returns the group in which a role process has started the QEMU of this guest. None: it was
    /// started without one.
    pub fn find(home: &GuestDirectory) -> Option<GuestGroup> {
        let path = fs::read(home.group())
            .ok()
            .filter(|path| !path.is_empty())?;
        let group = GuestGroup(PathBuf::from(OsString::from_vec(path)));
        group.path_of_processes().exists().then_some(group)
    }

    fn create(&self, limit_bytes: u64) -> Result<(), GroupError> {
        match fs::create_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created.map_err(failed(&self.0))?,
        }
        let limit = self.0.join("memory.max");
        write(&limit, &limit_bytes.to_string()).map_err(failed(&limit))
    }

    /// Opens the file by which a process enters the group: it writes `0`.
    ///
    /// # Errors
    /// A system call fails.
    pub fn open(&self) -> io::Result<OwnedFd> {
        let file = OpenOptions::new()
            .write(true)
            .open(self.path_of_processes());
        Ok(file?.into())
    }

    fn path_of_processes(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Memory that the kernel counts for the group, bytes, with files that QEMU has in the cache.
    pub fn memory_bytes(&self) -> Option<u64> {
        self.number("memory.current")
    }

    pub fn limit_bytes(&self) -> Option<u64> {
        self.number("memory.max")
    }

    fn number(&self, file: &str) -> Option<u64> {
        let text = fs::read_to_string(self.0.join(file)).ok()?;
        text.trim().parse().ok()
    }

    /// Returns why the kernel has killed a process of the group; None: the kernel has killed none.
    pub fn out_of_memory(&self) -> Option<OutOfMemory> {
        let events = fs::read_to_string(self.0.join("memory.events")).ok()?;
        let count = |name: &str| {
            let mut lines = events.lines().filter_map(|line| line.split_once(' '));
            let found = lines.find(|(key, _)| *key == name);
            found.and_then(|(_, count)| count.parse::<u64>().ok())
        };
        if count("oom_kill")? == 0 {
            return None;
        }
        let by_limit = count("oom").is_some_and(|count| count > 0);
        let limit = self.limit_bytes().filter(|_| by_limit);
        Some(limit.map_or(OutOfMemory::Machine, OutOfMemory::Group))
    }

    /// Removes the group, unless it has a process.
    pub fn remove(&self, home: &GuestDirectory) {
        let removed = fs::remove_dir(&self.0);
        let is_gone = match removed {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if is_gone {
            // Ignores an error: the file then names a group that does not exist.
            let _ = fs::remove_file(home.group());
        }
    }
}

/// Writes to a file that the kernel has created.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::process::{ProcessRights, QemuProcess};
    use super::*;
    use crate::qemu::home::Lock;
    use lab::{ScratchDirectory, eventually};
    use std::time::Duration;

    /// Creates the files of a delegated control group in an ordinary directory.
    fn directory_with(scratch: &ScratchDirectory, controllers: &str) -> PathBuf {
        let path = scratch.path().join("delegated");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("cgroup.controllers"), controllers).unwrap();
        fs::write(path.join("cgroup.subtree_control"), "").unwrap();
        path
    }

    fn home_in(scratch: &ScratchDirectory) -> GuestDirectory {
        let home = GuestDirectory::new(scratch.path(), "mail");
        home.make().unwrap();
        home
    }

    #[test]
    fn delegated_group_without_memory_controller_is_refused() {
        let scratch = ScratchDirectory::new().unwrap();
        let refused = |path: &Path| GuestGroups::open(path).unwrap_err().to_string();
        let missing = refused(&scratch.path().join("missing"));
        assert!(missing.contains("evenkeel-qemu.service"), "{missing}");
        let path = directory_with(&scratch, "cpu io pids\n");
        let refused = refused(&path);
        assert!(refused.contains("no memory controller"), "{refused}");
        fs::write(path.join("cgroup.controllers"), "cpu memory\n").unwrap();
        assert!(GuestGroups::open(&path).is_ok());
        let enabled = fs::read_to_string(path.join("cgroup.subtree_control")).unwrap();
        assert_eq!(enabled, "+memory");
    }

    #[test]
    fn failed_creation_leaves_no_group() {
        let scratch = ScratchDirectory::new().unwrap();
        let groups = GuestGroups(directory_with(&scratch, "memory"));
        let home = home_in(&scratch);
        // An ordinary file system creates no file `memory.max`.
        let error = groups.create("mail", &home, 1 << 30).unwrap_err();
        assert!(error.to_string().contains("memory.max"), "{error}");
        let left = fs::read_dir(&groups.0).unwrap();
        let left = left.filter(|one| one.as_ref().unwrap().path().is_dir());
        assert_eq!(left.count(), 0);
        assert!(!home.group().exists());
        assert_eq!(GuestGroup::find(&home), None);
    }

    #[test]
    fn killed_process_is_explained_by_the_events_of_its_group() {
        let scratch = ScratchDirectory::new().unwrap();
        let group = GuestGroup(scratch.path().to_owned());
        assert_eq!(group.out_of_memory(), None);
        fs::write(scratch.path().join("memory.max"), "2147483648\n").unwrap();
        let events = scratch.path().join("memory.events");
        for (oom, killed, expected) in [
            (0, 0, None),
            (3, 0, None),
            (0, 1, Some(OutOfMemory::Machine)),
            (1, 1, Some(OutOfMemory::Group(2 << 30))),
        ] {
            let text = format!("low 0\nhigh 0\nmax 9\noom {oom}\noom_kill {killed}\n");
            fs::write(&events, text).unwrap();
            assert_eq!(group.out_of_memory(), expected);
        }
        let words = OutOfMemory::Group(2 << 30).to_string();
        assert!(words.contains("2048 MiB"), "{words}");
    }

    #[test]
    fn limit_exceeds_the_memory_of_the_guest() {
        assert_eq!(limit_bytes(8 << 30, true), 10 << 30);
        assert_eq!(limit_bytes(8 << 30, false), 11 << 30);
        assert_eq!(limit_bytes(u64::MAX, false), u64::MAX);
    }

    /// Returns where the hierarchy of version 2 is mounted.
    fn mounted() -> Option<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let mut lines = mounts.lines().map(|line| line.split(' '));
        lines.find_map(|mut words| {
            let path = words.nth(1)?;
            (words.next() == Some("cgroup2")).then(|| path.into())
        })
    }

    #[test]
    fn process_starts_in_its_group_and_the_group_is_removed_after_it() {
        lab::skip_unless_root!();
        let Some(mounted) = mounted() else {
            return;
        };
        let scratch = ScratchDirectory::new().unwrap();
        let delegated = mounted.join(format!("evenkeel-test-{}", std::process::id()));
        if fs::create_dir(&delegated).is_err() {
            return;
        }
        let home = home_in(&scratch);
        // Some machines have the memory controller in another hierarchy.
        let group = GuestGroup(delegated.join("guest-mail"));
        fs::create_dir(group.path()).unwrap();
        fs::write(home.group(), group.path().as_os_str().as_encoded_bytes()).unwrap();
        let Ok(Lock::Free(lock)) = home.lock() else {
            panic!("the lock is held");
        };
        let rights = ProcessRights {
            group: Some(group.open().unwrap()),
            ..ProcessRights::default()
        };
        let arguments = vec!["1000".into()];
        let sleep = Path::new("/bin/sleep");
        let process = QemuProcess::start(sleep, arguments, &home, &lock, &[], rights).unwrap();
        let listed = fs::read_to_string(group.path_of_processes()).unwrap();
        assert_eq!(listed.trim(), process.id().to_string());
        group.remove(&home);
        assert_eq!(GuestGroup::find(&home), Some(GuestGroup(group.0.clone())));
        process.end().unwrap();
        assert!(process.ended().is_some());
        let removed = eventually(Duration::from_secs(60), || {
            group.remove(&home);
            !group.path().exists()
        });
        fs::remove_dir(&delegated).unwrap();
        assert!(removed && !home.group().exists());
    }
}
