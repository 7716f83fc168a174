//! What the other nodes know of the leases of this network, and this node of theirs.

use super::{Adopt, Held, Knowledge, Moved, Pasts, Site, Standing};
use crate::dhcp::desk::Desk;
use crate::dhcp::mirror::{Copies, Sharing, Tell, Told};
use crate::dhcp::moves::{Taking, mark_of_both};
use crate::dhcp::pool::{Change, Fate, Holder, Pool};
use crate::dhcp::range::{Address, Range, Span};
use crate::mac::Mac;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The copies of this node, for the thread that writes them, too.
pub type SharedCopies = Arc<Mutex<Copies>>;

/// The copies, for this thread alone.
pub fn lock(copies: &SharedCopies) -> MutexGuard<'_, Copies> {
    copies.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of leases where.
#[derive(Default)]
pub(super) struct Shares {
    /// What the others know.
    sharing: Sharing,
    /// What this node knows of parts of others.
    copies: SharedCopies,
    /// Parts whose leases were taken over, and which may not be on the disk yet: its epoch.
    adopting: BTreeMap<usize, u64>,
    /// Those that are.
    adopted: BTreeMap<usize, u64>,
    /// Rings when others are to be told something.
    bell: Option<Bell>,
    /// How often the thread that writes was woken only to send answers.
    rings: Arc<AtomicU64>,
}

/// Rings when other nodes are to be told something.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

impl std::fmt::Debug for Shares {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Shares({:?})", self.sharing)
    }
}

/// The leases of a part as they are reported to others, with those that were given in its name by ranges
/// of before.
fn of_part<A: Address + Into<IpAddr>>(
    pool: &Pool<A>,
    range: Range<A>,
    part: usize,
    past: Option<Span<A>>,
) -> impl Iterator<Item = Change<IpAddr>> {
    let known = pool.known().filter(move |(one, _)| {
        range.part(*one) == part || past.is_some_and(|past| past.has(*one))
    });
    known.map(|(address, holder)| Change {
        address: address.into(),
        holder,
    })
}

impl Shares {
    /// What this node knows of parts of others, for this thread alone.
    pub(super) fn copies(&self) -> MutexGuard<'_, Copies> {
        lock(&self.copies)
    }

    /// What this node knows of the addresses of a part that it takes. `ranges`: their mark.
    pub(super) fn fates(
        &self,
        ranges: u64,
    ) -> impl Fn(&Held) -> Box<dyn Fn(Ipv4Addr) -> Fate> + use<> {
        let four = |address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        };
        self.fates_of(ranges, |moved| &moved.four, four)
    }

    /// The same, of IPv6.
    pub(super) fn fates6(
        &self,
        ranges: u64,
    ) -> impl Fn(&Held) -> Box<dyn Fn(Ipv6Addr) -> Fate> + use<> {
        let six = |address| match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        };
        self.fates_of(ranges, |moved| &moved.six, six)
    }

    fn fates_of<A: Address + 'static>(
        &self,
        ranges: u64,
        taking: fn(&Moved) -> &Taking<A>,
        is_its: fn(IpAddr) -> Option<A>,
    ) -> impl Fn(&Held) -> Box<dyn Fn(A) -> Fate> + use<A> {
        let copies = Arc::clone(&self.copies);
        move |held: &Held| {
            let Some(moved) = &held.moved else {
                let fate = match held.knows {
                    true => Fate::Known,
                    false => Fate::Before,
                };
                return Box::new(move |_| fate);
            };
            let copies = lock(&copies);
            taking(moved).fates(|part, node, epoch| {
                let copy = copies.of(part, node, epoch);
                let copy = copy.filter(|copy| copy.ranges == ranges)?;
                let known = copy.known();
                let known = known.filter_map(|(address, holder)| Some((is_its(address)?, holder)));
                Some(known.collect())
            })
        }
    }
}

impl Site {
    /// The mark of the ranges.
    pub(super) fn ranges(&self) -> u64 {
        mark_of_both(self.range(), self.range6())
    }

    /// These are the copies of this node, and this rings when others are to be told something.
    pub fn share(&mut self, copies: SharedCopies, bell: Bell) {
        self.parts.shares.copies = copies;
        self.parts.shares.bell = Some(bell);
    }

    /// Whether other nodes are to know its leases.
    fn is_shared(&self) -> bool {
        !self.parts.me.is_empty() && self.parts.shares.bell.is_some()
    }

