//! Defines ranges of addresses, divides them into parts, and computes the addresses of a part (its
//! span), for both address families.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Most addresses of a range.
pub const RANGE_MAX: u32 = 1 << 16;

/// An IP address of either family.
pub trait Address: Copy + Ord + Hash + Debug + Display + FromStr + Into<IpAddr> {
    /// Returns the address as a number.
    fn bits(self) -> u128;

    /// Returns the address with a number; the last address, where the number is beyond it.
    fn of_bits(bits: u128) -> Self;

    /// Returns the address if it is of this family.
    fn of_ip(address: IpAddr) -> Option<Self>;
}

impl Address for Ipv4Addr {
    fn bits(self) -> u128 {
        self.to_bits().into()
    }

    fn of_bits(bits: u128) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX))
    }

    fn of_ip(address: IpAddr) -> Option<Ipv4Addr> {
        match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }
}

impl Address for Ipv6Addr {
    fn bits(self) -> u128 {
        self.to_bits()
    }

    fn of_bits(bits: u128) -> Ipv6Addr {
        Ipv6Addr::from_bits(bits)
    }

    fn of_ip(address: IpAddr) -> Option<Ipv6Addr> {
        match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }
    }
}

/// Range of addresses, and the number of parts into which it is divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range<A = Ipv4Addr> {
    /// First address of the range.
    pub first: A,
    /// Last address of the range, included.
    pub last: A,
    /// Number of parts, one for each node.
    pub parts: u32,
}

impl<A: Address> Range<A> {
    /// Returns the number of addresses, at most [`RANGE_MAX`].
    pub fn len(self) -> u32 {
        let beyond = self.last.bits().saturating_sub(self.first.bits());
        let count = u32::try_from(beyond).unwrap_or(u32::MAX);
        count.saturating_add(1).min(RANGE_MAX)
    }

    /// Returns whether the range has no address.
    pub fn is_empty(self) -> bool {
        self.first > self.last
    }

    /// Returns whether an address is in the range.
    pub fn has(self, address: A) -> bool {
        let offset = address.bits().checked_sub(self.first.bits());
        offset.is_some_and(|offset| offset < u128::from(self.len()))
    }

    /// Returns whether an address belongs to a part.
    pub fn is_of(self, address: A, part: usize) -> bool {
        self.has(address) && self.part(address) == part
    }

    /// Returns the part of an address: neighbours belong together.
    pub fn part(self, address: A) -> usize {
        let offset = address.bits().saturating_sub(self.first.bits());
        let part = offset.saturating_mul(self.parts.max(1).into()) / u128::from(self.len().max(1));
        usize::try_from(part).unwrap_or(0)
    }

    pub(super) fn all(self) -> impl Iterator<Item = A> {
        (0..self.len()).map(move |offset| A::of_bits(self.first.bits() + u128::from(offset)))
    }

    /// Returns the addresses of a part; None: the part is empty.
    pub fn span(self, part: usize) -> Option<Span<A>> {
        if self.is_empty() {
            return None;
        }
        let (len, parts) = (u128::from(self.len()), u128::from(self.parts.max(1)));
        let part = u128::try_from(part).ok().filter(|part| *part < parts)?;
        let first = (part * len).div_ceil(parts);
        let behind = ((part + 1) * len).div_ceil(parts);
        (first < behind).then(|| Span {
            first: A::of_bits(self.first.bits() + first),
            last: A::of_bits(self.first.bits() + behind - 1),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span<A = Ipv4Addr> {
    /// First address of the span.
    pub first: A,
    /// Last address of the span, included.
    pub last: A,
}

impl<A: Address> Span<A> {
    /// Returns whether an address is in the span.
    pub fn has(self, address: A) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// Returns whether the two spans overlap.
    pub fn meets(self, other: Span<A>) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Returns the smallest span that contains both.
    pub fn with(self, other: Span<A>) -> Span<A> {
        Span {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_in_the_span_of_its_part_and_in_no_other() {
        for (len, parts) in [(1, 1), (1, 2), (2, 3), (7, 3), (100, 2), (65_536, 64)] {
            let first = Ipv4Addr::new(10, 0, 0, 250);
            let last = Ipv4Addr::from_bits(first.to_bits() + len - 1);
            let range = Range { first, last, parts };
            for address in range.all() {
                let its = |part: &usize| range.span(*part).is_some_and(|span| span.has(address));
                let all: Vec<usize> = (0..parts as usize + 1).filter(its).collect();
                assert_eq!(all, [range.part(address)], "{address} of {len} in {parts}");
            }
        }
    }
}
