//! A node: a desk, a disk, and the parts that it believes to hold.

use super::super::desk::Desk;
use super::super::pool::{Change, Holder, How, Pool, Range};
use super::super::request::{Kind, Request};
use super::{Clock, Defect, GRANT_MS, PARTS, Reply, here, server};
use crate::config::{Gives, Lan};
use lab::Random;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::Ipv4Addr;

/// Packets that wait to be received.
const QUEUE: usize = 8;
/// For how long one waits before it is too old, milliseconds.
const QUEUE_MS: u64 = 5_000;

pub(super) struct Node {
    number: usize,
    clock: Clock,
    /// None: it is down.
    desk: Option<Desk>,
    disk: BTreeMap<Ipv4Addr, Holder>,
    /// What is not on the disk yet, and the answers that wait for that.
    unstored: Vec<Change>,
    waiting: Vec<Reply>,
    /// With the true times of their arrival.
    queue: VecDeque<(u64, Request)>,
    /// Until when it holds each part, by its own clock.
    held: [Option<u64>; PARTS],
    paused_until_ms: u64,
    /// Until when it hears nothing of the cluster.
    cut_until_ms: u64,
    defect: Option<Defect>,
}

impl Node {
    pub(super) fn new(number: usize, clock: Clock, defect: Option<Defect>) -> Node {
        Node {
            number,
            clock,
            desk: None,
            disk: BTreeMap::new(),
            unstored: Vec::new(),
            waiting: Vec::new(),
            queue: VecDeque::new(),
            held: [None; PARTS],
            paused_until_ms: 0,
            cut_until_ms: 0,
            defect,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.desk.is_some()
    }

    pub(super) fn is_awake(&self, true_ms: u64) -> bool {
        self.is_up() && self.paused_until_ms <= true_ms
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Starts from the disk.
    pub(super) fn start(&mut self, lan: &Lan, true_ms: u64) {
        let Gives::Range { first, last } = lan.gives else {
            return;
        };
        if self.is_up() {
            return;
        }
        if self.has(Defect::RestartForgets) {
            self.disk.clear();
        }
        if self.has(Defect::UnclearForgotten) {
            self.disk.retain(|_, holder| *holder != Holder::Unclear);
        }
        let range = Range {
            first,
            last,
            parts: PARTS as u32,
        };
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
    }

    pub(super) fn pause(&mut self, until_ms: u64) {
        self.paused_until_ms = until_ms;
    }

    pub(super) fn cut(&mut self, until_ms: u64) {
        self.cut_until_ms = until_ms;
    }

    /// Whether the cluster grants it parts.
    pub(super) fn hears(&self, true_ms: u64) -> bool {
        self.is_awake(true_ms) && self.cut_until_ms <= true_ms
    }

    pub(super) fn receive(&mut self, request: Request, true_ms: u64) {
        if self.is_up() && self.queue.len() < QUEUE {
            self.queue.push_back((true_ms, request));
        }
    }

    /// The cluster grants it a part.
    pub(super) fn hold(&mut self, part: usize, knows: bool, true_ms: u64) {
        let now_ms = self.clock.at(true_ms);
        self.look(now_ms);
        let is_new = self.held[part].is_none();
        // Its clock may be slow.
        self.held[part] = Some(now_ms + GRANT_MS - GRANT_MS / 500);
        let knows = knows || self.has(Defect::AllKnown);
        let believes_old = self.has(Defect::OldLeasesBelieved);
        let Some(pool) = self.desk.as_mut().and_then(Desk::pool) else {
            return;
        };
        if is_new {
            let old: Vec<_> = pool.known().collect();
            pool.take(part, knows, now_ms);
            if believes_old && !knows {
                for (address, holder) in old {
                    if let Holder::Client(mac) = holder {
                        pool.claim(mac, address, How::Renew, now_ms);
                    }
                }
            }
        }
        self.note();
        // What is unclear is on the disk before any answer is decided.
        self.store();
    }

    /// Gives up the parts whose grant has ended.
    fn look(&mut self, now_ms: u64) {
        for (part, held) in self.held.iter_mut().enumerate() {
            if held.is_some_and(|until_ms| until_ms <= now_ms) {
                *held = None;
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

    fn store(&mut self) {
        for change in self.unstored.drain(..) {
            match change.holder {
                Holder::Nobody => self.disk.remove(&change.address),
                holder => self.disk.insert(change.address, holder),
            };
        }
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
                self.store();
                Vec::new()
            }
            (false, _) => std::mem::take(&mut self.waiting),
            (true, _) => {
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
