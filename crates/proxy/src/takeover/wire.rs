//! Implements HAProxy's protocol for the takeover of sockets, without IO: on the bytes, and the
//! number of descriptors that came with them.
//!
//! The receiver sends `_getsocks` and a line feed. The response begins with the number of
//! sockets, a 32-bit integer in native byte order. Parts of at most 252 descriptors follow.
//! Each part has a record for each descriptor: a length byte and the name of a network
//! namespace, a length byte and the name of an interface, and 32 bits of options, which are
//! zero. Before every part but the first the receiver sends how many sockets came before the
//! part that it has just received, as an integer of the same format.

pub const REQUEST: &[u8] = b"_getsocks\n";
/// Maximum number of descriptors in one part; the system's limit is 253.
pub const PART_MAX: usize = 252;
/// Maximum number of sockets: four times the ports of one address.
pub const SOCKETS_MAX: usize = 1 << 18;
pub const NUMBER_BYTES: usize = 4;
/// Maximum size of a record in bytes: two names and the options.
const RECORD_BYTES_MAX: usize = 2 * (1 + u8::MAX as usize) + NUMBER_BYTES;
pub const PART_BYTES_MAX: usize = PART_MAX * RECORD_BYTES_MAX;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SocketRecord {
    /// Network namespace of the listener; empty for that of the process.
    pub namespace: Box<[u8]>,
    /// Interface that the socket is bound to, or empty.
    pub interface: Box<[u8]>,
    /// Option bits, which are unused.
    pub options: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    #[error("it announces {0} sockets")]
    TooMany(u32),
    #[error("it sends more sockets than it announced")]
    MoreDescriptors,
    #[error("it sends unexpected bytes")]
    MoreBytes,
    #[error("a name is too long")]
    LongName,
}

pub fn number(value: usize) -> [u8; NUMBER_BYTES] {
    // Saturates, although the value is always at most [`SOCKETS_MAX`].
    u32::try_from(value).unwrap_or(u32::MAX).to_ne_bytes()
}

