//! The operations of the local disk that are under way, and what each is for.

use super::exchange::OperationId;

/// What an operation is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// The local part of a request.
    Local(u32),
    /// A command of the owner, with its tag; `serial` is the greeting it belongs to.
    Serve {
        /// The greeting.
        serial: u64,
        /// The owner's number.
        tag: u32,
    },
    /// A comparison with the owner's checksum.
    Compare {
        /// The greeting.
        serial: u64,
        /// The owner's number.
        tag: u32,
        /// The owner's checksum.
        checksum: u64,
    },
    /// A comparison for a verify: an error of the disk is a result of it.
    Verify {
        /// The greeting.
        serial: u64,
        /// The owner's number.
        tag: u32,
        /// The owner's checksum.
        checksum: u64,
    },
    /// A read for the owner, whose blocks are damaged.
    Fetch {
        /// The greeting.
        serial: u64,
        /// The owner's number.
        tag: u32,
    },
    /// The flush before a follower joins.
    Finish {
        /// The greeting.
        serial: u64,
    },
}

/// All that are under way.
#[derive(Clone, Debug, Default)]
pub struct Operations {
    slots: Vec<Option<Purpose>>,
    free: Vec<u32>,
}

impl Operations {
    /// Begins an operation.
    pub fn begin(&mut self, purpose: Purpose) -> OperationId {
        match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = Some(purpose);
                OperationId(place)
            }
            None => {
                self.slots.push(Some(purpose));
                OperationId(self.slots.len() as u32 - 1)
            }
        }
    }

    /// Ends an operation; None if there is none of this number.
    pub fn end(&mut self, id: OperationId) -> Option<Purpose> {
        let purpose = self.slots.get_mut(id.0 as usize)?.take()?;
        self.free.push(id.0);
        Some(purpose)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
