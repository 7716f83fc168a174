//! Manages the directory of a guest on this node: its sockets, the end of its serial output, and
//! the lock that its QEMU process holds as long as it lives.
//!
//! QEMU inherits the lock, whose file contains the process ID. A role that finds the lock held
//! therefore knows that QEMU runs and under which process ID, no matter what became of the role
//! that started it. A stored process ID never belongs to another process.
//!
//! The directory is the working directory of QEMU. After QEMU has changed to the user of its
//! guest, it cannot open files by absolute path, since only root can enter the runtime directory.
//! In this directory it can write only to `own/`.

use super::user::QemuUser;
use crate::config::resource;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Maximum number of bytes read from the end of QEMU's own output.
const WORDS_BYTES_MAX: u64 = 16 << 10;
/// Number of bytes kept of a serial output that is truncated.
const LOG_KEPT_BYTES: u64 = 256 << 10;
/// Size of the serial output above which it is truncated, bytes.
const LOG_BYTES_MAX: u64 = 1 << 20;
const PREFIX: &str = "guest-";
/// Mode of the directory: all users may enter it; the files in it have modes of their own.
const PASSED_THROUGH: u32 = 0o711;
pub const LOCK: &str = "lock";
const PID_BYTES_MAX: usize = 16;

/// Path of a guest's directory, and of the files in it. Only some functions access the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestDirectory(PathBuf);

#[derive(Debug)]
pub enum Lock {
    /// No QEMU process runs, and none is started while the descriptor is held.
    Free(OwnedFd),
    Held {
        /// ID of the QEMU process that holds the lock; None: the process has not written it yet.
        pid: Option<i32>,
    },
}

impl GuestDirectory {
    /// Returns the directory of a guest in the runtime directory. Nothing is created.
    pub fn new(runtime: &Path, guest: &str) -> GuestDirectory {
        GuestDirectory(runtime.join(format!("{PREFIX}{guest}")))
    }

