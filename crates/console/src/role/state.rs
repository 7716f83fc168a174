//! State that one process of the role leaves to the next.

use crate::history::History;
use ::access::session;
use part::codec;
use part::report::{Event, StatusReport};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Maximum size of the saved state, bytes.
const BYTES_MAX: usize = 4 << 20;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedConsoleState {
    /// Sessions of the users who have signed in.
    pub sessions: session::SavedSessions,
    /// The self-signed certificate with its key, PEM.
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
    pub history: History,
    /// Events, each with its subject.
    pub changes: VecDeque<(String, Event)>,
    /// Last report of the cluster about its members.
    pub members: Option<StatusReport>,
}

impl SavedConsoleState {
    /// Decodes the state that a process has saved, possibly one of another program version.
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
