//! Runs the nodes, network, disks and clients of a history, and checks their decisions.

use super::SimulatedDefect;
use super::pool::{Lodging, PLACES, Pool, RETENTION, ROOMS, Seat, serves};
use crate::defect::Defect;
use crate::directory::{Directory, MessageOf};
use crate::journal::{Journal, JournalDamage, JournalWrite};
use crate::replica::{CLAIM_MS, Outcome, PeerState, Replica, SYNC_MS};
use crate::table::Presence;
use crate::version::{Origin, Version};
use lab::Random;
use lab::sim::{Clock, Disk, Faults, LinkEvent, Network};
use std::collections::{BTreeMap, BTreeSet};

const TENANTS: u64 = 12;
/// Time around the expiry of a record, milliseconds, in which one node may have dropped the record
/// and another one not.
const MARGIN_MS: u64 = 4_000;
const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];
const FAULTS: Faults = Faults {
    lost: 400,
    duplicated: 20,
    delayed: 300,
    delay_ms: 40,
};

struct Node {
    replica: Replica<Pool>,
    journal: Journal,
    tickets: BTreeMap<u64, (Lodging, u64)>,
    /// Places that requests got at once while an earlier request for the key waited.
    overtaken: BTreeMap<Lodging, u8>,
    /// Records that a client or another node may have heard of.
    revealed: BTreeMap<Lodging, (u8, Version)>,
}

/// State of a key that clients have been told, and with which the checker compares.
#[derive(Clone, Copy, Debug)]
struct Expected {
    place: u8,
    /// Node that changed the record last, and the time of the change.
    author: usize,
    changed_ms: u64,
    last_ms: u64,
    is_used: bool,
    is_proved: bool,
    /// Version of the record at its author, and of the one that it replaced.
    version: Version,
    over: Option<Version>,
    /// True if all nodes were connected at the decision. Otherwise a node that returns may have a
    /// record that expired elsewhere, and overrule the decision.
    is_agreed: bool,
    /// True if the record may have been lost at some time, so that a later hold may not have found
    /// it.
    may_be_gone: bool,
}

pub(super) struct World {
    random: Random,
    now_ms: u64,
    clocks: Vec<Clock>,
    nodes: Vec<Option<Node>>,
    disks: Vec<Disk>,
    is_durable: bool,
    network: Network<Vec<u8>>,
    expected: BTreeMap<Lodging, Expected>,
    /// Tenant, node and place of each hold of a value.
    holds: Vec<(u8, usize, u8)>,
    /// Places that a node sees as down, and the time at which one last came up.
    down: Vec<BTreeSet<u8>>,
    up_ms: BTreeMap<u8, u64>,
    /// Time since which all nodes agree.
    agreed_ms: Option<u64>,
    /// Nodes that ended before they had synchronised with the others.
    unmerged: BTreeSet<usize>,
    /// True if the checker knows all records of the nodes.
    is_learned: bool,
    defect: Option<SimulatedDefect>,
}

