//! Stores the base version of the files of this machine: the accepted version to which they were
//! last applied. `config apply` refuses files that lack a later change.

use super::ConfigError;
use cluster::command::VersionId;
use cluster::durable;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

const NAME: &str = "seen.json";
const BYTES_MAX: u64 = 1 << 20;
const ENTRIES_MAX: usize = 256;

/// Base version for each list of files of a command line, as stored in the state directory.
#[derive(Debug)]
pub struct BaseVersions {
    path: PathBuf,
    entries: Map<String, Value>,
}

fn key(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    names.join("\n")
}

impl BaseVersions {
    /// Reads the stored base versions. A missing, invalid or too large file counts as empty.
    pub fn read(state: &Path) -> BaseVersions {
        let path = state.join(NAME);
        let small = std::fs::metadata(&path).is_ok_and(|data| data.len() <= BYTES_MAX);
        let text = small.then(|| std::fs::read(&path).ok()).flatten();
        let entries = text.and_then(|text| serde_json::from_slice(&text).ok());
        BaseVersions {
            path,
            entries: entries.unwrap_or_default(),
        }
    }

    pub fn version(&self, paths: &[PathBuf]) -> Option<VersionId> {
        self.entries.get(&key(paths))?.as_u64().map(VersionId)
    }

    pub fn note(&mut self, paths: &[PathBuf], version: VersionId) -> Result<(), ConfigError> {
        self.entries.insert(key(paths), version.0.into());
        while self.entries.len() > ENTRIES_MAX {
            let Some(first) = self.entries.keys().next().cloned() else {
                break;
            };
            self.entries.remove(&first);
        }
        let text = Value::Object(self.entries.clone()).to_string();
        durable::write(&self.path, text.as_bytes())
            .map_err(|error| ConfigError::Io(self.path.display().to_string(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_line_has_its_own_base_version() {
        let name = format!("evenkeel-seen-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let (one, two) = (paths(&["/a"]), paths(&["/a", "/b"]));
        let mut seen = BaseVersions::read(&directory);
        assert_eq!(seen.version(&one), None);
        seen.note(&one, VersionId(3)).unwrap();
        seen.note(&two, VersionId(4)).unwrap();
        let seen = BaseVersions::read(&directory);
        assert_eq!(seen.version(&one), Some(VersionId(3)));
        assert_eq!(seen.version(&two), Some(VersionId(4)));
        let mut many = BaseVersions::read(&directory);
        for n in 0..ENTRIES_MAX {
            many.entries.insert(format!("/{n}"), 1.into());
        }
        many.note(&one, VersionId(5)).unwrap();
        assert_eq!(BaseVersions::read(&directory).entries.len(), ENTRIES_MAX);
        std::fs::write(directory.join(NAME), "{").unwrap();
        assert_eq!(BaseVersions::read(&directory).version(&one), None);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
