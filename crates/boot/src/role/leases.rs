//! The leases of the cluster for one network: a value without a clock.
//!
//! - `boot/NETWORK/0`, `boot/NETWORK/1` …: a part of the range for each node. Each node wants its own
//!   part most; the other one has it while the node is gone. Before a node gives the first address of a
//!   part, it has written its name under the lease: the next holder knows that there are leases that it
//!   has not seen. The record also names the nodes that know all of them ([`crate::dhcp::mirror`]); one of
//!   these takes them over with the part. A node that knows the leases has a part before one that does not, which
//!   leaves the part for a while even where the cluster grants it; of two that know them, the node whose part it
//!   is. A holder gives a part up only to one that its record names.
//! - A node that takes a part over is named by nobody yet. Until the node that had it before knows the leases
//!   again, no client hears of one (`UNHEARD`), for a second at most: if the new node dies at once, the one
//!   before knows all leases by itself.
//! - A record says also by which ranges its holder gives addresses, and what it gave by ranges of before
//!   ([`crate::dhcp::moves`]). It is `clear` only when nothing of the part is waited for.
//! - A node that takes a part without knowing its leases withholds the addresses, and its record says which node
//!   had the part before. When that one is back, it gets the part: it knows what it gave itself, and has a copy of
//!   what was given since. So does a node that takes a part by another range, and has not heard in time what the
//!   holder of another part gave of its addresses before: that holder gets the part.
//! - The holder of the first one leads: it alone answers machines that boot something once, so that
//!   nothing is installed twice. Its record has the machines of which an operator ordered the next boot.
//! - `boot/NETWORK/@NODE`: the node's address in the network, for the scripts of the other one.

mod known;
mod moved;
mod record;

use crate::dhcp::range::Range;
use crate::site::{Adopt, Held, Knowledge, Moved, Pasts, Standing};
use known::AWAIT_NS;
use moved::Basis;
use part::codec;
use part::role::{KnownLease, WantedLease};
use record::{At, LEFT, OWN, Range6, Record, UNHEARD, mark_of, mix, written6};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// After a lease was handed over it is not wanted for this long, nanoseconds. By then the other node
/// has it.
const REST_NS: u64 = 2_000_000_000;
/// Orders for the next boot that are known at one time: what a record has room for.
pub const ORDERS_MAX: usize = 21;
/// Nodes that a record names: what it has room for.
const NAMED_MAX: usize = 4;
/// How long the leases of a copy may take to be on the disk, nanoseconds. Then it counts as lost.
const ADOPT_NS: u64 = 5_000_000_000;
/// By how much a lease may last longer than is written: see [`crate::dhcp::pool`].
const LONGER_NS: u64 = 600_000_000_000;
/// How long the clients of a part wait, after its node took it over, until the node before knows the leases
/// of the part again, nanoseconds.
const UNHEARD_NS: u64 = 1_000_000_000;

/// How this node took a part.
#[derive(Clone, Debug)]
struct Taken {
    /// In which epoch.
    epoch: u64,
    /// When, nanoseconds.
    at_ns: u64,
    /// It knew which machines have had their turn.
    has_turns: bool,
    state: State,
    /// The mark of the node that had the part before, while no client hears of a lease.
    unheard: Option<u32>,
    /// A mark of the files with the leases of that node.
    before: u32,
    /// How long a lease may be that another node has given, seconds.
    longest_s: u32,
    /// See [`Record::former`].
    former: (u32, u32),
    /// What a record says beside that: [`record::ALL`], [`record::LEFT`].
    knows: u8,
}

impl Taken {
    /// What it can report before it gives addresses: the epoch, and those that were given by ranges of before.
    /// `record`: its own, of this epoch.
    fn claim(&self, record: &Record) -> Option<(u64, Pasts)> {
        let is_own = matches!(self.state, State::Claims(Basis::Own(..), _));
        is_own.then(|| (self.epoch, record.pasts()))
    }

    /// The node that knows what is withheld because of this one, and a mark of its files. `is_stored`: so does the
    /// disk of this node, as far as it withholds something because it took the part.
    fn former(&self, is_stored: bool) -> (u32, u32) {
        match &self.state {
            State::Settled(_, Some(moved)) if is_stored && moved.former != (0, 0) => moved.former,
            _ => self.former,
        }
    }

