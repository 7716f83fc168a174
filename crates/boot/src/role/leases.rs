//! Decides which cluster leases of a network a node wants, takes and leaves, and which records the
//! node writes under them: a value without a clock.
//!
//! - `boot/NETWORK/0`, `boot/NETWORK/1` …: a part of the range for each node. Each node wants its
//!   own part most; another node has the part while its node is down. Before a node assigns the
//!   first address of a part, it writes its name under the cluster lease: the next holder then
//!   knows that there are leases that it has not seen. The record also names the nodes that know
//!   all of the leases ([`crate::dhcp::mirror`]); one of these copies them when it takes the
//!   part.
//! - A node that knows the leases gets a part before one that does not: the latter leaves the
//!   part for a while even where the cluster grants it. Of two that know the leases, the node
//!   whose part it is takes precedence. A holder hands a part over only to a node that its record
//!   names.
//! - After a take-over, no other node has the new holder's leases yet. Until the previous holder
//!   knows them again, no client gets a lease (`UNHEARD`), for a second at most: if the new
//!   holder fails at once, the previous one knows all leases by itself.
//! - A record also states the ranges by which its holder assigns addresses, and the addresses of
//!   previous ranges ([`crate::dhcp::moves`]). It is `clear` only when the holder waits for
//!   nothing.
//! - A node that takes a part without its leases withholds the addresses, and its record names
//!   the previous holder. When that holder is back, it gets the part: it knows its own leases,
//!   and has a copy of the later ones. The same applies to a node that takes a part by another
//!   range, and has not learned in time which of its addresses the holder of another part
//!   assigned before: that holder gets the part.
//! - The holder of the first part leads: it alone answers machines with a single boot, so that
//!   nothing is installed twice. Its record lists the machines whose next boot an operator
//!   ordered.
//! - `boot/NETWORK/@NODE`: address of the node in the network, for the scripts of other nodes.

mod known;
mod moved;
mod record;

use crate::dhcp::pool::AdoptedKnowledge;
use crate::dhcp::range::Range;
use crate::site::{
    HeldPart, Knowledge, LeaseFiles, MovedPart, NodeLeaseStatus, PartAdoption, PreviousRanges,
};
use known::AWAIT_NS;
use moved::Basis;
use part::codec;
use part::control::LeaseRecord;
use part::role::{KnownLease, WantedLease};
use record::{FormerHolder, FormerKnowledge, NetworkRanges, NodeLeaseRecord, PartRecord, mark_of};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Time for which a lease is not wanted after it was handed over, nanoseconds. By then the other
/// node has taken the lease.
const REST_NS: u64 = 2_000_000_000;
/// Limit of boot orders at one time: a record has no further room.
pub const ORDERS_MAX: usize = 21;
/// Limit of nodes that a record names: it has no further room.
const NAMED_MAX: usize = 4;
/// Time for which a node leaves a part that no node has held yet to the node whose part it is,
/// nanoseconds. Nodes load a new section at slightly different times. A part that changes its
/// holder loses what was known of it: of the first part, which machines had their single boot.
const NEW_NS: u64 = 5_000_000_000;
/// Time within which the leases of a copy have to be on disk, nanoseconds. Afterwards the copy
/// counts as lost.
const ADOPT_NS: u64 = 5_000_000_000;
/// Margin by which a lease may outlast its written end, nanoseconds: see [`crate::dhcp::pool`].
const LONGER_NS: u64 = 600_000_000_000;
/// Longest time, after a take-over, for which the clients of a part wait until the previous
/// holder knows its leases again, nanoseconds.
const UNHEARD_NS: u64 = 1_000_000_000;

