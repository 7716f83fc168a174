//! Sends proposals and linearizable reads of any member to the leader, and retries them until there
//! is a reply or the timeout expires.

use crate::authority::key_digest;
use crate::command::{ClusterCommand, CommandBody, CommandRefusal, CommandResult, SIGNED_FORMAT};
use crate::log::{Proposed, Ticket, WAITING_MAX};
use crate::member::{MemberId, MemberKind};
use crate::raft::engine::Engine;
use crate::raft::error::{EngineError, ProposeError};
use crate::raft::message::{Failure, RaftReply, Request};
use crate::raft::network::call;
use crate::raft::transport::CallError;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use openraft::impls::ProgressResponder;
use openraft::{AsyncRuntime, Instant, ReadPolicy};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(20);
const TRY_LIMIT: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Tickets(Mutex<OpenTickets>);

#[derive(Default)]
struct OpenTickets {
    next: u64,
    open: BTreeSet<u64>,
}

impl Tickets {
    fn lock(&self) -> MutexGuard<'_, OpenTickets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn are_new(&self) -> bool {
        self.lock().next == 0
    }

    fn draw(&self, member: MemberId, start: u64) -> Option<Drawn<'_>> {
        let mut open = self.lock();
        if open.open.len() >= WAITING_MAX {
            return None;
        }
        let number = open.next;
        open.next += 1;
        open.open.insert(number);
        let settled = open.open.first().copied().unwrap_or(number);
        Some(Drawn {
            tickets: self,
            ticket: Ticket {
                member,
                start,
                number,
                settled,
            },
        })
    }
}

/// A ticket in use. Dropping it abandons the proposal.
struct Drawn<'a> {
    tickets: &'a Tickets,
    ticket: Ticket,
}

impl Drop for Drawn<'_> {
    fn drop(&mut self) {
        self.tickets.lock().open.remove(&self.ticket.number);
    }
}

enum Try {
    Answer(CommandResult),
    /// The change was not made by this attempt, and will not be.
    Not,
    /// The change may have been made.
    Perhaps,
    Stopped(EngineError),
}

