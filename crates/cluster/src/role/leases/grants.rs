//! Handles the requests of lease holders while this member leads: renews, grants and passes leases.
//! Proposes through the engine; the caller delivers the requests.

use super::{LeaderLeaseRequest, RenewalReply};
use crate::command::{CommandBody, CommandResult, Epoch, LeaseCommand};
use crate::lease::defect::InjectedLeaseDefect;
use crate::lease::{
    Boottime, Confirmed, Grantor, Lease, LeaseRequest, NotGranted, NotRenewed, Received, Renewal,
};
use crate::member::MemberId;
use crate::raft::{Engine, ProposeError};
use openraft::AsyncRuntime;
use part::codec;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const CONFIRM_LIMIT: Duration = Duration::from_secs(2);

/// The grantor of all leases while this member leads.
pub(crate) struct Grants<R: AsyncRuntime> {
    engine: Engine<R>,
    clock: Box<dyn Fn() -> Boottime + Send + Sync>,
    grantor: Mutex<Option<Grantor>>,
    broken: InjectedLeaseDefect,
}

impl<R: AsyncRuntime> fmt::Debug for Grants<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants")
            .field("grantor", &self.grantor)
            .finish_non_exhaustive()
    }
}

impl<R: AsyncRuntime> Grants<R> {
    pub(crate) fn new(
        engine: Engine<R>,
        clock: impl Fn() -> Boottime + Send + Sync + 'static,
    ) -> Grants<R> {
        Grants {
            engine,
            clock: Box::new(clock),
            grantor: Mutex::default(),
            broken: InjectedLeaseDefect::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn break_it(&mut self, broken: InjectedLeaseDefect) {
        self.broken = broken;
    }

    fn now(&self) -> Boottime {
        (self.clock)()
    }

    pub(crate) async fn answer(&self, from: MemberId, bytes: &[u8]) -> Vec<u8> {
        let at = self.now();
        let told = match codec::decode(bytes) {
            Ok(LeaderLeaseRequest::Renew(renewal)) => {
                self.renew(Received { from, renewal, at }).await
            }
            Ok(LeaderLeaseRequest::Want(want)) => {
                self.grant(from, &want).await;
                None
            }
            Ok(LeaderLeaseRequest::Release { name, epoch }) => {
                self.release(from, &name, epoch).await;
                None
            }
            Err(_) => None,
        };
        codec::encode(&told.unwrap_or(RenewalReply::Later))
    }

    /// Confirms leadership with a majority. Returns its term, and when the confirmation was
    /// requested; None if this member does not lead or got no confirmation.
    async fn confirmed(&self) -> Option<Confirmed> {
        let standing = self.engine.raft_status();
        let asked_at = self.now();
        let term = standing.leading.then_some(standing.term)?;
        self.with_grantor(term, |_| ());
        let confirmed = R::timeout(CONFIRM_LIMIT, self.engine.confirm()).await;
        confirmed.ok()?.ok()?;
        // Checks the term again, because another leader may have been confirmed meanwhile.
        let standing = self.engine.raft_status();
        let same = standing.leading && standing.term == term;
        same.then_some(Confirmed { term, asked_at })
    }

    /// Runs `with` on the grantor of this term, and creates it in a new term. None if the grantor
    /// is of a later term.
    fn with_grantor<T>(&self, term: u64, with: impl FnOnce(&mut Grantor) -> T) -> Option<T> {
        let mut grantor = self.grantor.lock().unwrap_or_else(PoisonError::into_inner);
        if grantor.as_ref().is_none_or(|had| had.term() < term) {
            let new = grantor.insert(Grantor::new(term, self.now()));
            new.break_it(self.broken);
        }
        grantor.as_mut().filter(|had| had.term() == term).map(with)
    }

    async fn renew(&self, received: Received) -> Option<RenewalReply> {
        let confirmed = self.confirmed().await?;
        let state = self.engine.state();
        let lease = state.lease(&received.renewal.name);
        let now = self.now();
        let answer = self.with_grantor(confirmed.term, |grantor| {
            let answer = grantor.answer(lease, &received, confirmed, now);
            let Renewal { name, rank, .. } = &received.renewal;
            let better = grantor.better_waits(name, received.from, *rank, now);
            answer.map(|()| better)
        })?;
        match answer {
            Ok(false) => Some(RenewalReply::Renewed),
            Ok(true) => Some(RenewalReply::BetterWaits),
            Err(NotRenewed::OldEpoch) => Some(RenewalReply::OldEpoch),
            Err(_) => None,
        }
    }

    async fn grant(&self, from: MemberId, want: &LeaseRequest) -> Option<()> {
        let confirmed = self.confirmed().await?;
        let state = self.engine.state();
        let lease = state.lease(&want.name);
        let now = self.now();
        let granted = self.with_grantor(confirmed.term, |grantor| {
            grantor.grant(lease, from, want, now)
        })?;
        let command = match granted {
            Ok(command) | Err(NotGranted::Granting(command)) => command,
            Err(_) => return None,
        };
        self.propose(confirmed.term, command).await;
        Some(())
    }

    /// Proposes that a lease passes from its holder to the waiting member. The holder repeats its
    /// release until the log contains it.
    async fn release(&self, from: MemberId, name: &str, epoch: Epoch) -> Option<()> {
        let standing = self.engine.raft_status();
        let term = standing.leading.then_some(standing.term)?;
        // Ignores a release that the log already has: a holder with an old state repeats it.
        let state = self.engine.state();
        let is_over = |lease: &Lease| lease.epoch > epoch || lease.holder != Some(from);
        if standing.is_settled && state.lease(name).is_some_and(is_over) {
            return None;
        }
        let now = self.now();
        let command = self.with_grantor(term, |grantor| grantor.pass(name, epoch, from, now))?;
        let _ = self
            .engine
            .propose_in(term, CommandBody::Lease(command))
            .await;
        Some(())
    }

    async fn propose(&self, term: u64, command: LeaseCommand) {
        let body = CommandBody::Lease(command.clone());
        let known = match self.engine.propose_in(term, body).await {
            Ok(
                CommandResult::Refused(_)
                | CommandResult::Lease(_)
                | CommandResult::Done
                | CommandResult::Version(_),
            ) => true,
            Err(ProposeError::NoLeader | ProposeError::Busy) => true,
            Err(ProposeError::Unknown | ProposeError::Stopped(_)) => false,
        };
        if known {
            self.with_grantor(term, |grantor| grantor.settled(&command));
        }
    }
}
