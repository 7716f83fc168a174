//! Stores the leases of one address range on disk, builds the pool of the range from them, and
//! knows for which parts of the range this node knows all leases.

use super::HeldPart;
use crate::dhcp::pool::{AddressKnowledge, Holder, HolderChange, Pool, end_of};
use crate::dhcp::range::{Address, Range};
use crate::journal::LeaseJournal;
use crate::mac::Mac;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Maximum time for which a client waits until the cluster has recorded the generation of its
/// lease, milliseconds. Usually that takes a fifth of this time. If the cluster cannot write, the
/// client gets the lease after this time.
const RECORDED_MS: u64 = 500;

/// Stored leases of one range.
#[derive(Debug)]
pub(super) struct LeaseStore<A> {
    journal: Option<LeaseJournal<A>>,
    opened: u32,
    /// Leases that the cluster has not recorded yet: the generation of each, and the time until
    /// which its client waits, milliseconds.
    unrecorded: HashMap<A, (u32, u64)>,
    pub(super) trouble: Option<String>,
    /// Parts of the range from which this node may assign addresses, if a journal is open: the node
    /// has stored which leases of the part are unclear.
    taken: BTreeSet<usize>,
    /// Reason why the leases are still in the previous directory instead of the configured one.
    pub(super) stays: Option<String>,
    /// Machines whose lease is not on disk: they get no response.
    unstored: HashSet<Mac>,
    /// Configured lease time, seconds.
    lease_s: u32,
    /// Longest earlier lease time, seconds, and the time until which a lease of that length may be
    /// valid, milliseconds.
    longer: (u32, u64),
}

impl<A> Default for LeaseStore<A> {
    fn default() -> LeaseStore<A> {
        LeaseStore {
            journal: None,
            opened: 0,
            unrecorded: HashMap::new(),
            trouble: None,
            stays: None,
            taken: BTreeSet::new(),
            unstored: HashSet::new(),
            lease_s: 0,
            longer: (0, 0),
        }
    }
}

/// Function that returns what is known of each address of a part that this node receives.
pub(super) type Fates<'a, A> = dyn Fn(&HeldPart) -> Box<dyn Fn(A) -> AddressKnowledge> + 'a;

pub(super) struct PoolConfig<A> {
    pub(super) range: Range<A>,
    pub(super) lease_s: u32,
    /// Addresses that no client gets.
    pub(super) reserved: HashSet<A>,
    /// Addresses that no new client gets.
    pub(super) unoffered: HashSet<A>,
}

impl<A: Address> LeaseStore<A> {
    pub(super) fn keep_in(&mut self, journal: Result<LeaseJournal<A>, String>) {
        match journal {
            Ok(journal) => {
                self.lease_s = self.lease_s.max(journal.longest_s());
                self.opened = journal.generation();
                self.journal = Some(journal);
                self.trouble = None;
            }
            Err(trouble) => self.trouble = Some(trouble),
        }
    }

    /// Closes the journal, and returns its content for another journal. None: there is no journal.
    pub(super) fn leave(&mut self) -> Option<Vec<u8>> {
        self.journal.take().map(|journal| journal.contents())
    }

    pub(super) fn enter(&mut self, journal: LeaseJournal<A>) {
        self.keep_in(Ok(journal));
        self.unstored.clear();
    }

    pub(super) fn is_kept(&self) -> bool {
        self.journal.is_some()
    }

    /// Sets the time of new leases, and returns the length of the longest lease that may be valid,
    /// seconds. A longer lease is only given after that length is on disk.
    fn longest_s(&mut self, lease_s: u32, now_ms: u64) -> u32 {
        let before_s = std::mem::replace(&mut self.lease_s, lease_s);
        if self.longer.1 <= now_ms {
            self.longer = (0, 0);
        }
        if before_s > lease_s {
            let until_ms = end_of(u64::from(before_s) * 1_000, now_ms);
            self.longer = (self.longer.0.max(before_s), self.longer.1.max(until_ms));
        }
        self.store_longest();
        self.longest()
    }

    pub(super) fn longest(&self) -> u32 {
        self.lease_s.max(self.longer.0)
    }

