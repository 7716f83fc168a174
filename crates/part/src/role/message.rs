//! The messages. Beside each stands who sends it and which descriptors go with
//! it, in their order.

use super::address::{AddressDump, TakeAddresses};
use super::bounded::{leases, name, words};
use super::cluster::{HeldLease, RunControl, TakeTrial, WantedLease};
use super::external::RunPrograms;
use super::plan::Plan;
use super::watch::Watch;
use super::{DESCRIPTORS_MAX, DecodeError, VERSION};
use crate::codec;
use serde::{Deserialize, Serialize};

/// The first byte of a packet.
const MAGIC: u8 = b'E';
/// Bytes before the fields of a message.
pub const HEADER_BYTES: usize = 8;

/// What every packet begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Which message; [`Header::MORE`] continues the message before with descriptors.
    pub kind: u16,
    /// Descriptors of the whole message, over all of its packets.
    pub descriptors: u32,
}

impl Header {
    /// The kind of a packet which only brings further descriptors.
    pub const MORE: u16 = 0;

    /// Reads the beginning of a packet.
    pub fn decode(bytes: &[u8]) -> Result<Header, DecodeError> {
        let Some(([magic, version, fields @ ..], _)) = bytes.split_first_chunk::<HEADER_BYTES>()
        else {
            return Err(DecodeError::Malformed);
        };
        if *magic != MAGIC {
            return Err(DecodeError::Magic);
        }
        if *version != VERSION {
            return Err(DecodeError::Version(*version));
        }
        let [a, b, c, d, e, f] = *fields;
        let header = Header {
            kind: u16::from_le_bytes([a, b]),
            descriptors: u32::from_le_bytes([c, d, e, f]),
        };
        match header.descriptors as usize {
            ..=DESCRIPTORS_MAX => Ok(header),
            count => Err(DecodeError::Descriptors(count)),
        }
    }

    fn encode(self) -> Vec<u8> {
        let head = [MAGIC, VERSION];
        let (kind, descriptors) = (self.kind.to_le_bytes(), self.descriptors.to_le_bytes());
        [&head[..], &kind, &descriptors].concat()
    }

    /// The packet that brings further descriptors.
    pub fn more() -> Vec<u8> {
        Header {
            kind: Header::MORE,
            descriptors: 0,
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

/// What somebody who gives commands may do; each more than the one before.
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

/// How diagnostics are to look for whoever asked.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Look {
    /// With colours.
    pub color: bool,
    /// With characters that only a terminal of today shows.
    pub unicode: bool,
    /// Columns.
    pub width: u32,
}

/// What the loader is asked to do.
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
}

/// Why there is no version.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct NotLoaded {
    /// With what the command exits when this was its start.
    pub exit: u8,
    /// The files are those of the version that serves.
    pub unchanged: bool,
    /// The same number for the same files.
    pub content: u64,
    /// What is to be watched until they are good.
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

/// A version for a role.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Take {
    /// Its number.
    pub version: u64,
    /// As which program the role speaks.
    pub personality: Personality,
    /// Nobody looks at its standard streams once it serves.
    pub background: bool,
    /// What it is.
    pub plan: Plan,
    /// The last descriptor is a state, which is taken in before anything is served.
    pub state: bool,
}

