//! What the nodes agree on about guests, as a value: the leases that this node wants, what it writes
//! under them, and what is to become of each guest here. It reads no clock and sends nothing.
//!
//! - A guest runs where its lease `guest/NAME` is, and nowhere else. What a lease says is written by
//!   the node that holds it ([`GuestRecord`]).
//! - A node is there for guests as long as it holds the lease `guest/@NODE`. Every other node asks for
//!   it too, at a lower rank: so each learns of a node that is gone, and the node gets it back.
//! - Where a guest goes is computed by each node alike ([`crate::placement`]). If two nodes see
//!   different things, the lease decides.
//! - A guest leaves a node before its lease does.

mod alone;
mod copies;
mod defect;
mod erase;
mod external;
mod fencing;
mod mine;
mod nowhere;
mod orders;
mod room;
#[cfg(test)]
mod tests;
mod words;

pub use crate::record::{Fenced, GuestRecord, NodeRecord};
pub use mine::Held;
pub use nowhere::Nowhere;
pub use room::Lack;

use crate::config::{Guest, Guests};
use crate::life::Wish;
use crate::placement::{self, Place, Room, View};
use defect::Defect;
use part::role::{KnownLease, WantedLease};
use std::collections::{BTreeMap, BTreeSet};

/// The rank of a node for its own lease, and for a guest.
const OWN: u32 = 100;
/// The rank of a node for the lease of another node.
const OTHERS: u32 = 1;
/// The prefix of the leases of guests.
const PREFIX: &str = "guest/";
/// The prefix of the leases of nodes.
const NODES: &str = "guest/@";
/// How long a node to which a guest is to go may be gone, milliseconds.
const AWAY_MS: u64 = 5_000;
/// How long a renewal of the lease of a node is good where nodes are fenced, milliseconds: so a node
/// that is gone is noticed before the leases of its guests end. As short as a leader is trusted: a node that
/// misses it for want of a processor still responds to a connection, and is not fenced for that.
pub const FENCED_VALID_MS: u64 = 500;
/// The same for a node that holds the lease of another one, and so how often it is asked for: a 14th
/// of that.
const FENCED_OTHERS_MS: u64 = 2_000;

/// How a guest is on this node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Local {
    /// There is a QEMU, or may be one.
    pub is_there: bool,
    /// Its processors run, or may run.
    pub may_run: bool,
    /// The epoch in which it was started, or allowed to go on last.
    pub epoch: Option<u64>,
    /// It runs, and its check is well.
    pub is_up: bool,
    /// It shut down by itself.
    pub is_off: bool,
    /// Why it failed too often, if it did.
    pub failed: Option<String>,
    /// Its volumes can be written here, and by nobody elsewhere.
    pub has_volumes: bool,
    /// Its volumes that have two copies could be handed over now: both copies are complete.
    pub has_both_copies: bool,
    /// The volume of which this node has no copy while the other node serves it.
    pub without_copy: Option<String>,
    /// The volume that another user has had since this guest opened it.
    pub superseded: Option<String>,
    /// What is left of it here never runs again: it has gone to another node.
    pub has_moved: bool,
    /// Its QEMU is gone and did not end in order: writes of it may still be on their way.
    pub left_open: bool,
    /// How long it may take to shut down, as its section said last, milliseconds.
    pub stop_ms: Option<u64>,
}

/// An order of an operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// It runs again.
    Start,
    /// It shuts down and stays so.
    Stop,
    /// It goes to this node.
    Move(String),
    /// It does not go where it was to go.
    Stay,
}

/// What an operator wants of a guest until the cluster has it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Pending {
    order: Order,
    /// The epoch of the lease then, or in which this node held it last since.
    epoch: u64,
}

/// What is decided about a guest here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decided {
    /// What is wanted of it.
    pub wish: Wish,
    /// The epoch in which it may run here.
    pub epoch: Option<u64>,
    /// Its volumes are to be had here.
    pub uses_volumes: bool,
    /// Failures and a shut-down here are of no meaning: another node has had it since.
    pub forgives: bool,
    /// The node to which it is to go.
    pub goes_to: Option<String>,
    /// The node to which it was to go, and which did not take it.
    pub not_taken_by: Option<String>,
    /// Why it is not here, or does not run, in words; empty where it does.
    pub why: String,
}