/// A part that this node has taken over: what the node knew then, and its state since.
#[derive(Clone, Debug)]
struct AcquiredPart {
    epoch: u64,
    /// Time of the take-over, nanoseconds.
    at_ns: u64,
    /// True if this node knew which machines have had their single boot.
    has_turns: bool,
    state: AcquiredPartState,
    /// Checksum of the previous holder's name, while no client gets a lease.
    previous_holder: Option<u32>,
    /// Checksum of the lease files of the previous holder.
    before: u32,
    /// Longest lease that another node may have given, seconds.
    longest_s: u32,
    former: Option<FormerHolder>,
    former_knowledge: FormerKnowledge,
}

impl AcquiredPart {
    /// Returns what the node can report before it assigns addresses: the epoch, and the addresses
    /// of previous ranges. `record`: the node's own, of this epoch.
    fn claim(&self, record: &PartRecord) -> Option<(u64, PreviousRanges)> {
        let is_own = matches!(self.state, AcquiredPartState::Claims(Basis::Own(..), _));
        is_own.then(|| (self.epoch, record.pasts()))
    }

    /// Returns the node that knows what is withheld because this node has the part. `is_stored`:
    /// whether what this node withholds since it took the part is also on its own disk.
    fn former(&self, is_stored: bool) -> Option<FormerHolder> {
        match &self.state {
            AcquiredPartState::Settled(_, Some(sources)) if is_stored => {
                sources.former.or(self.former)
            }
            _ => self.former,
        }
    }

    /// Returns whether the leases of previous records are the node's own although its record is
    /// not clear. `mine`: its record.
    fn has_own_leases(&self, mine: Option<&PartRecord>) -> bool {
        match &self.state {
            AcquiredPartState::Claims(Basis::Unknown | Basis::Left(_), _) => false,
            AcquiredPartState::Claims(..) => true,
            AcquiredPartState::Settled(..) => mine.is_some_and(|record| record.has_own_leases),
        }
    }
}

/// Knowledge of a node about the leases of a part.
#[derive(Clone, Debug)]
enum AcquiredPartState {
    /// The node has written or writes a record with its ranges, and waits for others. The time is
    /// the start of the wait for leases that are no longer given.
    Claims(Basis, Option<u64>),
    /// The node assigns addresses. The fields say whether it knows all leases, or where it knows
    /// them from.
    Settled(bool, Option<LeaseSourcesOfPart>),
}

/// Sources of the leases of a part whose ranges have changed.
#[derive(Clone, PartialEq, Eq, Debug)]
struct LeaseSourcesOfPart {
    moved: MovedPart,
    /// Late node that knows what is withheld of the part.
    former: Option<FormerHolder>,
}

/// Parts that this node holds by a lease of the cluster. A change of the ranges clears them.
#[derive(Clone, Debug, Default)]
struct OwnedParts {
    /// Parts that this node has taken over, by index.
    taken: BTreeMap<usize, AcquiredPart>,
    /// Parts that this node already held in an earlier call of `evaluate_parts`.
    used: BTreeSet<usize>,
    /// Parts whose leases are being copied from another node: the epoch, and the start,
    /// nanoseconds.
    adopts: BTreeMap<usize, (u64, u64)>,
}

impl OwnedParts {
    fn remove(&mut self, part: usize) {
        self.taken.remove(&part);
        self.used.remove(&part);
        self.adopts.remove(&part);
    }
}

/// Facts about this node that its records contain.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalNode<'a> {
    /// IPv4 address of the node in the network.
    pub address: Option<Ipv4Addr>,
    /// IPv6 address of the node in the network.
    pub address6: Option<Ipv6Addr>,
    /// Machines with a boot order, which count if the node leads.
    pub orders: &'a [u32],
    /// True if all that the node knows of leases is on its disk.
    pub is_stored: bool,
}

impl LocalNode<'_> {
    fn has_address(&self) -> bool {
        self.address.is_some() || self.address6.is_some()
    }
}

