//! What of the file system a version is made of, so that the supervisor can
//! notice a change without reading anything: directories, and in them names.

use super::PATH_BYTES_MAX;
use super::codec::{DecodeError, Reader, Writer};

/// Directories that are watched at most.
pub const WATCHED_DIRECTORIES_MAX: usize = 512;
/// Names of one directory; where there are more, every name of it counts.
pub const WATCHED_NAMES_MAX: usize = 1_024;
/// Bytes of all of it, so that it fits into a packet beside a plan.
pub const WATCHED_BYTES_MAX: usize = 32 * 1024;
/// The longest name in a directory, bytes, as the kernel has it.
const NAME_BYTES_MAX: usize = 255;
/// Bytes that a directory or a name takes besides its own.
const OVERHEAD_BYTES: usize = 8;

/// What is watched.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Watch {
    /// How long it must have been left alone before it is read, milliseconds.
    pub delay_ms: u32,
    /// The files of the configuration, too.
    pub configuration: bool,
    /// Where.
    pub directories: Vec<WatchedDirectory>,
}

/// A directory. That it is moved or removed always counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WatchedDirectory {
    /// Its absolute path, without symbolic links.
    pub path: Vec<u8>,
    /// Names in it that count.
    pub names: Vec<Vec<u8>>,
    /// Every name in it counts.
    pub every: bool,
    /// The end of names that count besides; empty for none.
    pub suffix: Vec<u8>,
}

impl WatchedDirectory {
    /// Whether something in it counts, and not only itself.
    pub fn looks_inside(&self) -> bool {
        self.every || !self.suffix.is_empty() || !self.names.is_empty()
    }

    /// Whether a name in it counts.
    pub fn counts(&self, name: &[u8]) -> bool {
        self.every
            || (!self.suffix.is_empty() && name.ends_with(&self.suffix))
            || self.names.iter().any(|known| known == name)
    }

    fn bytes(&self) -> usize {
        let names = self.names.iter().map(|name| name.len() + OVERHEAD_BYTES);
        self.path.len() + self.suffix.len() + OVERHEAD_BYTES * 2 + names.sum::<usize>()
    }
}

impl Watch {
    /// Makes it fit: of directories with many names every name counts then, and
    /// what is still too much is left out. How many directories that are.
    pub fn fit(&mut self) -> usize {
        let before = self.directories.len();
        self.directories.truncate(WATCHED_DIRECTORIES_MAX);
        for directory in &mut self.directories {
            if directory.names.len() > WATCHED_NAMES_MAX {
                directory.names.clear();
                directory.every = true;
            }
        }
        let mut bytes: usize = self.directories.iter().map(WatchedDirectory::bytes).sum();
        while bytes > WATCHED_BYTES_MAX {
            let most = self.directories.iter_mut();
            let Some(most) = most.max_by_key(|directory| directory.names.len()) else {
                break;
            };
            if most.names.len() < 2 {
                break;
            }
            bytes -= most.bytes();
            most.names.clear();
            most.every = true;
            bytes += most.bytes();
        }
        let mut bytes = 0;
        let fits = self.directories.iter().take_while(|directory| {
            bytes += directory.bytes();
            bytes <= WATCHED_BYTES_MAX
        });
        let fits = fits.count();
        self.directories.truncate(fits);
        before - self.directories.len()
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.u32(self.delay_ms);
        to.bool(self.configuration);
        to.list(&self.directories, WATCHED_DIRECTORIES_MAX, |to, one| {
            to.slice(&one.path, PATH_BYTES_MAX);
            to.list(&one.names, WATCHED_NAMES_MAX, |to, name| {
                to.slice(name, NAME_BYTES_MAX);
            });
            to.bool(one.every);
            to.slice(&one.suffix, NAME_BYTES_MAX);
        });
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Watch, DecodeError> {
        Ok(Watch {
            delay_ms: from.u32()?,
            configuration: from.bool("watch configuration")?,
            directories: from.list("directories", WATCHED_DIRECTORIES_MAX, |from| {
                Ok(WatchedDirectory {
                    path: from.bytes("directory", PATH_BYTES_MAX)?,
                    names: from.list("watched names", WATCHED_NAMES_MAX, |from| {
                        from.bytes("watched name", NAME_BYTES_MAX)
                    })?,
                    every: from.bool("every name")?,
                    suffix: from.bytes("suffix", NAME_BYTES_MAX)?,
                })
            })?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(path: &str, names: usize) -> WatchedDirectory {
        WatchedDirectory {
            path: path.into(),
            names: (0..names).map(|n| format!("name-{n}").into()).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn names_and_ends_of_names_count() {
        let mut directory = directory("/etc", 2);
        assert!(directory.counts(b"name-1") && !directory.counts(b"name-2"));
        directory.suffix = b".cfg".to_vec();
        assert!(directory.counts(b"new.cfg") && !directory.counts(b"new.cfg~"));
        directory.every = true;
        assert!(directory.counts(b"new.cfg~"));
    }

    #[test]
    fn what_is_too_much_is_made_to_fit_names_first() {
        let mut watch = Watch {
            directories: vec![directory("/a", 3), directory("/b", WATCHED_NAMES_MAX + 1)],
            ..Default::default()
        };
        assert_eq!(watch.fit(), 0);
        assert_eq!(watch.directories[0].names.len(), 3);
        assert!(watch.directories[1].every);
        let long = "x".repeat(200);
        let mut watch = Watch {
            directories: (0..1000)
                .map(|n| directory(&format!("/{long}/{n}"), 1))
                .collect(),
            ..Default::default()
        };
        let left_out = watch.fit();
        assert_eq!(watch.directories.len() + left_out, 1000);
        let mut to = Writer::default();
        watch.write(&mut to);
        assert!(to.bytes.len() <= WATCHED_BYTES_MAX, "{}", to.bytes.len());
        assert_eq!(Watch::read(&mut Reader::new(&to.bytes)), Ok(watch));
    }
}
