//! Implements the load-balancing algorithms. All run under one lock of the backend, which is held
//! only briefly.

use super::room::{Room, weights_before};
use super::table::turns;
use super::{Choice, Request, Take, Taker};
use crate::config::{
    Balance, HashAffinity, HashMethod, Proxy, RingKey, Server, ServerAddress, ServerIndex,
};
use crate::line::heap::Heap;
use crate::line::ring::{Ring, RingMember, Seed};
use crate::line::{AlgorithmState, BalanceGroup, Positions, ServerProperties};
use crate::state::ServerState;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

/// Distance by which one choice in round robin advances a server with a weight of 1/16.
const LAP: u64 = 1 << 24;
/// Position of a server at which all positions are reduced, long before they overflow.
const REBASE_AT: u64 = 1 << 62;
/// Load of one session, before division by the weight.
const LOAD: u64 = 1 << 20;
/// Up to this number of servers, the least loaded is found by a linear search. That avoids a
/// notification for every session that ends.
const FEW: usize = 16;

impl AlgorithmState {
    pub(super) fn fit(&mut self, proxy: &Proxy) {
        if self.layout != layout(proxy) || self.algorithm != proxy.balance {
            let was = self.positions();
            self.build(proxy, was);
        }
    }

    /// Copies the positions of the servers. Must be fast, because streams wait for the lock
    /// meanwhile.
    pub(super) fn positions(&self) -> Positions {
        Positions {
            algorithm: self.algorithm.clone(),
            uids: self.uids.clone(),
            known: self.known.clone(),
            active: (self.active.clock, self.active.heap.keys().to_vec()),
            backup: (self.backup.clock, self.backup.heap.keys().to_vec()),
            cursor: self.cursor,
            seed: self.seed,
        }
    }

    pub(super) fn build(&mut self, proxy: &Proxy, was: Positions) {
        // Subscribes to changes of the servers before the build, so that changes during the build
        // are reported and applied afterwards.
        proxy
            .state
            .backend
            .balance
            .subscribe(&proxy.line.has_changes);
        let n = proxy.servers.len();
        let side = |clock| BalanceGroup {
            heap: Heap::new(n),
            clock,
            usable: 0,
        };
        let mut by_id: Vec<u32> = (0..n as u32).collect();
        by_id.sort_by_key(|at| proxy.servers[*at as usize].id);
        *self = AlgorithmState {
            layout: layout(proxy),
            algorithm: proxy.balance.clone(),
            uids: proxy.servers.iter().map(|s| s.state.uid).collect(),
            known: vec![ServerProperties::default(); n],
            active: side(was.active.0),
            backup: side(was.backup.0),
            backups: Vec::new(),
            by_id,
            table: None,
            ring: None,
            seeds: Vec::new(),
            weights_before: Vec::new(),
            cursor: 0,
            seed: was.seed,
            passed: Vec::new(),
        };
        if is_ring(proxy) {
            self.seeds = proxy.servers.iter().map(seed).collect();
            self.weights_before = weights_before(&proxy.servers);
        }
        if was.algorithm == self.algorithm {
            self.cursor = was.cursor;
            if self.algorithm == Balance::RoundRobin {
                self.keep_places(&was);
            }
        }
        for at in 0..n {
            self.look_at(at, &proxy.servers[at].state);
        }
        self.backups = (0..n as u32)
            .filter(|at| self.known[*at as usize].backup)
            .collect();
        let by_key = self.algorithm.is_by_key();
        if by_key && is_ring(proxy) {
            self.ring(self.active.usable == 0);
        } else if by_key
            || matches!(
                self.algorithm,
                Balance::StaticRoundRobin | Balance::Random(_)
            )
        {
            self.table(self.active.usable == 0);
        }
    }

