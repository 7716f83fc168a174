//! Determines which priority a node may announce, and from which live owner it may take the
//! addresses: [`OwnershipFacts::row`] chooses a row of the table in docs/virtual-addresses.md from
//! the facts that the role knows. The module does no IO, and a simulation checks it.
//!
//! Invariants:
//!
//! - a node that a majority has not confirmed, a node with another configuration version than the
//!   accepted one, and a node that tries a candidate version take nothing from a live owner that
//!   serves anything;
//! - nor do the first two while another machine responds for an address: its version may name
//!   another router, so they may not understand its adverts;
//! - an owner whose processes were all restarted and that no majority has confirmed since leaves
//!   the addresses to a node with the accepted version that hears it;
//! - a node whose servers are not checked yet takes nothing from a live owner that serves anything;
//! - a removed member owns nothing;
//! - a node with the accepted version outranks nodes that are known not to serve it;
//! - a node that receives no adverts takes the addresses in every row but [`Row::Removed`]: traffic
//!   does not wait for the cluster.

use crate::config::Instance;
use part::role::{MemberNews, VersionStanding};
use protocol::vrrp::OwnershipLimits as Rank;

/// Last position in `prefer` with its own priorities.
const PLACE_MAX: u8 = 4;
/// Difference between the priorities of two positions, in rows without knowledge of other nodes.
const PLACE_STEP: u8 = 10;
/// Priorities of the first node of `prefer`, by [`Service`].
const PLAIN: [u8; 3] = [220, 140, 60];
/// Priorities of the first node of `prefer` while it serves the accepted configuration version and
/// another node of the same `prefer` does not. They are above all of [`PLAIN`] unless nothing is
/// served.
const AHEAD: [u8; 3] = [254, 249, 60];
/// Priorities as in [`AHEAD`], without the confirmation of a majority.
const AHEAD_UNCONFIRMED: [u8; 3] = [244, 239, 60];
/// Priorities of the first node of `prefer` in [`Row::Resumed`]: every confirmed node takes the
/// addresses from it, and no unconfirmed one does.
const RESUMED: [u8; 3] = [99, 94, 60];
/// Owners below this priority cannot serve all of their frontends, or are in [`Row::Resumed`].
const BELOW_ALL: u8 = 160;
/// Owners below this priority serve nothing.
const BELOW_SOME: u8 = 80;

/// Ability of the node to serve an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Service {
    /// All frontends can be served, and all addresses set.
    #[default]
    All,
    /// Some frontends cannot be served, or some addresses cannot be set.
    Some,
    /// Nothing can be served, or no address can be set.
    None,
}

impl Service {
    /// Returns the service of a band of health: 0 is the best.
    pub fn of_band(band: usize) -> Service {
        match band {
            0 => Service::All,
            1 => Service::Some,
            _ => Service::None,
        }
    }
}

/// Facts about this node and one virtual router. [`OwnershipFacts::row`] chooses the row of the
/// ownership table that applies to them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnershipFacts {
    pub is_member: bool,
    /// Standing of the served configuration version; [`VersionStanding::Unconfirmed`] without a
    /// report.
    pub version: VersionStanding,
    /// Positions in `prefer` of the nodes that do not serve the accepted configuration version.
    pub behind: Vec<u8>,
    /// True if another machine may announce priorities of an older configuration version: a node
    /// that does not serve the accepted version, or a removed member with a position in `prefer`.
    pub is_ahead: bool,
    /// True if the node owns the addresses because its predecessor did, and no majority has
    /// confirmed the configuration version since the supervisor started.
    pub is_resumed: bool,
    pub is_candidate: bool,
    /// True until the first health checks of the servers have ended, so it is unknown what the node
    /// can serve. keepalived does not wait for them, so this applies only to our language.
    pub is_untested: bool,
    pub service: Service,
    /// Position in `prefer`; None in keepalived's language, where priorities are configured.
    pub preference_position: Option<u8>,
    /// True if the configuration lets the node take the addresses from an equally healthy owner.
    pub preempt: bool,
}

