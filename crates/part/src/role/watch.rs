//! Lists the files to watch for a configuration version, as directories and names in them, so that
//! the supervisor notices a change without parsing the configuration.

use serde::{Deserialize, Serialize};

pub const WATCHED_DIRECTORIES_MAX: usize = 512;
/// Maximum number of names in one directory; beyond it, every name in the directory counts.
pub const WATCHED_NAMES_MAX: usize = 1_024;
/// Maximum encoded size in bytes, so that the watch fits into a packet next to a plan.
pub const WATCHED_BYTES_MAX: usize = 32 * 1024;
/// Encoded size of a directory without its texts, in bytes: the names of the fields.
const DIRECTORY_BYTES: usize = 48;
const NAME_BYTES: usize = 3;

/// Files and directories to watch.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Watch {
    /// Time without a change after which the files are read, milliseconds.
    pub delay_ms: u32,
    pub configuration: bool,
    pub directories: Vec<WatchedDirectory>,
}

/// A watched directory. Moving or removing it always counts as a change.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct WatchedDirectory {
    /// Absolute path without symbolic links.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
    pub names: Vec<Vec<u8>>,
    /// True if every file in the directory is watched.
    pub every: bool,
    /// Suffix of further watched names; empty for none.
    #[serde(with = "serde_bytes")]
    pub suffix: Vec<u8>,
}

impl WatchedDirectory {
    /// Returns whether files in the directory are watched, and not only the directory itself.
    pub fn looks_inside(&self) -> bool {
        self.every || !self.suffix.is_empty() || !self.names.is_empty()
    }

    pub fn counts(&self, name: &[u8]) -> bool {
        self.every
            || (!self.suffix.is_empty() && name.ends_with(&self.suffix))
            || self.names.iter().any(|known| known == name)
    }

    fn bytes(&self) -> usize {
        // Counts a byte above 127 twice, because it takes two bytes in an encoded list.
        let bytes = |name: &Vec<u8>| name.len() + name.iter().filter(|b| **b > 127).count();
        let names = self.names.iter().map(|name| bytes(name) + NAME_BYTES);
        self.path.len() + self.suffix.len() + DIRECTORY_BYTES + names.sum::<usize>()
    }
}

impl Watch {
    /// Reduces the watch to the limits. Directories with many names are watched as a whole, and
    /// directories beyond the limits are dropped. Returns the number of dropped directories.
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

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
    fn oversized_watch_list_drops_names_first() {
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
        let bytes = codec::encode(&watch);
        assert!(bytes.len() <= WATCHED_BYTES_MAX, "{}", bytes.len());
        assert_eq!(codec::decode::<Watch>(&bytes).unwrap(), watch);
    }
}
