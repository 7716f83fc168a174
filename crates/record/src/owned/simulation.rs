//! Simulates histories of nodes that own the keys of one part in turn: decisions, connections that
//! break, late records of the cluster, kills, and disks that lose power.
//!
//! Property: a node that the record of the part names has a stored copy with every decision of
//! which a client has heard. So the next owner gives no key twice.

use super::{
    Confirmation, ConfirmationDecision, CopyEffect, OwnedChange, OwnedCopies, OwnedCopy,
    OwnedCopyError, OwnedMessage, OwnedParts,
};
use crate::defect::Defect;
use crate::journal::{Journal, JournalDamage, JournalEntry};
use crate::record::Record;
use crate::version::Version;
use lab::Random;
use lab::sim::{Disk, Faults, LinkEvent, Network, assert_found, run_seeds};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];
const KEYS: u64 = 6;
const CLIENTS: u64 = 20;
const STEPS: u64 = 400;
const PART: usize = 0;
const FAULTS: Faults = Faults {
    lost: 200,
    duplicated: 20,
    delayed: 3,
    delay_ms: 60,
};

/// Mistake that the simulation plants, in the store or in the simulated process around it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SimulatedDefect {
    Store(Defect),
    /// A node confirms a change that is not on its disk.
    ConfirmsBeforeStored,
    /// A copy counts although the record does not name its node.
    NamesIgnored,
    /// Records that were written, and may yet take effect, do not count.
    WrittenNotCounted,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Change {
    key: u8,
    client: Option<u8>,
}

impl OwnedChange for Change {
    type Key = u8;
    type Group = u8;

    const KEYS_MAX: usize = KEYS as usize;

    fn key(&self) -> u8 {
        self.key
    }

    fn group(&self) -> Option<u8> {
        self.client
    }

    fn has_record(&self) -> bool {
        self.client.is_some()
    }
}

/// Owner, epoch and division of a stored copy.
#[derive(Serialize, Deserialize, Clone, Debug)]
struct CopyNote {
    node: String,
    epoch: u64,
    division: u64,
}

type Entry = JournalEntry<u8, u8, CopyNote>;

fn entry(change: Change, epoch: u64) -> Entry {
    let version = Version {
        generation: epoch,
        ..Version::default()
    };
    match change.client {
        Some(client) => Entry::Put(Record::new(change.key, client, version)),
        None => Entry::Gone(change.key),
    }
}

fn entries(copy: &OwnedCopy<Change>) -> Vec<Entry> {
    let note = CopyNote {
        node: copy.node.clone(),
        epoch: copy.epoch,
        division: copy.division,
    };
    let known = copy.known().map(|change| entry(*change, copy.epoch));
    [Entry::Note(note)].into_iter().chain(known).collect()
}

#[derive(Clone, Debug)]
enum Packet {
    Owner(OwnedMessage<Change>),
    Confirmation(Confirmation),
}

#[derive(Debug)]
struct Node {
    parts: OwnedParts<Change>,
    copies: OwnedCopies<Change>,
    journal: Journal,
    links: BTreeMap<usize, u64>,
}

/// Record of the part in the cluster.
#[derive(Clone, Debug, Default)]
struct PartRecord {
    owner: usize,
    epoch: u64,
    division: u64,
    named: BTreeSet<String>,
}

struct World {
    random: Random,
    now_ms: u64,
    nodes: Vec<Option<Node>>,
    /// Disks with the copies of each node, and the decisions of each as an owner.
    disks: Vec<Disk>,
    own: Vec<BTreeMap<u8, u8>>,
    network: Network<Packet>,
    record: PartRecord,
    /// Names of nodes with a copy, as written to the record, with the time at which each write
    /// takes effect.
    writes: VecDeque<(u64, BTreeSet<String>)>,
    /// Node that holds the lease.
    holder: Option<usize>,
    /// Clients that wait for a response, and those that got one.
    waiting: Vec<(u8, u8)>,
    told: BTreeMap<u8, u8>,
    /// Number of times that a node became the owner with a copy of the former owner's records.
    taken: u64,
    defect: Option<SimulatedDefect>,
}

