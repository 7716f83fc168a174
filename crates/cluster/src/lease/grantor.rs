//! Decides for the leader which renewals of leases it may acknowledge and which grants it may
//! propose: one [`Grantor`] for each term in which a member leads.

use super::defect::{InjectedLeaseDefect, LeaseDefect};
use super::{Boottime, Lease, LeaseRequest, Renewal, VALID_MS_MAX, VALID_MS_MIN, quarantine_ns};
use crate::command::{Epoch, LeaseCommand, NextHolder};
use crate::member::MemberId;
use crate::state::LEASE_NAME_BYTES_MAX;
use std::collections::BTreeMap;

/// Largest number of grants that are proposed and not settled.
pub const GRANTING_MAX: usize = 256;

/// Time for which a refused request is remembered, in nanoseconds: a waiting holder
/// repeats its request more often.
const WISH_NS: u64 = 2_000_000_000;

/// A renewal that arrived. The leader acknowledges it after its leadership was
/// confirmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    pub from: MemberId,
    pub renewal: Renewal,
    pub at: Boottime,
}

/// Leadership that a majority has confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Confirmed {
    pub term: u64,
    /// Time at which the leader asked the majority to confirm it, by the leader's clock.
    pub asked_at: Boottime,
}

/// Reason why a renewal is not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotRenewed {
    /// Leadership of this term was not confirmed after the renewal arrived: no response.
    Unconfirmed,
    /// The lease is being granted to another member: no response.
    Granting,
    /// The sender does not hold the lease, according to a state that was read after the
    /// confirmation. This must be sent as a response.
    OldEpoch,
}

/// Reason why a lease is not granted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotGranted {
    /// The sender already holds the lease, and will see that in the log.
    Granted(Epoch),
    NotBefore(Boottime),
    /// The lease is being granted by this command, with an unknown result. To be proposed
    /// again; then [`Grantor::settled`].
    Granting(LeaseCommand),
    BetterWaits,
    Busy,
    Unfit,
}

#[derive(Clone, Copy, Debug)]
struct RefusedLeaseRequest {
    rank: u32,
    valid_ms: u64,
    sent_ns: u64,
    at: Boottime,
}

impl RefusedLeaseRequest {
    fn is_fresh(&self, now: Boottime) -> bool {
        now < self.at.after_ns(WISH_NS)
    }
}

/// The leader's decisions about leases in one term: which renewals it may acknowledge, and which
/// grants it may propose. Nothing of it is stored, and a new leader starts with a new value. No I/O
/// and no clock.
#[derive(Clone, Debug)]
pub struct Grantor {
    term: u64,
    took_office: Boottime,
    /// Time until which the renewals that this leader acknowledged keep each lease from
    /// other members.
    promises: BTreeMap<String, Boottime>,
    /// Grants that were proposed, each with the epoch that it must follow.
    granting: BTreeMap<String, (Epoch, LeaseCommand)>,
    /// The candidates for each lease that the log knows, with their last requests.
    wishes: BTreeMap<String, BTreeMap<MemberId, RefusedLeaseRequest>>,
    broken: InjectedLeaseDefect,
}

impl Grantor {
    /// Creates the grantor of a term. `took_office` must be read after the member learned
    /// of its election.
    pub fn new(term: u64, took_office: Boottime) -> Grantor {
        Grantor {
            term,
            took_office,
            promises: BTreeMap::new(),
            granting: BTreeMap::new(),
            wishes: BTreeMap::new(),
            broken: InjectedLeaseDefect::default(),
        }
    }

    pub fn term(&self) -> u64 {
        self.term
    }

    /// Checks whether a renewal may be acknowledged. `lease` comes from the state after
    /// all entries committed when leadership was confirmed. After Ok the acknowledgement
    /// may be sent right away or never.
    ///
    /// # Errors
    /// - [`NotRenewed::Unconfirmed`]: leadership of this term was not confirmed after the renewal
    ///   arrived.
    /// - [`NotRenewed::OldEpoch`]: the sender does not hold the lease in this epoch.
    /// - [`NotRenewed::Granting`]: a grant of the lease is in progress.
    pub fn answer(
        &mut self,
        lease: Option<&Lease>,
        received: &Received,
        confirmed: Confirmed,
        now: Boottime,
    ) -> Result<(), NotRenewed> {
        let late = confirmed.asked_at < received.at;
        let old = late && !self.broken.is(LeaseDefect::BelievesOldConfirmation);
        if (confirmed.term != self.term || old) && !self.broken.is(LeaseDefect::AnswersUnconfirmed)
        {
            return Err(NotRenewed::Unconfirmed);
        }
        let name = &received.renewal.name;
        let holds = |lease: &&Lease| {
            lease.holder == Some(received.from) && lease.epoch == received.renewal.epoch
        };
        let lease = lease.filter(holds).ok_or(NotRenewed::OldEpoch)?;
        // Refuses while a grant to another epoch is proposed: the log may still grant the lease to
        // another member.
        let open = |(after, _): &(Epoch, _)| *after >= lease.epoch;
        if self.granting.get(name).is_some_and(open)
            && !self.broken.is(LeaseDefect::AnswersWhileGranting)
        {
            return Err(NotRenewed::Granting);
        }
        let until = now.after_ns(self.wait_ns(lease));
        let promise = self.promises.entry(name.clone()).or_default();
        *promise = until.max(*promise);
        Ok(())
    }