/// Cluster leases of one network, as this node sees them.
#[derive(Clone, Debug)]
pub struct ClusterLeases {
    network: String,
    me: String,
    nodes: Vec<String>,
    ranges: NetworkRanges,
    /// Longest lease of a client, nanoseconds.
    lease_ns: u64,
    known: BTreeMap<String, KnownLease>,
    owned: OwnedParts,
    /// Records that were written and may yet take effect: of each part the epoch, and the named
    /// nodes by the number of the record.
    wrote: BTreeMap<usize, (u64, BTreeMap<u64, BTreeSet<u32>>)>,
    /// Complete copies at this node, by part: holder and epoch.
    copies: BTreeMap<usize, (String, u64)>,
    files: LeaseFiles,
    /// Cluster leases that were handed over, and the time until which they are not wanted.
    resting: BTreeMap<String, u64>,
    /// Parts whose leases this node does not know: the holder, the epoch, and the time since
    /// which that is so.
    unknown: BTreeMap<usize, (String, u64, u64)>,
    /// Further addresses of this node that lie in the ranges.
    own: Vec<IpAddr>,
    /// Time of the first report of the cluster, nanoseconds.
    first_report_ns: Option<u64>,
}

impl ClusterLeases {
    /// Creates the state of a network at a node of a cluster.
    pub fn new(network: &str, me: &str, nodes: &[String]) -> ClusterLeases {
        let mut nodes = nodes.to_vec();
        nodes.sort();
        ClusterLeases {
            network: network.to_owned(),
            me: me.to_owned(),
            nodes,
            ranges: NetworkRanges::default(),
            lease_ns: 0,
            known: BTreeMap::new(),
            owned: OwnedParts::default(),
            wrote: BTreeMap::new(),
            copies: BTreeMap::new(),
            files: LeaseFiles::default(),
            resting: BTreeMap::new(),
            unknown: BTreeMap::new(),
            own: Vec::new(),
            first_report_ns: None,
        }
    }

    /// Returns whether a node shares the range.
    pub fn has(&self, node: &str) -> bool {
        self.nodes.iter().any(|one| one == node)
    }

    /// Sets the nodes that share the range.
    pub fn set_nodes(&mut self, nodes: &[String]) {
        let mut nodes = nodes.to_vec();
        nodes.sort();
        self.nodes = nodes;
    }

    /// Sets further addresses of this node that lie in the ranges, so that other nodes exclude
    /// them.
    pub fn set_own(&mut self, own: Vec<IpAddr>) {
        self.own = own;
    }

    /// Sets the ranges, where there are some, and the lease time, seconds. A change of the ranges
    /// restarts the parts.
    pub fn set_range(
        &mut self,
        range: Option<Range>,
        range6: Option<Range<Ipv6Addr>>,
        lease_s: u32,
    ) {
        let lease_ns = u64::from(lease_s).saturating_mul(1_000_000_000);
        self.lease_ns = self.lease_ns.max(lease_ns);
        let ranges = NetworkRanges::new(range, range6);
        if self.ranges != ranges {
            self.ranges = ranges;
            self.owned = OwnedParts::default();
        }
    }

    /// Returns the number of parts, one for each node.
    pub fn parts(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(1).max(1)
    }

    fn part(&self, part: usize) -> String {
        format!("boot/{}/{part}", self.network)
    }

    fn node(&self, node: &str) -> String {
        format!("boot/{}/@{node}", self.network)
    }