/// What is to be told the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// The leases, with their ranks; zero: it is only watched.
    pub leases: Vec<(String, u32)>,
    /// Records to be written.
    pub records: Vec<Written>,
}

/// A record of a lease.
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
    /// The node whose leases are free with it, since it is off; empty: none.
    pub frees: String,
}

impl Written {
    /// The next record of a lease that is held.
    fn next(lease: &KnownLease, value: Vec<u8>) -> Written {
        Written {
            name: lease.name.clone(),
            epoch: lease.epoch,
            number: lease.number.saturating_add(1),
            value,
            frees: String::new(),
        }
    }
}

/// The state.
#[derive(Debug, Default)]
pub struct Agreement {
    me: String,
    /// What this machine has.
    own: NodeRecord,
    leases: BTreeMap<String, KnownLease>,
    /// The cluster has told anything.
    is_known: bool,
    pending: BTreeMap<String, Pending>,
    /// Leases of other nodes that are given back.
    yields: BTreeSet<String>,
    /// Guests that came back from a move that their target did not take.
    targets_gone: BTreeSet<String>,
    /// Whether this node is to be drained, until the cluster has it.
    drains: Option<bool>,
    /// What was decided last.
    places: BTreeMap<String, Place>,
    broken: Option<Defect>,
    fencing: fencing::OfFencing,
    /// Guests whose section is gone, and whose record is removed.
    erases: BTreeMap<String, erase::Erase>,
    held_since: external::Held,
    mine: mine::Mine,
    here: room::Here,
}

fn lease_of(guest: &str) -> String {
    format!("{PREFIX}{guest}")
}

fn lease_of_node(node: &str) -> String {
    format!("{NODES}{node}")
}

/// The leases as the cluster is asked for them.
pub fn wanted(leases: &[(String, u32)], guests: &Guests) -> Vec<WantedLease> {
    let fences = guests.nodes.values().any(|node| !node.fences.is_empty());
    let of = |(name, rank): &(String, u32)| WantedLease {
        name: name.clone(),
        rank: *rank,
        watch: *rank == 0,
        valid_ms: match fences && name.starts_with(NODES) {
            true if *rank == OWN => FENCED_VALID_MS,
            true => FENCED_OTHERS_MS,
            false => 0,
        },
    };
    leases.iter().map(of).collect()
}

impl Agreement {
    /// Of the node of this name, with what it has for guests.
    pub fn new(me: &str, room: Room) -> Agreement {
        Agreement {
            me: me.to_owned(),
            own: NodeRecord {
                memory_bytes: room.memory_bytes,
                cpus: room.cpus,
                ..NodeRecord::default()
            },
            ..Agreement::default()
        }
    }

    /// What this machine has may be another thing after a reload.
    pub fn set_room(&mut self, room: Room) {
        self.own.memory_bytes = room.memory_bytes;
        self.own.cpus = room.cpus;
    }

    /// The cluster tells what it knows.
    pub fn learn(&mut self, leases: Vec<KnownLease>) {
        self.is_known = true;
        let named = leases.into_iter().map(|lease| (lease.name.clone(), lease));
        self.leases = named.collect();
        let drained = { self.leases.get(&lease_of_node(&self.me)) }
            .and_then(|lease| NodeRecord::decode(&lease.record));
        // A drain outlives the role.
        if let Some(record) = drained {
            self.own.drained = record.drained;
            self.drains = self.drains.filter(|drains| *drains != record.drained);
        }
        self.learn_holders();
        let leases = &self.leases;
        self.mine.learn(|name| {
            let lease = leases.get(&lease_of(name));
            lease.is_some_and(|lease| lease.holder == self.me)
        });
        self.yields
            .retain(|name| leases.get(name).is_some_and(|lease| lease.until_ns > 0));
    }