    /// What this node and the others know of leases.
    pub fn knowledge(&mut self, now_ms: u64) -> Knowledge {
        self.tell_all(now_ms);
        let ranges = self.ranges();
        let standing = &self.parts.standing;
        let told = standing.held.keys().chain(standing.claims.keys());
        let shares = &self.parts.shares;
        let in_step = told.filter_map(|part| {
            let epoch = shares.sharing.epoch(*part)?;
            Some((*part, (epoch, shares.sharing.in_step(*part))))
        });
        let copies = lock(&shares.copies);
        let parts = 0..usize::try_from(self.parts.count).unwrap_or(1);
        let copies = parts.filter_map(|part| {
            let copy = copies.whole(part).filter(|copy| copy.ranges == ranges)?;
            Some((part, (copy.node.clone(), copy.epoch)))
        });
        Knowledge {
            in_step: in_step.collect(),
            copies: copies.collect(),
            adopted: shares.adopted.clone(),
            linked: shares.sharing.linked_nodes().cloned().collect(),
            stores: (self.parts.keeping.number(), self.six.number()),
            longest_s: self.longest_s(),
        }
    }

    /// How long a lease may be that is in force or is given from now on, seconds.
    fn longest_s(&self) -> u32 {
        let lengths = [
            self.lan.lease_s,
            self.lan.six.as_ref().map_or(0, |six| six.lease_s),
            self.parts.keeping.longest(),
            self.six.longest(),
        ];
        lengths.into_iter().max().unwrap_or(0)
    }

    /// Takes over what this node knows of parts, before it holds them.
    pub(super) fn adopt_all(&mut self, now_ms: u64) {
        for (part, adopt) in self.parts.standing.adopts.clone() {
            let shares = &self.parts.shares;
            let has = |all: &BTreeMap<usize, u64>| all.get(&part) == Some(&adopt.into);
            if !has(&shares.adopting) && !has(&shares.adopted) {
                self.adopt(part, &adopt, now_ms);
            }
        }
    }

    fn adopt(&mut self, part: usize, adopt: &Adopt, now_ms: u64) {
        let ranges = self.ranges();
        let (range, range6) = (self.range(), self.range6());
        let pool = self.desk.as_mut().and_then(Desk::pool);
        let pool6 = self.six.pool();
        // Without the addresses there is nothing that could be kept.
        if range.is_some() != pool.is_some() || range6.is_some() != pool6.is_some() {
            return;
        }
        let shares = &mut self.parts.shares;
        let mut copies = lock(&shares.copies);
        let copy = copies.of(part, &adopt.node, adopt.epoch);
        let Some(copy) = copy.filter(|copy| copy.ranges == ranges).cloned() else {
            return;
        };
        copies.hold(part, adopt.into);
        drop(copies);
        let (mut four, mut six) = (
            Vec::<(Ipv4Addr, Holder)>::new(),
            Vec::<(Ipv6Addr, Holder)>::new(),
        );
        for (address, holder) in copy.known() {
            match address {
                IpAddr::V4(address) => four.push((address, holder)),
                IpAddr::V6(address) => six.push((address, holder)),
            }
        }
        if let Some(pool) = pool {
            let keeping = &mut self.parts.keeping;
            keeping.learn_longest(pool, adopt.longest_s, now_ms);
            pool.adopt(part, four, (adopt.knows_before, adopt.is_left), now_ms);
        }
        self.six.adopt(part, six, adopt, now_ms);
        shares.adopting.insert(part, adopt.into);
        self.wake_writer();
    }

    /// Writes what was taken over to the disk.
    pub fn store_adopted(&mut self) {
        if self.parts.shares.adopting.is_empty() {
            return;
        }
        self.store();
        self.store6();
        if self.has_all_leases() {
            let shares = &mut self.parts.shares;
            shares.adopted.append(&mut shares.adopting);
        }
    }

    /// This node holds other parts than `before`: they are reported to others from now on.
    pub(super) fn hold_shared(&mut self, before: &BTreeMap<usize, Held>) {
        let Standing { held, claims, .. } = &self.parts.standing;
        let shares = &mut self.parts.shares;
        let parts = usize::try_from(self.parts.count).unwrap_or(1);
        for part in 0..parts.max(held.len()) {
            let held = held.get(&part).map(|held| held.epoch);
            if held.is_some() && !before.contains_key(&part) {
                // What it takes now is told, too, before another node counts as one that knows all.
                shares.sharing.drop_part(part);
            }
            match held.or(claims.get(&part).map(|(epoch, _)| *epoch)) {
                Some(epoch) => {
                    lock(&shares.copies).hold(part, epoch);
                    shares.sharing.hold(part, epoch);
                }
                None => shares.sharing.drop_part(part),
            }
        }
    }

