//! Copies at the nodes that do not hold a part.

use super::{CHANGES_MAX, LeaseCopyContent, LeaseCopyMessage, PARTS_MAX};
use crate::dhcp::pool::{Holder, HolderChange};
use crate::dhcp::range::RANGE_MAX;
use crate::mac::Mac;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// Limit of addresses in a copy: those of a range of IPv4 and of one of IPv6.
const ADDRESSES_MAX: usize = 2 * RANGE_MAX as usize;

/// Copies of the parts of other nodes.
#[derive(Debug, Default)]
pub struct LeaseCopies {
    whole: BTreeMap<usize, LeaseCopy>,
    /// Incomplete copies. The previous complete copy stays until then.
    coming: BTreeMap<usize, LeaseCopy>,
    /// Epoch in which this node last held each part: messages of earlier holders are ignored.
    held: BTreeMap<usize, u64>,
    /// Generation of the stored copies; and when they were read.
    generation: u32,
    opened: u32,
}

/// Copy of the leases of a part.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeaseCopy {
    /// Node that holds or held the part.
    pub node: String,
    /// Epoch in which the node held the part.
    pub epoch: u64,
    /// Checksum of the ranges by which the leases were given.
    pub ranges: u64,
    known: BTreeMap<IpAddr, Holder>,
    by_mac: HashMap<Mac, BTreeSet<IpAddr>>,
}

impl LeaseCopy {
    /// Creates a copy without leases.
    pub fn new(node: &str, epoch: u64, ranges: u64) -> LeaseCopy {
        LeaseCopy {
            node: node.to_owned(),
            epoch,
            ranges,
            known: BTreeMap::new(),
            by_mac: HashMap::new(),
        }
    }

    /// Applies changes to the copy.
    pub fn change(&mut self, changes: &[HolderChange<IpAddr>]) {
        for change in changes {
            let address = change.address;
            let before = match change.holder {
                Holder::Nobody => self.known.remove(&address),
                holder => self.known.insert(address, holder),
            };
            if let Some(Holder::Client(mac)) = before
                && let Entry::Occupied(mut all) = self.by_mac.entry(mac)
            {
                all.get_mut().remove(&address);
                if all.get().is_empty() {
                    all.remove();
                }
            }
            if let Holder::Client(mac) = change.holder {
                self.by_mac.entry(mac).or_default().insert(address);
            }
        }
    }

    /// Returns the holder of each address.
    pub fn known(&self) -> impl ExactSizeIterator<Item = (IpAddr, Holder)> {
        let all = self.known.iter();
        all.map(|(address, holder)| (*address, *holder))
    }

    /// Returns the addresses that a client has.
    fn of(&self, mac: Mac) -> impl Iterator<Item = IpAddr> {
        self.by_mac.get(&mac).into_iter().flatten().copied()
    }
}

/// Effect of a message: the copy has to be on disk before the holder gets a confirmation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CopyEffect {
    /// The message needs no confirmation.
    Some,
    Whole,
    /// A complete copy has changed.
    Changes,
}

/// Reason for which a message is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LeaseCopyError {
    /// The part has had another holder since.
    #[error("the part has another holder since")]
    Old,
    /// The start of the copy is missing.
    #[error("leases of a part whose beginning is missing")]
    NotBegun,
    /// More addresses than a copy can have.
    #[error("more leases than a range has")]
    TooMuch,
}

impl LeaseCopies {
    /// Records that this node holds a part: messages of the previous holder no longer apply.
    pub fn hold(&mut self, part: usize, epoch: u64) {
        let held = self.held.entry(part).or_default();
        *held = epoch.max(*held);
        self.coming.remove(&part);
    }

    /// Restores a copy from disk.
    pub fn restore(&mut self, part: usize, copy: LeaseCopy) {
        self.whole.insert(part, copy);
    }

    /// Returns the number of writes of copies, over all starts: older copies of the files have a
    /// smaller one.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Returns the generation of the files when they were read.
    pub fn opened_generation(&self) -> u32 {
        self.opened
    }

    /// Records that copies of a generation are on disk.
    pub fn stored(&mut self, generation: u32) {
        self.generation = self.generation.max(generation);
    }

    /// Records that copies of a generation were read from disk.
    pub fn read(&mut self, generation: u32) {
        self.stored(generation);
        self.opened = self.generation;
    }

    /// Drops all copies, because their files are older than the recorded generation.
    pub fn forget_older(&mut self, newest: u32) {
        self.whole.clear();
        self.coming.clear();
        self.read(newest);
    }

    pub fn forget(&mut self, part: usize) {
        self.whole.remove(&part);
        self.coming.remove(&part);
    }

    /// Returns the copy of a part if it has all leases that this holder gave in this epoch.
    pub fn of(&self, part: usize, node: &str, epoch: u64) -> Option<&LeaseCopy> {
        let copy = self.whole.get(&part);
        copy.filter(|copy| copy.node == node && copy.epoch == epoch)
    }

    /// Returns the complete copy of a part.
    pub fn whole(&self, part: usize) -> Option<&LeaseCopy> {
        self.whole.get(&part)
    }

