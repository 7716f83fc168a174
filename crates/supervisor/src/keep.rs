//! The file in which a supervisor stores its version for a successor, next to the role's socket;
//! only the owner may read it. A new supervisor takes only the sockets from the role, and only
//! those that the file lists. The role communicates with the network, so nothing else from it is
//! trusted, least of all the user and the root directory of the next role.
//!
//! Only a supervisor that adopts a role reads this file.

use crate::directory;
use crate::version::LoadedVersion;
use language::reason;
use part::SharedFd;
use part::memory;
use part::role::{DecodeError, KEPT_BYTES_MAX, KeptSocket, SavedVersion};
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Size of a read after the description, in bytes.
const COPY_BYTES: usize = 256 * 1024;

/// The reason why the version of a role is unknown.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The file cannot be read or written.
    #[error("{}", reason(.0))]
    File(#[from] io::Error),
    /// The file belongs to another user, or another user may read or change it.
    #[error("other users could have written it")]
    NotOurs,
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The file's length differs from the stored one.
    #[error("it is incomplete")]
    Length,
    /// The role serves another version.
    #[error("the proxy serves version {0}")]
    Version(u64),
    /// The role has other sockets.
    #[error("the proxy passed different sockets")]
    Sockets,
    /// The version contains keys, which are not written to a file.
    #[error("it contains keys, which are never written to a file")]
    Secret,
}

impl From<Errno> for KeepError {
    fn from(errno: Errno) -> Self {
        KeepError::File(errno.into())
    }
}

fn identity(fd: impl AsFd) -> Result<KeptSocket, Errno> {
    let data = fstat(fd)?;
    Ok(KeptSocket {
        device: data.st_dev,
        inode: data.st_ino,
    })
}

/// Writes a version next to the socket of its role and replaces the previous file.
pub fn write(socket: &Path, version: &LoadedVersion) -> Result<(), KeepError> {
    let (path, beside) = directory::kept_of(socket);
    let written = write_to(&beside, version);
    let named = written.and_then(|()| Ok(std::fs::rename(&beside, &path)?));
    if named.is_err() {
        // The existing file belongs to another version, which would be refused.
        let _ = std::fs::remove_file(&beside);
        let _ = std::fs::remove_file(&path);
    }
    named
}

fn write_to(path: &Path, version: &LoadedVersion) -> Result<(), KeepError> {
    // Removes the temporary file of a supervisor that was killed during a write.
    let _ = std::fs::remove_file(path);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(open(path, flags, Mode::RUSR | Mode::WUSR)?);
    let sockets = version.sockets().iter();
    // A bundle that may contain a key is never written to a file.
    let open = version.plan().without_secrets;
    let bytes = u64::try_from(fstat(version.bundle())?.st_size).unwrap_or(0);
    let kept = SavedVersion {
        take: version.take.clone(),
        sockets: sockets.map(identity).collect::<Result<_, _>>()?,
        bundle_bytes: if open { bytes } else { 0 },
    };
    file.write_all(&kept.encode())?;
    copy(version.bundle(), kept.bundle_bytes, &mut file)
}

/// Copies the bundle without changing the file offset, which other processes share.
fn copy(bundle: &SharedFd, bytes: u64, to: &mut File) -> Result<(), KeepError> {
    let copied = io::copy(&mut memory::Reader::new(bundle).take(bytes), to)?;
    if copied == bytes {
        Ok(())
    } else {
        Err(KeepError::Length)
    }
}

/// The contents of a stored version.
#[derive(Debug)]
pub struct Left {
    kept: SavedVersion,
    bundle: OwnedFd,
}

