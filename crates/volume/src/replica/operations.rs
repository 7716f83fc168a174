//! Local disk operations in progress, and the purpose of each.

use super::exchange::OperationId;

/// Purpose of a disk operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OperationPurpose {
    /// The local part of a request.
    Local(u32),
    /// Command of the owner with its tag; `serial` identifies the owner's greeting.
    Serve {
        /// Serial number of the greeting.
        serial: u64,
        /// Tag of the owner's command.
        tag: u32,
    },
    /// Comparison with the owner's checksum.
    Compare {
        /// Serial number of the greeting.
        serial: u64,
        /// Tag of the owner's command.
        tag: u32,
        /// Checksum of the owner's blocks.
        checksum: u64,
    },
    /// Comparison for a verify. A disk error is reported as its result.
    Verify {
        /// Serial number of the greeting.
        serial: u64,
        /// Tag of the owner's command.
        tag: u32,
        /// Checksum of the owner's blocks.
        checksum: u64,
    },
    /// Read of blocks that are damaged at the owner.
    Fetch {
        /// Serial number of the greeting.
        serial: u64,
        /// Tag of the owner's command.
        tag: u32,
    },
    /// Flush before a follower joins.
    Finish {
        /// Serial number of the greeting.
        serial: u64,
    },
}

/// All disk operations in progress.
#[derive(Clone, Debug, Default)]
pub struct Operations {
    slots: Vec<Option<OperationPurpose>>,
    free: Vec<u32>,
}

impl Operations {
    pub fn begin(&mut self, purpose: OperationPurpose) -> OperationId {
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

    /// Removes an operation; None if its identifier is unknown.
    pub fn end(&mut self, id: OperationId) -> Option<OperationPurpose> {
        let purpose = self.slots.get_mut(id.0 as usize)?.take()?;
        self.free.push(id.0);
        Some(purpose)
    }

    /// Number of operations in progress.
    pub fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
