//! Exchanges sign-in data between the nodes of a cluster, so that attempts and one-time codes count
//! at all nodes together: a client that has used up its attempts at one node has none at the
//! others, and a one-time code is accepted only once.
//!
//! The transport is not part of this module: each part has its own connections between its roles.

use crate::key::Key;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::pin::Pin;

const NAME_MAX: usize = 256;
pub const CHANGES_MAX: usize = 500;

/// Change of the attempts that a key has left. It has durations instead of times, because the
/// clocks of two nodes differ.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AttemptChange {
    /// An attempt has failed, or has begun and counts as failed until it succeeds.
    Failed(Key),
    /// An attempt that was counted as failed has succeeded.
    Returned(Key),
    Reset(Key),
    /// For a node that has just connected: the time until all attempts of a key are available
    /// again, milliseconds.
    Left(Key, u64),
    /// For a node that has just connected: the last time step of which a user has used the code.
    Code(String, u64),
}

impl AttemptChange {
    /// Returns whether the change must not be sent to other nodes, because its key has another
    /// meaning there.
    pub(crate) fn is_change_local_to_node(&self) -> bool {
        match self {
            AttemptChange::Failed(key)
            | AttemptChange::Returned(key)
            | AttemptChange::Reset(key)
            | AttemptChange::Left(key, _) => key.is_local_to_node(),
            AttemptChange::Code(..) => false,
        }
    }

    /// Returns whether the change is within the bounds of what a node may report.
    pub fn is_bounded(&self) -> bool {
        match self {
            AttemptChange::Failed(key)
            | AttemptChange::Returned(key)
            | AttemptChange::Reset(key)
            | AttemptChange::Left(key, _) => key.name().is_none_or(|name| name.len() <= NAME_MAX),
            AttemptChange::Code(user, _) => user.len() <= NAME_MAX,
        }
    }
}

/// Resolves to whether a code is new at the other nodes.
pub type IsNew<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// Connection to the other nodes that authenticate the same users.
pub trait Peers: Debug + Send + Sync {
    /// Reports changes to the other nodes. Must never wait, because the limiter is locked.
    fn changed(&self, changes: &[AttemptChange]);

    /// Reports a used code to all nodes, and resolves to false if one of them knows it as used. A
    /// node that does not respond in time is ignored: the failure of one node must not prevent
    /// sign-ins at the others.
    fn claim_code<'a>(&'a self, user: &'a str, step: u64) -> IsNew<'a>;
}
