//! Builds the table that HAProxy's `static-rr` and map-based hashes use: each server occurs as
//! often as its weight, distributed as evenly as possible. The entries equal HAProxy's, so that a
//! client keeps its server when Evenkeel replaces HAProxy.

use std::collections::{BTreeMap, BTreeSet};

/// Maximum length of a table; weights are scaled down beyond it.
const TURNS_MAX: u64 = 1 << 22;

fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// Builds the table of (server, weight) pairs, in their order.
///
/// With each turn, the credit of every server grows by its share. The next turn goes to the server
/// with the highest credit in whole turns, the first among equals.
pub(super) fn turns(weights: &[(u32, u32)]) -> Vec<u32> {
    let shares = reduced(weights);
    if shares.iter().all(|(_, share)| *share == 1) {
        // Gives the same result with equal weights, and is a thousand times faster for many
        // servers.
        return shares.iter().map(|(server, _)| *server).collect();
    }
    let total: u64 = shares.iter().map(|(_, share)| share).sum();
    // For each entry of the table: the servers whose credit grows by one there. For the k-th time,
    // that is when their share of the entries so far reaches k.
    let mut due: Vec<Vec<u32>> = vec![Vec::new(); total as usize];
    for (at, (_, share)) in shares.iter().enumerate() {
        for k in 1..=*share {
            due[((k * total).div_ceil(*share) - 1) as usize].push(at as u32);
        }
    }
    let mut owed = vec![0i64; shares.len()];
    let mut ranks: BTreeMap<i64, BTreeSet<u32>> = BTreeMap::new();
    ranks.insert(0, (0..shares.len() as u32).collect());
    let mut turns = Vec::with_capacity(total as usize);
    for now_due in due {
        for at in now_due {
            shift(&mut ranks, &mut owed, at, 1);
        }
        let most = ranks
            .last_key_value()
            .and_then(|(_, rank)| rank.first().copied());
        let Some(at) = most else { break };
        shift(&mut ranks, &mut owed, at, -1);
        turns.push(shares[at as usize].0);
    }
    turns
}

/// Divides the weights above 0 by their greatest common divisor, and scales them down if their sum
/// exceeds [`TURNS_MAX`]. A scaled weight is at least 1.
fn reduced(weights: &[(u32, u32)]) -> Vec<(u32, u64)> {
    let positive = || weights.iter().filter(|(_, weight)| *weight > 0);
    let common = positive().fold(0, |common, (_, weight)| divisor(common, u64::from(*weight)));
    let sum: u64 = positive().map(|(_, weight)| u64::from(*weight)).sum();
    let scale = (sum / common.max(1)).div_ceil(TURNS_MAX).max(1);
    positive()
        .map(|(server, weight)| (*server, (u64::from(*weight) / common / scale).max(1)))
        .collect()
}

fn shift(ranks: &mut BTreeMap<i64, BTreeSet<u32>>, owed: &mut [i64], at: u32, by: i64) {
    let rank = &mut owed[at as usize];
    if let Some(members) = ranks.get_mut(rank) {
        members.remove(&at);
        if members.is_empty() {
            ranks.remove(rank);
        }
    }
    *rank += by;
    ranks.entry(*rank).or_default().insert(at);
}

/// Returns HAProxy's hash of a client's address for map-based tables: the exclusive or of its
/// 32-bit words in network order.
pub(super) fn hash_of(address: std::net::IpAddr) -> u32 {
    match address {
        std::net::IpAddr::V4(v4) => u32::from(v4),
        std::net::IpAddr::V6(v6) => v6.octets().chunks_exact(4).fold(0, |hash, word| {
            hash ^ word.iter().fold(0, |w, byte| w << 8 | u32::from(*byte))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table_of(weights: &[u32]) -> String {
        let pairs: Vec<(u32, u32)> = weights
            .iter()
            .enumerate()
            .map(|(at, weight)| (at as u32, *weight))
            .collect();
        turns(&pairs)
            .iter()
            .map(|server| server.to_string())
            .collect()
    }

    #[test]
    fn turns_are_those_that_haproxy_gives() {
        // Recorded from haproxy 2.6.12 with `balance static-rr`.
        assert_eq!(table_of(&[1, 1, 1]), "012");
        assert_eq!(table_of(&[2, 1]), "001");
        assert_eq!(table_of(&[1, 2, 3]), "021212");
        assert_eq!(table_of(&[5, 1, 1]), "0001002");
        assert_eq!(table_of(&[10, 20]), "011");
        assert_eq!(table_of(&[3, 3, 1]), "0101012");
    }

    #[test]
    fn equal_weights_have_one_turn_each_in_the_order_of_the_file() {
        assert_eq!(table_of(&[7, 7, 0, 7]), "013");
        assert_eq!(table_of(&[1, 1, 1, 1, 1]), "01234");
        assert!(turns(&[]).is_empty());
    }

    #[test]
    fn a_server_without_weight_has_no_turn() {
        assert_eq!(table_of(&[0, 4, 0]), "1");
        assert_eq!(table_of(&[0, 0]), "");
    }

    #[test]
    fn addresses_hash_as_in_haproxy() {
        // Recorded from haproxy 2.6.12 with `balance source`, weights 1, 2, 3: the clients
        // 127.0.0.1 to 127.0.0.6 went to the servers 2, 0, 2, 1, 2, 1.
        let table = table_of(&[1, 2, 3]);
        let of = |host: u8| {
            let hash = hash_of(std::net::IpAddr::from([127, 0, 0, host])) as usize;
            &table[hash % table.len()..][..1]
        };
        assert_eq!((1..=6).map(of).collect::<String>(), "202121");
    }
}