/// Encodes the records of one part.
///
/// # Errors
/// Fails with [`WireError::LongName`] if a name is longer than 255 bytes.
pub fn part(records: &[SocketRecord]) -> Result<Vec<u8>, WireError> {
    let mut bytes = Vec::new();
    for record in records {
        for name in [&record.namespace, &record.interface] {
            bytes.push(u8::try_from(name.len()).map_err(|_| WireError::LongName)?);
            bytes.extend_from_slice(name);
        }
        bytes.extend_from_slice(&record.options.to_ne_bytes());
    }
    Ok(bytes)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReceiverAction {
    Wait,
    /// Send this number, then wait for the next part.
    Say([u8; NUMBER_BYTES]),
    Done,
}

/// State of the process that receives sockets.
#[derive(Debug, Default)]
pub struct Taker {
    total: Option<usize>,
    descriptors: usize,
    /// Number of sockets received before the current part.
    before: usize,
    bytes: Vec<u8>,
    records: Vec<SocketRecord>,
}

impl Taker {
    /// Processes received bytes, and the number of descriptors that arrived with them.
    ///
    /// # Errors
    /// Fails if the sender violates the protocol: [`WireError::TooMany`],
    /// [`WireError::MoreDescriptors`] or [`WireError::MoreBytes`].
    pub fn handle(
        &mut self,
        bytes: &[u8],
        descriptors: usize,
    ) -> Result<ReceiverAction, WireError> {
        self.bytes.extend_from_slice(bytes);
        self.descriptors += descriptors;
        let total = match self.total {
            Some(total) => total,
            None => match self.begin()? {
                Some(total) => total,
                // Rejects descriptors before the number of sockets, because the first ones come
                // with the first part.
                None if self.descriptors > 0 => return Err(WireError::MoreDescriptors),
                None => return Ok(ReceiverAction::Wait),
            },
        };
        if self.descriptors > total {
            return Err(WireError::MoreDescriptors);
        }
        let mut rest = self.bytes.as_slice();
        while self.records.len() < self.descriptors {
            let Some((record, behind)) = record(rest) else {
                break;
            };
            self.records.push(record);
            rest = behind;
        }
        self.bytes = rest.to_vec();
        if self.records.len() < self.descriptors {
            // Waits for the rest of an incomplete record.
            return Ok(ReceiverAction::Wait);
        }
        if !self.bytes.is_empty() {
            return Err(WireError::MoreBytes);
        }
        if self.records.len() == total {
            return Ok(ReceiverAction::Done);
        }
        if self.records.len() == self.before {
            return Ok(ReceiverAction::Wait);
        }
        let told = number(self.before);
        self.before = self.records.len();
        Ok(ReceiverAction::Say(told))
    }

    fn begin(&mut self) -> Result<Option<usize>, WireError> {
        let Some((number, rest)) = self.bytes.split_first_chunk::<NUMBER_BYTES>() else {
            return Ok(None);
        };
        let announced = u32::from_ne_bytes(*number);
        let total = announced as usize;
        if total > SOCKETS_MAX {
            return Err(WireError::TooMany(announced));
        }
        self.bytes = rest.to_vec();
        self.total = Some(total);
        Ok(self.total)
    }

    /// Returns the descriptions of the sockets, in the order of their descriptors.
    pub fn records(self) -> Vec<SocketRecord> {
        self.records
    }
}

fn record(bytes: &[u8]) -> Option<(SocketRecord, &[u8])> {
    let (namespace, rest) = name(bytes)?;
    let (interface, rest) = name(rest)?;
    let (options, rest) = rest.split_first_chunk::<NUMBER_BYTES>()?;
    let record = SocketRecord {
        namespace: namespace.into(),
        interface: interface.into(),
        options: u32::from_ne_bytes(*options),
    };
    Some((record, rest))
}

fn name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lo() -> SocketRecord {
        SocketRecord {
            interface: (*b"lo").into(),
            ..SocketRecord::default()
        }
    }

    fn there() -> SocketRecord {
        SocketRecord {
            namespace: (*b"there").into(),
            ..lo()
        }
    }

    #[test]
    fn records_are_the_bytes_that_haproxy_sends() {
        for (records, bytes) in [
            (vec![SocketRecord::default()], b"\0\0\0\0\0\0".to_vec()),
            (vec![lo()], b"\0\x02lo\0\0\0\0".to_vec()),
            (vec![there()], b"\x05there\x02lo\0\0\0\0".to_vec()),
            (
                vec![SocketRecord::default(), lo()],
                b"\0\0\0\0\0\0\0\x02lo\0\0\0\0".to_vec(),
            ),
        ] {
            assert_eq!(part(&records).unwrap(), bytes);
            let mut taker = Taker::default();
            assert_eq!(
                taker.handle(&number(records.len()), 0),
                Ok(ReceiverAction::Wait)
            );
            assert_eq!(
                taker.handle(&bytes, records.len()),
                Ok(ReceiverAction::Done)
            );
            assert_eq!(taker.records(), records);
        }
    }

    #[test]
    fn a_name_of_256_bytes_cannot_be_sent() {
        let long = SocketRecord {
            namespace: [b'x'; 256].into(),
            ..SocketRecord::default()
        };
        assert_eq!(part(&[long]), Err(WireError::LongName));
    }

    #[test]
    fn reply_is_parsed_from_any_pieces() {
        let mut whole = number(2).to_vec();
        whole.extend(part(&[there(), lo()]).unwrap());
        // Descriptors arrive with the first byte of their part.
        for cut in 1..whole.len() {
            let mut taker = Taker::default();
            let mut last = ReceiverAction::Wait;
            let first = if cut > NUMBER_BYTES { 2 } else { 0 };
            for (bytes, descriptors) in [(&whole[..cut], first), (&whole[cut..], 2 - first)] {
                last = taker.handle(bytes, descriptors).unwrap();
            }
            assert_eq!(last, ReceiverAction::Done, "{cut}");
            assert_eq!(taker.records(), [there(), lo()]);
        }
    }

    #[test]
    fn each_part_except_the_last_is_acknowledged() {
        let full = vec![SocketRecord::default(); PART_MAX];
        let full = part(&full).unwrap();
        let mut taker = Taker::default();
        assert_eq!(taker.handle(&number(601), 0), Ok(ReceiverAction::Wait));
        assert_eq!(taker.handle(&full, 252), Ok(ReceiverAction::Say(number(0))));
        assert_eq!(
            taker.handle(&full, 252),
            Ok(ReceiverAction::Say(number(252)))
        );
        assert_eq!(taker.handle(&full[..97 * 6], 97), Ok(ReceiverAction::Done));
    }

    #[test]
    fn empty_socket_list_is_a_valid_reply() {
        assert_eq!(
            Taker::default().handle(&number(0), 0),
            Ok(ReceiverAction::Done)
        );
    }

    #[test]
    fn hostile_reply_is_refused() {
        let many = SOCKETS_MAX + 1;
        for (steps, error) in [
            (
                vec![(number(many).to_vec(), 0)],
                WireError::TooMany(many as u32),
            ),
            (
                vec![(b"Permission denied\n".to_vec(), 0)],
                WireError::TooMany(u32::from_ne_bytes(*b"Perm")),
            ),
            (vec![(vec![0], 1)], WireError::MoreDescriptors),
            (vec![(number(1).to_vec(), 2)], WireError::MoreDescriptors),
            (
                vec![(number(1).to_vec(), 0), (vec![0; 6], 0)],
                WireError::MoreBytes,
            ),
            (
                vec![(number(1).to_vec(), 0), (vec![0; 7], 1)],
                WireError::MoreBytes,
            ),
            (vec![(vec![0; 5], 0)], WireError::MoreBytes),
        ] {
            let mut taker = Taker::default();
            let mut result = Ok(ReceiverAction::Wait);
            for (bytes, descriptors) in steps {
                result = taker.handle(&bytes, descriptors);
            }
            assert_eq!(result, Err(error));
        }
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic_and_never_pile_up(
            pieces in proptest::collection::vec(
                (proptest::collection::vec(proptest::num::u8::ANY, 0..2000), 0..5_usize),
                0..20,
            )
        ) {
            let mut taker = Taker::default();
            for (bytes, descriptors) in pieces {
                if taker.handle(&bytes, descriptors).is_err() {
                    break;
                }
                proptest::prop_assert!(taker.bytes.len() <= RECORD_BYTES_MAX);
            }
        }
    }
}