impl World {
    pub(super) fn new(seed: u64, defect: Option<SimulatedDefect>) -> World {
        let mut random = Random::new(seed);
        let count = if random.percent(50) { 2 } else { 3 };
        let mut world = World {
            now_ms: 10_000,
            clocks: (0..count).map(|_| Clock::new(&mut random)).collect(),
            nodes: (0..count).map(|_| None).collect(),
            disks: vec![Disk::default(); count],
            is_durable: random.percent(50),
            network: Network::new(count, FAULTS),
            random,
            expected: BTreeMap::new(),
            holds: Vec::new(),
            down: vec![BTreeSet::new(); count],
            up_ms: BTreeMap::new(),
            agreed_ms: None,
            unmerged: BTreeSet::new(),
            is_learned: false,
            defect,
        };
        for at in 0..count {
            world.start(at, None);
        }
        world
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn local_ms(&self, at: usize) -> u64 {
        self.clocks[at].local_ms(self.now_ms)
    }

    fn has_defect(&self, defect: SimulatedDefect) -> bool {
        self.defect == Some(defect)
    }

    fn store_defect(&self) -> Option<Defect> {
        match self.defect {
            Some(SimulatedDefect::Store(defect)) => Some(defect),
            _ => None,
        }
    }

    fn start(&mut self, at: usize, saved: Option<Pool>) {
        let now_ms = self.local_ms(at);
        let mut pool = Pool::new(Origin(self.random.next()));
        let defect = self.store_defect();
        pool.table_mut().set_defect(defect);
        let bytes = self.disks[at].contents();
        let (journal, contents) =
            Journal::read_with::<Lodging, Seat, ()>(&bytes, self.random.next(), defect);
        if self.is_durable {
            for (key, record) in contents.records {
                pool.restore(key, record.into_entry(now_ms), now_ms);
            }
        } else if let Some(saved) = saved {
            pool.order = saved.order;
            for (key, entry) in saved.table().iter().filter(|(_, one)| one.version.used) {
                let mut entry = entry.clone();
                entry.far.clear();
                pool.restore(key, entry, now_ms);
            }
        }
        for place in &self.down[at] {
            pool.down.insert(*place, now_ms);
        }
        let mut replica = Replica::shared(pool, now_ms);
        let others = (0..self.nodes.len()).filter(|other| *other != at);
        let others = others.map(|other| NAMES[other].to_owned()).collect();
        replica.set_peers(&others, now_ms);
        self.nodes[at] = Some(Node {
            replica,
            journal,
            tickets: BTreeMap::new(),
            overtaken: BTreeMap::new(),
            revealed: BTreeMap::new(),
        });
        self.network.set_up(at, true, self.now_ms);
    }

    /// Writes what has changed to the disk of a node. Nothing leaves the node before.
    fn persist(&mut self, at: usize) {
        let now_ms = self.local_ms(at);
        let skips = self.has_defect(SimulatedDefect::AnswersBeforeSync) && self.random.percent(70);
        let Some(node) = self.nodes[at].as_mut().filter(|_| self.is_durable) else {
            return;
        };
        let directory = &mut node.replica.directory;
        if !skips {
            let changed = directory.table_mut().take_changed();
            if !changed.is_empty() {
                match node.journal.write(directory, &changed, now_ms) {
                    JournalWrite::Append(bytes) => self.disks[at].append(&bytes),
                    JournalWrite::Replace(bytes) => self.disks[at].replace(bytes),
                }
                self.disks[at].sync();
            }
        }
        let records = directory.table().iter();
        node.revealed = records
            .map(|(key, entry)| (key, (entry.0, entry.version)))
            .collect();
    }

    fn is_agreed(&self) -> bool {
        self.nodes.iter().enumerate().all(|(at, node)| {
            let synced = node.as_ref().map(|node| node.replica.synced().len());
            let others = (0..self.nodes.len()).filter(|other| *other != at);
            let is_open = |other| self.network.is_open(at, other);
            synced == Some(self.nodes.len() - 1) && others.into_iter().all(is_open)
        })
    }

    fn is_split(&self) -> bool {
        let decides = |at: usize| {
            let mut states = self.nodes[at].as_ref()?.replica.peer_statuses();
            let lacks = states.any(|(_, peer)| {
                matches!(
                    peer.state,
                    PeerState::Awaited { .. } | PeerState::Syncing { .. }
                )
            });
            (!lacks).then_some(at)
        };
        let decides: Vec<usize> = (0..self.nodes.len()).filter_map(decides).collect();
        let is_gone = |at: usize, other: usize| {
            let node = self.nodes[at].as_ref();
            node.is_some_and(|node| {
                let mut states = node.replica.peer_statuses();
                states.any(|(name, peer)| name == NAMES[other] && peer.state == PeerState::Gone)
            })
        };
        if !self.unmerged.is_empty() {
            return true;
        }
        let mut pairs = decides
            .iter()
            .flat_map(|at| decides.iter().map(move |other| (*at, *other)));
        pairs.any(|(at, other)| at != other && is_gone(at, other))
    }

    /// Expects no value while two nodes decide without each other.
    fn forget_if_split(&mut self) {
        let nodes = &self.nodes;
        let is_merged = |at: usize| {
            let node: Option<&Node> = nodes[at].as_ref();
            node.is_some_and(|node| !node.replica.synced().is_empty())
        };
        self.unmerged.retain(|at| !is_merged(*at));
        if self.is_split() {
            self.expected.clear();
        }
    }

    fn slice(&mut self) -> Result<(), String> {
        self.now_ms += 2;
        let mut expected = std::mem::take(&mut self.expected);
        for (key, known) in &mut expected {
            known.may_be_gone |= !self.is_certain(*key, known);
        }
        self.expected = expected;
        while let Some(event) = self.network.next_event(&mut self.random, self.now_ms) {
            self.handle(event)?;
        }
        for at in 0..self.nodes.len() {
            let now_ms = self.local_ms(at);
            let Some(node) = &mut self.nodes[at] else {
                continue;
            };
            node.replica.tick(now_ms);
            for (name, _) in node.replica.take_broken() {
                let other = NAMES.iter().position(|one| *one == name).ok_or("a node")?;
                self.network.close(at, other, self.now_ms);
            }
            // Forgets expectations if the network is split: then each of two nodes may decide
            // without the other one.
            self.forget_if_split();
            self.release(at)?;
        }
        self.forget_if_split();
        match (self.is_agreed(), self.agreed_ms) {
            (true, None) => self.agreed_ms = Some(self.now_ms),
            (false, _) => (self.agreed_ms, self.is_learned) = (None, false),
            (true, Some(since_ms)) if self.now_ms - since_ms == 500 => self.learn(),
            _ => {}
        }
        Ok(())
    }

    fn handle(&mut self, event: LinkEvent<Vec<u8>>) -> Result<(), String> {
        let origin = |nodes: &[Option<Node>], other: usize| {
            let node = nodes[other].as_ref();
            node.map(|node| node.replica.directory.table().origin())
        };
        match event {
            LinkEvent::Opened { at, other } => {
                let mut expected = std::mem::take(&mut self.expected);
                expected.retain(|key, known| known.is_agreed || !self.is_overruled(*key, known));
                self.expected = expected;
                let now_ms = self.local_ms(at);
                let origin = origin(&self.nodes, other).unwrap_or_default();
                if let Some(node) = &mut self.nodes[at] {
                    node.replica.linked(NAMES[other], origin, now_ms);
                }
            }
            LinkEvent::Closed { at, other, why } => {
                let now_ms = self.local_ms(at);
                if let Some(node) = &mut self.nodes[at] {
                    node.replica.broke(NAMES[other], why, now_ms);
                }
            }
            LinkEvent::Message { at, from, message } => {
                let now_ms = self.local_ms(at);
                let message: MessageOf<Pool> =
                    rmp_serde::from_slice(&message).map_err(|error| error.to_string())?;
                if let Some(node) = &mut self.nodes[at] {
                    let handled = node.replica.handle(NAMES[from], message, now_ms);
                    handled.map_err(|error| error.to_string())?;
                }
            }
        }
        Ok(())
    }

    /// Persists what a node has done, then delivers its decisions and messages.
    fn release(&mut self, at: usize) -> Result<(), String> {
        self.persist(at);
        let now_ms = self.local_ms(at);
        let Some(node) = &mut self.nodes[at] else {
            return Ok(());
        };
        let resolved = node.replica.take_resolved();
        let mut decided = Vec::new();
        for (ticket, decision) in resolved {
            let (key, _) = node.tickets.remove(&ticket).ok_or("an unknown ticket")?;
            if let (Some(first), Ok(place)) = (node.overtaken.remove(&key), &decision)
                && first != *place
            {
                return Err(format!(
                    "{key:?} gets {first}, then {place} by an earlier request"
                ));
            }
            decided.push((key, decision.ok()));
        }
        let limit_ms = SYNC_MS + CLAIM_MS * 4;
        let is_late = |(_, since_ms): &(Lodging, u64)| self.now_ms - since_ms > limit_ms;
        if node.tickets.values().any(is_late) {
            return Err("a request waits for too long".to_owned());
        }
        for other in (0..self.clocks.len()).filter(|other| *other != at) {
            while self.network.is_open(at, other)
                && let Some(message) = node.replica.next_message(NAMES[other], now_ms)
            {
                let bytes = rmp_serde::to_vec_named(&message).map_err(|error| error.to_string())?;
                let now_ms = self.now_ms;
                self.network
                    .send(at, other, bytes, &mut self.random, now_ms);
            }
        }
        for (key, place) in decided {
            if let Some(place) = place {
                self.judge(at, key, place)?;
            }
        }
        Ok(())
    }

    fn version_at(&self, at: usize, key: Lodging) -> Option<Version> {
        let node = self.nodes[at].as_ref()?;
        let entry = node.replica.directory.table().get(key)?;
        Some(entry.version)
    }

    /// Returns whether a node has a record that the author of a decision did not know: not the one
    /// of the decision, and not the one that it replaced.
    fn is_overruled(&self, key: Lodging, known: &Expected) -> bool {
        let id = |version: Version| (version.clock, version.origin);
        let is_own = |version: Version| {
            let mut own = [Some(known.version), known.over].into_iter().flatten();
            own.any(|one| id(one) == id(version))
        };
        let mut held = (0..self.nodes.len()).filter_map(|at| self.version_at(at, key));
        held.any(|version| !is_own(version))
    }

    /// Takes the records of nodes that have agreed for a while as what clients know.
    fn learn(&mut self) {
        let now_ms = self.local_ms(0);
        let Some(node) = &self.nodes[0] else {
            return;
        };
        self.is_learned = true;
        let table = node.replica.directory.table();
        for (key, entry) in table.iter() {
            let retention_ms = match entry.presence() {
                Presence::Pending => RETENTION.pending_ms,
                _ => table.keep_ms(entry.is_proved),
            };
            let left_ms = entry
                .until_ms
                .map_or(retention_ms, |until| until - now_ms.min(until));
            let learned = Expected {
                place: entry.0,
                author: 0,
                changed_ms: 0,
                last_ms: (self.now_ms + left_ms).saturating_sub(retention_ms),
                is_used: entry.version.used,
                is_proved: entry.is_proved,
                version: entry.version,
                over: None,
                is_agreed: true,
                may_be_gone: false,
            };
            self.expected.entry(key).or_insert(learned);
        }
    }

    fn is_held(&self, tenant: u8, place: u8) -> bool {
        let mut holds = self.holds.iter();
        holds.any(|(one, _, at)| (*one, *at) == (tenant, place))
    }

    /// Returns whether the record of a key is certainly still there.
    fn is_certain(&self, key: Lodging, known: &Expected) -> bool {
        let keep_ms = match (known.is_used, known.is_proved) {
            (false, _) => RETENTION.pending_ms,
            (true, false) => RETENTION.unproved_ms,
            (true, true) => RETENTION.keep_ms,
        };
        let is_kept = self.now_ms + MARGIN_MS < known.last_ms + keep_ms;
        !known.may_be_gone && (is_kept || self.is_held(key.0, known.place))
    }

    /// Returns whether a place is down for some node, or was when a claim began.
    fn may_be_down(&self, place: u8) -> bool {
        let up_ms = self.up_ms.get(&place);
        let was_down = up_ms.is_some_and(|up_ms| self.now_ms < up_ms + 2 * CLAIM_MS);
        was_down || self.down.iter().any(|down| down.contains(&place))
    }

    fn judge(&mut self, at: usize, key: Lodging, place: u8) -> Result<(), String> {
        if !serves(key.1, place) {
            return Err(format!("{key:?} gets place {place} of another room"));
        }
        self.forget_if_split();
        let known = self.expected.get(&key).copied();
        let is_firm = |known: &Expected| !self.may_be_down(known.place);
        if let Some(known) = known.filter(|known| self.is_certain(key, known))
            && known.place != place
            && is_firm(&known)
        {
            let name = NAMES[at];
            return Err(format!("{key:?} gets {place} by {name}, not {known:?}"));
        }
        let others = self
            .expected
            .range(Lodging(key.0, 0)..Lodging(key.0 + 1, 0));
        let others: Vec<Expected> = others
            .filter(|(other, known)| **other != key && serves(key.1, known.place))
            .map(|(_, known)| *known)
            .collect();
        let is_sure = |known: &Expected| is_firm(known) && self.is_certain(key, known);
        let may_share = |known: &Expected| known.place == place;
        // Does not expect the keys of one group to share a place if three nodes decided about them
        // at the same moment.
        let has_third = self.nodes.len() > 2;
        let is_recent = |known: &Expected| self.now_ms < known.changed_ms + CLAIM_MS;
        let may_cross = has_third && others.iter().any(is_recent);
        if self.is_learned
            && !may_cross
            && known.is_none()
            && others.iter().any(is_sure)
            && !others.iter().any(may_share)
        {
            return Err(format!("{key:?} gets {place} beside {others:?}"));
        }
        let is_same = known.is_some_and(|known| known.place == place);
        let first = Expected {
            place,
            author: at,
            changed_ms: self.now_ms,
            last_ms: self.now_ms,
            is_used: false,
            is_proved: false,
            version: self.version_at(at, key).unwrap_or_default(),
            over: known
                .filter(|known| self.is_certain(key, known))
                .map(|known| known.version),
            is_agreed: self.is_agreed(),
            may_be_gone: false,
        };
        let mut next = known.filter(|_| is_same).unwrap_or(first);
        next.may_be_gone = false;
        if !next.is_used {
            (next.author, next.changed_ms, next.last_ms) = (at, self.now_ms, self.now_ms);
        }
        self.expected.insert(key, next);
        if self.random.percent(50) {
            self.hold(at, key, place);
        }
        Ok(())
    }

    fn hold(&mut self, at: usize, key: Lodging, place: u8) {
        let (now_ms, is_proved) = (self.local_ms(at), self.random.percent(70));
        let Some(node) = &mut self.nodes[at] else {
            return;
        };
        node.replica.directory.connected(key, &place, now_ms);
        if is_proved {
            node.replica.directory.proved(key.0, &place, now_ms);
        }
        self.holds.push((key.0, at, place));
        self.touch(at, key.0, place, |known| {
            known.is_used = true;
            known.is_proved |= is_proved;
        });
    }

    fn touch(&mut self, at: usize, tenant: u8, place: u8, change: impl Fn(&mut Expected)) {
        let now_ms = self.now_ms;
        let table = self.nodes[at].as_ref().map(|node| &node.replica.directory);
        let has = |key: &Lodging| {
            let entry = table.and_then(|directory| directory.table().get(*key));
            entry.is_some_and(|entry| entry.0 == place)
        };
        let own = self
            .expected
            .range_mut(Lodging(tenant, 0)..Lodging(tenant + 1, 0));
        for (_, known) in own.filter(|(key, known)| known.place == place && has(key)) {
            (known.author, known.changed_ms, known.last_ms) = (at, now_ms, now_ms);
            change(known);
        }
    }

    fn request(&mut self, at: usize, key: Lodging) -> Result<(), String> {
        let now_ms = self.local_ms(at);
        let Some(node) = &mut self.nodes[at] else {
            return Ok(());
        };
        match node.replica.request(key, now_ms) {
            Outcome::Decided(decided) => {
                if let Ok(place) = decided
                    && node.tickets.values().any(|(waiting, _)| *waiting == key)
                {
                    node.overtaken.insert(key, place);
                }
                self.persist(at);
                match decided {
                    Ok(place) => self.judge(at, key, place),
                    Err(_) => Ok(()),
                }
            }
            Outcome::Waits(ticket) => {
                node.tickets.insert(ticket, (key, self.now_ms));
                Ok(())
            }
        }
    }

    fn end(&mut self, index: usize) {
        let (tenant, at, place) = self.holds.swap_remove(index);
        let now_ms = self.local_ms(at);
        if let Some(node) = &mut self.nodes[at] {
            node.replica.directory.ended(tenant, &place, now_ms);
        }
        self.touch(at, tenant, place, |_| ());
    }

    /// Kills a node. Its disk loses power, too, in half of the cases.
    fn kill(&mut self, at: usize) -> Result<Option<Pool>, String> {
        let Some(node) = self.nodes[at].take() else {
            return Ok(None);
        };
        self.network.set_up(at, false, self.now_ms);
        let own: Vec<_> = self
            .holds
            .iter()
            .filter(|(_, by, _)| *by == at)
            .copied()
            .collect();
        self.holds.retain(|(_, by, _)| *by != at);
        for (tenant, _, place) in own {
            let (author, changed_ms) = (at, self.now_ms);
            self.touch(author, tenant, place, |known| known.changed_ms = changed_ms);
        }
        // Forgets recent changes of the node that ends: other nodes may not have received them.
        let now_ms = self.now_ms;
        self.expected
            .retain(|_, known| known.author != at || now_ms - known.changed_ms > 1_500);
        // Notes a node that ends before it has synchronised with the others: it returns with
        // another history.
        let mut others = self.nodes.iter().flatten().peekable();
        let has_others = others.peek().is_some();
        if has_others && !others.any(|other| other.replica.synced().contains(NAMES[at])) {
            self.unmerged.insert(at);
        }
        if self.is_durable {
            // Ends the journal of the node with an incomplete write, of which no client and no
            // other node was told.
            let mut journal = node.journal;
            let directory = &node.replica.directory;
            let keys = directory.table().iter().map(|(key, _)| key);
            let changed = keys.filter(|key| key.0 % 3 == 0).collect();
            let write = journal.write(directory, &changed, self.local_ms(at));
            if let JournalWrite::Append(bytes) = write {
                self.disks[at].append(&bytes);
            }
            self.disks[at].lose_power(&mut self.random);
            self.check_disk(at, &node)?;
        }
        Ok(Some(node.replica.directory))
    }

    fn check_disk(&mut self, at: usize, node: &Node) -> Result<(), String> {
        let defect = self.store_defect();
        let bytes = self.disks[at].contents();
        let (journal, contents) = Journal::read_with::<Lodging, Seat, ()>(&bytes, 0, defect);
        if bytes.is_empty() {
            return Ok(());
        }
        for (key, revealed) in &node.revealed {
            let stored = contents.records.get(key);
            let stored = stored.map(|record| (record.0, record.version));
            if stored.is_none_or(|(_, version)| version < revealed.1) {
                return Err(format!(
                    "{key:?} was {revealed:?}, and is {stored:?} on disk"
                ));
            }
        }
        let is_kept = journal.store() == node.journal.store();
        let is_older = journal.generation() < node.journal.generation();
        if is_older || is_kept == (contents.damage == JournalDamage::Lost) {
            return Err(format!("the journal is another one: {journal:?}"));
        }
        let mut damaged = bytes;
        let at = self.random.index(damaged.len().div_ceil(2));
        damaged[at] ^= 1;
        let (_, contents) = Journal::read_with::<Lodging, Seat, ()>(&damaged, 0, defect);
        if contents.damage != JournalDamage::Lost {
            return Err(format!("byte {at} is wrong: {:?}", contents.damage));
        }
        Ok(())
    }

    /// Restarts nodes, some time after they were killed.
    fn restart(&mut self, killed: Vec<(usize, Option<Pool>)>) -> Result<(), String> {
        let until_ms = self.now_ms + self.random.below(3_000);
        while self.now_ms < until_ms {
            if self.random.once_in(40) {
                self.any_request()?;
            }
            self.slice()?;
        }
        if killed.len() == self.nodes.len() && !self.is_durable {
            self.expected.clear();
        }
        for (at, saved) in killed {
            let saved = saved.filter(|_| self.random.percent(60));
            self.start(at, saved);
        }
        Ok(())
    }

    fn any_key(&mut self) -> Lodging {
        let tenant = self.random.below(TENANTS) as u8;
        Lodging(tenant, self.random.below(ROOMS.into()) as u8)
    }

    fn any_request(&mut self) -> Result<(), String> {
        let (at, key) = (self.random.index(self.nodes.len()), self.any_key());
        self.request(at, key)
    }

    pub(super) fn step(&mut self) -> Result<(), String> {
        let (at, key) = (self.random.index(self.nodes.len()), self.any_key());
        let other = (at + 1 + self.random.index(self.nodes.len() - 1)) % self.nodes.len();
        let place = self.random.below(PLACES.into()) as u8;
        match self.random.below(1_000) {
            0..350 => self.request(at, key)?,
            350..500 => {
                // Sends a request of one tenant to all nodes at once, each for the same or a random
                // room.
                for at in 0..self.nodes.len() {
                    let room = self.random.below(ROOMS.into()) as u8;
                    let room = if self.random.percent(50) { key.1 } else { room };
                    self.request(at, Lodging(key.0, room))?;
                }
            }
            500..700 if !self.holds.is_empty() => {
                let index = self.random.index(self.holds.len());
                self.end(index);
            }
            700..712 => self.set_down(place, true),
            712..760 => self.set_down(place, false),
            760..770 => {
                let places = self.random.below(1 << PLACES) as u8;
                if let Some(node) = &mut self.nodes[at] {
                    node.replica.directory.drain(places);
                    node.replica.reopen();
                }
            }
            770..776 => self.network.set_cut(at, other, true),
            776..820 => self.network.set_cut(at, other, false),
            820..832 => {
                let pool = self.kill(at)?;
                self.restart(vec![(at, pool)])?;
            }
            832..836 => {
                let mut killed = Vec::new();
                for at in 0..self.nodes.len() {
                    killed.push((at, self.kill(at)?));
                }
                self.restart(killed)?;
            }
            836..845
                if self.agreed_ms.is_some_and(|ms| self.now_ms > ms + 1_500)
                    && self
                        .nodes
                        .iter()
                        .flatten()
                        .all(|node| node.tickets.is_empty()) =>
            {
                self.now_ms += self.random.below(2 * RETENTION.keep_ms);
                self.network.keep_all(self.now_ms);
            }
            845..860 => self.run(2_000)?,
            860..870 => {
                // Lets the place of a key fail, and return before another place is decided.
                if let Some(known) = self.expected.get(&key).copied() {
                    self.set_down(known.place, true);
                    self.request(at, key)?;
                    self.set_down(known.place, false);
                    self.request(at, key)?;
                }
            }
            _ => {}
        }
        let ms = match self.random.below(10) {
            0 => self.random.below(1_000),
            1..4 => 0,
            _ => self.random.below(60),
        };
        self.run(ms)
    }

    fn set_down(&mut self, place: u8, is_down: bool) {
        for at in 0..self.nodes.len() {
            if self.random.once_in(4) {
                // Skips one node in four, which does not notice the change.
                continue;
            }
            let now_ms = self.local_ms(at);
            if is_down {
                if let Some(node) = &mut self.nodes[at] {
                    node.overtaken.retain(|_, one| *one != place);
                }
                self.down[at].insert(place);
            } else if self.down[at].remove(&place) {
                self.up_ms.insert(place, self.now_ms);
            }
            if let Some(node) = &mut self.nodes[at] {
                let down = &mut node.replica.directory.down;
                if is_down {
                    down.entry(place).or_insert(now_ms);
                } else {
                    down.remove(&place);
                }
            }
        }
    }

    fn run(&mut self, ms: u64) -> Result<(), String> {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.slice()?;
        }
        Ok(())
    }

