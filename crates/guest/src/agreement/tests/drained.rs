//! Tests two nodes that are drained at the same moment: their guests keep a node.

use super::super::{Agreement, AgreementDefect, GuestRecord, LeaseRecord, lease_of, lease_of_node};
use super::{Guests, Random, guests};
use crate::defect::InjectedDefect;
use crate::placement::Room;
use crate::record::NodeRecord;
use part::control::Epoch;
use part::role::KnownLease;
use std::collections::BTreeMap;

const NOW_NS: u64 = 1_000_000_000_000;
const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];
const SEEDS: u64 = 50;
const ROUNDS: u64 = 60;

/// Nodes, and the records in the order in which the cluster has committed them. Each node knows a
/// prefix of this order.
struct Cluster {
    guests: Vec<Guests>,
    nodes: Vec<Agreement>,
    log: Vec<LeaseRecord>,
    known: Vec<usize>,
    /// Records that are on their way to the cluster.
    sent: Vec<LeaseRecord>,
}

impl Cluster {
    /// Creates a cluster in which guest mail runs on the first node.
    fn new(count: usize, defect: Option<AgreementDefect>) -> Cluster {
        let mut site = guests(&mut Random::new(1));
        site.guests.retain(|name, _| name == "mail");
        let names: Vec<String> = NAMES[..count].iter().map(|one| (*one).to_owned()).collect();
        if let Some(mail) = site.guests.get_mut("mail") {
            mail.prefer.clone_from(&names);
        }
        let room = Room {
            memory_bytes: 10,
            cpus: 10,
        };
        let of = |me: &String| Guests {
            me: me.clone(),
            ..site.clone()
        };
        let node = |me: &String| Agreement {
            broken: InjectedDefect::new(defect),
            ..Agreement::new(me, room)
        };
        let record = NodeRecord {
            memory_bytes: 10,
            cpus: 10,
            ..NodeRecord::default()
        };
        let first = |name: String, value| LeaseRecord {
            name,
            epoch: Epoch(1),
            number: 1,
            value,
            frees: String::new(),
        };
        let records = names
            .iter()
            .map(|one| first(lease_of_node(one), record.encode()));
        let mut log: Vec<LeaseRecord> = records.collect();
        log.push(first(lease_of("mail"), GuestRecord::default().encode()));
        Cluster {
            guests: names.iter().map(of).collect(),
            nodes: names.iter().map(node).collect(),
            known: vec![log.len(); count],
            log,
            sent: Vec::new(),
        }
    }

    /// Reports the records to a node as far as it knows them, and sends the record that the node
    /// writes.
    fn turn(&mut self, at: usize) {
        let mut leases = BTreeMap::new();
        for record in &self.log[..self.known[at]] {
            let holder = record.name.strip_prefix("guest/@").unwrap_or(NAMES[0]);
            let lease = KnownLease {
                name: record.name.clone(),
                epoch: 1,
                until_ns: if holder == NAMES[at] { NOW_NS + 1 } else { 0 },
                holder: holder.to_owned(),
                number: record.number,
                record: record.value.clone(),
                is_inherited: false,
            };
            leases.insert(record.name.clone(), lease);
        }
        self.nodes[at].apply_leases(leases.into_values().collect());
        let (_, told) = self.nodes[at].decide(&self.guests[at], &BTreeMap::new(), NOW_NS);
        let is_own = |one: &LeaseRecord| one.name == lease_of_node(NAMES[at]);
        self.sent.extend(told.records.into_iter().filter(is_own));
    }

    /// Commits a record that was sent, unless a newer one has replaced it.
    fn commit(&mut self, random: &mut Random) {
        if self.sent.is_empty() {
            return;
        }
        let at = random.below(self.sent.len() as u64) as usize;
        let record = self.sent.swap_remove(at);
        let mut before = self.log.iter().filter(|one| one.name == record.name);
        if before.all(|one| one.number < record.number) {
            self.log.push(record);
        }
    }

