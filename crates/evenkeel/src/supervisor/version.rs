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
        let bundle = descriptors.remove(0);
        Some(Version::of(take, bundle, descriptors))
    }

    /// Of a bundle and sockets that are known to be the plan's.
    pub fn of(take: Take, bundle: OwnedFd, descriptors: Vec<OwnedFd>) -> Version {
        Version {
            take,
            bundle: Arc::new(bundle),
            descriptors: descriptors.into_iter().map(Arc::new).collect(),
        }
    }

    /// The bundle.
    pub fn bundle(&self) -> &Shared {
        &self.bundle
    }

    /// The sockets.
    pub fn sockets(&self) -> &[Shared] {
        &self.descriptors
    }

    /// What the loader said of it.
    pub fn plan(&self) -> &Plan {
        &self.take.plan
    }

    /// What a role is sent, with what the one before knew or without.
    pub fn message(&self, state: Option<&Shared>) -> Message {
        Message::Take(Box::new(Take {
            state: state.is_some(),
            ..self.take.clone()
        }))
    }

    /// The bundle and the sockets, as they are sent, and the state behind them.
    pub fn all_descriptors(&self, state: Option<&Shared>) -> Vec<Shared> {
        let mut all = vec![self.bundle.clone()];
        all.extend(self.descriptors.iter().cloned());
        all.extend(state.cloned());
        all
    }
}
