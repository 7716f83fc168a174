//! Provides the functions that the commands of all parts share: define options, choose a running
//! instance, query its reports and roles, print results, and end long operations on a signal.
//!
//! The crate knows no part. Commands that need the files of other parts load them by
//! [`payload_of_files`], which the program provides.

#![allow(
    clippy::missing_errors_doc,
    reason = "an error is the message that a command prints"
)]

pub mod build;
pub mod instance;
pub mod json;
pub mod options;
pub mod status;
pub mod stopped;

pub use part::voice::refuse;

use clap::{ArgMatches, Command};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;

/// Subcommand of the program: its name, its definition for clap, and its function.
pub struct Subcommand {
    pub name: &'static str,
    pub define: fn(Command) -> Command,
    pub run: fn(&ArgMatches) -> ExitCode,
}

impl Subcommand {
    pub const fn new(
        name: &'static str,
        define: fn(Command) -> Command,
        run: fn(&ArgMatches) -> ExitCode,
    ) -> Subcommand {
        Subcommand { name, define, run }
    }
}

/// Loads files with all parts, and returns the input of one part's role; None if they have nothing
/// for it.
pub type LoadPayload = fn(&[PathBuf], part: &str) -> Result<Option<Vec<u8>>, String>;

static LOAD_PAYLOAD: OnceLock<LoadPayload> = OnceLock::new();

/// Sets the function that loads files. Called once at the start of a process.
pub fn set_load_payload(load: LoadPayload) {
    // Ignores a second call, which has no effect.
    let _ = LOAD_PAYLOAD.set(load);
}

/// Returns the input of a part's role for these files; None if they have nothing for it.
///
/// # Errors
/// Fails if the files cannot be read or have errors.
pub fn payload_of_files(from: &[PathBuf], part: &str) -> Result<Option<Vec<u8>>, String> {
    let load = LOAD_PAYLOAD.get();
    let load = load.ok_or("this program cannot load files")?;
    load(from, part)
}

/// Prints why a command line is refused, or the requested help, which clap also reports as an
/// error.
pub fn print_clap_error(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

pub fn end(done: Result<String, String>) -> ExitCode {
    match done {
        Ok(text) => print(&text),
        Err(words) => refuse(words),
    }
}

/// Returns the files of a command line, with or without `-f`.
pub fn files(matches: &ArgMatches) -> Vec<PathBuf> {
    let named = |name| matches.try_get_many::<PathBuf>(name).ok().flatten();
    let all = ["FILE", "FILES"].into_iter().filter_map(named);
    all.flatten().cloned().collect()
}

/// Returns the value of an argument, or an empty text if there is none.
pub fn word(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).cloned().unwrap_or_default()
}

pub fn words<'m>(matches: &'m ArgMatches, name: &str) -> Vec<&'m str> {
    let words = matches.get_many::<String>(name).into_iter().flatten();
    words.map(String::as_str).collect()
}

/// Returns the name of a user, if the system knows one.
pub fn user_name(id: u32) -> Option<String> {
    let user = nix::unistd::User::from_uid(id.into()).ok()??;
    Some(user.name)
}

/// Prints to standard output; a closed pipe is no error.
pub fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout();
    let printed = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match printed {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            refuse(format!("cannot write to standard output: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}
