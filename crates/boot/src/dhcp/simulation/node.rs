//! Simulates a node with its server logic, a disk, and the parts that the node believes to hold.

mod backup;
mod ways;

use super::super::desk::DhcpServer;
use super::super::mirror::{LeaseCopies, LeaseCopy, LeaseCopyMessage, LeaseSharing};
use super::super::moves::{LeaseKnowledge, OtherPart, PartBasis, PartDecision, judge, mark_of};
use super::super::pool::{AddressKnowledge, ClientRequestState, Holder, HolderChange, Pool};
use super::super::range::Range;
use super::super::reply::DhcpReplyType;
use super::super::request::{DhcpMessageType, Request};
use super::{
    Clock, GRANT_MS, InjectedDefect, PARTS, Record, SimulatedReply, Write, here, name, range_of,
    server,
};
use crate::config::LanConfig;
use crate::mac::Mac;
use backup::Backup;
use lab::Random;
use record::{Confirmation, ConfirmationDecision, CopyEffect};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use ways::Way;

/// Limit of packets that wait to be received.
const QUEUE: usize = 8;
/// Age at which a waiting packet is too old, milliseconds.
const QUEUE_MS: u64 = 5_000;

/// Time for which a node waits for the earlier leases of another one, milliseconds: longer than
/// in production, since steps here take longer.
pub(super) const SOON_MS: u64 = 60_000;
/// Longest wait of the clients of a part until the other node knows its leases again,
/// milliseconds.
const UNHEARD_MS: u64 = 5_000;

/// Records of parts, and what the node derived from them.
#[derive(Default)]
struct Records {
    known: [Record; PARTS],
    wrote: [Vec<(u64, BTreeSet<String>)>; PARTS],
    /// Epoch in which the node holds each part.
    epochs: [u64; PARTS],
    states: [SimulatedPartState; PARTS],
    /// Number of parts taken by another range with leases of the other node.
    moved: u64,
    /// Late node that knows what this one withholds, and the number of its disk.
    late: [Option<(String, u64)>; PARTS],
    /// Time since which no client gets a lease of a part.
    unheard: [Option<u64>; PARTS],
    /// Number of parts that returned before any client got a lease from the other node.
    again: u64,
    /// Number of parts that returned from a node that withheld addresses of them.
    back: u64,
    /// Longest lease that the node gave, seconds; on its disk.
    longest_s: u32,
}

/// Knowledge of a node about a part that it holds.
#[derive(Clone, Default)]
enum SimulatedPartState {
    /// The range is another one than before.
    #[default]
    New,
    /// The node has written or writes a record, and waits; the time is the start of the wait for
    /// leases that are no longer given.
    Claims(PartBasis, Option<u64>),
    Settled,
}

/// End of the node's disturbances.
#[derive(Default)]
struct Away {
    paused_until_ms: u64,
    /// End of the time without the cluster.
    cut_until_ms: u64,
}

#[derive(Clone, Default)]
struct Disk {
    leases: BTreeMap<Ipv4Addr, Holder>,
    /// Stored copies of the other node's parts.
    copies: BTreeMap<usize, LeaseCopy>,
    /// Number of times that the disk was lost.
    losses: u64,
    /// Number of writes of leases, and of copies.
    generations: [u64; 2],
}

pub(super) struct SimulatedNode {
    number: usize,
    clock: Clock,
    /// None: the node is down.
    desk: Option<DhcpServer>,
    disk: Disk,
    backup: Backup,
    /// Copies of the other node's parts.
    pub(super) copies: LeaseCopies,
    /// Progress of the copies at the other node.
    pub(super) sharing: LeaseSharing,
    /// Records of parts as the node knows them, and the names that it has written since, by their
    /// number.
    records: Records,
    lan: Option<LanConfig>,
    /// Changes that are not on disk yet.
    unstored: Vec<HolderChange>,
    /// Responses that are sent once their changes are on disk.
    waiting: Vec<SimulatedReply>,
    /// Received requests with the true times of their arrival.
    queue: VecDeque<(u64, Request)>,
    /// End of each grant, by the node's own clock.
    held: [Option<u64>; PARTS],
    away: Away,
    defect: Option<InjectedDefect>,
    /// True if clients wait for the record of their leases' generation.
    pub(super) records_generations: bool,
}

