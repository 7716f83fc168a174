//! What the nodes of a cluster report to each other about tries: a client that has used up its tries at one node has
//! none at the other one, and a code of a second factor is accepted once, at one of them.
//!
//! Nothing here knows how it is sent: each part has its own connections between its roles.

use crate::key::Key;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::pin::Pin;

/// Bytes of a name that another node may report.
const NAME_MAX: usize = 256;
/// Changes in one message.
pub const CHANGES_MAX: usize = 500;

/// One change of what somebody may try. Durations, not times: the clocks of two nodes differ.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    /// A try has failed, or has begun: it counts as failed until it succeeds.
    Failed(Key),
    /// A try that counted has not failed.
    Returned(Key),
    /// The failures are reset.
    Reset(Key),
    /// For a node that connects: the time until all tries are back, milliseconds.
    Left(Key, u64),
    /// For a node that connects: the last time step whose code a user has used.
    Code(String, u64),
}

impl Change {
    /// Whether another node must not apply it, since its key means something else there.
    pub(crate) fn is_of_this_machine(&self) -> bool {
        match self {
            Change::Failed(key)
            | Change::Returned(key)
            | Change::Reset(key)
            | Change::Left(key, _) => key.is_of_this_machine(),
            Change::Code(..) => false,
        }
    }

    /// Whether it is within the bounds of what a node may report.
    pub fn is_bounded(&self) -> bool {
        match self {
            Change::Failed(key)
            | Change::Returned(key)
            | Change::Reset(key)
            | Change::Left(key, _) => key.name().is_none_or(|name| name.len() <= NAME_MAX),
            Change::Code(user, _) => user.len() <= NAME_MAX,
        }
    }
}

/// Whether a code is new at the other nodes.
pub type IsNew<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// The other nodes that sign the same users in.
pub trait Peers: Debug + Send + Sync {
    /// Reports changes to them. It never waits, since the limiter is locked.
    fn changed(&self, changes: &[Change]);

    /// Reports a used code to all of them, and resolves to false if one of them knows it as used. A node that does
    /// not respond in time is left out: the end of one node must not end the sign-ins at the other one.
    fn claim_code<'a>(&'a self, user: &'a str, step: u64) -> IsNew<'a>;
}
