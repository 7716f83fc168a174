//! Going into the background. The command returns when the child serves, or
//! with an error when it does not: it waits for one byte on a pipe, which the
//! child closes without writing when it fails. To be used before any thread
//! exists.

use super::StartError;
use nix::unistd::{ForkResult, fork, setsid};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Which of the two processes this is.
pub enum Side {
    /// The one that was started; the child serves.
    Parent,
    /// The one that is to serve.
    Child(Ready),
}

/// Tells the parent that the child serves.
pub struct Ready {
    pipe: OwnedFd,
    null: File,
}

fn failed(step: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::Daemon { step, error }
}

/// Forks. The parent returns when the child serves or failed.
pub fn fork_and_wait() -> Result<Side, StartError> {
    // Before chroot, and before the parent has gone.
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(failed("/dev/null"))?;
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| failed("pipe")(errno.into()))?;
    // SAFETY: no thread but this one exists yet, so the child may do anything.
    match unsafe { fork() }.map_err(|errno| failed("fork")(errno.into()))? {
        ForkResult::Parent { .. } => {
            drop(writer);
            wait_for_child(&reader)?;
            Ok(Side::Parent)
        }
        ForkResult::Child => {
            drop(reader);
            setsid().map_err(|errno| failed("setsid")(errno.into()))?;
            Ok(Side::Child(Ready { pipe: writer, null }))
        }
    }
}

fn wait_for_child(reader: &OwnedFd) -> Result<(), StartError> {
    let mut byte = [0];
    loop {
        return match rustix::io::read(reader, &mut byte) {
            Ok(0) => Err(StartError::Child),
            Ok(_) => Ok(()),
            Err(Errno::INTR) => continue,
            Err(errno) => Err(failed("read")(errno.into())),
        };
    }
}

impl Ready {
    /// Closes the standard streams, which whoever started the command may wait
    /// for, and tells the parent.
    pub fn tell(self) -> Result<(), StartError> {
        let refused = |errno: Errno| failed("standard streams")(errno.into());
        rustix::stdio::dup2_stdin(self.null.as_fd()).map_err(refused)?;
        rustix::stdio::dup2_stdout(self.null.as_fd()).map_err(refused)?;
        rustix::stdio::dup2_stderr(self.null.as_fd()).map_err(refused)?;
        // A parent that was killed meanwhile changes nothing for the child.
        let _ = rustix::io::write(&self.pipe, b"+");
        Ok(())
    }
}

/// Opens the file of the process id, with the rights of the start.
pub fn open_pid_file(path: &Path) -> Result<File, StartError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)
        .map_err(|error| StartError::PidFile {
            path: path.into(),
            error,
        })
}

/// Writes the id of this process.
pub fn write_pid(file: &mut File, path: &Path) -> Result<(), StartError> {
    writeln!(file, "{}", std::process::id()).map_err(|error| StartError::PidFile {
        path: path.into(),
        error,
    })
}
