//! Decides which cluster leases this node requests, holds and releases for its virtual addresses:
//! the node owns such an address only while it holds the lease. A granted lease is valid until its
//! end and no longer, by the clock of this loop alone, because its sender may hang or be gone.
//!
//! The holder of the lease owns the addresses: the lease replaces the election by adverts. So the
//! node reports its rank for each lease, computed from the same values as its adverts, and releases
//! a lease to a healthier node.

use super::Notification;
use super::event_loop::AddressRole;
use super::health::WORST;
use super::member::VrrpInstance;
use crate::config::Instance as Configured;
use crate::kernel::LIFETIME_LEAST;
use protocol::vrrp::{Instance, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const LEASES_MAX: usize = 512;

/// Time after a hand-over for which the node does not request the lease. By then a healthier node
/// has the lease, or there is none.
const REST: Duration = Duration::from_secs(2);

/// Interval of the heartbeats to the control role, which renews the leases only while it receives
/// them.
const HEARTBEAT: Duration = Duration::from_millis(150);

/// Rank of a node that takes a lease only if no better node requests it.
const LAST_RANK: u32 = 0;

/// A lease that this node could use.
struct Candidate {
    name: String,
    rank: u32,
    /// True if any other node is better, see `standing::OwnershipFacts::is_last_for_lease`.
    is_last: bool,
}

/// A request of this machine for a lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedLease {
    pub name: String,
    /// Suitability of this machine as the holder; the machine with the highest rank gets the lease.
    pub rank: u32,
}

/// A lease that this machine holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    pub name: String,
    /// End of the lease, nanoseconds of CLOCK_BOOTTIME; zero: not held.
    pub until_ns: u64,
    /// True if the end of the previous report is still valid.
    pub is_inherited: bool,
}

/// Returns the name of the lease that an instance is bound to.
pub fn name_of(instance: &Configured) -> String {
    format!("address/{}", instance.name)
}

/// Held leases, and those that this node has handed over.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    until: BTreeMap<String, Time>,
    /// Ends of leases that are no longer held. A later grant ends later, so a report with this end
    /// or an earlier one is outdated.
    released: BTreeMap<String, Time>,
    /// Handed-over leases, each with the time at which this node may request it again.
    resting: BTreeMap<String, Time>,
    /// Leases that an operator handed over: requested only if no other node wants them.
    last: BTreeSet<String>,
    told: Option<Vec<WantedLease>>,
    /// Time of the next heartbeat; None while no lease is requested.
    heartbeat_at: Option<Time>,
    /// Lease ends up to this time have been handled.
    seen: Time,
}

impl Leases {
    /// Restores the leases that an operator handed over before the previous process ended.
    pub fn restore_handed_over(&mut self, names: impl IntoIterator<Item = String>) {
        self.last = names.into_iter().take(LEASES_MAX).collect();
    }

    pub fn handed_over(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }

    /// Creates the set from the last report, or from that of the previous role.
    pub fn new(held: impl IntoIterator<Item = Lease>) -> Leases {
        let mut leases = Leases::default();
        leases.hold(held);
        leases
    }

    /// Sets the held leases; all others are released.
    fn hold(&mut self, held: impl IntoIterator<Item = Lease>) {
        let is_current = |lease: &Lease| {
            let released = self.released.get(&lease.name);
            lease.until_ns > 0 && released.is_none_or(|until| Time(lease.until_ns) > *until)
        };
        let end_of = |lease: Lease| {
            let until = match lease.is_inherited {
                // Keeps the end that this loop knows: a new control role does not know the end that
                // the previous control role reported.
                true => self.until.get(&lease.name).copied(),
                false => is_current(&lease).then_some(Time(lease.until_ns)),
            };
            Some((lease.name, until?))
        };
        let until = held.into_iter().filter_map(end_of);
        let until = until.take(LEASES_MAX).collect();
        let before = std::mem::replace(&mut self.until, until);
        for (name, until) in &before {
            if !self.until.contains_key(name) {
                self.released.insert(name.clone(), *until);
            }
        }
        // Restores the normal rank when the node regains the lease after others had it, or after
        // nobody wanted it.
        let until = &self.until;
        self.last
            .retain(|name| before.contains_key(name) || !until.contains_key(name));
    }

    pub fn put_last(&mut self, name: String) {
        self.last.insert(name);
    }

    fn hand_over(&mut self, now: Time, name: String) {
        if self.until.contains_key(&name) {
            self.resting.insert(name, now.after(REST));
        }
    }

