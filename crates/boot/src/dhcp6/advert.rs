//! Schedules and encodes router advertisements, which say that addresses of the network come from
//! DHCPv6 (RFC 4861, 6.2). Without such an advertisement no firmware and no system sends a Solicit.
//! No I/O.
//!
//! This node is no router: the router lifetime is zero, so no host sends it packets for other
//! networks.

use crate::config::Ipv6Network;
use crate::mac::Mac;
use std::net::SocketAddrV6;

/// Number of initial advertisements, which come faster (MAX_INITIAL_RTR_ADVERTISEMENTS).
const FIRST_COUNT: u8 = 3;
/// Longest interval of the initial advertisements, milliseconds
/// (MAX_INITIAL_RTR_ADVERT_INTERVAL).
const FIRST_MS: u64 = 16_000;
/// Shortest interval of unsolicited advertisements, milliseconds (MinRtrAdvInterval).
const MIN_MS: u64 = 200_000;
/// Longest interval of unsolicited advertisements, milliseconds (MaxRtrAdvInterval).
const MAX_MS: u64 = 600_000;
/// Shortest interval between two multicast advertisements of which the second is solicited,
/// milliseconds (MIN_DELAY_BETWEEN_RAS).
const BETWEEN_MS: u64 = 3_000;
/// Longest delay of a solicited advertisement, milliseconds (MAX_RA_DELAY_TIME).
const DELAY_MS: u64 = 500;
/// Maximum number of unicast advertisements that wait. If there are more machines, a multicast
/// advertisement goes to all.
const WAITING_MAX: usize = 64;

