//! Keeps a [`Holder`] for each lease that this machine wants, and sends its requests to the leader.
//! The caller supplies the network and the users of the leases.

use super::{LeaderLeaseRequest, RenewalReply};
use crate::command::{CommandBody, LeaseCommand, PASSES_FORMAT};
use crate::lease::{Boottime, Holder, HolderRequest, Renewal};
use crate::member::MemberId;
use crate::raft::Engine;
use crate::state::{ClusterState, LEASES_MAX};
use openraft::AsyncRuntime;
use part::codec;
use part::role::{KnownLease, WantedLease};
use std::collections::{BTreeMap, BTreeSet};

const WANTED_MAX: usize = LEASES_MAX;

/// Largest number of names in `Holders::settled`. Once it is reached, no lease counts as inherited.
const SETTLED_MAX: usize = 4 * LEASES_MAX;

/// Keeps a [`Holder`] for each lease that is wanted or not released yet.
#[derive(Debug)]
pub(crate) struct Holders {
    me: MemberId,
    valid_ms: u64,
    wanted: Vec<WantedLease>,
    /// Names of the leases whose holder is only reported; the machine requests none of them.
    watched: BTreeSet<String>,
    by_name: BTreeMap<String, Holder>,
    /// Names of the leases that this process has held or released, or that others have held since
    /// it started. The reports of a previous process about these leases are no longer valid.
    settled: BTreeSet<String>,
}

impl Holders {
    pub(crate) fn new(me: MemberId, valid_ms: u64) -> Holders {
        Holders {
            me,
            valid_ms,
            wanted: Vec::new(),
            watched: BTreeSet::new(),
            by_name: BTreeMap::new(),
            settled: BTreeSet::new(),
        }
    }

    /// Sets the wanted leases and those that are watched. [`Holders::release_unwanted`] releases
    /// the others.
    pub(crate) fn want(&mut self, wishes: impl IntoIterator<Item = WantedLease>) {
        let wishes = wishes.into_iter().take(WANTED_MAX);
        let (watched, wanted): (Vec<_>, _) = wishes.partition(|wish| wish.watch);
        self.watched = watched.into_iter().map(|wish| wish.name).collect();
        self.wanted = wanted;
    }

    /// Releases leases that are no longer wanted; returns whether there were some.
    pub(crate) fn release_unwanted(&mut self) -> bool {
        let wanted = &self.wanted;
        let given_up = self.by_name.iter_mut();
        let mut some = false;
        for (_, holder) in given_up.filter(|(name, _)| !is_wanted(wanted, name)) {
            holder.release();
            some = true;
        }
        some
    }

    pub(crate) fn releases(&self) -> bool {
        let mut all = self.by_name.iter();
        all.any(|(name, holder)| !is_wanted(&self.wanted, name) && holder.due_at().is_some())
    }

    /// Returns whether a new lease is wanted: it waits for [`Holders::begin`].
    pub(crate) fn has_new(&self) -> bool {
        let mut wanted = self.wanted.iter();
        wanted.any(|wish| !self.by_name.contains_key(&wish.name))
    }

    /// Starts to request the newly wanted leases, from a state that was read after the
    /// leader was confirmed in this run. Before that, an epoch of an earlier run may be
    /// unknown, and its release may be in progress.
    pub(crate) fn begin(&mut self, state: &ClusterState) {
        for WantedLease { name, valid_ms, .. } in &self.wanted {
            self.by_name.entry(name.clone()).or_insert_with(|| {
                let seen = state.lease(name).map(|lease| lease.epoch);
                let valid_ms = valid_or(*valid_ms, self.valid_ms);
                Holder::new(self.me, name.clone(), valid_ms, seen.unwrap_or_default())
            });
        }
    }

    pub(crate) fn update_holders(&mut self, state: &ClusterState) {
        for wish in &self.wanted {
            if let Some(holder) = self.by_name.get_mut(&wish.name) {
                holder.set_rank(wish.rank);
                holder.set_valid_ms(valid_or(wish.valid_ms, self.valid_ms));
                holder.want();
            }
        }
        for (name, holder) in &mut self.by_name {
            holder.observe(state.lease(name));
            if !holder.inherits() && self.settled.len() < SETTLED_MAX {
                self.settled.insert(name.clone());
            }
        }
    }

    /// Returns whether the report of a previous process about this lease is still valid: the lease
    /// is wanted, and this process has not settled it yet.
    fn is_inherited(&self, name: &str) -> bool {
        let is_open = |holder: &Holder| holder.inherits();
        is_wanted(&self.wanted, name)
            && !self.settled.contains(name)
            && self.settled.len() < SETTLED_MAX
            && self.by_name.get(name).is_none_or(is_open)
    }