/// Row of the ownership table in docs/virtual-addresses.md: the situation of a node, which limits
/// the priorities that it announces and the owners from which it takes addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Row {
    /// The machine is not a member of a cluster.
    Standalone,
    /// A majority has confirmed that the node serves the accepted configuration version.
    Current,
    /// As [`Row::Current`], and a node of `prefer` does not serve the accepted configuration
    /// version, or a member was removed.
    Ahead,
    /// No majority has confirmed the configuration version, or the confirmation is some seconds too
    /// old.
    Unconfirmed,
    /// As [`Row::Unconfirmed`], and a node of `prefer` does not serve the accepted configuration
    /// version.
    AheadUnconfirmed,
    /// As [`Row::Unconfirmed`], and the node owns the addresses only because all its processes were
    /// killed and started again before another node took over.
    Resumed,
    /// The node serves another configuration version than the accepted one.
    Outdated,
    Candidate,
    Removed,
}

impl Row {
    /// Returns the name of the row in the documentation and in `evenkeel address`.
    pub fn name(self) -> &'static str {
        match self {
            Row::Standalone => "standalone",
            Row::Current => "current",
            Row::Ahead => "ahead",
            Row::Unconfirmed => "unconfirmed",
            Row::AheadUnconfirmed => "ahead, unconfirmed",
            Row::Resumed => "unconfirmed, resumed",
            Row::Outdated => "outdated",
            Row::Candidate => "candidate",
            Row::Removed => "removed",
        }
    }

    /// Returns why the node waits; empty in rows in which it does not wait.
    pub fn why(self) -> &'static str {
        match self {
            Row::Standalone | Row::Current | Row::Ahead => "",
            Row::Unconfirmed | Row::AheadUnconfirmed => {
                "no majority of the cluster has confirmed that this node serves the accepted version"
            }
            Row::Resumed => {
                "all processes were restarted, and no majority of the cluster has confirmed the served version since"
            }
            Row::Outdated => {
                "the cluster has accepted another version, which this node does not serve"
            }
            Row::Candidate => "this node tries a candidate version",
            Row::Removed => "this machine was removed from the cluster",
        }
    }
}

impl OwnershipFacts {
    /// Returns the facts of an instance, with the last report of the control role (`news`).
    pub fn of(
        instance: &Instance,
        is_member: bool,
        news: &MemberNews,
        now_ns: u64,
    ) -> OwnershipFacts {
        let version = match news.version {
            VersionStanding::Current if news.until_ns <= now_ns => VersionStanding::Unconfirmed,
            version => version,
        };
        let position = |name: &String| instance.prefer.iter().position(|other| other == name);
        let places = news.behind.iter().filter_map(position);
        let places = places.filter_map(|place| u8::try_from(place).ok());
        // Ignores nodes after the last position, which share its priorities: one of them may serve
        // the accepted configuration version.
        let behind: Vec<u8> = places.filter(|place| *place < PLACE_MAX).collect();
        OwnershipFacts {
            is_member,
            version,
            is_ahead: match instance.bands {
                Some(_) => !behind.is_empty() || news.has_removed,
                None => !news.behind.is_empty(),
            },
            behind,
            preference_position: instance.bands.map(place),
            preempt: instance.options.preempt,
            ..OwnershipFacts::default()
        }
    }

    pub fn row(&self) -> Row {
        match self.member_row() {
            Row::Removed => Row::Removed,
            _ if self.is_candidate => Row::Candidate,
            row => row,
        }
    }

    /// Returns the row that applies without a candidate configuration version.
    fn member_row(&self) -> Row {
        match self.version {
            _ if !self.is_member => Row::Standalone,
            VersionStanding::Removed => Row::Removed,
            VersionStanding::Outdated => Row::Outdated,
            VersionStanding::Unconfirmed if self.is_resumed => Row::Resumed,
            VersionStanding::Unconfirmed if self.is_ahead => Row::AheadUnconfirmed,
            VersionStanding::Unconfirmed => Row::Unconfirmed,
            VersionStanding::Current if self.is_ahead => Row::Ahead,
            VersionStanding::Current => Row::Current,
        }
    }

    /// Returns whether a node with any other row is a better holder of a lease. In the rows without
    /// a confirmation or with a candidate, a node keeps a lease that it holds.
    pub fn is_last_for_lease(&self, is_holder: bool) -> bool {
        match self.row() {
            Row::Outdated | Row::Removed => true,
            Row::Unconfirmed | Row::AheadUnconfirmed | Row::Resumed | Row::Candidate => !is_holder,
            Row::Standalone | Row::Current | Row::Ahead => self.is_untested && !is_holder,
        }
    }

