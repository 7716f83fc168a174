//! Creates temporary directories for the files of a test, and removes them.

use crate::clean::{clean, remove_directory};
use crate::error::LabError;
use crate::name::PREFIX;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// Directory of its own that is removed when this value is dropped. A directory of a killed process
/// is removed by [`clean`], which each process calls before its first one.
#[derive(Debug)]
pub struct ScratchDirectory(PathBuf);

impl ScratchDirectory {
    pub fn new() -> Result<Self, LabError> {
        static SWEPT: Once = Once::new();
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        SWEPT.call_once(|| drop(clean()));
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Fails if the directory exists, unlike `create_dir_all`, because it may be that of another
        // program.
        fs::create_dir(&path).map_err(LabError::io("make", path.display()))?;
        Ok(ScratchDirectory(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in the directory and returns the file's path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf, LabError> {
        let path = self.0.join(name);
        fs::write(&path, content).map_err(LabError::io("write", path.display()))?;
        Ok(path)
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        remove_directory(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_is_removed_with_its_value() {
        let scratch = ScratchDirectory::new().unwrap();
        let file = scratch.write("x", "y").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"y");
        drop(scratch);
        assert!(!file.exists());
    }
}
