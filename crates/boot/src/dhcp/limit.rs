//! Limits DHCP clients: the packets of each client by a token bucket, in a bounded table, and the
//! DECLINEs of each client and of each network.

use crate::mac::Mac;
use std::collections::HashMap;

/// Bucket size: packets that a client may send at once.
const BURST: u32 = 40;
/// Refill time of one token, milliseconds: a client may send 40 packets per second for long, more
/// than a machine ever sends.
const REFILL_MS: u64 = 25;
/// Limit of clients in the table.
const CLIENTS_MAX: usize = 16_384;

/// Token buckets of the clients.
#[derive(Debug, Default)]
pub struct ClientRateLimiter {
    buckets: HashMap<Mac, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u32,
    since_ms: u64,
}

impl ClientRateLimiter {
    /// Takes a token of a client. Returns whether its packet is processed.
    pub fn admits(&mut self, mac: Mac, now_ms: u64) -> bool {
        if self.buckets.len() >= CLIENTS_MAX && !self.buckets.contains_key(&mac) {
            // Removes clients with full buckets, which need no entry.
            let full = u64::from(BURST) * REFILL_MS;
            self.buckets
                .retain(|_, bucket| now_ms.saturating_sub(bucket.since_ms) < full);
            if self.buckets.len() >= CLIENTS_MAX {
                // More clients at once than there are: these MAC addresses are forged. To forget
                // all of them gives a flooding client no more than new addresses would.
                self.buckets.clear();
            }
        }
        let bucket = self.buckets.entry(mac).or_insert(Bucket {
            left: BURST,
            since_ms: now_ms,
        });
        let refilled = now_ms.saturating_sub(bucket.since_ms) / REFILL_MS;
        if refilled > 0 {
            let refilled_now = u32::try_from(refilled).unwrap_or(u32::MAX);
            bucket.left = bucket.left.saturating_add(refilled_now).min(BURST);
            bucket.since_ms = bucket.since_ms.saturating_add(refilled * REFILL_MS);
        }
        let admits = bucket.left > 0;
        bucket.left = bucket.left.saturating_sub(1);
        admits
    }
}

/// Addresses that one client may decline within [`DECLINES_MS`]. A network may have a machine or
/// two with addresses of their own; an attacker that forges MAC addresses to empty the range
/// declines all.
const DECLINES_MAX: usize = 2;
/// Period of the limit, equal to the quarantine of a declined address, milliseconds.
const DECLINES_MS: u64 = super::pool::DECLINED_MS;

#[derive(Debug, Default)]
pub struct DeclineLimiter {
    clients: HashMap<Mac, [Option<u64>; DECLINES_MAX]>,
    /// End of the quarantine of each declined address of the network, milliseconds.
    network: Vec<u64>,
}

impl DeclineLimiter {
    /// Returns whether the DECLINE of a client is trusted; the address is then quarantined until
    /// `until_ms`. `most`: limit of addresses of the network that may be quarantined at one time.
    pub fn admits(&mut self, mac: Mac, (until_ms, most): (u64, usize), now_ms: u64) -> bool {
        self.network.retain(|until_ms| *until_ms > now_ms);
        if self.network.len() >= most || !self.is_trusted(mac, now_ms) {
            return false;
        }
        self.network.push(until_ms);
        true
    }

    fn is_trusted(&mut self, mac: Mac, now_ms: u64) -> bool {
        let counts = |at: &u64| now_ms.saturating_sub(*at) < DECLINES_MS;
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&mac) {
            self.clients
                .retain(|_, all| all.iter().flatten().any(counts));
            if self.clients.len() >= CLIENTS_MAX {
                return false;
            }
        }
        let all = self.clients.entry(mac).or_default();
        let free = all.iter_mut().find(|one| !one.as_ref().is_some_and(counts));
        free.map(|free| *free = Some(now_ms)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(number: u32) -> Mac {
        let [a, b, c, d] = number.to_be_bytes();
        Mac([2, 0, a, b, c, d])
    }

    #[test]
    fn a_client_is_answered_so_often_and_again_after_a_while() {
        let mut limit = ClientRateLimiter::default();
        let admitted = (0..100).filter(|_| limit.admits(mac(1), 1000)).count();
        assert_eq!(admitted, 40);
        assert!(limit.admits(mac(2), 1000), "another one is not affected");
        assert!(!limit.admits(mac(1), 1024));
        assert!(limit.admits(mac(1), 1025) && !limit.admits(mac(1), 1026));
        let admitted = (0..100).filter(|_| limit.admits(mac(1), 60_000)).count();
        assert_eq!(admitted, 40, "it never saves up more");
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory() {
        let mut limit = ClientRateLimiter::default();
        for number in 0..200_000 {
            limit.admits(mac(number), u64::from(number) / 100);
            assert!(limit.buckets.len() <= CLIENTS_MAX);
        }
    }

    #[test]
    fn a_client_declines_two_addresses_in_ten_minutes_and_others_as_many() {
        let mut declines = DeclineLimiter::default();
        let admits = |declines: &mut DeclineLimiter, mac, at| declines.admits(mac, (at + 1, 9), at);
        let admitted = |declines: &mut DeclineLimiter, at| admits(declines, mac(1), at);
        assert!(admitted(&mut declines, 0) && admitted(&mut declines, 1));
        assert!(!admitted(&mut declines, 2) && !admitted(&mut declines, DECLINES_MS - 1));
        assert!(admits(&mut declines, mac(2), 2));
        assert!(admitted(&mut declines, DECLINES_MS));
        assert!(!admitted(&mut declines, DECLINES_MS));
        // The table does not grow beyond its limit.
        for number in 0..2 * u32::try_from(CLIENTS_MAX).unwrap() {
            admits(&mut declines, mac(number), DECLINES_MS);
        }
        assert!(declines.clients.len() <= CLIENTS_MAX);
    }

    #[test]
    fn a_network_loses_no_more_addresses_to_declines_than_it_may() {
        let mut declines = DeclineLimiter::default();
        let mut admitted = |at| {
            let admits = |one: &u32| declines.admits(mac(*one), (at + 100, 3), at);
            (1..9).filter(admits).count()
        };
        assert_eq!((admitted(0), admitted(99), admitted(100)), (3, 0, 3));
    }
}
