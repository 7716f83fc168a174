//! Keeps the connections to each member: selects the best one, and decides whether the member is
//! reachable. No I/O; the time is an argument.

use super::Timing;
use super::call::Tried;
use super::link::WireConnection;
use super::path::{Event, Loss, Path, PathKind};
use super::runs::Runs;
use crate::member::{ClusterMember, MemberId};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Largest number of other members that relay connections to a member. If both relays and the
/// direct route fail, the fault is that of the member.
pub(crate) const THIRDS_MAX: usize = 2;
/// Largest number of connections to one member: each route, opened by either side, and two more.
pub(crate) const LINKS_MAX: usize = 2 * (1 + THIRDS_MAX) + 2;
const NOTES_MAX: usize = 64;
const NOTE_AGAIN: Duration = Duration::from_secs(60);

pub(crate) struct Peer {
    links: Vec<Arc<WireConnection>>,
    dialing: BTreeMap<PathKind, AbortHandle>,
    failures: BTreeMap<PathKind, String>,
    up: bool,
    /// True if the other end closed all connections of a reachable member, and the member has not
    /// been reachable since.
    has_ended: bool,
    way: Option<PathKind>,
    changed: Instant,
    runs: Runs,
}

impl Peer {
    fn new() -> Peer {
        Peer {
            links: Vec::new(),
            dialing: BTreeMap::new(),
            failures: BTreeMap::new(),
            up: false,
            has_ended: false,
            way: None,
            changed: Instant::now(),
            runs: Runs::default(),
        }
    }

    fn best(&self, tried: &Tried, now: Instant, again: Duration) -> Option<&Arc<WireConnection>> {
        self.links
            .iter()
            .filter(|link| !tried.links.contains(&link.number))
            .filter(|link| tried.run.is_none_or(|run| run == link.bearing.run))
            .min_by_key(|link| {
                let way = link.bearing.way;
                let suspect = link.suspect(now, again);
                let worn = tried.ways.contains(&way);
                (suspect, worn, way, !link.bearing.dialed, link.number)
            })
    }

    fn update_path(&mut self, now: Instant, up: bool, again: Duration) -> bool {
        let best = self.best(&Tried::default(), now, again);
        let way = best.map(|link| link.bearing.way).filter(|_| up);
        let turned = up != self.up;
        if turned || way != self.way {
            self.changed = now;
        }
        self.up = up;
        self.has_ended &= !up;
        self.way = way;
        turned
    }

    fn answers_within(&self, now: Instant, limit: Duration) -> bool {
        self.links
            .iter()
            .any(|link| !link.unanswered_for(now, limit))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.dialing.values().for_each(AbortHandle::abort);
    }
}

#[derive(Default)]
pub(crate) struct Peers {
    all: BTreeMap<MemberId, Peer>,
}

impl Peers {
    pub(crate) fn links(&self) -> impl Iterator<Item = &Arc<WireConnection>> {
        self.all.values().flat_map(|peer| &peer.links)
    }

    /// Dials exactly these members, on each of their routes: stops the other tasks that dial.
    /// Returns the routes that no task dials yet.
    pub(crate) fn dial_only(&mut self, members: &[MemberId]) -> Vec<(MemberId, PathKind)> {
        let wanted: Vec<(MemberId, PathKind)> = members
            .iter()
            .flat_map(|member| ways_to(*member, members))
            .collect();
        for (member, peer) in &mut self.all {
            peer.dialing.retain(|way, task| {
                let stays = wanted.contains(&(*member, *way));
                if !stays {
                    task.abort();
                }
                stays
            });
            peer.failures
                .retain(|way, _| wanted.contains(&(*member, *way)));
        }
        self.all
            .retain(|member, peer| members.contains(member) || !peer.links.is_empty());
        let all = &self.all;
        let undialed = wanted.into_iter().filter(|(member, way)| {
            let peer = all.get(member);
            !peer.is_some_and(|peer| peer.dialing.contains_key(way))
        });
        undialed.collect()
    }

    pub(crate) fn dialed_by(&mut self, member: MemberId, way: PathKind, task: AbortHandle) {
        let peer = self.all.entry(member).or_insert_with(Peer::new);
        if let Some(old) = peer.dialing.insert(way, task) {
            old.abort();
        }
    }

    /// Adds a connection. Returns those that it replaces: one of the same route and side, which the
    /// other end no longer knows, and the oldest ones beyond [`LINKS_MAX`].
    pub(crate) fn attach(&mut self, link: &Arc<WireConnection>) -> Vec<Arc<WireConnection>> {
        let peer = self.all.entry(link.bearing.peer).or_insert_with(Peer::new);
        let bearing = &link.bearing;
        let same = |old: &Arc<WireConnection>| {
            old.bearing.way == bearing.way && old.bearing.dialed == bearing.dialed
        };
        let mut replaced: Vec<Arc<WireConnection>> =
            peer.links.extract_if(.., |old| same(old)).collect();
        while peer.links.len() >= LINKS_MAX {
            replaced.push(peer.links.remove(0));
        }
        peer.links.push(Arc::clone(link));
        replaced
    }

    /// Records the process run that a connection belongs to. Returns whether two machines connect
    /// as this member.
    pub(crate) fn connected(&mut self, member: MemberId, run: u64, now: Instant) -> bool {
        let peer = self.all.entry(member).or_insert_with(Peer::new);
        peer.runs.connected(run, now)
    }

