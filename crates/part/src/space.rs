//! Free space of a file system: checks it before files are written, and explains errors of a full
//! one.

use language::reason;
use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, openat, statvfs, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::Path;

const MIB: u64 = 1 << 20;

/// Returns whether the error means that a file system or a quota is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Checks that a directory has room for this many bytes, by a file that is removed again.
///
/// # Errors
/// [`is_full`]: there is less room. Otherwise no file can be created there.
pub fn check(directory: &Path, bytes: u64) -> io::Result<()> {
    let directory = File::open(directory)?;
    let name = format!(".space-{}", std::process::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(&directory, &*name, flags, Mode::RUSR | Mode::WUSR)?;
    let reserved = fallocate(&file, FallocateFlags::empty(), 0, bytes);
    drop(file);
    unlinkat(&directory, &*name, rustix::fs::AtFlags::empty())?;
    match reserved {
        // Not every file system can reserve space. The write itself then fails.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) | Ok(()) => Ok(()),
        // Larger than any file of the file system.
        Err(Errno::FBIG) => Err(io::ErrorKind::StorageFull.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Describes why a path cannot be written. For a full file system: how much of it is free, and what
/// to do.
pub fn write_error(path: &Path, error: &io::Error) -> String {
    if !is_full(error) {
        return format!("{}: {}", path.display(), reason(error));
    }
    format!(
        "{}: {}; free some space there, or choose a path on another file system",
        path.display(),
        full(path, error)
    )
}

/// Describes the full file system of a path, which need not exist.
pub fn full(path: &Path, error: &io::Error) -> String {
    let existing = path.ancestors().find(|path| path.exists());
    let existing = existing.unwrap_or(Path::new("."));
    if error.kind() == io::ErrorKind::QuotaExceeded {
        return "the disk quota of this user is used up".to_owned();
    }
    match statvfs(existing) {
        Ok(space) => format!(
            "the file system is full ({} MiB of {} MiB are free)",
            space.f_bavail.saturating_mul(space.f_frsize) / MIB,
            space.f_blocks.saturating_mul(space.f_frsize) / MIB
        ),
        Err(_) => "the file system is full".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_file_system_is_described_and_nothing_remains() {
        let directory = std::env::temp_dir().join(format!("evenkeel-space-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        check(&directory, 4096).unwrap();
        let error = check(&directory, 1 << 62).unwrap_err();
        assert!(is_full(&error), "{error}");
        let path = directory.join("missing/file");
        let words = write_error(&path, &error);
        assert!(words.contains("the file system is full ("), "{words}");
        assert!(words.starts_with(&path.display().to_string()), "{words}");
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(!write_error(&path, &denied).contains("full"));
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        std::fs::remove_dir(&directory).unwrap();
    }
}
