//! Shares leases with the other nodes: sends them copies of this network's leases, and keeps copies
//! of theirs at this node.

use super::{
    HeldPart, Knowledge, LeaseFiles, MovedPart, NetworkState, NodeLeaseStatus, PartAdoption,
    PreviousRanges,
};
use crate::dhcp::desk::DhcpServer;
use crate::dhcp::mirror::{LeaseChange, LeaseCopies, LeaseCopy, LeaseCopyMessage, LeaseSharing};
use crate::dhcp::moves::{LeaseSources, mark_of_both};
use crate::dhcp::pool::{AddressKnowledge, Holder, HolderChange, Pool};
use crate::dhcp::range::{Address, Range, Span};
use crate::mac::Mac;
use record::{Confirmation, ConfirmationDecision};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Copies of other nodes' leases at this node, shared with the thread that writes them to disk.
pub type SharedCopies = Arc<Mutex<LeaseCopies>>;

pub fn lock(copies: &SharedCopies) -> MutexGuard<'_, LeaseCopies> {
    copies.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies of leases: those of other nodes at this node, and those of this node at the others.
#[derive(Default)]
pub(super) struct NetworkCopies {
    sharing: LeaseSharing,
    copies: SharedCopies,
    /// Parts of the range whose leases were adopted and may not be on disk yet, with the epoch.
    adopting: BTreeMap<usize, u64>,
    /// Parts of the range whose adopted leases are on disk, with the epoch.
    adopted: BTreeMap<usize, u64>,
    notifier: Option<MessageNotifier>,
    /// Number of wake-ups of the writing thread that only released responses.
    rings: Arc<AtomicU64>,
}

/// Function that is called when messages for other nodes are ready.
pub type MessageNotifier = Arc<dyn Fn() + Send + Sync>;

impl std::fmt::Debug for NetworkCopies {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Shares({:?})", self.sharing)
    }
}

/// Returns what the pool knows of the addresses of a part, including addresses that previous ranges
/// assigned in the name of this part.
fn of_part<A: Address + Into<IpAddr>>(
    pool: &Pool<A>,
    range: Range<A>,
    part: usize,
    past: Option<Span<A>>,
) -> impl Iterator<Item = LeaseChange> {
    let known = pool.known().filter(move |(one, _)| {
        range.part(*one) == part || past.is_some_and(|past| past.has(*one))
    });
    known.map(|(address, holder)| HolderChange {
        address: address.into(),
        holder,
    })
}

/// Returns the holders of the addresses of one family in a copy.
fn known_of<A: Address>(copy: &LeaseCopy) -> impl Iterator<Item = (A, Holder)> {
    let known = copy.known();
    known.filter_map(|one| Some((A::of_ip(one.address)?, one.holder)))
}

impl NetworkCopies {
    pub(super) fn copies(&self) -> MutexGuard<'_, LeaseCopies> {
        lock(&self.copies)
    }

    /// Returns what this node knows of each address of a part that it receives. `ranges`: checksum
    /// of the ranges.
    pub(super) fn fates(
        &self,
        ranges: u64,
    ) -> impl Fn(&HeldPart) -> Box<dyn Fn(Ipv4Addr) -> AddressKnowledge> + use<> {
        self.fates_of(ranges, |moved| &moved.four)
    }

    pub(super) fn fates6(
        &self,
        ranges: u64,
    ) -> impl Fn(&HeldPart) -> Box<dyn Fn(Ipv6Addr) -> AddressKnowledge> + use<> {
        self.fates_of(ranges, |moved| &moved.six)
    }

    fn fates_of<A: Address + 'static>(
        &self,
        ranges: u64,
        taking: fn(&MovedPart) -> &LeaseSources<A>,
    ) -> impl Fn(&HeldPart) -> Box<dyn Fn(A) -> AddressKnowledge> + use<A> {
        let copies = Arc::clone(&self.copies);
        move |held: &HeldPart| {
            let Some(moved) = &held.moved else {
                let fate = if held.has_all_leases {
                    AddressKnowledge::Known
                } else {
                    AddressKnowledge::Before
                };
                return Box::new(move |_| fate);
            };
            let copies = lock(&copies);
            taking(moved).fates(|part, node, epoch| {
                let copy = copies.of(part, node, epoch);
                let copy = copy.filter(|copy| copy.division == ranges)?;
                Some(known_of(copy).collect())
            })
        }
    }
}

