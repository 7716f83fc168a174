//! Tests BFD with packets of keepalived 2.2.7, single steps, and two sessions in virtual time.

use super::*;
use crate::vrrp::Time;
use proptest::prelude::*;
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).expect("a digit") as u8;
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|p| digit(p[0]) << 4 | digit(p[1])).collect()
}

#[test]
fn packets_are_keepaliveds_byte_by_byte() {
    let down = Packet {
        diagnostic: Diagnostic::None,
        state: BfdState::Down,
        poll: false,
        last: false,
        demand: false,
        multiplier: 5,
        from: 0x3db3_28f9,
        to: 0,
        min_tx: MS(1000),
        min_rx: MS(200),
    };
    let up = Packet {
        state: BfdState::Up,
        multiplier: 3,
        from: 0xdcf6_d61c,
        to: 0x72a4_e679,
        min_tx: MS(10),
        min_rx: MS(10),
        ..down
    };
    let table = [
        (down, "204005183db328f900000000000f424000030d4000000000"),
        (
            Packet { poll: true, ..up },
            "20e00318dcf6d61c72a4e679000027100000271000000000",
        ),
        (
            Packet {
                last: true,
                from: 0x72a4_e679,
                to: 0xdcf6_d61c,
                ..up
            },
            "20d0031872a4e679dcf6d61c000027100000271000000000",
        ),
        (up, "20c00318dcf6d61c72a4e679000027100000271000000000"),
        (
            Packet {
                state: BfdState::Init,
                min_tx: MS(1000),
                from: 0x72a4_e679,
                to: 0xdcf6_d61c,
                ..up
            },
            "2080031872a4e679dcf6d61c000f42400000271000000000",
        ),
    ];
    for (packet, hex) in table {
        assert_eq!(packet.encode().to_vec(), bytes(hex));
        assert_eq!(Packet::decode(&bytes(hex)), Ok(packet));
    }
}

#[test]
fn packets_that_the_rfc_discards_are_dropped() {
    let good = bytes("20c00318dcf6d61c72a4e679000027100000271000000000");
    type Change = fn(&mut Vec<u8>);
    let table: [(Change, BfdPacketError); 11] = [
        (|b| b.truncate(23), BfdPacketError::Length),
        (|b| b.clear(), BfdPacketError::Length),
        (|b| b[3] = 23, BfdPacketError::Length),
        (|b| b[3] = 25, BfdPacketError::Length),
        (|b| b[0] = 0x40, BfdPacketError::Version(2)),
        (|b| b[2] = 0, BfdPacketError::Multiplier),
        (|b| b[1] |= 1, BfdPacketError::Multipoint),
        (|b| b[1] |= 4, BfdPacketError::Authenticated),
        (|b| b[4..8].fill(0), BfdPacketError::Discriminator),
        (|b| b[8..12].fill(0), BfdPacketError::NoReceiver),
        (
            |b| {
                b[8..12].fill(0);
                b[1] = 0x80;
            },
            BfdPacketError::NoReceiver,
        ),
    ];
    for (place, (change, refusal)) in table.into_iter().enumerate() {
        let mut packet = good.clone();
        change(&mut packet);
        assert_eq!(Packet::decode(&packet), Err(refusal), "row {place}");
        assert!(!refusal.to_string().is_empty());
    }
    // Bytes after the packet are ignored.
    let longer = [&good[..], &[1, 2, 3]].concat();
    assert!(Packet::decode(&longer).is_ok());
}

fn settings(ms: u64, multiplier: u8) -> Settings {
    Settings {
        min_tx: MS(ms),
        min_rx: MS(ms),
        idle_tx: MS(1000),
        multiplier,
        passive: false,
        ttl_min: 255,
    }
}

fn all(session: &mut Session) -> (Vec<Packet>, Vec<BfdState>) {
    let mut said = (Vec::new(), Vec::new());
    while let Some(event) = session.poll() {
        match event {
            Event::Send(packet) => said.0.push(Packet::decode(&packet).expect("ours")),
            Event::Entered { to, .. } => said.1.push(to),
        }
    }
    said
}

