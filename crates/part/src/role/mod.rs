//! Defines how the supervisor, the loader, the roles and `evenkeel reload` communicate: by messages
//! as values, each in one packet of a SOCK_SEQPACKET socket, with descriptors. Only descriptors may
//! need further packets.
//!
//! Large data (a bundle, rendered diagnostics, a state) never travels in a packet: it is a sealed
//! memory file among the descriptors.
//!
//! Two versions of the binary communicate during an upgrade. A message of an unknown kind therefore
//! gets the response [`SupervisorMessage::Unknown`], and unknown fields of a message are ignored: a later
//! version may add fields, but never change one.
//!
//! Every role gets the same messages about its life cycle ([`SupervisorMessage::Take`], [`SupervisorMessage::Stop`],
//! …). Messages between parts are opaque bytes to all other processes ([`PartMessage`]).
//!
//! This module owns no descriptors and does not decide the effect of a message.

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
mod trace;
mod volumes;
mod watch;

pub use between::{
    KnownLease, KnownLeases, LEASE_NAME_BYTES_MAX, LEASES_MAX, LeaseNews, OrderResponse,
    PART_BYTES_MAX, PartMessage, RECORD_BYTES_MAX, SHORT_RECORD_BYTES_MAX, WantedLease,
    WantedLeases,
};
pub use external::{
    EXTERNAL_ARGUMENTS_MAX, EXTERNAL_FRAME_MAX, EXTERNAL_RUNNING_MAX, ExternalCheck, ExternalEnd,
    ExternalResult, RunPrograms, external_frame,
};
pub use hand_over::{
    HAND_OVER_VERSION, HandOver, HandedClient, HandedExtra, HandedPart, HandedRole, HandedSocket,
};
pub use kept::{KEPT_BYTES_MAX, KeptSocket, SavedVersion};
pub use message::{
    Before, Decoded, DiagnosticFormat, HEADER_BYTES, Header, Level, Load, Manner, NotLoaded,
    Personality, SupervisorMessage,
};
pub use part_plan::PartPlan;
pub use plan::{
    CertificateEnd, CheckProgram, Lacks, Missing, MissingKind, Rights, Settings, VersionPlan,
};
pub use resource::{RESOURCES_MAX, Resource, ResourceKind};
pub use standing::{Admission, BEHIND_MAX, MemberNews, Membership, VersionStanding};
pub use take::{Parcel, Take, TakeTrial};
pub use trace::{TraceRequest, TraceResponse, TracedRole};
pub use volumes::{
    USED_VOLUMES_MAX, UsedVolume, UsedVolumes, VOLUME_NAME_BYTES_MAX, VOLUME_SOCKET,
    VOLUME_WHY_BYTES_MAX, VolumeNews, VolumeState, VolumeUse, volume_directory,
};
pub use watch::{
    WATCHED_BYTES_MAX, WATCHED_DIRECTORIES_MAX, WATCHED_NAMES_MAX, Watch, WatchedDirectory,
};

use crate::codec::InvalidEncoding;

pub const VERSION: u8 = 3;

/// Maximum size of a packet in bytes. Both sides refuse a larger one.
pub const PACKET_BYTES_MAX: usize = 128 * 1024;

/// Maximum number of descriptors in one packet; the kernel's limit is 253.
pub const PACKET_DESCRIPTORS_MAX: usize = 250;

/// Maximum number of descriptors of one message, over all of its packets.
pub const DESCRIPTORS_MAX: usize = 32_768;

/// Maximum size of a text inside a message, in bytes; longer ones are truncated by the sender.
pub const WORDS_BYTES_MAX: usize = 8 * 1024;

/// Maximum number of file names in a plan; further ones are left out.
pub const NAMES_MAX: usize = 64;

pub const PATH_BYTES_MAX: usize = 4_096;

/// Maximum number of roles in a hand-over: the one that serves, and those that finish.
pub const ROLES_MAX: usize = 128;

pub const EXTRAS_MAX: usize = 64;

pub const PROGRAMS_MAX: usize = 64;

pub const PARTS_MAX: usize = 32;

pub const FIXED_MAX: usize = 32;

/// The reason why bytes are not a valid message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("not a message")]
    Magic,
    #[error("unsupported message version {0}")]
    Version(u8),
    #[error("too many descriptors ({0})")]
    Descriptors(usize),
    #[error("the message is truncated or malformed")]
    Malformed,
}

impl From<InvalidEncoding> for DecodeError {
    fn from(_: InvalidEncoding) -> DecodeError {
        DecodeError::Malformed
    }
}
