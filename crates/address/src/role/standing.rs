//! Collects the standing of each virtual router ([`crate::standing`]) from the control role, the
//! health of the proxy and the addresses that the kernel refuses, and passes it to the router.

use super::event_loop::AddressRole;
use super::member::VrrpInstance;
use super::{Level, clock};
use crate::kernel::{AddressSpec, KernelError, sysctl};
use crate::standing::{OwnershipFacts, Row, Service};
use part::role::{MemberNews, VersionStanding};
use protocol::vrrp::{Instance, Time};
use rustix::thread::{CapabilitySet, capabilities};
use std::time::Duration;

/// Time until the role retries addresses that cannot be set.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Time after a refusal by the kernel for which the node does not take the addresses from a live
/// owner.
const DISTRUST: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub(super) struct Membership {
    news: MemberNews,
    /// True if a majority has confirmed the served configuration version since the supervisor
    /// started, and no other configuration version was accepted since.
    pub(super) has_confirmed: bool,
    /// Time up to which ends of the confirmation have been handled.
    seen: Time,
}

impl Membership {
    pub(super) fn deadline(&self) -> Option<Time> {
        let until = Time(self.news.until_ns);
        let counts = self.news.version == VersionStanding::Current && until > self.seen;
        counts.then_some(until)
    }

    /// Returns whether the confirmation has ended since the last call.
    fn has_lapsed(&mut self, now: Time) -> bool {
        let is_due = self.deadline().is_some_and(|until| until <= now);
        self.seen = self.seen.max(now);
        is_due
    }
}

/// Addresses of a virtual router that cannot be set on this machine.
#[derive(Clone, Debug, Default)]
pub struct RefusedAddresses {
    /// Reasons, one line for each address.
    pub words: Vec<String>,
    /// True if none of the addresses can be set.
    pub all: bool,
    /// True if the kernel refused the addresses, and nothing shows when it will accept them.
    pub by_kernel: bool,
    /// End of the fault, during which the node owns nothing so that another one can.
    fault_until: Option<Time>,
    look_at: Option<Time>,
}

impl RefusedAddresses {
    pub fn by_kernel<T>(
        now: Time,
        specs: &[AddressSpec],
        results: &[Result<T, KernelError>],
    ) -> RefusedAddresses {
        let refused = specs.iter().zip(results).filter_map(|(spec, result)| {
            let error = result.as_ref().err().filter(|error| error.is_refusal())?;
            Some(format!(
                "{}/{} cannot be set: {error}",
                spec.address, spec.prefix
            ))
        });
        let words: Vec<String> = refused.collect();
        let all = !words.is_empty() && words.len() == specs.len();
        RefusedAddresses {
            all,
            by_kernel: !words.is_empty(),
            fault_until: all.then(|| now.after(LOOK_AGAIN)),
            look_at: (!words.is_empty()).then(|| now.after(DISTRUST)),
            words,
        }
    }

    /// Finds the addresses of a member that this process cannot set.
    fn known(now: Time, member: &VrrpInstance) -> RefusedAddresses {
        let may = capabilities(None).map_or(true, |sets| {
            sets.effective.contains(CapabilitySet::NET_ADMIN)
        });
        let refused = member.addresses().filter_map(|address| {
            let name = member.name_of_interface(address);
            let path = sysctl::of_interface(true, name, "disable_ipv6");
            let is_off = || sysctl::read(&path).is_ok_and(|value| value == "1");
            let why = match may {
                false => "this process lacks CAP_NET_ADMIN".to_owned(),
                true if address.address.is_ipv6() && is_off() => {
                    format!("IPv6 is disabled on {name}")
                }
                true => return None,
            };
            Some(format!(
                "{}/{} cannot be set: {why}",
                address.address, address.prefix
            ))
        });
        let words: Vec<String> = refused.collect();
        RefusedAddresses {
            all: !words.is_empty() && words.len() == member.addresses().count(),
            look_at: (!words.is_empty()).then(|| now.after(LOOK_AGAIN)),
            words,
            ..RefusedAddresses::default()
        }
    }

    pub fn service(&self) -> Service {
        match (self.words.is_empty(), self.all) {
            (true, _) => Service::All,
            (false, false) => Service::Some,
            (false, true) => Service::None,
        }
    }

    /// Returns the latest time of the next retry.
    pub fn deadline(&self) -> Option<Time> {
        [self.fault_until, self.look_at].into_iter().flatten().min()
    }

