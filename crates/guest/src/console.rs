//! The terminal of a guest, and its display by SPICE: one operator at a time. QEMU talks to one connection of
//! a terminal, and would take what others type for the next one's. Of a display it ends the session that there
//! is when somebody begins another one.

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

/// What one operator has at a time.
pub struct Only {
    /// The file that the operator holds, in the directory of the guest.
    file: Cow<'static, str>,
    noun: &'static str,
}

impl Only {
    /// A channel of a display by SPICE.
    pub fn channel(number: u8) -> Only {
        let file = format!("display.{number}").into();
        Only { file, ..DISPLAY }
    }
}

/// The terminal.
pub const TERMINAL: Only = Only {
    file: Cow::Borrowed("console"),
    noun: "terminal",
};
/// The display, if it is one of SPICE.
pub const DISPLAY: Only = Only {
    file: Cow::Borrowed("display"),
    noun: "display",
};
/// Bytes of it that are read.
const WHO_BYTES_MAX: u64 = 200;

/// Takes the terminal or the display of a guest, by its directory, for somebody, until what is returned is
/// dropped.
///
/// # Errors
/// Who has it, in words; or the system's error.
pub fn take(directory: &Path, what: &Only, who: &str) -> Result<File, String> {
    let path = directory.join(&*what.file);
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
            return Err(format!(
                "another console has its {} ({has}): end that one first",
                what.noun
            ));
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
        let first = take(
            scratch.path(),
            &TERMINAL,
            "process 7 of anna, a longer name",
        )
        .unwrap();
        let refused = take(scratch.path(), &TERMINAL, "node beta").unwrap_err();
        assert!(
            refused.contains("(process 7 of anna, a longer name)"),
            "{refused}"
        );
        // Its display is another matter.
        drop(take(scratch.path(), &DISPLAY, "node beta").unwrap());
        drop(first);
        let second = take(scratch.path(), &TERMINAL, "node beta").unwrap();
        assert!(
            take(scratch.path(), &TERMINAL, "x")
                .unwrap_err()
                .contains("(node beta)")
        );
        drop(second);
        let link = scratch.path().join("d");
        std::fs::create_dir(&link).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", link.join(&*TERMINAL.file)).unwrap();
        assert!(take(&link, &TERMINAL, "x").is_err(), "it follows no link");
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
