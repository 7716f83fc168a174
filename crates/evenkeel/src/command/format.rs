//! Implements `evenkeel fmt`: formats configuration files in place, prints the formatted text, or
//! checks whether files are formatted. A file is replaced atomically, so a failure keeps the old
//! one.

use super::{print, refuse};
use crate::parts;
use clap::ArgMatches;
use configuration::files;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

pub fn main(matches: &ArgMatches) -> ExitCode {
    let (check, stdout) = (matches.get_flag("check"), matches.get_flag("stdout"));
    let mut result = ExitCode::SUCCESS;
    for path in &super::files(matches) {
        let text = match files::read(path) {
            Ok(text) => text,
            Err(error) => {
                result = refuse(error);
                continue;
            }
        };
        if let Some(at) = text.iter().position(|byte| *byte == 0) {
            let line = 1 + text[..at].iter().filter(|byte| **byte == b'\n').count();
            result = refuse(format_args!(
                "{}:{line}: a NUL byte: the file is damaged and stays as it is; see `evenkeel explain E0008`",
                path.display()
            ));
            continue;
        }
        let mut outline = parts::words().outline();
        let begins = |word: &str, indented| outline.begins_section(word, indented);
        let formatted = language::format::format(&text, begins);
        if stdout {
            // Ignores a closed pipe, such as that of `head`.
            let _ = io::stdout().write_all(&formatted);
        } else if formatted == text {
            continue;
        } else if check {
            print(&format!("{} would change\n", path.display()));
            result = ExitCode::FAILURE;
        } else if let Err(error) = replace(path, &formatted) {
            result = refuse(format_args!(
                "cannot write {}",
                part::space::write_error(path, &error)
            ));
        }
    }
    result
}

/// Replaces the content of a file atomically; links and the mode are kept.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let path = std::fs::canonicalize(path)?;
    let permissions = std::fs::metadata(&path)?.permissions();
    part::durable::replace(&path, permissions, text)
}
