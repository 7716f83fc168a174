//! Implements one connection between two peers that share stick tables, without IO: the greeting,
//! descriptions of tables, updates, acknowledgements, resynchronization and heartbeats.

use super::dictionary::Dictionary;
use super::message::{self, MESSAGE_BYTES_MAX, PeersControlMessage, PeersError, PeersMessage};
use super::value::{PeersElement, TableDescription, write_fields};
use super::{Milliseconds, integer};

/// Maximum time between two messages: a heartbeat is sent if there is nothing else.
const HEARTBEAT_MS: u64 = 3_000;
/// Time without a message after which a peer counts as gone.
const SILENCE_MS: u64 = 10_000;
/// Maximum number of unsent confirmations. A peer that causes more does not read them.
const CONFIRMS_MAX: u32 = 64;
const HELLO_BYTES_MAX: usize = 1_024;
const TABLES_MAX: usize = 4_096;
const PROTOCOL: &str = "HAProxyS";
const VERSION: &str = "2.1";

/// Role of this side: it opened the connection or accepted it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeersRole {
    Connecting,
    Accepting,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeersStatus {
    Succeeded,
    /// Another connection to this peer exists already.
    TryAgain,
    /// The first message was not a hello.
    ProtocolError,
    BadVersion,
    /// The greeting is addressed to another peer.
    WrongRemote,
    /// The sender is not a known peer.
    WrongLocal,
}

impl PeersStatus {
    pub fn code(self) -> u16 {
        match self {
            PeersStatus::Succeeded => 200,
            PeersStatus::TryAgain => 300,
            PeersStatus::ProtocolError => 501,
            PeersStatus::BadVersion => 502,
            PeersStatus::WrongRemote => 503,
            PeersStatus::WrongLocal => 504,
        }
    }
}

/// First message of the side that connects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Name of the peer that it connects to.
    pub to: String,
    pub from: String,
    pub process: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeersSessionState {
    AwaitsHello,
    /// The greeting of the peer has arrived, and the owner must decide whether to accept it.
    Greeted,
    AwaitsStatus,
    Established,
    Ended,
}

/// New value of an entry, received from a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// Index of the table among the tables of this side.
    pub table: usize,
    /// Number that the peer gave the update.
    pub number: u32,
    /// Remaining lifetime of the entry in milliseconds, if it was sent.
    pub expires_in_ms: Option<u32>,
    pub key: Vec<u8>,
    pub fields: Vec<PeersElement>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A greeting arrived: respond with `Session::send_status`.
    Greeted(Hello),
    /// The greeting was accepted; from now on both sides exchange updates.
    Established,
    Update(Update),
    /// The peer has acknowledged the updates of a table up to this number.
    Acknowledged {
        table: usize,
        number: u32,
    },
    ResyncRequest,
    /// The peer has sent all its entries.
    Resynced {
        /// The peer's table is complete.
        whole: bool,
    },
    Confirmed,
    Heartbeat,
}

/// A table as the peer has described it.
#[derive(Debug)]
struct Theirs {
    number: u64,
    description: TableDescription,
    /// Index of the table of this side with the same name and type.
    ours: Option<usize>,
    /// Number of the last update received for this table.
    last: u32,
    acknowledged: u32,
}

/// A connection to a peer: a greeting, then messages in both directions. The owner sends the
/// bytes of [`Session::output`], and calls [`Session::handle_time`] at [`Session::deadline`].
/// After an error it must close the connection.
#[derive(Debug)]
pub struct Session {
    role: PeersRole,
    state: PeersSessionState,
    tables: Vec<TableDescription>,
    theirs: Vec<Theirs>,
    /// Index of the table to which received updates refer.
    current_in: Option<usize>,
    current_out: Option<usize>,
    described: Vec<bool>,
    last_out: Vec<Option<u32>>,
    dictionary_in: Dictionary,
    dictionary_out: Dictionary,
    input: Vec<u8>,
    output: Vec<u8>,
    heard_ms: Milliseconds,
    sent_ms: Milliseconds,
    confirms: u32,
}

impl Session {
    pub fn new(role: PeersRole, tables: Vec<TableDescription>, now: Milliseconds) -> Session {
        let count = tables.len();
        Session {
            role,
            state: PeersSessionState::AwaitsHello,
            tables,
            theirs: Vec::new(),
            current_in: None,
            current_out: None,
            described: vec![false; count],
            last_out: vec![None; count],
            dictionary_in: Dictionary::default(),
            dictionary_out: Dictionary::default(),
            input: Vec::new(),
            output: Vec::new(),
            heard_ms: now,
            sent_ms: now,
            confirms: 0,
        }
    }

