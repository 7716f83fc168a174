//! Clients of a simulated history, the replies that they received, and the check that these replies
//! are consistent.

use super::AttemptNumbers;
use super::check::{Attempt, Checker};
use super::client::{ClientOperation, SentAttempt, Want, draw};
use super::node::GEOMETRY;
use super::plan::SimulationPlan;
use crate::replica::{Request, RequestId, RequestOutcome};
use lab::Random;

/// Number of blocks that clients use; others are never written.
pub const SPAN: u64 = 56;

/// Next step of a client after a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    Done,
    /// Repeats the operation on the other node.
    Elsewhere(usize),
    /// Repeats the operation on the same node.
    Again(usize),
    /// Ignores the reply, because no client waits for it.
    Nothing,
}

#[derive(Debug)]
pub struct Traffic {
    pub checker: Checker,
    pub ops: Vec<ClientOperation>,
    sent: Vec<SentAttempt>,
    /// Current node of each client.
    pub at: Vec<usize>,
    pub under_way: Vec<usize>,
    pub acknowledged: u64,
    /// End of the highest range of an acknowledged request. Clients know that the volume is at
    /// least that large.
    reached: u64,
    open: Vec<Attempt>,
}

impl Traffic {
    pub fn new(plan: &SimulationPlan, random: &mut Random) -> Traffic {
        let nothing = SentAttempt {
            op: 0,
            node: 0,
            life: 0,
            called: 0,
            open: false,
        };
        // An additional client reads everything at the end.
        let clients = plan.clients + 1;
        Traffic {
            checker: Checker::new(GEOMETRY.blocks),
            ops: Vec::new(),
            sent: vec![nothing],
            at: (0..clients).map(|_| random.index(2)).collect(),
            under_way: vec![0; clients],
            acknowledged: 0,
            reached: 0,
            open: Vec::new(),
        }
    }

    pub fn begin(&mut self, client: usize, plan: &SimulationPlan, random: &mut Random) -> usize {
        let want = draw(random, plan.reads, plan.flushes, plan.crowd, SPAN);
        self.open_op(client, want)
    }

    pub fn open_op(&mut self, client: usize, want: Want) -> usize {
        self.under_way[client] += 1;
        self.ops.push(ClientOperation {
            client,
            want,
            node: self.at[client],
            done: false,
            attempt: 0,
        });
        self.ops.len() - 1
    }

    /// Sends an attempt to the process of the client's node.
    pub fn attempt(&mut self, op: usize, life: u64) -> (RequestId, Request<AttemptNumbers>) {
        let attempt = self.sent.len() as Attempt;
        let called = self.checker.now();
        let node = self.at[self.ops[op].client];
        self.sent.push(SentAttempt {
            op,
            node,
            life,
            called,
            open: true,
        });
        self.open.push(attempt);
        let entry = &mut self.ops[op];
        entry.attempt = attempt;
        entry.node = node;
        for block in entry.blocks().into_iter().flat_map(|blocks| blocks.iter()) {
            match entry.want {
                Want::Read(_) => self.checker.read(attempt, block),
                _ => self.checker.write(attempt, block),
            }
        }
        self.ops[op].request()
    }