impl World {
    fn new(seed: u64, defect: Option<SimulatedDefect>) -> World {
        let mut random = Random::new(seed);
        let count = if random.percent(50) { 2 } else { 3 };
        let mut world = World {
            now_ms: 1_000,
            nodes: (0..count).map(|_| None).collect(),
            disks: vec![Disk::default(); count],
            own: vec![BTreeMap::new(); count],
            network: Network::new(count, FAULTS),
            random,
            record: PartRecord::default(),
            writes: VecDeque::new(),
            holder: None,
            waiting: Vec::new(),
            told: BTreeMap::new(),
            taken: 0,
            defect,
        };
        (0..count).for_each(|at| world.start(at));
        world
    }

    fn has(&self, defect: SimulatedDefect) -> bool {
        self.defect == Some(defect)
    }

    fn start(&mut self, at: usize) {
        let store = match self.defect {
            Some(SimulatedDefect::Store(defect)) => Some(defect),
            _ => None,
        };
        let bytes = self.disks[at].contents();
        let (journal, contents) = Journal::read::<u8, u8, CopyNote>(&bytes, at as u64);
        let mut node = Node {
            parts: OwnedParts::default(),
            copies: OwnedCopies::default(),
            journal,
            links: BTreeMap::new(),
        };
        node.parts.set_defect(store);
        node.copies.set_defect(store);
        if let Some(note) = contents
            .note
            .filter(|_| contents.damage != JournalDamage::Lost)
        {
            let mut copy = OwnedCopy::new(&note.node, note.epoch, note.division);
            for record in contents.records.values() {
                copy.change(&[Change {
                    key: record.key,
                    client: Some(record.value),
                }]);
            }
            node.copies.restore(PART, copy);
        }
        if self.holder == Some(at) {
            node.parts.hold(PART, self.record.epoch);
            node.copies.hold(PART, self.record.epoch);
        }
        self.nodes[at] = Some(node);
        self.network.set_up(at, true, self.now_ms);
    }

    fn kill(&mut self, at: usize) {
        self.network.set_up(at, false, self.now_ms);
        self.nodes[at] = None;
        self.disks[at].lose_power(&mut self.random);
        if self.holder == Some(at) {
            self.waiting.clear();
            if self.random.percent(70) {
                self.holder = None;
            }
        }
    }

    /// Returns the copy with which a node may take the part.
    fn copy_at(&self, at: usize) -> Option<&OwnedCopy<Change>> {
        let record = &self.record;
        let copies = &self.nodes[at].as_ref()?.copies;
        let copy = copies.of(PART, NAMES[record.owner], record.epoch);
        copy.filter(|copy| copy.division == record.division)
    }

    /// Checks that a node has everything of which a client has heard.
    fn check(&self, at: usize, known: &BTreeMap<u8, u8>) -> Result<(), String> {
        match self
            .told
            .iter()
            .find(|(key, client)| known.get(*key) != Some(*client))
        {
            None => Ok(()),
            Some(told) => Err(format!("{} lacks {told:?}: {known:?}", NAMES[at])),
        }
    }

    fn check_named(&self) -> Result<(), String> {
        for (at, node) in self.nodes.iter().enumerate() {
            if node.is_some() && self.record.named.contains(NAMES[at]) {
                let copy = self.copy_at(at).ok_or("a named node has no copy")?;
                self.check(at, &known(copy))?;
            }
        }
        Ok(())
    }

    /// Grants the lease of the part to a node.
    fn grant(&mut self, at: usize) -> Result<(), String> {
        let is_named = self.record.named.contains(NAMES[at]);
        let copy = self.copy_at(at).map(known);
        let copy = copy.filter(|_| is_named || self.has(SimulatedDefect::NamesIgnored));
        if self.record.owner == at {
            self.check(at, &self.own[at])?;
        } else if let Some(copy) = copy {
            self.check(at, &copy)?;
            self.taken += 1;
            self.own[at] = copy;
        } else {
            // Without a copy, the new owner withholds all keys until their clients cannot use them
            // any more, so the simulation forgets what clients know.
            self.told.clear();
            self.own[at].clear();
        }
        if let Some(before) = self.holder
            && let Some(node) = &mut self.nodes[before]
        {
            node.parts.drop_part(PART);
        }
        self.holder = Some(at);
        self.record = PartRecord {
            owner: at,
            epoch: self.record.epoch + 1,
            division: self.record.division,
            named: BTreeSet::new(),
        };
        self.writes.clear();
        self.waiting.clear();
        if let Some(node) = &mut self.nodes[at] {
            node.parts.hold(PART, self.record.epoch);
            node.copies.hold(PART, self.record.epoch);
        }
        Ok(())
    }