/// A message.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Supervisor to loader. Descriptors: the version of a cluster, when it is one;
    /// then the bundle of the version that serves and its descriptors, when this is
    /// a change.
    Load(Box<Load>),
    /// Loader to supervisor. Descriptors: the notes, the same for whoever asked,
    /// the bundle, then those of the version; then, where another process of ours
    /// is taken over from, its state and the connection on which its rest comes.
    Loaded(Box<Plan>),
    /// Loader to supervisor: the files are refused. Descriptors: the notes, the
    /// same for whoever asked.
    NotLoaded(Box<NotLoaded>),
    /// Supervisor to role: serve with this. Descriptors: the bundle, then those
    /// of the version, then a state where there is one.
    Take(Box<Take>),
    /// Supervisor to role: accept no more, finish what there is.
    StopSoftly,
    /// Supervisor to role: end now, by this signal.
    StopNow {
        /// Its number.
        signal: u32,
    },
    /// Supervisor to role: accept nothing until told.
    Pause,
    /// Supervisor to role: accept again.
    Resume,
    /// Supervisor to role: give a [`Message::State`].
    TellState,
    /// Supervisor to role: give the version back, as a [`Message::Version`].
    GiveVersion,
    /// Supervisor to role: serve statistics commands on this connection.
    /// Descriptors: the connection.
    Operate {
        /// What may be done there.
        level: Level,
    },
    /// Role to supervisor: it serves with its first version.
    Ready {
        /// Which one.
        version: u64,
        /// What there is to tell.
        #[serde(with = "words")]
        words: String,
    },
    /// Role to supervisor: it serves with a further version.
    Taken {
        /// Which one.
        version: u64,
        /// What there is to tell.
        #[serde(with = "words")]
        words: String,
    },
    /// Role to supervisor: it goes on with what it had.
    Refused {
        /// Which one was refused.
        version: u64,
        /// Why.
        #[serde(with = "words")]
        words: String,
    },
    /// Role to supervisor: counters and states of servers, for another process
    /// that goes on with them. It is the answer to [`Message::TellState`], and
    /// comes by itself when something has changed. Descriptors: the state.
    State {
        /// Only what was counted since it was last asked, to be added to that
        /// ([`Message::AddState`]): told once, at the end.
        rest: bool,
        /// It is the answer: the rest counts from here.
        asked: bool,
    },
    /// Role to supervisor. Descriptors: as for [`Message::Take`].
    Version(Box<Take>),
    /// Role to supervisor: the last that it says.
    Ended {
        /// Why.
        #[serde(with = "words")]
        words: String,
    },
    /// A command to the supervisor: change to what the files say now.
    Reload(Look),
    /// Supervisor to the command. Descriptors: what there is to print.
    Reloaded {
        /// With what the command exits.
        exit: u8,
    },
    /// Role to supervisor: a signal told it to accept no more.
    Stopping,
    /// Role to supervisor, the last that it says: a signal told it to end at
    /// once, and it obeys now. A supervisor that is not its parent learns it in
    /// no other way.
    Obeys {
        /// The signal's number.
        signal: u32,
    },
    /// Role to supervisor: no process runs the programs of its external checks.
    WantsPrograms,
    /// Supervisor to role: one does, at the other end of this connection, which carries
    /// [`super::ExternalCheck`] and [`super::ExternalResult`]. Descriptors: the connection.
    Programs,
    /// Supervisor to the process that runs the programs of external checks: run these.
    /// Descriptors: the connection on which a role asks for them.
    RunPrograms(Box<RunPrograms>),
    /// To whoever sent a message of a kind that is not known.
    Unknown {
        /// The kind.
        kind: u16,
    },
    /// Supervisor to role: the role is the one that serves on when the supervisor
    /// goes without a word, and takes a new one of this user or of root. One
    /// that was never told ends when it is left alone. Descriptors: the socket
    /// where a new supervisor comes, where there is one.
    Guard {
        /// The user of the start.
        uid: u32,
    },
    /// Role to whoever comes there: nobody supervises it, and from now on the
    /// other end does.
    Alone {
        /// The newest version.
        version: u64,
    },
    /// Role to whoever comes there: somebody supervises it.
    Supervised,
    /// Supervisor to role: add to the counters what the process before has
    /// counted at last. Descriptors: that, or the connection on which it comes.
    AddState,
    /// Supervisor to address role: run this. The first one is answered by `Ready`,
    /// a further one by `Taken` or `Refused`. Descriptors: the configuration, then
    /// as [`TakeAddresses`] says the state file and the vitals.
    TakeAddresses(Box<TakeAddresses>),
    /// A command to the supervisor, which passes it on to the address role: tell
    /// how everything is.
    TellAddresses,
    /// Address role to supervisor, supervisor to the command. Descriptors: the
    /// status, or none where there are no virtual addresses.
    Addresses,
    /// A command to the supervisor, which passes it on: give the addresses of an
    /// instance, or all of them, to another machine.
    HandOverAddresses {
        /// The instance.
        name: Option<String>,
        /// How long requests may finish, where that is said.
        drain_ms: Option<u64>,
    },
    /// The answer to that.
    AddressesHandedOver {
        /// Whether anything moves.
        moves: bool,
        /// In words.
        #[serde(with = "words")]
        words: String,
    },
    /// Supervisor to address role: write one of keepalived's dumps.
    DumpAddresses {
        /// Which.
        dump: AddressDump,
    },
    /// Supervisor to address role: end.
    StopAddresses {
        /// The addresses are given up; else a successor has them.
        release: bool,
    },
    /// Supervisor to proxy role: where heartbeats are written that the address role
    /// reads. Descriptors: that memory.
    Vitals,
    /// Supervisor to any role: does its main loop run? Answered by [`Message::Pulse`].
    TellPulse,
    /// Its main loop runs.
    Pulse,
    /// `evenkeel reload --reset-runtime` to the supervisor, before [`Message::Reload`],
    /// and supervisor to proxy role, before [`Message::Take`]: changes of lists and maps
    /// at run time are forgotten with that version.
    TakeFiles,
    /// Supervisor to control role: begin.
    RunControl(Box<RunControl>),
    /// Control role to supervisor: could this version be served? Descriptors: its
    /// files. The answer is a [`Message::SetAnswer`].
    CheckSet {
        /// Which answer is its.
        ask: u64,
    },
    /// Control role to supervisor: serve this version. Descriptors: its files.
    ServeSet {
        /// Which answer is its.
        ask: u64,
        /// What is served now stays built, to be gone back to.
        trial: bool,
    },
    /// Control role to supervisor: what is on trial is to stay.
    AcceptSet {
        /// Which answer is its.
        ask: u64,
    },
    /// Control role to supervisor: what was served before is to be served again.
    RevertSet {
        /// Which answer is its.
        ask: u64,
    },
    /// Supervisor to control role. Descriptors: what there is to tell, in words.
    SetAnswer {
        /// To what.
        ask: u64,
        /// It was done, or can be.
        good: bool,
        /// Of a check: what machines must agree on among themselves is not as it is now.
        together: bool,
    },
    /// Control role to supervisor, supervisor to proxy role: how well is served?
    TellHealth,
    /// The answer. Descriptors: that as JSON; none where nobody serves.
    Health,
    /// Control role to supervisor, which passes it on to the address role: the
    /// leases that this machine holds. Those that are not named are not held.
    HoldLeases(#[serde(with = "leases")] Vec<HeldLease>),
    /// Address role to supervisor, supervisor to control role: the leases that
    /// addresses are bound to and could use now.
    WantsLeases(#[serde(with = "leases")] Vec<WantedLease>),
    /// Control role to supervisor, which passes it on to the address role: another
    /// machine could use this lease better.
    HandOverLease {
        /// Which.
        #[serde(with = "name")]
        name: String,
    },
    /// Proxy role to supervisor, supervisor to control role: the version on trial
    /// is served no more, since an address has to be taken over; or since it died.
    WentBack {
        /// Why.
        #[serde(with = "words")]
        words: String,
    },
    /// Supervisor to control role: end.
    StopControl,
    /// Supervisor to proxy role: serve this on trial; answered as a
    /// [`Message::Take`]. Descriptors: as for two of those, one behind the other.
    TakeTrial(Box<TakeTrial>),
    /// Supervisor to proxy role: what is on trial stays. It is answered by
    /// [`Message::TrialEnded`], or by [`Message::WentBack`] where that came first.
    EndTrial,
    /// Supervisor to proxy role: serve again what served before the trial. It is
    /// answered by [`Message::Taken`] with that version's number, or `Refused`.
    Revert,
    /// Proxy role to supervisor: nothing is on trial any more, and what was stays.
    TrialEnded,
}

/// What a packet holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// A message.
    Message(Message),
    /// One of a kind that this version does not know; to be answered.
    Unknown(u16),
}