    /// Returns a grant to propose in [`Grantor::term`] or not at all. No renewal of this
    /// lease is acknowledged until [`Grantor::settled`] is called. `lease` must come from
    /// a state that was read after a confirmation in this term.
    ///
    /// # Errors
    /// Returns the reason why the lease is not granted now. Every variant of [`NotGranted`] can
    /// occur.
    pub fn grant(
        &mut self,
        lease: Option<&Lease>,
        from: MemberId,
        want: &LeaseRequest,
        now: Boottime,
    ) -> Result<LeaseCommand, NotGranted> {
        let valid = VALID_MS_MIN..=VALID_MS_MAX;
        if !valid.contains(&want.valid_ms)
            || want.name.is_empty()
            || want.name.len() > LEASE_NAME_BYTES_MAX
        {
            return Err(NotGranted::Unfit);
        }
        if lease.is_some() {
            self.remember(from, want, now);
        }
        let epoch = lease.map(|lease| lease.epoch).unwrap_or_default();
        let open = self.granting.get(&want.name);
        if let Some((_, command)) = open.filter(|(after, _)| *after >= epoch) {
            return Err(NotGranted::Granting(command.clone()));
        }
        if self.granting.len() >= GRANTING_MAX {
            return Err(NotGranted::Busy);
        }
        if let Some(lease) = lease.filter(|lease| lease.holder == Some(from)) {
            if lease.epoch > want.seen {
                return Err(NotGranted::Granted(lease.epoch));
            }
            // Makes a holder that requests a shorter validity wait until its previous, longer one
            // has passed: processes of its machine may use the lease for that long.
            if want.valid_ms < lease.valid_ms && !self.broken.is(LeaseDefect::ShortensAtOnce) {
                self.has_passed(lease, &want.name, now)?;
            }
        } else if let Some(lease) = lease.filter(|lease| lease.holder.is_some()) {
            self.has_passed(lease, &want.name, now)?;
        }
        if self.better_waits(&want.name, from, want.rank, now) {
            return Err(NotGranted::BetterWaits);
        }
        // Keeps the lease from other members for one quarantine, so that the new holder has time
        // for its first renewal.
        let promise = self.promises.entry(want.name.clone()).or_default();
        *promise = now.after_ns(quarantine_ns(want.valid_ms)).max(*promise);
        let command = LeaseCommand::Grant {
            name: want.name.clone(),
            holder: from,
            valid_ms: want.valid_ms,
            after: epoch,
        };
        self.granting
            .insert(want.name.clone(), (epoch, command.clone()));
        if let Some(wishes) = self.wishes.get_mut(&want.name) {
            wishes.remove(&from);
        }
        Ok(command)
    }

    /// Returns whether another member with a higher rank requested the lease recently.
    pub fn better_waits(&self, name: &str, than: MemberId, rank: u32, now: Boottime) -> bool {
        let wishes = self.wishes.get(name).into_iter().flatten();
        wishes
            .filter(|(from, wish)| **from != than && wish.is_fresh(now))
            .any(|(_, wish)| wish.rank > rank)
    }

    fn remember(&mut self, from: MemberId, want: &LeaseRequest, now: Boottime) {
        let wishes = self.wishes.entry(want.name.clone()).or_default();
        wishes.retain(|_, wish| wish.is_fresh(now));
        let wish = RefusedLeaseRequest {
            rank: want.rank,
            valid_ms: want.valid_ms,
            sent_ns: want.sent_ns,
            at: now,
        };
        wishes.insert(from, wish);
    }

