//! Writes and reads the file in which a supervisor stores its version for a successor, next to the
//! role's socket; only the owner may read it. A new supervisor takes only the sockets from the role
//! that the file lists, and the bundle if its digest is the stored one. The role communicates with
//! the network, so nothing else from it is trusted, least of all the user and the root directory of
//! the next role.
//!
//! The bundle contains the files of the configuration with their passwords. It is in memory only:
//! the role keeps it and returns it to the successor.
//!
//! Only a supervisor that adopts a role reads this file.

use crate::directory;
use crate::salt::SALT_BYTES;
use crate::version::LoadedVersion;
use aws_lc_rs::digest::{Context, SHA256};
use language::reason;
use part::role::{DecodeError, KEPT_BYTES_MAX, KeptSocket, SavedVersion, Take};
use part::{mapped, memory};
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use zeroize::Zeroizing;

const READ_BYTES: usize = 256 * 1024;

/// The reason why the version of a role is unknown.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error("{}", reason(.0))]
    File(#[from] io::Error),
    /// The file belongs to another user, or another user may read or change it.
    #[error("other users could have written it")]
    NotOurs,
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("it is incomplete")]
    Length,
    #[error("the proxy serves version {0}")]
    Version(u64),
    #[error("the proxy passed different sockets")]
    Sockets,
    /// The role does not keep a bundle with keys.
    #[error("it contains keys, which the proxy does not keep")]
    Secret,
    #[error("the proxy passed a different bundle")]
    Bundle,
}

fn digest(salt: &[u8], bundle: impl AsFd) -> io::Result<Vec<u8>> {
    let mut digest = Context::new(&SHA256);
    digest.update(salt);
    let mut bundle = memory::Reader::new(bundle);
    let mut bytes = Zeroizing::new(vec![0; READ_BYTES]);
    loop {
        match bundle.read(&mut bytes)? {
            0 => return Ok(digest.finish().as_ref().to_vec()),
            count => digest.update(&bytes[..count]),
        }
    }
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
        // Removes the existing file, too: it belongs to a previous version, which a successor would
        // refuse.
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
    // Stores no digest of a bundle with keys, which the role does not keep.
    let salt = &version.take.salt;
    let is_kept = version.plan().without_secrets && salt.len() == SALT_BYTES;
    let bytes = u64::try_from(fstat(version.bundle())?.st_size).unwrap_or(0);
    let kept = SavedVersion {
        take: Take {
            salt: Vec::new(),
            ..version.take.clone()
        },
        sockets: sockets.map(identity).collect::<Result<_, _>>()?,
        bundle_bytes: if is_kept { bytes } else { 0 },
        digest: if is_kept {
            digest(salt, version.bundle())?
        } else {
            Vec::new()
        },
    };
    Ok(file.write_all(&kept.encode())?)
}

#[derive(Debug)]
pub struct Left {
    kept: SavedVersion,
}

pub fn read(socket: &Path) -> Result<Left, KeepError> {
    let (path, _) = directory::kept_of(socket);
    // Opens without waiting, because a pipe instead of the file must not block the reader.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(open(&path, flags, Mode::empty())?);
    let data = fstat(&file)?;
    if !mapped::is_private(&data) {
        return Err(KeepError::NotOurs);
    }
    let mut bytes = Vec::new();
    let most = KEPT_BYTES_MAX as u64 + READ_BYTES as u64;
    Read::by_ref(&mut file).take(most).read_to_end(&mut bytes)?;
    let (kept, length) = SavedVersion::decode(&bytes)?;
    if u64::try_from(data.st_size) != Ok(length as u64) {
        return Err(KeepError::Length);
    }
    Ok(Left { kept })
}

impl Left {
    /// Returns the version, if the role serves this number with these sockets and this bundle.
    pub fn with(
        self,
        given: &Take,
        bundle: Option<OwnedFd>,
        sockets: Vec<OwnedFd>,
    ) -> Result<LoadedVersion, Unmatched> {
        let wrong = |error, sockets| Err(Unmatched { error, sockets });
        let mut take = self.kept.take.clone();
        if take.version != given.version {
            return wrong(KeepError::Version(given.version), sockets);
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
        match bundle.filter(|bundle| self.is_bundle(&given.salt, bundle)) {
            Some(bundle) => {
                take.salt.clone_from(&given.salt);
                Ok(LoadedVersion::of(take, bundle, sockets))
            }
            None => wrong(KeepError::Bundle, sockets),
        }
    }

    /// Returns whether these are the salt and the bundle of the version. The bundle is sealed, so
    /// that the role cannot change it afterwards.
    fn is_bundle(&self, salt: &[u8], bundle: &OwnedFd) -> bool {
        let bytes = memory::check(bundle, memory::BYTES_MAX).map(|bytes| bytes as u64);
        salt.len() == SALT_BYTES
            && bytes.is_ok_and(|bytes| bytes == self.kept.bundle_bytes)
            && digest(salt, bundle).is_ok_and(|digest| digest == self.kept.digest)
    }
}

/// Mismatch between the file of a stored version and what the role serves.
#[derive(Debug)]
pub struct Unmatched {
    pub error: KeepError,
    pub sockets: Vec<OwnedFd>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::salt::new_salt;
    use part::role::VersionPlan;
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
            KeepFixture::with(name, true, &vec![b'#'; 3 * READ_BYTES + 10])
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
                salt: new_salt().unwrap(),
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

