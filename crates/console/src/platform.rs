//! The whole platform, as one machine of it knows it: what is drawn.

use crate::history::History;
use crate::look::Look;
use part::report::{Event, Moment, State};
use part::versions::{self, Versions};
use std::borrow::Cow;
use std::sync::Arc;

/// How often a machine looks at itself, and asks each other one, while nobody watches; milliseconds.
pub const UNSEEN_MS: u64 = 5_000;
/// How long a look, and the answer of another machine, may take, milliseconds.
pub const PATIENCE_MS: u64 = 3_000;

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

/// What happened on a machine.
#[derive(Clone, Debug)]
pub struct Happened<'p> {
    /// The machine.
    pub member: &'p Member,
    /// What it happened to.
    pub of: String,
    /// What.
    pub event: Cow<'p, Event>,
}

impl Platform {
    /// What happened on all machines, the newest first.
    pub fn events(&self) -> Vec<Happened<'_>> {
        let mut all = Vec::new();
        for member in &self.members {
            let events = member.look.iter().flat_map(|look| look.events());
            all.extend(events.map(|(of, event)| Happened {
                member,
                of,
                event: Cow::Borrowed(event),
            }));
        }
        let of_cluster = self.versions.iter().flat_map(|versions| &versions.events);
        all.extend(of_cluster.filter_map(|one| self.of_cluster(one)));
        all.sort_by_key(|one| std::cmp::Reverse(one.event.at.unix_ms));
        all
    }

    /// What happened in the cluster, at the member that reported it.
    fn of_cluster(&self, one: &versions::Happened) -> Option<Happened<'_>> {
        let mut members = self.members.iter();
        let member = members.find(|member| member.name == one.from);
        let unix_ms = u64::try_from(one.time_s)
            .unwrap_or_default()
            .saturating_mul(1_000);
        Some(Happened {
            member: member.or(self.me())?,
            of: "cluster".to_owned(),
            event: Cow::Owned(Event {
                at: Moment {
                    unix_ms,
                    ..Moment::default()
                },
                to: one.words.clone(),
                ..Event::default()
            }),
        })
    }

    /// The machine that draws.
    pub fn me(&self) -> Option<&Member> {
        self.members.first()
    }
}