    /// Returns the address that a client has in a part of another node, and that node. `is_its`:
    /// returns whether an address belongs to a part.
    pub fn address_of(
        &self,
        mac: Mac,
        is_its: impl Fn(usize, IpAddr) -> bool,
    ) -> Option<(IpAddr, &str)> {
        let is_its = &is_its;
        let mut all = self.others().flat_map(|(part, copy)| {
            let its = copy.of(mac).filter(move |address| is_its(part, *address));
            its.map(|address| (address, copy.node.as_str()))
        });
        all.next()
    }

    /// Returns the copies of parts that another node has held since this one did.
    pub fn others(&self) -> impl Iterator<Item = (usize, &LeaseCopy)> {
        let is_held = |part: &usize, copy: &LeaseCopy| {
            self.held.get(part).is_some_and(|held| copy.epoch <= *held)
        };
        let others = self.whole.iter();
        let others = others.filter(move |(part, copy)| !is_held(part, copy));
        others.map(|(part, copy)| (*part, copy))
    }

    /// Returns the incomplete copy of a part.
    #[cfg(test)]
    pub(in crate::dhcp) fn coming(&self, part: usize) -> Option<&LeaseCopy> {
        self.coming.get(&part)
    }

    /// Applies a message of a holder.
    ///
    /// # Errors
    ///
    /// The sender is no holder, or the message is invalid.
    pub fn take(
        &mut self,
        node: &str,
        told: &LeaseCopyMessage,
    ) -> Result<CopyEffect, LeaseCopyError> {
        let part = told.part;
        if part >= PARTS_MAX {
            return Err(LeaseCopyError::TooMuch);
        }
        let is_old = self.held.get(&part).is_some_and(|held| told.epoch <= *held);
        if is_old {
            return Err(LeaseCopyError::Old);
        }
        let is_its = |copy: &LeaseCopy| copy.node == node && copy.epoch == told.epoch;
        match &told.said {
            LeaseCopyContent::Begin(ranges) => {
                self.coming
                    .insert(part, LeaseCopy::new(node, told.epoch, *ranges));
                Ok(CopyEffect::Some)
            }
            LeaseCopyContent::Changes(changes) => {
                let (copy, took) = match self.coming.get_mut(&part).filter(|copy| is_its(copy)) {
                    Some(copy) => (Some(copy), CopyEffect::Some),
                    None => (
                        self.whole.get_mut(&part).filter(|copy| is_its(copy)),
                        CopyEffect::Changes,
                    ),
                };
                let copy = copy.ok_or(LeaseCopyError::NotBegun)?;
                if changes.len() > CHANGES_MAX
                    || copy.known.len() + changes.len() > ADDRESSES_MAX + CHANGES_MAX
                {
                    return Err(LeaseCopyError::TooMuch);
                }
                copy.change(changes);
                Ok(took)
            }
            LeaseCopyContent::Whole => {
                let coming = self.coming.remove(&part);
                let whole = coming.filter(|copy| copy.node == node && copy.epoch == told.epoch);
                self.whole
                    .insert(part, whole.ok_or(LeaseCopyError::NotBegun)?);
                Ok(CopyEffect::Whole)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn told(epoch: u64, said: LeaseCopyContent) -> LeaseCopyMessage {
        LeaseCopyMessage {
            part: 1,
            epoch,
            number: 1,
            said,
        }
    }

    #[test]
    fn a_client_is_found_by_its_mac_address_as_long_as_it_has_an_address_of_the_part() {
        let client = Mac([2, 0, 0, 0, 0, 1]);
        let mut copies = LeaseCopies::default();
        let set = |copies: &mut LeaseCopies, last, holder| {
            let address = ip(last);
            let change = LeaseCopyContent::Changes(vec![HolderChange { address, holder }]);
            copies.take("beta", &told(4, change)).unwrap();
        };
        let all = |copies: &LeaseCopies| {
            let found = copies.address_of(client, |part, one| part == 1 && one != ip(9));
            found.map(|(address, node)| (address, node.to_owned()))
        };
        for said in [LeaseCopyContent::Begin(3), LeaseCopyContent::Whole] {
            copies.take("beta", &told(4, said)).unwrap();
        }
        set(&mut copies, 9, Holder::Client(client));
        assert_eq!(all(&copies), None);
        set(&mut copies, 7, Holder::Client(client));
        let found = Some((ip(7), "beta".to_owned()));
        assert_eq!(all(&copies), found);
        set(&mut copies, 7, Holder::Client(Mac([2, 0, 0, 0, 0, 2])));
        assert_eq!(all(&copies), None);
        set(&mut copies, 7, Holder::Client(client));
        set(&mut copies, 7, Holder::Unclear(None));
        assert_eq!(all(&copies), None);
        set(&mut copies, 7, Holder::Client(client));
        set(&mut copies, 7, Holder::Nobody);
        assert_eq!(all(&copies), None);
        set(&mut copies, 7, Holder::Client(client));
        copies.hold(1, 5);
        assert_eq!(all(&copies), None);
    }
}