    /// Records that other nodes may have given leases of this length, seconds, before this node
    /// received a part.
    pub(super) fn learn_longest(&mut self, pool: &mut Pool<A>, before_s: u32, now_ms: u64) {
        if before_s <= self.lease_s {
            return;
        }
        let until_ms = end_of(u64::from(before_s) * 1_000, now_ms);
        self.longer = (self.longer.0.max(before_s), self.longer.1.max(until_ms));
        self.store_longest();
        pool.set_longest(before_s);
    }

    fn store_longest(&mut self) {
        let longest_s = self.longest();
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.set_longest(longest_s)
        {
            self.trouble = Some(journal.trouble(&error));
        }
    }

    pub(super) fn generation(&self) -> Option<u32> {
        self.journal.as_ref().map(LeaseJournal::generation)
    }

    pub(super) fn opened_generation(&self) -> Option<u32> {
        self.journal.as_ref().map(|_| self.opened)
    }

    /// Returns whether the cluster has recorded the lease of an address, or its client has waited
    /// long enough for that. `recorded`: the generation in the cluster's record.
    pub(super) fn is_recorded(&mut self, address: A, recorded: u32, now_ms: u64) -> bool {
        let is_waiting =
            |(generation, until_ms): &(u32, u64)| *generation > recorded && now_ms < *until_ms;
        if self.unrecorded.get(&address).is_some_and(is_waiting) {
            return false;
        }
        self.unrecorded.remove(&address);
        true
    }

    /// Drops the leases of a journal that is older than the cluster's record, as if the journal had
    /// been lost.
    pub(super) fn forget(&mut self, newest: u32) {
        self.taken.clear();
        if let Some(mut journal) = self.journal.take() {
            match journal.forget(newest) {
                Ok(()) => {
                    self.opened = journal.generation();
                    self.journal = Some(journal);
                }
                // The next poll opens the file again.
                Err(error) => self.trouble = Some(journal.trouble(&error)),
            }
        }
    }

    /// Explains why the owners of some addresses are unknown: see [`LeaseJournal::lost_words`].
    pub(super) fn lost_words(&self) -> Option<String> {
        self.journal.as_ref().and_then(LeaseJournal::lost_words)
    }

    /// Returns the number of the journal file; zero: none yet.
    pub(super) fn number(&self) -> u32 {
        self.journal.as_ref().map_or(0, LeaseJournal::store)
    }

    pub(super) fn pool(
        &mut self,
        plan: PoolConfig<A>,
        before: Option<&Pool<A>>,
        held: &BTreeMap<usize, HeldPart>,
        fates: &Fates<'_, A>,
        now_ms: u64,
    ) -> Pool<A> {
        let is_kept = self.is_kept();
        let journal = self.journal.iter();
        let mut known: BTreeMap<A, Holder> = journal.flat_map(LeaseJournal::known).collect();
        // Adds the knowledge of the previous pool that is not on disk: without a journal no client
        // got a lease, but unclear addresses stay unclear.
        let others = before.into_iter().flat_map(Pool::known);
        let is_unclear = |holder: &Holder| matches!(holder, Holder::Unclear(_) | Holder::Before(_));
        known.extend(others.filter(|(_, holder)| !is_kept || is_unclear(holder)));
        let longest_s = self.longest_s(plan.lease_s, now_ms);
        let (range, reserved) = (plan.range, plan.reserved);
        let mut pool = Pool::new(range, plan.lease_s, longest_s, reserved, known, now_ms);
        pool.set_unoffered(plan.unoffered);
        if let Some(before) = before {
            pool.keep_ends(before, now_ms);
        }
        for (part, held) in held {
            if self.taken.contains(part) {
                pool.take(*part, true, now_ms)
            } else {
                self.take(&mut pool, *part, held, fates, now_ms)
            }
            pool.set_known_elsewhere(*part, held.is_former_there);
        }
        pool
    }

    /// Stores which addresses of a part are unclear when this node receives the part.
    fn take(
        &mut self,
        pool: &mut Pool<A>,
        part: usize,
        held: &HeldPart,
        fates: &Fates<'_, A>,
        now_ms: u64,
    ) {
        self.learn_longest(pool, held.before_s, now_ms);
        if !held.had_former {
            // The node that knows which addresses are withheld from now on does not know those that
            // were withheld before.
            pool.has_no_former(part);
        }
        pool.take_as(part, now_ms, fates(held));
        if !held.has_former {
            pool.has_no_former(part);
        }
        if self.is_kept() {
            self.taken.insert(part);
        }
    }