/// Valid lifetime of the prefix, seconds (AdvValidLifetime).
const VALID_S: u32 = 2_592_000;
/// Preferred lifetime of the prefix, seconds (AdvPreferredLifetime).
const PREFERRED_S: u32 = 604_800;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdvertDestination {
    /// All nodes of the link.
    All,
    /// The machine that sent a solicitation.
    One(SocketAddrV6),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdvertSchedule {
    /// Number of initial advertisements that are left.
    first_left: u8,
    /// Time of the next multicast advertisement, milliseconds.
    next_ms: u64,
    last_ms: Option<u64>,
    /// Machines that sent a solicitation, and the time of each response.
    waiting: Vec<(u64, SocketAddrV6)>,
}

impl AdvertSchedule {
    /// Creates the schedule of a node that starts to advertise: the first advertisement is due at
    /// once.
    pub fn new(now_ms: u64) -> AdvertSchedule {
        AdvertSchedule {
            first_left: FIRST_COUNT,
            next_ms: now_ms,
            last_ms: None,
            waiting: Vec::new(),
        }
    }

    /// Records a router solicitation: a unicast advertisement is due within 500 ms. `from`: the
    /// sender; None if it has no address yet, so that the next multicast advertisement is due
    /// earlier instead. `random`: any number.
    pub fn asked(&mut self, from: Option<SocketAddrV6>, now_ms: u64, random: u64) {
        let due_ms = now_ms.saturating_add(random % (DELAY_MS + 1));
        if let Some(from) = from {
            if self.waiting.iter().any(|(_, waits)| *waits == from) {
                return;
            }
            if self.waiting.len() < WAITING_MAX {
                return self.waiting.push((due_ms, from));
            }
        }
        let earliest_ms = self
            .last_ms
            .map_or(0, |last| last.saturating_add(BETWEEN_MS));
        self.next_ms = self.next_ms.min(due_ms.max(earliest_ms));
    }

    /// Returns the time of the next advertisement, unicast or multicast.
    pub fn due_ms(&self) -> u64 {
        let waiting = self.waiting.iter().map(|(due_ms, _)| *due_ms);
        waiting.min().unwrap_or(u64::MAX).min(self.next_ms)
    }

    /// Removes and returns the destinations of the advertisements that are due. `random`: any
    /// number.
    pub fn take(&mut self, now_ms: u64, random: u64) -> Vec<AdvertDestination> {
        let (due, waiting) = self
            .waiting
            .drain(..)
            .partition(|(due_ms, _)| *due_ms <= now_ms);
        self.waiting = waiting;
        let due: Vec<(u64, SocketAddrV6)> = due;
        let mut all: Vec<AdvertDestination> = due
            .into_iter()
            .map(|(_, to)| AdvertDestination::One(to))
            .collect();
        if self.next_ms <= now_ms {
            all.push(AdvertDestination::All);
            self.last_ms = Some(now_ms);
            self.first_left = self.first_left.saturating_sub(1);
            let after_ms = MIN_MS + random % (MAX_MS - MIN_MS + 1);
            let after_ms = match self.first_left {
                0 => after_ms,
                _ => after_ms.min(FIRST_MS),
            };
            self.next_ms = now_ms.saturating_add(after_ms);
        }
        all
    }
}

/// Encodes the ICMPv6 packet (RFC 4861, 4.2) without its checksum. The packet says that addresses
/// and other settings come from DHCPv6 (M and O), that the sender is no router, and that the prefix
/// is on-link and not for autoconfiguration.
pub fn packet(network: Ipv6Network, card: Mac) -> Vec<u8> {
    let mut bytes = vec![134, 0, 0, 0, 0, 0xc0, 0, 0];
    // Reachable time and retransmission timer are unspecified.
    bytes.extend([0; 8]);
    // Source link-layer address, if the interface has a MAC address.
    if card.is_of_a_card() {
        bytes.extend([1, 1]);
        bytes.extend(card.0);
    }
    // Prefix information: on-link (L), without autoconfiguration (A).
    bytes.extend([3, 4, network.prefix, 0x80]);
    bytes.extend(VALID_S.to_be_bytes());
    bytes.extend(PREFERRED_S.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(network.first.octets());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn machine(last: u16) -> SocketAddrV6 {
        SocketAddrV6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last), 0, 0, 2)
    }

    #[test]
    fn the_first_come_fast_and_the_others_seldom() {
        let mut schedule = AdvertSchedule::new(1_000);
        let mut times = Vec::new();
        for random in [0, 7, 400_000, 0, 400_000] {
            let due_ms = schedule.due_ms();
            assert_eq!(schedule.take(due_ms.saturating_sub(1), random), []);
            assert_eq!(schedule.take(due_ms, random), [AdvertDestination::All]);
            times.push(due_ms);
        }
        assert_eq!(times, [1_000, 17_000, 33_000, 633_000, 833_000]);
    }

    #[test]
    fn one_that_asks_is_answered_soon_and_once() {
        let mut schedule = AdvertSchedule::new(0);
        schedule.take(0, 0);
        schedule.asked(Some(machine(7)), 1_000, 300);
        schedule.asked(Some(machine(7)), 1_001, 0);
        schedule.asked(Some(machine(8)), 1_001, 501);
        assert_eq!(schedule.due_ms(), 1_001);
        assert_eq!(
            schedule.take(1_001, 0),
            [AdvertDestination::One(machine(8))]
        );
        assert_eq!(schedule.take(1_299, 0), []);
        assert_eq!(
            schedule.take(1_300, 0),
            [AdvertDestination::One(machine(7))]
        );
        assert_eq!(schedule.due_ms(), 16_000);
    }

    #[test]
    fn whatever_asks_all_are_told_at_most_every_three_seconds() {
        let mut schedule = AdvertSchedule::new(0);
        let (mut told, mut single) = (Vec::new(), 0);
        for now_ms in 0..30_000 {
            schedule.asked(None, now_ms, now_ms);
            let from = machine((now_ms % 1_000) as u16);
            schedule.asked(Some(from), now_ms, now_ms.wrapping_mul(7_919));
            assert!(schedule.waiting.len() <= WAITING_MAX);
            for to in schedule.take(now_ms, now_ms) {
                match to {
                    AdvertDestination::All => told.push(now_ms),
                    AdvertDestination::One(_) => single += 1,
                }
            }
        }
        assert!(
            told.windows(2).all(|pair| pair[1] - pair[0] >= BETWEEN_MS),
            "{told:?}"
        );
        assert!((9..=11).contains(&told.len()), "{told:?}");
        assert!(single > 0);
    }

    #[test]
    fn an_advertisement_says_dhcp_and_no_router() {
        let network = Ipv6Network::of("fd00:20::".parse().unwrap(), 64);
        let bytes = packet(network, Mac([0x52, 0x54, 0, 0, 0, 2]));
        let expected = [
            &[134, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &[1, 1, 0x52, 0x54, 0, 0, 0, 2],
            &[
                3, 4, 64, 0x80, 0, 0x27, 0x8d, 0, 0, 9, 0x3a, 0x80, 0, 0, 0, 0,
            ],
            &[0xfd, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(bytes, expected.concat());
    }
}
