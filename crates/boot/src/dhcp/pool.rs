//! Who may use which address of a range: a value without a clock, so that histories of it can be
//! simulated.
//!
//! A range has parts, one for each node, and a node gives addresses only of the parts that it holds
//! (the cluster grants them, one holder at a time). Of a part that another node held before, it does
//! not know every lease: an address whose user is not known is given to nobody else until the longest
//! lease that the other node may have given has ended, and to the client that says it uses it at
//! once. Times are those of this machine alone, and a restart begins each lease again: an address is
//! never free too early, whatever the clocks do.

use crate::mac::Mac;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;

/// For how long an offer is kept for the client, milliseconds.
const OFFER_MS: u64 = 30_000;
/// For how long an address is left alone that somebody else uses, milliseconds.
const DECLINED_MS: u64 = 600_000;
/// Added to a lease: the client counts from when it sent its request, and slower or faster than this
/// machine by up to 500 ppm in 24 days.
const MARGIN_MS: u64 = 1_100_000;
/// Addresses of a range.
pub const RANGE_MAX: u32 = 1 << 16;

/// The addresses of a range.
#[derive(Clone, Debug)]
pub struct Pool {
    range: Range,
    lease_ms: u64,
    /// Parts that this node holds.
    held: Vec<bool>,
    /// Addresses that are given to nobody: of machines of the file, and of nodes.
    reserved: HashSet<Ipv4Addr>,
    uses: BTreeMap<Ipv4Addr, Use>,
    by_mac: HashMap<Mac, Ipv4Addr>,
    /// When a use ends.
    ends: BTreeSet<(u64, Ipv4Addr)>,
    /// Addresses of held parts that nobody uses.
    free: BTreeSet<Ipv4Addr>,
    /// What the next start has to know.
    changes: Vec<Change>,
}

/// A range, and in how many parts it is divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// The first address.
    pub first: Ipv4Addr,
    /// The last one.
    pub last: Ipv4Addr,
    /// How many parts there are.
    pub parts: u32,
}

impl Range {
    /// How many addresses it has.
    pub fn len(self) -> u32 {
        (self.last.to_bits().saturating_sub(self.first.to_bits()))
            .saturating_add(1)
            .min(RANGE_MAX)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.first > self.last
    }

    /// Whether an address is in it.
    pub fn has(self, address: Ipv4Addr) -> bool {
        let offset = address.to_bits().checked_sub(self.first.to_bits());
        offset.is_some_and(|offset| offset < self.len())
    }

    /// The part of an address: neighbours belong together.
    pub fn part(self, address: Ipv4Addr) -> usize {
        let offset = u64::from(address.to_bits().saturating_sub(self.first.to_bits()));
        let part = offset * u64::from(self.parts.max(1)) / u64::from(self.len().max(1));
        usize::try_from(part).unwrap_or(0)
    }

    fn all(self) -> impl Iterator<Item = Ipv4Addr> {
        (0..self.len()).map(move |offset| Ipv4Addr::from_bits(self.first.to_bits() + offset))
    }
}

/// The use of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    /// It was offered to a client.
    Offered { mac: Mac, until_ms: u64 },
    /// A client has it.
    Leased { mac: Mac, until_ms: u64 },
    /// Somebody else uses it.
    Declined { until_ms: u64 },
    /// Somebody may have got it from another node.
    Unclear { until_ms: u64 },
}

impl Use {
    fn until_ms(self) -> u64 {
        match self {
            Use::Offered { until_ms, .. }
            | Use::Leased { until_ms, .. }
            | Use::Declined { until_ms }
            | Use::Unclear { until_ms } => until_ms,
        }
    }

    fn mac(self) -> Option<Mac> {
        match self {
            Use::Offered { mac, .. } | Use::Leased { mac, .. } => Some(mac),
            Use::Declined { .. } | Use::Unclear { .. } => None,
        }
    }
}

/// What the next start has to know: who has an address, or that nobody has it any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// The address.
    pub address: Ipv4Addr,
    /// Who has it.
    pub mac: Option<Mac>,
}

/// Whether a client may have an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// Yes.
    Yes,
    /// Somebody else has it, or it is not for clients.
    No,
    /// Another node has to say.
    NotMine,
}

/// How many addresses are in which state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// All of the range.
    pub all: u64,
    /// With a lease.
    pub leased: u64,
    /// That a new client can get from this node.
    pub free: u64,
    /// That somebody else uses.
    pub declined: u64,
}

