//! Addresses bound to a lease of the cluster: the node owns them only while it holds the
//! lease. A granted lease holds until its end and no longer, by the clock of this loop
//! alone, because its sender may hang or be gone.
//!
//! The holder of the lease owns the addresses: the lease replaces the election by
//! adverts. So the node reports its rank for each lease, from the same values as its
//! adverts, and releases a lease to a healthier node.

use super::Notification;
use super::event_loop::Role;
use super::health::WORST;
use super::member::Member;
use crate::config::Instance as Configured;
use crate::kernel::LIFETIME_LEAST;
use protocol::vrrp::{Instance, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Leases that are kept.
const LEASES_MAX: usize = 512;

/// After a hand-over the node does not request the lease for this long. By then a
/// healthier node has it, or there is none.
const REST: Duration = Duration::from_secs(2);

/// The rank of a node that takes a lease only if no better one requests it.
const LAST_RANK: u32 = 0;

/// A lease that this node could use.
struct Candidate {
    name: String,
    /// The rank of its adverts.
    rank: u32,
    /// Any other node is better, see [`crate::standing::Standing::is_last_for_lease`].
    is_last: bool,
}

/// A lease that this machine wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedLease {
    /// Its name.
    pub name: String,
    /// How well it could use it, or does; the highest is to have it.
    pub rank: u32,
}

/// A lease that this machine holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Its name.
    pub name: String,
    /// Until when, nanoseconds of CLOCK_BOOTTIME; zero: it is not held.
    pub until_ns: u64,
}

/// The name of the lease that an instance is bound to.
pub fn name_of(instance: &Configured) -> String {
    format!("address/{}", instance.name)
}

/// Held leases.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    until: BTreeMap<String, Time>,
    /// Handed-over leases, and when this node may request each again.
    resting: BTreeMap<String, Time>,
    /// Leases that an operator handed over: requested only if no other node wants them.
    last: BTreeSet<String>,
    /// The last reported requests.
    told: Option<Vec<WantedLease>>,
    /// Ends up to here were seen.
    seen: Time,
}

impl Leases {
    /// Creates the set from the last report, or from that of the previous role.
    pub fn new(held: impl IntoIterator<Item = Lease>) -> Leases {
        let mut leases = Leases::default();
        leases.hold(held);
        leases
    }

    /// Sets the held leases; all others are released.
    fn hold(&mut self, held: impl IntoIterator<Item = Lease>) {
        let held = held.into_iter().filter(|lease| lease.until_ns > 0);
        let until = held.map(|lease| (lease.name, Time(lease.until_ns)));
        let before = std::mem::replace(&mut self.until, until.take(LEASES_MAX).collect());
        // Who gets it again after others had it, or nobody wanted it, has it like anybody.
        let until = &self.until;
        self.last
            .retain(|name| before.contains_key(name) || !until.contains_key(name));
    }

    /// An operator gave it away.
    pub fn put_last(&mut self, name: String) {
        self.last.insert(name);
    }

    /// Another one could use it better: it is not used from here on.
    fn hand_over(&mut self, now: Time, name: String) {
        if self.until.contains_key(&name) {
            self.resting.insert(name, now.after(REST));
        }
    }

