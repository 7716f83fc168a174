//! Holds the files of a configuration that was prepared on another machine. Queries about files use
//! only these, except for files that belong to each machine, so that every machine with this
//! configuration loads the same. The module opens no file.

use super::{Entries, Secret, Unreadable};
use language::source::Text;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Maximum number of missing files that are remembered for the report.
const MISSED_MAX: usize = 10_000;
/// The mode bit that lets everyone read a file.
const READABLE_BY_ALL: u32 = 0o004;

/// A file of a prepared configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreparedFile {
    pub bytes: Secret,
    pub mode: u32,
}

/// The files of a prepared configuration, by the names that its lines use.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Prepared {
    label: String,
    files: BTreeMap<PathBuf, PreparedFile>,
    directories: BTreeMap<PathBuf, Entries>,
    missed: BTreeSet<PathBuf>,
}

impl Prepared {
    /// Creates a set without files. The label names the configuration in messages: `version 12`.
    pub fn new(label: impl Into<String>) -> Prepared {
        Prepared {
            label: label.into(),
            ..Prepared::default()
        }
    }

    pub fn add_file(&mut self, path: impl Into<PathBuf>, file: PreparedFile) {
        self.files.insert(path.into(), file);
    }

    pub fn add_directory(&mut self, path: impl Into<PathBuf>, mut names: Vec<OsString>) {
        names.sort_unstable();
        self.directories.insert(path.into(), names.into());
    }

    fn find(&mut self, path: &Path, bytes_max: u64) -> Result<&PreparedFile, Unreadable> {
        if !self.files.contains_key(path)
            && !self.directories.contains_key(path)
            && self.missed.len() < MISSED_MAX
        {
            self.missed.insert(path.to_owned());
        }
        if self.directories.contains_key(path) {
            return Err(Unreadable::Refused(Errno::ISDIR.raw_os_error()));
        }
        match self.files.get(path) {
            Some(file) if file.bytes.bytes().len() as u64 > bytes_max => {
                Err(Unreadable::TooLarge(bytes_max))
            }
            Some(file) => Ok(file),
            None => Err(Unreadable::Refused(Errno::NOENT.raw_os_error())),
        }
    }

    pub(super) fn read(&mut self, path: &Path, bytes_max: u64) -> Result<Text, Unreadable> {
        let file = self.find(path, bytes_max)?;
        Ok(Text::new(file.bytes.bytes().to_vec()))
    }

    pub(super) fn read_secret(&mut self, path: &Path, max: u64) -> Result<Secret, Unreadable> {
        Ok(self.find(path, max)?.bytes.clone())
    }

    pub(super) fn entries(&self, path: &Path) -> Result<Entries, Unreadable> {
        let none = || Unreadable::Refused(Errno::NOENT.raw_os_error());
        self.directories.get(path).cloned().ok_or_else(none)
    }

    pub(super) fn readable_by_all(&self, path: &Path) -> bool {
        let file = self.files.get(path);
        file.is_some_and(|file| file.mode & READABLE_BY_ALL != 0)
    }

    pub(super) fn is_directory(&self, path: &Path) -> bool {
        self.directories.contains_key(path)
    }

    pub(super) fn advice(&self, message: &str) -> Option<String> {
        // Takes the longest name that the message contains, because the name of a related file
        // contains that of its file (`x.pem.key`, `x.pem`).
        let named = self.missed.iter().rev().map(|path| path.display());
        let named = named.map(|path| path.to_string());
        let missed = named
            .filter(|path| message.contains(path.as_str()))
            .max_by_key(String::len)?;
        Some(format!(
            "'{missed}' is not in {}: apply it again with that file",
            self.label
        ))
    }
}