impl Pool {
    /// A range of which nothing is held yet. `known`: the leases before the start, which begin again.
    pub fn new(
        range: Range,
        lease_s: u32,
        reserved: HashSet<Ipv4Addr>,
        known: impl IntoIterator<Item = (Ipv4Addr, Mac)>,
        now_ms: u64,
    ) -> Pool {
        let mut pool = Pool {
            range,
            lease_ms: u64::from(lease_s) * 1000,
            held: vec![false; usize::try_from(range.parts.max(1)).unwrap_or(1)],
            reserved,
            uses: BTreeMap::new(),
            by_mac: HashMap::new(),
            ends: BTreeSet::new(),
            free: BTreeSet::new(),
            changes: Vec::new(),
        };
        let until_ms = pool.end_of_lease(now_ms);
        for (address, mac) in known {
            if pool.is_for_clients(address) && !pool.by_mac.contains_key(&mac) {
                pool.set(address, Use::Leased { mac, until_ms });
            }
        }
        pool.changes.clear();
        pool
    }

    /// Whether an address may be given to anybody.
    fn is_for_clients(&self, address: Ipv4Addr) -> bool {
        self.range.has(address) && !self.reserved.contains(&address)
    }

    fn end_of_lease(&self, now_ms: u64) -> u64 {
        now_ms
            .saturating_add(self.lease_ms)
            .saturating_add(MARGIN_MS)
    }

    /// Whether this node gives an address.
    pub fn holds(&self, address: Ipv4Addr) -> bool {
        let part = self.range.part(address);
        self.range.has(address) && self.held.get(part).copied().unwrap_or(false)
    }

    fn set(&mut self, address: Ipv4Addr, new: Use) {
        self.clear(address);
        self.free.remove(&address);
        self.ends.insert((new.until_ms(), address));
        if let Some(mac) = new.mac() {
            self.by_mac.insert(mac, address);
        }
        self.uses.insert(address, new);
    }

    fn clear(&mut self, address: Ipv4Addr) {
        if let Some(old) = self.uses.remove(&address) {
            self.ends.remove(&(old.until_ms(), address));
            if let Some(mac) = old.mac() {
                self.by_mac.remove(&mac);
            }
        }
    }

    fn release_address(&mut self, address: Ipv4Addr) {
        let was_leased = matches!(self.uses.get(&address), Some(Use::Leased { .. }));
        self.clear(address);
        if self.is_for_clients(address) && self.holds(address) {
            self.free.insert(address);
        }
        if was_leased {
            self.changes.push(Change { address, mac: None });
        }
    }

    /// Ends what has ended. To be called before anything else at a time.
    pub fn expire(&mut self, now_ms: u64) {
        while let Some((until_ms, address)) = self.ends.first().copied() {
            if until_ms > now_ms {
                return;
            }
            self.release_address(address);
        }
    }

    /// When something ends next.
    pub fn next_end_ms(&self) -> Option<u64> {
        self.ends.first().map(|(until_ms, _)| *until_ms)
    }

    /// This node holds a part from now on. `knows`: it knows every lease of it that may still hold.
    pub fn take(&mut self, part: usize, knows: bool, now_ms: u64) {
        match self.held.get_mut(part) {
            Some(held) if !*held => *held = true,
            _ => return,
        }
        let until_ms = self.end_of_lease(now_ms);
        let all: Vec<Ipv4Addr> = self
            .range
            .all()
            .filter(|one| self.range.part(*one) == part)
            .collect();
        for address in all
            .into_iter()
            .filter(|one| self.is_for_clients(*one))
            .collect::<Vec<_>>()
        {
            match self.uses.get(&address) {
                // Its lease may have been renewed by the node before.
                Some(Use::Leased { mac, .. }) if !knows => {
                    let mac = *mac;
                    self.set(address, Use::Leased { mac, until_ms });
                }
                Some(_) if knows => {}
                None if knows => {
                    self.free.insert(address);
                }
                _ => self.set(address, Use::Unclear { until_ms }),
            }
        }
    }

    /// Another node may hold a part from now on.
    pub fn give_up(&mut self, part: usize) {
        if let Some(held) = self.held.get_mut(part) {
            *held = false;
        }
        let range = self.range;
        self.free.retain(|address| range.part(*address) != part);
        // What was offered may be given by the next holder.
        let offered = self
            .uses
            .iter()
            .filter(|(_, one)| matches!(one, Use::Offered { .. }));
        let offered = offered
            .map(|(address, _)| *address)
            .filter(|one| range.part(*one) == part);
        for address in offered.collect::<Vec<_>>() {
            self.clear(address);
        }
    }