    /// Changes the division of the keys.
    fn divide(&mut self, at: usize) {
        let Some(node) = &mut self.nodes[at] else {
            return;
        };
        node.parts.clear();
        node.parts.hold(PART, self.record.epoch);
        self.record.division += 1;
        self.record.named.clear();
        self.writes.clear();
    }

    fn decide(&mut self, at: usize) {
        let key = self.random.below(KEYS) as u8;
        let client = match self.own[at].remove(&key) {
            Some(_) => None,
            None => Some(self.random.below(CLIENTS) as u8),
        };
        self.waiting.retain(|(one, _)| *one != key);
        self.told.remove(&key);
        if let Some(client) = client {
            self.own[at].insert(key, client);
            self.waiting.push((key, client));
        }
        if let Some(node) = &mut self.nodes[at] {
            node.parts
                .change(PART, &[Change { key, client }], self.now_ms);
        }
    }

    /// Sends, writes the record, and responds to clients.
    fn own(&mut self, at: usize) {
        let Some(node) = &mut self.nodes[at] else {
            return;
        };
        node.parts.tick(self.now_ms);
        if !node.parts.missing().is_empty() {
            let known = self.own[at].iter().map(|(key, client)| Change {
                key: *key,
                client: Some(*client),
            });
            let known: Vec<Change> = known.collect();
            node.parts.begin(PART, self.record.division, &known);
        }
        for (other, name) in NAMES.iter().enumerate() {
            while self.random.percent(70)
                && let Some(message) = node.parts.next(name)
            {
                let packet = Packet::Owner(message);
                self.network
                    .send(at, other, packet, &mut self.random, self.now_ms);
            }
        }
        let wanted = node.parts.in_step(PART);
        let last = self
            .writes
            .back()
            .map_or(&self.record.named, |(_, named)| named);
        if wanted != *last {
            let at_ms = self.now_ms + self.random.below(100);
            let at_ms = self
                .writes
                .back()
                .map_or(at_ms, |(last, _)| at_ms.max(*last));
            self.writes.push_back((at_ms, wanted));
        }
        let mut named = self.record.named.clone();
        if self.defect != Some(SimulatedDefect::WrittenNotCounted) {
            named.extend(self.writes.iter().flat_map(|(_, named)| named.clone()));
        }
        let told = &mut self.told;
        self.waiting.retain(|(key, client)| {
            match node.parts.decide_confirmation(*key, PART, &named) {
                ConfirmationDecision::Now => {
                    told.insert(*key, *client);
                    false
                }
                ConfirmationDecision::Later => true,
                ConfirmationDecision::Never => false,
            }
        });
    }

    fn handle(&mut self, event: LinkEvent<Packet>) {
        match event {
            LinkEvent::Opened { at, other } => {
                if let Some(node) = &mut self.nodes[at] {
                    let link = node.parts.linked(NAMES[other]);
                    node.links.insert(other, link);
                }
            }
            LinkEvent::Closed { at, other, .. } => {
                if let Some(node) = &mut self.nodes[at]
                    && let Some(link) = node.links.remove(&other)
                {
                    node.parts.unlinked(NAMES[other], link);
                }
            }
            LinkEvent::Message { at, from, message } => match message {
                Packet::Owner(message) => self.store(at, from, &message),
                Packet::Confirmation(confirmation) => {
                    if let Some(node) = &mut self.nodes[at]
                        && let Some(link) = node.links.get(&from)
                    {
                        node.parts
                            .confirmed(NAMES[from], *link, confirmation, self.now_ms);
                    }
                }
            },
        }
    }