    /// Returns the requests for leases that this node could use, each with the rank of its adverts.
    /// Nodes that hand over or have handed over a lease request it with the two lowest ranks.
    fn wishes(&self, now: Time, able: impl Iterator<Item = Candidate>) -> Vec<WantedLease> {
        able.filter(|one| !self.resting.contains_key(&one.name))
            .map(|one| {
                let held = self.missing(now, &one.name).is_none();
                let rank = match self.last.contains(&one.name) {
                    _ if one.is_last => LAST_RANK,
                    // Ranks the current holder that hands over after a node that handed over
                    // earlier.
                    true if held => LAST_RANK,
                    true => LAST_RANK + 1,
                    false => one.rank,
                };
                WantedLease {
                    name: one.name,
                    rank,
                }
            })
            .take(LEASES_MAX)
            .collect()
    }

    pub fn kept(&self) -> Vec<(String, u64)> {
        let until = self.until.iter();
        until.map(|(name, until)| (name.clone(), until.0)).collect()
    }

    /// Returns why an instance cannot have its addresses now.
    pub fn fault(&self, now: Time, instance: &Configured) -> Option<String> {
        let bound = instance.options.lease.then(|| name_of(instance))?;
        self.missing(now, &bound)
    }

    /// Returns the end of the lease that an instance is bound to; none without one.
    pub fn end(&self, instance: &Configured) -> Option<Time> {
        let bound = instance.options.lease.then(|| name_of(instance))?;
        Some(self.until.get(&bound).copied().unwrap_or_default())
    }

    /// Returns whether the lease of an instance ends too soon to set its addresses again. The
    /// kernel has then removed the addresses already, or will do so by itself.
    pub fn ends_soon(&self, now: Time, instance: &Configured) -> bool {
        self.end(instance)
            .is_some_and(|end| lifetime_within(now, end).is_none())
    }

    /// Returns whether the lease of an instance was released for another machine.
    pub fn moves(&self, instance: &Configured) -> bool {
        instance.options.lease && self.resting.contains_key(&name_of(instance))
    }

    /// Returns why a lease is not held; None if it is held.
    fn missing(&self, now: Time, name: &str) -> Option<String> {
        if self.resting.contains_key(name) {
            return Some(format!("the lease {name} moves to a healthier node"));
        }
        match self.until.get(name) {
            Some(until) if *until > now => None,
            Some(_) => Some(format!("the lease {name} has expired")),
            None => Some(format!("this node does not hold the lease {name}")),
        }
    }

    /// Returns when the next lease ends or may be requested again.
    pub fn deadline(&self) -> Option<Time> {
        let ends = self.until.values().filter(|until| **until > self.seen);
        ends.chain(self.resting.values()).min().copied()
    }

