//! Writes and reads the files without which a member cannot start. Each is stored twice, each copy
//! with its digest: if a disk returns other bytes than were written, the reader notices and uses
//! the other copy.

pub use part::durable::{copy_of, replace, write};

use crate::member::digest;
use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use zeroize::Zeroizing;

const SEAL: &[u8] = b"\n#sha256:";
const SEAL_BYTES: usize = SEAL.len() + 64 + 1;

fn seal(bytes: &[u8]) -> Vec<u8> {
    let digits = digest(bytes).to_string();
    [SEAL, digits.as_bytes(), b"\n"].concat()
}

/// Writes bytes to a file and to its copy. The copy is written first, so it is never older than the
/// file.
///
/// # Errors
/// A system call fails.
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

/// Reads a file of at most this many bytes that was written twice: its copy if the file is damaged
/// or missing.
///
/// # Errors
/// If neither is intact, returns the error of the file, for example `NotFound`, or `InvalidData` if
/// it is too large or does not match its digest.
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
    fn file_with_one_intact_copy_is_read() {
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
}