    fn store(&mut self, at: usize, from: usize, message: &OwnedMessage<Change>) {
        let is_synced = !self.has(SimulatedDefect::ConfirmsBeforeStored);
        let Some(node) = &mut self.nodes[at] else {
            return;
        };
        let disk = &mut self.disks[at];
        let whole = match node.copies.take(NAMES[from], message) {
            Ok(CopyEffect::Some) | Err(OwnedCopyError::Old) => return,
            Ok(effect) => node.copies.whole(PART).map(|copy| (effect, copy)),
            Err(_) => None,
        };
        match (whole, &message.content) {
            (Some((CopyEffect::Changes, _)), super::OwnedContent::Changes(changes))
                if !node.journal.needs_replacement(changes.len(), 0) =>
            {
                let entries = changes.iter().map(|one| entry(*one, message.epoch));
                disk.append(&node.journal.append(entries));
                if is_synced {
                    disk.sync();
                }
            }
            (Some((_, copy)), _) => disk.replace(node.journal.replace(entries(copy))),
            (None, _) => return self.network.close(at, from, self.now_ms),
        }
        let confirmation = Packet::Confirmation(Confirmation {
            part: message.part,
            epoch: message.epoch,
            number: message.number,
        });
        self.network
            .send(at, from, confirmation, &mut self.random, self.now_ms);
    }

    fn slice(&mut self) -> Result<(), String> {
        self.now_ms += 5;
        while let Some(event) = self.network.next_event(&mut self.random, self.now_ms) {
            self.handle(event);
        }
        if let Some(at) = self.holder {
            self.own(at);
        }
        while self
            .writes
            .front()
            .is_some_and(|(at_ms, _)| *at_ms <= self.now_ms)
            && let Some((_, named)) = self.writes.pop_front()
        {
            self.record.named = named;
        }
        self.check_named()
    }

    fn run(&mut self, ms: u64) -> Result<(), String> {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.slice()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        let count = self.nodes.len();
        let at = self.random.index(count);
        let other = (at + 1 + self.random.index(count - 1)) % count;
        match (self.random.below(100), self.holder) {
            (0..55, Some(owner)) => self.decide(owner),
            (55..60, _) if self.nodes[at].is_some() => self.grant(at)?,
            (60..64, _) if self.nodes[at].is_some() => self.kill(at),
            (64..74, _) if self.nodes[at].is_none() => self.start(at),
            (74..76, _) => self.network.set_cut(at, other, true),
            (76..86, _) => self.network.set_cut(at, other, false),
            (86..89, Some(owner)) => self.divide(owner),
            (_, None) if self.nodes[at].is_some() => self.grant(at)?,
            _ => {}
        }
        let ms = match self.random.below(10) {
            0 => self.random.below(1_500),
            1..4 => 0,
            _ => self.random.below(60),
        };
        self.run(ms)
    }
}

fn known(copy: &OwnedCopy<Change>) -> BTreeMap<u8, u8> {
    let known = copy.known();
    known
        .filter_map(|one| Some((one.key, one.client?)))
        .collect()
}

fn history(seed: u64, defect: Option<SimulatedDefect>) -> Result<u64, String> {
    let mut world = World::new(seed, defect);
    for step in 0..STEPS {
        let found = world.step();
        found.map_err(|found| format!("step {step} at {}: {found}", world.now_ms))?;
    }
    Ok(world.taken)
}

#[test]
fn named_node_has_each_decision_of_which_a_client_has_heard() {
    let taken = std::cell::Cell::new(0);
    run_seeds("OWNED", 100, |seed| {
        let count = history(seed, None)?;
        taken.set(taken.get() + count);
        Ok(())
    });
    // Requires that some node became the owner with a copy: otherwise the tested property would
    // hold trivially.
    assert!(taken.get() > 0);
}

#[test]
fn checker_finds_deliberate_defects() {
    let all = [
        SimulatedDefect::Store(Defect::NamesNotAwaited),
        SimulatedDefect::Store(Defect::StepNotAwaited),
        SimulatedDefect::Store(Defect::NamedTooEarly),
        SimulatedDefect::Store(Defect::NumberRestarts),
        SimulatedDefect::Store(Defect::HalfCopyCounts),
        SimulatedDefect::ConfirmsBeforeStored,
        SimulatedDefect::NamesIgnored,
        SimulatedDefect::WrittenNotCounted,
    ];
    assert_found(&all, 200, |seed, defect| {
        history(seed, Some(defect)).map(|_| ())
    });
}
