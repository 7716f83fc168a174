//! The personality under our own name: subcommands, their help, and what the
//! help is made of (completions, the man page).

mod address;
mod check;
pub mod cluster;
mod config;
mod definition;
mod format;
mod lab;
mod look_up;
mod manual;
mod privileges;
mod reload;
mod run;
mod upgrade;

pub use config::grammar;
pub use run::absolute;

use crate::voice::{Form, Voice};
use clap::ArgMatches;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

pub use definition::definition;

/// Does what a command line (without the program's name) asks.
pub fn main(words: Vec<OsString>) -> ExitCode {
    let words = std::iter::once(OsString::from("evenkeel")).chain(words);
    let matches = match definition().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and versions are errors of clap, printed to standard output.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let Some((name, matches)) = matches.subcommand() else {
        return ExitCode::FAILURE;
    };
    match name {
        "run" => {
            let sockets = matches.get_many::<String>("master");
            let sockets: Vec<String> = sockets.into_iter().flatten().cloned().collect();
            let state = matches.get_one::<PathBuf>("state");
            let wanted = match run::wanted(files(matches), state.map(PathBuf::as_path)) {
                Ok(wanted) => wanted,
                Err(error) => return refuse(error),
            };
            run::main(&wanted, &sockets, run::before(matches))
        }
        "reload" => reload::main(
            &files(matches),
            matches.get_one::<u32>("pid").copied(),
            matches.get_flag("reset-runtime"),
        ),
        "address" => address::main(matches),
        "cluster" => cluster::main(matches),
        "arbiter" => cluster::arbiter_main(matches),
        "lab" => lab::main(matches),
        "check" => check::main(&files(matches), matches),
        "config" => config::main(matches),
        "explain" => look_up::explain(matches),
        "keyword" => look_up::keyword(matches),
        "manual" => manual::main(matches),
        "fmt" => format::main(&files(matches), matches),
        "upgrade" => upgrade::main(&files(matches), matches),
        "version" => print(&format!(
            "evenkeel {}\ncompared with HAProxy {}\n",
            crate::identity::VERSION,
            crate::identity::HAPROXY_LEVEL
        )),
        "demo" => crate::demo::main(matches.get_flag("script")),
        "completions" => completions(matches),
        "man" => man(),
        _ => ExitCode::FAILURE,
    }
}

/// How our own commands load files.
pub fn load_options() -> proxy::load::LoadOptions {
    proxy::load::LoadOptions {
        resolve_names: true,
        host: crate::identity::host_name(),
        ..Default::default()
    }
}

fn files(matches: &ArgMatches) -> Vec<PathBuf> {
    let found = matches.try_get_many::<PathBuf>("FILE");
    found
        .ok()
        .flatten()
        .into_iter()
        .flatten()
        .cloned()
        .collect()
}

/// Prints to standard output; a reader that has gone is no error.
fn print(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Says why nothing was done.
fn refuse(message: impl std::fmt::Display) -> ExitCode {
    Voice::new(Form::Own, false).alert(message);
    ExitCode::FAILURE
}

fn completions(matches: &ArgMatches) -> ExitCode {
    let Some(shell) = matches.get_one::<clap_complete::Shell>("SHELL") else {
        return ExitCode::FAILURE;
    };
    let mut text = Vec::new();
    clap_complete::generate(*shell, &mut definition(), "evenkeel", &mut text);
    print(&String::from_utf8_lossy(&text))
}

/// The page of the command, and behind it those of the subcommands.
fn man() -> ExitCode {
    let mut text = Vec::new();
    let mut command = definition();
    command.build();
    let subcommands: Vec<_> = command
        .get_subcommands()
        .filter(|c| c.get_name() != "help")
        .cloned()
        .collect();
    let pages = || -> std::io::Result<()> {
        clap_mangen::Man::new(command.clone()).render(&mut text)?;
        for subcommand in subcommands {
            let name = subcommand.get_name().to_uppercase();
            writeln!(text, ".SH \"EVENKEEL {name}\"")?;
            let page = clap_mangen::Man::new(subcommand);
            page.render_synopsis_section(&mut text)?;
            page.render_description_section(&mut text)?;
            page.render_options_section(&mut text)?;
        }
        Ok(())
    };
    match pages() {
        Ok(()) => print(&String::from_utf8_lossy(&text)),
        Err(error) => refuse(format_args!("the man page could not be made: {error}")),
    }
}
