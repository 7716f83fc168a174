//! Tracks which client may use which address of one range, and assigns addresses to clients. The
//! pool is a value without a clock, so that simulations can replay its histories.
//!
//! A range is divided into parts, one for each node. A node assigns addresses only from the parts
//! that it holds; the cluster grants each part to one holder at a time. After a part moves, its
//! new holder may not know every lease of it. The holder withholds such an address until the
//! longest lease that the other node may have given has ended. Only the client that renews the
//! address gets it earlier. An address with this state (unclear) is stored on disk like a lease.
//! All times are those of this machine, and a restart begins each lease again: no address becomes
//! free too early, whatever the clocks do.
//!
//! A packet may be late or be duplicated. A released address therefore stays reserved for its
//! client for as long as a packet may live. A RELEASE that arrives right after the client got the
//! same address again is ignored.

pub use super::holder::{Holder, HolderChange};
pub use super::range::{Address, Range};
use super::uses::AddressUse;
use crate::mac::{Mac, mark};
pub use adopting::AdoptedKnowledge;
pub use count::AddressCount;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
pub use superseded::Superseded;

/// Time for which an offered address is reserved for the client, milliseconds.
const OFFER_MS: u64 = 30_000;
/// Quarantine of a declined address (RFC 2131, 3.1, 5), milliseconds.
pub(super) const DECLINED_MS: u64 = 600_000;
/// Share of a range (one in so many) that may be declined at one time without proof of a conflict.
const DECLINED_SHARE: usize = 8;
/// Number of addresses of a small range that may be declined so, even if it exceeds that share.
const DECLINED_LEAST: usize = 4;
/// Longest lifetime of a packet in the network, milliseconds. A client may also count its lease
/// from the arrival of the ACK, and sends the last request at most so long before.
const PACKET_MS: u64 = 60_000;
/// Fraction of a lease (one in so many) that is added to it: the clocks of the client and of this
/// machine may each be wrong by 500 ppm.
const DRIFT: u64 = 900;
/// Addresses of a range, and the client of each. The node assigns only addresses of the parts that
/// it holds ([`Pool::take`], [`Pool::give_up`]). [`Pool::expire`] is called before anything else at
/// a given time. All times are milliseconds of one clock.
#[derive(Clone, Debug)]
pub struct Pool<A = Ipv4Addr> {
    range: Range<A>,
    lease_ms: u64,
    /// Longest lease that may have been given before, milliseconds.
    longest_ms: u64,
    /// Parts that this node holds.
    held: Vec<bool>,
    /// Addresses that no client gets: those of nodes, and those of machines in the configuration.
    reserved: HashSet<A>,
    /// Addresses that no new client gets, because other sections name them. An existing lease
    /// stays.
    unoffered: HashSet<A>,
    uses: BTreeMap<A, AddressUse>,
    /// Leases of addresses that are no longer for clients.
    superseded: BTreeMap<A, Superseded>,
    by_mac: HashMap<Mac, A>,
    /// Expiry times of all uses, earliest first.
    ends: BTreeSet<(u64, A)>,
    /// Unused addresses of held parts.
    free: BTreeSet<A>,
    /// Parts whose withheld addresses are known to another node that is up.
    known_elsewhere: BTreeSet<usize>,
    /// Clients that have an address reserved: machines of the configuration.
    preferred: HashSet<Mac>,
    /// Number of preferred clients that have an address.
    served: usize,
    /// Changes that are not stored yet; the next start needs them.
    changes: Vec<HolderChange<A>>,
}

/// Knowledge of a node about one address of a part that it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressKnowledge {
    /// The state before the part was taken is still valid.
    Known,
    /// A client that no node knows may have the address.
    Unclear,
    /// A client may have the address from the previous holder of the part, which knows the lease.
    Before,
    /// The holder that another node has recorded.
    Is(Holder),
    /// Both this node and another one have a record. Each may have assigned the address once.
    Also(Holder),
}

/// State of the client that sends a REQUEST (RFC 2131, 4.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientRequestState {
    /// SELECTING: the client accepts the offer of this node.
    Selecting,
    /// INIT-REBOOT: the client has restarted, and remembers the address.
    Reboot,
    /// RENEWING or REBINDING: the client uses the address, and wants to keep it.
    Renew,
    /// SELECTING: the client accepts the offer of a node that has gone.
    Elsewhere,
}

