//! Implements `config edit`: opens copies of the accepted files in the user's editor, checks the
//! result, and proposes it as a new version. After an error, the user may edit again or keep the
//! copies.

use super::apply::{self, VersionProposal};
use super::{
    ChangeResult, ConfigError, VERSIONS_MAX, accepted, named, records, set, versions, write_own,
};
use clap::ArgMatches;
use cluster::command::VersionOrigin;
use cluster::file_set::FileSet;
use command::json::OutputFormat;
use part::voice::{Form, MessagePrinter};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, IsTerminal};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use supervisor::directory;

const EDITOR_DEFAULT: &str = "vi";
const ROUNDS_MAX: usize = 4;
const ANSWER_BYTES_MAX: u64 = 1024;

pub(super) fn main(matches: &ArgMatches) -> Result<(), ConfigError> {
    let format = OutputFormat::of(matches);
    let asks = std::io::stdin().is_terminal();
    let message = matches.get_one::<String>("message");
    if message.is_none() && !asks {
        let words = "nothing was changed: write the reason with `--message`, or run the command on a terminal";
        return Err(ConfigError::Refused(words.to_owned()));
    }
    let all = records(VERSIONS_MAX)?;
    let Some(served) = accepted(&all) else {
        return Err(ConfigError::NoVersion(None));
    };
    let old = set(Some(served.id))?;
    let copies = Copies::of(&old, &named(matches, &old)?)?;
    loop {
        copies.edit()?;
        let Some(new) = copies.read(&old)? else {
            let words = "nothing was changed: the text is the same".to_owned();
            let unchanged = ChangeResult::new(words, Some(served.id), false);
            return unchanged.print(format);
        };
        let mut printed = BTreeSet::new();
        let new = checked(new, &mut printed);
        let again = match new.and_then(|new| Ok((new, reason(message, format)?))) {
            Ok((new, message)) => {
                let wanted = VersionProposal {
                    parent: Some(served.id),
                    old: Some(old.clone()),
                    new,
                    origin: VersionOrigin::Applied,
                    message,
                };
                match apply::propose(wanted, &printed, matches) {
                    Ok(_) => return Ok(()),
                    Err(error @ (ConfigError::Refused(_) | ConfigError::TakenBack(_))) => error,
                    Err(error) => return Err(error),
                }
            }
            Err(error) => error,
        };
        // Prints the error only on a terminal, where the user can edit again; otherwise the caller
        // prints it.
        if asks {
            MessagePrinter::new(Form::Own, false).alert(&again);
        }
        if !asks || !wants_more(format) {
            copies.keep(format);
            return Err(again);
        }
    }
}

/// Checks the edited files. Files that they newly name are read from this machine.
fn checked(mut new: FileSet, printed: &mut BTreeSet<String>) -> Result<FileSet, ConfigError> {
    let mut voice = MessagePrinter::new(Form::Own, false);
    voice.record_diagnostics();
    for _ in 0..ROUNDS_MAX {
        let checked = versions::check(&new, None);
        if !versions::complete(&mut new, &checked) {
            break;
        }
    }
    let checked = versions::check(&new, Some(&mut voice));
    *printed = voice.recorded_diagnostics();
    if checked.good {
        Ok(new)
    } else {
        Err(ConfigError::Edited)
    }
}

/// Prints a question on the terminal and reads the answer. Returns None at the end of input.
fn ask(question: &str, format: OutputFormat) -> Option<String> {
    format.note(question);
    let mut answer = String::new();
    let mut input = std::io::Read::take(std::io::stdin().lock(), ANSWER_BYTES_MAX);
    let read = input.read_line(&mut answer);
    read.is_ok_and(|read| read > 0)
        .then(|| answer.trim().to_owned())
}

fn reason(given: Option<&String>, format: OutputFormat) -> Result<String, ConfigError> {
    let reason = given
        .cloned()
        .or_else(|| ask("reason of the change, for the log: ", format));
    let reason = reason.filter(|reason| !reason.is_empty());
    reason.ok_or_else(|| ConfigError::Refused("nothing was changed: no reason was given".into()))
}

fn wants_more(format: OutputFormat) -> bool {
    ask("edit again? [Y/n] ", format).is_some_and(|answer| !answer.to_lowercase().starts_with('n'))
}

/// Copies of the edited files that only this user may read, removed on drop unless kept.
struct Copies {
    directory: PathBuf,
    files: Vec<(String, PathBuf)>,
    kept: std::cell::Cell<bool>,
}

impl Copies {
    fn of(set: &FileSet, names: &[&str]) -> Result<Copies, ConfigError> {
        let directory = directory::path().join(format!("edit-{}", std::process::id()));
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory);
        made.map_err(|error| ConfigError::Io(directory.display().to_string(), error))?;
        let mut copies = Copies {
            directory,
            files: Vec::new(),
            kept: false.into(),
        };
        let wanted = |path: &String, main: bool| {
            if names.is_empty() {
                main
            } else {
                names.contains(&&**path)
            }
        };
        for (n, file) in set.files.iter().enumerate() {
            if !wanted(&file.path, file.main) {
                continue;
            }
            let name = file.path.rsplit('/').next().unwrap_or("file");
            let mut path = copies.directory.join(name);
            if copies.files.iter().any(|(_, other)| *other == path) {
                path = copies.directory.join(format!("{n}-{name}"));
            }
            write_own(&path, &file.bytes)?;
            copies.files.push((file.path.clone(), path));
        }
        Ok(copies)
    }

    fn edit(&self) -> Result<(), ConfigError> {
        let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let editor = named("VISUAL").or_else(|| named("EDITOR"));
        let editor = editor.unwrap_or_else(|| EDITOR_DEFAULT.into());
        let editor = editor.to_string_lossy();
        // Splits the variable into program and arguments, as in `code --wait`, without a shell.
        let mut words = editor.split_whitespace();
        let program = words.next().unwrap_or(EDITOR_DEFAULT);
        let ended = Command::new(program)
            .args(words)
            .args(self.files.iter().map(|(_, path)| OsString::from(path)))
            .status();
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(ConfigError::Refused(
                "nothing was changed: the editor ended with an error".to_owned(),
            )),
            Err(_) => Err(ConfigError::NoEditor(program.to_owned())),
        }
    }

    /// Returns the version with the texts of the copies; None if no text changed.
    fn read(&self, old: &FileSet) -> Result<Option<FileSet>, ConfigError> {
        let mut new = old.clone();
        for (path, copy) in &self.files {
            let bytes = configuration::files::read(copy)
                .map_err(|error| ConfigError::Collect(error.to_string()))?;
            if let Some(file) = new.files.iter_mut().find(|file| file.path == *path) {
                file.bytes = bytes;
            }
        }
        Ok((new.files != old.files).then_some(new))
    }

    fn keep(&self, format: OutputFormat) {
        self.kept.set(true);
        let names: Vec<String> = self
            .files
            .iter()
            .map(|(_, path)| Path::display(path).to_string())
            .collect();
        format.note(&format!("the text was saved in {}\n", names.join(" ")));
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        if !self.kept.get() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}
