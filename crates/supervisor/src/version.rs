//! Holds a configuration version in the supervisor: the loader's plan, and descriptors that are
//! forwarded unread. Builds the messages for the roles from it.

use crate::salt;
use crate::slot::SidecarConfiguration;
use part::SharedFd;
use part::role::{PartPlan, SupervisorMessage, Take, VersionPlan};
use part::row;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A version of the configuration: the plan, and the descriptors of the bundle, the sockets and the
/// payloads. The proxy can be started with it, and each sidecar whose payload is known. The
/// supervisor forwards the contents unread.
#[derive(Debug)]
pub struct LoadedVersion {
    /// Message by which the primary role serves the version.
    pub take: Take,
    bundle: SharedFd,
    descriptors: Vec<SharedFd>,
    /// Payloads of the sidecar roles, in the order of the plan. The list is empty if the payloads
    /// are unknown: they are not stored in a file, because they may contain passwords.
    payloads: Vec<SharedFd>,
}

/// Returns the part whose role decides whether a version can be served: the proxy, if the version
/// has one.
pub fn decider(version: Option<&LoadedVersion>) -> &'static str {
    let alone = version.filter(|version| version.is_without_proxy());
    let sidecar = alone.and_then(|version| row::sidecar_parts().find(|part| version.has(part)));
    sidecar.unwrap_or_else(row::primary_part)
}

#[derive(Debug, PartialEq, Eq)]
pub enum PartSize<'v> {
    Proxy { listeners: u32, threads: u32 },
    Sidecar(&'v PartPlan),
}

impl PartSize<'_> {
    fn is_empty(&self) -> bool {
        match self {
            PartSize::Proxy { listeners, .. } => *listeners == 0,
            PartSize::Sidecar(plan) => plan.objects == 0,
        }
    }
}

impl LoadedVersion {
    /// Creates a version. None if the number of descriptors does not match the plan.
    pub fn new(mut take: Take, mut descriptors: Vec<OwnedFd>) -> Option<LoadedVersion> {
        // Continues without a salt if there are no random numbers; a successor then reads the files
        // again.
        take.salt = salt::new_salt().unwrap_or_default();
        if descriptors.len() != LoadedVersion::wanted(&take.plan) {
            return None;
        }
        let own = descriptors.len() - take.plan.parts.len();
        let payloads = descriptors.split_off(own);
        let bundle = descriptors.remove(0);
        let mut version = LoadedVersion::of(take, bundle, descriptors);
        version.payloads = payloads.into_iter().map(Arc::new).collect();
        Some(version)
    }

    /// Returns the number of descriptors of a version with this plan: the bundle, the sockets, and
    /// the payloads of the sidecars.
    pub fn wanted(plan: &VersionPlan) -> usize {
        plan.descriptors() + 1 + plan.parts.len()
    }

    /// Creates a version without payloads. The caller has checked that the bundle and the sockets
    /// match the plan.
    pub fn of(take: Take, bundle: OwnedFd, descriptors: Vec<OwnedFd>) -> LoadedVersion {
        LoadedVersion {
            take,
            bundle: Arc::new(bundle),
            descriptors: descriptors.into_iter().map(Arc::new).collect(),
            payloads: Vec::new(),
        }
    }

    pub fn given(&self, part: &str) -> Option<SidecarConfiguration> {
        let mut all = self.plan().parts.iter().zip(&self.payloads);
        let (plan, payload) = all.find(|(plan, _)| plan.part == part)?;
        Some(SidecarConfiguration {
            version: self.take.version,
            operation: self.take.operation.clone(),
            payload: payload.clone(),
            plan: plan.clone(),
            without_proxy: self.is_without_proxy(),
        })
    }

    pub fn has(&self, part: &str) -> bool {
        if row::is_primary(part) {
            !self.is_without_proxy()
        } else {
            self.plan().parts.iter().any(|plan| plan.part == part)
        }
    }

    /// Returns whether the version has nothing for a proxy.
    pub fn is_without_proxy(&self) -> bool {
        self.plan().without_proxy
    }

