//! Reads the number in each file of a `track_file`, whenever the file is written, replaced, created
//! or removed. The directory is watched, so that a file may be created later.
//!
//! A thread for each directory does that: an access to a file whose disk or server does not respond
//! blocks, and the event loop must not wait for it.

use super::weight::TrackedState;
use crate::config::TrackFile;
use part::lock;
use part::wake::WakeEvent;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

const MAX_BYTES: usize = 128;

/// Limit to which larger numbers are reduced.
const LARGEST: i64 = i32::MAX as i64;

const MAX_EVENTS: usize = 256;
const STACK_BYTES: usize = 128 << 10;
/// Maximum time for which a start waits for the first values. A file that takes longer has no
/// state until it is read.
const FIRST_MAX: Duration = Duration::from_millis(250);

/// Tracked files (`track_file`) with their last values. Dropping the value ends the threads that
/// read the files; one that is blocked ends when its access does.
#[derive(Debug)]
pub struct TrackedFiles {
    files: Vec<(TrackFile, TrackedState)>,
    shared: Arc<FileResults>,
}

#[derive(Debug)]
struct FileResults {
    read: Mutex<ReadFiles>,
    has_first: Condvar,
    changed: WakeEvent,
    ends: WakeEvent,
}

#[derive(Debug)]
struct ReadFiles {
    /// Value of each file, by its index.
    values: Vec<TrackedState>,
    /// Log lines about files that cannot be written or watched.
    said: Vec<String>,
    /// Number of directories whose files have not been read yet.
    unread: usize,
}

impl TrackedFiles {
    /// Watches the files, and writes their initial values (`init_file`). Also returns a
    /// log line for each file that cannot be written or watched, or that has no value yet.
    ///
    /// # Errors
    /// inotify is not available, for example because the limit of instances is reached, or the
    /// system has no descriptor or thread left.
    pub fn open(files: &[TrackFile]) -> io::Result<(TrackedFiles, Vec<String>)> {
        let mut folders: BTreeMap<&Path, Vec<(usize, TrackFile)>> = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            let its = folders.entry(folder(&file.path)).or_default();
            its.push((index, file.clone()));
        }
        let shared = Arc::new(FileResults {
            read: Mutex::new(ReadFiles {
                values: vec![TrackedState::Unknown; files.len()],
                said: Vec::new(),
                unread: folders.len(),
            }),
            has_first: Condvar::new(),
            changed: WakeEvent::new()?,
            ends: WakeEvent::new()?,
        });
        // Dropping the value ends the threads that were started before an error.
        let mut watched = TrackedFiles {
            files: { files.iter().cloned() }
                .map(|file| (file, TrackedState::Unknown))
                .collect(),
            shared: Arc::clone(&shared),
        };
        for (folder, files) in folders {
            let reader = FolderReader {
                inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
                folder: folder.to_owned(),
                files,
                shared: Arc::clone(&shared),
            };
            let thread = Builder::new().name("track-file".to_owned());
            thread.stack_size(STACK_BYTES).spawn(move || reader.run())?;
        }
        let read = lock(&shared.read);
        let is_unread = |read: &mut ReadFiles| read.unread > 0;
        let waited = shared
            .has_first
            .wait_timeout_while(read, FIRST_MAX, is_unread);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        watched.take_events();
        let mut said = watched.take_said();
        let unread = watched.files.iter();
        let unread = unread.filter(|(_, state)| *state == TrackedState::Unknown);
        said.extend(unread.map(|(file, _)| {
            format!(
                "track_file {}: {}: the file system does not respond: the file counts when it is read",
                file.name,
                file.path.display()
            )
        }));
        Ok((watched, said))
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.changed.as_fd()
    }

    pub fn verdict(&self, name: &str) -> TrackedState {
        let found = self.files.iter().find(|(f, _)| f.name == name);
        found.map_or(TrackedState::Unknown, |(_, verdict)| *verdict)
    }

    pub fn all(&self) -> impl Iterator<Item = &(TrackFile, TrackedState)> {
        self.files.iter()
    }

    /// Applies the values that were read. Returns true if a value changed.
    pub fn take_events(&mut self) -> bool {
        self.shared.changed.reset();
        let read = lock(&self.shared.read);
        let mut changed = false;
        for ((_, state), now) in self.files.iter_mut().zip(&read.values) {
            changed |= state != now;
            *state = *now;
        }
        changed
    }

    /// Returns the log lines since the last call.
    pub fn take_said(&mut self) -> Vec<String> {
        std::mem::take(&mut lock(&self.shared.read).said)
    }
}