    /// Removes a connection. Returns its member if the member is no longer reachable without it.
    pub(crate) fn detach(
        &mut self,
        link: &Arc<WireConnection>,
        now: Instant,
        timing: &Timing,
    ) -> Option<MemberId> {
        let member = link.bearing.peer;
        let peer = self.all.get_mut(&member)?;
        peer.links.retain(|other| other.number != link.number);
        // Counts only connections that have answered within the ping interval: others may be as
        // dead as this one.
        let up = peer.up && peer.answers_within(now, timing.ping);
        let turned = peer.update_path(now, up, timing.again);
        // Counts the process as ended only if the member was up: a silent member was down before
        // its connections were closed.
        peer.has_ended |= turned;
        turned.then_some(member)
    }

    pub(crate) fn review(
        &mut self,
        member: MemberId,
        now: Instant,
        timing: &Timing,
    ) -> Option<Event> {
        let peer = self.all.get_mut(&member)?;
        // The silence for "down" is longer than that for "up", so that the status does not
        // flap.
        let limit = if peer.up { timing.silent } else { timing.ping };
        let up = peer.answers_within(now, limit);
        let turned = peer.update_path(now, up, timing.again);
        turned.then_some(if up {
            Event::Up(member)
        } else {
            Event::Down {
                member,
                why: Loss::Silent,
            }
        })
    }

    pub(crate) fn choose(
        &self,
        to: MemberId,
        tried: &Tried,
        now: Instant,
        again: Duration,
    ) -> Option<Arc<WireConnection>> {
        self.all.get(&to)?.best(tried, now, again).cloned()
    }

    pub(crate) fn tried(&mut self, to: MemberId, way: PathKind, failure: Option<String>) {
        if let Some(peer) = self.all.get_mut(&to) {
            match failure {
                Some(words) => peer.failures.insert(way, words),
                None => peer.failures.remove(&way),
            };
        }
    }

    pub(crate) fn reaches_directly(&self, to: MemberId, now: Instant, limit: Duration) -> bool {
        self.all.get(&to).is_some_and(|peer| {
            let mut direct = peer
                .links
                .iter()
                .filter(|link| link.bearing.way == PathKind::Direct);
            direct.any(|link| !link.unanswered_for(now, limit))
        })
    }

    pub(crate) fn path(&self, member: &ClusterMember, now: Instant, timing: &Timing) -> Path {
        let mut path = Path {
            member: member.id,
            name: member.name.clone(),
            up: false,
            way: None,
            rtt_us: None,
            since_ms: 0,
            connections: Vec::new(),
            broken: Vec::new(),
            has_ended: false,
            is_cloned: false,
        };
        let Some(peer) = self.all.get(&member.id) else {
            return path;
        };
        path.up = peer.up;
        path.has_ended = peer.has_ended;
        path.is_cloned = peer.runs.is_cloned(now);
        path.since_ms = now.saturating_duration_since(peer.changed).as_millis() as u64;
        if let Some(best) = peer
            .best(&Tried::default(), now, timing.again)
            .filter(|_| peer.up)
        {
            path.way = Some(best.bearing.way);
            path.rtt_us = best.rtt().map(|rtt| rtt.as_micros() as u64);
        }
        let told = peer
            .links
            .iter()
            .map(|link| link.connection(now, timing.again));
        path.connections = told.collect();
        path.connections
            .sort_by_key(|connection| (connection.suspect, connection.way, !connection.dialed));
        path.broken = broken(peer, now, timing);
        path
    }
}

fn ways_to(member: MemberId, members: &[MemberId]) -> impl Iterator<Item = (MemberId, PathKind)> {
    let thirds = members.iter().filter(move |third| **third != member);
    let tunnels = thirds
        .take(THIRDS_MAX)
        .map(|third| PathKind::Through(*third));
    std::iter::once(PathKind::Direct)
        .chain(tunnels)
        .map(move |way| (member, way))
}

fn broken(peer: &Peer, now: Instant, timing: &Timing) -> Vec<String> {
    let mut told: Vec<String> = peer
        .links
        .iter()
        .filter(|link| link.unanswered_for(now, timing.ping))
        .map(|link| {
            let side = if link.bearing.dialed {
                "opened by this member"
            } else {
                "opened by the other member"
            };
            format!(
                "the connection {}, {side}, does not respond",
                words(link.bearing.way)
            )
        })
        .collect();
    let failed = peer.failures.iter();
    told.extend(failed.map(|(way, failure)| format!("no connection {}: {failure}", words(*way))));
    told
}

fn words(way: PathKind) -> String {
    match way {
        PathKind::Direct => "on the direct path".to_owned(),
        PathKind::Through(third) => format!("through member {third}"),
    }
}

/// Recent notes, so that a note that recurs every second is reported once a minute.
#[derive(Default)]
pub(crate) struct Notes {
    told: HashMap<String, Duration>,
    order: VecDeque<String>,
}

impl Notes {
    /// Returns whether a note was not reported in the last [`NOTE_AGAIN`]. `now` counts from any
    /// fixed moment.
    pub(crate) fn is_news(&mut self, now: Duration, words: &str) -> bool {
        if let Some(last) = self.told.get_mut(words) {
            let news = now.saturating_sub(*last) >= NOTE_AGAIN;
            if news {
                *last = now;
            }
            return news;
        }
        while self.order.len() >= NOTES_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.told.remove(&oldest);
            }
        }
        self.order.push_back(words.to_owned());
        self.told.insert(words.to_owned(), now);
        true
    }
}
