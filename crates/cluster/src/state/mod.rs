//! Defines the replicated state: the result of the commands of the log, equal on all members.
//! Applies each committed command. The state reads no clock and does no IO: everything that depends
//! on time or on the machine is part of a command.
//!
//! Members, invitations and keys are in `membership.rs`, CAs in `succession.rs`, versions
//! and their stages in `version.rs`, the chunks of their contents in `chunk.rs`, leases
//! in `lease.rs`, events in `event.rs`.
//!
//! Every table has a named bound. A refused command changes nothing but the count of
//! commands. A clone is cheap: large values are behind an `Arc`.

mod author;
mod chunk;
mod event;
mod lease;
mod membership;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod sequences;
mod succession;
mod trust;
mod version;

pub use chunk::{CHUNKS_MAX, PENDING_BYTES_MAX, PENDING_CHUNKS_MAX, PENDING_COMMANDS_MAX};
pub use event::{EVENTS_BYTES_MAX, EVENTS_MAX, Event};
pub use lease::{LEASE_NAME_BYTES_MAX, LEASES_MAX, Lease, Record};
pub use membership::{
    ADDRESSES_MAX, CERTIFICATE_BYTES_MAX, INVITATIONS_MAX, MEMBERS_MAX, NAME_BYTES_MAX,
    REMOVED_MAX, RINGS_MAX, SEALED_KEY_BYTES_MAX,
};
pub use succession::{RetiredAuthority, Succession};
pub use version::{
    JUDGING_MS_MAX, LISTED_NAMES_MAX, MESSAGE_BYTES_MAX, METADATA_BYTES_MAX, NodeReport,
    PATH_BYTES_MAX, PROPOSAL_BYTES_MAX, RolloutStage, VERSIONS_MAX, VersionRecord,
};
pub(crate) use version::{against_in_words, is_against};

use crate::command::{
    ClusterCommand, CommandBody, CommandRefusal, CommandResult, Epoch, FORMAT, Invitation,
    LeaseCommand, Limits, Ring, VersionId,
};
use crate::member::{ClusterMember, Digest, MemberId, MemberKind};
use chunk::Chunks;
use event::Events;
use part::codec::{self, InvalidEncoding};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Largest text of a report or an event, bytes. A longer one is cut.
pub const WORDS_BYTES_MAX: usize = 64 << 10;

/// The replicated state: the result of all applied commands, equal on all members that have applied
/// the same ones. Nothing but [`ClusterState::apply`] changes what members share.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ClusterState {
    /// Newest format of an applied command. An evenkeel binary that does not support it must not
    /// continue from this state.
    #[serde(default)]
    pub needs: u32,
    /// Number of applied commands, including refused ones.
    #[serde(default)]
    pub applied: u64,
    /// Name of the cluster; empty before it was founded.
    pub cluster: String,
    #[serde(default, with = "serde_bytes")]
    pub authority: Vec<u8>,
    #[serde(default)]
    pub succession: Succession,
    pub members: BTreeMap<MemberId, ClusterMember>,
    #[serde(default)]
    pub last_member: MemberId,
    /// Certificates (SHA-256 of the public key) of removed members.
    #[serde(default)]
    pub removed: BTreeMap<Digest, MemberId>,
    #[serde(default)]
    pub invitations: BTreeMap<Digest, Invitation>,
    #[serde(default)]
    pub rings: BTreeMap<Epoch, Ring>,
    #[serde(default)]
    pub versions: BTreeMap<VersionId, Arc<VersionRecord>>,
    #[serde(default)]
    pub last_version: VersionId,
    pub accepted: Option<VersionId>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    chunks: Arc<Chunks>,
    #[serde(default)]
    leases: lease::Leases,
    #[serde(default)]
    events: Arc<Events>,
    #[serde(skip)]
    dropped: chunk::Dropped,
}

/// Error of decoding a state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("the state is {0}")]
    Malformed(InvalidEncoding),
    #[error(
        "the state has format {needs}, but this program supports only {FORMAT}: start the newer program again"
    )]
    Newer { needs: u32 },
}

