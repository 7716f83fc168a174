//! The control role, as the supervisor sees it.

use crate::roles::spawn::{self, Ending, StartFailure, Started, Why};
use crate::roles::{Shared, memory};
use cluster::message::Run;
use part::codec;
use part::role::{Manner, Message, Personality};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Names another program to be the control role: a test is one itself.
const PROGRAM_VARIABLE: &str = "EVENKEEL_CONTROL_PROGRAM";

/// How long a role may take to read its log before its main loop has to run.
const BEGIN_LIMIT: Duration = Duration::from_secs(30);

/// A control role.
pub struct ControlRole {
    /// The process.
    pub process: Started,
    /// When it was started.
    pub born: Instant,
}

/// How it ended, for a sentence that begins with it.
pub fn ended_words(ending: Ending) -> String {
    match ending {
        Ending::Status(status) => format!("ended ({status})"),
        Ending::Unknown => "ended".to_owned(),
    }
}

impl ControlRole {
    /// Starts one of a program.
    pub fn start(program: &Path, run: &Run) -> Result<ControlRole, StartFailure> {
        let named = std::env::var_os(PROGRAM_VARIABLE).map(PathBuf::from);
        let program = named.as_deref().unwrap_or(program);
        let payload = memory::create("evenkeel control", &codec::encode(run));
        let payload = payload.map_err(|error| spawn::CONTROL_ENTRY.failure(Why::Start(error)))?;
        let message = Message::Take(Box::default());
        let first = |process: &mut Started| process.send(&message, &[Arc::new(payload)]);
        let own = Personality::Own;
        Ok(ControlRole {
            process: spawn::start(program, spawn::CONTROL_ENTRY, own, &[], first)?,
            born: Instant::now(),
        })
    }

    /// Whether it has read what it keeps, which may take its time.
    pub fn has_begun(&self) -> bool {
        self.born.elapsed() >= BEGIN_LIMIT
    }

    /// Says something. Who cannot be told is about to be seen as ended.
    pub fn say(&mut self, message: &Message, descriptors: &[Shared]) {
        self.process.say(message, descriptors);
    }

    /// Tells it to end.
    pub fn stop(&mut self) {
        self.say(&Message::Stop(Manner::Soft), &[]);
    }
}