impl ClientRequestState {
    /// Returns whether the client may use the address already.
    fn may_use(self) -> bool {
        matches!(
            self,
            ClientRequestState::Renew | ClientRequestState::Elsewhere
        )
    }
}

/// Reason for which a client gets no offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OfferError {
    /// Another node has the lease of the client, and responds.
    NotMine,
    /// The free addresses are reserved for machines of the configuration.
    Kept,
    /// The held parts have no free address.
    Full,
}

/// Result of a client's claim to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressClaimResult {
    /// The client may have the address.
    Yes,
    /// Another client has the address, the client has another address, or the address is not for
    /// clients.
    No,
    /// Another node holds the part and has to decide.
    NotMine,
    /// Another client may have the address; this node does not know.
    Unclear,
}

/// Returns the time by which a lease of this length that begins now has ended, whatever the clock
/// of its client.
pub(crate) fn end_of(lease_ms: u64, now_ms: u64) -> u64 {
    now_ms
        .saturating_add(lease_ms)
        .saturating_add(lease_ms / DRIFT)
        .saturating_add(PACKET_MS)
}

impl<A: Address> Pool<A> {
    /// Creates the pool of a range of which no part is held yet. `known`: leases from before the
    /// start, which begin again. `lease_s`: length of new leases, and `longest_s`: longest one of
    /// those, seconds.
    pub fn new(
        range: Range<A>,
        lease_s: u32,
        longest_s: u32,
        reserved: HashSet<A>,
        known: impl IntoIterator<Item = (A, Holder)>,
        now_ms: u64,
    ) -> Pool<A> {
        let mut pool = Pool {
            range,
            lease_ms: u64::from(lease_s) * 1000,
            longest_ms: u64::from(lease_s.max(longest_s)) * 1000,
            held: vec![false; usize::try_from(range.parts.max(1)).unwrap_or(1)],
            reserved,
            unoffered: HashSet::new(),
            uses: BTreeMap::new(),
            superseded: BTreeMap::new(),
            by_mac: HashMap::new(),
            ends: BTreeSet::new(),
            free: BTreeSet::new(),
            known_elsewhere: BTreeSet::new(),
            preferred: HashSet::new(),
            served: 0,
            changes: Vec::new(),
        };
        let until_ms = end_of(pool.longest_ms, now_ms);
        for (address, holder) in known {
            if !pool.is_for_clients(address) {
                pool.supersede(address, holder, until_ms);
                continue;
            }
            pool.know(address, holder, None, until_ms, now_ms);
        }
        pool.changes.clear();
        pool
    }

    /// Excludes these addresses from offers to new clients. Must be called before any part is
    /// taken.
    pub fn set_unoffered(&mut self, addresses: HashSet<A>) {
        self.unoffered = addresses;
    }

    /// Makes an unused address available for offers.
    fn set_free(&mut self, address: A) {
        if !self.unoffered.contains(&address) {
            self.free.insert(address);
        }
    }

    /// Sets the longest lease that may have been given before, seconds. Leases that are learned
    /// from now on are assumed to be that long.
    pub fn set_longest(&mut self, longest_s: u32) {
        self.longest_ms = self.longest_ms.max(u64::from(longest_s) * 1000);
    }

    /// Copies the expiry times of leases from the pool before: a lease ends when this node
    /// promised, or when a lease that begins now would end, whichever is later. A lease whose
    /// holder has changed since keeps its later end, because its client may have been promised
    /// more.
    pub fn keep_ends(&mut self, before: &Pool<A>, now_ms: u64) {
        let least_ms = end_of(self.lease_ms, now_ms);
        self.keep_superseded(before, now_ms);
        for (address, old) in &before.uses {
            let until_ms = old.until_ms().max(least_ms);
            let is_same = |one: &&AddressUse| one.holder() == old.holder();
            match self.uses.get(address).filter(is_same).copied() {
                Some(AddressUse::Leased { mac, since_ms, .. }) => {
                    self.set(*address, self.lease(mac, until_ms, since_ms));
                }
                Some(AddressUse::Unclear {
                    user, is_before, ..
                }) => {
                    let user = user.or(old.user());
                    self.set(*address, AddressUse::unclear(until_ms, user, is_before));
                }
                _ => {}
            }
        }
    }

    /// Returns whether an address of the range may be assigned to clients.
    fn is_for_clients(&self, address: A) -> bool {
        self.range.has(address) && !self.reserved.contains(&address)
    }

