//! Identifies a file: two paths may name the same file, by a link or another spelling.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// The identity of a file or block device, for comparisons.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileIdentity {
    /// Path without `.` and `..`.
    path: PathBuf,
    /// Numbers of the file; `None` if they are unknown on this machine, or in a replay.
    numbers: Option<FileNumbers>,
}

/// The numbers by which the system knows a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum FileNumbers {
    /// Numbers of the device and the inode.
    File(u64, u64),
    Device(u64),
    /// Numbers of the directory, and the name of a file that does not exist.
    Missing((u64, u64), OsString),
}

impl FileIdentity {
    /// Creates the identity of a path of which nothing but its name is known.
    pub fn of_name(path: &Path) -> FileIdentity {
        FileIdentity::new(path, None)
    }

    pub(super) fn new(path: &Path, numbers: Option<FileNumbers>) -> FileIdentity {
        let mut plain = PathBuf::new();
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir => {
                    plain.pop();
                }
                other => plain.push(other),
            }
        }
        FileIdentity {
            path: plain,
            numbers,
        }
    }

    /// Returns whether two paths name the same file. The paths decide if the numbers of a file are
    /// unknown.
    pub fn is_same(&self, other: &FileIdentity) -> bool {
        match (&self.numbers, &other.numbers) {
            (Some(one), Some(other)) => one == other,
            _ => self.path == other.path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::Outside;

    #[test]
    fn links_and_spellings_name_the_same_file() {
        let directory = std::env::temp_dir().join(format!("evenkeel-same-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let at = |name: &str| directory.join(name);
        std::fs::write(at("data"), "").unwrap();
        std::fs::write(at("other"), "").unwrap();
        std::fs::hard_link(at("data"), at("hard")).unwrap();
        std::os::unix::fs::symlink("data", at("soft")).unwrap();
        std::os::unix::fs::symlink(".", at("here")).unwrap();
        let outside = Outside::default();
        let is_same = |one: &str, other: &str| {
            let identity = |name: &str| outside.file_identity(&at(name));
            identity(one).is_same(&identity(other))
        };
        for name in ["data", "hard", "soft", "./data", "here/data"] {
            assert!(is_same("data", name), "{name}");
            assert!(!is_same("other", name), "{name}");
        }
        assert!(is_same("none", "here/none") && !is_same("none", "here/no"));
        // Without access to the machine, the names decide.
        let named = |path: &str| FileIdentity::of_name(Path::new(path));
        assert!(named("/a/./b/../c").is_same(&named("/a/c")));
        assert!(!named("/a/hard").is_same(&named("/a/data")));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