    /// Which leases of before are its own, as a record says that is not clear. `mine`: its record.
    fn own_flags(&self, mine: Option<&Record>) -> u8 {
        match &self.state {
            State::Claims(Basis::Unknown | Basis::Left(_), _) => 0,
            State::Claims(..) => OWN,
            State::Settled(..) => mine.map_or(0, |record| record.past.2 & OWN),
        }
    }
}

/// What a node knows of the leases of a part.
#[derive(Clone, Debug)]
enum State {
    /// It has a record with its ranges, or writes one, and waits for others; since when for leases that are not
    /// given any more.
    Claims(Basis, Option<u64>),
    /// It gives addresses. Whether it knows all leases, or which.
    Settled(bool, Option<Moved>),
}

/// A record to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// The lease.
    pub name: String,
    /// The epoch in which it is held.
    pub epoch: u64,
    /// Higher than that of the record before.
    pub number: u64,
    /// The record.
    pub value: Vec<u8>,
}

/// Parts that this node owns by a lease of the cluster. A change of the ranges clears them.
#[derive(Clone, Debug, Default)]
struct OwnedParts {
    /// Of each part, the epoch in which this node took it, and whether it knew all leases.
    taken: BTreeMap<usize, Taken>,
    /// Parts that this node has held in a turn before.
    used: BTreeSet<usize>,
    /// Parts whose leases are copied from another node: in which epoch, and since when.
    adopts: BTreeMap<usize, (u64, u64)>,
}

impl OwnedParts {
    fn remove(&mut self, part: usize) {
        self.taken.remove(&part);
        self.used.remove(&part);
        self.adopts.remove(&part);
    }
}

/// The leases of one network.
#[derive(Clone, Debug)]
pub struct Leases {
    network: String,
    me: String,
    nodes: Vec<String>,
    range: (u32, u32, u32),
    range6: Range6,
    /// The longest lease, nanoseconds.
    lease_ns: u64,
    known: BTreeMap<String, KnownLease>,
    owned: OwnedParts,
    /// What was written to the cluster and may yet become a record: of each part the epoch, and the
    /// nodes, by the number of the record.
    wrote: BTreeMap<usize, (u64, BTreeMap<u64, BTreeSet<u32>>)>,
    /// What this node has copies of.
    copies: BTreeMap<usize, (String, u64)>,
    /// The files with its own leases.
    stores: (u32, u32),
    /// Leases that were handed over, and until when they are not wanted.
    resting: BTreeMap<String, u64>,
    /// Parts whose leases this node does not know: the holder and the epoch, and since when that is so.
    unknown: BTreeMap<usize, (String, u64, u64)>,
    /// Further addresses of this node that its machines would get otherwise.
    own: Vec<IpAddr>,
}

impl Leases {
    /// The leases of a network at a node of a cluster.
    pub fn new(network: &str, me: &str, nodes: &[String]) -> Leases {
        let mut nodes = nodes.to_vec();
        nodes.sort();
        Leases {
            network: network.to_owned(),
            me: me.to_owned(),
            nodes,
            range: (0, 0, 0),
            range6: (0, 0, 0, 0),
            lease_ns: 0,
            known: BTreeMap::new(),
            owned: OwnedParts::default(),
            wrote: BTreeMap::new(),
            copies: BTreeMap::new(),
            stores: (0, 0),
            resting: BTreeMap::new(),
            unknown: BTreeMap::new(),
            own: Vec::new(),
        }
    }

    /// Whether a node shares the range.
    pub fn has(&self, node: &str) -> bool {
        self.nodes.iter().any(|one| one == node)
    }

    /// The nodes that share the range.
    pub fn set_nodes(&mut self, nodes: &[String]) {
        let mut nodes = nodes.to_vec();
        nodes.sort();
        self.nodes = nodes;
    }

    /// Further addresses of this node that its machines would get otherwise, for the other nodes.
    pub fn set_own(&mut self, own: Vec<IpAddr>) {
        self.own = own;
    }

