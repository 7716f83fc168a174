//! Defines the typed statuses that roles publish in their reports ([`Subject::publish`]), for other
//! roles, for commands and for pages that decide by them. Texts of a report are for people only.
//!
//! Processes and nodes of different versions exchange these values: fields are only added, with a
//! default, and a state that this version does not know is `Unknown`. The function `of(&Subject)` of
//! a type returns the default for a report without a status.
//!
//! [`Subject::publish`]: crate::report::Subject::publish

/// Kind of a subject with the status of a cluster.
pub const CLUSTER: &str = "cluster";
pub const VIRTUAL_IP: &str = "virtual-ip";
pub const MEMBER: &str = "member";
pub const GUEST: &str = "guest";
pub const GUEST_NODE: &str = "guest node";
pub const ROLE: &str = "role";
pub const VOLUME: &str = "volume";

mod address;
mod cluster;
mod guest;
mod role;
mod volume;

pub use address::{AddressReport, LeaseUse, RouterReport, RouterState};
pub use cluster::{ClusterReport, MemberFault, MemberKind, MemberReach, MemberReport};
pub use guest::{GuestDisk, GuestNodeReport, GuestNodeState, GuestReport, GuestState, StopOrder};
pub use role::{RoleReport, RoleState};
pub use volume::{
    CompleteCopies, CopyNodes, FoundFaults, Overwriting, VolumeReport, VolumeServiceState,
};

#[cfg(test)]
mod tests;