    /// Heals the network, once but for one connection of three, and compares the nodes.
    pub(super) fn compare(&mut self) -> Result<(), String> {
        let count = self.nodes.len();
        for at in 0..count {
            for other in at + 1..count {
                self.network
                    .set_cut(at, other, count == 3 && (at, other) == (0, 1));
            }
        }
        if count == 3 {
            self.run(4_000)?;
            let key = Lodging(TENANTS as u8 + 1, 0);
            self.request(0, key)?;
            self.run(4_000)?;
            self.compare_nodes("through a third node")?;
            self.network.set_cut(0, 1, false);
        }
        self.run(8_000)?;
        let mut tries = 0;
        while self.agreed_ms.is_none_or(|at| self.now_ms < at + 1_500) {
            self.run(500)?;
            tries += 1;
            if tries > 200 {
                return Err("there is no agreement".to_owned());
            }
        }
        self.compare_nodes("in the end")
    }

    fn compare_nodes(&self, when: &str) -> Result<(), String> {
        type Shown = (u8, Version, u32);
        let all = |at: usize| -> (BTreeMap<Lodging, Shown>, BTreeSet<Lodging>) {
            let now_ms = self.local_ms(at);
            let mut near = BTreeSet::new();
            let mut shown = BTreeMap::new();
            let Some(node) = &self.nodes[at] else {
                return (shown, near);
            };
            for (key, entry) in node.replica.directory.table().iter() {
                let until_ms = entry.until_ms;
                if until_ms.is_some_and(|until_ms| until_ms < now_ms + 2 * MARGIN_MS) {
                    near.insert(key);
                }
                shown.insert(key, (entry.0, entry.version, entry.holds));
            }
            (shown, near)
        };
        let (first, near) = all(0);
        for at in 1..self.nodes.len() {
            let (other, others_near) = all(at);
            for key in first.keys().chain(other.keys()) {
                let is_near = near.contains(key) || others_near.contains(key);
                let is_whole = when == "in the end";
                let shown = |all: &BTreeMap<Lodging, Shown>| {
                    let shown = all.get(key).copied();
                    shown.map(|(place, version, holds)| {
                        (place, version, if is_whole { holds } else { 0 })
                    })
                };
                if !is_near && shown(&first) != shown(&other) {
                    let (one, two) = (shown(&first), shown(&other));
                    return Err(format!("{key:?} differs {when}: {one:?} and {two:?}"));
                }
            }
            let order = |at: usize| {
                self.nodes[at]
                    .as_ref()
                    .map(|one| one.replica.directory.order)
            };
            if order(0) != order(at) {
                return Err(format!("the orders differ {when}"));
            }
        }
        for (key, (place, _, holds)) in first.iter().filter(|_| when == "in the end") {
            let mine = |(tenant, _, at): &&(u8, usize, u8)| (*tenant, at) == (key.0, place);
            let count = self.holds.iter().filter(mine).count();
            if count != *holds as usize {
                return Err(format!("{key:?} has {count} holds, not {holds}"));
            }
        }
        Ok(())
    }
}
