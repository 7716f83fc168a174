//! Decides when to reload automatically (`watch`): the loader names directories and files, which
//! the supervisor watches with inotify. A reload is due once the files have settled. The supervisor
//! never opens them.
//!
//! Directories are watched instead of files, so that replaced files, redirected links, and files
//! that are removed and created again are all noticed.

use crate::settle::Settle;
use part::role::{NotLoaded, Take, Watch, WatchedDirectory};
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

/// Inotify events inside a watched directory that may mean a changed file.
const INSIDE: WatchFlags = WatchFlags::ATTRIB
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO);
/// Inotify events of a watched directory itself (removed or moved), and the flags of its watch.
const ITSELF: WatchFlags = WatchFlags::DELETE_SELF
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::MASK_ADD);

#[derive(Debug, Default)]
pub struct Watcher {
    inotify: Option<OwnedFd>,
    /// The version whose files are watched.
    version: Option<u64>,
    wanted: Option<Watch>,
    places: HashMap<i32, WatchedDirectory>,
    /// Time at which missing directories are checked again.
    retry_at: Option<Instant>,
    settle: Settle,
    /// Digest of the content that was refused last.
    refused: Option<u64>,
    /// True if changed files are the only reason of the reload that began last.
    is_automatic: bool,
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

    /// Returns when missing directories are checked again.
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    pub fn is_automatic(&self) -> bool {
        self.is_automatic
    }

    /// Reads the events, and watches the files of the version in service.
    pub fn poll(&mut self, served: Option<&Take>, now: Instant, voice: &mut MessagePrinter) {
        if let Some(take) = served.filter(|take| self.version != Some(take.version)) {
            self.version = Some(take.version);
            self.refused = None;
            self.arm(take.plan.watch.clone(), voice);
        }
        self.hear(now);
        if self.retry_at.is_some_and(|at| at <= now) {
            self.arm(self.wanted.clone(), voice);
        }
    }

    /// Records the start of a reload if files have settled or a client asked for one. Returns
    /// whether files are the only reason.
    pub fn begin_if_due(&mut self, is_asked: bool, now: Instant) -> bool {
        let is_due = self.due().is_some_and(|at| at <= now);
        if is_due || is_asked {
            self.begin(is_asked);
        }
        is_due && !is_asked
    }

    fn begin(&mut self, is_asked: bool) {
        self.is_automatic = !is_asked;
        self.settle.begin();
    }

    /// Watches the files of a load that gave no version in addition, so that a correction is
    /// noticed. Returns whether the result must be reported: a client requested the reload, or the
    /// content differs from the one that was refused last.
    pub fn refuse(&mut self, why: NotLoaded, voice: &mut MessagePrinter) -> bool {
        if let Some(before) = &self.wanted {
            let mut watch = why.watch.unwrap_or_else(|| before.clone());
            if !why.unchanged {
                add(&mut watch, before);
            }
            self.arm(Some(watch), voice);
        }
        let refused = (!why.unchanged).then_some(why.content);
        let before = std::mem::replace(&mut self.refused, refused);
        if why.unchanged && before.is_some() {
            voice.notice("the watched files have returned to the served content");
            return true;
        }
        !self.is_automatic || before != refused
    }

    /// Returns whether the result of an automatic reload must be discarded, because files were
    /// written while they were read and may be incomplete. They are read again once they have
    /// settled. The second result is always used, even if files change all the time.
    pub fn reads_again(&mut self, now: Instant) -> bool {
        self.hear(now);
        self.left = self.is_automatic && !self.left && self.settle.due(Duration::ZERO).is_some();
        self.left
    }

    /// Replaces the watched files; None watches nothing.
    fn arm(&mut self, watch: Option<Watch>, voice: &mut MessagePrinter) {
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
            // The error is ignored: the kernel has already removed the watch of a deleted
            // directory.
            let _ = inotify::remove_watch(inotify, *number);
        }
        self.places = places;
        let now = Instant::now();
        self.retry_at = missing.then_some(now + RETRY);
        // Counts new watches as a change: what changed between the loader's read and the start of
        // the watch was not noticed.
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

