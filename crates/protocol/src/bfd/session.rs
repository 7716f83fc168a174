//! Implements the state machine of one BFD session (RFC 5880, 6.8): decides from received packets
//! and the time when to send a packet and when the session goes up or down. Does no IO.

use super::packet::{BfdPacketError, BfdState, Diagnostic, PACKET_BYTES, Packet};
use crate::vrrp::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// Minimum sending interval of a session that is not up (RFC 5880, 6.8.3).
const IDLE_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Maximum number of unread state changes; the oldest ones are dropped.
const CHANGES_MAX: usize = 16;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    pub min_tx: Duration,
    pub min_rx: Duration,
    /// Sending interval while the session is not up; values below one second count as one second.
    pub idle_tx: Duration,
    pub multiplier: u8,
    /// The session sends nothing before it has received a packet.
    pub passive: bool,
    /// Minimum TTL of accepted packets: the TTL of sent packets minus the allowed hops. 255 for
    /// neighbours (RFC 5881, 5), 0 accepts everything.
    pub ttl_min: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    Send([u8; PACKET_BYTES]),
    Entered {
        from: BfdState,
        to: BfdState,
        /// Diagnostic of the session after the transition; None if `to` is Up.
        why: Diagnostic,
    },
}

/// Values of the peer's last packet, and the time of its arrival (`heard`).
#[derive(Clone, Copy, Debug)]
struct Peer {
    discriminator: u32,
    state: BfdState,
    demand: bool,
    multiplier: u8,
    min_tx: Duration,
    min_rx: Duration,
    heard: Time,
}

/// A session with one neighbour. The driver passes in all received packets, calls
/// [`Session::handle_time`] at [`Session::deadline`], and then [`Session::poll`] until there are no
/// more events.
#[derive(Clone, Debug)]
pub struct Session {
    settings: Settings,
    random: Random,
    discriminator: u32,
    state: BfdState,
    diagnostic: Diagnostic,
    peer: Option<Peer>,
    polling: bool,
    /// The next [`Session::poll`] sends a packet, because the state changed or the sending interval
    /// has elapsed. Responses to polls use `answer`.
    prompt: bool,
    answer: bool,
    sent: Option<Time>,
    /// Time of the next packet, and the interval from which that time was computed; None while no
    /// packets are sent.
    due: Option<(Time, Duration)>,
    now: Time,
    changes: VecDeque<Event>,
}

impl Session {
    /// Creates a session in state Down, which sends its first packet at once unless it is passive.
    /// The seed determines the discriminator and the jitter.
    pub fn new(settings: Settings, seed: u64, now: Time) -> Session {
        let mut random = Random(seed);
        let mut session = Session {
            // Zero would mean that the discriminator is unknown.
            discriminator: (random.next() as u32).max(1),
            due: (!settings.passive).then_some((now, Duration::ZERO)),
            settings,
            random,
            state: BfdState::Down,
            diagnostic: Diagnostic::None,
            peer: None,
            polling: false,
            prompt: false,
            answer: false,
            sent: None,
            now,
            changes: VecDeque::new(),
        };
        session.settings.multiplier = session.settings.multiplier.max(1);
        session
    }

    pub fn state(&self) -> BfdState {
        self.state
    }

    pub fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    pub fn discriminator(&self) -> u32 {
        self.discriminator
    }

    /// Returns the duration of silence that counts as an outage; None while the peer is unknown.
    pub fn detection_time(&self) -> Option<Duration> {
        let peer = self.peer?;
        let interval = peer.min_tx.max(self.min_rx());
        Some(interval * u32::from(peer.multiplier))
    }

    /// Handles a datagram of the neighbour, with the TTL that it arrived with.
    ///
    /// # Errors
    /// The packet fails a check, and is ignored.
    pub fn handle_packet(
        &mut self,
        now: Time,
        ttl: u8,
        bytes: &[u8],
    ) -> Result<(), BfdPacketError> {
        self.now = now;
        if ttl < self.settings.ttl_min {
            return Err(BfdPacketError::Ttl(ttl));
        }
        let packet = Packet::decode(bytes)?;
        if packet.to != 0 && packet.to != self.discriminator {
            return Err(BfdPacketError::Receiver(packet.to));
        }
        self.peer = Some(Peer {
            discriminator: packet.from,
            state: packet.state,
            demand: packet.demand,
            multiplier: packet.multiplier,
            min_tx: packet.min_tx,
            min_rx: packet.min_rx,
            heard: now,
        });
        if packet.last {
            self.polling = false;
        }
        if self.state == BfdState::AdminDown {
            return Ok(());
        }
        self.follow(packet.state);
        if packet.poll {
            self.answer = true;
        }
        self.reschedule();
        Ok(())
    }

    fn follow(&mut self, peer: BfdState) {
        match (self.state, peer) {
            (BfdState::Init | BfdState::Up, BfdState::AdminDown) => {
                self.enter(BfdState::Down, Diagnostic::PeerStopped);
            }
            (BfdState::Up, BfdState::Down) => self.enter(BfdState::Down, Diagnostic::PeerDown),
            (BfdState::Down, BfdState::Down) => self.enter(BfdState::Init, self.diagnostic),
            (BfdState::Down, BfdState::Init) | (BfdState::Init, BfdState::Init | BfdState::Up) => {
                self.enter(BfdState::Up, Diagnostic::None);
            }
            _ => {}
        }
    }

