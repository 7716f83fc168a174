//! Announces guests to the network: when a guest starts to run on this node, switches and hosts
//! learn where its addresses are.
//!
//! Announcements are repeated with growing delays, as QEMU's `announce_self` does
//! (`net/announce.c`). QEMU does not know the IP addresses of a guest. If the configuration has
//! them, hosts learn them, too: by gratuitous ARP (RFC 5227, section 2.3; the request, and the
//! reply for hosts that accept only replies) and by unsolicited neighbour advertisements (RFC
//! 4861, section 7.2.6). Switches learn the port from any of the frames.

mod wire;

use crate::config::Nic;
use protocol::vrrp::neighbour::{BROADCAST, announce, gratuitous_reply};
use std::net::IpAddr;

/// Delays between the rounds of announcements, as in QEMU, milliseconds.
const PAUSES_MS: [u64; 4] = [50, 150, 250, 350];
/// Length of a pause after which a guest is announced again, milliseconds.
const MOMENT_MS: u64 = 1_000;
/// EtherType of RARP (RFC 903).
const ETHERTYPE_RARP: u16 = 0x8035;
/// Minimum length of an Ethernet frame without its checksum, bytes.
const FRAME_BYTES_MIN: usize = 60;

pub fn frames(nic: &Nic) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for address in &nic.addresses {
        frames.push(announce(nic.mac, *address, false));
        if let IpAddr::V4(address) = address {
            frames.push(gratuitous_reply(nic.mac, *address));
        }
    }
    if frames.is_empty() {
        frames.push(rarp(nic.mac));
    }
    for frame in &mut frames {
        frame.resize(frame.len().max(FRAME_BYTES_MIN), 0);
    }
    frames
}

/// Returns a RARP request (RFC 903) for the card's own address. No host replies, but switches learn
/// the port of the card.
fn rarp(mac: [u8; 6]) -> Vec<u8> {
    let mut frame = [BROADCAST, mac].concat();
    frame.extend(ETHERTYPE_RARP.to_be_bytes());
    // Appends the types Ethernet and IPv4, the lengths of their addresses, and operation 3 (request
    // reverse).
    frame.extend([0, 1, 0x08, 0x00, 6, 4, 0, 3]);
    for _ in ["sender", "target"] {
        frame.extend(mac);
        frame.extend([0; 4]);
    }
    frame
}

/// Schedule of the announcements of a guest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AnnouncementSchedule {
    /// Time since which the guest is paused; None: the guest runs, or its state is unknown.
    still_since: Option<u64>,
    is_new: bool,
    /// Number and time of the next round, milliseconds.
    next: Option<(usize, u64)>,
}

impl AnnouncementSchedule {
    pub fn begin(&mut self) {
        self.is_new = true;
    }

    pub fn turn(&mut self, runs: bool, now: u64) -> bool {
        if !runs {
            // Stops the announcements, because the guest may run on another node now.
            self.next = None;
            self.still_since.get_or_insert(now);
            return false;
        }
        let still_since = self.still_since.take();
        let is_new = std::mem::take(&mut self.is_new);
        if is_new || still_since.is_some_and(|since| now >= since.saturating_add(MOMENT_MS)) {
            self.next = Some((0, now));
        }
        let Some((round, _)) = self.next.filter(|(_, at)| now >= *at) else {
            return false;
        };
        let pause = PAUSES_MS.get(round);
        self.next = pause.map(|pause| (round + 1, now.saturating_add(*pause)));
        true
    }

    pub fn deadline(&self) -> Option<u64> {
        self.next.map(|(_, at)| at)
    }
}

/// Sends announcements for all cards on their bridges.
///
/// # Errors
/// A bridge does not exist or is down, or its queue is full. All cards are tried; the text is about
/// the last one that failed.
pub fn send(nics: &[Nic]) -> Result<(), String> {
    let mut result = Ok(());
    for nic in nics {
        if let Err(error) = wire::send(&nic.bridge, &frames(nic)) {
            result = Err(format!(
                "cannot announce it at bridge '{}': {error}",
                nic.bridge
            ));
        }
    }
    result
}