    /// This node does not hold a part any more.
    pub(super) fn give_up_shared(&mut self, part: usize) {
        self.parts.shares.sharing.drop_part(part);
    }

    /// The ranges, or their parts, are others.
    pub(super) fn share_anew(&mut self) {
        self.parts.standing.held.clear();
        self.parts.standing.claims.clear();
        self.parts.keeping.begin_anew();
        self.six.begin_anew();
        let shares = &mut self.parts.shares;
        shares.sharing.clear();
        shares.adopting.clear();
        shares.adopted.clear();
    }

    /// Tells everything to nodes that have to be told that, and goes on without those that are late.
    pub fn tell_all(&mut self, now_ms: u64) {
        self.parts.shares.sharing.tick(now_ms);
        let missing = self.parts.shares.sharing.missing();
        if missing.is_empty() {
            return;
        }
        let (range, range6, ranges) = (self.range(), self.range6(), self.ranges());
        let pool = self.desk.as_mut().and_then(Desk::pool);
        let pool6 = self.six.pool();
        if range.is_some() != pool.is_some() || range6.is_some() != pool6.is_some() {
            return;
        }
        for part in missing {
            let Standing { held, claims, .. } = &self.parts.standing;
            let past = match held.get(&part) {
                Some(held) => held.past,
                None => { claims.get(&part) }.map_or_else(Pasts::default, |(_, past)| *past),
            };
            let four = range.zip(pool.as_deref());
            let four = four.map(|(range, pool)| of_part(pool, range, part, past.four));
            let six = range6.zip(pool6.as_deref());
            let six = six.map(|(range, pool)| of_part(pool, range, part, past.six));
            let known = four.into_iter().flatten().chain(six.into_iter().flatten());
            let known: Vec<Change<IpAddr>> = known.collect();
            self.parts.shares.sharing.begin(part, ranges, &known);
        }
        self.ring();
    }

    fn ring(&self) {
        if let Some(bell) = &self.parts.shares.bell {
            bell();
        }
    }

    /// Leases have changed: the other nodes are told.
    pub(super) fn tell_changes<A: Address + Into<IpAddr>>(
        &mut self,
        range: Option<Range<A>>,
        changes: &[Change<A>],
    ) {
        let Some(range) = range.filter(|_| self.is_shared() && !changes.is_empty()) else {
            return;
        };
        let mut parts: BTreeMap<usize, Vec<Change<IpAddr>>> = BTreeMap::new();
        // What is not of the range is nobody else's to know.
        for change in changes.iter().filter(|one| range.has(one.address)) {
            let part = parts.entry(range.part(change.address)).or_default();
            part.push(Change {
                address: change.address.into(),
                holder: change.holder,
            });
        }
        let now_ms = part::report::Moment::now().boottime_ms;
        for (part, changes) in parts {
            self.parts.shares.sharing.change(part, &changes, now_ms);
        }
        self.ring();
    }

    /// Whether a machine may hear of its address now.
    pub fn tells(&mut self, mac: Mac, address: Option<IpAddr>, now_ms: u64) -> Tell {
        let is_stored = match address {
            Some(IpAddr::V6(_)) => self.may_tell6(mac),
            _ => self.may_tell(mac),
        };
        if !is_stored {
            return Tell::Never;
        }
        // What was confirmed since another node took the part over does not count.
        self.end_parts(now_ms);
        let Some(address) = address.filter(|_| self.is_shared()) else {
            return Tell::Now;
        };
        let part = match address {
            IpAddr::V4(address) => {
                let own = { self.lan.machines.get(&mac) }.and_then(|machine| machine.address);
                let range = self.range().filter(|range| range.has(address));
                range
                    .filter(|_| own != Some(address))
                    .map(|range| range.part(address))
            }
            IpAddr::V6(address) => {
                let own = { self.lan.six.as_ref() }.and_then(|six| six.machines.get(&mac));
                let range = self.range6().filter(|range| range.has(address));
                range
                    .filter(|_| own != Some(&address))
                    .map(|range| range.part(address))
            }
        };
        let Some(part) = part else {
            return Tell::Now;
        };
        let Some(held) = self.parts.standing.held.get(&part) else {
            return Tell::Never;
        };
        if held.is_unheard || self.longest_s() > held.longest_s {
            return Tell::Later;
        }
        self.parts.shares.sharing.tells(address, part, &held.named)
    }

