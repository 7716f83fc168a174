//! A version as the supervisor keeps it: what the loader said of it, and
//! descriptors that it passes on unread.

use crate::roles::Shared;
use part::role::{Message, Plan, Take};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A version.
#[derive(Debug)]
pub struct Version {
    /// What a role is told of it.
    pub take: Take,
    bundle: Shared,
    descriptors: Vec<Shared>,
    addresses: Option<Shared>,
}

impl Version {
    /// None when the descriptors are not those of the plan.
    pub fn new(take: Take, mut descriptors: Vec<OwnedFd>) -> Option<Version> {
        if descriptors.len() != Version::wanted(&take.plan) {
            return None;
        }
        let addresses = take.plan.addresses.as_ref();
        let addresses = addresses.and_then(|_| descriptors.pop());
        let bundle = descriptors.remove(0);
        let mut version = Version::of(take, bundle, descriptors);
        version.addresses = addresses.map(Arc::new);
        Some(version)
    }

    /// How many descriptors a version of a plan has: the bundle, the sockets, and
    /// what is to be done with virtual addresses.
    pub fn wanted(plan: &Plan) -> usize {
        plan.descriptors() + 1 + usize::from(plan.addresses.is_some())
    }

    /// Of a bundle and sockets that are known to be the plan's.
    pub fn of(take: Take, bundle: OwnedFd, descriptors: Vec<OwnedFd>) -> Version {
        Version {
            take,
            bundle: Arc::new(bundle),
            descriptors: descriptors.into_iter().map(Arc::new).collect(),
            addresses: None,
        }
    }

    /// What is to be done with virtual addresses, where that is known: no file
    /// keeps it, since it may hold passwords.
    pub fn addresses(&self) -> Option<&Shared> {
        self.addresses.as_ref()
    }

    /// Whether it has virtual addresses only.
    pub fn is_alone(&self) -> bool {
        let addresses = self.plan().addresses.as_ref();
        addresses.is_some_and(|addresses| addresses.alone)
    }

    /// Its plan as others are told of it who get [`Version::whole`].
    pub fn known_plan(&self) -> Plan {
        let mut plan = self.plan().clone();
        if self.addresses.is_none() {
            plan.addresses = None;
        }
        plan
    }

    /// All that there is of it, in the order in which it came.
    pub fn whole(&self) -> Vec<Shared> {
        let mut all = self.all_descriptors(None);
        all.extend(self.addresses.clone());
        all
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

    /// What the role is told of it: nothing of what only the supervisor needs, so that two
    /// versions fit into one message.
    pub fn for_role(&self) -> Take {
        let mut take = self.take.clone();
        let plan = &mut take.plan;
        (plan.addresses, plan.watch, plan.pid_file) = (None, None, None);
        (plan.names, plan.fixed, plan.programs) = (Vec::new(), Vec::new(), Vec::new());
        plan.difference = String::new();
        take
    }

    /// What a role is sent, with what the one before knew or without.
    pub fn message(&self, state: Option<&Shared>) -> Message {
        Message::Take(Box::new(Take {
            state: state.is_some(),
            ..self.for_role()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::memory;
    use part::role::{CheckProgram, PACKET_BYTES_MAX, TakeTrial};

    #[test]
    fn two_of_the_largest_versions_fit_into_the_message_of_a_trial() {
        let program = CheckProgram {
            command: vec![b'c'; 2_000],
            path: vec![b'p'; 2_000],
        };
        let plan = Plan {
            names: vec!["n".repeat(512); 64],
            fixed: vec!["f".repeat(1_024); 32],
            difference: "d".repeat(8_192),
            numbered: vec![(u32::MAX, u32::MAX); 1_024],
            logs: vec![true; 4_096],
            programs: vec![program; 64],
            ..Plan::default()
        };
        let take = Take {
            plan,
            ..Take::default()
        };
        let bundle = memory::create("test", b"a bundle").expect("memory");
        let version = Version::of(take, bundle, Vec::new());
        let trial = TakeTrial {
            take: version.for_role(),
            former: version.for_role(),
        };
        let packet = Message::TakeTrial(Box::new(trial)).encode(0, 0);
        assert!(packet.len() <= PACKET_BYTES_MAX, "{}", packet.len());
    }
}
