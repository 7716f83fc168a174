//! Tracks clients that no other server answers. A node whose configuration version no majority
//! has confirmed may answer a client only after enough attempts.

use crate::mac::Mac;
use std::collections::HashMap;

/// Least number of attempts of a client.
pub const ATTEMPTS_MIN: u32 = 3;
/// Least time between the first attempt and the last, milliseconds: firmware sends at 0, 4, 12
/// and 28 s.
pub const UNANSWERED_MS: u64 = 6_000;
/// Messages of a client within this time are one attempt, milliseconds: relays forward the same
/// message several times.
const SAME_MS: u64 = 500;
/// Time after which a silent client is forgotten, milliseconds.
const KEPT_MS: u64 = 600_000;
/// Limit of clients in the table.
const CLIENTS_MAX: usize = 16_384;

/// Attempts of a client that no other server has answered, as far as this node sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Attempts {
    first_ms: u64,
    last_ms: u64,
    times: u32,
}

impl Attempts {
    fn are_enough(&self) -> bool {
        self.times >= ATTEMPTS_MIN && self.last_ms.saturating_sub(self.first_ms) >= UNANSWERED_MS
    }
}

/// Bounded table of clients that no other server answers. The offer of another server is unicast
/// to its client; this node sees only whether the client repeats its request, and which server it
/// accepts. The elapsed time in the packet (`secs`) is ignored: some clients send any number.
#[derive(Debug, Default)]
pub struct UnansweredClients {
    clients: HashMap<Mac, Attempts>,
}

impl UnansweredClients {
    /// Records a message of a client. `takes_another`: the message names another server. Returns
    /// whether this node may answer.
    pub fn note(&mut self, mac: Mac, takes_another: bool, now_ms: u64) -> bool {
        if takes_another {
            self.clients.remove(&mac);
            return false;
        }
        self.make_room(mac, now_ms);
        let attempts = self.clients.entry(mac).or_insert(Attempts {
            first_ms: now_ms,
            last_ms: now_ms,
            times: 1,
        });
        let since_ms = now_ms.saturating_sub(attempts.last_ms);
        if since_ms >= KEPT_MS {
            (attempts.first_ms, attempts.times) = (now_ms, 1);
        } else if since_ms >= SAME_MS {
            attempts.times = attempts.times.saturating_add(1);
        }
        if since_ms >= SAME_MS {
            attempts.last_ms = now_ms;
        }
        attempts.are_enough()
    }

    /// Returns whether this node may answer the client, given its earlier messages.
    pub fn may_answer(&self, mac: Mac, now_ms: u64) -> bool {
        let attempts = self.clients.get(&mac);
        attempts.is_some_and(|one| one.are_enough() && now_ms.saturating_sub(one.last_ms) < KEPT_MS)
    }

    fn make_room(&mut self, mac: Mac, now_ms: u64) {
        if self.clients.len() < CLIENTS_MAX || self.clients.contains_key(&mac) {
            return;
        }
        let is_recent = |one: &Attempts| now_ms.saturating_sub(one.last_ms) < KEPT_MS;
        self.clients.retain(|_, one| is_recent(one));
        if self.clients.len() >= CLIENTS_MAX {
            // So many clients are forged; a real one repeats its request.
            self.clients.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: Mac = Mac([2, 0, 0, 0, 0, 7]);

    /// Records messages of a client at these times; returns for each whether it may be answered.
    fn notes(clients: &mut UnansweredClients, times_s: &[u64]) -> Vec<bool> {
        let times = times_s.iter();
        times
            .map(|at_s| clients.note(CARD, false, at_s * 1_000))
            .collect()
    }

    #[test]
    fn client_is_answered_after_three_attempts_within_their_time() {
        let mut clients = UnansweredClients::default();
        assert_eq!(notes(&mut clients, &[0, 4, 12]), [false, false, true]);
        assert!(clients.may_answer(CARD, 13_000));
        // A boot loader repeats its request every second or two at first.
        let mut clients = UnansweredClients::default();
        let answered = notes(&mut clients, &[0, 1, 3, 7]);
        assert_eq!(answered, [false, false, false, true]);
    }

    #[test]
    fn client_that_takes_another_server_starts_again() {
        let mut clients = UnansweredClients::default();
        notes(&mut clients, &[0, 4]);
        assert!(!clients.note(CARD, true, 5_000));
        assert_eq!(notes(&mut clients, &[12, 16]), [false, false]);
        assert!(!clients.may_answer(CARD, 16_000));
    }

    #[test]
    fn copies_of_a_message_are_one_attempt() {
        let mut clients = UnansweredClients::default();
        for at_ms in [0, 1, 2, 7_000, 7_001, 7_002] {
            assert!(!clients.note(CARD, false, at_ms), "{at_ms}");
        }
        assert!(clients.note(CARD, false, 8_000));
    }

    #[test]
    fn client_that_paused_starts_again() {
        let mut clients = UnansweredClients::default();
        notes(&mut clients, &[0, 4, 12]);
        assert!(!clients.may_answer(CARD, 12_000 + KEPT_MS));
        assert!(!clients.note(CARD, false, 12_000 + KEPT_MS));
    }

    #[test]
    fn number_of_clients_is_bounded() {
        let mut clients = UnansweredClients::default();
        for one in 0..40_000_u32 {
            let [a, b, c, d] = one.to_be_bytes();
            clients.note(Mac([2, 0, a, b, c, d]), false, 0);
        }
        assert!(clients.clients.len() <= CLIENTS_MAX);
    }
}
