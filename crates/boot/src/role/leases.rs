//! The leases of the cluster for one network: a value without a clock.
//!
//! - `boot/NETWORK/0`, `boot/NETWORK/1` …: a part of the range for each node. Each node wants its own
//!   part most; the other one has it while the node is gone. Before a node gives the first address of a
//!   part, it has written its name under the lease: the next holder knows that there are leases that it
//!   has not seen. The record also names the nodes that know all of them ([`crate::dhcp::mirror`]); one of
//!   these takes them over with the part. A node asks for its own part back when it is one of them.
//! - The holder of the first one leads: it alone answers machines that boot something once, so that
//!   nothing is installed twice. Its record has the machines of which an operator ordered the next boot.
//! - `boot/NETWORK/@NODE`: the node's address in the network, for the scripts of the other one.

use crate::dhcp::pool::Range;
use crate::site::{Adopt, Held, Knowledge, Standing};
use part::codec;
use part::role::{KnownLease, WantedLease};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

/// After a lease was handed over it is not wanted for this long, nanoseconds. By then the other node
/// has it.
const REST_NS: u64 = 2_000_000_000;
/// Orders for the next boot that are known at one time: what a record has room for.
pub const ORDERS_MAX: usize = 24;
/// Nodes that a record names: what it has room for.
const NAMED_MAX: usize = 4;
/// How long the leases of a copy may take to be on the disk, nanoseconds. Then it counts as lost.
const ADOPT_NS: u64 = 5_000_000_000;

/// What is written under the lease of a part.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
struct Record {
    /// The node that gives addresses of it.
    node: String,
    /// It has on its disk which of them another node may have given.
    clear: bool,
    /// It has on its disk which machines have had their turn, as far as that can be known.
    turns: bool,
    /// The first and the last address of the range, and the number of parts.
    range: (u32, u32, u32),
    /// A mark of the range of IPv6: there is no room for its addresses.
    six: u64,
    /// Machines with an order, by [`crate::mac::mark`].
    orders: Vec<u32>,
    /// In which epoch it gives them.
    epoch: u64,
    /// Marks of the nodes that know every lease.
    named: BTreeSet<u32>,
}

/// How this node took a part.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// In which epoch.
    epoch: u64,
    /// It knew all leases.
    knows: bool,
    /// It knew which machines have had their turn.
    has_turns: bool,
}

impl Taken {
    fn new(epoch: u64, knows: bool, has_turns: bool) -> Taken {
        Taken {
            epoch,
            knows,
            has_turns,
        }
    }
}

