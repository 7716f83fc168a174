//! The first version: from the loader's plan into the background, and the file
//! of the process id.

use crate::signals::Signals;
use part::daemon::{DaemonError, Fork, Ready, fork_and_wait, open_pid_file, write_pid};
use part::role::Plan;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::exit;

/// A file of the process id that is open, so that nothing can go wrong later.
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Opens the one of a plan.
    pub fn open(plan: &Plan) -> Result<Option<PidFile>, DaemonError> {
        let Some(path) = &plan.pid_file else {
            return Ok(None);
        };
        let path = Path::new(OsStr::from_bytes(path)).to_owned();
        let file = open_pid_file(&path)?;
        Ok(Some(PidFile { path, file }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the id of this process.
    pub fn write(mut self) -> Result<(), DaemonError> {
        write_pid(&mut self.file, &self.path)
    }
}

/// Goes into the background, before there is a role. The process that was
/// started waits until the one in the background serves, and ends here.
pub fn into_background() -> Result<Ready, DaemonError> {
    // Who only waits can be ended by any signal.
    Signals::unblock();
    let forked = fork_and_wait();
    match forked {
        Ok(Fork::Child(ready)) => {
            Signals::block();
            Ok(ready)
        }
        Ok(Fork::Parent) => exit(0),
        // The one in the background said why.
        Err(DaemonError::Child) => exit(1),
        Err(error) => Err(error),
    }
}
