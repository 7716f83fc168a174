//! Defines the options that several commands have, in clap's format, and parses their values.

use clap::builder::{IntoResettable, StyledStr, ValueParser};
use clap::{Arg, ArgAction, Command};
use std::time::Duration;

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

/// Parses a duration: digits and the unit `ms` (the default), `s` or `m`.
///
/// # Errors
/// Fails if the text is no time, or longer than a day; the error says what is accepted.
pub fn duration(text: &str) -> Result<Duration, String> {
    const SECONDS_MAX: u64 = 86_400;
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| "not a duration; write for example 5s or 500ms")?;
    let duration = match unit {
        "ms" | "" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err("a duration ends with ms, s or m".to_owned()),
    };
    if duration.as_secs() <= SECONDS_MAX {
        Ok(duration)
    } else {
        Err("the duration must be at most one day".to_owned())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_a_time_with_its_unit() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("250"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "5h", "x", "99999999999999999999s", "9999999m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