    /// Returns the cluster leases that this node wants or watches. `is_able`: the node has an
    /// address in the network.
    pub fn wants(&self, is_able: bool, now_ns: u64) -> Vec<WantedLease> {
        let own = self.nodes.iter().position(|node| *node == self.me);
        let want = |name: String, rank: u32| {
            let rests = self.resting.get(&name).is_some_and(|until| *until > now_ns);
            let rank = if is_able && !rests { rank } else { 0 };
            WantedLease {
                watch: rank == 0,
                name,
                rank,
                valid_ms: 0,
            }
        };
        let parts = 0..usize::try_from(self.parts()).unwrap_or(1);
        let parts = parts.map(|part| {
            let rank = match self.knows_all(part) {
                None => 0,
                Some(true) if own != Some(part) && self.leaves_new(part, now_ns) => 0,
                Some(false) if self.awaits(part, now_ns) => 0,
                Some(false) => 1,
                Some(true) if self.knows_before(part) => 4,
                Some(true) if own == Some(part) && !self.is_learning(part) => 3,
                Some(true) => 2,
            };
            want(self.part(part), rank)
        });
        let nodes = self.nodes.iter();
        let nodes = nodes.map(|node| want(self.node(node), u32::from(*node == self.me)));
        parts.chain(nodes).collect()
    }

    /// Returns the names of the nodes with these checksums.
    fn names(&self, marks: BTreeSet<u32>) -> BTreeSet<String> {
        let name = |mark: u32| {
            let node = self.nodes.iter().find(|node| mark_of(node) == mark);
            // A node that was removed has no leases; the placeholder stays until another record
            // is written.
            node.cloned().unwrap_or_else(|| format!("?{mark}"))
        };
        marks.into_iter().map(name).collect()
    }

    /// Applies the leases of the cluster as the supervisor reports them.
    pub fn apply_known_leases(&mut self, known: &[KnownLease]) {
        let prefix = format!("boot/{}/", self.network);
        let own = known.iter().filter(|lease| lease.name.starts_with(&prefix));
        self.known = own
            .map(|lease| (lease.name.clone(), lease.clone()))
            .collect();
    }

    /// Hands a lease over to a node that the cluster prefers. The request is ignored while that
    /// node may lack leases of clients; the cluster repeats it.
    pub fn hand_over(&mut self, name: &str, now_ns: u64) {
        let mut parts = 0..usize::try_from(self.parts()).unwrap_or(1);
        let part = parts.find(|part| self.part(*part) == name);
        if self.known.contains_key(name) && part.is_none_or(|part| self.is_known_elsewhere(part)) {
            self.resting
                .insert(name.to_owned(), now_ns.saturating_add(REST_NS));
        }
    }

    /// Returns whether each record of a part that may be in effect names another node. A record of
    /// an earlier epoch is accepted, too, and so is a missing one: the holder has assigned nothing
    /// by them.
    fn is_known_elsewhere(&self, part: usize) -> bool {
        let Some(lease) = self.known.get(&self.part(part)) else {
            return false;
        };
        let record: Option<PartRecord> = codec::decode(&lease.record).ok();
        let wrote = self
            .wrote
            .get(&part)
            .filter(|(epoch, _)| *epoch == lease.epoch);
        let wrote = wrote.into_iter().flat_map(|(_, wrote)| wrote);
        let mut later = wrote.filter(|(number, _)| **number > lease.number);
        // Without a record of this epoch the holder has assigned nothing.
        let is_named = |record: PartRecord| {
            record.epoch != lease.epoch || record.clear && !record.named.is_empty()
        };
        record.is_none_or(is_named) && later.all(|(_, named)| !named.is_empty())
    }

    /// Returns the next time at which `evaluate_parts` must run, nanoseconds.
    pub fn due_ns(&self, now_ns: u64) -> Option<u64> {
        let ends = self.known.values().map(|lease| lease.until_ns);
        let unknown = self.unknown.values();
        let unknown = unknown.map(|(.., since)| since.saturating_add(AWAIT_NS));
        let all = ends.chain(self.resting.values().copied()).chain(unknown);
        all.filter(|at| *at > now_ns).min()
    }

