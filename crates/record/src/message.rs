//! Defines the messages between the replicas of a directory. The sender is a node of the cluster;
//! its messages are still checked against bounds.

use crate::record::{InvalidMessage, Record, Value, check_version};
use crate::version::Version;
use serde::{Deserialize, Serialize};

/// Limit of records in one received message.
pub const RECORDS_MAX: usize = 500;

/// A message to the replica of the same directory on another node. Messages are delivered in order,
/// or the connection ends.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Message<K, V, O> {
    /// First message of a connection: facts about the sender that its decisions depend on.
    Open(O),
    /// Records that the sender knows.
    Records(Vec<Record<K, V>>),
    /// Marks the end of everything that the sender knew when the connection began.
    Whole,
    /// Proposes a value for a key. The response is `Reply`, `Full` or `Busy`.
    Claim {
        number: u64,
        record: Record<K, V>,
        over: Option<Version>,
    },
    /// Response to a claim: the record that is valid now. It is that of the claim, or one that the
    /// sender knew.
    Reply { number: u64, record: Record<K, V> },
    /// Response to a claim: the sender has no room for the record, or does not have its place.
    Full { number: u64 },
    /// Response to a claim: the sender has its own claim for another key of the group, which takes
    /// precedence. The receiver has to retry.
    Busy { number: u64 },
}

impl<K, V: Value, O> Message<K, V, O> {
    /// Checks the bounds of a received message. The application checks its own part of `Open`.
    ///
    /// # Errors
    /// Returns the bound that the message violates.
    pub fn check(&self) -> Result<(), InvalidMessage> {
        match self {
            Message::Records(records) if records.len() > RECORDS_MAX => {
                Err(InvalidMessage::TooMany)
            }
            Message::Records(records) => records.iter().try_for_each(Record::check),
            Message::Claim { record, over, .. } => {
                over.iter().copied().try_for_each(check_version)?;
                record.check()
            }
            Message::Reply { record, .. } => record.check(),
            Message::Open(_) | Message::Whole | Message::Full { .. } | Message::Busy { .. } => {
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::CLOCK_MAX;
    use crate::simulation::pool::{DrainOrder, Lodging, Seat};

    #[test]
    fn messages_beyond_bounds_are_refused() {
        type Received = Message<Lodging, Seat, DrainOrder>;
        let record = Record {
            key: Lodging(1, 0),
            value: Seat(1),
            version: Version::default(),
            age_ms: 0,
            left_ms: 1,
            holds: 0,
            is_proved: false,
        };
        let with = |change: fn(&mut Record<Lodging, Seat>)| {
            let mut record = record.clone();
            change(&mut record);
            record
        };
        let late = Version {
            clock: CLOCK_MAX,
            ..Version::default()
        };
        for (message, refused) in [
            (
                Received::Records(vec![record.clone(); RECORDS_MAX + 1]),
                InvalidMessage::TooMany,
            ),
            (
                Received::Records(vec![with(|record| record.value = Seat(99))]),
                InvalidMessage::Name,
            ),
            (
                Received::Records(vec![with(|record| record.age_ms = CLOCK_MAX)]),
                InvalidMessage::Time,
            ),
            (
                Received::Records(vec![with(|record| record.version.generation = CLOCK_MAX)]),
                InvalidMessage::Time,
            ),
            (
                Received::Claim {
                    number: 1,
                    record: record.clone(),
                    over: Some(late),
                },
                InvalidMessage::Time,
            ),
            (
                Received::Reply {
                    number: 1,
                    record: with(|record| record.left_ms = CLOCK_MAX),
                },
                InvalidMessage::Time,
            ),
        ] {
            assert_eq!(message.check(), Err(refused), "{message:?}");
        }
        let most = Received::Records(vec![record; RECORDS_MAX]);
        assert_eq!(most.check(), Ok(()));
    }
}
