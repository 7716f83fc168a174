//! Who may use which address of a range: a value without a clock, so that histories of it can be
//! simulated.
//!
//! A range has parts, one for each node, and a node gives addresses only of the parts that it holds
//! (the cluster grants them, one holder at a time). Of a part that another node held before, it does
//! not know every lease: such an address is given to nobody until the longest lease that the other
//! node may have given has ended, except to the client that renews it. That an address is unclear is
//! kept on the disk like a lease. Times are those of this machine alone, and a restart begins each
//! lease again: an address is never free too early, whatever the clocks do.
//!
//! A packet may be late or come twice, so what a client gives back stays its own for as long as a
//! packet may live, and what it gives back right after it got the same address again is not believed.

pub use super::holder::{Change, Holder};
pub use super::range::{Address, Range};
use super::uses::Use;
use crate::mac::{Mac, mark};
pub use count::Count;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
pub use superseded::Superseded;

/// For how long an offer is kept for the client, milliseconds.
const OFFER_MS: u64 = 30_000;
/// For how long an address is left alone that somebody else uses, milliseconds.
pub(super) const DECLINED_MS: u64 = 600_000;
/// Which share of a range may be declined at one time without a proof that somebody uses the addresses, and how
/// many addresses of a small one.
const DECLINED_SHARE: usize = 8;
const DECLINED_LEAST: usize = 4;
/// How long a packet may take, milliseconds. A client may also count its lease from when its
/// answer came, and asks again at most so long before.
const PACKET_MS: u64 = 60_000;
/// The share of a lease by which it lasts longer here: the clocks of the client and of this machine
/// may each be wrong by 500 ppm.
const DRIFT: u64 = 900;
/// The addresses of a range.
#[derive(Clone, Debug)]
pub struct Pool<A = Ipv4Addr> {
    range: Range<A>,
    lease_ms: u64,
    /// How long a lease may be that was given before.
    longest_ms: u64,
    /// Parts that this node holds.
    held: Vec<bool>,
    /// Addresses that are given to nobody: of machines of the file, and of nodes.
    reserved: HashSet<A>,
    /// Addresses that no new client gets: other sections name them. A lease of before stays.
    unoffered: HashSet<A>,
    uses: BTreeMap<A, Use>,
    /// Leases of addresses that are not for clients any more.
    superseded: BTreeMap<A, Superseded>,
    by_mac: HashMap<Mac, A>,
    /// When a use ends.
    ends: BTreeSet<(u64, A)>,
    /// Addresses of held parts that nobody uses.
    free: BTreeSet<A>,
    /// Parts of which a node that is there knows what this one withholds.
    known_elsewhere: BTreeSet<usize>,
    /// Clients for which addresses are kept: machines of the file.
    preferred: HashSet<Mac>,
    /// How many of them have an address.
    served: usize,
    /// What the next start has to know.
    changes: Vec<Change<A>>,
}

/// What a node that takes a part knows of one of its addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// What it knew before.
    Known,
    /// Somebody may have it.
    Unclear,
    /// Somebody may have it by the node that held the part before, which knows.
    Before,
    /// What another node knew of it.
    Is(Holder),
    /// What this node and another one knew of it. Each may have given it once.
    Also(Holder),
}

/// How a client asks for an address (RFC 2131, 4.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// It takes the offer of this node.
    Selecting,
    /// It has restarted, and remembers the address.
    Reboot,
    /// It uses the address, and wants to keep it.
    Renew,
    /// It takes the offer of a node that is gone.
    Elsewhere,
}

impl How {
    /// Whether its client may use the address already.
    fn may_use(self) -> bool {
        matches!(self, How::Renew | How::Elsewhere)
    }
}

/// Why a client is offered nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoOffer {
    /// Another node has its address, and answers.
    NotMine,
    /// What is free is kept for machines of the file.
    Kept,
    /// Nothing is free.
    Full,
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
    /// It may be somebody's: not known here.
    Unclear,
}