impl ClusterState {
    /// Applies a committed command. The same commands in the same order lead to the same
    /// state and the same results on every member.
    ///
    /// # Panics
    /// Panics where [`ClusterState::must_stop`] returns true: a member that continued would
    /// diverge.
    pub fn apply(&mut self, command: &ClusterCommand) -> CommandResult {
        assert!(
            !self.must_stop(command),
            "a command of format {}, but this program supports only {FORMAT}",
            command.format
        );
        self.applied = self.applied.saturating_add(1);
        let answer = self
            .apply_body(command)
            .unwrap_or_else(CommandResult::Refused);
        if !matches!(answer, CommandResult::Refused(_)) {
            self.needs = self.needs.max(command.format);
        }
        self.drop_abandoned();
        answer
    }

    /// Returns whether this evenkeel binary must stop before the command: all members announced
    /// support for its format, but this binary lacks it. The binary is older than the one that this
    /// member ran before.
    pub fn must_stop(&self, command: &ClusterCommand) -> bool {
        command.format > FORMAT && command.format <= self.format()
    }

    /// Returns the newest format of commands that all members support.
    pub fn format(&self) -> u32 {
        self.members
            .values()
            .map(|member| member.format)
            .min()
            .unwrap_or(FORMAT)
    }

    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes a state, unless its format is too new.
    ///
    /// # Errors
    /// Fails with [`StateError::Newer`] if a newer release of evenkeel wrote the
    /// state, and with [`StateError::Malformed`] if the bytes do not encode a state.
    pub fn decode(bytes: &[u8]) -> Result<ClusterState, StateError> {
        /// Decodes only the format, which is readable in every state, also in one that is too new.
        #[derive(Deserialize)]
        struct StateHeader {
            #[serde(default)]
            needs: u32,
        }
        let head: StateHeader = codec::decode(bytes).map_err(StateError::Malformed)?;
        if head.needs > FORMAT {
            return Err(StateError::Newer { needs: head.needs });
        }
        codec::decode(bytes).map_err(StateError::Malformed)
    }

    pub fn founded(&self) -> bool {
        !self.cluster.is_empty()
    }

    pub fn member(&self, id: MemberId) -> Option<&ClusterMember> {
        self.members.get(&id)
    }

    pub fn member_by_name(&self, name: &str) -> Option<&ClusterMember> {
        self.members.values().find(|member| member.name == name)
    }

    /// Returns the nodes: the members that carry traffic.
    pub fn nodes(&self) -> impl Iterator<Item = &ClusterMember> {
        self.members
            .values()
            .filter(|member| member.kind == MemberKind::Node)
    }

    /// Returns the name of a member, or its number if it is no longer a member.
    pub fn name_of(&self, id: MemberId) -> String {
        self.members
            .get(&id)
            .map_or_else(|| format!("member {id}"), |member| member.name.clone())
    }

    pub fn version(&self, id: VersionId) -> Option<&VersionRecord> {
        self.versions.get(&id).map(|record| &**record)
    }

    pub fn accepted(&self) -> Option<&VersionRecord> {
        self.version(self.accepted?)
    }

    /// Returns the version in progress: at most one, and the last.
    pub fn on_its_way(&self) -> Option<&VersionRecord> {
        self.version(self.last_version)
            .filter(|record| record.stage.on_its_way())
    }

    pub fn lease(&self, name: &str) -> Option<&Lease> {
        self.leases.get(name)
    }

    /// Returns the record that the holder of a lease wrote last, under this epoch or an
    /// earlier one.
    pub fn lease_record(&self, name: &str) -> Option<&Record> {
        self.leases.record(name)
    }

    pub fn leases(&self) -> impl Iterator<Item = (&str, &Lease)> {
        self.leases.iter()
    }

    pub fn lease_records(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.leases.records()
    }

