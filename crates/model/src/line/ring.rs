//! Implements the hash ring of `hash-type consistent`: a key belongs to the nearest point on the
//! ring. The points of a server depend on that server alone, so only its own keys move when it is
//! added or removed. Points and distances equal HAProxy's, so that a key keeps its server when
//! Evenkeel replaces HAProxy or runs in parallel.

use crate::sample::hash::avalanche;
use std::net::IpAddr;

/// Maximum number of points of a ring; weights are scaled down beyond it.
const POINTS_MAX: u64 = 1 << 20;
/// Distance between the seeds of consecutive ids, before they are mixed.
const POINTS_OF_ID: u32 = 4096;

/// Value from which the points of a server are computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seed(u32);

impl Seed {
    /// Returns the seed of an id, as in HAProxy up to 2.9.
    pub(crate) fn of_id(id: u32) -> Seed {
        Seed(id.wrapping_mul(POINTS_OF_ID))
    }

    /// Returns the seed of an id with `hash-key id`, as in HAProxy from 3.0 on.
    pub(crate) fn of_mixed_id(id: u32) -> Seed {
        Seed(avalanche(id))
    }

    pub(crate) fn of_address(ip: IpAddr, port: Option<u16>) -> Seed {
        let port = port.map_or(0, |port| avalanche(port.into()));
        Seed(match ip {
            IpAddr::V4(ip) => avalanche(port.wrapping_add(u32::from_ne_bytes(ip.octets()))),
            IpAddr::V6(ip) => twox_hash::XxHash32::oneshot(port, &ip.octets()),
        })
    }

    fn point(self, n: u32) -> u32 {
        avalanche(self.0.wrapping_add(n))
    }
}

/// A server: its index, its seed, and its weight, which is the number of points.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingMember {
    pub(crate) at: u32,
    pub(crate) seed: Seed,
    pub(crate) weight: u32,
}

/// Sorted points, and the servers to which they belong.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    points: Vec<(u32, u32)>,
    members: Vec<RingMember>,
    weights: u64,
    /// True if the ring contains the backup servers, false if it contains the active ones.
    backup: bool,
}

impl Ring {
    /// Creates the ring of the active servers or of the backups, sorted by index.
    pub fn new(members: Vec<RingMember>, backup: bool) -> Ring {
        let weights = members.iter().map(|member| u64::from(member.weight)).sum();
        let mut ring = Ring {
            points: Vec::new(),
            members,
            weights,
            backup,
        };
        let scale = ring.scale();
        for member in &ring.members {
            ring.points.extend(points(member, scale));
        }
        ring.points.sort_unstable();
        ring
    }

    /// Changes the weight of a server. Ignores a server that is not on the ring.
    pub(crate) fn weigh(&mut self, at: u32, weight: u32) {
        let Ok(place) = self.members.binary_search_by_key(&at, |member| member.at) else {
            return;
        };
        let scale = self.scale();
        let was = std::mem::replace(&mut self.members[place].weight, weight);
        self.weights = self.weights - u64::from(was) + u64::from(weight);
        if self.scale() != scale {
            *self = Ring::new(std::mem::take(&mut self.members), self.backup);
            return;
        }
        let mut more: Vec<(u32, u32)> = points(&self.members[place], scale).collect();
        more.sort_unstable();
        let mut more = more.into_iter().peekable();
        let mut merged = Vec::with_capacity(self.points.len() + more.len());
        for point in self.points.iter().filter(|(_, server)| *server != at) {
            while let Some(earlier) = more.next_if(|new| new < point) {
                merged.push(earlier);
            }
            merged.push(*point);
        }
        merged.extend(more);
        self.points = merged;
    }

    fn scale(&self) -> u64 {
        self.weights.div_ceil(POINTS_MAX).max(1)
    }

    pub(crate) fn is_of_backups(&self) -> bool {
        self.backup
    }

    pub(crate) fn weights(&self) -> u64 {
        self.weights
    }

