//! Holds the state that the hosts, switches and cables of a laboratory share: the active faults and
//! the list of cables.

use crate::fault::Faults;
use crate::relay::Relayed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connection between hosts, by the names of namespaces and interfaces.
#[derive(Debug)]
pub(crate) enum Cable {
    Direct((String, String), (String, String)),
    Port {
        switch: String,
        port: String,
        host: String,
    },
    Wire {
        a: String,
        b: String,
        shared: Arc<Relayed>,
    },
}

/// Shared state of a laboratory. No host is stored here, because every host refers to this state.
#[derive(Debug, Default)]
pub(crate) struct LabState {
    pub(crate) faults: Arc<Faults>,
    cables: Mutex<Vec<Cable>>,
}

impl LabState {
    pub(crate) fn cables(&self) -> MutexGuard<'_, Vec<Cable>> {
        self.cables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
