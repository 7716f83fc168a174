//! The messages. Beside each stands who sends it and which descriptors go with
//! it, in their order.

use super::address::{self, ADDRESS_NAME_BYTES_MAX, AddressDump, TakeAddresses};
use super::cluster::{self, HeldLease, RunControl, TakeTrial, WantedLease};
use super::codec::{DecodeError, Reader, Writer};
use super::external::RunPrograms;
use super::plan::Plan;
use super::watch::Watch;
use super::{
    ARGUMENTS_BYTES_MAX, ARGUMENTS_MAX, DESCRIPTORS_MAX, PATH_BYTES_MAX, PREDECESSORS_MAX, VERSION,
    WORDS_BYTES_MAX,
};

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
        let mut from = Reader::new(bytes);
        if from.u8()? != MAGIC {
            return Err(DecodeError::Magic);
        }
        match from.u8()? {
            VERSION => {}
            other => return Err(DecodeError::Version(other)),
        }
        let kind = from.u16()?;
        let descriptors = from.u32()?;
        if descriptors as usize > DESCRIPTORS_MAX {
            let length = descriptors as usize;
            return Err(DecodeError::TooLong {
                field: "descriptors",
                length,
            });
        }
        Ok(Header { kind, descriptors })
    }

    fn write(self, to: &mut Writer) {
        to.u8(MAGIC);
        to.u8(VERSION);
        to.u16(self.kind);
        to.u32(self.descriptors);
    }

    /// The packet that brings further descriptors.
    pub fn more() -> Vec<u8> {
        let mut to = Writer::default();
        let header = Header {
            kind: Header::MORE,
            descriptors: 0,
        };
        header.write(&mut to);
        to.bytes
    }
}

/// As which program the command was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Look {
    /// With colours.
    pub color: bool,
    /// With characters that only a terminal of today shows.
    pub unicode: bool,
    /// Columns.
    pub width: u32,
}

/// What the loader is asked to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Before {
    /// Its statistics socket, as the command line named it.
    pub socket: Option<Vec<u8>>,
    /// The processes that are to make room and end.
    pub pids: Vec<u32>,
}