    pub(super) fn begin_anew(&mut self) {
        self.taken.clear();
    }

    pub(super) fn retain(&mut self, held: &BTreeMap<usize, HeldPart>) {
        self.taken.retain(|part| held.contains_key(part));
    }

    /// Releases a part of the range: another node may hold it from now on.
    pub(super) fn give_up(&mut self, pool: Option<&mut Pool<A>>, part: usize) {
        if let Some(pool) = pool {
            pool.give_up(part);
        }
        self.taken.remove(&part);
    }

    /// Applies the parts that this node holds to the pool. If there is no pool, the next pool
    /// receives them.
    pub(super) fn apply_held_parts(
        &mut self,
        mut pool: Option<&mut Pool<A>>,
        before: &BTreeMap<usize, HeldPart>,
        held: &BTreeMap<usize, HeldPart>,
        fates: &Fates<'_, A>,
        now_ms: u64,
    ) {
        for part in before.keys().filter(|part| !held.contains_key(part)) {
            self.give_up(pool.as_deref_mut(), *part);
        }
        let Some(pool) = pool else { return };
        for (part, held) in held {
            if !before.contains_key(part) {
                self.take(pool, *part, held, fates, now_ms);
            }
            pool.set_known_elsewhere(*part, held.is_former_there);
        }
    }

    /// Writes the changes to disk for the next start. If that fails, machines whose lease is not on
    /// disk get no response ([`LeaseStore::may_tell`]).
    pub(super) fn store(&mut self, changes: &[HolderChange<A>], now_ms: u64) {
        if changes.is_empty() && self.trouble.is_none() {
            return;
        }
        let unstored = changes.iter().filter_map(HolderChange::mac);
        let Some(journal) = &mut self.journal else {
            self.unstored.extend(unstored);
            return;
        };
        let stored = match self.trouble {
            None => journal.add(changes),
            // Changes that an earlier write did not store are written now, too.
            Some(_) => {
                journal.remember(changes);
                journal.rewrite_after_error()
            }
        };
        match stored {
            Ok(()) => {
                self.trouble = None;
                self.unstored.clear();
                let of = (journal.generation(), now_ms.saturating_add(RECORDED_MS));
                let leases = changes.iter().filter(|change| change.mac().is_some());
                self.unrecorded
                    .retain(|_, (_, until_ms)| *until_ms > now_ms);
                self.unrecorded
                    .extend(leases.map(|change| (change.address, of)));
            }
            Err(error) => {
                self.unstored.extend(unstored);
                self.trouble = Some(journal.trouble(&error));
            }
        }
    }