    fn hear(&mut self, now: Instant) {
        let Some(inotify) = &self.inotify else {
            return;
        };
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut events = inotify::Reader::new(inotify, &mut buffer);
        for _ in 0..EVENTS_MAX {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                // Stops at the last event, and at any other error, which would repeat and needs no
                // report.
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

/// Adds directories of an earlier list that are missing in the new one: a configuration file that
/// cannot be parsed to its end names fewer files than before.
fn add(watch: &mut Watch, before: &Watch) {
    for directory in &before.directories {
        let known = watch.directories.iter_mut();
        let mut known = known.filter(|known| known.path == directory.path);
        match known.next() {
            None => watch.directories.push(directory.clone()),
            Some(known) => {
                for name in &directory.names {
                    if !known.counts(name) {
                        known.names.push(name.clone());
                    }
                }
                known.every |= directory.every;
            }
        }
    }
    // Reduces the watch to its limits, however often files are refused.
    watch.fit();
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
    use crate::bed::voice;
    use lab::ScratchDirectory;

    fn watch(directory: &Path, names: &[&str]) -> Watch {
        let directory = WatchedDirectory {
            path: directory.as_os_str().as_bytes().to_vec(),
            names: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
            ..WatchedDirectory::default()
        };
        Watch {
            delay_ms: 500,
            directories: vec![directory],
            ..Watch::default()
        }
    }

    fn take(version: u64, watch: Option<Watch>) -> Take {
        let mut take = Take {
            version,
            ..Take::default()
        };
        take.plan.watch = watch;
        take
    }

    fn watcher(directory: &Path) -> Watcher {
        let mut watcher = Watcher::default();
        let take = take(1, Some(watch(directory, &["page"])));
        watcher.poll(Some(&take), Instant::now(), &mut voice());
        watcher
    }

    #[test]
    fn reload_is_due_once_for_settled_files() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut watcher = watcher(scratch.path());
        let first = take(1, Some(watch(scratch.path(), &["page"])));
        // Begins one automatic reload after the start of the watch, because changes before it were
        // not noticed.
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        assert!(!watcher.begin_if_due(false, now));
        assert!(watcher.begin_if_due(false, later));
        assert!(watcher.is_automatic());
        assert!(!watcher.begin_if_due(false, later));
        scratch.write("page", "new").unwrap();
        watcher.poll(Some(&first), now, &mut voice());
        assert!(!watcher.begin_if_due(true, later), "a client asked");
        assert!(!watcher.is_automatic());
        assert!(!watcher.begin_if_due(false, later));
        scratch.write("page", "newer").unwrap();
        // A version that watches nothing ends the watch.
        watcher.poll(Some(&take(2, None)), now, &mut voice());
        assert!(!watcher.begin_if_due(false, later));
        assert!(watcher.watched().is_none());
    }

    #[test]
    fn refusal_is_reported_once_for_each_content() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut watcher = watcher(scratch.path());
        let refused = |content, unchanged| NotLoaded {
            content,
            unchanged,
            ..NotLoaded::default()
        };
        let mut refuse = |is_asked, content, unchanged| {
            watcher.begin(is_asked);
            watcher.refuse(refused(content, unchanged), &mut voice())
        };
        assert!(refuse(false, 7, false));
        assert!(!refuse(false, 7, false));
        assert!(refuse(true, 7, false), "a client asked");
        assert!(refuse(false, 8, false));
        assert!(refuse(false, 0, true), "the files are those in service");
        assert!(!refuse(false, 0, true));
        assert!(refuse(true, 0, true), "a client asked");
    }

    #[test]
    fn refused_files_are_watched_in_addition_to_the_served_ones() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut watcher = watcher(scratch.path());
        let other = watch(scratch.path(), &["other"]);
        let why = NotLoaded {
            watch: Some(other),
            content: 7,
            ..NotLoaded::default()
        };
        watcher.refuse(why, &mut voice());
        let wanted = watcher.wanted.as_ref().expect("a watch");
        let names = &wanted.directories[0].names;
        assert_eq!(*names, [b"other".to_vec(), b"page".to_vec()]);
        // Without a watch, a refused load starts none.
        let mut idle = Watcher::default();
        let why = NotLoaded {
            watch: Some(watch(scratch.path(), &["other"])),
            ..NotLoaded::default()
        };
        idle.refuse(why, &mut voice());
        assert!(idle.watched().is_none());
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