        /// Returns the version and the bundle that the role sends.
        fn given(&self) -> (Take, Option<OwnedFd>) {
            let bundle = self.version.bundle().try_clone().unwrap();
            (self.version.take.clone(), Some(bundle))
        }

        fn refused(&self, number: u64, sockets: Vec<OwnedFd>) -> KeepError {
            let left = read(&self.socket()).unwrap();
            let (mut take, bundle) = self.given();
            take.version = number;
            left.with(&take, bundle, sockets).unwrap_err().error
        }
    }

    impl Drop for KeepFixture {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }

    #[test]
    fn stored_version_is_read_back_and_private_to_its_owner() {
        let bed = KeepFixture::new("found");
        let mode = std::fs::metadata(bed.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let left = read(&bed.socket()).unwrap();
        let (take, bundle) = bed.given();
        let found = left.with(&take, bundle, bed.sockets()).unwrap();
        assert_eq!(found.take, bed.version.take);
        assert_eq!(
            memory::read(found.bundle()).unwrap(),
            memory::read(bed.version.bundle()).unwrap()
        );
        assert_eq!(std::fs::read_dir(&bed.directory).unwrap().count(), 1);
    }

    #[test]
    fn file_contains_neither_bundle_nor_salt() {
        let text = "user anna insecure-password S3CRET";
        for without_secrets in [true, false] {
            let bed = KeepFixture::with("secret", without_secrets, text.as_bytes());
            let written = std::fs::read(bed.file()).unwrap();
            for secret in [b"S3CRET".as_slice(), &bed.version.take.salt] {
                let found = written.windows(secret.len()).any(|w| w == secret);
                assert!(!found, "a secret is in the file");
            }
        }
    }

    #[test]
    fn sockets_are_stored_even_without_the_bundle() {
        let bed = KeepFixture::with("keys", false, b"-----BEGIN PRIVATE KEY-----");
        let left = read(&bed.socket()).unwrap();
        let (take, bundle) = bed.given();
        let unmatched = left.with(&take, bundle, bed.sockets()).unwrap_err();
        assert!(matches!(unmatched.error, KeepError::Secret));
        assert_eq!(unmatched.sockets.len(), 2);
    }

    #[test]
    fn role_with_another_bundle_or_salt_is_refused() {
        let bed = KeepFixture::with("bundle", true, b"the files");
        let (good, _) = bed.given();
        let other_salt = Take {
            salt: new_salt().unwrap(),
            ..good.clone()
        };
        let no_salt = Take {
            salt: Vec::new(),
            ..good.clone()
        };
        let sealed = |bytes: &[u8]| Some(memory::create("test", bytes).unwrap());
        let file = bed.directory.join("file");
        std::fs::write(&file, b"the files").unwrap();
        let open = Some(OwnedFd::from(File::open(&file).unwrap()));
        for (take, bundle) in [
            (&good, sealed(b"the filez")),
            (&good, sealed(b"the files and")),
            (&good, sealed(b"")),
            (&good, None),
            (&good, open),
            (&other_salt, sealed(b"the files")),
            (&no_salt, sealed(b"the files")),
        ] {
            let left = read(&bed.socket()).unwrap();
            let unmatched = left.with(take, bundle, bed.sockets()).unwrap_err();
            assert!(matches!(unmatched.error, KeepError::Bundle));
        }
        let left = read(&bed.socket()).unwrap();
        assert!(
            left.with(&good, sealed(b"the files"), bed.sockets())
                .is_ok()
        );
    }

    #[test]
    fn role_with_another_number_or_sockets_is_refused() {
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
    fn file_writable_by_others_is_not_read() {
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
    fn truncated_or_extended_file_is_refused() {
        let bed = KeepFixture::new("cut");
        let whole = std::fs::read(bed.file()).unwrap();
        let written = |bytes: &[u8]| {
            std::fs::write(bed.file(), bytes).unwrap();
            read(&bed.socket()).map(drop)
        };
        assert!(matches!(
            written(&whole[..whole.len() - 1]),
            Err(KeepError::Decode(_))
        ));
        assert!(matches!(written(&whole[..9]), Err(KeepError::Decode(_))));
        let more = [&whole[..], b"x"].concat();
        assert!(matches!(written(&more), Err(KeepError::Length)));
        assert!(written(&whole).is_ok());
    }

    #[test]
    fn failed_write_leaves_no_older_file() {
        let bed = KeepFixture::new("older");
        std::fs::create_dir(directory::kept_of(&bed.socket()).1).unwrap();
        assert!(write(&bed.socket(), &bed.version).is_err());
        assert!(matches!(read(&bed.socket()), Err(KeepError::File(_))));
    }
}
