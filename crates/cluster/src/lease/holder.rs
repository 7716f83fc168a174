//! Decides for one lease on one member when to request, renew and release it, and whether it is
//! held now.

use super::defect::{InjectedLeaseDefect, LeaseDefect};
use super::{Boottime, Lease, LeaseRequest, Renewal, usable_ns};
use crate::command::{Epoch, LeaseCommand};
use crate::member::MemberId;
use std::collections::VecDeque;

/// Largest number of unanswered renewals that are remembered; responses to older ones
/// are ignored.
const OPEN_MAX: usize = 8;
/// A renewal is due after the usable validity divided by this.
const RENEW_AT: u64 = 3;
/// A request without a response is repeated after the usable validity divided by this.
const AGAIN_AT: u64 = 12;

/// A request of a holder to the leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HolderRequest {
    Want(LeaseRequest),
    /// Send this renewal. Pass the response to [`Holder::renewed`] or
    /// [`Holder::refused`].
    Renew(Renewal),
    /// Propose this release after all processes of this machine were notified that the lease ended,
    /// including those that a previous process of this role had notified of the lease.
    Release(LeaseCommand),
}

#[derive(Clone, Copy, Debug)]
struct SentRenewal {
    sequence: u64,
    at: Boottime,
}

/// Messages that this process sent last.
#[derive(Clone, Debug, Default)]
struct Unanswered {
    renewals: VecDeque<SentRenewal>,
    sequence: u64,
    requests: VecDeque<Boottime>,
}

/// The holder's side of one lease: requested, held until a time, or released.
///
/// The caller checks [`Holder::held`] at each use, sends what [`Holder::due`] returns, and passes
/// in responses and changes of the log. While [`Holder::held`] returns an epoch, no other member
/// holds the lease. No I/O and no clock.
#[derive(Clone, Debug, Default)]
pub struct Holder {
    me: MemberId,
    name: String,
    valid_ms: u64,
    rank: u32,
    wanted: bool,
    /// Epoch after which the lease was seen to be free.
    free_after: Option<Epoch>,
    /// Highest epoch that this process never uses.
    seen: Epoch,
    /// Epoch that the log granted to this process, and its validity.
    granted: Option<(Epoch, u64)>,
    /// Epoch that the log still assigns to this member, but that this process does not hold: it
    /// was released, or granted to a predecessor. Its release is repeated until the log contains it.
    leftover: Option<Epoch>,
    /// Expiry of the last acknowledged renewal, or of the grant that responded to a request of this
    /// process.
    until: Option<Boottime>,
    /// Send time of the last acknowledged renewal, or of the request to which the grant responded.
    renewed_at: Option<Boottime>,
    asked_at: Option<Boottime>,
    /// True while the end of the lease that a previous process of this member reported still
    /// counts: this process has had no end of its own and has not released the lease, and no other
    /// member has held it since.
    inherits: bool,
    sent: Unanswered,
    broken: InjectedLeaseDefect,
}

impl Holder {
    /// Creates a holder that holds nothing. `seen` is the epoch of the lease in a state
    /// that was read after the leader confirmed itself to this process: an epoch of a
    /// previous process of this member is never used again.
    pub fn new(me: MemberId, name: String, valid_ms: u64, seen: Epoch) -> Holder {
        Holder {
            me,
            name,
            valid_ms: valid_ms.clamp(super::VALID_MS_MIN, super::VALID_MS_MAX),
            wanted: true,
            seen,
            inherits: true,
            ..Holder::default()
        }
    }

    /// Returns the epoch under which the lease is held now. Must be called at each use,
    /// with the time of the use.
    pub fn held(&self, now: Boottime) -> Option<Epoch> {
        let (epoch, _) = self.granted?;
        (now < self.until?).then_some(epoch)
    }

    /// Returns whether processes of this machine may use the lease until the end that a previous
    /// process of this member reported. The leader waits for that end before it grants the lease to
    /// another member, unless this process releases the lease.
    pub fn inherits(&self) -> bool {
        self.inherits
    }