impl Drop for TrackedFiles {
    fn drop(&mut self) {
        self.shared.ends.wake();
    }
}

/// Thread that reads the tracked files of one directory.
#[derive(Debug)]
struct FolderReader {
    inotify: OwnedFd,
    folder: PathBuf,
    /// Files of the directory, with their indexes.
    files: Vec<(usize, TrackFile)>,
    shared: Arc<FileResults>,
}

impl FolderReader {
    fn run(&self) {
        self.begin();
        self.read(|_| true);
        lock(&self.shared.read).unread -= 1;
        self.shared.has_first.notify_all();
        loop {
            let mut watched = [
                PollFd::new(&self.inotify, PollFlags::IN),
                PollFd::new(&self.shared.ends, PollFlags::IN),
            ];
            match poll(&mut watched, None) {
                Ok(_) | Err(Errno::INTR) => {}
                // Keeps the last values: this error means that the system has no memory left.
                Err(_) => return,
            }
            let [changed, ends] = watched.map(|one| !one.revents().is_empty());
            if ends {
                return;
            }
            if changed {
                self.read_changed();
            }
        }
    }

    /// Writes the initial values and watches the directory.
    fn begin(&self) {
        let mut said = Vec::new();
        for (_, file) in &self.files {
            if let Some((value, overwrite)) = file.init
                && (overwrite || !file.path.exists())
                && let Err(error) = std::fs::write(&file.path, format!("{value}\n"))
            {
                let path = file.path.display();
                said.push(format!("track_file {}: {path}: {error}", file.name));
            }
        }
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::MODIFY
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::CREATE
            | WatchFlags::DELETE;
        if let Err(errno) = inotify::add_watch(&self.inotify, &self.folder, flags) {
            let folder = self.folder.display();
            let files = self.files.iter();
            said.extend(
                files.map(|(_, file)| format!("track_file {}: {folder}: {errno}", file.name)),
            );
        }
        if !said.is_empty() {
            lock(&self.shared.read).said.extend(said);
            self.shared.changed.wake();
        }
    }

    /// Reads the files that the events name.
    fn read_changed(&self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut all = false;
        let mut touched: Vec<OsString> = Vec::new();
        for _ in 0..MAX_EVENTS {
            let Ok(event) = reader.next() else { break };
            match event.file_name() {
                Some(name) => touched.push(OsStr::from_bytes(name.to_bytes()).to_owned()),
                // Reads all files: the queue overflowed, or the directory is gone.
                None => all = true,
            }
        }
        let is_touched = |path: &Path| touched.iter().any(|name| path.file_name() == Some(name));
        self.read(|path| all || is_touched(path));
    }