fn from_peer(session: &Session, state: BfdState) -> Packet {
    Packet {
        diagnostic: Diagnostic::None,
        state,
        poll: false,
        last: false,
        demand: false,
        multiplier: 3,
        from: 77,
        to: session.discriminator(),
        min_tx: MS(100),
        min_rx: MS(100),
    }
}

#[test]
fn the_table_of_states() {
    use BfdState::{AdminDown, Down, Init, Up};
    // Old state, state in the peer's packet, new state (RFC 5880, 6.8.6).
    let table = [
        (Down, Down, Init),
        (Down, Init, Up),
        (Down, Up, Down),
        (Down, AdminDown, Down),
        (Init, Down, Init),
        (Init, Init, Up),
        (Init, Up, Up),
        (Init, AdminDown, Down),
        (Up, Down, Down),
        (Up, Init, Up),
        (Up, Up, Up),
        (Up, AdminDown, Down),
        (AdminDown, Down, AdminDown),
        (AdminDown, Init, AdminDown),
        (AdminDown, Up, AdminDown),
    ];
    for (at, heard, then) in table {
        let mut session = Session::new(settings(100, 3), 1, Time(0));
        let path: &[BfdState] = match at {
            Init => &[Down],
            Up => &[Init],
            _ => &[],
        };
        for state in path.iter().chain([&heard]) {
            if at == AdminDown {
                session.stop(Time(0));
            }
            let packet = from_peer(&session, *state).encode();
            session.handle_packet(Time(0), 255, &packet).expect("taken");
        }
        assert_eq!(session.state(), then, "{at} and {heard}");
        if at == Up && then == Down {
            let why = match heard {
                AdminDown => Diagnostic::PeerStopped,
                _ => Diagnostic::PeerDown,
            };
            assert_eq!(session.diagnostic(), why);
        }
    }
}

#[test]
fn poll_gets_a_final_and_own_poll_repeats_until_final() {
    let mut session = Session::new(settings(100, 3), 1, Time(0));
    session.handle_time(Time(0));
    assert_eq!(all(&mut session).0.len(), 1);
    let mut packet = from_peer(&session, BfdState::Init);
    packet.poll = true;
    session
        .handle_packet(Time(1), 255, &packet.encode())
        .expect("taken");
    let (sent, entered) = all(&mut session);
    assert_eq!(entered, [BfdState::Up]);
    // The response does not poll.
    assert!(sent.len() == 1 && sent[0].last && !sent[0].poll, "{sent:?}");
    packet.poll = false;
    for turn in 0..3 {
        let due = session.deadline().expect("one");
        session
            .handle_packet(due, 255, &packet.encode())
            .expect("taken");
        session.handle_time(due);
        let (sent, _) = all(&mut session);
        assert!(sent.len() == 1 && sent[0].poll, "turn {turn}: {sent:?}");
    }
    packet.last = true;
    let due = session.deadline().expect("one");
    session
        .handle_packet(due, 255, &packet.encode())
        .expect("taken");
    session.handle_time(due);
    let (sent, _) = all(&mut session);
    assert!(sent.len() == 1 && !sent[0].poll, "{sent:?}");
}