    /// Another node could use a lease better.
    pub fn hand_over(&mut self, name: &str) {
        let is_others = name.starts_with(NODES) && name != lease_of_node(&self.me);
        if is_others && !self.is(Defect::NeverYields) {
            self.yields.insert(name.to_owned());
        }
    }

    /// Whether this node gives its guests away.
    pub fn is_drained(&self) -> bool {
        self.own.drained
    }

    /// This node gives its guests away, or takes some again. It takes effect with the record.
    ///
    /// # Errors
    /// The cluster cannot be told now.
    pub fn drain(&mut self, drained: bool, now_ns: u64) -> Result<Written, String> {
        let name = lease_of_node(&self.me);
        let lease = { self.leases.get(&name) }.filter(|lease| lease.until_ns > now_ns);
        let Some(lease) = lease else {
            return Err(
                "the cluster cannot be told: this node is not connected with a majority of it"
                    .to_owned(),
            );
        };
        let record = NodeRecord {
            drained,
            ..self.own.clone()
        };
        let written = Written::next(lease, record.encode());
        // It is written again until the cluster has it.
        self.drains = Some(drained);
        Ok(written)
    }

    fn is(&self, defect: Defect) -> bool {
        self.broken == Some(defect)
    }

    fn record_of(&self, name: &str) -> GuestRecord {
        let lease = self.leases.get(&lease_of(name));
        lease
            .and_then(|lease| GuestRecord::decode(&lease.record))
            .unwrap_or_default()
    }

    /// Whether a node holds its own lease, as far as this one knows. A busy node that was late with
    /// it is there as long as it holds a guest.
    fn is_there(&self, node: &str, now_ns: u64) -> bool {
        let lease = self.leases.get(&lease_of_node(node));
        lease.is_some_and(|lease| match node == self.me {
            true => lease.until_ns > now_ns || self.holds_a_guest(now_ns),
            false => lease.holder == node,
        })
    }

    /// Whether a node is gone for longer than one that is only busy.
    fn is_away(&self, node: &str, now_ns: u64) -> bool {
        let since = self.gone_since(node).unwrap_or(0);
        let is_over = now_ns / 1_000_000 >= since.saturating_add(AWAY_MS);
        !self.is_there(node, now_ns) && is_over
    }

    fn holds_a_guest(&self, now_ns: u64) -> bool {
        let mut held = self.leases.values().filter(|one| one.until_ns > now_ns);
        held.any(|one| !one.name.starts_with(NODES))
    }

    /// Whether a node gives its guests away, as it wrote down.
    pub fn has_drained(&self, node: &str) -> bool {
        let lease = self.leases.get(&lease_of_node(node));
        let record = lease.and_then(|lease| NodeRecord::decode(&lease.record));
        record.is_some_and(|record| record.drained)
    }

    /// The nodes that are there, and those that are not.
    pub fn nodes(&self, guests: &Guests, now_ns: u64) -> BTreeMap<String, bool> {
        let names = names(guests).into_iter();
        names
            .map(|name| {
                let is_there = self.is_there(&name, now_ns);
                (name, is_there)
            })
            .collect()
    }

    /// The node on which a guest is, as the cluster knows it; empty: none.
    pub fn holder(&self, name: &str) -> &str {
        let lease = self.leases.get(&lease_of(name));
        lease.map_or("", |lease| lease.holder.as_str())
    }