    fn read(&self, is_read: impl Fn(&Path) -> bool) {
        for (index, file) in &self.files {
            if is_read(&file.path) {
                let now = read(&file.path);
                if let Some(value) = lock(&self.shared.read).values.get_mut(*index) {
                    *value = now;
                }
                self.shared.changed.wake();
            }
        }
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Reads the number in a file. Text that is not a number counts as zero, as in keepalived. The read
/// never blocks on a pipe or a device.
fn read(path: &Path) -> TrackedState {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut buffer = [0; MAX_BYTES];
    let number = rustix::fs::open(path, flags, Mode::empty())
        .and_then(|fd| rustix::io::read(&fd, &mut buffer))
        .ok()
        .and_then(|n| buffer.get(..n))
        .map(first_number);
    TrackedState::Value(number.unwrap_or(0))
}

fn first_number(bytes: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start();
    let digits_from = usize::from(text.starts_with(['-', '+']));
    let end = text
        .char_indices()
        .skip(digits_from)
        .find(|(_, c)| !c.is_ascii_digit())
        .map_or(text.len(), |(at, _)| at);
    let word = text.get(..end).unwrap_or_default();
    match word.parse::<i64>() {
        Ok(number) => number.clamp(-LARGEST, LARGEST),
        Err(_) if word.len() > 1 && word.starts_with('-') => -LARGEST,
        Err(_) if word.len() > 1 => LARGEST,
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Weight;
    use std::time::Duration;

    #[test]
    fn a_number_is_read_as_far_as_it_goes() {
        for (text, number) in [
            ("20\n", 20),
            (" -5 or so", -5),
            ("+7", 7),
            ("", 0),
            ("no", 0),
            ("-", 0),
            ("99999999999999999999", LARGEST),
            ("-99999999999999999999", -LARGEST),
            ("\u{fffd}", 0),
        ] {
            assert_eq!(first_number(text.as_bytes()), number, "{text:?}");
        }
    }

    #[test]
    fn a_file_is_read_when_it_is_made_written_replaced_and_removed() {
        let scratch = lab::ScratchDirectory::new().unwrap();
        let path = scratch.path().join("weight");
        let file = TrackFile {
            name: "w".to_owned(),
            path: path.clone(),
            weight: Weight::default(),
            init: None,
        };
        let (mut files, said) = TrackedFiles::open(&[file]).unwrap();
        assert_eq!(said, [""; 0]);
        let mut comes_to = |number: i64| {
            lab::eventually(Duration::from_secs(20), || {
                files.take_events();
                files.verdict("w") == TrackedState::Value(number)
            })
        };
        assert!(comes_to(0));
        std::fs::write(&path, "5").unwrap();
        assert!(comes_to(5));
        scratch.write("other", "9").unwrap();
        std::fs::rename(scratch.path().join("other"), &path).unwrap();
        assert!(comes_to(9));
        std::fs::remove_file(&path).unwrap();
        assert!(comes_to(0));
    }

    #[test]
    fn init_file_makes_it_and_writes_over_it_only_when_told() {
        let scratch = lab::ScratchDirectory::new().unwrap();
        let path = scratch.path().join("weight");
        let mut file = TrackFile {
            name: "w".to_owned(),
            path: path.clone(),
            weight: Weight::default(),
            init: Some((3, false)),
        };
        let value = |file: &TrackFile| {
            let (mut files, _) = TrackedFiles::open(std::slice::from_ref(file)).unwrap();
            // The first values may be late on a machine under load.
            let is_read = lab::eventually(Duration::from_secs(20), || {
                files.take_events();
                files.verdict("w") != TrackedState::Unknown
            });
            assert!(is_read);
            files.verdict("w")
        };
        assert_eq!(value(&file), TrackedState::Value(3));
        file.init = Some((4, false));
        assert_eq!(value(&file), TrackedState::Value(3));
        file.init = Some((4, true));
        assert_eq!(value(&file), TrackedState::Value(4));
    }

    #[test]
    fn hung_file_system_blocks_no_other_file() {
        let scratch = lab::ScratchDirectory::new().unwrap();
        let [hung, other] = ["hung", "other"].map(|name| scratch.path().join(name));
        for directory in [&hung, &other] {
            std::fs::create_dir(directory).unwrap();
        }
        let file = |name: &str, directory: &Path| TrackFile {
            name: name.to_owned(),
            path: directory.join("weight"),
            weight: Weight::default(),
            init: Some((3, true)),
        };
        // The write to a pipe without a reader blocks as the access to a hung mount does.
        let pipe = hung.join("weight");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::from_raw_mode(0o600)).unwrap();
        let all = [file("hung", &hung), file("other", &other)];
        let (mut files, said) = TrackedFiles::open(&all).unwrap();
        assert!(
            said.iter()
                .any(|line| line.starts_with("track_file hung: "))
        );
        assert_eq!(files.verdict("hung"), TrackedState::Unknown);
        let mut comes_to = |name: &str, number: i64| {
            lab::eventually(Duration::from_secs(20), || {
                files.take_events();
                files.verdict(name) == TrackedState::Value(number)
            })
        };
        assert!(comes_to("other", 3));
        std::fs::write(other.join("weight"), "5").unwrap();
        assert!(comes_to("other", 5));
        // The file is read once its file system responds: the pipe now has a reader.
        std::fs::rename(&pipe, hung.join("pipe")).unwrap();
        std::fs::write(&pipe, "7").unwrap();
        let mut reader = std::fs::File::open(hung.join("pipe")).unwrap();
        io::Read::read_to_end(&mut reader, &mut Vec::new()).unwrap();
        assert!(comes_to("hung", 7));
    }
}