/// Returns the index of an interface; zero: no interface of this name.
pub fn interface(name: &str) -> u32 {
    wire::index(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Model;

    fn nic(addresses: &[&str]) -> Nic {
        Nic {
            bridge: "br0".to_owned(),
            mac: [0x52, 0x54, 0x00, 0x12, 0x34, 0x56],
            addresses: addresses.iter().map(|one| one.parse().unwrap()).collect(),
            model: Model::Virtio,
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn frames_are_those_of_the_protocols() {
        let pad = "00".repeat(18);
        for (addresses, expected) in [
            (
                &["192.0.2.25"][..],
                vec![
                    format!(
                        "ffffffffffff 525400123456 0806 0001 0800 06 04 0001 \
                         525400123456 c0000219 ffffffffffff c0000219 {pad}"
                    ),
                    format!(
                        "ffffffffffff 525400123456 0806 0001 0800 06 04 0002 \
                         525400123456 c0000219 ffffffffffff c0000219 {pad}"
                    ),
                ],
            ),
            (
                &["2001:db8::25"],
                vec![
                    "333300000001 525400123456 86dd 6000 0000 0020 3a ff \
                     20010db8000000000000000000000025 ff020000000000000000000000000001 \
                     88 00 7427 20000000 20010db8000000000000000000000025 02 01 525400123456"
                        .to_owned(),
                ],
            ),
            (
                &[],
                vec![format!(
                    "ffffffffffff 525400123456 8035 0001 0800 06 04 0003 \
                     525400123456 00000000 525400123456 00000000 {pad}"
                )],
            ),
        ] {
            let found: Vec<String> = frames(&nic(addresses)).iter().map(|f| hex(f)).collect();
            let expected: Vec<String> = expected.iter().map(|one| one.replace(' ', "")).collect();
            assert_eq!(found, expected, "{addresses:?}");
        }
        assert_eq!(frames(&nic(&["192.0.2.25", "2001:db8::25"])).len(), 3);
    }

    /// Returns the times of announcements, if the role wakes at each deadline and at the times of
    /// these events.
    fn sent(rounds: &mut AnnouncementSchedule, events: &[(u64, bool)]) -> Vec<u64> {
        let mut sent = Vec::new();
        for (at, (now, runs)) in events.iter().enumerate() {
            let until = events.get(at + 1).map_or(u64::MAX, |(next, _)| *next);
            let mut now = *now;
            loop {
                if rounds.turn(*runs, now) {
                    sent.push(now);
                }
                match rounds.deadline() {
                    Some(next) if next < until => now = next,
                    _ => break,
                }
            }
        }
        sent
    }

    #[test]
    fn a_guest_is_announced_five_times_when_it_begins_to_run() {
        let five = |from: u64| [0, 50, 200, 450, 800].map(|ms| from + ms).to_vec();
        let begun = || {
            let mut rounds = AnnouncementSchedule::default();
            rounds.begin();
            rounds
        };
        assert_eq!(sent(&mut begun(), &[(100, false), (110, true)]), five(110));
        // Another role process found the guest while it ran: it was announced before.
        let found = sent(
            &mut AnnouncementSchedule::default(),
            &[(100, false), (110, true)],
        );
        assert!(found.is_empty(), "{found:?}");
        assert!(sent(&mut AnnouncementSchedule::default(), &[(110, true)]).is_empty());
        let pauses = [(0, true), (5_000, false), (5_999, true)];
        assert!(sent(&mut AnnouncementSchedule::default(), &pauses).is_empty());
        let pauses = [(0, true), (5_000, false), (6_000, true), (6_900, true)];
        assert_eq!(
            sent(&mut AnnouncementSchedule::default(), &pauses),
            five(6_000)
        );
        // A paused guest is no longer announced.
        let pauses = [(0, true), (60, false), (70, true)];
        assert_eq!(sent(&mut begun(), &pauses), [0, 50]);
    }
}
