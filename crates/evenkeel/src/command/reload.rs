//! `evenkeel reload`: requests that a supervisor applies the current content of its files, waits
//! for the result, and prints the changes or the errors.

pub use ::command::instance::{described, find_instance, selected};

use super::refuse;
use super::status::{ask, not_known};
use clap::ArgMatches;
use part::memory;
use part::role::{DiagnosticFormat, SupervisorMessage};
use part::voice;
use std::io::Write;
use std::process::ExitCode;
use supervisor::directory::Instance;

/// Reloads the supervisor of these files, of this process id, or the only one.
pub fn main(matches: &ArgMatches) -> ExitCode {
    match selected(matches).and_then(|instance| reload(&instance, matches)) {
        Ok(exit) => exit,
        Err(words) => refuse(words),
    }
}

fn reload(instance: &Instance, matches: &ArgMatches) -> Result<ExitCode, String> {
    let look = voice::look(&std::io::stderr(), false);
    let look = DiagnosticFormat {
        color: look.color,
        unicode: look.unicode,
        width: u32::try_from(look.width).unwrap_or_default(),
        as_json: false,
    };
    let fresh = matches.get_flag("reset-runtime");
    // No timeout: the supervisor has its own limits for the duration of a change.
    let received = ask(instance, &SupervisorMessage::Reload { look, fresh }, None);
    let received = received.map_err(|error| error.to_string())?;
    let SupervisorMessage::Reloaded { exit } = received.message else {
        return Err(not_known(instance));
    };
    let text = received.descriptors.first().map(memory::text);
    if let Some(Ok(text)) = text {
        // An error means that standard error is closed.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    Ok(ExitCode::from(exit))
}
