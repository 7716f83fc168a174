//! The leases of the cluster for one network: a value without a clock.
//!
//! - `boot/NETWORK/0`, `boot/NETWORK/1` …: a part of the range for each node. Each node wants its own
//!   part most; the other one has it while the node is gone. Before a node gives the first address of a
//!   part, it has written its name under the lease: the next holder knows that there are leases that it
//!   has not seen.
//! - The holder of the first one leads: it alone answers machines that boot something once, so that
//!   nothing is installed twice. Its record has the machines of which an operator ordered the next boot.
//! - `boot/NETWORK/@NODE`: the node's address in the network, for the scripts of the other one.

use crate::dhcp::pool::Range;
use crate::site::{Held, Standing};
use part::codec;
use part::role::{KnownLease, WantedLease};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

/// After a lease was handed over it is not wanted for this long, nanoseconds. By then the other node
/// has it.
const REST_NS: u64 = 2_000_000_000;
/// Orders for the next boot that are known at one time: what a record has room for.
pub const ORDERS_MAX: usize = 32;

/// What is written under the lease of a part.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
struct Record {
    /// The node that gives addresses of it.
    node: String,
    /// It has on its disk which of them another node may have given.
    clear: bool,
    /// The first and the last address of the range, and the number of parts.
    range: (u32, u32, u32),
    /// A mark of the range of IPv6: there is no room for its addresses.
    six: u64,
    /// Machines with an order, by [`crate::mac::mark`].
    orders: Vec<u32>,
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
    taken: BTreeMap<usize, (u64, bool)>,
    /// Parts that this node has held in a turn before.
    used: BTreeSet<usize>,
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
        let parts = parts.map(|part| want(self.part(part), if own == Some(part) { 2 } else { 1 }));
        let nodes = self.nodes.iter();
        let nodes = nodes.map(|node| want(self.node(node), u32::from(*node == self.me)));
        parts.chain(nodes).collect()
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
        orders: &[u32],
        is_stored: bool,
        now_ns: u64,
    ) -> (Standing, Vec<Written>) {
        self.resting.retain(|_, until| *until > now_ns);
        let mut standing = Standing::default();
        let mut written = Vec::new();
        for part in 0..usize::try_from(self.parts()).unwrap_or(1) {
            let lead = (orders, is_stored);
            self.look_at(part, lead, now_ns, &mut standing, &mut written);
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
        (orders, is_stored): (&[u32], bool),
        now_ns: u64,
        standing: &mut Standing,
        written: &mut Vec<Written>,
    ) {
        let name = self.part(part);
        let Some(lease) = self.known.get(&name) else {
            self.taken.remove(&part);
            self.used.remove(&part);
            return;
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
            self.taken.remove(&part);
            self.used.remove(&part);
            return;
        }
        let is_mine = |record: &&Record| {
            let ranges = (record.range, record.six);
            record.node == self.me && ranges == (self.range, self.range6)
        };
        let mine = record.as_ref().filter(is_mine);
        let (said, is_clear) = (mine.is_some(), mine.is_some_and(|record| record.clear));
        let (epoch, knows) = match self.taken.get(&part) {
            Some((epoch, knows)) if *epoch == lease.epoch => (*epoch, *knows),
            // Nobody gave an address of it before this node, or nobody at all.
            _ => (lease.epoch, is_clear || lease.record.is_empty()),
        };
        self.taken.insert(part, (epoch, knows));
        let mut orders = orders.to_vec();
        orders.truncate(ORDERS_MAX);
        if part != 0 {
            orders.clear();
        }
        let wanted = Record {
            node: self.me.clone(),
            // What another node may have given is on the disk after the turn in which this one took it.
            clear: knows || is_clear || (self.used.contains(&part) && is_stored),
            range: self.range,
            six: self.range6,
            orders,
        };
        if record.as_ref() != Some(&wanted) {
            written.push(next(lease, codec::encode(&wanted)));
        }
        // Not before the record is there: who follows has to know.
        if said {
            let until_ms = lease.until_ns / 1_000_000;
            standing.held.insert(part, Held { knows, until_ms });
            self.used.insert(part);
        }
    }
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
        let (standing, written) = alpha.turn((None, None), &[7], true, 0);
        assert_eq!(standing.held, BTreeMap::new());
        let [write] = &written[..] else {
            panic!("{written:?}")
        };
        assert_eq!((write.epoch, write.number), (5, 4));
        alpha.hear(&[lease("0", 5, SECOND, write.value.clone())]);
        let (standing, written) = alpha.turn((None, None), &[7], true, 0);
        let held = Held {
            knows: true,
            until_ms: 1_000,
        };
        assert_eq!(
            (standing.held, standing.orders),
            ([(0, held)].into(), vec![7])
        );
        assert_eq!(written, []);
        // The lease has ended.
        assert_eq!(
            alpha.turn((None, None), &[7], true, SECOND).0.held,
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
                range,
                six,
                orders: Vec::new(),
            })
        };
        let records = [
            by("beta", alpha.range, 0),
            by("alpha", (1, 2, 2), 0),
            by("alpha", alpha.range, 7),
        ];
        for (epoch, record) in (5..).zip(records) {
            alpha.hear(&[lease("0", epoch, SECOND, record)]);
            let (standing, written) = alpha.turn((None, None), &[], true, 0);
            assert_eq!(standing.held, BTreeMap::new());
            alpha.hear(&[lease("0", epoch, SECOND, written[0].value.clone())]);
            let (standing, _) = alpha.turn((None, None), &[], true, 0);
            assert!(!standing.held[&0].knows, "{epoch}");
        }
    }

    #[test]
    fn a_lease_that_is_handed_over_is_not_used_and_not_wanted_for_a_while() {
        let mut alpha = leases("alpha");
        let record = codec::encode(&Record {
            node: "alpha".to_owned(),
            clear: true,
            range: alpha.range,
            six: 0,
            orders: Vec::new(),
        });
        alpha.hear(&[lease("1", 5, 9 * SECOND, record)]);
        assert!(
            alpha
                .turn((None, None), &[], true, 0)
                .0
                .held
                .contains_key(&1)
        );
        alpha.hand_over("boot/lan/1", 0);
        assert_eq!(
            alpha.turn((None, None), &[], true, 1).0.held,
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
        let (standing, written) = alpha.turn((Some(own), None), &[], true, 0);
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
        let (standing, _) = alpha.turn((Some(own), None), &[], true, 0);
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
        let (standing, _) = alpha.turn((None, None), &[], true, 0);
        assert_eq!(standing.nodes.six, six.into_iter().collect::<Vec<_>>());
        // As it writes it itself, and as a node without IPv6 wrote it.
        let own = (Some(Ipv4Addr::new(10, 0, 0, 2)), six);
        let before = At {
            address: Ipv4Addr::new(10, 0, 0, 2),
            six: None,
        };
        alpha.hear(&[lease("@alpha", 1, SECOND, codec::encode(&before))]);
        let (_, written) = alpha.turn(own, &[], true, 0);
        let at: At = codec::decode(&written[0].value).unwrap();
        assert_eq!(at.six, six);
    }
}
