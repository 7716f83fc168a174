//! Completes relative file names in a configuration (`default-path`), and words the diagnostics
//! for unreadable files.

use super::ConfigDraft;
use super::DefaultPath;
use crate::codes;
use language::source::Text;
use language::{ConfigWord, Diagnostic};
use std::path::{Path, PathBuf};

/// Maximum size of a file that a line names, in bytes. A log or device that is named by mistake
/// must not fill the memory.
const FILE_BYTES_MAX: u64 = 64 << 20;

impl ConfigDraft {
    pub fn path(&self, word: &ConfigWord) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let named = Path::new(std::ffi::OsStr::from_bytes(&word.bytes));
        if named.is_absolute() {
            return named.to_owned();
        }
        let file = &self.context.sources.file(word.span.file).name;
        let directory = match file.rfind('/') {
            Some(slash) => &file[..=slash],
            None => "",
        };
        match &self.base {
            DefaultPath::Current => named.to_owned(),
            DefaultPath::Config => Path::new(directory).join(named),
            DefaultPath::Parent => Path::new(directory).join("..").join(named),
            DefaultPath::Origin(origin) => origin.join(named),
        }
    }

    /// Reads the file that a word names.
    ///
    /// # Errors
    /// The file cannot be read, or is larger than 64 MiB.
    pub fn read_file(&mut self, word: &ConfigWord) -> Result<Text, Diagnostic> {
        let path = self.path(word);
        self.context
            .outside
            .read(&path, FILE_BYTES_MAX)
            .map_err(|error| {
                let error = std::io::Error::from(error);
                let mut diagnostic = Diagnostic::error(
                    &codes::UNREADABLE,
                    word.span,
                    format!(
                        "cannot read the file '{}': {}",
                        path.display(),
                        reason(&error)
                    ),
                )
                .label("named here");
                if path.is_relative() {
                    diagnostic = diagnostic.note(
                        "relative names start at the working directory of the process, or at `default-path` in \
                         `global`",
                    );
                }
                diagnostic
            })
    }
}

/// Returns the system's message for an error, without the number that Rust adds.
fn reason(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}