    /// Returns whether a retry is due, and clears what has ended.
    fn handle_time(&mut self, now: Time) -> bool {
        if self.look_at.is_some_and(|at| at <= now) {
            *self = RefusedAddresses::default();
            return true;
        }
        self.fault_until.take_if(|until| *until <= now).is_some()
    }

    fn fault(&self) -> Option<String> {
        let is_fault = self.all && (!self.by_kernel || self.fault_until.is_some());
        is_fault.then(|| self.words.join(", "))
    }
}

impl AddressRole {
    pub(super) fn set_membership(&mut self, news: MemberNews) {
        let now = clock::now();
        let was_removed = self.membership.news.version == VersionStanding::Removed;
        let is_removed = news.version == VersionStanding::Removed;
        let has_confirmed = match news.version {
            VersionStanding::Current => true,
            VersionStanding::Unconfirmed => self.membership.has_confirmed || news.was_confirmed,
            VersionStanding::Outdated | VersionStanding::Removed => false,
        };
        if has_confirmed {
            for member in &mut self.members {
                member.history.is_resumed = false;
            }
        }
        if self.membership.has_confirmed != has_confirmed {
            self.membership.has_confirmed = has_confirmed;
            self.keeper.keep_now();
        }
        self.membership.news = news;
        if was_removed != is_removed {
            self.evaluate_all_instances(now);
        }
        self.update_all_limits(now);
    }

    pub(super) fn standing(&self, at: usize, now: Time) -> Option<OwnershipFacts> {
        let member = self.members.get(at)?;
        let is_member = self.config.global.is_member;
        let standing = OwnershipFacts::of(&member.config, is_member, &self.membership.news, now.0);
        let health = self.health.band(at).map_or(Service::All, Service::of_band);
        Some(OwnershipFacts {
            is_resumed: member.history.is_resumed,
            is_candidate: self.health.on_trial,
            is_untested: self.health.is_untested(&member.config.name),
            service: health.max(member.refused.service()),
            ..standing
        })
    }

    pub(super) fn update_all_limits(&mut self, now: Time) {
        for at in 0..self.members.len() {
            self.update_limits(now, at);
        }
    }

    pub(super) fn update_limits(&mut self, now: Time, at: usize) {
        let Some(standing) = self.standing(at, now) else {
            return;
        };
        let row = standing.row();
        let Some(member) = self.members.get_mut(at) else {
            return;
        };
        let before = member.row.replace(row);
        let name = member.config.name.clone();
        if before.is_some_and(|before| before != row) {
            let why = match row.why() {
                "" => String::new(),
                why => format!(": {why}"),
            };
            self.log(
                Level::Notice,
                &format!("({name}) standing: {}{why}", row.name()),
            );
        }
        // Sets no rank for a removed member, which has a fault instead.
        if let Some(rank) = standing.ownership_rank() {
            self.router.set_standing(now, Instance(at), Some(rank));
        }
    }

    /// Handles the end of a confirmation, and retries addresses that cannot be set.
    pub(super) fn look_at_standings(&mut self, now: Time) {
        if self.membership.has_lapsed(now) {
            self.update_all_limits(now);
        }
        let mut is_due = false;
        for member in &mut self.members {
            is_due |= member.refused.handle_time(now);
        }
        if is_due {
            self.evaluate_all_instances(now);
        }
    }

    /// Records which addresses the kernel refused. If it refused all of them, the node has a fault
    /// for some seconds, so that another node can own them.
    pub(super) fn set_refused(&mut self, now: Time, at: usize, refused: RefusedAddresses) {
        let Some(member) = self.members.get_mut(at) else {
            return;
        };
        let is_new = member.refused.words != refused.words || refused.fault_until.is_some();
        member.refused = refused;
        if is_new {
            self.evaluate_instance(now, at);
        }
    }
}

impl VrrpInstance {
    /// Checks for addresses that cannot be set. Refusals by the kernel are kept.
    pub(super) fn check_refused_addresses(&mut self, now: Time) {
        let known = RefusedAddresses::known(now, self);
        if !known.words.is_empty() || !self.refused.by_kernel {
            self.refused = known;
        }
    }

    /// Returns why the member may own nothing, apart from tracked objects.
    pub(super) fn standing_fault(&self) -> Option<String> {
        match self.row {
            Some(Row::Removed) => Some(Row::Removed.why().to_owned()),
            _ => self.refused.fault(),
        }
    }
}
