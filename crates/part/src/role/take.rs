//! A version for a role to run: the same message for every role. The payload, which only
//! the role can decode, travels unread.

use super::message::Personality;
use super::plan::Plan;
use serde::{Deserialize, Serialize};

/// A version for a role.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Take {
    /// Its number.
    pub version: u64,
    /// As which program the role speaks.
    pub personality: Personality,
    /// Nobody looks at its standard streams once it serves.
    pub background: bool,
    /// The plan of the version.
    pub plan: Plan,
    /// Options of the command line for this role, which only the role decodes.
    #[serde(with = "serde_bytes")]
    pub options: Vec<u8>,
    /// The file in which the role keeps what the next one begins with goes with it.
    pub keep: bool,
    /// The memory that it shares with other roles goes with it.
    pub shared: bool,
    /// A state goes with it, which is taken in before anything is served.
    pub state: bool,
    /// Whether changes at run time are dropped.
    pub fresh: bool,
}

/// A candidate version, and the version that it replaces, which stays compiled so that it
/// can serve again at once.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct TakeTrial {
    /// The candidate version.
    pub take: Take,
    /// The version that is gone back to.
    pub former: Take,
}

/// The descriptors of a [`Take`], in their order.
#[derive(PartialEq, Eq, Debug)]
pub struct Parcel<T> {
    /// The configuration of the role, decoded.
    pub payload: T,
    /// Sockets and the like, as many as the plan says.
    pub sockets: Vec<T>,
    /// [`Take::keep`]
    pub keep: Option<T>,
    /// [`Take::shared`]
    pub shared: Option<T>,
    /// [`Take::state`]
    pub state: Option<T>,
}

impl Take {
    /// Descriptors that go with it.
    pub fn descriptors(&self) -> usize {
        let besides = [self.keep, self.shared, self.state];
        1 + self.plan.descriptors() + besides.into_iter().filter(|one| *one).count()
    }

    /// Sorts the descriptors that came with it; None where they are not those.
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
    fn descriptors_are_sorted_as_the_message_says_and_others_are_refused() {
        let plan = Plan {
            listeners: 2,
            ..Plan::default()
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