    pub fn role(&self) -> PeersRole {
        self.role
    }

    pub fn state(&self) -> PeersSessionState {
        self.state
    }

    /// Sends the hello, if this side opened the connection.
    pub fn send_hello(&mut self, hello: &Hello) {
        let Hello { to, from, process } = hello;
        let text = format!("{PROTOCOL} {VERSION}\n{to}\n{from} {process} 1\n");
        self.output.extend_from_slice(text.as_bytes());
        self.state = PeersSessionState::AwaitsStatus;
    }

    /// Responds to a greeting. Any status but success ends the session.
    pub fn send_status(&mut self, status: PeersStatus) {
        let text = format!("{}\n", status.code());
        self.output.extend_from_slice(text.as_bytes());
        self.state = match status {
            PeersStatus::Succeeded => PeersSessionState::Established,
            _ => PeersSessionState::Ended,
        };
    }

    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// Removes `count` sent bytes from the front of the output.
    pub fn sent(&mut self, count: usize, now: Milliseconds) {
        self.output.drain(..count.min(self.output.len()));
        self.sent_ms = now;
        if self.output.is_empty() {
            self.confirms = 0;
        }
    }

    /// Returns when [`Session::handle_time`] must be called.
    pub fn deadline(&self) -> Milliseconds {
        let silent = self.heard_ms + SILENCE_MS;
        match self.state {
            PeersSessionState::Established => silent.min(self.sent_ms + HEARTBEAT_MS),
            _ => silent,
        }
    }

    /// Advances the time.
    ///
    /// # Errors
    /// The peer has not sent anything for too long.
    pub fn handle_time(&mut self, now: Milliseconds) -> Result<(), PeersError> {
        if now >= self.heard_ms + SILENCE_MS {
            self.state = PeersSessionState::Ended;
            return Err(PeersError::Silent);
        }
        if self.state == PeersSessionState::Established && now >= self.sent_ms + HEARTBEAT_MS {
            self.sent_ms = now;
            PeersControlMessage::Heartbeat.write(&mut self.output);
        }
        Ok(())
    }

    /// Handles received bytes. After an error, the connection must be closed once the output was
    /// sent.
    ///
    /// # Errors
    /// The peer violates the protocol, refuses the session, or reports an error.
    pub fn handle(&mut self, bytes: &[u8], now: Milliseconds) -> Result<Vec<Event>, PeersError> {
        if self.state == PeersSessionState::Established {
            // Extends the timeout with incomplete messages, too, but only after the greeting, which
            // as a whole has one timeout, however slowly it arrives.
            self.heard_ms = now;
        }
        self.input.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut taken = 0;
        let result = loop {
            match self.step(taken) {
                Ok(Some((length, event))) => {
                    taken += length;
                    events.extend(event);
                }
                Ok(None) => break Ok(()),
                Err(fault) => break Err(fault),
            }
        };
        self.input.drain(..taken.min(self.input.len()));
        if taken > 0 {
            self.heard_ms = now;
        }
        match result {
            Ok(()) => Ok(events),
            Err(fault) => {
                if self.state == PeersSessionState::Established && fault != PeersError::Theirs {
                    message::write_error(&mut self.output, fault);
                }
                self.state = PeersSessionState::Ended;
                Err(fault)
            }
        }
    }

    fn step(&mut self, from: usize) -> Result<Option<(usize, Option<Event>)>, PeersError> {
        match self.state {
            PeersSessionState::AwaitsHello => self.hello(from),
            PeersSessionState::AwaitsStatus => self.status(from),
            PeersSessionState::Greeted | PeersSessionState::Ended => Ok(None),
            PeersSessionState::Established => {
                let input = std::mem::take(&mut self.input);
                let result = self.message(input.get(from..).unwrap_or(&[]));
                self.input = input;
                result
            }
        }
    }

