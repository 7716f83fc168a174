//! Shows operators the machines that other nodes serve: each machine's address and its node, the
//! responses of other nodes, and what machines booted there. No address assignment depends on this
//! module.

use super::{HeldPart, NetworkState};
use crate::dhcp::desk::DhcpServer;
use crate::dhcp::mirror::LeaseCopies;
use crate::dhcp::pool::Pool;
use crate::dhcp::range::{Address, Range};
use crate::history::{BootHistoryEntry, LastBoot};
use crate::mac::Mac;
use part::report::Moment;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const MACHINES_MAX: usize = 4_096;
pub const ACTIVITIES_MAX: usize = 128;
/// Maximum length of the text of a request or response that is sent to other nodes, characters.
pub const WORDS_MAX: usize = 200;
/// Maximum delay of another node's report, milliseconds. Both nodes receive a broadcast, and the
/// report of the node that responds to it arrives at most this much later.
const REPORT_MS: u64 = 1_000;

/// Latest activity of a node for a machine. It contains ages in milliseconds, since the clocks of
/// nodes differ.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct MachineActivity {
    pub mac: Mac,
    #[serde(default)]
    pub last: Option<AnsweredRequest>,
    #[serde(default)]
    pub booted: Option<(String, u64)>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct AnsweredRequest {
    pub age_ms: u64,
    pub asked: String,
    pub answered: String,
}

/// Activity of another node for a machine.
#[derive(Clone, Debug, Default)]
struct RemoteActivity {
    node: String,
    last: Option<BootHistoryEntry>,
    booted: Option<(String, Moment)>,
    /// Time of the node's report: the activity with the lowest one is forgotten first.
    heard_ms: u64,
}

/// Activities of other nodes, by machine and node.
#[derive(Debug, Default)]
pub(super) struct RemoteActivities {
    machines: HashMap<Mac, BTreeMap<String, RemoteActivity>>,
}

impl RemoteActivities {
    fn hear(&mut self, node: &str, activity: MachineActivity, now: Moment) {
        let mac = activity.mac;
        if self.machines.len() >= MACHINES_MAX && !self.machines.contains_key(&mac) {
            self.forget();
        }
        let there = self.machines.entry(mac).or_default();
        let there = there.entry(node.to_owned()).or_default();
        node.clone_into(&mut there.node);
        there.heard_ms = now.boottime_ms;
        if let Some(last) = activity.last {
            there.last = Some(BootHistoryEntry {
                at: before(now, last.age_ms),
                asked: cut(&last.asked),
                answered: cut(&last.answered),
                why: String::new(),
                times: 1,
            });
        }
        if let Some((image, age_ms)) = activity.booted {
            there.booted = Some((cut(&image), before(now, age_ms)));
        }
    }

    fn forget(&mut self) {
        let heard =
            |all: &BTreeMap<String, RemoteActivity>| all.values().map(|one| one.heard_ms).max();
        let mut all: Vec<Option<u64>> = self.machines.values().map(heard).collect();
        all.sort_unstable();
        let limit = all.get(all.len() / 4).copied().flatten();
        self.machines.retain(|_, all| heard(all) > limit);
    }

