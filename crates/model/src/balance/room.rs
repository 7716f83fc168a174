//! Implements `hash-balance-factor`: calculates how many sessions a server may have before its
//! keys go to the next server. Weights are in units of [`WEIGHT_SCALE`].

use crate::config::{Proxy, Server};
use crate::state::WEIGHT_SCALE;

/// Allowed sessions of a backend: `each` per unit of weight, and the `rest` of that division, to be
/// shared among the servers.
pub struct Room {
    each: u64,
    rest: u64,
    weights: u64,
}

impl Room {
    pub(super) fn new(proxy: &Proxy, weights: u64) -> Room {
        let servers = proxy.servers.iter();
        let sessions: u64 = servers
            .map(|server| u64::from(server.state.traffic.sessions.current()))
            .sum();
        Room::for_sessions(sessions + 1, proxy.hash_balance_factor, weights)
    }

    fn for_sessions(sessions: u64, factor: u32, weights: u64) -> Room {
        let all = (sessions * u64::from(factor)).div_ceil(100);
        Room {
            each: all / weights,
            rest: all % weights,
            weights,
        }
    }

    /// Returns the number of sessions that a server may have, at least one. `before` is the total
    /// weight of the servers before it in the configuration: the remainder of the division goes to
    /// the servers in that order.
    pub(super) fn of(&self, weight: u64, before: u64) -> u64 {
        let shared = |weights: u64| weights * self.rest / self.weights;
        let more = shared(before + weight) - shared(before);
        (weight * self.each + more).max(1)
    }
}

/// Returns, for each server, the total configured weight of the servers before it: active servers
/// and backups separately. Servers that start in maintenance do not count.
pub(super) fn weights_before(servers: &[Server]) -> Vec<u32> {
    let mut sums = [0u32; 2];
    let before = servers.iter().map(|server| {
        let options = &server.options;
        let sum = &mut sums[usize::from(options.backup)];
        let weight = if options.disabled {
            0
        } else {
            options.weight * WEIGHT_SCALE
        };
        let before = *sum;
        *sum += weight;
        before
    });
    before.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_shared_by_the_weights_to_the_last_one() {
        // Three servers of weight 1, factor 150, 9 sessions and a new one: 15 are allowed.
        let room = Room::for_sessions(10, 150, 48);
        let of = [0, 16, 32].map(|before| room.of(16, before));
        assert_eq!(of, [5, 5, 5]);
        // 11 sessions on three servers: 16.5 is rounded up to 17.
        let room = Room::for_sessions(11, 150, 48);
        let of = [0, 16, 32].map(|before| room.of(16, before));
        assert_eq!((of, of.iter().sum::<u64>()), ([5, 6, 6], 17));
        let room = Room::for_sessions(1, 101, 48);
        assert_eq!([0, 16, 32].map(|before| room.of(16, before)), [1, 1, 1]);
    }
}
