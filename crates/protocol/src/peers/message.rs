//! Encodes and decodes the messages of the peers protocol after the greeting: a class, a type,
//! and for most types a length and content.

use super::integer;

/// Maximum length of a message in bytes: HAProxy's buffer size.
pub const MESSAGE_BYTES_MAX: usize = 16_384;

const CLASS_CONTROL: u8 = 0;
const CLASS_ERROR: u8 = 1;
const CLASS_TABLES: u8 = 10;

/// First type of messages with a length.
const TYPE_WITH_LENGTH: u8 = 128;

pub(super) const UPDATE: u8 = 128;
pub(super) const INCREMENTAL: u8 = 129;
pub(super) const DEFINITION: u8 = 130;
pub(super) const SWITCH: u8 = 131;
pub(super) const ACKNOWLEDGE: u8 = 132;
pub(super) const TIMED: u8 = 133;
pub(super) const INCREMENTAL_TIMED: u8 = 134;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeersControlMessage {
    /// Request for a full resynchronization: the peer should send all its entries.
    ResyncRequest,
    /// End of a resynchronization: all entries were sent, and the sender's table is complete.
    ResyncFinished,
    /// End of a resynchronization: all entries were sent, but the sender's table may be
    /// incomplete.
    ResyncPartial,
    /// Confirms that the end of a resynchronization was received.
    ResyncConfirm,
    Heartbeat,
}

impl PeersControlMessage {
    pub(super) fn code(self) -> u8 {
        match self {
            PeersControlMessage::ResyncRequest => 0,
            PeersControlMessage::ResyncFinished => 1,
            PeersControlMessage::ResyncPartial => 2,
            PeersControlMessage::ResyncConfirm => 3,
            PeersControlMessage::Heartbeat => 4,
        }
    }

    fn of(code: u8) -> Option<PeersControlMessage> {
        Some(match code {
            0 => PeersControlMessage::ResyncRequest,
            1 => PeersControlMessage::ResyncFinished,
            2 => PeersControlMessage::ResyncPartial,
            3 => PeersControlMessage::ResyncConfirm,
            4 => PeersControlMessage::Heartbeat,
            _ => return None,
        })
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend([CLASS_CONTROL, self.code()]);
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeersError {
    Protocol,
    Size,
    /// The peer reported an error in a message of this side.
    Theirs,
    Greeting,
    /// The peer refused the greeting, with this status.
    Refused(u16),
    Silent,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeersMessage<'b> {
    Control(PeersControlMessage),
    /// A message about tables: its type and content.
    Tables(u8, &'b [u8]),
    /// A message of unknown class or type, which is ignored.
    Unknown,
}

/// Parses the message at the start of some bytes; returns it with its length, or None if it is
/// incomplete.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(PeersMessage<'_>, usize)>, PeersError> {
    let [class, kind, rest @ ..] = bytes else {
        return Ok(None);
    };
    let (content, taken) = if *kind >= TYPE_WITH_LENGTH {
        let Some((length, behind)) = integer::read(rest) else {
            // Refuses a length that does not end within this many bytes, because waiting for more
            // is useless.
            return if rest.len() >= integer::BYTES_MAX {
                Err(PeersError::Protocol)
            } else {
                Ok(None)
            };
        };
        if length > MESSAGE_BYTES_MAX as u64 {
            return Err(PeersError::Size);
        }
        let Some(content) = behind.get(..length as usize) else {
            return Ok(None);
        };
        (content, bytes.len() - behind.len() + content.len())
    } else {
        (&[][..], 2)
    };
    let message = match *class {
        CLASS_CONTROL => {
            PeersControlMessage::of(*kind).map_or(PeersMessage::Unknown, PeersMessage::Control)
        }
        CLASS_ERROR => return Err(PeersError::Theirs),
        CLASS_TABLES if *kind >= TYPE_WITH_LENGTH => PeersMessage::Tables(*kind, content),
        _ => PeersMessage::Unknown,
    };
    Ok(Some((message, taken)))
}

pub(super) fn write_tables(out: &mut Vec<u8>, kind: u8, content: &[u8]) {
    out.extend([CLASS_TABLES, kind]);
    integer::write(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// Appends the message that is sent before a connection is closed for a fault.
pub(super) fn write_error(out: &mut Vec<u8>, fault: PeersError) {
    out.extend([CLASS_ERROR, u8::from(fault == PeersError::Size)]);
}
