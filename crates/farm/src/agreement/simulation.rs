//! Simulates histories of two nodes, by seed: logons, connections, hosts that hang, drains, reloads
//! of one node before the other, and crashes with and without the saved state. The network loses,
//! duplicates, delays and partitions. A checker judges each decision, and has to find deliberate
//! defects.

use super::*;
use crate::collection::{Assignee, CollectionId};
use crate::config::{Balance, Farm, SessionHost};
use crate::directory::simulation::DirectoryDefect;
use crate::directory::tests::{farm, with_apps};
use crate::directory::{DecisionVersion, Directory, Health, PENDING_MS, Presence};
use crate::token::NameId;
use crate::user::FarmUser;
use lab::Random;
use lab::sim::{assert_found, run_seeds};
use record::{CLAIM_MS, Defect, SYNC_MS};
use std::collections::VecDeque;

const NODES: [&str; 2] = ["alpha", "beta"];
const USERS: u64 = 30;
const STEPS: u64 = 600;
/// Silence after which a connection counts as broken, milliseconds.
const SILENT_MS: u64 = 1_000;
/// Time until a new connection is established, milliseconds.
const DIAL_MS: u64 = 200;
const DELAY_MS: u64 = 40;
/// Tolerance around the end of a session: one node may have forgotten it and the other one not.
const MARGIN_MS: u64 = 8_000;

struct Packet {
    connection: u64,
    to: usize,
    at_ms: u64,
    number: u64,
    message: Option<AgreementMessage>,
}

#[derive(Clone, Copy, Default)]
struct ConnectionSide {
    is_open: bool,
    sent: u64,
    heard: u64,
    heard_at_ms: u64,
    pinged_at_ms: u64,
}

struct AgreementTestNode {
    agreement: Agreement,
    offset_ms: u64,
    tickets: BTreeMap<u64, (u64, bool, u64)>,
}

#[derive(Clone, Debug)]
struct ExpectedUser {
    host: String,
    by: BTreeSet<usize>,
    author: usize,
    changed_ms: u64,
    there: bool,
    last_ms: u64,
    is_split: bool,
}

/// Results of both nodes' health checks.
#[derive(Default)]
struct SimulatedChecks {
    /// Hosts that each node sees as down, with the time at which each failed.
    down: [BTreeMap<String, u64>; 2],
    /// Times at which a node last saw each host come up.
    up_ms: BTreeMap<String, u64>,
}

struct AgreementSimulation {
    now_ms: u64,
    /// Offsets of the machines' clocks.
    offsets_ms: [u64; 2],
    random: Random,
    farms: [Farm; 2],
    nodes: [Option<AgreementTestNode>; 2],
    sides: [ConnectionSide; 2],
    connection: u64,
    is_cut: bool,
    idle_since_ms: u64,
    packets: Vec<Packet>,
    known: BTreeMap<u64, ExpectedUser>,
    connections: Vec<(u64, usize, String)>,
    checks: SimulatedChecks,
    agreed_ms: Option<u64>,
    defect: Option<DirectoryDefect>,
}

/// Hosts of the programs: each user has one of these collections, or the one with all hosts.
const SETS: [&[&str]; 2] = [&["ts1", "ts2"], &["ts2", "ts3"]];

fn id(user: u64) -> Assignee {
    let id = FarmUser::named(&format!("user{user}")).unwrap().id;
    match user % 3 {
        2 => id.into(),
        _ => Assignee::new(id, CollectionId::of(&hosts(user))),
    }
}

fn hosts(user: u64) -> BTreeSet<String> {
    let set = SETS[usize::from(user % 3 == 1)];
    set.iter().map(|host| (*host).to_owned()).collect()
}

