//! Relays the serial terminal of a guest to one operator at a time. QEMU accepts a single
//! connection, and would deliver what a second operator types only after the first one has
//! disconnected.

use part::report::Opens;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

const FILE: &str = "console";
const WHO_BYTES_MAX: u64 = 200;

/// Locks the serial terminal of the guest with this directory for an operator, called `who`.
/// Dropping the returned file releases the lock.
///
/// # Errors
/// Another operator uses the terminal (the text names that operator), or a system call fails.
pub fn take(directory: &Path, who: &str) -> Result<File, String> {
    let path = directory.join(FILE);
    let words = |error: io::Error| format!("{}: {error}", path.display());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR);
    let mut file = File::from(file.map_err(|errno| words(errno.into()))?);
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut has = String::new();
            // Ignores an error: the operator that has the lock may not have written its name yet.
            let _ = Read::by_ref(&mut file)
                .take(WHO_BYTES_MAX)
                .read_to_string(&mut has);
            return Err(Opens::Terminal.in_use(&has));
        }
        Err(errno) => return Err(words(errno.into())),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.write_all(who.as_bytes()));
    written.map_err(words).map(|()| file)
}

pub fn pass(operator: &UnixStream, terminal: &UnixStream) {
    let copy = |mut from: &UnixStream, mut to: &UnixStream| {
        // Ignores why the relay ended, because both directions end in any case.
        let _ = io::copy(&mut from, &mut to);
        end([operator, terminal]);
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(operator, terminal));
        copy(terminal, operator);
    });
}

pub fn end(sockets: [&UnixStream; 2]) {
    for socket in sockets {
        // Ignores an error: a connection that has ended already is no fault.
        let _ = socket.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;

    #[test]
    fn a_second_operator_learns_who_has_the_console() {
        let scratch = ScratchDirectory::new().unwrap();
        let first = take(scratch.path(), "process 7 of anna, a longer name").unwrap();
        let refused = take(scratch.path(), "node beta").unwrap_err();
        assert!(
            refused.contains("in use by process 7 of anna, a longer name:"),
            "{refused}"
        );
        drop(first);
        let second = take(scratch.path(), "node beta").unwrap();
        assert!(
            take(scratch.path(), "x")
                .unwrap_err()
                .contains("in use by node beta:")
        );
        drop(second);
        let link = scratch.path().join("d");
        std::fs::create_dir(&link).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", link.join(FILE)).unwrap();
        assert!(take(&link, "x").is_err(), "it follows no link");
    }

    #[test]
    fn bytes_flow_both_ways_until_one_side_ends() {
        let (mut own, operator) = UnixStream::pair().unwrap();
        let (mut guest, terminal) = UnixStream::pair().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || pass(&operator, &terminal));
            own.write_all(b"ls").unwrap();
            let mut two = [0; 2];
            guest.read_exact(&mut two).unwrap();
            guest.write_all(b"ok").unwrap();
            own.read_exact(&mut two).unwrap();
            assert_eq!(&two, b"ok");
            drop(guest);
            assert_eq!(own.read(&mut two).unwrap(), 0);
        });
    }
}
