//! Why a question has no answer.

use crate::member::MemberId;
use crate::raft::transport;
use std::error::Error;
use std::fmt;

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallError {
    /// There is no such member.
    NoMember(MemberId),
    /// No path leads to the member: the request was not sent.
    Unreachable(MemberId),
    /// The time ran out. It may have been seen.
    TimedOut(MemberId),
    /// All connections ended while it was waited for. It may have been seen.
    Broken(MemberId),
    /// The member is overloaded; it did not process the request.
    Overloaded(MemberId),
    /// The question is larger than one may be, or than the answer may be.
    TooLarge {
        /// Its size.
        bytes: usize,
        /// How large it may be.
        bytes_max: usize,
    },
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NoMember(member) => write!(f, "no member {member}"),
            CallError::Unreachable(member) => write!(f, "member {member} is not reachable"),
            CallError::TimedOut(member) => write!(f, "member {member} did not respond in time"),
            CallError::Broken(member) => {
                write!(
                    f,
                    "the connections to member {member} ended before its reply"
                )
            }
            CallError::Overloaded(member) => write!(f, "member {member} is overloaded"),
            CallError::TooLarge { bytes, bytes_max } => {
                write!(
                    f,
                    "a message of {bytes} bytes exceeds the limit of {bytes_max}"
                )
            }
        }
    }
}

impl Error for CallError {}

impl From<CallError> for transport::CallError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NoMember(_) => transport::CallError::Refused,
            // What is too large now will be so again; nothing was sent.
            CallError::Unreachable(_) | CallError::Overloaded(_) | CallError::TooLarge { .. } => {
                transport::CallError::Unreachable
            }
            CallError::TimedOut(_) => transport::CallError::Timeout,
            CallError::Broken(_) => transport::CallError::Closed,
        }
    }
}