/// What is written under the lease of a node.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
struct At {
    address: Ipv4Addr,
    #[serde(default)]
    six: Option<Ipv6Addr>,
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

/// The leases of one network.
#[derive(Clone, Debug)]
pub struct Leases {
    network: String,
    me: String,
    nodes: Vec<String>,
    range: (u32, u32, u32),
    /// A mark of the range of IPv6.
    range6: u64,
    known: BTreeMap<String, KnownLease>,
    /// Of each part, the epoch in which this node took it, and whether it knew all leases.
    taken: BTreeMap<usize, Taken>,
    /// Parts that this node has held in a turn before.
    used: BTreeSet<usize>,
    /// Parts whose leases are being taken over: in which epoch, and since when.
    adopts: BTreeMap<usize, (u64, u64)>,
    /// What was written to the cluster and may yet become a record: of each part the epoch, and the
    /// nodes, by the number of the record.
    wrote: BTreeMap<usize, (u64, BTreeMap<u64, BTreeSet<u32>>)>,
    /// What this node has copies of.
    copies: BTreeMap<usize, (String, u64)>,
    /// Leases that were handed over, and until when they are not wanted.
    resting: BTreeMap<String, u64>,
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
            range6: 0,
            known: BTreeMap::new(),
            taken: BTreeMap::new(),
            used: BTreeSet::new(),
            adopts: BTreeMap::new(),
            wrote: BTreeMap::new(),
            copies: BTreeMap::new(),
            resting: BTreeMap::new(),
        }
    }

    /// The nodes that share the range.
    pub fn set_nodes(&mut self, nodes: &[String]) {
        let mut nodes = nodes.to_vec();
        nodes.sort();
        self.nodes = nodes;
    }

    /// The ranges, as far as there are some. Others begin again: their parts are others.
    pub fn set_range(&mut self, range: Option<Range>, range6: Option<Range<Ipv6Addr>>) {
        let range6 = range6.map_or(0, mark6);
        let range = range.map_or((0, 0, 0), |range| {
            (range.first.to_bits(), range.last.to_bits(), range.parts)
        });
        if (self.range, self.range6) != (range, range6) {
            (self.range, self.range6) = (range, range6);
            self.taken.clear();
            self.used.clear();
            self.adopts.clear();
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
            let is_own = own == Some(part) && self.is_ready_for(part);
            want(self.part(part), if is_own { 2 } else { 1 })
        });
        let nodes = self.nodes.iter();
        let nodes = nodes.map(|node| want(self.node(node), u32::from(*node == self.me)));
        parts.chain(nodes).collect()
    }

    /// Whether this node would know the leases of a part: until then another holder keeps it.
    fn is_ready_for(&self, part: usize) -> bool {
        let lease = self.known.get(&self.part(part));
        let Some(lease) = lease.filter(|lease| !lease.holder.is_empty() && lease.holder != self.me)
        else {
            return true;
        };
        let record: Option<Record> = codec::decode(&lease.record).ok();
        record.is_none_or(|record| self.has_copy(part, &record))
    }

    /// Whether this node knows all leases that were given by a record.
    fn has_copy(&self, part: usize, record: &Record) -> bool {
        let ranges = (record.range, record.six);
        let copy = self.copies.get(&part);
        ranges == (self.range, self.range6)
            && record.named.contains(&mark_of(&self.me))
            && copy.is_some_and(|(node, epoch)| (node, *epoch) == (&record.node, record.epoch))
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

    /// Another node could use a lease better.
    pub fn hand_over(&mut self, name: &str, now_ns: u64) {
        if self.known.contains_key(name) {
            self.resting
                .insert(name.to_owned(), now_ns.saturating_add(REST_NS));
        }
    }

    /// When something is to be looked at again, nanoseconds.
    pub fn due_ns(&self, now_ns: u64) -> Option<u64> {
        let ends = self.known.values().map(|lease| lease.until_ns);
        let all = ends.chain(self.resting.values().copied());
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
        let mut standing = Standing::default();
        let mut written = Vec::new();
        for part in 0..usize::try_from(self.parts()).unwrap_or(1) {
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
                && there != Some(At { address, six })
            {
                written.push(next(lease, codec::encode(&At { address, six })));
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
        if lease.until_ns <= now_ns || self.resting.contains_key(&name) {
            return self.leave(part);
        }
        let mine = record.as_ref().filter(|record| self.is_mine(record));
        let said = mine.is_some_and(|record| record.epoch == lease.epoch);
        let of = |record: &Record| (record.clear, record.turns);
        let (is_clear, had_turns) = mine.map(of).unwrap_or_default();
        let taken = match self.take(part, &lease, record.as_ref(), knowledge, now_ns) {
            Ok(taken) => taken,
            Err(adopt) => return drop(standing.adopts.insert(part, adopt)),
        };
        self.taken.insert(part, taken);
        let Taken {
            epoch,
            knows,
            has_turns,
        } = taken;
        let in_step = { knowledge.in_step.get(&part) }.filter(|(of, _)| said && *of == epoch);
        let in_step = in_step.into_iter().flat_map(|(_, nodes)| nodes);
        let is_used = self.used.contains(&part) && is_stored;
        let wanted = Record {
            node: self.me.clone(),
            // What another node may have given is on the disk after the turn in which this one took it.
            clear: knows || is_clear || is_used,
            turns: has_turns || had_turns || is_used,
            range: self.range,
            six: self.range6,
            orders: match part {
                0 => { orders.iter().copied() }.take(ORDERS_MAX).collect(),
                _ => Vec::new(),
            },
            epoch,
            named: in_step.map(|node| mark_of(node)).take(NAMED_MAX).collect(),
        };
        let wrote = self.write(part, &lease, record.as_ref(), &wanted, written);
        // Not before the record is there: who follows has to know.
        if let Some(record) = record.filter(|_| said) {
            let marks = record.named.into_iter().chain(wrote).collect();
            let held = Held {
                knows,
                has_turns,
                until_ms: lease.until_ns / 1_000_000,
                epoch,
                named: self.names(marks),
            };
            standing.held.insert(part, held);
            self.used.insert(part);
        }
    }

    /// Whether a record is this node's, of these ranges.
    fn is_mine(&self, record: &Record) -> bool {
        let ranges = (record.range, record.six);
        record.node == self.me && ranges == (self.range, self.range6)
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
        if let Some(taken) = self.taken.get(&part)
            && taken.epoch == lease.epoch
        {
            return Ok(*taken);
        }
        // Nobody gave an address or decided a turn before this node, or nobody at all.
        let is_new = lease.record.is_empty();
        let mine = record.filter(|record| self.is_mine(record));
        let is_clear = is_new || mine.is_some_and(|record| record.clear);
        let has_turns = is_new || mine.is_some_and(|record| record.turns);
        match self.adopts(part, lease, record, knowledge, now_ns) {
            Adopts::No => Ok(Taken::new(lease.epoch, is_clear, has_turns)),
            Adopts::Done => Ok(Taken::new(lease.epoch, true, has_turns)),
            Adopts::Now(adopt) => Err(adopt),
        }
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
        self.taken.remove(&part);
        self.used.remove(&part);
        self.adopts.remove(&part);
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
        let begins = self.adopts.entry(part).or_insert((lease.epoch, now_ns));
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

/// A mark of a node, which all nodes make alike (FNV-1a).
fn mark_of(node: &str) -> u32 {
    { node.bytes() }.fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// A mark of a range of IPv6, which all nodes make alike (FNV-1a). Zero is that of none.
fn mark6(range: Range<Ipv6Addr>) -> u64 {
    let octets = [range.first.octets(), range.last.octets()].concat();
    let hash = octets.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1)
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
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn nodes() -> Vec<String> {
        vec!["alpha".to_owned(), "beta".to_owned()]
    }

    fn leases(me: &str) -> Leases {
        let mut leases = Leases::new("lan", me, &nodes());
        leases.set_range(
            Some(Range {
                first: Ipv4Addr::new(10, 0, 0, 1),
                last: Ipv4Addr::new(10, 0, 0, 10),
                parts: 2,
            }),
            None,
        );
        leases
    }

    fn lease(name: &str, epoch: u64, until_ns: u64, record: Vec<u8>) -> KnownLease {
        KnownLease {
            name: format!("boot/lan/{name}"),
            epoch,
            until_ns,
            holder: "alpha".to_owned(),
            number: 3,
            record,
        }
    }

    #[test]
    fn a_node_wants_its_own_part_most_and_watches_where_it_has_no_address() {
        let ranks = |leases: &Leases, is_able| -> Vec<(String, u32)> {
            let wants = leases.wants(is_able, 0).into_iter();
            wants.map(|want| (want.name, want.rank)).collect()
        };
        let named = |all: [(&str, u32); 4]| {
            all.map(|(name, rank)| (format!("boot/lan/{name}"), rank))
                .to_vec()
        };
        assert_eq!(
            ranks(&leases("beta"), true),
            named([("0", 1), ("1", 2), ("@alpha", 0), ("@beta", 1)])
        );
        assert_eq!(
            ranks(&leases("beta"), false),
            named([("0", 0), ("1", 0), ("@alpha", 0), ("@beta", 0)])
        );
    }

    #[test]
    fn a_part_is_used_only_when_its_record_names_this_node() {
        let mut alpha = leases("alpha");
        alpha.hear(&[lease("0", 5, SECOND, Vec::new())]);
        let (standing, written) = alpha.turn((None, None), &Knowledge::default(), (&[7], true), 0);
        assert_eq!(standing.held, BTreeMap::new());
        let [write] = &written[..] else {
            panic!("{written:?}")
        };
        assert_eq!((write.epoch, write.number), (5, 4));
        alpha.hear(&[lease("0", 5, SECOND, write.value.clone())]);
        let (standing, written) = alpha.turn((None, None), &Knowledge::default(), (&[7], true), 0);
        let held = Held {
            knows: true,
            has_turns: true,
            until_ms: 1_000,
            epoch: 5,
            named: BTreeSet::new(),
        };
        assert_eq!(
            (standing.held, standing.orders),
            ([(0, held)].into(), vec![7])
        );
        assert_eq!(written, []);
        // The lease has ended.
        assert_eq!(
            alpha
                .turn((None, None), &Knowledge::default(), (&[7], true), SECOND)
                .0
                .held,
            BTreeMap::new()
        );
    }

    #[test]
    fn a_part_that_another_node_or_another_range_had_has_leases_that_are_not_known() {
        let mut alpha = leases("alpha");
        let by = |node: &str, range, six| {
            let node = node.to_owned();
            codec::encode(&Record {
                node,
                clear: true,
                turns: true,
                range,
                six,
                orders: Vec::new(),
                ..Record::default()
            })
        };
        let records = [
            by("beta", alpha.range, 0),
            by("alpha", (1, 2, 2), 0),
            by("alpha", alpha.range, 7),
        ];
        for (epoch, record) in (5..).zip(records) {
            alpha.hear(&[lease("0", epoch, SECOND, record)]);
            let (standing, written) =
                alpha.turn((None, None), &Knowledge::default(), (&[], true), 0);
            assert_eq!(standing.held, BTreeMap::new());
            alpha.hear(&[lease("0", epoch, SECOND, written[0].value.clone())]);
            let (standing, _) = alpha.turn((None, None), &Knowledge::default(), (&[], true), 0);
            assert!(!standing.held[&0].knows, "{epoch}");
        }
    }

    /// A record of beta for part 0, whose leases these nodes know.
    fn of_beta(range: (u32, u32, u32), named: &[&str]) -> Vec<u8> {
        codec::encode(&Record {
            node: "beta".to_owned(),
            clear: true,
            turns: true,
            range,
            epoch: 4,
            named: named.iter().map(|node| mark_of(node)).collect(),
            ..Record::default()
        })
    }

    fn knowledge(epoch: u64) -> Knowledge {
        Knowledge {
            copies: [(0, ("beta".to_owned(), epoch))].into(),
            ..Knowledge::default()
        }
    }

    #[test]
    fn leases_are_taken_over_if_the_record_names_this_node_and_the_copy_is_of_its_epoch() {
        let turn = |named: &[&str], knowledge: &Knowledge, now_ns| {
            let mut alpha = leases("alpha");
            let record = of_beta(alpha.range, named);
            alpha.hear(&[lease("0", 5, 9 * SECOND, record)]);
            // It may have tried before.
            alpha.turn((None, None), &self::knowledge(4), (&[], true), 0);
            alpha.turn((None, None), knowledge, (&[], true), now_ns)
        };
        let (standing, written) = turn(&["alpha"], &knowledge(4), 1);
        let adopt = Adopt {
            node: "beta".to_owned(),
            epoch: 4,
            into: 5,
        };
        assert_eq!(standing.adopts, [(0, adopt)].into());
        // Not before they are on the disk: its record would hide that they are beta's.
        assert_eq!(written, []);
        let clear = |(_, written): (Standing, Vec<Written>)| {
            let record: Record = codec::decode(&written[0].value).unwrap();
            record.clear
        };
        let adopted = Knowledge {
            adopted: [(0, 5)].into(),
            ..knowledge(4)
        };
        assert!(clear(turn(&["alpha"], &adopted, 1)));
        // A copy of another epoch, no copy, a record without this node, and one that takes too long.
        assert!(!clear(turn(&["alpha"], &knowledge(3), 1)));
        assert!(!clear(turn(&["alpha"], &Knowledge::default(), 1)));
        assert!(!clear(turn(&["gamma"], &knowledge(4), 1)));
        assert!(!clear(turn(&["alpha"], &knowledge(4), ADOPT_NS + 1)));
    }

    #[test]
    fn a_node_wants_its_part_back_when_it_knows_the_leases() {
        let rank = |named: &[&str], knowledge: &Knowledge| {
            let mut alpha = leases("alpha");
            let record = of_beta(alpha.range, named);
            let held = KnownLease {
                holder: "beta".to_owned(),
                ..lease("0", 4, 0, record)
            };
            alpha.hear(&[held]);
            alpha.turn((None, None), knowledge, (&[], true), 0);
            alpha.wants(true, 0)[0].rank
        };
        assert_eq!(rank(&["alpha"], &knowledge(4)), 2);
        assert_eq!(rank(&["alpha"], &knowledge(3)), 1);
        assert_eq!(rank(&[], &knowledge(4)), 1);
    }

    #[test]
    fn a_node_counts_as_named_from_when_it_is_written_until_a_record_without_it_is_there() {
        let mut alpha = leases("alpha");
        let named = |standing: &Standing| standing.held[&0].named.clone();
        let beta: BTreeSet<String> = ["beta".to_owned()].into();
        let knows = |nodes: &BTreeSet<String>| Knowledge {
            in_step: [(0, (5, nodes.clone()))].into(),
            ..Knowledge::default()
        };
        alpha.hear(&[lease("0", 5, SECOND, Vec::new())]);
        let (_, written) = alpha.turn((None, None), &Knowledge::default(), (&[], true), 0);
        let first = KnownLease {
            number: written[0].number,
            ..lease("0", 5, SECOND, written[0].value.clone())
        };
        alpha.hear(std::slice::from_ref(&first));
        let (standing, written) = alpha.turn((None, None), &knows(&beta), (&[], true), 0);
        assert_eq!(named(&standing), beta);
        // It is late: what was written may yet come.
        let none = BTreeSet::new();
        let (standing, _) = alpha.turn((None, None), &knows(&none), (&[], true), 0);
        assert_eq!(named(&standing), beta);
        alpha.hear(&[KnownLease {
            number: written[0].number,
            record: written[0].value.clone(),
            ..first.clone()
        }]);
        let (standing, written) = alpha.turn((None, None), &knows(&none), (&[], true), 0);
        assert_eq!(named(&standing), beta);
        alpha.hear(&[KnownLease {
            number: written[0].number,
            record: written[0].value.clone(),
            ..first
        }]);
        let (standing, _) = alpha.turn((None, None), &knows(&none), (&[], true), 0);
        assert_eq!(named(&standing), none);
    }

    #[test]
    fn a_record_has_room_for_all_of_it() {
        let record = Record {
            node: "n".repeat(63),
            clear: true,
            turns: true,
            range: (u32::MAX, u32::MAX, 64),
            six: u64::MAX,
            orders: vec![u32::MAX; ORDERS_MAX],
            epoch: u64::MAX >> 16,
            named: (0..NAMED_MAX).map(|one| u32::MAX - one as u32).collect(),
        };
        let bytes = codec::encode(&record).len();
        // What the cluster takes (`cluster::command::RECORD_BYTES_MAX`).
        assert!(bytes <= 320, "{bytes}");
    }

    #[test]
    fn a_lease_that_is_handed_over_is_not_used_and_not_wanted_for_a_while() {
        let mut alpha = leases("alpha");
        let record = codec::encode(&Record {
            node: "alpha".to_owned(),
            clear: true,
            turns: true,
            range: alpha.range,
            six: 0,
            orders: Vec::new(),
            epoch: 5,
            ..Record::default()
        });
        alpha.hear(&[lease("1", 5, 9 * SECOND, record)]);
        assert!(
            alpha
                .turn((None, None), &Knowledge::default(), (&[], true), 0)
                .0
                .held
                .contains_key(&1)
        );
        alpha.hand_over("boot/lan/1", 0);
        assert_eq!(
            alpha
                .turn((None, None), &Knowledge::default(), (&[], true), 1)
                .0
                .held,
            BTreeMap::new()
        );
        assert!(
            alpha
                .wants(true, 1)
                .iter()
                .any(|want| want.name == "boot/lan/1" && want.rank == 0)
        );
        assert_eq!(alpha.due_ns(1), Some(2 * SECOND));
        assert!(
            alpha
                .wants(true, 2 * SECOND)
                .iter()
                .any(|want| want.name == "boot/lan/1" && want.rank == 1)
        );
    }

    #[test]
    fn the_other_node_is_where_its_record_says() {
        let mut alpha = leases("alpha");
        let at = |last: u8| {
            codec::encode(&At {
                address: Ipv4Addr::new(10, 0, 0, last),
                six: None,
            })
        };
        alpha.hear(&[
            lease("@beta", 1, 0, at(3)),
            lease("@alpha", 1, SECOND, at(9)),
        ]);
        let own = Ipv4Addr::new(10, 0, 0, 2);
        let (standing, written) =
            alpha.turn((Some(own), None), &Knowledge::default(), (&[], true), 0);
        assert_eq!(standing.nodes.there, [Ipv4Addr::new(10, 0, 0, 3)]);
        assert_eq!(
            written
                .iter()
                .map(|one| one.value.clone())
                .collect::<Vec<_>>(),
            [at(2)]
        );
        // Its lease has ended.
        let ended = KnownLease {
            holder: String::new(),
            ..lease("@beta", 1, 0, at(3))
        };
        alpha.hear(&[ended]);
        let (standing, _) = alpha.turn((Some(own), None), &Knowledge::default(), (&[], true), 0);
        let gone = vec![Ipv4Addr::new(10, 0, 0, 3)];
        assert_eq!((standing.nodes.there, standing.nodes.gone), (vec![], gone));
    }

    #[test]
    fn ranges_of_ipv6_have_other_marks_and_the_other_node_says_its_address() {
        let range = |last: u16| Range {
            first: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
            last: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last),
            parts: 2,
        };
        assert_ne!(mark6(range(9)), mark6(range(10)));
        let mut alpha = leases("alpha");
        let six = Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3));
        let address = Ipv4Addr::new(10, 0, 0, 3);
        let beta = codec::encode(&At { address, six });
        alpha.hear(&[lease("@beta", 1, 0, beta)]);
        let (standing, _) = alpha.turn((None, None), &Knowledge::default(), (&[], true), 0);
        assert_eq!(standing.nodes.six, six.into_iter().collect::<Vec<_>>());
        // As it writes it itself, and as a node without IPv6 wrote it.
        let own = (Some(Ipv4Addr::new(10, 0, 0, 2)), six);
        let before = At {
            address: Ipv4Addr::new(10, 0, 0, 2),
            six: None,
        };
        alpha.hear(&[lease("@alpha", 1, SECOND, codec::encode(&before))]);
        let (_, written) = alpha.turn(own, &Knowledge::default(), (&[], true), 0);
        let at: At = codec::decode(&written[0].value).unwrap();
        assert_eq!(at.six, six);
    }
}
