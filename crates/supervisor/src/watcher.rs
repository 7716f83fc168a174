//! Automatic reload (`watch`): the loader sends the supervisor directories and file names. The
//! supervisor watches them with inotify and requests a reload once they have settled. It never
//! opens the files.
//!
//! Directories are watched instead of files, so that replaced files, redirected links, and files
//! that are removed and created again are all noticed.

use crate::settle::Settle;
use part::role::{Watch, WatchedDirectory};
use part::voice::MessagePrinter;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

const BUFFER_BYTES: usize = 16 * 1024;
const EVENTS_MAX: usize = 4_096;
const RETRY: Duration = Duration::from_secs(1);

/// Events inside a directory that may be relevant.
const INSIDE: WatchFlags = WatchFlags::ATTRIB
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO);
/// Events of a directory itself.
const ITSELF: WatchFlags = WatchFlags::DELETE_SELF
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::MASK_ADD);

/// The watched directories and pending changes.
#[derive(Debug, Default)]
pub struct Watcher {
    inotify: Option<OwnedFd>,
    /// The version whose files are watched.
    pub version: Option<u64>,
    pub wanted: Option<Watch>,
    places: HashMap<i32, WatchedDirectory>,
    /// Time at which missing directories are checked again.
    pub retry_at: Option<Instant>,
    settle: Settle,
    /// Digest of the content that was refused last.
    pub refused: Option<u64>,
    pub running: bool,
    /// True if the result of the previous reload was discarded because files changed meanwhile.
    left: bool,
    /// True if the exhausted inotify limit was reported.
    limit_told: bool,
}

impl Watcher {
    pub fn watched(&self) -> Option<PollFd<'_>> {
        let fd = self.inotify.as_ref()?;
        Some(PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN))
    }

    /// Returns when the files must be reloaded.
    pub fn due(&self) -> Option<Instant> {
        let watch = self.wanted.as_ref()?;
        self.settle
            .due(Duration::from_millis(watch.delay_ms.into()))
    }

    /// Records the start of a reload; `asked`: a client requested it.
    pub fn begin(&mut self, asked: bool) {
        self.running = !asked;
        self.settle.begin();
    }

    /// Returns whether the result of an automatic reload must be discarded, because files were
    /// written while they were read and may be incomplete. They are read again once they have
    /// settled. The second result is always used, even if files change all the time.
    pub fn reads_again(&mut self, now: Instant) -> bool {
        self.hear(now);
        self.left = self.running && !self.left && self.settle.due(Duration::ZERO).is_some();
        self.left
    }

    /// Replaces the watched files; None watches nothing.
    pub fn arm(&mut self, watch: Option<Watch>, voice: &mut MessagePrinter) {
        self.retry_at = None;
        self.wanted = watch;
        let Some(watch) = &self.wanted else {
            self.inotify = None;
            self.places.clear();
            self.settle.begin();
            return;
        };
        if self.inotify.is_none() {
            match inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
                Ok(fd) => self.inotify = Some(fd),
                Err(errno) => {
                    return voice.warning(format_args!("cannot watch files: {errno}"));
                }
            }
        }
        let Some(inotify) = &self.inotify else {
            return;
        };
        let mut places: HashMap<i32, WatchedDirectory> = HashMap::new();
        let mut refused = None;
        let mut missing = false;
        for directory in &watch.directories {
            let mut flags = ITSELF;
            if directory.looks_inside() {
                flags |= INSIDE;
            }
            match inotify::add_watch(inotify, &*directory.path, flags) {
                Ok(number) => merge(&mut places, number, directory),
                Err(Errno::NOENT | Errno::NOTDIR) => missing = true,
                Err(errno) => refused = refused.or(Some((directory.path.clone(), errno))),
            }
        }
        let grew = places.iter().any(|(number, place)| {
            let before = self.places.get(number);
            before.is_none_or(|before| !covers(before, place))
        });
        for number in self.places.keys().filter(|n| !places.contains_key(n)) {
            // Ignored: the kernel has already removed the watch of a deleted directory.
            let _ = inotify::remove_watch(inotify, *number);
        }
        self.places = places;
        let now = Instant::now();
        self.retry_at = missing.then_some(now + RETRY);
        // Changes between the loader's read and the start of the watch were not noticed.
        if grew {
            self.settle.happened(now);
        }
        match refused {
            None => self.limit_told = false,
            Some((path, errno)) if !std::mem::replace(&mut self.limit_told, true) => {
                voice.warning(cannot_watch(&path, errno));
            }
            Some(_) => {}
        }
    }

    pub fn hear(&mut self, now: Instant) {
        let Some(inotify) = &self.inotify else {
            return;
        };
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut events = inotify::Reader::new(inotify, &mut buffer);
        for _ in 0..EVENTS_MAX {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                // No more events; any other error would repeat and needs no report.
                Err(_) => break,
            };
            let flags = event.events();
            let number = event.wd();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                self.settle.happened(now);
                continue;
            }
            let Some(place) = self.places.get(&number) else {
                continue;
            };
            let itself = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT;
            if flags.intersects(itself) {
                self.settle.happened(now);
                self.retry_at = Some(now + RETRY);
            }
            if flags.contains(ReadFlags::IGNORED) {
                self.places.remove(&number);
                continue;
            }
            let name = event.file_name().map(|name| name.to_bytes());
            let Some(name) = name.filter(|name| place.counts(name)) else {
                continue;
            };
            let key = (number, name.to_vec());
            let begun = flags.contains(ReadFlags::MODIFY)
                || (flags.contains(ReadFlags::CREATE) && will_be_closed(&place.path, name));
            if begun {
                self.settle.opened(key, now);
            } else if flags.contains(ReadFlags::ATTRIB) {
                self.settle.happened(now);
            } else {
                self.settle.closed(&key, now);
            }
        }
    }
}