    /// Returns the leases that are held now, and the other wanted, watched or unreleased leases
    /// that exist in `state`, also if they are not requested yet. `state` is the one last passed to
    /// [`Holders::update_holders`].
    pub(crate) fn known(&self, now: Boottime, state: &ClusterState) -> Vec<KnownLease> {
        let wanted = self.wanted.iter().map(|wish| &wish.name);
        let named = self.by_name.keys().chain(&self.watched);
        let named: BTreeSet<&String> = named.chain(wanted).collect();
        let known = named.into_iter().filter_map(|name| {
            let holder = self.by_name.get(name);
            let held = holder.and_then(|holder| Some((holder.held(now)?, holder.until()?.0)));
            let lease = state.lease(name);
            let (epoch, until_ns) = held.or_else(|| Some((lease?.epoch, 0)))?;
            let of = lease.and_then(|lease| lease.holder);
            let record = state.lease_record(name).cloned().unwrap_or_default();
            Some(KnownLease {
                name: name.clone(),
                epoch: epoch.0,
                until_ns,
                holder: of.map(|of| state.name_of(of)).unwrap_or_default(),
                number: record.number,
                record: record.value,
                is_inherited: held.is_none() && self.is_inherited(name),
            })
        });
        known.collect()
    }

    /// Returns the due requests. Report the held leases to the machine first, because
    /// another node may get a released lease at once.
    pub(crate) fn due(&mut self, now: Boottime) -> Vec<HolderRequest> {
        let due = self
            .by_name
            .values_mut()
            .filter_map(|holder| holder.due(now));
        let due = due.collect();
        let wanted = &self.wanted;
        self.by_name
            .retain(|name, holder| is_wanted(wanted, name) || holder.due_at().is_some());
        due
    }

    /// Applies the leader's reply to a renewal; returns whether a node that could use the
    /// lease better waits for it.
    #[must_use]
    pub(crate) fn answered(
        &mut self,
        renewal: &Renewal,
        told: RenewalReply,
        now: Boottime,
    ) -> bool {
        let Some(holder) = self.by_name.get_mut(&renewal.name) else {
            return false;
        };
        match told {
            RenewalReply::Renewed | RenewalReply::BetterWaits => holder.renewed(renewal, now),
            RenewalReply::OldEpoch => holder.refused(renewal),
            RenewalReply::Later => {}
        }
        told == RenewalReply::BetterWaits
    }
}

/// Returns the requested validity; zero selects the usual one.
fn valid_or(wished_ms: u64, usual_ms: u64) -> u64 {
    match wished_ms {
        0 => usual_ms,
        wished => wished,
    }
}

fn is_wanted(wishes: &[WantedLease], name: &str) -> bool {
    wishes.iter().any(|wish| wish.name == name)
}

/// Sends a request to the leader, which may be this member. Returns the reply to a renewal, for
/// [`Holders::answered`]; None for another request, or without a reply.
pub(crate) async fn ask<R: AsyncRuntime, F: Future<Output = Option<Vec<u8>>>>(
    engine: &Engine<R>,
    ask: HolderRequest,
    call: impl FnOnce(MemberId, Vec<u8>) -> F,
) -> Option<(Renewal, RenewalReply)> {
    let question = match ask {
        HolderRequest::Release(LeaseCommand::Release { name, epoch })
            if engine.state().format() >= PASSES_FORMAT =>
        {
            LeaderLeaseRequest::Release { name, epoch }
        }
        HolderRequest::Release(command) => {
            // Ignores the result: the release is repeated until the log contains it.
            let _ = engine.propose(CommandBody::Lease(command)).await;
            return None;
        }
        HolderRequest::Want(want) => LeaderLeaseRequest::Want(want),
        HolderRequest::Renew(renewal) => LeaderLeaseRequest::Renew(renewal),
    };
    let leader = engine.leader()?;
    let told = call(leader, codec::encode(&question)).await?;
    match (question, codec::decode(&told)) {
        (LeaderLeaseRequest::Renew(renewal), Ok(told)) => Some((renewal, told)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::sample::{A, B};

    #[test]
    fn watched_lease_stays_known_when_requested() {
        let mut state = ClusterState::pair();
        let name = "v".to_owned();
        state.must(
            A,
            CommandBody::Lease(LeaseCommand::Grant {
                name: name.clone(),
                after: crate::command::Epoch(0),
                holder: A,
                valid_ms: 5_000,
            }),
        );
        let mut holders = Holders::new(B, 5_000);
        for watch in [true, false] {
            holders.want([WantedLease {
                name: name.clone(),
                rank: u32::from(!watch),
                watch,
                valid_ms: 0,
            }]);
            holders.release_unwanted();
            holders.update_holders(&state);
            let known = holders.known(Boottime::default(), &state);
            assert_eq!(known.len(), 1, "watched: {watch}");
        }
    }
}