    /// What the nodes see, for the placement.
    fn view(&self, guests: &Guests, now_ns: u64) -> View {
        let mut view = View::default();
        for name in names(guests) {
            if !self.is_there(&name, now_ns) {
                continue;
            }
            let lease = self.leases.get(&lease_of_node(&name));
            let record = lease.and_then(|lease| NodeRecord::decode(&lease.record));
            // A node that has not said yet what it has takes none.
            let Some(record) = record else {
                continue;
            };
            view.nodes.push(placement::Node {
                room: Room {
                    memory_bytes: record.memory_bytes,
                    cpus: record.cpus,
                },
                is_drained: record.drained,
                name,
            });
        }
        for (name, guest) in &guests.guests {
            let record = self.record_of(name);
            if !record.stopped.is_empty() && !self.is(Defect::PlacesStopped) {
                continue;
            }
            let holder = self.holder(name);
            // What it has given up it does not have, even if the cluster still says so. What it had
            // in an earlier life it gets back: nobody else asks for it.
            let is_given_up = holder == self.me
                && self.held(name, now_ns).is_none()
                && (self.mine.has_given_up(name) || self.is(Defect::LeavesItsOwn));
            let is_held = !holder.is_empty() && (!is_given_up || self.is(Defect::TakesBack));
            if is_held {
                view.runs.insert(name.clone(), holder.to_owned());
            }
            let mut prefers = guest.prefer.clone();
            let tries_again = self.tries_again((name, &prefers), &record, now_ns);
            let is_me = |node: &String| *node == self.me && tries_again;
            prefers.retain(|node| !record.failed.contains_key(node) || is_me(node));
            if let Some(tied) = self.tied_to(name, &record, now_ns) {
                prefers.retain(|node| *node == tied);
            }
            if prefers.contains(&record.to) {
                // It has left: the node that takes it has what it left with.
                if !is_held && !self.is(Defect::TurnsBack) {
                    view.arrives.insert(name.clone(), record.to.clone());
                }
                prefers.retain(|node| *node != record.to);
                prefers.insert(0, record.to.clone());
            }
            view.guests.push(placement::Guest {
                name: name.clone(),
                takes: guest.takes(),
                prefers,
                priority: guest.order.priority,
                fails_back: guest.order.fails_back,
                beside: guest.order.beside.clone(),
                apart: guest.order.apart.clone(),
            });
        }
        view
    }

    /// Decides what is to become of each guest here, and what the cluster is to be told.
    pub fn decide(
        &mut self,
        guests: &Guests,
        locals: &BTreeMap<String, Local>,
        now_ns: u64,
    ) -> (BTreeMap<String, Decided>, Told) {
        if guests.me.is_empty() {
            return (self.without_cluster(guests, locals), Told::default());
        }
        self.see_nodes(guests, now_ns);
        self.here.see(locals);
        let left = locals.iter().filter(|(_, local)| local.left_open);
        self.held_since.left = left.map(|(name, _)| name.clone()).collect();
        self.places = placement::place(&self.view(guests, now_ns));
        let mut told = Told {
            leases: self.of_nodes(guests),
            records: self.results(now_ns),
        };
        self.say_what_there_is(&mut told, now_ns);
        let mut decided = BTreeMap::new();
        let unknown = Local::default();
        for (name, guest) in &guests.guests {
            let local = locals.get(name).unwrap_or(&unknown);
            let one = self.decide_one(name, guest, guests, local, now_ns, &mut told);
            decided.insert(name.clone(), one);
        }
        // It may still shut down at another node.
        let is_here = |name: &&String| locals.get(*name).is_some_and(|local| local.is_there);
        let templates = guests.templates.keys().filter(|name| !is_here(name));
        told.leases
            .extend(templates.map(|name| (lease_of(name), 0)));
        // A guest whose section is gone leaves, and its lease stays until it has.
        for (name, local) in locals {
            if local.is_there && !guests.guests.contains_key(name) {
                told.leases.push((lease_of(name), OWN));
                let is_held = self.held(name, now_ns).is_some();
                decided.insert(name.clone(), gone((guests, name), local, is_held));
            }
        }
        for (name, local) in locals {
            if let (Some(volume), Some(one)) = (&local.superseded, decided.get_mut(name))
                && local.is_there
            {
                end_superseded(one, volume);
            }
        }
        self.tell_erased(guests, &mut told, now_ns);
        (decided, told)
    }

    fn held(&self, name: &str, now_ns: u64) -> Option<&KnownLease> {
        let lease = self.leases.get(&lease_of(name));
        lease.filter(|lease| lease.until_ns > now_ns)
    }

    fn of_nodes(&self, guests: &Guests) -> Vec<(String, u32)> {
        let names = names(guests).into_iter();
        names
            .map(|name| {
                let lease = lease_of_node(&name);
                let rank = match name == self.me {
                    true => OWN,
                    false if self.yields.contains(&lease) => 0,
                    false => OTHERS,
                };
                (lease, rank)
            })
            .collect()
    }

