//! Writes files that are on disk when the write returns, complete or not at all.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Replaces the content of a file that only its owner may read. A file must have at
/// most one writer at a time: for a member's files the lock of the state directory
/// ensures that.
///
/// # Errors
/// Returns the system's errors. The file is unchanged then, unless only the sync of its directory
/// failed.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_by(
        &beside(path, "new"),
        path,
        Permissions::from_mode(0o600),
        bytes,
    )
}

/// Replaces the content of a file with these permissions. Each process first writes to
/// a file of its own, so that several may write at the same time.
///
/// # Errors
/// Returns the system's errors. The file is unchanged then, unless only the sync of its directory
/// failed.
pub fn replace(path: &Path, permissions: Permissions, bytes: &[u8]) -> io::Result<()> {
    write_by(&beside_of_process(path), path, permissions, bytes)
}

fn write_by(beside: &Path, path: &Path, permissions: Permissions, bytes: &[u8]) -> io::Result<()> {
    // Removes a leftover, so that nothing is written through a link that an earlier process left.
    match std::fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let write_beside = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(beside)?;
        file.set_permissions(permissions)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(beside, path)
    };
    if let Err(error) = write_beside() {
        // Frees the space, which a full disk needs. A failure of that is less important than the
        // first error.
        let _ = std::fs::remove_file(beside);
        return Err(error);
    }
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn beside_of_process(path: &Path) -> PathBuf {
    beside(path, &format!("{}.new", std::process::id()))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{ending}"))
}

pub fn copy_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{name}.copy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_file_of_another_process_is_not_touched() {
        let place = std::env::temp_dir().join(format!("evenkeel-others-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let path = place.join("file");
        let (theirs, others) = (place.join(".file.1.new"), place.join(".file.new"));
        std::fs::write(&theirs, "half").unwrap();
        std::fs::write(&others, "half").unwrap();
        replace(&path, Permissions::from_mode(0o640), b"whole").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(std::fs::read(&theirs).unwrap(), b"half");
        assert_eq!(std::fs::read(&others).unwrap(), b"half");
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 3);
        std::fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn replaced_file_has_the_requested_permissions() {
        let place = std::env::temp_dir().join(format!("evenkeel-replace-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let path = place.join("file");
        std::fs::write(beside_of_process(&path), b"left").unwrap();
        replace(&path, Permissions::from_mode(0o664), b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o664);
        // A directory cannot be replaced by a file.
        let inner = place.join("inner");
        std::fs::create_dir(&inner).unwrap();
        assert!(write(&inner, b"x").is_err());
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 2);
        std::fs::remove_dir_all(&place).unwrap();
    }
}
