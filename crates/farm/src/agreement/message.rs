//! Messages between the directories of a farm. The sender is a node of the cluster; its messages
//! are still checked against bounds.

use crate::directory::{DecisionVersion, FarHost, HostOrder, Record};
use crate::history::HistoryStep;
use crate::user::UserId;
use access::ended::SessionEndBatch;
use access::peers::{AttemptChange, CHANGES_MAX};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Length of the check value of a token key, in bytes.
pub const KEY_BYTES: usize = 8;
/// Limit of a name, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Limit of the hosts of a farm, and of orders, in one message.
const HOSTS_MAX: usize = 64;
const ORDERS_MAX: usize = 256;
/// Limit of the decisions, and of the steps, in one message.
const RECORDS_MAX: usize = 500;
/// Limit of the text of a step, in bytes.
const WORDS_BYTES_MAX: usize = 512;
/// Limit of logical clocks, and of times in milliseconds.
const CLOCK_MAX: u64 = 1 << 62;

/// A message to the directory of the same farm on another node.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum AgreementMessage {
    /// First message of a connection: the sender's hosts and orders.
    Open {
        /// Hosts of the sender's configuration.
        hosts: Vec<FarHost>,
        /// Latest order for each host.
        orders: BTreeMap<String, HostOrder>,
        /// Check value of the sender's token key.
        key: [u8; KEY_BYTES],
    },
    /// Decisions that the sender knows.
    Records(Vec<Record>),
    /// Marks the end of everything that the sender knew when the connection began.
    Whole,
    /// Proposes a host for a user. The response is `Reply`, `Full` or `Busy`.
    Claim {
        number: u64,
        record: Record,
        /// Version of the decision that the claim replaces.
        over: Option<DecisionVersion>,
    },
    /// Response to a claim: the decision that is valid now. It is that of the claim, or one that
    /// the sender knew.
    Reply { number: u64, record: Record },
    /// Response to a claim: the sender has no room for the user.
    Full { number: u64 },
    /// Response to a claim: the sender has its own claim for the same user, which takes precedence.
    /// The receiver has to retry.
    Busy { number: u64 },
    /// Steps of clients at the sender.
    Steps(Vec<FarStep>),
    /// Order of an operator to close the connections of a user at every node.
    Disconnect {
        /// User whose connections are closed.
        user: UserId,
        /// Host to which the connections lead; empty: all hosts.
        host: String,
    },
    /// Portal sessions that ended before they expired.
    SignedOut(SessionEndBatch),
    /// Failed sign-ins at the portal and the gateway.
    Tries(Vec<AttemptChange>),
    /// A user has used the one-time code of this time step (RFC 6238) at the sender. The response
    /// is `CodeUsed`.
    UseCode {
        number: u64,
        user: String,
        /// Time step of the code.
        step: u64,
    },
    /// Response to `UseCode`.
    CodeUsed {
        number: u64,
        /// True if the code was not used at the sender before.
        is_new: bool,
    },
}

/// A step of a client at another node.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct FarStep {
    /// Sequence number at that node.
    pub number: u64,
    pub user: UserId,
    /// Age when the message was built, milliseconds.
    pub age_ms: u64,
    /// The step. The receiver sets its own time.
    pub step: HistoryStep,
}

/// A message that no correct node would send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidMessage {
    /// A list is too long.
    #[error("a message with too many entries")]
    TooMany,
    /// A text is too long, or contains characters that cannot be displayed.
    #[error("an invalid name in a message")]
    Name,
    /// A clock or a time is out of range.
    #[error("an impossible time in a message")]
    Time,
}

impl AgreementMessage {
    /// Checks the bounds of a received message.
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
                names.try_for_each(|name| text(name, 1, NAME_BYTES_MAX))
            }
            AgreementMessage::Records(records) if records.len() > RECORDS_MAX => {
                Err(InvalidMessage::TooMany)
            }
            AgreementMessage::Records(records) => records.iter().try_for_each(record),
            AgreementMessage::Claim {
                record: one, over, ..
            } => {
                over.iter().try_for_each(version)?;
                record(one)
            }
            AgreementMessage::Reply { record: one, .. } => record(one),
            AgreementMessage::Steps(steps) if steps.len() > RECORDS_MAX => {
                Err(InvalidMessage::TooMany)
            }
            AgreementMessage::Steps(steps) => steps.iter().try_for_each(step),
            AgreementMessage::Disconnect { host, .. } => text(host, 0, NAME_BYTES_MAX),
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
            AgreementMessage::UseCode { user, .. } => text(user, 0, NAME_BYTES_MAX),
            AgreementMessage::CodeUsed { .. } => Ok(()),
            AgreementMessage::Whole
            | AgreementMessage::Full { .. }
            | AgreementMessage::Busy { .. } => Ok(()),
        }
    }
}

fn text(text: &str, bytes_min: usize, bytes_max: usize) -> Result<(), InvalidMessage> {
    let has_length = (bytes_min..=bytes_max).contains(&text.len());
    if has_length && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(InvalidMessage::Name)
    }
}

fn version(version: &DecisionVersion) -> Result<(), InvalidMessage> {
    if version.clock.max(version.generation) < CLOCK_MAX {
        Ok(())
    } else {
        Err(InvalidMessage::Time)
    }
}

fn record(record: &Record) -> Result<(), InvalidMessage> {
    text(&record.name, 0, NAME_BYTES_MAX)?;
    text(&record.host, 1, NAME_BYTES_MAX)?;
    version(&record.version)?;
    if record.age_ms.max(record.left_ms) < CLOCK_MAX {
        Ok(())
    } else {
        Err(InvalidMessage::Time)
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
    texts.try_for_each(|one| text(one, 0, WORDS_BYTES_MAX))?;
    if step.age_ms < CLOCK_MAX && step.number < CLOCK_MAX {
        Ok(())
    } else {
        Err(InvalidMessage::Time)
    }
}
