//! Implements the follower: the copy of a node that is not the owner promises an epoch, introduces
//! itself, and executes the owner's commands until the session ends.

use super::defect::ReplicaDefect;
use super::exchange::{DiskResult, Operation, ReplicaAction};
use super::handshake::{Introduction, NO_VOLUME, joined};
use super::message::{FollowerCommand, Payload, ReplicaMessage};
use super::operations::OperationPurpose;
use super::record::{Epoch, Generation};
use super::tenure::LeaseRole;
use super::{CopyState, Replica};
use std::collections::VecDeque;

/// Limit of concurrent commands that do not come from clients: resync, verify and flushes.
const OWN_REQUESTS_MAX: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FollowerTask {
    #[default]
    None,
    /// Waits until the earlier operations of its own disk have ended.
    Draining,
    Promising(u64),
    Ready,
    /// Stores that the copy is incomplete, in the store with this number. The states `Marking`,
    /// `Joining` and `Settling` store that it is not clean, that it has joined, or that it is
    /// clean.
    Beginning(u64),
    Marking(u64),
    /// Flushes its disk before it joins at this generation.
    Flushing(Generation),
    Joining(u64),
    Settling(u64),
    Growing(u64),
}

/// State of this node as a follower of the owner.
#[derive(Clone, Debug)]
pub struct FollowerState<P> {
    pub(super) task: FollowerTask,
    epoch: Epoch,
    number: u64,
    serial: u64,
    held: VecDeque<ReplicaMessage<P>>,
    /// Tag of a write that tests whether a failed disk works again.
    tried: Option<u32>,
}

impl<P> Default for FollowerState<P> {
    fn default() -> FollowerState<P> {
        FollowerState {
            task: FollowerTask::None,
            epoch: Epoch(0),
            number: 0,
            serial: 0,
            held: VecDeque::new(),
            tried: None,
        }
    }
}

impl<P> FollowerState<P> {
    /// Ends the session; results of pending operations are dropped.
    pub fn end(&mut self) {
        self.task = FollowerTask::None;
        self.serial += 1;
        self.held.clear();
        self.tried = None;
    }

    pub fn is_active(&self) -> bool {
        self.task != FollowerTask::None
    }
}

impl<P: Payload> Replica<P> {
    pub(super) fn follow(&mut self, message: ReplicaMessage<P>) {
        if let ReplicaMessage::Hello { epoch, number } = message {
            return self.greeted(epoch, number);
        }
        match self.following.task {
            FollowerTask::None | FollowerTask::Draining | FollowerTask::Promising(_) => {}
            // Ends the session with an owner that has sent more commands than a valid one does. The
            // owner then times out and disconnects.
            _ if self.has_too_much() => self.following.end(),
            FollowerTask::Ready => self.execute_owner_message(message),
            _ => self.following.held.push_back(message),
        }
    }

    /// Returns whether more commands are in progress or queued than a valid owner sends.
    fn has_too_much(&self) -> bool {
        let most = OWN_REQUESTS_MAX + self.settings.bounds.requests;
        self.following.held.len() + self.operations.count() >= most
    }

    fn greeted(&mut self, epoch: Epoch, number: u64) {
        let promised = self.copy.head.promised.max(self.tenure.epoch);
        let is_owner = self.tenure.role != LeaseRole::Idle && epoch <= self.tenure.epoch;
        if (epoch < promised || is_owner) && !self.broken.is(ReplicaDefect::AcceptsOldEpochs) {
            return self.send(ReplicaMessage::Refused { number, promised });
        }
        if self.tenure.role != LeaseRole::Idle || self.tenure.waits {
            self.step_down();
        }
        self.following.end();
        self.following.number = number;
        if self.has_others_copy() {
            // Introduces itself without a promise, because nothing is written to the copy of
            // another node.
            return self.introduce();
        }
        self.following.task = FollowerTask::Draining;
        self.following.epoch = epoch;
        if self.is_drained() {
            self.drained();
        }
    }

    pub(super) fn follower_drained(&mut self) {
        if self.following.task != FollowerTask::Draining {
            return;
        }
        self.identify(self.settings.copy);
        self.copy.head.promised = self.following.epoch;
        self.following.task = FollowerTask::Promising(self.copy.store());
    }

    fn welcome_owner(&mut self) {
        self.following.task = FollowerTask::Ready;
        self.introduce();
    }

    /// Returns whether this node's disk has another node's copy. A copy of a node that the
    /// configuration no longer names is filled like a new one.
    fn has_others_copy(&self) -> bool {
        self.is_foreign() && self.copy.head.identity.node == Some(self.settings.other)
    }

