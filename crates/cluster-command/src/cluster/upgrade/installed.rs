//! Compares the program of a process with the one that is installed at the same path.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Suffix by which the kernel marks the path of a program whose file was replaced.
const DELETED: &str = " (deleted)";

/// The program that is installed where a process was started from.
#[derive(Debug)]
pub struct InstalledProgram {
    path: PathBuf,
    file: Metadata,
}

impl InstalledProgram {
    /// Finds the installed program of a process.
    ///
    /// # Errors
    /// The process is gone or of another user, or its program was removed.
    pub fn of(process: u32) -> Result<InstalledProgram, String> {
        let at = link_of(process);
        let path = fs::read_link(&at)
            .map_err(|error| format!("{}: {}", at.display(), language::reason(&error)))?;
        let path = without_mark(&path);
        let file = fs::metadata(&path).map_err(|error| {
            format!(
                "the program {} of process {process} cannot be found: {}",
                path.display(),
                language::reason(&error)
            )
        })?;
        Ok(InstalledProgram { path, file })
    }

    /// Returns whether a process runs this file. A process that has ended does not.
    pub fn runs_as(&self, process: u32) -> bool {
        fs::metadata(link_of(process)).is_ok_and(|running| is_same(&running, &self.file))
    }

    /// Checks that this command is the installed program, so that it knows its version.
    ///
    /// # Errors
    /// The command is another program.
    pub fn require_this_command(&self) -> Result<(), String> {
        if self.runs_as(std::process::id()) {
            return Ok(());
        }
        Err(format!(
            "the member runs {0}, which is not the program of this command: run `{0} cluster upgrade`",
            self.path.display()
        ))
    }
}

fn link_of(process: u32) -> PathBuf {
    format!("/proc/{process}/exe").into()
}

fn without_mark(path: &Path) -> PathBuf {
    let text = path.to_str().and_then(|text| text.strip_suffix(DELETED));
    text.map_or_else(|| path.to_owned(), PathBuf::from)
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_program_is_found_at_its_path() {
        let path = without_mark(Path::new("/usr/bin/evenkeel (deleted)"));
        assert_eq!(path, Path::new("/usr/bin/evenkeel"));
        let path = Path::new("/usr/bin/evenkeel");
        assert_eq!(without_mark(path), path);
    }

    #[test]
    fn this_process_runs_its_own_program() {
        let me = std::process::id();
        let installed = InstalledProgram::of(me).unwrap();
        assert!(installed.runs_as(me));
        installed.require_this_command().unwrap();
        let other = InstalledProgram {
            file: fs::metadata("/").unwrap(),
            path: "/opt/evenkeel".into(),
        };
        let words = other.require_this_command().unwrap_err();
        assert!(
            words.contains("run `/opt/evenkeel cluster upgrade`"),
            "{words}"
        );
        assert!(InstalledProgram::of(0).is_err());
    }
}