    pub(super) fn may_tell(&self, mac: Mac) -> bool {
        !self.unstored.contains(&mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::pool::AdoptedKnowledge;
    use lab::ScratchDirectory;
    use std::net::Ipv4Addr;

    const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const HOUR_MS: u64 = 3_600_000;
    /// Time by which this node prolongs a lease as a margin, milliseconds.
    const PACKET_MS: u64 = 60_000;

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn pool(
        keeping: &mut LeaseStore<Ipv4Addr>,
        before: Option<&Pool>,
        lease_s: u32,
        now_ms: u64,
    ) -> Pool {
        let plan = PoolConfig {
            range: Range {
                first: ip(7),
                last: ip(7),
                parts: 1,
            },
            lease_s,
            reserved: HashSet::new(),
            unoffered: HashSet::new(),
        };
        let held = HeldPart {
            has_all_leases: true,
            ..HeldPart::default()
        };
        let fates = |_: &HeldPart| -> Box<dyn Fn(Ipv4Addr) -> AddressKnowledge> {
            Box::new(|_| AddressKnowledge::Known)
        };
        keeping.pool(plan, before, &[(0, held)].into(), &fates, now_ms)
    }

    #[test]
    fn a_lease_lasts_as_long_as_was_promised_also_over_a_reload_and_a_restart_with_a_shorter_one() {
        let scratch = ScratchDirectory::new().unwrap();
        let start = || {
            let mut keeping = LeaseStore::default();
            keeping.keep_in(Ok(LeaseJournal::open(scratch.path(), "lan").unwrap()));
            keeping
        };
        let is_taken = |pool: &mut Pool, now_ms| {
            pool.expire(now_ms);
            pool.of(CLIENT).is_some()
        };
        let mut keeping = start();
        let mut first = pool(&mut keeping, None, 12 * 3_600, 0);
        first.claim(
            CLIENT,
            ip(7),
            crate::dhcp::pool::ClientRequestState::Selecting,
            0,
        );
        keeping.store(&first.changes(), 0);
        let mut shorter = pool(&mut keeping, Some(&first), 600, HOUR_MS);
        assert!(is_taken(&mut shorter, 12 * HOUR_MS));
        // A reload does not prolong the lease.
        assert!(!is_taken(&mut shorter, 12 * HOUR_MS + 2 * PACKET_MS));
        drop(keeping);
        let mut keeping = start();
        let mut shorter = pool(&mut keeping, None, 600, 2 * HOUR_MS);
        assert!(is_taken(&mut shorter, 12 * HOUR_MS));
        assert!(!is_taken(&mut shorter, 16 * HOUR_MS));
        // The longer leases have ended, so a lease that is learned afterwards counts as a short
        // one.
        let mut later = pool(&mut keeping, None, 600, 20 * HOUR_MS);
        assert!(is_taken(&mut later, 20 * HOUR_MS));
        assert!(!is_taken(&mut later, 21 * HOUR_MS));
        drop(keeping);
        let mut last = pool(&mut start(), None, 600, 20 * HOUR_MS);
        assert!(!is_taken(&mut last, 21 * HOUR_MS));
    }
    #[test]
    fn leases_of_a_part_last_as_long_as_the_node_before_may_have_promised_also_over_a_restart() {
        let scratch = ScratchDirectory::new().unwrap();
        let start = || {
            let mut keeping = LeaseStore::default();
            keeping.keep_in(Ok(LeaseJournal::open(scratch.path(), "lan").unwrap()));
            keeping
        };
        let mut keeping = start();
        let mut own = pool(&mut keeping, None, 600, 0);
        keeping.learn_longest(&mut own, 12 * 3_600, 0);
        own.adopt(
            0,
            [(ip(7), Holder::Client(CLIENT))],
            AdoptedKnowledge::default(),
            0,
        );
        let has = |pool: &mut Pool, now_ms| {
            pool.expire(now_ms);
            pool.of(CLIENT).is_some()
        };
        assert!(has(&mut own, 12 * HOUR_MS));
        assert_eq!(keeping.longest(), 12 * 3_600);
        assert!(!has(&mut own, 12 * HOUR_MS + 2 * PACKET_MS));
        drop(keeping);
        assert_eq!(start().longest(), 12 * 3_600);
        // The leases of this node have the configured length.
        let mut keeping = start();
        let mut own = pool(&mut keeping, None, 24 * 3_600, 0);
        keeping.learn_longest(&mut own, 12 * 3_600, 0);
        assert_eq!(keeping.longest(), 24 * 3_600);
    }
    #[test]
    fn a_withheld_address_that_its_client_renews_stays_its_own_as_long_as_was_promised() {
        let mut keeping = LeaseStore::default();
        let mut before = pool(&mut keeping, None, 12 * 3_600, 0);
        before.claim(
            CLIENT,
            ip(7),
            crate::dhcp::pool::ClientRequestState::Selecting,
            0,
        );
        before.give_up(0);
        before.take(0, false, 0);
        let mut shorter = pool(&mut keeping, Some(&before), 600, HOUR_MS);
        // The client may not receive the response that shortens its lease.
        let claim = shorter.claim(
            CLIENT,
            ip(7),
            crate::dhcp::pool::ClientRequestState::Renew,
            HOUR_MS,
        );
        assert_eq!(claim, crate::dhcp::pool::AddressClaimResult::Yes);
        shorter.expire(12 * HOUR_MS);
        assert_eq!(shorter.of(CLIENT), Some(ip(7)));
        shorter.expire(12 * HOUR_MS + 2 * PACKET_MS);
        assert_eq!(shorter.of(CLIENT), None);
    }
}