    /// Returns when the lease expires unless it is renewed. Other roles receive this
    /// time.
    pub fn until(&self) -> Option<Boottime> {
        self.until
    }

    pub fn set_rank(&mut self, rank: u32) {
        self.rank = rank;
    }

    /// Sets the requested validity of renewals, milliseconds. A lease that was granted
    /// with another validity is no longer held, and is requested again.
    pub fn set_valid_ms(&mut self, valid_ms: u64) {
        self.valid_ms = valid_ms.clamp(super::VALID_MS_MIN, super::VALID_MS_MAX);
        if self
            .granted
            .is_some_and(|(_, granted)| granted != self.valid_ms)
        {
            // The log grants the next epoch to this member, so no release must be sent.
            let _ = self.release();
            self.want();
        }
    }

    /// Updates the lease from the log; to be called after each change.
    pub fn observe(&mut self, lease: Option<&Lease>) {
        let Some(lease) = lease else {
            return;
        };
        // A waiting holder requests a free lease at once.
        if lease.holder.is_none() && self.free_after != Some(lease.epoch) {
            self.free_after = Some(lease.epoch);
            self.asked_at = self.asked_at.filter(|_| self.granted.is_some());
        }
        let had = self.granted.map(|(epoch, _)| epoch);
        if lease.holder != Some(self.me) {
            self.leftover = None;
            self.inherits = false;
            // A state from before the grant does not end it.
            if had.is_some_and(|had| lease.epoch >= had) {
                self.seen = self.seen.max(lease.epoch);
                self.stop();
            }
        } else if self.wanted && lease.epoch > self.seen {
            if had.is_none_or(|had| lease.epoch > had) {
                self.stop();
                self.granted = Some((lease.epoch, lease.valid_ms));
                self.take_answer(lease);
                // Keeps the end that a previous process reported if this grant has none: the lease
                // is then held only after the first renewal.
                self.inherits &= self.until.is_none();
            }
            self.leftover = None;
        } else if had.is_none() {
            self.seen = self.seen.max(lease.epoch);
            self.leftover = Some(lease.epoch);
        }
    }

    /// Treats a grant that responds to a request of this process like a renewal that was
    /// sent with the request.
    fn take_answer(&mut self, lease: &Lease) {
        let mut sent = self.sent.requests.iter().copied();
        let answered = if lease.asked_ns == 0 {
            None
        } else if self.broken.is(LeaseDefect::CountsFromLastRequest) {
            sent.next_back()
        } else {
            sent.find(|sent| sent.0 == lease.asked_ns)
        };
        self.renewed_at = answered;
        self.until = answered.map(|sent| sent.after_ns(usable_ns(lease.valid_ms)));
        self.sent.requests.clear();
    }

    fn request(&mut self, now: Boottime) -> LeaseRequest {
        if self.sent.requests.len() == OPEN_MAX {
            self.sent.requests.pop_front();
        }
        self.sent.requests.push_back(now);
        LeaseRequest {
            name: self.name.clone(),
            valid_ms: self.valid_ms,
            seen: self.seen,
            rank: self.rank,
            sent_ns: now.0,
        }
    }

    /// Returns the request that is due; it counts as sent now.
    pub fn due(&mut self, now: Boottime) -> Option<HolderRequest> {
        if self.due_at()? > now {
            return None;
        }
        self.asked_at = Some(now);
        match (self.wanted, self.granted) {
            (true, Some((epoch, _))) => Some(HolderRequest::Renew(self.renew(epoch, now))),
            (true, None) => Some(HolderRequest::Want(self.request(now))),
            (false, _) => Some(HolderRequest::Release(self.command(self.leftover?))),
        }
    }

