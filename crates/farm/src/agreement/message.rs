//! Encodes the messages between the directories of a farm on several nodes, and checks received
//! ones against bounds, although the sender is a node of the cluster.

use crate::collection::{Assignee, CollectionId};
use crate::directory::{
    self, Assignment, DecisionVersion, FarHost, HostOrder, HostsOpening, UserDirectory, check_text,
};
use crate::history::HistoryStep;
use crate::user::UserId;
use access::ended::SessionEndBatch;
use access::peers::{AttemptChange, CHANGES_MAX};
use record::{CLOCK_MAX, InvalidMessage, MessageOf, RECORDS_MAX};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

pub type KeyCheck = [u8; 8];
const NAME_BYTES_MAX: usize = 128;
/// Limit of the hosts of a farm in one message.
const HOSTS_MAX: usize = 64;
/// Limit of the operators' orders in one message.
const ORDERS_MAX: usize = 256;
const WORDS_BYTES_MAX: usize = 512;

/// A decision in a message; its encoding is the same in all releases of evenkeel. Times are
/// relative, because the clocks of the nodes differ.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub user: UserId,
    #[serde(default)]
    pub collection: CollectionId,
    pub name: String,
    pub host: String,
    /// Address of a host that the sender's configuration does not have, so that the receiver may
    /// not know it either.
    #[serde(default)]
    pub removed: Option<SocketAddr>,
    pub version: DecisionVersion,
    /// Age of the decision, milliseconds.
    pub age_ms: u64,
    /// Time without a connection after which the entry expires, milliseconds.
    pub left_ms: u64,
    pub connections: u32,
    /// True if a connection has lasted so long that the user must have a session.
    #[serde(default)]
    pub is_proved: bool,
}

impl From<directory::Record> for Record {
    fn from(record: directory::Record) -> Record {
        let Assignment {
            name,
            host,
            removed,
        } = record.value;
        Record {
            user: record.key.user,
            collection: record.key.collection,
            name,
            host,
            removed,
            version: record.version,
            age_ms: record.age_ms,
            left_ms: record.left_ms,
            connections: record.holds,
            is_proved: record.is_proved,
        }
    }
}

impl From<Record> for directory::Record {
    fn from(record: Record) -> directory::Record {
        directory::Record {
            key: Assignee::new(record.user, record.collection),
            value: Assignment {
                name: record.name,
                host: record.host,
                removed: record.removed,
            },
            version: record.version,
            age_ms: record.age_ms,
            left_ms: record.left_ms,
            holds: record.connections,
            is_proved: record.is_proved,
        }
    }
}

/// A message to the directory of the same farm on another node.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum AgreementMessage {
    /// First message of a connection: the sender's hosts, and its orders of operators.
    Open {
        hosts: Vec<FarHost>,
        orders: BTreeMap<String, HostOrder>,
        key: KeyCheck,
    },
    Records(Vec<Record>),
    /// Marks the end of everything that the sender knew when the connection was established.
    Whole,
    /// Proposes a host for a user. The response is `Reply`, `Full` or `Busy`.
    Claim {
        number: u64,
        record: Record,
        over: Option<DecisionVersion>,
    },
    /// Response to a claim: the decision that is valid now, either the claimed one or another one
    /// that the sender knew.
    Reply {
        number: u64,
        record: Record,
    },
    /// Response to a claim: the sender's directory has no space for the user.
    Full {
        number: u64,
    },
    /// Response to a claim: the sender has its own claim for the same user, which takes precedence.
    /// The receiver has to retry.
    Busy {
        number: u64,
    },
    Steps(Vec<FarStep>),
    Disconnect {
        user: UserId,
        /// Host to which the connections lead; empty: all hosts.
        host: String,
    },
    SignedOut(SessionEndBatch),
    Tries(Vec<AttemptChange>),
    /// A user has used the one-time code of this time step (RFC 6238) at the sender. The response
    /// is `CodeUsed`.
    UseCode {
        number: u64,
        user: String,
        step: u64,
    },
    CodeUsed {
        number: u64,
        is_new: bool,
    },
}

/// A step of a client at another node.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct FarStep {
    pub number: u64,
    pub user: UserId,
    /// Age of the step when the message was built, milliseconds.
    pub age_ms: u64,
    /// The step, whose time the receiver sets by its own clock.
    pub step: HistoryStep,
}

/// A received message: one of the record store, or another one of the farm.
pub(super) enum ReceivedMessage {
    Store(MessageOf<UserDirectory>),
    Other,
}

