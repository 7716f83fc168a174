//! Moves a network's lease files: a network leaves its files for others.

use super::Site;
use crate::assignment::Turns;
use crate::journal::Journal;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Contents of the files that another directory must have.
#[derive(Debug, Default)]
pub struct Leaving {
    /// Leases of IPv4; None: they are in no file.
    pub leases: Option<String>,
    /// Leases of IPv6; None: they are in no file.
    pub leases6: Option<String>,
    /// Progress of single boots; None: it is unknown.
    pub turns: Option<Turns>,
}

/// Open files in the new directory.
#[derive(Debug, Default)]
pub struct Entering {
    /// Journal of the IPv4 leases.
    pub leases: Option<Journal<Ipv4Addr>>,
    /// Journal of the IPv6 leases.
    pub leases6: Option<Journal<Ipv6Addr>>,
}

impl Site {
    /// Closes the files. The state in memory stays, and no client gets a lease until other files
    /// are entered.
    pub fn leave_files(&mut self) -> Leaving {
        self.store();
        self.store6();
        let has_turns = self.has_turns();
        // Without the turns each machine would boot its installer again.
        self.turns_status.is_unknown |= !has_turns;
        Leaving {
            leases: self.parts.keeping.leave(),
            leases6: self.six.leave(),
            turns: has_turns.then(|| self.turns.clone()),
        }
    }

    /// Sets the reason for which the leases stay in the previous directory; None: they are in the
    /// configured one.
    pub fn leases_stay(&mut self, why: Option<String>) {
        self.parts.keeping.stays = why;
    }

    /// Stores the leases in these files from now on.
    pub fn enter_files(&mut self, entering: Entering) {
        if let Some(journal) = entering.leases {
            self.parts.keeping.enter(journal);
        }
        if let Some(journal) = entering.leases6 {
            self.six.enter(journal);
        }
    }
}
