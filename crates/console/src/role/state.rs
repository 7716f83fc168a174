//! Encodes the state that a process of the console role leaves to its successor.

use crate::history::History;
use ::access::session;
use part::codec;
use part::report::{Event, StatusReport};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const BYTES_MAX: usize = 4 << 20;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedConsoleState {
    pub sessions: session::SavedSessions,
    /// The self-signed certificate with its key, PEM.
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
    pub history: History,
    pub changes: VecDeque<(String, Event)>,
    pub members: Option<StatusReport>,
}

impl SavedConsoleState {
    pub fn read(bytes: &[u8]) -> Option<SavedConsoleState> {
        codec::decode(bytes).ok()
    }

    /// Encodes the state. The history is dropped if it is too large.
    pub fn encode(&self) -> Vec<u8> {
        let bytes = codec::encode(self);
        if bytes.len() <= BYTES_MAX {
            return bytes;
        }
        codec::encode(&SavedConsoleState {
            history: History::default(),
            ..self.clone()
        })
    }
}
