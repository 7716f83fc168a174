//! Reads the number in each file of a `track_file`, whenever the file is written, replaced, created
//! or removed. The directory is watched, so that a file may be created later.

use super::weight::TrackedState;
use crate::config::TrackFile;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Mode, OFlags};
use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

const MAX_BYTES: usize = 128;

/// Limit to which larger numbers are reduced.
const LARGEST: i64 = i32::MAX as i64;

const MAX_EVENTS: usize = 256;

/// Tracked files (`track_file`) with their last values, and the inotify watches that report
/// changes.
#[derive(Debug)]
pub struct TrackedFiles {
    inotify: OwnedFd,
    folders: HashMap<i32, PathBuf>,
    files: Vec<(TrackFile, TrackedState)>,
}

impl TrackedFiles {
    /// Watches the files, and writes their initial values (`init_file`). Also returns a
    /// log line for each file that cannot be written or watched.
    ///
    /// # Errors
    /// inotify is not available, for example because the limit of instances is reached.
    pub fn open(files: &[TrackFile]) -> io::Result<(TrackedFiles, Vec<String>)> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut said = Vec::new();
        let mut folders = HashMap::new();
        for file in files {
            if let Some((value, overwrite)) = file.init
                && (overwrite || !file.path.exists())
                && let Err(error) = std::fs::write(&file.path, format!("{value}\n"))
            {
                said.push(format!(
                    "track_file {}: {}: {error}",
                    file.name,
                    file.path.display()
                ));
            }
            let folder = folder(&file.path);
            let flags = WatchFlags::CLOSE_WRITE
                | WatchFlags::MODIFY
                | WatchFlags::MOVED_TO
                | WatchFlags::MOVED_FROM
                | WatchFlags::CREATE
                | WatchFlags::DELETE;
            match inotify::add_watch(&inotify, folder, flags) {
                Ok(watch) => {
                    folders.insert(watch, folder.to_owned());
                }
                Err(errno) => said.push(format!(
                    "track_file {}: {}: {errno}",
                    file.name,
                    folder.display()
                )),
            }
        }
        let files = files.iter().map(|f| (f.clone(), read(&f.path))).collect();
        let watched = TrackedFiles {
            inotify,
            folders,
            files,
        };
        Ok((watched, said))
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    pub fn verdict(&self, name: &str) -> TrackedState {
        let found = self.files.iter().find(|(f, _)| f.name == name);
        found.map_or(TrackedState::Unknown, |(_, verdict)| *verdict)
    }

    pub fn all(&self) -> impl Iterator<Item = &(TrackFile, TrackedState)> {
        self.files.iter()
    }

    /// Reads the changed files. Returns true if a value changed.
    pub fn take_events(&mut self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut all = false;
        let mut touched: Vec<PathBuf> = Vec::new();
        for _ in 0..MAX_EVENTS {
            let Ok(event) = reader.next() else { break };
            let folder = self.folders.get(&event.wd());
            match (folder, event.file_name()) {
                (Some(folder), Some(name)) => {
                    let name = name.to_string_lossy().into_owned();
                    touched.push(folder.join(name));
                }
                // Reads all files: the queue overflowed, or a watched directory is gone.
                _ => all = true,
            }
        }
        let mut changed = false;
        for (file, verdict) in &mut self.files {
            if all || touched.contains(&file.path) {
                let now = read(&file.path);
                changed |= now != *verdict;
                *verdict = now;
            }
        }
        changed
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
            TrackedFiles::open(std::slice::from_ref(file))
                .unwrap()
                .0
                .verdict("w")
        };
        assert_eq!(value(&file), TrackedState::Value(3));
        file.init = Some((4, false));
        assert_eq!(value(&file), TrackedState::Value(3));
        file.init = Some((4, true));
        assert_eq!(value(&file), TrackedState::Value(4));
    }
}
