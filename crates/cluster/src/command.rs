//! Defines the replicated commands of the log and their results, and writes trace events about
//! applied commands.
//!
//! A command names the format that it needs ([`ClusterCommand::format`]). A proposer uses the
//! newest format that all members support (`ClusterState::format`). A member
//! that reads a newer format than its own stops there, so that its state never diverges.

use crate::member::{ClusterMember, Digest, MemberId};
pub use part::control::{Epoch, LeaseRecord, RECORD_BYTES_MAX};
pub use part::file_set::VersionId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Newest format of commands that this release of evenkeel supports.
pub const FORMAT: u32 = 6;
/// First format in which a record may free the leases of a machine that is off.
pub const FREES_FORMAT: u32 = 3;
/// First format in which the entry that releases a lease grants it to the next holder.
pub const PASSES_FORMAT: u32 = 4;
/// First format in which the record of a lease may have more than [`SHORT_RECORD_BYTES_MAX`].
pub const LONG_RECORDS_FORMAT: u32 = 5;
/// First format in which authors sign their commands: see [`CommandBody::RequireSignatures`].
pub const SIGNED_FORMAT: u32 = 6;
/// Largest record before [`LONG_RECORDS_FORMAT`], bytes.
pub const SHORT_RECORD_BYTES_MAX: usize = 320;
pub const CHUNK_BYTES_MAX: usize = 256 << 10;

/// A command of the replicated log: a change, its proposer, and the format that a member must
/// support. Takes effect only when a member applies the committed entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClusterCommand {
    pub format: u32,
    pub from: MemberId,
    /// Time of the proposal, seconds since 1970 by the proposer's clock. Only displayed;
    /// no decision depends on it.
    #[serde(default)]
    pub time_s: i64,
    pub body: CommandBody,
}

impl ClusterCommand {
    /// Creates a command in the oldest format that supports it, so that as many members
    /// as possible understand it.
    pub fn new(from: MemberId, time_s: i64, body: CommandBody) -> ClusterCommand {
        let format = match body {
            CommandBody::Record(ref record) if record.value.len() > SHORT_RECORD_BYTES_MAX => {
                LONG_RECORDS_FORMAT
            }
            CommandBody::Record(ref record) if !record.frees.is_empty() => FREES_FORMAT,
            CommandBody::Record(_) => 2,
            CommandBody::Lease(LeaseCommand::Pass { .. }) => PASSES_FORMAT,
            CommandBody::RequireSignatures => SIGNED_FORMAT,
            _ => 1,
        };
        ClusterCommand {
            format,
            from,
            time_s,
            body,
        }
    }
}

