//! Defines the messages about trace events: the request of `evenkeel trace` and `evenkeel support`,
//! and its response.

use super::bounded::{Levels, Part, list};
use language::log_levels::LEVELS_BYTES_MAX;
use serde::{Deserialize, Serialize};

const ROLES_MAX: usize = 64;

/// A request for the rings of roles, which may also set levels for some time.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct TraceRequest {
    /// Role whose levels are set; empty for all roles.
    #[serde(with = "Part")]
    pub role: String,
    /// Levels to set, as text; None sets none.
    #[serde(serialize_with = "optional_levels")]
    pub levels: Option<String>,
    /// Time after which these levels fall back, milliseconds. 0 ends those that were set before.
    pub for_ms: u64,
}

/// Response to a [`TraceRequest`]: one descriptor for each role, the memory of its ring.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct TraceResponse {
    #[serde(serialize_with = "list::<ROLES_MAX, _, _>")]
    pub roles: Vec<TracedRole>,
}

/// Role of which the supervisor has a ring, with the levels of its process.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct TracedRole {
    #[serde(with = "Part")]
    pub role: String,
    #[serde(with = "Levels")]
    pub levels: String,
    /// Time after which these levels fall back, milliseconds; None if they are the configured ones.
    pub left_ms: Option<u64>,
    /// Process id; None if the role does not run.
    pub process: Option<i32>,
}

fn optional_levels<S: serde::Serializer>(
    levels: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match levels {
        Some(levels) if levels.len() <= LEVELS_BYTES_MAX => serializer.serialize_some(levels),
        _ => serializer.serialize_none(),
    }
}
