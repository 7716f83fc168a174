//! Defines the messages to the guest role, in addition to the common role messages and the
//! notifications about leases and volumes. The supervisor forwards them as bytes.

use crate::config::Guest;
use crate::keyword::NAME;
use part::power::control::PowerControl;
use part::role::PartMessage;
use part::role::bounded::{Name, Words};
use serde::{Deserialize, Serialize};

/// Order of an operator. The response is [`GuestResponse`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum GuestOrder {
    Start {
        #[serde(with = "Name")]
        name: String,
    },
    /// Shuts down a guest, which stays down.
    Stop {
        #[serde(with = "Name")]
        name: String,
        /// The guest is ended at once, as by pulling the plug.
        kills: bool,
    },
    Move {
        #[serde(with = "Name")]
        name: String,
        #[serde(with = "Name")]
        node: String,
    },
    Remove {
        #[serde(with = "Name")]
        name: String,
    },
    ConfirmOff {
        #[serde(with = "Name")]
        node: String,
    },
    Drain {
        drained: bool,
        /// True if guests that cannot be migrated are shut down.
        #[serde(default)]
        shuts_down: bool,
    },
    /// Requests the status of a guest as text. A refusal contains the reason why the guest has not
    /// moved.
    How {
        #[serde(with = "Name")]
        name: String,
    },
    Shown {
        /// Name of the guest; empty: all guests.
        #[serde(with = "Name")]
        name: String,
    },
    Remembered {
        #[serde(with = "Name")]
        node: String,
        /// Name of the guest; empty: all guests.
        #[serde(with = "Name")]
        name: String,
    },
    At {
        #[serde(with = "Name")]
        node: String,
        order: Box<GuestOrder>,
    },
    Sent {
        /// Number from the response to the order ([`GuestResponse::waits`]).
        number: u64,
    },
    /// Permits the start of a guest that an earlier release marked while it restored the guest's
    /// disks.
    EndRestore {
        #[serde(with = "Name")]
        name: String,
    },
}

/// Request for the fencing methods of a node. The response is [`Fences`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct FencesRequest {
    #[serde(with = "Name")]
    pub node: String,
}

/// Fencing methods of a node with all options, including passwords. Sent only to the user that runs
/// Evenkeel.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Fences(pub Option<Vec<PowerControl>>);

const ASK_FENCES: u16 = 2;
/// Request for the configuration of a guest. The response is [`GuestConfiguration`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct GuestConfigurationRequest {
    #[serde(with = "Name")]
    pub name: String,
}

/// Configuration of a guest, with its data for cloud-init. Sent only to the user that runs
/// Evenkeel.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct GuestConfiguration {
    pub served: Option<Guest>,
    /// Settings with which the guest was started, if it runs on this node.
    pub started_as: Option<Guest>,
}

const ASK_GUEST: u16 = 4;

impl GuestConfigurationRequest {
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, ASK_GUEST, self)
    }

    pub fn of(message: &PartMessage) -> Option<GuestConfigurationRequest> {
        (message.kind == ASK_GUEST).then(|| message.read())?
    }
}

const ASK_STAND: u16 = 3;

/// Step of a standstill of a guest, for snapshots of all its disks. The response is
/// [`StandstillStatus`].
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stand {
    /// Quiesce and pause the guest.
    Begin,
    Look,
    End,
}

/// Request for a step of a standstill.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct StandstillRequest {
    #[serde(with = "Name")]
    pub name: String,
    /// Number of the standstill, which the command that requests it has drawn.
    pub number: u64,
    pub step: Stand,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum StandstillProgress {
    Refused,
    Begins,
    Stands,
    GoesOn,
    Over,
}

/// Status of a standstill. The response to [`StandstillRequest`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct StandstillStatus {
    pub state: StandstillProgress,
    #[serde(with = "Words")]
    pub words: String,
    pub is_down: bool,
    /// Reason why the file systems were not frozen; None: they were.
    pub not_frozen: Option<String>,
    /// Time for which the guest was paused, milliseconds.
    pub stood_ms: u64,
    /// Time for which the guest's file systems were frozen, milliseconds.
    pub frozen_ms: u64,
}

impl StandstillRequest {
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, ASK_STAND, self)
    }

    pub fn of(message: &PartMessage) -> Option<StandstillRequest> {
        (message.kind == ASK_STAND).then(|| message.read())?
    }
}

impl StandstillStatus {
    pub(crate) fn refused(words: String) -> StandstillStatus {
        StandstillStatus {
            state: StandstillProgress::Refused,
            words,
            is_down: false,
            not_frozen: None,
            stood_ms: 0,
            frozen_ms: 0,
        }
    }
}

impl FencesRequest {
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, ASK_FENCES, self)
    }

    pub fn of(message: &PartMessage) -> Option<FencesRequest> {
        (message.kind == ASK_FENCES).then(|| message.read())?
    }
}

/// Text of the response while parts of a removed guest still exist. Older roles send no
/// [`RefusalReason`].
pub(crate) const BEING_REMOVED: &str = "the cluster has not removed its record yet";

/// Reason of a refusal, as a value by which a command decides.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RefusalReason {
    BeingRemoved,
    #[default]
    #[serde(other)]
    Other,
}

/// Response to an order of an operator.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct GuestResponse {
    /// True if the order is being executed.
    pub good: bool,
    /// Reason of a refusal, or the requested text, or what still existed of a removed guest.
    #[serde(with = "Words")]
    pub words: String,
    /// Number by which the result of an order is requested that was sent to another node; zero: it
    /// was not sent.
    #[serde(default)]
    pub waits: u64,
    /// Requested report, or the last known one; empty: none.
    #[serde(default, with = "serde_bytes")]
    pub bytes: Vec<u8>,
    #[serde(default)]
    pub age_ms: u64,
    #[serde(default)]
    pub reason: RefusalReason,
}

impl GuestResponse {
    pub fn of(done: Result<String, String>) -> GuestResponse {
        let good = done.is_ok();
        let (Ok(words) | Err(words)) = done;
        GuestResponse {
            good,
            words,
            waits: 0,
            bytes: Vec::new(),
            age_ms: 0,
            reason: RefusalReason::Other,
        }
    }

    pub fn is_being_removed(&self) -> bool {
        let is_named = self.reason == RefusalReason::BeingRemoved || self.words == BEING_REMOVED;
        !self.good && is_named
    }
}

impl GuestOrder {
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, 1, self)
    }
}