    pub fn reply(
        &mut self,
        id: RequestId,
        outcome: &RequestOutcome<AttemptNumbers>,
    ) -> Result<Next, String> {
        let attempt = id.0 as Attempt;
        let sent = self.sent[attempt as usize];
        let op = self.ops[sent.op].clone();
        let is_current = op.attempt == attempt && !op.done;
        if !is_current {
            // The client has moved to another node, but the outcome of its attempt is decided.
            match outcome {
                RequestOutcome::Moved => self.decide(attempt),
                RequestOutcome::NotOwner => self.undo(attempt)?,
                _ => {}
            }
            return Ok(Next::Nothing);
        }
        let blocks = op.blocks();
        if !sent.open && matches!(outcome, RequestOutcome::Done | RequestOutcome::Data(_)) {
            return Err(format!(
                "{attempt} is acknowledged after another node began to serve"
            ));
        }
        match outcome {
            RequestOutcome::Done => {
                self.shut(attempt);
                let is_fua = matches!(op.want, Want::Write(_, true));
                for block in blocks.into_iter().flat_map(|blocks| blocks.iter()) {
                    self.checker.written(attempt, block, is_fua)?;
                }
                if matches!(op.want, Want::Flush) {
                    self.checker.flushed(sent.called);
                }
            }
            RequestOutcome::Data(data) => {
                self.shut(attempt);
                let numbers = blocks.into_iter().flat_map(|blocks| blocks.iter());
                for (block, value) in numbers.zip(&data.0) {
                    self.checker.returned(attempt, block, *value)?;
                }
            }
            RequestOutcome::Busy => {
                self.undo(attempt)?;
                return Ok(Next::Again(sent.op));
            }
            RequestOutcome::Failed => {
                self.decide(attempt);
                return Ok(Next::Again(sent.op));
            }
            RequestOutcome::NotOwner => {
                self.undo(attempt)?;
                return Ok(Next::Elsewhere(sent.op));
            }
            RequestOutcome::Moved => {
                self.decide(attempt);
                return Ok(Next::Elsewhere(sent.op));
            }
            RequestOutcome::OutOfRange => {
                let end = blocks.map(|blocks| blocks.end()).unwrap_or_default();
                if end <= self.reached {
                    return Err(format!("{attempt} is out of range: the volume has shrunk"));
                }
                self.undo(attempt)?;
                return Ok(Next::Again(sent.op));
            }
        }
        let end = blocks.map(|blocks| blocks.end()).unwrap_or_default();
        self.reached = self.reached.max(end);
        self.acknowledged += 1;
        self.ops[sent.op].done = true;
        self.under_way[op.client] -= 1;
        Ok(Next::Done)
    }

    /// Records that a node begins to serve. Attempts that were sent to other nodes or to earlier
    /// processes have taken effect by now, or never will.
    pub fn serves(&mut self, node: usize, life: u64) {
        for attempt in self.open.clone() {
            let sent = self.sent[attempt as usize];
            if (sent.node, sent.life) != (node, life) {
                self.decide(attempt);
            }
        }
    }

    /// Returns the operations that wait for this process.
    pub fn waiting_for(&self, node: usize, life: u64) -> Vec<usize> {
        let waits = |op: &usize| {
            let op = &self.ops[*op];
            let sent = self.sent[op.attempt as usize];
            !op.done && op.attempt > 0 && (sent.node, sent.life) == (node, life)
        };
        (0..self.ops.len()).filter(waits).collect()
    }

    pub fn is_done(&self) -> bool {
        self.under_way.iter().all(|count| *count == 0)
    }

    fn decide(&mut self, attempt: Attempt) {
        if !self.sent[attempt as usize].open {
            return;
        }
        self.shut(attempt);
        let op = self.ops[self.sent[attempt as usize].op].clone();
        for block in op.blocks().into_iter().flat_map(|blocks| blocks.iter()) {
            match op.want {
                Want::Read(_) => self.checker.forget_read(attempt, block),
                _ => self.checker.close(attempt, block),
            }
        }
    }

    fn undo(&mut self, attempt: Attempt) -> Result<(), String> {
        if !self.sent[attempt as usize].open {
            return Ok(());
        }
        self.shut(attempt);
        let op = self.ops[self.sent[attempt as usize].op].clone();
        for block in op.blocks().into_iter().flat_map(|blocks| blocks.iter()) {
            match op.want {
                Want::Read(_) => self.checker.forget_read(attempt, block),
                _ => self.checker.undo(attempt, block)?,
            }
        }
        Ok(())
    }

    fn shut(&mut self, attempt: Attempt) {
        self.sent[attempt as usize].open = false;
        self.open.retain(|open| *open != attempt);
    }
}