    /// Builds the use of an address for a lease that was known before.
    fn lease(&self, mac: Mac, until_ms: u64, since_ms: u64) -> AddressUse {
        AddressUse::Leased {
            mac,
            until_ms,
            since_ms,
            is_again: true,
            asked_ms: None,
        }
    }

    /// Reserves a free address for each of these clients that has none, however many others ask.
    pub fn prefer(&mut self, macs: impl IntoIterator<Item = Mac>) {
        self.preferred = macs.into_iter().collect();
        let has = |mac: &&Mac| self.by_mac.contains_key(*mac);
        self.served = self.preferred.iter().filter(has).count();
    }

    /// Checks whether a client may get one of the free addresses, given those reserved for
    /// machines of the configuration.
    fn has_room(&self, mac: Mac) -> Result<(), OfferError> {
        let kept = if self.preferred.contains(&mac) {
            0
        } else {
            self.preferred.len().saturating_sub(self.served)
        };
        match self.free.len() {
            0 => Err(OfferError::Full),
            free if free <= kept => Err(OfferError::Kept),
            _ => Ok(()),
        }
    }

    /// Returns whether the range has a single part: no other node assigns its addresses.
    pub fn is_whole(&self) -> bool {
        self.held.len() == 1
    }

    /// Returns whether this node holds the part of an address.
    pub fn holds(&self, address: A) -> bool {
        let part = self.range.part(address);
        self.range.has(address) && self.held.get(part).copied().unwrap_or(false)
    }

    fn holder(&self, address: A) -> Holder {
        let one = self.uses.get(&address);
        one.map_or(Holder::Nobody, |one| one.holder())
    }

    /// Records a change of the holder of an address for the disk, if the holder differs from
    /// `before`.
    fn note(&mut self, address: A, before: Holder) {
        let holder = self.holder(address);
        if holder != before {
            self.changes.push(HolderChange { address, holder });
        }
    }

    fn set(&mut self, address: A, new: AddressUse) {
        let before = self.holder(address);
        self.clear(address);
        self.free.remove(&address);
        self.ends.insert((new.until_ms(), address));
        if let Some(mac) = new.mac()
            && self.by_mac.insert(mac, address).is_none()
            && self.preferred.contains(&mac)
        {
            self.served += 1;
        }
        self.uses.insert(address, new);
        self.note(address, before);
    }

    fn clear(&mut self, address: A) {
        if let Some(old) = self.uses.remove(&address) {
            self.ends.remove(&(old.until_ms(), address));
            if let Some(mac) = old.mac()
                && self.by_mac.remove(&mac).is_some()
                && self.preferred.contains(&mac)
            {
                self.served -= 1;
            }
        }
    }

    fn end(&mut self, address: A) {
        let before = self.holder(address);
        self.clear(address);
        if self.is_for_clients(address) && self.holds(address) {
            self.set_free(address);
        }
        self.note(address, before);
    }

    /// Ends the uses that have expired. Must be called before anything else at a given time.
    pub fn expire(&mut self, now_ms: u64) {
        self.expire_superseded(now_ms);
        while let Some((until_ms, address)) = self.ends.first().copied() {
            if until_ms > now_ms {
                return;
            }
            self.end(address);
        }
    }

    /// Returns the time at which the next use or superseded lease ends.
    pub fn next_end_ms(&self) -> Option<u64> {
        let first = self.ends.first().map(|(until_ms, _)| *until_ms);
        first.into_iter().chain(self.next_superseded_ms()).min()
    }

    /// Takes a part: this node holds it from now on. `knows`: this node knows every lease of the
    /// part that may still be in force, because no other node has held the part since this one
    /// did.
    pub fn take(&mut self, part: usize, knows: bool, now_ms: u64) {
        // Marks every address as unclear, also one with a known lease: the previous holder may have
        // assigned the address to another client.
        let fate = if knows {
            AddressKnowledge::Known
        } else {
            AddressKnowledge::Unclear
        };
        self.take_as(part, now_ms, |_| fate);
    }

