//! What a command line asks of a loader, whichever program's it is.

use super::Refusal;
use crate::command;
use crate::files::{self, NamedFile};
use crate::haproxy;
use crate::process;
use crate::voice::Voice;
use protocol::role::{Load, Personality};
use proxy::load::LoadOptions;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// What is asked for.
#[derive(Debug, Default)]
pub struct Wishes {
    /// The files.
    pub files: Vec<NamedFile>,
    /// `-L`
    pub local_peer: Option<String>,
    /// How to load.
    pub options: LoadOptions,
    /// What wins over the file.
    pub plan: process::Plan,
    /// `-dW`
    pub zero_warning: bool,
    /// `-V`: `quiet` of a file is passed over.
    pub verbose: bool,
}

/// Understands the command line of the start and reads the files that it names.
pub fn read(load: &Load, voice: &mut Voice) -> Result<Wishes, Refusal> {
    let words: Vec<OsString> = load
        .arguments
        .iter()
        .map(|word| OsString::from_vec(word.clone()))
        .collect();
    match load.personality {
        Personality::Own => own(words, voice),
        Personality::Haproxy => of_haproxy(words, voice),
    }
}

fn own(words: Vec<OsString>, voice: &mut Voice) -> Result<Wishes, Refusal> {
    // The words behind `run`, as the supervisor takes them apart.
    let paths: Vec<PathBuf> = words.into_iter().map(PathBuf::from).collect();
    let files = files::read_all(&paths).map_err(|error| {
        voice.alert(error);
        Refusal::default()
    })?;
    Ok(Wishes {
        files,
        options: command::load_options(),
        plan: process::Plan {
            foreground: true,
            ..Default::default()
        },
        ..Default::default()
    })
}

fn of_haproxy(words: Vec<OsString>, voice: &mut Voice) -> Result<Wishes, Refusal> {
    let arguments = haproxy::arguments(words).map_err(|error| {
        voice.alert(error);
        Refusal::default()
    })?;
    voice.quiet = arguments.quiet && !arguments.verbose;
    let files = haproxy::read(&arguments, voice).ok_or_else(Refusal::default)?;
    Ok(Wishes {
        files,
        options: haproxy::load_options(&arguments),
        plan: haproxy::plan(&arguments),
        zero_warning: arguments.zero_warning,
        verbose: arguments.verbose,
        local_peer: arguments.local_peer,
    })
}
