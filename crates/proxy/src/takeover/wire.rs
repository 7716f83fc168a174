//! What HAProxy's processes say to each other when one takes over the sockets
//! of another, as values: bytes, and how many descriptors came with them.
//!
//! The taker sends `_getsocks` and a line feed. The answer is the number of
//! sockets, a 32-bit integer in the order of the machine; then parts of at most
//! 252 descriptors, each part with a record for every one of them: a byte and as
//! many bytes of the name of a network namespace, a byte and as many bytes of
//! the name of an interface, and 32 bits of options, which are 0. Before every
//! part but the first the taker says how many sockets came before the part that
//! it has just got, as the same kind of integer.

/// What the taker asks for.
pub const REQUEST: &[u8] = b"_getsocks\n";
/// Descriptors in one part; the system's own limit is 253.
pub const PART_MAX: usize = 252;
/// Sockets in all: four times the ports that one address has.
pub const SOCKETS_MAX: usize = 1 << 18;
/// Bytes of a number.
pub const NUMBER_BYTES: usize = 4;
/// Longest record: two names and the options.
const RECORD_BYTES_MAX: usize = 2 * (1 + u8::MAX as usize) + NUMBER_BYTES;
/// Longest part.
pub const PART_BYTES_MAX: usize = PART_MAX * RECORD_BYTES_MAX;

/// What is said of one socket.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// The network namespace that it listens in; empty for that of the process.
    pub namespace: Box<[u8]>,
    /// The interface that it is bound to, or nothing.
    pub interface: Box<[u8]>,
    /// Bits without a use.
    pub options: u32,
}

/// How an answer breaks the rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// More sockets than [`SOCKETS_MAX`] are announced.
    #[error("it announces {0} sockets")]
    TooMany(u32),
    /// More descriptors came than were announced.
    #[error("it sends more sockets than it announced")]
    MoreDescriptors,
    /// Bytes came that belong to no descriptor.
    #[error("it sends unexpected bytes")]
    MoreBytes,
    /// A name is longer than a record has room for.
    #[error("a name is too long")]
    LongName,
}

/// A number as it is sent.
pub fn number(value: usize) -> [u8; NUMBER_BYTES] {
    // Bounded by SOCKETS_MAX wherever it comes from.
    u32::try_from(value).unwrap_or(u32::MAX).to_ne_bytes()
}

/// The records of one part.
pub fn part(records: &[Record]) -> Result<Vec<u8>, WireError> {
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

/// What the taker does after it has got something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// It waits for more.
    Wait,
    /// It says that number, and then waits for more.
    Say([u8; NUMBER_BYTES]),
    /// It has everything.
    Done,
}

/// The taker's side.
#[derive(Debug, Default)]
pub struct Taker {
    total: Option<usize>,
    descriptors: usize,
    /// Sockets that came before the present part.
    before: usize,
    bytes: Vec<u8>,
    records: Vec<Record>,
}

impl Taker {
    /// Takes bytes and the number of descriptors that came with them.
    pub fn handle(&mut self, bytes: &[u8], descriptors: usize) -> Result<Step, WireError> {
        self.bytes.extend_from_slice(bytes);
        self.descriptors += descriptors;
        let total = match self.total {
            Some(total) => total,
            None => match self.begin()? {
                Some(total) => total,
                // The first descriptors come with the first part.
                None if self.descriptors > 0 => return Err(WireError::MoreDescriptors),
                None => return Ok(Step::Wait),
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
            // What is left is part of one record.
            return Ok(Step::Wait);
        }
        if !self.bytes.is_empty() {
            return Err(WireError::MoreBytes);
        }
        if self.records.len() == total {
            return Ok(Step::Done);
        }
        if self.records.len() == self.before {
            return Ok(Step::Wait);
        }
        let told = number(self.before);
        self.before = self.records.len();
        Ok(Step::Say(told))
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

    /// What was said of the sockets, in the order of their descriptors.
    pub fn records(self) -> Vec<Record> {
        self.records
    }
}

/// The record that bytes begin with, and what is behind it.
fn record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (namespace, rest) = name(bytes)?;
    let (interface, rest) = name(rest)?;
    let (options, rest) = rest.split_first_chunk::<NUMBER_BYTES>()?;
    let record = Record {
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

    fn lo() -> Record {
        Record {
            interface: (*b"lo").into(),
            ..Record::default()
        }
    }

    fn there() -> Record {
        Record {
            namespace: (*b"there").into(),
            ..lo()
        }
    }

    #[test]
    fn records_are_the_bytes_that_haproxy_sends() {
        for (records, bytes) in [
            (vec![Record::default()], b"\0\0\0\0\0\0".to_vec()),
            (vec![lo()], b"\0\x02lo\0\0\0\0".to_vec()),
            (vec![there()], b"\x05there\x02lo\0\0\0\0".to_vec()),
            (
                vec![Record::default(), lo()],
                b"\0\0\0\0\0\0\0\x02lo\0\0\0\0".to_vec(),
            ),
        ] {
            assert_eq!(part(&records).unwrap(), bytes);
            let mut taker = Taker::default();
            assert_eq!(taker.handle(&number(records.len()), 0), Ok(Step::Wait));
            assert_eq!(taker.handle(&bytes, records.len()), Ok(Step::Done));
            assert_eq!(taker.records(), records);
        }
    }

    #[test]
    fn a_name_of_256_bytes_cannot_be_sent() {
        let long = Record {
            namespace: [b'x'; 256].into(),
            ..Record::default()
        };
        assert_eq!(part(&[long]), Err(WireError::LongName));
    }

    #[test]
    fn an_answer_may_come_in_any_pieces() {
        let mut whole = number(2).to_vec();
        whole.extend(part(&[there(), lo()]).unwrap());
        // Descriptors come with the first byte of their part.
        for cut in 1..whole.len() {
            let mut taker = Taker::default();
            let mut last = Step::Wait;
            let first = if cut > NUMBER_BYTES { 2 } else { 0 };
            for (bytes, descriptors) in [(&whole[..cut], first), (&whole[cut..], 2 - first)] {
                last = taker.handle(bytes, descriptors).unwrap();
            }
            assert_eq!(last, Step::Done, "{cut}");
            assert_eq!(taker.records(), [there(), lo()]);
        }
    }

    #[test]
    fn each_part_but_the_last_is_acknowledged_with_what_came_before_it() {
        let full = vec![Record::default(); PART_MAX];
        let full = part(&full).unwrap();
        let mut taker = Taker::default();
        assert_eq!(taker.handle(&number(601), 0), Ok(Step::Wait));
        assert_eq!(taker.handle(&full, 252), Ok(Step::Say(number(0))));
        assert_eq!(taker.handle(&full, 252), Ok(Step::Say(number(252))));
        assert_eq!(taker.handle(&full[..97 * 6], 97), Ok(Step::Done));
    }

    #[test]
    fn no_sockets_are_an_answer() {
        assert_eq!(Taker::default().handle(&number(0), 0), Ok(Step::Done));
    }

    #[test]
    fn a_hostile_answer_is_refused() {
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
            let mut result = Ok(Step::Wait);
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