impl AgreementMessage {
    /// Encodes a message of the store. `key`: check value of the token key.
    pub(super) fn of_store(message: MessageOf<UserDirectory>, key: KeyCheck) -> AgreementMessage {
        use record::Message;
        match message {
            Message::Open(HostsOpening { hosts, orders }) => {
                AgreementMessage::Open { hosts, orders, key }
            }
            Message::Records(records) => {
                AgreementMessage::Records(records.into_iter().map(Record::from).collect())
            }
            Message::Whole => AgreementMessage::Whole,
            Message::Claim {
                number,
                record,
                over,
            } => AgreementMessage::Claim {
                number,
                record: record.into(),
                over,
            },
            Message::Reply { number, record } => AgreementMessage::Reply {
                number,
                record: record.into(),
            },
            Message::Full { number } => AgreementMessage::Full { number },
            Message::Busy { number } => AgreementMessage::Busy { number },
        }
    }

    pub(super) fn into_store(self) -> ReceivedMessage {
        use record::Message;
        ReceivedMessage::Store(match self {
            AgreementMessage::Open { hosts, orders, .. } => {
                Message::Open(HostsOpening { hosts, orders })
            }
            AgreementMessage::Records(records) => {
                Message::Records(records.into_iter().map(Into::into).collect())
            }
            AgreementMessage::Whole => Message::Whole,
            AgreementMessage::Claim {
                number,
                record,
                over,
            } => Message::Claim {
                number,
                record: record.into(),
                over,
            },
            AgreementMessage::Reply { number, record } => Message::Reply {
                number,
                record: record.into(),
            },
            AgreementMessage::Full { number } => Message::Full { number },
            AgreementMessage::Busy { number } => Message::Busy { number },
            AgreementMessage::Steps(_)
            | AgreementMessage::Disconnect { .. }
            | AgreementMessage::SignedOut(_)
            | AgreementMessage::Tries(_)
            | AgreementMessage::UseCode { .. }
            | AgreementMessage::CodeUsed { .. } => return ReceivedMessage::Other,
        })
    }

    /// Checks the bounds of a received message; the store checks those of its records.
    ///
    /// # Errors
    /// Returns the bound that the message violates.
    pub fn check(&self) -> Result<(), InvalidMessage> {
        match self {
            AgreementMessage::Open { hosts, orders, .. } => {
                if hosts.len() > HOSTS_MAX || orders.len() > ORDERS_MAX {
                    return Err(InvalidMessage::TooMany);
                }
                let is_late =
                    |order: &HostOrder| order.clock >= CLOCK_MAX || order.at_ms >= CLOCK_MAX;
                if orders.values().any(is_late) {
                    return Err(InvalidMessage::Time);
                }
                let mut names = hosts.iter().map(|host| &host.name).chain(orders.keys());
                names.try_for_each(|name| check_text(name, 1, NAME_BYTES_MAX))
            }
            AgreementMessage::Steps(steps) if steps.len() > RECORDS_MAX => {
                Err(InvalidMessage::TooMany)
            }
            AgreementMessage::Steps(steps) => steps.iter().try_for_each(step),
            AgreementMessage::Disconnect { host, .. } => check_text(host, 0, NAME_BYTES_MAX),
            AgreementMessage::SignedOut(ends)
                if ends.named.len().max(ends.users.len()) > RECORDS_MAX =>
            {
                Err(InvalidMessage::TooMany)
            }
            AgreementMessage::SignedOut(ends) => {
                if ends.before < CLOCK_MAX {
                    Ok(())
                } else {
                    Err(InvalidMessage::Time)
                }
            }
            AgreementMessage::Tries(changes) if changes.len() > CHANGES_MAX => {
                Err(InvalidMessage::TooMany)
            }
            AgreementMessage::Tries(changes) => {
                if changes.iter().all(AttemptChange::is_bounded) {
                    Ok(())
                } else {
                    Err(InvalidMessage::Name)
                }
            }
            AgreementMessage::UseCode { user, .. } => check_text(user, 0, NAME_BYTES_MAX),
            AgreementMessage::CodeUsed { .. } => Ok(()),
            AgreementMessage::Records(_)
            | AgreementMessage::Claim { .. }
            | AgreementMessage::Reply { .. }
            | AgreementMessage::Whole
            | AgreementMessage::Full { .. }
            | AgreementMessage::Busy { .. } => Ok(()),
        }
    }
}

fn step(step: &FarStep) -> Result<(), InvalidMessage> {
    let HistoryStep {
        from,
        asked,
        got,
        why,
        ..
    } = &step.step;
    let mut texts = [from, asked, got, why].into_iter();
    texts.try_for_each(|one| check_text(one, 0, WORDS_BYTES_MAX))?;
    if step.age_ms < CLOCK_MAX && step.number < CLOCK_MAX {
        Ok(())
    } else {
        Err(InvalidMessage::Time)
    }
}
