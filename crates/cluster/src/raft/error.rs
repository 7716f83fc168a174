//! Errors of the engine.

use crate::member::MemberId;
use crate::store::StoreError;
use std::error::Error;
use std::fmt;

/// The engine does not do what it is asked for.
#[derive(Clone, Debug)]
pub enum EngineError {
    /// The store is damaged, full, or somebody else's.
    Store(StoreError),
    /// Settings contradict each other.
    Settings(std::sync::Arc<openraft::ConfigError>),
    /// The snapshot on disk is none of this program's.
    Snapshot,
    /// The engine ended.
    Stopped,
    /// It reads a command of a newer program than its own, and goes no further.
    Newer {
        /// The format that the command needs.
        format: u32,
    },
    /// Store and promise file were replaced by older ones: the others know of proposals
    /// that this member made since.
    Past,
    /// This member belongs to a cluster already.
    Founded,
    /// Nobody leads now.
    NoLeader,
    /// A majority was not reached within the time.
    NoMajority,
    /// This member is not one that can do it.
    Unfit(MemberId),
    /// Another change of the members is not over yet.
    Changing,
    /// The member that was asked did not answer usefully.
    Unanswered(MemberId),
}

impl EngineError {
    /// The disk refuses: it is full, read-only or fails, which may pass by itself.
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, EngineError::Store(StoreError::Disk { .. }))
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineError::Store(error) => error.fmt(f),
            EngineError::Settings(which) => write!(f, "invalid Raft timeouts: {which}"),
            EngineError::Snapshot => f.write_str(
                "the state on disk was written by a newer evenkeel, or is damaged: start the \
                 newer one",
            ),
            EngineError::Stopped => f.write_str("the log has stopped on this machine"),
            EngineError::Newer { format } => write!(
                f,
                "the cluster's log has a command of format {format}, but this program supports only {}: start a newer \
                 evenkeel here",
                crate::command::FORMAT
            ),
            EngineError::Past => f.write_str(
                "the state directory was replaced by an older copy of itself: this member copies the log from the \
                 others within 15 s",
            ),
            EngineError::Founded => f.write_str("this machine is already a member of a cluster"),
            EngineError::NoLeader => f.write_str("no leader: no majority of the members is reachable"),
            EngineError::NoMajority => f.write_str("no majority of the members responded in time"),
            EngineError::Unfit(member) => write!(f, "member {member} does not support this"),
            EngineError::Changing => {
                f.write_str("another change of the members is in progress: try again")
            }
            EngineError::Unanswered(member) => write!(f, "member {member} did not respond"),
        }
    }
}

impl Error for EngineError {}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> EngineError {
        EngineError::Store(error)
    }
}

/// A proposal has no answer.
#[derive(Clone, Debug)]
pub enum ProposeError {
    /// Nobody led for as long as it was tried: it was not done.
    NoLeader,
    /// It may have been done, or may yet be: the leader was lost in between. Ask the
    /// state. It is never done twice.
    Unknown,
    /// Too many proposals of this member wait already: it was not done.
    Busy,
    /// The engine ended: it may have been done.
    Stopped(EngineError),
}

impl fmt::Display for ProposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProposeError::NoLeader => {
                f.write_str("no leader: nothing can change without a majority of the members")
            }
            ProposeError::Unknown => f.write_str(
                "the leader was lost meanwhile: the change may have been made; `evenkeel config log` shows it",
            ),
            ProposeError::Busy => f.write_str("too many proposals are waiting"),
            ProposeError::Stopped(why) => why.fmt(f),
        }
    }
}

impl Error for ProposeError {}