/// When a lease of this length that begins now has ended, whatever the clock of its client.
pub(crate) fn end_of(lease_ms: u64, now_ms: u64) -> u64 {
    now_ms
        .saturating_add(lease_ms)
        .saturating_add(lease_ms / DRIFT)
        .saturating_add(PACKET_MS)
}

impl<A: Address> Pool<A> {
    /// A range of which nothing is held yet. `known`: the leases before the start, which begin again.
    /// `longest_s`: how long one of them may be.
    pub fn new(
        range: Range<A>,
        (lease_s, longest_s): (u32, u32),
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
            pool.know(address, (holder, None), until_ms, now_ms);
        }
        pool.changes.clear();
        pool
    }

    /// No new client gets one of these addresses. To be called before any part is taken.
    pub fn set_unoffered(&mut self, addresses: HashSet<A>) {
        self.unoffered = addresses;
    }

    /// An address that nobody uses can be offered.
    fn set_free(&mut self, address: A) {
        if !self.unoffered.contains(&address) {
            self.free.insert(address);
        }
    }

    /// A lease of before may have been this long, seconds: what is learnt from now on counts so.
    pub fn set_longest(&mut self, longest_s: u32) {
        self.longest_ms = self.longest_ms.max(u64::from(longest_s) * 1000);
    }

    /// Leases that this node knew before end when it promised, or when one that begins now would: who
    /// knows of them since may have been promised more.
    pub fn keep_ends(&mut self, before: &Pool<A>, now_ms: u64) {
        let least_ms = end_of(self.lease_ms, now_ms);
        self.keep_superseded(before, now_ms);
        for (address, old) in &before.uses {
            let until_ms = old.until_ms().max(least_ms);
            let is_same = |one: &&Use| one.holder() == old.holder();
            match self.uses.get(address).filter(is_same).copied() {
                Some(Use::Leased { mac, since_ms, .. }) => {
                    self.set(*address, self.lease(mac, until_ms, since_ms));
                }
                Some(Use::Unclear {
                    user, is_before, ..
                }) => {
                    let user = user.or(old.user());
                    self.set(*address, Use::unclear(until_ms, user, is_before));
                }
                _ => {}
            }
        }
    }

    /// Whether an address may be given to anybody.
    fn is_for_clients(&self, address: A) -> bool {
        self.range.has(address) && !self.reserved.contains(&address)
    }

    /// A lease that was known before.
    fn lease(&self, mac: Mac, until_ms: u64, since_ms: u64) -> Use {
        Use::Leased {
            mac,
            until_ms,
            since_ms,
            is_again: true,
            asked_ms: None,
        }
    }

    /// Keeps an address free for each of these clients that has none, however many others ask.
    pub fn prefer(&mut self, macs: impl IntoIterator<Item = Mac>) {
        self.preferred = macs.into_iter().collect();
        let has = |mac: &&Mac| self.by_mac.contains_key(*mac);
        self.served = self.preferred.iter().filter(has).count();
    }

    /// Whether a client may get one of the free addresses.
    fn has_room(&self, mac: Mac) -> Result<(), NoOffer> {
        let kept = match self.preferred.contains(&mac) {
            true => 0,
            false => self.preferred.len().saturating_sub(self.served),
        };
        match self.free.len() {
            0 => Err(NoOffer::Full),
            free if free <= kept => Err(NoOffer::Kept),
            _ => Ok(()),
        }
    }

    /// Whether the range has a single part: no other node gives addresses of it.
    pub fn is_whole(&self) -> bool {
        self.held.len() == 1
    }

    /// Whether this node gives an address.
    pub fn holds(&self, address: A) -> bool {
        let part = self.range.part(address);
        self.range.has(address) && self.held.get(part).copied().unwrap_or(false)
    }

    fn holder(&self, address: A) -> Holder {
        let one = self.uses.get(&address);
        one.map_or(Holder::Nobody, |one| one.holder())
    }

    /// Notes who has an address now, if that is another than before.
    fn note(&mut self, address: A, before: Holder) {
        let holder = self.holder(address);
        if holder != before {
            self.changes.push(Change { address, holder });
        }
    }

    fn set(&mut self, address: A, new: Use) {
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

    /// Ends what has ended. To be called before anything else at a time.
    pub fn expire(&mut self, now_ms: u64) {
        self.expire_superseded(now_ms);
        while let Some((until_ms, address)) = self.ends.first().copied() {
            if until_ms > now_ms {
                return;
            }
            self.end(address);
        }
    }

    /// When something ends next.
    pub fn next_end_ms(&self) -> Option<u64> {
        let first = self.ends.first().map(|(until_ms, _)| *until_ms);
        first.into_iter().chain(self.next_superseded_ms()).min()
    }

    /// This node holds a part from now on. `knows`: it knows every lease of it that may still hold,
    /// because no other node has held it since this one did.
    pub fn take(&mut self, part: usize, knows: bool, now_ms: u64) {
        // Also where a lease is known: the node before may have given the address to another.
        let fate = if knows { Fate::Known } else { Fate::Unclear };
        self.take_as(part, now_ms, |_| fate);
    }

    /// This node holds a part from now on. `fate`: what it knows of an address.
    pub fn take_as(&mut self, part: usize, now_ms: u64, fate: impl Fn(A) -> Fate) {
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
            // Of two, either may be the one that uses it.
            let is_of_two =
                matches!(fate, Fate::Also(holder) if !matches!(holder, Holder::Before(_)));
            let user = { self.user(address) }.filter(|_| !is_of_two);
            match self.combined(address, fate) {
                Fate::Known if self.uses.contains_key(&address) => {}
                Fate::Known => self.set_free(address),
                fate @ (Fate::Unclear | Fate::Before) => {
                    let is_before = fate == Fate::Before;
                    self.set(address, Use::unclear(until_ms, user, is_before));
                }
                Fate::Is(holder) | Fate::Also(holder) => {
                    self.end(address);
                    self.learn(address, (holder, user), now_ms);
                }
            }
        }
    }

    /// What this node and another one know of an address together.
    fn combined(&self, address: A, fate: Fate) -> Fate {
        let Fate::Also(holder) = fate else {
            return fate;
        };
        match self.holder(address) {
            own if own == holder || holder == Holder::Nobody => Fate::Known,
            Holder::Nobody => Fate::Is(holder),
            // Which of two gave it last is not known.
            _ => Fate::Unclear,
        }
    }

    /// The client that this node knows to use an address.
    fn user(&self, address: A) -> Option<Mac> {
        let other = self.uses.get(&address)?.user();
        self.client(address).or(other)
    }

    /// An address is this client's, or unclear, by what another node knew: the lease begins again. `user`: the
    /// client that had it by what this node knew.
    fn learn(&mut self, address: A, (holder, user): (Holder, Option<Mac>), now_ms: u64) {
        let until_ms = end_of(self.longest_ms, now_ms);
        if let Holder::Client(mac) = holder {
            // What was only offered here, it did not take.
            self.withdraw(mac);
        }
        self.know(address, (holder, user), until_ms, now_ms);
    }

    /// An address that nobody has is this client's, or unclear.
    fn know(
        &mut self,
        address: A,
        (holder, user): (Holder, Option<Mac>),
        until_ms: u64,
        now_ms: u64,
    ) {
        let new = match holder {
            Holder::Client(mac) if !self.by_mac.contains_key(&mac) => {
                self.lease(mac, until_ms, now_ms)
            }
            // Which of its two addresses a client uses is not known: only it may go on with this one.
            Holder::Client(mac) => Use::unclear(until_ms, Some(mac), false),
            Holder::Unclear(its) => Use::unclear(until_ms, user.or(its), false),
            Holder::Before(its) => Use::unclear(until_ms, user.or(its), true),
            Holder::Nobody => return,
        };
        self.set(address, new);
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

    /// An address for a client that asks for one, kept for it for a while.
    ///
    /// # Errors
    /// There is none for it.
    pub fn offer(&mut self, mac: Mac, wants: Option<A>, now_ms: u64) -> Result<A, NoOffer> {
        let (address, asked_ms) = match self.by_mac.get(&mac).copied() {
            Some(address) if !self.holds(address) => return Err(NoOffer::NotMine),
            Some(address) => match self.uses.get(&address) {
                Some(Use::Offered { asked_ms, .. }) => (address, *asked_ms),
                _ => return Ok(address),
            },
            None => {
                self.has_room(mac)?;
                let wanted = wants.filter(|address| self.free.contains(address));
                let address = wanted.or_else(|| self.near(mac)).ok_or(NoOffer::Full)?;
                (address, None)
            }
        };
        let offered = Use::Offered {
            mac,
            until_ms: now_ms.saturating_add(OFFER_MS),
            asked_ms,
        };
        self.set(address, offered);
        Ok(address)
    }

    /// This node asks who has an address. Answers count while it is offered, or its first lease is not renewed.
    pub fn asks(&mut self, address: A, now_ms: u64) {
        match self.uses.get_mut(&address) {
            Some(Use::Offered { asked_ms, .. }) => *asked_ms = Some(now_ms),
            Some(Use::Leased {
                asked_ms, since_ms, ..
            }) if now_ms < since_ms.saturating_add(PACKET_MS) => {
                *asked_ms = asked_ms.and(Some(now_ms));
            }
            _ => {}
        }
    }

    /// A free address: the same for a card as long as it stays free, so that a machine mostly gets
    /// the one that it had.
    fn near(&self, mac: Mac) -> Option<A> {
        let hash = mark(mac);
        let offset = hash % self.range.len().max(1);
        let start = A::of_bits(self.range.first.bits() + u128::from(offset));
        let behind = self.free.range(start..).next();
        behind.or_else(|| self.free.first()).copied()
    }

    /// A client has taken the offer of another server.
    pub fn withdraw(&mut self, mac: Mac) {
        if let Some(address) = self.by_mac.get(&mac).copied()
            && let Some(Use::Offered { .. }) = self.uses.get(&address)
        {
            self.end(address);
        }
    }

    /// Whether an address of this node may be another client's than this one, which says that it uses it.
    pub fn may_be_anothers(&self, mac: Mac, address: A) -> bool {
        let one = self.uses.get(&address).filter(|_| self.holds(address));
        matches!(one, Some(Use::Unclear { user, .. }) if *user != Some(mac))
    }

    /// Whether this node gives an address, and no client has it or was offered it: a lease of it
    /// would be a first one.
    pub fn is_unused(&self, address: A) -> bool {
        self.is_for_clients(address) && self.holds(address) && !self.uses.contains_key(&address)
    }

    /// Whether there is a record of a client: it has an address, was offered one, or is known to
    /// use this one.
    pub fn has_record(&self, mac: Mac, address: A) -> bool {
        let user = self.uses.get(&address).and_then(|one| one.user());
        self.by_mac.contains_key(&mac) || user == Some(mac) || self.had_lease(mac, address)
    }

    /// Whether an address is not for this client: a node or another machine has it.
    pub fn is_anothers(&self, mac: Mac, address: A) -> bool {
        let other = self.client(address).is_some_and(|client| client != mac);
        self.reserved.contains(&address) || other
    }

    /// Gives an address to a client, or says why not.
    pub fn claim(&mut self, mac: Mac, address: A, how: How, now_ms: u64) -> Claim {
        if !self.is_for_clients(address) {
            self.end_superseded(mac, address, now_ms);
            return Claim::No;
        }
        if !self.holds(address) {
            return Claim::NotMine;
        }
        let before = self.uses.get(&address).copied();
        match (before, how) {
            // It goes on with it: the DECLINE was not its own, or came late.
            (Some(Use::Declined { by: Some(by), .. }), _) if by == mac && how.may_use() => {}
            (Some(Use::Declined { .. }), _) => return Claim::No,
            // It may have been another's since this client remembers it.
            (Some(Use::Unclear { .. }), How::Reboot) => return Claim::Unclear,
            (Some(Use::Unclear { .. }), How::Selecting) => return Claim::No,
            (Some(one), _) if one.mac().is_some_and(|other| other != mac) => return Claim::No,
            (None, _) if self.has_room(mac).is_err() => return Claim::No,
            _ => {}
        }
        if let Some(refused) = self.leave_other(mac, address, how) {
            return refused;
        }
        let new_ms = end_of(self.lease_ms, now_ms);
        let until_ms = match before {
            // Its client may not hear that a lease is shorter from now on.
            Some(
                Use::Leased { until_ms, .. }
                | Use::Unclear { until_ms, .. }
                | Use::Declined { until_ms, .. },
            ) => until_ms.max(new_ms),
            _ => new_ms,
        };
        let (since_ms, is_again) = match before {
            Some(Use::Leased {
                since_ms, is_again, ..
            }) if how.may_use() => (since_ms, is_again),
            Some(Use::Leased { .. } | Use::Released { .. }) => (now_ms, true),
            _ => (now_ms, false),
        };
        let lease = Use::Leased {
            mac,
            until_ms,
            since_ms,
            is_again,
            // The client of a lease uses the address already: what others answer does not count.
            asked_ms: match before {
                Some(Use::Offered { asked_ms, .. }) => asked_ms,
                _ => None,
            },
        };
        self.set(address, lease);
        Claim::Yes
    }

    /// A client that has or was offered another address leaves it, or gets no second one.
    fn leave_other(&mut self, mac: Mac, address: A, how: How) -> Option<Claim> {
        let other = { self.by_mac.get(&mac).copied() }.filter(|other| *other != address)?;
        let is_unclear = matches!(self.uses.get(&address), Some(Use::Unclear { .. }));
        match self.uses.get(&other).copied()? {
            Use::Offered { .. } => {
                self.end(other);
                None
            }
            // It says that it uses this one. An old packet would say the same: the other one stays
            // taken for as long as it may be in use.
            one if how.may_use() && is_unclear => {
                self.set(other, Use::unclear(one.until_ms(), None, false));
                None
            }
            _ if !self.holds(other) => Some(Claim::NotMine),
            // A client has one address.
            _ => Some(Claim::No),
        }
    }

    /// Whether what a client gives back now may be what it gave back before it got the address again.
    fn is_old(lease: Use, now_ms: u64) -> bool {
        match lease {
            Use::Leased {
                since_ms,
                is_again: true,
                ..
            } => now_ms < since_ms.saturating_add(PACKET_MS),
            _ => false,
        }
    }

    /// A client gives its address back. Returns whether that is so.
    pub fn release(&mut self, mac: Mac, address: A, now_ms: u64) -> bool {
        if self.end_superseded(mac, address, now_ms) {
            return true;
        }
        match self.uses.get(&address).copied() {
            Some(one) if one.mac() == Some(mac) && self.holds(address) => {
                if Pool::<A>::is_old(one, now_ms) {
                    return false;
                }
                if let Use::Leased { .. } = one {
                    let until_ms = now_ms.saturating_add(PACKET_MS);
                    self.set(address, Use::Released { mac, until_ms });
                }
                true
            }
            _ => false,
        }
    }

    /// Somebody uses an address who did not get it here, as its client says or as was found when it
    /// was offered. Returns whether it is given to nobody from now on: for as long as its client may have it.
    pub fn decline(&mut self, address: A, now_ms: u64) -> bool {
        if !self.is_for_clients(address) || !self.holds(address) {
            return false;
        }
        let (until_ms, by) = self.declined_until(address, now_ms);
        self.set(address, Use::Declined { until_ms, by });
        true
    }

    /// Until when an address that is declined now is given to nobody, and the client that may have it.
    fn declined_until(&self, address: A, now_ms: u64) -> (u64, Option<Mac>) {
        let least_ms = now_ms.saturating_add(DECLINED_MS);
        match self.uses.get(&address) {
            Some(Use::Leased { mac, until_ms, .. }) => (least_ms.max(*until_ms), Some(*mac)),
            Some(one @ Use::Unclear { .. }) => (least_ms.max(one.until_ms()), None),
            _ => (least_ms, None),
        }
    }

    /// Until when an address is given to nobody that its client declines now.
    pub fn declines_until(&self, address: A, now_ms: u64) -> u64 {
        self.declined_until(address, now_ms).0
    }

    /// The client that has a lease of an address, if it has not declined that.
    pub fn client(&self, address: A) -> Option<Mac> {
        match self.uses.get(&address) {
            Some(Use::Leased { mac, .. }) => Some(*mac),
            _ => None,
        }
    }

    /// The client that has declined an address, and may still renew its lease.
    pub fn declined_by(&self, address: A) -> Option<Mac> {
        match self.uses.get(&address) {
            Some(Use::Declined { by, .. }) => *by,
            _ => None,
        }
    }

    /// How many addresses of the parts that this node holds may be declined at one time without a proof.
    pub fn declines_max(&self) -> usize {
        let len = usize::try_from(self.range.len()).unwrap_or(0);
        let held = self.held.iter().filter(|held| **held).count();
        let len = len.saturating_mul(held) / self.held.len().max(1);
        (len / DECLINED_SHARE).max(DECLINED_LEAST)
    }

    /// A card answers for an address, asked or not. Returns whether that is a conflict.
    pub fn answers(&mut self, address: A, by: Mac, now_ms: u64) -> bool {
        match self.uses.get(&address).copied() {
            Some(one) if one.mac() == Some(by) => false,
            Some(one @ Use::Offered { .. }) if one.awaits_answer(now_ms) => {
                self.decline(address, now_ms)
            }
            // The answer has come after the client took the offer. The client may go on with the
            // address until its lease ends, or learns of it when it renews.
            Some(one @ Use::Leased { until_ms, .. })
                if one.awaits_answer(now_ms) && self.holds(address) =>
            {
                self.set(address, Use::Declined { until_ms, by: None });
                true
            }
            Some(Use::Declined {
                until_ms,
                by: Some(client),
            }) => {
                // Others may have sent the DECLINE, too: its client can still renew.
                if client == by && !self.by_mac.contains_key(&client) {
                    self.set(address, self.lease(client, until_ms, now_ms));
                }
                client != by
            }
            Some(Use::Unclear {
                until_ms,
                user: None,
                is_before,
            }) if !self.is_known_elsewhere(address) => {
                self.set(address, Use::unclear(until_ms, Some(by), is_before));
                false
            }
            // Anybody can say so unasked. For a lease, a router may answer, or the client with another card.
            _ => false,
        }
    }

    /// The address that a client has or was offered.
    pub fn of(&self, mac: Mac) -> Option<A> {
        self.by_mac.get(&mac).copied()
    }

    /// The address of a held part for which a client has a lease.
    pub fn leased(&self, mac: Mac) -> Option<A> {
        let address = self.of(mac).filter(|address| self.holds(*address))?;
        let is_leased = matches!(self.uses.get(&address), Some(Use::Leased { .. }));
        is_leased.then_some(address)
    }

    /// How many addresses a new client can get from this node.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Whether there is something that the next start has to know.
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Takes out what the next start has to know.
    pub fn changes(&mut self) -> Vec<Change<A>> {
        std::mem::take(&mut self.changes)
    }

    /// All that the next start has to know.
    pub fn known(&self) -> impl Iterator<Item = (A, Holder)> {
        let all = self.uses.iter();
        let all = all.map(|(address, one)| (*address, one.holder()));
        all.filter(|(_, holder)| *holder != Holder::Nobody)
    }

    /// Addresses of held parts that somebody may have got from another node, and nobody is known to use.
    #[cfg(test)]
    pub(super) fn withheld(&self) -> impl Iterator<Item = A> {
        let all = self.uses.iter();
        let unclear = all.filter(|(address, one)| {
            matches!(one, Use::Unclear { user: None, .. }) && self.holds(**address)
        });
        unclear.map(|(address, _)| *address)
    }
}

mod adopting;
mod count;
mod superseded;
#[cfg(test)]
mod tests;