    fn of(&self, mac: Mac) -> impl Iterator<Item = &RemoteActivity> {
        self.machines
            .get(&mac)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    fn last(&self, mac: Mac) -> Option<(&BootHistoryEntry, &str)> {
        let all = self.of(mac);
        let all = all.filter_map(|one| Some((one.last.as_ref()?, one.node.as_str())));
        all.max_by_key(|(step, _)| step.at.boottime_ms)
    }
}

fn before(now: Moment, age_ms: u64) -> Moment {
    Moment {
        boottime_ms: now.boottime_ms.saturating_sub(age_ms),
        unix_ms: now.unix_ms.saturating_sub(age_ms),
    }
}

fn cut(words: &str) -> String {
    words.chars().take(WORDS_MAX).collect()
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct LeaseCounts {
    pub(super) here: u64,
    by_others: BTreeMap<String, u64>,
    /// True if no node has reported the leases of some part of the range.
    lacks: bool,
}

impl LeaseCounts {
    pub(super) fn elsewhere(&self) -> u64 {
        self.by_others.values().sum()
    }

    /// Formats the numbers of leases by node. `me`: name of this node; empty: there is no other
    /// node.
    pub(super) fn words(&self, me: &str) -> String {
        if me.is_empty() {
            return self.here.to_string();
        }
        let here = format!("{} by {me}", self.here);
        let others = self.by_others.iter();
        let others = others.map(|(node, count)| format!("{count} by {node}"));
        let lacks = self.lacks.then(|| "others not known here".to_owned());
        let all: Vec<String> = std::iter::once(here).chain(others).chain(lacks).collect();
        all.join(", ")
    }
}

fn clients<A: Address>(pool: &Pool<A>) -> impl Iterator<Item = Mac> {
    let known = pool.known().map(|(address, _)| address);
    let held = known.filter(|address| pool.holds(*address));
    held.filter_map(|address| pool.client(address))
}

/// Returns the clients that have leases from other nodes, each with its node. `held`: the parts of
/// the range that this node holds.
fn clients_elsewhere<'c, A: Address>(
    copies: &'c LeaseCopies,
    held: &'c BTreeMap<usize, HeldPart>,
    range: Option<Range<A>>,
) -> impl Iterator<Item = (&'c str, Mac)> {
    let others = copies
        .others()
        .filter(move |(part, _)| !held.contains_key(part));
    let all = others.flat_map(|(part, copy)| {
        let known = copy.known();
        known.map(move |one| (part, copy.node.as_str(), *one))
    });
    all.filter_map(move |(part, node, one)| {
        let (mac, address) = (one.mac()?, A::of_ip(one.address)?);
        range?.is_of(address, part).then_some((node, mac))
    })
}

/// Chooses the address of a machine: its lease from this node, the address from another node, or an
/// offer of this node, with the node that assigned it. An empty node: no node is known to hold the
/// part.
fn choose<A: Address>(
    pool: Option<&mut Pool<A>>,
    mac: Mac,
    me: &str,
    is_newer_elsewhere: bool,
    elsewhere: Option<(A, String)>,
) -> Option<(A, String)> {
    let pool = pool.as_deref();
    let leased = pool.and_then(|pool| pool.leased(mac));
    let leased = leased.filter(|_| elsewhere.is_none() || !is_newer_elsewhere);
    if let Some(address) = leased {
        return Some((address, me.to_owned()));
    }
    elsewhere.or_else(|| {
        let pool = pool?;
        let address = pool.of(mac)?;
        let node = if pool.holds(address) { me } else { "" };
        Some((address, node.to_owned()))
    })
}

impl NetworkState {
    /// Returns the activities of this node for machines, to be sent to another node: those after a
    /// number of its history. Also returns the number of the last one.
    pub fn activities(&self, after: u64, now_ms: u64) -> (u64, Vec<MachineActivity>) {
        let (number, changed) = self.history.changed(after, ACTIVITIES_MAX);
        let age = |at: Moment| now_ms.saturating_sub(at.boottime_ms);
        let all = changed.into_iter().map(|mac| {
            let last = self.history.answered_of(mac).map(|step| AnsweredRequest {
                age_ms: age(step.at),
                asked: cut(&step.asked),
                answered: cut(&step.answered),
            });
            let booted = self.history.booted(mac);
            MachineActivity {
                mac,
                last,
                booted: booted.map(|(image, at)| (cut(image), age(at))),
            }
        });
        let all = all.filter(|one| one.last.is_some() || one.booted.is_some());
        (number, all.collect())
    }

    pub fn store_activities(&mut self, node: &str, activities: Vec<MachineActivity>, now: Moment) {
        for activity in activities.into_iter().take(ACTIVITIES_MAX) {
            self.seen.elsewhere.hear(node, activity, now);
        }
    }

    /// Returns the IPv4 address that a machine has, is configured to get, or was offered, and the
    /// node that assigned it. An empty node: the address is configured, or no node holds its part
    /// of the range.
    pub(super) fn four_of(&mut self, mac: Mac) -> Option<(Ipv4Addr, String)> {
        let line = self.lan.machines.get(&mac);
        if let Some(address) = line.and_then(|machine| machine.address) {
            return Some((address, String::new()));
        }
        let elsewhere = self.copied(self.range(), mac);
        let is_newer = self.is_newer_elsewhere(mac);
        let me = self.parts.me.as_str();
        let pool = self.desk.as_mut().and_then(DhcpServer::pool);
        choose(pool, mac, me, is_newer, elsewhere)
    }

    /// Like `four_of`, for IPv6.
    pub(super) fn six_of(&mut self, mac: Mac) -> Option<(Ipv6Addr, String)> {
        let lines = self.lan.six.as_ref().map(|six| &six.machines);
        if let Some(address) = lines.and_then(|lines| lines.get(&mac)) {
            return Some((*address, String::new()));
        }
        let elsewhere = self.copied(self.range6(), mac);
        let is_newer = self.is_newer_elsewhere(mac);
        choose(
            self.six.pool(),
            mac,
            self.parts.me.as_str(),
            is_newer,
            elsewhere,
        )
    }

    /// Returns the address of a range that a machine has from another node, and that node.
    fn copied<A: Address>(&self, range: Option<Range<A>>, mac: Mac) -> Option<(A, String)> {
        let (range, held) = (range?, &self.parts.standing.held);
        let copies = self.parts.shares.copies();
        let is_of = |part: usize, address: IpAddr| {
            !held.contains_key(&part) && A::of_ip(address).is_some_and(|one| range.is_of(one, part))
        };
        let (address, node) = copies.key_of(mac, is_of)?;
        Some((A::of_ip(address)?, node.to_owned()))
    }

    pub(super) fn is_copied(&self, mac: Mac, address: IpAddr) -> bool {
        let has: Option<IpAddr> = match address {
            IpAddr::V4(_) => self.copied(self.range(), mac).map(|(one, _)| one.into()),
            IpAddr::V6(_) => self.copied(self.range6(), mac).map(|(one, _)| one.into()),
        };
        has == Some(address)
    }

