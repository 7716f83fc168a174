//! Reads the configuration files and directories that the command line names, without
//! interpreting them.

use language::reason;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Maximum size of a configuration file in bytes; spans are 32 bits wide.
const FILE_BYTES_MAX: u64 = 1 << 30;
const DIRECTORY_FILES_MAX: usize = 10_000;

/// The reason why a file or directory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("Cannot open configuration file/directory {} : {}", path.display(), reason(error))]
    Open { path: PathBuf, error: io::Error },
    #[error("Configuration file {} is larger than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("No file whose name ends with .cfg in{}", join_paths(paths))]
    Nothing { paths: Vec<PathBuf> },
    #[error("Directory {} contains more than {DIRECTORY_FILES_MAX} files", path.display())]
    TooMany { path: PathBuf },
}

fn join_paths(paths: &[PathBuf]) -> String {
    let paths = paths.iter();
    paths.map(|path| format!(" {}", path.display())).collect()
}

/// Configuration file: its name as the command line gives it, and its bytes.
pub type NamedFile = (String, Vec<u8>);

/// Reads all files. Of a directory, reads the files whose names end with `.cfg`, in alphabetical
/// order.
///
/// # Errors
/// A file or directory cannot be read.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<NamedFile>, FileError> {
    let mut files = Vec::new();
    for path in paths {
        for path in expand(path)? {
            files.push((path.to_string_lossy().into_owned(), read(&path)?));
        }
    }
    Ok(files)
}

/// Reads all files like [`read_all`], and requires at least one.
///
/// # Errors
/// A file or directory cannot be read, or there is no file.
pub fn read_some(paths: &[PathBuf]) -> Result<Vec<NamedFile>, FileError> {
    let files = read_all(paths)?;
    if files.is_empty() {
        Err(FileError::Nothing {
            paths: paths.into(),
        })
    } else {
        Ok(files)
    }
}

/// Returns whether all paths are directories without a `.cfg` file.
pub fn are_empty(paths: &[PathBuf]) -> bool {
    paths
        .iter()
        .all(|path| expand(path).is_ok_and(|files| files.is_empty()))
}

fn expand(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let refused = |error| FileError::Open {
        path: path.into(),
        error,
    };
    if !std::fs::metadata(path).map_err(refused)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_file = || std::fs::metadata(entry.path()).is_ok_and(|data| data.is_file());
        if name.starts_with('.') || !name.ends_with(".cfg") || !is_file() {
            continue;
        }
        if found.len() == DIRECTORY_FILES_MAX {
            return Err(FileError::TooMany { path: path.into() });
        }
        found.push(entry.path());
    }
    found.sort();
    Ok(found)
}

/// Reads one file; the path may be a pipe.
///
/// # Errors
/// The file cannot be read, or exceeds the size limit.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let refused = |error| FileError::Open {
        path: path.into(),
        error,
    };
    let file = std::fs::File::open(path).map_err(refused)?;
    let mut bytes = Vec::new();
    let read = file
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(refused)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(FileError::TooLarge { path: path.into() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_directory_only_cfg_files_are_read_and_in_the_order_of_their_names() {
        let dir = std::env::temp_dir().join(format!("evenkeel-files-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("sub.cfg")).unwrap();
        for name in ["b.cfg", "a.cfg", "c.txt", ".hidden.cfg", "a.cfg.bak"] {
            std::fs::write(dir.join(name), name).unwrap();
        }
        let files = read_all(std::slice::from_ref(&dir)).unwrap();
        let texts: Vec<_> = files.iter().map(|(_, text)| text.as_slice()).collect();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(texts, [b"a.cfg", b"b.cfg"]);
        assert!(files[0].0.ends_with("/a.cfg"));
    }

    #[test]
    fn directories_without_a_file_are_no_configuration() {
        let dir = std::env::temp_dir().join(format!("evenkeel-no-files-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let paths = std::slice::from_ref(&dir);
        let (error, empty) = (read_some(paths).unwrap_err(), are_empty(paths));
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(
            empty && !are_empty(paths),
            "one that is missing is not empty"
        );
        assert!(
            error
                .to_string()
                .starts_with("No file whose name ends with .cfg in /")
        );
    }

    #[test]
    fn a_missing_file_is_told_in_the_words_that_scripts_know() {
        let error = read_all(&["/nonexistent/x.cfg".into()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Cannot open configuration file/directory /nonexistent/x.cfg : No such file or directory"
        );
    }
}
