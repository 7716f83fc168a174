//! Reads and writes the file that stores which machines have had their single boot (`once`), and
//! the boots that operators ordered. Each section has a file, which is replaced as a whole.

use crate::assignment::SingleBootProgress;
use part::codec;
use part::durable;
use part::fnv::fnv1a;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

const BYTES_MAX: u64 = 32 << 20;

/// Reads the file. If there is no file, no machine has had its single boot.
///
/// # Errors
///
/// A system call fails, or the file has another format. If it counted as empty, installers would
/// boot again.
pub fn read(path: &Path) -> io::Result<SingleBootProgress> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(SingleBootProgress::default());
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    let decoded = bytes.split_first_chunk().and_then(|(sum, bytes)| {
        let is_whole = u64::from_le_bytes(*sum) == digest(bytes);
        codec::decode(bytes).ok().filter(|_| is_whole)
    });
    decoded.ok_or_else(|| {
        let told = "it is damaged; machines with `once` boot their disk until it is removed, and then all of them begin again";
        io::Error::other(told)
    })
}

/// Reads the file, and adds the single boots in the files of other sections in its directory: if a
/// machine's line moved to another section, or its section was renamed, the machine has had its
/// single boot.
///
/// # Errors
///
/// As [`read`], for any of the files.
pub fn read_with_others(path: &Path) -> io::Result<SingleBootProgress> {
    let mut turns = read(path)?;
    let Some(directory) = path.parent() else {
        return Ok(turns);
    };
    for entry in std::fs::read_dir(directory)? {
        let other = entry?.path();
        if other != path && other.extension().is_some_and(|ending| ending == "turns") {
            let named = |error| io::Error::other(format!("{}: {error}", other.display()));
            turns.add_done(read(&other).map_err(named)?);
        }
    }
    Ok(turns)
}

/// Computes the checksum (FNV-1a) that detects a truncated or damaged file.
fn digest(bytes: &[u8]) -> u64 {
    fnv1a(bytes.iter().copied())
}

/// Replaces the file. It is on disk when the function returns.
///
/// # Errors
///
/// A system call fails. The previous file then remains.
pub fn write(path: &Path, turns: &SingleBootProgress) -> io::Result<()> {
    let bytes = codec::encode(turns);
    let sum = digest(&bytes).to_le_bytes();
    durable::write(path, &[&sum[..], &bytes].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mac::Mac;
    use lab::ScratchDirectory;

    #[test]
    fn turns_are_kept_and_a_damaged_file_is_not_an_empty_one() {
        let scratch = ScratchDirectory::new().expect("a directory");
        let path = scratch.path().join("lan.turns");
        assert_eq!(read(&path).expect("no file"), SingleBootProgress::default());
        let mut lan = crate::config::LanConfig::plain("br0");
        lan.images
            .insert("rescue".to_owned(), crate::config::Image::Disk);
        let mut turns = SingleBootProgress::default();
        turns
            .order(&lan, Mac([2, 0, 0, 0, 0, 1]), Some("rescue"))
            .expect("an image");
        write(&path, &turns).expect("it is written");
        assert_eq!(read(&path).expect("a file"), turns);
        let whole = std::fs::read(&path).expect("a file");
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).expect("it is written");
            assert!(read(&path).is_err(), "{length} bytes");
        }
        for damage in [&b""[..], b"x", b"\xff\xff\xff\xff"] {
            std::fs::write(&path, damage).expect("it is written");
            assert!(read(&path).is_err(), "{damage:?}");
        }
    }

    #[test]
    fn machine_of_a_renamed_section_has_had_its_turn() {
        let scratch = ScratchDirectory::new().expect("a directory");
        let mut lan = crate::config::LanConfig::plain("br0");
        lan.images
            .insert("install".to_owned(), crate::config::Image::Disk);
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let machine = crate::config::MachineConfig {
            name: "node8".to_owned(),
            address: None,
            image: "install".to_owned(),
            once: true,
            power: None,
        };
        lan.machines.insert(mac, machine);
        let mut turns = SingleBootProgress::default();
        assert!(turns.fetched(&lan, mac, "install"));
        write(&scratch.path().join("lan.turns"), &turns).expect("it is written");
        let path = scratch.path().join("office.turns");
        let mut read = read_with_others(&path).expect("no file of its own");
        assert!(!read.fetched(&lan, mac, "install"), "it was done before");
        std::fs::write(scratch.path().join("third.turns"), b"x").expect("it is written");
        assert!(
            read_with_others(&path).is_err(),
            "a damaged file may record it"
        );
    }
}
