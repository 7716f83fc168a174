//! Ranges without a payload at one client: they are set to zero or given up. One of them may be as
//! long as the volume, and takes no memory that would limit how many there are, so a client has
//! few of them at the disk, and what others want gets its turn between them.

use crate::disk::{Operation, Token};
use std::collections::VecDeque;

/// Bytes of the ranges that the disk has of one client. A longer one is there alone.
const BYTES_MAX: u64 = 32 << 20;

/// The ranges of one client.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// Bytes of those that the disk has.
    at_disk: u64,
    waiting: VecDeque<(Token, Operation)>,
}

/// The bytes of a range; None: it is another operation.
fn bytes(operation: &Operation) -> Option<u64> {
    match operation {
        Operation::Zero { length, .. } | Operation::Discard { length, .. } => Some(*length),
        _ => None,
    }
}

impl Ranges {
    /// Hands an operation to the disk, or keeps a range until those before it have ended.
    pub(super) fn submit(
        &mut self,
        token: Token,
        operation: Operation,
        out: &mut Vec<(Token, Operation)>,
    ) {
        match bytes(&operation) {
            None => out.push((token, operation)),
            Some(_) => {
                self.waiting.push_back((token, operation));
                self.start(out);
            }
        }
    }

    /// Takes the end of a range of so many bytes: the next ones may begin.
    pub(super) fn ended(&mut self, bytes: u64, out: &mut Vec<(Token, Operation)>) {
        self.at_disk = self.at_disk.saturating_sub(bytes);
        self.start(out);
    }

    fn start(&mut self, out: &mut Vec<(Token, Operation)>) {
        while let Some((_, next)) = self.waiting.front() {
            let more = bytes(next).unwrap_or(0);
            if self.at_disk > 0 && self.at_disk.saturating_add(more) > BYTES_MAX {
                return;
            }
            self.at_disk = self.at_disk.saturating_add(more);
            out.extend(self.waiting.pop_front());
        }
    }
}
