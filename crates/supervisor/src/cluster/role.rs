//! Start of the control role.

use crate::slot::Running;
use part::memory;
use part::role::{Message, Personality};
use part::row::Entry;
use part::spawn::{self, Ending, StartFailure, Started, Why};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Environment variable with another program for the control role; used by tests, whose own program
/// is the test.
const PROGRAM_VARIABLE: &str = "EVENKEEL_CONTROL_PROGRAM";

/// Describes how the role ended, for the start of a sentence.
pub fn ended_words(ending: Ending) -> String {
    match ending {
        Ending::Status(status) => format!("ended ({status})"),
        Ending::Unknown => "ended".to_owned(),
    }
}

/// Starts a control role of a program with this payload.
pub fn start(entry: Entry, program: &Path, payload: &[u8]) -> Result<Running, StartFailure> {
    let named = std::env::var_os(PROGRAM_VARIABLE).map(PathBuf::from);
    let program = named.as_deref().unwrap_or(program);
    let payload = memory::create("evenkeel control", payload);
    let payload = payload.map_err(|error| spawn::failure(entry, Why::Start(error)))?;
    let message = Message::Take(Box::default());
    let first = |process: &mut Started| process.send(&message, &[Arc::new(payload)]);
    let process = spawn::start(program, entry, Personality::Own, &[], first)?;
    Ok(Running::begun(process))
}