    /// Returns the sizes of the parts. A part without any object is only listed if all are empty.
    pub fn sizes(&self) -> Vec<PartSize<'_>> {
        let plan = self.plan();
        let proxy = (!self.is_without_proxy()).then_some(PartSize::Proxy {
            listeners: plan.listeners,
            threads: plan.settings.threads,
        });
        let parts = plan.parts.iter().map(PartSize::Sidecar);
        let mut all: Vec<PartSize<'_>> = proxy.into_iter().chain(parts).collect();
        if !all.iter().all(PartSize::is_empty) {
            all.retain(|one| !one.is_empty());
        }
        all
    }

    /// Returns whether the version has nothing for any role: a cluster member may serve nothing.
    pub fn is_idle(&self) -> bool {
        self.is_without_proxy() && self.plan().parts.is_empty()
    }

    /// Returns whether the version has sidecars with unknown payloads, such as one whose role was
    /// adopted.
    pub fn lacks_parts(&self) -> bool {
        self.payloads.is_empty() && !self.plan().parts.is_empty()
    }

    /// Returns the plan that matches the descriptors of [`LoadedVersion::whole`].
    pub fn known_plan(&self) -> VersionPlan {
        let mut plan = self.plan().clone();
        if self.lacks_parts() {
            plan.parts.clear();
        }
        plan
    }

    /// Returns all descriptors, in the order in which they were received.
    pub fn whole(&self) -> Vec<SharedFd> {
        let mut all = self.all_descriptors(None);
        all.extend(self.payloads.iter().cloned());
        all
    }

    pub fn bundle(&self) -> &SharedFd {
        &self.bundle
    }

    pub fn sockets(&self) -> &[SharedFd] {
        &self.descriptors
    }

    pub fn plan(&self) -> &VersionPlan {
        &self.take.plan
    }

    /// Returns the message for the primary role without the fields that only the supervisor needs,
    /// so that two versions fit into one message.
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

    pub fn message(&self, state: Option<&SharedFd>) -> SupervisorMessage {
        SupervisorMessage::Take(Box::new(Take {
            state: state.is_some(),
            ..self.for_role()
        }))
    }

    /// Returns the bundle and the sockets in the order of the message, followed by the state.
    pub fn all_descriptors(&self, state: Option<&SharedFd>) -> Vec<SharedFd> {
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
        let plan = VersionPlan {
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
            ..VersionPlan::default()
        };
        let take = Take {
            plan,
            ..Take::default()
        };
        let bundle = memory::create("test", b"a bundle").expect("memory");
        let version = LoadedVersion::of(take, bundle, Vec::new());
        let trial = TakeTrial {
            take: version.for_role(),
            former: version.for_role(),
        };
        let packet = SupervisorMessage::TakeTrial(Box::new(trial)).encode(0, 0);
        assert!(packet.len() <= PACKET_BYTES_MAX, "{}", packet.len());
    }

    #[test]
    fn empty_parts_are_listed_only_without_others() {
        let part = |part: &str, objects| PartPlan {
            part: part.to_owned(),
            objects,
            ..PartPlan::default()
        };
        let listed = |listeners, parts: &[PartPlan]| -> Vec<String> {
            let plan = VersionPlan {
                without_proxy: listeners == 0,
                listeners,
                parts: parts.to_vec(),
                ..VersionPlan::default()
            };
            let take = Take {
                plan,
                ..Take::default()
            };
            let bundle = memory::create("test", b"a bundle").expect("memory");
            let version = LoadedVersion::of(take, bundle, Vec::new());
            let sizes = version.sizes();
            let names = sizes.iter().map(|one| match one {
                PartSize::Proxy { .. } => "proxy".to_owned(),
                PartSize::Sidecar(plan) => plan.part.clone(),
            });
            names.collect()
        };
        let (ten, none) = (part("guest", 10), part("volume", 0));
        assert_eq!(listed(0, &[ten.clone(), none.clone()]), ["guest"]);
        assert_eq!(listed(2, std::slice::from_ref(&none)), ["proxy"]);
        assert_eq!(listed(2, &[ten]), ["proxy", "guest"]);
        assert_eq!(listed(0, &[none]), ["volume"]);
        assert!(listed(0, &[]).is_empty());
    }
}