    /// The ranges, as far as there are some, and the lease, seconds. With other ranges the parts begin again.
    pub fn set_range(
        &mut self,
        range: Option<Range>,
        range6: Option<Range<Ipv6Addr>>,
        lease_s: u32,
    ) {
        let lease_ns = u64::from(lease_s).saturating_mul(1_000_000_000);
        self.lease_ns = self.lease_ns.max(lease_ns);
        let range6 = written6(range6);
        let range = range.map_or((0, 0, 0), |range| {
            (range.first.to_bits(), range.last.to_bits(), range.parts)
        });
        if (self.range, self.range6) != (range, range6) {
            (self.range, self.range6) = (range, range6);
            self.owned = OwnedParts::default();
        }
    }

    /// How many parts there are.
    pub fn parts(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(1).max(1)
    }

    fn part(&self, part: usize) -> String {
        format!("boot/{}/{part}", self.network)
    }

    fn node(&self, node: &str) -> String {
        format!("boot/{}/@{node}", self.network)
    }

    /// What is wanted. `is_able`: this node has an address in the network.
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

    /// The nodes with these marks.
    fn names(&self, marks: BTreeSet<u32>) -> BTreeSet<String> {
        let name = |mark: u32| {
            let node = self.nodes.iter().find(|node| mark_of(node) == mark);
            // One that is no node any more knows nothing, until another record is there.
            node.cloned().unwrap_or_else(|| format!("?{mark}"))
        };
        marks.into_iter().map(name).collect()
    }

    /// What the cluster says of its leases.
    pub fn hear(&mut self, known: &[KnownLease]) {
        let prefix = format!("boot/{}/", self.network);
        let own = known.iter().filter(|lease| lease.name.starts_with(&prefix));
        self.known = own
            .map(|lease| (lease.name.clone(), lease.clone()))
            .collect();
    }

    /// Another node could use a lease better. It is not given up while that node may not know all that was
    /// given: then it is asked for again.
    pub fn hand_over(&mut self, name: &str, now_ns: u64) {
        let parts = 0..usize::try_from(self.parts()).unwrap_or(1);
        let part = { parts }.find(|part| self.part(*part) == name);
        if self.known.contains_key(name) && part.is_none_or(|part| self.is_known_elsewhere(part)) {
            self.resting
                .insert(name.to_owned(), now_ns.saturating_add(REST_NS));
        }
    }

    /// Whether the record of a part names another node, and each that was written since.
    fn is_known_elsewhere(&self, part: usize) -> bool {
        let Some(lease) = self.known.get(&self.part(part)) else {
            return false;
        };
        let record: Option<Record> = codec::decode(&lease.record).ok();
        let wrote = { self.wrote.get(&part) }.filter(|(epoch, _)| *epoch == lease.epoch);
        let wrote = wrote.into_iter().flat_map(|(_, wrote)| wrote);
        let mut later = wrote.filter(|(number, _)| **number > lease.number);
        // Without a record it has given nothing.
        let is_named = |record: Record| {
            record.epoch != lease.epoch || record.clear && !record.named.is_empty()
        };
        record.is_none_or(is_named) && later.all(|(_, named)| !named.is_empty())
    }

    /// When something is to be looked at again, nanoseconds.
    pub fn due_ns(&self, now_ns: u64) -> Option<u64> {
        let ends = self.known.values().map(|lease| lease.until_ns);
        let unknown = self.unknown.values();
        let unknown = unknown.map(|(.., since)| since.saturating_add(AWAIT_NS));
        let all = { ends.chain(self.resting.values().copied()) }.chain(unknown);
        all.filter(|at| *at > now_ns).min()
    }