    /// Returns the latest time of the next turn of the loop.
    pub fn next_turn(&self) -> Option<Time> {
        [self.deadline(), self.heartbeat_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns whether a heartbeat is due, and schedules the next one.
    fn takes_heartbeat(&mut self, now: Time) -> bool {
        if self.told.iter().all(Vec::is_empty) {
            self.heartbeat_at = None;
            return false;
        }
        let is_due = self.heartbeat_at.is_none_or(|at| at <= now);
        if is_due {
            self.heartbeat_at = Some(now.after(HEARTBEAT));
        }
        is_due
    }

    /// Returns whether, since the last call, a lease has ended or may be requested again.
    pub fn handle_time(&mut self, now: Time) -> bool {
        let due = self.deadline().is_some_and(|until| until <= now);
        self.seen = self.seen.max(now);
        // Forgets releases that are over. Outdated reports about the remaining ones have no effect.
        self.released.retain(|_, until| *until > now);
        self.resting.retain(|_, until| *until > now);
        due
    }
}

/// Maximum delay after the lifetime with which the kernel removes an expired address.
const KERNEL_LATE: Duration = Duration::from_millis(1_250);

/// Returns the lifetime in whole seconds that the kernel may give an address whose lease has this
/// end, and when the role sets it again. By then the lifetime is a second less, if the lease was
/// not renewed. So the address is gone when the lease can be granted to another node, even if this
/// process is frozen or killed. None: the lease ends too soon to set the address.
pub(super) fn lifetime_within(now: Time, end: Time) -> Option<(Duration, Time)> {
    let left = end.since(now).checked_sub(KERNEL_LATE)?;
    let seconds = left.as_secs();
    let rest = Duration::from_nanos(u64::from(left.subsec_nanos()));
    let again_at = now.after(rest.max(Duration::from_millis(1)));
    (seconds >= u64::from(LIFETIME_LEAST)).then(|| (Duration::from_secs(seconds), again_at))
}

impl AddressRole {
    /// Gives addresses that are bound to a lease the lifetime that the lease's new end allows.
    fn renew_leased(&mut self, now: Time) {
        for member in &mut self.members {
            if member.config.options.lease && member.holds {
                member.renew_at = Some(now);
            }
        }
        self.renew_lifetimes(now);
    }

    pub(super) fn hold(&mut self, held: Vec<Lease>) {
        let now = super::clock::now();
        self.leases.hold(held);
        self.evaluate_all_instances(now);
        self.renew_leased(now);
        // Saves the leases immediately, because a successor that starts must continue with them.
        if self.config.instances.iter().any(|one| one.options.lease) {
            self.keeper.keep_now();
        }
    }

    /// Releases a lease, and the addresses bound to it, to a machine that can use it better.
    pub(super) fn hand_over_lease(&mut self, name: String) {
        let now = super::clock::now();
        self.leases.hand_over(now, name);
        self.evaluate_all_instances(now);
    }

    /// Releases expired leases, and reports changed requests.
    pub(super) fn expire_leases(&mut self, now: Time) {
        if self.leases.handle_time(now) {
            self.evaluate_all_instances(now);
        }
        let wanted = self.leases.told.iter().any(|told| !told.is_empty());
        if wanted || self.config.instances.iter().any(|one| one.options.lease) {
            // Releases the addresses first, because a lease that is no longer requested may be
            // granted to another node immediately.
            self.act();
            self.report_wanted_leases(now);
        }
    }

    /// Returns whether only the lease keeps the instance from its addresses. While its tracked
    /// objects are not known yet, as after a restart, that is so only if the node holds the lease.
    fn lacks_only_lease(&self, now: Time, member: &VrrpInstance) -> bool {
        let held = || self.leases.missing(now, &name_of(&member.config)).is_none();
        member.is_without_fault() && (!member.judgement.unknown || held())
    }

    pub(super) fn report_wanted_leases(&mut self, now: Time) {
        let members = self.members.iter().enumerate();
        let stops = self.hand_overs.is_stopping();
        let able = members
            .filter(|_| !stops)
            .filter(|(_, member)| member.config.options.lease && self.lacks_only_lease(now, member))
            .filter_map(|(at, member)| {
                let priority = self.router.status(Instance(at))?.priority;
                let rank = if member.config.options.preempt {
                    u32::from(priority)
                } else {
                    // Nodes with the same health rank equally.

                    let better = WORST.saturating_sub(self.health.band(at).unwrap_or(0));
                    u32::try_from(better).unwrap_or(0)
                };
                let name = name_of(&member.config);
                let is_holder = self.leases.missing(now, &name).is_none();
                let is_last = self.standing(at, now)?.is_last_for_lease(is_holder);
                Some(Candidate {
                    name,
                    rank,
                    is_last,
                })
            });
        let wanted = self.leases.wishes(now, able);
        if self.leases.told.as_ref() != Some(&wanted) {
            self.leases.told = Some(wanted.clone());
            self.given
                .orders
                .send_notification(Notification::WantsLeases(wanted));
        }
        if self.leases.takes_heartbeat(now) {
            self.given.orders.send_notification(Notification::Heartbeat);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn an_address_is_bound_to_its_lease_until_the_end_of_that_and_no_longer() {
        let bound = "address/www";
        let lease = |name: &str, until_ns| Lease {
            name: name.to_owned(),
            until_ns,
            is_inherited: false,
        };
        let none = Leases::default();
        let told = none.missing(Time(5), bound);
        assert_eq!(
            told.as_deref(),
            Some("this node does not hold the lease address/www")
        );
        let others = [lease("address/other", 9), lease("address/www", 0)];
        assert!(Leases::new(others).missing(Time(5), bound).is_some());
        let mut held = Leases::new([lease("address/www", 7), lease("address/other", 9)]);
        assert_eq!(held.missing(Time(6), bound), None);
        assert_eq!(held.deadline(), Some(Time(7)));
        assert!(!held.handle_time(Time(6)));
        assert!(held.handle_time(Time(7)));
        let told = held.missing(Time(7), bound);
        assert_eq!(told.as_deref(), Some("the lease address/www has expired"));
        assert_eq!(held.deadline(), Some(Time(9)));
        assert!(held.handle_time(Time(20)) && !held.handle_time(Time(21)));
        held.hand_over(Time(30), bound.to_owned());
        let told = held.missing(Time(30), bound);
        assert_eq!(
            told.as_deref(),
            Some("the lease address/www moves to a healthier node")
        );
        let again = held.kept().into_iter();
        let again = Leases::new(again.map(|(name, until_ns)| lease(&name, until_ns)));
        assert_eq!(again.missing(Time(6), bound), None);
    }

    #[test]
    fn outdated_report_does_not_restore_a_released_lease() {
        let held = |until_ns| Lease {
            name: "address/www".to_owned(),
            until_ns,
            is_inherited: false,
        };
        let mut leases = Leases::new([held(9)]);
        leases.hold([]);
        for outdated in [8, 9] {
            leases.hold([held(outdated)]);
            assert!(leases.missing(Time(5), "address/www").is_some());
        }
        leases.hold([held(10)]);
        assert_eq!(leases.missing(Time(5), "address/www"), None);
        // A released lease is forgotten when it has ended.
        leases.hold([]);
        leases.handle_time(Time(10));
        assert!(leases.released.is_empty());
    }

    #[test]
    fn new_control_role_neither_ends_nor_extends_a_lease() {
        let www = "address/www";
        let report = |until_ns, is_inherited| Lease {
            name: www.to_owned(),
            until_ns,
            is_inherited,
        };
        let mut leases = Leases::new([report(9, false)]);
        leases.hold([report(0, true)]);
        assert_eq!(leases.missing(Time(8), www), None);
        assert!(leases.missing(Time(9), www).is_some());
        // After the next grant, only the reported end counts.
        leases.hold([report(12, false)]);
        assert_eq!(leases.missing(Time(11), www), None);
        // A released lease is not restored.
        leases.hold([report(0, false)]);
        leases.hold([report(0, true)]);
        assert!(leases.missing(Time(5), www).is_some());
    }

    #[test]
    fn address_is_gone_from_the_kernel_before_its_lease_ends() {
        let end = Time(100_000_000_000);
        for left_ms in 0..8_000_u64 {
            let now = Time(end.0 - left_ms * 1_000_000);
            let Some((lifetime, again_at)) = lifetime_within(now, end) else {
                assert!(left_ms < 3_250, "{left_ms}");
                continue;
            };
            assert!(now.after(lifetime + KERNEL_LATE) <= end, "{left_ms}");
            assert!(again_at > now && again_at <= now.after(Duration::from_secs(1)));
            // The address stays for as long as the lease allows.
            let least = Duration::from_secs(2) + KERNEL_LATE;
            assert!(now.after(lifetime + least) > end || lifetime.as_secs() >= 2);
        }
    }

    #[test]
    fn heartbeats_repeat_while_a_lease_is_requested() {
        let mut leases = Leases::default();
        assert!(!leases.takes_heartbeat(Time(1)));
        leases.told = Some(vec![WantedLease {
            name: "address/www".to_owned(),
            rank: 1,
        }]);
        assert!(leases.takes_heartbeat(Time(1)));
        let next = Time(1).after(HEARTBEAT);
        assert_eq!(leases.next_turn(), Some(next));
        assert!(!leases.takes_heartbeat(Time(next.0 - 1)) && leases.takes_heartbeat(next));
        leases.told = Some(Vec::new());
        assert!(!leases.takes_heartbeat(next.after(HEARTBEAT)));
        assert_eq!(leases.next_turn(), None);
    }

    #[test]
    fn what_is_wanted_says_how_well_it_could_be_used() {
        let www = || "address/www".to_owned();
        let until = |until_ns| Lease {
            name: www(),
            until_ns,
            is_inherited: false,
        };
        let now = Time(1_000);
        let rank = |leases: &Leases, now: Time, is_last: bool| {
            let able = Candidate {
                name: www(),
                rank: 220,
                is_last,
            };
            let wanted = leases.wishes(now, [able].into_iter());
            wanted.first().map(|lease| lease.rank)
        };
        let mut leases = Leases::default();
        assert_eq!(rank(&leases, now, false), Some(220));
        assert_eq!(rank(&leases, now, true), Some(0), "behind every other node");
        leases.hold([until(9_000_000_000)]);
        assert_eq!(rank(&leases, now, true), Some(0));
        assert_eq!(rank(&leases, now, false), Some(220));
        // An operator handed the lease over, and no node took it at first.
        leases.put_last(www());
        leases.hold([until(9_000_000_001)]);
        assert_eq!(rank(&leases, now, false), Some(0));
        // Then another node took it.
        leases.hand_over(now, www());
        assert_eq!(rank(&leases, now, false), None);
        assert_eq!(leases.deadline(), Some(now.after(REST)));
        leases.hold([]);
        assert_eq!(rank(&leases, now, false), None);
        let rested = now.after(REST);
        assert!(leases.handle_time(rested));
        // The node that has the lease by then may give it back.
        assert_eq!(rank(&leases, rested, false), Some(1));
        // Once the node holds the lease again, its rank is normal.
        leases.hold([until(9_000_000_002)]);
        assert_eq!(rank(&leases, rested, false), Some(220));
    }
}
