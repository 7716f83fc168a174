//! A version as the supervisor keeps it: what the loader said of it, and
//! descriptors that it passes on unread.

use crate::roles::Shared;
use protocol::role::{Message, Plan, Take};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A version.
#[derive(Debug)]
pub struct Version {
    /// What a role is told of it.
    pub take: Take,
    bundle: Shared,
    descriptors: Vec<Shared>,
}

impl Version {
    /// None when the descriptors are not those of the plan.
    pub fn new(take: Take, mut descriptors: Vec<OwnedFd>) -> Option<Version> {
        if descriptors.len() != take.plan.descriptors() + 1 {
            return None;
        }
        let bundle = Arc::new(descriptors.remove(0));
        Some(Version {
            take,
            bundle,
            descriptors: descriptors.into_iter().map(Arc::new).collect(),
        })
    }

    /// What the loader said of it.
    pub fn plan(&self) -> &Plan {
        &self.take.plan
    }

    /// What a role is sent; a state may go with it.
    pub fn message(&self, state: bool) -> Message {
        let take = self.take.clone();
        Message::Take(Box::new(Take { state, ..take }))
    }

    /// The bundle and the sockets, as they are sent.
    pub fn all_descriptors(&self) -> Vec<Shared> {
        let mut all = vec![self.bundle.clone()];
        all.extend(self.descriptors.iter().cloned());
        all
    }
}
