//! What the next process of the role starts with.

use crate::history::History;
use ::access::session;
use part::codec;
use part::report::{Event, Report};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The most that is kept, bytes.
const BYTES_MAX: usize = 4 << 20;

/// What is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Who has signed in.
    pub sessions: session::Kept,
    /// The certificate that was made here, PEM.
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
    /// How the traffic was.
    pub history: History,
    /// What happened, each with what it happened to.
    pub changes: VecDeque<(String, Event)>,
    /// What the cluster said last of its members.
    pub members: Option<Report>,
}

impl State {
    /// Reads what a process kept, which may have been of another program.
    pub fn read(bytes: &[u8]) -> Option<State> {
        codec::decode(bytes).ok()
    }

    /// As it is kept; too much of a history is forgotten.
    pub fn encode(&self) -> Vec<u8> {
        let bytes = codec::encode(self);
        if bytes.len() <= BYTES_MAX {
            return bytes;
        }
        codec::encode(&State {
            history: History::default(),
            ..self.clone()
        })
    }
}
