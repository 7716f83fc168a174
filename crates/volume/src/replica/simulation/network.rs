//! Simulated connection between both nodes, which delivers in order within a session, as TCP does.
//! A cut delays messages until it heals or the connection is closed; then all messages in flight
//! are lost.

use super::AttemptNumbers;
use crate::replica::{ReplicaMessage, Session};
use std::collections::VecDeque;

/// Item that one side of the connection receives.
#[derive(Clone, Debug)]
pub enum Item {
    Connected,
    Message(ReplicaMessage<AttemptNumbers>),
}

/// Network with at most one connection.
#[derive(Clone, Debug, Default)]
pub struct SimulatedNetwork {
    sessions: u64,
    pub session: Option<Session>,
    /// Messages in flight, by receiver.
    queues: [VecDeque<Item>; 2],
    /// Arrival time of the last message, by receiver.
    arrives: [u64; 2],
    /// True if a cut holds back everything, by receiver.
    pub cut: [bool; 2],
}

impl SimulatedNetwork {
    /// Connects both nodes. The previous connection must have ended.
    pub fn connect(&mut self) -> Session {
        self.sessions += 1;
        let session = Session(self.sessions);
        self.session = Some(session);
        self.queues = Default::default();
        session
    }

    pub fn close(&mut self) {
        self.session = None;
        self.queues = Default::default();
    }

    /// Sends an item to a node. Returns its arrival time.
    pub fn send(&mut self, to: usize, item: Item, at: u64) -> u64 {
        self.queues[to].push_back(item);
        self.arrives[to] = self.arrives[to].max(at);
        self.arrives[to]
    }

    /// Receives an item, unless the connection is cut.
    pub fn receive(&mut self, session: Session, to: usize) -> Option<Item> {
        if self.session != Some(session) || self.cut[to] {
            return None;
        }
        self.queues[to].pop_front()
    }

    /// Returns the number of items in flight to a node.
    pub fn waiting(&self, to: usize) -> usize {
        self.queues[to].len()
    }
}