    /// Why an address is not offered: it could not be given, or the client has one of another node.
    pub(super) fn cannot_offer(&self, mac: Mac, address: Option<IpAddr>) -> Option<String> {
        let address = address?;
        let is_ranged = match address {
            IpAddr::V4(address) => self.range().is_some_and(|range| range.has(address)),
            IpAddr::V6(address) => self.range6().is_some_and(|range| range.has(address)),
        };
        let machine = self.lan.machines.get(&mac);
        let own = machine.and_then(|machine| machine.address).map(IpAddr::V4);
        let own6 = { self.lan.six.as_ref() }.and_then(|six| six.machines.get(&mac));
        let is_own = [own, own6.copied().map(IpAddr::V6)].contains(&Some(address));
        if !is_ranged || is_own {
            return None;
        }
        let trouble = || {
            let trouble = { self.parts.keeping.trouble.clone() }.or_else(|| self.six.trouble());
            trouble.filter(|_| !self.can_keep())
        };
        // It may have leases of both nodes, each from when the other one was not heard.
        if self.leases_to(mac, address) {
            return trouble();
        }
        let copies = lock(&self.parts.shares.copies);
        // What it had by ranges of before does not count.
        let is_its = |part: usize, has: IpAddr| match (has, address) {
            (IpAddr::V4(has), IpAddr::V4(_)) => {
                self.range().is_some_and(|range| range.is_of(has, part))
            }
            (IpAddr::V6(has), IpAddr::V6(_)) => {
                self.range6().is_some_and(|range| range.is_of(has, part))
            }
            _ => false,
        };
        if let Some((has, node)) = copies.address_of(mac, is_its) {
            return Some(format!(
                "it has {has} by node {node}, which answers, or whose part comes here in a moment"
            ));
        }
        drop(copies);
        trouble()
    }

