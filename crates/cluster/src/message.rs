//! Messages to the control role ([`part::control`]), and its options.

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
