//! Resync: copies dirty blocks to the other copy until none is left, then joins both. It
//! gives way to clients, and ends: blocks that fail are looked at again, and from the join
//! on writes need both copies.

use super::exchange::DiskResult;
use super::geometry::Blocks;
use super::message::{Command, Message};
use super::other::Phase;
use super::record::Generation;
use super::requests::{Origin, Part, Work};
use super::{Payload, Replica};

impl<P: Payload> Replica<P> {
    /// Starts copies, or the join.
    pub(super) fn advance_resync(&mut self) {
        if self.other.phase == Phase::Joining {
            return self.finish();
        }
        let bounds = self.settings.bounds;
        loop {
            let window = match self.requests.clients > 0 {
                true => 1,
                false => bounds.resync_window,
            };
            if self.other.copies >= window || self.now < self.other.copy_at {
                return;
            }
            let Some(blocks) = self.next_dirty() else {
                break;
            };
            self.other.cursor = blocks.end();
            let rate = bounds.resync_block_ns * u64::from(blocks.count);
            self.other.copy_at = self.other.copy_at.max(self.now).after(rate);
            let extent = self.settings.geometry.extents_of(blocks).next();
            let compare = extent.is_some_and(|extent| self.copy.dirty.is_suspect(extent));
            let slot = self
                .requests
                .open(Origin::Resync, Work::Copy { compare }, blocks);
            self.other.copies += 1;
            self.begin_slot(slot);
        }
        if self.copy.dirty.count() == 0 && self.other.copies == 0 {
            self.other.phase = Phase::Joining;
            self.finish();
        }
    }

    /// The next blocks to copy. What is behind the cursor may be under way: it is looked at
    /// again when nothing is.
    fn next_dirty(&mut self) -> Option<Blocks> {
        let most = self.settings.bounds.resync_blocks;
        if let Some(blocks) = self.copy.dirty.next(self.other.cursor, most) {
            return Some(blocks);
        }
        if self.other.copies > 0 {
            return None;
        }
        self.other.cursor = 0;
        self.copy.dirty.next(0, most)
    }

    /// Ends the resync when no request is under way that was acknowledged, or will be,
    /// without the other copy: its flush covers all others.
    fn finish(&mut self) {
        if self.requests.loose > 0 {
            return;
        }
        self.other.phase = Phase::Finishing;
        self.other.since = self.now;
        self.send(Message::Finish {
            epoch: self.tenure.epoch,
            generation: Generation(self.tenure.record.generation.0 + 1),
        });
    }

    /// The blocks of a copy were read here.
    pub(super) fn copy_read(&mut self, place: u32, result: DiskResult<P>) {
        let DiskResult::Data(data) = result else {
            // Without these blocks there is no second copy; the attempt is repeated later.
            let slot = self.requests.slot(place);
            if !slot.replied && slot.origin != Origin::Verify {
                self.drop_other(super::Notice::LocalFailed);
            }
            return self.end_slot(place);
        };
        let slot = self.requests.slot_mut(place);
        if slot.replied {
            return self.end_slot(place);
        }
        slot.local = Part::Done;
        slot.remote = Part::Waiting;
        slot.sent_at = self.now;
        let blocks = slot.blocks;
        let command = match slot.work {
            Work::Copy { compare: true } => {
                let checksum = data.checksum();
                slot.data = Some(data);
                Command::Compare { blocks, checksum }
            }
            _ => Command::Write {
                blocks,
                body: super::Body::Data(data),
                fua: false,
            },
        };
        self.command(place, command);
    }

    /// The other copy has the blocks, or has compared them.
    pub(super) fn copy_ended(&mut self, place: u32, differs: bool) {
        let now = self.now;
        let slot = self.requests.slot_mut(place);
        let blocks = slot.blocks;
        match slot.data.take() {
            Some(data) if differs => {
                slot.sent_at = now;
                let body = super::Body::Data(data);
                let fua = false;
                self.command(place, Command::Write { blocks, body, fua });
            }
            _ => {
                slot.remote = Part::Done;
                self.end_slot(place);
            }
        }
    }
}
