//! The connection of both nodes: in order within a session, as TCP keeps it. A cut delays
//! what is sent until it heals, or until the connection is given up; then all that was
//! under way is lost.

use super::Content;
use crate::replica::{Message, Session};
use std::collections::VecDeque;

/// What a side receives.
#[derive(Clone, Debug)]
pub enum Item {
    Connected,
    Message(Message<Content>),
}

/// One connection at a time.
#[derive(Clone, Debug, Default)]
pub struct Network {
    sessions: u64,
    /// The current one.
    pub session: Option<Session>,
    /// By the receiver.
    queues: [VecDeque<Item>; 2],
    /// When the last one arrives, by the receiver.
    arrives: [u64; 2],
    /// Whether nothing arrives, by the receiver.
    pub cut: [bool; 2],
}

impl Network {
    /// Connects both; a former connection has ended.
    pub fn connect(&mut self) -> Session {
        self.sessions += 1;
        let session = Session(self.sessions);
        self.session = Some(session);
        self.queues = Default::default();
        session
    }

    /// The connection has ended.
    pub fn close(&mut self) {
        self.session = None;
        self.queues = Default::default();
    }

    /// Sends to a node; returns when it arrives.
    pub fn send(&mut self, to: usize, item: Item, at: u64) -> u64 {
        self.queues[to].push_back(item);
        self.arrives[to] = self.arrives[to].max(at);
        self.arrives[to]
    }

    /// Something arrives, unless it is cut.
    pub fn receive(&mut self, session: Session, to: usize) -> Option<Item> {
        if self.session != Some(session) || self.cut[to] {
            return None;
        }
        self.queues[to].pop_front()
    }

    /// How many wait for a node.
    pub fn waiting(&self, to: usize) -> usize {
        self.queues[to].len()
    }
}
