//! What the control role is started with.

use crate::roles::spawn::{self, Ending, StartFailure, Started, Why};
use crate::supervisor::slot::Running;
use cluster::message::Run;
use part::codec;
use part::memory;
use part::role::{Message, Personality};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names another program to be the control role: a test is one itself.
const PROGRAM_VARIABLE: &str = "EVENKEEL_CONTROL_PROGRAM";

/// How it ended, for a sentence that begins with it.
pub fn ended_words(ending: Ending) -> String {
    match ending {
        Ending::Status(status) => format!("ended ({status})"),
        Ending::Unknown => "ended".to_owned(),
    }
}

/// Starts one of a program.
pub fn start(program: &Path, run: &Run) -> Result<Running, StartFailure> {
    let named = std::env::var_os(PROGRAM_VARIABLE).map(PathBuf::from);
    let program = named.as_deref().unwrap_or(program);
    let entry = spawn::CONTROL_ENTRY;
    let payload = memory::create("evenkeel control", &codec::encode(run));
    let payload = payload.map_err(|error| spawn::failure(entry, Why::Start(error)))?;
    let message = Message::Take(Box::default());
    let first = |process: &mut Started| process.send(&message, &[Arc::new(payload)]);
    let process = spawn::start(program, entry, Personality::Own, &[], first)?;
    Ok(Running::begun(process))
}