    /// Takes a part: this node holds it from now on. `fate`: returns what is known of an address.
    pub fn take_as(&mut self, part: usize, now_ms: u64, fate: impl Fn(A) -> AddressKnowledge) {
        match self.held.get_mut(part) {
            Some(held) if !*held => *held = true,
            _ => return,
        }
        let until_ms = end_of(self.longest_ms, now_ms);
        let range = self.range;
        let all = range.all().filter(|one| range.part(*one) == part);
        for address in all
            .filter(|one| !self.reserved.contains(one))
            .collect::<Vec<_>>()
        {
            let fate = fate(address);
            // Names no user if two records name clients: either may be the one that uses the
            // address.
            let is_of_two = matches!(fate, AddressKnowledge::Also(holder) if !matches!(holder, Holder::Before(_)));
            let user = self.user(address).filter(|_| !is_of_two);
            match self.combined(address, fate) {
                AddressKnowledge::Known if self.uses.contains_key(&address) => {}
                AddressKnowledge::Known => self.set_free(address),
                fate @ (AddressKnowledge::Unclear | AddressKnowledge::Before) => {
                    let is_before = fate == AddressKnowledge::Before;
                    self.set(address, AddressUse::unclear(until_ms, user, is_before));
                }
                AddressKnowledge::Is(holder) | AddressKnowledge::Also(holder) => {
                    self.end(address);
                    self.learn(address, holder, user, now_ms);
                }
            }
        }
    }

    /// Combines what this node and another one know of an address.
    fn combined(&self, address: A, fate: AddressKnowledge) -> AddressKnowledge {
        let AddressKnowledge::Also(holder) = fate else {
            return fate;
        };
        match self.holder(address) {
            own if own == holder || holder == Holder::Nobody => AddressKnowledge::Known,
            Holder::Nobody => AddressKnowledge::Is(holder),
            // Nobody knows which of the two leases is the later one.
            _ => AddressKnowledge::Unclear,
        }
    }

    /// Returns the client that this node knows to use an address.
    fn user(&self, address: A) -> Option<Mac> {
        let other = self.uses.get(&address)?.user();
        self.client(address).or(other)
    }

    /// Records an address as leased or unclear, as another node knew it; the lease begins again.
    /// `user`: the client that had the address as far as this node knew.
    fn learn(&mut self, address: A, holder: Holder, user: Option<Mac>, now_ms: u64) {
        let until_ms = end_of(self.longest_ms, now_ms);
        if let Holder::Client(mac) = holder {
            // The client took another address, so the offer of this node is void.
            self.withdraw(mac);
        }
        self.know(address, holder, user, until_ms, now_ms);
    }

    /// Records an address that nobody has as leased or unclear.
    fn know(&mut self, address: A, holder: Holder, user: Option<Mac>, until_ms: u64, now_ms: u64) {
        let new = match holder {
            Holder::Client(mac) if !self.by_mac.contains_key(&mac) => {
                self.lease(mac, until_ms, now_ms)
            }
            // Makes the address unclear: the client has a lease of another address, too, and no
            // node knows which of the two it uses. Only this client may continue with the address.
            Holder::Client(mac) => AddressUse::unclear(until_ms, Some(mac), false),
            Holder::Unclear(its) => AddressUse::unclear(until_ms, user.or(its), false),
            Holder::Before(its) => AddressUse::unclear(until_ms, user.or(its), true),
            Holder::Nobody => return,
        };
        self.set(address, new);
    }

    /// Gives up a part: another node may hold it from now on.
    pub fn give_up(&mut self, part: usize) {
        if let Some(held) = self.held.get_mut(part) {
            *held = false;
        }
        let range = self.range;
        self.free.retain(|address| range.part(*address) != part);
        // The next holder may assign offered addresses, so the offers of this node end.
        let offered = self
            .uses
            .iter()
            .filter(|(_, one)| matches!(one, AddressUse::Offered { .. }));
        let offered = offered
            .map(|(address, _)| *address)
            .filter(|one| range.part(*one) == part);
        for address in offered.collect::<Vec<_>>() {
            self.clear(address);
        }
    }

    /// Offers an address to a client and reserves it for a while.
    ///
    /// # Errors
    ///
    /// The reason for which there is no address for the client.
    pub fn offer(&mut self, mac: Mac, wants: Option<A>, now_ms: u64) -> Result<A, OfferError> {
        let (address, asked_ms) = match self.by_mac.get(&mac).copied() {
            Some(address) if !self.holds(address) => return Err(OfferError::NotMine),
            Some(address) => match self.uses.get(&address) {
                Some(AddressUse::Offered { asked_ms, .. }) => (address, *asked_ms),
                _ => return Ok(address),
            },
            None => {
                self.has_room(mac)?;
                let wanted = wants.filter(|address| self.free.contains(address));
                let address = wanted.or_else(|| self.near(mac)).ok_or(OfferError::Full)?;
                (address, None)
            }
        };
        let offered = AddressUse::Offered {
            mac,
            until_ms: now_ms.saturating_add(OFFER_MS),
            asked_ms,
        };
        self.set(address, offered);
        Ok(address)
    }

