//! Defines the options with which the supervisor starts the control role; the messages to that role
//! are those of [`part::control`].

pub use part::control::{ControlMessage, HEARTBEAT_VALID, PART, Recorded};

use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct ControlOptions {
    /// Path of the state directory, as bytes.
    pub directory: Vec<u8>,
    /// Path of the socket for operators.
    pub socket: Vec<u8>,
}