    /// Returns the names of guests that have a directory in the runtime directory.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn guests(runtime: &Path) -> io::Result<Vec<String>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(runtime)?.flatten() {
            let name = entry.file_name().into_string().ok();
            let name = name.and_then(|name| Some(name.strip_prefix(PREFIX)?.to_owned()));
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                all.extend(name);
            }
        }
        Ok(all)
    }

    /// Returns the names of guests whose QEMU process from an earlier role process still runs,
    /// except the guests of other instances of Evenkeel.
    pub fn running(runtime: &Path, claimed: &BTreeSet<String>) -> Vec<String> {
        // Returns no guests if the runtime directory does not exist.
        let mut all = GuestDirectory::guests(runtime).unwrap_or_default();
        all.retain(|name| {
            let lock = || GuestDirectory::new(runtime, name).lock();
            !claimed.contains(&resource(name)) && matches!(lock(), Ok(Lock::Held { .. }))
        });
        all
    }

    /// Returns the directories of all other guests.
    ///
    /// # Errors
    /// A system call fails.
    pub fn others(&self) -> io::Result<Vec<GuestDirectory>> {
        let runtime = self.0.parent().unwrap_or(Path::new("/"));
        let all = GuestDirectory::guests(runtime)?.into_iter();
        let all = all.map(|name| GuestDirectory::new(runtime, &name));
        Ok(all.filter(|other| other != self).collect())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Creates the directory, which only its owner can list.
    ///
    /// # Errors
    /// A system call fails.
    pub fn make(&self) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        match builder.mode(PASSED_THROUGH).create(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Refuses an existing path that is no directory, or is a symbolic link.
                if !fs::symlink_metadata(&self.0)?.is_dir() {
                    return Err(error);
                }
            }
            made => made?,
        }
        fs::set_permissions(&self.0, fs::Permissions::from_mode(PASSED_THROUGH))
    }

    /// Recreates the directory that the guest's user may write to; without a user, it belongs to
    /// this process.
    ///
    /// # Errors
    /// A system call fails.
    pub fn make_own(&self, user: Option<QemuUser>) -> io::Result<()> {
        let own = self.own();
        match fs::remove_dir_all(&own) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&own)?;
        give(&own, user)
    }

    /// Removes the directory with everything that is left of a guest, unless QEMU runs.
    pub fn remove(&self) {
        if let Ok(Lock::Free(_lock)) = self.lock() {
            // Ignores errors: files that are left over do no harm.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Returns the path of the file with the user name under which QEMU opens volumes. A role that
    /// adopts the process reads it.
    pub fn user(&self) -> PathBuf {
        self.0.join("user")
    }

    /// Acquires the lock, or returns the process ID of its holder.
    ///
    /// # Errors
    /// A system call fails.
    pub fn lock(&self) -> io::Result<Lock> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let path = self.0.join(LOCK);
        let file = openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock::Free(file)),
            Err(Errno::WOULDBLOCK) => {
                let file = fs::File::from(file);
                let mut bytes = [0; PID_BYTES_MAX];
                let count = file.read_at(&mut bytes, 0)?;
                let text = std::str::from_utf8(bytes.get(..count).unwrap_or_default());
                let pid = text.ok().and_then(|text| text.trim().parse().ok());
                Ok(Lock::Held {
                    pid: pid.filter(|pid| *pid > 1),
                })
            }
            Err(errno) => Err(errno.into()),
        }
    }

    pub fn monitor(&self) -> PathBuf {
        self.0.join("monitor.sock")
    }

    pub fn serial(&self) -> PathBuf {
        self.0.join("serial.sock")
    }

    pub fn agent(&self) -> PathBuf {
        self.0.join("agent.sock")
    }

    pub fn display(&self) -> PathBuf {
        self.0.join("display.sock")
    }

    /// Returns the directory that the guest's user may write to.
    pub fn own(&self) -> PathBuf {
        self.0.join("own")
    }

    /// Returns the path by which QEMU has to open a file after it has changed its user. A QEMU
    /// process that an earlier release started runs as root in another directory, which has no
    /// `own/`.
    pub fn for_qemu(&self, path: &Path) -> PathBuf {
        let here = path.strip_prefix(&self.0).ok();
        let here = here.filter(|_| self.own().is_dir());
        here.unwrap_or(path).to_owned()
    }

    pub fn incoming(&self) -> PathBuf {
        self.own().join("incoming.sock")
    }

    pub fn outgoing(&self) -> PathBuf {
        self.0.join("outgoing.sock")
    }

    /// Returns the path of the file with the end of the serial output.
    pub fn log(&self) -> PathBuf {
        self.0.join("serial.log")
    }

    /// Returns the path of the file in which the role that started QEMU stored its process ID.
    pub fn process(&self) -> PathBuf {
        self.0.join("process")
    }

    /// Returns the path of the file that names the control group of QEMU, if QEMU has one.
    pub fn group(&self) -> PathBuf {
        self.0.join("group")
    }

    pub fn words(&self) -> PathBuf {
        self.0.join("qemu.log")
    }

    /// Returns the path of the file that exists while file systems of the guest may be frozen.
    pub fn frozen(&self) -> PathBuf {
        self.path().join("frozen")
    }

    /// Returns the path of the file that exists until QEMU has closed its disks, if the guest has
    /// disks on external storage.
    pub fn open(&self) -> PathBuf {
        self.0.join("open")
    }

    pub fn password(&self, disk: usize) -> PathBuf {
        self.0.join(format!("password{disk}"))
    }

    pub fn variables(&self) -> PathBuf {
        self.0.join("variables.fd")
    }

    pub fn seed(&self) -> PathBuf {
        self.0.join("seed")
    }

    /// Truncates the serial output to its last part, if it is long.
    ///
    /// # Errors
    /// A system call fails.
    pub fn cut_log(&self) -> io::Result<()> {
        let path = self.log();
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path)?;
        let length = file.metadata()?.len();
        if length <= LOG_BYTES_MAX {
            return Ok(());
        }
        let mut kept = vec![0; LOG_KEPT_BYTES as usize];
        let count = file.read_at(&mut kept, length - LOG_KEPT_BYTES)?;
        // Truncates the file in place: QEMU appends, so output that it writes in between is at the
        // end of the file.
        file.set_len(0)?;
        let mut end = fs::OpenOptions::new().append(true).open(self.log())?;
        io::Write::write_all(&mut end, kept.get(..count).unwrap_or_default())
    }

    pub fn last_output_lines(&self) -> String {
        let bytes = self.end_of_words().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text
            .lines()
            .map(|line| line.trim_matches(|one: char| one.is_control() || one.is_whitespace()))
            .filter(|line| !line.is_empty())
            .collect();
        let from = lines.len().saturating_sub(3);
        let words = lines.get(from..).unwrap_or_default().join("; ");
        let plain = words.chars().filter(|letter| !letter.is_control());
        plain.take(400).collect()
    }

    /// Reads only the end of QEMU's own output, which may have any length, and holes.
    fn end_of_words(&self) -> io::Result<Vec<u8>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
            .open(self.words())?;
        let length = file.metadata()?.len();
        let mut end = vec![0; length.min(WORDS_BYTES_MAX) as usize];
        let count = file.read_at(&mut end, length.saturating_sub(WORDS_BYTES_MAX))?;
        end.truncate(count);
        Ok(end)
    }
}

