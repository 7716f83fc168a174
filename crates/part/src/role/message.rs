//! Defines the messages between the processes. Each entry names the sender and the descriptors that
//! go with the message, in their order.

use super::between::PartMessage;
use super::bounded::{Levels, Operation, Part, Words};
use super::plan::VersionPlan;
use super::take::{Take, TakeTrial};
use super::trace::{TraceRequest, TraceResponse};
use super::watch::Watch;
use super::{DESCRIPTORS_MAX, DecodeError, VERSION};
use crate::codec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const MAGIC: u8 = b'E';
pub const HEADER_BYTES: usize = 16;

const KINDS: u16 = 47;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Kind of the message; [`Header::MORE`] adds descriptors to the previous message.
    pub kind: u16,
    /// Number of descriptors of the whole message, over all of its packets.
    pub descriptors: u32,
    /// The number of a request, chosen by the sender and repeated in the reply; zero in
    /// messages without a reply.
    pub ask: u64,
}

impl Header {
    /// Kind of a packet that only carries further descriptors.
    pub const MORE: u16 = 0;

    /// Decodes the header of a packet.
    ///
    /// # Errors
    /// The header is invalid or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Header, DecodeError> {
        match bytes {
            [MAGIC, VERSION, ..] | [MAGIC] | [] => {}
            [MAGIC, version, ..] => return Err(DecodeError::Version(*version)),
            _ => return Err(DecodeError::Magic),
        }
        let Some(([_, _, fields @ ..], _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(DecodeError::Malformed);
        };
        let [a, b, c, d, e, f, ask @ ..] = *fields;
        let header = Header {
            kind: u16::from_le_bytes([a, b]),
            descriptors: u32::from_le_bytes([c, d, e, f]),
            ask: u64::from_le_bytes(ask),
        };
        match header.descriptors as usize {
            ..=DESCRIPTORS_MAX => Ok(header),
            count => Err(DecodeError::Descriptors(count)),
        }
    }

    fn encode(self) -> Vec<u8> {
        let head = [MAGIC, VERSION];
        let (kind, descriptors) = (self.kind.to_le_bytes(), self.descriptors.to_le_bytes());
        [&head[..], &kind, &descriptors, &self.ask.to_le_bytes()].concat()
    }

    /// Encodes the packet that carries further descriptors.
    pub fn more() -> Vec<u8> {
        Header {
            kind: Header::MORE,
            descriptors: 0,
            ask: 0,
        }
        .encode()
    }
}

/// The program name under which the command was started.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Personality {
    /// `evenkeel run`
    #[default]
    Own,
    /// `haproxy -W`
    Haproxy,
    /// `keepalived`
    Keepalived,
}

impl Personality {
    pub fn program(self) -> &'static str {
        match self {
            Personality::Own => "evenkeel",
            Personality::Haproxy => "haproxy",
            Personality::Keepalived => "keepalived",
        }
    }
}

/// Permissions of a client of a control socket, in ascending order.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Level {
    /// Read access, without sensitive data.
    #[default]
    User,
    /// Read access to everything; may reset counters and request a reload.
    Operator,
    Admin,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct DiagnosticFormat {
    pub color: bool,
    /// True if the output may use Unicode box-drawing characters.
    pub unicode: bool,
    pub width: u32,
    /// True if the output is for a program: one JSON object per line.
    pub as_json: bool,
}

/// Request to a loader: the files of the start, and what the result depends on.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Load {
    pub personality: Personality,
    /// Command line of the start, without the program's name.
    pub arguments: Vec<Vec<u8>>,
    /// Process id that the messages of the loader name: that of the supervisor.
    pub pid: u32,
    /// Soft limit of open files at the start, before it was raised.
    pub files_soft: u64,
    /// Second output format, for the requester of a reload; None prints diagnostics to standard
    /// error (at the start).
    pub look: Option<DiagnosticFormat>,
    /// The version in service, if this load is a reload.
    pub previous: Option<VersionPlan>,
    /// True if a change of a watched file caused the load. Unchanged files give no new version
    /// then.
    pub watched: bool,
    /// The process from which a start takes over the listeners.
    pub before: Before,
    /// True if the first descriptor is a version of a cluster, whose files are the only ones that
    /// are read.
    pub set: bool,
    /// True if the load only checks the configuration: it opens nothing that outlives the check.
    pub dry: bool,
    /// True if the loader does not know which versions the sidecar roles run.
    pub parts_unknown: bool,
    /// True if the set is the version that this machine has accepted. Resources that the machine
    /// lacks are then left out and reported ([`VersionPlan::lacks`]); any other load fails without them.
    pub accepted: bool,
    /// Path of the file with the host addresses and account ids that earlier loads resolved.
    #[serde(with = "serde_bytes")]
    pub found: Option<Vec<u8>>,
    /// Paths of the state files that roles of earlier processes may have left, by part.
    pub states: BTreeMap<String, Vec<u8>>,
    /// True if the load retries the lookup of missing resources. The result is no new version while
    /// the same ones are still missing.
    pub retries: bool,
    #[serde(with = "Operation")]
    pub operation: String,
}

