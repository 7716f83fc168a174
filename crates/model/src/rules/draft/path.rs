//! File names of the configuration: what a relative one counts from
//! (`default-path`), and what is said when a file cannot be read.

use super::DefaultPath;
use super::Draft;
use crate::codes;
use language::source::Text;
use language::{Diagnostic, Word};
use std::path::{Path, PathBuf};

/// Largest file that a line may name, bytes: a log or a device that is named by
/// mistake must not fill the memory.
const FILE_BYTES_MAX: u64 = 64 << 20;

impl Draft {
    /// The file that a word names.
    pub fn path(&self, word: &Word) -> PathBuf {
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

    /// The bytes of the file that a word names, or why there are none.
    pub fn read_file(&mut self, word: &Word) -> Result<Text, Diagnostic> {
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

/// The system's sentence for an error, without the number that Rust adds.
fn reason(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}
