//! Follower: the copy of a node that is not the owner. It promises an epoch, introduces itself,
//! and executes the owner's commands until the session ends.

use super::defect::Defect;
use super::exchange::{Action, DiskResult, Operation};
use super::handshake::{Introduction, joined};
use super::message::{Command, Message, Payload};
use super::operations::Purpose;
use super::record::{Epoch, Generation};
use super::tenure::Role;
use super::{CopyState, Replica};
use std::collections::VecDeque;

/// Limit of concurrent commands that do not come from clients: resync, verify and flushes.
const OWN_REQUESTS_MAX: usize = 256;

/// State of the follower.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Task {
    /// No owner.
    #[default]
    None,
    /// Waits for earlier operations of its disk to end.
    Draining,
    /// Stores its promise.
    Promising(u64),
    /// Ready for commands.
    Ready,
    /// Stores that it is incomplete.
    Beginning(u64),
    /// Stores that it is not clean.
    Marking(u64),
    /// Flushes its disk before it joins at this generation.
    Flushing(Generation),
    /// Stores that it has joined.
    Joining(u64),
    /// Stores that it is clean.
    Settling(u64),
    /// Stores its new size.
    Growing(u64),
}

/// Follower's state with regard to the owner.
#[derive(Clone, Debug)]
pub struct Following<P> {
    pub(super) task: Task,
    epoch: Epoch,
    /// Number of the owner's greeting.
    number: u64,
    /// Number of greetings by all owners.
    serial: u64,
    /// Messages that wait for a store.
    held: VecDeque<Message<P>>,
    /// Write that tests whether a failed disk works again.
    tried: Option<u32>,
}

impl<P> Default for Following<P> {
    fn default() -> Following<P> {
        Following {
            task: Task::None,
            epoch: Epoch(0),
            number: 0,
            serial: 0,
            held: VecDeque::new(),
            tried: None,
        }
    }
}

impl<P> Following<P> {
    /// Ends the session; results of pending operations are dropped.
    pub fn end(&mut self) {
        self.task = Task::None;
        self.serial += 1;
        self.held.clear();
        self.tried = None;
    }

    /// Returns whether an owner is being followed.
    pub fn is_active(&self) -> bool {
        self.task != Task::None
    }
}

impl<P: Payload> Replica<P> {
    /// Handles a message of an owner.
    pub(super) fn follow(&mut self, message: Message<P>) {
        if let Message::Hello { epoch, number } = message {
            return self.greeted(epoch, number);
        }
        match self.following.task {
            Task::None | Task::Draining | Task::Promising(_) => {}
            // No valid owner sends that much. Ending the session makes the owner time out and
            // disconnect.
            _ if self.has_too_much() => self.following.end(),
            Task::Ready => self.obey(message),
            _ => self.following.held.push_back(message),
        }
    }

    /// Returns whether more is in progress or queued than a valid owner sends.
    fn has_too_much(&self) -> bool {
        let most = OWN_REQUESTS_MAX + self.settings.bounds.requests;
        self.following.held.len() + self.operations.count() >= most
    }

    fn greeted(&mut self, epoch: Epoch, number: u64) {
        let promised = self.copy.head.promised.max(self.tenure.epoch);
        let is_owner = self.tenure.role != Role::Idle && epoch <= self.tenure.epoch;
        if (epoch < promised || is_owner) && !self.broken.is(Defect::AcceptsOldEpochs) {
            return self.send(Message::Refused { number, promised });
        }
        if self.tenure.role != Role::Idle || self.tenure.waits {
            self.step_down();
        }
        self.following.end();
        self.following.task = Task::Draining;
        self.following.epoch = epoch;
        self.following.number = number;
        if self.is_drained() {
            self.drained();
        }
    }

    pub(super) fn follower_drained(&mut self) {
        if self.following.task != Task::Draining {
            return;
        }
        self.copy.head.promised = self.following.epoch;
        self.following.task = Task::Promising(self.copy.store());
    }

    fn welcome_owner(&mut self) {
        self.following.task = Task::Ready;
        let head = &self.copy.head;
        let introduction = Introduction {
            volume: head.volume,
            blocks: head.blocks,
            room: self.copy.room,
            incarnation: head.incarnation,
            state: head.state,
            hot: self.copy.log.extents().collect(),
            lacks: self.copy.lacks,
            unclean: head.unflushed.is_some(),
        };
        let number = self.following.number;
        self.send(Message::Welcome {
            number,
            introduction,
        });
    }

    pub(super) fn follower_stored(&mut self) {
        let done = |number| self.copy.has_stored(number);
        match self.following.task {
            Task::Promising(number) if done(number) => return self.welcome_owner(),
            Task::Beginning(number) if done(number) => {
                self.out.push(Action::Resized(self.copy.head.blocks));
                self.send(Message::Begun);
            }
            Task::Joining(number) if done(number) => self.send(Message::Finished),
            Task::Settling(number) if done(number) => self.send(Message::Settled),
            Task::Growing(number) if done(number) => self.send(Message::Grown),
            Task::Marking(number) if done(number) => {}
            _ => return,
        }
        self.following.task = Task::Ready;
        while self.following.task == Task::Ready {
            let Some(message) = self.following.held.pop_front() else {
                return;
            };
            self.obey(message);
        }
    }