    fn is_newer_elsewhere(&self, mac: Mac) -> bool {
        let there = self.seen.elsewhere.last(mac);
        let here = self.history.answered_of(mac);
        let here_ms = here.map(|step| step.at.boottime_ms);
        there.is_some_and(|(step, _)| Some(step.at.boottime_ms) > here_ms)
    }

    /// Returns the last request of a machine at any node, and the node that responded; empty: this
    /// node, or none.
    pub(super) fn last_step(&self, mac: Mac) -> Option<(&BootHistoryEntry, &str)> {
        let here = self.history.last_of(mac);
        let Some((there, node)) = self.seen.elsewhere.last(mac) else {
            return here.map(|step| (step, ""));
        };
        let answered = self.history.answered_of(mac);
        let later = answered.filter(|step| step.at.boottime_ms >= there.at.boottime_ms);
        let best = later.map_or((there, node), |step| (step, ""));
        // Another node may have responded to a request that this one ignored.
        let is_new = |step: &&BootHistoryEntry| {
            step.answered.is_empty() && step.at.boottime_ms > best.0.at.boottime_ms + REPORT_MS
        };
        Some(here.filter(is_new).map_or(best, |step| (step, "")))
    }

    pub(super) fn last_booted(&self, mac: Mac) -> Option<LastBoot> {
        let booted = |image: &str, at, node: &str| LastBoot {
            image: image.to_owned(),
            at,
            node: node.to_owned(),
        };
        let me = &self.parts.me;
        let here = self
            .history
            .booted(mac)
            .map(|(image, at)| booted(image, at, me));
        let there = self.seen.elsewhere.of(mac).filter_map(|one| {
            let (image, at) = one.booted.as_ref()?;
            Some(booted(image, *at, &one.node))
        });
        there.chain(here).max_by_key(|one| one.at.boottime_ms)
    }

    /// Returns the node that serves a machine: the node that assigned its address or, for a fixed
    /// address, the node that responded last. Empty: outside of a cluster, or none.
    pub(super) fn node_of(&mut self, mac: Mac) -> String {
        let by_lease = self
            .four_of(mac)
            .map(|(_, node)| node)
            .filter(|node| !node.is_empty())
            .or_else(|| self.six_of(mac).map(|(_, node)| node));
        if let Some(node) = by_lease.filter(|node| !node.is_empty()) {
            return node;
        }
        match self.last_step(mac) {
            Some((_, node)) if !node.is_empty() => node.to_owned(),
            Some((step, _)) if !step.answered.is_empty() => self.parts.me.clone(),
            _ => String::new(),
        }
    }

    pub(super) fn macs_elsewhere(&mut self) -> BTreeSet<Mac> {
        let mut all: BTreeSet<Mac> = self.seen.elsewhere.machines.keys().copied().collect();
        let (range, range6) = (self.range(), self.range6());
        let (copies, held) = (self.parts.shares.copies(), &self.parts.standing.held);
        all.extend(clients_elsewhere(&copies, held, range).map(|(_, mac)| mac));
        all.extend(clients_elsewhere(&copies, held, range6).map(|(_, mac)| mac));
        drop(copies);
        if let Some(pool) = self.desk.as_mut().and_then(DhcpServer::pool) {
            all.extend(clients(pool));
        }
        if let Some(pool) = self.six.pool() {
            all.extend(clients(pool));
        }
        all
    }

    pub(super) fn is_known_elsewhere(&mut self, mac: Mac) -> bool {
        self.seen.elsewhere.machines.contains_key(&mac)
            || self.four_of(mac).is_some()
            || self.six_of(mac).is_some()
    }

    pub(super) fn leased(&mut self) -> LeaseCounts {
        let elsewhere = self.leased_elsewhere(self.range());
        let pool = self.desk.as_mut().and_then(DhcpServer::pool);
        LeaseCounts {
            here: pool.map_or(0, |pool| clients(pool).count() as u64),
            ..elsewhere
        }
    }

    pub(super) fn leased6(&mut self) -> LeaseCounts {
        let elsewhere = self.leased_elsewhere(self.range6());
        LeaseCounts {
            here: self
                .six
                .pool()
                .map_or(0, |pool| clients(pool).count() as u64),
            ..elsewhere
        }
    }

    fn leased_elsewhere<A: Address>(&self, range: Option<Range<A>>) -> LeaseCounts {
        let held = &self.parts.standing.held;
        let copies = self.parts.shares.copies();
        let count = usize::try_from(self.parts.count).unwrap_or(1);
        let is_copied = |part| copies.others().any(|(copied, _)| copied == part);
        let mut leased = LeaseCounts {
            lacks: (0..count).any(|part| !held.contains_key(&part) && !is_copied(part)),
            ..LeaseCounts::default()
        };
        for (part, copy) in copies.others() {
            if !held.contains_key(&part) {
                leased.by_others.entry(copy.node.clone()).or_default();
            }
        }
        for (node, _) in clients_elsewhere(&copies, held, range) {
            *leased.by_others.entry(node.to_owned()).or_default() += 1;
        }
        leased
    }
}

#[cfg(test)]
mod tests;
