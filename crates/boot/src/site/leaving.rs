//! A network leaves the files of its leases for others.

use super::Site;
use crate::assignment::Turns;
use crate::journal::Journal;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What the files in another directory have to have.
#[derive(Debug, Default)]
pub struct Leaving {
    /// The leases; None: they are in no file.
    pub leases: Option<String>,
    /// The leases of IPv6.
    pub leases6: Option<String>,
    /// What was booted once; None: it is not known.
    pub turns: Option<Turns>,
}

/// The files there.
#[derive(Debug, Default)]
pub struct Entering {
    /// The leases.
    pub leases: Option<Journal<Ipv4Addr>>,
    /// The leases of IPv6.
    pub leases6: Option<Journal<Ipv6Addr>>,
}

impl Site {
    /// Leaves its files. What it knows stays, and no client may be told of a lease until it has entered others.
    pub fn leave_files(&mut self) -> Leaving {
        self.store();
        self.store6();
        let has_turns = self.has_turns();
        // Without them each machine would boot its installer again.
        self.turns_status.is_unknown |= !has_turns;
        Leaving {
            leases: self.parts.keeping.leave(),
            leases6: self.six.leave(),
            turns: has_turns.then(|| self.turns.clone()),
        }
    }

    /// Its leases are not in the directory of the file, if there is a reason for that.
    pub fn leases_stay(&mut self, why: Option<String>) {
        self.parts.keeping.stays = why;
    }

    /// Keeps its leases in these files from now on.
    pub fn enter_files(&mut self, entering: Entering) {
        if let Some(journal) = entering.leases {
            self.parts.keeping.enter(journal);
        }
        if let Some(journal) = entering.leases6 {
            self.six.enter(journal);
        }
    }
}
