//! A ring of points for consistent hashes: a key belongs to the first server at
//! or behind it. Where the points of a server are depends on that server alone, so
//! when one comes or goes only its own keys move.

use crate::rules::hash::xxh32;

/// Points of a server for each unit of its weight.
const POINTS: u64 = 16;
/// Most points of a ring; weights count for less beyond it.
const POINTS_MAX: u64 = 1 << 18;

/// The points, in their order, and the sum of the weights.
#[derive(Debug, Default)]
pub(super) struct Ring {
    points: Vec<(u32, u32)>,
    weights: u64,
}

impl Ring {
    /// Of servers: their places, their own numbers and their weights.
    pub(super) fn new(servers: &[(u32, u32, u32)]) -> Ring {
        let weights: u64 = servers
            .iter()
            .map(|(_, _, weight)| u64::from(*weight))
            .sum();
        let scale = (weights * POINTS).div_ceil(POINTS_MAX).max(1);
        let mut points = Vec::new();
        for (at, number, weight) in servers.iter().filter(|(_, _, weight)| *weight > 0) {
            let count = (u64::from(*weight) * POINTS / scale).max(1);
            for n in 0..count as u32 {
                let [a, b, c, d] = number.to_be_bytes();
                let [e, f, g, h] = n.to_be_bytes();
                points.push((xxh32(&[a, b, c, d, e, f, g, h], 0), *at));
            }
        }
        points.sort_unstable();
        Ring { points, weights }
    }

    /// The sum of the weights.
    pub(super) fn weights(&self) -> u64 {
        self.weights
    }

    /// The servers from a key on, once around; a server comes several times.
    pub(super) fn from(&self, key: u32) -> impl Iterator<Item = u32> + Clone {
        // Near keys are to lie far apart.
        let place = xxh32(&key.to_be_bytes(), 1);
        let begin = self.points.partition_point(|(point, _)| *point < place);
        let (before, behind) = self.points.split_at(begin);
        behind.iter().chain(before).map(|(_, server)| *server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(ring: &Ring) -> Vec<u32> {
        (0..10_000)
            .filter_map(|key| ring.from(key).next())
            .collect()
    }

    #[test]
    fn only_the_keys_of_a_server_move_when_it_goes() {
        let with = owners(&Ring::new(&[(0, 11, 1), (1, 22, 2), (2, 33, 1)]));
        let without = owners(&Ring::new(&[(0, 11, 1), (2, 33, 1)]));
        for (was, is) in with.iter().zip(&without) {
            assert!(*was == 1 || was == is);
        }
    }

    #[test]
    fn shares_follow_the_weights() {
        let owners = owners(&Ring::new(&[(0, 1, 10), (1, 2, 20), (2, 3, 10)]));
        let count = |at| owners.iter().filter(|owner| **owner == at).count();
        assert!((3500..6500).contains(&count(1)), "{}", count(1));
        assert!((1500..3500).contains(&count(0)), "{}", count(0));
    }

    #[test]
    fn a_ring_is_bounded() {
        let servers: Vec<(u32, u32, u32)> = (0..2000).map(|n| (n, n, 256)).collect();
        let ring = Ring::new(&servers);
        assert!(ring.points.len() as u64 <= POINTS_MAX + 2000);
        assert!(Ring::new(&[]).from(7).next().is_none());
    }
}