    /// Executes a message if it is from the owner of the promised epoch.
    fn obey(&mut self, message: Message<P>) {
        let (Message::Begin { epoch, .. }
        | Message::Command { epoch, .. }
        | Message::Finish { epoch, .. }
        | Message::Grow { epoch, .. }
        | Message::Resized { epoch, .. }
        | Message::Settle { epoch }) = message
        else {
            return;
        };
        let current = epoch == self.following.epoch && epoch == self.copy.head.promised;
        if !current && !self.broken.is(Defect::AcceptsOldEpochs) {
            return;
        }
        match message {
            Message::Begin {
                volume,
                incarnation,
                base,
                blocks,
                ..
            } => {
                // An owner that exceeds the reported space gets no response and times out.
                if blocks == 0 || blocks > self.copy.room {
                    return self.following.end();
                }
                if !self.broken.is(Defect::BeginsInOldSize) {
                    self.take_size(blocks);
                }
                let head = &mut self.copy.head;
                head.volume = Some(volume);
                head.incarnation = incarnation;
                head.state = CopyState::Syncing { base };
                if self.broken.is(Defect::ForgetsLogEarly) {
                    self.copy.log.clear();
                }
                self.following.task = Task::Beginning(self.copy.store());
            }
            Message::Command { tag, command, .. } => self.execute(epoch, tag, command),
            Message::Finish { generation, .. } => {
                self.following.task = Task::Flushing(generation);
                let serial = self.following.serial;
                if self.broken.is(Defect::JoinsWithoutFlush) {
                    self.join(generation);
                } else {
                    self.start(Purpose::Finish { serial }, Operation::Flush);
                }
            }
            Message::Grow { blocks, .. } => self.grow_as_told(blocks),
            Message::Resized { blocks, .. } => {
                let blocks = blocks.min(self.copy.head.blocks);
                self.out.push(Action::Resized(blocks));
            }
            Message::Settle { .. } => {
                self.copy.head.unflushed = None;
                self.following.task = Task::Settling(self.copy.store());
            }
            _ => {}
        }
    }

    fn execute(&mut self, epoch: Epoch, tag: u32, command: Command<P>) {
        let is_write = matches!(command, Command::Write { .. });
        // A copy in sync may serve after a loss of the owner, so it has to record that it has
        // acknowledged writes.
        if is_write && joined(&self.copy.head).0 > 0 && self.copy.head.unflushed.is_none() {
            self.copy.head.unflushed = Some(self.settings.boot);
            self.following.task = Task::Marking(self.copy.store());
            let message = Message::Command {
                epoch,
                tag,
                command,
            };
            return self.following.held.push_front(message);
        }
        let serial = self.following.serial;
        match command {
            Command::Write { blocks, body, fua } if self.settings.geometry.contains(blocks) => {
                let write = Operation::Write { blocks, body, fua };
                if self.copy.faulty {
                    self.following.tried = Some(tag);
                }
                self.start(Purpose::Serve { serial, tag }, write);
            }
            Command::Compare { blocks, checksum } if self.settings.geometry.contains(blocks) => {
                let purpose = Purpose::Compare {
                    serial,
                    tag,
                    checksum,
                };
                self.start(purpose, Operation::Read(blocks));
            }
            Command::Verify { blocks, checksum } if self.settings.geometry.contains(blocks) => {
                let purpose = Purpose::Verify {
                    serial,
                    tag,
                    checksum,
                };
                self.start(purpose, Operation::Read(blocks));
            }
            Command::Read { blocks } if self.settings.geometry.contains(blocks) => {
                self.start(Purpose::Fetch { serial, tag }, Operation::Read(blocks));
            }
            Command::Flush => self.start(Purpose::Serve { serial, tag }, Operation::Flush),
            Command::Write { .. }
            | Command::Compare { .. }
            | Command::Verify { .. }
            | Command::Read { .. } => self.send(Message::Failed { tag }),
        }
    }

    /// Sends the result of an owner's command.
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
                self.send(Message::Done { tag });
            }
        }
    }

    /// Sends blocks that were read for the owner, or an error.
    pub(super) fn fetched(&mut self, serial: u64, tag: u32, result: DiskResult<P>) {
        if serial != self.following.serial {
            return;
        }
        self.send(match result {
            DiskResult::Data(data) => Message::Content { tag, data },
            DiskResult::Damaged(_) => Message::Damaged { tag },
            DiskResult::Done | DiskResult::Failed => Message::Unreadable { tag },
        });
    }

    pub(super) fn compared(&mut self, serial: u64, tag: u32, expected: u64, result: DiskResult<P>) {
        if serial != self.following.serial {
            return;
        }
        match result {
            DiskResult::Data(data) if data.checksum() == expected => {
                self.send(Message::Done { tag });
            }
            // Damaged blocks are rewritten.
            DiskResult::Data(_) | DiskResult::Damaged(_) => self.send(Message::Differs { tag }),
            DiskResult::Done | DiskResult::Failed => self.follower_failed(tag),
        }
    }

    /// Sends the result of a comparison for a verify.
    pub(super) fn verified(&mut self, serial: u64, tag: u32, expected: u64, result: DiskResult<P>) {
        if serial != self.following.serial {
            return;
        }
        self.send(match result {
            DiskResult::Data(data) if data.checksum() == expected => Message::Done { tag },
            DiskResult::Data(_) => Message::Differs { tag },
            DiskResult::Damaged(_) if self.broken.is(Defect::VerifyTrustsTheirs) => {
                Message::Done { tag }
            }
            DiskResult::Damaged(_) => Message::Damaged { tag },
            DiskResult::Done | DiskResult::Failed => Message::Unreadable { tag },
        });
    }

    fn follower_failed(&mut self, tag: u32) {
        self.copy.faulty = true;
        self.send(Message::Failed { tag });
        self.following.end();
    }

    pub(super) fn finish_flushed(&mut self, serial: u64, result: DiskResult<P>) {
        let Task::Flushing(generation) = self.following.task else {
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
        self.following.task = Task::Joining(self.copy.store());
    }
}
