//! What the directories of a farm say to each other. The sender is a node of the cluster; still, all
//! that it says has bounds.

use crate::directory::{FarHost, Order, Record, Version};
use crate::history::Step;
use crate::user::UserId;
use access::ended::Ends;
use access::peers::{CHANGES_MAX, Change};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes of the check of a key.
pub const KEY_BYTES: usize = 8;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 128;
/// Hosts of a farm, and orders.
const HOSTS_MAX: usize = 64;
const ORDERS_MAX: usize = 256;
/// Decisions and steps in one message.
const RECORDS_MAX: usize = 500;
/// Bytes of the words of a step.
const WORDS_BYTES_MAX: usize = 512;
/// The greatest of clocks, and the longest of times, milliseconds.
const CLOCK_MAX: u64 = 1 << 62;

/// A message to the directory of the same farm on another node.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// The hosts and orders of the sender; the first one.
    Open {
        /// The hosts of its configuration.
        hosts: Vec<FarHost>,
        /// What operators ordered last.
        orders: BTreeMap<String, Order>,
        /// The check of the key of its tokens.
        key: [u8; KEY_BYTES],
    },
    /// What it knows of users.
    Records(Vec<Record>),
    /// All that it knew when the connection began was sent.
    Whole,
    /// May this user get this host? The answer is `Reply`, `Full` or `Busy`.
    Claim {
        /// The number of the claim.
        number: u64,
        /// The decision.
        record: Record,
        /// The decision that it gives up.
        over: Option<Version>,
    },
    /// What holds after a claim: the decision of the claim, or what the sender knew.
    Reply {
        /// The number of the claim.
        number: u64,
        /// What holds.
        record: Record,
    },
    /// The sender has no room for the user of a claim.
    Full {
        /// The number of the claim.
        number: u64,
    },
    /// The sender asks about the same user, and its claim holds: ask again.
    Busy {
        /// The number of the claim.
        number: u64,
    },
    /// What clients did at the sender.
    Steps(Vec<FarStep>),
    /// An operator ends the connections of a user, wherever they are.
    Disconnect {
        /// Whose.
        user: UserId,
        /// Only those to this host; empty: all of them.
        host: String,
    },
    /// Sessions of the portal that have ended before their time.
    SignedOut(Ends),
    /// Failed tries at the portal and the gateway.
    Tries(Vec<Change>),
    /// A user has used the code of this time step at the sender. The response is `CodeUsed`.
    UseCode {
        /// The number of the claim.
        number: u64,
        /// Whose code.
        user: String,
        /// The time step.
        step: u64,
    },
    /// The response to `UseCode`.
    CodeUsed {
        /// The number of the claim.
        number: u64,
        /// The code was not used at the sender.
        is_new: bool,
    },
}

/// What a client did at another node.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct FarStep {
    /// Its number at that node, in order.
    pub number: u64,
    /// Whose.
    pub user: UserId,
    /// How long ago, milliseconds.
    pub age_ms: u64,
    /// What; the receiver puts in its own time.
    pub step: Step,
}

/// What another node said is not what such a node says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// A list is too long.
    #[error("a message with too many entries")]
    TooMany,
    /// A text is too long, or not one that can be shown.
    #[error("an invalid name in a message")]
    Name,
    /// A clock or a time is beyond what is possible.
    #[error("an impossible time in a message")]
    Time,
}

impl Message {
    /// Checks the bounds of what came.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Refused> {
        match self {
            Message::Open { hosts, orders, .. } => {
                if hosts.len() > HOSTS_MAX || orders.len() > ORDERS_MAX {
                    return Err(Refused::TooMany);
                }
                let is_late = |order: &Order| order.clock >= CLOCK_MAX || order.at_ms >= CLOCK_MAX;
                if orders.values().any(is_late) {
                    return Err(Refused::Time);
                }
                let mut names = hosts.iter().map(|host| &host.name).chain(orders.keys());
                names.try_for_each(|name| text(name, 1, NAME_BYTES_MAX))
            }
            Message::Records(records) if records.len() > RECORDS_MAX => Err(Refused::TooMany),
            Message::Records(records) => records.iter().try_for_each(record),
            Message::Claim {
                record: one, over, ..
            } => {
                over.iter().try_for_each(version)?;
                record(one)
            }
            Message::Reply { record: one, .. } => record(one),
            Message::Steps(steps) if steps.len() > RECORDS_MAX => Err(Refused::TooMany),
            Message::Steps(steps) => steps.iter().try_for_each(step),
            Message::Disconnect { host, .. } => text(host, 0, NAME_BYTES_MAX),
            Message::SignedOut(ends) if ends.named.len().max(ends.users.len()) > RECORDS_MAX => {
                Err(Refused::TooMany)
            }
            Message::SignedOut(ends) => match ends.before < CLOCK_MAX {
                true => Ok(()),
                false => Err(Refused::Time),
            },
            Message::Tries(changes) if changes.len() > CHANGES_MAX => Err(Refused::TooMany),
            Message::Tries(changes) => match changes.iter().all(Change::is_bounded) {
                true => Ok(()),
                false => Err(Refused::Name),
            },
            Message::UseCode { user, .. } => text(user, 0, NAME_BYTES_MAX),
            Message::CodeUsed { .. } => Ok(()),
            Message::Whole | Message::Full { .. } | Message::Busy { .. } => Ok(()),
        }
    }
}

fn text(text: &str, bytes_min: usize, bytes_max: usize) -> Result<(), Refused> {
    let has_length = (bytes_min..=bytes_max).contains(&text.len());
    match has_length && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(Refused::Name),
    }
}

fn version(version: &Version) -> Result<(), Refused> {
    match version.clock.max(version.generation) < CLOCK_MAX {
        true => Ok(()),
        false => Err(Refused::Time),
    }
}

fn record(record: &Record) -> Result<(), Refused> {
    text(&record.name, 0, NAME_BYTES_MAX)?;
    text(&record.host, 1, NAME_BYTES_MAX)?;
    version(&record.version)?;
    match record.age_ms.max(record.left_ms) < CLOCK_MAX {
        true => Ok(()),
        false => Err(Refused::Time),
    }
}

fn step(step: &FarStep) -> Result<(), Refused> {
    let Step {
        from,
        asked,
        got,
        why,
        ..
    } = &step.step;
    let mut texts = [from, asked, got, why].into_iter();
    texts.try_for_each(|one| text(one, 0, WORDS_BYTES_MAX))?;
    match step.age_ms < CLOCK_MAX && step.number < CLOCK_MAX {
        true => Ok(()),
        false => Err(Refused::Time),
    }
}
