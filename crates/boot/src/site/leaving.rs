//! Moves the lease files of a network to another directory: closes them, and opens the files in the
//! new directory.

use super::NetworkState;
use crate::assignment::SingleBootProgress;
use crate::journal::LeaseJournal;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Contents of the files that another directory must have.
#[derive(Debug, Default)]
pub struct LeavingFiles {
    /// Leases of IPv4; None: they are in no file.
    pub leases: Option<Vec<u8>>,
    pub leases6: Option<Vec<u8>>,
    pub turns: Option<SingleBootProgress>,
}

/// Open files in the new directory.
#[derive(Debug, Default)]
pub struct EnteredFiles {
    pub leases: Option<LeaseJournal<Ipv4Addr>>,
    pub leases6: Option<LeaseJournal<Ipv6Addr>>,
}

impl NetworkState {
    /// Closes the files. The state in memory stays, and no client gets a lease until other files
    /// are opened.
    pub fn leave_files(&mut self) -> LeavingFiles {
        self.store();
        self.store6();
        let has_turns = self.has_turns();
        // Marks the single boots as unknown if their record was not read: without the record, each
        // machine would boot its installer again.
        self.turns_status.is_unknown |= !has_turns;
        LeavingFiles {
            leases: self.parts.keeping.leave(),
            leases6: self.six.keeping.leave(),
            turns: has_turns.then(|| self.turns.clone()),
        }
    }

    /// Sets the reason why the leases stay in the previous directory; None: they are in the
    /// configured one.
    pub fn leases_stay(&mut self, why: Option<String>) {
        self.parts.keeping.stays = why;
    }

    pub fn enter_files(&mut self, entering: EnteredFiles) {
        if let Some(journal) = entering.leases {
            self.parts.keeping.enter(journal);
        }
        if let Some(journal) = entering.leases6 {
            self.six.keeping.enter(journal);
        }
    }
}