    fn introduce(&mut self) {
        let is_foreign = self.has_others_copy();
        let head = &self.copy.head;
        let introduction = Introduction {
            volume: if is_foreign {
                Some(NO_VOLUME)
            } else {
                head.volume
            },
            blocks: head.blocks,
            room: self.copy.room,
            incarnation: head.incarnation,
            state: head.state,
            hot: self.copy.log.extents().collect(),
            lacks: self.copy.lacks,
            unclean: head.unflushed.is_some(),
            copy: head.identity.copy,
            is_foreign,
        };
        let number = self.following.number;
        self.send(ReplicaMessage::Welcome {
            number,
            introduction,
        });
    }

    pub(super) fn follower_stored(&mut self) {
        let done = |number| self.copy.has_stored(number);
        match self.following.task {
            FollowerTask::Promising(number) if done(number) => return self.welcome_owner(),
            FollowerTask::Beginning(number) if done(number) => {
                self.out.push(ReplicaAction::Resized(self.copy.head.blocks));
                self.send(ReplicaMessage::Begun);
            }
            FollowerTask::Joining(number) if done(number) => self.send(ReplicaMessage::Finished),
            FollowerTask::Settling(number) if done(number) => self.send(ReplicaMessage::Settled),
            FollowerTask::Growing(number) if done(number) => self.send(ReplicaMessage::Grown),
            FollowerTask::Marking(number) if done(number) => {}
            _ => return,
        }
        self.following.task = FollowerTask::Ready;
        while self.following.task == FollowerTask::Ready {
            let Some(message) = self.following.held.pop_front() else {
                return;
            };
            self.execute_owner_message(message);
        }
    }

    fn execute_owner_message(&mut self, message: ReplicaMessage<P>) {
        let (ReplicaMessage::Begin { epoch, .. }
        | ReplicaMessage::Command { epoch, .. }
        | ReplicaMessage::Finish { epoch, .. }
        | ReplicaMessage::Grow { epoch, .. }
        | ReplicaMessage::Resized { epoch, .. }
        | ReplicaMessage::Settle { epoch }) = message
        else {
            return;
        };
        let current = epoch == self.following.epoch && epoch == self.copy.head.promised;
        if !current && !self.broken.is(ReplicaDefect::AcceptsOldEpochs) {
            return;
        }
        match message {
            ReplicaMessage::Begin {
                volume,
                incarnation,
                base,
                blocks,
                ..
            } => {
                // Ends the session with an owner that exceeds the reported space. The owner gets no
                // response and times out.
                if blocks == 0 || blocks > self.copy.room {
                    return self.following.end();
                }
                if !self.broken.is(ReplicaDefect::BeginsInOldSize) {
                    self.take_size(blocks);
                }
                let head = &mut self.copy.head;
                head.volume = Some(volume);
                head.incarnation = incarnation;
                head.state = CopyState::Syncing { base };
                head.identity.node = Some(self.settings.me);
                if self.broken.is(ReplicaDefect::ForgetsLogEarly) {
                    self.copy.log.clear();
                }
                self.following.task = FollowerTask::Beginning(self.copy.store());
            }
            ReplicaMessage::Command { tag, command, .. } => self.execute(epoch, tag, command),
            ReplicaMessage::Finish { generation, .. } => {
                self.following.task = FollowerTask::Flushing(generation);
                let serial = self.following.serial;
                if self.broken.is(ReplicaDefect::JoinsWithoutFlush) {
                    self.join(generation);
                } else {
                    self.start(OperationPurpose::Finish { serial }, Operation::Flush);
                }
            }
            ReplicaMessage::Grow { blocks, .. } => self.grow_as_told(blocks),
            ReplicaMessage::Resized { blocks, .. } => {
                let blocks = blocks.min(self.copy.head.blocks);
                self.out.push(ReplicaAction::Resized(blocks));
            }
            ReplicaMessage::Settle { .. } => {
                self.copy.head.unflushed = None;
                self.following.task = FollowerTask::Settling(self.copy.store());
            }
            _ => {}
        }
    }