    /// Evaluates the state: returns what this node is now, and the records to be written.
    pub fn evaluate_parts(
        &mut self,
        local: &LocalNode<'_>,
        knowledge: &Knowledge,
        now_ns: u64,
    ) -> (NodeLeaseStatus, Vec<LeaseRecord>) {
        if !self.known.is_empty() {
            self.first_report_ns.get_or_insert(now_ns);
        }
        self.resting.retain(|_, until| *until > now_ns);
        self.copies.clone_from(&knowledge.copies);
        self.files = knowledge.files;
        let mut standing = NodeLeaseStatus::default();
        let mut written = Vec::new();
        for part in 0..usize::try_from(self.parts()).unwrap_or(1) {
            self.note_unknown(part, now_ns);
            self.evaluate_part(part, local, knowledge, now_ns, &mut standing, &mut written);
        }
        for node in &self.nodes {
            let Some(lease) = self.known.get(&self.node(node)) else {
                continue;
            };
            let there: Option<NodeLeaseRecord> = codec::decode(&lease.record).ok();
            if *node != self.me {
                let nodes = &mut standing.nodes;
                nodes.own.extend(there.iter().flat_map(|at| &at.own));
                let all = if lease.holder.is_empty() {
                    &mut nodes.gone
                } else {
                    nodes.six.extend(there.as_ref().and_then(|at| at.six));
                    &mut nodes.there
                };
                let address = there.map(|at| at.address);
                all.extend(address.filter(|address| !address.is_unspecified()));
            } else if local.has_address() && lease.until_ns > now_ns {
                standing.recorded = there.as_ref().map(|at| at.generations);
                let at = NodeLeaseRecord {
                    address: local.address.unwrap_or(Ipv4Addr::UNSPECIFIED),
                    six: local.address6,
                    epochs: self.epochs_of_others(),
                    own: self.own.clone(),
                    generations: Self::next_generations(there.as_ref(), knowledge),
                };
                if there.as_ref() != Some(&at) {
                    written.push(LeaseRecord::next(lease, codec::encode(&at)));
                }
            }
        }
        (standing, written)
    }

    fn evaluate_part(
        &mut self,
        part: usize,
        local: &LocalNode<'_>,
        knowledge: &Knowledge,
        now_ns: u64,
        standing: &mut NodeLeaseStatus,
        written: &mut Vec<LeaseRecord>,
    ) {
        let name = self.part(part);
        let Some(lease) = self.known.get(&name).cloned() else {
            return self.leave(part);
        };
        let record: Option<PartRecord> = codec::decode(&lease.record).ok();
        if part == 0 {
            standing.leader.clone_from(&lease.holder);
            let is_others = |record: &PartRecord| record.node != self.me;
            standing.is_led_elsewhere = record.as_ref().is_some_and(is_others);
            standing.orders = record
                .as_ref()
                .map(|record| record.orders.clone())
                .unwrap_or_default();
        }
        let is_resting = self.resting.contains_key(&name);
        if lease.until_ns <= now_ns || is_resting || self.is_left(part, &lease, now_ns) {
            return self.leave(part);
        }
        let mine = record.as_ref().filter(|record| self.is_mine(record));
        let said = mine.is_some_and(|record| record.epoch == lease.epoch);
        let mut taken = match self.take(part, &lease, record.as_ref(), knowledge, now_ns) {
            Ok(taken) => taken,
            Err(adopt) => return drop(standing.adopts.insert(part, adopt)),
        };
        if said {
            let awaited = self.settle(part, &mut taken, knowledge, now_ns);
            standing.awaited_nodes.extend(awaited);
        }
        if !self.is_waiting_for_leases(part, &taken, mine, knowledge, now_ns) {
            taken.previous_holder = None;
        }
        self.owned.taken.insert(part, taken.clone());
        let claim = mine.filter(|_| said).and_then(|record| taken.claim(record));
        standing.claims.extend(claim.map(|claim| (part, claim)));
        let local = LocalNode {
            is_stored: self.owned.used.contains(&part) && local.is_stored,
            ..*local
        };
        let before = record.as_ref();
        let wanted = self.build_part_record(part, before, &taken, &local, knowledge, now_ns);
        let wrote = self.write(part, &lease, record.as_ref(), &wanted, written);
        // Holds the part only once its record is written, so that the next holder knows of the
        // leases.
        if let (Some(record), AcquiredPartState::Settled(knows, sources)) =
            (record.filter(|_| said), &taken.state)
        {
            let marks = record.named.iter().copied().chain(wrote).collect();
            let held = HeldPart {
                has_all_leases: *knows,
                moved: sources.as_ref().map(|sources| sources.moved.clone()),
                until_ms: lease.until_ns / 1_000_000,
                ..self.held(&record, &taken, marks)
            };
            standing.held.insert(part, held);
            self.owned.used.insert(part);
        }
    }