/// The reason why a load produced no version.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct NotLoaded {
    /// Exit code of the command, if the load was for its start.
    pub exit: u8,
    /// True if the files are those of the version in service.
    pub unchanged: bool,
    /// Digest of the files: equal digests mean equal contents.
    pub content: u64,
    /// The files to watch until the errors are corrected.
    pub watch: Option<Watch>,
}

/// The process that a start takes over from.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Before {
    /// Statistics socket of the process from which the start takes over, as the command line named
    /// it.
    #[serde(with = "serde_bytes")]
    pub socket: Option<Vec<u8>>,
    /// The processes that must release their listeners and end.
    pub pids: Vec<u32>,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// A graceful stop: the role refuses new connections, finishes its work and hands its addresses
    /// to other machines. A second stop of this kind does not wait for the other machines.
    Soft,
    /// As [`Manner::Soft`], but addresses that no other machine takes over stay for the connections
    /// that the proxy finishes. The role sends [`SupervisorMessage::Stopping`] then and waits for another
    /// stop.
    Yield,
    /// A stop at once, because of this signal.
    Now { signal: u32 },
    /// The role ends for its successor, and leaves everything in place.
    Leave,
}

/// A message. A number other than zero in its header makes it a request. The response is a
/// [`SupervisorMessage::Answer`], [`SupervisorMessage::Verdict`] or [`SupervisorMessage::Nobody`] with the same number.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum SupervisorMessage {
    /// Supervisor to loader. Descriptors: the version of a cluster, if there is one; then, for a
    /// reload, the bundle of the version in service and its descriptors.
    Load(Box<Load>),
    /// Loader to supervisor. Descriptors: the diagnostics, the diagnostics in the requester's
    /// format, the bundle, and those of the version. If the start takes over from another Evenkeel
    /// process: also its state, and the connection over which the rest of the state follows.
    Loaded(Box<VersionPlan>),
    /// Loader to supervisor: the files are refused. Descriptors: the diagnostics, and the
    /// diagnostics in the requester's format.
    NotLoaded(Box<NotLoaded>),
    /// Supervisor to role: run this version. The response to the first one is `Ready`, to a further
    /// one `Taken` or `Refused`. Descriptors: see [`Take::sort`].
    Take(Box<Take>),
    /// Supervisor to role: serve this candidate version. The response is that of a
    /// [`SupervisorMessage::Take`]. Descriptors: those of two `Take` messages, one after the other.
    TakeTrial(Box<TakeTrial>),
    /// Supervisor to role, control role to supervisor: the candidate version is accepted. The role
    /// responds with [`SupervisorMessage::TrialEnded`], or with [`SupervisorMessage::WentBack`] if it rolled back
    /// first.
    Accept,
    /// Supervisor to role, control role to supervisor: serve the version that was in service before
    /// the trial. A role responds with [`SupervisorMessage::Taken`] and that version's number, or with
    /// `Refused`.
    Revert,
    Stop(Manner),
    /// Supervisor to role: accept no connections until [`SupervisorMessage::Resume`].
    Pause,
    Resume,
    /// Supervisor to role: send a [`SupervisorMessage::State`].
    TellState,
    /// Supervisor to role: add the final counts of the previous process to the counters.
    /// Descriptors: these counts, or the connection over which they arrive.
    AddState,
    /// Supervisor to role: send the version back, as a [`SupervisorMessage::Version`] or by its number in a
    /// [`SupervisorMessage::Ready`]. A command to the supervisor: send the version in service. Descriptors of
    /// that response: its bundle.
    GiveVersion,
    /// Supervisor to role: memory that several roles share; one role writes heartbeats there and
    /// another reads them. Descriptors: that memory.
    Shared,
    /// Supervisor to a role with the shared memory: the roles with clients of their own that do not
    /// run on this machine.
    Missing {
        /// The roles, as text; empty if all run.
        #[serde(with = "Words")]
        words: String,
    },
    /// Role to supervisor: the role needs its helper, which runs programs for it.
    WantsHelper,
    /// Supervisor to role: the helper runs. Descriptors: the connection to the helper.
    Helper,
    /// Supervisor to any role: a ping of the main loop. The response is [`SupervisorMessage::Pulse`].
    TellPulse,
    /// Role to supervisor: the main loop runs.
    Pulse,
    /// Role to supervisor: the role serves its first version.
    Ready {
        version: u64,
        #[serde(with = "Words")]
        words: String,
    },
    /// Role to supervisor: the role serves a further version.
    Taken {
        version: u64,
        #[serde(with = "Words")]
        words: String,
    },
    /// Role to supervisor: the role keeps the version that it had.
    Refused {
        version: u64,
        #[serde(with = "Words")]
        words: String,
    },
    /// Role to supervisor: counters and server states for the process that continues with them. The
    /// role sends it as the response to [`SupervisorMessage::TellState`], and unasked after a change.
    /// Descriptors: the state.
    State {
        /// True if the state only has the counts since the last request, to be added to those
        /// ([`SupervisorMessage::AddState`]). Sent once, at the end.
        rest: bool,
        /// True if the message responds to [`SupervisorMessage::TellState`]; later counts start from this
        /// one.
        asked: bool,
    },
    /// Role to supervisor: the version that the role serves. Descriptors: as for [`SupervisorMessage::Take`].
    Version(Box<Take>),
    /// Role to supervisor: the final message of a role.
    Ended {
        #[serde(with = "Words")]
        words: String,
    },
    /// Role to supervisor: after a signal the role accepts no further connections, or it keeps
    /// addresses that no other machine takes over ([`Manner::Yield`]).
    Stopping,
    /// Role to supervisor, the final message: a signal ended the role at once. A supervisor that is
    /// not its parent has no other way to learn the signal.
    Obeys {
        signal: u32,
    },
    /// Role to supervisor, supervisor to control role: the candidate version was rolled back,
    /// because an address must be taken over or because the role died.
    WentBack {
        #[serde(with = "Words")]
        words: String,
    },
    /// Role to supervisor: the candidate version is accepted, the trial is over.
    TrialEnded,
    /// Supervisor to role: the role continues to serve if the supervisor dies, and another
    /// supervisor of this user or of root can adopt it. A role without this message exits when its
    /// supervisor dies. Descriptors: the socket on which a new supervisor connects, if there is
    /// one.
    Guard {
        uid: u32,
    },
    /// Role to a process that connects to the guard socket: the role has no supervisor, and the
    /// peer becomes its supervisor.
    Alone {
        version: u64,
    },
    /// Role to a process that connects to the guard socket: the role has a supervisor.
    Supervised,
    /// A command to the supervisor, which forwards it to the part's role, and control role to
    /// supervisor: send the report. The response carries the report as a descriptor.
    TellReport {
        #[serde(with = "Part")]
        part: String,
    },
    /// From a part to another, or a command to a part. The supervisor forwards the message and does
    /// not decode it. Descriptors: as defined by the part.
    Part(Box<PartMessage>),
    /// Role to supervisor: the response to a request of a part. Descriptors: as defined by the
    /// part.
    Answer {
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// Supervisor or role: no role can respond to the request.
    Nobody {
        #[serde(with = "Words")]
        words: String,
        /// True if a role should exist: the version in service configures the part.
        #[serde(default)]
        missing: bool,
    },
    /// Supervisor to role: the role of this part has ended. Its earlier messages no longer hold.
    Gone {
        #[serde(with = "Part")]
        part: String,
    },
    /// Control role to supervisor, a request: check whether this machine could serve the version.
    /// Descriptors: its files.
    Check,
    /// As [`SupervisorMessage::Check`]; the verdict's text is
    /// [`crate::versions::Findings`] in JSON.
    Find,
    /// Control role to supervisor, a request: serve this version. Descriptors: its files.
    Serve {
        /// True for a candidate version: the current version stays compiled for a rollback.
        trial: bool,
        #[serde(default, with = "Operation")]
        operation: String,
    },
    /// Supervisor to control role, a response. Descriptors: the diagnostics as text.
    Verdict {
        /// True if the action succeeded or is possible.
        good: bool,
        /// Result of a check: whether values that all machines must agree on differ from the
        /// current ones.
        together: bool,
    },
    /// A command to the supervisor: reload the files.
    Reload {
        look: DiagnosticFormat,
        /// True if the reload discards runtime changes of lists and maps.
        fresh: bool,
    },
    /// Supervisor to the command. Descriptors: the text to print.
    Reloaded {
        exit: u8,
    },
    /// Supervisor to any role: record the trace events of these levels from now on. Descriptors: a
    /// ring that replaces the current one, if the supervisor has adopted the role. The channel
    /// handles the message.
    SetLogLevels {
        #[serde(with = "Levels")]
        levels: String,
    },
    /// A command to the supervisor: send the rings of all roles.
    TraceEvents(Box<TraceRequest>),
    /// Supervisor to the command. Descriptors: a ring for each role.
    TracedRoles(Box<TraceResponse>),
    /// Reply to a message of an unknown kind.
    Unknown {
        /// Kind of the message that was received and is unknown to the sender of this response.
        kind: u16,
    },
}

