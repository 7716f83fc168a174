//! Files that are on disk when the write returns, complete or not at all.
//!
//! A member cannot start without some of them. Those are stored twice, each copy with
//! its digest: if a disk returns other bytes than were written, that is noticed, and
//! the other copy is read.

use crate::member::digest;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Replaces the content of a file that only its owner may read. A file must have at
/// most one writer at a time: for a member's files the lock of the state directory
/// ensures that.
///
/// # Errors
/// Returns the system's errors; the file is then unchanged.
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
/// Returns the system's errors; the file is then unchanged.
pub fn replace(path: &Path, permissions: Permissions, bytes: &[u8]) -> io::Result<()> {
    write_by(&beside_of_process(path), path, permissions, bytes)
}

fn write_by(beside: &Path, path: &Path, permissions: Permissions, bytes: &[u8]) -> io::Result<()> {
    // Removed so that nothing is written through a link that an earlier process left.
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
        // A full disk needs the space; the first error is more important than this one.
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

/// The path of a file's second copy.
pub fn copy_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{name}.copy"))
}

const SEAL: &[u8] = b"\n#sha256:";
/// Bytes behind the content: seal, digest in hexadecimal, line end.
const SEAL_BYTES: usize = SEAL.len() + 64 + 1;

fn seal(bytes: &[u8]) -> Vec<u8> {
    let digits = digest(bytes).to_string();
    [SEAL, digits.as_bytes(), b"\n"].concat()
}

/// Writes bytes to a file and to its copy. The copy is written first, so it is never
/// older than the file.
///
/// # Errors
/// Returns the system's errors.
pub fn write_twice(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let sealed = Zeroizing::new([bytes, &seal(bytes)].concat());
    write(&copy_of(path), &sealed)?;
    write(path, &sealed)
}

/// Content of a file that was written twice.
#[derive(Debug)]
pub struct DurableContent {
    /// Bytes of the file, which may contain keys.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Damage of the file, if the content comes from its copy.
    pub damage: Option<&'static str>,
}

/// Reads a file of at most this many bytes that was written twice: its copy if the file
/// is damaged or missing.
///
/// # Errors
/// If neither is intact, returns the error of the file: `NotFound`, or `InvalidData` if
/// it does not match its digest.
pub fn read_either(path: &Path, bytes_max: u64) -> io::Result<DurableContent> {
    let error = match read_whole(path, bytes_max) {
        Ok(bytes) => {
            return Ok(DurableContent {
                bytes,
                damage: None,
            });
        }
        Err(error) => error,
    };
    let damage = Some(match error.kind() {
        io::ErrorKind::NotFound => "is missing",
        io::ErrorKind::InvalidData => "is damaged",
        _ => "cannot be read",
    });
    match read_whole(&copy_of(path), bytes_max) {
        Ok(bytes) => Ok(DurableContent { bytes, damage }),
        Err(_) => Err(error),
    }
}

fn read_whole(path: &Path, bytes_max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "its digest differs");
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)?;
    let data = file.metadata()?;
    let sealed_max = bytes_max.saturating_add(SEAL_BYTES as u64);
    if !data.is_file() || data.len() > sealed_max {
        return Err(damaged());
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(data.len() as usize));
    file.take(sealed_max).read_to_end(&mut bytes)?;
    let end = bytes.len().saturating_sub(SEAL_BYTES);
    let (content, sealed_with) = bytes.split_at(end);
    if seal(content) != sealed_with {
        return Err(damaged());
    }
    bytes.truncate(end);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_process_is_writing_is_left_to_it() {
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
    fn a_file_of_which_one_copy_is_left_is_read_and_half_of_one_never() {
        let place = std::env::temp_dir().join(format!("evenkeel-durable-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let path = place.join("file");
        let read = || read_either(&path, 100).map(|kept| (kept.bytes.to_vec(), kept.damage));
        let kind = || read().unwrap_err().kind();
        assert_eq!(kind(), io::ErrorKind::NotFound);
        let content = b"what\n#sha256: is kept".to_vec();
        write_twice(&path, &content).unwrap();
        assert_eq!(read().unwrap(), (content.clone(), None));
        let whole = std::fs::read(&path).unwrap();
        // Every length, and every byte.
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let from_copy = (content.clone(), Some("is damaged"));
            assert_eq!(read().unwrap(), from_copy, "{length}");
            let mut flipped = whole.clone();
            flipped[length] ^= 0x55;
            std::fs::write(&path, &flipped).unwrap();
            assert_eq!(read().unwrap(), from_copy, "{length}");
        }
        std::fs::write(copy_of(&path), b"").unwrap();
        assert_eq!(kind(), io::ErrorKind::InvalidData);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(kind(), io::ErrorKind::NotFound);
        write_twice(&path, &[b'a'; 101]).unwrap();
        assert_eq!(kind(), io::ErrorKind::InvalidData);
        write_twice(&path, b"").unwrap();
        assert_eq!(read().unwrap(), (Vec::new(), None));
        std::fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn a_replaced_file_has_the_permissions_asked_for_and_leaves_nothing_beside() {
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
