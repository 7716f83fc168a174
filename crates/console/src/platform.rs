//! The whole platform, as one machine of it knows it: what is drawn.

use crate::history::History;
use crate::look::Look;
use part::report::State;
use part::versions::Versions;
use std::sync::Arc;

/// All machines, and what was.
#[derive(Clone, Debug, Default)]
pub struct Platform {
    /// The machines; the one that draws is the first. Without a cluster there is no other.
    pub members: Vec<Member>,
    /// How the traffic was.
    pub history: Arc<History>,
    /// The versions of the cluster's configuration; None: there is no cluster, or it does not
    /// respond.
    pub versions: Option<Arc<Versions>>,
}

/// A machine.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: MemberKind,
    /// As the cluster sees it; without a cluster, as it sees itself.
    pub state: State,
    /// Why it is not well.
    pub why: String,
    /// What it says of itself; None: it said nothing yet, or does not respond.
    pub look: Option<Arc<Look>>,
    /// How old that is, milliseconds.
    pub age_ms: u64,
    /// Why it does not respond.
    pub silent: Option<String>,
    /// What would happen if it failed now, as the cluster sees it; empty: that is not known.
    pub if_it_fails: String,
}

/// What a machine is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberKind {
    /// It serves.
    Node,
    /// It breaks ties, and holds no data.
    Arbiter,
}

impl Platform {
    /// The machine that draws.
    pub fn me(&self) -> Option<&Member> {
        self.members.first()
    }
}