    fn execute(&mut self, epoch: Epoch, tag: u32, command: FollowerCommand<P>) {
        let is_write = matches!(command, FollowerCommand::Write { .. });
        // Stores that the copy has unflushed writes before it acknowledges the first one, because a
        // copy in sync may serve after a loss of the owner.
        if is_write && joined(&self.copy.head).0 > 0 && self.copy.head.unflushed.is_none() {
            self.copy.head.unflushed = Some(self.settings.boot);
            self.following.task = FollowerTask::Marking(self.copy.store());
            let message = ReplicaMessage::Command {
                epoch,
                tag,
                command,
            };
            return self.following.held.push_front(message);
        }
        let serial = self.following.serial;
        match command {
            FollowerCommand::Write { blocks, body, fua }
                if self.settings.geometry.contains(blocks) =>
            {
                let write = Operation::Write { blocks, body, fua };
                if self.copy.faulty {
                    self.following.tried = Some(tag);
                }
                self.start(OperationPurpose::Serve { serial, tag }, write);
            }
            FollowerCommand::Compare { blocks, checksum }
                if self.settings.geometry.contains(blocks) =>
            {
                let purpose = OperationPurpose::Compare {
                    serial,
                    tag,
                    checksum,
                };
                self.start(purpose, Operation::Read(blocks));
            }
            FollowerCommand::Verify { blocks, checksum }
                if self.settings.geometry.contains(blocks) =>
            {
                let purpose = OperationPurpose::Verify {
                    serial,
                    tag,
                    checksum,
                };
                self.start(purpose, Operation::Read(blocks));
            }
            FollowerCommand::Read { blocks } if self.settings.geometry.contains(blocks) => {
                self.start(
                    OperationPurpose::Fetch { serial, tag },
                    Operation::Read(blocks),
                );
            }
            FollowerCommand::Flush => {
                self.start(OperationPurpose::Serve { serial, tag }, Operation::Flush)
            }
            FollowerCommand::Write { .. }
            | FollowerCommand::Compare { .. }
            | FollowerCommand::Verify { .. }
            | FollowerCommand::Read { .. } => self.send(ReplicaMessage::Failed { tag }),
        }
    }

    pub(super) fn served(&mut self, serial: u64, tag: u32, result: DiskResult<P>) {
        if serial != self.following.serial {
            return;
        }
        match result {
            DiskResult::Failed | DiskResult::Damaged(_) => self.follower_failed(tag),
            DiskResult::Done | DiskResult::Data(_) => {
                if self.following.tried == Some(tag) {
                    self.following.tried = None;
                    self.copy.faulty = false;
                }
                self.send(ReplicaMessage::Done { tag });
            }
        }
    }

    pub(super) fn fetched(&mut self, serial: u64, tag: u32, result: DiskResult<P>) {
        if serial != self.following.serial {
            return;
        }
        self.send(match result {
            DiskResult::Data(data) => ReplicaMessage::Content { tag, data },
            DiskResult::Damaged(_) => ReplicaMessage::Damaged { tag },
            DiskResult::Done | DiskResult::Failed => ReplicaMessage::Unreadable { tag },
        });
    }

    pub(super) fn compared(&mut self, serial: u64, tag: u32, expected: u64, result: DiskResult<P>) {
        if serial != self.following.serial {
            return;
        }
        match result {
            DiskResult::Data(data) if data.checksum() == expected => {
                self.send(ReplicaMessage::Done { tag });
            }
            // Reports damaged blocks as different, so that the owner rewrites them.
            DiskResult::Data(_) | DiskResult::Damaged(_) => {
                self.send(ReplicaMessage::Differs { tag })
            }
            DiskResult::Done | DiskResult::Failed => self.follower_failed(tag),
        }
    }

    pub(super) fn verified(&mut self, serial: u64, tag: u32, expected: u64, result: DiskResult<P>) {
        if serial != self.following.serial {
            return;
        }
        self.send(match result {
            DiskResult::Data(data) if data.checksum() == expected => ReplicaMessage::Done { tag },
            DiskResult::Data(_) => ReplicaMessage::Differs { tag },
            DiskResult::Damaged(_) if self.broken.is(ReplicaDefect::VerifyTrustsTheirs) => {
                ReplicaMessage::Done { tag }
            }
            DiskResult::Damaged(_) => ReplicaMessage::Damaged { tag },
            DiskResult::Done | DiskResult::Failed => ReplicaMessage::Unreadable { tag },
        });
    }

    fn follower_failed(&mut self, tag: u32) {
        self.copy.faulty = true;
        self.send(ReplicaMessage::Failed { tag });
        self.following.end();
    }

    pub(super) fn finish_flushed(&mut self, serial: u64, result: DiskResult<P>) {
        let FollowerTask::Flushing(generation) = self.following.task else {
            return;
        };
        if serial != self.following.serial {
            return;
        }
        match result {
            // Sends no response, so the owner times out and disconnects.
            DiskResult::Failed | DiskResult::Damaged(_) => self.following.end(),
            DiskResult::Done | DiskResult::Data(_) => self.join(generation),
        }
    }

    fn join(&mut self, generation: Generation) {
        self.copy.log.clear();
        self.copy.fill(false);
        self.copy.lacks = false;
        self.copy.faulty = false;
        self.copy.head.state = CopyState::Joined(generation);
        self.copy.head.unflushed = Some(self.settings.boot);
        self.copy.head.identity.tracked = None;
        self.following.task = FollowerTask::Joining(self.copy.store());
    }
}