    /// Returns the requests for leases that this node could use, each with the rank of its
    /// adverts, or [`LAST_RANK`].
    fn wishes(&self, now: Time, able: impl Iterator<Item = Candidate>) -> Vec<WantedLease> {
        able.filter(|one| !self.resting.contains_key(&one.name))
            .map(|one| {
                let held = self.missing(now, &one.name).is_none();
                let rank = match self.last.contains(&one.name) {
                    _ if one.is_last => LAST_RANK,
                    // Who has it and gives it away comes behind who gave it away before.
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

    /// Returns the form in which it is stored.
    pub fn kept(&self) -> Vec<(String, u64)> {
        let until = self.until.iter();
        until.map(|(name, until)| (name.clone(), until.0)).collect()
    }

    /// Why an instance cannot have its addresses now.
    pub fn fault(&self, now: Time, instance: &Configured) -> Option<String> {
        let bound = instance.options.lease.then(|| name_of(instance))?;
        self.missing(now, &bound)
    }

    /// Returns the end of the lease that an instance is bound to; none without one.
    pub fn end(&self, instance: &Configured) -> Option<Time> {
        let bound = instance.options.lease.then(|| name_of(instance))?;
        Some(self.until.get(&bound).copied().unwrap_or_default())
    }

    /// Whether the lease of an instance ends too soon to set its addresses again: the kernel
    /// has removed them then, or will by itself.
    pub fn ends_soon(&self, now: Time, instance: &Configured) -> bool {
        self.end(instance)
            .is_some_and(|end| lifetime_within(now, end).is_none())
    }

    /// Whether the lease of an instance was given up for another machine.
    pub fn moves(&self, instance: &Configured) -> bool {
        instance.options.lease && self.resting.contains_key(&name_of(instance))
    }

    /// Why a lease is not held.
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

    /// When the next one ends.
    pub fn deadline(&self) -> Option<Time> {
        let ends = self.until.values().filter(|until| **until > self.seen);
        ends.chain(self.resting.values()).min().copied()
    }

    /// Whether one has ended since it was asked last, or may be wanted again.
    pub fn handle_time(&mut self, now: Time) -> bool {
        let due = self.deadline().is_some_and(|until| until <= now);
        self.seen = self.seen.max(now);
        self.resting.retain(|_, until| *until > now);
        due
    }
}

/// The kernel removes an expired address as late as this after its lifetime.
const KERNEL_LATE: Duration = Duration::from_millis(1_250);

/// Returns for how many seconds the kernel may keep an address that is bound to a lease with
/// this end, and when the role sets that again: it is a second less then, if the lease was not
/// renewed. So the address is gone when the lease can be granted to another node, also where
/// this process is frozen or killed. None: the lease ends too soon to set the address.
pub(super) fn lifetime_within(now: Time, end: Time) -> Option<(Duration, Time)> {
    let left = end.since(now).checked_sub(KERNEL_LATE)?;
    let seconds = left.as_secs();
    let rest = Duration::from_nanos(u64::from(left.subsec_nanos()));
    let again_at = now.after(rest.max(Duration::from_millis(1)));
    (seconds >= u64::from(LIFETIME_LEAST)).then(|| (Duration::from_secs(seconds), again_at))
}

impl Role {
    /// Gives addresses that are bound to a lease the lifetime that its new end allows.
    fn renew_leased(&mut self, now: Time) {
        for member in &mut self.members {
            if member.config.options.lease && member.holds {
                member.renew_at = Some(now);
            }
        }
        self.renew(now);
    }

    /// Other leases are held from now on.
    pub(super) fn hold(&mut self, held: Vec<Lease>) {
        let now = super::clock::now();
        self.leases.hold(held);
        self.judge_all(now);
        self.renew_leased(now);
        // A role that follows at once goes on with them.
        if self.config.instances.iter().any(|one| one.options.lease) {
            self.keeper.keep_now();
        }
    }

    /// Another machine could use this one better: its addresses go.
    pub(super) fn hand_over_lease(&mut self, name: String) {
        let now = super::clock::now();
        self.leases.hand_over(now, name);
        self.judge_all(now);
    }

    /// Releases expired leases, and reports changed requests.
    pub(super) fn look_at_leases(&mut self, now: Time) {
        if self.leases.handle_time(now) {
            self.judge_all(now);
        }
        let wanted = self.leases.told.iter().any(|told| !told.is_empty());
        if wanted || self.config.instances.iter().any(|one| one.options.lease) {
            // The addresses go first: what is wanted no more may be another's at once.
            self.act();
            self.tell_wanted_leases(now);
        }
    }

    /// Returns whether only the lease keeps the instance from its addresses. An instance
    /// with addresses whose state is not known yet, as after a restart, loses nothing.
    fn could_have(&self, now: Time, member: &Member) -> bool {
        let held = || self.leases.missing(now, &name_of(&member.config)).is_none();
        member.is_without_fault() && (!member.judgement.unknown || held())
    }

    /// Reports the leases that this node could use, if they changed.
    pub(super) fn tell_wanted_leases(&mut self, now: Time) {
        let members = self.members.iter().enumerate();
        let stops = self.hand_overs.is_stopping();
        let able = members
            .filter(|_| !stops)
            .filter(|(_, member)| member.config.options.lease && self.could_have(now, member))
            .filter_map(|(at, member)| {
                let priority = self.router.status(Instance(at))?.priority;
                let rank = match member.config.options.preempt {
                    true => u32::from(priority),
                    // Of machines that are as healthy none is better.
                    false => {
                        let better = WORST.saturating_sub(self.health.band(at).unwrap_or(0));
                        u32::try_from(better).unwrap_or(0)
                    }
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
            self.given.orders.tell(Notification::WantsLeases(wanted));
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
        let again = Leases::new(again.map(|(name, until_ns)| Lease { name, until_ns }));
        assert_eq!(again.missing(Time(6), bound), None);
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
            // It stays for as long as that allows.
            let least = Duration::from_secs(2) + KERNEL_LATE;
            assert!(now.after(lifetime + least) > end || lifetime.as_secs() >= 2);
        }
    }

    #[test]
    fn what_is_wanted_says_how_well_it_could_be_used() {
        let www = || "address/www".to_owned();
        let until = |until_ns| Lease {
            name: www(),
            until_ns,
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
        // An operator gave it away, and nobody took it at first.
        leases.put_last(www());
        leases.hold([until(9_000_000_001)]);
        assert_eq!(rank(&leases, now, false), Some(0));
        // Then somebody did.
        leases.hand_over(now, www());
        assert_eq!(rank(&leases, now, false), None);
        assert_eq!(leases.deadline(), Some(now.after(REST)));
        leases.hold([]);
        assert_eq!(rank(&leases, now, false), None);
        let rested = now.after(REST);
        assert!(leases.handle_time(rested));
        // Whoever has it by then may give it back.
        assert_eq!(rank(&leases, rested, false), Some(1));
        // It has it again.
        leases.hold([until(9_000_000_000)]);
        assert_eq!(rank(&leases, rested, false), Some(220));
    }
}
