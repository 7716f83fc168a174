//! The control packet (RFC 5880, 4.1).

use std::fmt;
use std::time::Duration;

/// Bytes of a packet without authentication.
pub const PACKET_BYTES: usize = 24;
/// The only version there is.
const VERSION: u8 = 1;

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const AUTHENTICATED: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// The state of a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Its operator holds it down.
    AdminDown,
    /// Down: no valid packet has been received.
    Down,
    /// The peer was heard; whether it hears us is not known.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    fn number(self) -> u8 {
        match self {
            State::AdminDown => 0,
            State::Down => 1,
            State::Init => 2,
            State::Up => 3,
        }
    }

    fn of(number: u8) -> State {
        match number & 3 {
            0 => State::AdminDown,
            1 => State::Down,
            2 => State::Init,
            _ => State::Up,
        }
    }
}

/// As keepalived's log has them.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::AdminDown => "AdminDown",
            State::Down => "Down",
            State::Init => "Init",
            State::Up => "Up",
        })
    }
}

/// Why a session left the state Up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Diagnostic {
    /// It did not.
    None,
    /// The detection time expired without a packet.
    Expired,
    /// The peer said that it is down.
    PeerDown,
    /// The peer said that its operator holds it down, which is no outage (RFC 5882). On the wire it is as [`Diagnostic::PeerDown`].
    PeerStopped,
    /// Its operator.
    AdminDown,
    /// Another one, which only peers have.
    Other(u8),
}

impl Diagnostic {
    fn number(self) -> u8 {
        match self {
            Diagnostic::None => 0,
            Diagnostic::Expired => 1,
            Diagnostic::PeerDown | Diagnostic::PeerStopped => 3,
            Diagnostic::AdminDown => 7,
            Diagnostic::Other(number) => number & 0x1f,
        }
    }

    fn of(number: u8) -> Diagnostic {
        match number & 0x1f {
            0 => Diagnostic::None,
            1 => Diagnostic::Expired,
            3 => Diagnostic::PeerDown,
            7 => Diagnostic::AdminDown,
            other => Diagnostic::Other(other),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Diagnostic::None => f.write_str("no reason"),
            Diagnostic::Expired => f.write_str("detection time expired"),
            Diagnostic::PeerDown => f.write_str("the neighbour signalled session down"),
            Diagnostic::PeerStopped => f.write_str("the neighbour is administratively down"),
            Diagnostic::AdminDown => f.write_str("administratively down"),
            Diagnostic::Other(number) => write!(f, "diagnostic {number}"),
        }
    }
}

/// Why a packet was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It ends too early, or says that it is shorter or longer than it is.
    #[error("its length is wrong")]
    Length,
    /// Another version than 1.
    #[error("its version is {0}")]
    Version(u8),
    /// The packet is authenticated; Evenkeel's sessions are not.
    #[error("it has authentication, which is not configured")]
    Authenticated,
    /// A packet of multipoint sessions.
    #[error("it has the multipoint bit")]
    Multipoint,
    /// A multiplier of zero.
    #[error("its multiplier is zero")]
    Multiplier,
    /// It names no sender.
    #[error("its discriminator is zero")]
    Discriminator,
    /// The packet is for another session, perhaps a previous one.
    #[error("unknown session {0:#010x}")]
    Receiver(u32),
    /// It names no session but is no first one.
    #[error("it has no receiver discriminator")]
    NoReceiver,
    /// It came from farther away than it may.
    #[error("its TTL is {0}: the sender is too far away")]
    Ttl(u8),
}

/// A control packet. Durations are whole microseconds, 32 bits of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Why its sender left Up the last time.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// It asks for an answer with `last`.
    pub poll: bool,
    /// It answers a poll (the RFC's Final).
    pub last: bool,
    /// Its sender wants no packets unasked while both are up.
    pub demand: bool,
    /// Detection multiplier: the number of missing packets that count as an outage.
    pub multiplier: u8,
    /// The sender's session.
    pub from: u32,
    /// The receiver's; zero while it is not known.
    pub to: u32,
    /// How often the sender wants to send.
    pub min_tx: Duration,
    /// How often it can take one; zero: not at all.
    pub min_rx: Duration,
}

fn microseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

impl Packet {
    /// Its bytes.
    pub fn encode(&self) -> [u8; PACKET_BYTES] {
        let mut flags = self.state.number() << 6;
        flags |= if self.poll { POLL } else { 0 };
        flags |= if self.last { FINAL } else { 0 };
        flags |= if self.demand { DEMAND } else { 0 };
        let first = VERSION << 5 | self.diagnostic.number();
        let head = [first, flags, self.multiplier, PACKET_BYTES as u8];
        let words = [
            u32::from_be_bytes(head),
            self.from,
            self.to,
            microseconds(self.min_tx),
            microseconds(self.min_rx),
            // No echo is taken.
            0,
        ];
        let mut out = [0; PACKET_BYTES];
        let (fields, _) = out.as_chunks_mut::<4>();
        fields
            .iter_mut()
            .zip(words)
            .for_each(|(f, w)| *f = w.to_be_bytes());
        out
    }

    /// Decodes the payload of a datagram, with the checks of RFC 5880, 6.8.6 that need no
    /// session.
    ///
    /// # Errors
    /// The packet fails a check.
    pub fn decode(bytes: &[u8]) -> Result<Packet, Refusal> {
        let Some(fixed) = bytes.first_chunk::<PACKET_BYTES>() else {
            return Err(Refusal::Length);
        };
        let [first, flags, multiplier, length, ..] = *fixed;
        if first >> 5 != VERSION {
            return Err(Refusal::Version(first >> 5));
        }
        if usize::from(length) < PACKET_BYTES || usize::from(length) > bytes.len() {
            return Err(Refusal::Length);
        }
        if multiplier == 0 {
            return Err(Refusal::Multiplier);
        }
        if flags & MULTIPOINT != 0 {
            return Err(Refusal::Multipoint);
        }
        if flags & AUTHENTICATED != 0 {
            return Err(Refusal::Authenticated);
        }
        let (words, _) = fixed.as_chunks::<4>();
        let word = |place: usize| words.get(place).map_or(0, |w| u32::from_be_bytes(*w));
        let span = |place| Duration::from_micros(u64::from(word(place)));
        let packet = Packet {
            diagnostic: Diagnostic::of(first),
            state: State::of(flags >> 6),
            poll: flags & POLL != 0,
            last: flags & FINAL != 0,
            demand: flags & DEMAND != 0,
            multiplier,
            from: word(1),
            to: word(2),
            min_tx: span(3),
            min_rx: span(4),
        };
        if packet.from == 0 {
            return Err(Refusal::Discriminator);
        }
        let first_one = matches!(packet.state, State::Down | State::AdminDown);
        if packet.to == 0 && !first_one {
            return Err(Refusal::NoReceiver);
        }
        Ok(packet)
    }
}