    fn hello(&mut self, from: usize) -> Result<Option<(usize, Option<Event>)>, PeersError> {
        let input = self.input.get(from..).unwrap_or(&[]);
        let mut ends = input.iter().enumerate().filter(|(_, b)| **b == b'\n');
        let Some((end, _)) = ends.nth(2) else {
            // Refuses an invalid first line before the second line arrives.
            let fits = input
                .iter()
                .zip(PROTOCOL.as_bytes())
                .all(|(one, other)| one == other);
            if !fits || input.len() > HELLO_BYTES_MAX {
                self.output.extend_from_slice(b"501\n");
                return Err(PeersError::Greeting);
            }
            return Ok(None);
        };
        let Some((hello, version)) = parse_hello(&input[..end]) else {
            self.output.extend_from_slice(b"501\n");
            return Err(PeersError::Greeting);
        };
        if !version.starts_with("2.") {
            self.output.extend_from_slice(b"502\n");
            return Err(PeersError::Greeting);
        }
        self.state = PeersSessionState::Greeted;
        Ok(Some((end + 1, Some(Event::Greeted(hello)))))
    }

    fn status(&mut self, from: usize) -> Result<Option<(usize, Option<Event>)>, PeersError> {
        let input = self.input.get(from..).unwrap_or(&[]);
        let Some(end) = input.iter().position(|b| *b == b'\n') else {
            return if input.len() > HELLO_BYTES_MAX {
                Err(PeersError::Greeting)
            } else {
                Ok(None)
            };
        };
        let code = std::str::from_utf8(&input[..end]).ok();
        let code: Option<u16> = code.and_then(|text| text.trim().parse().ok());
        match code {
            Some(200) => {
                self.state = PeersSessionState::Established;
                Ok(Some((end + 1, Some(Event::Established))))
            }
            Some(code) => Err(PeersError::Refused(code)),
            None => Err(PeersError::Greeting),
        }
    }

    fn message(&mut self, input: &[u8]) -> Result<Option<(usize, Option<Event>)>, PeersError> {
        let Some((message, taken)) = message::read(input)? else {
            return Ok(None);
        };
        let event = match message {
            PeersMessage::Control(control) => self.control(control)?,
            PeersMessage::Tables(kind, content) => self
                .about_tables(kind, content)
                .ok_or(PeersError::Protocol)?,
            PeersMessage::Unknown => None,
        };
        Ok(Some((taken, event)))
    }

    fn control(&mut self, control: PeersControlMessage) -> Result<Option<Event>, PeersError> {
        Ok(Some(match control {
            PeersControlMessage::ResyncRequest => Event::ResyncRequest,
            PeersControlMessage::ResyncFinished | PeersControlMessage::ResyncPartial => {
                self.confirms += 1;
                if self.confirms > CONFIRMS_MAX {
                    return Err(PeersError::Protocol);
                }
                PeersControlMessage::ResyncConfirm.write(&mut self.output);
                let whole = control == PeersControlMessage::ResyncFinished;
                Event::Resynced { whole }
            }
            PeersControlMessage::ResyncConfirm => Event::Confirmed,
            PeersControlMessage::Heartbeat => Event::Heartbeat,
        }))
    }

    fn about_tables(&mut self, kind: u8, content: &[u8]) -> Option<Option<Event>> {
        match kind {
            message::DEFINITION => self.definition(content).map(|()| None),
            message::SWITCH => {
                let (number, _) = integer::read(content)?;
                self.current_in = self.theirs.iter().position(|one| one.number == number);
                Some(None)
            }
            message::ACKNOWLEDGE => {
                let (table, rest) = integer::read(content)?;
                let number = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
                // The peer refers to the table by the number that this side gave it.
                let table = usize::try_from(table).ok()?.checked_sub(1)?;
                Some((table < self.tables.len()).then_some(Event::Acknowledged { table, number }))
            }
            message::UPDATE
            | message::INCREMENTAL
            | message::TIMED
            | message::INCREMENTAL_TIMED => self.update(kind, content),
            // Messages that later protocol versions add are ignored.
            _ => Some(None),
        }
    }

    fn definition(&mut self, content: &[u8]) -> Option<()> {
        let (number, description) = TableDescription::read(content)?;
        let mut ours = self.tables.iter();
        let ours =
            ours.position(|one| one.name == description.name && one.has_keys_of(&description));
        let known = self.theirs.iter().position(|one| one.number == number);
        let at = match known {
            Some(at) => at,
            None if self.theirs.len() >= TABLES_MAX => return None,
            None => {
                self.theirs.push(Theirs {
                    number,
                    description: description.clone(),
                    ours,
                    last: 0,
                    acknowledged: 0,
                });
                self.theirs.len() - 1
            }
        };
        let theirs = self.theirs.get_mut(at)?;
        (theirs.description, theirs.ours) = (description, ours);
        self.current_in = Some(at);
        Some(())
    }

