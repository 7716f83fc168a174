//! Moves the process into the background. The command returns when the child serves, or with an
//! error when the child fails. For this the parent waits for one byte on a pipe, which the child
//! closes without writing when it fails. Must be called before any thread exists.

use language::reason;
use nix::unistd::{ForkResult, fork, setsid};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The reason why a process cannot move into the background or write its PID file.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("Cannot create pidfile {} ({})", path.display(), reason(error))]
    PidFile { path: PathBuf, error: io::Error },
    /// fork(2), pipe(2), setsid(2) or `/dev/null` failed.
    #[error("Cannot go into the background: {step} ({})", reason(error))]
    Background {
        step: &'static str,
        error: io::Error,
    },
    /// The child failed and has printed the reason itself.
    #[error("The process in the background did not start.")]
    Child,
}

/// The result of the fork in each of the two processes.
pub enum Fork {
    Parent,
    Child(Ready),
}

/// The pipe by which the child reports to the parent that it serves.
pub struct Ready {
    pipe: OwnedFd,
    null: File,
}

fn failed(step: &'static str) -> impl Fn(io::Error) -> DaemonError {
    move |error| DaemonError::Background { step, error }
}

/// Forks. The parent returns when the child serves or has failed.
///
/// # Errors
/// A step failed, or the child did.
pub fn fork_and_wait() -> Result<Fork, DaemonError> {
    // Opens the null device before chroot, and before the parent exits.
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(failed("/dev/null"))?;
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| failed("pipe")(errno.into()))?;
    // SAFETY: this is the only thread of the process, so the child may call any function.
    match unsafe { fork() }.map_err(|errno| failed("fork")(errno.into()))? {
        ForkResult::Parent { .. } => {
            drop(writer);
            wait_for_child(&reader)?;
            Ok(Fork::Parent)
        }
        ForkResult::Child => {
            drop(reader);
            setsid().map_err(|errno| failed("setsid")(errno.into()))?;
            Ok(Fork::Child(Ready { pipe: writer, null }))
        }
    }
}

fn wait_for_child(reader: &OwnedFd) -> Result<(), DaemonError> {
    let mut byte = [0];
    loop {
        return match rustix::io::read(reader, &mut byte) {
            Ok(0) => Err(DaemonError::Child),
            Ok(_) => Ok(()),
            Err(Errno::INTR) => continue,
            Err(errno) => Err(failed("read")(errno.into())),
        };
    }
}

impl Ready {
    /// Closes the standard streams, because the caller of the command may wait for their end, and
    /// notifies the parent.
    ///
    /// # Errors
    /// The streams cannot be closed.
    pub fn tell(self) -> Result<(), DaemonError> {
        let refused = |errno: Errno| failed("standard streams")(errno.into());
        rustix::stdio::dup2_stdin(self.null.as_fd()).map_err(refused)?;
        rustix::stdio::dup2_stdout(self.null.as_fd()).map_err(refused)?;
        rustix::stdio::dup2_stderr(self.null.as_fd()).map_err(refused)?;
        // Ignores a failure: the child continues if the parent was killed meanwhile.
        let _ = rustix::io::write(&self.pipe, b"+");
        Ok(())
    }
}

/// Opens the PID file with the privileges of the start. An existing file or link is removed first,
/// because its directory may belong to the user of the proxy, and a link there could point to any
/// file that only root may write. If the file cannot be removed, it is written into, but a link is
/// never followed. A device (`/dev/null`) is kept.
///
/// # Errors
/// The system call fails.
pub fn open_pid_file(path: &Path) -> Result<File, DaemonError> {
    let there = std::fs::symlink_metadata(path).map(|found| found.file_type());
    if there.is_ok_and(|kind| !kind.is_char_device()) {
        // Ignores a failure: a user who may write the file but not its directory writes into the
        // existing file.
        let _ = std::fs::remove_file(path);
    }
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| DaemonError::PidFile {
            path: path.into(),
            error,
        })
}

/// Writes the process id of this process.
///
/// # Errors
/// The system call fails.
pub fn write_pid(file: &mut File, path: &Path) -> Result<(), DaemonError> {
    write_pid_of(file, path, std::process::id())
}

/// Writes the given process id.
///
/// # Errors
/// The system call fails.
pub fn write_pid_of(file: &mut File, path: &Path, pid: u32) -> Result<(), DaemonError> {
    writeln!(file, "{pid}").map_err(|error| DaemonError::PidFile {
        path: path.into(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("evenkeel-pid-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn link_at_the_pid_file_is_replaced_without_its_target() {
        let directory = directory("link");
        let (victim, path) = (directory.join("victim"), directory.join("pid"));
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let mut file = open_pid_file(&path).unwrap();
        write_pid(&mut file, &path).unwrap();
        let (kept, written) = (
            std::fs::read_to_string(&victim).unwrap(),
            std::fs::read_to_string(&path).unwrap(),
        );
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(kept, "precious");
        assert_eq!(written.trim(), std::process::id().to_string());
    }

    #[test]
    fn pipe_at_the_pid_file_does_not_block_and_old_digits_vanish() {
        let directory = directory("pipe");
        let path = directory.join("pid");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for _ in 0..2 {
            let mut file = open_pid_file(&path).unwrap();
            write_pid(&mut file, &path).unwrap();
            assert_eq!(
                std::fs::read_to_string(&path).unwrap().trim(),
                std::process::id().to_string()
            );
            std::fs::write(&path, "12345678901234567890\n").unwrap();
        }
        let refused = open_pid_file(&directory).is_err();
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(refused, "a directory");
        assert!(open_pid_file(Path::new("/dev/null")).is_ok());
    }
}