impl SimulatedNode {
    pub(super) fn new(
        number: usize,
        clock: Clock,
        defect: Option<InjectedDefect>,
    ) -> SimulatedNode {
        SimulatedNode {
            number,
            clock,
            desk: None,
            disk: Disk::default(),
            backup: Backup::default(),
            copies: LeaseCopies::default(),
            sharing: LeaseSharing::default(),
            records: Records::default(),
            lan: None,
            unstored: Vec::new(),
            waiting: Vec::new(),
            queue: VecDeque::new(),
            held: [None; PARTS],
            away: Away::default(),
            defect,
            records_generations: false,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.desk.is_some()
    }

    pub(super) fn is_awake(&self, true_ms: u64) -> bool {
        self.is_up() && self.away.paused_until_ms <= true_ms
    }

    fn has(&self, defect: InjectedDefect) -> bool {
        self.defect == Some(defect)
    }

    /// Starts the node from its disk.
    pub(super) fn start(&mut self, lan: &LanConfig, true_ms: u64) {
        if self.is_up() {
            return;
        }
        if self.has(InjectedDefect::RestartForgets) {
            self.disk.leases.clear();
        }
        if self.has(InjectedDefect::UnclearForgotten) {
            self.disk
                .leases
                .retain(|_, holder| !matches!(holder, Holder::Unclear(_) | Holder::Before(_)));
        }
        self.drop_older_files();
        for (part, copy) in &self.disk.copies {
            self.copies.restore(*part, copy.clone());
        }
        self.build(lan, None, true_ms);
    }

    pub(super) fn change(&mut self, lan: &LanConfig, true_ms: u64) {
        if !self.is_awake(true_ms) || self.lan.as_ref() == Some(lan) {
            return;
        }
        self.note();
        self.store(self.clock.at(true_ms));
        self.sharing.clear();
        self.records.states = Default::default();
        self.records.late = Default::default();
        let before = self.desk.as_mut().and_then(DhcpServer::pool).cloned();
        self.build(lan, before.as_ref(), true_ms);
    }

    fn build(&mut self, lan: &LanConfig, before: Option<&Pool>, true_ms: u64) {
        let range = range_of(lan);
        self.lan = Some(lan.clone());
        let lease_s = if self.has(InjectedDefect::NoMargin) {
            lan.lease_s - lan.lease_s / 900 - 60
        } else {
            lan.lease_s
        };
        let known = self
            .disk
            .leases
            .iter()
            .map(|(address, holder)| (*address, *holder));
        let now_ms = self.clock.at(true_ms);
        self.records.longest_s = self.records.longest_s.max(lease_s);
        let longest_s = if self.has(InjectedDefect::LeaseShortened) {
            0
        } else {
            self.records.longest_s
        };
        let mut pool = Pool::new(range, lease_s, longest_s, HashSet::new(), known, now_ms);
        if let Some(before) = before.filter(|_| !self.has(InjectedDefect::LeaseShortened)) {
            pool.keep_ends(before, now_ms);
        }
        self.desk = Some(DhcpServer::new(lan.clone(), here(self.number), Some(pool)));
    }

    /// Loses everything that is not on disk.
    pub(super) fn crash(&mut self) {
        self.desk = None;
        self.unstored.clear();
        self.waiting.clear();
        self.queue.clear();
        self.held = [None; PARTS];
        self.backup.crash();
        self.copies = LeaseCopies::default();
        self.sharing = LeaseSharing::default();
        let Records {
            moved,
            again,
            back,
            longest_s,
            ..
        } = self.records;
        self.records = Records {
            moved,
            again,
            back,
            longest_s,
            ..Records::default()
        };
    }

    /// Returns how many parts came back before any client got a lease from the other node.
    pub(super) fn again(&self) -> u64 {
        self.records.again
    }

    /// Returns how many parts came back from a node that withheld addresses of them.
    pub(super) fn back(&self) -> u64 {
        self.records.back
    }

    /// Returns how many parts were taken by another range with leases of the other node.
    pub(super) fn moved(&self) -> u64 {
        self.records.moved
    }

    fn range(&self) -> Option<Range> {
        self.lan.as_ref().map(range_of)
    }

    pub(super) fn lose_copies(&mut self) {
        self.disk.copies.clear();
        self.copies = LeaseCopies::default();
    }

    pub(super) fn lose_disk(&mut self) {
        self.disk.leases.clear();
        self.disk.losses = self.backup.next_loss();
        self.records.longest_s = 0;
        self.lose_copies();
    }

    /// Returns true if the node believes that it holds a part.
    pub(super) fn holds(&self, part: usize) -> bool {
        self.held[part].is_some()
    }

    /// Returns true if a record is the node's own, with its current disk.
    fn is_own(&self, record: &Record) -> bool {
        let has_disk =
            record.disk == self.disk.losses || self.has(InjectedDefect::EmptyDiskBelieved);
        record.node == name(self.number) && has_disk
    }

    pub(super) fn pause(&mut self, until_ms: u64) {
        self.away.paused_until_ms = until_ms;
    }

    pub(super) fn cut(&mut self, until_ms: u64) {
        self.away.cut_until_ms = until_ms;
    }

    /// Returns true if the cluster can grant parts to the node.
    pub(super) fn hears(&self, true_ms: u64) -> bool {
        self.is_awake(true_ms) && self.away.cut_until_ms <= true_ms
    }

    pub(super) fn receive(&mut self, request: Request, true_ms: u64) {
        if self.is_up() && self.queue.len() < QUEUE {
            self.queue.push_back((true_ms, request));
        }
    }

    /// Grants a part to the node, in this epoch. `before`: the record until now.
    pub(super) fn hold(&mut self, part: usize, before: &Record, record: &Record, true_ms: u64) {
        let now_ms = self.clock.at(true_ms);
        self.look(now_ms);
        let is_new = self.held[part].is_none();
        // The node's clock may be slow.
        self.held[part] = Some(now_ms + GRANT_MS - GRANT_MS / 500);
        if !is_new {
            return;
        }
        self.records.epochs[part] = record.epoch;
        self.records.states[part] = SimulatedPartState::New;
        self.records.late[part] = None;
        self.records.known[part] = record.clone();
        self.records.wrote[part].clear();
        self.records.unheard[part] = record.unheard.then_some(now_ms);
        let way = self.way(part, before);
        let is_own = before.node == name(self.number);
        self.records.again += u64::from(matches!(way, Way::Known) && !is_own);
        self.copies.hold(part, record.epoch);
        self.learn_longest(before.longest_s);
        self.begin(part, way, now_ms);
    }

    /// Takes into account that other nodes may have given leases of this length, seconds.
    fn learn_longest(&mut self, longest_s: u32) {
        if self.has(InjectedDefect::LongestForgotten) {
            return;
        }
        self.records.longest_s = self.records.longest_s.max(longest_s);
        if let Some(pool) = self.desk.as_mut().and_then(DhcpServer::pool) {
            pool.set_longest(longest_s);
        }
    }

    pub(super) fn desk(&mut self) -> Option<&mut DhcpServer> {
        self.desk.as_mut()
    }

    /// Returns true if no client may get a lease of a part yet.
    fn stays_unheard(&self, part: usize, record: &Record, now_ms: u64) -> bool {
        let other = name(1 - self.number);
        let since_ms = self.records.unheard[part].filter(|_| record.unheard);
        since_ms.is_some_and(|since| now_ms < since + UNHEARD_MS)
            && self.sharing.is_linked(&other)
            && !self.sharing.in_step(part).contains(&other)
    }

    /// Begins to assign addresses of a part, or to wait.
    fn begin(&mut self, part: usize, way: Way, now_ms: u64) {
        if let Way::Claims(base) = way {
            self.records.states[part] = SimulatedPartState::Claims(base, None);
            return;
        }
        let Some(pool) = self.desk.as_mut().and_then(DhcpServer::pool) else {
            return;
        };
        if let Way::Copied(copy, knows) = way {
            let knows_any = self.defect == Some(InjectedDefect::DoubtIgnored);
            let doubt = |holder| match holder {
                Holder::Unclear(user) if knows_any => Holder::Before(user),
                holder => holder,
            };
            let known = copy.known().filter_map(four);
            let known = known.map(|(address, holder)| (address, doubt(holder)));
            pool.adopt(part, known, knows, now_ms);
            self.records.back += u64::from(knows.knows_before);
        }
        pool.take(part, true, now_ms);
        self.settled(part, now_ms);
    }

    fn settled(&mut self, part: usize, now_ms: u64) {
        self.records.states[part] = SimulatedPartState::Settled;
        let has_former = self.former(part).is_some();
        if let Some(pool) = self.desk.as_mut().and_then(DhcpServer::pool)
            && !has_former
        {
            pool.has_no_former(part);
        }
        self.note();
        // Unclear addresses are on disk before any response is decided.
        self.store(now_ms);
        // Adopted leases are sent, too, before the other node may be named.
        self.sharing.drop_part(part);
        self.sharing.hold(part, self.records.epochs[part]);
    }

    /// Returns the node that knows what this one withholds of a part, and the number of its disk.
    fn former(&self, part: usize) -> Option<&(String, u64)> {
        let of_record = self.records.known[part].former.as_ref();
        let former = self.records.late[part].as_ref().or(of_record);
        former.filter(|(node, _)| *node != name(self.number))
    }

    /// Returns the late node that knows what is withheld: one that also knows what was withheld
    /// before, or the only one.
    fn former_of_late(&self, part: usize, record: &Record) -> Option<(String, u64)> {
        let former = Some((record.node.clone(), record.disk));
        let before = &self.records.known[part].former;
        let is_only = before.is_none() || *before == former;
        let is_other = record.node != name(self.number) && !self.has(InjectedDefect::LateForgotten);
        former.filter(|_| is_only && is_other)
    }

    /// Judges the records of the other parts, and takes a part when it may.
    fn settle(&mut self, part: usize, base: &PartBasis, records: &[Record; PARTS], now_ms: u64) {
        let SimulatedPartState::Claims(_, since_ms) = &mut self.records.states[part] else {
            return;
        };
        let is_late = since_ms.is_some_and(|since| now_ms >= since + SOON_MS);
        let others: Vec<OtherPart> = (0..PARTS)
            .filter(|other| *other != part)
            .filter(|other| !records[*other].node.is_empty())
            .map(|other| self.other(other, &records[other], is_late))
            .collect();
        let believes_old =
            self.has(InjectedDefect::OldLeasesBelieved) && *base == PartBasis::Unknown;
        match judge(part, self.range(), base, &others, is_late) {
            PartDecision::Waits(_) => {}
            PartDecision::Soon(_) => {
                if let SimulatedPartState::Claims(_, since_ms) = &mut self.records.states[part] {
                    since_ms.get_or_insert(now_ms);
                }
            }
            PartDecision::Takes(mut taking) => {
                let late = taking.late().find(|other| *other != part);
                let late = late.map(|other| self.former_of_late(part, &records[other]));
                let former = match base {
                    PartBasis::Left(_) => self.records.known[part].former.clone(),
                    _ => late.flatten(),
                };
                let before = self.records.known[part].former.as_ref();
                let had_former = before.is_some_and(|(node, _)| *node != name(self.number));
                if former.is_none() {
                    taking.give_up_late();
                }
                self.records.late[part] = former;
                let longest = records.iter().map(|record| record.longest_s).max();
                self.learn_longest(longest.unwrap_or(0));
                let ranges = mark_of(self.range());
                let copies = &self.copies;
                let fates = taking.fates(|part, node, epoch| {
                    let copy = copies.of(part, node, epoch);
                    let copy = copy.filter(|copy| copy.division == ranges)?;
                    Some(copy.known().filter_map(four).collect())
                });
                self.records.moved += u64::from(taking.copies() > 0);
                let Some(pool) = self.desk.as_mut().and_then(DhcpServer::pool) else {
                    return;
                };
                let old: Vec<_> = pool.known().collect();
                if !had_former {
                    pool.has_no_former(part);
                }
                match base {
                    PartBasis::Unknown => pool.take_as(part, now_ms, |_| AddressKnowledge::Before),
                    _ => pool.take_as(part, now_ms, fates),
                }
                for (address, holder) in old.into_iter().filter(|_| believes_old) {
                    if let Holder::Client(mac) = holder {
                        pool.claim(mac, address, ClientRequestState::Renew, now_ms);
                    }
                }
                self.settled(part, now_ms);
            }
        }
    }

    /// Describes another part as this node knows it.
    fn other(&self, part: usize, record: &Record, is_late: bool) -> OtherPart {
        let own = name(self.number);
        let copy = self
            .copies
            .of(part, &record.node, record.epoch)
            .filter(|copy| copy.division == mark_of(self.range()));
        let is_named = record.named.contains(&own);
        let knows = match copy.filter(|_| is_named) {
            _ if self.is_own(record) => LeaseKnowledge::Own,
            Some(copy) => LeaseKnowledge::Copy(copy.node.clone(), copy.epoch),
            None => LeaseKnowledge::NotYet,
        };
        let mut claim = record.claim;
        if self.has(InjectedDefect::RangeNotWaited) {
            claim.range = self.range();
        }
        let forgets = self.has(InjectedDefect::PastForgotten);
        if forgets || is_late && self.has(InjectedDefect::LateBelieved) {
            claim.past = None;
        }
        OtherPart {
            part,
            claim,
            knows,
            is_former: self.is_former(record),
        }
    }

    /// Receives the records of the parts, and writes another one of this part.
    pub(super) fn turn(
        &mut self,
        part: usize,
        (records, is_other_there): (&[Record; PARTS], bool),
        true_ms: u64,
    ) -> Option<Write> {
        let now_ms = self.clock.at(true_ms);
        self.backup.recorded[0] = self.disk.generations[0].max(self.backup.recorded[0]);
        let record = &records[part];
        if !self.has(InjectedDefect::HoldNotChecked) {
            self.look(now_ms);
        }
        self.share(now_ms);
        self.held[part]?;
        if record.epoch != self.records.epochs[part] {
            return None;
        }
        self.records.known[part] = record.clone();
        self.records.wrote[part].retain(|(number, _)| *number > record.number);
        if let SimulatedPartState::New = self.records.states[part] {
            let way = self.way(part, record);
            self.begin(part, way, now_ms);
        }
        let is_said = record.claim.range == self.range();
        if let SimulatedPartState::Claims(PartBasis::Own(_), _) = &self.records.states[part]
            && is_said
        {
            self.sharing.hold(part, self.records.epochs[part]);
        }
        let (base, mut clear) = match self.records.states[part].clone() {
            SimulatedPartState::Claims(base, _) => (base, self.has(InjectedDefect::ClearTooEarly)),
            SimulatedPartState::New | SimulatedPartState::Settled => (PartBasis::Unknown, true),
        };
        if is_said && !clear {
            self.settle(part, &base, records, now_ms);
            clear = matches!(self.records.states[part], SimulatedPartState::Settled);
        }
        self.note_elsewhere(part, is_other_there);
        let named = if self.has(InjectedDefect::NamedTooEarly) {
            self.sharing.told(part)
        } else {
            self.sharing.in_step(part)
        };
        let unheard = clear && self.stays_unheard(part, record, now_ms);
        let named = if unheard {
            [name(1 - self.number)].into()
        } else {
            named
        };
        let next = self.next(part, record, &base, clear);
        let wanted = Record {
            named: named.clone(),
            unheard,
            former: self.former_in(next.former.clone(), unheard),
            ..next
        };
        let is_same = Record {
            number: record.number,
            ..wanted.clone()
        } == *record;
        if is_same {
            return None;
        }
        self.records.wrote[part].push((wanted.number, named));
        Some(Write {
            part,
            record: wanted,
        })
    }

    /// Records whether a node is up that knows what this one withholds of a part.
    fn note_elsewhere(&mut self, part: usize, is_other_there: bool) {
        let other = name(1 - self.number);
        let is_its = self.former(part).is_some_and(|(node, _)| *node == other);
        let is_there = is_its && is_other_there && !self.has(InjectedDefect::SquatterBelieved);
        if let Some(pool) = self.desk.as_mut().and_then(DhcpServer::pool) {
            pool.set_known_elsewhere(part, is_there);
        }
    }

    /// Sends complete copies of its parts where they are missing.
    fn share(&mut self, now_ms: u64) {
        self.sharing.tick(now_ms);
        let Some(range) = self.range() else { return };
        let tells_past = !self.has(InjectedDefect::PastNotTold);
        let Some(pool) = self.desk.as_mut().and_then(DhcpServer::pool) else {
            return;
        };
        for part in self.sharing.missing() {
            let past = self.records.known[part].claim.past;
            let past = past.filter(|_| tells_past).map(|past| past.span);
            let is_its =
                |one: &Ipv4Addr| range.is_of(*one, part) || past.is_some_and(|past| past.has(*one));
            let known = pool.known().filter(|(one, _)| is_its(one));
            let known: Vec<_> = known.map(|(one, holder)| wide(one, holder)).collect();
            self.sharing.begin(part, mark_of(Some(range)), &known);
        }
    }

    /// Receives a message of the other node; true: the message is confirmed.
    pub(super) fn copy(&mut self, from: usize, told: &LeaseCopyMessage) -> bool {
        let took = self.copies.take(&name(from), told);
        if !matches!(took, Ok(CopyEffect::Whole | CopyEffect::Changes)) {
            return false;
        }
        if let Some(copy) = self.copies.whole(told.part) {
            self.disk.copies.insert(told.part, copy.clone());
            self.disk.generations[1] += 1;
            self.backup.recorded[1] = self.disk.generations[1];
        }
        true
    }

    pub(super) fn confirmed(
        &mut self,
        by: usize,
        link: u64,
        told: &LeaseCopyMessage,
        true_ms: u64,
    ) {
        let now_ms = self.clock.at(true_ms);
        let confirmation = Confirmation {
            part: told.part,
            epoch: told.epoch,
            number: told.number,
        };
        self.sharing
            .confirmed(&name(by), link, confirmation, now_ms);
    }

    /// Gives up the parts whose grant has ended.
    fn look(&mut self, now_ms: u64) {
        for (part, held) in self.held.iter_mut().enumerate() {
            if held.is_some_and(|until_ms| until_ms <= now_ms) {
                *held = None;
                self.sharing.drop_part(part);
                if let Some(pool) = self.desk.as_mut().and_then(DhcpServer::pool) {
                    pool.give_up(part);
                }
            }
        }
    }

    fn note(&mut self) {
        let pool = self.desk.as_mut().and_then(DhcpServer::pool);
        self.unstored
            .extend(pool.into_iter().flat_map(Pool::changes));
    }

    fn store(&mut self, now_ms: u64) {
        let Some(range) = self.range() else { return };
        self.disk.generations[0] += u64::from(!self.unstored.is_empty());
        for change in self.unstored.drain(..) {
            self.backup.stored(change, self.disk.generations[0]);
            match change.holder {
                Holder::Nobody => self.disk.leases.remove(&change.address),
                holder => self.disk.leases.insert(change.address, holder),
            };
            let part = range.part(change.address);
            let change = wide(change.address, change.holder);
            self.sharing.change(part, &[change], now_ms);
        }
    }

    /// Returns the responses that clients may get now.
    fn tell(&mut self, now_ms: u64) -> Vec<SimulatedReply> {
        if !self.has(InjectedDefect::HoldNotChecked) {
            self.look(now_ms);
        }
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for reply in std::mem::take(&mut self.waiting) {
            let given = reply
                .address
                .filter(|_| reply.verdict == DhcpReplyType::Yes);
            let (Some(address), Some(range)) = (given, self.range()) else {
                now.push(reply);
                continue;
            };
            if !range.has(address) {
                continue;
            }
            let part = range.part(address);
            let record = &self.records.known[part];
            let is_longer = reply.lease_ms > u64::from(record.longest_s) * 1000;
            if self.waits_for_record(address) {
                later.push(reply);
                continue;
            }
            if record.unheard || is_longer {
                if self.has(InjectedDefect::UnheardTold) {
                    now.push(reply)
                } else {
                    later.push(reply)
                }
                continue;
            }
            let wrote = self.records.wrote[part].iter().flat_map(|(_, named)| named);
            let known = if self.has(InjectedDefect::WrittenNotCounted) {
                BTreeSet::new()
            } else {
                wrote.cloned().collect()
            };
            let named = &self.records.known[part].named | &known;
            let named = if self.has(InjectedDefect::NamedTooEarly) {
                BTreeSet::new()
            } else {
                named
            };
            let tell = if self.has(InjectedDefect::ToldBeforeKnown) {
                ConfirmationDecision::Now
            } else {
                self.sharing
                    .decide_confirmation(address.into(), part, &named)
            };
            match tell {
                ConfirmationDecision::Now => now.push(reply),
                ConfirmationDecision::Later => later.push(reply),
                ConfirmationDecision::Never => {}
            }
        }
        self.waiting = later;
        now
    }

    /// Returns the time until the next lease here ends.
    pub(super) fn left_ms(&mut self, true_ms: u64) -> Option<u64> {
        let now_ms = self.clock.at(true_ms);
        let end_ms = self.desk.as_mut()?.pool()?.next_end_ms()?;
        Some(end_ms.saturating_sub(now_ms))
    }

    /// Does one of the node's steps: checks its grants, decides, stores or sends. Time may pass
    /// between any two steps. `users`: the addresses that clients use.
    pub(super) fn work(
        &mut self,
        random: &mut Random,
        users: &[(Ipv4Addr, Mac)],
        true_ms: u64,
    ) -> Vec<SimulatedReply> {
        if !self.is_awake(true_ms) {
            return Vec::new();
        }
        let now_ms = self.clock.at(true_ms);
        match (self.waiting.is_empty(), self.unstored.is_empty()) {
            (_, false) if !self.has(InjectedDefect::ToldBeforeStored) || random.percent(5) => {
                self.store(now_ms);
                Vec::new()
            }
            (false, _) if random.percent(60) => self.tell(now_ms),
            _ => {
                self.queue
                    .retain(|(came_ms, _)| true_ms - *came_ms <= QUEUE_MS);
                self.decide(random, users, now_ms);
                Vec::new()
            }
        }
    }

    fn decide(&mut self, random: &mut Random, users: &[(Ipv4Addr, Mac)], now_ms: u64) {
        // With the defect, the check was made before the packets arrived.
        if !self.has(InjectedDefect::HoldNotChecked) {
            self.look(now_ms);
        }
        let count = random.between(1, 4);
        for _ in 0..count {
            let Some((_, mut request)) = self.queue.pop_front() else {
                break;
            };
            let claims = &mut request.claims;
            let mut is_believed = self.has(InjectedDefect::LiarBelieved);
            if self.has(InjectedDefect::RebootGetsUnclear) && claims.server.is_none() {
                is_believed = claims.uses.is_none();
                claims.uses = claims.uses.or(claims.wants);
            }
            let Some(desk) = &mut self.desk else {
                return;
            };
            offer_before(desk, &request, now_ms);
            let mut decision = desk.decide(&request, false, now_ms);
            if let Some(address) = decision.waits_for(&request) {
                let user = users.iter().find(|(one, _)| *one == address);
                let user = user.map(|(_, mac)| *mac).filter(|_| random.percent(80));
                let user = if is_believed { Some(request.mac) } else { user };
                if let Some(mac) = user {
                    desk.in_use(address, mac, now_ms);
                    decision = desk.decide(&request, false, now_ms);
                }
            }
            let probed = decision
                .probe
                .filter(|_| request.kind == DhcpMessageType::Decline);
            let user = probed.and_then(|address| users.iter().find(|(one, _)| *one == address));
            if let Some((address, mac)) = user.filter(|_| random.percent(80)) {
                desk.in_use(*address, *mac, now_ms);
            }
            if self.defect == Some(InjectedDefect::ReleasedAtOnce)
                && request.kind == DhcpMessageType::Release
                && let Some(pool) = desk.pool()
            {
                pool.expire(now_ms + 60_000);
            }
            if let Some(answer) = decision.answer {
                let lease_s = answer.address.and_then(|given| given.lease_s);
                self.waiting.push(SimulatedReply {
                    xid: request.xid,
                    mac: request.mac,
                    verdict: answer.verdict,
                    address: answer.address.and_then(|given| given.address),
                    lease_ms: u64::from(lease_s.unwrap_or(0)) * 1000,
                    server: server(self.number),
                });
            }
        }
        self.note();
    }
}

/// Offers the client the address that it requests, if that is free: a first lease begins so, and
/// a history of leases needs no more of it.
fn offer_before(desk: &mut DhcpServer, request: &Request, now_ms: u64) {
    let address = request.claims.wants.or(request.claims.uses);
    let Some((pool, address)) = desk.pool().zip(address) else {
        return;
    };
    if request.kind == DhcpMessageType::Request && pool.is_unused(address) {
        pool.withdraw(request.mac);
        // Without a free address the request is refused.
        let _ = pool.offer(request.mac, Some(address), now_ms);
    }
}

fn four(change: &HolderChange<IpAddr>) -> Option<(Ipv4Addr, Holder)> {
    match change.address {
        IpAddr::V4(address) => Some((address, change.holder)),
        IpAddr::V6(_) => None,
    }
}

fn wide(address: Ipv4Addr, holder: Holder) -> HolderChange<IpAddr> {
    HolderChange {
        address: address.into(),
        holder,
    }
}