    /// Returns the command to propose when the holder of this epoch releases a lease. Of the
    /// members whose recent requests were refused, the one with the highest rank gets the lease
    /// next.
    pub fn pass(
        &mut self,
        name: &str,
        epoch: Epoch,
        holder: MemberId,
        now: Boottime,
    ) -> LeaseCommand {
        let is_granted = self
            .granting
            .get(name)
            .is_some_and(|(after, _)| *after >= epoch);
        let wishes = self.wishes.get_mut(name).filter(|_| !is_granted);
        let next = wishes.and_then(|wishes| {
            let others = wishes.iter().filter(|(from, _)| **from != holder);
            let fresh = others.filter(|(_, wish)| wish.is_fresh(now));
            let (member, _) = fresh.max_by_key(|(_, wish)| wish.rank)?;
            wishes.remove_entry(&{ *member })
        });
        if let Some((_, wish)) = next.filter(|_| !self.broken.is(LeaseDefect::PassesWithoutPromise))
        {
            // Keeps the lease from other members for one quarantine, as after each grant, so that
            // the next holder has time for its first renewal.
            let promise = self.promises.entry(name.to_owned()).or_default();
            *promise = now.after_ns(quarantine_ns(wish.valid_ms)).max(*promise);
        }
        LeaseCommand::Pass {
            name: name.to_owned(),
            epoch,
            holder,
            next: next.map(|(member, wish)| NextHolder {
                member,
                valid_ms: wish.valid_ms,
                asked_ns: wish.sent_ns,
            }),
        }
    }

    /// Ends a proposed grant, whatever its result. While the result is unknown, the same
    /// command may be proposed again: it takes effect once.
    pub fn settled(&mut self, command: &LeaseCommand) {
        if let LeaseCommand::Grant { name, .. } = command
            // The result of a command that was proposed twice does not settle a later one.
            && self.granting.get(name).is_some_and(|(_, open)| open == command)
        {
            self.granting.remove(name);
        }
    }

    fn has_passed(&self, lease: &Lease, name: &str, now: Boottime) -> Result<(), NotGranted> {
        let earlier_leaders = if self.broken.is(LeaseDefect::NewLeaderDoesNotWait) {
            Boottime::default()
        } else {
            self.took_office.after_ns(self.wait_ns(lease))
        };
        let promised = self.promises.get(name).copied();
        let free_at = promised.unwrap_or_default().max(earlier_leaders);
        if now < free_at {
            return Err(NotGranted::NotBefore(free_at));
        }
        Ok(())
    }

    fn wait_ns(&self, lease: &Lease) -> u64 {
        if self.broken.is(LeaseDefect::NoDriftOfGrantor) {
            return lease.valid_ms * 1_000_000;
        }
        quarantine_ns(lease.valid_ms)
    }

