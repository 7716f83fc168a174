//! Runs the event loop of a mirrored volume: passes events to the replica and executes its actions.

use super::admission::WriteAdmission;
use super::ending::MirrorShutdown;
use super::founding::{self, FoundingAction};
use super::lease::News;
use super::local::{FOUNDING, MARKING};
use super::mailbox::{ClusterRequest, MailboxMessage};
use super::peer::{Users, number};
use super::record::ME;
use super::{Data, LETTERS_KEY, Mirror, MirrorError, STOP_KEY, boottime, durable, moment, wire};
use crate::export::{KEYS, VolumeUser};
use crate::layout;
use crate::link::frame::FrameKind;
use crate::link::greeting::Greeting;
use crate::link::{Incoming, LinkError};
use crate::replica::{
    Durable, Epoch, Generation, InSync, Incarnation, Input, Notice, Record, RecordedCopy, Replica,
    ReplicaAction, ReplicaMessage, ReplicaOrder,
};
use crate::stream::wait;
use ::wire::NodeConnection;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::rand::{GetRandomFlags, getrandom};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const EVENTS_MAX: usize = 32;
const ROUNDS_MAX: usize = 8;
/// Retry delay of operations that the kernel refused or that wait for memory.
const RETRY: Duration = Duration::from_millis(1);

