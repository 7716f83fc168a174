//! The terminal of a guest: one operator at a time. QEMU talks to one connection of it, and would take what others
//! type for the next one's.

use part::report::Opens;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

/// The file that the operator holds, in the directory of the guest.
const FILE: &str = "console";
/// Bytes of it that are read.
const WHO_BYTES_MAX: u64 = 200;

/// Takes the terminal of a guest, by its directory, for somebody, until what is returned is dropped.
///
/// # Errors
/// Who has it, in words; or the system's error.
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
            // It may be empty.
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

/// Passes bytes between an operator and the terminal until one of them ends.
pub fn pass(operator: &UnixStream, terminal: &UnixStream) {
    let copy = |mut from: &UnixStream, mut to: &UnixStream| {
        // How it ended, nobody has to know.
        let _ = io::copy(&mut from, &mut to);
        end([operator, terminal]);
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(operator, terminal));
        copy(terminal, operator);
    });
}

/// Ends both connections.
pub fn end(sockets: [&UnixStream; 2]) {
    for socket in sockets {
        // It has ended already.
        let _ = socket.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::Scratch;

    #[test]
    fn one_has_it_and_the_next_one_hears_who() {
        let scratch = Scratch::new().unwrap();
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
    fn bytes_go_both_ways_until_one_ends() {
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