impl NetworkState {
    pub(super) fn ranges(&self) -> u64 {
        mark_of_both(self.range(), self.range6())
    }

    /// Sets the copies of other nodes' leases. `bell`: called when messages for other nodes are
    /// ready.
    pub fn share(&mut self, copies: SharedCopies, bell: MessageNotifier) {
        self.parts.shares.copies = copies;
        self.parts.shares.notifier = Some(bell);
    }

    fn is_shared(&self) -> bool {
        !self.parts.me.is_empty() && self.parts.shares.notifier.is_some()
    }

    pub fn knowledge(&mut self, now_ms: u64) -> Knowledge {
        self.send_copies(now_ms);
        let ranges = self.ranges();
        let standing = &self.parts.standing;
        let told = standing.held.keys().chain(standing.claims.keys());
        let shares = &self.parts.shares;
        let in_step = told.filter_map(|part| {
            let epoch = shares.sharing.epoch(*part)?;
            Some((*part, (epoch, shares.sharing.in_step(*part))))
        });
        let turns = self.turns_status.stored.as_ref();
        let locked = lock(&shares.copies);
        let parts = 0..usize::try_from(self.parts.count).unwrap_or(1);
        let copies = parts.filter_map(|part| {
            let copy = locked.whole(part).filter(|copy| copy.division == ranges)?;
            Some((part, (copy.node.clone(), copy.epoch)))
        });
        Knowledge {
            in_step: in_step.collect(),
            copies: copies.collect(),
            adopted: shares.adopted.clone(),
            linked: shares.sharing.linked_nodes().cloned().collect(),
            files: LeaseFiles {
                four: self.parts.keeping.number(),
                six: self.six.keeping.number(),
            },
            generations: [
                self.parts.keeping.generation(),
                self.six.keeping.generation(),
                turns.map(|turns| turns.generation),
                Some(locked.generation()),
            ],
            longest_s: self.longest_s(),
        }
    }

    fn longest_s(&self) -> u32 {
        let lengths = [
            self.lan.lease_s,
            self.lan.six.as_ref().map_or(0, |six| six.lease_s),
            self.parts.keeping.longest(),
            self.six.keeping.longest(),
        ];
        lengths.into_iter().max().unwrap_or(0)
    }

    pub(super) fn adopt_all(&mut self, now_ms: u64) {
        for (part, adopt) in self.parts.standing.adopts.clone() {
            let shares = &self.parts.shares;
            let has = |all: &BTreeMap<usize, u64>| all.get(&part) == Some(&adopt.into);
            if !has(&shares.adopting) && !has(&shares.adopted) {
                self.adopt(part, &adopt, now_ms);
            }
        }
    }

    fn adopt(&mut self, part: usize, adopt: &PartAdoption, now_ms: u64) {
        let ranges = self.ranges();
        let (range, range6) = (self.range(), self.range6());
        let pool = self.desk.as_mut().and_then(DhcpServer::pool);
        let pool6 = self.six.pool();
        // Waits until each range has a pool: without the pool, nothing can be stored.
        if range.is_some() != pool.is_some() || range6.is_some() != pool6.is_some() {
            return;
        }
        let shares = &mut self.parts.shares;
        let mut copies = lock(&shares.copies);
        let copy = copies.of(part, &adopt.node, adopt.epoch);
        let Some(copy) = copy.filter(|copy| copy.division == ranges).cloned() else {
            return;
        };
        copies.hold(part, adopt.into);
        drop(copies);
        if let Some(pool) = pool {
            let keeping = &mut self.parts.keeping;
            keeping.learn_longest(pool, adopt.longest_s, now_ms);
            pool.adopt(part, known_of(&copy), adopt.knowledge, now_ms);
        }
        self.six.adopt(part, known_of(&copy), adopt, now_ms);
        shares.adopting.insert(part, adopt.into);
        self.wake_writer();
    }

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