    /// Returns the events, the oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter()
    }

    pub fn chunks(&self) -> impl Iterator<Item = Digest> + '_ {
        self.chunks.all()
    }

    pub fn has_chunk(&self, digest: &Digest) -> bool {
        self.chunks.has(digest)
    }

    pub fn chunk_bytes(&self) -> u64 {
        self.chunks.bytes()
    }

    /// Returns the chunks that a proposer of these files must send first.
    pub fn missing(&self, files: &[crate::command::FileEntry]) -> Vec<Digest> {
        self.chunks.missing(files)
    }

    /// Returns the chunks that the store may delete since the last call, after one
    /// command or several. A store that loses this list finds them by [`ClusterState::chunks`].
    pub fn take_dropped(&mut self) -> Vec<Digest> {
        self.dropped.take()
    }

    /// Returns the nodes for which the key of a ring is not encrypted yet. A node that
    /// has the ring encrypts it for them ([`CommandBody::Seal`]).
    pub fn unsealed(&self) -> Vec<(Epoch, MemberId)> {
        self.unsealed_keys()
    }

    fn apply_body(&mut self, command: &ClusterCommand) -> Result<CommandResult, CommandRefusal> {
        if command.format > self.format() {
            return Err(CommandRefusal::Format {
                understood: self.format(),
            });
        }
        if let CommandBody::Found {
            cluster,
            member,
            authority,
        } = &command.body
        {
            return self.found(command, cluster, member, authority);
        }
        if !self.founded() {
            return Err(CommandRefusal::Founded);
        }
        let from = self
            .members
            .get(&command.from)
            .ok_or(CommandRefusal::NoMember)?;
        if !self.may_propose(from, &command.body) {
            return Err(CommandRefusal::Unfit);
        }
        self.apply_member_command(command)
    }

    fn apply_member_command(
        &mut self,
        command: &ClusterCommand,
    ) -> Result<CommandResult, CommandRefusal> {
        match &command.body {
            CommandBody::Found { .. } => Err(CommandRefusal::Founded),
            CommandBody::Invite(invitation) => self.invite(invitation),
            CommandBody::Uninvite { token } => self.uninvite(token),
            CommandBody::Admit { token, member } => self.admit(command, token, member),
            CommandBody::Announce(member) => self.announce(member),
            CommandBody::Remove { member } => self.remove(command, *member),
            CommandBody::Seal(ring) => self.seal(ring),
            CommandBody::Chunk { digest, bytes } => self.chunk(command.from, digest, bytes),
            CommandBody::Propose(proposal) => self.propose(command, proposal),
            CommandBody::Report(report) => self.report(command, report),
            CommandBody::Decide(decision) => self.decide(command, decision),
            CommandBody::Lease(LeaseCommand::Grant {
                name,
                after,
                holder,
                valid_ms,
            }) => self.grant(name, *after, *holder, *valid_ms),
            CommandBody::Lease(LeaseCommand::Release { name, epoch }) => {
                self.release(command.from, name, *epoch)
            }
            CommandBody::Lease(LeaseCommand::Pass {
                name,
                epoch,
                holder,
                next,
            }) => self.pass(name, *epoch, *holder, next.as_ref()),
            CommandBody::Record(record) => self.record(command.from, record),
            CommandBody::Event { words } => {
                self.push_event(command, words.clone());
                Ok(CommandResult::Done)
            }
            CommandBody::Authority(next) => self.begin_authority(command, next),
            CommandBody::Certified { authority } => self.certified(command, authority),
            CommandBody::GiveUpAuthority { next, away } => {
                self.give_up_authority(command, next, away)
            }
            CommandBody::RequireSignatures => {
                if !self.requires_signatures() {
                    let words =
                        "commands take effect only with the signature of their author from now on";
                    self.push_event(command, words.to_owned());
                }
                Ok(CommandResult::Done)
            }
            CommandBody::Keep(limits) => {
                self.limits = *limits;
                self.trim_history();
                Ok(CommandResult::Done)
            }
        }
    }

    fn push_event(&mut self, command: &ClusterCommand, words: String) {
        Arc::make_mut(&mut self.events).push(Event {
            applied: self.applied,
            time_s: command.time_s,
            from: command.from,
            words,
        });
    }
}