    /// Records that this node sends an ARP request for an address. Counts only for an address that
    /// is offered, or that was leased less than [`PACKET_MS`] ago after a request during its offer.
    pub fn asks(&mut self, address: A, now_ms: u64) {
        match self.uses.get_mut(&address) {
            Some(AddressUse::Offered { asked_ms, .. }) => *asked_ms = Some(now_ms),
            Some(AddressUse::Leased {
                asked_ms, since_ms, ..
            }) if now_ms < since_ms.saturating_add(PACKET_MS) => {
                *asked_ms = asked_ms.and(Some(now_ms));
            }
            _ => {}
        }
    }

    /// Returns a free address derived from the MAC address: the same for a client as long as it
    /// stays free, so that a machine mostly gets the one that it had.
    fn near(&self, mac: Mac) -> Option<A> {
        let hash = mark(mac);
        let offset = hash % self.range.len().max(1);
        let start = A::of_bits(self.range.first.bits() + u128::from(offset));
        let behind = self.free.range(start..).next();
        behind.or_else(|| self.free.first()).copied()
    }

    /// Withdraws the offer to a client that accepted the offer of another server.
    pub fn withdraw(&mut self, mac: Mac) {
        if let Some(address) = self.by_mac.get(&mac).copied()
            && let Some(AddressUse::Offered { .. }) = self.uses.get(&address)
        {
            self.end(address);
        }
    }

    /// Returns whether this node holds an address that may belong to a client other than the given
    /// one, which says that it uses the address.
    pub fn may_be_anothers(&self, mac: Mac, address: A) -> bool {
        let one = self.uses.get(&address).filter(|_| self.holds(address));
        matches!(one, Some(AddressUse::Unclear { user, .. }) if *user != Some(mac))
    }

    /// Returns whether this node assigns an address that no client has or was offered: a lease of
    /// it would be a first one.
    pub fn is_unused(&self, address: A) -> bool {
        self.is_for_clients(address) && self.holds(address) && !self.uses.contains_key(&address)
    }

    /// Returns whether there is a record of a client: a lease, an offer, a superseded lease of this
    /// address, or knowledge that the client uses this address.
    pub fn has_record(&self, mac: Mac, address: A) -> bool {
        let user = self.uses.get(&address).and_then(|one| one.user());
        self.by_mac.contains_key(&mac) || user == Some(mac) || self.had_lease(mac, address)
    }

    /// Returns whether an address is not for this client, because a node or another machine has
    /// it.
    pub fn is_anothers(&self, mac: Mac, address: A) -> bool {
        let other = self.client(address).is_some_and(|client| client != mac);
        self.reserved.contains(&address) || other
    }

