//! Moves the supervisor into the background before the first role starts, and opens and writes its
//! PID file.

use crate::signals::Signals;
use part::daemon::{DaemonError, Fork, Ready, fork_and_wait, open_pid_file, write_pid};
use part::role::VersionPlan;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::exit;

/// An open PID file, so that writing it later cannot fail for lack of permission.
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    pub fn open(plan: &VersionPlan) -> Result<Option<PidFile>, DaemonError> {
        let Some(path) = &plan.pid_file else {
            return Ok(None);
        };
        let path = Path::new(OsStr::from_bytes(path)).to_owned();
        let file = open_pid_file(&path)?;
        Ok(Some(PidFile { path, file }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(mut self) -> Result<(), DaemonError> {
        write_pid(&mut self.file, &self.path)
    }
}

/// Moves into the background before any role is started. The parent waits until the background
/// process serves, and exits here.
pub fn into_background() -> Result<Ready, DaemonError> {
    // Unblocks the signals for the parent, which only waits, so that any signal may end it.
    Signals::unblock();
    let forked = fork_and_wait();
    match forked {
        Ok(Fork::Child(ready)) => {
            Signals::block();
            Ok(ready)
        }
        Ok(Fork::Parent) => exit(0),
        // Exits without a message, because the background process has printed the reason.
        Err(DaemonError::Child) => exit(1),
        Err(error) => Err(error),
    }
}