    /// Builds the record of a part that this node took as `taken` says. `record`: the current one.
    /// `local.is_stored` counts for what another node may have assigned, except in the call in
    /// which this node took the part.
    fn build_part_record(
        &self,
        part: usize,
        record: Option<&PartRecord>,
        taken: &AcquiredPart,
        local: &LocalNode<'_>,
        knowledge: &Knowledge,
        now_ns: u64,
    ) -> PartRecord {
        let mine = record.filter(|record| self.is_mine(record));
        let of = |record: &PartRecord| (record.clear, record.turns);
        let (is_clear, had_turns) = mine.map(of).unwrap_or_default();
        let (settled, is_told) = match &taken.state {
            AcquiredPartState::Settled(knows, _) => (Some(*knows), true),
            AcquiredPartState::Claims(basis, _) => (None, matches!(basis, Basis::Own(..))),
        };
        let said = mine.is_some_and(|record| record.epoch == taken.epoch);
        let in_step = knowledge
            .in_step
            .get(&part)
            .filter(|(of, _)| is_told && said && *of == taken.epoch);
        let in_step = in_step.into_iter().flat_map(|(_, nodes)| nodes);
        let in_step = in_step.map(|node| mark_of(node)).take(NAMED_MAX);
        let clear = settled.is_some_and(|knows| knows || is_clear || local.is_stored);
        let have_ended = self.have_ended(taken, now_ns);
        let former = if have_ended {
            None
        } else {
            // Names the former holder until the earlier leases have ended: after a restart before
            // that, this node has to decide again what it knows of the part.
            self.former(taken, clear)
        };
        let claimed = record.filter(|_| !have_ended);
        PartRecord {
            node: self.me.clone(),
            clear,
            turns: taken.has_turns || had_turns || local.is_stored,
            ranges: self.ranges,
            orders: match part {
                0 => local.orders.iter().copied().take(ORDERS_MAX).collect(),
                _ => Vec::new(),
            },
            epoch: taken.epoch,
            named: match taken.previous_holder {
                Some(before) => [before].into(),
                None => in_step.collect(),
            },
            past: self.past(part, claimed, taken),
            past6: self.past6(part, claimed, taken),
            is_unheard: taken.previous_holder.is_some(),
            has_own_leases: !clear && taken.has_own_leases(mine),
            files: self.files,
            before: taken.previous_holder.map_or(0, |_| taken.before),
            longest_s: if have_ended {
                knowledge.longest_s
            } else {
                knowledge.longest_s.max(taken.longest_s)
            },
            former,
            former_knowledge: former.map(|_| taken.former_knowledge).unwrap_or_default(),
        }
    }