    pub(crate) fn break_it(&mut self, broken: InjectedLeaseDefect) {
        self.broken = broken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID_MS: u64 = 1_000;

    fn want(name: &str, seen: u64) -> LeaseRequest {
        LeaseRequest {
            name: name.to_owned(),
            valid_ms: VALID_MS,
            seen: Epoch(seen),
            rank: 0,
            sent_ns: 0,
        }
    }

    fn held(epoch: u64, holder: u64) -> Lease {
        Lease {
            epoch: Epoch(epoch),
            holder: Some(MemberId(holder)),
            valid_ms: VALID_MS,
            asked_ns: 0,
        }
    }

    #[test]
    fn new_leader_waits_for_leases_of_earlier_ones() {
        let office = Boottime(7_000_000_000);
        let mut grantor = Grantor::new(3, office);
        let lease = held(1, 1);
        let end = office.after_ns(quarantine_ns(VALID_MS));
        let too_early = Boottime(end.0 - 1);
        let asked = grantor.grant(Some(&lease), MemberId(2), &want("a", 0), too_early);
        assert_eq!(asked, Err(NotGranted::NotBefore(end)));
        let asked = grantor.grant(Some(&lease), MemberId(2), &want("a", 0), end);
        assert!(matches!(asked, Ok(LeaseCommand::Grant { after, .. }) if after == Epoch(1)));
    }

    #[test]
    fn free_or_released_lease_is_granted_at_once() {
        let office = Boottime(7_000_000_000);
        let mut grantor = Grantor::new(3, office);
        assert!(
            grantor
                .grant(None, MemberId(2), &want("a", 0), office)
                .is_ok()
        );
        let released = Lease {
            holder: None,
            ..held(4, 1)
        };
        let asked = grantor.grant(Some(&released), MemberId(2), &want("b", 0), office);
        assert!(asked.is_ok());
    }

    #[test]
    fn best_waiting_node_is_preferred_while_it_requests() {
        let office = Boottime(0);
        let mut grantor = Grantor::new(3, office);
        let now = Boottime(60_000_000_000);
        let lease = held(1, 1);
        let ranked = |rank: u32| LeaseRequest {
            rank,
            ..want("a", 0)
        };
        let (holder, better) = (MemberId(1), MemberId(2));
        grantor.promises.insert("a".to_owned(), now.after_ns(1));
        let asked = grantor.grant(Some(&lease), better, &ranked(7), now);
        assert!(matches!(asked, Err(NotGranted::NotBefore(_))));
        assert!(grantor.better_waits("a", holder, 6, now));
        assert!(!grantor.better_waits("a", holder, 7, now));
        assert!(!grantor.better_waits("b", holder, 0, now));
        let free = Lease {
            holder: None,
            ..lease
        };
        let third = MemberId(3);
        let asked = grantor.grant(Some(&free), third, &ranked(6), now);
        assert_eq!(asked, Err(NotGranted::BetterWaits));
        let gone = now.after_ns(WISH_NS);
        assert!(!grantor.better_waits("a", holder, 6, gone));
        assert!(grantor.grant(Some(&free), third, &ranked(6), gone).is_ok());
    }

    #[test]
    fn renewals_resume_only_after_the_open_grant() {
        let office = Boottime(0);
        let mut grantor = Grantor::new(3, office);
        let now = Boottime(60_000_000_000);
        let lease = held(1, 1);
        let open = grantor.grant(Some(&lease), MemberId(2), &want("a", 0), now);
        let Ok(open) = open else {
            panic!("{open:?}");
        };
        let received = Received {
            from: MemberId(1),
            renewal: Renewal {
                name: "a".to_owned(),
                epoch: Epoch(1),
                sequence: 1,
                rank: 0,
            },
            at: now,
        };
        let confirmed = Confirmed {
            term: 3,
            asked_at: now,
        };
        let mut earlier = open.clone();
        if let LeaseCommand::Grant { after, .. } = &mut earlier {
            *after = Epoch(0);
        }
        grantor.settled(&earlier);
        let answer = grantor.answer(Some(&lease), &received, confirmed, now);
        assert_eq!(answer, Err(NotRenewed::Granting));
        let again = grantor.grant(Some(&lease), MemberId(2), &want("a", 0), now);
        assert_eq!(again, Err(NotGranted::Granting(open.clone())));
        grantor.settled(&open);
        let answer = grantor.answer(Some(&lease), &received, confirmed, now);
        assert_eq!(answer, Ok(()));
    }

    #[test]
    fn released_lease_goes_to_the_best_recent_requester() {
        let office = Boottime(7_000_000_000);
        let mut grantor = Grantor::new(3, office);
        let lease = Lease {
            valid_ms: 5 * VALID_MS,
            ..held(4, 1)
        };
        let mut asks = |from: u64, rank: u32, sent_ns: u64, now: Boottime| {
            let want = LeaseRequest {
                rank,
                sent_ns,
                ..want("a", 0)
            };
            let asked = grantor.grant(Some(&lease), MemberId(from), &want, now);
            assert!(matches!(asked, Err(NotGranted::NotBefore(_))), "{asked:?}");
        };
        asks(3, 9, 30, office);
        let now = office.after_ns(WISH_NS - 1);
        asks(2, 5, 20, now);
        asks(4, 4, 40, now);
        let mut pass = |at: Boottime| match grantor.pass("a", Epoch(4), MemberId(1), at) {
            LeaseCommand::Pass { next, .. } => next.map(|next| (next.member.0, next.asked_ns)),
            other => panic!("{other:?}"),
        };
        // The best requester asked too long ago, and each request is granted once.
        let then = office.after_ns(WISH_NS);
        assert_eq!(pass(then), Some((2, 20)));
        assert_eq!(pass(then), Some((4, 40)));
        assert_eq!(pass(then), None);
        // The next holder has the time of one renewal, whatever was promised before.
        let lease = held(5, 2);
        let asked = grantor.grant(Some(&lease), MemberId(4), &want("a", 0), then);
        let end = then.after_ns(quarantine_ns(VALID_MS));
        assert_eq!(asked, Err(NotGranted::NotBefore(end)));
    }

    #[test]
    fn grants_that_are_open_and_names_have_a_bound() {
        let now = Boottime(0);
        let mut grantor = Grantor::new(1, now);
        for number in 0..GRANTING_MAX {
            let want = want(&format!("volume/{number}"), 0);
            assert!(grantor.grant(None, MemberId(1), &want, now).is_ok());
        }
        let one_more = grantor.grant(None, MemberId(1), &want("more", 0), now);
        assert_eq!(one_more, Err(NotGranted::Busy));
        let long = "x".repeat(LEASE_NAME_BYTES_MAX + 1);
        let long = grantor.grant(None, MemberId(1), &want(&long, 0), now);
        assert_eq!(long, Err(NotGranted::Unfit));
    }
}
