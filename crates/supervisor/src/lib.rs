//! Runs the supervisor, the process that was started and stays. It starts loaders and the roles of
//! parts, forwards bundles and descriptors between them unread, and holds those of the last good
//! version. It restarts roles that die, and handles signals and `evenkeel reload`. It adopts the
//! roles of a supervisor that was killed ([`adopt`]), and executes a newly installed program
//! ([`upgrade`]).
//!
//! The supervisor knows slots and not parts: a slot holds a role, and the rows of a table describe
//! the differences between roles ([`part::row`]). It parses only its own command line, messages,
//! and the commands of the master socket: the loader parses configuration files, and the roles
//! parse network traffic. It has one thread and waits in one place ([`run`]). It serves no traffic,
//! and traffic never waits for it.
//!
//! The state of the supervisor is in [`state`]. The modules below that one are values; those above,
//! one for each function, know the state and not each other.

mod adopt;
mod backoff;
#[cfg(test)]
mod bed;
mod between;
mod carried;
mod change;
mod claim;
mod cluster;
mod command;
mod conflict;
mod control;
mod crashes;
mod draining;
mod ended;
mod entries;
mod entry_status;
mod error;
mod first;
mod follower;
mod handed;
mod hear;
mod heartbeat;
mod keep;
mod limits;
mod loading;
mod master;
mod missing;
mod notify;
mod operate;
mod orphan;
mod program;
mod programs;
mod pulse;
pub mod report;
mod requests;
mod resumed;
mod route;
mod route_process;
mod run;
mod salt;
mod self_test;
mod serving;
mod settle;
mod sidecar;
mod signals;
mod slot;
mod state;
mod state_file;
mod stop;
mod tell;
mod trace_levels;
mod turn;
mod upgrade;
mod version;
mod watcher;

pub mod directory;

pub use claim::ProcessClaim;
pub use command::{Start as ClusterStart, StartParameters};
pub use conflict::ClaimError;
pub use master::MasterSocket;
pub use report::PART;
pub use resumed::is_next_image;
pub use route_process::PART as ROUTE;
pub use self_test::words as self_test_words;
pub use signals::{CLEAR_STATISTICS as SIGNAL_CLEAR_STATISTICS, Caught, JSON as SIGNAL_JSON};

use part::trace;
use part::voice::MessagePrinter;
use resumed::Resumed;
use state::Supervisor;
use std::process::ExitCode;

pub fn main(command: StartParameters) -> ExitCode {
    let (ring, levels) = trace::own();
    trace::begin(
        trace::SUPERVISOR,
        part::voice::event_printer(command.personality),
        ring,
        levels,
    );
    let mut voice = MessagePrinter::new(command.form(), command.quiet);
    voice.log_to(command.log.clone());
    let left = match Resumed::find().transpose() {
        Ok(left) => left,
        Err(error) => {
            tell::not_resumed(&mut voice, &error);
            None
        }
    };
    match Supervisor::new(command, voice.clone()) {
        Ok(supervisor) => ExitCode::from(supervisor.run(left)),
        Err(error) => {
            voice.fatal(error);
            ExitCode::FAILURE
        }
    }
}
