//! Defines the versions of records and their order: of two records of one key, the greater version
//! wins on all nodes.

use serde::{Deserialize, Serialize};

/// Identifier of a table during one run of its process. A process that restarts gets a new one.
#[derive(
    Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash,
)]
pub struct Origin(pub u64);

/// Version of a record. Of two records of one key, the one with the greater version wins on all
/// nodes; of equal versions, the one with the greater place. The fields compare in this order.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Version {
    /// Number of earlier decisions for this key that the author knew and replaced.
    pub generation: u64,
    /// The value has been used outside of the store, so something may depend on it.
    pub used: bool,
    /// Logical clock of the author: above those of all versions that it knew.
    pub clock: u64,
    /// Table in which the record was made.
    pub origin: Origin,
}