impl Message {
    /// The number of its kind. A number is never used again for another one.
    pub fn kind(&self) -> u16 {
        match self {
            Message::Load(_) => 1,
            Message::Loaded(_) => 2,
            Message::NotLoaded(_) => 3,
            Message::Take(_) => 4,
            Message::StopSoftly => 5,
            Message::StopNow { .. } => 6,
            Message::Pause => 7,
            Message::Resume => 8,
            Message::TellState => 9,
            Message::GiveVersion => 10,
            Message::Operate { .. } => 11,
            Message::Ready { .. } => 12,
            Message::Taken { .. } => 13,
            Message::Refused { .. } => 14,
            Message::State { .. } => 15,
            Message::Version(_) => 16,
            Message::Ended { .. } => 17,
            Message::Reload(_) => 18,
            Message::Reloaded { .. } => 19,
            Message::Unknown { .. } => 20,
            Message::Stopping => 21,
            Message::AddState => 22,
            Message::Obeys { .. } => 23,
            Message::WantsPrograms => 24,
            Message::Programs => 25,
            Message::RunPrograms(_) => 26,
            Message::Guard { .. } => 30,
            Message::Alone { .. } => 31,
            Message::Supervised => 32,
            Message::TakeAddresses(_) => 40,
            Message::TellAddresses => 41,
            Message::Addresses => 42,
            Message::HandOverAddresses { .. } => 43,
            Message::AddressesHandedOver { .. } => 44,
            Message::DumpAddresses { .. } => 45,
            Message::StopAddresses { .. } => 46,
            Message::Vitals => 47,
            Message::TellPulse => 48,
            Message::Pulse => 49,
            Message::TakeFiles => 50,
            Message::RunControl(_) => 60,
            Message::CheckSet { .. } => 61,
            Message::ServeSet { .. } => 62,
            Message::AcceptSet { .. } => 63,
            Message::RevertSet { .. } => 64,
            Message::SetAnswer { .. } => 65,
            Message::TellHealth => 66,
            Message::Health => 67,
            Message::HoldLeases(_) => 68,
            Message::WantsLeases(_) => 69,
            Message::WentBack { .. } => 70,
            Message::StopControl => 71,
            Message::TakeTrial(_) => 72,
            Message::EndTrial => 73,
            Message::Revert => 74,
            Message::TrialEnded => 75,
            Message::HandOverLease { .. } => 76,
        }
    }

    /// The first packet of the message, which belongs to so many descriptors.
    pub fn encode(&self, descriptors: usize) -> Vec<u8> {
        let header = Header {
            kind: self.kind(),
            descriptors: u32::try_from(descriptors).unwrap_or(u32::MAX),
        };
        let mut packet = header.encode();
        packet.extend(codec::encode(self));
        packet
    }

    /// Reads the first packet of a message.
    pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
        match Header::decode(bytes)?.kind {
            1..=26 | 30..=32 | 40..=50 | 60..=76 => {
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
