//! Reads, writes and locks the state directory: the identity of this machine in its cluster, its
//! keys, its log, and the last version that it accepted.
//!
//! Only its owner may access it (0700) and its files (0600). A file is written beside the old one,
//! synced to disk and renamed, so after a power failure it is the old one or the new one. The file
//! `member` is written last: without it the machine is not a member, and other files are left over
//! from an incomplete setup.

use crate::durable;
use crate::file_set::{FileSet, SET_BYTES_MAX};
use crate::member::{ClusterMember, MemberId, MemberKind};
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

pub const USUAL: &str = "/var/lib/evenkeel";
/// The identity of this machine: [`LocalMember`] as JSON.
pub const MEMBER: &str = "member";
pub const CERTIFICATE: &str = "member.pem";
pub const KEY: &str = "member.key";
pub const AUTHORITIES: &str = "authority.pem";
/// File name of the key that decrypts this node's content keys.
pub const SEALING_KEY: &str = "sealing.key";
/// The log and the state (redb).
pub const STORE: &str = "store.redb";
/// File name of the promises to the other members, kept apart from the log.
pub const PROMISE: &str = "promise";
/// File name of a store that lost acknowledged data, kept for analysis.
pub const STORE_LOST: &str = "store.redb.lost";
/// The version that this node accepted last: a [`FileSet`].
pub const ACCEPTED: &str = "accepted.set";
/// Marks a member that was removed from its cluster. The file counts by its existence: on a full
/// disk it is empty.
pub const REMOVED: &str = "removed";
const LOCK: &str = "lock";
const SMALL_BYTES_MAX: u64 = 1 << 20;
/// Maximum size in bytes of the accepted version on disk: its files and its description.
const ACCEPTED_BYTES_MAX: u64 = SET_BYTES_MAX + (8 << 20);

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
    #[error("{} belongs to another user; it must belong to the user who runs evenkeel", .0.display())]
    Owner(PathBuf),
    #[error("other users may read or write {}, which contains keys; run `chmod go= {}`", .0.display(), .0.display())]
    Others(PathBuf),
    #[error("{} is larger than {} bytes", .0.display(), .1)]
    TooLarge(PathBuf, u64),
    #[error(
        "{} is damaged ({}), so this member cannot start: remove it from the cluster on another member, delete its \
         state directory and join again",
        .0.display(),
        .1
    )]
    Malformed(PathBuf, String),
    #[error("{} is damaged ({})", .0.display(), .1)]
    AcceptedDamaged(PathBuf, String),
    /// The files of the directory were deleted while this process used it; another member may have
    /// been set up in it since.
    #[error(
        "{} was emptied or set up again while this process runs: nothing is written there; restart evenkeel",
        .0.display()
    )]
    Replaced(PathBuf),
    #[error("{} is in use by another evenkeel process: stop it first", .0.display())]
    InUse(PathBuf),
    #[error("this machine is already a member of the cluster {} ({}); to leave it, run `evenkeel cluster \
             remove` with its name on another member, stop evenkeel here, then delete that directory", .1, .0.display())]
    Taken(PathBuf, String),
    #[error("this machine is not a member of a cluster ({} does not exist); `evenkeel cluster init NAME` creates \
             one, `evenkeel cluster join TOKEN` joins one", .0.display())]
    NoMember(PathBuf),
}

/// The identity of this machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LocalMember {
    pub cluster: String,
    pub id: MemberId,
    pub name: String,
    pub kind: MemberKind,
    pub listen: Vec<SocketAddr>,
    pub addresses: Vec<SocketAddr>,
    /// Members that this machine knows, so that it can reach them before it has a list from any of
    /// them.
    pub members: Vec<ClusterMember>,
    /// Addresses of other members that an operator gave on this machine. They apply until these
    /// members have announced them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub moved: BTreeMap<MemberId, Vec<SocketAddr>>,
}

impl LocalMember {
    /// Returns the given addresses that a member has not announced yet. Its other
    /// addresses are tried after them.
    pub fn unannounced(&self, member: &ClusterMember) -> Option<Vec<SocketAddr>> {
        let moved = self.moved.get(&member.id)?;
        let is_new = |address: &&SocketAddr| !member.addresses.contains(address);
        let new: Vec<SocketAddr> = moved.iter().filter(is_new).copied().collect();
        (!new.is_empty()).then_some(new)
    }

    pub fn with_moved(
        &self,
        mut members: BTreeMap<MemberId, ClusterMember>,
    ) -> BTreeMap<MemberId, ClusterMember> {
        for member in members.values_mut() {
            if let Some(mut addresses) = self.unannounced(member) {
                addresses.extend(&member.addresses);
                member.addresses = addresses;
            }
        }
        members
    }

    pub fn nodes(&self) -> BTreeSet<MemberId> {
        let nodes = self
            .members
            .iter()
            .filter(|member| member.kind == MemberKind::Node);
        nodes.map(|member| member.id).collect()
    }
}

/// State directory of a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateDirectory {
    path: PathBuf,
    /// Device and inode of the lock file when this process began to use the directory
    /// ([`StateDirectory::bind`]).
    lock_file: Option<(u64, u64)>,
}

/// Lock of the directory: while it exists, no other process uses the directory.
#[derive(Debug)]
pub struct Lock {
    descriptor: OwnedFd,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Unlocks explicitly, because a process that is being started has a copy of the descriptor
        // until it executes its program.
        let _ = rustix::fs::flock(&self.descriptor, FlockOperation::Unlock);
    }
}

impl StateDirectory {
    /// Opens an existing directory of this user.
    ///
    /// # Errors
    /// - [`DirectoryError::Io`]: the directory does not exist or cannot be accessed.
    /// - [`DirectoryError::Owner`]: the directory belongs to another user.
    /// - [`DirectoryError::Others`]: other users have access to it.
    pub fn open(path: impl Into<PathBuf>) -> Result<StateDirectory, DirectoryError> {
        let directory = StateDirectory {
            path: path.into(),
            lock_file: None,
        };
        directory.check()?;
        Ok(directory)
    }

    /// Opens the directory, and creates it with its parents if it is missing.
    ///
    /// # Errors
    /// Fails if the directory cannot be created, or as [`StateDirectory::open`].
    pub fn create(path: impl Into<PathBuf>) -> Result<StateDirectory, DirectoryError> {
        let path: PathBuf = path.into();
        let failed = |error| DirectoryError::Io(path.clone(), error);
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above).map_err(failed)?;
        }
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        StateDirectory::open(path)
    }

    /// Returns whether the directory belongs to a member of a cluster. Errors (for
    /// example a directory that may not be read) count as yes, so that they are reported.
    pub fn is_of_a_member(path: &Path) -> bool {
        match std::fs::symlink_metadata(path.join(MEMBER)) {
            Ok(_) => true,
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ),
        }
    }

    /// Returns whether the directory belongs to a member that was removed from its cluster. Needs
    /// only read access.
    pub fn is_of_a_removed_member(path: &Path) -> bool {
        StateDirectory::is_of_a_member(path) && path.join(REMOVED).symlink_metadata().is_ok()
    }

    /// Marks the member as removed from its cluster. The mark is on disk on return.
    ///
    /// # Errors
    /// Fails if the mark cannot be written, or as [`StateDirectory::writable`].
    pub fn mark_removed(&self, words: &str) -> Result<(), DirectoryError> {
        self.writable()?;
        let path = self.file(REMOVED);
        let failed = |error| DirectoryError::Io(path.clone(), error);
        let Err(error) = durable::write(&path, words.as_bytes()) else {
            return Ok(());
        };
        let is_full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        if !is_full.contains(&error.kind()) {
            return Err(failed(error));
        }
        // Creates an empty file on a full disk, which often needs no block of its own.
        std::fs::File::create(&path).map_err(failed)?;
        self.sync().map_err(failed)
    }

    /// Removes the mark of [`StateDirectory::mark_removed`], if there is one.
    ///
    /// # Errors
    /// Fails if the mark cannot be removed, or as [`StateDirectory::writable`].
    pub fn clear_removed(&self) -> Result<(), DirectoryError> {
        self.writable()?;
        let path = self.file(REMOVED);
        match std::fs::remove_file(&path).and_then(|()| self.sync()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DirectoryError::Io(path, error))
            }
            _ => Ok(()),
        }
    }

    /// Binds this value to the current files of the directory, which this process has locked. Then
    /// nothing is written into files that another process has put in their place.
    pub fn bind(&mut self) {
        self.lock_file = self.lock_file_now();
    }

    fn lock_file_now(&self) -> Option<(u64, u64)> {
        let data = self.file(LOCK).symlink_metadata().ok()?;
        Some((data.dev(), data.ino()))
    }

    /// Returns the path of the directory for writing.
    ///
    /// # Errors
    /// Fails with [`DirectoryError::Replaced`] if the files are no longer those of this process: a
    /// setup first creates a lock file and writes the identity of the member last.
    pub fn writable(&self) -> Result<&Path, DirectoryError> {
        let is_unchanged = match (self.lock_file, self.lock_file_now()) {
            (None, _) => true,
            // Accepts a deleted lock file while the identity is there, because no other member was
            // set up.
            (Some(_), None) => StateDirectory::is_of_a_member(&self.path),
            (before, now) => before == now,
        };
        if is_unchanged {
            Ok(&self.path)
        } else {
            Err(DirectoryError::Replaced(self.path.clone()))
        }
    }

    fn sync(&self) -> io::Result<()> {
        std::fs::File::open(&self.path)?.sync_all()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn check(&self) -> Result<(), DirectoryError> {
        let failed = |error| DirectoryError::Io(self.path.clone(), error);
        let me = rustix::process::geteuid().as_raw();
        // Checks the link and its target: the directory may be on another disk, behind a link of
        // the same user.
        let link = std::fs::symlink_metadata(&self.path).map_err(failed)?;
        let data = std::fs::metadata(&self.path).map_err(failed)?;
        if link.uid() != me || data.uid() != me {
            return Err(DirectoryError::Owner(self.path.clone()));
        }
        if !data.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        match data.mode() & 0o077 {
            0 => Ok(()),
            _ => Err(DirectoryError::Others(self.path.clone())),
        }
    }

    /// Locks the directory against other processes.
    ///
    /// # Errors
    /// Fails with [`DirectoryError::InUse`] if another process holds the lock, and with
    /// [`DirectoryError::Io`] if the lock file cannot be opened or locked.
    pub fn lock(&self) -> Result<Lock, DirectoryError> {
        let path = self.file(LOCK);
        let failed = |errno: rustix::io::Errno| DirectoryError::Io(path.clone(), errno.into());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = match rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR) {
            // Opens the lock file without write access on a read-only file system; the store
            // reports the problem later.
            Err(rustix::io::Errno::ROFS) => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                rustix::fs::open(&path, flags, Mode::empty())
            }
            opened => opened,
        };
        let descriptor = opened.map_err(failed)?;
        match rustix::fs::flock(&descriptor, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { descriptor }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DirectoryError::InUse(self.path.clone())),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Reads a file; `None` if it is missing.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is larger than `bytes_max`.
    pub fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, DirectoryError> {
        let path = self.file(name);
        let failed = |error| DirectoryError::Io(path.clone(), error);
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(bytes_max + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > bytes_max {
            Err(DirectoryError::TooLarge(path, bytes_max))
        } else {
            Ok(Some(bytes))
        }
    }

    /// Reads a small file (a key, a certificate) that must exist.
    ///
    /// # Errors
    /// As [`StateDirectory::read`]. A missing file is an error, too.
    pub fn small(&self, name: &str) -> Result<Vec<u8>, DirectoryError> {
        self.read(name, SMALL_BYTES_MAX)?.ok_or_else(|| {
            DirectoryError::Io(self.file(name), io::Error::from(io::ErrorKind::NotFound))
        })
    }

    /// Writes a file, which is on disk on return.
    ///
    /// # Errors
    /// Fails if the file cannot be written, or as [`StateDirectory::writable`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DirectoryError> {
        self.writable()?;
        let path = self.file(name);
        durable::write(&path, bytes).map_err(|error| DirectoryError::Io(path, error))
    }

    /// Reads a file that has a copy; `None` if both are missing.
    fn either(
        &self,
        name: &str,
        bytes_max: u64,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, DirectoryError> {
        let path = self.file(name);
        match durable::read_either(&path, bytes_max) {
            Ok(kept) => Ok(Some(kept.bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(
                DirectoryError::Malformed(path, "and so is its copy".to_owned()),
            ),
            Err(error) => Err(DirectoryError::Io(path, error)),
        }
    }

    fn write_twice(&self, name: &str, bytes: &[u8]) -> Result<(), DirectoryError> {
        self.writable()?;
        let path = self.file(name);
        durable::write_twice(&path, bytes).map_err(|error| DirectoryError::Io(path, error))
    }

    /// Returns the identity of this machine; `None` if this machine is not a member. The copy of
    /// the file `member` alone does not count: it is left over from an incomplete setup, or from a
    /// removed machine.
    ///
    /// # Errors
    /// Fails with [`DirectoryError::Io`] if the file cannot be read, and with
    /// [`DirectoryError::Malformed`] if it and its copy are damaged, or if its content is invalid.
    pub fn local_member(&self) -> Result<Option<LocalMember>, DirectoryError> {
        if !StateDirectory::is_of_a_member(&self.path) {
            return Ok(None);
        }
        let Some(bytes) = self.either(MEMBER, SMALL_BYTES_MAX)? else {
            return Ok(None);
        };
        let who = serde_json::from_slice(&bytes);
        who.map(Some).map_err(|error| {
            DirectoryError::Malformed(self.file(MEMBER), format!("invalid membership: {error}"))
        })
    }

    pub fn missing_files(&self, kind: MemberKind) -> Vec<&'static str> {
        let all = match kind {
            MemberKind::Node => &[MEMBER, KEY, CERTIFICATE, AUTHORITIES, SEALING_KEY][..],
            MemberKind::Arbiter => &[MEMBER, KEY, CERTIFICATE, AUTHORITIES],
        };
        let is_missing = |name: &&&str| {
            let data = self.file(name).symlink_metadata();
            data.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        all.iter().filter(is_missing).copied().collect()
    }

    /// Returns the identity of this machine, which must be a member.
    ///
    /// # Errors
    /// Fails with [`DirectoryError::NoMember`] if this machine is not a member, or as
    /// [`StateDirectory::local_member`].
    pub fn member(&self) -> Result<LocalMember, DirectoryError> {
        self.local_member()?
            .ok_or_else(|| DirectoryError::NoMember(self.file(MEMBER)))
    }

    /// Writes the identity of this machine.
    ///
    /// # Errors
    /// Fails if the file or its copy cannot be written, or as [`StateDirectory::writable`].
    pub fn write_who(&self, who: &LocalMember) -> Result<(), DirectoryError> {
        let mut text = serde_json::to_vec_pretty(who).map_err(|error| {
            DirectoryError::Malformed(self.file(MEMBER), format!("invalid membership: {error}"))
        })?;
        text.push(b'\n');
        self.write_twice(MEMBER, &text)
    }

    /// Writes the missing file `member` of a running member again: from its copy, or else with the
    /// identity at its start.
    ///
    /// # Errors
    /// As [`StateDirectory::write_who`].
    pub fn restore_who(&self, at_start: &LocalMember) -> Result<(), DirectoryError> {
        match self.either(MEMBER, SMALL_BYTES_MAX) {
            Ok(Some(bytes)) if serde_json::from_slice::<LocalMember>(&bytes).is_ok() => {
                self.write_twice(MEMBER, &bytes)
            }
            _ => self.write_who(at_start),
        }
    }

    /// Refuses a machine that belongs to a cluster.
    ///
    /// # Errors
    /// Fails with [`DirectoryError::Taken`] if the machine belongs to a cluster, or as
    /// [`StateDirectory::local_member`].
    pub fn is_free(&self) -> Result<(), DirectoryError> {
        match self.local_member()? {
            Some(who) => Err(DirectoryError::Taken(self.path.clone(), who.cluster)),
            None => Ok(()),
        }
    }

    /// Returns the version that this node accepted last; None if there is none.
    ///
    /// # Errors
    /// Fails with [`DirectoryError::Io`] if the file cannot be read, and with
    /// [`DirectoryError::AcceptedDamaged`] if it and its copy are damaged, or if its content is
    /// invalid.
    pub fn accepted(&self) -> Result<Option<FileSet>, DirectoryError> {
        let bytes = match self.either(ACCEPTED, ACCEPTED_BYTES_MAX) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            // Distinguishes this damage from that of the identity, which stops the member: this
            // file is written again.
            Err(DirectoryError::Malformed(path, why)) => {
                return Err(DirectoryError::AcceptedDamaged(path, why));
            }
            Err(error) => return Err(error),
        };
        FileSet::decode(&bytes).map(Some).map_err(|error| {
            DirectoryError::AcceptedDamaged(self.file(ACCEPTED), error.to_string())
        })
    }

    /// Saves a version as the one that was accepted last.
    ///
    /// # Errors
    /// Fails if the file or its copy cannot be written, or as [`StateDirectory::writable`].
    pub fn write_accepted(&self, set: &FileSet) -> Result<(), DirectoryError> {
        self.write_twice(ACCEPTED, &Zeroizing::new(set.encode()))
    }
}

/// Reads the version that the node of this directory accepted last, a [`FileSet`] that
/// is not validated.
///
/// # Errors
/// Returns the errors of [`durable::read_either`].
pub fn read_accepted(directory: &Path) -> io::Result<durable::DurableContent> {
    durable::read_either(&directory.join(ACCEPTED), ACCEPTED_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::VersionId;
    use crate::member::Digest;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct TestDirectory(PathBuf);

    impl TestDirectory {
        fn new() -> TestDirectory {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("evenkeel-directory-{}-{number}", std::process::id());
            TestDirectory(std::env::temp_dir().join(name))
        }
    }

    impl Drop for TestDirectory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn who() -> LocalMember {
        LocalMember {
            cluster: "north".into(),
            id: MemberId(2),
            name: "b".into(),
            kind: MemberKind::Node,
            listen: vec!["[::]:7443".parse().unwrap()],
            addresses: vec!["10.0.0.2:7443".parse().unwrap()],
            members: vec![ClusterMember {
                id: MemberId(1),
                name: "a".into(),
                kind: MemberKind::Node,
                addresses: vec!["10.0.0.1:7443".parse().unwrap()],
                certificate: Digest([7; 32]),
                sealing_key: Some(vec![1, 2, 3]),
                format: 1,
            }],
            moved: BTreeMap::new(),
        }
    }

    #[test]
    fn addresses_of_an_operator_apply_until_they_are_announced() {
        let (old, new): (SocketAddr, SocketAddr) = (
            "10.0.0.1:7443".parse().unwrap(),
            "10.9.0.1:7443".parse().unwrap(),
        );
        let who = LocalMember {
            moved: BTreeMap::from([(MemberId(1), vec![new])]),
            ..who()
        };
        // The addresses survive encoding as JSON.
        let text = serde_json::to_string(&who).unwrap();
        let who: LocalMember = serde_json::from_str(&text).unwrap();
        let members = || BTreeMap::from([(MemberId(1), who.members[0].clone())]);
        assert_eq!(
            who.with_moved(members())[&MemberId(1)].addresses,
            [new, old]
        );
        let announced = ClusterMember {
            addresses: vec![new],
            ..who.members[0].clone()
        };
        assert_eq!(who.unannounced(&announced), None);
        let members = BTreeMap::from([(MemberId(1), announced)]);
        assert_eq!(who.with_moved(members)[&MemberId(1)].addresses, [new]);
    }

    #[test]
    fn what_was_written_is_read_again() {
        let place = TestDirectory::new();
        let directory = StateDirectory::create(&place.0).unwrap();
        assert_eq!(directory.local_member().unwrap(), None);
        assert!(!StateDirectory::is_of_a_member(&place.0));
        assert!(directory.is_free().is_ok());
        directory.write_who(&who()).unwrap();
        assert!(StateDirectory::is_of_a_member(&place.0));
        assert_eq!(directory.member().unwrap(), who());
        assert!(matches!(
            directory.is_free(),
            Err(DirectoryError::Taken(_, name)) if name == "north"
        ));
        assert_eq!(directory.accepted().unwrap(), None);
        let set = FileSet {
            version: VersionId(4),
            label: "version 4".into(),
            ..FileSet::default()
        };
        directory.write_accepted(&set).unwrap();
        directory.write_accepted(&set).unwrap();
        assert_eq!(directory.accepted().unwrap(), Some(set));
    }

    #[test]
    fn deleted_member_file_is_restored_from_its_copy() {
        let place = TestDirectory::new();
        let directory = StateDirectory::create(&place.0).unwrap();
        let at_start = who();
        let now = LocalMember {
            members: Vec::new(),
            ..who()
        };
        directory.write_who(&now).unwrap();
        let is_missing = || {
            directory
                .missing_files(MemberKind::Arbiter)
                .contains(&MEMBER)
        };
        let member = directory.file(MEMBER);
        assert!(!is_missing());
        std::fs::remove_file(&member).unwrap();
        assert!(is_missing());
        directory.restore_who(&at_start).unwrap();
        assert_eq!(directory.member().unwrap(), now);
        for copy in [None, Some("damaged")] {
            std::fs::remove_file(&member).unwrap();
            match copy {
                Some(bytes) => std::fs::write(durable::copy_of(&member), bytes).unwrap(),
                None => std::fs::remove_file(durable::copy_of(&member)).unwrap(),
            }
            directory.restore_who(&at_start).unwrap();
            assert_eq!(directory.member().unwrap(), at_start);
        }
    }

    #[test]
    fn units_of_members_start_where_only_the_copy_is_left() {
        let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd");
        let mut conditions = 0;
        for unit in std::fs::read_dir(units).unwrap() {
            let text = std::fs::read_to_string(unit.unwrap().path()).unwrap();
            let of = |path: &Path| {
                let any = format!("ConditionPathExists=|{}", path.display());
                text.lines().any(|line| line == any)
            };
            let member = Path::new(USUAL).join(MEMBER);
            let names_it = |line: &str| line.contains(USUAL) && line.starts_with("Condition");
            let named = text.lines().filter(|line| names_it(line)).count();
            if named > 0 {
                // `evenkeel run` then reports what to do; a failed condition would be silent.
                assert!(
                    of(&member) && of(&durable::copy_of(&member)) && named == 2,
                    "{text}"
                );
                conditions += 1;
            }
        }
        // A node and the arbiter.
        assert_eq!(conditions, 2);
    }

    #[test]
    fn the_directory_and_its_files_are_their_owners_alone() {
        let place = TestDirectory::new();
        let directory = StateDirectory::create(&place.0).unwrap();
        directory.write(KEY, b"secret").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&place.0), 0o700);
        assert_eq!(mode(&directory.file(KEY)), 0o600);
        std::fs::set_permissions(&place.0, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(
            StateDirectory::open(&place.0),
            Err(DirectoryError::Others(_))
        ));
    }

    #[test]
    fn identity_survives_damage_and_a_linked_directory() {
        let place = TestDirectory::new();
        let directory = StateDirectory::create(place.0.join("there")).unwrap();
        directory.write_who(&who()).unwrap();
        for damaged in [&b""[..], b"{\"cluster\":", b"\xff\xff"] {
            std::fs::write(directory.file(MEMBER), damaged).unwrap();
            assert_eq!(directory.member().unwrap(), who());
        }
        // Without this file the machine is no member, whatever other files exist.
        std::fs::remove_file(directory.file(MEMBER)).unwrap();
        assert_eq!(directory.local_member().unwrap(), None);
        let link = place.0.join("link");
        std::os::unix::fs::symlink(directory.path(), &link).unwrap();
        assert!(StateDirectory::open(&link).is_ok());
        let plain = place.0.join("plain");
        std::fs::write(&plain, b"").unwrap();
        let words = StateDirectory::open(&plain).unwrap_err().to_string();
        assert!(words.contains("not a directory"), "{words}");
    }

    #[test]
    fn accepted_version_survives_damage_of_its_file() {
        let place = TestDirectory::new();
        let directory = StateDirectory::create(&place.0).unwrap();
        let set = FileSet {
            version: VersionId(4),
            label: "version 4".into(),
            ..FileSet::default()
        };
        directory.write_accepted(&set).unwrap();
        let damage = || read_accepted(&place.0).unwrap().damage.is_some();
        assert!(!damage());
        let file = directory.file(ACCEPTED);
        let whole = std::fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x55;
            for damaged in [&whole[..at], &flipped] {
                std::fs::write(&file, damaged).unwrap();
                assert!(damage(), "{at}");
                assert_eq!(directory.accepted().unwrap().as_ref(), Some(&set));
            }
        }
        std::fs::remove_file(&file).unwrap();
        assert!(damage());
        assert_eq!(directory.accepted().unwrap(), Some(set));
        // Without the file, a damaged copy is no version.
        std::fs::write(durable::copy_of(&file), &whole[1..]).unwrap();
        assert_eq!(directory.accepted().unwrap(), None);
        std::fs::write(&file, b"").unwrap();
        assert!(directory.accepted().is_err());
    }

    #[test]
    fn incomplete_file_is_ignored() {
        let place = TestDirectory::new();
        let directory = StateDirectory::create(&place.0).unwrap();
        directory.write_who(&who()).unwrap();
        std::fs::write(place.0.join(".member.new"), b"{\"cluster\":").unwrap();
        assert_eq!(directory.member().unwrap(), who());
        directory.write_who(&who()).unwrap();
        assert_eq!(directory.member().unwrap(), who());
    }

    #[test]
    fn damaged_or_oversized_file_is_reported_with_its_path() {
        let place = TestDirectory::new();
        let directory = StateDirectory::create(&place.0).unwrap();
        std::fs::write(directory.file(MEMBER), b"{\"cluster\":").unwrap();
        let words = directory.local_member().unwrap_err().to_string();
        assert!(words.contains("/member is damaged"), "{words}");
        std::fs::write(directory.file(ACCEPTED), b"\xc1torn").unwrap();
        assert!(matches!(
            directory.accepted(),
            Err(DirectoryError::AcceptedDamaged(..))
        ));
        assert!(matches!(
            directory.read(ACCEPTED, 3),
            Err(DirectoryError::TooLarge(_, 3))
        ));
    }

    #[test]
    fn second_process_is_refused_until_the_first_ended() {
        let place = TestDirectory::new();
        let directory = StateDirectory::create(&place.0).unwrap();
        let first = directory.lock().unwrap();
        assert!(matches!(directory.lock(), Err(DirectoryError::InUse(_))));
        drop(first);
        assert!(directory.lock().is_ok());
    }

    #[test]
    fn process_writes_nothing_into_a_directory_set_up_again() {
        let place = TestDirectory::new();
        let mut directory = StateDirectory::create(&place.0).unwrap();
        let lock = directory.lock().unwrap();
        directory.bind();
        directory.write_who(&who()).unwrap();
        // A lock file alone may be missing.
        std::fs::remove_file(directory.file(LOCK)).unwrap();
        directory.write_who(&who()).unwrap();
        for name in [MEMBER, "member.copy"] {
            let _ = std::fs::remove_file(directory.file(name));
        }
        let other = StateDirectory::open(&place.0).unwrap();
        let is_refused = |directory: &StateDirectory| {
            let results = [
                directory.write_who(&who()),
                directory.write(KEY, b"old"),
                directory.write_accepted(&FileSet::default()),
                directory.mark_removed("removed"),
                directory.clear_removed(),
                directory.writable().map(drop),
            ];
            results
                .iter()
                .all(|one| matches!(one, Err(DirectoryError::Replaced(_))))
        };
        assert!(is_refused(&directory));
        // Another member is set up, and its lock is free again.
        drop(other.lock().unwrap());
        other.write(KEY, b"new").unwrap();
        assert!(is_refused(&directory));
        let joined = LocalMember {
            id: MemberId(7),
            ..who()
        };
        other.write_who(&joined).unwrap();
        assert!(is_refused(&directory));
        assert_eq!(other.member().unwrap(), joined);
        assert_eq!(other.small(KEY).unwrap(), b"new");
        assert!(!StateDirectory::is_of_a_removed_member(&place.0));
        drop(lock);
    }
}