    /// Returns the time at which [`Holder::due`] next has something to send; None: only
    /// after another event.
    pub fn due_at(&self) -> Option<Boottime> {
        if !self.wanted && self.leftover.is_none() {
            return None;
        }
        let valid_ns = usable_ns(self.granted.map_or(self.valid_ms, |(_, valid_ms)| valid_ms));
        let again = self.asked_at.map(|at| at.after_ns(valid_ns / AGAIN_AT));
        let renew = self.renewed_at.map(|at| at.after_ns(valid_ns / RENEW_AT));
        Some(again.max(renew).unwrap_or_default())
    }

    pub fn renewed(&mut self, renewal: &Renewal, now: Boottime) {
        let Some((epoch, valid_ms)) = self.granted else {
            return;
        };
        if renewal.epoch != epoch {
            return;
        }
        let same = |sent: &SentRenewal| sent.sequence == renewal.sequence;
        let Some(place) = self.sent.renewals.iter().position(same) else {
            return;
        };
        // Older renewals are dropped: their acknowledgements would only shorten the lease.
        let Some(sent) = self.sent.renewals.drain(..=place).next_back() else {
            return;
        };
        let counted = if self.broken.is(LeaseDefect::CountsFromAnswer) {
            now
        } else {
            sent.at
        };
        let good_for = if self.broken.is(LeaseDefect::NoDriftOfHolder) {
            valid_ms * 1_000_000
        } else {
            usable_ns(valid_ms)
        };
        self.renewed_at = Some(sent.at);
        self.until = Some(counted.after_ns(good_for));
        self.inherits = false;
    }

    /// Handles the leader's response that this epoch is outdated.
    pub fn refused(&mut self, renewal: &Renewal) {
        if self
            .granted
            .is_some_and(|(epoch, _)| epoch == renewal.epoch)
        {
            self.stop();
            self.seen = self.seen.max(renewal.epoch);
        }
    }

    /// Releases the lease: from now on it is not held. Propose the returned command only after
    /// everything on this machine that uses the lease was notified of its end, because another
    /// member may hold it then. [`Holder::due`] repeats the command until the log contains it.
    pub fn release(&mut self) -> Option<LeaseCommand> {
        self.wanted = false;
        self.inherits = false;
        let (epoch, _) = self.granted?;
        self.seen = self.seen.max(epoch);
        self.leftover = Some(epoch);
        if !self.broken.is(LeaseDefect::UsesAfterRelease) {
            self.stop();
        }
        Some(self.command(epoch))
    }

    /// Requests the lease again. A released lease is not resumed: the release may still
    /// be in progress.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    #[cfg(test)]
    pub(super) fn break_it(&mut self, broken: InjectedLeaseDefect) {
        self.broken = broken;
    }

    fn stop(&mut self) {
        self.granted = None;
        self.until = None;
        self.renewed_at = None;
        self.asked_at = None;
        self.sent.renewals.clear();
    }

    fn renew(&mut self, epoch: Epoch, now: Boottime) -> Renewal {
        self.sent.sequence += 1;
        if self.sent.renewals.len() == OPEN_MAX {
            self.sent.renewals.pop_front();
        }
        self.sent.renewals.push_back(SentRenewal {
            sequence: self.sent.sequence,
            at: now,
        });
        Renewal {
            name: self.name.clone(),
            epoch,
            sequence: self.sent.sequence,
            rank: self.rank,
        }
    }

