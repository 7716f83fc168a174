//! What the parts of a laboratory know in common.

use crate::fault::Faults;
use crate::relay::Relayed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What joins hosts, by the names of namespaces and interfaces.
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

/// What the parts of a laboratory know in common. It knows no host, since every
/// host knows it.
#[derive(Debug, Default)]
pub(crate) struct Ground {
    pub(crate) faults: Arc<Faults>,
    cables: Mutex<Vec<Cable>>,
}

impl Ground {
    pub(crate) fn cables(&self) -> MutexGuard<'_, Vec<Cable>> {
        self.cables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
