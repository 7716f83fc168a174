//! Receives the first message of a process that a supervisor started, and ends such a process, in
//! the way common to all roles.

use crate::channel::{Channel, ChannelError, Received};
use crate::guard::Guard;
use crate::role::SupervisorMessage;
use crate::voice;
use nix::sys::signal::Signal;
use rustix::io::Errno;
use std::fmt;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

/// Signals that end a process at once.
pub const ENDING: [Signal; 2] = [Signal::SIGINT, Signal::SIGTERM];
const FIRST_LIMIT: Duration = Duration::from_secs(30);
/// Time for the supervisor to read the shutdown reason.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);

/// Waits for the first message; `pick` returns the task of the process.
///
/// # Errors
/// The connection fails, the deadline expires, or the message is not for this process.
pub fn first<T>(
    channel: &mut Channel,
    pick: impl FnOnce(Received) -> Option<T>,
) -> Result<T, ChannelError> {
    let received = channel.wait(Some(FIRST_LIMIT))?;
    pick(received).ok_or(ChannelError::Descriptors)
}

/// As [`first`], for a role that may outlive its supervisor. A guard may arrive before the message,
/// so that this already applies during the start.
///
/// # Errors
/// As [`first`].
pub fn first_of_role<T>(
    channel: &mut Channel,
    pick: impl FnOnce(Received) -> Option<T>,
) -> Result<(T, Option<Guard>), ChannelError> {
    let received = channel.wait(Some(FIRST_LIMIT))?;
    if let SupervisorMessage::Guard { uid } = received.message {
        let guard = Guard::new(uid, received.descriptors);
        return Ok((first(channel, pick)?, Some(guard)));
    }
    let given = pick(received).ok_or(ChannelError::Descriptors)?;
    Ok((given, None))
}

pub fn send_shutdown_reason(channel: &mut Channel, words: String) {
    let _ = channel.send(&SupervisorMessage::Ended { words }, &[]);
    let _ = channel.finish(LAST_WORDS_LIMIT);
}

/// Prints why a process failed, and returns its exit code.
pub fn exit<E: fmt::Display>(what: &str, result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => voice::refuse(format_args!("{what}: {error}")),
    }
}

/// Closes standard output and error, because the caller of a command may wait for their end. Both
/// become a duplicate of standard input, which is the null device; the root directory may not
/// contain one.
pub fn close_standard_streams() {
    let null = rustix::stdio::stdin();
    let _: Result<(), Errno> = rustix::stdio::dup2_stdout(null.as_fd());
    let _: Result<(), Errno> = rustix::stdio::dup2_stderr(null.as_fd());
}