impl AgreementSimulation {
    fn new(seed: u64, defect: Option<DirectoryDefect>) -> AgreementSimulation {
        let mut random = Random::new(seed);
        let balance = random.pick(&[Balance::Load, Balance::Leastconn]);
        let farm = with_apps(farm(balance, &[1, 2, 1]), &SETS);
        let offsets_ms = [0, 1].map(|_| random.below(1_000_000));
        let mut world = AgreementSimulation {
            now_ms: 10_000,
            offsets_ms,
            random,
            farms: [farm.clone(), farm],
            nodes: [None, None],
            sides: [ConnectionSide::default(); 2],
            connection: 0,
            is_cut: false,
            idle_since_ms: 0,
            packets: Vec::new(),
            known: BTreeMap::new(),
            connections: Vec::new(),
            checks: SimulatedChecks::default(),
            agreed_ms: None,
            defect,
        };
        world.start(0, None);
        world.start(1, None);
        world
    }

    fn start(&mut self, node: usize, before: Option<Agreement>) {
        let offset_ms = self.offsets_ms[node];
        let now_ms = self.now_ms + offset_ms;
        let origin = DirectoryId(self.random.next());
        let mut agreement = Agreement::shared(origin, now_ms);
        agreement.directory.plant(self.defect);
        agreement.directory.configure(&self.farms[node]);
        if let Some(before) = before {
            agreement.directory.take_orders(before.directory.orders());
            for (id, entry) in before.directory.users() {
                if entry.presence() != Presence::Pending {
                    let mut entry = entry.clone();
                    entry.far.clear();
                    agreement.directory.restore(id, entry, now_ms);
                }
            }
        }
        let other = BTreeSet::from([NODES[1 - node].to_owned()]);
        agreement.set_peers(&other, now_ms);
        for (host, since_ms) in &self.checks.down[node] {
            let since_ms = since_ms + offset_ms;
            agreement.directory.checked(host, Health::Down { since_ms });
        }
        self.nodes[node] = Some(AgreementTestNode {
            agreement,
            offset_ms,
            tickets: BTreeMap::new(),
        });
    }

    fn is_agreed(&self) -> bool {
        let is = |at: usize| {
            let peer = |node: &AgreementTestNode| node.agreement.synced().len() == 1;
            self.nodes[at].as_ref().is_some_and(peer) && self.sides[at].is_open
        };
        is(0) && is(1)
    }

    fn close(&mut self, at: usize, why: &str) {
        if !std::mem::take(&mut self.sides[at].is_open) {
            return;
        }
        self.idle_since_ms = self.now_ms;
        let to = 1 - at;
        let (number, connection) = (self.sides[at].sent + 1, self.connection);
        self.packets.push(Packet {
            connection,
            to,
            at_ms: self.now_ms + 1,
            number,
            message: None,
        });
        if let Some(node) = &mut self.nodes[at] {
            let now_ms = self.now_ms + node.offset_ms;
            node.agreement.broke(NODES[to], why, now_ms);
        }
        let now_ms = self.now_ms;
        for known in self.known.values_mut() {
            // The other node may not have received the decision yet.
            if now_ms.saturating_sub(known.changed_ms) < SILENT_MS + 500 {
                let author = known.author;
                known.by.retain(|one| *one == author);
            }
        }
    }