    /// From now on, reports to the other nodes the parts that this node holds. `before`: the parts
    /// that it held until now.
    pub(super) fn hold_shared(&mut self, before: &BTreeMap<usize, HeldPart>) {
        let NodeLeaseStatus { held, claims, .. } = &self.parts.standing;
        let shares = &mut self.parts.shares;
        let parts = usize::try_from(self.parts.count).unwrap_or(1);
        for part in 0..parts.max(held.len()) {
            let held = held.get(&part).map(|held| held.epoch);
            if held.is_some() && !before.contains_key(&part) {
                // Leases of which the node learns when it receives the part are sent, too, before
                // another node counts as complete.
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

    pub(super) fn give_up_shared(&mut self, part: usize) {
        self.parts.shares.sharing.drop_part(part);
    }

    /// Restarts the sharing after a change of the ranges or their parts.
    pub(super) fn share_anew(&mut self) {
        self.parts.standing.held.clear();
        self.parts.standing.claims.clear();
        self.parts.keeping.begin_anew();
        self.six.keeping.begin_anew();
        let shares = &mut self.parts.shares;
        shares.sharing.clear();
        shares.adopting.clear();
        shares.adopted.clear();
    }

    /// Sends complete copies to nodes that need them, and no longer waits for late nodes.
    pub fn send_copies(&mut self, now_ms: u64) {
        self.parts.shares.sharing.tick(now_ms);
        let missing = self.parts.shares.sharing.missing();
        if missing.is_empty() {
            return;
        }
        let (range, range6, ranges) = (self.range(), self.range6(), self.ranges());
        let pool = self.desk.as_mut().and_then(DhcpServer::pool);
        let pool6 = self.six.pool();
        if range.is_some() != pool.is_some() || range6.is_some() != pool6.is_some() {
            return;
        }
        for part in missing {
            let NodeLeaseStatus { held, claims, .. } = &self.parts.standing;
            let past = match held.get(&part) {
                Some(held) => held.past,
                None => claims
                    .get(&part)
                    .map_or_else(PreviousRanges::default, |(_, past)| *past),
            };
            let four = range.zip(pool.as_deref());
            let four = four.map(|(range, pool)| of_part(pool, range, part, past.four));
            let six = range6.zip(pool6.as_deref());
            let six = six.map(|(range, pool)| of_part(pool, range, part, past.six));
            let known = four.into_iter().flatten().chain(six.into_iter().flatten());
            let known: Vec<LeaseChange> = known.collect();
            self.parts.shares.sharing.begin(part, ranges, &known);
        }
        self.ring();
    }

    fn ring(&self) {
        if let Some(bell) = &self.parts.shares.notifier {
            bell();
        }
    }

    pub(super) fn send_changes<A: Address + Into<IpAddr>>(
        &mut self,
        range: Option<Range<A>>,
        changes: &[HolderChange<A>],
    ) {
        let Some(range) = range.filter(|_| self.is_shared() && !changes.is_empty()) else {
            return;
        };
        let mut parts: BTreeMap<usize, Vec<LeaseChange>> = BTreeMap::new();
        // Addresses outside of the range do not concern other nodes.
        for change in changes.iter().filter(|one| range.has(one.address)) {
            let part = parts.entry(range.part(change.address)).or_default();
            part.push(HolderChange {
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

    pub fn decide_confirmation(
        &mut self,
        mac: Mac,
        address: Option<IpAddr>,
        now_ms: u64,
    ) -> ConfirmationDecision {
        let is_stored = match address {
            Some(IpAddr::V6(_)) => self.may_tell6(mac),
            _ => self.can_confirm_lease(mac),
        };
        if !is_stored {
            return ConfirmationDecision::Never;
        }
        // Confirmations from before another node received the part do not count.
        self.end_parts(now_ms);
        let Some(address) = address.filter(|_| self.is_shared()) else {
            return ConfirmationDecision::Now;
        };
        let part = match address {
            IpAddr::V4(address) => {
                let own = self
                    .lan
                    .machines
                    .get(&mac)
                    .and_then(|machine| machine.address);
                let range = self.range().filter(|range| range.has(address));
                range
                    .filter(|_| own != Some(address))
                    .map(|range| range.part(address))
            }
            IpAddr::V6(address) => {
                let own = self.lan.six.as_ref().and_then(|six| six.machines.get(&mac));
                let range = self.range6().filter(|range| range.has(address));
                range
                    .filter(|_| own != Some(&address))
                    .map(|range| range.part(address))
            }
        };
        let Some(part) = part else {
            return ConfirmationDecision::Now;
        };
        let Some(held) = self.parts.standing.held.get(&part) else {
            return ConfirmationDecision::Never;
        };
        if held.is_unheard || self.longest_s() > held.longest_s {
            return ConfirmationDecision::Later;
        }
        if let Some([four, six, ..]) = self.parts.standing.recorded {
            // Waits until the cluster has recorded the generation, so that an older copy of the
            // file is not mistaken for the current one.
            let is_recorded = match address {
                IpAddr::V4(address) => self.parts.keeping.is_recorded(address, four, now_ms),
                IpAddr::V6(address) => self.six.keeping.is_recorded(address, six, now_ms),
            };
            if !is_recorded {
                return ConfirmationDecision::Later;
            }
        }
        let Some(held) = self.parts.standing.held.get(&part) else {
            return ConfirmationDecision::Never;
        };
        let sharing = &mut self.parts.shares.sharing;
        sharing.decide_confirmation(address, part, &held.named)
    }

    /// Explains why no offer can be made: the address could not be assigned, or the client has a
    /// lease from another node. None: an offer can be made.
    pub(super) fn cannot_offer(&self, mac: Mac, address: Option<IpAddr>) -> Option<String> {
        let address = address?;
        let is_ranged = match address {
            IpAddr::V4(address) => self.range().is_some_and(|range| range.has(address)),
            IpAddr::V6(address) => self.range6().is_some_and(|range| range.has(address)),
        };
        let machine = self.lan.machines.get(&mac);
        let own = machine.and_then(|machine| machine.address).map(IpAddr::V4);
        let own6 = self.lan.six.as_ref().and_then(|six| six.machines.get(&mac));
        let is_own = [own, own6.copied().map(IpAddr::V6)].contains(&Some(address));
        if !is_ranged || is_own {
            return None;
        }
        let trouble = || {
            let trouble = self
                .parts
                .keeping
                .trouble
                .clone()
                .or_else(|| self.six.keeping.trouble.clone());
            trouble.filter(|_| !self.can_keep())
        };
        // The client may have leases from both nodes, each from a time when the other node was
        // unreachable.
        if self.leases_to(mac, address) {
            return trouble();
        }
        let copies = lock(&self.parts.shares.copies);
        // Leases by previous ranges do not count.
        let is_its = |part: usize, has: IpAddr| match (has, address) {
            (IpAddr::V4(has), IpAddr::V4(_)) => {
                self.range().is_some_and(|range| range.is_of(has, part))
            }
            (IpAddr::V6(has), IpAddr::V6(_)) => {
                self.range6().is_some_and(|range| range.is_of(has, part))
            }
            _ => false,
        };
        if let Some((has, node)) = copies.key_of(mac, is_its) {
            return Some(format!(
                "it has {has} by node {node}, which answers, or whose part comes here in a moment"
            ));
        }
        drop(copies);
        trouble()
    }

    fn leases_to(&self, mac: Mac, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                let desk = self.desk.as_ref();
                desk.and_then(|desk| desk.leased(mac)) == Some(address)
            }
            IpAddr::V6(address) => self.six.leased(mac) == Some(address),
        }
    }

    /// Records a new connection to a node. Returns the number of the connection.
    pub fn linked(&mut self, node: &str, now_ms: u64) -> u64 {
        let link = self.parts.shares.sharing.linked(node);
        self.send_copies(now_ms);
        link
    }

    pub fn unlinked(&mut self, node: &str, link: u64) {
        self.parts.shares.sharing.unlinked(node, link);
    }

    pub fn next_copy_message(&mut self, node: &str) -> Option<LeaseCopyMessage> {
        self.parts.shares.sharing.next(node)
    }

    pub fn confirmed(&mut self, node: &str, link: u64, confirmation: Confirmation, now_ms: u64) {
        let sharing = &mut self.parts.shares.sharing;
        sharing.confirmed(node, link, confirmation, now_ms);
        self.parts.shares.rings.fetch_add(1, Ordering::AcqRel);
        self.wake_writer();
    }

    /// Returns and resets the number of wake-ups of the writing thread that only released
    /// responses.
    pub fn rings(&self) -> u64 {
        self.parts.shares.rings.swap(0, Ordering::AcqRel)
    }

    /// Names the nodes that know the leases, for operators. None: no other node has to know the
    /// leases.
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

    /// Explains, for operators, which nodes do not know the leases, and why. `known`: the nodes
    /// that have the leases.
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

    /// Explains to operators why no node assigns addresses of the range.
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
    use crate::config::{AddressSource, Ipv4Network, LanConfig};
    use crate::dhcp::desk::{ClusterNodeAddresses, DhcpNodeAddresses, DhcpServer};
    use crate::dhcp::pool::{AddressClaimResult, ClientRequestState};
    use crate::journal::LeaseJournal;
    use lab::ScratchDirectory;

    const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    /// Creates a node of a cluster that holds the first part of its range, and gives leases of an
    /// hour.
    fn site(scratch: &ScratchDirectory) -> NetworkState {
        let lan = LanConfig {
            gives: AddressSource::Range {
                first: ip(100),
                last: ip(109),
            },
            lease_s: 3_600,
            ..LanConfig::plain("br0")
        };
        let mut site = NetworkState::new("lan", lan, 2);
        site.share(SharedCopies::default(), Arc::new(|| {}));
        site.keep_in(
            LeaseJournal::open(scratch.path(), "lan").map_err(|error| error.to_string()),
            0,
        );
        let here = DhcpNodeAddresses {
            address: ip(2),
            network: Ipv4Network::of(ip(2), 24),
            nodes: ClusterNodeAddresses::default(),
        };
        site.set_node_address(Some(here), 0);
        site
    }

    #[test]
    fn a_client_whose_address_somebody_answers_for_late_is_shown_that_it_loses_its_lease() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut site = site(&scratch);
        let pool = site.desk.as_mut().and_then(DhcpServer::pool).unwrap();
        pool.take(0, true, 0);
        let address = pool.offer(CLIENT, None, 0).unwrap();
        pool.asks(address, 0);
        assert_eq!(
            pool.claim(CLIENT, address, ClientRequestState::Selecting, 1),
            AddressClaimResult::Yes
        );
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
        let scratch = ScratchDirectory::new().unwrap();
        let mut site = site(&scratch);
        let mut copy = LeaseCopy::new("beta", 4, 0);
        let given = |address: Ipv4Addr| HolderChange {
            address: address.into(),
            holder: Holder::Client(CLIENT),
        };
        copy.change(&[given(ip(105))]);
        lock(&site.parts.shares.copies).restore(1, copy);
        let offered = |site: &NetworkState, last| site.cannot_offer(CLIENT, Some(ip(last).into()));
        let why =
            "it has 10.0.0.105 by node beta, which answers, or whose part comes here in a moment";
        assert_eq!(offered(&site, 100).as_deref(), Some(why));
        // Alpha gave the lease while beta was unreachable.
        let pool = site.desk.as_mut().and_then(DhcpServer::pool).unwrap();
        pool.take(0, true, 0);
        let address = pool.offer(CLIENT, Some(ip(100)), 0).unwrap();
        assert_eq!(offered(&site, 100).as_deref(), Some(why));
        let pool = site.desk.as_mut().and_then(DhcpServer::pool).unwrap();
        assert_eq!(
            pool.claim(CLIENT, address, ClientRequestState::Selecting, 1),
            AddressClaimResult::Yes
        );
        assert_eq!(offered(&site, 100), None);
    }

    #[test]
    fn a_client_hears_of_a_lease_when_the_record_of_its_part_allows_that() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut site = site(&scratch);
        let mut tells = |is_unheard, longest_s| {
            let held = HeldPart {
                has_all_leases: true,
                until_ms: u64::MAX,
                is_unheard,
                longest_s,
                ..HeldPart::default()
            };
            let standing = NodeLeaseStatus {
                held: [(0, held)].into(),
                ..NodeLeaseStatus::default()
            };
            site.apply_node_status("alpha", standing, 0);
            site.decide_confirmation(CLIENT, Some(ip(100).into()), 0)
        };
        assert_eq!(tells(false, 3_600), ConfirmationDecision::Now);
        // A node that receives the part from this node would not know of the lease.
        assert_eq!(tells(true, 3_600), ConfirmationDecision::Later);
        // A node that receives the part would assume that the lease ends earlier.
        assert_eq!(tells(false, 3_599), ConfirmationDecision::Later);
        assert_eq!(tells(false, 7_200), ConfirmationDecision::Now);
    }
}