#[test]
fn longer_interval_begins_when_the_peer_has_confirmed_it() {
    let mut session = Session::new(settings(10_000, 3), 1, Time(0));
    session.handle_time(Time(0));
    let mut packet = from_peer(&session, BfdState::Init);
    packet.min_tx = MS(10_000);
    let receive = |session: &mut Session, packet: &Packet, now: Time| {
        session
            .handle_packet(now, 255, &packet.encode())
            .expect("taken");
        all(session).0
    };
    let sent = receive(&mut session, &packet, Time(1));
    assert!(sent.last().is_some_and(|sent| sent.poll));
    assert_eq!(sent.last().map(|sent| sent.min_tx), Some(MS(10_000)));
    // The first poll is lost. The peer expects packets each second, as the last packet that it has
    // received announced.
    packet.state = BfdState::Up;
    let due = session.deadline().expect("a packet is due");
    assert!(due <= Time(1_000_000_001), "{due:?}");
    session.handle_time(due);
    assert!(all(&mut session).0[0].poll);
    packet.last = true;
    receive(&mut session, &packet, due);
    let next = session.deadline().expect("a packet is due");
    assert!(next >= due.after(MS(7_500)), "{next:?}");
}

#[test]
fn packets_from_afar_or_for_another_session_change_nothing() {
    let mut session = Session::new(settings(100, 3), 1, Time(0));
    let packet = from_peer(&session, BfdState::Init);
    let far = session.handle_packet(Time(0), 254, &packet.encode());
    assert_eq!(far, Err(BfdPacketError::Ttl(254)));
    let to = packet.to ^ 1;
    let other = Packet { to, ..packet };
    let other = session.handle_packet(Time(0), 255, &other.encode());
    assert_eq!(other, Err(BfdPacketError::Receiver(to)));
    assert_eq!(session.state(), BfdState::Down);
}

#[test]
fn peer_with_zero_receive_interval_gets_only_replies() {
    let mut session = Session::new(settings(100, 3), 1, Time(0));
    let mut packet = from_peer(&session, BfdState::Init);
    packet.min_rx = Duration::ZERO;
    session
        .handle_packet(Time(0), 255, &packet.encode())
        .expect("taken");
    all(&mut session);
    // Only the detection time is awaited.
    assert_eq!(session.deadline(), Some(Time(300_000_000)));
    packet.poll = true;
    session
        .handle_packet(Time(5), 255, &packet.encode())
        .expect("taken");
    assert!(all(&mut session).0[0].last);
}

#[test]
fn the_multiplier_of_the_peer_and_the_slower_interval_make_the_detection_time() {
    let mut session = Session::new(settings(200, 9), 1, Time(0));
    assert_eq!(session.detection_time(), None);
    let packet = from_peer(&session, BfdState::Init);
    session
        .handle_packet(Time(0), 255, &packet.encode())
        .expect("taken");
    assert_eq!(session.detection_time(), Some(MS(600)));
    let slower = Packet {
        min_tx: MS(300),
        ..packet
    };
    session
        .handle_packet(Time(0), 255, &slower.encode())
        .expect("taken");
    assert_eq!(session.detection_time(), Some(MS(900)));
    session.handle_time(Time(899_999_999));
    assert_eq!(session.state(), BfdState::Up);
    session.handle_time(Time(900_000_000));
    assert_eq!(session.state(), BfdState::Down);
    assert_eq!(session.diagnostic(), Diagnostic::Expired);
    // The session has forgotten the peer's values.
    let (sent, _) = all(&mut session);
    assert_eq!(sent.last().map(|p| p.to), Some(0));
}

/// Two sessions and the link between them, in virtual time.
struct BfdSessionPair {
    ends: [Session; 2],
    now: Time,
    latency: Duration,
    /// Packets of this end reach the other one.
    passes: [bool; 2],
    /// Out of this number of packets, one is lost; 0: none.
    loses: u64,
    flying: Vec<(Time, usize, Vec<u8>)>,
    sent: [u64; 2],
    entered: Vec<(Time, usize, BfdState)>,
}

