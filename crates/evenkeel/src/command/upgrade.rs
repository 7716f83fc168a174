//! Implements `evenkeel upgrade`: replaces deprecated syntax in HAProxy's files by current syntax,
//! in place with a backup, on standard output, or as a check. The replacements come from the
//! warnings of a load. Files of keepalived are refused.

use super::format::replace;
use super::{print, refuse};
use crate::loader::addresses::{self, AddressWishes};
use crate::parts;
use address::dialect::LocalMachine;
use clap::ArgMatches;
use configuration::LoadOptions;
use configuration::files;
use keyword::load::Loaded;
use language::source::Text;
use language::upgrade::{unified, upgrade};
use language::{Diagnostic, FileId, render};
use model::codes;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Limit of rounds of loading and rewriting: a replaced line can itself be deprecated.
const ROUNDS_MAX: usize = 8;

const BACKUP: &str = ".before-upgrade";

pub fn main(matches: &ArgMatches) -> ExitCode {
    let read = match files::read_some(&super::files(matches)) {
        Ok(read) => read,
        Err(error) => return refuse(error),
    };
    let words = parts::words();
    let names: Vec<&str> = words.names().collect();
    let foreign = |file: &&files::NamedFile| address::dialect::is_keepalived(&file.1, &names);
    if let Some(file) = read.iter().find(foreign) {
        return refuse_keepalived(file);
    }
    let before: Vec<(String, Text)> = read
        .iter()
        .map(|(name, text)| (name.clone(), Text::new(text.clone())))
        .collect();
    let (after, loaded) = rewrite(read);
    let (check, in_place) = (matches.get_flag("check"), matches.get_flag("in-place"));
    let mut result = ExitCode::SUCCESS;
    for ((name, old), (_, new)) in before.iter().zip(&after) {
        if matches.get_flag("stdout") {
            // A closed pipe is no error.
            let _ = std::io::stdout().write_all(new);
        } else if ***old == **new {
            continue;
        } else if check {
            print(&format!("{name} would change\n"));
            result = ExitCode::FAILURE;
        } else if in_place {
            match write(Path::new(name), old, new) {
                Ok(()) => {
                    print(&format!(
                        "{name} was rewritten; the old text is in {name}{BACKUP}\n"
                    ));
                }
                Err(error) => {
                    let reason = part::space::write_error(Path::new(name), &error);
                    result = refuse(format_args!("cannot write {reason}"));
                }
            }
        } else {
            print(&unified(name, old, new));
        }
    }
    let is_left = tell(&loaded) > 0;
    if loaded.diagnostics.errors() > 0 || (is_left && check) {
        result = ExitCode::FAILURE;
    }
    result
}

/// Refuses a file of keepalived, and reports whether it runs unchanged or has errors.
fn refuse_keepalived(file: &files::NamedFile) -> ExitCode {
    let files = std::slice::from_ref(file);
    let read = addresses::read(files, &AddressWishes::default(), &mut LocalMachine::new());
    let name = &file.0;
    match read.diagnostics.errors() {
        0 => refuse(format_args!(
            "{name} is a file of keepalived, which has no deprecated forms: it runs unchanged"
        )),
        errors => {
            let plural = if errors == 1 { "" } else { "s" };
            refuse(format_args!(
                "{name} is a file of keepalived, which has no deprecated forms, but it does not run as it is: \
                 {errors} error{plural}. `evenkeel check {name}` shows them and what to write instead"
            ))
        }
    }
}

fn is_old(diagnostic: &&Diagnostic) -> bool {
    let old = [codes::LEGACY.id, language::codes::OLD_QUOTE.id];
    old.contains(&diagnostic.code.id)
}

/// Returns the texts of the files after all rounds, and the result of the last load.
fn rewrite(mut files: Vec<files::NamedFile>) -> (Vec<files::NamedFile>, Loaded) {
    let mut rounds = 0;
    loop {
        let options = LoadOptions::default();
        let loaded = parts::load_files(files.clone(), None, options, None).proxy;
        rounds += 1;
        let new: Vec<files::NamedFile> = files
            .iter()
            .enumerate()
            .map(|(at, (name, _))| {
                let file = FileId(u32::try_from(at).unwrap_or(u32::MAX));
                let old = loaded.diagnostics.iter().filter(is_old);
                (name.clone(), upgrade(&loaded.sources, file, old).text)
            })
            .collect();
        if new == files || rounds == ROUNDS_MAX {
            return (files, loaded);
        }
        files = new;
    }
}

/// Prints the remaining deprecated lines and all errors. Returns the number of deprecated lines.
fn tell(loaded: &Loaded) -> usize {
    let left: Vec<&Diagnostic> = loaded.diagnostics.iter().filter(is_old).collect();
    for diagnostic in &left {
        let Some(span) = diagnostic.primary else {
            continue;
        };
        let name = &loaded.sources.file(span.file).name;
        let line = loaded.sources.position(span).line;
        let what = diagnostic.help.as_deref().unwrap_or_default();
        part::voice::write_error(&format!("{name}:{line}: {}: {what}\n", diagnostic.message));
    }
    if loaded.diagnostics.errors() > 0 {
        let text = render::concise(&loaded.sources, &loaded.diagnostics, false);
        let errors = text.lines().filter(|line| line.contains("error"));
        for line in errors {
            part::voice::write_error(&format!("{line}\n"));
        }
    }
    left.len()
}

/// Saves the old text of a file with the suffix [`BACKUP`], then replaces the file. An existing
/// backup is an error.
fn write(path: &Path, old: &[u8], new: &[u8]) -> std::io::Result<()> {
    let real = std::fs::canonicalize(path)?;
    let mut backup: OsString = real.clone().into();
    backup.push(BACKUP);
    let permissions = std::fs::metadata(&real)?.permissions();
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&backup)?;
    file.set_permissions(permissions)?;
    file.write_all(old)?;
    file.sync_all()?;
    replace(&real, new)
}
