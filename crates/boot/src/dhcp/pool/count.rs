//! How many addresses of a range are in which state.

use super::{Address, Pool, Use};

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
    /// Of held parts, that somebody may have got from another node.
    pub unclear: u64,
    /// Of these, whose clients a node knows that is there.
    pub known_elsewhere: u64,
    /// Until when some of these are nobody's who does not renew, at most.
    pub unclear_until_ms: u64,
}

impl<A: Address> Pool<A> {
    /// How many addresses are in which state.
    pub fn count(&self) -> Count {
        let of = |is: fn(&Use) -> bool| self.uses.values().filter(|one| is(one)).count() as u64;
        let reserved = self
            .reserved
            .iter()
            .filter(|one| self.range.has(**one))
            .count() as u64;
        let unclear = self
            .uses
            .iter()
            .filter(|(address, one)| matches!(one, Use::Unclear { .. }) && self.holds(**address));
        Count {
            unclear: unclear.clone().count() as u64,
            known_elsewhere: { unclear.clone() }
                .filter(|(address, _)| self.is_known_elsewhere(**address))
                .count() as u64,
            unclear_until_ms: { unclear.map(|(_, one)| one.until_ms()) }
                .max()
                .unwrap_or(0),
            all: u64::from(self.range.len()).saturating_sub(reserved),
            leased: of(|one| matches!(one, Use::Leased { .. })),
            free: self.free.len() as u64,
            declined: of(|one| matches!(one, Use::Declined { .. })),
        }
    }
}