/// The result of decoding a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    Message(SupervisorMessage),
    /// A message of a kind that this version does not know; the receiver must respond to it.
    Unknown(u16),
}

impl SupervisorMessage {
    /// Returns the response of a role to a message for its part that the role does not know.
    pub fn unknown_message(role: &str) -> SupervisorMessage {
        SupervisorMessage::Nobody {
            words: format!("the {role} does not know this message"),
            missing: true,
        }
    }

    /// Returns the number of the message's kind. A number is never reused for another kind.
    pub fn kind(&self) -> u16 {
        match self {
            SupervisorMessage::Load(_) => 1,
            SupervisorMessage::Loaded(_) => 2,
            SupervisorMessage::NotLoaded(_) => 3,
            SupervisorMessage::Take(_) => 4,
            SupervisorMessage::TakeTrial(_) => 5,
            SupervisorMessage::Accept => 6,
            SupervisorMessage::Revert => 7,
            SupervisorMessage::Stop(_) => 8,
            SupervisorMessage::Pause => 9,
            SupervisorMessage::Resume => 10,
            SupervisorMessage::TellState => 11,
            SupervisorMessage::AddState => 12,
            SupervisorMessage::GiveVersion => 13,
            SupervisorMessage::Shared => 14,
            SupervisorMessage::WantsHelper => 15,
            SupervisorMessage::Helper => 16,
            SupervisorMessage::TellPulse => 17,
            SupervisorMessage::Pulse => 18,
            SupervisorMessage::Ready { .. } => 19,
            SupervisorMessage::Taken { .. } => 20,
            SupervisorMessage::Refused { .. } => 21,
            SupervisorMessage::State { .. } => 22,
            SupervisorMessage::Version(_) => 23,
            SupervisorMessage::Ended { .. } => 24,
            SupervisorMessage::Stopping => 25,
            SupervisorMessage::Obeys { .. } => 26,
            SupervisorMessage::WentBack { .. } => 27,
            SupervisorMessage::TrialEnded => 28,
            SupervisorMessage::Guard { .. } => 29,
            SupervisorMessage::Alone { .. } => 30,
            SupervisorMessage::Supervised => 31,
            SupervisorMessage::TellReport { .. } => 32,
            SupervisorMessage::Part(_) => 33,
            SupervisorMessage::Answer { .. } => 34,
            SupervisorMessage::Nobody { .. } => 35,
            SupervisorMessage::Gone { .. } => 36,
            SupervisorMessage::Check => 37,
            SupervisorMessage::Serve { .. } => 38,
            SupervisorMessage::Verdict { .. } => 39,
            SupervisorMessage::Reload { .. } => 40,
            SupervisorMessage::Reloaded { .. } => 41,
            SupervisorMessage::Unknown { .. } => 42,
            SupervisorMessage::Find => 43,
            SupervisorMessage::Missing { .. } => 44,
            SupervisorMessage::SetLogLevels { .. } => 45,
            SupervisorMessage::TraceEvents(_) => 46,
            SupervisorMessage::TracedRoles(_) => 47,
        }
    }

    pub fn encode(&self, ask: u64, descriptors: usize) -> Vec<u8> {
        let header = Header {
            ask,
            kind: self.kind(),
            descriptors: u32::try_from(descriptors).unwrap_or(u32::MAX),
        };
        let mut packet = header.encode();
        packet.extend(codec::encode(self));
        packet
    }

    /// Decodes the first packet of a message.
    ///
    /// # Errors
    /// The packet is invalid.
    pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
        match Header::decode(bytes)?.kind {
            1..=KINDS => {
                let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
                Ok(Decoded::Message(codec::decode(body)?))
            }
            other => Ok(Decoded::Unknown(other)),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