/// Reads the version that was stored next to the socket of a role.
pub fn read(socket: &Path) -> Result<Left, KeepError> {
    let (path, _) = directory::kept_of(socket);
    // A pipe instead of the file must not block the reader.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(open(&path, flags, Mode::empty())?);
    let data = fstat(&file)?;
    if !directory::is_own_file(&data) {
        return Err(KeepError::NotOurs);
    }
    let mut bytes = Vec::new();
    let most = KEPT_BYTES_MAX as u64 + COPY_BYTES as u64;
    Read::by_ref(&mut file).take(most).read_to_end(&mut bytes)?;
    let (kept, length) = SavedVersion::decode(&bytes)?;
    let whole = u64::try_from(data.st_size).unwrap_or(0);
    let is_whole = (length as u64).checked_add(kept.bundle_bytes) == Some(whole);
    if !is_whole || kept.bundle_bytes > memory::BYTES_MAX as u64 {
        return Err(KeepError::Length);
    }
    file.seek(SeekFrom::Start(length as u64))?;
    let bundle = memory::copy("evenkeel bundle", &mut file.take(kept.bundle_bytes))?;
    Ok(Left { kept, bundle })
}

impl Left {
    /// Returns the version, if the role serves this number with these sockets.
    pub fn with(self, number: u64, sockets: Vec<OwnedFd>) -> Result<LoadedVersion, Unmatched> {
        let wrong = |error, sockets| Err(Unmatched { error, sockets });
        let take = self.kept.take;
        if take.version != number {
            return wrong(KeepError::Version(number), sockets);
        }
        let mut pairs = sockets.iter().zip(&self.kept.sockets);
        let same = sockets.len() == self.kept.sockets.len()
            && sockets.len() == take.plan.descriptors()
            && pairs.all(|(fd, known)| identity(fd) == Ok(*known));
        if !same {
            return wrong(KeepError::Sockets, sockets);
        }
        if self.kept.bundle_bytes == 0 {
            return wrong(KeepError::Secret, sockets);
        }
        Ok(LoadedVersion::of(take, self.bundle, sockets))
    }
}

