//! The option `--json`: the result of a command as a JSON document.
//!
//! With the option, standard output has the document and nothing else; notes and progress go to
//! standard error. A failing command prints its error there as without the option, no document,
//! and has the same exit code.

use crate::options::flag;
use crate::{print, refuse};
use clap::{Arg, ArgMatches, Command};
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;

const OPTION: &str = "json";

/// Defines the option.
pub fn option() -> Arg {
    flag(OPTION, "Print JSON")
}

/// Adds the option to a command that gives an order, for [`end_order`].
pub fn order(command: Command) -> Command {
    command.arg(flag(OPTION, "Print the result as JSON"))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutputFormat {
    Text,
    Json,
}

/// Result of a command that has no facts but a message for people.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct CommandResult {
    pub done: String,
}

impl OutputFormat {
    /// Returns the format that a command line selects. A command without the option prints text.
    pub fn of(matches: &ArgMatches) -> OutputFormat {
        let option = matches.try_get_one::<bool>(OPTION).ok().flatten();
        if option.copied().unwrap_or(false) {
            OutputFormat::Json
        } else {
            OutputFormat::Text
        }
    }

    /// Prints what precedes the result, such as progress or a difference.
    pub fn note(self, text: &str) {
        if self == OutputFormat::Text {
            print(text);
        } else {
            // Ignores an error: standard error is closed, and the result is still wanted.
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }

    /// Returns the result in this format.
    ///
    /// # Errors
    /// The value is no JSON, such as a map whose keys are not texts.
    pub fn render(self, text: String, value: &impl Serialize) -> Result<String, String> {
        match self {
            OutputFormat::Text => Ok(text),
            OutputFormat::Json => line(value),
        }
    }

    pub fn print_result(self, text: String, value: &impl Serialize) -> ExitCode {
        crate::end(self.render(text, value))
    }

    /// Prints a result that has no facts.
    pub fn print_done(self, text: &str) -> ExitCode {
        let done = text.trim_end().to_owned();
        self.print_result(text.to_owned(), &CommandResult { done })
    }
}

/// Returns a value as one line of JSON.
///
/// # Errors
/// As [`OutputFormat::render`].
pub fn line(value: &impl Serialize) -> Result<String, String> {
    let text = serde_json::to_string(value);
    text.map(|text| text + "\n")
        .map_err(|error| format!("cannot write the result as JSON: {error}"))
}

/// Prints the result of an order, in the format that the command line selects.
pub fn end_order(matches: &ArgMatches, done: Result<String, String>) -> ExitCode {
    match done {
        Ok(text) => OutputFormat::of(matches).print_done(&text),
        Err(words) => refuse(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_selects_the_format_of_the_result() {
        let format = |words: &[&str]| {
            let command = order(Command::new("stop"));
            OutputFormat::of(&command.get_matches_from([&["stop"][..], words].concat()))
        };
        assert_eq!(format(&[]), OutputFormat::Text);
        assert_eq!(format(&["--json"]), OutputFormat::Json);
        let without = Command::new("stop").get_matches_from(["stop"]);
        assert_eq!(OutputFormat::of(&without), OutputFormat::Text);
        let done = CommandResult {
            done: "guest \"a\" stops".to_owned(),
        };
        let render = |format: OutputFormat| format.render("stops\n".to_owned(), &done).unwrap();
        assert_eq!(render(OutputFormat::Text), "stops\n");
        assert_eq!(
            render(OutputFormat::Json),
            "{\"done\":\"guest \\\"a\\\" stops\"}\n"
        );
    }
}
