//! Options that several commands have, in clap's format.

use clap::builder::{IntoResettable, StyledStr, ValueParser};
use clap::{Arg, ArgAction, Command};

pub fn flag(name: &'static str, help: impl IntoResettable<StyledStr>) -> Arg {
    let flag = Arg::new(name).long(name);
    flag.action(ArgAction::SetTrue).help(help)
}

pub fn option(
    name: &'static str,
    value: &'static str,
    help: impl IntoResettable<StyledStr>,
) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

pub fn path(name: &'static str) -> Arg {
    Arg::new(name)
        .value_name(name)
        .value_parser(ValueParser::path_buf())
}

/// Parses a process ID for clap.
///
/// # Errors
/// Fails on anything but a positive number.
pub fn pid(text: &str) -> Result<u32, &'static str> {
    let pid = text.parse().ok().filter(|pid| *pid > 0);
    pid.ok_or("not a process id")
}

/// Defines the option that selects a supervisor by its files.
pub fn serving_files() -> Arg {
    path("FILE")
        .short('f')
        .long("file")
        .action(ArgAction::Append)
        .help("Select the instance that serves these files (as on its command line)")
}

/// Defines the option that selects a supervisor by its process ID.
pub fn process_id() -> Arg {
    option("pid", "PID", "Select the instance with this process id").value_parser(pid)
}

/// Adds the options of a command that shows the state of parts.
pub fn status_options(command: Command) -> Command {
    command
        .arg(serving_files().num_args(1))
        .arg(process_id())
        .arg(flag("json", "Print JSON").conflicts_with("metrics"))
        .arg(flag("metrics", "Print Prometheus metrics"))
}