    /// Returns whether clients of a part still have to wait for leases: the previous holder does
    /// not know all of them, but may soon. `mine`: the current record, if it is of this node.
    fn is_waiting_for_leases(
        &self,
        part: usize,
        taken: &AcquiredPart,
        mine: Option<&PartRecord>,
        knowledge: &Knowledge,
        now_ns: u64,
    ) -> bool {
        // After a record without `is_unheard`, clients may have got a lease.
        let is_heard = |record: &PartRecord| record.epoch == taken.epoch && !record.is_unheard;
        if mine.is_some_and(is_heard) {
            return false;
        }
        let is_it = |node: &&String| Some(mark_of(node)) == taken.previous_holder;
        let Some(before) = knowledge.linked.iter().find(is_it) else {
            return false;
        };
        let lease = self.known.get(&self.node(before));
        let is_there = lease.is_some_and(|lease| !lease.holder.is_empty());
        let in_step = knowledge
            .in_step
            .get(&part)
            .filter(|(of, _)| *of == taken.epoch);
        let knows_all = in_step.is_some_and(|(_, nodes)| nodes.contains(before));
        is_there && !knows_all && now_ns.saturating_sub(taken.at_ns) < UNHEARD_NS
    }

    /// Describes how this node holds a part with this record.
    fn held(&self, record: &PartRecord, taken: &AcquiredPart, named: BTreeSet<u32>) -> HeldPart {
        HeldPart {
            has_turns: taken.has_turns,
            epoch: taken.epoch,
            named: self.names(named),
            past: record.pasts(),
            is_unheard: record.is_unheard,
            longest_s: record.longest_s,
            before_s: taken.longest_s,
            has_former: self.is_anothers(taken.former(true)),
            had_former: self.is_anothers(taken.former),
            is_former_there: self.is_there(taken.former(true)),
            ..HeldPart::default()
        }
    }

    /// Returns whether all leases have ended that were given before this node took a part.
    fn have_ended(&self, taken: &AcquiredPart, now_ns: u64) -> bool {
        let settled_for = match taken.state {
            AcquiredPartState::Settled(..) => now_ns.saturating_sub(taken.at_ns),
            AcquiredPartState::Claims(..) => 0,
        };
        let before_ns = u64::from(taken.longest_s).saturating_mul(1_000_000_000);
        let lease_ns = self.lease_ns.max(before_ns);
        let longer_ns = lease_ns.saturating_add(lease_ns / 100 + LONGER_NS);
        settled_for > longer_ns
    }

    /// Returns how this node takes a part, or took it in this epoch.
    ///
    /// # Errors
    ///
    /// The copy that the node has to adopt before.
    fn take(
        &mut self,
        part: usize,
        lease: &KnownLease,
        record: Option<&PartRecord>,
        knowledge: &Knowledge,
        now_ns: u64,
    ) -> Result<AcquiredPart, PartAdoption> {
        if let Some(taken) = self.owned.taken.get(&part)
            && taken.epoch == lease.epoch
        {
            return Ok(taken.clone());
        }
        // True if no node assigned an address or decided a boot before this node.
        let is_new = lease.record.is_empty();
        let own = record.filter(|record| self.is_own(record));
        let has_turns = is_new || own.is_some_and(|record| record.turns);
        let own = own.filter(|record| record.knows_own());
        let unheard = record
            .filter(|record| record.clear)
            .and_then(|record| match record {
                // Keeps the previous holder that this node's own record names, if no client got a
                // lease since.
                record if record.node == self.me => {
                    record.named.first().copied().filter(|_| record.is_unheard)
                }
                record => Some(mark_of(&record.node)),
            });
        let before = record.map_or(0, |record| {
            if record.node == self.me {
                record.before
            } else {
                record.files.checksum()
            }
        });
        let had_it = record.is_some_and(|record| self.had_it(record));
        // Ignores the longest lease of this node's own clear record: the node knows how long its
        // own leases are.
        let others = record.filter(|record| !(record.clear && self.is_own(record)));
        let adopts = self.adopts(part, lease, record, knowledge, now_ns);
        let is_copied = matches!(adopts, AdoptionProgress::Done);
        let state = match adopts {
            AdoptionProgress::Now(adopt) => return Err(adopt),
            AdoptionProgress::Done => AcquiredPartState::Settled(true, None),
            AdoptionProgress::No if is_new => AcquiredPartState::Claims(Basis::New, None),
            AdoptionProgress::No if had_it => AcquiredPartState::Settled(true, None),
            AdoptionProgress::No => match own {
                Some(own) if !own.clear => {
                    AcquiredPartState::Claims(Basis::unsettled(own, part), None)
                }
                Some(own) if self.is_mine(own) => AcquiredPartState::Settled(true, None),
                Some(own) => AcquiredPartState::Claims(Basis::Own(own.claim(), own.claim6()), None),
                None => AcquiredPartState::Claims(self.left(record), None),
            },
        };
        let knows = matches!(state, AcquiredPartState::Settled(true, _));
        let former = record.and_then(|record| self.former_of(record, &state, is_copied));
        let former_knowledge = record.map(|record| self.knowledge_of_former(record, &state));
        Ok(AcquiredPart {
            epoch: lease.epoch,
            at_ns: now_ns,
            has_turns,
            previous_holder: unheard.filter(|_| knows),
            before,
            longest_s: others.map_or(0, |record| record.longest_s),
            former,
            former_knowledge: former_knowledge.unwrap_or_default(),
            state,
        })
    }

