//! Reads the kernel file on this host that a Xen configuration names, before it is copied into the
//! image. The author of the configuration could name any file, so it must be no link, and must have
//! the header of a kernel.

use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

const BYTES_MAX: u64 = 256 << 20;
/// Offsets and bytes that identify a Linux kernel for x86 ("The Linux/x86 Boot Protocol", section
/// "The Real-Mode Kernel Header": `boot_flag` and `header`).
const MARKS: [(usize, &[u8]); 2] = [(0x1fe, &[0x55, 0xaa]), (0x202, b"HdrS")];

/// Returns the bytes of a kernel file.
///
/// # Errors
/// Returns the system's error, or one if the file is too large or no kernel.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, path, flags, Mode::empty())?);
    let refused = |words: &str| io::Error::other(words.to_owned());
    if !file.metadata()?.is_file() {
        return Err(refused("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let has = |(at, mark): (usize, &[u8])| bytes.get(at..at + mark.len()) == Some(mark);
    if bytes.len() as u64 <= BYTES_MAX && MARKS.into_iter().all(has) {
        Ok(bytes)
    } else {
        Err(refused("it is not a Linux kernel (bzImage)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_a_kernel_is_read_and_no_link_to_anything() {
        let scratch = ScratchDirectory::new().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let mut kernel = vec![0; 1024];
        for (at, mark) in MARKS {
            kernel[at..at + mark.len()].copy_from_slice(mark);
        }
        fs::write(at("vmlinuz-6.1.0"), &kernel).unwrap();
        assert_eq!(read(&at("vmlinuz-6.1.0")).unwrap(), kernel);
        symlink(at("vmlinuz-6.1.0"), at("vmlinuz-link")).unwrap();
        fs::write(at("vmlinuz-shadow"), "root:$y$j9T$secret:20000:0:::::\n").unwrap();
        fs::write(at("vmlinuz-short"), &kernel[..0x204]).unwrap();
        fs::write(at("vmlinuz-empty"), "").unwrap();
        for name in ["link", "shadow", "short", "empty", "nowhere"] {
            assert!(read(&at(&format!("vmlinuz-{name}"))).is_err(), "{name}");
        }
        assert!(read(scratch.path()).is_err());
    }
}