    /// Assigns an address to a client, or returns why not.
    pub fn claim(
        &mut self,
        mac: Mac,
        address: A,
        how: ClientRequestState,
        now_ms: u64,
    ) -> AddressClaimResult {
        if !self.is_for_clients(address) {
            self.end_superseded(mac, address, now_ms);
            return AddressClaimResult::No;
        }
        if !self.holds(address) {
            return AddressClaimResult::NotMine;
        }
        let before = self.uses.get(&address).copied();
        match (before, how) {
            // The client continues with the address: the DECLINE was not its own, or came late.
            (Some(AddressUse::Declined { by: Some(by), .. }), _) if by == mac && how.may_use() => {}
            (Some(AddressUse::Declined { .. }), _) => return AddressClaimResult::No,
            // Another client may have got the address since this client last used it.
            (Some(AddressUse::Unclear { .. }), ClientRequestState::Reboot) => {
                return AddressClaimResult::Unclear;
            }
            (Some(AddressUse::Unclear { .. }), ClientRequestState::Selecting) => {
                return AddressClaimResult::No;
            }
            (Some(one), _) if one.mac().is_some_and(|other| other != mac) => {
                return AddressClaimResult::No;
            }
            (None, _) if self.has_room(mac).is_err() => return AddressClaimResult::No,
            _ => {}
        }
        if let Some(refused) = self.leave_other(mac, address, how) {
            return refused;
        }
        let new_ms = end_of(self.lease_ms, now_ms);
        let until_ms = match before {
            // The client may not receive the ACK that shortens its lease, so the longer one still
            // counts.
            Some(
                AddressUse::Leased { until_ms, .. }
                | AddressUse::Unclear { until_ms, .. }
                | AddressUse::Declined { until_ms, .. },
            ) => until_ms.max(new_ms),
            _ => new_ms,
        };
        let (since_ms, is_again) = match before {
            Some(AddressUse::Leased {
                since_ms, is_again, ..
            }) if how.may_use() => (since_ms, is_again),
            Some(AddressUse::Leased { .. } | AddressUse::Released { .. }) => (now_ms, true),
            _ => (now_ms, false),
        };
        let lease = AddressUse::Leased {
            mac,
            until_ms,
            since_ms,
            is_again,
            // The client of a lease uses the address already: ARP replies of others do not count.
            asked_ms: match before {
                Some(AddressUse::Offered { asked_ms, .. }) => asked_ms,
                _ => None,
            },
        };
        self.set(address, lease);
        AddressClaimResult::Yes
    }

    /// Releases another address that the client has or was offered, or refuses a second one.
    fn leave_other(
        &mut self,
        mac: Mac,
        address: A,
        how: ClientRequestState,
    ) -> Option<AddressClaimResult> {
        let other = self
            .by_mac
            .get(&mac)
            .copied()
            .filter(|other| *other != address)?;
        let is_unclear = matches!(self.uses.get(&address), Some(AddressUse::Unclear { .. }));
        match self.uses.get(&other).copied()? {
            AddressUse::Offered { .. } => {
                self.end(other);
                None
            }
            // Lets the client have the address that it says it uses. An old packet would say the
            // same, so its other address stays reserved for as long as it may be in use.
            one if how.may_use() && is_unclear => {
                self.set(other, AddressUse::unclear(one.until_ms(), None, false));
                None
            }
            _ if !self.holds(other) => Some(AddressClaimResult::NotMine),
            // Refuses the second address: a client has at most one.
            _ => Some(AddressClaimResult::No),
        }
    }

    /// Returns whether a RELEASE may be a late one, from before the client got the address again.
    fn is_old(lease: AddressUse, now_ms: u64) -> bool {
        match lease {
            AddressUse::Leased {
                since_ms,
                is_again: true,
                ..
            } => now_ms < since_ms.saturating_add(PACKET_MS),
            _ => false,
        }
    }

    /// Releases the lease of a client. Returns false if the client has no such address of a held
    /// part, or if the RELEASE may be a late one.
    pub fn release(&mut self, mac: Mac, address: A, now_ms: u64) -> bool {
        if self.end_superseded(mac, address, now_ms) {
            return true;
        }
        match self.uses.get(&address).copied() {
            Some(one) if one.mac() == Some(mac) && self.holds(address) => {
                if Pool::<A>::is_old(one, now_ms) {
                    return false;
                }
                if let AddressUse::Leased { .. } = one {
                    let until_ms = now_ms.saturating_add(PACKET_MS);
                    self.set(address, AddressUse::Released { mac, until_ms });
                }
                true
            }
            _ => false,
        }
    }

    /// Quarantines an address that another host uses, as its client says (DECLINE) or as ARP
    /// found when it was offered. Returns whether nobody gets the address from now on; the
    /// quarantine lasts for as long as its client may have the address.
    pub fn decline(&mut self, address: A, now_ms: u64) -> bool {
        if !self.is_for_clients(address) || !self.holds(address) {
            return false;
        }
        let (until_ms, by) = self.declined_until(address, now_ms);
        self.set(address, AddressUse::Declined { until_ms, by });
        true
    }

    /// Returns the end of the quarantine of an address that is declined now, and the client that
    /// may have it.
    fn declined_until(&self, address: A, now_ms: u64) -> (u64, Option<Mac>) {
        let least_ms = now_ms.saturating_add(DECLINED_MS);
        match self.uses.get(&address) {
            Some(AddressUse::Leased { mac, until_ms, .. }) => (least_ms.max(*until_ms), Some(*mac)),
            Some(one @ AddressUse::Unclear { .. }) => (least_ms.max(one.until_ms()), None),
            _ => (least_ms, None),
        }
    }

