//! Defines the errors of requests to members.

use crate::member::MemberId;
use crate::raft::transport;

/// Reason why a request has no response.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    #[error("no member {0}")]
    NoMember(MemberId),
    /// No path leads to the member: the request was not sent.
    #[error("member {0} is not reachable")]
    Unreachable(MemberId),
    /// The request timed out. The member may have received it.
    #[error("member {0} did not respond in time")]
    TimedOut(MemberId),
    /// All connections ended during the request. The member may have received it.
    #[error("the connections to member {0} ended before its reply")]
    Broken(MemberId),
    /// The member is overloaded; it did not process the request.
    #[error("member {0} is overloaded")]
    Overloaded(MemberId),
    /// The request, or its response, exceeds the largest size.
    #[error("a message of {bytes} bytes exceeds the limit of {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
}

impl From<CallError> for transport::CallError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NoMember(_) => transport::CallError::Refused,
            // Reports a too large message as unreachable, because nothing was sent.
            CallError::Unreachable(_) | CallError::Overloaded(_) | CallError::TooLarge { .. } => {
                transport::CallError::Unreachable
            }
            CallError::TimedOut(_) => transport::CallError::Timeout,
            CallError::Broken(_) => transport::CallError::Closed,
        }
    }
}
