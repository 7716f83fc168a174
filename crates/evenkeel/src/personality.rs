//! Translates the command line in a load request into options of the load, by the personality under
//! which the supervisor was started. The module loads nothing itself.

use crate::haproxy;
use crate::keepalived;
use crate::loader::{LoadFailure, Wishes};
use configuration::LoadOptions;
use part::role::{Load, Personality};
use part::voice::MessagePrinter;
use proxy_role::process;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

pub fn wishes(load: &Load, voice: &mut MessagePrinter) -> Result<Wishes, LoadFailure> {
    let words: Vec<OsString> = load
        .arguments
        .iter()
        .map(|word| OsString::from_vec(word.clone()))
        .collect();
    match load.personality {
        // The arguments are the paths after `run`, which the supervisor has separated.
        Personality::Own => Ok(Wishes {
            paths: words.into_iter().map(PathBuf::from).collect(),
            options: crate::loader::load_options(),
            plan: process::ProcessOverrides {
                foreground: true,
                ..Default::default()
            },
            ..Default::default()
        }),
        Personality::Haproxy => of_haproxy(words, voice),
        Personality::Keepalived => of_keepalived(words, voice),
    }
}

fn of_keepalived(words: Vec<OsString>, voice: &mut MessagePrinter) -> Result<Wishes, LoadFailure> {
    let arguments = keepalived::arguments(words).map_err(|error| {
        voice.alert(error);
        LoadFailure::default()
    })?;
    voice.log_to(keepalived::log_destination(&arguments));
    Ok(Wishes {
        plan: process::ProcessOverrides {
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

fn of_haproxy(words: Vec<OsString>, voice: &mut MessagePrinter) -> Result<Wishes, LoadFailure> {
    let arguments = haproxy::arguments(words).map_err(|error| {
        voice.alert(error);
        LoadFailure::default()
    })?;
    voice.quiet = arguments.quiet && !arguments.verbose;
    haproxy::enter(&arguments, voice).ok_or_else(LoadFailure::default)?;
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