    /// What this node is now, and what is to be written. `address`, `six`: its own in the network. `orders`:
    /// machines with an order, which count if it leads. `is_stored`: all that it
    /// knows of leases is on its disk.
    pub fn turn(
        &mut self,
        (address, six): (Option<Ipv4Addr>, Option<Ipv6Addr>),
        knowledge: &Knowledge,
        (orders, is_stored): (&[u32], bool),
        now_ns: u64,
    ) -> (Standing, Vec<Written>) {
        self.resting.retain(|_, until| *until > now_ns);
        self.copies.clone_from(&knowledge.copies);
        self.stores = knowledge.stores;
        let mut standing = Standing::default();
        let mut written = Vec::new();
        for part in 0..usize::try_from(self.parts()).unwrap_or(1) {
            self.note_unknown(part, now_ns);
            let lead = (orders, is_stored);
            self.look_at(part, (knowledge, lead), now_ns, &mut standing, &mut written);
        }
        for node in &self.nodes {
            let Some(lease) = self.known.get(&self.node(node)) else {
                continue;
            };
            let there: Option<At> = codec::decode(&lease.record).ok();
            if *node != self.me {
                let nodes = &mut standing.nodes;
                nodes.own.extend(there.iter().flat_map(|at| &at.own));
                let all = match lease.holder.is_empty() {
                    false => {
                        nodes.six.extend(there.as_ref().and_then(|at| at.six));
                        &mut nodes.there
                    }
                    true => &mut nodes.gone,
                };
                all.extend(there.map(|at| at.address));
            } else if let Some(address) = address
                && lease.until_ns > now_ns
            {
                let at = At {
                    address,
                    six,
                    epochs: self.epochs_of_others(),
                    own: self.own.clone(),
                };
                if there.as_ref() != Some(&at) {
                    written.push(next(lease, codec::encode(&at)));
                }
            }
        }
        (standing, written)
    }

    fn look_at(
        &mut self,
        part: usize,
        (knowledge, (orders, is_stored)): (&Knowledge, (&[u32], bool)),
        now_ns: u64,
        standing: &mut Standing,
        written: &mut Vec<Written>,
    ) {
        let name = self.part(part);
        let Some(lease) = self.known.get(&name).cloned() else {
            return self.leave(part);
        };
        let record: Option<Record> = codec::decode(&lease.record).ok();
        if part == 0 {
            standing.leader.clone_from(&lease.holder);
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
            self.settle(part, &mut taken, knowledge, (now_ns, &mut standing.waits));
        }
        if !self.stays_unheard(part, &taken, mine, (knowledge, now_ns)) {
            taken.unheard = None;
        }
        self.owned.taken.insert(part, taken.clone());
        let claim = { mine.filter(|_| said) }.and_then(|record| taken.claim(record));
        standing.claims.extend(claim.map(|claim| (part, claim)));
        let is_stored = self.owned.used.contains(&part) && is_stored;
        let of = (part, record.as_ref(), &taken);
        let wanted = self.wanted(of, knowledge, (orders, is_stored), now_ns);
        let wrote = self.write(part, &lease, record.as_ref(), &wanted, written);
        // Not before the record is there: who follows has to know.
        if let (Some(record), State::Settled(knows, moved)) =
            (record.filter(|_| said), &taken.state)
        {
            let known = (*knows, moved.clone());
            let marks = record.named.iter().copied().chain(wrote).collect();
            let held = self.held((&lease, &record), &taken, known, marks);
            standing.held.insert(part, held);
            self.owned.used.insert(part);
        }
    }

    /// The record of a part that this node took so. `record`: that of now. `is_stored`: what another node may
    /// have given is on the disk, since this is not the turn in which this one took it.
    fn wanted(
        &self,
        (part, record, taken): (usize, Option<&Record>, &Taken),
        knowledge: &Knowledge,
        (orders, is_stored): (&[u32], bool),
        now_ns: u64,
    ) -> Record {
        let mine = record.filter(|record| self.is_mine(record));
        let of = |record: &Record| (record.clear, record.turns);
        let (is_clear, had_turns) = mine.map(of).unwrap_or_default();
        let (settled, is_told) = match &taken.state {
            State::Settled(knows, _) => (Some(*knows), true),
            State::Claims(basis, _) => (None, matches!(basis, Basis::Own(..))),
        };
        let said = mine.is_some_and(|record| record.epoch == taken.epoch);
        let in_step = { knowledge.in_step.get(&part) }
            .filter(|(of, _)| is_told && said && *of == taken.epoch);
        let in_step = in_step.into_iter().flat_map(|(_, nodes)| nodes);
        let in_step = in_step.map(|node| mark_of(node)).take(NAMED_MAX);
        let clear = settled.is_some_and(|knows| knows || is_clear || is_stored);
        let former = match self.have_ended(taken, now_ns) {
            true => (0, 0),
            // Until then a restart judges again.
            false => self.former(taken, clear),
        };
        let (first, last, flags) = self.past(part, record, (taken, clear), now_ns);
        let knows = if former == (0, 0) { 0 } else { taken.knows };
        Record {
            node: self.me.clone(),
            clear,
            turns: taken.has_turns || had_turns || is_stored,
            range: self.range,
            range6: self.range6,
            orders: match part {
                0 => { orders.iter().copied() }.take(ORDERS_MAX).collect(),
                _ => Vec::new(),
            },
            epoch: taken.epoch,
            named: match taken.unheard {
                Some(before) => [before].into(),
                None => in_step.collect(),
            },
            past: (first, last, flags | knows),
            past6: self.past6(part, record, taken, now_ns),
            stores: self.stores,
            before: taken.unheard.map_or(0, |_| taken.before),
            longest_s: match self.have_ended(taken, now_ns) {
                true => knowledge.longest_s,
                false => knowledge.longest_s.max(taken.longest_s),
            },
            former,
        }
    }