    /// Returns the end of the quarantine of an address if its client declines it now.
    pub fn declines_until(&self, address: A, now_ms: u64) -> u64 {
        self.declined_until(address, now_ms).0
    }

    /// Returns the client that has a lease of an address and has not declined it.
    pub fn client(&self, address: A) -> Option<Mac> {
        match self.uses.get(&address) {
            Some(AddressUse::Leased { mac, .. }) => Some(*mac),
            _ => None,
        }
    }

    /// Returns the client that has declined an address, and may still renew its lease.
    pub fn declined_by(&self, address: A) -> Option<Mac> {
        match self.uses.get(&address) {
            Some(AddressUse::Declined { by, .. }) => *by,
            _ => None,
        }
    }

    /// Returns how many addresses of the held parts may be declined at one time without proof of
    /// a conflict.
    pub fn declines_max(&self) -> usize {
        let len = usize::try_from(self.range.len()).unwrap_or(0);
        let held = self.held.iter().filter(|held| **held).count();
        let len = len.saturating_mul(held) / self.held.len().max(1);
        (len / DECLINED_SHARE).max(DECLINED_LEAST)
    }

    /// Handles an ARP reply for an address, requested or not. Returns whether the reply proves a
    /// conflict.
    pub fn handle_arp_reply(&mut self, address: A, by: Mac, now_ms: u64) -> bool {
        match self.uses.get(&address).copied() {
            Some(one) if one.mac() == Some(by) => false,
            Some(one @ AddressUse::Offered { .. }) if one.awaits_answer(now_ms) => {
                self.decline(address, now_ms)
            }
            // The reply came after the client took the offer. The client may continue with the
            // address until its lease ends, or learns of the conflict when it renews.
            Some(one @ AddressUse::Leased { until_ms, .. })
                if one.awaits_answer(now_ms) && self.holds(address) =>
            {
                self.set(address, AddressUse::Declined { until_ms, by: None });
                true
            }
            Some(AddressUse::Declined {
                until_ms,
                by: Some(client),
            }) => {
                // Another host may have sent the DECLINE: the client still responds there, so it
                // can renew.
                if client == by && !self.by_mac.contains_key(&client) {
                    self.set(address, self.lease(client, until_ms, now_ms));
                }
                client != by
            }
            Some(AddressUse::Unclear {
                until_ms,
                user: None,
                is_before,
            }) if !self.is_known_elsewhere(address) => {
                self.set(address, AddressUse::unclear(until_ms, Some(by), is_before));
                false
            }
            // Changes nothing: an unsolicited ARP reply proves nothing, since any host can send
            // one. For a lease, a router may respond (proxy ARP), or the client with another card.
            _ => false,
        }
    }

    /// Returns the address that a client has or was offered.
    pub fn of(&self, mac: Mac) -> Option<A> {
        self.by_mac.get(&mac).copied()
    }

    /// Returns the address of a held part for which a client has a lease.
    pub fn leased(&self, mac: Mac) -> Option<A> {
        let address = self.of(mac).filter(|address| self.holds(*address))?;
        let is_leased = matches!(self.uses.get(&address), Some(AddressUse::Leased { .. }));
        is_leased.then_some(address)
    }

    /// Returns how many addresses a new client can get from this node.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Returns whether changes wait to be stored for the next start.
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Removes and returns the changes that the next start needs.
    pub fn changes(&mut self) -> Vec<HolderChange<A>> {
        std::mem::take(&mut self.changes)
    }

    /// Returns every holder that the next start needs.
    pub fn known(&self) -> impl Iterator<Item = (A, Holder)> {
        let all = self.uses.iter();
        let all = all.map(|(address, one)| (*address, one.holder()));
        all.filter(|(_, holder)| *holder != Holder::Nobody)
    }

    /// Returns the addresses of held parts that a client may have got from another node, and that
    /// no client is known to use.
    #[cfg(test)]
    pub(super) fn withheld(&self) -> impl Iterator<Item = A> {
        let all = self.uses.iter();
        let unclear = all.filter(|(address, one)| {
            matches!(one, AddressUse::Unclear { user: None, .. }) && self.holds(**address)
        });
        unclear.map(|(address, _)| *address)
    }
}

mod adopting;
mod count;
mod superseded;
#[cfg(test)]
mod tests;