impl Mirror {
    /// Serves until `stop` is readable or closed. `leaves` is true by then if a new process
    /// follows. In both cases the other copy becomes the owner if it can. The new process could not
    /// continue with this lease: a process never serves in an epoch that was granted before its
    /// start.
    ///
    /// # Errors
    /// Fails with [`MirrorError::Wait`] if epoll_ctl(2) or epoll_wait(2) fails, and with
    /// [`MirrorError::Reopens`] if the copy has shrunk and must be opened again.
    pub fn run(mut self, stop: BorrowedFd<'_>, leaves: &AtomicBool) -> Result<(), MirrorError> {
        let data = EventData::new_u64(STOP_KEY);
        epoll::add(&self.epoll, stop, data, EventFlags::IN).map_err(MirrorError::Wait)?;
        if let Some(dialer) = &self.outside.dialer {
            dialer.dial();
        }
        // Reads reports that arrived before the start.
        self.apply_lease_report();
        self.apply_use_change();
        self.report_rank();
        let mut ending: Option<MirrorShutdown> = None;
        loop {
            let mut events = [const {
                Event {
                    flags: EventFlags::empty(),
                    data: EventData::new_u64(0),
                }
            }; EVENTS_MAX];
            let until = ending.map(|ending| ending.until);
            let deadline = self.deadline().into_iter().chain(until).min();
            let count = wait(&self.epoll, &mut events, deadline).map_err(MirrorError::Wait)?;
            let now = Instant::now();
            for event in &events[..count] {
                match event.data.u64() {
                    STOP_KEY => {
                        let _ = epoll::delete(&self.epoll, stop);
                        self.stop_export();
                        self.apply_input(Input::Order(ReplicaOrder::HandOver));
                        ending = Some(MirrorShutdown::begin(leaves.load(Ordering::Acquire), now));
                    }
                    LETTERS_KEY => self.read_letters(now),
                    key if key >= KEYS => self.export.handle_event(key, event.flags, now),
                    // Ignores other keys: every turn of the loop polls the disk and the link
                    // anyway.
                    _ => {}
                }
            }
            self.turn(now);
            if self.local.reopens() {
                return Err(MirrorError::Reopens);
            }
            if ending.is_some_and(|ending| self.may_end(ending, now)) {
                (self.outside.wishes)(ClusterRequest::Rank(0));
                return Ok(());
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let retry = self.local.is_held_up() || self.peer.starves();
        let retry = retry.then(|| Instant::now() + RETRY);
        let deadlines = [
            self.export.deadline(),
            self.replica.deadline().map(moment),
            self.peer.deadline(),
            self.local.deadline(),
            self.shown.deadline(),
            self.failing_deadline(),
            self.admission_deadline(),
            self.overwrite_deadline(),
            retry,
        ];
        deadlines.into_iter().flatten().min()
    }

    pub(super) fn apply_input(&mut self, input: Input<Data>) {
        let mut actions = std::mem::take(&mut self.actions);
        self.replica.handle(boottime(), input, &mut actions);
        let mut some = std::mem::take(&mut actions);
        for action in some.drain(..) {
            self.execute_action(action);
        }
        if self.actions.capacity() < some.capacity() {
            self.actions = some;
        }
        // Submits the rest of long requests only now, because the messages of the current input
        // have to be sent first.
        self.submit_ready_requests();
    }

    fn execute_action(&mut self, action: ReplicaAction<Data>) {
        match action {
            ReplicaAction::Reply(id, outcome) => self.handle_reply(id, outcome),
            ReplicaAction::Disk(id, operation) => self.local.start(id, operation),
            ReplicaAction::Store(number, change) => self.store(number, change),
            ReplicaAction::Send(session, message) => self.peer.send(session, message),
            ReplicaAction::Disconnect(session) => {
                if self.peer.session() == Some(session) {
                    let reason = &self.shown.said;
                    tracing::info!(reason, "connection of the copies closed");
                    self.peer.disconnect(Some(self.shown.said.clone()));
                    self.after_loss();
                }
            }
            ReplicaAction::Propose(Epoch(epoch), record) => {
                tracing::info!(
                    epoch,
                    generation = record.generation.0,
                    in_sync = ?record.in_sync,
                    "record proposed"
                );
                let clients = self.clients.admission.next(&self.lease.recorded.clients);
                let (number, value) = self.lease.proposal(&record, clients);
                (self.outside.wishes)(ClusterRequest::Record {
                    epoch,
                    number,
                    value,
                });
            }
            ReplicaAction::Release(epoch) => {
                tracing::info!(epoch = epoch.0, "lease released");
                self.lease.release(epoch);
            }
            ReplicaAction::Resized(blocks) => self.resized(blocks),
            ReplicaAction::Say(notice @ Notice::NotRepaired { why, .. }) => {
                if self.local.not_repaired(why.to_string()) {
                    (self.outside.say)(notice.to_string());
                }
            }
            ReplicaAction::Say(notice) => {
                self.shown.resyncs += u64::from(notice == Notice::InSync);
                self.shown.refused_hand_overs += u64::from(notice == Notice::NotHandedOver);
                self.trace_notice(&notice);
                if notice == Notice::InSync {
                    self.peer.end_resync_operation();
                }
                self.shown.said = notice.to_string();
                self.shown.is_due = true;
                (self.outside.say)(notice.to_string());
                if matches!(notice, Notice::Serves { .. }) {
                    let users = self.users();
                    self.peer.send_heartbeat(true, users, Instant::now(), true);
                }
            }
        }
    }

    fn trace_notice(&self, notice: &Notice) {
        let op = self.peer.resync_operation();
        match notice {
            Notice::Serves { epoch, mirrored } => {
                tracing::info!(epoch = epoch.0, mirrored, "volume served");
            }
            Notice::Resync { blocks } => tracing::info!(op, blocks, "resync planned"),
            Notice::InSync => tracing::info!(op, "copies in sync"),
            Notice::Refused(refusal) => {
                tracing::info!(reason = %refusal, "other copy refused");
            }
            Notice::WaitsForOther(node) => {
                tracing::info!(node = ?node, "waiting for the other copy");
            }
            Notice::NotRepaired { block, why } => {
                tracing::info!(block, reason = %why, "block not repaired");
            }
            Notice::Verified(verify) => tracing::info!(result = %verify, "copies verified"),
            other => tracing::info!(op, notice = ?other, "role of the copy changed"),
        }
    }

    /// Processes events until there are none, or until other work has waited long enough.
    pub(super) fn turn(&mut self, now: Instant) {
        self.export.handle_time(now);
        if let Some(is_silent) = self.peer.check_silence(now) {
            self.apply_input(Input::Silent(is_silent));
        }
        if self.replica.deadline().is_some_and(|at| boottime() >= at) {
            self.apply_input(Input::Tick);
        }
        let mut ended = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let mut any = false;
            self.local.progress(&mut ended, &mut self.completed);
            for input in ended.drain(..) {
                any = true;
                match input {
                    Input::Stored(FOUNDING) => {
                        self.mark_stored(true);
                        self.finish_founding();
                    }
                    Input::StoreFailed(FOUNDING) => {}
                    Input::Stored(MARKING) => self.mark_stored(true),
                    Input::StoreFailed(MARKING) => self.mark_stored(false),
                    input => {
                        let stored = matches!(input, Input::Stored(_));
                        self.apply_input(input);
                        // Updates the facts: an empty copy may have joined the volume.
                        if stored {
                            self.size_stored();
                            self.outside.mailbox.set_facts(self.facts());
                        }
                    }
                }
            }
            any |= self.process_frames(now);
            self.watch_owner(now);
            any |= !self.completed.is_empty();
            self.stopwatch.end(&self.outside.meter, &self.completed);
            for completion in std::mem::take(&mut self.completed) {
                self.export.handle_completion(completion);
            }
            let asked: Vec<_> = self.export.settle().collect();
            if !asked.is_empty() {
                // Reports the users first, so that the owner knows the user of a forwarded write.
                let users = self.users();
                let serves = self.replica.serves().is_some();
                self.peer.send_heartbeat(serves, users, now, false);
            }
            for (token, operation) in asked {
                any = true;
                self.handle_operation(token, operation, now);
            }
            any |= self.advance_use(now);
            // Sends the messages before the local disk operations, so that both copies work in
            // parallel.
            if any && let Err(error) = self.peer.flush() {
                self.handle_connection_loss(error);
            }
            self.local.start_operations();
            if !any {
                break;
            }
        }
        self.shown.is_due |= self.export.show_holder();
        self.watch_other_user(now);
        self.advance_sharing(now);
        self.advance_overwrite(now);
        self.advance_admission(now);
        self.report_rank();
        self.remove_obsolete_snapshot();
        let serves = self.replica.serves().is_some();
        let users = self.users();
        self.peer.send_heartbeat(serves, users, now, false);
        if let Err(error) = self.peer.flush() {
            self.handle_connection_loss(error);
        }
        let counters = self.export.counters();
        self.outside
            .meter
            .set_clients(self.export.clients(), counters);
        self.show(now);
    }

    fn process_frames(&mut self, now: Instant) -> bool {
        let (pool, own) = (self.local.pool(), self.local.account());
        let received = self.peer.receive(pool, own, now);
        let mut any = false;
        while let Some(incoming) = self.peer.next() {
            any = true;
            let head = match &incoming {
                Incoming::Head(head) | Incoming::Data(head, _) | Incoming::Value(head, _) => *head,
            };
            match head.kind {
                FrameKind::Pulse => {
                    let (has_changed, is_news) = self.peer.handle_heartbeat(&head);
                    if let Incoming::Value(_, value) = &incoming
                        && let Some(change) = wire::wanted_mark(value)
                    {
                        self.change_mark(change);
                    }
                    self.shown.is_due |= is_news;
                    self.yield_to_other_node();
                    if has_changed || self.clients.has_waiting() {
                        self.retry();
                    }
                }
                FrameKind::AskRead | FrameKind::AskWrite | FrameKind::AskFlush => {
                    self.handle_forwarded_request(incoming)
                }
                FrameKind::Answer => self.handle_forward_response(incoming),
                _ => {
                    if let Some(session) = self.peer.session()
                        && let Some(message) = wire::message(incoming)
                        && !self.is_absurd(&message)
                    {
                        self.peer.note_history(&message);
                        self.apply_input(Input::Message(session, message));
                    }
                }
            }
        }
        if let Err(error) = received {
            self.handle_connection_loss(error);
        }
        any
    }

    /// Closes the connections of clients. Their user keeps the volume: its process reconnects to
    /// the next process of the role. Otherwise the other node, which becomes the owner now, would
    /// grant the volume to another user.
    fn stop_export(&mut self) {
        let user = self.export.holder();
        let user = user.filter(|user| matches!(user, VolumeUser::User { .. }));
        self.clients.user_at_stop = user.map(number);
        self.export.stop();
    }

    fn users(&self) -> Users {
        Users {
            clients: u32::try_from(self.export.clients()).unwrap_or(u32::MAX),
            accepted: self.export.counters().accepted,
            holder: self
                .clients
                .user_at_stop
                .unwrap_or_else(|| self.export.holder().map_or(0, number)),
        }
    }

    /// Returns whether a message has an epoch that the cluster cannot have granted. Promising it
    /// would make this copy refuse each later owner. The other node repeats its greeting after a
    /// while.
    fn is_absurd(&mut self, message: &ReplicaMessage<Data>) -> bool {
        let ReplicaMessage::Hello { epoch, .. } = *message else {
            return false;
        };
        let is_absurd = !self.lease.is_plausible(epoch);
        if is_absurd && self.shown.absurd.replace(epoch) != Some(epoch) {
            let words = format!(
                "the other node claims epoch {}, which the cluster has not granted as far as \
                 this node knows: ignored until the cluster confirms it",
                epoch.0
            );
            self.shown.said.clone_from(&words);
            self.shown.is_due = true;
            (self.outside.say)(words);
        }
        is_absurd
    }

    pub(super) fn handle_connection_loss(&mut self, error: LinkError) {
        if let Some(session) = self.peer.session() {
            tracing::info!(reason = %error, "connection of the copies lost");
            self.peer.disconnect(Some(error.to_string()));
            self.apply_input(Input::Lost(session));
            self.after_loss();
        }
    }

    fn after_loss(&mut self) {
        self.shown.is_due = true;
        self.reclaim_forwarded_requests();
        match (self.peer.waiting.take(), &self.outside.dialer) {
            (Some((wire, theirs)), _) => self.take_connection(wire, theirs, Instant::now()),
            (None, Some(dialer)) => dialer.dial(),
            (None, None) => {}
        }
    }

    /// Accepts a connection of the other node. Without TLS the peer is not authenticated, so such a
    /// connection waits while the current one lives, and replaces it only once that is lost. The
    /// real node closes its old connection before it reconnects, or is silent.
    fn take_connection(&mut self, wire: NodeConnection, theirs: Greeting, now: Instant) {
        if !wire.is_encrypted() && self.peer.is_live(now) {
            self.peer.waiting = Some((wire, theirs));
            return;
        }
        let before = self.peer.facts.map(|facts| facts.volume);
        let is_other = before.is_some_and(|volume| volume != theirs.facts.volume);
        if let Some(former) = self.peer.session() {
            self.peer.disconnect(None);
            self.apply_input(Input::Lost(former));
            self.reclaim_forwarded_requests();
        }
        if theirs.facts.volume.is_some() {
            self.drop_adoption();
        }
        let is_encrypted = wire.is_encrypted();
        if let Some(session) = self.peer.connect(wire, &theirs, now) {
            tracing::info!(
                session = session.0,
                is_encrypted,
                "connection of the copies opened"
            );
            self.apply_input(Input::Connected(session));
            if is_other {
                // Greets a refused or new copy at once instead of at the next attempt.
                let everything = false;
                self.apply_input(Input::Order(ReplicaOrder::Resync { everything }));
            }
            let serves = self.replica.serves().is_some();
            let users = self.users();
            self.peer.send_heartbeat(serves, users, now, true);
            self.shown.is_due = true;
            self.retry_founding();
        }
    }

    pub(super) fn read_letters(&mut self, now: Instant) {
        for letter in self.outside.mailbox.letters().take() {
            match letter {
                MailboxMessage::Connected(wire, theirs) => self.take_connection(wire, theirs, now),
                MailboxMessage::NotConnected(why) => {
                    if self.peer.session().is_none() {
                        self.peer.why_not = why;
                    }
                }
                MailboxMessage::Lease => self.apply_lease_report(),
                MailboxMessage::Use => self.apply_use_change(),
                MailboxMessage::Size(bytes) => {
                    self.shown.file_changed();
                    self.apply_configured_size(bytes);
                }
                MailboxMessage::ResyncRate(rate) => {
                    self.settings.bounds.resync_block_ns = super::block_ns(rate);
                    self.replica
                        .set_resync_rate(self.settings.bounds.resync_block_ns);
                    self.local.set_rate(rate);
                }
                MailboxMessage::WithoutMajority(policy) => self.set_without_majority(policy),
                MailboxMessage::Prepared(range, result) => self.prepared(range, result),
                MailboxMessage::Discard => self.discard(),
                MailboxMessage::Kept(what, result) => self.handle_snapshot_result(what, result),
                MailboxMessage::Order(order) => {
                    tracing::info!(?order, "request of an operator");
                    self.apply_input(Input::Order(order));
                }
                MailboxMessage::Admit(only) => {
                    tracing::info!(node = only, "users admitted on a node");
                    self.admit(only, 0);
                }
                MailboxMessage::Mark(change) => self.request_mark(change, now),
                MailboxMessage::Adopt => self.adopt(),
            }
        }
    }

    pub(super) fn apply_lease_report(&mut self) {
        if let Some(lease) = self.outside.mailbox.lease() {
            let (was_known, before) = (self.lease.is_known, self.lease.history());
            let all = self.lease.apply_report(lease);
            for news in &all {
                match news {
                    News::Renewed(..) => tracing::trace!("lease renewed"),
                    other => tracing::info!(news = ?other, "lease changed"),
                }
            }
            // Follows the history first, because a lease event executes waiting requests.
            self.follow_history();
            for news in all {
                self.apply_lease_event(news);
            }
            if let Some(record) = &self.lease.record {
                self.replica.expect_copy(record);
            }
            if was_known && self.lease.history() != before {
                self.peer.may_have_more = true;
            }
            self.watch_supersession();
            self.yield_to_recorded();
            if self.clients.has_waiting() && self.peer.serves() {
                self.retry();
            }
            self.shown.is_due = true;
        }
    }

    fn apply_lease_event(&mut self, news: News) {
        match news {
            News::Granted(epoch, until, record) => {
                self.apply_input(Input::Granted {
                    epoch,
                    until,
                    record,
                });
                self.retry();
            }
            News::Renewed(epoch, until) => self.apply_input(Input::Renewed { epoch, until }),
            News::Recorded(record) => self.apply_input(Input::Recorded(record)),
            News::Ended => self.apply_input(Input::LeaseEnded),
            News::Unfounded(epoch) => self.found_volume(epoch),
        }
    }

    pub(super) fn retry_founding(&mut self) {
        if let Some(epoch) = self.lease.unfounded() {
            self.found_volume(epoch);
        }
    }

    /// Founds the volume, which means to write its first record. This node holds the lease, and the
    /// cluster has no record, or an operator replaces the record.
    fn found_volume(&mut self, epoch: Epoch) {
        if self.lease.adopts.is_some_and(|one| one.begins.is_some()) {
            return if self.local.is_storing() {
            } else {
                self.record_first(epoch)
            };
        }
        if self.lease.adopts.is_some() && self.no_adoption().is_some() {
            // Drops the order: the other node has connected since the decision. The next renewal
            // delivers the record.
            self.lease.adopts = None;
            return;
        }
        if self.lease.founding == Some(FoundingAction::Unreadable) {
            // Releases the lease: a node with another release may be able to decode the record.
            return self.lease.release(epoch);
        }
        let connected = self.peer.session().is_some();
        let theirs = self.peer.facts.as_ref().filter(|_| connected);
        let adopts = self.lease.adopts.is_some();
        let founding = match self.foreign_words() {
            Some(words) if !adopts => FoundingAction::Refuses(words),
            _ => founding::decide(&self.facts(), theirs, adopts),
        };
        self.shown.is_due = true;
        match &founding {
            FoundingAction::Waits => {}
            FoundingAction::Refuses(words) => {
                if self.lease.founding.as_ref() != Some(&founding) {
                    (self.outside.say)(words.clone());
                }
            }
            FoundingAction::GivesWay | FoundingAction::Unreadable => self.lease.release(epoch),
            FoundingAction::Creates => self.create(true),
            FoundingAction::Records if adopts => self.create(false),
            FoundingAction::Records => self.record_first(epoch),
        }
        self.lease.founding = Some(founding);
    }

    /// Stores this copy as the first copy of a volume, or of a new history that no other copy
    /// belongs to.
    fn create(&mut self, is_new: bool) {
        let mut bytes = [0; 16];
        if self.local.is_storing() || getrandom(&mut bytes, GetRandomFlags::empty()).is_err() {
            return;
        }
        let Some(identity) = self.next_identity() else {
            return;
        };
        let random = u128::from_ne_bytes(bytes);
        let before = self.local.head().clone();
        let volume = if is_new {
            Some(layout::VolumeId(bytes))
        } else {
            before.volume
        };
        // Draws a unique number, so that a record shows whether it refers to this copy.
        let incarnation = (random >> 64) as u64 | 1;
        if let Some(adoption) = &mut self.lease.adopts {
            adoption.begins = Some(Incarnation(incarnation));
        }
        self.local.found(&layout::MetadataChange {
            head: layout::Superblock {
                volume,
                incarnation,
                state: layout::SyncState::Joined(1),
                unflushed: None,
                hot: Vec::new(),
                identity: Some(identity),
                overwrite: before.overwrite.filter(|_| !is_new),
                ..before
            },
            fill: Some(false),
            bits: Vec::new(),
        });
    }

    fn finish_founding(&mut self) {
        let loaded = layout::Loaded {
            head: self.local.head().clone(),
            dirty: Vec::new(),
            damaged_pages: 0,
        };
        let durable: Durable = durable::loaded(&loaded, &self.lease.names);
        self.replica = Replica::new(self.settings, &durable, boottime());
        self.room.reset_reported_space();
        self.forget_waiting_store();
        self.outside.mailbox.set_facts(self.facts());
        match self.peer.session() {
            // Reconnects, so that the owner learns the new state of this copy.
            Some(_) if self.facts().volume.is_none() => {
                self.peer
                    .disconnect(Some("the copy restarts as an empty one".to_owned()));
                self.after_loss();
            }
            Some(session) => self.apply_input(Input::Connected(session)),
            None => {}
        }
        if let Some(epoch) = self.lease.unfounded() {
            self.record_first(epoch);
        }
        self.report_space();
    }

    fn record_first(&mut self, Epoch(epoch): Epoch) {
        let head = self.local.head();
        let layout::SyncState::Joined(at) = head.state else {
            return;
        };
        let copy = self.local.header().identity.copy;
        let copies = copy.map(|copy| RecordedCopy { node: ME, copy });
        let record = Record {
            incarnation: Incarnation(head.incarnation),
            generation: Generation(at.max(self.lease.recorded.number.saturating_add(1))),
            epoch: Epoch(0),
            in_sync: InSync::One(ME),
            copies: copies.into_iter().collect(),
            forks: Vec::new(),
        };
        // Admits clients of both nodes in a new history. If the copy is marked as incomplete, the
        // mark goes into the record.
        let clients = WriteAdmission {
            overwrite: head.overwrite,
            ..WriteAdmission::default()
        };
        let (number, value) = self.lease.proposal(&record, &clients);
        (self.outside.wishes)(ClusterRequest::Record {
            epoch,
            number,
            value,
        });
    }

    pub(super) fn report_rank(&mut self) {
        let rank = match &self.lease.record {
            _ if self.lease.is_releasing() => 0,
            _ if self.lease.adopts.is_some() => 3,
            Some(record) if !record.in_sync.contains(ME) || self.is_another(record) => 0,
            Some(record) => self.used_rank(self.replica.rank(boottime(), record)),
            None if self.lease.founding == Some(FoundingAction::Unreadable) => 0,
            // Does not want the lease: a copy of another node's disk founds a volume only by an
            // operator's order.
            None if self.foreign_words().is_some() => 0,
            // Prefers a copy with data while there is no record.
            None => match self.facts().volume {
                Some(_) => 2,
                None => {
                    let theirs = self.peer.facts.as_ref();
                    u32::from(theirs.is_none_or(|facts| facts.volume.is_none()))
                }
            },
        };
        if self.lease.told != Some(rank) {
            self.lease.told = Some(rank);
            (self.outside.wishes)(ClusterRequest::Rank(rank));
        }
    }
}