    /// An address for a client that has none, kept for it for a while. `spare`: how many free
    /// addresses are left for others.
    pub fn offer(
        &mut self,
        mac: Mac,
        wants: Option<Ipv4Addr>,
        spare: usize,
        now_ms: u64,
    ) -> Option<Ipv4Addr> {
        if let Some(address) = self.by_mac.get(&mac).copied() {
            if self.holds(address) {
                if let Some(Use::Offered { .. }) = self.uses.get(&address) {
                    let until_ms = now_ms.saturating_add(OFFER_MS);
                    self.set(address, Use::Offered { mac, until_ms });
                }
                return Some(address);
            }
            // The node that holds it answers.
            return None;
        }
        if self.free.len() <= spare {
            return None;
        }
        let wanted = wants.filter(|address| self.free.contains(address));
        let address = wanted.or_else(|| self.near(mac))?;
        let until_ms = now_ms.saturating_add(OFFER_MS);
        self.set(address, Use::Offered { mac, until_ms });
        Some(address)
    }

    /// A free address: the same for a card as long as it stays free, so that a machine mostly gets
    /// the one that it had.
    fn near(&self, mac: Mac) -> Option<Ipv4Addr> {
        // FNV-1a.
        let hash = mac.0.iter().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
        let start =
            Ipv4Addr::from_bits(self.range.first.to_bits() + hash % self.range.len().max(1));
        let behind = self.free.range(start..).next();
        behind.or_else(|| self.free.first()).copied()
    }

    /// A client has taken the offer of another server.
    pub fn withdraw(&mut self, mac: Mac) {
        if let Some(address) = self.by_mac.get(&mac).copied()
            && let Some(Use::Offered { .. }) = self.uses.get(&address)
        {
            self.release_address(address);
        }
    }

    /// Gives an address to a client, or says why not.
    pub fn claim(&mut self, mac: Mac, address: Ipv4Addr, now_ms: u64) -> Claim {
        if !self.is_for_clients(address) {
            return Claim::No;
        }
        if !self.holds(address) {
            return Claim::NotMine;
        }
        let until_ms = self.end_of_lease(now_ms);
        let before = self.uses.get(&address).copied();
        match before {
            Some(Use::Declined { .. }) => return Claim::No,
            Some(Use::Offered { mac: other, .. } | Use::Leased { mac: other, .. })
                if other != mac =>
            {
                return Claim::No;
            }
            _ => {}
        }
        if let Some(other) = self
            .by_mac
            .get(&mac)
            .copied()
            .filter(|other| *other != address)
        {
            match self.uses.get(&other) {
                // A client has one address.
                Some(Use::Leased { .. }) if !self.holds(other) => return Claim::NotMine,
                _ => self.release_address(other),
            }
        }
        self.set(address, Use::Leased { mac, until_ms });
        if !matches!(before, Some(Use::Leased { .. })) {
            let mac = Some(mac);
            self.changes.push(Change { address, mac });
        }
        Claim::Yes
    }

    /// A client gives its address back.
    pub fn release(&mut self, mac: Mac, address: Ipv4Addr) -> bool {
        let is_its = self
            .uses
            .get(&address)
            .is_some_and(|one| one.mac() == Some(mac));
        if is_its && self.holds(address) {
            self.release_address(address);
        }
        is_its
    }

    /// Somebody uses an address who did not get it here.
    pub fn decline(&mut self, address: Ipv4Addr, now_ms: u64) {
        if self.is_for_clients(address) && self.holds(address) {
            self.release_address(address);
            let until_ms = now_ms.saturating_add(DECLINED_MS);
            self.set(address, Use::Declined { until_ms });
        }
    }

    /// The address that a client has or was offered.
    pub fn of(&self, mac: Mac) -> Option<Ipv4Addr> {
        self.by_mac.get(&mac).copied()
    }

    /// Whether leases of a part may hold that this node does not know.
    pub fn is_unclear(&self, part: usize) -> bool {
        let mut unclear = self
            .uses
            .iter()
            .filter(|(_, one)| matches!(one, Use::Unclear { .. }));
        unclear.any(|(address, _)| self.range.part(*address) == part)
    }

    /// How many addresses a new client can get from this node.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Takes out what the next start has to know.
    pub fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// All leases.
    pub fn leases(&self) -> impl Iterator<Item = (Ipv4Addr, Mac)> {
        self.uses.iter().filter_map(|(address, one)| match one {
            Use::Leased { mac, .. } => Some((*address, *mac)),
            _ => None,
        })
    }

    /// How many addresses are in which state.
    pub fn count(&self) -> Count {
        let of = |is: fn(&Use) -> bool| self.uses.values().filter(|one| is(one)).count() as u64;
        let reserved = self
            .reserved
            .iter()
            .filter(|one| self.range.has(**one))
            .count() as u64;
        Count {
            all: u64::from(self.range.len()).saturating_sub(reserved),
            leased: of(|one| matches!(one, Use::Leased { .. })),
            free: self.free.len() as u64,
            declined: of(|one| matches!(one, Use::Declined { .. })),
        }
    }
}