    fn enter(&mut self, to: BfdState, why: Diagnostic) {
        let from = self.state;
        self.state = to;
        self.diagnostic = why;
        self.prompt = true;
        // Begins a poll on entry to Up, which informs the peer of the new sending interval; every
        // other transition ends the poll.
        self.polling = to == BfdState::Up;
        if self.changes.len() >= CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(Event::Entered { from, to, why });
    }

    /// Advances the time. The caller must have passed in all packets that have arrived.
    pub fn handle_time(&mut self, now: Time) {
        self.now = now;
        if self.silent_at().is_some_and(|at| at <= now) {
            self.peer = None;
            if matches!(self.state, BfdState::Init | BfdState::Up) {
                self.enter(BfdState::Down, Diagnostic::Expired);
            }
            self.reschedule();
        }
        if self.due.is_some_and(|(at, _)| at <= now) {
            self.prompt = true;
        }
    }

    fn silent_at(&self) -> Option<Time> {
        let peer = self.peer?;
        Some(peer.heard.after(self.detection_time()?))
    }

    /// Returns the latest time at which [`Session::handle_time`] must be called.
    pub fn deadline(&self) -> Option<Time> {
        let silent = self.silent_at();
        match (self.due.map(|(at, _)| at), silent) {
            (Some(due), Some(silent)) => Some(due.min(silent)),
            (one, other) => one.or(other),
        }
    }

    pub fn poll(&mut self) -> Option<Event> {
        if let Some(change) = self.changes.pop_front() {
            return Some(change);
        }
        if self.answer {
            self.answer = false;
            // Drops an immediate packet that is due, too: the response contains the same values.
            self.prompt = false;
            return Some(self.send(true));
        }
        if self.prompt {
            self.prompt = false;
            return Some(self.send(false));
        }
        None
    }

    fn send(&mut self, last: bool) -> Event {
        self.sent = Some(self.now);
        self.due = None;
        self.reschedule();
        let packet = Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            // A packet is never both a poll and a response: if a response is due, the next packet
            // polls.
            poll: self.polling && !last,
            last,
            demand: false,
            multiplier: self.settings.multiplier,
            from: self.discriminator,
            to: self.peer.map_or(0, |p| p.discriminator),
            min_tx: self.min_tx(),
            min_rx: self.min_rx(),
        };
        Event::Send(packet.encode())
    }

    /// Enters AdminDown for an operator: the peer is notified, and further packets change no state.
    pub fn stop(&mut self, now: Time) {
        self.now = now;
        if self.state != BfdState::AdminDown {
            self.enter(BfdState::AdminDown, Diagnostic::AdminDown);
            self.reschedule();
        }
    }

    fn min_tx(&self) -> Duration {
        match self.state {
            BfdState::Up => self.settings.min_tx.max(INTERVAL_MIN),
            _ => self.settings.idle_tx.max(IDLE_MIN),
        }
    }

    /// Returns the interval by which the session sends. A session that is up keeps the shorter
    /// interval of before until the peer has confirmed the longer one, because the peer may still
    /// expect packets by the shorter one (RFC 5880, 6.8.3).
    fn current_tx(&self) -> Duration {
        let idle = self.settings.idle_tx.max(IDLE_MIN);
        match self.state {
            BfdState::Up if self.polling => self.min_tx().min(idle),
            _ => self.min_tx(),
        }
    }

    fn min_rx(&self) -> Duration {
        self.settings.min_rx.max(INTERVAL_MIN)
    }

    fn reschedule(&mut self) {
        let wanted = match self.peer {
            None => !self.settings.passive,
            // Sends no periodic packets to a peer that accepts none (`min_rx` is zero). To a peer
            // in demand mode, sends only polls while both sessions are up.
            Some(peer) if peer.min_rx.is_zero() => false,
            Some(peer)
                if peer.demand && peer.state == BfdState::Up && self.state == BfdState::Up =>
            {
                self.polling
            }
            Some(_) => true,
        };
        let takes = self.peer.map_or(Duration::ZERO, |p| p.min_rx);
        let interval = self.current_tx().max(takes);
        self.due = match (wanted, self.due, self.sent) {
            (false, ..) => None,
            // The interval is unchanged, so the time that was drawn with jitter stays.
            (true, Some(due), _) if due.1 == interval => Some(due),
            (true, _, None) => Some((self.now, interval)),
            (true, _, Some(sent)) => Some((sent.after(self.jitter(interval)), interval)),
        };
    }

    /// Returns a random 75 to 100 % of an interval; at most 90 % if one missing packet counts as
    /// an outage.
    fn jitter(&mut self, interval: Duration) -> Duration {
        let spread = if self.settings.multiplier == 1 {
            150
        } else {
            250
        };
        let thousandths = 750 + self.random.next() % (spread + 1);
        let ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(ns / 1000 * thousandths)
    }
}

/// Random numbers that must differ but need not be secret (SplitMix64): jitter and discriminators.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
