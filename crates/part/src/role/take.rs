//! Defines the message that makes a role run a configuration version; it is the same for every
//! role. The supervisor forwards the payload, which only the role can decode.

use super::bounded::Operation;
use super::message::Personality;
use super::plan::VersionPlan;
use serde::{Deserialize, Serialize};

/// Request to a role to run a configuration version.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Take {
    pub version: u64,
    pub personality: Personality,
    /// True if the program runs in the background, so that the role closes its standard streams.
    pub background: bool,
    pub plan: VersionPlan,
    /// Options of the command line for this role, which only the role decodes.
    #[serde(with = "serde_bytes")]
    pub options: Vec<u8>,
    /// True if the descriptors include the role's state file.
    pub keep: bool,
    /// True if the descriptors include the memory that the role shares with other roles.
    pub shared: bool,
    /// True if the descriptors include a state, which the role restores before it serves.
    pub state: bool,
    /// True if the role must discard runtime changes of lists and maps.
    pub fresh: bool,
    /// Random bytes of this version that only the supervisor and the role know. The role returns
    /// them with its bundle ([`SavedVersion::digest`](super::SavedVersion::digest)).
    #[serde(with = "serde_bytes")]
    pub salt: Vec<u8>,
    #[serde(with = "Operation")]
    pub operation: String,
}

/// A candidate version with the version that it replaces. The latter stays compiled, so that it can
/// serve again at once.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct TakeTrial {
    pub take: Take,
    pub former: Take,
}

/// The descriptors of a [`Take`], in their order. An optional one is present if the
/// flag of the same name in the [`Take`] is set.
#[derive(PartialEq, Eq, Debug)]
pub struct Parcel<T> {
    pub payload: T,
    /// Sockets of the version, as many as the plan says.
    pub sockets: Vec<T>,
    pub keep: Option<T>,
    pub shared: Option<T>,
    pub state: Option<T>,
}

impl Take {
    pub fn descriptors(&self) -> usize {
        let besides = [self.keep, self.shared, self.state];
        1 + self.plan.descriptors() + besides.into_iter().filter(|one| *one).count()
    }

    /// Sorts the received descriptors. None if their number differs from the expected one.
    pub fn sort<T>(&self, descriptors: Vec<T>) -> Option<Parcel<T>> {
        if descriptors.len() != self.descriptors() {
            return None;
        }
        let mut all = descriptors.into_iter();
        Some(Parcel {
            payload: all.next()?,
            sockets: all.by_ref().take(self.plan.descriptors()).collect(),
            keep: self.keep.then(|| all.next()).flatten(),
            shared: self.shared.then(|| all.next()).flatten(),
            state: self.state.then(|| all.next()).flatten(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_assigned_by_the_message() {
        let plan = VersionPlan {
            listeners: 2,
            ..VersionPlan::default()
        };
        let take = Take {
            plan,
            keep: true,
            state: true,
            ..Take::default()
        };
        let parcel = take.sort(vec![0, 1, 2, 3, 4]).expect("five");
        let wanted = Parcel {
            payload: 0,
            sockets: vec![1, 2],
            keep: Some(3),
            shared: None,
            state: Some(4),
        };
        assert_eq!(parcel, wanted);
        assert_eq!(take.sort(vec![0; 4]), None);
        assert_eq!(take.sort(vec![0; 6]), None);
        assert_eq!(Take::default().sort(Vec::<u8>::new()), None);
    }
}