    fn update(&mut self, kind: u8, mut content: &[u8]) -> Option<Option<Event>> {
        let theirs = self.theirs.get_mut(self.current_in?)?;
        let mut word = || {
            let (word, rest) = content.split_at_checked(4)?;
            content = rest;
            Some(u32::from_be_bytes(word.try_into().ok()?))
        };
        let number = match kind {
            message::UPDATE | message::TIMED => word()?,
            _ => theirs.last.wrapping_add(1),
        };
        let timed = matches!(kind, message::TIMED | message::INCREMENTAL_TIMED);
        let expires_in_ms = if timed { Some(word()?) } else { None };
        theirs.last = number;
        let key = theirs.description.read_key(&mut content)?.to_vec();
        let fields = theirs
            .description
            .read_fields(content, &mut self.dictionary_in)?;
        let Some(table) = theirs.ours else {
            return Some(None);
        };
        let fits = |field: &PeersElement| {
            let ours = self.tables.get(table);
            let same = |one: &&super::value::Stored| one.bit == field.bit;
            let ours = ours.and_then(|ours| ours.stored.iter().find(same));
            let mut all = theirs.description.stored.iter();
            let period = all
                .find(|one| one.bit == field.bit)
                .map(|one| one.period_ms);
            // A rate over a different period is not comparable, and is ignored.
            ours.is_some_and(|ours| period == Some(ours.period_ms))
        };
        Some(Some(Event::Update(Update {
            table,
            number,
            expires_in_ms,
            key,
            fields: fields.into_iter().filter(fits).collect(),
        })))
    }

    pub fn send(&mut self, control: PeersControlMessage) {
        control.write(&mut self.output);
    }

    /// Sends the description of a table, to which the following updates refer.
    pub fn describe(&mut self, table: usize) {
        let Some(description) = self.tables.get(table) else {
            return;
        };
        let mut content = Vec::new();
        description.write(table as u64 + 1, &mut content);
        message::write_tables(&mut self.output, message::DEFINITION, &content);
        self.current_out = Some(table);
        if let Some(described) = self.described.get_mut(table) {
            *described = true;
        }
    }

    pub fn push(&mut self, update: &Update) {
        let Update {
            table,
            number,
            expires_in_ms,
            key,
            fields,
        } = update;
        if self.current_out != Some(*table) {
            if self
                .described
                .get(*table)
                .is_some_and(|described| !described)
            {
                self.describe(*table);
            } else {
                let mut content = Vec::new();
                integer::write(&mut content, *table as u64 + 1);
                message::write_tables(&mut self.output, message::SWITCH, &content);
                self.current_out = Some(*table);
            }
        }
        let (Some(description), Some(last)) =
            (self.tables.get(*table), self.last_out.get_mut(*table))
        else {
            return;
        };
        let follows = *last == Some(number.wrapping_sub(1));
        *last = Some(*number);
        let mut content = Vec::new();
        if !follows {
            content.extend(number.to_be_bytes());
        }
        content.extend(expires_in_ms.map(u32::to_be_bytes).into_iter().flatten());
        description.write_key(key, &mut content);
        write_fields(fields, &mut self.dictionary_out, &mut content);
        let kind = match (follows, expires_in_ms) {
            (false, None) => message::UPDATE,
            (true, None) => message::INCREMENTAL,
            (false, Some(_)) => message::TIMED,
            (true, Some(_)) => message::INCREMENTAL_TIMED,
        };
        if content.len() <= MESSAGE_BYTES_MAX {
            message::write_tables(&mut self.output, kind, &content);
        }
    }

    pub fn acknowledge(&mut self) {
        for theirs in &mut self.theirs {
            if theirs.acknowledged == theirs.last {
                continue;
            }
            theirs.acknowledged = theirs.last;
            let mut content = Vec::new();
            integer::write(&mut content, theirs.number);
            content.extend(theirs.last.to_be_bytes());
            message::write_tables(&mut self.output, message::ACKNOWLEDGE, &content);
        }
    }
}

/// Parses the three lines of a greeting, without the last line end.
fn parse_hello(lines: &[u8]) -> Option<(Hello, &str)> {
    let text = std::str::from_utf8(lines).ok()?;
    let mut lines = text.split('\n');
    let version = lines.next()?.strip_prefix(PROTOCOL)?.strip_prefix(' ')?;
    let to = lines.next()?.to_owned();
    let mut last = lines.next()?.split(' ');
    let from = last.next()?.to_owned();
    let process = last.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    Some((Hello { to, from, process }, version))
}
