//! Creates, copies and removes the state file of a role, which outlives the role's process. The
//! supervisor never interprets the state in it.

use crate::directory;
use part::{SharedFd, mapped, memory};
use rustix::fs::{Mode, OFlags, fstat, open, rename};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the state that is the ring of the supervisor's trace events.
pub const TRACE: &str = "trace";

/// Maximum size of a state that is copied for a successor, in bytes.
const STATE_BYTES_MAX: u64 = 2 << 20;

/// The reason why the state cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error(transparent)]
    Directory(#[from] directory::DirectoryError),
    #[error(transparent)]
    File(#[from] io::Error),
    #[error("other users could have written it")]
    NotOurs,
}

impl From<rustix::io::Errno> for KeepError {
    fn from(errno: rustix::io::Errno) -> Self {
        KeepError::File(errno.into())
    }
}

/// The state file of a role. The same command in the same network namespace finds it again, also
/// after all processes were killed.
pub struct Keep {
    path: PathBuf,
    file: SharedFd,
}

impl Keep {
    /// Opens the state file of this part, for this program, these files and this network namespace.
    pub fn open(part: &str, program: &str, paths: &[PathBuf]) -> Result<Keep, KeepError> {
        let path = Keep::path_of(part, program, paths)?;
        let file = Arc::new(open_file(&path)?);
        Ok(Keep { path, file })
    }

    pub fn path_of(
        part: &str,
        program: &str,
        paths: &[PathBuf],
    ) -> Result<PathBuf, directory::DirectoryError> {
        let mut hasher = DefaultHasher::new();
        (program, directory::network(), paths).hash(&mut hasher);
        let name = format!("{part}-{:016x}.state", hasher.finish());
        directory::place(&name)
    }

    pub fn kept(path: PathBuf, file: OwnedFd) -> Keep {
        let file = Arc::new(file);
        Keep { path, file }
    }

    pub fn file(&self) -> &SharedFd {
        &self.file
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file with a copy, for a role that starts while its predecessor still writes.
    pub fn renew(&self) -> Result<Keep, KeepError> {
        let beside = self.path.with_extension("new");
        let _ = std::fs::remove_file(&beside);
        let file = open_file(&beside)?;
        let state = memory::Reader::new(&*self.file);
        io::copy(
            &mut state.take(STATE_BYTES_MAX),
            &mut File::from(file.try_clone()?),
        )?;
        rename(&beside, &self.path)?;
        Ok(Keep {
            path: self.path.clone(),
            file: Arc::new(file),
        })
    }

    /// Returns whether the role has stored an empty state.
    pub fn is_empty(&self) -> bool {
        let mut length = [0xff; 8];
        matches!(rustix::io::pread(&*self.file, &mut length, 0), Ok(8)) && length == [0; 8]
    }

    pub fn forget(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn open_file(path: &Path) -> Result<OwnedFd, KeepError> {
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::RUSR | Mode::WUSR)?;
    if mapped::is_private(&fstat(&file)?) {
        Ok(file)
    } else {
        Err(KeepError::NotOurs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewed_state_has_the_same_content() {
        let name = format!("evenkeel-addresses-{}.state", std::process::id());
        let path = std::env::temp_dir().join(name);
        let keep = Keep::kept(path.clone(), open_file(&path).unwrap());
        rustix::io::pwrite(&**keep.file(), b"state", 0).unwrap();
        let renewed = keep.renew().unwrap();
        rustix::io::pwrite(&**keep.file(), b"older", 0).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"state");
        renewed.forget();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_others_may_write_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let name = format!("evenkeel-addresses-others-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, "").unwrap();
        let mode = std::fs::Permissions::from_mode(0o622);
        std::fs::set_permissions(&path, mode).unwrap();
        let refused = open_file(&path);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(refused, Err(KeepError::NotOurs)));
    }
}