    fn command(&self, epoch: Epoch) -> LeaseCommand {
        LeaseCommand::Release {
            name: self.name.clone(),
            epoch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::quarantine_ns;

    const ME: MemberId = MemberId(1);
    const VALID_MS: u64 = 1_000;

    fn lease(epoch: u64) -> Lease {
        Lease {
            epoch: Epoch(epoch),
            holder: Some(ME),
            valid_ms: VALID_MS,
            asked_ns: 0,
        }
    }

    fn holder() -> Holder {
        Holder::new(ME, "volume/a".to_owned(), VALID_MS, Epoch(0))
    }

    fn renewal(holder: &mut Holder, now: Boottime) -> Renewal {
        match holder.due(now) {
            Some(HolderRequest::Renew(renewal)) => renewal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn transferred_lease_is_held_from_its_request() {
        let mut holder = holder();
        let other = Lease {
            holder: Some(MemberId(2)),
            ..lease(1)
        };
        holder.observe(Some(&other));
        let sent = [2_000_000_000, 2_500_000_000, 3_000_000_000].map(Boottime);
        for now in sent {
            assert!(
                matches!(holder.due(now), Some(HolderRequest::Want(want)) if want.sent_ns == now.0)
            );
        }
        let passed = |epoch: u64, asked_ns: u64| Lease {
            asked_ns,
            ..lease(epoch)
        };
        let end = sent[1].after_ns(usable_ns(VALID_MS));
        // A request of a previous process does not count for this one.
        let mut anew = holder.clone();
        anew.observe(Some(&passed(2, 77)));
        assert_eq!(anew.held(sent[2]), None);
        assert!(matches!(anew.due(sent[2]), Some(HolderRequest::Renew(_))));
        holder.observe(Some(&passed(2, sent[1].0)));
        assert_eq!(holder.held(Boottime(end.0 - 1)), Some(Epoch(2)));
        assert_eq!(holder.held(end), None);
        // The renewal is due before the lease expires.
        assert!(holder.due_at().is_some_and(|due| due < end));
        assert!(matches!(holder.due(end), Some(HolderRequest::Renew(_))));
        // The first grant cleared the remembered requests, so a later grant for one of them has no
        // end.
        holder.observe(Some(&passed(4, sent[2].0)));
        assert_eq!(holder.held(sent[2]), None);
    }

    #[test]
    fn previous_report_is_valid_until_the_first_renewal_release_or_other_holder() {
        let other = Lease {
            holder: Some(MemberId(2)),
            ..lease(2)
        };
        let mut granted = holder();
        assert!(granted.inherits());
        granted.observe(Some(&lease(1)));
        let now = Boottime(1_000);
        assert_eq!(granted.held(now), None);
        assert!(granted.inherits(), "granted without an end");
        let sent = renewal(&mut granted, now);

        let mut renewed = granted.clone();
        renewed.renewed(&sent, now);
        assert_eq!(renewed.held(now), Some(Epoch(1)));
        assert!(!renewed.inherits());
        let mut released = granted.clone();
        assert!(released.release().is_some());
        assert!(!released.inherits());
        let mut lost = granted.clone();
        lost.observe(Some(&other));
        assert!(!lost.inherits());
        // A grant that answers a request of this process has an end.
        let mut answered = holder();
        let Some(HolderRequest::Want(want)) = answered.due(now) else {
            panic!("it is requested at once");
        };
        answered.observe(Some(&Lease {
            asked_ns: want.sent_ns,
            ..lease(1)
        }));
        assert_eq!(answered.held(now), Some(Epoch(1)));
        assert!(!answered.inherits());
    }

    #[test]
    fn validity_counts_from_the_sending_and_ends_before_others_may_begin() {
        let mut holder = holder();
        holder.observe(Some(&lease(1)));
        let sent = Boottime(5_000_000_000);
        assert_eq!(holder.held(sent), None, "a grant alone is nothing");
        let first = renewal(&mut holder, sent);
        holder.renewed(&first, sent.after_ns(400_000_000));
        let end = sent.after_ns(usable_ns(VALID_MS));
        assert_eq!(holder.held(Boottime(end.0 - 1)), Some(Epoch(1)));
        assert_eq!(holder.held(end), None);
        assert!(usable_ns(VALID_MS) < quarantine_ns(VALID_MS));
    }

    #[test]
    fn changed_validity_needs_a_new_epoch() {
        let mut holder = holder();
        holder.observe(Some(&lease(1)));
        let now = Boottime(1_000);
        let first = renewal(&mut holder, now);
        holder.renewed(&first, now);
        holder.set_valid_ms(VALID_MS);
        assert_eq!(holder.held(now), Some(Epoch(1)));
        holder.set_valid_ms(2 * VALID_MS);
        assert_eq!(holder.held(now), None);
        holder.observe(Some(&lease(1)));
        let Some(HolderRequest::Want(want)) = holder.due(now) else {
            panic!("it is wanted anew");
        };
        assert_eq!((want.valid_ms, want.seen), (2 * VALID_MS, Epoch(1)));
        let next = Lease {
            valid_ms: 2 * VALID_MS,
            ..lease(2)
        };
        holder.observe(Some(&next));
        holder.set_valid_ms(2 * VALID_MS);
        let again = renewal(&mut holder, now);
        holder.renewed(&again, now);
        assert_eq!(holder.held(now), Some(Epoch(2)));
        assert_eq!(holder.until(), Some(now.after_ns(usable_ns(2 * VALID_MS))));
    }

    #[test]
    fn lease_is_renewed_after_a_third_until_confirmed() {
        let mut holder = holder();
        holder.observe(Some(&lease(1)));
        let now = Boottime(1_000);
        let first = renewal(&mut holder, now);
        holder.renewed(&first, now);
        let third = now.after_ns(usable_ns(VALID_MS) / RENEW_AT);
        assert_eq!(holder.due_at(), Some(third));
        let second = renewal(&mut holder, third);
        let again = third.after_ns(usable_ns(VALID_MS) / AGAIN_AT);
        assert_eq!(holder.due_at(), Some(again));
        renewal(&mut holder, again);
        holder.renewed(&second, again);
        assert_eq!(holder.until(), Some(third.after_ns(usable_ns(VALID_MS))));
    }

    #[test]
    fn response_of_an_earlier_epoch_is_ignored() {
        let mut holder = holder();
        holder.observe(Some(&lease(1)));
        let former = renewal(&mut holder, Boottime(1_000));
        holder.observe(Some(&lease(2)));
        let now = Boottime(2_000);
        let of_now = renewal(&mut holder, now);
        let mixed = Renewal {
            sequence: of_now.sequence,
            ..former.clone()
        };
        holder.renewed(&former, now);
        holder.renewed(&mixed, now);
        assert_eq!(holder.held(now), None);
        holder.renewed(&of_now, now);
        assert_eq!(holder.held(now), Some(Epoch(2)));
    }

    #[test]
    fn waiting_node_requests_a_free_lease_at_once_and_again() {
        let mut holder = holder();
        let others = Lease {
            holder: Some(MemberId(2)),
            ..lease(1)
        };
        holder.observe(Some(&others));
        let now = Boottime(1_000);
        assert!(matches!(holder.due(now), Some(HolderRequest::Want(_))));
        assert_eq!(holder.due(now), None);
        let free = Lease {
            holder: None,
            ..others
        };
        holder.observe(Some(&free));
        assert!(matches!(holder.due(now), Some(HolderRequest::Want(_))));
        holder.observe(Some(&free));
        assert_eq!(holder.due(now), None);
    }

    #[test]
    fn release_is_repeated_until_committed() {
        let mut holder = holder();
        holder.observe(Some(&lease(1)));
        let now = Boottime(1_000);
        let first = renewal(&mut holder, now);
        holder.renewed(&first, now);
        assert!(holder.release().is_some());
        assert_eq!(holder.held(now), None);
        holder.observe(Some(&lease(1)));
        assert!(matches!(holder.due(now), Some(HolderRequest::Release(_))));
        holder.want();
        holder.observe(Some(&lease(1)));
        let later = now.after_ns(usable_ns(VALID_MS));
        let Some(HolderRequest::Want(want)) = holder.due(later) else {
            panic!("it is wanted anew");
        };
        assert_eq!(want.seen, Epoch(1));
        assert_eq!(holder.held(later), None);
    }
}
