//! The messages. Beside each stands who sends it and which descriptors go with
//! it, in their order.

use super::between::PartMessage;
use super::bounded::{Part, Words};
use super::plan::Plan;
use super::take::{Take, TakeTrial};
use super::watch::Watch;
use super::{DESCRIPTORS_MAX, DecodeError, VERSION};
use crate::codec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The first byte of a packet.
const MAGIC: u8 = b'E';
/// Bytes before the fields of a message.
pub const HEADER_BYTES: usize = 16;

/// How many kinds of messages there are.
const KINDS: u16 = 44;

/// The header of every packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Kind of the message; [`Header::MORE`] adds descriptors to the previous message.
    pub kind: u16,
    /// Descriptors of the whole message, over all of its packets.
    pub descriptors: u32,
    /// The number of a request, chosen by the sender and repeated in the reply; zero in
    /// messages without a reply.
    pub ask: u64,
}

impl Header {
    /// The kind of a packet which only brings further descriptors.
    pub const MORE: u16 = 0;

    /// Decodes the header of a packet.
    ///
    /// # Errors
    /// The header is invalid, or of another version.
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

    /// The packet that brings further descriptors.
    pub fn more() -> Vec<u8> {
        Header {
            kind: Header::MORE,
            descriptors: 0,
            ask: 0,
        }
        .encode()
    }
}

/// As which program the command was started.
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
    /// The name of that program.
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
    /// Only read what is not sensitive.
    #[default]
    User,
    /// Read everything, forget counters, ask for a change.
    Operator,
    /// Everything.
    Admin,
}

/// Output format of diagnostics.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Look {
    /// With colours.
    pub color: bool,
    /// With characters that only a terminal of today shows.
    pub unicode: bool,
    /// Columns.
    pub width: u32,
    /// For a program: a line of JSON each.
    pub as_json: bool,
}

/// A request to the loader.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Load {
    /// As which program.
    pub personality: Personality,
    /// The command line of the start, without the program's name.
    pub arguments: Vec<Vec<u8>>,
    /// The process that messages are to name.
    pub pid: u32,
    /// Open files that the start allowed without raising anything.
    pub files_soft: u64,
    /// For whom diagnostics are rendered besides; None prints them to standard
    /// error (the start).
    pub look: Option<Look>,
    /// The version that serves, when this is a change.
    pub previous: Option<Plan>,
    /// Nobody asked: a file that is watched changed. What is as before is no
    /// version then.
    pub watched: bool,
    /// From whom the listeners are taken over, when this is a start.
    pub before: Before,
    /// The first descriptor is a version of a cluster: its files, and no others.
    pub set: bool,
    /// Only whether it could be served: nothing is opened that stays.
    pub dry: bool,
    /// What the roles beside the proxy run of the version that is served is not known.
    pub parts_unknown: bool,
    /// The set is the version that this machine accepted: what the machine lacks for it is left
    /// out and reported ([`Plan::lacks`]), while any other load is refused for it.
    pub accepted: bool,
    /// The file with the addresses of names and the numbers of accounts that earlier loads
    /// found; a path of the system.
    #[serde(with = "serde_bytes")]
    pub found: Option<Vec<u8>>,
    /// The files in which roles of earlier processes may have stored their state, by part; paths
    /// of the system.
    pub states: BTreeMap<String, Vec<u8>>,
    /// What was missing is looked for again: where the same is missing still, there is no version.
    pub retries: bool,
}

/// Why there is no version.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct NotLoaded {
    /// With what the command exits when this was its start.
    pub exit: u8,
    /// The files are those of the version that serves.
    pub unchanged: bool,
    /// A digest of the files: equal numbers mean equal contents.
    pub content: u64,
    /// The files to watch until the errors are corrected.
    pub watch: Option<Watch>,
}

/// The process that a start takes over from.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Before {
    /// Its statistics socket, as the command line named it.
    #[serde(with = "serde_bytes")]
    pub socket: Option<Vec<u8>>,
    /// The processes that are to make room and end.
    pub pids: Vec<u32>,
}

/// How a role is to end.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// With what it does finished or given up in order: no new connections, addresses to
    /// other machines. Said twice, it does not wait for others.
    Soft,
    /// As [`Manner::Soft`], but what no other machine takes stays for the connections that the
    /// proxy finishes: the role says [`Message::Stopping`] then, and waits to be told again.
    Yield,
    /// At once, by this signal.
    Now {
        /// Its number.
        signal: u32,
    },
    /// With everything left in its place for the one that follows it.
    Leave,
}