/// A version for a role.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
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
#[derive(Clone, PartialEq, Eq, Debug)]
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
        words: String,
    },
    /// Role to supervisor: it serves with a further version.
    Taken {
        /// Which one.
        version: u64,
        /// What there is to tell.
        words: String,
    },
    /// Role to supervisor: it goes on with what it had.
    Refused {
        /// Which one was refused.
        version: u64,
        /// Why.
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
    HoldLeases(Vec<HeldLease>),
    /// Address role to supervisor, supervisor to control role: the leases that
    /// addresses are bound to and could use now.
    WantsLeases(Vec<WantedLease>),
    /// Control role to supervisor, which passes it on to the address role: another
    /// machine could use this lease better.
    HandOverLease {
        /// Which.
        name: String,
    },
    /// Proxy role to supervisor, supervisor to control role: the version on trial
    /// is served no more, since an address has to be taken over; or since it died.
    WentBack {
        /// Why.
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
        let mut to = Writer::default();
        let header = Header {
            kind: self.kind(),
            descriptors: u32::try_from(descriptors).unwrap_or(u32::MAX),
        };
        header.write(&mut to);
        self.write(&mut to);
        to.bytes
    }

    fn write(&self, to: &mut Writer) {
        match self {
            Message::Load(load) => load.write(to),
            Message::Loaded(plan) => {
                plan.write(to);
                plan.write_end(to);
            }
            Message::NotLoaded(why) => why.write(to),
            Message::Reloaded { exit } => to.u8(*exit),
            Message::Take(take) | Message::Version(take) => {
                take.write(to);
                take.plan.write_end(to);
            }
            Message::StopNow { signal } | Message::Obeys { signal } => to.u32(*signal),
            Message::Ready { version, words }
            | Message::Taken { version, words }
            | Message::Refused { version, words } => {
                to.u64(*version);
                to.text(words, WORDS_BYTES_MAX);
            }
            Message::Ended { words } => to.text(words, WORDS_BYTES_MAX),
            Message::Reload(look) => look.write(to),
            Message::Unknown { kind } => to.u16(*kind),
            Message::Operate { level } => level.write(to),
            Message::StopSoftly
            | Message::Pause
            | Message::Resume
            | Message::TellState
            | Message::GiveVersion
            | Message::AddState
            | Message::Supervised
            | Message::TellAddresses
            | Message::Addresses
            | Message::Vitals
            | Message::TellPulse
            | Message::Pulse
            | Message::TakeFiles
            | Message::WantsPrograms
            | Message::Programs
            | Message::Stopping => {}
            Message::RunPrograms(run) => run.write(to),
            Message::TakeAddresses(take) => take.write(to),
            Message::HandOverAddresses { name, drain_ms } => {
                to.option(name.as_ref(), |to, name| {
                    to.text(name, ADDRESS_NAME_BYTES_MAX)
                });
                to.option(drain_ms.as_ref(), |to, ms| to.u64(*ms));
            }
            Message::AddressesHandedOver { moves, words } => {
                to.bool(*moves);
                to.text(words, WORDS_BYTES_MAX);
            }
            Message::DumpAddresses { dump } => dump.write(to),
            Message::StopAddresses { release } => to.bool(*release),
            Message::State { rest, asked } => {
                to.bool(*rest);
                to.bool(*asked);
            }
            Message::Guard { uid } => to.u32(*uid),
            Message::Alone { version } => to.u64(*version),
            other => cluster::write(other, to),
        }
    }

    /// Reads the first packet of a message.
    pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
        let kind = Header::decode(bytes)?.kind;
        let mut from = Reader::new(bytes.get(HEADER_BYTES..).unwrap_or_default());
        let from = &mut from;
        Ok(Decoded::Message(match kind {
            1 => Message::Load(Box::new(Load::read(from)?)),
            2 => Message::Loaded(Box::new(Plan::read_whole(from)?)),
            3 => Message::NotLoaded(Box::new(NotLoaded::read(from)?)),
            4 => Message::Take(Box::new(Take::read_whole(from)?)),
            5 => Message::StopSoftly,
            6 => Message::StopNow {
                signal: from.u32()?,
            },
            7 => Message::Pause,
            8 => Message::Resume,
            9 => Message::TellState,
            10 => Message::GiveVersion,
            11 => Message::Operate {
                level: Level::read(from)?,
            },
            12..=14 => told(kind, from)?,
            15 => Message::State {
                rest: from.bool("rest")?,
                asked: from.bool("asked")?,
            },
            16 => Message::Version(Box::new(Take::read_whole(from)?)),
            17 => Message::Ended {
                words: from.words("words", WORDS_BYTES_MAX)?,
            },
            18 => Message::Reload(Look::read(from)?),
            19 => Message::Reloaded { exit: from.u8()? },
            20 => Message::Unknown { kind: from.u16()? },
            21 => Message::Stopping,
            22 => Message::AddState,
            23 => Message::Obeys {
                signal: from.u32()?,
            },
            24 => Message::WantsPrograms,
            25 => Message::Programs,
            26 => Message::RunPrograms(Box::new(RunPrograms::read(from)?)),
            30 => Message::Guard { uid: from.u32()? },
            31 => Message::Alone {
                version: from.u64()?,
            },
            32 => Message::Supervised,
            40..=50 => address::read(kind, from)?,
            60..=76 => cluster::read(kind, from)?,
            other => return Ok(Decoded::Unknown(other)),
        }))
    }
}

fn told(kind: u16, from: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let version = from.u64()?;
    let words = from.words("words", WORDS_BYTES_MAX)?;
    Ok(match kind {
        12 => Message::Ready { version, words },
        13 => Message::Taken { version, words },
        _ => Message::Refused { version, words },
    })
}

impl Load {
    fn write(&self, to: &mut Writer) {
        self.personality.write(to);
        to.list(&self.arguments, ARGUMENTS_MAX, |to, word| {
            to.slice(word, ARGUMENTS_BYTES_MAX);
        });
        to.u32(self.pid);
        to.u64(self.files_soft);
        to.option(self.look.as_ref(), |to, look| look.write(to));
        to.option(self.previous.as_ref(), |to, plan| plan.write(to));
        to.bool(self.watched);
        let before = &self.before;
        to.option(before.socket.as_ref(), |to, socket| {
            to.slice(socket, PATH_BYTES_MAX);
        });
        to.list(&before.pids, PREDECESSORS_MAX, |to, pid| to.u32(*pid));
        if let Some(plan) = &self.previous {
            plan.write_tail(to);
        }
        to.u8(u8::from(self.set) | u8::from(self.dry) << 1);
    }

