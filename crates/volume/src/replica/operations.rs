//! Tracks the disk operations of the replica that are in progress, and the purpose of each.

use super::exchange::OperationId;

/// Purpose of a disk operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OperationPurpose {
    Local(u32),
    /// Command of the owner, with its tag; `serial` is the number of the owner's greeting.
    Serve {
        serial: u64,
        tag: u32,
    },
    Compare {
        serial: u64,
        tag: u32,
        checksum: u64,
    },
    /// Comparison for a verify. An error of the disk is the result of the comparison.
    Verify {
        serial: u64,
        tag: u32,
        checksum: u64,
    },
    Fetch {
        serial: u64,
        tag: u32,
    },
    /// Flush before a follower joins.
    Finish {
        serial: u64,
    },
}

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

    pub fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