    /// Writes what this node has, if the cluster has not got it.
    fn say_what_there_is(&self, told: &mut Told, now_ns: u64) {
        let name = lease_of_node(&self.me);
        let Some(lease) = { self.leases.get(&name) }.filter(|lease| lease.until_ns > now_ns) else {
            return;
        };
        let wanted = NodeRecord {
            drained: self.drains.unwrap_or(self.own.drained),
            ..self.own.clone()
        };
        let is_known = NodeRecord::decode(&lease.record).as_ref() == Some(&wanted);
        if !is_known && !self.is_leaving() {
            told.records.push(Written::next(lease, wanted.encode()));
        }
    }

    fn decide_one(
        &mut self,
        name: &str,
        guest: &Guest,
        guests: &Guests,
        local: &Local,
        now_ns: u64,
        told: &mut Told,
    ) -> Decided {
        let record = self.record_of(name);
        let Some(lease) = self.held(name, now_ns).cloned() else {
            self.forget(name, &record);
            self.see_held(name, None, now_ns);
            let decided = self.not_held((name, guests), &record, local, now_ns);
            told.leases.push((lease_of(name), self.rank(name, local)));
            return decided;
        };
        // Another node may have had it in between.
        let is_stale = { local.epoch }.is_some_and(|epoch| lease.epoch > epoch.saturating_add(1));
        let forgives = is_stale && !local.is_there && !self.is(Defect::NeverForgives);
        let is_stale = is_stale && !self.is(Defect::ContinuesStale);
        let forgiven = Local {
            is_off: false,
            failed: None,
            ..local.clone()
        };
        let local = if forgives { &forgiven } else { local };
        self.resume(name, &lease, &record, local);
        self.see_held(name, Some(lease.epoch), now_ns);
        let mut wanted = self.wanted(name, &record, local, now_ns);
        self.see_failures((name, guests), local, &mut wanted, now_ns);
        let stays = self.is_placed_here(name, &wanted);
        wanted.opened = self.opened((name, guest), &record, (local, stays), now_ns);
        if wanted != record {
            told.records.push(Written::next(&lease, wanted.encode()));
        } else {
            // The cluster has it.
            self.pending.remove(name);
        }
        // The lease is given up once the guest has left and the record says where it goes.
        let has_left = !local.is_there || local.has_moved || self.is(Defect::ReleasesEarly);
        let leaves = !stays && has_left && wanted == record && !self.has_open(&record);
        let rank = self.mine.rank(name, leaves);
        told.leases.push((lease_of(name), rank));
        let fencing = self.fencing_of(name, guests, (local, &record), now_ns);
        let is_open = self.is_open_here(guest, &record);
        let open = self.open_words(name, guests, &record, now_ns);
        let why = match (stays, local.has_volumes) {
            (false, _) => open.unwrap_or_else(|| self.why(name, &wanted, now_ns)),
            (true, has_volumes) => { open.or_else(|| words::not_ready(has_volumes, is_open)) }
                .or(fencing)
                .or_else(|| self.waits_here((name, guests), local, now_ns))
                .unwrap_or_default(),
        };
        let cut_off = copies::cut_off((local, stays), (&self.me, &record));
        let wish = match local.is_there && (is_stale || cut_off.is_some()) {
            true => Wish::Kill,
            false => wish_of(guest, (local, is_open), stays, !why.is_empty()),
        };
        Decided {
            wish,
            // What is killed belongs to the epoch in which it ran.
            epoch: (wish != Wish::Kill).then_some(lease.epoch),
            uses_volumes: stays || local.is_there,
            forgives,
            goes_to: self.goes_to(name, &wanted).filter(|_| !stays),
            not_taken_by: self.not_taken_by(name, &record, &wanted),
            why: cut_off.unwrap_or(why),
        }
    }

    /// Why a guest that is not here waits for the fencing of a node, if it does.
    fn fencing_of(
        &mut self,
        name: &str,
        guests: &Guests,
        (local, record): (&Local, &GuestRecord),
        now_ns: u64,
    ) -> Option<String> {
        match local.is_there {
            true => {
                self.fencing.gate.started(name);
                None
            }
            false => self.waits_for_fencing(name, guests, record.up, now_ns),
        }
    }