/// Merges two paths of the same directory, for which the kernel has one number.
fn merge(places: &mut HashMap<i32, WatchedDirectory>, number: i32, directory: &WatchedDirectory) {
    match places.get_mut(&number) {
        None => {
            places.insert(number, directory.clone());
        }
        Some(known) => {
            known.every |= directory.every;
            known.names.extend(directory.names.iter().cloned());
            if known.suffix.is_empty() {
                known.suffix.clone_from(&directory.suffix);
            }
        }
    }
}

/// Returns whether all names watched in `now` were also watched in `before`.
fn covers(before: &WatchedDirectory, now: &WatchedDirectory) -> bool {
    let suffix = now.suffix.is_empty() || before.suffix == now.suffix;
    before.every || (!now.every && suffix && now.names.iter().all(|name| before.counts(name)))
}

/// Returns whether a new name is a file that is still being written. A link, or another name of an
/// existing file, is complete at once.
fn will_be_closed(directory: &[u8], name: &[u8]) -> bool {
    let path = Path::new(OsStr::from_bytes(directory)).join(OsStr::from_bytes(name));
    std::fs::symlink_metadata(path).is_ok_and(|data| data.is_file() && data.nlink() == 1)
}

fn cannot_watch(path: &[u8], errno: Errno) -> String {
    let path = String::from_utf8_lossy(path);
    match errno {
        Errno::NOSPC => format!(
            "the system allows no more watches (fs.inotify.max_user_watches), so changes in '{path}' are not detected"
        ),
        _ => format!("cannot watch '{path}', so changes in it are not detected: {errno}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;
    use part::voice::Form;

    fn watcher(directory: &Path) -> Watcher {
        let directory = WatchedDirectory {
            path: directory.as_os_str().as_bytes().to_vec(),
            names: vec![b"page".to_vec()],
            ..WatchedDirectory::default()
        };
        let watch = Watch {
            delay_ms: 500,
            directories: vec![directory],
            ..Watch::default()
        };
        let mut watcher = Watcher::default();
        watcher.arm(Some(watch), &mut MessagePrinter::new(Form::Own, true));
        watcher
    }

    #[test]
    fn file_read_during_a_write_is_read_again_once() {
        let scratch = ScratchDirectory::new().unwrap();
        let write = || drop(scratch.write("page", "half").unwrap());
        let mut watcher = watcher(scratch.path());
        let now = Instant::now();
        watcher.begin(false);
        assert!(!watcher.reads_again(now), "nobody wrote");
        watcher.begin(false);
        write();
        assert!(watcher.reads_again(now));
        assert!(watcher.due().is_some());
        watcher.begin(false);
        write();
        assert!(!watcher.reads_again(now), "somebody writes all the time");
        assert!(watcher.due().is_some());
        watcher.begin(false);
        write();
        assert!(watcher.reads_again(now));
        watcher.begin(true);
        write();
        assert!(!watcher.reads_again(now), "somebody asked");
    }
}
