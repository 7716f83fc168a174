//! Encodes and decodes BFD control packets (RFC 5880, 4.1).

use std::fmt;
use std::time::Duration;

/// Length of a packet without authentication, in bytes.
pub const PACKET_BYTES: usize = 24;
const VERSION: u8 = 1;

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const AUTHENTICATED: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// State of a session (RFC 5880, 6.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BfdState {
    /// The operator holds the session down.
    AdminDown,
    Down,
    /// The session receives packets of its peer, but does not know whether the peer receives its
    /// own.
    Init,
    Up,
}

impl BfdState {
    fn number(self) -> u8 {
        match self {
            BfdState::AdminDown => 0,
            BfdState::Down => 1,
            BfdState::Init => 2,
            BfdState::Up => 3,
        }
    }

    fn of(number: u8) -> BfdState {
        match number & 3 {
            0 => BfdState::AdminDown,
            1 => BfdState::Down,
            2 => BfdState::Init,
            _ => BfdState::Up,
        }
    }
}

/// Names as in keepalived's log.
impl fmt::Display for BfdState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BfdState::AdminDown => "AdminDown",
            BfdState::Down => "Down",
            BfdState::Init => "Init",
            BfdState::Up => "Up",
        })
    }
}

/// Reason of the last transition to Down or AdminDown; None once the session is up again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Diagnostic {
    None,
    Expired,
    PeerDown,
    /// The peer reports that its operator holds the session down, which is not an outage (RFC
    /// 5882). On the wire this is the same number as [`Diagnostic::PeerDown`].
    PeerStopped,
    AdminDown,
    /// Another diagnostic; this side never sends one.
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

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BfdPacketError {
    /// The packet is truncated, or its length field is wrong.
    #[error("its length is wrong")]
    Length,
    #[error("its version is {0}")]
    Version(u8),
    /// The packet is authenticated; Evenkeel's sessions are not.
    #[error("it has authentication, which is not configured")]
    Authenticated,
    #[error("it has the multipoint bit")]
    Multipoint,
    #[error("its multiplier is zero")]
    Multiplier,
    /// The packet does not contain the sender's discriminator.
    #[error("its discriminator is zero")]
    Discriminator,
    /// The packet contains the discriminator of another session, perhaps a previous one.
    #[error("unknown session {0:#010x}")]
    Receiver(u32),
    /// The packet contains no discriminator of the receiver, although the sender must know it in
    /// this state.
    #[error("it has no receiver discriminator")]
    NoReceiver,
    /// The packet came from farther away than allowed.
    #[error("its TTL is {0}: the sender is too far away")]
    Ttl(u8),
}

/// A control packet. On the wire, durations are 32-bit numbers of microseconds; longer ones
/// saturate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    pub diagnostic: Diagnostic,
    pub state: BfdState,
    /// The packet requests a response with `last`.
    pub poll: bool,
    /// The packet is the response to a poll (the RFC's Final).
    pub last: bool,
    /// Demand mode: the sender wants no periodic packets while both sessions are up.
    pub demand: bool,
    /// Detection multiplier: the number of consecutive missing packets that count as an outage.
    pub multiplier: u8,
    /// Discriminator of the sender's session.
    pub from: u32,
    /// Discriminator of the receiver's session; zero while it is unknown.
    pub to: u32,
    pub min_tx: Duration,
    /// Minimum interval at which the sender accepts packets; zero: it accepts none.
    pub min_rx: Duration,
}

fn microseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

impl Packet {
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
            // Minimum echo interval zero: this side accepts no echo packets.
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

    /// Decodes the payload of a datagram, with those checks of RFC 5880, 6.8.6 that need no
    /// session.
    ///
    /// # Errors
    /// The packet fails a check.
    pub fn decode(bytes: &[u8]) -> Result<Packet, BfdPacketError> {
        let Some(fixed) = bytes.first_chunk::<PACKET_BYTES>() else {
            return Err(BfdPacketError::Length);
        };
        let [first, flags, multiplier, length, ..] = *fixed;
        if first >> 5 != VERSION {
            return Err(BfdPacketError::Version(first >> 5));
        }
        if usize::from(length) < PACKET_BYTES || usize::from(length) > bytes.len() {
            return Err(BfdPacketError::Length);
        }
        if multiplier == 0 {
            return Err(BfdPacketError::Multiplier);
        }
        if flags & MULTIPOINT != 0 {
            return Err(BfdPacketError::Multipoint);
        }
        if flags & AUTHENTICATED != 0 {
            return Err(BfdPacketError::Authenticated);
        }
        let (words, _) = fixed.as_chunks::<4>();
        let word = |place: usize| words.get(place).map_or(0, |w| u32::from_be_bytes(*w));
        let span = |place| Duration::from_micros(u64::from(word(place)));
        let packet = Packet {
            diagnostic: Diagnostic::of(first),
            state: BfdState::of(flags >> 6),
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
            return Err(BfdPacketError::Discriminator);
        }
        let first_one = matches!(packet.state, BfdState::Down | BfdState::AdminDown);
        if packet.to == 0 && !first_one {
            return Err(BfdPacketError::NoReceiver);
        }
        Ok(packet)
    }
}