    /// The node to which a guest of this one is to go.
    fn goes_to(&self, name: &str, wanted: &GuestRecord) -> Option<String> {
        if !wanted.stopped.is_empty() || wanted.failed.contains_key(&self.me) {
            return None;
        }
        match (wanted.to.as_str(), self.places.get(name)) {
            ("", Some(Place::On(node))) if *node != self.me => Some(node.clone()),
            ("", _) => None,
            (to, _) => Some(to.to_owned()),
        }
    }

    /// What becomes of a guest whose lease this node does not hold.
    fn not_held(
        &self,
        (name, guests): (&str, &Guests),
        record: &GuestRecord,
        local: &Local,
        now_ns: u64,
    ) -> Decided {
        let lease = self.leases.get(&lease_of(name));
        let other = lease.filter(|lease| !lease.holder.is_empty() && lease.holder != self.me);
        // It was granted to another node since: what is here is a thing of the past.
        let is_elsewhere =
            other.is_some_and(|lease| { local.epoch }.is_none_or(|epoch| lease.epoch > epoch));
        let wish = match local.is_there {
            false => Wish::Hold,
            true if self.is(Defect::RunsWithoutLease) => Wish::Run,
            // What has moved ends by itself, and never runs.
            true if is_elsewhere && !local.has_moved && !self.is(Defect::ContinuesStale) => {
                Wish::Kill
            }
            // The right of the role before this one has not ended.
            true if other.is_none() && self.mine.may_go_on(name, local, now_ns) => Wish::Hold,
            true => Wish::Freeze,
        };
        let why = match (local.is_there, other) {
            (true, _) if wish == Wish::Hold => {
                "the cluster has not confirmed yet that its lease is here".to_owned()
            }
            (true, Some(lease)) => format!("it is on {} now", lease.holder),
            (true, None) if local.has_moved => "it has moved to the other node".to_owned(),
            (true, None) if self.is_alone(now_ns) => {
                "this node does not hold its lease: no majority of the cluster is reachable"
                    .to_owned()
            }
            (true, None) => "this node does not hold its lease".to_owned(),
            (false, Some(lease)) => format!("on {}", lease.holder),
            (false, None) => { self.open_words(name, guests, record, now_ns) }
                .unwrap_or_else(|| self.why(name, record, now_ns)),
        };
        Decided {
            wish,
            epoch: None,
            uses_volumes: false,
            forgives: false,
            goes_to: None,
            not_taken_by: None,
            why,
        }
    }

    /// How much this node wants the lease of a guest that it does not hold.
    fn rank(&self, name: &str, local: &Local) -> u32 {
        let is_placed = self.is_place_of(name);
        let ordered = matches!(
            self.pending.get(name),
            Some(Pending {
                order: Order::Start,
                ..
            })
        );
        // What it had in an earlier life and is not to have: only its holder can say where it goes.
        let is_own = self.holder(name) == self.me
            && !self.mine.has_given_up(name)
            && !self.is(Defect::LeavesItsOwn);
        let wants = self.is_known && (is_placed || ordered || is_own);
        // A role that has just begun does not give up what the one before it held. What is left of a
        // guest that has moved holds nothing.
        let is_left = local.is_there && !local.has_moved;
        if wants || is_left { OWN } else { 0 }
    }