impl<R: AsyncRuntime> Engine<R> {
    /// Proposes a command to the leader. The returned result was committed and is applied
    /// to the leader's state; the command is applied once, however often it was retried.
    ///
    /// # Errors
    /// Every variant of [`ProposeError`] can occur. [`ProposeError::Stopped`] also reports that the
    /// member's key cannot sign the command. A command that the state refuses is a result, not an
    /// error.
    pub async fn propose(&self, body: CommandBody) -> Result<CommandResult, ProposeError> {
        let time_s = (self.inner.settings.clock)();
        let deadline = R::Instant::now() + self.inner.settings.propose_limit;
        let mut pause = PAUSE_MIN;
        let drawn = loop {
            // Refuses during the probation: the numbers of this member's starts are certain only
            // afterwards.
            if self.inner.probation.is_on() {
                return Err(ProposeError::NoLeader);
            }
            let start = self.inner.start.load(Ordering::Relaxed);
            match self.inner.tickets.draw(self.inner.me, start) {
                Some(drawn) => break drawn,
                None if R::Instant::now() >= deadline => return Err(ProposeError::Busy),
                None => R::sleep(PAUSE_MIN).await,
            }
        };
        tracing::debug!(command = body.name(), "command proposed");
        let command = ClusterCommand::new(self.inner.me, time_s, body);
        let mut perhaps = false;
        let mut required = false;
        loop {
            let left = deadline.saturating_duration_since(R::Instant::now());
            if left.is_zero() {
                return Err(if perhaps {
                    ProposeError::Unknown
                } else {
                    ProposeError::NoLeader
                });
            }
            let proposed = self
                .signed(drawn.ticket, command.clone(), required)
                .map_err(ProposeError::Stopped)?;
            match self.try_once(&proposed, left.min(TRY_LIMIT)).await {
                // Signs from now on: the local state, which requires no signature yet, is behind
                // and may stay so while its disk is full.
                Try::Answer(CommandResult::Refused(CommandRefusal::Unsigned)) if !required => {
                    required = true
                }
                Try::Answer(answer) => return Ok(answer),
                Try::Stopped(why) => return Err(ProposeError::Stopped(why)),
                Try::Perhaps => perhaps = true,
                Try::Not => {}
            }
            R::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Proposes a command as the leader of this term, or not at all: it enters the log in
    /// no other term, and is not retried.
    ///
    /// # Errors
    /// - [`ProposeError::NoLeader`]: this member does not lead in this term, or may not.
    /// - [`ProposeError::Busy`]: too many proposals are outstanding.
    /// - [`ProposeError::Unknown`]: the command may have been committed.
    /// - [`ProposeError::Stopped`]: consensus has stopped, or the member's key cannot sign.
    pub async fn propose_in(
        &self,
        term: u64,
        body: CommandBody,
    ) -> Result<CommandResult, ProposeError> {
        if self.inner.kind == MemberKind::Arbiter || self.inner.probation.is_on() {
            return Err(ProposeError::NoLeader);
        }
        if let Some(why) = self.inner.shared.halted() {
            return Err(ProposeError::Stopped(why));
        }
        let drawn = self
            .inner
            .tickets
            .draw(self.inner.me, self.inner.start.load(Ordering::Relaxed))
            .ok_or(ProposeError::Busy)?;
        let command = ClusterCommand::new(self.inner.me, (self.inner.settings.clock)(), body);
        let proposed = self
            .signed(drawn.ticket, command, false)
            .map_err(ProposeError::Stopped)?;
        let (responder, answer) = ProgressResponder::complete_only();
        let write = self.inner.raft.write(proposed).with_leader(term);
        let stopped = || ProposeError::Stopped(EngineError::Stopped);
        write.responder(responder).await.map_err(|_| stopped())?;
        match R::timeout(TRY_LIMIT, answer).await {
            Ok(Ok(Ok(written))) => Ok(written.data),
            Ok(Ok(Err(ClientWriteError::ForwardToLeader(_)))) => Err(ProposeError::NoLeader),
            Ok(Ok(Err(_))) | Err(_) => Err(ProposeError::Unknown),
            Ok(Err(_)) => Err(stopped()),
        }
    }

    /// Signs a command of this member, where the cluster requires that.
    fn signed(
        &self,
        ticket: Ticket,
        command: ClusterCommand,
        required: bool,
    ) -> Result<Proposed, EngineError> {
        let state = self.state();
        let begins = matches!(command.body, CommandBody::RequireSignatures);
        if !required && !begins && !state.requires_signatures() {
            return Ok(Proposed::unsigned(ticket, command));
        }
        let known = state.member(self.inner.me).map(|member| member.certificate);
        let proposed = Proposed::signed(&state.cluster, ticket, command, |message| {
            let mut signature = self.inner.signer.sign(message)?;
            if known == Some(key_digest(&signature.public_key)) {
                signature.certificate.clear();
            }
            Ok(signature)
        })?;
        Ok(proposed)
    }

    /// Requires signatures from now on, once all members support them. This is
    /// irreversible.
    pub(super) async fn require_signatures(&self) {
        let state = self.state();
        let supported = state.founded() && state.format() >= SIGNED_FORMAT;
        if supported && !state.requires_signatures() {
            let _ = self.propose(CommandBody::RequireSignatures).await;
        }
    }

    async fn try_once(&self, proposed: &Proposed, limit: Duration) -> Try {
        if let Some(why) = self.inner.shared.halted() {
            return Try::Stopped(why);
        }
        let Some(leader) = self.leader() else {
            return Try::Not;
        };
        let reply = if leader == self.inner.me {
            self.propose_here(proposed.clone(), limit).await
        } else {
            let request = Request::<R>::Propose(Box::new(proposed.clone()));
            match call(&self.inner.calls, leader, &request, limit).await {
                Ok(reply) => reply,
                Err(error) if error.may_have_arrived() => return Try::Perhaps,
                Err(_) => return Try::Not,
            }
        };
        match reply {
            RaftReply::Answer(answer) => Try::Answer(answer),
            RaftReply::NotLeader(_) => Try::Not,
            RaftReply::Failed(Failure::Malformed) => Try::Not,
            RaftReply::Failed(Failure::Stopped) if leader == self.inner.me => {
                Try::Stopped(self.inner.shared.halted().unwrap_or(EngineError::Stopped))
            }
            _ => Try::Perhaps,
        }
    }

    pub(super) async fn propose_here(&self, proposed: Proposed, limit: Duration) -> RaftReply<R> {
        // Refuses on an arbiter, which leads only until a node can.
        if self.inner.kind == MemberKind::Arbiter {
            return RaftReply::NotLeader(None);
        }
        match R::timeout(limit, self.inner.raft.client_write(proposed)).await {
            Ok(Ok(written)) => RaftReply::Answer(written.data),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to)))) => {
                RaftReply::NotLeader(to.leader_id)
            }
            // Reports an unknown result: the entry left the leader's log, and another member that
            // still has it may become the leader.
            Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)))) => {
                RaftReply::Failed(Failure::NoMajority)
            }
            Ok(Err(RaftError::APIError(_))) => RaftReply::Failed(Failure::Malformed),
            Ok(Err(RaftError::Fatal(_))) => RaftReply::Failed(Failure::Stopped),
            Err(_) => RaftReply::Failed(Failure::NoMajority),
        }
    }

    /// Confirms that this member's state is current: on return, the state has all entries
    /// committed before the call. Returns the index up to which it has them.
    ///
    /// # Errors
    /// - [`EngineError::NoLeader`]: no leader was reached in time.
    /// - [`EngineError::NoMajority`]: no majority confirmed the leader, or the entries did not
    ///   arrive in time.
    /// - [`EngineError::Unanswered`]: the leader did not respond.
    /// - The reason why consensus has stopped.
    pub async fn confirm(&self) -> Result<u64, EngineError> {
        let deadline = R::Instant::now() + self.inner.settings.propose_limit;
        let mut pause = PAUSE_MIN;
        let mut why = EngineError::NoLeader;
        loop {
            if let Some(why) = self.inner.shared.halted() {
                return Err(why);
            }
            let left = deadline.saturating_duration_since(R::Instant::now());
            if left.is_zero() {
                return Err(why);
            }
            match self.confirm_once(left.min(TRY_LIMIT)).await {
                Ok(index) => {
                    let mut applied = self.inner.shared.changes();
                    let left = deadline.saturating_duration_since(R::Instant::now());
                    return match R::timeout(left, applied.wait_until_ge(&index)).await {
                        Ok(Ok(index)) => Ok(index),
                        Ok(Err(_)) => Err(EngineError::Stopped),
                        Err(_) => Err(EngineError::NoMajority),
                    };
                }
                Err(error) => why = error,
            }
            R::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn confirm_once(&self, limit: Duration) -> Result<u64, EngineError> {
        let leader = self.leader().ok_or(EngineError::NoLeader)?;
        let reply = if leader == self.inner.me {
            self.confirm_here(limit).await
        } else {
            match call(&self.inner.calls, leader, &Request::<R>::Confirm, limit).await {
                Ok(reply) => reply,
                Err(CallError::Unreachable | CallError::Refused) => {
                    return Err(EngineError::NoLeader);
                }
                Err(_) => return Err(EngineError::Unanswered(leader)),
            }
        };
        match reply {
            RaftReply::Confirmed(index) => Ok(index),
            RaftReply::Failed(Failure::NoMajority) => Err(EngineError::NoMajority),
            _ => Err(EngineError::NoLeader),
        }
    }

    /// Asks a majority whether this member still leads.
    pub(super) async fn confirm_here(&self, limit: Duration) -> RaftReply<R> {
        let asked = self.inner.raft.get_read_log_id(ReadPolicy::ReadIndex);
        match R::timeout(limit, asked).await {
            Ok(Ok((id, _))) => RaftReply::Confirmed(id.log_id().index),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to)))) => {
                RaftReply::NotLeader(to.leader_id)
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) | Err(_) => {
                RaftReply::Failed(Failure::NoMajority)
            }
            Ok(Err(RaftError::Fatal(_))) => RaftReply::Failed(Failure::Stopped),
        }
    }
}