/// Changes the owner of a file or directory to the user of a guest.
///
/// # Errors
/// A system call fails.
pub fn give(path: &Path, user: Option<QemuUser>) -> io::Result<()> {
    user.map_or(Ok(()), |user| {
        chown(path, Some(user.number()), Some(user.number()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;

    #[test]
    fn a_lock_that_is_held_has_the_process() {
        let scratch = ScratchDirectory::new().unwrap();
        let home = GuestDirectory::new(scratch.path(), "mail");
        home.make().unwrap();
        home.make().unwrap();
        let Ok(Lock::Free(held)) = home.lock() else {
            panic!("nobody has it");
        };
        assert!(matches!(home.lock(), Ok(Lock::Held { pid: None })));
        fs::File::from(held.try_clone().unwrap())
            .write_at(b"4711\n", 0)
            .unwrap();
        assert!(matches!(home.lock(), Ok(Lock::Held { pid: Some(4711) })));
        for nonsense in ["0\n     ", "-1      ", "x       ", "1       "] {
            fs::File::from(held.try_clone().unwrap())
                .write_at(nonsense.as_bytes(), 0)
                .unwrap();
            assert!(
                matches!(home.lock(), Ok(Lock::Held { pid: None })),
                "{nonsense}"
            );
        }
        home.remove();
        assert!(home.path().exists(), "it is in use");
        drop(held);
        home.remove();
        assert!(!home.path().exists());
    }

    #[test]
    fn a_long_log_keeps_its_end() {
        let scratch = ScratchDirectory::new().unwrap();
        let home = GuestDirectory::new(scratch.path(), "mail");
        home.make().unwrap();
        assert!(home.cut_log().is_err(), "there is none");
        fs::write(home.log(), vec![b'a'; LOG_BYTES_MAX as usize]).unwrap();
        home.cut_log().unwrap();
        assert_eq!(fs::metadata(home.log()).unwrap().len(), LOG_BYTES_MAX);
        let mut long = vec![b'a'; LOG_BYTES_MAX as usize];
        long.extend(b"the end");
        fs::write(home.log(), long).unwrap();
        home.cut_log().unwrap();
        let left = fs::read(home.log()).unwrap();
        assert_eq!(left.len() as u64, LOG_KEPT_BYTES);
        assert!(left.ends_with(b"the end"));
    }

    #[test]
    fn the_last_output_of_qemu_is_kept() {
        let scratch = ScratchDirectory::new().unwrap();
        let home = GuestDirectory::new(scratch.path(), "mail");
        home.make().unwrap();
        assert_eq!(home.last_output_lines(), "");
        // Larger than the memory of this machine, but sparse on the disk.
        let file = fs::File::create(home.words()).unwrap();
        file.set_len(1 << 43).unwrap();
        assert_eq!(home.last_output_lines(), "");
        file.write_at(b"\nno such device\x1b[2J\n", (1 << 43) - 20)
            .unwrap();
        assert_eq!(home.last_output_lines(), "no such device[2J");
    }

    #[test]
    fn a_symlink_instead_of_the_directory_is_refused() {
        let scratch = ScratchDirectory::new().unwrap();
        let home = GuestDirectory::new(scratch.path(), "mail");
        std::os::unix::fs::symlink("/etc", home.path()).unwrap();
        assert!(home.make().is_err());
    }
}