/// A message. Whether it is a question is said by the number in its header: then an
/// [`Message::Answer`], a [`Message::Verdict`] or a [`Message::Nobody`] with the same number
/// comes back.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Supervisor to loader. Descriptors: the version of a cluster, when it is one;
    /// then the bundle of the version that serves and its descriptors, when this is
    /// a change.
    Load(Box<Load>),
    /// Loader to supervisor. Descriptors: the notes, the notes in the format of the
    /// requester, the bundle, then those of the version. If it takes over from another
    /// Evenkeel process, then its state and the connection over which the rest follows.
    Loaded(Box<Plan>),
    /// Loader to supervisor: the files are refused. Descriptors: the notes, and the notes
    /// in the format of the requester.
    NotLoaded(Box<NotLoaded>),
    /// Supervisor to role: run this. The first one is answered by `Ready`, a further one by
    /// `Taken` or `Refused`. Descriptors: see [`Take::sort`].
    Take(Box<Take>),
    /// Supervisor to role: serve this candidate version. The reply is that of a
    /// [`Message::Take`]. Descriptors: those of two `Take` messages, one after the other.
    TakeTrial(Box<TakeTrial>),
    /// Supervisor to role, control role to supervisor: the candidate version is accepted.
    /// The role replies with [`Message::TrialEnded`], or with [`Message::WentBack`] if it
    /// rolled back first.
    Accept,
    /// Supervisor to role, control role to supervisor: serve again what served before the
    /// trial. A role answers by [`Message::Taken`] with that version's number, or `Refused`.
    Revert,
    /// Supervisor to role: end.
    Stop(Manner),
    /// Supervisor to role: accept nothing until told.
    Pause,
    /// Supervisor to role: accept again.
    Resume,
    /// Supervisor to role: give a [`Message::State`].
    TellState,
    /// Supervisor to role: add to the counters what the process before has
    /// counted at last. Descriptors: that, or the connection on which it comes.
    AddState,
    /// Supervisor to role: give the version back, as a [`Message::Version`] or by its number
    /// in a [`Message::Ready`]. A command to the supervisor: give the version that is served.
    /// Descriptors of that answer: its bundle.
    GiveVersion,
    /// Supervisor to role: memory that several roles have, as heartbeats are written there
    /// by one and read by another. Descriptors: that memory.
    Shared,
    /// Supervisor to a role that has that memory: which roles that clients come to do not run here.
    Missing {
        /// In words; empty where all run.
        #[serde(with = "Words")]
        words: String,
    },
    /// Role to supervisor: its helper, which runs programs for it, is not there.
    WantsHelper,
    /// Supervisor to role: here it is. Descriptors: the connection to it.
    Helper,
    /// Supervisor to any role: does its main loop run? Answered by [`Message::Pulse`].
    TellPulse,
    /// Its main loop runs.
    Pulse,
    /// Role to supervisor: it serves with its first version.
    Ready {
        /// Number of the version.
        version: u64,
        /// The messages for the operator.
        #[serde(with = "Words")]
        words: String,
    },
    /// Role to supervisor: it serves with a further version.
    Taken {
        /// Number of the version.
        version: u64,
        /// The messages for the operator.
        #[serde(with = "Words")]
        words: String,
    },
    /// Role to supervisor: it goes on with what it had.
    Refused {
        /// Number of the refused version.
        version: u64,
        /// Why.
        #[serde(with = "Words")]
        words: String,
    },
    /// Role to supervisor: counters and states of servers, for another process
    /// that goes on with them. It is the answer to [`Message::TellState`], and
    /// comes by itself when something has changed. Descriptors: the state.
    State {
        /// Only what was counted since it was last asked, to be added to that
        /// ([`Message::AddState`]): told once, at the end.
        rest: bool,
        /// Whether it responds to [`Message::TellState`]: later counts start from here.
        asked: bool,
    },
    /// Role to supervisor. Descriptors: as for [`Message::Take`].
    Version(Box<Take>),
    /// Role to supervisor: the last that it says.
    Ended {
        /// Why.
        #[serde(with = "Words")]
        words: String,
    },
    /// Role to supervisor: a signal told it to accept no more, or it keeps what no other machine
    /// takes ([`Manner::Yield`]).
    Stopping,
    /// Role to supervisor, the last that it says: a signal told it to end at
    /// once, and it obeys now. A supervisor that is not its parent learns it in
    /// no other way.
    Obeys {
        /// The signal's number.
        signal: u32,
    },
    /// Role to supervisor, supervisor to control role: the candidate version was rolled
    /// back, because an address must be taken over, or because the role died.
    WentBack {
        /// Why.
        #[serde(with = "Words")]
        words: String,
    },
    /// Role to supervisor: the candidate version is accepted, the trial is over.
    TrialEnded,
    /// Supervisor to role: this role continues to serve if the supervisor dies, and can
    /// be adopted by another supervisor of this user or of root. A role without this
    /// message exits when its supervisor dies. Descriptors: the socket on which a new
    /// supervisor connects, if there is one.
    Guard {
        /// The user of the start.
        uid: u32,
    },
    /// Role to a process that connects there: it has no supervisor, and the peer is its
    /// supervisor from now on.
    Alone {
        /// The newest version.
        version: u64,
    },
    /// Role to a process that connects there: it has a supervisor.
    Supervised,
    /// A command to the supervisor, which passes it on to the role of the part, and control
    /// role to supervisor: tell how everything is. The answer has it as a descriptor.
    TellReport {
        /// Of which part.
        #[serde(with = "Part")]
        part: String,
    },
    /// A part to another one, or a command to a part, by way of the supervisor, which reads
    /// nothing of it. Descriptors: as that part has it.
    Part(Box<PartMessage>),
    /// Role to supervisor: the response to a request of a part. Descriptors: as defined
    /// by the part.
    Answer {
        /// The encoded response; only the sender of the request can decode it.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// There is nobody who could answer.
    Nobody {
        /// Why.
        #[serde(with = "Words")]
        words: String,
        /// Somebody should: the version that is served has something of the part.
        #[serde(default)]
        missing: bool,
    },
    /// Supervisor to role: the role of this part has given up what it had. What it said
    /// holds no more.
    Gone {
        /// Of which part.
        #[serde(with = "Part")]
        part: String,
    },
    /// Control role to supervisor, a question: could this version be served? Descriptors:
    /// its files.
    Check,
    /// The same; the verdict's words are [`crate::versions::Findings`] in JSON.
    Find,
    /// Control role to supervisor, a question: serve this version. Descriptors: its files.
    Serve {
        /// Whether it is a candidate: the current version stays compiled for a rollback.
        trial: bool,
    },
    /// Supervisor to control role, an answer. Descriptors: what there is to tell, in words.
    Verdict {
        /// It was done, or can be.
        good: bool,
        /// Of a check: what machines must agree on among themselves is not as it is now.
        together: bool,
    },
    /// A command to the supervisor: change to what the files say now.
    Reload {
        /// How what is printed is to look.
        look: Look,
        /// Changes of lists and maps at run time are forgotten with it.
        fresh: bool,
    },
    /// Supervisor to the command. Descriptors: what there is to print.
    Reloaded {
        /// With what the command exits.
        exit: u8,
    },
    /// Reply to a message of an unknown kind.
    Unknown {
        /// The kind.
        kind: u16,
    },
}

