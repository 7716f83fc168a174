//! Users and groups of the system by name.

use crate::load::codes;
use language::{Diagnostic, Word, suggest};
use nix::unistd::{Group, User};

/// The user id of a name.
pub(super) fn user(word: &Word) -> Result<u32, Box<Diagnostic>> {
    match User::from_name(word.str()) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        _ => Err(unknown(word, "user", "/etc/passwd")),
    }
}

/// The group id of a name.
pub(super) fn group(word: &Word) -> Result<u32, Box<Diagnostic>> {
    match Group::from_name(word.str()) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => Err(unknown(word, "group", "/etc/group")),
    }
}

fn unknown(word: &Word, what: &str, list: &str) -> Box<Diagnostic> {
    let mut diagnostic = Diagnostic::error(
        &codes::UNKNOWN_USER,
        word.span,
        format!("this system has no {what} '{}'", word.text()),
    )
    .label(format!("no such {what}"));
    // Accounts of directories are looked up above; for a guess the file will do.
    let accounts = std::fs::read_to_string(list).unwrap_or_default();
    let names = accounts.lines().filter_map(|line| line.split(':').next());
    if let Some(near) = suggest::nearest(&word.text(), names) {
        diagnostic = diagnostic
            .help(format!("did you mean '{near}'?"))
            .fix(word.span, near);
    }
    Box::new(diagnostic)
}
