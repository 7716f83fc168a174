//! Holds back offers for 100 ms, for ARP replies of another host that uses the address. A machine
//! that is offered an address in use has to restart its configuration, and firmware takes long for
//! that. Requests for an address that may be another client's wait, too, until their client has
//! responded to ARP.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Time that the user of an address has to respond. Firmware waits for offers for a second at
/// least.
pub(super) const WAIT: Duration = Duration::from_millis(100);
/// Limit of offers that wait at one time. Further offers are sent at once: their clients learn of
/// another user later.
const OFFERS_MAX: usize = 512;
/// Limit of addresses that a client is offered in place of ones in use.
const AGAIN_MAX: u8 = 16;

#[derive(Debug)]
pub(super) struct PendingOffers<T>(Vec<PendingOffer<T>>);

/// Offer that waits for ARP replies.
#[derive(Debug)]
struct PendingOffer<T> {
    address: Ipv4Addr,
    until: Instant,
    asked: PendingRequest,
    out: T,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PendingRequest {
    pub(super) packet: Vec<u8>,
    /// Number of times that an ARP reply has led to another decision about the packet.
    pub(super) again: u8,
}

impl<T> Default for PendingOffers<T> {
    fn default() -> PendingOffers<T> {
        PendingOffers(Vec::new())
    }
}

impl<T> PendingOffers<T> {
    /// Adds an offer, or returns it if the limit is reached.
    pub(super) fn add(
        &mut self,
        address: Ipv4Addr,
        asked: PendingRequest,
        out: T,
        now: Instant,
    ) -> Option<T> {
        // A client that repeats its request meanwhile gets one response.
        self.0.retain(|offer| offer.address != address);
        if self.0.len() >= OFFERS_MAX {
            return Some(out);
        }
        self.0.push(PendingOffer {
            address,
            until: now + WAIT,
            asked,
            out,
        });
        None
    }

    /// Returns whether an offer of an address waits: no client gets the address before.
    pub(super) fn is_waiting(&self, address: Ipv4Addr) -> bool {
        self.0.iter().any(|offer| offer.address == address)
    }

    /// Returns the time at which the next offer may be sent.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.iter().map(|offer| offer.until).min()
    }

    /// Removes and returns the offers whose wait has ended without a conflict.
    pub(super) fn take(&mut self, now: Instant) -> Vec<(PendingRequest, T)> {
        let is_due = |offer: &mut PendingOffer<T>| offer.until <= now;
        self.0
            .extract_if(.., is_due)
            .map(|offer| (offer.asked, offer.out))
            .collect()
    }

    /// Handles an ARP reply for an address: removes the entry for which `ends` holds, and returns
    /// its request for a new decision, for an offer with another address.
    pub(super) fn drop_offer(
        &mut self,
        address: Ipv4Addr,
        ends: impl Fn(&T) -> bool,
    ) -> Option<PendingRequest> {
        let mut all = self.0.iter();
        let at = all.position(|offer| offer.address == address && ends(&offer.out))?;
        let mut asked = self.0.swap_remove(at).asked;
        asked.again += 1;
        (asked.again < AGAIN_MAX).then_some(asked)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0a14_0000 + number)
    }

    fn taken(waiting: &mut PendingOffers<&'static str>, now: Instant) -> Vec<&'static str> {
        waiting.take(now).into_iter().map(|(_, out)| out).collect()
    }

    fn asked(again: u8) -> PendingRequest {
        PendingRequest {
            packet: vec![1],
            again,
        }
    }

    #[test]
    fn an_offer_is_made_when_nobody_has_answered_and_once() {
        let now = Instant::now();
        let mut waiting = PendingOffers::default();
        assert_eq!(waiting.add(ip(1), asked(0), "first", now), None);
        assert_eq!(waiting.add(ip(1), asked(0), "again", now + WAIT / 2), None);
        assert_eq!(waiting.due(), Some(now + WAIT / 2 + WAIT));
        assert!(waiting.is_waiting(ip(1)) && !waiting.is_waiting(ip(2)));
        assert_eq!(taken(&mut waiting, now + WAIT), Vec::<&str>::new());
        assert_eq!(taken(&mut waiting, now + WAIT * 2), ["again"]);
        assert_eq!(taken(&mut waiting, now + WAIT * 2), Vec::<&str>::new());
        assert_eq!(waiting.due(), None);
    }

    #[test]
    fn an_address_that_somebody_uses_is_not_offered_and_its_client_asks_anew_for_a_while() {
        let now = Instant::now();
        let mut waiting = PendingOffers::default();
        waiting.add(ip(1), asked(0), "offer", now);
        assert_eq!(waiting.drop_offer(ip(2), |_| true), None);
        assert_eq!(waiting.drop_offer(ip(1), |_| true), Some(asked(1)));
        assert_eq!(taken(&mut waiting, now + WAIT), Vec::<&str>::new());
        waiting.add(ip(1), asked(0), "offer", now);
        assert_eq!(waiting.drop_offer(ip(1), |out| *out != "offer"), None);
        assert_eq!(
            taken(&mut waiting, now + WAIT),
            ["offer"],
            "its address is its own"
        );
        waiting.add(ip(1), asked(AGAIN_MAX - 1), "offer", now);
        assert_eq!(waiting.drop_offer(ip(1), |_| true), None);
    }

    #[test]
    fn what_has_no_room_is_made_at_once() {
        let now = Instant::now();
        let mut waiting = PendingOffers::default();
        for number in 0..OFFERS_MAX {
            let number = u32::try_from(number).unwrap();
            assert_eq!(waiting.add(ip(number), asked(0), "offer", now), None);
        }
        let beyond = ip(1 << 16);
        assert_eq!(waiting.add(beyond, asked(0), "beyond", now), Some("beyond"));
        waiting.clear();
        assert_eq!(waiting.due(), None);
    }
}
