//! A node: a desk, a disk, and the parts that it believes to hold.

use super::super::desk::Desk;
use super::super::mirror::{Copies, Copy, Sharing, Tell, Told, Took};
use super::super::pool::{Change, Holder, How, Pool, Range};
use super::super::reply::Verdict;
use super::super::request::{Kind, Request};
use super::{Clock, Defect, GRANT_MS, PARTS, Record, Reply, Write, here, name, range_of, server};
use crate::config::Lan;
use lab::Random;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

/// Packets that wait to be received.
const QUEUE: usize = 8;
/// For how long one waits before it is too old, milliseconds.
const QUEUE_MS: u64 = 5_000;

/// Records of parts.
#[derive(Default)]
struct Records {
    known: [Record; PARTS],
    wrote: [Vec<(u64, BTreeSet<String>)>; PARTS],
}

/// Until when a node is not there as it should be.
#[derive(Default)]
struct Away {
    paused_until_ms: u64,
    /// It hears nothing of the cluster.
    cut_until_ms: u64,
}

pub(super) struct Node {
    number: usize,
    clock: Clock,
    /// None: it is down.
    desk: Option<Desk>,
    disk: BTreeMap<Ipv4Addr, Holder>,
    /// What the other node has given, as it is on the disk, and in memory.
    copies_disk: BTreeMap<usize, Copy>,
    pub(super) copies: Copies,
    /// What the other node knows.
    pub(super) sharing: Sharing,
    /// The records of parts as it knows them, and the names that it has written since, by their number.
    records: Records,
    range: Option<Range>,
    /// What is not on the disk yet, and the answers that wait for that.
    unstored: Vec<Change>,
    waiting: Vec<Reply>,
    /// With the true times of their arrival.
    queue: VecDeque<(u64, Request)>,
    /// Until when it holds each part, by its own clock.
    held: [Option<u64>; PARTS],
    away: Away,
    defect: Option<Defect>,
}