    /// Returns the priority that the node announces, and the owners from which it takes the
    /// addresses; None in [`Row::Removed`].
    pub fn ownership_rank(&self) -> Option<Rank> {
        let row = self.row();
        let is_stale = matches!(
            row,
            Row::Unconfirmed | Row::AheadUnconfirmed | Row::Resumed | Row::Outdated
        );
        // Considers health only for a section `virtual-ip`: in a keepalived.conf, priorities do not
        // express health.
        let reads_health = self.preference_position.is_some();
        let takes_below = match (row, self.service) {
            (Row::Removed, _) => return None,
            (Row::Candidate, _) | (_, Service::None) => 0,
            // Takes addresses only from an owner that serves nothing: the node is not confirmed, or
            // its servers are not checked yet and only count as up.
            _ if reads_health && (is_stale || self.is_untested) => BELOW_SOME,
            _ if is_stale => 0,
            (_, Service::All) if self.preempt => u8::MAX,
            // Takes addresses from any owner, which may be the node without the accepted
            // configuration version.
            (Row::Ahead, Service::All) if !reads_health => u8::MAX,
            (_, Service::All) if reads_health => BELOW_ALL,
            (_, Service::Some) if reads_health => BELOW_SOME,
            _ => 0,
        };
        let is_replacing = row == Row::Ahead && self.service == Service::All && !self.is_untested;
        let behind = self.behind.iter().filter(|_| is_replacing);
        let takes_resumed = matches!(row, Row::Current | Row::Ahead)
            && reads_health
            && self.service == Service::Some
            && !self.is_untested;
        let resumed = (0..=PLACE_MAX).filter(|_| takes_resumed).flat_map(|place| {
            [Service::All, Service::Some].map(|service| priority(Row::Resumed, service, place))
        });
        // Announces the low priorities of a resumed owner although a majority has accepted another
        // configuration version: the owner must not wait until others announce higher ones.
        let announced = match self.member_row() {
            Row::Outdated if self.is_resumed => Row::Resumed,
            row => row,
        };
        Some(Rank {
            priority: match (self.preference_position, self.service) {
                (Some(place), service) => Some(priority(announced, service, place)),
                // Announces the lowest priority: any other node is better than one that cannot set
                // its addresses.
                (None, Service::Some | Service::None) => Some(1),
                (None, Service::All) => match row {
                    _ if announced == Row::Resumed => Some(1),
                    Row::Ahead => Some(AHEAD[0]),
                    Row::AheadUnconfirmed => Some(AHEAD_UNCONFIRMED[0]),
                    _ => None,
                },
            },
            takes_below,
            // Yields only with our language. With keepalived, addresses stay in the kernel of an
            // owner that died.
            yields_to_users: self.preference_position.is_some()
                && matches!(row, Row::Unconfirmed | Row::Resumed | Row::Outdated),
            takes_also: behind
                .flat_map(|place| priorities(*place))
                .chain(resumed)
                .collect(),
        })
    }
}

fn priority(row: Row, service: Service, place: u8) -> u8 {
    let place = place.min(PLACE_MAX);
    let (first, step) = match row {
        Row::Ahead => (AHEAD, 1),
        Row::AheadUnconfirmed => (AHEAD_UNCONFIRMED, 1),
        Row::Resumed => (RESUMED, 1),
        _ => (PLAIN, PLACE_STEP),
    };
    let [all, some, none] = first;
    match service {
        Service::All => all - place * step,
        Service::Some => some - place * step,
        Service::None => none - place * PLACE_STEP,
    }
}

/// Returns the position in `prefer` to which the priorities of [`plain`] belong.
pub fn place([all, ..]: [u8; 3]) -> u8 {
    PLAIN[0].saturating_sub(all) / PLACE_STEP
}

/// Returns all priorities that a node at this position in `prefer` may announce.
pub fn priorities(place: u8) -> Vec<u8> {
    let services = [Service::All, Service::Some, Service::None];
    let rows = [
        Row::Current,
        Row::Ahead,
        Row::AheadUnconfirmed,
        Row::Resumed,
    ];
    let all = rows
        .iter()
        .flat_map(|row| services.map(|service| priority(*row, service, place)));
    let mut all: Vec<u8> = all.collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns the position in `prefer` to which a priority belongs. The last position has none,
/// because later nodes share its priorities.
pub fn position(priority: u8) -> Option<u8> {
    (0..PLACE_MAX).find(|place| priorities(*place).contains(&priority))
}

/// Returns the priorities of a standalone node at a position in `prefer`, by [`Service`].
pub fn plain(place: usize) -> [u8; 3] {
    let place = u8::try_from(place).unwrap_or(PLACE_MAX);
    [Service::All, Service::Some, Service::None]
        .map(|service| priority(Row::Standalone, service, place))
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
