//! How the supervisor, the loader, the roles and `evenkeel reload` speak to
//! each other: messages as values, each one packet of a SOCK_SEQPACKET socket,
//! with descriptors beside it.
//!
//! What is large (a bundle, rendered diagnostics, a state) never travels in a
//! packet: it is a sealed memory file among the descriptors.
//!
//! Two versions of the binary speak to each other during an upgrade. So a
//! message of a kind that is not known is answered with
//! [`Message::Unknown`], and a field of a message that is not known
//! is ignored: a later version may add fields, never change one.
//!
//! Every role hears the same messages about its life ([`Message::Take`],
//! [`Message::Stop`], …). What one part says to another is bytes to everybody else
//! ([`PartMessage`]).
//!
//! Nothing here owns a descriptor, and nothing decides what a message leads to.

mod between;
pub mod bounded;
mod external;
mod hand_over;
mod kept;
mod message;
mod part_plan;
mod plan;
mod resource;
mod standing;
mod take;
mod volumes;
mod watch;

pub use between::{
    KnownLease, KnownLeases, LEASE_NAME_BYTES_MAX, LEASES_MAX, LeaseNews, PART_BYTES_MAX,
    PartMessage, RECORD_BYTES_MAX, SHORT_RECORD_BYTES_MAX, WantedLease, WantedLeases,
};
pub use external::{
    EXTERNAL_ARGUMENTS_MAX, EXTERNAL_FRAME_MAX, EXTERNAL_RUNNING_MAX, ExternalCheck, ExternalEnd,
    ExternalResult, RunPrograms, external_frame,
};
pub use hand_over::{
    HAND_OVER_VERSION, HandOver, HandedClient, HandedExtra, HandedPart, HandedRole, HandedSocket,
};
pub use kept::{KEPT_BYTES_MAX, Kept, KeptSocket};
pub use message::{
    Before, Decoded, HEADER_BYTES, Header, Level, Load, Look, Manner, Message, NotLoaded,
    Personality,
};
pub use part_plan::PartPlan;
pub use plan::{CertificateEnd, CheckProgram, Lacks, Missing, MissingKind, Plan, Rights, Settings};
pub use resource::{RESOURCES_MAX, Resource, ResourceKind};
pub use standing::{Admission, BEHIND_MAX, MemberNews, Membership, VersionStanding};
pub use take::{Parcel, Take, TakeTrial};
pub use volumes::{
    USED_VOLUMES_MAX, UsedVolume, UsedVolumes, VOLUME_NAME_BYTES_MAX, VOLUME_SOCKET,
    VOLUME_WHY_BYTES_MAX, VolumeNews, VolumeState, VolumeUse, volume_directory,
};
pub use watch::{
    WATCHED_BYTES_MAX, WATCHED_DIRECTORIES_MAX, WATCHED_NAMES_MAX, Watch, WatchedDirectory,
};

use crate::codec::Malformed;

/// The version of the form of packets.
pub const VERSION: u8 = 3;

/// The largest packet. Both sides refuse a larger one.
pub const PACKET_BYTES_MAX: usize = 128 * 1024;

/// Descriptors beside one packet; the kernel takes 253.
pub const PACKET_DESCRIPTORS_MAX: usize = 250;

/// Descriptors that belong to one message, over all of its packets.
pub const DESCRIPTORS_MAX: usize = 32_768;

/// The longest text inside a message, bytes; longer ones are cut when they are written.
pub const WORDS_BYTES_MAX: usize = 8 * 1024;

/// Names of files that a plan lists; further ones are left out.
pub const NAMES_MAX: usize = 64;

/// The longest path, bytes, as the kernel has it.
pub const PATH_BYTES_MAX: usize = 4_096;

/// Roles that a supervisor hands over: the one that serves, and those that finish.
pub const ROLES_MAX: usize = 128;

/// Most further items in a hand-over.
pub const EXTRAS_MAX: usize = 64;

/// Programs of external checks in one version.
pub const PROGRAMS_MAX: usize = 64;

/// Parts that are run beside the proxy.
pub const PARTS_MAX: usize = 32;

/// Most settings that need a restart in one report.
pub const FIXED_MAX: usize = 32;

/// Why bytes are no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// They do not begin as a packet does.
    #[error("not a message")]
    Magic,
    /// Another form of packets.
    #[error("unsupported message version {0}")]
    Version(u8),
    /// The number of descriptors does not fit the message.
    #[error("too many descriptors ({0})")]
    Descriptors(usize),
    /// They end too early, or a field holds something else than it may.
    #[error("the message is truncated or malformed")]
    Malformed,
}

impl From<Malformed> for DecodeError {
    fn from(_: Malformed) -> DecodeError {
        DecodeError::Malformed
    }
}