impl Node {
    pub(super) fn new(number: usize, clock: Clock, defect: Option<Defect>) -> Node {
        Node {
            number,
            clock,
            desk: None,
            disk: BTreeMap::new(),
            copies_disk: BTreeMap::new(),
            copies: Copies::default(),
            sharing: Sharing::default(),
            records: Records::default(),
            range: None,
            unstored: Vec::new(),
            waiting: Vec::new(),
            queue: VecDeque::new(),
            held: [None; PARTS],
            away: Away::default(),
            defect,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.desk.is_some()
    }

    pub(super) fn is_awake(&self, true_ms: u64) -> bool {
        self.is_up() && self.away.paused_until_ms <= true_ms
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Starts from the disk.
    pub(super) fn start(&mut self, lan: &Lan, true_ms: u64) {
        if self.is_up() {
            return;
        }
        if self.has(Defect::RestartForgets) {
            self.disk.clear();
        }
        if self.has(Defect::UnclearForgotten) {
            self.disk.retain(|_, holder| *holder != Holder::Unclear);
        }
        let range = range_of(lan);
        self.range = Some(range);
        for (part, copy) in &self.copies_disk {
            self.copies.restore(*part, copy.clone());
        }
        let lease_s = match self.has(Defect::NoMargin) {
            true => lan.lease_s - lan.lease_s / 900 - 60,
            false => lan.lease_s,
        };
        let known = self
            .disk
            .iter()
            .map(|(address, holder)| (*address, *holder));
        let now_ms = self.clock.at(true_ms);
        let pool = Pool::new(range, lease_s, HashSet::new(), known, now_ms);
        self.desk = Some(Desk::new(lan.clone(), here(self.number), Some(pool)));
    }

    /// Loses all that is not on the disk.
    pub(super) fn crash(&mut self) {
        self.desk = None;
        self.unstored.clear();
        self.waiting.clear();
        self.queue.clear();
        self.held = [None; PARTS];
        self.copies = Copies::default();
        self.sharing = Sharing::default();
        self.records = Records::default();
    }

    /// Its copies are lost.
    pub(super) fn lose_copies(&mut self) {
        self.copies_disk.clear();
        self.copies = Copies::default();
    }

    pub(super) fn pause(&mut self, until_ms: u64) {
        self.away.paused_until_ms = until_ms;
    }

    pub(super) fn cut(&mut self, until_ms: u64) {
        self.away.cut_until_ms = until_ms;
    }

    /// Whether the cluster grants it parts.
    pub(super) fn hears(&self, true_ms: u64) -> bool {
        self.is_awake(true_ms) && self.away.cut_until_ms <= true_ms
    }

    pub(super) fn receive(&mut self, request: Request, true_ms: u64) {
        if self.is_up() && self.queue.len() < QUEUE {
            self.queue.push_back((true_ms, request));
        }
    }

    /// The cluster grants it a part, in this epoch. `before`: the record as it was until now.
    pub(super) fn hold(&mut self, part: usize, before: &Record, record: &Record, true_ms: u64) {
        let now_ms = self.clock.at(true_ms);
        self.look(now_ms);
        let is_new = self.held[part].is_none();
        // Its clock may be slow.
        self.held[part] = Some(now_ms + GRANT_MS - GRANT_MS / 500);
        if !is_new {
            return;
        }
        let own = name(self.number);
        let is_own = before.node.is_empty() || before.node == own;
        let knows = is_own || self.has(Defect::AllKnown);
        let believes_old = self.has(Defect::OldLeasesBelieved);
        let is_named = before.named.contains(&own) || self.has(Defect::NamesIgnored);
        let copy = match self.has(Defect::RecordIgnored) {
            true => self.copies.whole(part),
            false => { self.copies.of(part, &before.node, before.epoch) }.filter(|_| is_named),
        };
        let coming = self
            .copies
            .coming(part)
            .filter(|_| self.has(Defect::HalfCopyAdopted));
        let copy = coming.or(copy).filter(|_| !is_own).cloned();
        self.copies.hold(part, record.epoch);
        self.records.known[part] = record.clone();
        self.records.wrote[part].clear();
        let Some(pool) = self.desk.as_mut().and_then(Desk::pool) else {
            return;
        };
        let old: Vec<_> = pool.known().collect();
        if let Some(copy) = &copy {
            let four = copy
                .known
                .iter()
                .filter_map(|(address, holder)| match address {
                    IpAddr::V4(address) => Some((*address, *holder)),
                    IpAddr::V6(_) => None,
                });
            pool.adopt(part, four, now_ms);
        }
        let knows = knows || copy.is_some();
        pool.take(part, knows, now_ms);
        if believes_old && !knows {
            for (address, holder) in old {
                if let Holder::Client(mac) = holder {
                    pool.claim(mac, address, How::Renew, now_ms);
                }
            }
        }
        self.note();
        // What is unclear is on the disk before any answer is decided.
        self.store(now_ms);
        self.sharing.hold(part, record.epoch);
    }

    /// It hears what the record of a part is, and writes another one.
    pub(super) fn turn(&mut self, part: usize, record: &Record, true_ms: u64) -> Option<Write> {
        let now_ms = self.clock.at(true_ms);
        if !self.has(Defect::HoldNotChecked) {
            self.look(now_ms);
        }
        self.share(now_ms);
        self.held[part]?;
        if record.epoch != self.sharing.epoch(part)? {
            return None;
        }
        self.records.known[part] = record.clone();
        self.records.wrote[part].retain(|(number, _)| *number > record.number);
        let named = match self.has(Defect::NamedTooEarly) {
            true => self.sharing.told(part),
            false => self.sharing.in_step(part),
        };
        if named == record.named {
            return None;
        }
        let number = record.number + 1;
        self.records.wrote[part].push((number, named.clone()));
        Some(Write {
            part,
            epoch: record.epoch,
            number,
            named,
        })
    }

    /// Tells everything of its parts where that is missing.
    fn share(&mut self, now_ms: u64) {
        self.sharing.tick(now_ms);
        let Some(range) = self.range else { return };
        let Some(pool) = self.desk.as_mut().and_then(Desk::pool) else {
            return;
        };
        for part in self.sharing.missing() {
            let known = pool.known().filter(|(one, _)| range.part(*one) == part);
            let known: Vec<_> = known.map(|(one, holder)| wide(one, holder)).collect();
            self.sharing.begin(part, &known);
        }
    }

    /// The other node tells something; true: it hears that this is known here.
    pub(super) fn copy(&mut self, from: usize, told: &Told) -> bool {
        let took = self.copies.take(&name(from), told);
        if !matches!(took, Ok(Took::Whole | Took::Changes)) {
            return false;
        }
        if let Some(copy) = self.copies.whole(told.part) {
            self.copies_disk.insert(told.part, copy.clone());
        }
        true
    }

    pub(super) fn confirmed(&mut self, by: usize, link: u64, told: &Told, true_ms: u64) {
        let now_ms = self.clock.at(true_ms);
        let of = (told.part, told.epoch);
        self.sharing
            .confirmed(&name(by), link, of, told.number, now_ms);
    }

    /// Gives up the parts whose grant has ended.
    fn look(&mut self, now_ms: u64) {
        for (part, held) in self.held.iter_mut().enumerate() {
            if held.is_some_and(|until_ms| until_ms <= now_ms) {
                *held = None;
                self.sharing.drop_part(part);
                if let Some(pool) = self.desk.as_mut().and_then(Desk::pool) {
                    pool.give_up(part);
                }
            }
        }
    }

    fn note(&mut self) {
        let pool = self.desk.as_mut().and_then(Desk::pool);
        self.unstored
            .extend(pool.into_iter().flat_map(Pool::changes));
    }

    fn store(&mut self, now_ms: u64) {
        let Some(range) = self.range else { return };
        for change in self.unstored.drain(..) {
            match change.holder {
                Holder::Nobody => self.disk.remove(&change.address),
                holder => self.disk.insert(change.address, holder),
            };
            let part = range.part(change.address);
            let change = wide(change.address, change.holder);
            self.sharing.change(part, &[change], now_ms);
        }
    }

    /// Answers of which clients may hear.
    fn tell(&mut self, now_ms: u64) -> Vec<Reply> {
        if !self.has(Defect::HoldNotChecked) {
            self.look(now_ms);
        }
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for reply in std::mem::take(&mut self.waiting) {
            let given = { reply.address }.filter(|_| reply.verdict == Verdict::Yes);
            let (Some(address), Some(range)) = (given, self.range) else {
                now.push(reply);
                continue;
            };
            let part = range.part(address);
            let wrote = self.records.wrote[part].iter().flat_map(|(_, named)| named);
            let known = match self.has(Defect::WrittenNotCounted) {
                true => BTreeSet::new(),
                false => wrote.cloned().collect(),
            };
            let named = &self.records.known[part].named | &known;
            let named = match self.has(Defect::NamedTooEarly) {
                true => BTreeSet::new(),
                false => named,
            };
            let tell = match self.has(Defect::ToldBeforeKnown) {
                true => Tell::Now,
                false => self.sharing.tells(address.into(), part, &named),
            };
            match tell {
                Tell::Now => now.push(reply),
                Tell::Later => later.push(reply),
                Tell::Never => {}
            }
        }
        self.waiting = later;
        now
    }

    /// How long it takes until something ends here.
    pub(super) fn left_ms(&mut self, true_ms: u64) -> Option<u64> {
        let now_ms = self.clock.at(true_ms);
        let end_ms = self.desk.as_mut()?.pool()?.next_end_ms()?;
        Some(end_ms.saturating_sub(now_ms))
    }

    /// Does one of its steps: looks, decides, stores or sends. Between any two time may pass.
    pub(super) fn work(&mut self, random: &mut Random, true_ms: u64) -> Vec<Reply> {
        if !self.is_awake(true_ms) {
            return Vec::new();
        }
        let now_ms = self.clock.at(true_ms);
        match (self.waiting.is_empty(), self.unstored.is_empty()) {
            (_, false) if !self.has(Defect::ToldBeforeStored) || random.percent(5) => {
                self.store(now_ms);
                Vec::new()
            }
            (false, _) if random.percent(60) => self.tell(now_ms),
            _ => {
                self.queue
                    .retain(|(came_ms, _)| true_ms - *came_ms <= QUEUE_MS);
                self.decide(random, now_ms);
                Vec::new()
            }
        }
    }

    fn decide(&mut self, random: &mut Random, now_ms: u64) {
        // With the defect, it looked before the packets came.
        if !self.has(Defect::HoldNotChecked) {
            self.look(now_ms);
        }
        let count = random.between(1, 4);
        for _ in 0..count {
            let Some((_, mut request)) = self.queue.pop_front() else {
                break;
            };
            let claims = &mut request.claims;
            if self.has(Defect::RebootGetsUnclear) && claims.server.is_none() {
                claims.uses = claims.uses.or(claims.wants);
            }
            let Some(desk) = &mut self.desk else {
                return;
            };
            let decision = desk.decide(&request, false, now_ms);
            if self.defect == Some(Defect::ReleasedAtOnce)
                && request.kind == Kind::Release
                && let Some(pool) = desk.pool()
            {
                pool.expire(now_ms + 60_000);
            }
            if let Some(answer) = decision.answer {
                self.waiting.push(Reply {
                    xid: request.xid,
                    mac: request.mac,
                    verdict: answer.verdict,
                    address: answer.address.and_then(|given| given.address),
                    server: server(self.number),
                });
            }
        }
        self.note();
    }
}

fn wide(address: Ipv4Addr, holder: Holder) -> Change<IpAddr> {
    Change {
        address: address.into(),
        holder,
    }
}