    fn read(from: &mut Reader<'_>) -> Result<Load, DecodeError> {
        let mut bytes = 0;
        let mut load = Load {
            personality: Personality::read(from)?,
            arguments: from.list("arguments", ARGUMENTS_MAX, |from| {
                let word = from.bytes("argument", ARGUMENTS_BYTES_MAX)?;
                bytes += word.len();
                match bytes <= ARGUMENTS_BYTES_MAX {
                    true => Ok(word),
                    false => Err(DecodeError::TooLong {
                        field: "arguments",
                        length: bytes,
                    }),
                }
            })?,
            pid: from.u32()?,
            files_soft: from.u64()?,
            look: from.option("look", Look::read)?,
            previous: from.option("previous", Plan::read)?,
            watched: from.bool("watched")?,
            before: Before {
                socket: from.option("socket", |from| from.bytes("socket", PATH_BYTES_MAX))?,
                pids: from.list("pids", PREDECESSORS_MAX, Reader::u32)?,
            },
            set: false,
            dry: false,
        };
        if let Some(plan) = &mut load.previous {
            plan.read_tail(from)?;
        }
        // Of a supervisor before there is no more.
        if !from.is_empty() {
            let flags = from.u8()?;
            (load.set, load.dry) = (flags & 1 != 0, flags & 2 != 0);
        }
        Ok(load)
    }
}

impl NotLoaded {
    fn write(&self, to: &mut Writer) {
        to.u8(self.exit);
        to.bool(self.unchanged);
        to.u64(self.content);
        to.option(self.watch.as_ref(), |to, watch| watch.write(to));
    }

    fn read(from: &mut Reader<'_>) -> Result<NotLoaded, DecodeError> {
        Ok(NotLoaded {
            exit: from.u8()?,
            unchanged: from.bool("unchanged")?,
            content: from.u64()?,
            watch: from.option("watch", Watch::read)?,
        })
    }
}

impl Take {
    pub(super) fn write(&self, to: &mut Writer) {
        to.u64(self.version);
        self.personality.write(to);
        to.bool(self.background);
        self.plan.write(to);
        to.bool(self.state);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Take, DecodeError> {
        Ok(Take {
            version: from.u64()?,
            personality: Personality::read(from)?,
            background: from.bool("background")?,
            plan: Plan::read(from)?,
            state: from.bool("state")?,
        })
    }

    /// With what was added later, where it is the last of a message.
    fn read_whole(from: &mut Reader<'_>) -> Result<Take, DecodeError> {
        let mut take = Take::read(from)?;
        take.plan.read_end(from)?;
        Ok(take)
    }
}

impl Personality {
    pub(super) fn write(self, to: &mut Writer) {
        to.u8(match self {
            Personality::Own => 0,
            Personality::Haproxy => 1,
            Personality::Keepalived => 2,
        });
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Personality, DecodeError> {
        match from.u8()? {
            0 => Ok(Personality::Own),
            1 => Ok(Personality::Haproxy),
            2 => Ok(Personality::Keepalived),
            _ => Err(DecodeError::Value("personality")),
        }
    }
}

impl Level {
    fn write(self, to: &mut Writer) {
        to.u8(match self {
            Level::User => 0,
            Level::Operator => 1,
            Level::Admin => 2,
        });
    }

    fn read(from: &mut Reader<'_>) -> Result<Level, DecodeError> {
        match from.u8()? {
            0 => Ok(Level::User),
            1 => Ok(Level::Operator),
            2 => Ok(Level::Admin),
            _ => Err(DecodeError::Value("level")),
        }
    }
}

impl Look {
    pub(super) fn write(&self, to: &mut Writer) {
        to.bool(self.color);
        to.bool(self.unicode);
        to.u32(self.width);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Look, DecodeError> {
        Ok(Look {
            color: from.bool("color")?,
            unicode: from.bool("unicode")?,
            width: from.u32()?,
        })
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