    fn dial(&mut self) {
        let is_idle = self.sides.iter().all(|side| !side.is_open);
        let are_there = self.nodes.iter().all(Option::is_some);
        if !is_idle || !are_there || self.is_cut || self.now_ms < self.idle_since_ms + DIAL_MS {
            return;
        }
        self.connection += 1;
        let origins = [0, 1].map(|at| {
            let node = self.nodes[at].as_ref().unwrap();
            node.agreement.directory.table().origin()
        });
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let node = node.as_mut().unwrap();
            let now_ms = self.now_ms + node.offset_ms;
            node.agreement
                .linked(NODES[1 - at], origins[1 - at], now_ms);
            self.sides[at] = ConnectionSide {
                is_open: true,
                heard_at_ms: self.now_ms,
                ..ConnectionSide::default()
            };
        }
    }

    /// Sends the pending messages of both sides, and pings now and then.
    fn send(&mut self, at: usize) {
        if !self.sides[at].is_open {
            return;
        }
        let Some(node) = &mut self.nodes[at] else {
            return;
        };
        let now_ms = self.now_ms + node.offset_ms;
        let mut messages = VecDeque::new();
        while let Some(message) = node.agreement.next_message(NODES[1 - at], [0; 8], now_ms) {
            messages.push_back(message);
        }
        if self.now_ms >= self.sides[at].pinged_at_ms + 200 {
            self.sides[at].pinged_at_ms = self.now_ms;
            messages.push_back(AgreementMessage::Steps(Vec::new()));
        }
        for message in messages {
            self.sides[at].sent += 1;
            let number = self.sides[at].sent;
            if self.is_cut || self.random.once_in(400) {
                continue;
            }
            let copies = if self.random.once_in(20) { 2 } else { 1 };
            for _ in 0..copies {
                let delay_ms = if self.random.once_in(300) {
                    // Delays the packet, so that others overtake it.
                    self.random.below(DELAY_MS)
                } else {
                    1
                };
                self.packets.push(Packet {
                    connection: self.connection,
                    to: 1 - at,
                    at_ms: self.now_ms + delay_ms,
                    number,
                    message: Some(message.clone()),
                });
            }
        }
    }

    fn deliver(&mut self) -> Result<(), String> {
        let now_ms = self.now_ms;
        let (due, later) = std::mem::take(&mut self.packets)
            .into_iter()
            .partition(|packet| packet.at_ms <= now_ms);
        self.packets = later;
        let due: Vec<Packet> = due;
        for packet in due {
            let side = &mut self.sides[packet.to];
            let is_of_it = side.is_open && packet.connection == self.connection;
            if !is_of_it || self.is_cut || packet.number <= side.heard {
                continue;
            }
            if packet.number > side.heard + 1 {
                self.close(packet.to, "a gap");
                continue;
            }
            side.heard = packet.number;
            side.heard_at_ms = now_ms;
            let Some(message) = packet.message else {
                self.close(packet.to, "closed");
                continue;
            };
            // Encoded and decoded, as on the network.
            let bytes = part::codec::encode(&message);
            let message = part::codec::decode(&bytes).map_err(|error| error.to_string())?;
            if let Some(node) = &mut self.nodes[packet.to] {
                let from = NODES[1 - packet.to];
                let now_ms = now_ms + node.offset_ms;
                let handled = node.agreement.handle(from, message, now_ms);
                handled.map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    fn slice(&mut self) -> Result<(), String> {
        self.now_ms += 2;
        self.dial();
        self.deliver()?;
        for at in 0..2 {
            let silent = self.now_ms - self.sides[at].heard_at_ms.min(self.now_ms);
            if self.sides[at].is_open && silent >= SILENT_MS {
                self.close(at, "silent");
            }
            if let Some(node) = &mut self.nodes[at] {
                let now_ms = self.now_ms + node.offset_ms;
                node.agreement.tick(now_ms);
                if !node.agreement.take_broken().is_empty() {
                    self.close(at, "late");
                }
            }
            self.resolve(at)?;
            self.send(at);
        }
        match (self.is_agreed(), self.agreed_ms) {
            (true, None) => self.agreed_ms = Some(self.now_ms),
            (false, _) => self.agreed_ms = None,
            (true, Some(since_ms)) if self.now_ms - since_ms >= 500 => self.learn(),
            _ => {}
        }
        Ok(())
    }

    /// Updates the expected state after both nodes were synchronised for a while.
    fn learn(&mut self) {
        let node = self.nodes[0].as_ref().unwrap();
        let keep_ms = self.farms[0].sessions.keep_ms;
        self.known.retain(|user, known| {
            if !known.by.is_empty() {
                known.by = BTreeSet::from([0, 1]);
            }
            if !known.is_split {
                return true;
            }
            let Some(entry) = node.agreement.directory.user(id(*user)) else {
                return false;
            };
            known.host.clone_from(&entry.host);
            known.there = entry.version.used;
            // The winner of two decisions may be the older one.
            if let Some(until_ms) = entry.until_ms {
                let time_ms = if known.there { keep_ms } else { PENDING_MS };
                known.last_ms = until_ms.saturating_sub(node.offset_ms + time_ms);
            }
            known.is_split = false;
            true
        });
    }

    fn run(&mut self, ms: u64) -> Result<(), String> {
        let until = self.now_ms + ms;
        while self.now_ms < until {
            self.slice()?;
        }
        Ok(())
    }

    fn resolve(&mut self, at: usize) -> Result<(), String> {
        let Some(node) = &mut self.nodes[at] else {
            return Ok(());
        };
        for (ticket, decided) in node.agreement.take_resolved() {
            let node = self.nodes[at].as_mut().unwrap();
            let (user, routes, _) = node.tickets.remove(&ticket).ok_or("an unknown ticket")?;
            self.decided(at, user, routes, decided)?;
        }
        let node = self.nodes[at].as_ref().unwrap();
        let mut since = node.tickets.values().map(|(.., since_ms)| *since_ms);
        if since.any(|since_ms| self.now_ms - since_ms > SYNC_MS + CLAIM_MS * 4) {
            Err("a logon waits for too long".to_owned())
        } else {
            Ok(())
        }
    }

    fn logs_on(&mut self, at: usize, user: u64, routes: bool) -> Result<(), String> {
        let hint = self.known.get(&user).map(|known| NameId::of(&known.host));
        let now_ms = self.now_ms;
        let Some(node) = &mut self.nodes[at] else {
            return Ok(());
        };
        let logon = Logon {
            id: id(user),
            name: format!("user{user}"),
            hint: hint.filter(|_| routes),
        };
        match node.agreement.request(logon, now_ms + node.offset_ms) {
            LogonOutcome::Decided(decided) => self.decided(at, user, routes, decided),
            LogonOutcome::Waits(ticket) => {
                node.tickets.insert(ticket, (user, routes, now_ms));
                Ok(())
            }
        }
    }

    /// Returns whether the session of a user may have ended.
    fn is_over(&self, user: u64, known: &ExpectedUser) -> bool {
        // The user's connection to another host is from a time when the nodes were disconnected.
        let of_it = |(one, _, host): &(u64, usize, String)| *one == user && *host == known.host;
        let is_connected = self.connections.iter().any(of_it);
        let keep_ms = self.farms[0].sessions.keep_ms;
        let time_ms = if known.there { keep_ms } else { PENDING_MS };
        !is_connected && self.now_ms + MARGIN_MS >= known.last_ms + time_ms
    }

    /// Returns whether the user may get another host than the known one.
    fn may_move(&self, at: usize, known: &ExpectedUser) -> bool {
        let has = |farm: &Farm| farm.hosts.contains_key(&known.host);
        // The host is down according to some node, or was when a claim began, or one node has
        // removed it.
        let is_down = self
            .checks
            .down
            .iter()
            .any(|down| down.contains_key(&known.host));
        let up_ms = self.checks.up_ms.get(&known.host);
        let was_down = up_ms.is_some_and(|up_ms| self.now_ms < up_ms + CLAIM_MS);
        let is_removed = !self.farms.iter().all(has);
        let other = 1 - at;
        let agrees = self.nodes[at]
            .as_ref()
            .is_some_and(|node| !node.agreement.synced().is_empty());
        let knows = known.by.contains(&at) || agrees && known.by.contains(&other);
        is_down || was_down || is_removed || !knows
    }

    fn decided(
        &mut self,
        at: usize,
        user: u64,
        routes: bool,
        decided: Result<Decision, NoHost>,
    ) -> Result<(), String> {
        let Ok(decision) = decided else {
            return Ok(());
        };
        let (now_ms, host) = (self.now_ms, decision.host);
        if user % 3 != 2 && !hosts(user).contains(&host) {
            return Err(format!(
                "user{user} comes to {host}, outside the collection"
            ));
        }
        let is_agreed = self.is_agreed();
        // A session that may have ended is possibly known to only one node.
        let before = self.known.get(&user).cloned();
        let known = before.clone().filter(|known| !self.is_over(user, known));
        let is_doubtful = known.is_none()
            && before.is_some_and(|before| {
                let time_ms = self.farms[0].sessions.keep_ms.max(PENDING_MS);
                before.host != host && now_ms < before.last_ms + time_ms + MARGIN_MS
            });
        let stays = known.as_ref().is_some_and(|known| known.host == host);
        if let Some(known) = &known
            && !stays
            && !known.is_split
            && !self.may_move(at, known)
        {
            let now = self.now_ms;
            return Err(format!(
                "at {now} user{user} comes to {host} by {}, not back: {known:?}",
                NODES[at]
            ));
        }
        // Another node may still have the previous host.
        let is_split = is_doubtful || known.as_ref().is_some_and(|known| known.is_split || !stays);
        let mut by = BTreeSet::from([at]);
        if is_agreed {
            by.insert(1 - at);
        }
        // If no node knows a session any more, it gets its host again only by chance, as a new
        // logon.
        let is_back = |known: &ExpectedUser| stays && known.there && !known.by.is_empty();
        let there = known.as_ref().is_some_and(is_back);
        let known = match known {
            Some(mut known) if is_back(&known) => {
                known.by.extend(by);
                known
            }
            _ => ExpectedUser {
                host: host.clone(),
                by,
                author: at,
                changed_ms: now_ms,
                there,
                last_ms: now_ms,
                is_split,
            },
        };
        let is_split = known.is_split || is_split;
        self.known.insert(user, ExpectedUser { is_split, ..known });
        if routes {
            self.connects(at, user, host);
        }
        Ok(())
    }

    fn connects(&mut self, at: usize, user: u64, host: String) {
        let (now_ms, is_agreed) = (self.now_ms, self.is_agreed());
        let Some(node) = &mut self.nodes[at] else {
            return;
        };
        let local_ms = now_ms + node.offset_ms;
        node.agreement
            .directory
            .connected(id(user), &host, local_ms);
        // The connection lasts long enough for a session.
        node.agreement
            .directory
            .proved(id(user).user, &host, local_ms);
        self.connections.push((user, at, host));
        if let Some(known) = self.known.get_mut(&user) {
            (known.author, known.changed_ms, known.last_ms) = (at, now_ms, now_ms);
            if !std::mem::replace(&mut known.there, true) && !is_agreed {
                known.by = BTreeSet::from([at]);
            }
        }
    }

    fn ends(&mut self, index: usize) {
        let (user, at, host) = self.connections.swap_remove(index);
        let (now_ms, is_agreed) = (self.now_ms, self.is_agreed());
        if let Some(node) = &mut self.nodes[at] {
            let local_ms = now_ms + node.offset_ms;
            node.agreement
                .directory
                .ended(id(user).user, &host, local_ms);
        }
        if let Some(known) = self.known.get_mut(&user).filter(|known| known.host == host) {
            (known.author, known.changed_ms, known.last_ms) = (at, now_ms, now_ms);
            if !is_agreed && known.by.contains(&at) {
                known.by = BTreeSet::from([at]);
            }
        }
    }

    fn crash(&mut self, at: usize, has_state: bool) -> Result<(), String> {
        let Some(node) = self.nodes[at].take() else {
            return Ok(());
        };
        self.close(at, "crash");
        let now_ms = self.now_ms;
        let own = |(_, one, _): &(u64, usize, String)| *one == at;
        for (user, _, host) in self.connections.iter().filter(|one| own(one)) {
            if let Some(known) = self.known.get_mut(user).filter(|known| known.host == *host) {
                known.last_ms = now_ms;
            }
        }
        self.connections.retain(|one| !own(one));
        for (user, known) in &mut self.known {
            // The saved state of a role contains no users who have not connected.
            let entry = node.agreement.directory.user(id(*user));
            let is_kept = entry.is_some_and(|entry| entry.version.used);
            if !has_state || !is_kept {
                known.by.remove(&at);
            }
            let author = known.author;
            if author == at && now_ms - known.changed_ms < SILENT_MS {
                known.by.retain(|one| *one == at);
            }
        }
        self.start_later(at, has_state.then_some(node.agreement))
    }

    fn start_later(&mut self, at: usize, before: Option<Agreement>) -> Result<(), String> {
        // The history continues while the node is down, for up to some seconds.
        let ms = self.random.below(3_000);
        let until = self.now_ms + ms;
        while self.now_ms < until {
            if self.random.once_in(40) {
                let (user, routes) = (self.random.below(USERS), self.random.percent(60));
                self.logs_on(1 - at, user, routes)?;
            }
            self.slice()?;
        }
        self.start(at, before);
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        let (at, user) = (self.random.index(2), self.random.below(USERS));
        let hosts: Vec<String> = self.farms[at].hosts.keys().cloned().collect();
        let host = self.random.pick_ref(&hosts).clone();
        match self.random.below(1_000) {
            0..200 => self.logs_on(at, user, false)?,
            200..300 => {
                // The user logs on at both nodes at the same time.
                self.logs_on(0, user, false)?;
                self.logs_on(1, user, false)?;
            }
            300..600 => self.logs_on(at, user, true)?,
            600..800 if !self.connections.is_empty() => {
                let index = self.random.index(self.connections.len());
                self.ends(index);
            }
            800..810 => self.health(&host, true),
            810..850 => self.health(&host, false),
            850..860 => self.drains(at, &host),
            860..870 => self.is_cut = true,
            870..900 => self.is_cut = false,
            900..906 => self.crash(at, true)?,
            906..910 => self.crash(at, false)?,
            910..920 => self.reload(at),
            920..925 if !self.is_cut => {
                self.run(3_000)?;
                if self.is_agreed() {
                    self.now_ms += self.random.below(26 * 3_600_000);
                    // Both sides were in contact all the time.
                    for side in &mut self.sides {
                        side.heard_at_ms = self.now_ms;
                    }
                }
            }
            _ => {}
        }
        let ms = match self.random.below(10) {
            0 => self.random.below(2_000),
            1..4 => 0,
            _ => self.random.below(60),
        };
        self.run(ms)
    }

    fn health(&mut self, host: &str, is_down: bool) {
        for at in 0..2 {
            if self.random.once_in(4) {
                // Only one node notices the failure.
                continue;
            }
            let since_ms = self.now_ms;
            match is_down {
                true => drop(
                    self.checks.down[at]
                        .entry(host.to_owned())
                        .or_insert(since_ms),
                ),
                false if self.checks.down[at].remove(host).is_some() => {
                    self.checks.up_ms.insert(host.to_owned(), since_ms);
                }
                false => {}
            }
            if let Some(node) = &mut self.nodes[at] {
                let since_ms = since_ms + node.offset_ms;
                let health = if is_down {
                    Health::Down { since_ms }
                } else {
                    Health::Up
                };
                node.agreement.directory.checked(host, health);
            }
        }
    }

    fn drains(&mut self, at: usize, host: &str) {
        let is_drained = self.random.percent(40);
        if let Some(node) = &mut self.nodes[at] {
            node.agreement.directory.drain(host, is_drained, 0);
            node.agreement.reopen();
        }
    }

    /// Adds a host to one node's configuration, or removes it; the other node follows in another
    /// step.
    fn reload(&mut self, at: usize) {
        let other = self.farms[1 - at].clone();
        let farm = &mut self.farms[at];
        if farm.hosts != other.hosts {
            *farm = other;
        } else if farm.hosts.len() > 3 {
            farm.hosts.remove("ts9");
        } else {
            let host = SessionHost {
                address: ([10, 0, 0, 99], 3389).into(),
                weight: 3,
                drained: false,
            };
            farm.hosts.insert("ts9".to_owned(), host);
        }
        let farm = farm.clone();
        if let Some(node) = &mut self.nodes[at] {
            node.agreement.directory.configure(&farm);
            node.agreement.reopen();
        }
        // A node also checks a host that only the other node's configuration has.
        for (down, node) in self.checks.down.iter_mut().zip(&mut self.nodes) {
            if down.remove("ts9").is_some() {
                self.checks.up_ms.insert("ts9".to_owned(), self.now_ms);
            }
            if let Some(node) = node {
                node.agreement.directory.checked("ts9", Health::Up);
            }
        }
        // A node that knows nothing of the users of this host may give them another host.
        let of_it = self.known.values_mut().filter(|known| known.host == "ts9");
        of_it.for_each(|known| known.is_split = true);
    }

    /// Repairs all connections and compares both directories.
    fn compare(&mut self) -> Result<(), String> {
        self.is_cut = false;
        while self.farms[0].hosts != self.farms[1].hosts {
            self.reload(0);
        }
        let mut tries = 0;
        self.run(8_000)?;
        while self.agreed_ms.is_none_or(|at| self.now_ms < at + 1_500) {
            self.run(500)?;
            tries += 1;
            if tries > 200 {
                return Err("there is no agreement".to_owned());
            }
        }
        let [first, second] = &self.nodes;
        let (first, second) = (first.as_ref().unwrap(), second.as_ref().unwrap());
        let all =
            |node: &AgreementTestNode| -> BTreeMap<Assignee, (String, DecisionVersion, Presence)> {
                let now_ms = self.now_ms + node.offset_ms;
                let users = node.agreement.directory.users().filter(|(_, entry)| {
                    entry
                        .until_ms
                        .is_none_or(|until| until > now_ms + MARGIN_MS)
                });
                users
                    .map(|(id, entry)| (id, (entry.host.clone(), entry.version, entry.presence())))
                    .collect()
            };
        let (ours, theirs) = (all(first), all(second));
        let differs = |id: &&Assignee| ours.get(id) != theirs.get(id);
        let mut ids = ours.keys().chain(theirs.keys());
        if let Some(id) = ids.find(differs) {
            let is_near = |node: &AgreementTestNode| {
                let entry = node.agreement.directory.user(*id);
                let until = entry.and_then(|entry| entry.until_ms);
                until.is_some_and(|until| until < self.now_ms + node.offset_ms + 2 * MARGIN_MS)
            };
            if !is_near(first) && !is_near(second) {
                let (one, two) = (ours.get(id), theirs.get(id));
                return Err(format!("{id:?} differs: {one:?} and {two:?}"));
            }
        }
        // The two nodes may forget an order for a host that no configuration has at different
        // times.
        for host in self.farms[0].hosts.keys() {
            let order =
                |node: &AgreementTestNode| node.agreement.directory.orders().get(host).copied();
            if order(first) != order(second) {
                return Err(format!("the orders of {host} differ"));
            }
        }
        for user in 0..USERS {
            let Some((host, _, presence)) = ours.get(&id(user)) else {
                continue;
            };
            let here = |(one, _, at): &&(u64, usize, String)| *one == user && at == host;
            let count = u32::try_from(self.connections.iter().filter(here).count()).unwrap();
            let shown = match presence {
                Presence::Connected(count) => *count,
                _ => 0,
            };
            if count != shown {
                return Err(format!("user{user} has {count} connections, not {shown}"));
            }
        }
        Ok(())
    }
}

fn history(seed: u64, defect: Option<DirectoryDefect>) -> Result<(), String> {
    let mut world = AgreementSimulation::new(seed, defect);
    let mut lives = || {
        for step in 0..STEPS {
            world
                .step()
                .map_err(|found| format!("step {step}: {found}"))?;
        }
        world.compare()
    };
    lives().map_err(|found| format!("seed {seed}: {found}"))
}

#[test]
fn two_nodes_route_each_user_to_one_host_and_converge() {
    run_seeds("FARM", 30, |seed| history(seed, None));
}

#[test]
fn the_checker_finds_deliberate_defects_of_two_nodes() {
    let defects = [
        DirectoryDefect::Store(Defect::AsksNobody),
        DirectoryDefect::Store(Defect::LastMergeHolds),
        DirectoryDefect::Store(Defect::GoneStaysHeld),
    ];
    assert_found(&defects, 30, |seed, defect| history(seed, Some(defect)));
}
