//! Defines the errors of requests to the engine and of proposals.

use crate::member::MemberId;
use crate::store::StoreError;

/// Error of a request to the engine.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("invalid Raft timeouts: {0}")]
    Settings(std::sync::Arc<openraft::ConfigError>),
    #[error(
        "the state on disk was written by a newer evenkeel, or is damaged: start the \
             newer one"
    )]
    Snapshot,
    #[error("the log has stopped on this machine")]
    Stopped,
    /// The member reads a command of a newer release of evenkeel, and stops.
    #[error(
        "the cluster's log has a command of format {format}, but this program supports only {}: start a newer \
             evenkeel here",
        crate::command::FORMAT
    )]
    Newer { format: u32 },
    /// Store and promise file were replaced by older ones: the others know of proposals
    /// that this member made since.
    #[error(
        "the state directory was replaced by an older copy of itself: this member copies the log from the \
             others within 15 s"
    )]
    Past,
    #[error("this machine is already a member of a cluster")]
    Founded,
    #[error("{0}: see `member.key` in the state directory")]
    Signing(#[from] crate::log::SigningError),
    #[error("no leader: no majority of the members is reachable")]
    NoLeader,
    #[error("no majority of the members responded in time")]
    NoMajority,
    #[error("member {0} does not support this")]
    Unfit(MemberId),
    #[error("another change of the members is in progress: try again")]
    Changing,
    /// The leader refused the change: its engine has stopped, or its disk refuses writes. The
    /// change may have been made.
    #[error("the leader, member {0}, cannot write its log: the change may have been made")]
    LeaderStopped(MemberId),
    #[error("the leader, member {0}, refuses the request")]
    RefusedByLeader(MemberId),
    /// Too many proposals of this member are outstanding: nothing was changed.
    #[error("too many proposals are waiting")]
    Busy,
    #[error("member {0} did not respond")]
    Unanswered(MemberId),
}

impl EngineError {
    /// Returns whether the disk is the cause: it is full, read-only or fails, which may
    /// be temporary.
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, EngineError::Store(StoreError::Disk { .. }))
    }
}

/// Reason why a proposal has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// There was no leader during all attempts: the change was not made.
    #[error("no leader: nothing can change without a majority of the members")]
    NoLeader,
    /// The change may have been made, or may still be made: the leader was lost
    /// meanwhile. Query the state. The change is never made twice.
    #[error(
        "the leader was lost meanwhile: the change may have been made; `evenkeel config log` shows it"
    )]
    Unknown,
    /// Too many proposals of this member are outstanding: the change was not made.
    #[error("too many proposals are waiting")]
    Busy,
    /// The engine ended: the change may have been made.
    #[error("{0}")]
    Stopped(EngineError),
}

impl From<ProposeError> for EngineError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NoLeader => EngineError::NoLeader,
            ProposeError::Unknown => EngineError::NoMajority,
            ProposeError::Busy => EngineError::Busy,
            ProposeError::Stopped(why) => why,
        }
    }
}
