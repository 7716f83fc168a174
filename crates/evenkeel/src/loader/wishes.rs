//! What a command line asks of a loader, whichever program's it is.

use super::Refusal;
use super::addresses::{self, AddressWishes};
use super::file_set;
use crate::command;
use crate::haproxy;
use crate::keepalived;
use crate::parts::Site;
use crate::process;
use crate::voice::{Form, Voice};
use address::config::Config;
use cluster::file_set::FileSet;
use configuration::LoadOptions;
use configuration::files::{self, NamedFile};
use part::role::{Load, Personality};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// What is asked for.
#[derive(Debug, Default)]
pub struct Wishes {
    /// The files and directories of the command line.
    pub paths: Vec<PathBuf>,
    /// The files.
    pub files: Vec<NamedFile>,
    /// Those of them that are keepalived's.
    pub address_files: Vec<NamedFile>,
    /// The version of the cluster that they are of, where they are of one.
    pub set: Option<FileSet>,
    /// What these include.
    pub included: Vec<PathBuf>,
    /// How those are to be taken.
    pub addresses: AddressWishes,
    /// `-L`
    pub local_peer: Option<String>,
    /// How to load.
    pub options: LoadOptions,
    /// What wins over the file.
    pub plan: process::Plan,
    /// `-dW`
    pub zero_warning: bool,
    /// `-d` of keepalived: what was read is told.
    pub dump: bool,
    /// `-V`: `quiet` of a file is passed over.
    pub verbose: bool,
}

/// Understands the command line of the start.
pub fn understand(load: &Load, voice: &mut Voice) -> Result<Wishes, Refusal> {
    let words: Vec<OsString> = load
        .arguments
        .iter()
        .map(|word| OsString::from_vec(word.clone()))
        .collect();
    match load.personality {
        // The words behind `run`, as the supervisor takes them apart.
        Personality::Own => Ok(Wishes {
            paths: words.into_iter().map(PathBuf::from).collect(),
            options: command::load_options(),
            plan: process::Plan {
                foreground: true,
                ..Default::default()
            },
            ..Default::default()
        }),
        Personality::Haproxy => of_haproxy(words, voice),
        Personality::Keepalived => of_keepalived(words, voice),
    }
}

impl Wishes {
    /// Loads the files that are not keepalived's.
    pub fn load(&self, foreign: Option<&Config>) -> Site {
        let (files, options) = (self.files.clone(), self.options.clone());
        match &self.set {
            Some(set) => file_set::load(set, files, options, foreign),
            None => process::load_files(files, self.local_peer.as_deref(), options, foreign),
        }
    }

    /// Reads the files, or takes them from a version that was given.
    pub fn read(&mut self, voice: &mut Voice) -> Result<(), Refusal> {
        if let Some(set) = &self.set {
            self.files = file_set::main_files(set);
            self.address_files = addresses::split(&mut self.files);
            return Ok(());
        }
        match files::read_some(&self.paths) {
            Ok(files) => {
                self.files = files;
                self.address_files = match voice.form() {
                    Form::Own => addresses::split(&mut self.files),
                    Form::Keepalived => std::mem::take(&mut self.files),
                    Form::Haproxy => Vec::new(),
                };
                Ok(())
            }
            Err(error) => {
                match voice.form() {
                    Form::Own => voice.alert(error),
                    Form::Keepalived => voice.alert(keepalived::missing(&self.paths)),
                    Form::Haproxy => voice.alert(format_args!("config : {error}")),
                }
                Err(Refusal::default())
            }
        }
    }
}

fn of_keepalived(words: Vec<OsString>, voice: &mut Voice) -> Result<Wishes, Refusal> {
    let arguments = keepalived::arguments(words).map_err(|error| {
        voice.alert(error);
        Refusal::default()
    })?;
    voice.log_to(keepalived::log_wish(&arguments));
    Ok(Wishes {
        plan: process::Plan {
            daemon: !arguments.foreground,
            foreground: arguments.foreground,
            pid_file: Some(keepalived::pid_file(&arguments)),
            ..Default::default()
        },
        addresses: keepalived::wishes(&arguments),
        dump: arguments.dump,
        paths: vec![arguments.file],
        ..Default::default()
    })
}

fn of_haproxy(words: Vec<OsString>, voice: &mut Voice) -> Result<Wishes, Refusal> {
    let arguments = haproxy::arguments(words).map_err(|error| {
        voice.alert(error);
        Refusal::default()
    })?;
    voice.quiet = arguments.quiet && !arguments.verbose;
    haproxy::enter(&arguments, voice).ok_or_else(Refusal::default)?;
    Ok(Wishes {
        options: LoadOptions {
            here: true,
            ..haproxy::load_options(&arguments)
        },
        plan: haproxy::plan(&arguments),
        zero_warning: arguments.zero_warning,
        verbose: arguments.verbose,
        local_peer: arguments.local_peer,
        paths: arguments.files,
        ..Default::default()
    })
}
