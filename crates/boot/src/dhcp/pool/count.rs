//! Counts the addresses of a range by state.

use super::{Address, AddressUse, Pool};

/// Number of addresses of a range in each state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AddressCount {
    /// Addresses of the range that are not reserved.
    pub all: u64,
    pub leased: u64,
    /// Addresses that a new client can get from this node.
    pub free: u64,
    /// Declined addresses: other hosts use them.
    pub declined: u64,
    /// Addresses of held parts that clients may have got from another node.
    pub unclear: u64,
    /// Unclear addresses whose clients are known to a node that is up.
    pub known_elsewhere: u64,
    /// Latest time at which the unclear addresses become free unless a client renews,
    /// milliseconds.
    pub unclear_until_ms: u64,
}

impl<A: Address> Pool<A> {
    /// Counts the addresses in each state.
    pub fn count(&self) -> AddressCount {
        let of =
            |is: fn(&AddressUse) -> bool| self.uses.values().filter(|one| is(one)).count() as u64;
        let reserved = self
            .reserved
            .iter()
            .filter(|one| self.range.has(**one))
            .count() as u64;
        let unclear = self.uses.iter().filter(|(address, one)| {
            matches!(one, AddressUse::Unclear { .. }) && self.holds(**address)
        });
        AddressCount {
            unclear: unclear.clone().count() as u64,
            known_elsewhere: { unclear.clone() }
                .filter(|(address, _)| self.is_known_elsewhere(**address))
                .count() as u64,
            unclear_until_ms: { unclear.map(|(_, one)| one.until_ms()) }
                .max()
                .unwrap_or(0),
            all: u64::from(self.range.len()).saturating_sub(reserved),
            leased: of(|one| matches!(one, AddressUse::Leased { .. })),
            free: self.free.len() as u64,
            declined: of(|one| matches!(one, AddressUse::Declined { .. })),
        }
    }
}