/// A mismatch between the file and the role.
#[derive(Debug)]
pub struct Unmatched {
    pub error: KeepError,
    /// Sockets that the role sent.
    pub sockets: Vec<OwnedFd>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::role::{Take, VersionPlan};
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    fn listener() -> OwnedFd {
        TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    struct KeepFixture {
        directory: PathBuf,
        version: LoadedVersion,
    }

    impl KeepFixture {
        fn new(name: &str) -> KeepFixture {
            KeepFixture::with(name, true, &vec![b'#'; 3 * COPY_BYTES + 10])
        }

        fn with(name: &str, without_secrets: bool, bundle: &[u8]) -> KeepFixture {
            let directory =
                std::env::temp_dir().join(format!("evenkeel-keep-{name}-{}", std::process::id()));
            std::fs::create_dir(&directory).unwrap();
            let take = Take {
                version: 7,
                plan: VersionPlan {
                    listeners: 2,
                    without_secrets,
                    pid_file: Some(b"/run/a.pid".to_vec()),
                    ..VersionPlan::default()
                },
                ..Take::default()
            };
            let bundle = memory::create("test", bundle).unwrap();
            let version = LoadedVersion::of(take, bundle, vec![listener(), listener()]);
            let bed = KeepFixture { directory, version };
            write(&bed.socket(), &bed.version).unwrap();
            bed
        }

        fn socket(&self) -> PathBuf {
            self.directory.join("1.role")
        }

        fn file(&self) -> PathBuf {
            directory::kept_of(&self.socket()).0
        }

        fn sockets(&self) -> Vec<OwnedFd> {
            let sockets = self.version.sockets().iter();
            sockets.map(|fd| fd.try_clone().unwrap()).collect()
        }

        fn refused(&self, number: u64, sockets: Vec<OwnedFd>) -> KeepError {
            let left = read(&self.socket()).unwrap();
            left.with(number, sockets).unwrap_err().error
        }
    }

    impl Drop for KeepFixture {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }

    #[test]
    fn what_was_left_is_found_again_and_is_its_owners_alone() {
        let bed = KeepFixture::new("found");
        let mode = std::fs::metadata(bed.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let left = read(&bed.socket()).unwrap();
        let found = left.with(7, bed.sockets()).unwrap();
        assert_eq!(found.take, bed.version.take);
        assert_eq!(
            memory::read(found.bundle()).unwrap(),
            memory::read(bed.version.bundle()).unwrap()
        );
        assert_eq!(std::fs::read_dir(&bed.directory).unwrap().count(), 1);
    }

    #[test]
    fn a_bundle_with_a_key_is_not_written_and_the_sockets_are_kept() {
        let key = "-----BEGIN PRIVATE KEY-----";
        let bed = KeepFixture::with("secret", false, key.as_bytes());
        let written = std::fs::read(bed.file()).unwrap();
        let found = written.windows(key.len()).any(|w| w == key.as_bytes());
        assert!(!found, "the key is in the file");
        let left = read(&bed.socket()).unwrap();
        let unmatched = left.with(7, bed.sockets()).unwrap_err();
        assert!(matches!(unmatched.error, KeepError::Secret));
        assert_eq!(unmatched.sockets.len(), 2);
    }

    #[test]
    fn a_role_that_gives_another_number_or_other_sockets_is_not_believed() {
        let bed = KeepFixture::new("other");
        assert!(matches!(
            bed.refused(8, bed.sockets()),
            KeepError::Version(8)
        ));
        let sockets = |mut all: Vec<OwnedFd>, change: &dyn Fn(&mut Vec<OwnedFd>)| {
            change(&mut all);
            bed.refused(7, all)
        };
        for change in [
            &|all: &mut Vec<OwnedFd>| drop(all.pop()) as _,
            &|all: &mut Vec<OwnedFd>| all.push(listener()),
            &|all: &mut Vec<OwnedFd>| all[1] = listener(),
            &|all: &mut Vec<OwnedFd>| all.swap(0, 1),
            &|all: &mut Vec<OwnedFd>| all[0] = File::open("/").unwrap().into(),
        ] as [&dyn Fn(&mut Vec<OwnedFd>); 5]
        {
            let error = sockets(bed.sockets(), change);
            assert!(matches!(error, KeepError::Sockets), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_may_touch_or_that_is_none_is_not_read() {
        let bed = KeepFixture::new("mode");
        for mode in [0o640, 0o602] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(bed.file(), mode).unwrap();
            assert!(matches!(read(&bed.socket()), Err(KeepError::NotOurs)));
        }
        let elsewhere = bed.directory.join("elsewhere");
        std::fs::rename(bed.file(), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, bed.file()).unwrap();
        assert!(matches!(read(&bed.socket()), Err(KeepError::File(_))));
        std::fs::remove_file(bed.file()).unwrap();
        std::fs::create_dir(bed.file()).unwrap();
        assert!(matches!(read(&bed.socket()), Err(KeepError::NotOurs)));
    }

    #[test]
    fn a_file_that_was_cut_or_has_something_behind_it_is_not_believed() {
        let bed = KeepFixture::new("cut");
        let whole = std::fs::read(bed.file()).unwrap();
        let written = |bytes: &[u8]| {
            std::fs::write(bed.file(), bytes).unwrap();
            read(&bed.socket()).map(drop)
        };
        assert!(matches!(
            written(&whole[..whole.len() - 1]),
            Err(KeepError::Length)
        ));
        assert!(matches!(written(&whole[..9]), Err(KeepError::Decode(_))));
        let more = [&whole[..], b"x"].concat();
        assert!(matches!(written(&more), Err(KeepError::Length)));
        assert!(written(&whole).is_ok());
    }

    #[test]
    fn one_that_cannot_be_written_leaves_no_older_one_behind() {
        let bed = KeepFixture::new("older");
        std::fs::create_dir(directory::kept_of(&bed.socket()).1).unwrap();
        assert!(write(&bed.socket(), &bed.version).is_err());
        assert!(matches!(read(&bed.socket()), Err(KeepError::File(_))));
    }
}
