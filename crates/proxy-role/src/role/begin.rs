//! Runs the proxy role from its first version to its end: builds the configuration from the bundle,
//! drops privileges, starts serving, reports readiness, and handles signals and orders.

use super::orders::Supervised;
use super::version::{SupervisorInput, VersionError};
use crate::process::{self, StartError};
use confinement::ProcessIdentity;
use part::channel::Channel;
use part::guard::Guard;
use part::memory;
use part::role::SupervisorMessage;
use part::voice::MessagePrinter;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

const LAST_LINES: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    #[error(transparent)]
    Version(#[from] VersionError),
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Error of a role, with the channel to the supervisor if the error still has to be reported.
pub type RoleFailure = Box<(RoleError, Option<Channel>)>;

pub fn serve(
    mut channel: Channel,
    mut given: SupervisorInput,
    guard: Option<Guard>,
    voice: &mut MessagePrinter,
) -> Result<(), RoleFailure> {
    let started = match start(&mut given, voice) {
        Ok(started) => started,
        Err(error) => return Err(Box::new((error, Some(channel)))),
    };
    let (signals, serving, side) = started;
    let version = given.take.version;
    let words = String::new();
    if given.take.background {
        // Prints nothing any more: no process reads the output from now on.
        voice.quiet = true;
        part::entry::close_standard_streams();
    }
    voice.started();
    tracing::info!(target: "proxy", op = given.take.operation, version, "serving");
    // Ignores an error: the role serves even if the supervisor has ended.
    let _ = channel.send(&SupervisorMessage::Ready { version, words }, &[]);
    let mut orders = Supervised::new(channel, given, guard, side);
    let result = process::handle_signals(&signals, &serving, &mut orders, voice);
    orders.end(&serving);
    model::log::drain(LAST_LINES);
    result.map_err(|error| Box::new((error.into(), None)))
}

type Started = (
    nix::sys::signalfd::SignalFd,
    process::ServingProcess,
    std::sync::Arc<process::SideThreadHandle>,
);

fn start(given: &mut SupervisorInput, voice: &mut MessagePrinter) -> Result<Started, RoleError> {
    let config = given.replay()?;
    // Suppresses the messages about processors, which the loader has printed.
    let mut silent = voice.clone();
    silent.quiet = true;
    process::choose_processors(&config.global, &mut silent);
    let built = given.build(config)?;
    let state = given.state.take().and_then(|fd| memory::state(fd).ok());
    let rights = &given.take.plan.rights;
    let root = rights
        .chroot
        .as_deref()
        .map(|path| Path::new(OsStr::from_bytes(path)));
    let identity = ProcessIdentity::given(rights.uid, rights.gid);
    process::drop_process_privileges(&built.config, &identity, root, voice)?;
    let signals = process::watch_signals(&part::entry::ENDING)?;
    model::log::start(built.sink.within(root), process::report_losses(voice))
        .map_err(StartError::Threads)?;
    let (serving, side) = process::serve(
        built.config,
        built.listening,
        built.sockets,
        &given.options(),
        // Starts with empty state if the stored one cannot be read.
        state.as_deref(),
        process::to_logs,
    )?;
    Ok((signals, serving, std::sync::Arc::new(side)))
}