impl BfdSessionPair {
    fn new(a: Settings, b: Settings, seed: u64) -> BfdSessionPair {
        BfdSessionPair {
            ends: [
                Session::new(a, seed, Time(0)),
                Session::new(b, seed ^ 0xffff, Time(0)),
            ],
            now: Time(0),
            latency: MS(1),
            passes: [true; 2],
            loses: 0,
            flying: Vec::new(),
            sent: [0; 2],
            entered: Vec::new(),
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now.after(span);
        loop {
            let packets = self.flying.iter().map(|f| f.0);
            let deadlines = self.ends.iter().filter_map(Session::deadline);
            let next = packets.chain(deadlines).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            let next = next.max(self.now);
            self.now = next;
            let (due, flying) = self.flying.drain(..).partition(|f| f.0 <= next);
            self.flying = flying;
            for (_, to, packet) in due {
                let _: Result<(), BfdPacketError> = self.ends[to].handle_packet(next, 255, &packet);
            }
            for end in 0..2 {
                self.ends[end].handle_time(next);
                self.take(end);
            }
        }
    }

    fn take(&mut self, end: usize) {
        while let Some(event) = self.ends[end].poll() {
            match event {
                Event::Entered { to, .. } => self.entered.push((self.now, end, to)),
                Event::Send(packet) => {
                    self.sent[end] += 1;
                    let all = self.sent[0] + self.sent[1];
                    let lost = self.loses != 0 && all.is_multiple_of(self.loses);
                    if self.passes[end] && !lost {
                        let at = self.now.after(self.latency);
                        self.flying.push((at, 1 - end, packet.to_vec()));
                    }
                }
            }
        }
    }

    fn states(&self) -> [BfdState; 2] {
        [self.ends[0].state(), self.ends[1].state()]
    }
}

#[test]
fn two_sessions_are_up_within_a_few_round_trips() {
    let mut pair = BfdSessionPair::new(settings(50, 3), settings(20, 5), 7);
    pair.run(MS(10));
    assert_eq!(pair.states(), [BfdState::Up; 2]);
    // Each session sends at the slower of both requested intervals.
    pair.sent = [0; 2];
    pair.run(MS(10_000));
    for sent in pair.sent {
        assert!((200..=268).contains(&sent), "{sent} in 10 s at 50 ms");
    }
    assert_eq!(pair.states(), [BfdState::Up; 2]);
}

#[test]
fn a_cut_link_is_noticed_by_both_within_the_detection_time() {
    let mut pair = BfdSessionPair::new(settings(50, 3), settings(50, 5), 7);
    pair.run(MS(1000));
    pair.entered.clear();
    pair.passes = [false; 2];
    pair.run(MS(300));
    assert_eq!(pair.states(), [BfdState::Down; 2]);
    assert_eq!(pair.ends[0].diagnostic(), Diagnostic::Expired);
    // The local multiplier would give three packets of 50 ms, 150 ms; but the multiplier that the
    // peer sent counts.
    assert!(pair.entered[0].1 == 1 && pair.entered[0].0 <= Time(1_152_000_000));
    // While down, each session sends one packet a second at most.
    pair.sent = [0; 2];
    pair.run(MS(10_000));
    assert!(pair.sent.iter().all(|sent| (10..=14).contains(sent)));
    pair.passes = [true; 2];
    pair.run(MS(1100));
    assert_eq!(pair.states(), [BfdState::Up; 2]);
}

#[test]
fn a_link_of_one_way_is_down_on_both_ends() {
    let mut pair = BfdSessionPair::new(settings(50, 3), settings(50, 3), 3);
    pair.run(MS(1000));
    pair.passes = [false, true];
    pair.run(MS(400));
    // The end that still receives learns that the other end receives nothing.
    assert_eq!(pair.states()[1], BfdState::Down);
    assert_ne!(pair.states()[0], BfdState::Up);
    pair.run(MS(20_000));
    assert_ne!(pair.states()[0], BfdState::Up);
    assert_ne!(pair.states()[1], BfdState::Up);
}

#[test]
fn administrative_down_is_reported_and_no_outage() {
    let mut pair = BfdSessionPair::new(settings(1000, 5), settings(1000, 5), 3);
    pair.run(MS(3000));
    assert_eq!(pair.states(), [BfdState::Up; 2]);
    pair.ends[0].stop(pair.now);
    pair.take(0);
    pair.run(MS(2));
    assert_eq!(pair.states(), [BfdState::AdminDown, BfdState::Down]);
    assert_eq!(pair.ends[1].diagnostic(), Diagnostic::PeerStopped);
}

#[test]
fn passive_sessions_send_nothing_first() {
    let passive = Settings {
        passive: true,
        ..settings(50, 3)
    };
    let mut pair = BfdSessionPair::new(passive.clone(), passive.clone(), 3);
    pair.run(MS(60_000));
    assert_eq!(pair.sent, [0, 0]);
    let mut pair = BfdSessionPair::new(passive, settings(50, 3), 3);
    pair.run(MS(10));
    assert_eq!(pair.states(), [BfdState::Up; 2]);
}

#[test]
fn one_lost_packet_of_three_keeps_the_session_up() {
    let mut pair = BfdSessionPair::new(settings(50, 3), settings(50, 3), 11);
    pair.loses = 7;
    pair.run(MS(60_000));
    assert_eq!(pair.states(), [BfdState::Up; 2]);
    let down = pair
        .entered
        .iter()
        .filter(|e| e.2 == BfdState::Down)
        .count();
    assert_eq!(down, 0, "{:?}", pair.entered);
}

#[test]
fn a_restarted_peer_is_found_again() {
    let mut pair = BfdSessionPair::new(settings(50, 3), settings(50, 3), 5);
    pair.run(MS(1000));
    pair.ends[1] = Session::new(settings(50, 3), 99, pair.now);
    pair.run(MS(2500));
    assert_eq!(pair.states(), [BfdState::Up; 2]);
    let fell = pair
        .entered
        .iter()
        .any(|e| e.1 == 0 && e.2 == BfdState::Down);
    assert!(fell, "the one that stayed saw it");
}

proptest! {
    #[test]
    fn random_packets_and_times_cause_no_panic_or_flood(
        seed: u64,
        passive: bool,
        multiplier: u8,
        ms in 0u64..3000,
        steps in proptest::collection::vec(
            (any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..30), 0u64..3_000_000_000),
            0..40,
        ),
    ) {
        let settings = Settings { passive, multiplier, ttl_min: 0, ..settings(ms, 3) };
        let mut session = Session::new(settings, seed, Time(0));
        let mut now = Time(0);
        for (first, flags, noise, wait) in steps {
            now = Time(now.0 + wait);
            let mut packet = vec![0x20 | first & 0x1f, flags & 0xf8, first | 1, 24];
            packet.extend(noise);
            packet.resize(24, 0);
            if first & 1 == 0 {
                packet[8..12].copy_from_slice(&session.discriminator().to_be_bytes());
            }
            let _ = session.handle_packet(now, 255, &packet);
            session.handle_time(now);
            let (sent, entered) = all(&mut session);
            prop_assert!(sent.len() <= 1 && entered.len() <= 2);
            // The deadline is in the future, so the driver does not loop.
            prop_assert!(session.deadline().is_none_or(|at| at > now));
        }
    }

    #[test]
    fn whatever_is_lost_for_a_while_both_are_up_when_it_is_over(
        seed: u64,
        a in 5u64..300,
        b in 5u64..300,
        cuts in proptest::collection::vec((any::<bool>(), any::<bool>(), 1u64..6000), 1..12),
    ) {
        let mut pair = BfdSessionPair::new(settings(a, 3), settings(b, 4), seed);
        for (one, other, ms) in cuts {
            pair.passes = [one, other];
            pair.run(MS(ms));
            // Sessions that are not up send one packet a second.
            if !one && !other && ms > 4 * 1000 + 10 {
                prop_assert!(!pair.states().contains(&BfdState::Up));
            }
        }
        pair.passes = [true; 2];
        pair.run(MS(6000));
        prop_assert_eq!(pair.states(), [BfdState::Up; 2]);
    }
}