    fn record(&self, at: usize) -> NodeRecord {
        let name = lease_of_node(NAMES[at]);
        let last = self.log.iter().rfind(|one| one.name == name);
        NodeRecord::decode(&last.unwrap().value).unwrap()
    }

    fn drain(&mut self, at: usize) -> Result<(), String> {
        let written = self.nodes[at].drain(&self.guests[at], false, NOW_NS)?;
        self.sent.push(written);
        Ok(())
    }

    fn settle(&mut self, random: &mut Random) {
        for _ in 0..20 {
            for at in 0..self.nodes.len() {
                self.known[at] = self.log.len();
                self.turn(at);
            }
            while !self.sent.is_empty() {
                self.commit(random);
            }
        }
    }
}

/// Drains all nodes, with messages in any order. Returns how many nodes are drained at the end.
fn drained_of(count: usize, seed: u64, defect: Option<AgreementDefect>) -> Result<usize, String> {
    let mut random = Random::new(seed);
    let mut cluster = Cluster::new(count, defect);
    for at in 0..count {
        cluster.turn(at);
    }
    cluster.sent.clear();
    let mut ordered = vec![false; count];
    for _ in 0..ROUNDS {
        let at = random.below(count as u64) as usize;
        match random.below(4) {
            0 if !ordered[at] => {
                ordered[at] = true;
                // The node already knows that the other nodes are drained.
                let _ = cluster.drain(at);
            }
            1 => cluster.commit(&mut random),
            2 => {
                let more = random.below((cluster.log.len() - cluster.known[at]) as u64 + 1);
                cluster.known[at] += more as usize;
                cluster.turn(at);
            }
            _ => cluster.turn(at),
        }
    }
    cluster.settle(&mut random);
    let records: Vec<NodeRecord> = (0..count).map(|at| cluster.record(at)).collect();
    if records.iter().any(|record| record.wants_drain) {
        return Err("a proposal was not decided".to_owned());
    }
    if records.iter().all(|record| record.drained) {
        return Err("no node takes guests".to_owned());
    }
    let all = ordered.iter().all(|one| *one);
    let drained = records.iter().filter(|record| record.drained).count();
    if all && drained + 1 < count {
        return Err(format!("only {drained} of {count} nodes are drained"));
    }
    Ok(drained)
}

#[test]
fn simultaneous_drains_leave_one_node() {
    for (count, seed) in [2, 3]
        .into_iter()
        .flat_map(|count| (0..SEEDS).map(move |seed| (count, seed)))
    {
        drained_of(count, seed, None)
            .unwrap_or_else(|why| panic!("{count} nodes, seed {seed}: {why}"));
    }
    let defect = Some(AgreementDefect::DrainsAtOnce);
    assert!((0..SEEDS).any(|seed| drained_of(2, seed, defect).is_err()));
}

#[test]
fn second_drain_is_refused_with_reason_and_counted() {
    let mut random = Random::new(1);
    let mut cluster = Cluster::new(2, None);
    cluster.settle(&mut random);
    cluster.drain(0).unwrap();
    cluster.drain(1).unwrap();
    cluster.settle(&mut random);
    assert!(cluster.record(0).drained && !cluster.record(1).drained);
    assert_eq!(
        (
            cluster.nodes[0].refused_drains("beta"),
            cluster.nodes[0].refused_drains("alpha")
        ),
        (1, 0)
    );
    // The guest is still migrating from alpha.
    let refused = cluster.drain(1).unwrap_err();
    assert!(refused.contains("mail would shut down"), "{refused}");
    // With --shut-down the node is drained, and alpha alone may accept guests again.
    let written = cluster.nodes[1]
        .drain(&cluster.guests[1], true, NOW_NS)
        .unwrap();
    cluster.sent.push(written);
    cluster.settle(&mut random);
    assert!(cluster.record(0).drained && cluster.record(1).drained);
    let written = cluster.nodes[0].fill(NOW_NS).unwrap();
    cluster.sent.push(written);
    cluster.settle(&mut random);
    assert!(!cluster.record(0).drained && cluster.record(1).drained);
}
