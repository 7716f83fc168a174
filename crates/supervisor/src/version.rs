//! A version as the supervisor keeps it: what the loader said of it, and
//! descriptors that it passes on unread.

use crate::slot::Given;
use part::Shared;
use part::role::{Message, Plan, Take};
use part::row;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A version.
#[derive(Debug)]
pub struct Version {
    /// What a role is told about it.
    pub take: Take,
    bundle: Shared,
    descriptors: Vec<Shared>,
    /// What roles beside the proxy run, in the order of the plan; empty where that is not
    /// known: no file keeps it, since it may hold passwords.
    payloads: Vec<Shared>,
}

impl Version {
    /// None when the descriptors are not those of the plan.
    pub fn new(take: Take, mut descriptors: Vec<OwnedFd>) -> Option<Version> {
        if descriptors.len() != Version::wanted(&take.plan) {
            return None;
        }
        let own = descriptors.len() - take.plan.parts.len();
        let payloads = descriptors.split_off(own);
        let bundle = descriptors.remove(0);
        let mut version = Version::of(take, bundle, descriptors);
        version.payloads = payloads.into_iter().map(Arc::new).collect();
        Some(version)
    }

    /// How many descriptors a version of a plan has: the bundle, the sockets, and
    /// what roles beside the proxy run.
    pub fn wanted(plan: &Plan) -> usize {
        plan.descriptors() + 1 + plan.parts.len()
    }

    /// Of a bundle and sockets that are known to be the plan's.
    pub fn of(take: Take, bundle: OwnedFd, descriptors: Vec<OwnedFd>) -> Version {
        Version {
            take,
            bundle: Arc::new(bundle),
            descriptors: descriptors.into_iter().map(Arc::new).collect(),
            payloads: Vec::new(),
        }
    }

    /// What it has for the role of a part, where that is known.
    pub fn given(&self, part: &str) -> Option<Given> {
        let mut all = self.plan().parts.iter().zip(&self.payloads);
        let (plan, payload) = all.find(|(plan, _)| plan.part == part)?;
        Some(Given {
            version: self.take.version,
            payload: payload.clone(),
            plan: plan.clone(),
            without_proxy: self.is_without_proxy(),
        })
    }

    /// Whether it has anything of a part.
    pub fn has(&self, part: &str) -> bool {
        match row::serves(part) {
            true => !self.is_without_proxy(),
            false => self.plan().parts.iter().any(|plan| plan.part == part),
        }
    }

    /// Whether nothing in it is for a proxy.
    pub fn is_without_proxy(&self) -> bool {
        self.plan().without_proxy
    }

    /// Whether nothing in it is for any role: a member of a cluster may serve nothing.
    pub fn is_idle(&self) -> bool {
        self.is_without_proxy() && self.plan().parts.is_empty()
    }

    /// Whether it has parts beside the proxy and what they run is not known, as of a version
    /// whose role was adopted.
    pub fn lacks_parts(&self) -> bool {
        self.payloads.is_empty() && !self.plan().parts.is_empty()
    }

    /// Its plan as others are told about it who get [`Version::whole`].
    pub fn known_plan(&self) -> Plan {
        let mut plan = self.plan().clone();
        if self.lacks_parts() {
            plan.parts.clear();
        }
        plan
    }

    /// All that there is of it, in the order in which it came.
    pub fn whole(&self) -> Vec<Shared> {
        let mut all = self.all_descriptors(None);
        all.extend(self.payloads.iter().cloned());
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

    /// What the role is told about it: nothing of what only the supervisor needs, so that two
    /// versions fit into one message.
    pub fn for_role(&self) -> Take {
        let mut take = self.take.clone();
        let plan = &mut take.plan;
        (plan.watch, plan.pid_file) = (None, None);
        (plan.names, plan.fixed) = (Vec::new(), Vec::new());
        (plan.programs, plan.parts) = (Vec::new(), Vec::new());
        plan.resources = Vec::new();
        (plan.difference, plan.lacks.missing) = (String::new(), Vec::new());
        plan.certificates = Vec::new();
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
    use part::memory;
    use part::role::{CheckProgram, Lacks, PACKET_BYTES_MAX, TakeTrial};

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
            lacks: Lacks {
                left_out: vec![u32::MAX; 1_024],
                missing: Vec::new(),
            },
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