    fn keep_places(&mut self, was: &Positions) {
        let places: HashMap<u32, usize> = was.uids.iter().copied().zip(0..).collect();
        for (at, uid) in self.uids.iter().enumerate() {
            let Some(place) = places.get(uid) else {
                continue;
            };
            let known = was.known[*place];
            let (from, side) = if known.backup {
                (&was.backup.1, &mut self.backup)
            } else {
                (&was.active.1, &mut self.active)
            };
            if known.weight > 0 {
                self.known[at] = known;
                side.usable += 1;
                side.heap.set(at, (from[*place].0, at as u64));
            }
        }
    }

    pub(super) fn refresh(&mut self, proxy: &Proxy, news: &[u32]) {
        for uid in news {
            let Some(at) = proxy.place_of(*uid).map(|at| at.0 as usize) else {
                continue;
            };
            if let Some(server) = proxy.servers.get(at).filter(|s| s.state.uid == *uid) {
                self.look_at(at, &server.state);
            }
        }
    }

    fn side(&mut self, backup: bool) -> &mut BalanceGroup {
        if backup {
            &mut self.backup
        } else {
            &mut self.active
        }
    }

    fn look_at(&mut self, at: usize, server: &Arc<ServerState>) {
        server.in_balance.listed.swap(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let now = ServerProperties {
            weight: server.weight(),
            whole_weight: server.whole_weight(),
            backup: server.backup(),
        };
        let was = std::mem::replace(&mut self.known[at], now);
        if was.backup != now.backup {
            self.side(was.backup).heap.remove(at);
            self.backups.retain(|backup| *backup as usize != at);
            if now.backup {
                let place = self
                    .backups
                    .partition_point(|backup| (*backup as usize) < at);
                self.backups.insert(place, at as u32);
            }
        }
        if was.whole_weight != now.whole_weight || was.backup != now.backup {
            self.table = None;
        }
        if was.backup != now.backup {
            self.ring = None;
        } else if was.weight != now.weight
            && let Some(ring) = &mut self.ring
        {
            ring.weigh(at as u32, now.weight);
        }
        if was.weight > 0 {
            self.side(was.backup).usable -= 1;
        }
        if now.weight > 0 {
            self.side(now.backup).usable += 1;
        }
        match self.algorithm {
            Balance::RoundRobin => self.place_on_line(at, was, now),
            Balance::LeastConnections => self.place_by_load(at, server, now),
            _ => {}
        }
    }

    fn place_on_line(&mut self, at: usize, was: ServerProperties, now: ServerProperties) {
        let side = self.side(now.backup);
        if now.weight == 0 {
            return side.heap.remove(at);
        }
        let step = LAP / u64::from(now.weight);
        let key = if was.weight == 0 || was.backup != now.backup {
            // A server that is new, had the weight 0 or moved between active and backup starts in
            // the middle of its first lap: neither first nor after all others.
            side.clock + step / 2
        } else {
            // Scales the rest of the server's current lap to the new weight.
            let left = side.heap.key(at).0.saturating_sub(side.clock);
            let left = u128::from(left) * u128::from(was.weight) / u128::from(now.weight);
            side.clock + (left as u64).min(step)
        };
        side.heap.set(at, (key, at as u64));
    }

    fn place_by_load(&mut self, at: usize, server: &ServerState, now: ServerProperties) {
        let few = self.known.len() <= FEW;
        let side = self.side(now.backup);
        if now.weight == 0 {
            return side.heap.remove(at);
        }
        side.clock += 1;
        if few {
            return side.heap.set(at, (0, side.clock));
        }
        // Registers the wish to be notified before it reads the load, so that no released slot is
        // missed.
        server.in_balance.interest.store(true, Ordering::SeqCst);
        side.heap.set(at, (load_of(server, now.weight), side.clock));
    }

    pub(super) fn choose(&mut self, proxy: &Proxy, request: &Request, take: Taker<'_>) -> Choice {
        let use_backups = self.active.usable == 0;
        if use_backups && self.backup.usable == 0 {
            return Choice::None;
        }
        if use_backups && !proxy.has(crate::config::ProxyOption::AllBackups) {
            return self.first_backup(proxy, request, take);
        }
        let by_key = self.algorithm.is_by_key();
        if !request.look && !by_key && !matches!(self.algorithm, Balance::Random(_)) {
            return Choice::Full(None);
        }
        match self.algorithm {
            Balance::RoundRobin => self.round_robin(proxy, use_backups, request, take),
            Balance::LeastConnections if self.known.len() <= FEW => {
                self.least_of_few(proxy, use_backups, request, take)
            }
            Balance::LeastConnections => self.least(proxy, use_backups, request, take),
            Balance::First => self.first(proxy, use_backups, request, take),
            Balance::StaticRoundRobin => self.static_turn(proxy, use_backups, request, take),
            Balance::Source | Balance::Hash(_) => self.by_key(proxy, use_backups, request, take),
            Balance::Random(draws) => self.drawn(proxy, use_backups, draws, request, take),
        }
    }

    fn first_backup(&self, proxy: &Proxy, request: &Request, take: Taker<'_>) -> Choice {
        let usable = |at: &&u32| self.known[**at as usize].weight > 0;
        let avoided = |at: &&u32| Some(ServerIndex(**at)) == request.avoid;
        let mut candidates = self.backups.iter().filter(usable);
        let Some(at) = candidates
            .clone()
            .find(|at| !avoided(at))
            .or_else(|| candidates.next())
        else {
            return Choice::None;
        };
        one(proxy, *at, request.look, take)
    }

    fn round_robin(
        &mut self,
        proxy: &Proxy,
        backup: bool,
        request: &Request,
        take: Taker<'_>,
    ) -> Choice {
        let avoid = request.avoid.map(|index| index.0 as usize);
        let mut passed = std::mem::take(&mut self.passed);
        let mut chosen = None;
        let side = if backup {
            &mut self.backup
        } else {
            &mut self.active
        };
        while let Some(at) = side.heap.first() {
            let server = &proxy.servers[at].state;
            if Some(at) == avoid {
                side.heap.remove(at);
                passed.push(at);
                continue;
            }
            match take_or_park(server, take) {
                Tried::Taken => {
                    chosen = Some(at);
                    break;
                }
                Tried::Passed => passed.push(at),
                Tried::Parked => {}
            }
            side.heap.remove(at);
        }
        if chosen.is_none() {
            chosen = only_the_avoided(proxy, avoid, &passed, take);
        }
        for at in passed.drain(..) {
            let key = side.heap.key(at);
            side.heap.set(at, key);
        }
        if let Some(at) = chosen {
            let place = side.heap.key(at).0.max(side.clock);
            side.clock = place;
            let step = LAP / u64::from(self.known[at].weight.max(1));
            side.heap.set(at, (place + step, at as u64));
            if place > REBASE_AT {
                side.heap.rebase(place);
                side.clock = 0;
            }
        }
        self.passed = passed;
        chosen.map_or(Choice::Full(None), |at| {
            Choice::Taken(ServerIndex(at as u32))
        })
    }

    fn least(&mut self, proxy: &Proxy, backup: bool, request: &Request, take: Taker<'_>) -> Choice {
        let avoid = request.avoid.map(|index| index.0 as usize);
        let mut passed = std::mem::take(&mut self.passed);
        let mut chosen = None;
        let side = if backup {
            &mut self.backup
        } else {
            &mut self.active
        };
        let mut looks = 2 * side.heap.members();
        while let Some(at) = side.heap.first() {
            let server = &proxy.servers[at].state;
            let weight = self.known[at].weight.max(1);
            let (load, stored) = (load_of(server, weight), side.heap.key(at).0);
            // Reinserts the server with its current load and examines the first server again. The
            // stored load may be too low, because sessions that persistence assigned do not update
            // the heap.
            if load > stored && looks > 0 {
                looks -= 1;
                side.clock += 1;
                side.heap.set(at, (load, side.clock));
                continue;
            }
            if Some(at) == avoid {
                side.heap.remove(at);
                passed.push(at);
                continue;
            }
            match take_or_park(server, take) {
                Tried::Taken => {
                    chosen = Some(at);
                    break;
                }
                Tried::Passed => passed.push(at),
                Tried::Parked => {}
            }
            side.heap.remove(at);
        }
        if chosen.is_none() {
            chosen = only_the_avoided(proxy, avoid, &passed, take);
        }
        for at in passed.drain(..) {
            let key = side.heap.key(at);
            side.heap.set(at, key);
        }
        self.passed = passed;
        let Some(at) = chosen else {
            return Choice::Full(None);
        };
        self.place_by_load(at, &proxy.servers[at].state, self.known[at]);
        Choice::Taken(ServerIndex(at as u32))
    }

    fn least_of_few(
        &mut self,
        proxy: &Proxy,
        backup: bool,
        request: &Request,
        take: Taker<'_>,
    ) -> Choice {
        let side = if backup { &self.backup } else { &self.active };
        // Bit set of the tried servers, with room for FEW of them.
        let mut tried = 0u32;
        let mut avoided = None;
        loop {
            let mut best: Option<((u64, u64), usize)> = None;
            for (at, known) in self.known.iter().enumerate() {
                let out = known.weight == 0 || known.backup != backup || tried & 1 << at != 0;
                if out {
                    continue;
                }
                if request.avoid == Some(ServerIndex(at as u32)) {
                    avoided = Some(at);
                    continue;
                }
                let key = (
                    load_of(&proxy.servers[at].state, known.weight),
                    side.heap.key(at).1,
                );
                if best.is_none_or(|(least, _)| key < least) {
                    best = Some((key, at));
                }
            }
            let Some(at) = best.map(|(_, at)| at).or_else(|| avoided.take()) else {
                return Choice::Full(None);
            };
            if take(&proxy.servers[at].state) == Take::Taken {
                self.place_by_load(at, &proxy.servers[at].state, self.known[at]);
                return Choice::Taken(ServerIndex(at as u32));
            }
            tried |= 1 << at;
        }
    }

    fn first(&self, proxy: &Proxy, backup: bool, request: &Request, take: Taker<'_>) -> Choice {
        let candidates = || {
            self.by_id.iter().filter(|at| {
                let known = self.known[**at as usize];
                known.weight > 0 && known.backup == backup
            })
        };
        let avoided = |at: &u32| Some(ServerIndex(*at)) == request.avoid;
        for at in candidates()
            .filter(|at| !avoided(at))
            .chain(candidates().filter(|at| avoided(at)))
        {
            if take(&proxy.servers[*at as usize].state) == Take::Taken {
                return Choice::Taken(ServerIndex(*at));
            }
        }
        Choice::Full(None)
    }

    fn table(&mut self, backup: bool) -> &[u32] {
        let known = &self.known;
        self.table.get_or_insert_with(|| {
            let weights: Vec<(u32, u32)> = known
                .iter()
                .enumerate()
                .filter(|(_, known)| known.backup == backup)
                .map(|(at, known)| (at as u32, known.whole_weight))
                .collect();
            turns(&weights)
        })
    }

    fn static_turn(
        &mut self,
        proxy: &Proxy,
        backup: bool,
        request: &Request,
        take: Taker<'_>,
    ) -> Choice {
        let length = self.table(backup).len();
        // Wraps the position, because an earlier table may have been longer.
        let begin = self.cursor % length.max(1);
        let mut avoided = None;
        for step in 0..length {
            let place = (begin + step) % length;
            let at = self.table(backup)[place];
            if Some(ServerIndex(at)) == request.avoid {
                avoided = avoided.or(Some(at));
                continue;
            }
            if take(&proxy.servers[at as usize].state) == Take::Taken {
                self.cursor = (place + 1) % length;
                return Choice::Taken(ServerIndex(at));
            }
        }
        match avoided {
            Some(at) if take(&proxy.servers[at as usize].state) == Take::Taken => {
                Choice::Taken(ServerIndex(at))
            }
            _ => Choice::Full(None),
        }
    }

    fn ring(&mut self, backup: bool) -> &Ring {
        let (known, seeds) = (&self.known, &self.seeds);
        let made = self.ring.take_if(|ring| ring.is_of_backups() == backup);
        self.ring.insert(made.unwrap_or_else(|| {
            let of_side = known.iter().zip(seeds).zip(0..);
            let members = of_side
                .filter(|((known, _), _)| known.backup == backup)
                .map(|((known, seed), at)| RingMember {
                    at,
                    seed: *seed,
                    weight: known.weight,
                });
            Ring::new(members.collect(), backup)
        }))
    }

    fn by_key(
        &mut self,
        proxy: &Proxy,
        backup: bool,
        request: &Request,
        take: Taker<'_>,
    ) -> Choice {
        let Some(key) = request.key else {
            // Distributes requests without a key by turns over the servers.
            return self.static_turn(proxy, backup, request, take);
        };
        if is_ring(proxy) {
            self.ring(backup);
            let Some(ring) = &self.ring else {
                return Choice::None;
            };
            let room =
                (proxy.hash_balance_factor > 0).then(|| Room::new(proxy, ring.weights().max(1)));
            let overloaded = |at: u32| {
                let Some(room) = &room else { return false };
                let weight = self.known[at as usize].weight;
                let before = self.weights_before[at as usize];
                let current = proxy.servers[at as usize].state.traffic.sessions.current();
                u64::from(current) >= room.of(weight.into(), before.into())
            };
            let around = ring.from(key);
            return among(proxy, request, take, around, overloaded);
        }
        let table = self.table(backup);
        if table.is_empty() {
            return Choice::None;
        }
        let (before, behind) = table.split_at(key as usize % table.len());
        let around = behind.iter().chain(before).copied();
        among(proxy, request, take, around, |_| false)
    }

    fn drawn(
        &mut self,
        proxy: &Proxy,
        backup: bool,
        draws: u32,
        request: &Request,
        take: Taker<'_>,
    ) -> Choice {
        let mut seed = self.seed;
        let table = self.table(backup);
        if table.is_empty() {
            return Choice::None;
        }
        let mut best: Option<(u64, u32)> = None;
        // Repeats a draw that hits the server to avoid. The loop ends after 2 * DRAWS_MAX draws in
        // any case.
        let mut left = draws.clamp(1, DRAWS_MAX);
        for _ in 0..2 * DRAWS_MAX {
            if left == 0 {
                break;
            }
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let at = table[(mixed(seed) % table.len() as u64) as usize];
            if Some(ServerIndex(at)) == request.avoid {
                continue;
            }
            left -= 1;
            let server = &proxy.servers[at as usize].state;
            let load = load_of(server, server.weight().max(1));
            if best.is_none_or(|(least, _)| load < least) {
                best = Some((load, at));
            }
        }
        let at = best.map_or(table[0], |(_, at)| at);
        self.seed = seed;
        one(proxy, at, request.look, take)
    }
}

const DRAWS_MAX: u32 = 64;

/// Returns a pseudo-random number from a counter.
fn mixed(mut n: u64) -> u64 {
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn load_of(server: &ServerState, weight: u32) -> u64 {
    let sessions =
        u64::from(server.traffic.sessions.current()) + u64::from(server.queue.waiting.current());
    sessions * LOAD / u64::from(weight)
}

/// Takes a slot of the server at index `at`. Returns that server to wait for if it has no free slot
/// or if `look` is false.
fn one(proxy: &Proxy, at: u32, look: bool, take: Taker<'_>) -> Choice {
    if look && take(&proxy.servers[at as usize].state) == Take::Taken {
        Choice::Taken(ServerIndex(at))
    } else {
        Choice::Full(Some(ServerIndex(at)))
    }
}

/// Chooses the server of a hash key: the first one in the order of the ring or table, except one
/// to avoid or, if another has room, an overloaded one. `hash-preserve-affinity` decides when a
/// later server may be used.
fn among(
    proxy: &Proxy,
    request: &Request,
    take: Taker<'_>,
    around: impl Iterator<Item = u32> + Clone,
    overloaded: impl Fn(u32) -> bool,
) -> Choice {
    let fits = |at: &u32| Some(ServerIndex(*at)) != request.avoid;
    let first = around
        .clone()
        .take(LOOKS_MAX)
        .find(|at| fits(at) && !overloaded(*at))
        .or_else(|| around.clone().find(fits))
        .or_else(|| around.clone().next());
    let Some(first) = first else {
        return Choice::None;
    };
    let waits = |at: u32| match proxy.hash_affinity {
        HashAffinity::Always => true,
        HashAffinity::MaxConn => false,
        HashAffinity::MaxQueue => {
            let server = &proxy.servers[at as usize].state;
            let max = server.maxqueue();
            max == 0 || server.queue.waiting.current() < max
        }
    };
    if proxy.hash_affinity == HashAffinity::Always || !request.look {
        return one(proxy, first, request.look, take);
    }
    let mut last = None;
    for at in around.take(LOOKS_MAX).filter(fits) {
        // Skips a server that was just tried: a server often has several adjacent points on the
        // ring.
        if last.replace(at) == Some(at) {
            continue;
        }
        if take(&proxy.servers[at as usize].state) == Take::Taken {
            return Choice::Taken(ServerIndex(at));
        }
        if waits(at) {
            return Choice::Full(Some(ServerIndex(at)));
        }
    }
    Choice::Full(Some(ServerIndex(first)))
}

/// Maximum number of entries of a table or ring that one choice examines.
const LOOKS_MAX: usize = 4096;

fn is_ring(proxy: &Proxy) -> bool {
    proxy.hash.method == HashMethod::Consistent
}

fn seed(server: &Server) -> Seed {
    let set = server.state.address_override();
    let address = match set.as_ref().unwrap_or(&server.address) {
        ServerAddress::Inet(address) => Some((address.ip(), address.port())),
        ServerAddress::SamePort(ip, _) => Some((*ip, 0)),
        _ => None,
    };
    match (server.options.ring_key, address) {
        (None, _) => Seed::of_id(server.id),
        (Some(RingKey::Address), Some((ip, _))) => Seed::of_address(ip, None),
        (Some(RingKey::AddressAndPort), Some((ip, port))) => Seed::of_address(ip, Some(port)),
        (Some(_), _) => Seed::of_mixed_id(server.id),
    }
}

/// Identifies the servers of a configuration by their memory, which does not move while it exists.
fn layout(proxy: &Proxy) -> (usize, usize) {
    (proxy.servers.as_ptr() as usize, proxy.servers.len())
}

enum Tried {
    Taken,
    /// The server has no slot for this stream now, but stays in the heap.
    Passed,
    /// The server is full, and leaves the heap until a slot is released.
    Parked,
}

fn only_the_avoided(
    proxy: &Proxy,
    avoid: Option<usize>,
    passed: &[usize],
    take: Taker<'_>,
) -> Option<usize> {
    let at = avoid.filter(|at| passed.contains(at))?;
    (take(&proxy.servers[at].state) == Take::Taken).then_some(at)
}

/// Tries to take a slot of a server. A full server is removed from the heap so that the next
/// choices do not examine it; the end of one of its sessions returns it.
fn take_or_park(server: &Arc<ServerState>, take: Taker<'_>) -> Tried {
    match take(server) {
        Take::Taken => return Tried::Taken,
        Take::Busy => return Tried::Passed,
        Take::Full if server.limit_moves() => return Tried::Passed,
        Take::Full => {}
    }
    server.in_balance.interest.store(true, Ordering::SeqCst);
    // Tries once more, because a slot may have been released before the wish to be notified was
    // registered.
    match take(server) {
        Take::Taken => Tried::Taken,
        Take::Busy => Tried::Passed,
        Take::Full => Tried::Parked,
    }
}