impl fmt::Display for ClusterCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of member {}", self.body.name(), self.from)
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CommandBody {
    /// Founds a cluster: its name, its first member, the certificate (DER) of its CA.
    Found {
        cluster: String,
        member: ClusterMember,
        #[serde(with = "serde_bytes")]
        authority: Vec<u8>,
    },
    /// Adds an invitation. It ends when it is used or expires, or by [`CommandBody::Uninvite`].
    Invite(Invitation),
    Uninvite {
        token: Digest,
    },
    Admit {
        token: Digest,
        member: ClusterMember,
    },
    /// Addresses and supported formats of a member, sent at each start.
    Announce(ClusterMember),
    /// Removes a member; its certificate is never accepted again.
    Remove {
        member: MemberId,
    },
    Seal(Ring),
    /// Stores a chunk of an encrypted content. The chunk is kept while a version
    /// references it, or while it waits for its proposal.
    Chunk {
        digest: Digest,
        /// Bytes of the chunk, at most [`CHUNK_BYTES_MAX`].
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// Proposes a version; its rollout starts if no other is in progress.
    Propose(Box<Proposal>),
    Report(RolloutReport),
    Decide(Decision),
    Lease(LeaseCommand),
    /// Sets the record of a lease (format 2), and may free the leases of a machine that is off
    /// (format 3).
    Record(LeaseRecord),
    /// Records an event for operators, without other effect.
    Event {
        words: String,
    },
    Keep(Limits),
    /// Introduces the next CA, which is trusted beside the current one.
    Authority(Box<NextAuthority>),
    /// The member has a certificate of the newest CA.
    Certified {
        authority: Digest,
    },
    /// Makes the next CA the current one, and drops the previous CA.
    GiveUpAuthority {
        next: Digest,
        /// Members without a certificate of the next CA, as the proposer saw them. If the
        /// set differs, the old CA is not dropped.
        away: BTreeSet<MemberId>,
    },
    /// From this entry on, a command takes effect only with the signature of its author
    /// (format 6). The leader proposes this once all members support it. The requirement
    /// is irreversible.
    RequireSignatures,
}

impl CommandBody {
    /// Writes a trace event about a command that was applied or refused, with the values that an
    /// operator would look for. Frequent kinds, and those of contents, have the debug level.
    pub(crate) fn trace_applied(&self, index: u64, from: MemberId, result: &CommandResult) {
        let refused = match result {
            CommandResult::Refused(refusal) => Some(refusal.to_string()),
            _ => None,
        };
        let command = self.name();
        match self {
            CommandBody::Lease(lease) => {
                let (name, holder, kind) = match lease {
                    LeaseCommand::Grant { name, holder, .. } => (name, Some(*holder), "grant"),
                    LeaseCommand::Release { name, .. } => (name, None, "release"),
                    LeaseCommand::Pass { name, next, .. } => {
                        (name, next.map(|next| next.member), "pass")
                    }
                };
                let epoch = match result {
                    CommandResult::Lease(epoch) => Some(epoch.0),
                    _ => None,
                };
                let holder = holder.map(|holder| holder.0);
                tracing::info!(
                    index,
                    from = from.0,
                    lease = name,
                    kind,
                    holder,
                    epoch,
                    refused,
                    "lease command applied"
                );
            }
            CommandBody::Propose(_) => {
                let version = match result {
                    CommandResult::Version(version) => Some(*version),
                    _ => None,
                };
                let op = version.map(VersionId::operation);
                let version = version.map(|version| version.0);
                tracing::info!(
                    index,
                    from = from.0,
                    op,
                    version,
                    refused,
                    "version proposed"
                );
            }
            CommandBody::Report(report) => tracing::info!(
                index,
                op = report.version.operation(),
                version = report.version.0,
                node = report.node.0,
                outcome = ?report.outcome,
                refused,
                "node reported on a version"
            ),
            CommandBody::Decide(decision) => tracing::info!(
                index,
                op = decision.version.operation(),
                version = decision.version.0,
                step = ?decision.step,
                refused,
                "rollout step decided"
            ),
            CommandBody::Chunk { .. }
            | CommandBody::Seal(_)
            | CommandBody::Announce(_)
            | CommandBody::Record(_)
            | CommandBody::Certified { .. } => {
                tracing::debug!(index, from = from.0, command, refused, "command applied");
            }
            _ => tracing::info!(index, from = from.0, command, refused, "command applied"),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            CommandBody::Found { .. } => "found",
            CommandBody::Invite(_) => "invite",
            CommandBody::Uninvite { .. } => "uninvite",
            CommandBody::Admit { .. } => "admit",
            CommandBody::Announce(_) => "announce",
            CommandBody::Remove { .. } => "remove",
            CommandBody::Seal(_) => "seal",
            CommandBody::Chunk { .. } => "chunk",
            CommandBody::Propose(_) => "propose",
            CommandBody::Report(_) => "report",
            CommandBody::Decide(_) => "decide",
            CommandBody::Lease(_) => "lease",
            CommandBody::Record(_) => "record",
            CommandBody::Event { .. } => "event",
            CommandBody::Keep(_) => "keep",
            CommandBody::Authority(_) => "authority",
            CommandBody::Certified { .. } => "certified",
            CommandBody::GiveUpAuthority { .. } => "give up authority",
            CommandBody::RequireSignatures => "require signatures",
        }
    }
}

/// Limits of the history. The accepted version, its parent and the one in progress are
/// always kept, and the newest accepted revision of each of a few followed repositories.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Largest number of versions, at most [`crate::state::VERSIONS_MAX`].
    pub versions: u32,
    /// Largest size of the encrypted contents, each chunk once, bytes.
    pub content_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            versions: 200,
            content_bytes: 256 << 20,
        }
    }
}

/// Invitation as all members know it. Only the invited machine has the token.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invitation {
    pub token: Digest,
    pub kind: crate::member::MemberKind,
    /// Validity of the invitation, milliseconds; the leader counts it from the command.
    pub valid_ms: u64,
}

/// A content key, encrypted for each node. The command that introduces a new epoch
/// contains it for every node; later ones only for nodes that joined since. So if two
/// members create a key at the same time, the second one is refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ring {
    pub epoch: Epoch,
    pub sealed: Vec<SealedKey>,
}