    /// Whether no client hears yet of a lease of a part: the node that had it before does not know all, but
    /// may be about to. `mine`: the record of now, if it is of this node.
    fn stays_unheard(
        &self,
        part: usize,
        taken: &Taken,
        mine: Option<&Record>,
        (knowledge, now_ns): (&Knowledge, u64),
    ) -> bool {
        // Once a record says that clients may have heard of a lease, they may have.
        let is_heard =
            |record: &Record| record.epoch == taken.epoch && record.past.2 & UNHEARD == 0;
        if mine.is_some_and(is_heard) {
            return false;
        }
        let is_it = |node: &&String| Some(mark_of(node)) == taken.unheard;
        let Some(before) = knowledge.linked.iter().find(is_it) else {
            return false;
        };
        let lease = self.known.get(&self.node(before));
        let is_there = lease.is_some_and(|lease| !lease.holder.is_empty());
        let in_step = { knowledge.in_step.get(&part) }.filter(|(of, _)| *of == taken.epoch);
        let knows_all = in_step.is_some_and(|(_, nodes)| nodes.contains(before));
        is_there && !knows_all && now_ns.saturating_sub(taken.at_ns) < UNHEARD_NS
    }

    /// How this node holds a part whose record is this one.
    fn held(
        &self,
        (lease, record): (&KnownLease, &Record),
        taken: &Taken,
        (knows, moved): (bool, Option<Moved>),
        named: BTreeSet<u32>,
    ) -> Held {
        Held {
            knows,
            has_turns: taken.has_turns,
            until_ms: lease.until_ns / 1_000_000,
            epoch: taken.epoch,
            named: self.names(named),
            moved,
            past: record.pasts(),
            is_unheard: record.past.2 & UNHEARD > 0,
            longest_s: record.longest_s,
            before_s: taken.longest_s,
            has_former: self.is_anothers(taken.former(true)),
            had_former: self.is_anothers(taken.former),
            is_former_there: self.is_there(taken.former(true)),
        }
    }

    /// Whether all leases have ended that were given before this node took a part.
    fn have_ended(&self, taken: &Taken, now_ns: u64) -> bool {
        let settled_for = match taken.state {
            State::Settled(..) => now_ns.saturating_sub(taken.at_ns),
            State::Claims(..) => 0,
        };
        let before_ns = u64::from(taken.longest_s).saturating_mul(1_000_000_000);
        let lease_ns = self.lease_ns.max(before_ns);
        let longer_ns = lease_ns.saturating_add(lease_ns / 100 + LONGER_NS);
        settled_for > longer_ns
    }