    /// Whether a client has a lease of an address by this node.
    fn leases_to(&self, mac: Mac, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                let desk = self.desk.as_ref();
                desk.and_then(|desk| desk.leased(mac)) == Some(address)
            }
            IpAddr::V6(address) => self.six.leased(mac) == Some(address),
        }
    }

    /// A node can be told something from now on. Returns the number of the connection.
    pub fn linked(&mut self, node: &str, now_ms: u64) -> u64 {
        let link = self.parts.shares.sharing.linked(node);
        self.tell_all(now_ms);
        link
    }

    /// This connection has ended.
    pub fn unlinked(&mut self, node: &str, link: u64) {
        self.parts.shares.sharing.unlinked(node, link);
    }

    /// What a node is to be told next.
    pub fn next_told(&mut self, node: &str) -> Option<Told> {
        self.parts.shares.sharing.next(node)
    }

    /// A node knows what it was told.
    pub fn confirmed(&mut self, node: &str, link: u64, of: (usize, u64), number: u64, now_ms: u64) {
        self.parts
            .shares
            .sharing
            .confirmed(node, link, of, number, now_ms);
        self.parts.shares.rings.fetch_add(1, Ordering::AcqRel);
        self.wake_writer();
    }

    /// How often the thread that writes was woken only to send answers, since it was last asked.
    pub fn rings(&self) -> u64 {
        self.parts.shares.rings.swap(0, Ordering::AcqRel)
    }

    /// Nodes that know the leases of all parts that this node holds, for operators. None: nobody has to.
    pub(super) fn known_to(&self) -> Option<Vec<String>> {
        let held = self.parts.standing.held.iter();
        let mut all =
            held.map(|(part, held)| &held.named & &self.parts.shares.sharing.in_step(*part));
        let first = all
            .next()
            .filter(|_| self.is_shared() && self.parts.count > 1)?;
        Some(
            all.fold(first, |one, other| &one & &other)
                .into_iter()
                .collect(),
        )
    }

    /// Nodes that do not know all leases of the parts that this node holds, and why, for operators.
    /// `known`: those that do.
    pub(super) fn not_known_to(
        &self,
        known: &[String],
        unlinked: &BTreeMap<String, String>,
    ) -> Vec<String> {
        let sharing = &self.parts.shares.sharing;
        let linked = sharing.linked_nodes().filter(|node| !known.contains(node));
        let linked = linked.map(|node| format!("{node}: it does not confirm them in time"));
        let unlinked = unlinked.iter().filter(|(node, _)| !sharing.is_linked(node));
        let unlinked = unlinked.map(|(node, why)| format!("{node}: no connection to it: {why}"));
        linked.chain(unlinked).collect()
    }

    /// Why no address of the range is given by any node, for operators.
    pub(super) fn has_no_majority(&self) -> Option<String> {
        let is_ranged = self.range().is_some() || self.range6().is_some();
        let standing = &self.parts.standing;
        let is_nobodys = standing.held.is_empty() && standing.leader.is_empty();
        (is_ranged && !self.parts.me.is_empty() && is_nobodys).then(|| {
            "no node holds the first part of the range: without a majority of the cluster no new address is given"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Gives, Lan, Network};
    use crate::dhcp::desk::{Desk, Here, Nodes};
    use crate::dhcp::mirror::Copy;
    use crate::dhcp::pool::{Claim, How};
    use crate::journal::Journal;
    use lab::Scratch;

    const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    /// A node of a cluster that holds the first part of its range, and gives leases of an hour.
    fn site(scratch: &Scratch) -> Site {
        let lan = Lan {
            gives: Gives::Range {
                first: ip(100),
                last: ip(109),
            },
            lease_s: 3_600,
            ..Lan::plain("br0")
        };
        let mut site = Site::new("lan", lan, 2);
        site.share(SharedCopies::default(), Arc::new(|| {}));
        site.keep_in(
            Journal::open(scratch.path(), "lan").map_err(|error| error.to_string()),
            0,
        );
        let here = Here {
            address: ip(2),
            network: Network::of(ip(2), 24),
            nodes: Nodes::default(),
        };
        site.is_here(Some(here), 0);
        site
    }

    #[test]
    fn a_client_whose_address_somebody_answers_for_late_is_shown_that_it_loses_its_lease() {
        let scratch = Scratch::new().unwrap();
        let mut site = site(&scratch);
        let pool = site.desk.as_mut().and_then(Desk::pool).unwrap();
        pool.take(0, true, 0);
        let address = pool.offer(CLIENT, None, 0).unwrap();
        pool.asks(address, 0);
        assert_eq!(pool.claim(CLIENT, address, How::Selecting, 1), Claim::Yes);
        let other = Mac([2, 0, 0, 0, 0, 2]);
        assert!(site.in_use(address, other, 2) && !site.in_use(address, other, 3));
        let steps = |mac| {
            let steps = site.history.of(mac).into_iter();
            steps.map(|step| (step.asked, step.why)).collect::<Vec<_>>()
        };
        let why = "02:00:00:00:00:02 answers for the address: the next request for it gets a NAK";
        let lost = format!("loses its lease of {address}");
        assert_eq!(steps(CLIENT), [(lost, why.to_owned())]);
        assert_eq!(steps(other).len(), 1);
        assert_eq!(site.counts.conflicts, 1);
    }

    #[test]
    fn a_client_with_leases_of_two_nodes_gets_an_offer_of_each() {
        let scratch = Scratch::new().unwrap();
        let mut site = site(&scratch);
        let mut copy = Copy::new("beta", 4, 0);
        let given = |address: Ipv4Addr| Change {
            address: address.into(),
            holder: Holder::Client(CLIENT),
        };
        copy.change(&[given(ip(105))]);
        lock(&site.parts.shares.copies).restore(1, copy);
        let offered = |site: &Site, last| site.cannot_offer(CLIENT, Some(ip(last).into()));
        let why =
            "it has 10.0.0.105 by node beta, which answers, or whose part comes here in a moment";
        assert_eq!(offered(&site, 100).as_deref(), Some(why));
        // It came here while beta was not heard.
        let pool = site.desk.as_mut().and_then(Desk::pool).unwrap();
        pool.take(0, true, 0);
        let address = pool.offer(CLIENT, Some(ip(100)), 0).unwrap();
        assert_eq!(offered(&site, 100).as_deref(), Some(why));
        let pool = site.desk.as_mut().and_then(Desk::pool).unwrap();
        assert_eq!(pool.claim(CLIENT, address, How::Selecting, 1), Claim::Yes);
        assert_eq!(offered(&site, 100), None);
    }

    #[test]
    fn a_client_hears_of_a_lease_when_the_record_of_its_part_allows_that() {
        let scratch = Scratch::new().unwrap();
        let mut site = site(&scratch);
        let mut tells = |is_unheard, longest_s| {
            let held = Held {
                knows: true,
                until_ms: u64::MAX,
                is_unheard,
                longest_s,
                ..Held::default()
            };
            let standing = Standing {
                held: [(0, held)].into(),
                ..Standing::default()
            };
            site.stand("alpha", standing, 0);
            site.tells(CLIENT, Some(ip(100).into()), 0)
        };
        assert_eq!(tells(false, 3_600), Tell::Now);
        // A node that took the part from this one would not know of it.
        assert_eq!(tells(true, 3_600), Tell::Later);
        // It would believe that the lease ends earlier.
        assert_eq!(tells(false, 3_599), Tell::Later);
        assert_eq!(tells(false, 7_200), Tell::Now);
    }
}