/// A key, encrypted for one node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SealedKey {
    pub member: MemberId,
    /// HPKE's encapsulated key, followed by the ciphertext.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// The CA that is to replace the current one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NextAuthority {
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
    /// Certificate by the current CA for the next CA's key, DER.
    #[serde(with = "serde_bytes")]
    pub vouched: Vec<u8>,
    pub key: SealedAuthority,
}

/// Private key of a CA, encrypted with a content key: readable by nodes, never by an
/// arbiter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SealedAuthority {
    pub epoch: Epoch,
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// An encrypted content: chunks of a ciphertext.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EncryptedContent {
    /// Size of the plain content, in bytes.
    pub bytes: u64,
    pub epoch: Epoch,
    pub chunks: Vec<Digest>,
}

/// A file of a version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileEntry {
    pub path: String,
    /// Index among the files of the command line; `None` for a file that another file
    /// includes.
    pub main: Option<u32>,
    pub secret: bool,
    pub mode: u32,
    pub content: EncryptedContent,
}

/// Rules by which a change is judged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Judging {
    /// Duration for which each stage is observed, milliseconds; zero: not at all
    /// (`--now`).
    pub judge_ms: u64,
    /// Time after which the version is rolled back unless it is confirmed, milliseconds.
    pub confirm_within_ms: Option<u64>,
}

/// Origin of a version: an operator or a repository.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum VersionOrigin {
    Applied,
    Followed {
        repository: String,
        revision: String,
    },
    /// The files of an older configuration version are applied again.
    RolledBack {
        to: VersionId,
    },
}

/// A proposed version: the digests of its files, and where they come from. The proposer stores the
/// chunks of the files before it proposes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Proposal {
    /// Configuration version on which the author's change is based. The proposal is refused if
    /// another one is the accepted version now.
    pub parent: Option<VersionId>,
    pub author: String,
    pub message: String,
    /// Time of the proposal, seconds since 1970 by the author's clock. Only displayed; no
    /// decision depends on it.
    pub time_s: i64,
    pub origin: VersionOrigin,
    pub files: Vec<FileEntry>,
    /// Directories that the configuration names, with the names in them.
    pub listings: Vec<(String, Vec<String>)>,
    pub judging: Judging,
}

/// A node's report on a version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RolloutReport {
    pub version: VersionId,
    pub node: MemberId,
    pub outcome: Reported,
    /// Explanation: diagnostics, or what got worse; at most
    /// [`crate::state::WORDS_BYTES_MAX`].
    pub words: String,
    #[serde(default)]
    pub found: CheckFindings,
}

/// Findings of a node that checked a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CheckFindings {
    /// True if the change affects settings that nodes must agree on (router ids, priorities,
    /// timers). All nodes apply it at once, without a canary, and all roll back at once.
    #[serde(default)]
    pub together: bool,
    /// Number of virtual addresses that the node owned then, if it served. The node with
    /// the fewest is the canary.
    #[serde(default)]
    pub addresses_owned: Option<u64>,
}

/// The possible results of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reported {
    Checked,
    Refused,
    Serves,
    /// The node served the version for the observation time, and no metric got worse.
    Good,
    Worse,
    /// The node rolled back to the accepted version by itself, because it had to take
    /// over an address, or lost the leader.
    WentBack,
}

/// The next step of the version in progress.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    pub version: VersionId,
    pub step: RolloutStep,
}

/// A step of a version's rollout.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RolloutStep {
    /// Canary: these nodes can serve it; this one serves it first.
    Canary {
        node: MemberId,
    },
    /// All of these nodes serve the version as a candidate, including the canary.
    Rest {
        nodes: Vec<MemberId>,
    },
    AwaitConfirmation,
    /// Remaining time for the confirmation, in milliseconds; updated from time to time,
    /// so that a new leader need not start over.
    Remaining {
        ms: u64,
    },
    Accept,
    TakeBack {
        words: String,
    },
}

/// Commands for leases. [`crate::lease`] defines their timing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LeaseCommand {
    /// Grants the lease to a member, with the next epoch. The leader proposes this only
    /// after the last holder's time has passed.
    Grant {
        name: String,
        holder: MemberId,
        valid_ms: u64,
        /// Current epoch as the leader saw it. If it differs, nothing is granted, so a
        /// repeated grant takes effect once.
        #[serde(default)]
        after: Epoch,
    },
    Release {
        name: String,
        /// Epoch of the holder. An older epoch releases nothing.
        epoch: Epoch,
    },
    /// The holder releases the lease, and the waiting member receives it at once.
    Pass {
        name: String,
        /// Epoch of the holder. An older epoch releases nothing.
        epoch: Epoch,
        holder: MemberId,
        next: Option<NextHolder>,
    },
}

