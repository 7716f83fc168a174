//! Limits the zero and discard operations of one NBD client. Such an operation may span the whole
//! volume and uses no buffer memory, so memory does not limit it. Only a few per client are
//! submitted at a time, which lets other clients' requests run in between.

use crate::disk::{Operation, Token};
use std::collections::VecDeque;

/// Limit of submitted ranges per client, bytes. A longer range runs alone.
const BYTES_MAX: u64 = 32 << 20;

#[derive(Debug, Default)]
pub(super) struct Ranges {
    at_disk: u64,
    waiting: VecDeque<(Token, Operation)>,
}

/// Returns the length of a zero or discard operation, bytes; None for other operations.
fn bytes(operation: &Operation) -> Option<u64> {
    match operation {
        Operation::Zero { length, .. } | Operation::Discard { length, .. } => Some(*length),
        _ => None,
    }
}

impl Ranges {
    /// Submits an operation, or queues a zero or discard operation until the previous ones have
    /// ended.
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