    /// Writes the record of a part if it has changed. Returns the nodes of all records that may
    /// yet take effect.
    fn write(
        &mut self,
        part: usize,
        lease: &KnownLease,
        record: Option<&PartRecord>,
        wanted: &PartRecord,
        written: &mut Vec<LeaseRecord>,
    ) -> BTreeSet<u32> {
        let wrote = self.wrote.entry(part).or_default();
        if wrote.0 != lease.epoch {
            *wrote = (lease.epoch, BTreeMap::new());
        }
        wrote.1.retain(|number, _| *number > lease.number);
        if record != Some(wanted) {
            let next = LeaseRecord::next(lease, codec::encode(wanted));
            wrote
                .1
                .entry(next.number)
                .or_default()
                .extend(&wanted.named);
            written.push(next);
        }
        wrote.1.values().flatten().copied().collect()
    }

    /// Drops the state of all parts, after this node's files were found to be older: it has to
    /// take each part again, without leases of its own.
    pub fn forget_parts(&mut self) {
        self.owned = OwnedParts::default();
    }

    /// Drops the state of a part that this node does not hold.
    fn leave(&mut self, part: usize) {
        self.owned.remove(part);
    }

    /// Returns the progress of the adoption of a part's leases from a copy at this node. The
    /// adoption precedes the record that names this node as the holder.
    fn adopts(
        &mut self,
        part: usize,
        lease: &KnownLease,
        record: Option<&PartRecord>,
        knowledge: &Knowledge,
        now_ns: u64,
    ) -> AdoptionProgress {
        if knowledge.adopted.get(&part) == Some(&lease.epoch) {
            return AdoptionProgress::Done;
        }
        let others = record.filter(|record| record.node != self.me);
        let Some(record) = others.filter(|record| self.has_copy(part, record)) else {
            return AdoptionProgress::No;
        };
        let begins = self
            .owned
            .adopts
            .entry(part)
            .or_insert((lease.epoch, now_ns));
        if begins.0 != lease.epoch {
            *begins = (lease.epoch, now_ns);
        }
        if now_ns.saturating_sub(begins.1) > ADOPT_NS {
            return AdoptionProgress::No;
        }
        AdoptionProgress::Now(PartAdoption {
            node: record.node.clone(),
            epoch: record.epoch,
            into: lease.epoch,
            longest_s: record.longest_s,
            knowledge: AdoptedKnowledge {
                knows_before: self.is_former(record),
                is_left: record.former_knowledge.is_complemented,
            },
        })
    }
}

/// Progress of the adoption of a copy.
enum AdoptionProgress {
    /// There is no copy of this part, or its leases did not reach the disk in time.
    No,
    /// The leases must reach the disk first.
    Now(PartAdoption),
    /// The leases are on disk.
    Done,
}

#[cfg(test)]
mod tests;