/// Member that waits for a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NextHolder {
    pub member: MemberId,
    pub valid_ms: u64,
    /// Time at which the member sent the request that this command grants, nanoseconds by
    /// its own clock.
    pub asked_ns: u64,
}

/// The result of a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CommandResult {
    Done,
    Version(VersionId),
    Lease(Epoch),
    /// The command was refused; nothing changed.
    Refused(CommandRefusal),
}

/// Why a command changed nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CommandRefusal {
    Busy {
        version: VersionId,
        author: String,
    },
    /// The change is not based on the accepted version.
    Stale {
        accepted: Option<VersionId>,
    },
    /// The token is unknown, used, or expired.
    Token,
    /// The certificate belongs to a removed member, or to another one.
    Certificate,
    NoMember,
    /// The version does not exist, or is not in progress.
    NoVersion,
    Incomplete {
        chunk: Digest,
    },
    TooMany {
        /// Kind of the objects whose number is limited.
        what: String,
        max: u64,
    },
    Held {
        holder: MemberId,
    },
    OldEpoch,
    /// The cluster was founded already, or not yet.
    Founded,
    Unfit,
    /// Another member has the number or the name.
    Taken {
        what: TakenAttribute,
    },
    /// A name is empty or too long, or has a character other than letters, digits, dots, hyphens
    /// and underscores.
    Name,
    Digest,
    /// The key is not encrypted for this node, which joined meanwhile.
    Unsealed {
        node: MemberId,
    },
    /// The version (or the CA) is not in the state for this step, or a report forbids it.
    Untimely,
    AuthorityUnderWay,
    /// A member has only certificates of a CA so old that no further CA can follow.
    Late {
        member: MemberId,
    },
    Unsigned,
    /// Some member would not understand the command.
    Format {
        understood: u32,
    },
}

/// The attribute that another member has already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TakenAttribute {
    /// Member number; a new one is above all numbers ever assigned.
    Number,
    Name,
}

impl fmt::Display for CommandRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandRefusal::Busy { version, author } => {
                write!(f, "version {version} of {author} is in progress")
            }
            CommandRefusal::Stale {
                accepted: Some(now),
            } => {
                write!(f, "version {now} was accepted meanwhile")
            }
            CommandRefusal::Stale { accepted: None } => f.write_str("no version is accepted yet"),
            CommandRefusal::Token => f.write_str("the token is unknown, used, or expired"),
            CommandRefusal::Certificate => {
                f.write_str(
                    "the certificate belongs to a removed or another member, or the current CA did not issue it",
                )
            }
            CommandRefusal::NoMember => f.write_str("no such member"),
            CommandRefusal::NoVersion => f.write_str("no such version, or it is not in progress"),
            CommandRefusal::Incomplete { chunk } => {
                write!(f, "part {chunk} of its contents is missing")
            }
            CommandRefusal::TooMany { what, max } => write!(f, "too many {what}: at most {max} are allowed"),
            CommandRefusal::Held { holder } => write!(f, "member {holder} holds it"),
            CommandRefusal::OldEpoch => {
                f.write_str("the keys or the lease changed meanwhile; run the command again")
            }
            CommandRefusal::Founded => f.write_str("the cluster already exists, or does not exist yet"),
            CommandRefusal::Unfit => f.write_str("this member does not support that"),
            CommandRefusal::Taken {
                what: TakenAttribute::Number,
            } => f.write_str("the member number is taken"),
            CommandRefusal::Taken { what: TakenAttribute::Name } => f.write_str(
                "the cluster already has a member with this name: choose another one with `--name`",
            ),
            CommandRefusal::Name => f.write_str(
                "invalid name: use 1 to 64 letters, digits, dots, hyphens and underscores",
            ),
            CommandRefusal::Digest => f.write_str("the bytes do not match their digest"),
            CommandRefusal::Unsealed { node } => {
                write!(
                    f,
                    "the key is not encrypted for member {node}, which joined meanwhile"
                )
            }
            CommandRefusal::Untimely => f.write_str("the version is not in the state for this step"),
            CommandRefusal::AuthorityUnderWay => f.write_str("a new CA is already being introduced"),
            CommandRefusal::Late { member } => write!(
                f,
                "member {member} missed several new CAs; it must return or be removed before the next one"
            ),
            CommandRefusal::Unsigned => {
                f.write_str("the command has no valid signature of the member that proposed it")
            }
            CommandRefusal::Format { understood } => {
                write!(f, "a member supports only format {understood}")
            }
        }
    }
}