/// The result of decoding a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// A message.
    Message(Message),
    /// One of a kind that this version does not know; to be answered.
    Unknown(u16),
}

impl Message {
    /// The reply of a role to a message for its part that it does not know.
    pub fn not_known(role: &str) -> Message {
        Message::Nobody {
            words: format!("the {role} does not know this message"),
            missing: true,
        }
    }

    /// The number of its kind. A number is never used again for another one.
    pub fn kind(&self) -> u16 {
        match self {
            Message::Load(_) => 1,
            Message::Loaded(_) => 2,
            Message::NotLoaded(_) => 3,
            Message::Take(_) => 4,
            Message::TakeTrial(_) => 5,
            Message::Accept => 6,
            Message::Revert => 7,
            Message::Stop(_) => 8,
            Message::Pause => 9,
            Message::Resume => 10,
            Message::TellState => 11,
            Message::AddState => 12,
            Message::GiveVersion => 13,
            Message::Shared => 14,
            Message::WantsHelper => 15,
            Message::Helper => 16,
            Message::TellPulse => 17,
            Message::Pulse => 18,
            Message::Ready { .. } => 19,
            Message::Taken { .. } => 20,
            Message::Refused { .. } => 21,
            Message::State { .. } => 22,
            Message::Version(_) => 23,
            Message::Ended { .. } => 24,
            Message::Stopping => 25,
            Message::Obeys { .. } => 26,
            Message::WentBack { .. } => 27,
            Message::TrialEnded => 28,
            Message::Guard { .. } => 29,
            Message::Alone { .. } => 30,
            Message::Supervised => 31,
            Message::TellReport { .. } => 32,
            Message::Part(_) => 33,
            Message::Answer { .. } => 34,
            Message::Nobody { .. } => 35,
            Message::Gone { .. } => 36,
            Message::Check => 37,
            Message::Serve { .. } => 38,
            Message::Verdict { .. } => 39,
            Message::Reload { .. } => 40,
            Message::Reloaded { .. } => 41,
            Message::Unknown { .. } => 42,
            Message::Find => 43,
            Message::Missing { .. } => 44,
        }
    }

    /// The first packet of the message, which belongs to so many descriptors.
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