    /// How this node takes a part, or took it in this epoch.
    ///
    /// # Errors
    /// What it has to take over before.
    fn take(
        &mut self,
        part: usize,
        lease: &KnownLease,
        record: Option<&Record>,
        knowledge: &Knowledge,
        now_ns: u64,
    ) -> Result<Taken, Adopt> {
        if let Some(taken) = self.owned.taken.get(&part)
            && taken.epoch == lease.epoch
        {
            return Ok(taken.clone());
        }
        // Nobody gave an address or decided a turn before this node, or nobody at all.
        let is_new = lease.record.is_empty();
        let own = record.filter(|record| self.is_own(record));
        let has_turns = is_new || own.is_some_and(|record| record.turns);
        let own = own.filter(|record| record.clear || record.past.2 & OWN > 0);
        let unheard = { record.filter(|record| record.clear) }.and_then(|record| match record {
            // Nobody has heard of a lease since.
            record if record.node == self.me => {
                let is_unheard = record.past.2 & UNHEARD > 0;
                { record.named.first().copied() }.filter(|_| is_unheard)
            }
            record => Some(mark_of(&record.node)),
        });
        let before = record.map_or(0, |record| match record.node == self.me {
            true => record.before,
            false => mix(record.stores),
        });
        let had_it = record.is_some_and(|record| self.had_it(record));
        // Of what is its own, it knows itself how long that is.
        let others = record.filter(|record| !(record.clear && self.is_own(record)));
        let adopts = self.adopts(part, lease, record, knowledge, now_ns);
        let is_copied = matches!(adopts, Adopts::Done);
        let state = match adopts {
            Adopts::Now(adopt) => return Err(adopt),
            Adopts::Done => State::Settled(true, None),
            Adopts::No if is_new => State::Claims(Basis::New, None),
            Adopts::No if had_it => State::Settled(true, None),
            Adopts::No => match own {
                Some(own) if !own.clear => State::Claims(Basis::unsettled(own, part), None),
                Some(own) if self.is_mine(own) => State::Settled(true, None),
                Some(own) => State::Claims(Basis::Own(own.claim(), own.claim6()), None),
                None => State::Claims(self.left(record), None),
            },
        };
        let knows = matches!(state, State::Settled(true, _));
        let former = record.map_or((0, 0), |record| self.former_of(record, &state, is_copied));
        Ok(Taken {
            epoch: lease.epoch,
            at_ns: now_ns,
            has_turns,
            unheard: unheard.filter(|_| knows),
            before,
            longest_s: others.map_or(0, |record| record.longest_s),
            former,
            knows: record.map_or(0, |record| self.knows_of(record, &state)),
            state,
        })
    }

    /// Writes the record of a part where it is another one. Returns the nodes of all records that may yet
    /// come.
    fn write(
        &mut self,
        part: usize,
        lease: &KnownLease,
        record: Option<&Record>,
        wanted: &Record,
        written: &mut Vec<Written>,
    ) -> BTreeSet<u32> {
        let wrote = self.wrote.entry(part).or_default();
        if wrote.0 != lease.epoch {
            *wrote = (lease.epoch, BTreeMap::new());
        }
        wrote.1.retain(|number, _| *number > lease.number);
        if record != Some(wanted) {
            let next = next(lease, codec::encode(wanted));
            wrote
                .1
                .entry(next.number)
                .or_default()
                .extend(&wanted.named);
            written.push(next);
        }
        wrote.1.values().flatten().copied().collect()
    }

    /// A part is not this node's.
    fn leave(&mut self, part: usize) {
        self.owned.remove(part);
    }

    /// Whether the leases of a part are taken over from a copy, before its record names this node.
    fn adopts(
        &mut self,
        part: usize,
        lease: &KnownLease,
        record: Option<&Record>,
        knowledge: &Knowledge,
        now_ns: u64,
    ) -> Adopts {
        if knowledge.adopted.get(&part) == Some(&lease.epoch) {
            return Adopts::Done;
        }
        let others = record.filter(|record| record.node != self.me);
        let Some(record) = others.filter(|record| self.has_copy(part, record)) else {
            return Adopts::No;
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
            return Adopts::No;
        }
        Adopts::Now(Adopt {
            node: record.node.clone(),
            epoch: record.epoch,
            into: lease.epoch,
            longest_s: record.longest_s,
            knows_before: self.is_former(record),
            is_left: record.past.2 & LEFT > 0,
        })
    }
}

/// What becomes of a copy.
enum Adopts {
    /// There is none for this part.
    No,
    /// Its leases are to be on the disk first.
    Now(Adopt),
    /// They are there.
    Done,
}

/// The next record of a lease that is held.
fn next(lease: &KnownLease, value: Vec<u8>) -> Written {
    Written {
        name: lease.name.clone(),
        epoch: lease.epoch,
        number: lease.number.saturating_add(1),
        value,
    }
}

#[cfg(test)]
mod tests;
