//! Holds the state of the whole platform (all machines), as one of its machines knows it. The pages
//! are drawn from it.

use crate::history::History;
use crate::look::MachineReport;
use part::report::{Event, Moment, SubjectState};
use part::versions::{self, Versions};
use std::borrow::Cow;
use std::sync::Arc;

/// Interval at which a machine polls itself, and queries each other machine, while no user watches,
/// milliseconds.
pub const UNSEEN_MS: u64 = 5_000;
/// Timeout of a poll and of the response of another machine, milliseconds.
pub const PATIENCE_MS: u64 = 3_000;

/// State of all machines as one of them knows it, with the history. The pages are drawn from this
/// value.
#[derive(Clone, Debug, Default)]
pub struct Platform {
    /// The machines; the one that draws the page is the first. Without a cluster there is only this
    /// one.
    pub members: Vec<PlatformMember>,
    pub history: Arc<History>,
    /// Configuration versions of the cluster. None if there is no cluster, or if it does not
    /// respond.
    pub versions: Option<Arc<Versions>>,
}

#[derive(Clone, Debug)]
pub struct PlatformMember {
    pub name: String,
    pub kind: MemberKind,
    /// State according to the cluster; without a cluster, according to the machine itself.
    pub state: SubjectState,
    pub why: String,
    /// Last state that the machine has reported itself, also while it does not respond. None if it
    /// has not reported yet.
    pub look: Option<Arc<MachineReport>>,
    pub age_ms: u64,
    pub silent: Option<String>,
    /// Predicted effect of the machine's failure, according to the cluster. Empty if it is not
    /// known.
    pub if_it_fails: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberKind {
    Node,
    /// An arbiter, which breaks ties and holds no data.
    Arbiter,
}

#[derive(Clone, Debug)]
pub struct MachineEvent<'p> {
    pub member: &'p PlatformMember,
    pub of: String,
    pub event: Cow<'p, Event>,
}

impl Platform {
    pub fn events(&self) -> Vec<MachineEvent<'_>> {
        let mut all = Vec::new();
        for member in &self.members {
            let events = member.look.iter().flat_map(|look| look.events());
            all.extend(events.map(|(of, event)| MachineEvent {
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

    fn of_cluster(&self, one: &versions::Happened) -> Option<MachineEvent<'_>> {
        let mut members = self.members.iter();
        let member = members.find(|member| member.name == one.from);
        let unix_ms = u64::try_from(one.time_s)
            .unwrap_or_default()
            .saturating_mul(1_000);
        Some(MachineEvent {
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

    /// Returns the machine that draws the page.
    pub fn me(&self) -> Option<&PlatformMember> {
        self.members.first()
    }
}