    /// Returns the servers from the nearest point on, once around; a server occurs several times.
    /// Of two points at the same distance, the one before the key is used.
    pub(crate) fn from(&self, key: u32) -> impl Iterator<Item = u32> + Clone {
        let behind = self.points.partition_point(|(point, _)| *point < key);
        let (next, previous) = (self.points.get(behind), behind.checked_sub(1));
        let next = next.or(self.points.first());
        let last = self.points.len().saturating_sub(1);
        let previous = previous.unwrap_or(last);
        let before = self.points.get(previous);
        let begin = match (before, next) {
            (Some((before, _)), Some((next, _)))
                if key.wrapping_sub(*before) <= next.wrapping_sub(key) =>
            {
                previous
            }
            _ => behind,
        };
        let (before, behind) = self.points.split_at(begin);
        behind.iter().chain(before).map(|(_, server)| *server)
    }
}

fn points(member: &RingMember, scale: u64) -> impl Iterator<Item = (u32, u32)> {
    let count = match member.weight {
        0 => 0,
        weight => (u64::from(weight) / scale).max(1) as u32,
    };
    let RingMember { at, seed, .. } = *member;
    (0..count).map(move |n| (seed.point(n), at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(of: &[(u32, u32, u32)]) -> Ring {
        let members = of.iter().map(|(at, id, weight)| RingMember {
            at: *at,
            seed: Seed::of_id(*id),
            weight: *weight,
        });
        Ring::new(members.collect(), false)
    }

    fn owners(ring: &Ring) -> Vec<u32> {
        let keys = (0..10_000).map(avalanche);
        keys.filter_map(|key| ring.from(key).next()).collect()
    }

    #[test]
    fn only_the_keys_of_a_server_move_when_it_goes() {
        let with = owners(&ring(&[(0, 11, 16), (1, 22, 32), (2, 33, 16)]));
        let without = owners(&ring(&[(0, 11, 16), (2, 33, 16)]));
        for (was, is) in with.iter().zip(&without) {
            assert!(*was == 1 || was == is);
        }
    }

    #[test]
    fn shares_follow_the_weights() {
        let owners = owners(&ring(&[(0, 1, 160), (1, 2, 320), (2, 3, 160)]));
        let count = |at| owners.iter().filter(|owner| **owner == at).count();
        assert!((3500..6500).contains(&count(1)), "{}", count(1));
        assert!((1500..3500).contains(&count(0)), "{}", count(0));
    }

    #[test]
    fn a_ring_that_changed_is_the_one_that_would_be_made_anew() {
        let mut changed = ring(&[(0, 1, 16), (1, 2, 16), (4, 3, 48)]);
        for (at, weight) in [(1, 0), (0, 64), (4, 16), (1, 32), (9, 5), (0, 0), (0, 1)] {
            changed.weigh(at, weight);
        }
        let anew = ring(&[(0, 1, 1), (1, 2, 32), (4, 3, 16)]);
        assert_eq!(changed.points, anew.points);
        assert_eq!(changed.weights(), anew.weights());
    }

    #[test]
    fn a_ring_is_bounded_also_when_weights_grow() {
        let servers: Vec<(u32, u32, u32)> = (0..2000).map(|n| (n, n, 500)).collect();
        let mut ring = ring(&servers);
        assert_eq!(ring.points.len(), 1_000_000);
        for at in 0..100 {
            ring.weigh(at, 4096);
        }
        assert!(ring.points.len() as u64 <= POINTS_MAX);
        assert!(Ring::default().from(7).next().is_none());
    }

    #[test]
    fn the_nearest_point_wins_and_of_two_the_one_before() {
        let ring = Ring {
            points: vec![(10, 0), (20, 1), (u32::MAX - 9, 2)],
            ..Ring::default()
        };
        let owner = |key| ring.from(key).next().unwrap();
        let keys = [10, 15, 16, 20, 21, u32::MAX - 9, u32::MAX, 0, 1];
        assert_eq!(keys.map(owner), [0, 0, 1, 1, 1, 2, 2, 2, 0]);
        assert_eq!(ring.from(16).collect::<Vec<_>>(), [1, 2, 0]);
        assert_eq!(ring.from(15).collect::<Vec<_>>(), [0, 1, 2]);
    }
}
