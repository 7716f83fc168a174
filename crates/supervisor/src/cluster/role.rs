//! Starts the control role with its payload, and describes the end of such a process.

use crate::slot::RunningRole;
use part::memory;
use part::role::{Personality, SupervisorMessage};
use part::row::Entry;
use part::spawn::{self, ProcessExit, StartFailure, Started, Why};
use std::path::Path;
use std::sync::Arc;

/// Environment variable with another program for the control role; used by tests, whose own program
/// is the test.
#[cfg(feature = "test-seams")]
const PROGRAM_VARIABLE: &str = "EVENKEEL_CONTROL_PROGRAM";

pub fn ended_words(ending: ProcessExit) -> String {
    match ending {
        ProcessExit::Status(status) => format!("ended ({status})"),
        ProcessExit::Unknown => "ended".to_owned(),
    }
}

/// Starts a control role of a program with this payload.
pub fn start(entry: Entry, program: &Path, payload: &[u8]) -> Result<RunningRole, StartFailure> {
    #[cfg(feature = "test-seams")]
    let named = std::env::var_os(PROGRAM_VARIABLE).map(std::path::PathBuf::from);
    #[cfg(feature = "test-seams")]
    let program = named.as_deref().unwrap_or(program);
    let payload = memory::create("evenkeel control", payload);
    let payload = payload.map_err(|error| spawn::failure(entry, Why::Start(error)))?;
    let message = SupervisorMessage::Take(Box::default());
    let first = |process: &mut Started| process.send(&message, &[Arc::new(payload)]);
    let process = spawn::start(program, entry, Personality::Own, &[], first)?;
    Ok(RunningRole::begun(process))
}