    /// What the record of a guest is to say.
    fn wanted(&self, name: &str, record: &GuestRecord, local: &Local, now_ns: u64) -> GuestRecord {
        let mut wanted = record.clone();
        // It has come, or the node to which it was to go is away.
        let is_away = self.is_away(&wanted.to, now_ns) && !self.is(Defect::KeepsTarget);
        // One that did not end in order stays where it was.
        let is_tied = local.left_open && self.has_open(record);
        if wanted.to == self.me || self.targets_gone.contains(name) || is_away || is_tied {
            wanted.to.clear();
        }
        match self.pending.get(name).map(|pending| &pending.order) {
            Some(Order::Start) => {
                wanted.stopped.clear();
                wanted.failed.clear();
            }
            Some(Order::Stop) => "an operator stopped it".clone_into(&mut wanted.stopped),
            Some(Order::Move(to)) => {
                wanted.to.clone_from(to);
                wanted.failed.remove(to);
            }
            Some(Order::Stay) => wanted.to.clear(),
            None if local.is_off => words::BY_ITSELF.clone_into(&mut wanted.stopped),
            None => {
                if let Some(why) = &local.failed {
                    // As the record has it: the two are compared.
                    wanted
                        .failed
                        .insert(self.me.clone(), crate::record::cut(why));
                }
            }
        }
        if local.failed.is_none() && self.is_place_of(name) {
            // It is tried again.
            wanted.failed.remove(&self.me);
        }
        wanted.up = local.is_up && wanted.stopped.is_empty();
        wanted
    }

    /// Whether the placement has a guest on this node.
    fn is_place_of(&self, name: &str) -> bool {
        matches!(self.places.get(name), Some(Place::On(node)) if *node == self.me)
    }

    fn is_placed_here(&self, name: &str, wanted: &GuestRecord) -> bool {
        let GuestRecord {
            stopped,
            to,
            failed,
            ..
        } = wanted;
        if !stopped.is_empty() || !to.is_empty() || failed.contains_key(&self.me) {
            return false;
        }
        match self.places.get(name) {
            Some(Place::On(node)) => *node == self.me,
            Some(Place::Down(_)) => false,
            // An order to start that the record does not have yet.
            None => true,
        }
    }

    /// When a lease that is held ends, milliseconds: guests stand still then; or when a guest does
    /// not wait for fencing any longer.
    pub fn deadline_ms(&self, now_ns: u64) -> Option<u64> {
        let held = self.leases.values().filter(|lease| lease.until_ns > now_ns);
        let ends = held.map(|lease| lease.until_ns.div_ceil(1_000_000));
        ends.chain(self.mine.deadline_ms(now_ns))
            .chain(self.fencing.gate.deadline(now_ns / 1_000_000))
            .chain(self.reset_deadline(now_ns))
            .chain(self.here.deadline_ms(now_ns / 1_000_000))
            .min()
    }
}

/// What is wanted of a guest whose lease this node holds; `stays`: it is placed here.
fn wish_of(guest: &Guest, (local, is_open): (&Local, bool), stays: bool, waits: bool) -> Wish {
    match (stays, local.is_there) {
        (false, _) => Wish::ShutDown {
            within_ms: guest.stop_ms,
        },
        (true, true) if !(local.may_run || local.has_volumes && is_open) => Wish::Hold,
        (true, false) if waits => Wish::Hold,
        (true, _) => Wish::Run,
    }
}

/// What becomes of a guest without a section, or with that of a template.
fn gone((guests, name): (&Guests, &str), local: &Local, is_held: bool) -> Decided {
    let why = match guests.templates.contains_key(name) {
        true => "its section says `template yes` now, and a template never runs: it shuts down",
        false => "its section is gone: it shuts down",
    };
    Decided {
        wish: match is_held {
            true => Wish::ShutDown {
                within_ms: local.stop_ms.unwrap_or(crate::config::STOP_MS),
            },
            false => Wish::Freeze,
        },
        epoch: None,
        uses_volumes: true,
        forgives: false,
        goes_to: None,
        not_taken_by: None,
        why: why.to_owned(),
    }
}

/// Ends a guest at once whose volume another user has had since the guest opened it: what the guest
/// has in memory is of an older volume, and must not be written.
fn end_superseded(decided: &mut Decided, volume: &str) {
    decided.wish = Wish::Kill;
    decided.epoch = None;
    decided.why = format!(
        "another user has had volume {volume} since this guest opened it: its process is ended, and what it has not \
         written is lost"
    );
}

/// The nodes that guests name.
fn names(guests: &Guests) -> BTreeSet<String> {
    let named = guests.guests.values().flat_map(|guest| &guest.prefer);
    named.cloned().collect()
}
